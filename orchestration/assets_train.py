"""Assets of the training grid, one partition a session: dataset, models, evidence, decision, paper session, report.

Nothing is passed between steps in memory: each asset reads partitions and the night's folder and writes the night's folder.
"""

from collections.abc import Sequence
from typing import Any, Final

import dagster as dg

from marketdata.settings import Settings
from orchestration import (
    stages_dataset,
    stages_evidence,
    stages_models,
    stages_report,
    stages_scores,
    stages_trading,
)
from orchestration.assets_ingest import RETRIES
from orchestration.audits import sentences
from orchestration.grids import Grids, all_instruments, key_day, sessions_from
from orchestration.resources import RootResource
from orchestration.stage import NightStage, StageContext, publish_partition, run_night_stage

DATASET: Final = "dataset"
MODELS: Final = "models"
EVIDENCE: Final = "evidence"
TRADING: Final = "trading"
REPORT: Final = "report"
TRAINING_POOL: Final = "training"


def train_assets(grids: Grids, settings: Settings, slow_kinds: Sequence[str]) -> list[dg.AssetsDefinition]:
    """Return the assets of the night after ingest, dataset of the day to the report."""
    day = all_instruments()
    window = sessions_from(1 - settings.training.window_sessions)
    recent, previous = sessions_from(-1), sessions_from(-1, -1)

    def ticks(*names: str) -> list[dg.AssetDep]:
        return [dg.AssetDep(name, partition_mapping=day) for name in names]

    signals = [dg.AssetDep(f"{kind}_signals", partition_mapping=recent) for kind in slow_kinds]
    families = stages_models.families(settings)
    assets = [
        _dataset_day(grids, [*ticks("feature_rows", "labels"), *signals]),
        _night_asset(
            "dataset",
            stages_dataset.dataset,
            grids,
            group=DATASET,
            deps=[dg.AssetDep("dataset_day", partition_mapping=window)],
            kinds={"polars"},
            description="The training window up to this session: which days and instruments, its content hash, its manifest.",
        ),
    ]
    assets += [
        _night_asset(
            family,
            stages_models.family_stage(family),
            grids,
            group=MODELS,
            deps=["dataset", *ticks(*stages_models.TICK_INPUTS.get(family, ()))],
            kinds=_KINDS.get(family, set()),
            description=stages_models.describe(family),
            pool=TRAINING_POOL,
        )
        for family in families
    ]
    assets += [
        _night_asset(
            "walk_forward_scores",
            stages_scores.walk_forward_scores,
            grids,
            group=EVIDENCE,
            deps=list(families),
            kinds={"mlflow", "numba"},
            description="The league: every candidate beside every baseline, per fold and overall, and what each earns.",
        ),
        _night_asset(
            "controls",
            stages_evidence.controls,
            grids,
            group=EVIDENCE,
            deps=["walk_forward_scores"],
            description="Worlds where nothing pays and where an edge was planted: how often the gate promotes there.",
        ),
        _night_asset(
            "backtest_band",
            stages_evidence.backtest_band,
            grids,
            group=EVIDENCE,
            deps=["walk_forward_scores", *ticks("events")],
            kinds={"numba"},
            description="The best candidates through the engine under several queue models and latencies; the worst decides.",
        ),
        _night_asset(
            "promotion_decision",
            stages_evidence.promotion_decision,
            grids,
            group=EVIDENCE,
            deps=["walk_forward_scores", "controls", "backtest_band"],
            description="One test for the whole night, written down as a signed, chained record.",
        ),
        _night_asset(
            "champion",
            stages_evidence.champion,
            grids,
            group=EVIDENCE,
            deps=["promotion_decision"],
            kinds={"mlflow"},
            retry_policy=RETRIES,
            description="The bundle in force for the next session: registered without pickle, alias set as the record says.",
        ),
        _night_asset(
            "paper_session",
            stages_trading.paper_session,
            grids,
            group=TRADING,
            deps=[dg.AssetDep("champion", partition_mapping=previous), *ticks("events")],
            kinds={"numba"},
            description="This session traded on paper by the champion at its open, or by the best candidate in the shadow.",
        ),
        _night_asset(
            "parity_report",
            stages_trading.parity_report,
            grids,
            group=TRADING,
            deps=["paper_session", *ticks("feature_rows")],
            description="Whether replaying the paper session gives the same rows, forecasts and fills.",
        ),
        _night_asset(
            "data_docs",
            stages_report.data_docs,
            grids,
            group=REPORT,
            deps=["dataset_day", *ticks("raw_ticks", "point_events", "feature_rows", "labels")],
            kinds={"greatexpectations"},
            description="Great Expectations' Data Docs of this session's partitions.",
        ),
        _night_asset(
            "nightly_report",
            stages_report.nightly_report,
            grids,
            group=REPORT,
            deps=["promotion_decision", "champion", "parity_report", "data_docs"],
            kinds={"html"},
            description="The night on one page that opens offline.",
        ),
    ]
    return assets


_KINDS: Final = {
    "linear": {"scikitlearn"},
    "hawkes": {"numba"},
    "hmm": {"pytorch"},
    "transformer": {"pytorch", "huggingface"},
    "gnn": {"pytorch"},
}


def _dataset_day(grids: Grids, deps: Sequence[dg.AssetDep]) -> dg.AssetsDefinition:
    @dg.asset(
        name="dataset_day",
        deps=deps,
        partitions_def=grids.by_date,
        group_name=DATASET,
        kinds={"parquet", "polars", "greatexpectations"},
        description="All instruments' rows of the session with labels and slow signals as known then.",
        retry_policy=RETRIES,
        check_specs=[
            dg.AssetCheckSpec(check, asset="dataset_day", blocking=True) for check in sentences("dataset_day")
        ],
    )
    def dataset_day(context: dg.AssetExecutionContext, root: RootResource) -> Any:
        place = StageContext(root.data_root, root.settings(), root, key_day(context))
        yield from publish_partition(place, "dataset_day", stages_dataset.dataset_day)

    return dataset_day


def _night_asset(
    name: str,
    stage: NightStage,
    grids: Grids,
    *,
    group: str,
    deps: Sequence[str | dg.AssetDep],
    description: str,
    kinds: set[str] | None = None,
    pool: str | None = None,
    retry_policy: dg.RetryPolicy | None = None,
) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        deps=deps,
        partitions_def=grids.by_date,
        group_name=group,
        description=description,
        kinds=kinds or set(),
        pool=pool,
        retry_policy=retry_policy,
    )
    def asset(context: dg.AssetExecutionContext, root: RootResource) -> dg.MaterializeResult[None]:
        place = StageContext(root.data_root, root.settings(), root, key_day(context))
        return run_night_stage(place, name, stage)

    return asset

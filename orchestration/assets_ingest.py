"""Assets of the ingest grids: ticks by session and instrument, slow signals by session.

Each asset writes its partition to staging, audits it there, and publishes it or puts it in quarantine; a quarantined partition
fails its step, and no later run can open it either.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import dagster as dg

from features.signals.columns import HISTORY_SESSIONS, SLOW_KINDS
from marketdata.settings import Settings
from orchestration import stages_slow, stages_ticks
from orchestration.audits import sentences
from orchestration.grids import Grids, key_day, key_symbol, sessions_from
from orchestration.raw_names import RAW_OF
from orchestration.resources import RootResource
from orchestration.stage import PartitionStage, StageContext, publish_partition

TICKS: Final = "ticks"
SLOW_SIGNALS: Final = "slow_signals"
RETRIES: Final = dg.RetryPolicy(max_retries=1, delay=1)


def tick_assets(grids: Grids) -> list[dg.AssetsDefinition]:
    """Return the assets of one session and instrument, raw ticks to labels."""
    return [
        _partition_asset(
            "raw_ticks",
            stages_ticks.raw_ticks,
            grids.by_instrument,
            group=TICKS,
            kinds={"parquet"},
            description="Rows of the source as it gives them: simulated, recorded, or a file from the inbox.",
        ),
        _partition_asset(
            "events",
            stages_ticks.events,
            grids.by_instrument,
            group=TICKS,
            deps=["raw_ticks"],
            kinds={"parquet", "polars"},
            description="The one event form, with corrected receive times; its book never crosses at the end of a group.",
        ),
        _partition_asset(
            "point_events",
            stages_ticks.point_events,
            grids.by_instrument,
            group=TICKS,
            deps=["events"],
            kinds={"parquet", "numba", "greatexpectations"},
            description="Aggressive buys and sells and moves of the mid, one row an aggressor: what Hawkes models are fitted on.",
        ),
        _partition_asset(
            "feature_rows",
            stages_ticks.feature_rows,
            grids.by_instrument,
            group=TICKS,
            deps=["events"],
            kinds={"parquet", "numba", "greatexpectations"},
            description="Raw features at the sampled moments, known at their receive time; nothing in them is fitted.",
        ),
        _partition_asset(
            "labels",
            stages_ticks.labels,
            grids.by_instrument,
            group=TICKS,
            deps=["feature_rows", "events"],
            kinds={"parquet", "numba", "greatexpectations"},
            description="The executable move after latency over the horizon, one a feature row, with the time it is known.",
        ),
    ]


def slow_assets(grids: Grids, kinds: Sequence[str]) -> list[dg.AssetsDefinition]:
    """Return raw and signal assets of each kind of slow data that the source has."""
    assets = []
    for kind in kinds:
        raw, signals = RAW_OF[kind], f"{kind}_signals"
        assets.append(
            _partition_asset(
                raw,
                stages_slow.raw_stage(kind),
                grids.by_date,
                group=SLOW_SIGNALS,
                kinds={"parquet"},
                description=_RAW_TEXT[kind],
            )
        )
        assets.append(
            _partition_asset(
                signals,
                stages_slow.signal_stage(kind),
                grids.by_date,
                group=SLOW_SIGNALS,
                deps=[dg.AssetDep(raw, partition_mapping=sessions_from(1 - HISTORY_SESSIONS[kind]))],
                kinds={"parquet", "polars", "greatexpectations"},
                description=_SIGNAL_TEXT[kind],
            )
        )
    return assets


_RAW_TEXT: Final = {
    "options": "Option chains as snapshots: quotes, volume and open interest as published at the time.",
    "social": "Posts with their votes as seen at the time.",
    "onchain": "Transfers with the labels of both ends and the time each label became known.",
}
_SIGNAL_TEXT: Final = {
    "options": "Unusual option volume against each contract's own history, as of the moment it was known.",
    "social": "Sentiment of posts by instrument, as of the moment it was known.",
    "onchain": "Net flow of labelled holders to and from exchanges, as of the moment it was known.",
}


def _partition_asset(
    name: str,
    stage: PartitionStage,
    grid: dg.PartitionsDefinition[Any],
    *,
    group: str,
    description: str,
    kinds: set[str],
    deps: Sequence[str | dg.AssetDep] = (),
) -> dg.AssetsDefinition:
    by_instrument = isinstance(grid, dg.MultiPartitionsDefinition)

    @dg.asset(
        name=name,
        deps=deps,
        partitions_def=grid,
        group_name=group,
        description=description,
        kinds=kinds,
        retry_policy=RETRIES,
        check_specs=[dg.AssetCheckSpec(check, asset=name, blocking=True) for check in sentences(name)],
    )
    def asset(context: dg.AssetExecutionContext, root: RootResource) -> Iterator[Any]:
        symbol = key_symbol(context) if by_instrument else None
        place = StageContext(root.data_root, root.settings(), root, key_day(context), symbol)
        yield from publish_partition(place, name, stage)

    return asset


def slow_kinds(settings: Settings) -> tuple[str, ...]:
    """Return the kinds of slow signals that the root's source has."""
    return SLOW_KINDS[settings.source]

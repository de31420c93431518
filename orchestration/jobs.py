"""The jobs of the night: ingest by session and instrument, its date-only half for slow signals, and training.

Dagster refuses one job over two partition grids. Slow signals are not part of training's job because a bad partition of theirs
must not stop it: a dataset without them says so and goes on.
"""

from collections.abc import Sequence
from typing import Final

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as Job

from orchestration.assets_ingest import SLOW_SIGNALS, TICKS
from orchestration.assets_train import DATASET, EVIDENCE, MODELS, REPORT, TRADING

INGEST_JOB: Final = "ingest_job"
INGEST_SIGNALS_JOB: Final = "ingest_signals_job"
TRAIN_JOB: Final = "train_job"


def build_jobs(slow_kinds: Sequence[str]) -> list[Job]:
    """Return the jobs; the one for slow signals exists only where the source has some."""
    jobs: list[Job] = [
        dg.define_asset_job(
            INGEST_JOB,
            selection=dg.AssetSelection.groups(TICKS),
            executor_def=dg.in_process_executor,
            description="One session of one instrument: raw ticks to labels, each written, audited and published.",
        )
    ]
    if slow_kinds:
        jobs.append(
            dg.define_asset_job(
                INGEST_SIGNALS_JOB,
                selection=dg.AssetSelection.groups(SLOW_SIGNALS),
                executor_def=dg.in_process_executor,
                description="One session of the slow signals: options, posts, on-chain transfers.",
            )
        )
    jobs.append(
        dg.define_asset_job(
            TRAIN_JOB,
            selection=dg.AssetSelection.groups(DATASET, MODELS, EVIDENCE, TRADING, REPORT),
            executor_def=dg.in_process_executor,
            description="One night: dataset, models, evidence, decision, champion, paper session, report.",
        )
    )
    return jobs

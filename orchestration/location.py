"""Everything Dagster knows about a data root: assets, jobs, schedules, sensors and the root as their resource."""

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import dagster as dg

from marketdata.paths import DataRoot
from orchestration.assets_ingest import slow_assets, slow_kinds, tick_assets
from orchestration.assets_train import train_assets
from orchestration.grids import Grids, build_grids
from orchestration.jobs import build_jobs
from orchestration.resources import RootResource
from orchestration.schedule import build_schedules
from orchestration.sensors import build_sensors

QUIET_CONSOLE = dg.LoggerDefinition(
    logger_fn=dg.colored_console_logger.logger_fn,
    config_schema={
        "log_level": dg.Field(str, default_value="WARNING"),
        "name": dg.Field(str, default_value="dagster"),
    },
    description="Writes warnings and failures; every step is in the event log.",
)
"""Terminals are shared by several servers, so they show what needs a person."""


def root_grids(root: DataRoot) -> Grids:
    """Return the partition grids of a root as they stand now."""
    settings = root.settings()
    return build_grids(settings, datetime.now(UTC).astimezone(ZoneInfo(settings.time_zone)).date())


def build_definitions(root: DataRoot) -> dg.Definitions:
    """Return everything Dagster knows about a data root; the root must be initialised."""
    settings = root.settings()
    grids = root_grids(root)
    kinds: Sequence[str] = slow_kinds(settings)
    return dg.Definitions(
        assets=[*tick_assets(grids), *slow_assets(grids, kinds), *train_assets(grids, settings, kinds)],
        jobs=build_jobs(kinds),
        schedules=build_schedules(settings, grids, slow=bool(kinds)),
        sensors=build_sensors(settings, grids, kinds),
        resources={"root": RootResource(path=str(root.path.resolve()))},
        executor=dg.in_process_executor,
        loggers={"console": QUIET_CONSOLE},
    )

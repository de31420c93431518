"""When the night begins: after the market's close, for the session that has just closed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import dagster as dg

from marketdata.clock import NS_PER_DAY, from_ns, to_ns
from marketdata.partitions import PartitionMissing, PartitionQuarantined, open_partition
from marketdata.paths import DataRoot, PartitionKey
from marketdata.settings import Settings
from orchestration.grids import Grids, ingest_key
from orchestration.jobs import INGEST_JOB, INGEST_SIGNALS_JOB
from orchestration.readiness import chain_end, has_data
from orchestration.resources import RootResource

AFTER_CLOSE: Final = timedelta(minutes=15)


@dataclass(frozen=True)
class Tick:
    """What a tick of the schedule asks for: the session that closed last, or why there is none."""

    day: date | None
    reason: str


def session_of_tick(settings: Settings, grids: Grids, now_ns: int) -> Tick:
    """Return the session whose close lies within the day before ``now_ns``.

    On a holiday or a weekend the last close is older than a day, and the tick asks for nothing.
    """
    closed = settings.market_calendar().last_closed(now_ns)
    if closed is None or now_ns - closed.close_ns >= NS_PER_DAY:
        last = f"; the last one closed {from_ns(closed.close_ns):%Y-%m-%d %H:%M} UTC" if closed else ""
        return Tick(None, f"no session closed in the day before {from_ns(now_ns):%Y-%m-%d %H:%M} UTC{last}")
    if not grids.spans(closed.date):
        first, final = grids.sessions[0].date, grids.sessions[-1].date
        return Tick(None, f"{closed.date} is outside this data root ({first} to {final})")
    return Tick(closed.date, f"session {closed.date} has closed")


def closing_cron(settings: Settings, grids: Grids) -> str:
    """Return the cron line, in the market's time zone, of a quarter of an hour after the usual close."""
    zone = ZoneInfo(settings.time_zone)
    times = [from_ns(session.close_ns).astimezone(zone).time() for session in grids.sessions]
    usual = max(set(times), key=times.count)
    after = datetime.combine(date(2000, 1, 1), usual) + AFTER_CLOSE
    days = "*" if settings.calendar == "24/7" else "1-5"
    return f"{after.minute} {after.hour} * * {days}"


def build_schedules(settings: Settings, grids: Grids, slow: bool) -> list[dg.ScheduleDefinition]:
    """Return the nightly schedule of ticks, and that of slow signals where the source has some."""
    cron = closing_cron(settings, grids)

    def moment(context: dg.ScheduleEvaluationContext) -> int:
        return to_ns(context.scheduled_execution_time)

    @dg.schedule(
        name="nightly_schedule",
        job_name=INGEST_JOB,
        cron_schedule=cron,
        execution_timezone=settings.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="After the close: ingest the session that has just closed, every instrument; training follows by sensor.",
    )
    def nightly_schedule(context: dg.ScheduleEvaluationContext, root: RootResource) -> Iterator[Any]:
        tick = session_of_tick(settings, grids, moment(context))
        if tick.day is None:
            yield dg.SkipReason(tick.reason)
            return
        if not has_data(root.source(), tick.day):
            yield dg.SkipReason(f"the source has no data of {tick.day} yet")
            return
        waiting = [
            symbol for symbol in grids.symbols if not _done(root.data_root, chain_end("ticks"), tick.day, symbol)
        ]
        if not waiting:
            yield dg.SkipReason(f"{tick.day} is ingested already")
        for symbol in waiting:
            yield dg.RunRequest(run_key=f"{tick.day}|{symbol}", partition_key=ingest_key(tick.day, symbol))

    @dg.schedule(
        name="nightly_signals_schedule",
        job_name=INGEST_SIGNALS_JOB,
        cron_schedule=cron,
        execution_timezone=settings.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="After the close: ingest the slow signals of the session that has just closed.",
    )
    def nightly_signals_schedule(context: dg.ScheduleEvaluationContext, root: RootResource) -> Any:
        tick = session_of_tick(settings, grids, moment(context))
        if tick.day is None:
            return dg.SkipReason(tick.reason)
        if not has_data(root.source(), tick.day):
            return dg.SkipReason(f"the source has no data of {tick.day} yet")
        return dg.RunRequest(run_key=str(tick.day), partition_key=tick.day.isoformat())

    return [nightly_schedule, nightly_signals_schedule] if slow else [nightly_schedule]


def _done(root: DataRoot, asset: str, day: date, symbol: str) -> bool:
    try:
        open_partition(root, PartitionKey(asset, day, symbol))
    except PartitionMissing:
        return False
    except PartitionQuarantined:
        return True
    return True

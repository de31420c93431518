"""Sensors: a night whose ingest has ended, new files in the inbox or the source, and runs that failed."""

import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, Final

import dagster as dg

from marketdata.paths import DataRoot, PartitionKey
from marketdata.settings import Settings
from orchestration.alerts import raise_alert
from orchestration.grids import Grids, ingest_key
from orchestration.inbox import inbox_files, stamp
from orchestration.jobs import INGEST_JOB, INGEST_SIGNALS_JOB, TRAIN_JOB
from orchestration.raw_names import RAW_OF
from orchestration.readiness import partition_state, readiness
from orchestration.resources import RootResource

MAX_REQUESTS: Final = 60
"""Runs that one evaluation asks for at most; the rest waits for the next."""


def build_sensors(settings: Settings, grids: Grids, slow_kinds: Sequence[str]) -> list[dg.SensorDefinition]:
    """Return the sensors of a data root."""
    sensors = [_night_is_ready(settings, grids, slow_kinds), _new_files(grids), _failures()]
    if slow_kinds and settings.source != "simulated":
        sensors.append(_new_signals(grids, slow_kinds))
    return sensors


def _night_is_ready(settings: Settings, grids: Grids, slow_kinds: Sequence[str]) -> dg.SensorDefinition:
    @dg.sensor(
        name="night_is_ready_sensor",
        job_name=TRAIN_JOB,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts training for a session once every instrument and signal of it is published or quarantined.",
    )
    def night_is_ready_sensor(context: dg.SensorEvaluationContext, root: RootResource) -> Iterator[Any]:
        if backfilled := _backfill_of(context.instance, "dataset_day"):
            yield dg.SkipReason(f"backfill {backfilled} is under way and makes the datasets itself")
            return
        requested = set(json.loads(context.cursor)) if context.cursor else set()
        place, asked, waiting = root.data_root, 0, []
        for session in grids.sessions[settings.first_night - 1 :]:
            key = session.date.isoformat()
            if key in requested:
                continue
            state = readiness(place, grids, RAW_OF, slow_kinds, session.date)
            if state.is_ready:
                requested.add(key)
                if partition_state(place, PartitionKey("dataset_day", session.date)) == "missing":
                    asked += 1
                    yield dg.RunRequest(run_key=key, partition_key=key)
            elif len(state.waiting_for) < len(grids.symbols) + len(slow_kinds):
                waiting.append(f"{key} waits for {', '.join(state.waiting_for)}")
            if asked == MAX_REQUESTS:
                break
        context.update_cursor(json.dumps(sorted(requested)))
        if not asked:
            yield dg.SkipReason("; ".join(waiting[:5]) or "no session is waiting for training")

    return night_is_ready_sensor


def _backfill_of(instance: dg.DagsterInstance, asset: str) -> str | None:
    """Return the id of a backfill that is under way and makes an asset, or None."""
    from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

    running = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING])
    for backfill in instance.get_backfills(filters=running):
        if dg.AssetKey(asset) in (backfill.asset_selection or ()):
            return str(backfill.backfill_id)
    return None


def _new_files(grids: Grids) -> dg.SensorDefinition:
    @dg.sensor(
        name="new_files_sensor",
        job_name=INGEST_JOB,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ingests sessions that appeared in the source's folder, and files put into the inbox.",
    )
    def new_files_sensor(context: dg.SensorEvaluationContext, root: RootResource) -> Iterator[Any]:
        seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        asked = 0
        for file in inbox_files(root.data_root, grids):
            mark = stamp(file.path)
            if seen.get(file.path.name) == mark or asked == MAX_REQUESTS:
                continue
            seen[file.path.name] = mark
            asked += 1
            yield dg.RunRequest(run_key=f"{file.path.name}|{mark}", partition_key=ingest_key(file.day, file.symbol))
        if root.settings().source != "simulated":
            for day, symbol in _unread(root.data_root, root, grids, seen):
                if asked == MAX_REQUESTS:
                    break
                seen[f"{day}|{symbol}"] = "source"
                asked += 1
                yield dg.RunRequest(run_key=f"{day}|{symbol}|new", partition_key=ingest_key(day, symbol))
        context.update_cursor(json.dumps(seen, sort_keys=True))
        if not asked:
            yield dg.SkipReason("no new file")

    return new_files_sensor


def _unread(place: DataRoot, root: RootResource, grids: Grids, seen: dict[str, str]) -> Iterator[tuple[date, str]]:
    for session in root.source().sessions():
        if not grids.spans(session.date):
            continue
        for symbol in grids.symbols:
            if f"{session.date}|{symbol}" in seen:
                continue
            if partition_state(place, PartitionKey("raw_ticks", session.date, symbol)) == "missing":
                yield session.date, symbol


def _new_signals(grids: Grids, slow_kinds: Sequence[str]) -> dg.SensorDefinition:
    @dg.sensor(
        name="new_signals_sensor",
        job_name=INGEST_SIGNALS_JOB,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ingests the slow signals of sessions that appeared in the source's folder.",
    )
    def new_signals_sensor(root: RootResource) -> Iterator[Any]:
        asked = 0
        for session in root.source().sessions():
            keys = [PartitionKey(RAW_OF[kind], session.date) for kind in slow_kinds]
            missing = any(partition_state(root.data_root, key) == "missing" for key in keys)
            if missing and grids.spans(session.date) and asked < MAX_REQUESTS:
                asked += 1
                yield dg.RunRequest(run_key=str(session.date), partition_key=session.date.isoformat())
        if not asked:
            yield dg.SkipReason("no new session")

    return new_signals_sensor


def _failures() -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name="failure_sensor",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Writes one line to the alert log for every run that failed.",
    )
    def failure_sensor(context: dg.RunFailureSensorContext, root: RootResource) -> None:
        run = context.dagster_run
        steps = [event.step_key or "" for event in context.get_step_failure_events()]
        reasons = [_reason(event) for event in context.get_step_failure_events()]
        raise_alert(
            root.data_root,
            kind="run_failed",
            message="; ".join(reasons) or context.failure_event.message or "run failed",
            detail={
                "job": run.job_name,
                "run_id": run.run_id,
                "partition": run.tags.get("dagster/partition", ""),
                "steps": steps,
            },
        )

    return failure_sensor


def _reason(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    failure = data.user_failure_data
    if failure is not None and failure.description:
        return failure.description
    return data.error.message.strip() if data.error else "step failed"

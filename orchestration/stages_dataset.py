"""Stages that make the training table: one session's share of it, and the window up to a session."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import polars as pl

from features.dataset import LABEL_MISSING, Dataset
from features.rows import FeatureRows
from features.signals.columns import SLOW_KINDS
from marketdata.clock import Session
from marketdata.partitions import (
    PartitionMissing,
    PartitionQuarantined,
    load_partition,
    open_partition,
    read_manifest,
)
from marketdata.paths import DataRoot, PartitionKey
from marketdata.settings import Settings
from orchestration import stopwatch
from orchestration.alerts import raise_alert
from orchestration.side_files import write_json
from orchestration.stage import Produced, StageContext

DATASET_FILE: Final = "dataset.json"


def dataset_day(context: StageContext) -> Produced:
    """Return one session's rows of all instruments, joined with labels and with slow signals as known at the row.

    Raises
    ------
    TooFewInstruments
        If fewer instruments are published than training needs; an alert is raised and the champion stays.
    """
    from features.assembler import RowAssembler
    from features.dataset_day import DAY_COLUMNS, TooFewInstruments, build_dataset_day
    from marketdata.suites import run_suite

    rows, labels, missing, rows_in = _instruments(context)
    signals, absent = load_signals(context.root, context.settings, context.recent_sessions(2))
    with stopwatch.part(stopwatch.INGEST):
        try:
            frame, manifest = build_dataset_day(context.day, context.settings, rows, labels, signals, missing)
        except TooFewInstruments as error:
            raise_alert(context.root, kind="no_training", message=str(error), detail={"missing": missing})
            raise
    with stopwatch.part(stopwatch.QUALITY):
        columns = (*DAY_COLUMNS, *RowAssembler(context.settings).columns)
        checks, result = run_suite("dataset", frame, context.settings, columns)
    extra = {**manifest, "signals_missing": absent, "parents": _parents(context, rows), "suite": result}
    return Produced(frame, rows_in, checks, extra=extra)


def _instruments(
    context: StageContext,
) -> tuple[dict[str, FeatureRows], dict[str, pl.DataFrame], dict[str, str], int]:
    """Return rows and labels of the published instruments, and the others with the reason why they are missing."""
    rows, labels, missing, rows_in = {}, {}, {}, 0
    for instrument in context.settings.instruments:
        symbol = instrument.symbol
        try:
            frame = load_partition(context.root, PartitionKey("feature_rows", context.day, symbol))
            label = load_partition(context.root, PartitionKey("labels", context.day, symbol))
        except (PartitionMissing, PartitionQuarantined) as error:
            missing[symbol] = _first_reason(context, symbol, error)
            continue
        rows[symbol], labels[symbol] = FeatureRows.from_frame(frame), label
        rows_in += frame.height
    return rows, labels, missing, rows_in


def _first_reason(context: StageContext, symbol: str, error: Exception) -> str:
    """Return why an instrument is missing: the first asset of its chain that is in quarantine, else the error itself."""
    for asset in ("raw_ticks", "events", "point_events", "feature_rows", "labels"):
        try:
            open_partition(context.root, PartitionKey(asset, context.day, symbol))
        except PartitionQuarantined as found:
            return str(found)
        except PartitionMissing:
            continue
    return str(error)


def load_signals(
    root: DataRoot, settings: Settings, sessions: list[Session]
) -> tuple[dict[str, pl.DataFrame], dict[str, str]]:
    """Return each kind's signals over the sessions, sorted by ``ts_known``, and the absent kinds with reasons.

    The session before is among them, because what was known last yesterday still holds at the open.
    """
    found, absent = {}, {}
    for kind in SLOW_KINDS[settings.source]:
        frames = []
        for session in sessions:
            try:
                frames.append(load_partition(root, PartitionKey(f"{kind}_signals", session.date)))
            except (PartitionMissing, PartitionQuarantined) as error:
                if session is sessions[-1]:
                    absent[kind] = str(error)
        if frames:
            found[kind] = pl.concat(frames).sort("ts_known", maintain_order=True)
    return found, absent


def dataset(context: StageContext) -> Mapping[str, Any]:
    """Write down which sessions and rows the training window of this night holds, with its content hash."""
    table = load_dataset(context)
    days = [session.date for session in table.sessions]
    shares = {day: read_manifest(context.root, PartitionKey("dataset_day", day)) for day in days}
    labelled = table.labelled
    by_instrument = {
        item.symbol: {
            "rows": int((table.instrument_id == item.instrument_id).sum()),
            "labelled": int((labelled & (table.instrument_id == item.instrument_id)).sum()),
        }
        for item in table.instruments
    }
    content = {
        "night": context.day,
        "days": days,
        "rows": len(table),
        "labelled": int(labelled.sum()),
        "columns": list(table.columns),
        "fingerprint": table.fingerprint,
        "horizon_ns": table.horizon_ns,
        "memory_ns": table.memory_ns,
        "content_sha256": table.content_hash(),
        "instruments": by_instrument,
        "missing": {str(day): shares[day].extra.get("missing", {}) for day in days if shares[day].extra.get("missing")},
        "signals_missing": {
            str(day): shares[day].extra["signals_missing"] for day in days if shares[day].extra.get("signals_missing")
        },
        "shares": {str(day): shares[day].data_sha256 for day in days},
        "classes": {str(value): int((table.y == value).sum()) for value in (-1, 0, 1, LABEL_MISSING)},
    }
    write_json(context.root.night(context.day) / DATASET_FILE, content)
    return {
        "dagster/row_count": len(table),
        "rows_in": sum(share.rows for share in shares.values()),
        "rows_out": len(table),
        "labelled": content["labelled"],
        "features": len(table.columns),
        "days": [str(day) for day in days],
        "missing": content["missing"],
        "sha256": content["content_sha256"],
        "data_version": content["content_sha256"],
    }


def load_dataset(context: StageContext) -> Dataset:
    """Return the training table of a night; sessions of the window without a published share are left out.

    Raises
    ------
    PartitionMissing, PartitionQuarantined
        If the night's own session has none.
    """
    read_manifest(context.root, PartitionKey("dataset_day", context.day))
    sessions = context.recent_sessions(context.settings.training.window_sessions)
    shares = []
    for session in sessions:
        try:
            share = read_manifest(context.root, PartitionKey("dataset_day", session.date))
        except (PartitionMissing, PartitionQuarantined):
            continue
        shares.append((session, share.data_sha256))
    return _load(context.root, context.settings, tuple(shares))


@lru_cache(maxsize=1)
def _load(root: DataRoot, settings: Settings, shares: tuple[tuple[Session, str], ...]) -> Dataset:
    """Return the table of these shares; the last one is kept for the next stage of the same night."""
    from features.dataset_day import dataset_from_frames

    with stopwatch.part(stopwatch.INGEST):
        frames = [load_partition(root, PartitionKey("dataset_day", session.date)) for session, _ in shares]
        return dataset_from_frames(frames, settings, [session for session, _ in shares])


def _parents(context: StageContext, rows: Mapping[str, FeatureRows]) -> dict[str, str]:
    return {
        f"{asset}/{symbol}": read_manifest(context.root, PartitionKey(asset, context.day, symbol)).data_sha256
        for symbol in rows
        for asset in ("feature_rows", "labels")
    }

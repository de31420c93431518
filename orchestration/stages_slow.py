"""Stages of one session's slow signals: the raw frames, and what they say as of the moment it was known."""

import importlib
from typing import Any

import polars as pl

from features.signals.columns import HISTORY_SESSIONS
from marketdata.partitions import PartitionMissing, PartitionQuarantined, load_partition
from marketdata.paths import PartitionKey
from orchestration import stopwatch
from orchestration.raw_names import RAW_OF
from orchestration.stage import PartitionStage, Produced, StageContext


def raw_stage(kind: str) -> PartitionStage:
    """Return the stage that takes one kind of slow data from the source."""

    def raw(context: StageContext) -> Produced:
        from marketdata.suites import run_suite
        from marketdata.validation import audit_slow

        with stopwatch.part(stopwatch.reading(context.settings.source)):
            frame = context.source.slow_raw(kind, context.day)
        with stopwatch.part(stopwatch.QUALITY):
            checks, bad = audit_slow(kind, frame, context.session)
            suite_kind: Any = kind
            suite, result = run_suite(suite_kind, frame, context.settings)
        extra = {"origin": context.settings.source, "suite": result}
        return Produced(frame, frame.height, [*checks, *suite], bad, extra)

    return raw


def signal_stage(kind: str) -> PartitionStage:
    """Return the stage that turns the history of one kind into signals of a session."""

    def signals(context: StageContext) -> Produced:
        from features.signals.columns import SIGNAL_COLUMNS
        from marketdata.suites import run_suite

        history, skipped = load_history(context, kind)
        library: Any = importlib.import_module(f"features.signals.{kind}")
        with stopwatch.part(stopwatch.INGEST):
            frame = getattr(library, f"{kind}_signals")(history, context.settings, context.session)
        with stopwatch.part(stopwatch.QUALITY):
            checks, result = run_suite("signals", frame, context.settings, SIGNAL_COLUMNS[kind])
        detail = getattr(library, f"{kind}_summary")(history, frame, context.session)
        extra = {"history_sessions": len(history), "history_skipped": skipped, "suite": result, "detail": detail}
        return Produced(frame, sum(part.height for part in history), checks, None, extra)

    return signals


def load_history(context: StageContext, kind: str) -> tuple[list[pl.DataFrame], dict[str, str]]:
    """Return the published raw frames of the sessions up to the stage's, oldest first, and the sessions left out with reasons.

    Raises
    ------
    PartitionMissing, PartitionQuarantined
        If the stage's own session has no published frame.
    """
    sessions = context.recent_sessions(HISTORY_SESSIONS[kind])
    frames, skipped = [], {}
    for session in sessions:
        try:
            frames.append(load_partition(context.root, PartitionKey(RAW_OF[kind], session.date)))
        except (PartitionMissing, PartitionQuarantined) as error:
            if session.date == context.day:
                raise
            skipped[session.date.isoformat()] = str(error)
    return frames, skipped

"""Stages of one session and instrument: raw ticks, events, point events, feature rows, labels."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from marketdata.clock import NS_PER_DAY
from marketdata.events import EventArray, events_from_frame, events_to_frame
from marketdata.partitions import CheckResult, load_partition, read_manifest
from marketdata.taker_cost import TakerCost
from orchestration import companion, stopwatch, warming
from orchestration.inbox import inbox_path, read_inbox
from orchestration.stage import Produced, StageContext


def raw_ticks(context: StageContext) -> Produced:
    """Return the source's rows as it gives them, or those of a file in the inbox."""
    from marketdata.sources import source_findings
    from marketdata.suites import run_suite
    from marketdata.validation import audit_raw_ticks

    symbol = _symbol(context)
    findings: list[CheckResult] = []
    facts: dict[str, object] = {}
    given = inbox_path(context.root, context.day, symbol)
    if given.exists():
        frame, origin = read_inbox(given), f"inbox/{given.name}"
    else:
        with stopwatch.part(stopwatch.reading(context.settings.source)):
            frame = context.source.raw_ticks(context.day, symbol)
            findings, facts = source_findings(context.source, context.day, symbol)
        origin = context.settings.source
    with stopwatch.part(stopwatch.QUALITY):
        checks, bad = audit_raw_ticks(frame, context.settings, symbol)
        suite_checks, result = run_suite("raw", frame, context.settings)
    extra = {"origin": origin, "suite": result, **facts}
    return Produced(frame, frame.height, [*checks, *findings, *suite_checks], bad, extra)


def events(context: StageContext) -> Produced:
    """Return the raw rows in the one event form, receive times corrected or modelled."""
    from marketdata.validation import audit_events

    symbol = _symbol(context)
    raw = load_partition(context.root, context.key("raw_ticks"))
    with stopwatch.part(stopwatch.INGEST):
        found = context.source.events(raw, context.day, symbol)
    with stopwatch.part(stopwatch.QUALITY):
        traded = context.source.traded_lots(raw, context.day, symbol)
        checks, bad = audit_events(found, context.settings.instrument(symbol), context.session, traded_lots=traded)
    return Produced(events_to_frame(found), raw.height, checks, bad, _parents(context, "raw_ticks"))


def point_events(context: StageContext) -> Produced:
    """Return aggressive trades and moves of the mid, one row an aggressor group."""
    from features.points import point_events as fold_points
    from marketdata.suites import run_suite

    found = load_events(context)
    with stopwatch.part(stopwatch.INGEST):
        frame = fold_points(found, context.settings.instrument(_symbol(context)))
    with stopwatch.part(stopwatch.QUALITY):
        checks, result = run_suite("points", frame, context.settings)
    return Produced(frame, len(found), checks, extra={**_parents(context, "events"), "suite": result})


def feature_rows(context: StageContext) -> Produced:
    """Return the raw features at every sampled moment of the session."""
    from features.pipeline import rows_of_session, session_pipeline
    from marketdata.suites import run_suite
    from marketdata.validation import audit_feature_rows

    instrument = context.settings.instrument(_symbol(context))
    found = load_events(context)
    with stopwatch.part(stopwatch.COMPILE):
        companion.wait_for(warming.FEATURES)
    with stopwatch.part(stopwatch.INGEST):
        earlier = neighbours(context, range(-context.settings.sampling.warmup_sessions, 0))
        rows = rows_of_session(context.settings, instrument, context.session, found, earlier)
        frame = rows.to_frame()
    with stopwatch.part(stopwatch.QUALITY):
        checks, bad = audit_feature_rows(frame, context.session)
        suite_checks, result = run_suite("features", frame, context.settings)
    fingerprint = session_pipeline(context.settings, instrument, context.session).fingerprint
    extra = {**_parents(context, "events"), "fingerprint": fingerprint, "suite": result}
    return Produced(frame, len(found), [*checks, *suite_checks], bad, extra)


def labels(context: StageContext) -> Produced:
    """Return the label of every feature row, in the form that the settings choose.

    Where the market never closes, a window that reaches beyond midnight is followed into the next sessions as far as the source
    has them.
    """
    from features.labels import label_spec, make_labels
    from features.rows import FeatureRows
    from marketdata.suites import run_suite
    from marketdata.validation import audit_labels

    settings, session = context.settings, context.session
    instrument = settings.instrument(_symbol(context))
    rows = FeatureRows.from_frame(load_partition(context.root, context.key("feature_rows")))
    found = load_events(context)
    with stopwatch.part(stopwatch.INGEST):
        if settings.calendar == "24/7":
            reach = settings.label.horizon_ns + settings.latency.to_venue_ns
            days = -(-reach // NS_PER_DAY)
            found = np.concatenate([found, *neighbours(context, range(1, days + 1))])
            session = replace(session, close_ns=session.close_ns + days * NS_PER_DAY)
        spec = label_spec(settings.label, settings.latency)
        cost = TakerCost.of(settings, instrument)
        frame = make_labels(spec, rows, found, instrument, session, cost)
    with stopwatch.part(stopwatch.QUALITY):
        checks, bad = audit_labels(frame, rows)
        suite_checks, result = run_suite("labels", frame, settings)
    extra = {
        **_parents(context, "feature_rows", "events"),
        "form": spec.form,
        "label": spec.fingerprint,
        "taker": {"ppm": cost.taker_ppm, "trade_nanos": cost.trade_nanos},
        "suite": result,
    }
    return Produced(frame, len(rows.keys), [*checks, *suite_checks], bad, extra)


def neighbours(context: StageContext, offsets: Iterable[int]) -> list[EventArray]:
    """Return the events of sessions at these offsets from the stage's, as far as the source has them, oldest first.

    They come from the source and not from the store, so that a partition does not depend on the order of ingest.
    """
    sessions = context.source.sessions()
    here = next((k for k, session in enumerate(sessions) if session.date == context.day), None)
    found = []
    for offset in offsets:
        if here is None or not 0 <= here + offset < len(sessions):
            continue
        day = sessions[here + offset].date
        found.append(context.source.events(context.source.raw_ticks(day, _symbol(context)), day, _symbol(context)))
    return found


def load_events(context: StageContext) -> EventArray:
    """Return the published events of the stage's session and instrument."""
    return events_from_frame(load_partition(context.root, context.key("events")))


def _symbol(context: StageContext) -> str:
    assert context.symbol is not None, "a stage of the instrument grid was given no instrument"
    return context.symbol


def _parents(context: StageContext, *assets: str) -> dict[str, object]:
    return {f"parent_{asset}": read_manifest(context.root, context.key(asset)).data_sha256 for asset in assets}

"""Stages that show the night: Data Docs of its partitions, and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, Final

from backtests.report.record import NightRecord, save_record
from features.signals.columns import SLOW_KINDS
from marketdata.partitions import PartitionMissing, PartitionQuarantined, read_manifest, read_quarantined
from marketdata.paths import DataRoot, PartitionKey
from orchestration import stopwatch
from orchestration.resources import RootResource
from orchestration.side_files import RECORD, SUMMARY, write_json
from orchestration.stage import StageContext
from orchestration.stages_evidence import CHAMPION

DATA_DOCS: Final = "data_docs"
TICK_SUITES: Final = ("raw_ticks", "point_events", "feature_rows", "labels")
"""Assets of the instrument grid whose partitions hold a suite's result."""


def data_docs(context: StageContext) -> Mapping[str, Any]:
    """Render Great Expectations' Data Docs from the suite results beside the session's partitions."""
    from marketdata.suite_docs import render_data_docs

    results = {}
    symbols = [item.symbol for item in context.settings.instruments]
    keys = [PartitionKey(asset, context.day, symbol) for asset in TICK_SUITES for symbol in symbols]
    keys += [PartitionKey(f"{kind}_signals", context.day) for kind in SLOW_KINDS[context.settings.source]]
    for key in (*keys, PartitionKey("dataset_day", context.day)):
        try:
            manifest = read_manifest(context.root, key)
        except PartitionQuarantined:
            manifest = read_quarantined(context.root, key)
        except PartitionMissing:
            continue
        suite = manifest.extra.get("suite")
        if isinstance(suite, dict) and suite:
            results[str(key)] = suite
    with stopwatch.part(stopwatch.QUALITY):
        folder = context.root.night(context.day) / DATA_DOCS
        index = render_data_docs(results, folder)
    return {"suites": len(results), "page": str(index)}


def nightly_report(context: StageContext) -> Mapping[str, Any]:
    """Write the night's record and its page."""
    with stopwatch.part(stopwatch.REPORT):
        record = _write(context, None, ())
    page = context.root.report(context.day)
    return {
        "page": str(page.resolve()),
        "bytes": page.stat().st_size,
        "status": record.status.headline,
        "reason": record.status.reason,
    }


def finish_night(root: DataRoot, day: date, traded: date | None, failures: Sequence[str]) -> Path | None:
    """Write the page again with what was not known when it was made: costs, failures, the session traded after the decision.

    Returns
    -------
    Path or None
        The page; None where the night did not come as far as a decision.
    """
    resource = RootResource(path=str(root.path))
    context = StageContext(root, root.settings(), resource, day)
    if not (root.night(day) / CHAMPION).exists():
        return None
    _write(context, traded, [f"failed: {failure}" for failure in failures])
    return root.report(day)


def _write(context: StageContext, traded: date | None, notes: Sequence[str]) -> NightRecord:
    from backtests.report.render import render_night_report
    from orchestration.collect_night import collect_record

    record = collect_record(context, traded, notes)
    night = context.root.night(context.day)
    save_record(record, night / RECORD)
    write_json(night / SUMMARY, summary_of(record, context.root))
    render_night_report(record, context.root.report(context.day))
    return record


def summary_of(record: NightRecord, root: DataRoot) -> dict[str, Any]:
    """Return the night in short, as plain data."""
    paper = record.paper
    left_out = {"ts_ns", "equity", "risk_events"}
    return {
        "night": record.day,
        "source": record.source,
        "world": record.world,
        "status": asdict(record.status),
        "stages": [asdict(stage) for stage in record.stages],
        "league": [asdict(row) for row in record.league],
        "decision": asdict(record.decision) if record.decision else None,
        "controls": [asdict(row) for row in record.controls],
        "paper": {k: v for k, v in asdict(paper).items() if k not in left_out} if paper else None,
        "parity": [asdict(check) for check in record.parity],
        "seconds": {timing.part: timing.seconds for timing in record.timings},
        "wall_s": record.wall_s,
        "peak_memory_bytes": record.peak_memory_bytes,
        "notes": list(record.notes),
        "report": str(root.report(record.day).resolve()),
    }

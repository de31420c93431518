"""Stages that trade the session on paper and compare what was traded with the offline path."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from features.rows import FeatureRows
from marketdata.events import EventArray, empty_events, events_from_frame, merge_events
from marketdata.partitions import PartitionMissing, PartitionQuarantined, load_partition
from marketdata.paths import PartitionKey
from models.forecast import FORECAST_DTYPE, ForecastArray
from orchestration import stopwatch
from orchestration.side_files import read_json, write_json
from orchestration.stage import StageContext
from orchestration.stages_dataset import load_signals
from orchestration.stages_ticks import neighbours
from orchestration.standing import load_trader, trader_of

if TYPE_CHECKING:  # loading a model is not part of loading the code location
    from models.bundle import Bundle
    from serving.session import SessionResult

PAPER: Final = "paper.json"
PAPER_ROWS: Final = "paper_rows.npz"
PAPER_TIMING: Final = "paper_timing.json"
PARITY: Final = "parity.json"
TIMINGS: Final = ("forecast_p50_us", "forecast_p99_us")


def paper_session(context: StageContext) -> Mapping[str, Any]:
    """Trade the session on paper with the champion at its open, else with the best candidate in the shadow."""
    from serving.session import run_session
    from trading.carried import save_trace, session_trace

    trader = trader_of(context.root, context.session)
    night = context.root.night(context.day)
    if trader.mode is None:
        write_json(night / PAPER, {"mode": None, "reason": trader.reason})
        return {"mode": "nobody", "reason": trader.reason}
    with stopwatch.part(stopwatch.PAPER):
        bundle = load_trader(context.root, context.session, trader)
        events = session_events(context)
        signals, absent = load_signals(context.root, context.settings, context.recent_sessions(2))
        result = run_session(
            context.root,
            context.settings,
            context.session,
            events,
            bundle,
            trader.mode,
            signals=signals,
            earlier=earlier_events(context),
        )
        _save_rows(context, result)
        save_trace(context.root, session_trace(context.day, result.journal, context.settings.instruments))
    summary = dict(result.summary)
    write_json(night / PAPER_TIMING, {name: summary.pop(name, None) for name in TIMINGS})
    write_json(
        night / PAPER,
        {
            **summary,
            "mode": "champion" if trader.mode == "paper" else "shadow",
            "trader_mode": trader.mode,
            "reason": trader.reason,
            "night": trader.night,
            "session_id": result.session_id,
            "signals_absent": absent,
            "late_rows": result.late_rows,
            "events": len(events),
        },
    )
    shown = ("net_pnl", "fees", "orders", "fills", "round_trips", "refused_by_risk", "risk_state")
    return {
        "mode": trader.mode,
        "model": trader.model,
        "reason": trader.reason,
        "rows_in": len(events),
        "journal": str(result.folder),
        **{name: summary[name] for name in shown},
    }


def parity_report(context: StageContext) -> Mapping[str, Any]:
    """Compare the paper session with the offline path: feature rows, forecasts, fills, the whole journal."""
    from backtests.replay import run_backtest
    from serving.parity import parity_report as compare
    from serving.session_files import JOURNAL_FILE
    from trading.carried import load_carried
    from trading.journal import Journal, load_journal

    night = context.root.night(context.day)
    paper = read_json(night / PAPER)
    if paper["mode"] is None:
        write_json(night / PARITY, {"checks": [], "reason": paper["reason"]})
        return {"passed": True, "compared": 0, "reason": paper["reason"]}
    with stopwatch.part(stopwatch.PAPER):
        events = session_events(context)

        def replay(forecasts: ForecastArray) -> Journal:
            return run_backtest(context.settings, context.session, events, forecasts, carried=carried).journal

        carried = load_carried(context.root, context.settings, context.day)
        stored = stored_rows(context)
        bundle = load_trader(context.root, context.session, trader_of(context.root, context.session))
        report = compare(
            load_journal(context.root.journals / paper["session_id"] / JOURNAL_FILE),
            replay,
            live_rows=_load_rows(night / PAPER_ROWS),
            stored_rows=stored,
            recomputed=recomputed_forecasts(context, bundle, stored),
        )
    write_json(night / PARITY, {"checks": report.to_dicts()})
    return {
        "passed": report.passed,
        "compared": sum(check.compared for check in report.checks),
        "different": sum(check.different for check in report.checks),
        "checks": {check.name: check.passed for check in report.checks},
    }


def session_events(context: StageContext) -> EventArray:
    """Return the published events of all instruments of the session, merged by receive time; missing ones are left out."""
    parts = []
    for item in context.settings.instruments:
        try:
            frame = load_partition(context.root, PartitionKey("events", context.day, item.symbol))
        except (PartitionMissing, PartitionQuarantined):
            continue
        parts.append(events_from_frame(frame))
    return merge_events(parts)


def earlier_events(context: StageContext) -> EventArray | None:
    """Return the events of the sessions that warm the features, merged; None where every session starts cold."""
    warmup = context.settings.sampling.warmup_sessions
    if not warmup:
        return None
    parts = []
    for item in context.settings.instruments:
        own = neighbours(context.of(item.symbol), range(-warmup, 0))
        parts.append(np.concatenate(own) if own else empty_events(0))
    return merge_events(parts)


def stored_rows(context: StageContext) -> dict[str, FeatureRows]:
    """Return the published feature rows of the session by instrument."""
    found = {}
    for item in context.settings.instruments:
        try:
            frame = load_partition(context.root, PartitionKey("feature_rows", context.day, item.symbol))
        except (PartitionMissing, PartitionQuarantined):
            continue
        found[item.symbol] = FeatureRows.from_frame(frame)
    return found


def recomputed_forecasts(context: StageContext, bundle: "Bundle", stored: Mapping[str, FeatureRows]) -> ForecastArray:
    """Return the forecasts of the session made again from stored feature rows, through the night's join and inference."""
    from features.assembler import RowAssembler
    from models.bundle import BundlePredictor

    instruments = [(k, item) for k, item in enumerate(context.settings.instruments) if item.symbol in stored]
    ts_recv = np.concatenate([stored[item.symbol].key("ts_recv") for _, item in instruments])
    counts = [len(stored[item.symbol].keys) for _, item in instruments]
    place = np.repeat(np.array([k for k, _ in instruments], np.int64), counts)
    ids = np.repeat(np.array([item.instrument_id for _, item in instruments], np.int64), counts)
    values = np.concatenate([stored[item.symbol].values for _, item in instruments])
    order = np.lexsort((np.arange(len(ids)), ids, ts_recv))
    assembler = RowAssembler(context.settings)
    state = assembler.init()
    signals, _ = load_signals(context.root, context.settings, context.recent_sessions(2))
    for kind, frame in signals.items():
        state = assembler.update_signals(state, kind, frame)
    x = assembler.assemble(state, place[order], ts_recv[order], values[order])
    known = set(bundle.manifest.instrument_ids)
    traded = {item.instrument_id for _, item in instruments if item.is_traded and item.instrument_id in known}
    kept = np.flatnonzero(np.isin(ids[order], sorted(traded)))
    predictor = BundlePredictor(bundle)
    _, probabilities, edge = predictor.step_rows(
        predictor.init(context.session), ids[order][kept], ts_recv[order][kept], x[kept]
    )
    out = np.zeros(len(kept), FORECAST_DTYPE)
    out["ts_recv"], out["instrument_id"] = ts_recv[order][kept], ids[order][kept]
    out["due_ns"] = out["ts_recv"] + bundle.manifest.inference_ns
    out["p_down"], out["p_flat"], out["p_up"] = probabilities.T
    out["edge_units"] = edge
    return out


def _save_rows(context: StageContext, result: "SessionResult") -> None:
    """Keep the executor's feature rows for the comparison."""
    folder = context.root.night(context.day)
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {"columns": np.array(result.columns)}
    for place, item in enumerate(context.settings.instruments):
        rows = result.feature_rows(place)
        if len(rows.keys):
            arrays[f"keys.{item.symbol}"], arrays[f"values.{item.symbol}"] = rows.keys, rows.values
    temporary = folder / f"{PAPER_ROWS}.tmp.npz"
    np.savez(temporary, **arrays)
    temporary.replace(folder / PAPER_ROWS)


def _load_rows(path: Path) -> dict[str, FeatureRows]:
    with np.load(path, allow_pickle=False) as stored:
        columns = tuple(str(name) for name in stored["columns"])
        symbols = [name.removeprefix("keys.") for name in stored.files if name.startswith("keys.")]
        return {s: FeatureRows(stored[f"keys.{s}"], stored[f"values.{s}"], columns) for s in symbols}

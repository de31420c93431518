"""Benchmarks of trading: a session through the engine, one live batch through it, decision rows through the screen."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np

from backtests.replay import replay
from backtests.screen import Screen
from features.dataset import Dataset
from features.dataset_day import build_dataset_day, dataset_from_frames
from features.labels import executable_labels
from features.pipeline import rows_of_session
from marketdata.clock import Session
from marketdata.events import EventArray, merge_events
from marketdata.settings import Settings
from marketdata.sources import build_source, preset
from models.forecast import FORECAST_DTYPE, ForecastArray, quantise
from trading.config import engine_config, last_entry_ns
from trading.engine import Engine
from trading.journal import FILL
from trading.strategies import touch_maker

REPEATS: Final = 5
BATCHES: Final = 5_000
BATCH_ROWS: Final = 8


@lru_cache(maxsize=1)
def _market() -> tuple[Settings, Session, EventArray, Dataset, ForecastArray]:
    """Return the first simulated session of all instruments, its decision rows, and seeded random forecasts."""
    settings = preset("simulated", None, sessions=1)
    loose = settings.risk.model_copy(update={"daily_loss": 1e6})
    capital = settings.strategy.model_copy(update={"capital": 1e6})
    settings = settings.model_copy(update={"risk": loose, "strategy": capital})
    source = build_source(settings)
    session = source.sessions()[0]
    events, rows, labels = [], {}, {}
    for item in settings.instruments:
        own = source.events(source.raw_ticks(session.date, item.symbol), session.date, item.symbol)
        rows[item.symbol] = rows_of_session(settings, item, session, own)
        labels[item.symbol] = executable_labels(rows[item.symbol], own, item, settings.label, settings.latency, session)
        events.append(own)
    frame, _ = build_dataset_day(session.date, settings, rows, labels, {}, {})
    dataset = dataset_from_frames([frame], settings, [session])
    forecasts = np.zeros(len(dataset), FORECAST_DTYPE)
    forecasts["ts_recv"] = dataset.ts_recv
    forecasts["due_ns"] = dataset.ts_recv + settings.latency.inference_ns
    forecasts["instrument_id"] = dataset.instrument_id
    edge = np.random.default_rng(7).normal(0.0, 3.0, len(dataset))
    up = 0.4 + 0.3 * np.tanh(edge / 3.0)
    forecasts["edge_units"] = quantise(edge)
    forecasts["p_up"], forecasts["p_down"], forecasts["p_flat"] = quantise(up), quantise(0.8 - up), np.float32(0.2)
    return settings, session, merge_events(events), dataset, forecasts


def _best_of(run: Callable[[], object]) -> float:
    """Return the shortest of a few wall times, after one run that compiles."""
    run()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def session_taker() -> dict[str, Any]:
    """Trade a session of five instruments on forecasts through agent, venue and scheduler."""
    settings, session, events, _, forecasts = _market()
    config = engine_config(settings, session)
    result = replay(config, events, forecasts)
    if result.metrics().round_trips < 100:
        raise AssertionError("the taker did not trade")
    seconds = _best_of(lambda: replay(config, events, forecasts))
    return {"n": len(events), "unit": "event", "per_s": len(events) / seconds}


def session_maker() -> dict[str, Any]:
    """Quote both sides of five instruments all day, queue positions and cancels included."""
    settings, session, events, _, forecasts = _market()
    maker = touch_maker(lots=1, max_position=3, last_entry_ns=last_entry_ns(settings, session))
    config = engine_config(settings, session, strategy=maker, queue_model="probabilistic")
    result = replay(config, events, forecasts[:0])
    if result.metrics().maker_fills < 100:
        raise AssertionError("the maker was not filled")
    seconds = _best_of(lambda: replay(config, events, forecasts[:0]))
    return {"n": len(events), "unit": "event", "per_s": len(events) / seconds}


def engine_batch() -> dict[str, Any]:
    """Hand the engine a few market rows at a time, as a live feed does."""
    settings, session, events, _, forecasts = _market()
    engine = Engine(engine_config(settings, session))
    state = engine.init()
    times = np.empty(BATCHES)
    f = fills = 0
    for k in range(BATCHES):
        batch = events[k * BATCH_ROWS : (k + 1) * BATCH_ROWS]
        until = int(batch["ts_recv"][-1])
        due = int(np.searchsorted(forecasts["due_ns"], until))
        start = time.perf_counter()
        state, rows = engine.run(state, batch, forecasts[f:due], None, until)
        times[k] = time.perf_counter() - start
        fills += int((rows["kind"] == FILL).sum())
        f = due
    if state.late_rows or fills == 0:
        raise AssertionError("the live engine lost rows or did not trade")
    p50, p99 = np.quantile(times[BATCHES // 10 :], [0.5, 0.99]) * 1e6
    return {
        "n": BATCHES,
        "unit": "batch",
        "per_s": BATCHES / float(times.sum()),
        "p50_us": float(p50),
        "p99_us": float(p99),
    }


def screen_rows() -> dict[str, Any]:
    """Screen one set of forecasts on a prepared dataset, as the gate's control runs do."""
    settings, _, _, dataset, forecasts = _market()
    screen = Screen.build(dataset, settings)
    if screen.run(forecasts).round_trips < 100:
        raise AssertionError("the screen did not trade")
    seconds = _best_of(lambda: screen.run(forecasts))
    return {"n": len(dataset), "unit": "row", "per_s": len(dataset) / seconds}


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "session_taker": session_taker,
    "session_maker": session_maker,
    "engine_batch": engine_batch,
    "screen_rows": screen_rows,
}

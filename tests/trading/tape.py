"""Hand-made tapes, engines and strategies for the engine's tests."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import cfunc

from marketdata.clock import NS_PER_MS, NS_PER_S, Session
from marketdata.events import ASK, BID, EVENT_DTYPE, F_LAST, EventArray, merge_events
from marketdata.instruments import BookKind, Fees, Instrument
from marketdata.settings import LatencySettings, RiskSettings
from models.forecast import FORECAST_DTYPE, ForecastArray
from tests.features.tape import OPEN_NS as TAPE_OPEN_NS
from tests.features.tape import random_tape
from trading.config import EngineConfig
from trading.engine import FOREVER, Engine, RunState
from trading.hooks import DECIDE_SIGNATURE, find_queue_model
from trading.journal import Journal
from trading.strategies import (
    O_AT_CAP,
    O_CANCEL,
    O_ID,
    O_LOTS,
    O_PRICE,
    O_SIDE,
    O_TIF,
    V_ASK,
    V_BID,
    V_OWN_ASK_ID,
    V_OWN_BID_ID,
    V_TICK,
    V_TIMER_NS,
    WAKE_FORECAST,
    WAKE_RESPONSE,
    WAKE_TIMER,
    WAKE_TOP,
    Strategy,
    taker,
)
from trading.venue_rules import VenueRules

OPEN_NS = TAPE_OPEN_NS
SESSION = Session(date(2023, 11, 14), OPEN_NS, OPEN_NS + 600 * NS_PER_S)
LATENCY = LatencySettings(
    feed_ns=NS_PER_MS, inference_ns=2_000_000, decision_ns=100_000, order_ns=2_000_000, response_ns=2_000_000
)
LOOSE = RiskSettings(
    max_position_lots=100, max_order_lots=100, max_orders_per_s=1_000, price_collar_bps=10_000, daily_loss=1e9
)
CAPITAL = 1e9


def instrument(
    k: int = 0, kind: BookKind = BookKind.MATCHING, *, maker_ppm: int = -20, taker_ppm: int = 30
) -> Instrument:
    return Instrument(
        symbol=f"I{k}",
        instrument_id=k,
        venue="T",
        unit_nanos=1_000_000 + 7 * k,
        tick_units=5,
        price_decimals=0.01,
        book_kind=kind,
        fees=Fees(maker_ppm=maker_ppm, taker_ppm=taker_ppm),
    )


class Tape:
    """A tape written by hand: times in milliseconds from the session's open, at the venue."""

    def __init__(self, instrument_id: int = 0) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.instrument_id = instrument_id

    def __call__(self, ms: float, action: int, side: int, price: int, lots: int, last: bool = True) -> "Tape":
        ts = OPEN_NS + round(ms * NS_PER_MS)
        flags = F_LAST if last else 0
        row = (ts, ts + LATENCY.feed_ns, price, lots, 0, len(self.rows), self.instrument_id, action, side, flags, 0)
        self.rows.append(row)
        return self

    def events(self) -> EventArray:
        return np.array(self.rows, dtype=EVENT_DTYPE)


def forecast(ms: float, edge: float, k: int = 0, *, due_ms: float | None = None) -> ForecastArray:
    """A confident forecast whose row was received ``ms`` after the open, and that arrives then or at ``due_ms``."""
    row = np.zeros(1, FORECAST_DTYPE)
    row["ts_recv"] = OPEN_NS + round(ms * NS_PER_MS)
    row["due_ns"] = row["ts_recv"] if due_ms is None else OPEN_NS + round(due_ms * NS_PER_MS)
    row["edge_units"], row["instrument_id"] = edge, k
    row["p_up"], row["p_down"] = (0.9, 0.05) if edge > 0 else (0.05, 0.9)
    row["p_flat"] = 0.05
    return row


def engine(
    strategy: Strategy,
    *,
    instruments: tuple[Instrument, ...] = (instrument(),),
    risk: RiskSettings = LOOSE,
    latency: LatencySettings = LATENCY,
    queue: str = "risk_averse",
    capital: float = CAPITAL,
    session: Session = SESSION,
    clock_ns: int = 60 * NS_PER_S,
    feed_bound_ns: int = 20 * NS_PER_MS,
    book_levels: int = 256,
    rules: Mapping[str, VenueRules] | None = None,
) -> Engine:
    return Engine(
        EngineConfig(
            session=session,
            instruments=instruments,
            latency=latency,
            risk=risk,
            strategy=strategy,
            queue=find_queue_model(queue),
            capital=capital,
            clock_ns=clock_ns,
            ending_ns=session.close_ns - 15 * NS_PER_S,
            feed_bound_ns=feed_bound_ns,
            book_levels=book_levels,
            rules=rules or {},
        )
    )


def run(
    made: Engine, events: EventArray, forecasts: ForecastArray | None = None, controls: Any = None
) -> tuple[RunState, Journal]:
    state, rows = made.run(made.init(), events, forecasts, controls, FOREVER)
    assert state.illegal_answers == 0
    return state, rows


def simple_taker(**changes: Any) -> Strategy:
    values = {
        "horizon_ns": 10 * NS_PER_S,
        "order_lots": 1,
        "last_entry_ns": SESSION.close_ns - 40 * NS_PER_S,
        "margin": 0.25,
        "fraction": 0.25,
        "capital": CAPITAL,
    }
    return taker(**(values | changes))


S_ROWS = 8


@cfunc(DECIDE_SIGNATURE, cache=True)
def decide_script(
    now: int, wake: int, ints: Any, floats: Any, view: Any, forecast: Any, memory: Any, out: npt.NDArray[np.int64]
) -> int:
    """Send what is written in ``ints``: rows of (time, cancel, side, tif, price, lots, id) when their time has come."""
    rows = 0
    while memory[0] < len(ints) // 7 and ints[7 * memory[0]] <= now and rows < S_ROWS:
        k = 7 * memory[0]
        out[rows, O_CANCEL] = ints[k + 1]
        out[rows, O_SIDE] = ints[k + 2]
        out[rows, O_TIF] = ints[k + 3]
        out[rows, O_PRICE] = ints[k + 4]
        out[rows, O_LOTS] = ints[k + 5]
        out[rows, O_ID] = ints[k + 6]
        out[rows, O_AT_CAP] = 0
        rows += 1
        memory[0] += 1
    if memory[0] < len(ints) // 7:
        view[V_TIMER_NS] = max(ints[7 * memory[0]], now + 1)
    return rows


def script(*orders: tuple[Any, ...]) -> Strategy:
    """Orders at times: (ms, side, tif, price, lots) or (ms, "cancel", id). It wakes on the first quote, then by timer."""
    ints: list[int] = []
    for order in orders:
        at = OPEN_NS + round(order[0] * NS_PER_MS)
        if order[1] == "cancel":
            ints += [at, 1, 0, 0, 0, 0, order[2]]
        else:
            ints += [at, 0, *order[1:], 0]
    return Strategy("script", decide_script, WAKE_TOP | WAKE_TIMER, tuple(ints), ())


@cfunc(DECIDE_SIGNATURE, cache=True)
def decide_chaos(
    now: int, wake: int, ints: Any, floats: Any, view: Any, forecast: Any, memory: Any, out: npt.NDArray[np.int64]
) -> int:
    """Orders and cancels of every kind, drawn from a hash of the time: nothing sensible, everything legal."""
    x = (now ^ (ints[0] * 2_654_435_761)) & 0x7FFFFFFF
    for _ in range(3):
        x = (x * 1_103_515_245 + 12_345) & 0x7FFFFFFF
    if x % 4 != 0 or view[V_BID] == 0 or view[V_ASK] == 0:
        view[V_TIMER_NS] = now + 50_000_000 + x % 900_000_000
        return 0
    rows = 0
    own = view[V_OWN_BID_ID] if (x >> 5) % 2 else view[V_OWN_ASK_ID]
    if own > 0 and (x >> 6) % 2:
        out[0, O_CANCEL] = 1
        out[0, O_ID] = own
        rows = 1
    side = 1 if (x >> 7) % 2 else -1
    touch = view[V_BID] if side > 0 else view[V_ASK]
    out[rows, O_CANCEL] = 0
    out[rows, O_SIDE] = side
    out[rows, O_TIF] = 1 + (x >> 8) % 3
    out[rows, O_PRICE] = touch + ((x >> 10) % 5 - 2) * view[V_TICK]
    out[rows, O_LOTS] = 1 + (x >> 13) % 9
    out[rows, O_AT_CAP] = 0
    view[V_TIMER_NS] = now + 1 + (x >> 3) % 400_000_000
    return rows + 1


def chaos(seed: int) -> Strategy:
    mask = WAKE_TOP | WAKE_TIMER | WAKE_RESPONSE | WAKE_FORECAST
    return Strategy("chaos", decide_chaos, mask, (seed,), ())


def random_market(seed: int, groups: int, count: int = 2, *, jitter: bool = True) -> EventArray:
    """A random tape of several instruments whose feed delay varies between them and from row group to row group."""
    rng = np.random.default_rng(seed)
    parts = []
    for k in range(count):
        events = random_tape(seed * 31 + k, groups, instrument_id=k)
        if jitter:
            delay = rng.integers(0, 5 * NS_PER_MS, len(np.unique(events["sequence"])))
            events["ts_recv"] = np.maximum.accumulate(events["ts_event"] + delay[events["sequence"]])
        parts.append(events)
    return merge_events(parts)


def random_forecasts(seed: int, count: int, events: EventArray, instruments: int = 2) -> ForecastArray:
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, FORECAST_DTYPE)
    rows["ts_recv"] = np.sort(rng.choice(events["ts_recv"], count))
    rows["due_ns"] = rows["ts_recv"] + LATENCY.inference_ns
    rows["instrument_id"] = rng.integers(0, instruments, count)
    rows["edge_units"] = np.round(rng.normal(0, 20, count), 3)
    up = np.where(rows["edge_units"] > 0, 0.8, 0.1)
    rows["p_up"], rows["p_down"], rows["p_flat"] = up, 0.9 - up, 0.1
    return rows


def quoted(tape: Tape, bid: int = 10_000, ask: int = 10_005, lots: int = 10, ms: float = 0.0) -> Tape:
    """Put one level on each side of an empty book."""
    from marketdata.events import LEVEL

    tape(ms, LEVEL, BID, bid, lots, last=False)
    return tape(ms, LEVEL, ASK, ask, lots)


def with_kind(item: Instrument, kind: BookKind) -> Instrument:
    return item.model_copy(update={"book_kind": kind})


def slower(latency: LatencySettings, **changes: int) -> LatencySettings:
    return latency.model_copy(update=changes)

"""The engine's speed table: a taker on ten million quotes and the risk gate, one core; makers are in ``makers.py``.

Each runs the engine as every backtest does (agent, venue, scheduler, risk, journal), and hftbacktest in the same run, in a
process of its own (``peer_hftbacktest.py``), where the peer folder and an interpreter with it are there.

Times of both are processor time, the shortest of a few runs: what else the machine does counts for neither.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import cfunc, njit

from benchmarks.backtest_feeds import FEED_NS, tick_events
from benchmarks.cycle_counter import IS_AVAILABLE, cycles, cycles_per_ns
from benchmarks.peers import peer_python, peers_folder, run_generator
from marketdata.clock import NS_PER_S, Session
from marketdata.events import ASK, BID, EventArray, empty_events
from marketdata.instruments import BookKind, Fees, Instrument
from marketdata.settings import LatencySettings, RiskSettings
from trading.config import EngineConfig
from trading.engine import FOREVER, Engine
from trading.hooks import DECIDE_SIGNATURE, QUEUE_MODELS
from trading.journal import FILL, Journal
from trading.orders import IOC, OPEN
from trading.risk import check_order
from trading.state import (
    G_HIGH,
    G_LIVE,
    I_ASK,
    I_ASK_LOTS,
    I_BID,
    I_BID_LOTS,
    I_BUY_WORKING,
    I_SELL_WORKING,
    AgentState,
    EngineParameters,
)
from trading.strategies import (
    O_AT_CAP,
    O_CANCEL,
    O_LOTS,
    O_PRICE,
    O_SIDE,
    O_TIF,
    V_ASK,
    V_BID,
    V_POSITION,
    V_UNSETTLED,
    WAKE_TOP,
    Floats,
    Ints,
    Strategy,
    touch_maker,
)
from trading.venue_rules import SquareRootImpact, VenueRules

TICKS: Final = 10_000_000
REPEATS: Final = 5
GATE_ORDERS: Final = 200_000
GATE_LIVE: Final = 32
"""Live orders of ours that each order is compared with, half of them on each side."""
GATE_EVERY_NS: Final = 20_000
ORDER_NS: Final = 1_000
THROUGH_TICKS: Final = 50
SLIPPAGE_BPS: Final = 1.0
"""Square-root impact of an order as large as a day's volume; what one lot of a million pays is rounded up to a tick."""
LIMITS: Final = RiskSettings(
    max_position_lots=1_000, max_order_lots=1_000, max_orders_per_s=100_000, price_collar_bps=10_000, daily_loss=1e8
)


@cfunc(DECIDE_SIGNATURE, cache=True)
def decide_table(
    now: int,
    wake: int,
    ints: Ints,
    floats: Floats,
    view: Ints,
    forecast: Floats,
    memory: Ints,
    out: npt.NDArray[np.int64],
) -> int:
    """Keep the position that a table of times and signals asks for, by IOC orders through the touch; asked at every tick."""
    n = len(ints) // 2
    i = memory[0]
    while i + 1 < n and ints[i + 1] + FEED_NS <= now:
        i += 1
    memory[0] = i
    want = ints[n + i] - view[V_POSITION]
    if want == 0 or view[V_UNSETTLED] > 0:
        return 0
    side = 1 if want > 0 else -1
    out[0, O_CANCEL] = 0
    out[0, O_SIDE] = side
    out[0, O_TIF] = IOC
    out[0, O_PRICE] = view[V_ASK] + THROUGH_TICKS if side > 0 else view[V_BID] - THROUGH_TICKS
    out[0, O_LOTS] = abs(want)
    out[0, O_AT_CAP] = 0
    return 1


def bench_config(
    events: EventArray, strategy: Strategy, *, queue: str, taker_ppm: int, rules: dict[str, VenueRules]
) -> EngineConfig:
    """Return the engine of a session as long as the events, with limits that stop nobody."""
    first, last = int(events["ts_event"][0]), int(events["ts_recv"][-1])
    session = Session(date(2023, 11, 14), first - 1, last + 60 * NS_PER_S)
    item = Instrument(
        symbol="X",
        instrument_id=0,
        venue="V",
        unit_nanos=100_000,
        price_decimals=0.1,
        book_kind=BookKind.MATCHING,
        fees=Fees(maker_ppm=taker_ppm, taker_ppm=taker_ppm),
    )
    return EngineConfig(
        session=session,
        instruments=(item,),
        latency=LatencySettings(
            feed_ns=FEED_NS, feed_jitter_ns=0, inference_ns=0, decision_ns=0, order_ns=ORDER_NS, response_ns=ORDER_NS
        ),
        risk=LIMITS,
        strategy=strategy,
        queue=QUEUE_MODELS[queue],
        capital=1e9,
        clock_ns=60 * NS_PER_S,
        ending_ns=session.close_ns - NS_PER_S,
        feed_bound_ns=10 * FEED_NS,
        rules=rules,
    )


def session_fills(rows: Journal, config: EngineConfig) -> Journal:
    """Return the fills before the session's end began."""
    return rows[(rows["kind"] == FILL) & (rows["venue_ns"] < config.ending_ns)]


def measured(config: EngineConfig, events: EventArray) -> tuple[float, Journal]:
    """Return the fewest seconds of a few runs after one that compiles, and the journal."""
    engine = Engine(config)
    engine.run(engine.init(), events[:2_000], None, None, FOREVER)
    times = []
    for _ in range(REPEATS):
        state = engine.init()
        start = time.process_time()
        state, rows = engine.run(state, events, None, None, FOREVER)
        times.append(time.process_time() - start)
        if state.late_rows or state.illegal_answers:
            raise AssertionError("the engine lost rows or answers")
    return min(times), rows


def peer_result(task: str, given: Path, folder: Path) -> dict[str, Any] | None:
    """Return what hftbacktest measured on the same input, None where it is absent."""
    result = folder / f"{task}.json"
    if not ask_peer(task, given, result):
        return None
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def ask_peer(task: str, given: Path, result: Path) -> bool:
    """Let hftbacktest carry out a task, where it is there; it is asked in a process of its own."""
    python = peer_python("hftbacktest")
    if python is None:
        return False
    script = Path(__file__).with_name("peer_hftbacktest.py")
    subprocess.run(
        [str(python), str(script), task, str(given), str(result)], check=True, capture_output=True, cwd=result.parent
    )
    return True


def bench_row(n: int, unit: str, seconds: float, peer: dict[str, Any] | None) -> dict[str, Any]:
    """Return a benchmark's row; without a peer its fields stay null."""
    row: dict[str, Any] = {"n": n, "unit": unit, "per_s": n / seconds}
    if peer is not None:
        row |= {"peer": f"hftbacktest {peer['version']}", "peer_per_s": peer["n"] / peer["seconds"]}
    return row


def _own_ticks(folder: Path, count: int) -> Path:
    """Write a random walk of ticks, where the peer folder with its generator is absent."""
    rng = np.random.default_rng(20240501)
    ts = 1_700_000_000_000_000_000 + np.cumsum(1 + rng.exponential(5e6, count).astype(np.int64))
    steps = np.where(rng.random(count) < 1 / 16, rng.choice([-1, 1], count), 0)
    bid = 500_000 + np.cumsum(steps)
    side = rng.random(count) < 0.5
    lots = np.round(rng.exponential(1.0, (2, count)) + 0.001, 3)
    for qty, mine in ((lots[0], side), (lots[1], ~side)):
        last = np.maximum.accumulate(np.where(mine, np.arange(count), 0))
        qty[:] = qty[last]
    changes = np.where(rng.random(count) < 1e-3, np.arange(count), 0)
    signal = rng.integers(-1, 2, count)[np.maximum.accumulate(changes)]
    own = folder / f"ticks_{count}"
    own.mkdir()
    arrays = {"ts": ts, "bid_tick": bid, "ask_tick": bid + 1, "bid_qty": lots[0], "ask_qty": lots[1], "signal": signal}
    for name, values in arrays.items():
        np.save(own / f"{name}.npy", values)
    return own


def backtest_taker() -> dict[str, Any]:
    """Hold what a signal says on ten million quotes: a decision a tick, fees and slippage, through the whole engine."""
    with tempfile.TemporaryDirectory() as made:
        into, peers = Path(made), peers_folder()
        if peers is None:
            folder = _own_ticks(into, TICKS // 10)
        else:
            run_generator(peers, "gen_ticks.py", str(TICKS), into=into)
            folder = into / f"ticks_{TICKS}"
        events, ts, signal = tick_events(folder)
        strategy = Strategy("table", decide_table, WAKE_TOP, np.concatenate([ts, signal]), ())
        impact = {"V": VenueRules(impact=SquareRootImpact(SLIPPAGE_BPS, 1_000_000))}
        config = bench_config(events, strategy, queue="risk_averse", taker_ppm=800, rules=impact)
        seconds, rows = measured(config, events)
        wanted = int(np.count_nonzero(np.diff(signal)))
        trades = len(session_fills(rows, config))
        if not 0.98 * wanted < trades < 1.02 * wanted:
            raise AssertionError(f"{trades} fills of {wanted} changes of the signal")
        peer = peer_result("taker", folder, into)
        if peer is not None and abs(peer["trades"] - trades) > 0.01 * trades:
            raise AssertionError(f"hftbacktest traded {peer['trades']} times, we {trades} times")
        return bench_row(len(ts), "tick", seconds, peer)


@njit(cache=True)
def _gate(agent: AgentState, parameters: EngineParameters, took: npt.NDArray[np.int64], start_ns: int) -> int:
    """Pass orders through the gate one by one, with the cycles that each took; return how many passed."""
    passed = 0
    for k in range(len(took)):
        side = np.int64(1 if k % 2 == 0 else -1)
        price = agent.inst[0, I_BID if side < 0 else I_ASK] + (k % 7) * side
        now = start_ns + k * GATE_EVERY_NS
        start = cycles()
        _, lots, _ = check_order(agent, parameters, np.int64(0), side, price, np.int64(1 + k % 5), now)
        took[k] = cycles() - start
        passed += lots > 0
    return passed


def risk_gate() -> dict[str, Any]:
    """Pass orders one by one through the pre-trade risk gate, with live orders on the book."""
    one = empty_events(1)
    one["ts_event"] = one["ts_recv"] = 1_700_000_000_000_000_000
    maker = touch_maker(lots=1, max_position=3, last_entry_ns=0)
    engine = Engine(bench_config(one, maker, queue="risk_averse", taker_ppm=0, rules={}))
    agent = engine.init().kernel.agent
    agent.inst[0, [I_BID, I_ASK]], agent.inst[0, [I_BID_LOTS, I_ASK_LOTS]] = (500_000, 500_001), 100
    live = agent.orders[:GATE_LIVE]
    live["state"], live["side"], live["leaves_lots"] = OPEN, np.where(np.arange(GATE_LIVE) % 2, ASK, BID), 1
    live["order_id"], live["price_units"] = np.arange(1, GATE_LIVE + 1), 500_000 - 100 * live["side"].astype(np.int64)
    agent.g[[G_LIVE, G_HIGH]] = GATE_LIVE
    agent.inst[0, [I_BUY_WORKING, I_SELL_WORKING]] = GATE_LIVE // 2
    took = np.zeros(GATE_ORDERS, np.int64)
    found = []
    for k in range(REPEATS + 1):
        start = time.process_time()
        passed = _gate(agent, engine.parameters, took, k * GATE_ORDERS * GATE_EVERY_NS)
        found.append((time.process_time() - start, *np.percentile(took, (50.0, 99.0))))
    if passed != GATE_ORDERS:
        raise AssertionError(f"the gate let {passed} of {GATE_ORDERS} orders pass")
    seconds, p50, p99 = np.min(found[1:], axis=0)
    row: dict[str, Any] = {"n": GATE_ORDERS, "unit": "order", "per_s": GATE_ORDERS / seconds}
    if IS_AVAILABLE:
        rate = cycles_per_ns() * 1_000.0
        row |= {"p50_us": p50 / rate, "p99_us": p99 / rate}
    return row


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "backtest_taker": backtest_taker,
    "risk_gate": risk_gate,
}

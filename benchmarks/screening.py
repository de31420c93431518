"""Benchmark of the screen's sweep, beside vectorbt on the same ticks and signal.

Input is the peers' own top-of-book ticks with a target position in {-1, 0, 1} on every tick. Ours sees a forecast on every tick
that says so with certainty, at zero latency; what is measured is a pass of all ticks with one parameter set, and the same with
as many threads as there are cores. The peer runs ``Portfolio.from_signals`` on mids with the entries and exits made beforehand;
making them is outside its time, as making forecasts is outside ours. On one core both are timed by the processor's clock, on all
cores by the wall's.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from backtests.parameters import TakerParameters, parameter_grid
from backtests.screen import Screen
from backtests.sweep import Signals, sweep
from benchmarks.peers import peer_python, peers_folder, run_generator
from features.dataset import Dataset
from marketdata.clock import NS_PER_S, Session, from_ns
from marketdata.presets import preset
from models.forecast import FORECAST_DTYPE, ForecastArray

TICKS: Final = 2_000_000
REPEATS: Final = 5
SETS: Final = 8
SURE: Final = np.float32(1e5)
"""An edge in price units beyond any cost: the forecast of a target position."""

_PEER: Final = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np, pandas as pd, vectorbt as vbt
folder, repeats = sys.argv[1], int(sys.argv[2])
load = lambda name: np.load(f"{folder}/{name}.npy")
mid, target, index = (load("bid") + load("ask")) / 2, load("signal"), pd.to_datetime(load("ts"))
before = np.concatenate([[0], target[:-1]])
made = [part for side in (1, -1) for part in ((target == side) & (before != side), (target != side) & (before == side))]
close, entries, exits, shorts, covers = (pd.Series(x, index) for x in (mid, *made))
def run(n=None):
    s = slice(None, n)
    return vbt.Portfolio.from_signals(close.iloc[s], entries=entries.iloc[s], exits=exits.iloc[s], short_entries=shorts.iloc[s],
        short_exits=covers.iloc[s], size=1.0, size_type="amount", fees=0.0008, slippage=0.0, init_cash=1e7, freq="5ms",
        upon_opposite_entry="reverse").order_records.shape[0]
run(2000)
times = []
for _ in range(repeats):
    t = time.process_time(); orders = run(); times.append(time.process_time() - t)
print(json.dumps({"seconds": min(times), "orders": int(orders), "version": vbt.__version__}))
"""


@lru_cache(maxsize=1)
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """Return the folder of the peers' arrays; it goes when the benchmarks are done."""
    return tempfile.TemporaryDirectory(prefix="flowsense-screen-")


@lru_cache(maxsize=1)
def _input() -> tuple[Screen, ForecastArray, Path | None]:
    """Return the prepared screen, a forecast a tick, and the folder of the peers' arrays (None: made here)."""
    folder = peers_folder()
    ticks: dict[str, Any]
    if folder is not None:
        into = Path(_folder().name)
        run_generator(folder, "gen_ticks.py", str(TICKS), into=into)
        where = next(into.rglob(f"ticks_{TICKS}"))
        ticks = {name: np.load(where / f"{name}.npy") for name in ("ts", "bid_tick", "ask_tick", "signal")}
    else:
        where = None
        rng = np.random.default_rng(5)
        mid = 500_000 + np.cumsum(rng.choice([-1, 0, 0, 0, 0, 0, 0, 1], TICKS))
        target = rng.integers(-1, 2, TICKS // 1_500 + 1).repeat(1_500)[:TICKS]
        ts = 1_700_000_000 * NS_PER_S + np.cumsum(rng.exponential(5e6, TICKS).astype(np.int64) + 1)
        ticks = {"ts": ts, "bid_tick": mid, "ask_tick": mid + 1, "signal": target}
    ts = ticks["ts"].astype(np.int64)
    base = preset("simulated", None, sessions=1)
    item = base.instruments[0].model_copy(update={"instrument_id": 0, "tick_units": 1})
    settings = base.model_copy(
        update={
            "instruments": (item,),
            "latency": base.latency.model_copy(
                update=dict.fromkeys(("feed_ns", "inference_ns", "decision_ns", "order_ns", "response_ns"), 0)
            ),
            "strategy": base.strategy.model_copy(update={"capital": 1e12}),
        }
    )
    bid, ask = ticks["bid_tick"].astype(np.int64), ticks["ask_tick"].astype(np.int64)
    n = len(ts)
    lots = np.full(n, 1_000, np.int64)
    zeros = np.zeros(n)
    session = Session(from_ns(int(ts[0])).date(), int(ts[0]) - NS_PER_S, int(ts[-1]) + 3_600 * NS_PER_S)
    dataset = Dataset(
        columns=("none",),
        sessions=(session,),
        instruments=settings.instruments,
        memory_ns=0,
        horizon_ns=settings.label.horizon_ns,
        fingerprint="benchmark",
        x=np.zeros((n, 1), np.float32),
        y=np.zeros(n, np.int8),
        ts_recv=ts,
        ts_event=ts,
        ts_known=ts,
        instrument_id=np.zeros(n, np.int16),
        session=np.zeros(n, np.int32),
        move_units=zeros,
        threshold_units=zeros,
        bid_units=bid,
        ask_units=ask,
        arrive_ns=ts,
        entry_bid_units=bid,
        entry_ask_units=ask,
        entry_bid_lots=lots,
        entry_ask_lots=lots,
    )
    forecasts = np.zeros(n, FORECAST_DTYPE)
    forecasts["ts_recv"] = forecasts["due_ns"] = ts
    target = ticks["signal"]
    forecasts["edge_units"] = target * SURE
    forecasts["p_up"], forecasts["p_down"] = np.where(target > 0, 0.98, 0.01), np.where(target < 0, 0.98, 0.01)
    forecasts["p_flat"] = np.float32(0.01)
    return Screen.build(dataset, settings), forecasts, where


def _sets(screen: Screen, count: int) -> tuple[TakerParameters, ...]:
    """Return sets that follow the target at once (a holding of a nanosecond), alike but for their margin."""
    own = TakerParameters.of(screen.settings)
    base = TakerParameters(0.0, 1e-9, extend_share=0.25, exit_ticks=10, order_lots=own.order_lots, kelly_fraction=1.0)
    return parameter_grid(base, {"edge_margin": [0.01 * k for k in range(count)]})


def _best(run: Callable[[], object], clock: Callable[[], float]) -> float:
    run()
    times = []
    for _ in range(REPEATS):
        started = clock()
        run()
        times.append(clock() - started)
    return min(times)


def screen() -> dict[str, Any]:
    """Pass all ticks with one parameter set on one core, beside vectorbt."""
    prepared, forecasts, where = _input()
    (own,) = _sets(prepared, 1)
    signals = Signals.of(forecasts)
    found = sweep(prepared, signals, [own], threads=1)
    changes = int(np.count_nonzero(np.diff(forecasts["edge_units"])))
    if not 0.5 * changes < 2 * found.round_trips[0] < 2 * changes + 2:
        raise AssertionError(f"{found.round_trips[0]} round trips do not follow {changes} changes of the target")
    seconds = _best(lambda: sweep(prepared, signals, [own], threads=1), time.process_time)
    row: dict[str, Any] = {"n": len(forecasts), "unit": "tick", "per_s": len(forecasts) / seconds}
    python = peer_python("vectorbt")
    if where is not None and python is not None:
        done = subprocess.run(
            [str(python), "-c", _PEER, str(where), str(REPEATS)],
            env={**os.environ, "NUMBA_NUM_THREADS": "1"},
            check=True,
            capture_output=True,
            text=True,
        )
        peer = json.loads(done.stdout.splitlines()[-1])
        if not 0.5 * changes < peer["orders"] < 2 * changes + 2:
            raise AssertionError(f"vectorbt made {peer['orders']} orders of {changes} changes")
        row |= {"peer": f"vectorbt {peer['version']}", "peer_per_s": len(forecasts) / peer["seconds"]}
    return row


def screen_cores() -> dict[str, Any]:
    """Pass all ticks with several parameter sets on all cores; the rate is of ticks times sets."""
    prepared, forecasts, _ = _input()
    signals, sets = Signals.of(forecasts), _sets(prepared, SETS)
    alone = sweep(prepared, signals, sets, threads=1)
    together = sweep(prepared, signals, sets)
    if not np.array_equal(alone.pnl, together.pnl):
        raise AssertionError("threads changed a result")
    seconds = _best(lambda: sweep(prepared, signals, sets), time.perf_counter)
    n = len(signals.edges) * len(sets)
    return {"n": n, "unit": "tick x set", "per_s": n / seconds}


def screen_scaling() -> dict[str, Any]:
    """Pass all ticks with several parameter sets by two workers, beside one worker on the same work, by the wall's clock.

    The two take turns, so that what else the machine does meets both; the ratio is how much faster two are. Every set must end
    alike: profit by interval, round trips, fees, turnover.
    """
    prepared, forecasts, _ = _input()
    signals, sets = Signals.of(forecasts), _sets(prepared, SETS)
    best = {1: np.inf, 2: np.inf}
    ends = {}
    for _ in range(REPEATS):
        for workers in best:
            started = time.perf_counter()
            ends[workers] = sweep(prepared, signals, sets, threads=workers)
            best[workers] = min(best[workers], time.perf_counter() - started)
    for name in ("pnl", "round_trips", "paid", "entries", "fees", "turnover"):
        if not np.array_equal(getattr(ends[1], name), getattr(ends[2], name)):
            raise AssertionError(f"two workers changed {name}")
    n = len(signals.edges) * len(sets)
    return {"n": n, "unit": "tick x set", "per_s": n / best[2], "peer": "one worker", "peer_per_s": n / best[1]}


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "screen": screen,
    "screen_cores": screen_cores,
    "screen_scaling": screen_scaling,
}

"""Benchmark of the simulated market: a whole session of five instruments with its slow data and truth."""

import hashlib
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from marketdata.book import empty_book, fold_best
from marketdata.events import ADD, CLEAR
from marketdata.simulator.oracle import as_events
from marketdata.simulator.session import SimulatedSession, simulate_session
from marketdata.sources import preset

REPEATS: Final = 7
LEAST_ROWS: Final = 125_000


def simulator() -> dict[str, Any]:
    """Simulate one session of every instrument; an event is one row of a tape. The best of several runs counts."""
    settings = preset("simulated", None, sessions=2)
    sessions = settings.market_calendar().first_sessions(settings.start_date, 2)
    simulate_session(settings, sessions[0], 0)
    times, hashes = [], set()
    for _ in range(REPEATS):
        start = time.perf_counter()
        world = simulate_session(settings, sessions[1], 1)
        times.append(time.perf_counter() - start)
        hashes.add(_tape_hash(world))
    if len(hashes) != 1:
        raise AssertionError("the same seed gave different tapes")
    for symbol, ticks in world.ticks.items():
        if ticks.height < LEAST_ROWS:
            raise AssertionError(f"the simulated session of {symbol} has only {ticks.height} events")
        _check_conservation(world, symbol)
    total = sum(ticks.height for ticks in world.ticks.values())
    return {"n": total, "unit": "event", "per_s": total / min(times)}


def _tape_hash(world: SimulatedSession) -> str:
    digest = hashlib.sha256()
    for ticks in world.ticks.values():
        for column in ticks.columns:
            digest.update(np.ascontiguousarray(ticks[column].to_numpy()).tobytes())
    return digest.hexdigest()


def _check_conservation(world: SimulatedSession, symbol: str) -> None:
    """Check that every lot that came was traded, cancelled or rests in the rebuilt book at the close."""
    events = as_events(world.ticks[symbol])
    book = empty_book(8_192)
    fold_best(book, events)
    resting = sum(int(book.size[side, : book.count[side]].sum()) for side in range(2))
    came = int(events["size_lots"][events["action"] == ADD].sum())
    went = int(events["size_lots"][(events["action"] != ADD) & (events["action"] != CLEAR)].sum())
    if came != went + resting or book.counters[0] != 0:
        raise AssertionError(f"{symbol}: {came} lots came, {went} went, {resting} rest")


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "simulator": simulator,
}

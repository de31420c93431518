"""Benchmarks of the simulated market: a whole session of five instruments, and the matching engine alone."""

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.matching import (
    GTC,
    MatchingBook,
    best_ask,
    best_bid,
    cancel_order,
    empty_matching_book,
    submit_limit,
)
from marketdata.simulator.session import simulate_session
from marketdata.sources import preset

REPEATS: Final = 3
ENGINE_ORDERS: Final = 500_000
LOW_PRICE: Final = 9_000
SPAN: Final = 2_000
MIDDLE: Final = 10_000


def simulated_session() -> dict[str, Any]:
    """Simulate one session of every instrument with its slow data; an event is one row of a tape."""
    settings = preset("simulated", None, sessions=2)
    sessions = settings.market_calendar().first_sessions(settings.start_date, 2)
    simulate_session(settings, sessions[0], 0)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        world = simulate_session(settings, sessions[1], 1)
        times.append(time.perf_counter() - start)
    rows = [ticks.height for ticks in world.ticks.values()]
    if min(rows) < 125_000:
        raise AssertionError(f"a simulated session has only {min(rows)} events in one instrument")
    total = sum(rows)
    return {"n": total, "unit": "event", "per_s": total / min(times)}


@njit(cache=True)
def _drive(
    book: MatchingBook, side: npt.NDArray[np.int64], away: npt.NDArray[np.int64], lots: npt.NDArray[np.int64]
) -> tuple[int, int]:
    """Send limit orders around the middle, cancelling every third again; return (lots traded, orders cancelled)."""
    traded = 0
    cancelled = 0
    last = 0
    for k in range(len(side)):
        price = MIDDLE - away[k] if side[k] == 0 else MIDDLE + away[k]
        _, order_id, left = submit_limit(book, side[k], price, lots[k], GTC)
        traded += lots[k] - left
        if k % 3 == 0 and last > 0:
            cancelled += 1 if cancel_order(book, last) > 0 else 0
        if order_id > 0:
            last = order_id
    return traded, cancelled


def matching_engine() -> dict[str, Any]:
    """Send limit orders into the matching engine, some marketable, some cancelled again; an operation is one order."""
    rng = np.random.default_rng(1)
    side = rng.integers(0, 2, ENGINE_ORDERS)
    away = rng.integers(-2, 40, ENGINE_ORDERS)
    lots = rng.integers(1, 10, ENGINE_ORDERS)
    times = []
    for _ in range(REPEATS + 1):
        book = empty_matching_book(LOW_PRICE, SPAN, max_orders=ENGINE_ORDERS + 1, max_ids=ENGINE_ORDERS + 1)
        start = time.perf_counter()
        traded, cancelled = _drive(book, side, away, lots)
        times.append(time.perf_counter() - start)
    if traded == 0 or cancelled == 0 or best_bid(book) >= best_ask(book):
        raise AssertionError("the engine's benchmark ended in an impossible book")
    return {"n": ENGINE_ORDERS, "unit": "order", "per_s": ENGINE_ORDERS / min(times[1:])}


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "simulated_session": simulated_session,
    "matching_engine": matching_engine,
}

"""Benchmark of the simulated market: a whole session of five instruments."""

import time
from collections.abc import Callable
from typing import Any, Final

from marketdata.simulator.session import simulate_session
from marketdata.sources import preset

REPEATS: Final = 3


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


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "simulated_session": simulated_session,
}

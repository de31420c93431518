"""Where the wall time of a night goes, part by part, each second counted once.

Parts nest: while an inner part runs, the outer one stands still. Compilation by numba is a part of its own wherever it
happens, because numba tells when it compiles.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

IMPORTS: Final = "imports"
COMPILE: Final = "compile"
SIMULATE: Final = "simulate"
INGEST: Final = "ingest and features"
QUALITY: Final = "quality"
DAGSTER: Final = "dagster"
FITS: Final = "fits"
FORECASTS: Final = "forecasts"
MLFLOW: Final = "mlflow"
BACKTESTS: Final = "backtests"
EVIDENCE: Final = "evidence"
CONTROLS: Final = "control worlds"
PAPER: Final = "paper session"
REPORT: Final = "report"

BUDGET_S: Final = {
    IMPORTS: 30.0,
    COMPILE: 30.0,
    SIMULATE: 40.0,
    INGEST: 60.0,
    QUALITY: 20.0,
    DAGSTER: 30.0,
    FITS: 100.0,
    FORECASTS: 80.0,
    MLFLOW: 15.0,
    BACKTESTS: 20.0,
    EVIDENCE: 10.0,
    CONTROLS: 60.0,
    PAPER: 10.0,
    REPORT: 20.0,
}
"""Seconds that each part may take of the eight minutes of the demonstration."""


class Stopwatch:
    """Exclusive wall time of named parts, of the thread that made it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stack: list[str] = []
        self._since = time.perf_counter()
        self._thread = threading.get_ident()

    def push(self, part: str) -> None:
        """Start a part; the one that runs stands still."""
        self._settle()
        self._stack.append(part)

    def pop(self) -> None:
        """End the part started last."""
        self._settle()
        self._stack.pop()

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is the one that is measured."""
        return threading.get_ident() == self._thread

    def _settle(self) -> None:
        now = time.perf_counter()
        if self._stack:
            part = self._stack[-1]
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now


_running: list[Stopwatch] = []


@contextmanager
def timing() -> Iterator[Stopwatch]:
    """Measure the parts that run inside the block."""
    from numba.core import event

    class _Compilation(event.Listener):
        def on_start(self, event: Any) -> None:
            if watch.is_here:
                watch.push(COMPILE)

        def on_end(self, event: Any) -> None:
            if watch.is_here:
                watch.pop()

    watch = Stopwatch()
    listener = _Compilation()
    _running.append(watch)
    event.register("numba:compile", listener)
    try:
        yield watch
    finally:
        event.unregister("numba:compile", listener)
        _running.remove(watch)


def reading(source: str) -> str:
    """Return the part that taking rows from a source counts as."""
    return SIMULATE if source == "simulated" else INGEST


@contextmanager
def part(name: str) -> Iterator[None]:
    """Count the time inside the block as ``name`` on every running stopwatch."""
    watches = [watch for watch in _running if watch.is_here]
    for watch in watches:
        watch.push(name)
    try:
        yield
    finally:
        for watch in watches:
            watch.pop()

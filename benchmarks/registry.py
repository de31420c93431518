"""The benchmarks by name, run one after the other; each measures, checks its own result, and gives one row.

A module of this package offers ``BENCHMARKS: dict[str, Callable[[], dict]]``. Modules are written out here and imported
only when benchmarks are asked for.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any, Final

import msgspec
import numpy as np

MODULES: Final = (
    "benchmarks.books",
    "benchmarks.simulator",
    "benchmarks.lake",
    "benchmarks.parsing",
    "benchmarks.fix",
    "benchmarks.feeds",
    "benchmarks.features",
    "benchmarks.feature_catalogue",
    "benchmarks.drift",
    "benchmarks.sentiment",
    "benchmarks.backtest",
    "benchmarks.venue",
    "benchmarks.makers",
    "benchmarks.screening",
    "benchmarks.serving",
)


class BenchmarkError(ValueError):
    """A benchmark gave something else than a row, or two have one name."""


class UnknownBenchmark(KeyError):
    """There is no benchmark of that name; the message lists those there are."""

    def __str__(self) -> str:
        """Return the message as it is."""
        return str(self.args[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRow:
    """What one benchmark measured.

    Attributes
    ----------
    name : str
    n : int
        Operations measured.
    unit : str
        What one operation is (``event``, ``order``, ``forecast``).
    per_s : float
        Operations a second.
    p50_us, p99_us : float or None
        Quantiles of the time of one operation; None where only the whole was timed.
    peer, peer_per_s : str and float, or None
        The library compared with, measured in the same run.
    ratio : float or None
        ``per_s / peer_per_s``; null where there is no peer.
    """

    name: str
    n: int
    unit: str
    per_s: float
    p50_us: float | None = None
    p99_us: float | None = None
    peer: str | None = None
    peer_per_s: float | None = None
    ratio: float | None = None


def available() -> dict[str, Callable[[], dict[str, Any]]]:
    """Return every benchmark by name, in the order of the modules.

    Raises
    ------
    BenchmarkError
        If two modules use one name.
    """
    found: dict[str, Callable[[], dict[str, Any]]] = {}
    for module in MODULES:
        for name, run in import_module(module).BENCHMARKS.items():
            if name in found:
                raise BenchmarkError(f"two benchmarks are called {name}")
            found[name] = run
    return found


def run_benchmarks(names: Iterable[str] = (), progress: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
    """Run benchmarks and return one row each, as plain data with the fields of :class:`BenchmarkRow`.

    Parameters
    ----------
    names : iterable of str
        Which; none given: all.
    progress : callable, optional
        Called with the name of each before it runs.

    Raises
    ------
    UnknownBenchmark
        If a name is unknown; all names are checked before any runs.
    BenchmarkError
        If a benchmark gave no valid row.
    """
    known = available()
    chosen = list(names) or list(known)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise UnknownBenchmark(f"{', '.join(unknown)}; there are {', '.join(known)}")
    rows = []
    for name in chosen:
        if progress is not None:
            progress(name)
        rows.append(asdict(_row(name, known[name]())))
    return rows


def _row(name: str, values: dict[str, Any]) -> BenchmarkRow:
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in values.items()}
    try:
        row = msgspec.convert({"name": name, **plain}, BenchmarkRow, strict=False)
    except msgspec.ValidationError as error:
        raise BenchmarkError(f"benchmark {name} gave no valid row: {error}") from error
    return replace(row, ratio=row.per_s / row.peer_per_s) if row.peer_per_s else row

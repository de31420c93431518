"""Whether what was traded live is what the offline path gives: rows, forecasts, fills, compared bit for bit.

The backtester is handed in as a function: the live side and the replay side do not know each other.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.rows import FeatureRows
from models.forecast import FORECAST_DTYPE, ForecastArray
from trading.journal import FILL, JOURNAL_DTYPE, Journal, journal_forecasts

Replay = Callable[[ForecastArray], Journal]
"""Trades given forecasts over the session's events through the backtester's wiring and returns its journal."""


@dataclass(frozen=True, slots=True)
class ParityCheck:
    """One comparison; ``name`` is a sentence that is true when it passed."""

    name: str
    passed: bool
    compared: int
    different: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ParityReport:
    """All comparisons of one session."""

    checks: tuple[ParityCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether everything was equal."""
        return all(check.passed for check in self.checks)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the checks as plain data."""
        return [asdict(check) for check in self.checks]


def parity_report(
    journal: Journal,
    replay: Replay,
    *,
    live_rows: Mapping[str, FeatureRows] | None = None,
    stored_rows: Mapping[str, FeatureRows] | None = None,
    recomputed: ForecastArray | None = None,
) -> ParityReport:
    """Compare a session with the offline path.

    Parameters
    ----------
    journal : journal array
        Of the session.
    replay : callable
        The backtester over the session's own events; it gets forecasts and gives a journal.
    live_rows, stored_rows : mapping of symbol to FeatureRows, optional
        The executor's rows and the night's partitions; symbols in both are compared.
    recomputed : forecast array, optional
        Forecasts of the session made again offline, from the stored rows.
    """
    checks = []
    for symbol in sorted(set(live_rows or {}) & set(stored_rows or {})):
        checks.append(rows_equal(symbol, (live_rows or {})[symbol], (stored_rows or {})[symbol]))
    made = journal_forecasts(journal)
    if recomputed is not None:
        checks.append(forecasts_equal(made, recomputed))
    again = replay(made)
    fills, fills_again = journal[journal["kind"] == FILL], again[again["kind"] == FILL]
    checks.append(_records("fills from journaled forecasts equal the paper fills", fills, fills_again, JOURNAL_DTYPE))
    checks.append(_records("the replayed journal equals the paper journal", journal, again, JOURNAL_DTYPE))
    if recomputed is not None:
        other = replay(recomputed)
        fills_other = other[other["kind"] == FILL]
        checks.append(
            _records("fills from recomputed forecasts equal the paper fills", fills, fills_other, JOURNAL_DTYPE)
        )
    return ParityReport(tuple(checks))


def rows_equal(symbol: str, live: FeatureRows, stored: FeatureRows) -> ParityCheck:
    """Compare the executor's feature rows of an instrument with the stored ones, NaN equal to NaN, bit for bit."""
    name = f"live feature rows of {symbol} equal the stored ones"
    if live.columns != stored.columns:
        return ParityCheck(name, False, len(live.keys), len(live.keys), "other columns")
    most = max(len(live.keys), len(stored.keys))
    common = min(len(live.keys), len(stored.keys))
    keys = (live.keys[:common] != stored.keys[:common]).any(axis=1)
    values = (_bits(live.values[:common]) != _bits(stored.values[:common])).any(axis=1)
    wrong = keys | values
    different = int(wrong.sum()) + most - common
    detail = ""
    if len(live.keys) != len(stored.keys):
        detail = f"{len(live.keys):,} rows live, {len(stored.keys):,} stored"
    elif different:
        row = int(np.flatnonzero(wrong)[0])
        columns = np.flatnonzero(_bits(live.values[row]) != _bits(stored.values[row]))
        names = ", ".join(live.columns[k] for k in columns[:3]) or "keys"
        detail = f"first at row {row}: {names}"
    return ParityCheck(name, different == 0, most, different, detail)


def forecasts_equal(made: ForecastArray, recomputed: ForecastArray) -> ParityCheck:
    """Compare journaled forecasts with recomputed ones, both in the order of (``due_ns``, row)."""
    return _records("recomputed forecasts equal the journaled ones", made, recomputed, FORECAST_DTYPE)


def _records(
    name: str, left: npt.NDArray[np.void], right: npt.NDArray[np.void], dtype: np.dtype[np.void]
) -> ParityCheck:
    common, most = min(len(left), len(right)), max(len(left), len(right))
    wrong = np.zeros(common, np.bool_)
    first = ""
    for column in dtype.names or ():
        bad = _bits(left[column][:common]) != _bits(right[column][:common])
        if bad.any() and not wrong.any():
            first = f"first at {int(np.flatnonzero(bad)[0])}: {column}"
        wrong |= bad
    different = int(wrong.sum()) + most - common
    if len(left) != len(right):
        first = f"{len(left):,} and {len(right):,} rows" + (f"; {first}" if first else "")
    return ParityCheck(name, different == 0, most, different, first)


def _bits(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return floats as their bits, so that NaN equals NaN and -0.0 differs from 0.0; others as they are."""
    values = np.ascontiguousarray(values)
    if values.dtype.kind != "f":
        return values
    return values.view(f"u{values.dtype.itemsize}")

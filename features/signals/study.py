"""What the slow signals said of the next day on recorded data, with an interval, whatever it is.

For each recorded market, signal and symbol: the rank correlation between the signal as known at a decision time and the return
of the 24 hours (or the session) that follow, and between the signal and that return's size. Intervals come from a stationary
bootstrap of blocks of days; over all correlations of the table false discoveries are controlled. A second correlation has
what the day of the week explains taken out of both sides: near expiries know the weekend, and so does the size of returns.

References
----------
Politis, Romano (1994). The stationary bootstrap. JASA 89(428).
Benjamini, Hochberg (1995). Controlling the false discovery rate. J. Royal Statistical Society B 57(1).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from features.signals.columns import SIGNAL_COLUMNS
from marketdata.clock import NS_PER_DAY

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Target = Literal["return", "size"]

DRAWS: Final = 2_000
BLOCK: Final = 7
"""Mean length of a block in decisions (days)."""
LEAST_PAIRS: Final = 30
CONFIDENCE: Final = 0.95
FALSE_SHARE: Final = 0.10
INFORMS: Final = "informs"
WEEKDAY: Final = "weekday only"
NOTHING: Final = "nothing shown"
INSUFFICIENT: Final = "insufficient"


@dataclass(frozen=True, slots=True)
class SignalSeries:
    """Signals of one symbol of one market, beside the prices that followed.

    Attributes
    ----------
    market, symbol, kind : str
    signals : pl.DataFrame
        ``ts_known`` and the kind's columns, sorted.
    decisions : int64 array, shape (D + 1,)
        Decision times; return d runs from decision d to decision d + 1.
    prices : float64 array, shape (D + 1,)
        Last price known at each decision.
    max_age_ns : int
        A signal older than this at a decision counts as unknown.
    """

    market: str
    symbol: str
    kind: str
    signals: pl.DataFrame
    decisions: Int64
    prices: Float64
    max_age_ns: int


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One correlation.

    Attributes
    ----------
    target : str
        ``return``: of the next day; ``size``: its absolute value.
    n : int
        Days on which signal and return are both known.
    ic, low, high : float
        Spearman correlation and its 95 % interval; NaN where there are fewer than 30 days.
    weekday_ic, weekday_low, weekday_high : float
        The same after each weekday's median was taken out of signal and return (the size divided by it).
    q : float
        Smallest share of false discoveries at which the row would be called informative.
    verdict : str
        ``informs`` (q at most 0.10, and the interval without weekdays leaves zero out), ``weekday only`` (q at most 0.10,
        and it does not), ``nothing shown`` or ``insufficient``.
    """

    market: str
    symbol: str
    kind: str
    signal: str
    target: Target
    n: int
    ic: float
    low: float
    high: float
    weekday_ic: float
    weekday_low: float
    weekday_high: float
    q: float
    verdict: str


def as_known_at(signals: pl.DataFrame, name: str, times: Int64, max_age_ns: int) -> Float64:
    """Return a signal's value in force at each time, float64 of shape (D,); NaN where none is, or it is too old."""
    known = signals.get_column("ts_known").to_numpy()
    values = signals.get_column(name).to_numpy()
    place = np.searchsorted(known, times, side="right") - 1
    found = np.full(len(times), np.nan)
    is_there = place >= 0
    is_there[is_there] &= times[is_there] - known[place[is_there]] <= max_age_ns
    found[is_there] = values[place[is_there]]
    return found


def rank_correlation(one: Float64, other: Float64) -> Float64:
    """Return Spearman correlations row by row of two arrays of shape (B, n); NaN where a row does not vary."""
    from scipy.stats import rankdata

    first, second = (rankdata(values, axis=1) for values in (one, other))
    first -= first.mean(axis=1, keepdims=True)
    second -= second.mean(axis=1, keepdims=True)
    spread = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Float64 = np.where(spread > 0, (first * second).sum(axis=1) / spread, np.nan)
    return found


def stationary_rows(n: int, block: int, draws: int, rng: np.random.Generator) -> Int64:
    """Return resampled row numbers, int64 of shape (draws, n): blocks of geometric length, wrapped at the end."""
    starts = rng.random((draws, n)) < 1.0 / block
    starts[:, 0] = True
    fresh = rng.integers(0, n, (draws, n))
    place = np.where(starts, np.arange(n), 0)
    begun = np.maximum.accumulate(place, axis=1)
    return (np.take_along_axis(fresh, begun, axis=1) + np.arange(n) - begun) % n


def study(series: Iterable[SignalSeries], *, seed: int = 7, draws: int = DRAWS) -> tuple[StudyRow, ...]:
    """Return one row a market, symbol, signal and target, with intervals and false-discovery control over all of them."""
    rows: list[StudyRow] = []
    p_values: list[float] = []
    for item in series:
        returns = np.diff(np.log(item.prices))
        for name in SIGNAL_COLUMNS[item.kind]:
            values = as_known_at(item.signals, name, item.decisions[:-1], item.max_age_ns)
            targets: tuple[tuple[Target, Float64], ...] = (("return", returns), ("size", np.abs(returns)))
            for target, outcome in targets:
                rng = np.random.default_rng([seed, len(rows)])
                n, plain, p = _correlate(values, outcome, draws, rng)
                without = _without_weekdays(item.decisions[:-1], values, outcome, target)
                _, bare, _ = _correlate(*without, draws, rng)
                p_values.append(p)
                rows.append(
                    StudyRow(
                        item.market,
                        item.symbol,
                        item.kind,
                        name,
                        target,
                        n,
                        *plain,
                        *bare,
                        q=np.nan,
                        verdict=INSUFFICIENT,
                    )
                )
    return tuple(_judged(rows, np.array(p_values)))


def _without_weekdays(times: Int64, values: Float64, outcome: Float64, target: Target) -> tuple[Float64, Float64]:
    """Return both sides of the days on which both are known, each weekday's median taken out."""
    both = np.isfinite(values) & np.isfinite(outcome)
    x, y = values[both], outcome[both]
    weekday = (times[both] // NS_PER_DAY + 3) % 7  # 1970 began on a Thursday
    for day in np.unique(weekday):
        mine = weekday == day
        x[mine] -= np.median(x[mine])
        middle = float(np.median(y[mine]))
        if target == "return":
            y[mine] -= middle
        elif middle > 0:
            y[mine] /= middle
    return x, y


def _correlate(
    values: Float64, outcome: Float64, draws: int, rng: np.random.Generator
) -> tuple[int, tuple[float, float, float], float]:
    """Return days, the correlation with the ends of its interval, and its two-sided bootstrap p-value."""
    both = np.isfinite(values) & np.isfinite(outcome)
    x, y = values[both], outcome[both]
    if len(x) < LEAST_PAIRS or np.ptp(x) == 0:
        return len(x), (np.nan, np.nan, np.nan), np.nan
    ic = float(rank_correlation(x[None], y[None])[0])
    rows = stationary_rows(len(x), BLOCK, draws, rng)
    drawn = rank_correlation(x[rows], y[rows])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return len(x), (ic, float(low), float(high)), min(1.0, 2.0 * (beyond + 1) / (len(drawn) + 1))


def _judged(rows: Sequence[StudyRow], p_values: Float64) -> list[StudyRow]:
    """Return the rows with q-values by Benjamini and Hochberg over those that were tested."""
    tested = np.flatnonzero(np.isfinite(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    raw = p_values[order] * len(order) / np.arange(1, len(order) + 1)
    q = np.minimum.accumulate(raw[::-1])[::-1]
    found = list(rows)
    for place, value in zip(order.tolist(), q.tolist(), strict=True):
        row = found[place]
        verdict = NOTHING
        if value <= FALSE_SHARE:
            verdict = WEEKDAY if row.weekday_low <= 0 <= row.weekday_high else INFORMS
        found[place] = replace(found[place], q=value, verdict=verdict)
    return found

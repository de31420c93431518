"""Block-bootstrap intervals of what a report says first: sums, ratios of sums, Sharpe ratios, drawdowns.

Everything is resampled on the evidence clock: a block of time takes profit, trades, forecasts and outcomes of its
minutes along together, so that dependence in time, between instruments and between the parts of a ratio stays.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from models.bootstrap import bootstrap_means, draw_blocks, politis_white

Float64 = npt.NDArray[np.float64]

LEVEL: Final = 0.95
MIN_BLOCKS: Final = 10
"""Fewer blocks than this on the whole clock bound nothing: no interval is given."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval; NaN bounds where the clock holds too little to give one."""

    value: float
    low: float
    high: float


def block_length(columns: Float64, *, at_least: float = 1.0) -> float:
    """Return the longest Politis-White block of some series, at least ``at_least`` intervals.

    Parameters
    ----------
    columns : float64 array, shape (T, m)
        Without NaN.
    """
    return max(at_least, *(politis_white(column)[0] for column in np.ascontiguousarray(columns.T)), 1.0)


def resampled_sums(columns: Float64, block: float, replications: int, seed: int) -> Float64:
    """Return the stationary bootstrap's sums of every column, shape (replications, m), all under the same blocks."""
    mean = columns.mean(axis=0)
    return len(columns) * (mean + bootstrap_means(columns - mean, block, replications, seed))


def percentile_interval(value: float, draws: Float64, level: float = LEVEL) -> Interval:
    """Return the percentile interval of a figure; draws that are not finite are left out.

    NaN bounds where more than one draw in twenty is not finite: a ratio whose denominator may vanish has no interval.

    References
    ----------
    Efron, Tibshirani (1993). An introduction to the bootstrap, chapter 13.
    """
    kept = draws[np.isfinite(draws)]
    if not math.isfinite(value) or len(kept) < 0.95 * len(draws) or len(kept) < 2:
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(kept, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(value, float(low), float(high))


def figure_intervals(
    columns: Mapping[str, Float64],
    figures: Mapping[str, Callable[[Mapping[str, Float64]], Float64]],
    *,
    block: float,
    replications: int,
    seed: int,
) -> dict[str, Interval]:
    """Return figures that are functions of sums over the clock, with their intervals.

    Parameters
    ----------
    columns : mapping of name to float64 array, shape (T,) or (T, m)
        What is summed: profit, trades, rows, counts of a confusion table.
    figures : mapping of name to callable
        Each takes the sums by name, arrays of shape (R,) or (R, m), and returns shape (R,).
    block : float
        Expected block in intervals (:func:`block_length`).

    Returns
    -------
    dict of name to Interval
        Bounds are NaN where the clock holds fewer than :data:`MIN_BLOCKS` blocks.
    """
    parts = {name: np.asarray(c, np.float64).reshape(len(c), -1) for name, c in columns.items()}
    table = np.concatenate(list(parts.values()), axis=1)

    def by_name(sums: Float64) -> dict[str, Float64]:
        found, first = {}, 0
        for name, part in parts.items():
            own = sums[:, first : first + part.shape[1]]
            found[name] = own[:, 0] if np.ndim(columns[name]) == 1 else own
            first += part.shape[1]
        return found

    with np.errstate(divide="ignore", invalid="ignore"):
        total = by_name(table.sum(axis=0, keepdims=True))
        values = {name: float(figure(total)[0]) for name, figure in figures.items()}
        if len(table) < MIN_BLOCKS * block:
            return {name: Interval(value, math.nan, math.nan) for name, value in values.items()}
        drawn = by_name(resampled_sums(table, block, replications, seed))
        return {name: percentile_interval(values[name], figure(drawn)) for name, figure in figures.items()}


def sharpe_interval(returns: Float64, *, block: float, replications: int, seed: int) -> Interval:
    """Return the Sharpe ratio of a series, per interval of it, with its block-bootstrap interval."""
    n = len(returns)

    def ratio(sums: Mapping[str, Float64]) -> Float64:
        mean = sums["x"] / n
        variance = sums["x2"] / n - mean**2
        # What is left of a constant series after rounding is no variance.
        moves = variance > 1e-12 * np.maximum(sums["x2"] / n, 1e-300)
        return np.where(moves, mean / np.sqrt(np.where(moves, variance, 1.0)), np.nan)

    found = figure_intervals(
        {"x": returns, "x2": returns**2}, {"sharpe": ratio}, block=block, replications=replications, seed=seed
    )
    return found["sharpe"]


@njit(cache=True)
def _drawdowns(pnl: Float64, block: float, replications: int, seed: np.uint64, out: Float64) -> None:
    n = len(pnl)
    starts = np.empty(n, dtype=np.int64)
    ends = np.empty(n, dtype=np.int64)
    for r in range(replications):
        count = draw_blocks(n, block, seed, r, starts, ends)
        equity, peak, deepest = 0.0, 0.0, 0.0
        for k in range(count):
            for t in range(starts[k], ends[k]):
                equity += pnl[t if t < n else t - n]
                peak = max(peak, equity)
                deepest = max(deepest, peak - equity)
        out[r] = deepest


def drawdown_interval(pnl: Float64, *, block: float, replications: int, seed: int) -> Interval:
    """Return the largest fall of the running sum of ``pnl`` from its peak, start included, with its interval.

    The figure is the sample's own; the interval is that of other orders of the same blocks, which need not be centred
    on it: a drawdown is a maximum, and one sample's is a single draw.
    """
    equity = np.concatenate([[0.0], np.cumsum(pnl)])
    value = float(np.max(np.maximum.accumulate(equity) - equity))
    if len(pnl) < MIN_BLOCKS * block:
        return Interval(value, math.nan, math.nan)
    draws = np.zeros(replications)
    _drawdowns(np.ascontiguousarray(pnl, np.float64), float(block), replications, np.uint64(seed % 2**64), draws)
    return percentile_interval(value, draws)

"""Drift of features: how far today's values lie from those of the training window, column by column, from sketches.

Three figures a column, none of which needs the rows again: the population stability index over the deciles of the training
window, the Wasserstein distance in standard deviations of the training window, and the share of missing values on both sides.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.sketch import Sketch, SketchError, bin_centres

DECILES: Final = 10
STABLE_PSI: Final = 0.1
DRIFTED_PSI: Final = 0.25
"""The usual reading of the index (Siddiqi 2006, Credit Risk Scorecards): below 0.1 stable, 0.25 and more drifted."""
LEAST_VALUES: Final = 200
"""Known values that each side needs; with fewer the index is mostly its own noise."""
_FLOOR: Final = 0.5
"""Count that stands for an empty decile, so that the index stays finite."""

STABLE: Final = "stable"
WATCH: Final = "watch"
DRIFTED: Final = "drifted"
UNKNOWN: Final = "too few values"

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """Drift of one column.

    Attributes
    ----------
    column : str
    psi : float
        Sum over deciles of ``(q - p) ln(q / p)``; NaN with fewer than :data:`LEAST_VALUES` known values on a side.
    wasserstein_sd : float
        Area between the two distribution functions over the standard deviation of the training window; infinity where the
        training window was constant and today is not; NaN as above.
    missing_before, missing_now : float
        Shares of NaN.
    status : str
        ``stable``, ``watch``, ``drifted`` or ``too few values``; a change of the missing share by 0.25 or more is a drift.
    """

    column: str
    psi: float
    wasserstein_sd: float
    missing_before: float
    missing_now: float
    status: str


def drift(before: Sketch, now: Sketch) -> list[ColumnDrift]:
    """Return the drift of every column from the training window to today.

    Raises
    ------
    SketchError
        If the sketches are of different columns.
    """
    if before.columns != now.columns:
        raise SketchError("training window and today have different columns")
    missing_before, missing_now = before.missing_share, now.missing_share
    centres = bin_centres()
    found = []
    for k, name in enumerate(before.columns):
        p, q = before.counts[k], now.counts[k]
        moved = abs(missing_now[k] - missing_before[k])
        if p.sum() < LEAST_VALUES or q.sum() < LEAST_VALUES:
            psi, distance = float("nan"), float("nan")
        else:
            psi, distance = _stability(p, q), _wasserstein(p, q, centres)
        found.append(
            ColumnDrift(name, psi, distance, float(missing_before[k]), float(missing_now[k]), _status(psi, moved))
        )
    return found


def drift_frame(rows: list[ColumnDrift]) -> pl.DataFrame:
    """Return the drift as a table, the most drifted column first, those without a figure last."""
    frame = pl.DataFrame(
        {name: [getattr(row, name) for row in rows] for name in ColumnDrift.__slots__},
        schema={"column": pl.String, **dict.fromkeys(ColumnDrift.__slots__[1:5], pl.Float64), "status": pl.String},
    )
    return frame.sort(pl.col("psi").fill_nan(None), "column", descending=[True, False], nulls_last=True)


def _status(psi: float, moved: float) -> str:
    if moved >= DRIFTED_PSI:
        return DRIFTED
    if np.isnan(psi):
        return UNKNOWN
    return DRIFTED if psi >= DRIFTED_PSI else WATCH if psi >= STABLE_PSI else STABLE


def _stability(p: npt.NDArray[np.int64], q: npt.NDArray[np.int64]) -> float:
    """Return the index over groups of bins that hold a tenth of the training window each, as nearly as bins allow.

    A value that holds more than a tenth by itself (a zero, a tick) is a group of its own.
    """
    below = np.cumsum(p)
    cuts = np.unique(np.searchsorted(below, below[-1] * np.arange(1, DECILES) / DECILES, side="left"))
    starts = np.concatenate(([0], cuts + 1))
    starts = starts[starts < len(p)]
    a = np.maximum(np.add.reduceat(p, starts), _FLOOR)
    b = np.maximum(np.add.reduceat(q, starts), _FLOOR)
    a, b = a / a.sum(), b / b.sum()
    return float(np.sum((b - a) * np.log(b / a)))


def _wasserstein(p: npt.NDArray[np.int64], q: npt.NDArray[np.int64], centres: Float64) -> float:
    """Return the first Wasserstein distance between the binned values, in standard deviations of the first."""
    a, b = p / p.sum(), q / q.sum()
    apart = np.abs(np.cumsum(a - b))[:-1]
    distance = float(np.sum(apart * np.diff(centres)))
    mean = float(np.sum(a * centres))
    deviation = float(np.sqrt(np.sum(a * (centres - mean) ** 2)))
    if deviation > 0:
        return distance / deviation
    return 0.0 if distance == 0 else float("inf")

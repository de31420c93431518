"""Receiver operating characteristics of one class against the rest: how well a forecast ranks, whatever its scale."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

POINTS: Final = 48
"""Points of a curve that are kept for drawing."""


@dataclass(frozen=True, slots=True)
class RocCurve:
    """The curve and the area below it.

    Attributes
    ----------
    false_positive, true_positive : tuple of float
        Rates from (0, 0) to (1, 1), the threshold falling; at most :data:`POINTS` of them, the area is of the whole curve.
    area : float
        Probability that a row of the class has a higher forecast than a row of the rest, ties counted half; NaN where
        either is missing.
    """

    false_positive: tuple[float, ...]
    true_positive: tuple[float, ...]
    area: float


def roc_curve(score: Float64, came: npt.NDArray[np.bool_], *, points: int = POINTS) -> RocCurve:
    """Return the curve of a score for rows that belong to a class (``came``) against those that do not.

    Parameters
    ----------
    score : float64 array, shape (n,)
        Larger means more likely of the class.
    came : bool array, shape (n,)

    References
    ----------
    Fawcett (2006). An introduction to ROC analysis. Pattern Recognition Letters 27(8).
    """
    positive, negative = int(came.sum()), int(len(came) - came.sum())
    if not positive or not negative:
        return RocCurve((0.0, 1.0), (0.0, 1.0), float("nan"))
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    # One point after each run of equal scores: a threshold cannot part them.
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.concatenate([[0], np.cumsum(came[order])[ends]]) / positive
    alarms = np.concatenate([[0], np.cumsum(~came[order])[ends]]) / negative
    area = float(np.sum(np.diff(alarms) * 0.5 * (hits[1:] + hits[:-1])))
    kept = np.unique(np.searchsorted(alarms + hits, np.linspace(0.0, 2.0, points)).clip(0, len(hits) - 1))
    kept = np.unique(np.concatenate([[0], kept, [len(hits) - 1]]))
    return RocCurve(tuple(alarms[kept].tolist()), tuple(hits[kept].tolist()), area)


def binned_area(positive: Float64, negative: Float64) -> Float64:
    """Return areas below curves from counts by bin of the score, bins ascending, shapes (R, bins) to (R,).

    Rows of one bin count as ties. It is how an area is resampled: counts are sums over time.
    """
    below = np.cumsum(negative, axis=1) - 0.5 * negative
    return np.asarray((positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1)))

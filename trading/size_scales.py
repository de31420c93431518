"""Sizes and throttles as controls: filtered regimes, volatility and anomaly scores of a session, row by row, for any strategy.

Each builder takes what is known at each time and gives the controls that an engine obeys: one row where the value changes, none
where it stays. They are due when the value is known, so that an order decided before does not feel them, and are journaled and
replayed like every other control.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from trading.controls import ANOMALY, CONTROL_DTYPE, SIZE_SCALE, ControlArray
from trading.ledger import MILLION

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

LARGEST_SCORE: Final = 2**53 // MILLION
"""Scores beyond this count as this."""


def regime_scales(
    known_ns: Int64, probabilities: Float64, multipliers: Float64, instrument_id: int, *, steps: int = 20
) -> ControlArray:
    """Return size scales by regime: the mean of the regimes' multipliers over their filtered probabilities, never above 1.

    Parameters
    ----------
    known_ns : int64 array, shape (n,)
        When each row's probabilities were known, ascending.
    probabilities : float64 array, shape (n, regimes)
        Filtered (forward only), never smoothed; NaN: not known yet, and nothing is bet.
    multipliers : float64 array, shape (regimes,)
    steps : int
        Scales are rounded down to so many steps, so that a control is not sent for every row.
    """
    if probabilities.shape != (len(known_ns), len(multipliers)):
        raise ValueError(f"probabilities have shape {probabilities.shape}, not {(len(known_ns), len(multipliers))}")
    weights = np.clip(np.asarray(multipliers, np.float64), 0.0, 1.0)
    scale = np.zeros(len(known_ns))
    for k, weight in enumerate(weights):  # regime by regime, as `regime_multiplier` adds them: the same bits
        scale += probabilities[:, k] * weight
    known = np.all(probabilities >= 0.0, axis=1)
    return _scales(known_ns, np.where(known, np.minimum(scale, 1.0), 0.0), instrument_id, steps)


def volatility_scales(
    known_ns: Int64, volatility: Float64, target: float, instrument_id: int, *, steps: int = 20
) -> ControlArray:
    """Return size scales that hold a position's volatility at a target: target over realised, never above 1.

    Parameters
    ----------
    known_ns : int64 array, shape (n,)
    volatility : float64 array, shape (n,)
        Realised, in the unit of the target; NaN: not known yet, and nothing is bet.
    target : float
        Above 0.
    """
    if not target > 0:
        raise ValueError(f"target {target} is not positive")
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(volatility <= target, 1.0, target / volatility)
    return _scales(known_ns, np.where(volatility >= 0.0, scale, 0.0), instrument_id, steps)


def anomaly_scores(known_ns: Int64, scores: Float64, threshold: float, instrument_id: int) -> ControlArray:
    """Return the anomaly score where it crosses the threshold of the settings, either way; NaN counts as 0."""
    clean = np.clip(np.nan_to_num(scores, nan=0.0, posinf=LARGEST_SCORE, neginf=0.0), 0, LARGEST_SCORE)
    values = np.rint(clean * MILLION).astype(np.int64)
    above = values >= round(threshold * MILLION)
    changed = np.flatnonzero(np.diff(above.astype(np.int8), prepend=0))
    return _controls(known_ns[changed], values[changed], ANOMALY, instrument_id)


def _scales(known_ns: Int64, scale: Float64, instrument_id: int, steps: int) -> ControlArray:
    # A hair above the value: 0.3 times 20 must not come out as five steps.
    level = (scale * steps + 1e-9).astype(np.int64)
    values = level * MILLION // steps
    changed = np.flatnonzero(np.diff(values, prepend=MILLION))
    return _controls(known_ns[changed], values[changed], SIZE_SCALE, instrument_id)


def _controls(due_ns: Int64, values: Int64, kind: int, instrument_id: int) -> ControlArray:
    rows = np.zeros(len(due_ns), CONTROL_DTYPE)
    rows["due_ns"], rows["value"], rows["kind"] = due_ns, values, kind
    rows["instrument_id"], rows["by"], rows["control_id"] = instrument_id, b"sizing", np.arange(1, len(due_ns) + 1)
    return rows

"""Scores of three-class forecasts: how often right, how sharp, how honest. Money is judged elsewhere (the gate)."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.dataset import LABEL_MISSING

CALIBRATION_BINS: Final = 10
FLOOR: Final = 1e-9
"""Probabilities below this count as this in the log loss."""

Matrix = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int8]


def log_losses(probabilities: Matrix, y: Labels) -> npt.NDArray[np.float64]:
    """Return −log p of the class that came, nats, shape (n,); NaN where the label is missing."""
    p = np.asarray(probabilities, dtype=np.float64)
    known = y != LABEL_MISSING
    chosen = p[np.arange(len(y)), np.where(known, y.astype(np.int64) + 1, 0)]
    return np.where(known, -np.log(np.maximum(chosen, FLOOR)), np.nan)


def confusion(probabilities: Matrix, y: Labels) -> npt.NDArray[np.int64]:
    """Return counts, shape (3, 3): row = class that came, column = most probable class."""
    called = np.argmax(probabilities, axis=1)
    return np.bincount((y.astype(np.int64) + 1) * 3 + called, minlength=9).reshape(3, 3)


def matthews(table: npt.NDArray[np.int64]) -> float:
    """Return the multi-class Matthews correlation of a confusion table (Gorodkin 2004); 0 for a constant margin."""
    counts = table.astype(np.float64)
    total, right = counts.sum(), np.trace(counts)
    came, called = counts.sum(axis=1), counts.sum(axis=0)
    spread = (total**2 - called @ called) * (total**2 - came @ came)
    return float((right * total - came @ called) / np.sqrt(spread)) if spread > 0 else 0.0


def calibration(probabilities: Matrix, y: Labels, bins: int = CALIBRATION_BINS) -> dict[str, Any]:
    """Return the reliability curve of the three one-against-rest forecasts and its expected calibration error.

    Returns
    -------
    dict
        ``ece``: mean over classes of Σ (rows in bin ÷ rows) · |mean forecast − frequency|; ``curve``: for each class a
        list of ``[mean forecast, frequency, rows]``, one for each bin of equal width that holds rows.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    curve: dict[str, list[list[float]]] = {}
    errors = []
    for k, name in enumerate(("down", "flat", "up")):
        came = (y == k - 1).astype(np.float64)
        rows = np.bincount(place[:, k], minlength=bins)
        forecast = np.bincount(place[:, k], weights=p[:, k], minlength=bins)
        happened = np.bincount(place[:, k], weights=came, minlength=bins)
        held = rows > 0
        errors.append(float(np.abs(forecast - happened).sum() / max(len(y), 1)))
        curve[name] = [
            [float(f / r), float(h / r), float(r)]
            for f, h, r in zip(forecast[held], happened[held], rows[held], strict=True)
        ]
    return {"ece": float(np.mean(errors)), "curve": curve}


def score(probabilities: Matrix, y: Labels) -> dict[str, Any]:
    """Return the scores of forecasts against labels; rows with a missing label are left out.

    Parameters
    ----------
    probabilities : float array, shape (n, 3)
        Of down, flat, up.
    y : int8 array, shape (n,)
        -1, 0, 1 or ``LABEL_MISSING``.

    Returns
    -------
    dict
        JSON-able: ``rows, accuracy, mcc, balanced_accuracy, macro_f1, log_loss`` (nats), ``brier, ece, calibration,
        confusion, class_shares``. ``rows`` of 0 gives NaN scores. Classes that never came are left out of the balanced
        accuracy.
    """
    known = y != LABEL_MISSING
    p, y = np.asarray(probabilities, dtype=np.float64)[known], y[known]
    if not len(y):
        empty = dict.fromkeys(
            ("accuracy", "mcc", "balanced_accuracy", "macro_f1", "log_loss", "brier", "ece"), float("nan")
        )
        return {"rows": 0, **empty, "calibration": {}, "confusion": [[0] * 3] * 3, "class_shares": [float("nan")] * 3}
    table = confusion(p, y)
    came, called, right = table.sum(axis=1), table.sum(axis=0), np.diag(table)
    held = came > 0
    reliability = calibration(p, y)
    return {
        "rows": len(y),
        "accuracy": float(right.sum() / len(y)),
        "mcc": matthews(table),
        "balanced_accuracy": float((right[held] / came[held]).mean()),
        "macro_f1": float((2 * right / np.maximum(came + called, 1)).mean()),
        "log_loss": float(log_losses(p, y).mean()),
        "brier": float(((p - np.eye(3)[y.astype(np.int64) + 1]) ** 2).sum(axis=1).mean()),
        "ece": reliability["ece"],
        "calibration": reliability["curve"],
        "confusion": table.tolist(),
        "class_shares": (came / len(y)).tolist(),
    }

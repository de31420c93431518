"""Anomaly score: how far a row lies from the training rows, all features together, and from where trading slows (F22).

The score is a robust Mahalanobis distance. Location and scale of each feature are the median and the median absolute
deviation; the correlations come from the most central rows alone, by concentration steps from there, so that the outliers
of the training window do not hide those to come. They are kept as their leading principal components, and one variance
for all directions beside those (probabilistic principal components), which is cheap on one row and steady where features
are many. The threshold is a high
quantile of the training rows' own scores, instrument by instrument. Beyond it the size of a bet falls, and reaches zero
at twice the threshold (:func:`throttle`).

References
----------
Rousseeuw, Van Driessen (1999). A fast algorithm for the minimum covariance determinant estimator. Technometrics 41(3).
Hubert, Rousseeuw, Verdonck (2012). A deterministic algorithm for robust location and scatter. J. Comp. Graph. Stat. 21(3).
Tipping, Bishop (1999). Probabilistic principal component analysis. J. Royal Statistical Society B 61(3).
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from features.dataset import Dataset
from features.entry import FeatureEntry
from features.fitted.family import Arrays, RowBatch
from features.fitted.params import FitWindow, params_hash
from features.signals.columns import SIGNAL_COLUMNS

Float64 = npt.NDArray[np.float64]

COLUMN: Final = "anomaly_score"
CLIP: Final = 100.0
"""Robust standardised values are cut at ± this: one broken number among many is an anomaly, but not an infinite one."""
CENTRAL: Final = 0.75
"""Share of the rows that the correlations are taken from."""
STEPS: Final = 3
"""Concentration steps."""
COMPONENTS: Final = 24
"""Principal components at most; at least one direction is left beside them."""
QUANTILE: Final = 0.999
"""Share of an instrument's training rows below the threshold."""
FLOOR: Final = 0.05
"""Smallest variance of the other directions, as a share of a standardised feature's: equal columns are no anomaly."""
MAX_ROWS: Final = 12_000
"""The fit looks at so many rows at most, evenly spread."""
MIN_ROWS: Final = 200
"""Rows below which an instrument takes the pooled location, scale and threshold, and a window gives no score at all."""
LEFT_OUT: Final = ("time_of_day", "hawkes_s_", "last_trade_sign", "mid_age")
"""Prefixes of raw columns that say nothing about strangeness: the clock, and pieces of other columns."""
RV_1999: Final = "Rousseeuw, Van Driessen (1999). A fast MCD algorithm. Technometrics 41(3)."


@njit(cache=True)
def _scores(
    centre: Float64,
    scale: Float64,
    directions: Float64,
    rest: float,
    instrument: npt.NDArray[np.int64],
    raw: npt.NDArray[np.float32],
    places: npt.NDArray[np.int64],
    out: Float64,
) -> None:
    width = len(places)
    count = directions.shape[1]
    along = np.empty(count)
    for n in range(len(instrument)):
        k = instrument[n]
        known = 0
        total = 0.0
        along[:] = 0.0
        for f in range(width):
            value = np.float64(raw[n, places[f]])
            if np.isnan(value) or scale[k, f] <= 0.0:
                continue
            known += 1
            z = min(max((value - centre[k, f]) / scale[k, f], -CLIP), CLIP)
            total += z * z
            for c in range(count):
                along[c] += directions[f, c] * z
        total *= rest
        for c in range(count):
            total -= along[c] * along[c]
        out[n] = np.sqrt(max(total, 0.0) / known) if 2 * known >= width else np.nan


@dataclass(frozen=True, slots=True)
class AnomalyParams:
    """Frozen parameters of the score.

    Attributes
    ----------
    names : tuple of str
        The d features that are looked at; ``places`` says where they stand among the raw ones.
    centre, scale : float64 arrays, shape (I, d)
        Median and 1.4826 median absolute deviations; a scale of 0 leaves a feature out.
    directions : float64 array, shape (d, K)
        Leading principal components v_k, each times sqrt(1/λ - 1/λ_k), with λ the variance of every other direction.
    rest : float64 array, shape (1,)
        1/λ. The squared distance of a standardised row z is ‖z‖² / λ - Σ (direction_k · z)².
    threshold : float64 array, shape (I,)
        Score from which a row is an anomaly.
    """

    names: tuple[str, ...]
    places: npt.NDArray[np.int64]
    centre: Float64
    scale: Float64
    directions: Float64
    rest: Float64
    threshold: Float64
    window: FitWindow

    @property
    def columns(self) -> tuple[str, ...]:
        """``anomaly_score``."""
        return (COLUMN,)

    @property
    def sha256(self) -> str:
        """Hash of the numbers and the specification, the window left out."""
        return params_hash("anomaly", list(self.names), self._arrays())

    def _arrays(self) -> Arrays:
        names = ("places", "centre", "scale", "directions", "rest", "threshold")
        return {name: getattr(self, name) for name in names}

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        """Return the arrays, and the names of the features."""
        return self._arrays(), {"names": list(self.names)}

    def step(self, batch: RowBatch) -> Float64:
        """Return the score of each row, shape (n, 1): about 1 for a usual row; NaN where half the features are unknown."""
        out = np.empty(len(batch.instrument))
        rest = float(self.rest[0])
        _scores(self.centre, self.scale, self.directions, rest, batch.instrument, batch.raw, self.places, out)
        return out[:, None]


def throttle(score: Float64, threshold: Float64) -> Float64:
    """Return the share of a bet that a score leaves: 1 up to the threshold, falling to 0 at twice the threshold.

    An unknown score leaves everything: rows of a cold start are not anomalies, and models say little on them anyway.
    """
    left = np.clip(2.0 - score / threshold, 0.0, 1.0)
    return np.where(np.isnan(score), 1.0, left)


@dataclass(frozen=True, slots=True)
class Anomaly:
    """The family member: a robust distance from the training rows."""

    name: str = "anomaly"

    def fit(self, train: Dataset, places: npt.NDArray[np.int64], window: FitWindow) -> AnomalyParams | None:
        """Return the parameters; None where fewer than :data:`MIN_ROWS` rows or two features are known."""
        slow = {name for names in SIGNAL_COLUMNS.values() for name in names}
        chosen = [k for k, name in enumerate(train.columns) if name not in slow and not name.startswith(LEFT_OUT)]
        thin = np.unique(np.linspace(0, len(train) - 1, min(len(train), MAX_ROWS)).astype(np.int64))
        values, owner = train.x[thin][:, chosen], places[thin]
        if len(values) < MIN_ROWS or len(chosen) < 2:
            return None
        pooled = _location(values)
        moments = [
            _location(values[owner == k]) if (owner == k).sum() >= MIN_ROWS else pooled
            for k in range(len(train.instruments))
        ]
        centre, scale = (np.stack([m[j] for m in moments]) for j in (0, 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            z = (values - centre[owner]) / np.where(scale[owner] > 0, scale[owner], np.inf)
        known = np.isfinite(values)
        z = np.clip(np.where(known, z, 0.0), -CLIP, CLIP)
        directions, rest = _components(z[known.mean(axis=1) >= 0.5])
        at = np.array(chosen, np.int64)
        names = tuple(train.columns[k] for k in chosen)
        count = len(train.instruments)
        params = AnomalyParams(names, at, centre, scale, directions, rest, np.full(count, np.inf), window)
        score = params.step(RowBatch(owner, np.zeros(len(thin)), train.x[thin]))[:, 0]
        found = np.isfinite(score)
        if found.sum() < MIN_ROWS:
            return None
        threshold = np.full(count, float(np.quantile(score[found], QUANTILE)))
        for k in range(count):
            own = score[found & (owner == k)]
            if len(own) >= MIN_ROWS:
                threshold[k] = np.quantile(own, QUANTILE)
        return replace(params, threshold=threshold)

    def restore(self, arrays: Arrays, config: dict[str, Any], window: FitWindow) -> AnomalyParams:
        """Return the parameters of a bundle."""
        return AnomalyParams(tuple(config["names"]), **arrays, window=window)

    def entries(self, windows_ns: tuple[int, ...]) -> tuple[FeatureEntry, ...]:
        """Return the entry of the score."""
        text = "robust Mahalanobis distance of the row's features from the training rows, over sqrt of their number"
        return (FeatureEntry(COLUMN, "1", text, RV_1999, windows_ns[-1], windows_ns[-1], False),)


def _location(values: npt.NDArray[np.float32]) -> tuple[Float64, Float64]:
    """Return medians and 1.4826 median absolute deviations of columns; 0 and 0 where nothing is known.

    A column that is mostly one value has a median deviation of 0; it takes its standard deviation, if it has one.
    """
    known = np.isfinite(values)
    count = known.sum(axis=0)
    exact = np.where(known, values, np.nan).astype(np.float64)
    centre = np.where(count > 0, _medians(exact, count), 0.0)
    scale = 1.4826 * np.where(count > 0, _medians(np.abs(exact - centre), count), 0.0)
    gap = np.where(known, exact - centre, 0.0)
    mean = gap.sum(axis=0) / np.maximum(count, 1)
    deviation = np.sqrt(np.where(known, (gap - mean) ** 2, 0.0).sum(axis=0) / np.maximum(count, 1))
    scale = np.where(scale > 0, scale, deviation)
    scale[scale <= 1e-9 * np.maximum(1.0, np.abs(centre))] = 0.0
    return centre, scale


def _medians(values: Float64, count: npt.NDArray[np.int64]) -> Float64:
    """Return the median of each column's known values, shape (d,); ``count`` of them are known, NaN sorts last."""
    ordered = np.sort(values, axis=0)
    upper = np.minimum(count // 2, len(values) - 1)
    lower = np.maximum((count - 1) // 2, 0)
    at = np.arange(values.shape[1])
    return np.asarray((ordered[lower, at] + ordered[upper, at]) / 2.0, np.float64)


def _components(z: Float64) -> tuple[Float64, Float64]:
    """Return the scaled leading components of the central rows' correlations, shape (d, K), and 1/λ, shape (1,)."""
    width = z.shape[1]
    kept = max(min(COMPONENTS, width - 1), 0)
    size = (z * z).sum(axis=1)
    directions, rest = np.zeros((width, kept)), np.ones(1)
    for _ in range(STEPS):
        central = z[size <= np.quantile(size, CENTRAL)]
        spread = central.T @ central / len(central)
        deviation = np.sqrt(np.diag(spread))
        inverse = np.where(deviation > 0, 1.0 / np.where(deviation > 0, deviation, 1.0), 0.0)
        correlation = spread * np.outer(inverse, inverse)
        np.fill_diagonal(correlation, 1.0)
        values, vectors = np.linalg.eigh(correlation)
        variance = max(float(values[: width - kept].mean()), FLOOR)
        leading = np.maximum(values[width - kept :], variance)
        directions = vectors[:, width - kept :] * np.sqrt(1.0 / variance - 1.0 / leading)
        rest = np.array([1.0 / variance])
        size = (z * z).sum(axis=1) * rest[0] - ((z @ directions) ** 2).sum(axis=1)
    return np.ascontiguousarray(directions), rest

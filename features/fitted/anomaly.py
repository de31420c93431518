"""Anomaly score: how far a row lies from the training rows, all features together, and from where trading slows (F22).

The score is a robust Mahalanobis distance. Location and scale of each feature are the median and the median absolute
deviation; the correlation matrix comes from the most central rows alone, by concentration steps from there, so that the
outliers of the training window do not hide those to come; it is shrunk towards the identity. The threshold is a high
quantile of the training rows' own scores, instrument by instrument. Beyond it the size of a bet falls, and reaches zero
at twice the threshold (:func:`throttle`).

References
----------
Rousseeuw, Van Driessen (1999). A fast algorithm for the minimum covariance determinant estimator. Technometrics 41(3).
Hubert, Rousseeuw, Verdonck (2012). A deterministic algorithm for robust location and scatter. J. Comp. Graph. Stat. 21(3).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from features.catalog import FeatureEntry
from features.dataset import Dataset
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
SHRINK: Final = 0.1
"""Weight of the identity in the correlation matrix."""
QUANTILE: Final = 0.999
"""Share of an instrument's training rows below the threshold."""
MAX_ROWS: Final = 40_000
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
    whitening: Float64,
    instrument: npt.NDArray[np.int64],
    values: npt.NDArray[np.float32],
    out: Float64,
) -> None:
    width = values.shape[1]
    z = np.empty(width)
    for n in range(len(instrument)):
        k = instrument[n]
        known = 0
        for f in range(width):
            value = np.float64(values[n, f])
            z[f] = 0.0
            if np.isnan(value) or scale[k, f] <= 0.0:
                continue
            known += 1
            z[f] = min(max((value - centre[k, f]) / scale[k, f], -CLIP), CLIP)
        total = 0.0
        for f in range(width):
            part = 0.0
            for g in range(f + 1):
                part += whitening[f, g] * z[g]
            total += part * part
        out[n] = np.sqrt(total / known) if 2 * known >= width else np.nan


@dataclass(frozen=True, slots=True)
class AnomalyParams:
    """Frozen parameters of the score.

    Attributes
    ----------
    names : tuple of str
        The d features that are looked at; ``places`` says where they stand among the raw ones.
    centre, scale : float64 arrays, shape (I, d)
        Median and 1.4826 median absolute deviations; a scale of 0 leaves a feature out.
    whitening : float64 array, shape (d, d)
        Lower triangle: inverse Cholesky factor of the shrunk correlation matrix.
    threshold : float64 array, shape (I,)
        Score from which a row is an anomaly.
    """

    names: tuple[str, ...]
    places: npt.NDArray[np.int64]
    centre: Float64
    scale: Float64
    whitening: Float64
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
        names = ("places", "centre", "scale", "whitening", "threshold")
        return {name: getattr(self, name) for name in names}

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        """Return the arrays, and the names of the features."""
        return self._arrays(), {"names": list(self.names)}

    def step(self, batch: RowBatch) -> Float64:
        """Return the score of each row, shape (n, 1): about 1 for a usual row; NaN where half the features are unknown."""
        out = np.empty(len(batch.instrument))
        values = np.ascontiguousarray(batch.raw[:, self.places])
        _scores(self.centre, self.scale, self.whitening, batch.instrument, values, out)
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
        whitening = _whitening(z[known.mean(axis=1) >= 0.5])
        at = np.array(chosen, np.int64)
        names = tuple(train.columns[k] for k in chosen)
        none = np.full(len(train.instruments), np.inf)
        params = AnomalyParams(names, at, centre, scale, whitening, none, window)
        score = np.empty(len(values))
        _scores(centre, scale, whitening, owner, np.ascontiguousarray(values), score)
        found = np.isfinite(score)
        if found.sum() < MIN_ROWS:
            return None
        everyone = float(np.quantile(score[found], QUANTILE))
        threshold = np.full(len(train.instruments), everyone)
        for k in range(len(threshold)):
            own = score[found & (owner == k)]
            if len(own) >= MIN_ROWS:
                threshold[k] = np.quantile(own, QUANTILE)
        return AnomalyParams(params.names, at, centre, scale, whitening, threshold, window)

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
    centre, scale = np.zeros((2, values.shape[1]))
    for f in range(values.shape[1]):
        own = values[known[:, f], f].astype(np.float64)
        if not len(own):
            continue
        centre[f] = np.median(own)
        scale[f] = 1.4826 * np.median(np.abs(own - centre[f])) or own.std()
    scale[scale <= 1e-9 * np.maximum(1.0, np.abs(centre))] = 0.0
    return centre, scale


def _whitening(z: Float64) -> Float64:
    """Return the inverse Cholesky factor of the central rows' correlations, shrunk towards the identity."""
    width = z.shape[1]
    size = (z * z).sum(axis=1)
    whitening = np.eye(width)
    for _ in range(STEPS):
        central = z[size <= np.quantile(size, CENTRAL)]
        spread = central.T @ central / len(central)
        deviation = np.sqrt(np.diag(spread))
        usable = deviation > 0
        inverse = np.where(usable, 1.0 / np.where(usable, deviation, 1.0), 0.0)
        correlation = spread * np.outer(inverse, inverse)
        shrunk = (1.0 - SHRINK) * correlation + SHRINK * np.eye(width)
        shrunk[~usable, ~usable] = 1.0
        whitening = np.linalg.inv(np.linalg.cholesky(shrunk))
        size = ((z @ whitening.T) ** 2).sum(axis=1)
    return np.ascontiguousarray(np.tril(whitening))

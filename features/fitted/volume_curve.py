"""The intraday volume curve: how busy a session usually is at this time of day, and how busy it is now (R8).

References
----------
Białkowski, Darolles, Le Fol (2008). Improving VWAP strategies: a dynamic volume approach. J. Banking & Finance 32(9).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from features.dataset import Dataset
from features.entry import FeatureEntry
from features.fitted.family import Arrays, RowBatch, consecutive_rows
from features.fitted.params import FitWindow, params_hash

Float64 = npt.NDArray[np.float64]

BINS: Final = 13
"""Bins of a session: half hours of a 6.5-hour one."""
MIN_ROWS: Final = 100
"""Known rows below which an instrument takes the pooled curve."""
PREFIX: Final = "trade_intensity_"
COLUMNS: Final = ("volume_curve", "volume_surprise")
BDL_2008: Final = "Białkowski, Darolles, Le Fol (2008). Improving VWAP strategies. J. Banking & Finance 32(9)."


@njit(cache=True)
def _curve_columns(
    curve: Float64, instrument: npt.NDArray[np.int64], share: Float64, seen: npt.NDArray[np.float32], out: Float64
) -> None:
    bins = curve.shape[1]
    for n in range(len(instrument)):
        k = instrument[n]
        place = min(max(share[n] * bins - 0.5, 0.0), bins - 1.0)
        left = min(int(place), bins - 2)
        weight = place - left
        usual = curve[k, left] * (1.0 - weight) + curve[k, left + 1] * weight
        total = 0.0
        for b in range(bins):
            total += curve[k, b]
        out[n, 0] = np.log((usual + 1.0) / (total / bins + 1.0))
        out[n, 1] = np.float64(seen[n]) - np.log1p(usual)


@dataclass(frozen=True, slots=True)
class VolumeCurveParams:
    """A frozen curve an instrument.

    Attributes
    ----------
    curve : float64 array, shape (I, B)
        Aggressors that the longest window holds on average in each of B equal parts of the session; between the middles
        of the parts it is linear.
    place : int
        Where the raw column of the present count stands.
    """

    curve: Float64
    place: int
    window: FitWindow

    @property
    def columns(self) -> tuple[str, ...]:
        """``volume_curve`` and ``volume_surprise``."""
        return COLUMNS

    @property
    def sha256(self) -> str:
        """Hash of the numbers and the specification, the window left out."""
        return params_hash("volume_curve", self.place, {"curve": self.curve})

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        """Return the curve, and where its raw column stands."""
        return {"curve": self.curve}, {"place": self.place}

    def step(self, batch: RowBatch) -> Float64:
        """Return the curve's height at each row, log against its mean, and the log of present over usual activity."""
        out = np.empty((len(batch.instrument), 2))
        seen = np.ascontiguousarray(batch.raw[:, self.place])
        _curve_columns(self.curve, batch.instrument, batch.elapsed_share, seen, out)
        return out

    def shares(self, instrument: int, points: int) -> Float64:
        """Return the cumulative share of a session's activity at ``points`` equally spaced times, first 0, last 1."""
        edges = np.concatenate([[0.0], np.cumsum(self.curve[instrument])])
        whole = edges[-1]
        grid = np.linspace(0.0, 1.0, points)
        if whole <= 0:
            return grid
        return np.interp(grid, np.linspace(0.0, 1.0, len(edges)), edges / whole)


@dataclass(frozen=True, slots=True)
class VolumeCurve:
    """The family member: time-weighted means of the number of aggressors, part of the session by part."""

    name: str = "volume_curve"

    def fit(self, train: Dataset, places: npt.NDArray[np.int64], window: FitWindow) -> VolumeCurveParams | None:
        """Return the curves; None where the rows do not know the time of day or count no aggressors."""
        counts = [name for name in train.columns if name.startswith(PREFIX)]
        if "time_of_day" not in train.columns or not counts:
            return None
        place = train.columns.index(counts[-1])
        share = np.clip(train.column("time_of_day").astype(np.float64), 0.0, 1.0)
        seen = np.expm1(train.x[:, place].astype(np.float64))
        weight = np.zeros(len(train))
        pairs = consecutive_rows(train, places)
        weight[pairs.first] = (train.ts_recv[pairs.second] - train.ts_recv[pairs.first]) / 1e9
        known = np.isfinite(seen) & np.isfinite(share) & (weight > 0)
        pooled = _means(share[known], seen[known], weight[known], np.zeros(BINS))
        curves = []
        for k in range(len(train.instruments)):
            own = known & (places == k)
            enough = own.sum() >= MIN_ROWS
            curves.append(_means(share[own], seen[own], weight[own], pooled) if enough else pooled)
        return VolumeCurveParams(np.stack(curves), place, window)

    def restore(self, arrays: Arrays, config: dict[str, Any], window: FitWindow) -> VolumeCurveParams:
        """Return the parameters of a bundle."""
        return VolumeCurveParams(arrays["curve"], int(config["place"]), window)

    def entries(self, windows_ns: tuple[int, ...]) -> tuple[FeatureEntry, ...]:
        """Return the entries of the two columns."""
        curve = "log of (1 + usual aggressors at this time of day) over (1 + their mean over the session)"
        surprise = "log(1 + aggressors in the longest window) - log(1 + as many as usual at this time of day)"
        longest = windows_ns[-1]
        return (
            FeatureEntry(COLUMNS[0], "1", curve, BDL_2008, 0, 0, False),
            FeatureEntry(COLUMNS[1], "1", surprise, BDL_2008, longest, longest, False),
        )


def _means(share: Float64, seen: Float64, weight: Float64, otherwise: Float64) -> Float64:
    """Return the time-weighted mean of each part of the session; one without rows takes ``otherwise``."""
    part = np.minimum((share * BINS).astype(np.int64), BINS - 1)
    time = np.bincount(part, weights=weight, minlength=BINS)
    total = np.bincount(part, weights=weight * seen, minlength=BINS)
    return np.where(time > 0, total / np.where(time > 0, time, 1.0), otherwise)

"""Standardise raw features with each instrument's own training mean and deviation (R8)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from features.fitted.params import FitWindow, params_hash


@dataclass(frozen=True, slots=True)
class ScalerParams:
    """Frozen parameters of the scaler.

    Attributes
    ----------
    columns : tuple of str
        Names of the F raw features.
    centre, scale : float64 arrays, shape (I, F)
        Training mean and deviation of each instrument; a scale of 0 switches a feature off (constant or never known).
    clip : float
        Standardised values beyond ± this are cut.
    """

    columns: tuple[str, ...]
    centre: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    clip: float
    window: FitWindow

    @property
    def sha256(self) -> str:
        """Hash of the numbers and the specification, the window left out."""
        return params_hash("scaler", [list(self.columns), self.clip], {"centre": self.centre, "scale": self.scale})


def standardise(
    params: ScalerParams, instrument: npt.NDArray[np.int64], x: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the standardised rows; NaN becomes 0, the training mean.

    Parameters
    ----------
    instrument : int64 array, shape (n,)
        Row of ``params.centre`` that belongs to each row of ``x``.
    x : float32 array, shape (n, F)
        Raw features.

    Returns
    -------
    float32 array, shape (n, F)
        Finite everywhere. A row depends on itself only, so one row gives the same bits as many.
    """
    out = np.empty(x.shape, dtype=np.float32)
    _standardise(x, instrument, params.centre, params.scale, params.clip, out)
    return out


@njit(cache=True)
def _standardise(
    x: npt.NDArray[np.float32],
    instrument: npt.NDArray[np.int64],
    centre: npt.NDArray[np.float64],
    scale: npt.NDArray[np.float64],
    clip: float,
    out: npt.NDArray[np.float32],
) -> None:
    for n in range(x.shape[0]):
        k = instrument[n]
        for f in range(x.shape[1]):
            value = np.float64(x[n, f])
            s = scale[k, f]
            if np.isnan(value) or s <= 0.0:
                out[n, f] = np.float32(0.0)
                continue
            z = (value - centre[k, f]) / s
            if z > clip:
                z = clip
            elif z < -clip:
                z = -clip
            out[n, f] = np.float32(z)

"""Hawkes intensities at a row: a fitted baseline in time of day plus fitted excitation of decayed counts (R8, R12).

The decayed counts are raw features (``hawkes_s_<kind>_<decay>``: Σ exp(−β (t − t_k)) over strictly earlier groups); the
intensity is ``λ_i(t) = μ_i(τ) + Σ_j Σ_b α_ijb β_b S_jb(t)`` with μ piecewise linear in the session's elapsed share τ.

References
----------
Bacry, Mastromatteo, Muzy (2015). Hawkes processes in finance. Market Microstructure and Liquidity 1(1).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from features.aggressors import KIND_NAMES
from features.fitted.params import FitWindow, params_hash


def count_columns(decays: int) -> tuple[str, ...]:
    """Return the names of the decayed-count features, kind by kind, decay by decay."""
    return tuple(f"hawkes_s_{kind}_{b}" for kind in KIND_NAMES for b in range(decays))


@dataclass(frozen=True, slots=True)
class HawkesParams:
    """Frozen parameters of one 4-kind process an instrument.

    Attributes
    ----------
    decays_per_s : tuple of float
        β_b of the exponential kernels, fixed before the fit.
    baseline : float64 array, shape (I, 4, Q)
        μ at Q knots equally spaced over the session, events per second.
    excitation : float64 array, shape (I, 4, 4, B)
        α_ijb: expected direct children of kind i of one event of kind j through kernel b.
    """

    decays_per_s: tuple[float, ...]
    baseline: npt.NDArray[np.float64]
    excitation: npt.NDArray[np.float64]
    window: FitWindow

    @property
    def sha256(self) -> str:
        """Hash of the numbers and the specification, the window left out."""
        return params_hash(
            "hawkes", list(self.decays_per_s), {"baseline": self.baseline, "excitation": self.excitation}
        )


def intensities(
    params: HawkesParams,
    instrument: npt.NDArray[np.int64],
    elapsed_share: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Return the four intensities at each row.

    Parameters
    ----------
    instrument : int64 array, shape (n,)
    elapsed_share : float64 array, shape (n,)
        Share of the session that has passed, cut to [0, 1].
    counts : float32 array, shape (n, 4·B)
        Decayed counts in the order of :func:`count_columns`; NaN (not warm) counts as none.

    Returns
    -------
    float64 array, shape (n, 4)
        Events per second, positive. A row depends on itself only.
    """
    out = np.empty((len(instrument), len(KIND_NAMES)))
    decays = np.asarray(params.decays_per_s, dtype=np.float64)
    _intensities(instrument, elapsed_share, counts, params.baseline, params.excitation, decays, out)
    return out


@njit(cache=True)
def _intensities(
    instrument: npt.NDArray[np.int64],
    elapsed_share: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float32],
    baseline: npt.NDArray[np.float64],
    excitation: npt.NDArray[np.float64],
    decays: npt.NDArray[np.float64],
    out: npt.NDArray[np.float64],
) -> None:
    kinds = excitation.shape[1]
    knots = baseline.shape[2]
    for n in range(instrument.shape[0]):
        k = instrument[n]
        place = min(max(elapsed_share[n], 0.0), 1.0) * (knots - 1)
        left = min(int(place), knots - 2)
        weight = place - left
        for i in range(kinds):
            value = baseline[k, i, left] * (1.0 - weight) + baseline[k, i, left + 1] * weight
            for j in range(kinds):
                for b in range(decays.shape[0]):
                    count = np.float64(counts[n, j * decays.shape[0] + b])
                    if count == count:
                        value += excitation[k, i, j, b] * decays[b] * count
            out[n, i] = max(value, 1e-12)

"""Regime probabilities: a forward filter over a fitted Gaussian hidden Markov model (R8).

Filtered only: the probability of a regime at a row uses rows up to that row. Smoothed probabilities would let later
rows move earlier ones.

References
----------
Hamilton (1989). A new approach to the economic analysis of nonstationary time series. Econometrica 57(2).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from features.fitted.params import FitWindow, params_hash


@dataclass(frozen=True, slots=True)
class RegimeParams:
    """Frozen parameters of a K-state model with diagonal Gaussian emissions over d standardised features.

    Attributes
    ----------
    columns : tuple of str
        Names of the d observed features, in the order of ``mean``; they are read from the standardised rows.
    start : float64 array, shape (K,)
        Probabilities at a session's first row.
    transition : float64 array, shape (K, K)
        Row i: probabilities of the next state from state i.
    mean, variance : float64 arrays, shape (K, d)
    """

    columns: tuple[str, ...]
    start: npt.NDArray[np.float64]
    transition: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]
    window: FitWindow

    @property
    def states(self) -> int:
        """Number of regimes K."""
        return len(self.start)

    @property
    def sha256(self) -> str:
        """Hash of the numbers and the specification, the window left out."""
        arrays = {"start": self.start, "transition": self.transition, "mean": self.mean, "variance": self.variance}
        return params_hash("regimes", list(self.columns), arrays)


class RegimeState(NamedTuple):
    """Filtered probabilities of each instrument, shape (I, K), and whether it has had a row, shape (I,)."""

    probability: npt.NDArray[np.float64]
    seen: npt.NDArray[np.bool_]


def init_regimes(params: RegimeParams, instruments: int) -> RegimeState:
    """Return the state at a session's open."""
    return RegimeState(np.tile(params.start, (instruments, 1)), np.zeros(instruments, dtype=np.bool_))


def filter_regimes(
    params: RegimeParams,
    state: RegimeState,
    instrument: npt.NDArray[np.int64],
    observed: npt.NDArray[np.float32],
) -> tuple[RegimeState, npt.NDArray[np.float64]]:
    """Return the state after the rows and the filtered probabilities at each row.

    Parameters
    ----------
    instrument : int64 array, shape (n,)
        Whose row it is, as an index into the state.
    observed : float32 array, shape (n, d)
        Standardised features, finite.

    Returns
    -------
    tuple
        The state (the same arrays, changed in place) and float64 probabilities of shape (n, K).
    """
    out = np.empty((len(instrument), params.states))
    _filter(
        observed,
        instrument,
        params.start,
        params.transition,
        params.mean,
        params.variance,
        state.probability,
        state.seen,
        out,
    )
    return state, out


@njit(cache=True)
def _filter(
    observed: npt.NDArray[np.float32],
    instrument: npt.NDArray[np.int64],
    start: npt.NDArray[np.float64],
    transition: npt.NDArray[np.float64],
    mean: npt.NDArray[np.float64],
    variance: npt.NDArray[np.float64],
    probability: npt.NDArray[np.float64],
    seen: npt.NDArray[np.bool_],
    out: npt.NDArray[np.float64],
) -> None:
    states = start.shape[0]
    prior = np.empty(states)
    score = np.empty(states)
    for n in range(observed.shape[0]):
        k = instrument[n]
        if seen[k]:
            for j in range(states):
                total = 0.0
                for i in range(states):
                    total += probability[k, i] * transition[i, j]
                prior[j] = total
        else:
            for j in range(states):
                prior[j] = start[j]
            seen[k] = True
        top = -np.inf
        for j in range(states):
            value = np.log(prior[j] + 1e-300)
            for d in range(observed.shape[1]):
                gap = np.float64(observed[n, d]) - mean[j, d]
                value -= 0.5 * (gap * gap / variance[j, d] + np.log(variance[j, d]))
            score[j] = value
            if value > top:
                top = value
        total = 0.0
        for j in range(states):
            score[j] = np.exp(score[j] - top)
            total += score[j]
        for j in range(states):
            probability[k, j] = score[j] / total
            out[n, j] = probability[k, j]

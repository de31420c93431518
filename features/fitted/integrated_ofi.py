"""Integrated order flow imbalance: the levels' flows on their first principal component of the training rows (R10).

References
----------
Cont, Cucuringu, Zhang (2023). Cross-impact of order flow imbalance in equity markets. Quantitative Finance 23(10).
"""

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from features.catalog import CCZ_2023
from features.dataset import Dataset
from features.entry import FeatureEntry, span_name
from features.fitted.family import Arrays, RowBatch
from features.fitted.params import FitWindow, params_hash

Float64 = npt.NDArray[np.float64]

MIN_ROWS: Final = 100
"""Known rows below which an instrument takes the pooled weights."""
LEVEL_COLUMN: Final = re.compile(r"ofi_l(\d+)_(\w+)")
"""Names of the raw columns that are weighted: ``ofi_l<level>_<window>``."""


def first_component(flows: npt.NDArray[np.floating[Any]]) -> Float64:
    """Return the weights of the first principal component, shape (M,), divided by Σ|w|, sign so that Σw > 0.

    Parameters
    ----------
    flows : float array, shape (n, M)
        Flows of M levels, each divided by the mean depth; finite.

    Raises
    ------
    ValueError
        If there are fewer than two rows.
    """
    if len(flows) < 2:
        raise ValueError(f"a principal component of {len(flows)} row(s)")
    weights = np.linalg.eigh(np.atleast_2d(np.cov(flows.astype(np.float64), rowvar=False)))[1][:, -1]
    total = weights.sum()
    return np.asarray(weights * (1.0 if total >= 0 else -1.0) / np.abs(weights).sum(), np.float64)


@dataclass(frozen=True, slots=True)
class IntegratedOfiParams:
    """Frozen weights.

    Attributes
    ----------
    spans : tuple of str
        Windows, W of them.
    places : int64 array, shape (W, M)
        Where the raw columns of each window's levels stand.
    weights : float64 array, shape (W, I, M)
        Weights by window, instrument and level; Σ|w| = 1, Σw > 0.
    """

    spans: tuple[str, ...]
    places: npt.NDArray[np.int64]
    weights: Float64
    window: FitWindow

    @property
    def columns(self) -> tuple[str, ...]:
        """``ofi_integrated_<window>``, one a window."""
        return tuple(f"ofi_integrated_{span}" for span in self.spans)

    @property
    def sha256(self) -> str:
        """Hash of the numbers and the specification, the window left out."""
        return params_hash("integrated_ofi", list(self.spans), {"places": self.places, "weights": self.weights})

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        """Return weights and places, and the names of the windows."""
        return {"weights": self.weights, "places": self.places}, {"spans": list(self.spans)}

    def step(self, batch: RowBatch) -> Float64:
        """Return the weighted flows, shape (n, W); NaN where a level's flow is not known."""
        out = np.empty((len(batch.instrument), len(self.spans)))
        _weighted(self.weights, self.places, batch.instrument, batch.raw, out)
        return out


@njit(cache=True)
def _weighted(
    weights: Float64,
    places: npt.NDArray[np.int64],
    instrument: npt.NDArray[np.int64],
    raw: npt.NDArray[np.float32],
    out: Float64,
) -> None:
    for n in range(len(instrument)):
        for w in range(places.shape[0]):
            total = 0.0
            for m in range(places.shape[1]):
                total += weights[w, instrument[n], m] * np.float64(raw[n, places[w, m]])
            out[n, w] = total


@dataclass(frozen=True, slots=True)
class IntegratedOfi:
    """The family member: one principal component a window and instrument."""

    name: str = "integrated_ofi"

    def fit(self, train: Dataset, places: npt.NDArray[np.int64], window: FitWindow) -> IntegratedOfiParams | None:
        """Return the weights; None where the rows have no flows by level."""
        levels: dict[str, dict[int, int]] = {}
        for position, name in enumerate(train.columns):
            found = LEVEL_COLUMN.fullmatch(name)
            if found:
                levels.setdefault(found[2], {})[int(found[1])] = position
        levels = {span: own for span, own in levels.items() if len(own) > 1}
        depth = min((len(own) for own in levels.values()), default=0)
        if not depth:
            return None
        spans, positions, weights = [], [], []
        for span, own in levels.items():
            at = np.array([own[level] for level in sorted(own)][:depth], np.int64)
            pooled = self._weights(train.x[:, at], np.full(depth, 1.0 / depth))
            spans.append(span)
            positions.append(at)
            weights.append(
                np.stack([self._weights(train.x[places == k][:, at], pooled) for k in range(len(train.instruments))])
            )
        return IntegratedOfiParams(tuple(spans), np.stack(positions), np.stack(weights), window)

    @staticmethod
    def _weights(flows: npt.NDArray[np.float32], otherwise: Float64) -> Float64:
        known = flows[np.isfinite(flows).all(axis=1)]
        if len(known) < MIN_ROWS or not known.any():
            return otherwise
        return first_component(known)

    def restore(self, arrays: Arrays, config: dict[str, Any], window: FitWindow) -> IntegratedOfiParams:
        """Return the parameters of a bundle."""
        return IntegratedOfiParams(tuple(config["spans"]), arrays["places"], arrays["weights"], window)

    def entries(self, windows_ns: tuple[int, ...]) -> tuple[FeatureEntry, ...]:
        """Return an entry a window."""
        return tuple(
            FeatureEntry(
                f"ofi_integrated_{span_name(ns)}",
                "1",
                f"Σ w_m ofi_l<m>_{span_name(ns)}, w: first principal component of the levels / Σ|w|, Σw > 0",
                CCZ_2023,
                ns,
                ns,
                True,
            )
            for ns in windows_ns
        )

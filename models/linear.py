"""The multinomial logit: scikit-learn fits it, a numba kernel serves it; and the linear candidate on all columns.

Every other logit of the house (queue imbalance, time of day, Hawkes, regimes) is this one on other columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.settings import TrainingSettings
from models.evaluation import score
from models.forecaster import EVERY_PART, DesignRows, Float64, NoState, Part, Role, TrainingBlock, Weights
from models.selection import select_columns

ABSENT_LOG_ODDS = -12.0
"""Log odds of a class that never came in training: improbable, never impossible."""
PENALTIES: Final = (0.1, 0.03, 0.01, 0.003)
"""Penalties that a logit on many columns is tried with, strongest first; half a decade apart."""


@dataclass(frozen=True, slots=True)
class Logit:
    """Coefficients of a three-class logit: ``coefficients`` (3, D) and ``intercepts`` (3,), both float64."""

    coefficients: Float64
    intercepts: Float64


def fit_logit(
    x: npt.NDArray[np.floating[Any]], y: npt.NDArray[np.int8], penalty: float, *, tolerance: float = 1e-4
) -> Logit:
    """Return the logit that minimises mean log loss + ½ ``penalty`` ‖coefficients‖².

    Parameters
    ----------
    x : float array, shape (n, D)
        Finite columns of comparable scale.
    y : int8 array, shape (n,)
        -1, 0 or 1. A class without rows gets :data:`ABSENT_LOG_ODDS`.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # the package ships no types

    width = x.shape[1]
    coefficients, intercepts = np.zeros((3, width)), np.full(3, ABSENT_LOG_ODDS)
    present = np.unique(y).astype(np.int64) + 1
    if len(present) == 0:
        return Logit(coefficients, np.zeros(3))
    if len(present) == 1 or width == 0:
        counts = np.bincount(y.astype(np.int64) + 1, minlength=3)
        intercepts[present] = np.log(counts[present] / len(y))
        return Logit(coefficients, intercepts)
    with threadpool_limits(limits=1):
        fitted = LogisticRegression(C=1.0 / (penalty * len(y)), tol=tolerance, max_iter=300).fit(
            x.astype(np.float64), y
        )
    if len(present) == 2:
        coefficients[present[1]] = fitted.coef_[0]
        intercepts[present] = 0.0, fitted.intercept_[0]
    else:
        coefficients[:], intercepts[:] = fitted.coef_, fitted.intercept_
    return Logit(coefficients, intercepts)


@dataclass(frozen=True, slots=True)
class ChosenLogit:
    """The logit that forecast the held-out rows best, fitted on the earlier ones.

    Attributes
    ----------
    penalty : float
    logit : Logit
        On the inner split's earlier rows.
    tried : dict of float to float
        Held-out log loss by penalty, of those that were tried.
    """

    penalty: float
    logit: Logit
    tried: dict[float, float]


def choose_logit(
    block: TrainingBlock, penalties: Sequence[float] = PENALTIES, positions: npt.NDArray[np.intp] | None = None
) -> ChosenLogit | None:
    """Return the logit of the penalty that the purged inner split likes best, or None where there is no such split.

    Penalties are tried in their order, strongest first, until one is worse than the one before: the held-out loss falls as long
    as there is something to learn, then rises as noise is learnt. What is chosen never saw a row after the training window.

    Parameters
    ----------
    positions : intp array, optional
        Columns of the design that the logit sees; all of them otherwise.
    """
    if not len(block.train) or not len(block.valid):
        return None
    x = block.rows.x if positions is None else block.rows.x[:, positions]
    early, late = x[block.train], x[block.valid]
    best: ChosenLogit | None = None
    tried: dict[float, float] = {}
    for penalty in penalties:
        logit = fit_logit(early, block.y[block.train], penalty, tolerance=1e-3)
        tried[penalty] = float(score(logit_probabilities(logit, late), block.y[block.valid])["log_loss"])
        if best is not None and not tried[penalty] < tried[best.penalty]:
            break
        best = ChosenLogit(penalty, logit, tried)
    return best


def logit_probabilities(logit: Logit, x: npt.NDArray[np.floating[Any]]) -> Float64:
    """Return probabilities, shape (n, 3); a row's bits do not depend on its neighbours."""
    out = np.empty((len(x), 3))
    _logit(np.ascontiguousarray(x), logit.coefficients, logit.intercepts, out)
    return out


@njit(cache=True)
def softmax_in_place(values: npt.NDArray[np.float64]) -> None:
    """Turn a row of logits into probabilities."""
    top = values[0]
    for c in range(1, values.shape[0]):
        top = max(top, values[c])
    total = 0.0
    for c in range(values.shape[0]):
        values[c] = np.exp(values[c] - top)
        total += values[c]
    for c in range(values.shape[0]):
        values[c] /= total


@njit(cache=True)
def _logit(
    x: npt.NDArray[np.floating[Any]],
    coefficients: npt.NDArray[np.float64],
    intercepts: npt.NDArray[np.float64],
    out: npt.NDArray[np.float64],
) -> None:
    for n in range(x.shape[0]):
        for c in range(3):
            value = intercepts[c]
            for k in range(x.shape[1]):
                value += coefficients[c, k] * np.float64(x[n, k])
            out[n, c] = value
        softmax_in_place(out[n])


@dataclass(frozen=True, slots=True)
class LogitModel:
    """A logit on chosen columns of the design (all of them where ``config["columns"]`` is None)."""

    weights: Weights
    positions: npt.NDArray[np.intp] | None

    @classmethod
    def restore(cls, weights: Weights) -> "LogitModel":
        """Return the model of these weights."""
        positions = weights.arrays.get("positions")
        return cls(weights, None if positions is None else positions.astype(np.intp))

    def init(self) -> NoState:
        """Return the empty state."""
        return NoState()

    def step(self, state: NoState, rows: DesignRows) -> tuple[NoState, Float64]:
        """Return the probabilities row by row."""
        logit = Logit(self.weights.arrays["coefficients"], self.weights.arrays["intercepts"])
        return state, logit_probabilities(logit, rows.x if self.positions is None else rows.x[:, self.positions])

    def forecast(self, rows: DesignRows, session: npt.NDArray[np.int64]) -> Float64:
        """Return the probabilities of all rows."""
        return self.step(NoState(), rows)[1]


def fit_logit_model(block: TrainingBlock, columns: Sequence[str] | None, penalty: float) -> LogitModel:
    """Return a logit on the named design columns, fitted to all loss rows, with the inner split's scores beside it."""
    rows = block.rows
    positions = None if columns is None else np.array([rows.columns.index(name) for name in columns], dtype=np.int64)
    x = rows.x if positions is None else rows.x[:, positions]
    inner: dict[str, Any] = {}
    if len(block.train) and len(block.valid):
        trial = fit_logit(x[block.train], block.y[block.train], penalty, tolerance=1e-3)
        inner = score(logit_probabilities(trial, x[block.valid]), block.y[block.valid])
    logit = fit_logit(x[block.loss], block.y[block.loss], penalty)
    arrays: dict[str, npt.NDArray[Any]] = {"coefficients": logit.coefficients, "intercepts": logit.intercepts}
    if positions is not None:
        arrays["positions"] = positions
    config = {"form": "logit", "columns": None if columns is None else list(columns)}
    return LogitModel.restore(Weights(arrays, config, {"inner": inner}))


@dataclass(frozen=True, slots=True)
class LinearForecaster:
    """A penalised multinomial logit on every column of the design, its penalty chosen inside the fold (docs/decisions/0166).

    ``penalty`` is that of a window too small for an inner split.
    """

    name: str = "linear"
    role: Role = "candidate"
    parts: tuple[Part, ...] = EVERY_PART
    penalties: tuple[float, ...] = PENALTIES
    penalty: float = 0.01

    def hyperparameters(self, training: TrainingSettings) -> dict[str, Any]:
        """Return the penalties to choose from, and how columns are chosen where they are."""
        own: dict[str, Any] = {"penalties": list(self.penalties), "penalty_without_split": self.penalty}
        if training.feature_selection == "none":
            return own
        return {**own, "selection": training.feature_selection, "false_discovery_rate": training.false_discovery_rate}

    def fit(self, block: TrainingBlock, training: TrainingSettings, seed: int) -> LogitModel:
        """Return the fitted logit; with ``training.feature_selection`` on the columns chosen inside this fold (W16).

        Penalty and inner score then come from columns chosen on the earlier part alone.
        """
        if training.feature_selection == "none":
            return self._fitted(block, choose_logit(block, self.penalties), None, None, {})
        method, rate = training.feature_selection, training.false_discovery_rate
        columns, findings = select_columns(block, block.loss, method, rate, seed)
        early = None
        if len(block.train) and len(block.valid):
            names, _ = select_columns(block, block.train, method, rate, seed)
            early = np.array([block.rows.columns.index(name) for name in names], dtype=np.intp)
        chosen = choose_logit(block, self.penalties, early)
        return self._fitted(block, chosen, early, columns, {"selection": findings})

    def _fitted(
        self,
        block: TrainingBlock,
        chosen: ChosenLogit | None,
        early: npt.NDArray[np.intp] | None,
        columns: Sequence[str] | None,
        diagnostics: dict[str, Any],
    ) -> LogitModel:
        """Return the logit of the chosen penalty on all loss rows; ``early`` are the columns that ``chosen`` saw."""
        penalty = self.penalty if chosen is None else chosen.penalty
        inner: dict[str, Any] = {}
        if chosen is not None:
            x = block.rows.x[block.valid]
            inner = score(logit_probabilities(chosen.logit, x if early is None else x[:, early]), block.y[block.valid])
        model = fit_logit_model(replace(block, train=block.train[:0]), columns, penalty)
        tried = {} if chosen is None else {f"{p:g}": loss for p, loss in chosen.tried.items()}
        found = {"inner": inner, "penalty": penalty, "penalties": tried, **diagnostics}
        return LogitModel.restore(replace(model.weights, diagnostics=found))

    def restore(self, weights: Weights) -> LogitModel:
        """Return the model of these weights."""
        return LogitModel.restore(weights)

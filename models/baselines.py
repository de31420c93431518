"""The baselines that every score stands beside: what one gets without a model worth the name."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.dataset import LABEL_MISSING
from marketdata.settings import TrainingSettings
from models.evaluation import score
from models.forecaster import DesignRows, Float64, NoState, Part, Role, TrainingBlock, Weights
from models.linear import LogitModel, fit_logit_model

PRIOR_ROWS = 20.0
"""Rows at the pooled class frequencies that each cell of a table starts with."""
PENALTY = 1e-4

IMBALANCE_COLUMN = "depth_imbalance_l1"
SIGN_COLUMN = "last_trade_sign"
TIME_COLUMN_PREFIX = "time_of_day"


@dataclass(frozen=True, slots=True)
class TableModel:
    """Class frequencies of the training rows, given what one row is known by: nothing, a label, a sign.

    ``table`` has one row of probabilities for each of down, none or flat, up, and unknown.
    """

    weights: Weights

    def init(self) -> NoState:
        """Return the empty state."""
        return NoState()

    def step(self, state: NoState, rows: DesignRows) -> tuple[NoState, Float64]:
        """Return the table's row of each row."""
        return state, self.weights.arrays["table"][table_rows(self.weights.config["given"], rows)]

    def forecast(self, rows: DesignRows, session: npt.NDArray[np.int64]) -> Float64:
        """Return the table's row of each row."""
        return self.step(NoState(), rows)[1]


def table_rows(given: str, rows: DesignRows) -> npt.NDArray[np.int64]:
    """Return the table row (0 down, 1 flat, 2 up, 3 unknown) that each row belongs to."""
    if given == "nothing":
        return np.full(len(rows), 3, dtype=np.int64)
    if given == "label":
        return np.where(rows.matured == LABEL_MISSING, 3, rows.matured.astype(np.int64) + 1)
    sign = rows.raw[:, rows.raw_columns.index(SIGN_COLUMN)]
    return np.where(np.isnan(sign), 3, np.sign(np.nan_to_num(sign)).astype(np.int64) + 1)


def fit_table(block: TrainingBlock, given: str) -> TableModel:
    """Return the table of smoothed class frequencies; the unknown row holds the pooled ones."""

    def table(chosen: npt.NDArray[np.intp]) -> Float64:
        came = block.y[chosen].astype(np.int64) + 1
        pooled = (np.bincount(came, minlength=3) + 1.0) / (len(came) + 3.0)
        cell = table_rows(given, block.rows.take(chosen))
        counts = np.bincount(cell * 3 + came, minlength=12).reshape(4, 3).astype(np.float64)
        counts[3] = 0.0
        counts += PRIOR_ROWS * pooled
        return counts / counts.sum(axis=1, keepdims=True)

    config = {"form": "table", "given": given}
    inner: dict[str, Any] = {}
    if len(block.valid):
        trial = TableModel(Weights({"table": table(block.train)}, config))
        inner = score(trial.step(NoState(), block.rows.take(block.valid))[1], block.y[block.valid])
    return TableModel(Weights({"table": table(block.loss)}, config, {"inner": inner}))


@dataclass(frozen=True, slots=True)
class TableBaseline:
    """Majority (``given`` nothing), persistence of the label (the last *known* one), or the last aggressor's sign."""

    name: str
    given: str
    role: Role = "baseline"
    parts: tuple[Part, ...] = ()

    def hyperparameters(self, training: TrainingSettings) -> dict[str, Any]:
        """Return what the table is given and its smoothing."""
        return {"given": self.given, "prior_rows": PRIOR_ROWS}

    def fit(self, block: TrainingBlock, training: TrainingSettings, seed: int) -> TableModel:
        """Return the fitted table."""
        return fit_table(block, self.given)

    def restore(self, weights: Weights) -> TableModel:
        """Return the model of these weights."""
        return TableModel(weights)


@dataclass(frozen=True, slots=True)
class LogitBaseline:
    """A logit on the columns whose names begin with ``prefix``; without such columns, the class frequencies."""

    name: str
    prefix: str
    role: Role = "baseline"
    parts: tuple[Part, ...] = ()

    def hyperparameters(self, training: TrainingSettings) -> dict[str, Any]:
        """Return the columns and the penalty."""
        return {"columns": f"{self.prefix}*", "penalty": PENALTY}

    def fit(self, block: TrainingBlock, training: TrainingSettings, seed: int) -> LogitModel:
        """Return the fitted logit."""
        columns = [name for name in block.rows.columns if name.startswith(self.prefix)]
        return fit_logit_model(block, columns, PENALTY)

    def restore(self, weights: Weights) -> LogitModel:
        """Return the model of these weights."""
        return LogitModel.restore(weights)


MAJORITY = TableBaseline("majority", "nothing")
PERSISTENCE = TableBaseline("persistence", "label")
LAST_TRADE_SIGN = TableBaseline("last_trade_sign", "sign")
QUEUE_IMBALANCE = LogitBaseline("queue_imbalance", IMBALANCE_COLUMN)
TIME_OF_DAY = LogitBaseline("time_of_day", TIME_COLUMN_PREFIX)

"""What a forecaster is: fitted once a fold on design rows, then a fold over rows that gives three probabilities each.

Classes are down, flat, up, in this order everywhere. A model sees :class:`DesignRows` only: raw features beside the
same rows standardised and joined by the fitted features (:mod:`models.design`). ``step`` is the one inference path
(P7): it treats one row and many rows alike, bit for bit, because no kernel reduces over rows. ``forecast`` is the
batched form that training uses for its inner scores; it agrees with ``step`` within 1e-5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, Protocol, get_args

import numpy as np
import numpy.typing as npt

from marketdata.settings import TrainingSettings

CLASSES: Final = ("down", "flat", "up")
"""Names of the classes; the label ``y`` plus 1 is the index."""

Float64 = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[Any]]
Role = Literal["baseline", "candidate"]
Part = Literal["regimes", "hawkes", "microprice", "integrated_ofi", "volume_curve", "anomaly"]

EVERY_PART: Final[tuple[Part, ...]] = get_args(Part)
"""All fitted features: what the candidates on every column see."""


@dataclass(frozen=True, slots=True)
class DesignRows:
    """Rows as a model sees them, ordered by (``ts_recv``, instrument), all of one session where ``step`` gets them.

    Attributes
    ----------
    raw_columns, columns : tuple of str
        Names of the columns of ``raw`` (F of them) and ``x`` (D of them).
    ts_recv : int64 array, shape (n,)
    instrument : int64 array, shape (n,)
        Position of the row's instrument in the bundle's instruments.
    raw : float32 array, shape (n, F)
        Raw features; NaN means not known.
    x : float32 array, shape (n, D)
        Standardised and fitted features, finite.
    matured : int8 array, shape (n,)
        The instrument's last label that was known at ``ts_recv``; ``LABEL_MISSING`` where there is none, and always in
        live use, where labels do not exist: only the persistence baseline reads it.
    share_of_bet : float64 array, shape (n,), or None
        What the anomaly score leaves of a bet on the row, 0 to 1; None where the design has no such score.
    """

    raw_columns: tuple[str, ...]
    columns: tuple[str, ...]
    ts_recv: npt.NDArray[np.int64]
    instrument: npt.NDArray[np.int64]
    raw: npt.NDArray[np.float32]
    x: npt.NDArray[np.float32]
    matured: npt.NDArray[np.int8]
    share_of_bet: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ts_recv)

    def take(self, rows: npt.NDArray[np.intp] | slice) -> "DesignRows":
        """Return the chosen rows."""
        return replace(
            self,
            ts_recv=self.ts_recv[rows],
            instrument=self.instrument[rows],
            raw=self.raw[rows],
            x=self.x[rows],
            matured=self.matured[rows],
            share_of_bet=None if self.share_of_bet is None else self.share_of_bet[rows],
        )


@dataclass(frozen=True, slots=True)
class TrainingBlock:
    """All rows of a training window, and which of them a loss may use.

    Attributes
    ----------
    rows : DesignRows
        Every row of the window, unlabelled ones too: they are context for windows and neighbours.
    session : int64 array, shape (n,)
        Session of each row; state starts anew at each.
    y : int8 array, shape (n,)
        Labels; read at ``loss`` rows only.
    loss : intp array
        Rows whose label was known before the test began.
    train, valid : intp arrays
        The inner split of ``loss``: the last part held out, purged from the first.
    instruments : int
        Number of instruments.
    """

    rows: DesignRows
    session: npt.NDArray[np.int64]
    y: npt.NDArray[np.int8]
    loss: npt.NDArray[np.intp]
    train: npt.NDArray[np.intp]
    valid: npt.NDArray[np.intp]
    instruments: int


@dataclass(frozen=True, slots=True)
class Weights:
    """What a fit leaves behind: arrays, a JSON-able description that gives them meaning, and what the fit found out."""

    arrays: dict[str, npt.NDArray[Any]]
    config: dict[str, Any]
    diagnostics: dict[str, Any] = field(default_factory=dict)


class NoState(NamedTuple):
    """The state of a model that looks at one row alone."""


class FittedModel(Protocol):
    """A fitted forecaster."""

    @property
    def weights(self) -> Weights:
        """What the fit left behind."""

    def init(self) -> Any:
        """Return the state at a session's open: a NamedTuple of arrays."""

    def step(self, state: Any, rows: DesignRows) -> tuple[Any, Float64]:
        """Return the state (changed in place) and probabilities, shape (n, 3), row by row."""

    def forecast(self, rows: DesignRows, session: npt.NDArray[np.int64]) -> Float64:
        """Return the probabilities of all rows at once, shape (n, 3), within 1e-5 of ``step`` session by session."""


class Forecaster(Protocol):
    """A family of models: a frozen description with a fit."""

    @property
    def name(self) -> str:
        """Name in the catalogue."""

    @property
    def role(self) -> Role:
        """Whether it may become champion or is what a champion has to beat."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Fitted features that its design holds beside the scaler."""

    def hyperparameters(self, training: TrainingSettings) -> dict[str, Any]:
        """Return everything that is chosen rather than fitted, JSON-able."""

    def fit(self, block: TrainingBlock, training: TrainingSettings, seed: int) -> FittedModel:
        """Return the model fitted to the block's loss rows."""

    def restore(self, weights: Weights) -> FittedModel:
        """Return the model that left these weights behind."""


def copy_state(state: Any) -> Any:
    """Return a checkpoint of a state: a copy of every array in nested NamedTuples."""
    if isinstance(state, np.ndarray):
        return state.copy()
    if isinstance(state, tuple):
        parts = [copy_state(part) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state


def step_sessions(model: FittedModel, rows: DesignRows, session: npt.NDArray[np.int64]) -> Float64:
    """Return the probabilities of ``step`` over rows of several sessions, the state made anew at each session."""
    out = np.empty((len(rows), len(CLASSES)))
    for begin, end in session_slices(session):
        _, out[begin:end] = model.step(model.init(), rows.take(slice(begin, end)))
    return out


def session_slices(session: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the half-open row ranges of equal session, in order."""
    if not len(session):
        return []
    edges = np.flatnonzero(np.diff(session)) + 1
    return list(pairwise([0, *edges.tolist(), len(session)]))

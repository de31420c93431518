"""What every member of the fitted family is (R8): a fit on training rows, and a step with frozen parameters.

A fit sees the rows of one training window and nothing else; its parameters are frozen, hashed and travel in the bundle.
A step is one fold over rows: a row at a time or a session at once give the same bits, and later rows change no earlier
output. The columns that come out are made per fold in memory and are never stored beside the raw ones.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from features.dataset import Dataset
from features.entry import FeatureEntry
from features.fitted.params import FitWindow

Arrays = dict[str, npt.NDArray[Any]]


class RowBatch(NamedTuple):
    """Rows of one session in time order, as a step gets them.

    Attributes
    ----------
    instrument : int64 array, shape (n,)
        Position of each row's instrument in the arrays of the parameters.
    elapsed_share : float64 array, shape (n,)
        Share of the session that has passed, in [0, 1].
    raw : float32 array, shape (n, F)
        Raw features; NaN means not known.
    """

    instrument: npt.NDArray[np.int64]
    elapsed_share: npt.NDArray[np.float64]
    raw: npt.NDArray[np.float32]


class FittedParams(Protocol):
    """Frozen parameters of a member."""

    @property
    def window(self) -> FitWindow:
        """The rows that the fit saw, and when all about them was known."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that a step makes."""

    @property
    def sha256(self) -> str:
        """Hash of the numbers and of what they mean, the window left out."""

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        """Return the parameters as named arrays and a JSON-able description."""

    def step(self, batch: RowBatch) -> npt.NDArray[np.float64]:
        """Return the columns of each row, shape (n, C); NaN where a row does not say. A row depends on itself only."""


class FittedFeature(Protocol):
    """A member of the family: a frozen description that can be fitted and restored."""

    @property
    def name(self) -> str:
        """Name of the member."""

    def fit(self, train: Dataset, places: npt.NDArray[np.int64], window: FitWindow) -> FittedParams | None:
        """Return the parameters of a training window, None where its rows cannot give them.

        Parameters
        ----------
        train : Dataset
            Rows of the window; no label of theirs is read.
        places : int64 array, shape (n,)
            Position of each row's instrument in ``train.instruments``.
        """

    def restore(self, arrays: Arrays, config: dict[str, Any], window: FitWindow) -> FittedParams:
        """Return the parameters that :meth:`FittedParams.to_arrays` took apart."""

    def entries(self, windows_ns: tuple[int, ...]) -> tuple[FeatureEntry, ...]:
        """Return a catalogue entry for each column that the member may make."""


@dataclass(frozen=True, slots=True)
class Consecutive:
    """Pairs of consecutive rows of one instrument in one session: ``first`` and ``second`` index the training rows."""

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]


def consecutive_rows(train: Dataset, places: npt.NDArray[np.int64]) -> Consecutive:
    """Return the pairs of consecutive rows of the same instrument and session, in the order of their first rows."""
    order = np.lexsort((np.arange(len(places)), train.session, places))
    same = (places[order][1:] == places[order][:-1]) & (train.session[order][1:] == train.session[order][:-1])
    first, second = order[:-1][same], order[1:][same]
    back = np.argsort(first, kind="stable")
    return Consecutive(first[back], second[back])

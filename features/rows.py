"""Feature rows: what the pipeline gives at each sampled moment of one instrument."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

KEY_COLUMNS: Final = ("ts_recv", "ts_event", "sequence", "bid_units", "ask_units", "bid_lots", "ask_lots")
"""int64 columns of every row: when, after which event, and the best quotes at that moment (0 lots: side empty)."""


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Sampled rows of one instrument in the order of their events.

    Attributes
    ----------
    keys : int64 array, shape (n, 7)
        Columns of :data:`KEY_COLUMNS`.
    values : float64 array, shape (n, F)
        One column a feature; NaN means not known yet.
    columns : tuple of str
        Names of the F features.
    """

    keys: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    columns: tuple[str, ...]

    def key(self, name: str) -> npt.NDArray[np.int64]:
        """Return one key column, shape (n,)."""
        return self.keys[:, KEY_COLUMNS.index(name)]

    def to_frame(self) -> pl.DataFrame:
        """Return keys and features as a polars frame."""
        keys = {name: np.ascontiguousarray(self.keys[:, k]) for k, name in enumerate(KEY_COLUMNS)}
        values = {name: np.ascontiguousarray(self.values[:, k]) for k, name in enumerate(self.columns)}
        return pl.DataFrame({**keys, **values})

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> "FeatureRows":
        """Return the rows of a frame made by :meth:`to_frame`."""
        columns = tuple(name for name in frame.columns if name not in KEY_COLUMNS)
        keys = np.ascontiguousarray(frame.select(KEY_COLUMNS).to_numpy()).astype(np.int64)
        values = np.ascontiguousarray(frame.select(columns).to_numpy()).astype(np.float64)
        return cls(keys, values, columns)

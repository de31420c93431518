"""The training table: feature rows of all instruments, labels and slow signals joined as of what was known."""

import hashlib
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from marketdata.clock import Session
from marketdata.instruments import Instrument

LABEL_MISSING: Final = -128
"""Value of ``y`` where the label is not known (gap, halt, break, session end)."""
NEVER_KNOWN: Final = np.iinfo(np.int64).max
"""Value of ``ts_known`` where the label is missing."""

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Decision rows of all instruments, ordered by (``ts_recv``, ``instrument_id``).

    All arrays have one entry a row (n of them). Prices are in the instrument's price units, times in nanoseconds UTC.

    Attributes
    ----------
    columns : tuple of str
        Names of the F raw features (no fitted parameter in any of them).
    x : float32 array, shape (n, F)
        Raw features; NaN means not known.
    y : int8 array
        Label: -1 down, 0 flat, 1 up, :data:`LABEL_MISSING`.
    move_units : float64 array
        Executable mid move over the horizon; NaN where the label is missing.
    threshold_units : float64 array
        Half spread at the decision plus taker fee: the label's threshold.
    ts_known : int64 array
        When the label could be known; :data:`NEVER_KNOWN` where it is missing.
    arrive_ns : int64 array
        ``ts_recv`` + the path to the venue: when an order decided on this row reaches it.
    entry_bid_units, entry_ask_units, entry_bid_lots, entry_ask_lots : int64 arrays
        Best quotes at the venue at ``arrive_ns`` (0 lots: none to trade with). Offline only.
    session : int32 array
        Index into ``sessions``.
    memory_ns : int
        How far back any feature reaches (purging, combinatorial splits).
    fingerprint : str
        Hash of the raw feature specification.
    """

    columns: tuple[str, ...]
    sessions: tuple[Session, ...]
    instruments: tuple[Instrument, ...]
    memory_ns: int
    horizon_ns: int
    fingerprint: str
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int8]
    ts_recv: Int64
    ts_event: Int64
    ts_known: Int64
    instrument_id: npt.NDArray[np.int16]
    session: npt.NDArray[np.int32]
    move_units: Float64
    threshold_units: Float64
    bid_units: Int64
    ask_units: Int64
    arrive_ns: Int64
    entry_bid_units: Int64
    entry_ask_units: Int64
    entry_bid_lots: Int64
    entry_ask_lots: Int64

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "Dataset":
        """Return the chosen rows (mask or ascending indices); sessions and instruments stay."""
        changes = {
            f.name: getattr(self, f.name)[rows] for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray)
        }
        return replace(self, **changes)

    def column(self, name: str) -> npt.NDArray[np.float32]:
        """Return one feature column, shape (n,)."""
        return self.x[:, self.columns.index(name)]

    @property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Mask of rows whose label is known."""
        return self.y != LABEL_MISSING

    def content_hash(self) -> str:
        """Return a SHA-256 of every array and of the specification: equal data, equal hash."""
        digest = hashlib.sha256()
        digest.update(repr((self.columns, self.memory_ns, self.horizon_ns, self.fingerprint)).encode())
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                digest.update(f.name.encode())
                digest.update(np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()

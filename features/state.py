"""The state of the feature fold: preallocated arrays in one NamedTuple; a checkpoint is a copy."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from features.aggressors import KIND_NAMES
from features.spec import CELLS, LEVELS
from marketdata.book import BookState, copy_book, empty_book

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

FIRST_RING_ROWS: Final = 1_024
"""Rows of a new ring, a power of two; it doubles when the longest window holds more."""

C_OFI: Final = 0
C_DEPTH_BEST: Final = LEVELS
C_DEPTH_ALL: Final = LEVELS + 1
C_LEVELS: Final = LEVELS + 2
C_GROUPS: Final = LEVELS + 3
C_BUY_LOTS: Final = LEVELS + 4
C_SELL_LOTS: Final = LEVELS + 5
C_BUYS: Final = LEVELS + 6
C_SELLS: Final = LEVELS + 7
C_ARRIVE: Final = LEVELS + 8
C_CANCEL: Final = LEVELS + 10
C_MID2: Final = LEVELS + 12
C_COUNT: Final = LEVELS + 13
"""Columns of ``total`` and of a ring row: order flow imbalance of each level, lots at the best quotes, lots and number
of all levels, groups, aggressive lots and aggressors by sign, lots that came to and were cancelled from the best quotes
(bid, ask), and last the doubled mid, which is a value and not a total."""

S_HEAD: Final = 0
S_COUNTER: Final = 1
S_MID2: Final = 2
S_MID_TS: Final = 3
S_MID_MOVED: Final = 4
S_TRADE_PRICE: Final = 5
S_TRADE_SIGN: Final = 6
S_TRADE_TS: Final = 7
S_BUY_GROUP: Final = 8
S_SELL_GROUP: Final = 9
S_PENDING_TS: Final = 10
S_ANCHOR_TS: Final = 11
S_SINCE: Final = 12
S_TOP_KNOWN: Final = 13
S_GROUP_BID: Final = 14
S_GROUP_ASK: Final = 15
S_GROUP_TRADED: Final = 16
S_COUNT: Final = 17
"""Index into ``at``: ring rows pushed, events since the last row, doubled reference price, when it was first known or
last moved and whether it moved, last execution's price, sign and time, exchange time of the last buying and selling
aggressor, time of the pending points, time the decayed counts stand at, start of the unbroken record (-1: none),
whether ``top`` is known, lots executed against bid and ask in the open group, whether the open group traded."""

NEVER: Final = np.iinfo(np.int64).min
"""A time before all times."""


class Plan(NamedTuple):
    """The settings of the fold in the form the kernel takes: spans in ns, decays per second, flags as 0 or 1."""

    windows: Int64
    decays: Float64
    every: int
    open_ns: int
    close_ns: int
    tick_units: int
    has_book: int
    time_of_day: int


class FeatureState(NamedTuple):
    """State of the feature fold of one instrument, with W windows, D decays, L levels and C total columns.

    Window sums are differences of running int64 totals: ``total`` minus the ring row that was current when the window
    began. They are exact, so they do not depend on where a batch was cut.

    Attributes
    ----------
    book : BookState
        The price-level book.
    at : int64 array, shape (17,)
        Scalars, see the ``S_*`` constants.
    total : int64 array, shape (C,)
        Running totals, see the ``C_*`` constants.
    top : int64 array, shape (2, L, 2)
        Price and lots of the best levels at the end of the group before; side 0 bids.
    ring_ts : int64 array, shape (R,)
        Receive time of each ring row; R is a power of two.
    ring : int64 array, shape (R, C)
        Totals after the last group of that time.
    tails : int64 array, shape (W,)
        Ring row (counted from the start) at which each window begins.
    grid : int64 array, shape (W, 4)
        Fixed grid of each window: next boundary (-1: not started), doubled mid at the last boundary, cells filled (at
        most 24; -1: before the first boundary), position of the next cell.
    grid_total : int64 array, shape (W, 2)
        Buying and selling lots at the last boundary.
    cells : int64 array, shape (W, 24, 3)
        Doubled mid move, signed lots and all lots of each grid cell.
    decayed : float64 array, shape (4, D)
        Exponentially decayed counts of each kind at ``at[S_ANCHOR_TS]``.
    pending : int64 array, shape (4,)
        Points of each kind at ``at[S_PENDING_TS]``, which excite only later times.
    """

    book: BookState
    at: Int64
    total: Int64
    top: Int64
    ring_ts: Int64
    ring: Int64
    tails: Int64
    grid: Int64
    grid_total: Int64
    cells: Int64
    decayed: Float64
    pending: Int64


def empty_state(windows: int, decays: int) -> FeatureState:
    """Return the state before the first event, for that many windows and decays."""
    at = np.zeros(S_COUNT, np.int64)
    at[[S_BUY_GROUP, S_SELL_GROUP, S_PENDING_TS, S_ANCHOR_TS, S_TRADE_TS, S_MID_TS]] = NEVER
    at[S_SINCE] = -1
    grid = np.zeros((windows, 4), np.int64)
    grid[:, 0] = -1
    return FeatureState(
        book=empty_book(),
        at=at,
        total=np.zeros(C_COUNT, np.int64),
        top=np.zeros((2, LEVELS, 2), np.int64),
        ring_ts=np.zeros(FIRST_RING_ROWS, np.int64),
        ring=np.zeros((FIRST_RING_ROWS, C_COUNT), np.int64),
        tails=np.zeros(windows, np.int64),
        grid=grid,
        grid_total=np.zeros((windows, 2), np.int64),
        cells=np.zeros((windows, CELLS, 3), np.int64),
        decayed=np.zeros((len(KIND_NAMES), decays), np.float64),
        pending=np.zeros(len(KIND_NAMES), np.int64),
    )


def copy_state(state: FeatureState) -> FeatureState:
    """Return a checkpoint: a copy that shares no memory with the state."""
    arrays = {name: getattr(state, name).copy() for name in FeatureState._fields if name != "book"}
    return FeatureState(book=copy_book(state.book), **arrays)


def grow_ring(state: FeatureState) -> FeatureState:
    """Return the state with a ring of twice the rows; nothing that a window still needs is lost."""
    rows = len(state.ring_ts)
    ring_ts = np.zeros(2 * rows, np.int64)
    ring = np.zeros((2 * rows, C_COUNT), np.int64)
    kept = np.arange(state.tails[-1], state.at[S_HEAD])
    ring_ts[kept % (2 * rows)] = state.ring_ts[kept % rows]
    ring[kept % (2 * rows)] = state.ring[kept % rows]
    return state._replace(ring_ts=ring_ts, ring=ring)

"""The state of the feature fold: preallocated arrays in one NamedTuple; a checkpoint is a copy."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from features.aggressors import KIND_NAMES
from features.entry import CELLS, DEEP, LEVELS
from marketdata.bits import borrowed, inlined
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

E_OFI: Final = C_COUNT
E_DEPTH: Final = E_OFI + DEEP - LEVELS
E_LEVELS: Final = E_DEPTH + 1
E_BID_DEPTH: Final = E_DEPTH + 2
E_SPREAD: Final = E_DEPTH + 3
E_SPREAD_NS: Final = E_DEPTH + 4
E_EXECUTED: Final = E_DEPTH + 5
E_DEPLETED: Final = E_DEPTH + 7
E_IMPROVED: Final = E_DEPTH + 9
E_MESSAGES: Final = E_DEPTH + 11
E_PRINTS: Final = E_DEPTH + 12
E_HIDDEN: Final = E_DEPTH + 13
E_LOTS: Final = E_DEPTH + 14
E_VALUE: Final = E_DEPTH + 15
E_BUY_VALUE: Final = E_DEPTH + 16
E_SELL_VALUE: Final = E_DEPTH + 17
E_PAID: Final = E_DEPTH + 18
E_PAID_LOTS: Final = E_DEPTH + 19
E_MARK: Final = E_DEPTH + 20
E_MARK_LOTS: Final = E_DEPTH + 22
E_EARNED: Final = E_DEPTH + 24
E_MOVES: Final = E_DEPTH + 26
E_SWEPT: Final = E_DEPTH + 28
E_COUNT: Final = E_DEPTH + 29
"""Further columns of ``total`` that only the families beside the core keep: flow of the deeper levels, lots and number of the
deeper levels, lots at the best bid, spread times ns and ns of a known spread, lots executed at the best (bid, ask), groups that
left the best worse and better (bid, ask), order messages, executions, hidden lots, all lots, price times lots of all, of buyers
and of sellers, twice the signed distance paid from the mid times lots and those lots, doubled signed mid moves after executions
times lots (short, middle horizon), those lots, doubled signed distance earned against the later mid times lots, mid moves (up,
down), aggressors that traded at more than one price. Price times lots may wrap around: differences stay exact."""

X_AGGRESSORS: Final = 0
X_BUYER: Final = 1
X_SELLER: Final = 2
X_TRADES: Final = 3
X_SETTLED: Final = 4
X_SPREAD: Final = 6
X_SPREAD_TS: Final = 7
X_HIGH: Final = 8
X_LOW: Final = 9
X_MOVE: Final = 10
X_CELLS: Final = 11
X_FLOW_TS: Final = 12
X_BUCKETS: Final = 13
X_BUCKET: Final = 14
X_COUNT: Final = 18
"""Index into ``extra``: aggressors so far, the newest buyer's and seller's number, executions so far and how many of them have
their markout (short, middle), spread in force (-1: none) and since when, highest and lowest doubled mid of the open cell of the
longest grid, direction of the last mid move, cells of the middle grid closed, time the decayed flow stands at, volume buckets
closed, and the open bucket's size in lots (0: none), signed lots, lots and opening time."""

AGGRESSORS: Final = 128
"""Aggressors that the trade statistics look back at most; a power of two."""

A_TS: Final = 0
A_SIGN: Final = 1
A_LOTS: Final = 2
A_PRICE: Final = 3
A_MID2: Final = 4
A_SWEPT: Final = 5
"""Columns of ``aggressors``: receive time, sign, lots, price of the last execution, doubled mid before, whether it traded at more
than one price."""

BUCKETS: Final = 10
"""Volume buckets that VPIN is made of; each holds a tenth of the lots of the longest window at its opening."""

M_FAST: Final = 0
M_SLOW: Final = 1
M_SIGNAL: Final = 2
M_UP: Final = 3
M_DOWN: Final = 4
M_COUNT: Final = 5
"""Index into ``averages``, all on the cells of the middle grid: moving averages of the doubled mid (12 and 26 cells) less the
last, of their difference (9), of moves up and down (14, Wilder)."""

NEVER: Final = np.iinfo(np.int64).min
"""A time before all times."""


class Plan(NamedTuple):
    """The settings of the fold in the form the kernel takes: spans in ns, decays per second, flags as 0 or 1.

    ``first`` holds the first column of each family of ``features.families``, -1 where it is switched off; ``clock`` is the
    place of the sampling clock in ``SAMPLING_CLOCKS`` and ``every`` how much of it passes between rows.
    """

    windows: Int64
    decays: Float64
    first: Int64
    clock: int
    every: int
    open_ns: int
    close_ns: int
    tick_units: int
    has_book: int
    time_of_day: int


class FeatureState(NamedTuple):
    """State of the feature fold of one instrument, with W windows, D decays, L levels and C total columns.

    Where only the core is computed, L is 5, C is ``C_COUNT`` and the last arrays have no rows.

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
    extra : int64 array, shape (X,)
        Scalars of the families beside the core, see the ``X_*`` constants.
    aggressors : int64 array, shape (128, 6)
        Ring of the newest aggressors, see the ``A_*`` constants.
    trades : int64 array, shape (T, 4)
        Ring of executions whose markouts are not all known: receive time, signed lots, price, doubled mid before; T is a power of
        two.
    buckets : int64 array, shape (10, 4)
        Ring of closed volume buckets: signed lots, lots, opening time, closing time.
    ranges : int64 array, shape (24, 2)
        Highest and lowest doubled mid of each cell of the longest grid.
    averages : float64 array, shape (5,)
        Moving averages on the middle grid, see the ``M_*`` constants.
    decayed_flow : float64 array, shape (D,)
        Exponentially decayed order flow imbalance of the best level at ``extra[X_FLOW_TS]``.
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
    extra: Int64
    aggressors: Int64
    trades: Int64
    buckets: Int64
    ranges: Int64
    averages: Float64
    decayed_flow: Float64


def empty_state(windows: int, decays: int, *, is_core: bool = True) -> FeatureState:
    """Return the state before the first event, for that many windows and decays and for the core alone or for all families."""
    columns, few = (C_COUNT, 0) if is_core else (E_COUNT, 1)
    extra = np.zeros(X_COUNT, np.int64)
    extra[X_SPREAD] = -1
    at = np.zeros(S_COUNT, np.int64)
    at[[S_BUY_GROUP, S_SELL_GROUP, S_PENDING_TS, S_ANCHOR_TS, S_TRADE_TS, S_MID_TS]] = NEVER
    at[S_SINCE] = -1
    grid = np.zeros((windows, 4), np.int64)
    grid[:, 0] = -1
    return FeatureState(
        book=empty_book(),
        at=at,
        total=np.zeros(columns, np.int64),
        top=np.zeros((2, LEVELS if is_core else DEEP, 2), np.int64),
        ring_ts=np.zeros(FIRST_RING_ROWS, np.int64),
        ring=np.zeros((FIRST_RING_ROWS, columns), np.int64),
        tails=np.zeros(windows, np.int64),
        grid=grid,
        grid_total=np.zeros((windows, 2), np.int64),
        cells=np.zeros((windows, CELLS, 3), np.int64),
        decayed=np.zeros((len(KIND_NAMES), decays), np.float64),
        pending=np.zeros(len(KIND_NAMES), np.int64),
        extra=extra,
        aggressors=np.zeros((AGGRESSORS * few, A_SWEPT + 1), np.int64),
        trades=np.zeros((FIRST_RING_ROWS * few, 4), np.int64),
        buckets=np.zeros((BUCKETS * few, 4), np.int64),
        ranges=np.zeros((CELLS * few, 2), np.int64),
        averages=np.zeros(M_COUNT, np.float64),
        decayed_flow=np.zeros(decays, np.float64),
    )


def copy_state(state: FeatureState) -> FeatureState:
    """Return a checkpoint: a copy that shares no memory with the state."""
    arrays = {name: getattr(state, name).copy() for name in FeatureState._fields if name != "book"}
    return FeatureState(book=copy_book(state.book), **arrays)


@inlined
def borrow_plan(plan: Plan) -> Plan:
    """Return the plan with borrowed arrays, for a kernel whose caller holds them."""
    return Plan(
        borrowed(plan.windows),
        borrowed(plan.decays),
        borrowed(plan.first),
        plan.clock,
        plan.every,
        plan.open_ns,
        plan.close_ns,
        plan.tick_units,
        plan.has_book,
        plan.time_of_day,
    )


@inlined
def borrow_state(state: FeatureState) -> FeatureState:
    """Return the state with borrowed arrays, for a kernel whose caller holds them."""
    book = state.book
    return FeatureState(
        BookState(borrowed(book.price), borrowed(book.size), borrowed(book.count), borrowed(book.counters)),
        borrowed(state.at),
        borrowed(state.total),
        borrowed(state.top),
        borrowed(state.ring_ts),
        borrowed(state.ring),
        borrowed(state.tails),
        borrowed(state.grid),
        borrowed(state.grid_total),
        borrowed(state.cells),
        borrowed(state.decayed),
        borrowed(state.pending),
        borrowed(state.extra),
        borrowed(state.aggressors),
        borrowed(state.trades),
        borrowed(state.buckets),
        borrowed(state.ranges),
        borrowed(state.averages),
        borrowed(state.decayed_flow),
    )


def grow_ring(state: FeatureState) -> FeatureState:
    """Return the state with twice the rows in each ring that is full; nothing that a window still needs is lost."""
    rows = len(state.ring_ts)
    if state.at[S_HEAD] - state.tails[-1] == rows:
        ring_ts = np.zeros(2 * rows, np.int64)
        ring = np.zeros((2 * rows, state.ring.shape[1]), np.int64)
        kept = np.arange(state.tails[-1], state.at[S_HEAD])
        ring_ts[kept % (2 * rows)] = state.ring_ts[kept % rows]
        ring[kept % (2 * rows)] = state.ring[kept % rows]
        state = state._replace(ring_ts=ring_ts, ring=ring)
    rows = len(state.trades)
    if rows and state.extra[X_TRADES] - state.extra[X_SETTLED + 1] == rows:
        trades = np.zeros((2 * rows, state.trades.shape[1]), np.int64)
        kept = np.arange(state.extra[X_SETTLED + 1], state.extra[X_TRADES])
        trades[kept % (2 * rows)] = state.trades[kept % rows]
        state = state._replace(trades=trades)
    return state

"""The engine's whole state: preallocated arrays in one NamedTuple, so that kernels can hold it and a checkpoint is a copy.

Money is int64 in 1e-9 of the quote currency (``_nanos``), prices int64 in price units, sizes int64 in lots. An instrument is
addressed by its *slot*, its position in the configuration.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Records = npt.NDArray[np.void]

# -- scalars: index into ``EngineState.g`` ------------------------------------------------------------------------------
G_NOW: Final = 0
"""Time of the last thing that happened; never goes back, never reaches the watermark."""
G_CMD_HEAD: Final = 1
G_CMD_TAIL: Final = 2
G_RSP_HEAD: Final = 3
G_RSP_TAIL: Final = 4
"""Running counts of commands and responses taken from and put into their rings (index = count modulo capacity)."""
G_NEXT_ID: Final = 5
G_SEQUENCE: Final = 6
"""Journal rows written since the session began."""
G_OUT: Final = 7
"""Journal rows in the current output buffer."""
G_EQUITY: Final = 8
G_PEAK: Final = 9
G_OPEN_EQUITY: Final = 10
"""Equity now, its peak, and at the session's open, in nanos."""
G_LADDER: Final = 11
"""Drawdown state: 0 NORMAL, 1 REDUCED_20, 2 REDUCED_50, 3 HALTED."""
G_CALM_SINCE: Final = 12
"""When the drawdown came below the recovery line, 0 while it is not."""
G_HALT_REASON: Final = 13
G_KILLED: Final = 14
G_PAUSED: Final = 15
G_FLATTEN: Final = 16
"""Whether positions are being flattened, by any reason that is still in force."""
G_ENDING: Final = 17
"""Whether the last minutes of the session have begun: nothing new is opened, everything is flattened."""
G_CLOSED: Final = 18
G_NEXT_MARK: Final = 19
G_NEXT_TIMER: Final = 20
"""Earliest of all timers."""
G_RATE_COUNT: Final = 21
G_LATE_ROWS: Final = 22
"""Market rows that came after the time they belong to: the watermark's promise was broken."""
G_GROW: Final = 23
"""Which array was too small when a run stopped with NEED_GROW."""
G_ILLEGAL: Final = 24
"""Venue answers that the order table does not know; stays 0."""
G_VENUE_HIGH: Final = 25
"""One past the highest order row that the venue has used: bounds its scans."""
G_LIVE: Final = 26
"""The agent's live orders."""
G_LEVEL_1: Final = 27
G_LEVEL_2: Final = 28
G_LEVEL_3: Final = 29
"""Drawdowns in nanos at which the ladder's steps begin, for the peak as it is."""
G_COUNT: Final = 32

# -- per instrument: columns of ``EngineState.inst`` ----------------------------------------------------------------------
I_BID: Final = 0
I_BID_LOTS: Final = 1
I_ASK: Final = 2
I_ASK_LOTS: Final = 3
"""Best quotes as the agent knows them, at the end of the last event group; 0 lots where the side is empty."""
I_MARK_BID: Final = 4
I_MARK_ASK: Final = 5
"""Last known best quotes: what a position is marked at (long at the bid, short at the ask)."""
I_POSITION: Final = 6
I_CASH: Final = 7
"""Money in and out by trading this instrument, fees included."""
I_FEES: Final = 8
I_EQUITY: Final = 9
"""``I_CASH`` + position at its mark."""
I_BUY_WORKING: Final = 10
I_SELL_WORKING: Final = 11
"""Lots of live orders: pending, open, and pending cancel alike (risk counts the worst)."""
I_UNSETTLED: Final = 12
"""Live orders whose next answer is under way: pending, or with a cancel sent."""
I_TIMER: Final = 13
"""When the strategy asked to be woken; ``NEVER`` where it did not."""
I_MAX_POSITION: Final = 14
I_VENUE_OPEN: Final = 15
"""Own orders resting at the venue."""
I_TAKEN: Final = 16
"""Price levels of which the venue has given us lots that its tape still shows."""
I_TRADED_LOTS: Final = 17
I_UNKNOWN_QUEUE: Final = 18
"""Whether a resting order's queue is to be looked up again at the end of the group."""
I_COUNT: Final = 20

NEVER: Final = np.iinfo(np.int64).max

AGENT_ORDER_DTYPE: Final = np.dtype(
    [
        ("order_id", "i8"),
        ("price_units", "i8"),
        ("size_lots", "i8"),
        ("leaves_lots", "i8"),
        ("sent_ns", "i8"),
        ("slot", "i2"),
        ("side", "i1"),
        ("state", "u1"),
        ("tif", "u1"),
        ("cancel_sent", "u1"),
        ("awaiting", "u1"),
        ("spare", "u1", (17,)),
    ]
)
"""An order as the agent knows it, 64 bytes; a row with state FREE is unused. ``awaiting``: an answer is under way (the first one,
or that to a cancel)."""

VENUE_ORDER_DTYPE: Final = np.dtype(
    [
        ("order_id", "i8"),
        ("price_units", "i8"),
        ("leaves_lots", "i8"),
        ("ahead_lots", "f8"),
        ("level_lots", "i8"),
        ("traded_lots", "i8"),
        ("slot", "i2"),
        ("side", "i1"),
        ("active", "u1"),
        ("spare", "u1", (12,)),
    ]
)
"""A resting order as the venue knows it, 64 bytes. ``ahead_lots`` is the queue before it (-1: not known), ``level_lots`` the
visible size of its level when last looked at, ``traded_lots`` prints since then that the level has not shown yet."""

COMMAND_DTYPE: Final = np.dtype(
    [
        ("due_ns", "i8"),
        ("order_id", "i8"),
        ("price_units", "i8"),
        ("size_lots", "i8"),
        ("slot", "i2"),
        ("side", "i1"),
        ("tif", "u1"),
        ("is_cancel", "u1"),
    ],
    align=True,
)
RESPONSE_DTYPE: Final = np.dtype(
    [
        ("due_ns", "i8"),
        ("venue_ns", "i8"),
        ("order_id", "i8"),
        ("price_units", "i8"),
        ("size_lots", "i8"),
        ("leaves_lots", "i8"),
        ("slot", "i2"),
        ("answer", "u1"),
        ("reason", "u1"),
        ("maker", "u1"),
    ],
    align=True,
)

TAKEN_LEVELS: Final = 64
"""Levels a side of which taken lots are remembered; a walk through more of them at once stops there."""
MEMORY_COLUMNS: Final = 16
"""int64 values that a strategy may keep per instrument."""

# -- parameters: index into ``EngineParameters.ints`` -------------------------------------------------------------------
P_DECISION_NS: Final = 0
P_ORDER_NS: Final = 1
P_RESPONSE_NS: Final = 2
P_OPEN_NS: Final = 3
P_CLOSE_NS: Final = 4
P_ENDING_NS: Final = 5
"""When the last minutes begin."""
P_CLOCK_NS: Final = 6
P_MAX_ORDER: Final = 7
P_DAILY_LOSS: Final = 8
P_STEP_PPM: Final = 9
"""Three entries: drawdowns at which the ladder steps up, in ppm of the peak."""
P_SCALE_PPM: Final = 12
"""Four entries: share of an order's size that passes in each state."""
P_MARGIN_PPM: Final = 16
P_RECOVER_NS: Final = 17
P_FLATTEN_ON_HALT: Final = 18
P_WAKE_MASK: Final = 19
P_COLLAR_PPM: Final = 20
P_COUNT: Final = 21

# -- per instrument: columns of ``EngineParameters.inst`` ------------------------------------------------------------------
K_ID: Final = 0
K_UNIT_NANOS: Final = 1
K_TICK: Final = 2
K_MAKER_PPM: Final = 3
K_TAKER_PPM: Final = 4
K_PASSIVE: Final = 5
"""Whether orders may rest: only a venue's own matching book shows the queue they would join."""
K_TRADED: Final = 6
K_COUNT: Final = 7


class EngineParameters(NamedTuple):
    """Everything that a run reads and never changes.

    Attributes
    ----------
    ints : int64 array, shape (P_COUNT,)
    inst : int64 array, shape (I, K_COUNT)
    slot_of : int64 array
        Slot by instrument id, -1 where the id is not configured.
    queue : float64 array
        Parameters of the queue model.
    strategy_ints : int64 array
    strategy_floats : float64 array
        Parameters of the strategy.
    """

    ints: Int64
    inst: Int64
    slot_of: Int64
    queue: Float64
    strategy_ints: Int64
    strategy_floats: Float64


class EngineState(NamedTuple):
    """Everything that changes while an engine runs.

    Attributes
    ----------
    g : int64 array, shape (G_COUNT,)
        Scalars, see the ``G_*`` constants.
    inst : int64 array, shape (I, I_COUNT)
        Per instrument, see the ``I_*`` constants.
    memory : int64 array, shape (I, MEMORY_COLUMNS)
        The strategy's own.
    forecast : float64 array, shape (I, 5)
        Latest forecast: p_down, p_flat, p_up, edge in price units, 1.0 once there is one.
    forecast_ns : int64 array, shape (I,)
        ``ts_recv`` of the row it was made from.
    orders : AGENT_ORDER_DTYPE array
        The agent's order table.
    resting : VENUE_ORDER_DTYPE array
        The venue's order table.
    commands, responses : ring buffers
        What is on its way, in order of arrival.
    taken : int64 array, shape (I, 2, TAKEN_LEVELS, 2)
        Price and lots that we have taken and the tape still shows, by side of the book.
    rate : int64 array
        Times of the latest orders, a ring as long as the limit.
    venue_price, venue_size : int64 arrays, shape (I, 2, L)
    venue_count : int64 array, shape (I, 2)
    venue_counters : int64 array, shape (I, 4)
        The venue's books, one ``marketdata.book.BookState`` per instrument.
    agent_price, agent_size, agent_count, agent_counters
        The agent's books, the same form.
    """

    g: Int64
    inst: Int64
    memory: Int64
    forecast: Float64
    forecast_ns: Int64
    orders: Records
    resting: Records
    commands: Records
    responses: Records
    taken: Int64
    rate: Int64
    venue_price: Int64
    venue_size: Int64
    venue_count: Int64
    venue_counters: Int64
    agent_price: Int64
    agent_size: Int64
    agent_count: Int64
    agent_counters: Int64


def allocate_state(instruments: int, *, rate_limit: int, levels: int, orders: int, ring: int = 256) -> EngineState:
    """Return a zeroed state for ``instruments`` instruments."""
    side = (instruments, 2, levels)

    def book() -> tuple[Int64, Int64, Int64, Int64]:
        return (
            np.zeros(side, np.int64),
            np.zeros(side, np.int64),
            np.zeros((instruments, 2), np.int64),
            np.zeros((instruments, 4), np.int64),
        )

    return EngineState(
        np.zeros(G_COUNT, np.int64),
        np.zeros((instruments, I_COUNT), np.int64),
        np.zeros((instruments, MEMORY_COLUMNS), np.int64),
        np.zeros((instruments, 5), np.float64),
        np.zeros(instruments, np.int64),
        np.zeros(orders, AGENT_ORDER_DTYPE),
        np.zeros(orders, VENUE_ORDER_DTYPE),
        np.zeros(ring, COMMAND_DTYPE),
        np.zeros(ring, RESPONSE_DTYPE),
        np.zeros((instruments, 2, TAKEN_LEVELS, 2), np.int64),
        np.full(rate_limit, -NEVER, np.int64),
        *book(),
        *book(),
    )


def copy_state(state: EngineState) -> EngineState:
    """Return a checkpoint of the state."""
    return EngineState(*(array.copy() for array in state))


GROW_ORDERS: Final = 1
GROW_COMMANDS: Final = 2
GROW_RESPONSES: Final = 3


def grow(state: EngineState, which: int) -> EngineState:
    """Return the state with twice the room in the array that ``G_GROW`` named; nothing else changes."""
    if which == GROW_ORDERS:
        orders = np.concatenate([state.orders, np.zeros_like(state.orders)])
        resting = np.concatenate([state.resting, np.zeros_like(state.resting)])
        return state._replace(orders=orders, resting=resting)
    if which == GROW_COMMANDS:
        return state._replace(commands=_grow_ring(state.commands, state.g[G_CMD_HEAD], state.g[G_CMD_TAIL]))
    if which == GROW_RESPONSES:
        return state._replace(responses=_grow_ring(state.responses, state.g[G_RSP_HEAD], state.g[G_RSP_TAIL]))
    raise ValueError(f"nothing to grow is known under {which}")


def _grow_ring(ring: Records, head: int, tail: int) -> Records:
    bigger = np.zeros(2 * len(ring), ring.dtype)
    counts = np.arange(head, tail)
    bigger[counts % len(bigger)] = ring[counts % len(ring)]
    return bigger

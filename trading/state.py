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

# -- the agent's scalars: index into ``AgentState.g`` -----------------------------------------------------------------------
G_NOW: Final = 0
"""Time of the last thing that happened; never goes back, never reaches the watermark."""
G_CMD_HEAD: Final = 1
G_CMD_TAIL: Final = 2
G_RSP_HEAD: Final = 3
"""Running counts: commands that reached the venue, commands sent, answers received (index in a ring = count modulo room)."""
G_INTENTS: Final = 4
"""Rows of ``AgentState.intents`` that wait to be carried out."""
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
"""Why positions are being closed, bits; 0 when they are not."""
G_ENDING: Final = 17
"""1 once the last seconds of the session have begun: nothing new is opened, everything is flattened; 2 after the close."""
G_NEXT_MARK: Final = 18
G_NEXT_TIMER: Final = 19
"""Earliest of all timers."""
G_RATE_COUNT: Final = 20
G_LATE_ROWS: Final = 21
"""Market rows that came after the time they belong to: the watermark's promise was broken."""
G_GROW: Final = 22
"""Which array was too small when a run stopped with NEED_GROW."""
G_ILLEGAL: Final = 23
"""Venue answers that the order table does not know; stays 0."""
G_LIVE: Final = 24
"""The agent's live orders."""
G_LEVEL_1: Final = 25
G_LEVEL_2: Final = 26
G_LEVEL_3: Final = 27
"""Drawdowns in nanos at which the ladder's steps begin, for the peak as it is."""
G_STOPS: Final = 28
"""Instruments whose position is being closed by a stop."""
G_SILENT: Final = 29
"""1 while the dead man's switch is thrown: no heartbeat came in time."""
G_HEARD_NS: Final = 30
"""Time of the latest heartbeat; 0 before the first."""
G_OPEN_BETS: Final = 31
"""Instruments with a position or a live order."""
G_WAKING: Final = 32
"""1 while a Python strategy is asked, 2 once it has answered, else 0."""
G_WAKE_SLOT: Final = 33
G_WAKE_ROW: Final = 34
G_WAKE_WHY: Final = 35
"""What it is asked about: the instrument, the journal row of the forecast that woke it (-1: none did), the wake."""
G_HIGH: Final = 36
"""One past the highest order row in use: bounds the scans."""
G_FREE: Final = 37
"""No order row before this one is free."""
G_COUNT: Final = 40

# -- the agent, per instrument: columns of ``AgentState.inst`` --------------------------------------------------------------
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
I_TRADED_LOTS: Final = 15
I_FORECAST_NS: Final = 16
"""``ts_recv`` of the row behind the latest forecast."""
I_TAPE_LOTS: Final = 17
"""Lots that have traded in the market, of all kinds, as the agent has seen them."""
I_OFI: Final = 18
I_TOP_DEPTH: Final = 19
I_TOP_CHANGES: Final = 20
"""Running totals over changes of the best quotes: order flow imbalance, lots at both touches, changes (``top_flow``)."""
I_MID2: Final = 21
I_MID2_NS: Final = 22
"""Doubled mid at the latest variance sample, and its time."""
I_VARIANCE: Final = 23
"""Variance of the mid a second, in price units squared times 65,536, exponentially weighted over 64 samples."""
I_ENTRY_COST: Final = 24
"""Price times lots of what is held, at what it was entered; 0 when flat."""
I_BEST_MARK: Final = 25
"""Best mark since the position was opened; 0 when flat."""
I_STOP: Final = 26
"""Reason of the stop that is closing the position, 0 when there is none."""
I_STOP_UNTIL: Final = 27
"""Until when a stop keeps new positions out."""
I_SIZE_PPM: Final = 28
"""Share of an order's size that passes: regimes, volatility (control ``SIZE_SCALE``)."""
I_ANOMALY_PPM: Final = 29
"""Latest anomaly score, times a million."""
I_TAPE_SEEN: Final = 30
"""``I_TAPE_LOTS`` at the end of the last event group."""
I_OWN_BID_ID: Final = 31
I_OWN_BID: Final = 32
I_OWN_ASK_ID: Final = 33
I_OWN_ASK: Final = 34
"""Newest live own order of each side that has no cancel under way: id (0: none) and price."""
I_IS_OPEN: Final = 35
"""1 while there is a position or a live order."""
I_LAST_DUE: Final = 36
"""When the latest command arrives: a connection keeps its order."""
I_FUNDING: Final = 37
"""Funding paid so far (received: negative); part of ``I_CASH``."""
I_COUNT: Final = 38

# -- the venue: index into ``VenueState.g`` and columns of ``VenueState.inst`` ---------------------------------------------
N_RSP_TAIL: Final = 0
"""Answers given so far."""
N_HIGH: Final = 1
"""One past the highest order row in use: bounds the scans."""
N_CLOSED: Final = 2
N_STAMP: Final = 3
"""Arrivals counted so far, ours and those behind us: who came before whom."""
N_DOWN: Final = 4
"""Downtime windows that have begun, of all instruments."""
N_NEXT_DOWN: Final = 5
"""When the next begins; ``NEVER`` after the last."""
N_RSP_HEAD: Final = 6
"""Answers that have reached the agent."""
N_IDLE: Final = 7
"""1 while the venue has nothing of ours to watch: its books are then not kept, but made from the agent's when it has."""
N_APART: Final = 8
"""1 once rows have reached the venue in another order than the agent: its books are its own from then on."""
N_FREE: Final = 9
"""No order row before this one is free."""
N_COUNT: Final = 10
J_RESTING: Final = 0
"""Own orders resting."""
J_TAKEN: Final = 1
"""Two entries, bids and asks: price levels of which we have lots that the tape still shows."""
J_UNKNOWN_QUEUE: Final = 3
"""Whether a resting order's queue is to be looked up again at the end of the group."""
J_IDS: Final = 4
"""Order ids written down in ``VenueState.ids``."""
J_LOW: Final = 5
J_HIGH: Final = 7
"""Two entries each, bids and asks: lowest and highest price of own resting orders; ``NEVER`` and ``-NEVER`` without one."""
J_LAST_DUE: Final = 9
"""When the latest answer arrives: a connection keeps its order."""
J_DOWN_UNTIL: Final = 10
"""End of the latest downtime window that has begun."""
J_COUNT: Final = 11

NEVER: Final = np.iinfo(np.int64).max

ID_ROOM: Final = 256
"""Rows of the table of order ids at the start; it grows."""
TAKEN_LEVELS: Final = 64
"""Levels a side of which taken lots are remembered; a walk through more of them at once stops there."""
MEMORY_COLUMNS: Final = 32
"""int64 values that a strategy may keep per instrument."""
INTENT_ROWS: Final = 8
"""Orders and cancels that a strategy may ask for at once."""

# -- parameters: index into ``EngineParameters.ints`` -------------------------------------------------------------------
P_DECISION_NS: Final = 0
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
P_QUEUE_BY_ID: Final = 21
"""Whether rows that name an order move our queues exactly."""
P_MAX_NOTIONAL: Final = 22
"""Gross notional of the account at its worst, in nanos; ``NEVER`` without a limit."""
P_MARGIN_RATE_PPM: Final = 23
"""Margin that a position binds, a share of its notional."""
P_RESERVE_PPM: Final = 24
"""Share of the session's opening equity that is never bound as margin."""
P_CONFIDENCE_FLOOR_PPM: Final = 25
P_CONFIDENCE_FULL_PPM: Final = 26
"""Probability of an order's direction at which nothing may be sent, and from which on the largest order may; 0 and 0: off."""
P_STOP_PPM: Final = 27
P_TRAIL_PPM: Final = 28
"""Stop loss against the entry and trailing stop against the best mark; 0: none."""
P_STOP_COOLDOWN_NS: Final = 29
P_ANOMALY_PPM: Final = 30
"""Anomaly score, times a million, from which on orders are throttled; ``NEVER``: never."""
P_ANOMALY_SIZE_PPM: Final = 31
P_ANOMALY_RATE_PPM: Final = 32
P_DEAD_MAN_NS: Final = 33
"""Longest silence between heartbeats; 0: none are expected."""
P_TRACK_TOP: Final = 34
"""Whether order flow imbalance and variance of the best quotes are kept for the strategy."""
P_PYTHON: Final = 35
"""Whether the strategy is a Python function: the kernel stops and lets it be asked."""
P_COUNT: Final = 36

# -- per instrument: columns of ``EngineParameters.inst`` ------------------------------------------------------------------
K_ID: Final = 0
K_UNIT_NANOS: Final = 1
K_TICK: Final = 2
K_MAKER_PPM: Final = 3
K_TAKER_PPM: Final = 4
K_PASSIVE: Final = 5
"""Whether orders may rest: only a venue's own matching book shows the queue they would join."""
K_TRADED: Final = 6
K_TRADE_FEE: Final = 7
"""Nanos for every fill, beside the share of its notional."""
K_IMPACT_PPM: Final = 8
K_DAILY_LOTS: Final = 9
"""Square-root impact of taking: its coefficient, 0 for none, and the lots of a day."""
K_HALT_CANCELS: Final = 10
K_DOWN_CANCELS: Final = 11
"""Whether a halt, or the start of a downtime window, cancels resting orders."""
K_COUNT: Final = 12


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
    legs, latency : int64 arrays
        Latencies of each instrument's venue (:func:`trading.latency.latency_tables`).
    downtime : int64 array, shape (n, 3)
        Downtime windows: start, end, slot; by start.
    """

    ints: Int64
    inst: Int64
    slot_of: Int64
    queue: Float64
    strategy_ints: Int64
    strategy_floats: Float64
    legs: Int64
    latency: Int64
    downtime: Int64


class AgentState(NamedTuple):
    """What the agent knows and has under way.

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
    orders : AGENT_ORDER_DTYPE array
        Order table.
    commands : COMMAND_DTYPE array
        Ring of what is on its way to the venue, in order of arrival.
    rate : int64 array
        Times of the latest orders, a ring as long as the limit.
    intents : int64 array, shape (rows, O_COUNT)
        Orders and cancels that were decided on and wait for the risk gate.
    order_index : int64 array, shape (room, 2)
        Where each live order stands in ``orders`` (``trading.order_ids``).
    """

    g: Int64
    inst: Int64
    memory: Int64
    forecast: Float64
    orders: Records
    commands: Records
    rate: Int64
    intents: Int64
    order_index: Int64


class VenueState(NamedTuple):
    """What the simulated venue knows.

    Attributes
    ----------
    g : int64 array, shape (N_COUNT,)
    inst : int64 array, shape (I, J_COUNT)
    resting : VENUE_ORDER_DTYPE array
        Order table.
    responses : RESPONSE_DTYPE array
        Ring of what is on its way to the agent, in order of arrival.
    taken : int64 array, shape (I, 2, TAKEN_LEVELS, 2)
        Price and lots that we have taken and the tape still shows, by side of the book.
    ids : int64 array, shape (I, ID_ROOM or more, 3)
        Hash table of the orders that came after ours at our prices: id, stamp, lots. One row where queues go by volume.
    order_index : int64 array, shape (room, 2)
        Where each resting order stands in ``resting`` (``trading.order_ids``).
    price, size, counts, counters : int64 arrays
        Its books, stacked as :class:`Books`.
    """

    g: Int64
    inst: Int64
    resting: Records
    responses: Records
    taken: Int64
    ids: Int64
    order_index: Int64
    price: Int64
    size: Int64
    counts: Int64
    counters: Int64


class Books(NamedTuple):
    """One ``marketdata.book.BookState`` per instrument, stacked."""

    price: Int64
    size: Int64
    counts: Int64
    counters: Int64


class EngineState(NamedTuple):
    """Everything that changes while an engine runs: the agent, the agent's books, the venue with its books."""

    agent: AgentState
    books: Books
    venue: VenueState


GROW_ORDERS: Final = 1
GROW_COMMANDS: Final = 2
GROW_RESPONSES: Final = 3
GROW_IDS: Final = 4
"""Values of ``G_GROW``."""

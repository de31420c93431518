"""The simulated tape: each action on the matching engine leaves its rows in the event form.

Every writer takes the rows written so far and returns the new count; one call is one event group, whose rows share a sequence and
whose last row carries ``F_LAST``.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.events import ADD, ASK, BID, DELETE, EXECUTE, F_LAST, REDUCE
from marketdata.matching import cancel_order, reduce_order, submit_limit, submit_market
from marketdata.order_book import FILLS_FROM, FILLS_TO, LIVE, OrderBookState
from marketdata.order_messages import GTC, POST_ONLY, RESTED
from marketdata.order_queries import best_ask, best_bid, order_state
from marketdata.simulator.parameters import HAWKES_NAMES, LAST_ORDERS

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

TRUTH_EVERY: Final = 5
"""Grid steps to a row of the recorded truth (one second)."""
HAWKES_COLUMNS: Final = tuple(f"{name}_intensity" for name in HAWKES_NAMES)
TRUTH_COLUMNS: Final = ("efficient_units", *HAWKES_COLUMNS[:2], "informed_rate", "activity", *HAWKES_COLUMNS[2:])
TRUTH_OTHERS: Final = 5
"""Column of the third Hawkes type's intensity."""


class Tape(NamedTuple):
    """Rows written by the kernel, one array a column of the event form; and what stands behind them.

    ``order_s`` and ``order_side`` are the uninformed market orders, for followers; ``truth`` has the columns ``TRUTH_COLUMNS``;
    ``tally`` counts rows by process; ``fit`` is the factor on activity a grid step that steers the session to its planned rows.
    """

    ts_event: Int64
    price_units: Int64
    size_lots: Int64
    order_id: Int64
    sequence: Int64
    action: npt.NDArray[np.uint8]
    side: npt.NDArray[np.int8]
    flags: npt.NDArray[np.uint8]
    order_s: Float64
    order_side: Int64
    truth: Float64
    tally: Int64
    fit: Float64


@njit(cache=True, forceinline=True)
def write_row(
    tape: Tape, n: int, ts: int, price: int, lots: int, order_id: int, sequence: int, action: int, side: int, flags: int
) -> int:
    """Write one row; ``side`` is 0 for the bid, 1 for the ask."""
    tape.ts_event[n] = ts
    tape.price_units[n] = price
    tape.size_lots[n] = lots
    tape.order_id[n] = order_id
    tape.sequence[n] = sequence
    tape.action[n] = action
    tape.side[n] = BID if side == 0 else ASK
    tape.flags[n] = flags
    return n + 1


@njit(cache=True, forceinline=True)
def _write_fills(book: OrderBookState, tape: Tape, n: int, ts: int, sequence: int, resting_side: int) -> int:
    end = book.counters[FILLS_TO]
    for k in range(book.counters[FILLS_FROM], end):
        fill = book.fills[k]
        flags = F_LAST if k == end - 1 else 0
        n = write_row(
            tape, n, ts, fill.price_units, fill.size_lots, fill.maker_id, sequence, EXECUTE, resting_side, flags
        )
    return n


@njit(cache=True, forceinline=True)
def take_market(book: OrderBookState, tape: Tape, n: int, ts: int, sequence: int, side: int, lots: int) -> int:
    """Send a market order (0 buys, 1 sells), unless the other side is down to its last orders."""
    if book.counters[LIVE + 1 - side] <= LAST_ORDERS:
        return n
    submit_market(book, side, lots)
    return _write_fills(book, tape, n, ts, sequence, 1 - side)


@njit(cache=True, forceinline=True)
def take_limit(
    book: OrderBookState, tape: Tape, n: int, ts: int, sequence: int, side: int, lots: int, limit: int
) -> int:
    """Trade at the touch and on to the limit, where that is further; what is left rests at the price reached."""
    if book.counters[LIVE + 1 - side] <= LAST_ORDERS:
        return n
    touch = best_ask(book) if side == 0 else best_bid(book)
    price = max(touch, limit) if side == 0 else min(touch, limit)
    status, order_id, left = submit_limit(book, side, price, lots, GTC)
    n = _write_fills(book, tape, n, ts, sequence, 1 - side)
    if status == RESTED:
        tape.flags[n - 1] = 0
        n = write_row(tape, n, ts, price, left, order_id, sequence, ADD, side, F_LAST)
    return n


@njit(cache=True, forceinline=True)
def add_order(
    book: OrderBookState, tape: Tape, n: int, ts: int, sequence: int, side: int, price: int, lots: int
) -> int:
    """Add a post-only limit order."""
    status, order_id, left = submit_limit(book, side, price, lots, POST_ONLY)
    if status != RESTED:
        return n
    return write_row(tape, n, ts, price, left, order_id, sequence, ADD, side, F_LAST)


@njit(cache=True, forceinline=True)
def cancel(book: OrderBookState, tape: Tape, n: int, ts: int, sequence: int, order_id: int, part: bool) -> int:
    """Cancel a resting order, or half of it where ``part`` is asked for; an id that does not rest writes nothing."""
    side, price, lots = order_state(book, order_id)
    if lots == 0:
        return n
    if part and lots > 1:
        gone = reduce_order(book, order_id, lots // 2)
        return write_row(tape, n, ts, price, gone, order_id, sequence, REDUCE, side, F_LAST)
    gone = cancel_order(book, order_id)
    return write_row(tape, n, ts, price, gone, order_id, sequence, DELETE, side, F_LAST)

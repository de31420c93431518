"""Rebuild a book of single orders from a venue's feed: the same state as the matching engine's, without matching.

What each event does (:mod:`marketdata.events` says what its fields mean):

* ADD enters an order at the end of its queue under its id. An id that is live already is counted and changes nothing.
  Without an id (0) the lots join the anonymous order at the end of the queue, or become one.
* REDUCE, DELETE and EXECUTE go by id, whatever price they name (an execution can be at a better price than the order's
  own); DELETE takes the whole order, the others ``size_lots``. More than is left takes the order out and is counted.
* An id that is not live stands for an order that rested before the feed began: the lots are taken from the anonymous
  orders at the event's side and price, oldest first; what they do not have is counted and changes nothing.
* LEVEL says the whole size of a level. Where the book agrees nothing happens; where not, nobody knows which orders are
  there, and one anonymous order of that size takes their place (0: the level goes). QUOTE does the same after emptying
  the side.
* CLEAR empties both sides; STATUS halts or resumes; HIDDEN and TRADE change nothing.

A book may be crossed within an event group; groups that end crossed are counted.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.bits import borrowed, inlined
from marketdata.events import ADD, BID, CLEAR, DELETE, EXECUTE, F_LAST, LEVEL, QUOTE, REDUCE, STATUS
from marketdata.order_book import (
    ANONYMOUS,
    BEST_LEVEL,
    CROSSED,
    DUPLICATE,
    HALTED,
    MISSING,
    OrderBookState,
    append_order,
    has_room,
    lent,
    new_order,
    remove_order,
    shrink_order,
)
from marketdata.order_index import PRICE_LIMIT, find_id, find_level

Int64 = npt.NDArray[np.int64]
Events = npt.NDArray[np.void]


@inlined
def _add(book: OrderBookState, side: int, price: int, lots: int, order_id: int) -> None:
    if lots <= 0:
        book.counters[MISSING] += 1
        return
    if order_id == 0:
        level = find_level(book.prices, book.records, side, price)
        last = np.int64(book.records[level].prev)
        if level != 0 and last != level and book.records[last].key == 0:
            book.records[last].lots += lots
            book.records[level].lots += lots
            return
    elif find_id(book.ids, book.records, order_id) != 0:
        book.counters[DUPLICATE] += 1
        return
    append_order(book, new_order(book, side, order_id, 0), side, price, lots)


@njit(cache=True)
def _take_anonymous(book: OrderBookState, side: int, price: int, lots: int) -> None:
    """Take lots from the anonymous orders of a level, oldest first; count it where they are short."""
    records = book.records
    level = find_level(book.prices, records, side, price) if book.counters[ANONYMOUS] > 0 else 0
    record = np.int64(records[level].next)
    while lots > 0 and record != level:
        after = np.int64(records[record].next)
        if records[record].key == 0:
            there = records[record].lots
            if lots < there:
                shrink_order(book, record, lots)
                return
            lots -= there
            remove_order(book, record)
        record = after
    if lots > 0:
        book.counters[MISSING] += 1


@inlined
def _remove(book: OrderBookState, action: int, side: int, price: int, lots: int, order_id: int) -> None:
    record = find_id(book.ids, book.records, order_id)
    if record == 0:
        _take_anonymous(book, side, price, lots)
        return
    there = book.records[record].lots
    if action == DELETE or lots >= there:
        if lots > there:
            book.counters[MISSING] += 1
        remove_order(book, record)
    elif lots > 0:
        shrink_order(book, record, lots)


@njit(cache=True)
def _set_level(book: OrderBookState, side: int, price: int, lots: int) -> None:
    records = book.records
    level = find_level(book.prices, records, side, price)
    if level != 0:
        if records[level].lots == lots:
            return
        for _ in range(records[level].level):
            remove_order(book, np.int64(records[level].next))
    if lots > 0:
        append_order(book, new_order(book, side, 0, 0), side, price, lots)


@njit(cache=True)
def _empty_side(book: OrderBookState, side: int) -> None:
    while book.counters[BEST_LEVEL + side] != 0:
        remove_order(book, np.int64(book.records[book.counters[BEST_LEVEL + side]].next))


@njit(cache=True, nogil=True)
def apply_orders(book: OrderBookState, events: Events, out: Int64) -> int:
    """Apply a feed's events to the book until they end or the book is full.

    Parameters
    ----------
    book : OrderBookState
        Changed in place.
    events : event array, shape (n,)
        Of one instrument.
    out : int64 array, shape (n, 4)
        Bid price units, bid lots, ask price units, ask lots after each row; 0 and 0 where the side is empty.

    Returns
    -------
    int
        Rows applied; fewer than n where the book must grow before the next.
    """
    book = lent(book)
    events = borrowed(events)
    out = borrowed(out)
    records = book.records
    counters = book.counters
    for k in range(len(events)):
        action = events[k].action
        side = 0 if events[k].side == BID else 1
        price = events[k].price_units
        lots = events[k].size_lots
        if not has_room(book):
            return k
        if price <= -PRICE_LIMIT or price >= PRICE_LIMIT:
            counters[MISSING] += 1
        elif action == ADD:
            _add(book, side, price, lots, events[k].order_id)
        elif action == REDUCE or action == DELETE or action == EXECUTE:  # noqa: SIM109  faster in numba
            _remove(book, action, side, price, lots, events[k].order_id)
        elif action == LEVEL:
            _set_level(book, side, price, lots)
        elif action == QUOTE:
            _empty_side(book, side)
            _set_level(book, side, price, lots)
        elif action == CLEAR:
            _empty_side(book, 0)
            _empty_side(book, 1)
        elif action == STATUS:
            counters[HALTED] = 1 if lots == 0 else 0
        bid = counters[BEST_LEVEL]
        ask = counters[BEST_LEVEL + 1]
        out[k, 0] = records[bid].key if bid > 0 else 0
        out[k, 1] = records[bid].lots if bid > 0 else 0
        out[k, 2] = records[ask].key if ask > 0 else 0
        out[k, 3] = records[ask].lots if ask > 0 else 0
        if events[k].flags & F_LAST and bid > 0 and ask > 0 and out[k, 0] > out[k, 2]:
            counters[CROSSED] += 1
    return len(events)

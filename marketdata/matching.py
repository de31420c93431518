"""A price-time matching engine for one instrument, order by order, in integers.

State is a NamedTuple of preallocated arrays (a checkpoint is a copy). Orders live in slots of a free list and form one
doubly linked queue a price level; an id finds its slot by one look-up, so cancel and reduce are O(1); levels are a dense array
over a window of prices, so adding is O(1) and taking out a best level costs the distance to the next one.

Rules of the market, in full:

* an incoming order trades with the best opposite price first, and with the oldest order there first, at the resting price;
* what a ``GTC`` order leaves unfilled rests at its limit at the end of that queue; ``IOC`` and market leftovers are cancelled;
  ``FOK`` trades whole or not at all; ``POST_ONLY`` is refused if it would trade;
* reducing keeps the place in the queue; modifying keeps it only when the price stays and the size does not grow, otherwise
  the order leaves, may trade, and rests again at the end of its new queue under the same id;
* there is no self-trade prevention: the engine knows orders, not owners.

The fills of the last order are in ``fill_order``, ``fill_price`` and ``fill_lots`` up to ``counters[FILLS]``.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

GTC: Final = 0
IOC: Final = 1
POST_ONLY: Final = 2
FOK: Final = 3
"""Kinds of limit order."""

RESTED: Final = 0
"""The order rests, whole or in part; its id is given."""
DONE: Final = 1
"""The order was filled whole."""
CANCELLED: Final = 2
"""What could not trade at once was cancelled (IOC, market, FOK)."""
REJECTED_PRICE: Final = 3
"""The price lies outside the window of the book."""
REJECTED_SIZE: Final = 4
"""The size is not positive."""
REJECTED_POST_ONLY: Final = 5
"""A post-only order would have traded."""
REJECTED_FULL: Final = 6
"""No slot or id is left."""
REJECTED_UNKNOWN: Final = 7
"""No live order has this id."""

LOW_PRICE: Final = 0
BEST_BID: Final = 1
BEST_ASK: Final = 2
NEXT_ID: Final = 3
FREE: Final = 4
LIVE: Final = 5
FILLS: Final = 7
"""Index into ``counters``: lowest price of the window, level index of the best bid (-1: none) and best ask (span: none), next
order id, first free slot (-1: none), live bids (live asks come right after), fills of the last order."""

Int64 = npt.NDArray[np.int64]


class MatchingBook(NamedTuple):
    """The book of one instrument: ``N`` slots for live orders, ids below ``M``, prices of a window of ``S`` units.

    Attributes
    ----------
    order : int64 array, shape (N, 6)
        Side (0 bid, 1 ask), level index, lots, id, previous slot, next slot (-1: none; the free list runs through "next").
    slot_of : int32 array, shape (M,)
        Slot of a live order's id, else -1.
    level : int64 array, shape (2, S, 4)
        First slot, last slot, lots, orders of each level.
    fill_order, fill_price, fill_lots : int64 arrays, shape (N,)
        The resting orders hit by the last incoming order, in the order of their fills.
    counters : int64 array, shape (8,)
        See ``LOW_PRICE`` and the constants after it.
    """

    order: Int64
    slot_of: npt.NDArray[np.int32]
    level: Int64
    fill_order: Int64
    fill_price: Int64
    fill_lots: Int64
    counters: Int64


def empty_matching_book(low_price: int, span: int, *, max_orders: int = 16_384, max_ids: int = 262_144) -> MatchingBook:
    """Return an empty book for prices in ``[low_price, low_price + span)``; ids count from 1."""
    order = np.zeros((max_orders, 6), np.int64)
    order[:, 5] = np.arange(1, max_orders + 1)
    order[-1, 5] = -1
    level = np.zeros((2, span, 4), np.int64)
    level[:, :, :2] = -1
    counters = np.array([low_price, -1, span, 1, 0, 0, 0, 0], np.int64)
    return MatchingBook(
        order=order,
        slot_of=np.full(max_ids, -1, np.int32),
        level=level,
        fill_order=np.zeros(max_orders, np.int64),
        fill_price=np.zeros(max_orders, np.int64),
        fill_lots=np.zeros(max_orders, np.int64),
        counters=counters,
    )


def copy_matching_book(book: MatchingBook) -> MatchingBook:
    """Return a checkpoint of the book."""
    return MatchingBook._make(array.copy() for array in book)


@njit(cache=True)
def best_bid(book: MatchingBook) -> int:
    """Return the best bid price; below the window where there is none."""
    return book.counters[LOW_PRICE] + book.counters[BEST_BID]


@njit(cache=True)
def best_ask(book: MatchingBook) -> int:
    """Return the best ask price; at the window's end where there is none."""
    return book.counters[LOW_PRICE] + book.counters[BEST_ASK]


@njit(cache=True)
def has_level(book: MatchingBook, price: int) -> bool:
    """Whether the price lies inside the window."""
    index = price - book.counters[LOW_PRICE]
    return index >= 0 and index < book.level.shape[1]


@njit(cache=True)
def level_lots(book: MatchingBook, side: int, price: int) -> int:
    """Return the lots resting at a price of a side (0 bid, 1 ask)."""
    return book.level[side, price - book.counters[LOW_PRICE], 2] if has_level(book, price) else 0


@njit(cache=True)
def level_orders(book: MatchingBook, side: int, price: int) -> int:
    """Return the number of orders resting at a price of a side."""
    return book.level[side, price - book.counters[LOW_PRICE], 3] if has_level(book, price) else 0


@njit(cache=True)
def order_at(book: MatchingBook, side: int, price: int, place: int) -> int:
    """Return the id of the order at a place (0: first to trade) of a level's queue; 0 where there is none."""
    if not has_level(book, price):
        return 0
    slot = book.level[side, price - book.counters[LOW_PRICE], 0]
    while slot >= 0 and place > 0:
        slot = book.order[slot, 5]
        place -= 1
    return book.order[slot, 3] if slot >= 0 else 0


@njit(cache=True)
def is_live(book: MatchingBook, order_id: int) -> bool:
    """Whether an order with this id rests in the book."""
    return order_id > 0 and order_id < book.slot_of.shape[0] and book.slot_of[order_id] >= 0


@njit(cache=True)
def order_state(book: MatchingBook, order_id: int) -> tuple[int, int, int]:
    """Return (side, price, lots) of a live order; (0, 0, 0) of any other id."""
    if not is_live(book, order_id):
        return 0, 0, 0
    slot = book.slot_of[order_id]
    return book.order[slot, 0], book.order[slot, 1] + book.counters[LOW_PRICE], book.order[slot, 2]


@njit(cache=True)
def lots_ahead(book: MatchingBook, order_id: int) -> int:
    """Return the lots that trade before this order at its own price; -1 for an id that does not rest."""
    if not is_live(book, order_id):
        return -1
    slot = book.order[book.slot_of[order_id], 4]
    ahead = 0
    while slot >= 0:
        ahead += book.order[slot, 2]
        slot = book.order[slot, 4]
    return ahead


@njit(cache=True)
def _rest(book: MatchingBook, side: int, index: int, lots: int, order_id: int) -> None:
    """Put an order at the end of its level's queue; a slot must be free."""
    counters = book.counters
    slot = counters[FREE]
    order = book.order
    counters[FREE] = order[slot, 5]
    level = book.level[side, index]
    order[slot, 0] = side
    order[slot, 1] = index
    order[slot, 2] = lots
    order[slot, 3] = order_id
    order[slot, 4] = level[1]
    order[slot, 5] = -1
    if level[1] >= 0:
        order[level[1], 5] = slot
    else:
        level[0] = slot
    level[1] = slot
    level[2] += lots
    level[3] += 1
    book.slot_of[order_id] = slot
    counters[LIVE + side] += 1
    if side == 0:
        counters[BEST_BID] = max(counters[BEST_BID], index)
    else:
        counters[BEST_ASK] = min(counters[BEST_ASK], index)


@njit(cache=True)
def _unlink(book: MatchingBook, slot: int) -> None:
    """Take an order out of its queue, free its slot and find the next best level if its own became empty."""
    counters = book.counters
    order = book.order
    side = order[slot, 0]
    index = order[slot, 1]
    level = book.level[side, index]
    before = order[slot, 4]
    after = order[slot, 5]
    if before >= 0:
        order[before, 5] = after
    else:
        level[0] = after
    if after >= 0:
        order[after, 4] = before
    else:
        level[1] = before
    level[2] -= order[slot, 2]
    level[3] -= 1
    book.slot_of[order[slot, 3]] = -1
    order[slot, 5] = counters[FREE]
    counters[FREE] = slot
    counters[LIVE + side] -= 1
    if level[3] > 0:
        return
    if side == 0 and index == counters[BEST_BID]:
        while index >= 0 and book.level[0, index, 3] == 0:
            index -= 1
        counters[BEST_BID] = index
    elif side == 1 and index == counters[BEST_ASK]:
        while index < book.level.shape[1] and book.level[1, index, 3] == 0:
            index += 1
        counters[BEST_ASK] = index


@njit(cache=True)
def _take(book: MatchingBook, side: int, limit: int, lots: int) -> int:
    """Trade an incoming order of ``side`` up to level index ``limit``; return the lots left."""
    counters = book.counters
    counters[FILLS] = 0
    other = 1 - side
    while lots > 0:
        index = counters[BEST_ASK] if side == 0 else counters[BEST_BID]
        if side == 0 and (index > limit or index >= book.level.shape[1]):
            break
        if side == 1 and (index < limit or index < 0):
            break
        level = book.level[other, index]
        slot = level[0]
        traded = min(lots, book.order[slot, 2])
        fill = counters[FILLS]
        book.fill_order[fill] = book.order[slot, 3]
        book.fill_price[fill] = counters[LOW_PRICE] + index
        book.fill_lots[fill] = traded
        counters[FILLS] = fill + 1
        lots -= traded
        if traded == book.order[slot, 2]:
            _unlink(book, slot)
        else:
            book.order[slot, 2] -= traded
            level[2] -= traded
    return lots


@njit(cache=True)
def _lots_within(book: MatchingBook, side: int, limit: int, enough: int) -> int:
    """Return the opposite lots an incoming order of ``side`` could take up to ``limit``, counting at most ``enough``."""
    found = 0
    if side == 0:
        index = book.counters[BEST_ASK]
        while index <= limit and index < book.level.shape[1] and found < enough:
            found += book.level[1, index, 2]
            index += 1
    else:
        index = book.counters[BEST_BID]
        while index >= limit and index >= 0 and found < enough:
            found += book.level[0, index, 2]
            index -= 1
    return min(found, enough)


@njit(cache=True)
def submit_limit(book: MatchingBook, side: int, price: int, lots: int, kind: int) -> tuple[int, int, int]:
    """Take a limit order (0 buys, 1 sells) into the book.

    Returns
    -------
    status : int
        RESTED, DONE, CANCELLED or a REJECTED code.
    order_id : int
        Id of the resting part; 0 where nothing rests.
    left : int
        Lots that rest or were cancelled; all of them when rejected.
    """
    book.counters[FILLS] = 0
    if lots <= 0:
        return REJECTED_SIZE, 0, lots
    if not has_level(book, price):
        return REJECTED_PRICE, 0, lots
    order_id = book.counters[NEXT_ID]
    if kind != IOC and kind != FOK and (book.counters[FREE] < 0 or order_id >= book.slot_of.shape[0]):
        return REJECTED_FULL, 0, lots
    limit = price - book.counters[LOW_PRICE]
    crosses = (side == 0 and book.counters[BEST_ASK] <= limit) or (side == 1 and book.counters[BEST_BID] >= limit)
    if kind == POST_ONLY and crosses:
        return REJECTED_POST_ONLY, 0, lots
    if kind == FOK and _lots_within(book, side, limit, lots) < lots:
        return CANCELLED, 0, lots
    left = _take(book, side, limit, lots) if crosses else lots
    if left == 0:
        return DONE, 0, 0
    if kind == IOC:
        return CANCELLED, 0, left
    book.counters[NEXT_ID] = order_id + 1
    _rest(book, side, limit, left, order_id)
    return RESTED, order_id, left


@njit(cache=True)
def submit_market(book: MatchingBook, side: int, lots: int) -> tuple[int, int]:
    """Trade a market order (0 buys, 1 sells) against all there is; return (status, lots cancelled)."""
    book.counters[FILLS] = 0
    if lots <= 0:
        return REJECTED_SIZE, lots
    left = _take(book, side, book.level.shape[1] if side == 0 else -1, lots)
    return (DONE if left == 0 else CANCELLED), left


@njit(cache=True)
def cancel_order(book: MatchingBook, order_id: int) -> int:
    """Cancel a resting order; return the lots that went, 0 for an id that does not rest."""
    if not is_live(book, order_id):
        return 0
    slot = book.slot_of[order_id]
    lots = book.order[slot, 2]
    _unlink(book, slot)
    return lots


@njit(cache=True)
def reduce_order(book: MatchingBook, order_id: int, lots: int) -> int:
    """Take lots off a resting order, which keeps its place; return what went (all of it removes the order)."""
    if not is_live(book, order_id) or lots <= 0:
        return 0
    slot = book.slot_of[order_id]
    if lots >= book.order[slot, 2]:
        return cancel_order(book, order_id)
    book.order[slot, 2] -= lots
    book.level[book.order[slot, 0], book.order[slot, 1], 2] -= lots
    return lots


@njit(cache=True)
def modify_order(book: MatchingBook, order_id: int, price: int, lots: int) -> tuple[int, int]:
    """Change price and size of a resting order; return (status, lots resting).

    The order keeps its place when the price stays and the size does not grow; otherwise it leaves, trades if it now can,
    and what is left rests at the end of the new queue under the same id. A rejected change leaves the order as it is.
    """
    book.counters[FILLS] = 0
    if not is_live(book, order_id):
        return REJECTED_UNKNOWN, 0
    slot = book.slot_of[order_id]
    side = book.order[slot, 0]
    there = book.order[slot, 2]
    if lots <= 0:
        return REJECTED_SIZE, there
    if not has_level(book, price):
        return REJECTED_PRICE, there
    index = price - book.counters[LOW_PRICE]
    if index == book.order[slot, 1] and lots <= there:
        reduce_order(book, order_id, there - lots)
        return RESTED, lots
    _unlink(book, slot)
    left = _take(book, side, index, lots)
    if left == 0:
        return DONE, 0
    _rest(book, side, index, left, order_id)
    return RESTED, left

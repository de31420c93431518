"""The price-level book: one fold over events that every consumer shares (features, venues, validation, pages).

State is a NamedTuple of preallocated arrays, so that kernels of other floors can hold one and a checkpoint is a copy.
Each side keeps its levels sorted with the best one last: changes happen near the best, so an insertion moves few rows.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.bits import borrowed, inlined
from marketdata.events import ADD, BID, CLEAR, DELETE, EXECUTE, F_LAST, LEVEL, QUOTE, REDUCE, STATUS, EventArray

BID_SIDE: Final = 0
ASK_SIDE: Final = 1
"""Index of a side in the state's arrays."""

COUNT_MISSING: Final = 0
COUNT_DROPPED: Final = 1
COUNT_HALTED: Final = 2
COUNT_CROSSED: Final = 3
"""Index into ``counters``: reductions of size that was not there, levels dropped because the side was full, whether
trading is halted (0 or 1), groups that ended crossed."""

DEFAULT_LEVELS: Final = 2_048
NEAR_LEVELS: Final = 8
"""Levels of a side that a search walks before it halves the rest."""

Levels = npt.NDArray[np.int64]


class BookState(NamedTuple):
    """A book of at most ``L`` levels a side.

    Attributes
    ----------
    price : int64 array, shape (2, L)
        Prices in price units; row 0 bids ascending, row 1 asks descending: the best is at ``count - 1``.
    size : int64 array, shape (2, L)
        Lots at each level, positive.
    count : int64 array, shape (2,)
        Levels in use on each side.
    counters : int64 array, shape (4,)
        See the ``COUNT_*`` constants.
    """

    price: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]  # type: ignore[assignment]  # nobody counts values in this tuple
    counters: npt.NDArray[np.int64]


def empty_book(levels: int = DEFAULT_LEVELS) -> BookState:
    """Return an empty book that can hold ``levels`` levels a side."""
    return BookState(
        np.zeros((2, levels), np.int64), np.zeros((2, levels), np.int64), np.zeros(2, np.int64), np.zeros(4, np.int64)
    )


def copy_book(book: BookState) -> BookState:
    """Return a checkpoint of the book."""
    return BookState(book.price.copy(), book.size.copy(), book.count.copy(), book.counters.copy())


def grow_book(book: BookState) -> BookState:
    """Return the same book with room for twice the levels."""
    levels = book.price.shape[1]
    grown = empty_book(2 * levels)
    grown.price[:, :levels] = book.price
    grown.size[:, :levels] = book.size
    grown.count[:] = book.count
    grown.counters[:] = book.counters
    return grown


@inlined
def _slot(prices: Levels, count: int, side: int, price: int) -> int:
    """Return the position of ``price`` on a side, or where it would be inserted.

    Looks at the best levels one by one, where nearly all changes are, and halves the rest.
    """
    sign = 1 if side == 0 else -1
    k = count
    near = max(count - NEAR_LEVELS, 0)
    while k > near and sign * (prices[side, k - 1] - price) > 0:
        k -= 1
    if k == near and k > 0 and sign * (prices[side, k - 1] - price) > 0:
        low = 0
        while low < k:
            middle = (low + k) >> 1
            if sign * (prices[side, middle] - price) > 0:
                k = middle
            else:
                low = middle + 1
    if k > 0 and prices[side, k - 1] == price:
        return k - 1
    return k


@inlined
def _set_level(
    prices: Levels, sizes: Levels, count: Levels, counters: Levels, side: int, k: int, price: int, size: int
) -> None:
    """Set the whole size at ``price``, whose position is ``k``; see :func:`book_set_level`."""
    n = count[side]
    if k < n and prices[side, k] == price:
        if size > 0:
            sizes[side, k] = size
            return
        for j in range(k, n - 1):
            prices[side, j] = prices[side, j + 1]
            sizes[side, j] = sizes[side, j + 1]
        count[side] = n - 1
        return
    if size <= 0:
        return
    if n == prices.shape[1]:
        counters[1] += 1
        if k == 0:
            return
        for j in range(n - 1):
            prices[side, j] = prices[side, j + 1]
            sizes[side, j] = sizes[side, j + 1]
        n -= 1
        k -= 1
    for j in range(n, k, -1):
        prices[side, j] = prices[side, j - 1]
        sizes[side, j] = sizes[side, j - 1]
    prices[side, k] = price
    sizes[side, k] = size
    count[side] = n + 1


@inlined
def _apply(
    prices: Levels,
    sizes: Levels,
    count: Levels,
    counters: Levels,
    action: int,
    event_side: int,
    price: int,
    size: int,
) -> None:
    side = 0 if event_side == BID else 1
    if action == ADD or action == REDUCE or action == DELETE or action == EXECUTE:  # noqa: SIM109  faster in numba
        k = _slot(prices, count[side], side, price)
        there = sizes[side, k] if k < count[side] and prices[side, k] == price else 0
        if action == ADD:
            _set_level(prices, sizes, count, counters, side, k, price, there + size)
            return
        if there < size:
            counters[0] += 1
        if there > 0:
            _set_level(prices, sizes, count, counters, side, k, price, there - size)
    elif action == LEVEL:
        _set_level(prices, sizes, count, counters, side, _slot(prices, count[side], side, price), price, size)
    elif action == QUOTE:
        count[side] = 0
        if size > 0:
            _set_level(prices, sizes, count, counters, side, 0, price, size)
    elif action == CLEAR:
        count[0] = 0
        count[1] = 0
    elif action == STATUS:
        counters[2] = 1 if size == 0 else 0


@njit(cache=True)
def levels_apply(
    prices: Levels,
    sizes: Levels,
    count: Levels,
    counters: Levels,
    action: int,
    event_side: int,
    price: int,
    size: int,
) -> None:
    """Apply one event's action to the arrays of a :class:`BookState`.

    For kernels that take a book apart once before their loop: reaching into the tuple for each event counts references
    and costs as much as the change itself.
    """
    _apply(borrowed(prices), borrowed(sizes), borrowed(count), borrowed(counters), action, event_side, price, size)


@njit(cache=True)
def book_level_size(book: BookState, side: int, price: int) -> int:
    """Return the lots at ``price`` on a side (0 bids, 1 asks); 0 where there is no such level."""
    k = _slot(book.price, book.count[side], side, price)
    if k < book.count[side] and book.price[side, k] == price:
        return book.size[side, k]
    return 0


@njit(cache=True)
def book_set_level(book: BookState, side: int, price: int, size: int) -> None:
    """Set the whole size at a price of a side; 0 or less removes the level.

    A full side drops its worst level and counts it: the far end of a book is the part that nothing here reads.
    """
    k = _slot(book.price, book.count[side], side, price)
    _set_level(book.price, book.size, book.count, book.counters, side, k, price, size)


@njit(cache=True)
def book_apply(book: BookState, action: int, event_side: int, price: int, size: int) -> None:
    """Apply one event's action to the book; actions without a book effect change nothing."""
    levels_apply(book.price, book.size, book.count, book.counters, action, event_side, price, size)


@njit(cache=True)
def book_best(book: BookState) -> tuple[int, int, int, int]:
    """Return (bid price, bid lots, ask price, ask lots); an empty side gives price 0 and 0 lots."""
    nb = book.count[0]
    na = book.count[1]
    bid = book.price[0, nb - 1] if nb > 0 else 0
    bid_size = book.size[0, nb - 1] if nb > 0 else 0
    ask = book.price[1, na - 1] if na > 0 else 0
    ask_size = book.size[1, na - 1] if na > 0 else 0
    return bid, bid_size, ask, ask_size


@njit(cache=True, nogil=True)
def _fold(book: BookState, events: EventArray, out: Levels) -> None:
    prices, sizes, count, counters = (
        borrowed(book.price),
        borrowed(book.size),
        borrowed(book.count),
        borrowed(book.counters),
    )
    events = borrowed(events)
    out = borrowed(out)
    for k in range(len(events)):
        _apply(
            prices,
            sizes,
            count,
            counters,
            events[k].action,
            events[k].side,
            events[k].price_units,
            events[k].size_lots,
        )
        bids, asks = count[0], count[1]
        out[k, 0] = prices[0, bids - 1] if bids > 0 else 0
        out[k, 1] = sizes[0, bids - 1] if bids > 0 else 0
        out[k, 2] = prices[1, asks - 1] if asks > 0 else 0
        out[k, 3] = sizes[1, asks - 1] if asks > 0 else 0
        if events[k].flags & F_LAST and bids > 0 and asks > 0 and out[k, 0] > out[k, 2]:
            counters[3] += 1


def fold_best(book: BookState, events: EventArray) -> npt.NDArray[np.int64]:
    """Apply events to the book in place and return the best quotes after each.

    Parameters
    ----------
    book : BookState
        Changed in place.
    events : event array, shape (n,)
        Of one instrument.

    Returns
    -------
    int64 array, shape (n, 4)
        Bid price units, bid lots, ask price units, ask lots after each row; 0 and 0 where the side is empty.
    """
    out = np.empty((len(events), 4), np.int64)
    _fold(book, events, out)
    return out

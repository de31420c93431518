"""A book of single orders (L3): every resting order by id, queues in order of arrival, levels over an unbounded price range.

State is a NamedTuple of preallocated arrays (a checkpoint is a copy); :func:`grow_order_book` makes room. The matching engine
(:mod:`marketdata.matching`) and the book rebuilt from a feed (:mod:`marketdata.order_feed`) are two sets of rules over it;
:mod:`marketdata.order_queries` reads it.

Orders and levels are 32-byte records of one array. The queue of a level is a ring through ``prev`` and ``next`` that begins and
ends at the level's own record, so taking an order out of it needs no case for the first or the last. Record 0 is never used; it
stands for "none".

====== ==================================== ======================================
field  of an order                          of a level
====== ==================================== ======================================
key    order id; 0: an order without an id  price in price units
lots   lots left                            lots of all its orders
prev   the order before it, or its level    its last order, or itself
next   the order after it, or its level     its first order, or itself
level  the record of its level              number of orders
owner  who it belongs to, 0: not said       side: 0 bids, 1 asks
====== ==================================== ======================================
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from marketdata.bits import borrowed, inlined
from marketdata.order_index import (
    FLOORS,
    PRICE_LIMIT,
    WORD_DTYPE,
    clear_price,
    find_level,
    insert_entry,
    key_tag,
    move_entries,
    move_words,
    next_price,
    price_tag,
    remove_entry,
    set_price,
)

RECORD_DTYPE: Final = np.dtype(
    [("key", "i8"), ("lots", "i8"), ("prev", "u4"), ("next", "u4"), ("level", "u4"), ("owner", "i4")]
)
"""An order or a level, 32 bytes."""

FILL_DTYPE: Final = np.dtype(
    [
        ("maker_id", "i8"),
        ("taker_id", "i8"),
        ("price_units", "i8"),
        ("size_lots", "i8"),
        ("maker_left", "i8"),
        ("taker_left", "i8"),
        ("sequence", "i8"),
        ("kind", "u1"),
        ("maker_side", "i1"),
    ],
    align=True,
)
"""What one resting order and one incoming order did to each other, 64 bytes. ``maker_left`` and ``taker_left`` are what is left
of each right after it (0: that order was filled whole); ``sequence`` counts the messages the book has seen; ``maker_side`` is
BID or ASK; ``kind`` is TRADE, SELF_CANCELLED or SELF_REDUCED."""

TRADE: Final = 0
SELF_CANCELLED: Final = 1
SELF_REDUCED: Final = 2
"""Kinds of fill: a trade; self-trade prevention took the resting order out (``size_lots`` is what went); it took lots off both
orders and the resting one lives on."""

BEST_LEVEL: Final = 0
BEST_PRICE: Final = 2
LIVE: Final = 4
"""Index into ``counters`` of the best bid level's record (0: none), the best bid price (minus PRICE_LIMIT: none) and the
number of live bids; that of the asks comes right after each (no best ask price: plus PRICE_LIMIT)."""

FREE: Final = 6
ORDERS_LEFT: Final = 7
LEVELS_LEFT: Final = 8
WORDS_LEFT: Final = 9
"""The first free record; the orders, levels and occupancy words that there is still room for."""

NEXT_ID: Final = 10
SEQUENCE: Final = 11
FILLS_FROM: Final = 12
FILLS_TO: Final = 13
"""The next id that the book would give out itself; messages matched so far; where in ``fills`` those of the last message
begin and end."""

ANONYMOUS: Final = 14
MISSING: Final = 15
DUPLICATE: Final = 16
HALTED: Final = 17
CROSSED: Final = 18
COUNTERS: Final = 19
"""Live orders without an id; and of a feed: changes of orders or lots that were not there, new orders whose id was live already,
whether trading is halted (0 or 1), groups that ended crossed."""

RECENT_FILLS: Final = 256
"""Fills kept, at least, when the buffer of fills starts again."""

Int64 = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]


class OrderBookState(NamedTuple):
    """The book of one instrument.

    Attributes
    ----------
    records : RECORD_DTYPE array, shape (orders + levels + 1,)
        Orders and levels; the free ones are chained through ``next``.
    ids : int64 array
        Hash from order id to record; a power of two, at least twice the orders.
    prices : int64 array
        Hash from (side, price) to the level's record; a power of two, at least twice the levels.
    words : WORD_DTYPE array
        Occupancy words of the prices, see :mod:`marketdata.order_index`.
    fills : FILL_DTYPE array
        Fills of the last message in ``[counters[FILLS_FROM], counters[FILLS_TO])``, at least RECENT_FILLS older ones before them.
    counters : int64 array, shape (19,)
        See ``BEST_LEVEL`` and the constants after it.
    """

    records: Records
    ids: Int64
    prices: Int64
    words: Records
    fills: Records
    counters: Int64


def _power_of_two(least: int) -> int:
    return 1 << max(4, (least - 1).bit_length())


def empty_order_book(max_orders: int = 16_384, max_levels: int = 2_048) -> OrderBookState:
    """Return an empty book with room for so many live orders and levels; it can grow.

    Raises
    ------
    ValueError
        If there is no room for even one order, or there are more records than 32 bits count.
    """
    if max_orders < 1 or max_levels < 1 or max_orders + max_levels >= 2**31:
        raise ValueError(f"a book of {max_orders} orders and {max_levels} levels cannot be made")
    records = np.zeros(max_orders + max_levels + 1, RECORD_DTYPE)
    records["next"] = np.arange(1, len(records) + 1)
    records["next"][[0, -1]] = 0
    words = np.zeros(_power_of_two(4 * max_levels + 128), WORD_DTYPE)
    counters = np.zeros(COUNTERS, np.int64)
    counters[BEST_PRICE : BEST_PRICE + 2] = -PRICE_LIMIT, PRICE_LIMIT
    counters[FREE] = 1
    counters[ORDERS_LEFT] = max_orders
    counters[LEVELS_LEFT] = max_levels
    counters[WORDS_LEFT] = len(words) // 2
    counters[NEXT_ID] = 1
    return OrderBookState(
        records=records,
        ids=np.zeros(_power_of_two(2 * max_orders), np.int64),
        prices=np.zeros(_power_of_two(2 * max_levels), np.int64),
        words=words,
        fills=np.zeros(2 * (max_orders + RECENT_FILLS), FILL_DTYPE),
        counters=counters,
    )


def copy_order_book(book: OrderBookState) -> OrderBookState:
    """Return a checkpoint of the book."""
    return OrderBookState._make(array.copy() for array in book)


def grow_order_book(book: OrderBookState) -> OrderBookState:
    """Return the same book with twice the room of whatever has run out (orders; levels and their words)."""
    counters = book.counters
    orders = int(counters[LIVE] + counters[LIVE + 1] + counters[ORDERS_LEFT])
    levels = len(book.records) - 1 - orders
    more_orders = orders if counters[ORDERS_LEFT] == 0 else 0
    more_levels = levels if counters[LEVELS_LEFT] == 0 or counters[WORDS_LEFT] < FLOORS else 0
    grown = empty_order_book(orders + more_orders, levels + more_levels)
    old = len(book.records)
    grown.records[:old] = book.records
    grown.counters[:] = counters
    if len(grown.records) > old:
        grown.records["next"][-1] = counters[FREE]
        grown.counters[FREE] = old
    grown.counters[ORDERS_LEFT] += more_orders
    grown.counters[LEVELS_LEFT] += more_levels
    grown.counters[WORDS_LEFT] += (len(grown.words) - len(book.words)) // 2
    grown.fills[: len(book.fills)] = book.fills
    move_entries(book.ids, grown.ids)
    move_entries(book.prices, grown.prices)
    move_words(book.words, grown.words)
    return grown


@inlined
def lent(book: OrderBookState) -> OrderBookState:
    """Return the book as kernels hand it on: the same memory, no counting of references (which took 70 % of a message)."""
    return OrderBookState(
        borrowed(book.records),
        borrowed(book.ids),
        borrowed(book.prices),
        borrowed(book.words),
        borrowed(book.fills),
        borrowed(book.counters),
    )


@inlined
def has_room(book: OrderBookState) -> bool:
    """Whether one more order, at a new price, fits."""
    counters = book.counters
    return counters[ORDERS_LEFT] > 0 and counters[LEVELS_LEFT] > 0 and counters[WORDS_LEFT] >= FLOORS


@inlined
def new_order(book: OrderBookState, side: int, order_id: int, owner: int) -> int:
    """Take a free record for an order and enter its id (0: none to find it by)."""
    records, counters = book.records, book.counters
    record = counters[FREE]
    counters[FREE] = records[record].next
    counters[ORDERS_LEFT] -= 1
    counters[LIVE + side] += 1
    records[record].key = order_id
    records[record].owner = owner
    if order_id != 0:
        insert_entry(book.ids, key_tag(order_id), record)
    else:
        counters[ANONYMOUS] += 1
    return record


@inlined
def free_order(book: OrderBookState, side: int, record: int) -> None:
    """Forget an order that is in no queue any more."""
    records, counters = book.records, book.counters
    order_id = records[record].key
    if order_id != 0:
        remove_entry(book.ids, key_tag(order_id), record)
    else:
        counters[ANONYMOUS] -= 1
    records[record].next = counters[FREE]
    counters[FREE] = record
    counters[ORDERS_LEFT] += 1
    counters[LIVE + side] -= 1


@inlined
def append_order(book: OrderBookState, record: int, side: int, price: int, lots: int) -> None:
    """Put a record, whose key and owner are set, at the end of the queue at a price; make the level if there is none."""
    records, counters = book.records, book.counters
    level = find_level(book.prices, records, side, price)
    if level == 0:
        level = counters[FREE]
        counters[FREE] = records[level].next
        records[level].key = price
        records[level].lots = 0
        records[level].prev = level
        records[level].next = level
        records[level].level = 0
        records[level].owner = side
        insert_entry(book.prices, price_tag(side, price), level)
        counters[WORDS_LEFT] -= set_price(book.words, side, price)
        counters[LEVELS_LEFT] -= 1
        if (price > counters[BEST_PRICE]) if side == 0 else (price < counters[BEST_PRICE + 1]):
            counters[BEST_PRICE + side] = price
            counters[BEST_LEVEL + side] = level
    last = records[level].prev
    records[record].lots = lots
    records[record].prev = last
    records[record].next = level
    records[record].level = level
    records[last].next = record
    records[level].prev = record
    records[level].lots += lots
    records[level].level += 1


@inlined
def drop_level(book: OrderBookState, level: int) -> None:
    """Remove a level without orders, and find the next best one if it was the best."""
    records, counters = book.records, book.counters
    side = records[level].owner
    price = records[level].key
    remove_entry(book.prices, price_tag(side, price), level)
    counters[WORDS_LEFT] += clear_price(book.words, side, price)
    records[level].next = counters[FREE]
    counters[FREE] = level
    counters[LEVELS_LEFT] += 1
    if counters[BEST_LEVEL + side] == level:
        price = next_price(book.words, side, price)
        counters[BEST_PRICE + side] = price
        counters[BEST_LEVEL + side] = 0
        if price > -PRICE_LIMIT and price < PRICE_LIMIT:
            counters[BEST_LEVEL + side] = find_level(book.prices, records, side, price)


@inlined
def unlink_order(book: OrderBookState, record: int) -> None:
    """Take an order out of its queue, and its level out of the book if it was the last; the record stays taken."""
    records = book.records
    before = records[record].prev
    after = records[record].next
    level = records[record].level
    records[before].next = after
    records[after].prev = before
    records[level].lots -= records[record].lots
    records[level].level -= 1
    if before == after and before == level:
        drop_level(book, level)


@inlined
def remove_order(book: OrderBookState, record: int) -> None:
    """Take an order out of its queue and forget it."""
    side = book.records[book.records[record].level].owner
    unlink_order(book, record)
    free_order(book, side, record)


@inlined
def shrink_order(book: OrderBookState, record: int, lots: int) -> None:
    """Take lots, fewer than it has, off an order, which keeps its place."""
    book.records[record].lots -= lots
    book.records[book.records[record].level].lots -= lots

"""What each message does to the book of the matching engine; the rules themselves stand in :mod:`marketdata.matching`."""

import numpy as np
from numba import njit

from marketdata.bits import inlined
from marketdata.events import ASK, BID
from marketdata.order_book import (
    BEST_LEVEL,
    BEST_PRICE,
    FILLS_FROM,
    FILLS_TO,
    LIVE,
    ORDERS_LEFT,
    RECENT_FILLS,
    SELF_CANCELLED,
    SELF_REDUCED,
    SEQUENCE,
    TRADE,
    OrderBookState,
    append_order,
    drop_level,
    free_order,
    has_room,
    new_order,
    remove_order,
    shrink_order,
    unlink_order,
)
from marketdata.order_index import PRICE_LIMIT, find_id, find_level, next_price
from marketdata.order_messages import (
    CANCELLED,
    CANCELLED_SELF,
    DONE,
    FOK,
    GTC,
    POST_ONLY,
    REJECTED_DUPLICATE,
    REJECTED_FULL,
    REJECTED_POST_ONLY,
    REJECTED_PRICE,
    REJECTED_SIZE,
    REJECTED_UNKNOWN,
    RESTED,
    STP_CANCEL_BOTH,
    STP_CANCEL_NEWEST,
    STP_CANCEL_OLDEST,
    STP_DECREMENT,
    STP_NONE,
)


@inlined
def reaches(side: int, limit: int, price: int) -> bool:
    """Whether an incoming order of ``side`` with this limit may trade at a price of the other side."""
    return price <= limit if side == 0 else price >= limit


@inlined
def begin_message(book: OrderBookState) -> None:
    """Open a message: count it, and start the buffer of fills again when it could not take the worst case."""
    fills, counters = book.fills, book.counters
    to = counters[FILLS_TO]
    if len(fills) - to < counters[LIVE] + counters[LIVE + 1]:
        for k in range(RECENT_FILLS):
            fills[k] = fills[to - RECENT_FILLS + k]
        to = np.int64(RECENT_FILLS)
        counters[FILLS_TO] = to
    counters[FILLS_FROM] = to
    counters[SEQUENCE] += 1


@inlined
def write_fill(
    book: OrderBookState,
    record: int,
    taker: int,
    price: int,
    lots: int,
    left: int,
    taker_left: int,
    side: int,
    kind: int,
) -> None:
    """Write what a resting order of ``side`` and the incoming one did to each other."""
    counters = book.counters
    fills = book.fills
    at = counters[FILLS_TO]
    fills[at].maker_id = book.records[record].key
    fills[at].taker_id = taker
    fills[at].price_units = price
    fills[at].size_lots = lots
    fills[at].maker_left = left
    fills[at].taker_left = taker_left
    fills[at].sequence = counters[SEQUENCE]
    fills[at].kind = kind
    fills[at].maker_side = BID if side == 0 else ASK
    counters[FILLS_TO] = at + 1


@njit(cache=True)
def take(
    book: OrderBookState, side: int, limit: int, lots: int, taker: int, owner: int, policy: int
) -> tuple[int, int]:
    """Trade an incoming order up to its limit; return (lots left, lots that self-trade prevention took off it)."""
    records, counters = book.records, book.counters
    other = 1 - side
    prevented = 0
    while lots > 0:
        price = counters[BEST_PRICE + other]
        level = counters[BEST_LEVEL + other]
        if level == 0 or not reaches(side, limit, price):
            break
        record = np.int64(records[level].next)
        gone = 0
        count = 0
        while lots > 0 and record != level:
            there = records[record].lots
            size = min(lots, there)
            if policy != STP_NONE and owner != 0 and records[record].owner == owner:
                if policy == STP_CANCEL_NEWEST:
                    prevented += lots
                    lots = 0
                    break
                if policy == STP_DECREMENT:
                    prevented += size
                    lots -= size
                else:
                    size = there
                    if policy == STP_CANCEL_BOTH:
                        prevented += lots
                        lots = 0
                kind = SELF_CANCELLED if size == there else SELF_REDUCED
            else:
                lots -= size
                kind = TRADE
            gone += size
            write_fill(book, record, taker, price, size, there - size, lots, other, kind)
            if size == there:
                after = np.int64(records[record].next)
                free_order(book, other, record)
                count += 1
                record = after
            else:
                records[record].lots = there - size
        records[level].next = record
        records[record].prev = level
        records[level].lots -= gone
        records[level].level -= count
        if record == level:
            drop_level(book, level)
    return lots, prevented


@njit(cache=True)
def fillable(book: OrderBookState, side: int, limit: int, lots: int, owner: int, policy: int) -> bool:
    """Whether an incoming order could trade whole, by the rules for FOK."""
    records = book.records
    other = 1 - side
    price = book.counters[BEST_PRICE + other]
    while lots > 0 and price > -PRICE_LIMIT and price < PRICE_LIMIT and reaches(side, limit, price):
        level = find_level(book.prices, records, other, price)
        if policy == STP_NONE or owner == 0:
            lots -= records[level].lots
        else:
            record = np.int64(records[level].next)
            while record != level:
                if records[record].owner != owner:
                    lots -= records[record].lots
                elif policy != STP_CANCEL_OLDEST:
                    return lots <= 0
                record = np.int64(records[record].next)
        price = next_price(book.words, other, price)
    return lots <= 0


@inlined
def enter_message(
    book: OrderBookState, order_id: int, side: int, price: int, lots: int, kind: int, owner: int, policy: int
) -> tuple[int, int]:
    """Take a limit order in; return (status, lots)."""
    counters = book.counters
    if lots <= 0:
        return REJECTED_SIZE, lots
    if price <= -PRICE_LIMIT or price >= PRICE_LIMIT:
        return REJECTED_PRICE, lots
    may_rest = kind in (GTC, POST_ONLY)
    if (order_id == 0 and may_rest) or find_id(book.ids, book.records, order_id) != 0:
        return REJECTED_DUPLICATE, lots
    if kind == POST_ONLY and reaches(side, price, counters[BEST_PRICE + 1 - side]):
        return REJECTED_POST_ONLY, lots
    if may_rest and not has_room(book):
        return REJECTED_FULL, lots
    if kind == FOK and not fillable(book, side, price, lots, owner, policy):
        return CANCELLED, lots
    left, prevented = take(book, side, price, lots, order_id, owner, policy)
    if left == 0:
        return (DONE, 0) if prevented == 0 else (CANCELLED_SELF, prevented)
    if not may_rest:
        return CANCELLED, left
    append_order(book, new_order(book, side, order_id, owner), side, price, left)
    return RESTED, left


@inlined
def market_message(
    book: OrderBookState, order_id: int, side: int, lots: int, owner: int, policy: int
) -> tuple[int, int]:
    """Trade a market order; return (status, lots)."""
    if lots <= 0:
        return REJECTED_SIZE, lots
    if find_id(book.ids, book.records, order_id) != 0:
        return REJECTED_DUPLICATE, lots
    limit = PRICE_LIMIT if side == 0 else -PRICE_LIMIT
    left, prevented = take(book, side, limit, lots, order_id, owner, policy)
    if left > 0:
        return CANCELLED, left
    return (DONE, 0) if prevented == 0 else (CANCELLED_SELF, prevented)


@inlined
def cancel_message(book: OrderBookState, order_id: int) -> tuple[int, int]:
    """Cancel an order; return (status, lots that went)."""
    record = find_id(book.ids, book.records, order_id)
    if record == 0:
        return REJECTED_UNKNOWN, 0
    lots = book.records[record].lots
    remove_order(book, record)
    return CANCELLED, lots


@inlined
def reduce_message(book: OrderBookState, order_id: int, lots: int) -> tuple[int, int]:
    """Take lots off an order; return (status, lots left, or that went with the whole order)."""
    record = find_id(book.ids, book.records, order_id)
    if record == 0:
        return REJECTED_UNKNOWN, lots
    if lots <= 0:
        return REJECTED_SIZE, lots
    there = book.records[record].lots
    if lots >= there:
        remove_order(book, record)
        return CANCELLED, there
    shrink_order(book, record, lots)
    return RESTED, there - lots


@inlined
def modify_message(
    book: OrderBookState, order_id: int, price: int, lots: int, kind: int, policy: int
) -> tuple[int, int]:
    """Change price and size of an order; return (status, lots)."""
    records, counters = book.records, book.counters
    record = find_id(book.ids, records, order_id)
    if record == 0:
        return REJECTED_UNKNOWN, lots
    there = records[record].lots
    level = records[record].level
    side = np.int64(records[level].owner)
    if lots <= 0:
        return REJECTED_SIZE, there
    if price <= -PRICE_LIMIT or price >= PRICE_LIMIT:
        return REJECTED_PRICE, there
    if price == records[level].key and lots <= there:
        shrink_order(book, record, there - lots)
        return RESTED, lots
    if kind == POST_ONLY and reaches(side, price, counters[BEST_PRICE + 1 - side]):
        return REJECTED_POST_ONLY, there
    # The order has its record already, so that only a new level may need room.
    counters[ORDERS_LEFT] += 1
    room = has_room(book)
    counters[ORDERS_LEFT] -= 1
    if not room:
        return REJECTED_FULL, there
    unlink_order(book, record)
    left, prevented = take(book, side, price, lots, order_id, records[record].owner, policy)
    if left == 0:
        free_order(book, side, record)
        return (DONE, 0) if prevented == 0 else (CANCELLED_SELF, prevented)
    append_order(book, record, side, price, left)
    return RESTED, left

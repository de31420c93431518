"""Read a book of single orders: best quotes, levels, queues and places in them.

Sides are 0 for bids and 1 for asks. Nothing here changes the book.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.order_book import BEST_LEVEL, BEST_PRICE, LEVELS_LEFT, LIVE, ORDERS_LEFT, OrderBookState, lent
from marketdata.order_index import PRICE_LIMIT, find_id, find_level, next_price

Int64 = npt.NDArray[np.int64]


@njit(cache=True, forceinline=True)
def best_bid(book: OrderBookState) -> int:
    """Return the best bid price; minus PRICE_LIMIT where there is none."""
    return book.counters[BEST_PRICE]


@njit(cache=True, forceinline=True)
def best_ask(book: OrderBookState) -> int:
    """Return the best ask price; PRICE_LIMIT where there is none."""
    return book.counters[BEST_PRICE + 1]


@njit(cache=True, forceinline=True)
def best_quotes(book: OrderBookState) -> tuple[int, int, int, int]:
    """Return (bid price, bid lots, ask price, ask lots); an empty side gives price 0 and 0 lots."""
    book = lent(book)
    bid = book.counters[BEST_LEVEL]
    ask = book.counters[BEST_LEVEL + 1]
    return (
        book.records[bid].key if bid > 0 else 0,
        book.records[bid].lots if bid > 0 else 0,
        book.records[ask].key if ask > 0 else 0,
        book.records[ask].lots if ask > 0 else 0,
    )


@njit(cache=True, forceinline=True)
def level_lots(book: OrderBookState, side: int, price: int) -> int:
    """Return the lots resting at a price of a side."""
    book = lent(book)
    level = find_level(book.prices, book.records, side, price)
    return book.records[level].lots if level > 0 else 0


@njit(cache=True, forceinline=True)
def level_orders(book: OrderBookState, side: int, price: int) -> int:
    """Return the number of orders resting at a price of a side."""
    book = lent(book)
    level = find_level(book.prices, book.records, side, price)
    orders: int = book.records[level].level if level > 0 else 0
    return orders


@njit(cache=True, forceinline=True)
def order_at(book: OrderBookState, side: int, price: int, place: int) -> int:
    """Return the id of the order at a place (0: first to trade) of a level's queue; 0 where there is none."""
    book = lent(book)
    level = find_level(book.prices, book.records, side, price)
    if level == 0 or place >= book.records[level].level:
        return 0
    record = np.int64(book.records[level].next)
    for _ in range(place):
        record = np.int64(book.records[record].next)
    return book.records[record].key


@njit(cache=True, forceinline=True)
def is_live(book: OrderBookState, order_id: int) -> bool:
    """Whether an order with this id rests in the book."""
    book = lent(book)
    return find_id(book.ids, book.records, order_id) > 0


@njit(cache=True, forceinline=True)
def order_state(book: OrderBookState, order_id: int) -> tuple[int, int, int]:
    """Return (side, price, lots) of a live order; (0, 0, 0) of any other id."""
    book = lent(book)
    record = find_id(book.ids, book.records, order_id)
    if record == 0:
        return 0, 0, 0
    level = np.int64(book.records[record].level)
    side: int = book.records[level].owner
    return side, book.records[level].key, book.records[record].lots


@njit(cache=True, forceinline=True)
def lots_ahead(book: OrderBookState, order_id: int) -> int:
    """Return the lots that trade before this order at its own price; -1 for an id that does not rest.

    Costs one step an order ahead.
    """
    book = lent(book)
    record = find_id(book.ids, book.records, order_id)
    if record == 0:
        return -1
    level = np.int64(book.records[record].level)
    ahead = 0
    record = np.int64(book.records[record].prev)
    while record != level:
        ahead += book.records[record].lots
        record = np.int64(book.records[record].prev)
    return ahead


@njit(cache=True, forceinline=True)
def read_depth(book: OrderBookState, side: int, out: Int64) -> int:
    """Write (price, lots, orders) of the best levels of a side into ``out``, shape (n, 3); return how many there were."""
    book = lent(book)
    price = book.counters[BEST_PRICE + side]
    n = 0
    while n < len(out) and price > -PRICE_LIMIT and price < PRICE_LIMIT:
        level = find_level(book.prices, book.records, side, price)
        out[n, 0] = price
        out[n, 1] = book.records[level].lots
        out[n, 2] = book.records[level].level
        n += 1
        price = next_price(book.words, side, price)
    return n


@njit(cache=True, forceinline=True)
def count_levels(book: OrderBookState) -> int:
    """Return the number of levels of both sides."""
    counters = book.counters
    orders = counters[LIVE] + counters[LIVE + 1] + counters[ORDERS_LEFT]
    return len(book.records) - 1 - orders - counters[LEVELS_LEFT]


@njit(cache=True, forceinline=True)
def read_queue(book: OrderBookState, side: int, price: int, out: Int64) -> int:
    """Write (id, lots, owner) of a level's first orders, oldest first, into ``out``, shape (n, 3); return how many."""
    book = lent(book)
    level = find_level(book.prices, book.records, side, price)
    if level == 0:
        return 0
    record = np.int64(book.records[level].next)
    n = 0
    while record != level and n < len(out):
        out[n, 0] = book.records[record].key
        out[n, 1] = book.records[record].lots
        out[n, 2] = book.records[record].owner
        n += 1
        record = np.int64(book.records[record].next)
    return n

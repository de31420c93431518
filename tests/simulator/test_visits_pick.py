"""Who cancels is drawn among the others: an order of ours neither leaves by it nor stands in for somebody's cancel."""

import numpy as np

from marketdata.matching import submit_limit
from marketdata.order_book import OrderBookState, empty_order_book
from marketdata.order_messages import POST_ONLY
from marketdata.simulator.visits import other_order, others_at

PRICE = 100


def book_of(orders: int) -> tuple[OrderBookState, list[int]]:
    book = empty_order_book()
    return book, [submit_limit(book, 0, PRICE, 2, POST_ONLY)[1] for _ in range(orders)]


def picked(book: OrderBookState, ids: list[int], own: int | None) -> list[int]:
    visit_of = np.zeros(max(ids) + 2, np.int32)
    own_price = np.full(2, -1, np.int64)
    if own is not None:
        visit_of[own] = 1
        own_price[0] = PRICE
    count = others_at(book, 0, PRICE, own_price)
    return [other_order(book, 0, PRICE, place, own_price, visit_of) for place in range(count + 1)]


def test_every_other_order_is_at_one_place_wherever_ours_stands() -> None:
    for ours in range(4):
        book, ids = book_of(4)
        others = [k for k in ids if k != ids[ours]]
        assert picked(book, ids, ids[ours]) == [*others, 0], "one place each, and nobody behind the last"


def test_without_an_order_of_ours_nothing_is_left_out() -> None:
    book, ids = book_of(3)
    assert picked(book, ids, None) == [*ids, 0]


def test_alone_at_a_price_there_is_nobody_to_cancel() -> None:
    book, ids = book_of(1)
    assert picked(book, ids, ids[0]) == [0]

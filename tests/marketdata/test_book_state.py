"""The rows of a book's state rebuild the book, wherever the stream is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.book import ASK_SIDE, BID_SIDE, empty_book, fold_best
from marketdata.book_state import book_rows, compacted
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    DELETE,
    EXECUTE,
    F_LAST,
    F_SNAPSHOT,
    LEVEL,
    QUOTE,
    REDUCE,
    STATUS,
    TRADE,
    EventArray,
    empty_events,
)

Levels = tuple[list[tuple[int, int]], list[tuple[int, int]]]


def levels(parts: list[EventArray]) -> Levels:
    book = empty_book()
    for events in parts:
        fold_best(book, events)
    return tuple(  # type: ignore[return-value]  # two sides
        list(zip(book.price[row, : book.count[row]].tolist(), book.size[row, : book.count[row]].tolist(), strict=True))
        for row in (BID_SIDE, ASK_SIDE)
    )


def rows(listed: list[tuple[int, int, int, int, int]]) -> EventArray:
    """Rows of (action, side, price, size, order id), one group each, a nanosecond apart."""
    events = empty_events(len(listed))
    for k, (action, side, price, size, order) in enumerate(listed):
        events[k] = (100 + k, 200 + k, price, size, order, k, 3, action, side, F_LAST, 0)
    return events


def level_stream(seed: int, count: int) -> EventArray:
    rng = np.random.default_rng(seed)
    listed = [(CLEAR, 0, 0, 0, 0)]
    for _ in range(count):
        side = int(rng.choice([BID, ASK]))
        price = 100 - side * int(rng.integers(1, 12))
        listed.append(
            (LEVEL, side, price, int(rng.integers(0, 4)), 0) if rng.random() < 0.9 else (TRADE, side, price, 1, 0)
        )
    return rows(listed)


def order_stream(seed: int, count: int, *, ids: bool) -> EventArray:
    rng = np.random.default_rng(seed)
    resting: dict[int, tuple[int, int, int]] = {}
    listed = [(CLEAR, 0, 0, 0, 0)]
    for number in range(1, count + 1):
        if resting and rng.random() < 0.45:
            order = int(rng.choice(list(resting)))
            side, price, size = resting[order]
            take = int(rng.integers(1, size + 1))
            action = DELETE if take == size and rng.random() < 0.5 else int(rng.choice([REDUCE, EXECUTE]))
            listed.append((action, side, price, take, order if ids else 0))
            resting.pop(order)
            if take < size:
                resting[order] = (side, price, size - take)
        else:
            side = int(rng.choice([BID, ASK]))
            resting[number] = (side, 100 - side * int(rng.integers(1, 6)), int(rng.integers(1, 9)))
            listed.append((ADD, *resting[number], number if ids else 0))
    return rows(listed)


STREAMS = {
    "levels": level_stream,
    "orders": lambda seed, count: order_stream(seed, count, ids=True),
    "orders without ids": lambda seed, count: order_stream(seed, count, ids=False),
}


@pytest.mark.parametrize("kind", list(STREAMS))
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 120), cut=st.floats(0, 1))
def test_state_and_rest_give_the_book_of_the_whole_wherever_it_is_cut(
    kind: str, seed: int, count: int, cut: float
) -> None:
    stream = STREAMS[kind](seed, count)
    at = round(cut * len(stream))
    state = book_rows(stream[:at])
    assert levels([state, stream[at:]]) == levels([stream])
    middle = at // 2
    assert levels([compacted(book_rows(stream[:middle]), stream[middle:at])]) == levels([state])


def test_state_rows_are_one_snapshot_group_with_the_last_events_times() -> None:
    stream = level_stream(1, 60)
    state = book_rows(stream)
    assert state["action"][0] == CLEAR
    assert (state["flags"] & F_SNAPSHOT > 0).all()
    assert state["flags"][-1] & F_LAST
    assert (state["flags"][:-1] & F_LAST == 0).all()
    assert set(state["ts_event"].tolist()) == {int(stream["ts_event"][-1])}
    assert set(state["instrument_id"].tolist()) == {3}


def test_orders_keep_their_ids_and_the_order_of_their_arrival() -> None:
    stream = rows(
        [
            (CLEAR, 0, 0, 0, 0),
            (ADD, BID, 99, 5, 7),
            (ADD, BID, 99, 4, 3),
            (ADD, BID, 99, 2, 9),
            (EXECUTE, BID, 99, 5, 7),
            (REDUCE, BID, 99, 1, 3),
        ]
    )
    state = book_rows(stream)
    assert state["order_id"].tolist() == [0, 3, 9]
    assert state["size_lots"].tolist() == [0, 3, 2]


def test_an_order_that_was_modified_rests_where_it_went() -> None:
    stream = rows([(CLEAR, 0, 0, 0, 0), (ADD, BID, 99, 5, 7), (DELETE, BID, 99, 5, 7), (ADD, BID, 98, 6, 7)])
    state = book_rows(stream)
    assert state[["price_units", "size_lots", "order_id"]][1:].tolist() == [(98, 6, 7)]


def test_best_quotes_are_the_last_of_each_side() -> None:
    stream = rows([(CLEAR, 0, 0, 0, 0), (QUOTE, BID, 99, 5, 0), (QUOTE, ASK, 101, 2, 0), (QUOTE, BID, 98, 1, 0)])
    assert levels([book_rows(stream)]) == ([(98, 1)], [(101, 2)])


def test_a_book_of_orders_and_whole_levels_is_told_by_level() -> None:
    stream = rows([(CLEAR, 0, 0, 0, 0), (LEVEL, BID, 99, 5, 0), (ADD, BID, 99, 2, 8), (REDUCE, BID, 99, 1, 8)])
    state = book_rows(stream)
    assert state["action"].tolist() == [CLEAR, LEVEL]
    assert levels([state]) == levels([stream]) == ([(99, 6)], [])


def test_an_unknown_book_has_no_rows() -> None:
    assert len(book_rows(empty_events(0))) == 0
    assert len(book_rows(rows([(TRADE, BID, 99, 1, 0)]))) == 0
    assert len(book_rows(rows([(LEVEL, BID, 99, 1, 0), (CLEAR, 0, 0, 0, 0)]))) == 0


def test_a_known_empty_book_is_known_to_be_empty() -> None:
    state = book_rows(rows([(CLEAR, 0, 0, 0, 0), (LEVEL, BID, 99, 1, 0), (LEVEL, BID, 99, 0, 0)]))
    assert state["action"].tolist() == [CLEAR]
    assert state["flags"].tolist() == [F_SNAPSHOT | F_LAST]


def test_a_halt_goes_on() -> None:
    halted = [(CLEAR, 0, 0, 0, 0), (LEVEL, BID, 99, 1, 0), (STATUS, 0, 0, 0, 0)]
    assert book_rows(rows(halted))["action"].tolist() == [CLEAR, LEVEL, STATUS]
    assert book_rows(rows([*halted, (STATUS, 0, 0, 1, 0)]))["action"].tolist() == [CLEAR, LEVEL]

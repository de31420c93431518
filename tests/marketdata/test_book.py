"""The price-level book equals a short, slow reference, row by row; checkpoints are independent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.book import COUNT_DROPPED, COUNT_HALTED, COUNT_MISSING, copy_book, empty_book, fold_best
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    DELETE,
    EXECUTE,
    LEVEL,
    QUOTE,
    REDUCE,
    STATUS,
    EventArray,
    empty_events,
)

ROW = st.tuples(
    st.sampled_from((ADD, REDUCE, DELETE, EXECUTE, LEVEL, QUOTE, CLEAR, STATUS)),
    st.sampled_from((BID, ASK)),
    st.integers(1, 12),
    st.integers(0, 9),
)


def events_of(rows: list[tuple[int, int, int, int]]) -> EventArray:
    events = empty_events(len(rows))
    for name, values in zip(("action", "side", "price_units", "size_lots"), zip(*rows, strict=True), strict=True):
        events[name] = values
    events["flags"] = 1
    return events


def slow_best(rows: list[tuple[int, int, int, int]]) -> list[list[int]]:
    """Two dictionaries; the documented meaning of every action and nothing else."""
    sides: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
    out = []
    for action, side, price, size in rows:
        book = sides[side]
        if action == ADD:
            book[price] = book.get(price, 0) + size
        elif action in (REDUCE, DELETE, EXECUTE) and price in book:
            book[price] -= size
        elif action == LEVEL:
            book[price] = size
        elif action == QUOTE:
            book.clear()
            book[price] = size
        elif action == CLEAR:
            sides = {BID: {}, ASK: {}}
        for levels in sides.values():
            for empty in [p for p, lots in levels.items() if lots <= 0]:
                del levels[empty]
        bid, ask = max(sides[BID], default=0), min(sides[ASK], default=0)
        out.append([bid, sides[BID].get(bid, 0), ask, sides[ASK].get(ask, 0)])
    return out


@settings(max_examples=150, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=60))
def test_best_quotes_equal_those_of_two_dictionaries_after_every_row(rows: list[tuple[int, int, int, int]]) -> None:
    assert fold_best(empty_book(16), events_of(rows)).tolist() == slow_best(rows)


@settings(max_examples=50, deadline=None)
@given(st.lists(ROW, min_size=2, max_size=40), st.data())
def test_cutting_the_stream_anywhere_changes_nothing(
    rows: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    events = events_of(rows)
    cut = data.draw(st.integers(0, len(rows)))
    whole = fold_best(empty_book(16), events)
    book = empty_book(16)
    parts = [fold_best(book, events[:cut]), fold_best(book, events[cut:])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_checkpoint_does_not_change_with_the_book_it_was_taken_of() -> None:
    book = empty_book(4)
    fold_best(book, events_of([(ADD, BID, 5, 3)]))
    kept = copy_book(book)
    fold_best(book, events_of([(ADD, BID, 5, 3), (STATUS, BID, 0, 0)]))
    assert kept.size[0, 0] == 3
    assert kept.counters[COUNT_HALTED] == 0


def test_taking_what_is_not_there_is_counted_and_a_full_side_drops_its_worst_level() -> None:
    book = empty_book(2)
    fold_best(book, events_of([(ADD, BID, 5, 3), (EXECUTE, BID, 5, 4), (DELETE, BID, 7, 1)]))
    assert book.counters[COUNT_MISSING] == 2
    best = fold_best(book, events_of([(ADD, BID, 1, 1), (ADD, BID, 2, 1), (ADD, BID, 3, 1), (ADD, BID, 1, 1)]))
    assert book.counters[COUNT_DROPPED] == 2
    assert best[-1].tolist() == [3, 1, 0, 0]


@pytest.mark.parametrize("side", [BID, ASK])
def test_a_quote_replaces_the_whole_side_and_a_quote_of_no_size_empties_it(side: int) -> None:
    rows = [(ADD, side, 5, 3), (ADD, side, 6, 3), (QUOTE, side, 4, 2), (QUOTE, side, 4, 0)]
    best = fold_best(empty_book(8), events_of(rows))
    column = 0 if side == BID else 2
    assert best[2, column : column + 2].tolist() == [4, 2]
    assert best[3, column : column + 2].tolist() == [0, 0]

"""Books of single orders: the indexes under them, rebuilding from a feed, and agreement of both depths."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata import order_messages as m
from marketdata.books import Best, Book, LevelBook, OrderBook
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    DELETE,
    EXECUTE,
    F_LAST,
    LEVEL,
    QUOTE,
    REDUCE,
    STATUS,
    TRADE,
    EventArray,
    empty_events,
)
from marketdata.order_book import LIVE, SELF_REDUCED, WORDS_LEFT, empty_order_book, grow_order_book
from marketdata.order_index import PRICE_LIMIT, WORD_DTYPE, clear_price, next_price, set_price
from marketdata.order_queries import order_at
from marketdata.sources import build_source, preset
from tests.codecs.test_shanghai import recorded as shanghai_day
from tests.marketdata.order_reference import Message, to_array
from tests.marketdata.test_matching import MESSAGES, SEQUENCES

Row = tuple[int, int, int, int, int]

PRICES = st.one_of(
    st.integers(-70, 70), st.integers(0, 10**6), st.integers(1 - PRICE_LIMIT, PRICE_LIMIT - 1), st.just(PRICE_LIMIT - 1)
)


def events_of(rows: list[Row]) -> EventArray:
    """Rows of (action, side, price, lots, order id), each a group of its own."""
    events = empty_events(len(rows))
    names = ("action", "side", "price_units", "size_lots", "order_id")
    for name, values in zip(names, zip(*rows, strict=True), strict=True) if rows else ():
        events[name] = values
    events["flags"] = F_LAST
    return events


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), PRICES), min_size=1, max_size=60), st.integers(0, 10**6))
def test_the_next_price_is_the_sorted_lists_whatever_the_distance(marks: list[tuple[int, int]], seed: int) -> None:
    words = np.zeros(2_048, WORD_DTYPE)
    marked: tuple[set[int], set[int]] = (set(), set())
    used = 0
    for side, price in marks:
        if price in marked[side]:
            used -= clear_price(words, side, price)
            marked[side].discard(price)
        else:
            used += set_price(words, side, price)
            marked[side].add(price)
        assert used == np.count_nonzero(words["bits"])
        for start in [price, *(p for _, p in marks[:3])]:
            lower = max((p for p in marked[0] if p < start), default=-PRICE_LIMIT)
            higher = min((p for p in marked[1] if p > start), default=PRICE_LIMIT)
            assert next_price(words, 0, start) == lower
            assert next_price(words, 1, start) == higher
    for side in (0, 1):
        for price in np.random.default_rng(seed).permutation(sorted(marked[side])).tolist():
            used -= clear_price(words, side, price)
    assert used == 0
    assert not words["bits"].any()


@pytest.mark.parametrize("stride", [1, 64, 1 << 20, 1 << 32, 0x9E3779B97F4A7C15 >> 3, -(1 << 40)])
def test_ids_of_any_pattern_are_found_until_they_go_and_the_book_grows_with_them(stride: int) -> None:
    """Regular ids and regular prices are what a poor hash would fold onto one place."""
    rng = np.random.default_rng(3)
    ids = ((np.arange(1, 3_001, dtype=np.int64) * np.int64(stride % 2**63 if stride > 0 else stride)) | 1).astype(
        np.int64
    )
    ids = np.unique(ids)
    book = OrderBook(max_orders=1, max_levels=1)
    rows = np.zeros(len(ids), m.MESSAGE_DTYPE)
    rows["action"], rows["order_id"], rows["side"], rows["size_lots"] = m.NEW, ids, BID, 1
    rows["price_units"] = np.arange(len(ids)) * 4_096
    responses, _ = book.process(rows)
    assert set(responses["status"].tolist()) == {m.RESTED}
    state = book.state
    assert np.count_nonzero(state.ids) == len(ids) <= len(state.ids) // 2
    gone = rng.permutation(len(ids))[: len(ids) // 2]
    cancels = rows[gone].copy()
    cancels["action"] = m.CANCEL
    assert set(book.process(cancels)[0]["status"].tolist()) == {m.CANCELLED}
    left = np.delete(np.arange(len(ids)), gone)
    assert all(book.order(int(ids[k])) == (BID, int(rows["price_units"][k]), 1) for k in left)
    assert all(book.order(int(ids[k])) is None for k in gone)
    assert book.levels(BID)[:, 0].tolist() == sorted(rows["price_units"][left].tolist(), reverse=True)


def test_an_empty_book_has_given_everything_back() -> None:
    rng = np.random.default_rng(11)
    book = OrderBook()
    before = [array.copy() for array in book.state]
    messages = np.zeros(4_000, m.MESSAGE_DTYPE)
    messages["action"] = m.NEW
    messages["order_id"] = rng.permutation(4_000) + 1
    messages["side"] = rng.choice([BID, ASK], 4_000)
    messages["price_units"] = rng.integers(-(10**12), 10**12, 4_000)
    messages["size_lots"] = rng.integers(1, 9, 4_000)
    book.process(messages)
    messages["action"] = m.CANCEL
    book.process(messages)
    for name in ("ids", "prices"):
        assert not getattr(book.state, name).any()
    assert not book.state.words["bits"].any()
    counters = book.state.counters
    kept = [k for k in range(LIVE, WORDS_LEFT + 1) if k != 6]
    assert counters[kept].tolist() == before[5][kept].tolist()
    assert book.best() == Best(0, 0, 0, 0)


def test_a_grown_book_is_the_same_book() -> None:
    state = empty_order_book(4, 4)
    book = OrderBook.of(state)
    orders = [Message(m.NEW, k, 1 if k % 2 else -1, 100 + (-k if k % 2 else k), 5 * k) for k in range(1, 5)]
    book.process(to_array(orders))
    grown = OrderBook.of(grow_order_book(state))
    assert len(grown.state.records) > len(state.records)
    np.testing.assert_array_equal(grown.levels(BID), book.levels(BID))
    np.testing.assert_array_equal(grown.levels(ASK), book.levels(ASK))
    assert [grown.order(k) for k in range(1, 5)] == [book.order(k) for k in range(1, 5)]


def feed_of(book: OrderBook, message: Message) -> list[Row]:
    """Match one message and return the rows that a venue's feed would carry for it."""
    before = book.order(message.order_id)
    response, fills = book.process(to_array([message]))
    status, lots = int(response["status"][0]), int(response["lots"][0])
    rows: list[Row] = []
    after = book.order(message.order_id)
    if m.REJECTED_PRICE <= status <= m.REJECTED_MESSAGE:
        return rows
    if message.action in (m.CANCEL, m.REDUCE):
        assert before is not None
        if after is None:
            rows.append((DELETE, before[0], before[1], before[2], message.order_id))
        else:
            rows.append((REDUCE, before[0], before[1], before[2] - after[2], message.order_id))
        return rows
    side = message.side
    if message.action == m.MODIFY:
        assert before is not None
        side = before[0]
        if before[1] == message.price and message.lots <= before[2]:
            return [(REDUCE, side, before[1], before[2] - lots, message.order_id)] if lots < before[2] else []
        rows.append((DELETE, side, before[1], before[2], message.order_id))
    for fill in fills:
        action = EXECUTE if fill["kind"] == 0 else REDUCE if fill["kind"] == SELF_REDUCED else DELETE
        rows.append(
            (action, int(fill["maker_side"]), int(fill["price_units"]), int(fill["size_lots"]), int(fill["maker_id"]))
        )
    if status == m.RESTED:
        rows.append((ADD, side, message.price, lots, message.order_id))
    return rows


@settings(max_examples=200, deadline=None)
@given(SEQUENCES)
def test_the_feed_of_the_engine_rebuilds_its_book_in_both_depths(sequence: list[Message]) -> None:
    """Levels, best quotes after every message, and every order's place in its queue."""
    engine, orders, levels = OrderBook(), OrderBook(max_orders=2, max_levels=1), LevelBook(levels=1)
    for message in sequence:
        events = events_of(feed_of(engine, message))
        np.testing.assert_array_equal(orders.apply(events), levels.apply(events))
        assert orders.best() == levels.best() == engine.best()
    for side in (BID, ASK):
        np.testing.assert_array_equal(orders.levels(side), engine.levels(side))
        np.testing.assert_array_equal(orders.levels(side)[:, :2], levels.levels(side)[:, :2])
        for price, lots, _ in orders.levels(side).tolist():
            assert orders.size_at(side, price) == levels.size_at(side, price) == lots
    for order_id in {x.order_id for x in sequence}:
        assert orders.order(order_id) == engine.order(order_id)
        assert orders.lots_ahead(order_id) == engine.lots_ahead(order_id)
    assert orders.counters == levels.counters == (0, 0, 0, False)


FEED_ROWS = st.lists(
    st.tuples(
        st.sampled_from((ADD, ADD, ADD, REDUCE, DELETE, EXECUTE, LEVEL, QUOTE, CLEAR, STATUS, TRADE)),
        st.sampled_from((BID, ASK)),
        st.integers(1, 9),
        st.integers(0, 9),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=50,
)


class SlowFeed:
    """Queues as lists of [id, lots]; the documented meaning of each action and nothing else."""

    def __init__(self) -> None:
        self.queues: dict[tuple[int, int], list[list[int]]] = {}
        self.missing = self.duplicate = 0

    def find(self, order_id: int) -> tuple[tuple[int, int], list[int]] | None:
        return next(((k, o) for k, q in self.queues.items() for o in q if order_id and o[0] == order_id), None)

    def apply(self, row: Row) -> None:
        action, side, price, lots, order_id = row
        queue = self.queues.setdefault((side, price), [])
        if action == ADD and lots <= 0:
            self.missing += 1
        elif action == ADD and self.find(order_id):
            self.duplicate += 1
        elif action == ADD and order_id == 0 and queue and queue[-1][0] == 0:
            queue[-1][1] += lots
        elif action == ADD:
            queue.append([order_id, lots])
        elif action in (REDUCE, DELETE, EXECUTE) and (found := self.find(order_id)):
            self.missing += lots > found[1][1]
            found[1][1] = 0 if action == DELETE else found[1][1] - lots
        elif action in (REDUCE, DELETE, EXECUTE):
            for order in queue:
                if order[0] == 0:
                    taken = min(lots, order[1])
                    order[1] -= taken
                    lots -= taken
            self.missing += lots > 0
        elif action == CLEAR:
            self.queues = {}
        elif action in (LEVEL, QUOTE):
            for key in list(self.queues):
                if action == QUOTE and key[0] == side:
                    del self.queues[key]
            if sum(o[1] for o in self.queues.get((side, price), [])) != lots:
                self.queues[side, price] = [[0, lots]]
        self.queues = {k: left for k, q in self.queues.items() if (left := [o for o in q if o[1] > 0])}


@settings(max_examples=300, deadline=None)
@given(FEED_ROWS)
def test_a_feed_does_what_its_rules_say_whatever_the_sequence(rows: list[Row]) -> None:
    book, slow = OrderBook(max_orders=2, max_levels=2), SlowFeed()
    for row in rows:
        best = book.apply(events_of([row]))[0].tolist()
        slow.apply(row)
        found = {}
        for side in (BID, ASK):
            for price, lots, orders in book.levels(side).tolist():
                queue = [order_at(book.state, 0 if side == BID else 1, price, k) for k in range(orders)]
                found[side, price] = (lots, queue)
        assert found == {k: (sum(o[1] for o in q), [o[0] for o in q]) for k, q in slow.queues.items()}
        bids, asks = [p for s, p in found if s == BID], [p for s, p in found if s == ASK]
        assert best[0] == max(bids, default=0)
        assert best[2] == min(asks, default=0)
        assert (book.counters.missing, book.counters.duplicate) == (slow.missing, slow.duplicate)


@settings(max_examples=60, deadline=None)
@given(FEED_ROWS, st.data())
@pytest.mark.parametrize("make", [lambda: LevelBook(levels=2), lambda: OrderBook(max_orders=2, max_levels=2)])
def test_cutting_a_feed_anywhere_changes_nothing_and_a_checkpoint_goes_on_alone(
    make: "type[LevelBook]", rows: list[Row], data: st.DataObject
) -> None:
    events = events_of(rows)
    cut = data.draw(st.integers(0, len(rows)))
    whole, parts = make(), make()
    expected = whole.apply(events)
    first = parts.apply(events[:cut])
    checkpoint: Book = parts.copy()
    np.testing.assert_array_equal(np.concatenate([first, parts.apply(events[cut:])]), expected)
    np.testing.assert_array_equal(checkpoint.apply(events[cut:]), expected[cut:])
    for book in (parts, checkpoint):
        assert book.counters == whole.counters
        for side, depth in zip((BID, ASK), book.depth(3), strict=True):
            np.testing.assert_array_equal(book.levels(side), whole.levels(side))
            np.testing.assert_array_equal(depth, whole.levels(side)[:3])


def test_a_level_book_never_drops_a_level_however_many_there_are() -> None:
    rng = np.random.default_rng(2)
    prices = rng.permutation(5_000) - 2_500
    rows = [(LEVEL, BID, int(p), 1 + int(p) % 7, 0) for p in prices]
    book = LevelBook(levels=4)
    book.apply(events_of(rows))
    assert book.levels(BID)[:, 0].tolist() == sorted(prices.tolist(), reverse=True)
    book.apply(events_of([(LEVEL, BID, int(p), 0, 0) for p in prices[:4_000]]))
    assert book.levels(BID)[:, 0].tolist() == sorted(prices[4_000:].tolist(), reverse=True)


def test_halts_and_groups_that_end_crossed_are_noticed() -> None:
    for book in (LevelBook(), OrderBook()):
        book.apply(events_of([(ADD, BID, 101, 1, 1), (ADD, ASK, 100, 1, 2), (STATUS, BID, 0, 0, 0)]))
        assert book.counters.crossed == 2
        assert book.counters.halted


@pytest.mark.realdata
@pytest.mark.parametrize("symbol", ["AMZN", "AAPL"])
def test_both_depths_agree_on_every_row_of_a_recorded_day(shared_data: Path, symbol: str) -> None:
    """LOBSTER mixes orders with ids and whole levels that enter and leave its window."""
    recorded = preset("lobster", shared_data / "market" / "lobster")
    source = build_source(recorded)
    day = date(2012, 6, 21)
    events = source.events(source.raw_ticks(day, symbol), day, symbol)
    levels, orders = LevelBook(), OrderBook()
    np.testing.assert_array_equal(orders.apply(events), levels.apply(events))
    for side in (BID, ASK):
        np.testing.assert_array_equal(orders.levels(side)[:, :2], levels.levels(side)[:, :2])
    assert orders.counters.crossed == levels.counters.crossed == 0


@pytest.mark.realdata
def test_both_depths_agree_on_every_row_of_shanghais_order_feed(shared_data: Path) -> None:
    events, _ = shanghai_day(shared_data)
    levels, orders = LevelBook(), OrderBook()
    np.testing.assert_array_equal(orders.apply(events), levels.apply(events))
    assert orders.counters == levels.counters
    assert orders.counters.missing == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(MESSAGES, max_size=20))
def test_a_rebuilt_book_can_go_on_matching(sequence: list[Message]) -> None:
    """The engine takes over where a feed ends: same state, other rules."""
    engine, rebuilt = OrderBook(), OrderBook()
    for message in sequence:
        rebuilt.apply(events_of(feed_of(engine, message)))
    last = Message(m.MARKET, lots=10**6, side=-1)
    _, fills = engine.process(to_array([last]))
    _, same = rebuilt.process(to_array([last]))
    for name in ("maker_id", "price_units", "size_lots", "maker_left"):
        np.testing.assert_array_equal(fills[name], same[name])

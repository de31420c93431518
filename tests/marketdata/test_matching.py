"""The matching engine equals its slow reference after every message, and keeps the invariants of a market."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.runtime import _nrt_python as _nrt
from numba.core.runtime import rtsys

from marketdata import matching
from marketdata import order_messages as m
from marketdata.books import OrderBook
from marketdata.events import ASK, BID
from marketdata.order_book import SELF_CANCELLED, SELF_REDUCED, TRADE, OrderBookState, copy_order_book, empty_order_book
from marketdata.order_index import PRICE_LIMIT
from marketdata.order_queries import lots_ahead, read_queue
from tests.marketdata.order_reference import Message, Reference, to_array

IDS = st.sampled_from([1, 2, 3, 4, 1, 2, 3, 4, 0, -1, 2**63 - 1, -(2**63), 2**40])
NEAR = st.integers(99, 101)
FAR = st.sampled_from([0, -5, 63, 64, 4_096, 1 << 40, -(1 << 40), PRICE_LIMIT - 1, 1 - PRICE_LIMIT])
MESSAGES = st.builds(
    Message,
    action=st.sampled_from([m.NEW, m.NEW, m.NEW, m.NEW, m.MODIFY, m.MODIFY, m.MARKET, m.CANCEL, m.REDUCE]),
    order_id=IDS,
    side=st.sampled_from([1, -1]),
    price=st.one_of(NEAR, NEAR, NEAR, NEAR, NEAR, FAR),
    lots=st.sampled_from([1, 2, 3, 4, 5, 6, 0, -1, 2**40]),
    kind=st.sampled_from([m.GTC, m.GTC, m.GTC, m.POST_ONLY, m.IOC, m.FOK]),
    owner=st.integers(0, 2),
    policy=st.integers(m.STP_NONE, m.STP_DECREMENT),
).map(lambda x: x._replace(kind=m.GTC) if x.action == m.MODIFY and x.kind in (m.IOC, m.FOK) else x)
SEQUENCES = st.lists(MESSAGES, min_size=1, max_size=50)


def resting(book: OrderBook) -> list[list[int]]:
    """Every live order of the book as [id, side, price, lots, owner], level by level, oldest first."""
    out = []
    for sign in (1, -1):
        for price, _, orders in book.levels(sign).tolist():
            queue = np.zeros((orders, 3), np.int64)
            assert read_queue(book.state, 0 if sign == 1 else 1, price, queue) == orders
            out += [[order_id, sign, price, lots, owner] for order_id, lots, owner in queue.tolist()]
    return out


def by_level(orders: list[list[int]]) -> list[list[int]]:
    """The reference's orders in the same order."""
    return sorted(orders, key=lambda o: (-o[1], -o[1] * o[2]))


def logical(state: OrderBookState) -> list[list[int]]:
    return resting(OrderBook.of(state))


@settings(max_examples=400, deadline=None)
@given(SEQUENCES)
def test_every_message_does_what_the_reference_does_whatever_the_sequence(sequence: list[Message]) -> None:
    book, reference = OrderBook(max_orders=2, max_levels=2), Reference()
    for message in sequence:
        responses, fills = book.process(to_array([message]))
        assert (int(responses["status"][0]), int(responses["lots"][0])) == reference.handle(message)
        columns = ("maker_id", "price_units", "size_lots", "maker_left", "kind")
        assert [tuple(int(fill[c]) for c in columns) for fill in fills] == reference.fills
        assert resting(book) == by_level(reference.orders)


@settings(max_examples=150, deadline=None)
@given(SEQUENCES)
def test_books_never_end_crossed_ids_live_once_queues_are_fifo_and_refusals_change_nothing(
    sequence: list[Message],
) -> None:
    book = OrderBook(max_orders=4, max_levels=4)
    arrived: dict[int, int] = {}
    for k, message in enumerate(sequence):
        before = resting(book)
        responses, fills = book.process(to_array([message]))
        after = resting(book)
        status = int(responses["status"][0])
        best = book.best()
        assert best.bid_lots == 0 or best.ask_lots == 0 or best.bid_units < best.ask_units
        assert max(Counter(o[0] for o in after).values(), default=1) == 1
        if m.REJECTED_PRICE <= status <= m.REJECTED_MESSAGE:
            assert before == after
            assert len(fills) == 0
        kept = [o[0] for o in before if o[2] == message.price and o[3] >= message.lots]
        if status == m.RESTED and (
            message.action == m.NEW or (message.action == m.MODIFY and message.order_id not in kept)
        ):
            arrived[message.order_id] = k
        for price in {o[2] for o in after}:
            times = [arrived[o[0]] for o in after if o[2] == price]
            assert times == sorted(times)


@settings(max_examples=150, deadline=None)
@given(SEQUENCES)
def test_lots_are_conserved(sequence: list[Message]) -> None:
    """What came in is what traded (twice: maker and taker), what rests, and what was cancelled by anybody."""
    book = OrderBook()
    came = traded = gone = 0
    for message in sequence:
        before = {o[0]: o[3] for o in resting(book)}
        responses, fills = book.process(to_array([message]))
        status, left = int(responses["status"][0]), int(responses["lots"][0])
        trades = int(fills["size_lots"][fills["kind"] == TRADE].sum())
        makers_lost = int(fills["size_lots"][fills["kind"] != TRADE].sum())
        taker_lost = 0
        if message.policy == m.STP_DECREMENT:
            taker_lost = makers_lost
        elif status == m.CANCELLED_SELF:
            taker_lost = left
        refused = m.REJECTED_PRICE <= status <= m.REJECTED_MESSAGE
        if not refused and message.action in (m.NEW, m.MARKET):
            came += message.lots
        elif not refused and message.action == m.MODIFY:
            came += message.lots - before[message.order_id]
        traded += 2 * trades
        gone += makers_lost + taker_lost
        if status == m.CANCELLED:
            gone += left
        elif status == m.RESTED and message.action == m.REDUCE:
            gone += before[message.order_id] - left
        assert came == traded + gone + sum(o[3] for o in resting(book))


@settings(max_examples=80, deadline=None)
@given(SEQUENCES, st.data())
def test_cutting_the_messages_anywhere_changes_nothing_and_a_checkpoint_goes_on_alone(
    sequence: list[Message], data: st.DataObject
) -> None:
    messages = to_array(sequence)
    cut = data.draw(st.integers(0, len(sequence)))
    whole, parts = OrderBook(max_orders=64, max_levels=64), OrderBook(max_orders=64, max_levels=64)
    responses, fills = whole.process(messages)
    first = parts.process(messages[:cut])
    checkpoint = parts.copy()
    second = parts.process(messages[cut:])
    np.testing.assert_array_equal(np.concatenate([first[0], second[0]]), responses)
    np.testing.assert_array_equal(np.concatenate([first[1], second[1]]), fills)
    again = checkpoint.process(messages[cut:])
    np.testing.assert_array_equal(again[1], second[1])
    for a, b, c in zip(whole.state, parts.state, checkpoint.state, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_a_long_dense_run_meets_every_outcome_and_reads_its_fills_in_parts(seed: int) -> None:
    """Few ids, prices and owners: orders meet their own, queues are long, ids come back."""
    rng = np.random.default_rng(seed)
    count = 8_000
    messages = np.zeros(count, m.MESSAGE_DTYPE)
    messages["action"] = rng.choice([m.NEW] * 6 + [m.MODIFY] * 3 + [m.MARKET, m.CANCEL, m.REDUCE], count)
    messages["order_id"] = rng.integers(0, 25, count)
    messages["price_units"] = rng.integers(-3, 4, count)
    messages["size_lots"] = rng.integers(0, 7, count)
    messages["side"] = rng.choice([BID, ASK], count)
    messages["owner"] = rng.integers(0, 3, count)
    messages["policy"] = rng.integers(0, 5, count)
    messages["kind"] = rng.choice([m.GTC, m.GTC, m.GTC, m.POST_ONLY, m.IOC, m.FOK], count)
    is_modify = messages["action"] == m.MODIFY
    messages["kind"][is_modify & (messages["kind"] != m.POST_ONLY)] = m.GTC
    book, reference = OrderBook(max_orders=3, max_levels=2), Reference()
    responses, fills = book.process(messages)
    names = ("action", "order_id", "side", "price_units", "size_lots", "kind", "owner", "policy")
    expected = []
    for k, row in enumerate(messages):
        outcome = reference.handle(Message(*(int(row[name]) for name in names)))
        assert (int(responses["status"][k]), int(responses["lots"][k])) == outcome
        expected += [(k + 1, *fill) for fill in reference.fills]
    columns = ("sequence", "maker_id", "price_units", "size_lots", "maker_left", "kind")
    assert [tuple(int(fill[c]) for c in columns) for fill in fills] == expected
    assert resting(book) == by_level(reference.orders)
    assert set(responses["status"].tolist()) == set(range(11)) - {m.REJECTED_PRICE, m.REJECTED_FULL, m.REJECTED_MESSAGE}
    assert set(fills["kind"].tolist()) == {TRADE, SELF_CANCELLED, SELF_REDUCED}
    assert int(responses["fills"].sum()) == len(fills) > 2 * len(book.state.fills)
    np.testing.assert_array_equal(book.recent_trades(100), fills[fills["kind"] == TRADE][-100:])


def random_messages(rng: np.random.Generator) -> np.ndarray:
    """One sequence of a market of its own: how many ids, prices and owners it has, and what is asked for how often."""
    count, ids, width = int(rng.integers(5, 60)), int(rng.integers(2, 30)), int(rng.integers(1, 9))
    chances = rng.dirichlet([6.0, 2.0, 1.0, 1.5, 1.0])
    messages = np.zeros(count, m.MESSAGE_DTYPE)
    messages["action"] = rng.choice([m.NEW, m.MODIFY, m.MARKET, m.CANCEL, m.REDUCE], count, p=chances)
    messages["order_id"] = rng.integers(0, ids, count)
    messages["price_units"] = rng.integers(-width, width + 1, count) << int(rng.integers(0, 40))
    messages["size_lots"] = rng.integers(0, int(rng.integers(2, 12)), count)
    messages["side"] = rng.choice([BID, ASK], count)
    messages["owner"] = rng.integers(0, int(rng.integers(1, 4)), count)
    messages["policy"] = rng.integers(m.STP_NONE, m.STP_DECREMENT + 1, count)
    messages["kind"] = rng.choice([m.GTC, m.GTC, m.GTC, m.POST_ONLY, m.IOC, m.FOK], count)
    messages["kind"][(messages["action"] == m.MODIFY) & (messages["kind"] != m.POST_ONLY)] = m.GTC
    return messages


@pytest.mark.parametrize("seed", [1, 2])
def test_five_thousand_markets_of_every_make_end_as_the_reference_says(seed: int) -> None:
    """Ten thousand sequences in all: what every message was answered, every fill, and who rests in the end."""
    rng = np.random.default_rng(seed)
    names = ("action", "order_id", "side", "price_units", "size_lots", "kind", "owner", "policy")
    columns = ("sequence", "maker_id", "price_units", "size_lots", "maker_left", "kind")
    for number in range(5_000):
        messages = random_messages(rng)
        book, reference = OrderBook(max_orders=8, max_levels=8), Reference()
        responses, fills = book.process(messages)
        answers, expected = [], []
        for k, values in enumerate(messages[list(names)].tolist()):
            answers.append(reference.handle(Message(*values)))
            expected += [(k + 1, *fill) for fill in reference.fills]
        said = f"sequence {number} of seed {seed}"
        assert list(zip(responses["status"].tolist(), responses["lots"].tolist(), strict=True)) == answers, said
        assert fills[list(columns)].tolist() == expected, said
        assert resting(book) == by_level(reference.orders), said


def test_messages_allocate_nothing_whatever_they_do() -> None:
    """A run of many messages takes as many blocks of memory as a run of few: those that pass the arrays in."""
    rng = np.random.default_rng(3)
    book = OrderBook(max_orders=4_096, max_levels=512)
    warm = np.concatenate([random_messages(rng) for _ in range(50)])
    book.process(warm)
    taken = []
    _nrt.memsys_enable_stats()
    try:
        for sequences in (1, 200):
            messages = np.concatenate([random_messages(rng) for _ in range(sequences)])
            responses = np.zeros(len(messages), m.RESPONSE_DTYPE)
            before = rtsys.get_allocation_stats()
            _, done, _ = matching.run_messages(book.state, messages, responses)
            after = rtsys.get_allocation_stats()
            assert done > 0.9 * min(len(messages), 1_000)
            taken.append((after.alloc - before.alloc, after.mi_alloc - before.mi_alloc))
    finally:
        _nrt.memsys_disable_stats()
    assert taken[0] == taken[1]


def test_self_trade_prevention_writes_what_it_took() -> None:
    book = OrderBook()
    own, other = Message(m.NEW, 1, 1, 100, 5, owner=7), Message(m.NEW, 2, 1, 100, 5, owner=8)
    book.process(to_array([own, other]))
    sell = Message(m.NEW, 3, -1, 100, 8, owner=7, policy=m.STP_CANCEL_OLDEST)
    responses, fills = book.process(to_array([sell]))
    assert fills["kind"].tolist() == [SELF_CANCELLED, TRADE]
    assert fills["size_lots"].tolist() == [5, 5]
    assert fills["taker_left"].tolist() == [8, 3]
    assert responses["lots"].tolist() == [3]
    assert book.recent_trades(5)["maker_id"].tolist() == [2]


@pytest.mark.parametrize(
    "message",
    [
        Message(99, 1, 1, 100, 1),
        Message(m.NEW, 1, 0, 100, 1),
        Message(m.NEW, 1, 1, 100, 1, kind=9),
        Message(m.NEW, 1, 1, 100, 1, policy=9),
        Message(m.MODIFY, 1, 1, 100, 1, kind=m.IOC),
    ],
)
def test_a_message_that_says_nothing_known_is_refused(message: Message) -> None:
    book = OrderBook()
    assert book.process(to_array([message]))[0]["status"].tolist() == [m.REJECTED_MESSAGE]


@pytest.mark.parametrize("price", [PRICE_LIMIT, -PRICE_LIMIT, 2**63 - 1, -(2**63)])
def test_only_what_is_no_price_is_refused_for_its_price(price: int) -> None:
    book = OrderBook()
    refused = book.process(to_array([Message(m.NEW, 1, 1, price, 1)]))[0]
    assert refused["status"].tolist() == [m.REJECTED_PRICE]


def test_one_by_one_and_in_an_array_are_the_same_rules_and_a_full_state_refuses_until_it_grows() -> None:
    state = empty_order_book(max_orders=2, max_levels=2)
    assert matching.submit_limit(state, 0, 100, 5, m.GTC) == (m.RESTED, 1, 5)
    assert matching.submit_order(state, 77, 1, 102, 5, m.GTC, 3, m.STP_NONE) == (m.RESTED, 5)
    assert matching.submit_limit(state, 0, 99, 1, m.GTC) == (m.REJECTED_FULL, 0, 1)
    assert matching.submit_limit(state, 0, 102, 2, m.IOC) == (m.DONE, 0, 0)
    assert matching.modify_order(state, 77, 102, 1) == (m.RESTED, 1)
    assert matching.reduce_order(state, 1, 2) == 2
    assert matching.submit_market(state, 1, 9) == (m.CANCELLED, 6)
    saved = copy_order_book(state)
    assert matching.cancel_order(state, 77) == 1
    assert matching.cancel_order(state, 77) == 0
    assert logical(state) == []
    assert logical(saved) == [[77, -1, 102, 1, 3]]
    assert lots_ahead(saved, 77) == 0

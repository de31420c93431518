"""The matching engine against a short, slow reference: lists of orders, sorted on every use."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.matching import (
    CANCELLED,
    DONE,
    FILLS,
    FOK,
    GTC,
    IOC,
    LIVE,
    POST_ONLY,
    REJECTED_FULL,
    REJECTED_POST_ONLY,
    REJECTED_PRICE,
    REJECTED_SIZE,
    REJECTED_UNKNOWN,
    RESTED,
    MatchingBook,
    best_ask,
    best_bid,
    cancel_order,
    copy_matching_book,
    empty_matching_book,
    is_live,
    level_lots,
    level_orders,
    lots_ahead,
    modify_order,
    order_at,
    order_state,
    reduce_order,
    submit_limit,
    submit_market,
)

LOW, SPAN = 95, 12


@dataclass
class Reference:
    """Resting orders as [id, side, price, lots] in order of arrival."""

    orders: list[list[int]] = field(default_factory=list)
    next_id: int = 1
    fills: list[tuple[int, int, int]] = field(default_factory=list)

    def matches(self, side: int, price: int | None) -> list[list[int]]:
        sign = 1 if side == 0 else -1
        found = [o for o in self.orders if o[1] != side and (price is None or sign * (o[2] - price) <= 0)]
        return sorted(found, key=lambda o: sign * o[2])

    def take(self, side: int, price: int | None, lots: int) -> int:
        for order in self.matches(side, price):
            traded = min(lots, order[3])
            if traded:
                self.fills.append((order[0], order[2], traded))
            order[3] -= traded
            lots -= traded
        self.orders = [o for o in self.orders if o[3] > 0]
        return lots

    def limit(self, side: int, price: int, lots: int, kind: int) -> tuple[int, int, int]:
        self.fills = []
        if lots <= 0:
            return REJECTED_SIZE, 0, lots
        if not LOW <= price < LOW + SPAN:
            return REJECTED_PRICE, 0, lots
        there = sum(o[3] for o in self.matches(side, price))
        if kind == POST_ONLY and there:
            return REJECTED_POST_ONLY, 0, lots
        if kind == FOK and there < lots:
            return CANCELLED, 0, lots
        left = self.take(side, price, lots)
        if left == 0:
            return DONE, 0, 0
        if kind == IOC:
            return CANCELLED, 0, left
        self.orders.append([self.next_id, side, price, left])
        self.next_id += 1
        return RESTED, self.next_id - 1, left

    def modify(self, order: list[int], price: int, lots: int) -> tuple[int, int]:
        self.fills = []
        if lots <= 0:
            return REJECTED_SIZE, order[3]
        if not LOW <= price < LOW + SPAN:
            return REJECTED_PRICE, order[3]
        if price == order[2] and lots <= order[3]:
            order[3] = lots
            return RESTED, lots
        self.orders.remove(order)
        left = self.take(order[1], price, lots)
        if left == 0:
            return DONE, 0
        self.orders.append([order[0], order[1], price, left])
        return RESTED, left


def book_fills(book: MatchingBook) -> list[tuple[int, int, int]]:
    columns = (book.fill_order, book.fill_price, book.fill_lots)
    return [tuple(int(c[k]) for c in columns) for k in range(book.counters[FILLS])]


def check_state(book: MatchingBook, reference: Reference) -> None:
    bids = [o for o in reference.orders if o[1] == 0]
    asks = [o for o in reference.orders if o[1] == 1]
    assert best_bid(book) == max((o[2] for o in bids), default=LOW - 1)
    assert best_ask(book) == min((o[2] for o in asks), default=LOW + SPAN)
    assert best_bid(book) < best_ask(book)
    assert [int(book.counters[LIVE]), int(book.counters[LIVE + 1])] == [len(bids), len(asks)]
    for side, resting in ((0, bids), (1, asks)):
        for price in range(LOW - 1, LOW + SPAN + 1):
            queue = [o for o in resting if o[2] == price]
            assert level_lots(book, side, price) == sum(o[3] for o in queue)
            assert level_orders(book, side, price) == len(queue)
            assert [order_at(book, side, price, k) for k in range(len(queue) + 1)] == [*(o[0] for o in queue), 0]
            ahead = 0
            for order in queue:
                assert order_state(book, order[0]) == (side, price, order[3])
                assert lots_ahead(book, order[0]) == ahead
                ahead += order[3]


commands = st.lists(
    st.tuples(
        st.sampled_from(["limit", "limit", "limit", "market", "cancel", "reduce", "modify"]),
        st.integers(0, 1),
        st.integers(LOW - 1, LOW + SPAN),
        st.integers(0, 7),
        st.sampled_from([GTC, GTC, GTC, IOC, POST_ONLY, FOK]),
        st.integers(0, 30),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=120, deadline=None)
@given(commands)
def test_any_sequence_of_commands_gives_what_the_reference_gives(
    sequence: list[tuple[str, int, int, int, int, int]],
) -> None:
    book, reference = empty_matching_book(LOW, SPAN, max_orders=128, max_ids=128), Reference()
    for command, side, price, lots, kind, chosen in sequence:
        order = next((o for o in reference.orders if o[0] == chosen), None)
        if command == "limit":
            assert submit_limit(book, side, price, lots, kind) == reference.limit(side, price, lots, kind)
        elif command == "market":
            reference.fills = []
            left = reference.take(side, None, lots) if lots else 0
            status = REJECTED_SIZE if lots == 0 else (DONE if left == 0 else CANCELLED)
            assert submit_market(book, side, lots) == (status, left)
        elif command == "cancel":
            assert cancel_order(book, chosen) == (order[3] if order else 0)
            reference.orders = [o for o in reference.orders if o is not order]
        elif command == "reduce":
            gone = min(lots, order[3]) if order else 0
            assert reduce_order(book, chosen, lots) == gone
            if order:
                order[3] -= gone
                reference.orders = [o for o in reference.orders if o[3] > 0]
        else:
            expected = reference.modify(order, price, lots) if order else (REJECTED_UNKNOWN, 0)
            assert modify_order(book, chosen, price, lots) == expected
        if command in ("limit", "market", "modify") and (order or command != "modify"):
            assert book_fills(book) == reference.fills
        check_state(book, reference)


def test_a_full_book_refuses_what_would_rest_and_still_trades() -> None:
    book = empty_matching_book(LOW, SPAN, max_orders=2, max_ids=100)
    assert submit_limit(book, 0, 100, 1, GTC)[0] == RESTED
    assert submit_limit(book, 1, 102, 1, GTC)[0] == RESTED
    assert submit_limit(book, 0, 99, 1, GTC) == (REJECTED_FULL, 0, 1)
    assert submit_limit(book, 0, 102, 1, IOC) == (DONE, 0, 0)
    assert submit_limit(book, 0, 99, 1, GTC)[0] == RESTED


def test_a_checkpoint_is_a_copy() -> None:
    book = empty_matching_book(LOW, SPAN)
    submit_limit(book, 0, 100, 3, GTC)
    saved = copy_matching_book(book)
    cancel_order(book, 1)
    assert not is_live(book, 1)
    assert is_live(saved, 1)
    assert lots_ahead(saved, 2) == -1

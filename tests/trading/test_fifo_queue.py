"""The exact queue: on a tape with order ids, a one-lot order fills when it would have filled in the matching engine."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from marketdata.clock import NS_PER_MS
from marketdata.events import ADD, ASK, BID, CLEAR, DELETE, EVENT_DTYPE, EXECUTE, F_LAST, F_SNAPSHOT, REDUCE, EventArray
from tests.trading.tape import LATENCY, OPEN_NS, Tape, engine, instrument, random_market, run, script
from trading.engine import FOREVER
from trading.journal import FILL, Journal
from trading.orders import POST_ONLY
from trading.state import ID_ROOM

TO_VENUE_MS = (LATENCY.decision_ns + LATENCY.order_ns) / NS_PER_MS
BID_PRICE, ASK_PRICE = 10_000, 10_005


class NamedTape(Tape):
    """A tape whose rows name orders."""

    def row(self, ms: float, action: int, side: int, price: int, lots: int, order_id: int, flags: int = F_LAST) -> None:
        ts = OPEN_NS + round(ms * NS_PER_MS)
        self.rows.append(
            (
                ts,
                ts + LATENCY.feed_ns,
                price,
                lots,
                order_id,
                len(self.rows),
                self.instrument_id,
                action,
                side,
                flags,
                0,
            )
        )


def _tape(*ahead: tuple[int, int]) -> NamedTape:
    tape = NamedTape()
    tape.row(0, ADD, ASK, ASK_PRICE, 50, 900)
    for order_id, lots in ahead:
        tape.row(0, ADD, BID, BID_PRICE, lots, order_id)
    return tape


def _fills(tape: Tape, *orders: tuple[object, ...], queue: str = "fifo") -> list[tuple[int, int]]:
    """Return (milliseconds after the open at the venue, lots) of each maker fill."""
    rows = run(engine(script(*orders), queue=queue), tape.events())[1]
    fills = rows[(rows["kind"] == FILL) & (rows["flag"] == 1)]
    return [(round((int(f["venue_ns"]) - OPEN_NS) / NS_PER_MS), int(f["size_lots"])) for f in fills]


def test_a_cancel_ahead_moves_us_forward_and_one_behind_does_not() -> None:
    def tape(cancelled: int) -> NamedTape:
        made = _tape((1, 4), (2, 3))
        made.row(50, ADD, BID, BID_PRICE, 4, 3)
        made.row(60, DELETE, BID, BID_PRICE, 4, cancelled)
        made.row(70, EXECUTE, BID, BID_PRICE, 3, 2)
        made.row(80, EXECUTE, BID, BID_PRICE, 1, 1 if cancelled == 3 else 3)
        return made

    order = (10, BID, POST_ONLY, BID_PRICE, 1)
    assert _fills(tape(cancelled=1), order) == [(80, 1)]
    assert _fills(tape(cancelled=3), order) == []
    assert _fills(tape(cancelled=1), order, queue="risk_averse") == []


def test_a_reduction_ahead_counts_for_its_lots() -> None:
    tape = _tape((1, 6))
    tape.row(50, ADD, BID, BID_PRICE, 9, 2)
    tape.row(60, REDUCE, BID, BID_PRICE, 4, 1)
    tape.row(70, EXECUTE, BID, BID_PRICE, 2, 1)
    tape.row(80, EXECUTE, BID, BID_PRICE, 3, 2)
    assert _fills(tape, (10, BID, POST_ONLY, BID_PRICE, 2)) == [(80, 2)]


def test_what_trades_behind_us_would_have_met_us_first() -> None:
    tape = _tape((1, 2))
    tape.row(50, ADD, BID, BID_PRICE, 5, 2)
    tape.row(60, EXECUTE, BID, BID_PRICE, 2, 1, flags=0)
    tape.row(60, EXECUTE, BID, BID_PRICE, 5, 2)
    assert _fills(tape, (10, BID, POST_ONLY, BID_PRICE, 3)) == [(60, 3)]


def test_orders_that_came_before_us_keep_their_place_whatever_their_id() -> None:
    tape = _tape((70, 2), (5, 2))
    tape.row(50, ADD, BID, BID_PRICE, 2, 6)
    tape.row(60, EXECUTE, BID, BID_PRICE, 2, 70)
    tape.row(61, EXECUTE, BID, BID_PRICE, 2, 5)
    tape.row(62, EXECUTE, BID, BID_PRICE, 1, 6)
    assert _fills(tape, (10, BID, POST_ONLY, BID_PRICE, 1)) == [(62, 1)]


def test_lots_that_an_earlier_own_order_took_still_stand_before_the_later_one() -> None:
    tape = _tape((1, 1))
    tape.row(50, ADD, BID, BID_PRICE, 4, 2)
    tape.row(100, ADD, BID, BID_PRICE, 9, 3)
    # The aggressor of 3 takes order 1, then our first lot, then one of order 2: the tape says two of order 2.
    tape.row(110, EXECUTE, BID, BID_PRICE, 1, 1, flags=0)
    tape.row(110, EXECUTE, BID, BID_PRICE, 2, 2)
    tape.row(120, EXECUTE, BID, BID_PRICE, 2, 2, flags=0)
    tape.row(120, EXECUTE, BID, BID_PRICE, 1, 3)
    tape.row(130, EXECUTE, BID, BID_PRICE, 1, 3)
    first, second = (10, BID, POST_ONLY, BID_PRICE, 1), (80, BID, POST_ONLY, BID_PRICE, 1)
    assert _fills(tape, first, second) == [(110, 1), (130, 1)]


def test_after_a_gap_the_rebuilt_level_stands_before_us() -> None:
    tape = _tape((1, 3))
    tape.row(50, CLEAR, 0, 0, 0, 0, flags=F_SNAPSHOT)
    tape.row(50, ADD, ASK, ASK_PRICE, 50, 900, flags=F_SNAPSHOT)
    tape.row(50, ADD, BID, BID_PRICE, 2, 7, flags=F_SNAPSHOT | F_LAST)
    tape.row(60, ADD, BID, BID_PRICE, 2, 8)
    tape.row(70, EXECUTE, BID, BID_PRICE, 2, 7)
    tape.row(80, EXECUTE, BID, BID_PRICE, 1, 8)
    assert _fills(tape, (10, BID, POST_ONLY, BID_PRICE, 1)) == [(80, 1)]


def test_the_table_of_ids_grows_and_forgets() -> None:
    tape = _tape((1, 1))
    for k in range(3 * ID_ROOM):
        tape.row(50 + k / 100, ADD, BID, BID_PRICE, 1, 1_000 + k * 64)
    for k in range(3 * ID_ROOM - 1):
        tape.row(100 + k / 100, DELETE, BID, BID_PRICE, 1, 1_000 + k * 64)
    tape.row(190, EXECUTE, BID, BID_PRICE, 1, 1)
    tape.row(200, EXECUTE, BID, BID_PRICE, 1, 1_000 + (3 * ID_ROOM - 1) * 64)
    made = engine(script((10, BID, POST_ONLY, BID_PRICE, 1)), queue="fifo")
    state, rows = made.run(made.init(), tape.events(), None, None, OPEN_NS + 195 * NS_PER_MS)
    assert not (rows["kind"] == FILL).any()
    assert state.kernel.venue.ids.shape[1] >= 4 * ID_ROOM
    assert int(state.kernel.venue.inst[0, 4]) == int((state.kernel.venue.ids[0, :, 0] != 0).sum()) == 1
    _, rest = made.run(state, None, None, None, FOREVER)
    assert [int(t) for t in rest["venue_ns"][rest["kind"] == FILL]][:1] == [OPEN_NS + 200 * NS_PER_MS]


# -- against a matching engine ---------------------------------------------------------------------------------------------
@dataclass
class SlowBook:
    """Orders as [id, side, price, lots] in order of arrival; every action returns its rows (action, side, price, lots, id)."""

    orders: list[list[int]] = field(default_factory=list)

    def take(self, side: int, limit: int, lots: int) -> tuple[int, list[tuple[int, int, int, int, int]]]:
        there = [o for o in self.orders if o[1] == -side and side * (o[2] - limit) <= 0]
        rows = []
        for order in sorted(there, key=lambda o: side * o[2]):
            traded = min(lots, order[3])
            if traded:
                rows.append((EXECUTE, -side, order[2], traded, order[0]))
            order[3] -= traded
            lots -= traded
        self.orders = [o for o in self.orders if o[3] > 0]
        return lots, rows

    def limit(self, order_id: int, side: int, price: int, lots: int) -> list[tuple[int, int, int, int, int]]:
        left, rows = self.take(side, price, lots)
        if left:
            self.orders.append([order_id, side, price, left])
            rows.append((ADD, side, price, left, order_id))
        return rows

    def cancel(self, order_id: int, lots: int) -> list[tuple[int, int, int, int, int]]:
        for order in self.orders:
            if order[0] == order_id:
                gone = min(lots, order[3])
                order[3] -= gone
                self.orders = [o for o in self.orders if o[3] > 0]
                return [(REDUCE if order[3] else DELETE, order[1], order[2], gone, order_id)]
        return []

    def best(self, side: int) -> int:
        return max((side * o[2] for o in self.orders if o[1] == side), default=0) * side


def _background(seed: int, messages: int) -> list[tuple[str, int, int, int, int]]:
    """Return messages (what, id, side, price, lots): limit orders round 10,000, market orders, whole and partial cancels."""
    rng = np.random.default_rng(seed)
    out: list[tuple[str, int, int, int, int]] = []
    for k in range(messages):
        side = 1 if rng.random() < 0.5 else -1
        kind = rng.random()
        if k < 30 or kind < 0.5:
            away = int(rng.integers(1, 4)) if k < 30 else int(rng.integers(-1, 4))
            out.append(("limit", k + 1, side, 10_000 - 5 * side * away, int(rng.integers(1, 6))))
        elif kind < 0.62:
            out.append(("market", 0, side, 10_000 + 5 * side * 40, int(rng.integers(1, 8))))
        else:
            out.append(("cancel", int(rng.integers(1, k + 1)), 0, 0, int(rng.integers(1, 9))))
    return out


OURS = 10**6


def _fill_times(seed: int, queue: str) -> tuple[int | None, int | None]:
    """Return when our order fills (ms) with it inside the matching engine, and on the tape recorded without it."""
    messages = _background(seed, 260)
    arrive = 40 + seed % 20
    tape, with_us, without = NamedTape(), SlowBook(), SlowBook()
    side = 1 if seed % 2 else -1
    price, filled_at = 0, None
    for k, (what, order_id, aggressor, limit, lots) in enumerate(messages):
        if k == arrive:
            price = without.best(side)
            with_us.limit(OURS, side, price, 1)
        made = []
        for book in (without, with_us):
            if what == "limit":
                made.append(book.limit(order_id, aggressor, limit, lots))
            elif what == "market":
                made.append(book.take(aggressor, limit, lots)[1])
            else:
                made.append(book.cancel(order_id, lots))
        if filled_at is None and any(row[4] == OURS and row[0] == EXECUTE for row in made[1]):
            filled_at = k
            break
        for j, (action, row_side, at, size, named) in enumerate(made[0]):
            tape.row(10 * k, action, row_side, at, size, named, F_LAST if j == len(made[0]) - 1 else 0)
    if filled_at is not None:
        for j, (action, row_side, at, size, named) in enumerate(made[0]):
            tape.row(10 * filled_at, action, row_side, at, size, named, F_LAST if j == len(made[0]) - 1 else 0)
    assert price != 0
    fills = _fills(tape, (10 * arrive - 5 - TO_VENUE_MS, side, POST_ONLY, price, 1), queue=queue)
    return None if filled_at is None else 10 * filled_at, fills[0][0] if fills else None


@pytest.mark.parametrize("seed", range(60))
def test_a_one_lot_order_fills_in_the_replay_at_the_message_that_fills_it_in_the_matching_engine(seed: int) -> None:
    inside, replayed = _fill_times(seed, "fifo")
    assert inside == replayed


def test_most_of_those_orders_fill_and_a_queue_by_volume_gets_some_of_them_wrong() -> None:
    times = [_fill_times(seed, "risk_averse") for seed in range(60)]
    assert sum(inside is not None for inside, _ in times) > 30
    assert any(inside != replayed for inside, replayed in times)


def test_cutting_the_stream_changes_nothing_where_queues_go_by_id() -> None:
    rng = np.random.default_rng(3)
    book, rows = SlowBook(), []
    for k, (what, order_id, side, limit, lots) in enumerate(_background(11, 400)):
        if what == "cancel":
            made = book.cancel(order_id, lots)
        else:
            made = book.limit(order_id, side, limit, lots) if what == "limit" else book.take(side, limit, lots)[1]
        for j, (action, row_side, at, size, named) in enumerate(made):
            ts = OPEN_NS + 10 * k * NS_PER_MS
            last = F_LAST if j == len(made) - 1 else 0
            rows.append((ts, ts + LATENCY.feed_ns, at, size, named, k, 0, action, row_side, last, 0))
    events: EventArray = np.array(rows, EVENT_DTYPE)
    orders = [(300 + 400 * k, 1 if k % 2 else -1, POST_ONLY, 10_000 + (-5 if k % 2 else 5), 2) for k in range(8)]
    made_engine = engine(script(*orders), queue="fifo")
    whole = run(made_engine, events)[1]
    assert (whole["kind"] == FILL).sum() > 2
    state, parts = made_engine.init(), []
    cuts = np.sort(rng.choice(np.arange(1, len(events)), 25, replace=False))
    for part in np.split(events, cuts):
        state, journal = made_engine.run(state, part, None, None, int(part["ts_recv"][-1]))
        parts.append(journal)
    parts.append(made_engine.run(state, None, None, None, FOREVER)[1])
    cut: Journal = np.concatenate(parts)
    assert cut.tobytes() == whole.tobytes()


def test_rows_without_ids_go_by_volume_as_the_pessimistic_model_does() -> None:
    from tests.trading.tape import chaos

    events = random_market(5, 300)
    two = (instrument(0), instrument(1))
    by_volume, by_id = (run(engine(chaos(4), instruments=two, queue=q), events)[1] for q in ("risk_averse", "fifo"))
    assert not events["order_id"].any()
    assert by_id.tobytes() == by_volume.tobytes()

"""The invariants find each planted fault, and say the same however the stream is cut: of a night, and of what just came."""

from collections.abc import Callable

import numpy as np
import pytest

from marketdata.book import empty_book
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    EXECUTE,
    F_CROSSED,
    F_LAST,
    F_SNAPSHOT,
    HIDDEN,
    LEVEL,
    QUOTE,
    STATUS,
    EventArray,
    empty_events,
)
from marketdata.instruments import BookKind, Instrument
from marketdata.invariants import INVARIANTS, InvariantMonitor, InvariantState, broken_rows, walk

STOCK = Instrument(symbol="A", instrument_id=0, venue="X", unit_nanos=1, price_decimals=0.01, tick_units=10)
NBBO = STOCK.model_copy(update={"book_kind": BookKind.NBBO, "instrument_id": 1})


def good_events(count: int = 60) -> EventArray:
    """A book of two levels a side from which single lots are taken and put back, a hidden execution now and then."""
    rows = [(CLEAR, 0, 0, 0)]
    rows += [(LEVEL, side, price, 50) for side, price in ((BID, 990), (BID, 1_000), (ASK, 1_010), (ASK, 1_020))]
    while len(rows) < count:
        rows += [(EXECUTE, BID, 1_000, 1), (ADD, BID, 1_000, 1), (HIDDEN, ASK, 1_005, 3)]
    events = empty_events(count)
    for name, values in zip(
        ("action", "side", "price_units", "size_lots"), zip(*rows[:count], strict=True), strict=True
    ):
        events[name] = values
    events["sequence"] = np.arange(count) // 2
    events["flags"] = np.where(np.arange(count) % 2 == 1, F_LAST, 0)
    events["ts_event"] = 1_000 + 10 * np.arange(count)
    events["ts_recv"] = events["ts_event"] + 5
    return events


def _set(name: str, row: int, value: int) -> Callable[[EventArray], None]:
    def plant(events: EventArray) -> None:
        events[name][row] = value

    return plant


def _crossed(events: EventArray) -> None:
    events["action"][31], events["side"][31], events["price_units"][31] = LEVEL, BID, 1_010


def _lost(events: EventArray) -> None:
    events["action"][31] = CLEAR


FAULTS = [
    ("event_times_do_not_go_back", _set("ts_event", 31, 0), 31),
    ("receive_times_do_not_go_back", _set("ts_recv", 31, 10_000), 32),
    ("nothing_is_received_before_it_happened", _set("ts_event", 59, 10**9), 59),
    ("event_actions_and_sides_are_known", _set("action", 31, 99), 31),
    ("event_sizes_are_not_negative", _set("size_lots", 31, -1), 31),
    ("event_groups_are_closed", _set("flags", 31, 0), 32),
    ("book_prices_are_on_the_tick", _set("price_units", 4, 1_021), 4),
    ("book_is_never_crossed", _crossed, 31),
    ("volume_is_conserved", _set("size_lots", 35, 51), 35),
    ("executions_are_at_the_best", _set("price_units", 35, 990), 35),
    ("executions_are_at_the_best", _set("price_units", 37, 1_030), 37),
    ("book_has_no_gaps", _lost, 31),
]


@pytest.mark.parametrize("size", [1, 7, 60])
def test_a_book_may_be_crossed_while_its_market_says_that_it_does_not_trade(size: int) -> None:
    events = good_events()
    _crossed(events)
    events["action"][29], events["side"][29], events["size_lots"][29] = STATUS, 0, 0
    events["action"][33], events["side"][33], events["size_lots"][33] = STATUS, 0, 1
    state = InvariantState()
    parts = [broken_rows(state, events[k : k + size], STOCK) for k in range(0, 60, size)]
    mask = np.concatenate([part.rows["book_is_never_crossed"] for part in parts])
    assert np.concatenate([part.crossed for part in parts])[31]
    assert np.flatnonzero(mask)[0] == 33  # still crossed when it trades again


def test_nothing_breaks_in_good_events() -> None:
    found = broken_rows(InvariantState(), good_events(), STOCK)
    assert tuple(found.rows) == INVARIANTS
    assert found.counts() == {}


@pytest.mark.parametrize(("name", "plant", "row"), FAULTS)
def test_a_planted_fault_is_found_at_its_row(name: str, plant: Callable[[EventArray], None], row: int) -> None:
    events = good_events()
    plant(events)
    mask = broken_rows(InvariantState(), events, STOCK).rows[name]
    assert int(np.argmax(mask)) == row
    assert mask.any()


@pytest.mark.parametrize(("name", "plant", "row"), FAULTS)
@pytest.mark.parametrize("size", [1, 7, 32])
def test_cutting_the_stream_anywhere_finds_the_same_rows(
    name: str, plant: Callable[[EventArray], None], row: int, size: int
) -> None:
    events = good_events()
    plant(events)
    whole = broken_rows(InvariantState(), events, STOCK)
    state = InvariantState()
    parts = [broken_rows(state, events[k : k + size], STOCK) for k in range(0, len(events), size)]
    for invariant in INVARIANTS:
        assert np.concatenate([part.rows[invariant] for part in parts]).tolist() == whole.rows[invariant].tolist()
    assert np.concatenate([part.crossed for part in parts]).tolist() == whole.crossed.tolist()


def test_a_consolidated_book_may_cross_if_its_groups_say_so() -> None:
    events = empty_events(3)
    events["instrument_id"], events["flags"], events["sequence"] = 1, F_LAST, [0, 1, 2]
    events["action"], events["side"] = QUOTE, [BID, ASK, BID]
    events["price_units"], events["size_lots"] = [1_000, 1_010, 1_020], 5
    events["ts_event"], events["ts_recv"] = [1, 2, 3], [1, 2, 3]
    assert broken_rows(InvariantState(), events, NBBO).counts() == {"book_is_never_crossed": 1}
    events["flags"][2] |= F_CROSSED
    assert broken_rows(InvariantState(), events, NBBO).counts() == {}


def test_a_snapshot_is_no_gap_and_neither_is_the_beginning() -> None:
    events = good_events()
    assert broken_rows(InvariantState(), events, STOCK).counts() == {}
    events["action"][30], events["flags"][30] = CLEAR, F_SNAPSHOT
    assert "book_has_no_gaps" not in broken_rows(InvariantState(), events, STOCK).counts()


def test_a_monitor_counts_over_instruments_and_batches() -> None:
    monitor = InvariantMonitor([STOCK, NBBO])
    good, bad = good_events(), good_events()
    bad["size_lots"][10] = -1
    assert monitor.take(good) == {}
    assert monitor.counts == {}
    other = InvariantMonitor([STOCK])
    assert other.take(bad[:20])["event_sizes_are_not_negative"] == 1
    assert other.take(bad[20:]) == {}
    assert other.counts["event_sizes_are_not_negative"] == 1


def test_the_walk_says_locked_and_crossed_apart() -> None:
    events = good_events(6)
    events["flags"] = F_LAST
    events["action"][5], events["side"][5], events["price_units"][5], events["size_lots"][5] = LEVEL, BID, 1_010, 1
    assert walk(empty_book(), events)[0].tolist() == [0, 0, 0, 0, 0, 1]
    events["price_units"][5] = 1_020
    assert walk(empty_book(), events)[0].tolist() == [0, 0, 0, 0, 0, 2]

"""The arbitrage monitor sees what a slow one sees, wherever the stream is cut, and knows what is stale."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.events import ASK, BID, CLEAR, EVENT_DTYPE, F_LAST, LEVEL, EventArray, merge_events
from marketdata.instruments import Fees, Instrument
from models.forecast import clean_copy
from tests.features.tape import random_tape
from trading.arbitrage import ArbitrageError, ArbitrageMonitor, copy_monitor

START = 1_700_000_000 * NS_PER_S


def _leg(k: int, *, taker_ppm: int = 100, lot: float = 0.1, decimals: float = 0.01) -> Instrument:
    return Instrument(
        symbol=f"V{k}",
        instrument_id=k,
        venue=f"v{k}",
        unit_nanos=1_000_000,
        tick_units=5,
        price_decimals=decimals,
        lot_size=lot,
        fees=Fees(taker_ppm=taker_ppm),
    )


def _rows(*rows: tuple[float, int, int, int, int, int]) -> EventArray:
    """Rows of (ms, instrument, action, side, price, lots), each a group of its own."""
    out = np.zeros(len(rows), EVENT_DTYPE)
    for k, (ms, number, action, side, price, lots) in enumerate(rows):
        at = START + round(ms * NS_PER_MS)
        out[k] = (at, at, price, lots, 0, k, number, action, side, F_LAST, 0)
    return out


def _both(ms: float, number: int, bid: int, ask: int, lots: int = 10) -> list[tuple[float, int, int, int, int, int]]:
    return [(ms, number, LEVEL, BID, bid, lots), (ms, number, LEVEL, ASK, ask, lots)]


def _watch(monitor: ArbitrageMonitor, events: EventArray, until_ms: float) -> pl.DataFrame:
    state, first = monitor.step(monitor.init(), events)
    _, last = monitor.finish(state, START + round(until_ms * NS_PER_MS))
    return monitor.opportunities([first, last])


TWO = ArbitrageMonitor((_leg(0), _leg(1)), size=0.5, stale_ns=500 * NS_PER_MS, latency_ns=20 * NS_PER_MS)
QUIET = [*_both(0, 0, 9_990, 10_000), *_both(0, 1, 9_990, 10_000)]


def test_a_spread_that_pays_after_both_fees_is_an_opportunity_while_it_lasts() -> None:
    # Bought at 100.00 + 1 bp, sold at 100.05 - 1 bp: 0.029995 a unit, 3.0 bps of 100.01; 1.0 base at either touch.
    events = _rows(*QUIET, (100, 1, LEVEL, BID, 10_005, 10), (130, 1, LEVEL, BID, 10_005, 0))
    found = _watch(TWO, events, 200)
    [row] = found.to_dicts()
    assert (row["buy"], row["sell"], row["reason"]) == ("V0", "V1", "closed")
    assert (row["end_ns"] - row["start_ns"]) / NS_PER_MS == 30
    assert row["peak_bps"] == pytest.approx(1e4 * (100.05 * 0.9999 - 100.0 * 1.0001) / (100.0 * 1.0001))
    assert row["peak_profit"] == pytest.approx(100.05 * 0.9999 - 100.0 * 1.0001)
    assert (row["peak_size"], row["buy_depth"], row["sell_depth"]) == (1.0, 1.0, 1.0)
    assert row["later_profit"] == row["first_profit"] == row["peak_profit"]
    assert (row["buy_age_ns"], row["sell_age_ns"]) == (100 * NS_PER_MS, 0)


def test_fees_depth_and_size_take_an_opportunity_away() -> None:
    events = _rows(*QUIET, (100, 1, LEVEL, BID, 10_005, 3))
    assert len(_watch(TWO, events, 200)) == 0, "0.3 shown at 100.05, the other 0.2 at 99.90: the mean does not pay"
    legs = (_leg(0, taker_ppm=300), _leg(1, taker_ppm=300))
    dear = ArbitrageMonitor(legs, size=0.2, stale_ns=500 * NS_PER_MS)
    assert len(_watch(dear, events, 200)) == 0, "six basis points of fees against five of spread"
    small = ArbitrageMonitor(TWO.legs, size=0.3, stale_ns=500 * NS_PER_MS)
    assert len(_watch(small, events, 200)) == 1
    large = ArbitrageMonitor(TWO.legs, size=2.5)
    assert len(_watch(large, _rows(*QUIET, (100, 1, LEVEL, BID, 10_050, 10)), 200)) == 0, "nobody shows so much"


def test_an_opportunity_ends_when_a_book_becomes_stale_whether_or_not_anything_arrives() -> None:
    events = _rows(*QUIET, (100, 1, LEVEL, BID, 10_005, 10))
    [row] = _watch(TWO, events, 5_000).to_dicts()
    assert row["reason"] == "stale"
    assert row["end_ns"] == START + 500 * NS_PER_MS, "the first book changed at 0 for the last time"
    late = _rows(*QUIET, (600, 1, LEVEL, BID, 10_005, 10))
    assert len(_watch(TWO, late, 5_000)) == 0, "the other book is 600 ms old when the spread opens"
    patient = ArbitrageMonitor(TWO.legs, size=0.5, stale_ns=10**15)
    [row] = _watch(patient, late, 5_000).to_dicts()
    assert (row["reason"], row["buy_age_ns"]) == ("end", 600 * NS_PER_MS)


def test_what_is_over_before_an_order_arrives_is_worth_nothing_later() -> None:
    brief = _rows(*QUIET, (100, 1, LEVEL, BID, 10_005, 10), (119, 1, LEVEL, BID, 10_005, 0))
    [row] = _watch(TWO, brief, 200).to_dicts()
    assert row["first_profit"] > 0
    assert row["later_profit"] == 0
    shrinking = _rows(
        *QUIET, (100, 1, LEVEL, BID, 10_005, 10), (110, 1, LEVEL, BID, 10_005, 5), (150, 0, LEVEL, BID, 1, 1)
    )
    [row] = _watch(TWO, shrinking, 300).to_dicts()
    assert row["later_profit"] == pytest.approx(0.5 * row["first_profit"])


def test_a_lost_book_ends_everything_until_it_is_quoted_again() -> None:
    events = _rows(*QUIET, (100, 1, LEVEL, BID, 10_005, 10), (110, 1, CLEAR, 0, 0, 0), (120, 0, LEVEL, BID, 9_985, 1))
    [row] = _watch(TWO, events, 300).to_dicts()
    assert (row["reason"], row["end_ns"]) == ("lost", START + 110 * NS_PER_MS)


def test_the_table_says_what_is_there_now() -> None:
    state, _ = TWO.step(TWO.init(), _rows(*QUIET, (100, 1, LEVEL, BID, 10_005, 10)))
    table = TWO.table(state)
    assert table.filter(pl.col("open")).select("buy", "sell", "fresh").rows() == [("V0", "V1", True)]
    back = table.filter(pl.col("buy") == "V1").row(0, named=True)
    assert back["net_bps"] < 0
    assert back["profit"] == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"legs": (_leg(0),)}, "two venues"),
        ({"legs": (_leg(0), _leg(0))}, "instrument_id"),
        ({"size": 0.0}, "size"),
        ({"stale_ns": 0}, "stale_ns"),
    ],
)
def test_a_monitor_that_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    values: dict[str, Any] = {"legs": TWO.legs, "size": 1.0}
    with pytest.raises(ArbitrageError, match=said):
        ArbitrageMonitor(**(values | changes))


# -- against a slow one -------------------------------------------------------------------------------------------------------

THREE = ArbitrageMonitor(
    (_leg(0), _leg(1, taker_ppm=-50), _leg(2, lot=0.05)),
    size=0.7,
    least_bps=2.0,
    stale_ns=300 * NS_PER_MS,
    latency_ns=40 * NS_PER_MS,
)


def _market(seed: int, groups: int = 900) -> EventArray:
    parts = []
    for k in range(3):
        parts.append(random_tape(seed * 7 + k, groups, instrument_id=k, gap_ms=40.0))
    return merge_events(parts)


def _slow(monitor: ArbitrageMonitor, events: EventArray) -> list[tuple[Any, ...]]:
    """Dictionaries, sorted levels, no state but the books: each pair is looked at anew at each event's time."""
    from marketdata.book import BookState, book_apply, empty_book

    books: list[BookState] = [empty_book(64) for _ in monitor.legs]
    seen: list[int | None] = [None] * len(books)
    running: dict[tuple[int, int], dict[str, Any]] = {}
    found: list[tuple[Any, ...]] = []

    def levels(v: int, side: int) -> list[tuple[float, float]]:
        leg, book = monitor.legs[v], books[v]
        fee = 1 + (1 if side else -1) * 1e-6 * leg.fees.taker_ppm
        rows = [(book.price[side, k], book.size[side, k]) for k in range(book.count[side])][::-1]
        return [(p * leg.price_decimals * fee, q * leg.lot_size) for p, q in rows]

    def at_size(v: int, side: int) -> float:
        left, total = monitor.size, 0.0
        for price, size in levels(v, side):
            total += min(left, size) * price
            left -= min(left, size)
        return total if left <= 1e-12 * monitor.size else float("nan")

    def most(v: int, w: int) -> float:
        asks, bids, profit = levels(v, 1), levels(w, 0), 0.0
        while asks and bids and bids[0][0] > asks[0][0]:
            taken = min(asks[0][1], bids[0][1])
            profit += taken * (bids[0][0] - asks[0][0])
            asks[0], bids[0] = (asks[0][0], asks[0][1] - taken), (bids[0][0], bids[0][1] - taken)
            asks, bids = [a for a in asks if a[1] > 1e-9], [b for b in bids if b[1] > 1e-9]
        return profit

    def end(pair: tuple[int, int], at: int, why: int) -> None:
        one = running.pop(pair)
        found.append((*pair, one["start"], at, why, one["peak"], one["profit"], one["later"]))

    def pass_time(now: int) -> None:
        for pair, one in list(running.items()):
            ages = [seen[k] for k in pair]
            until = min(a for a in ages if a is not None) + monitor.stale_ns
            if one["later"] == 0 and now >= one["start"] + monitor.latency_ns <= until and not one["asked"]:
                one["later"], one["asked"] = one["now"], True
            if now > until:
                end(pair, until, 2)

    for event in events:
        now, v = int(event["ts_recv"]), int(event["instrument_id"])
        pass_time(now)
        book_apply(
            books[v], int(event["action"]), int(event["side"]), int(event["price_units"]), int(event["size_lots"])
        )
        if event["action"] == CLEAR or books[v].counters[2]:
            seen[v] = None
        if not event["flags"] & F_LAST:
            continue
        if books[v].count[0] and books[v].count[1] and not books[v].counters[2]:
            seen[v] = now
        for w in range(len(books)):
            for pair in ((v, w), (w, v)):
                if v == w:
                    continue
                if seen[v] is None or seen[w] is None:
                    if pair in running:
                        end(pair, now, 3)
                    continue
                cost, proceeds = at_size(pair[0], 1), at_size(pair[1], 0)
                net = 1e4 * (proceeds - cost) / cost
                fresh = all(now - s <= monitor.stale_ns for s in (seen[v], seen[w]) if s is not None)
                if fresh and net >= monitor.least_bps:
                    one = running.setdefault(
                        pair, {"start": now, "peak": net, "profit": 0.0, "later": 0, "now": 0.0, "asked": False}
                    )
                    one["now"] = most(*pair)
                    one["peak"], one["profit"] = max(one["peak"], net), max(one["profit"], one["now"])
                elif pair in running:
                    end(pair, now, 1)
    return found


def test_a_slow_monitor_finds_the_same() -> None:
    events = _market(5)
    state, ended = THREE.step(THREE.init(), events)
    slow = _slow(THREE, events)
    assert len(slow) > 40
    assert {row[4] for row in slow} >= {1, 2}
    for made, (buy, sell, start, at, why, peak, profit, later) in zip(ended, slow, strict=True):
        assert (made["buy"], made["sell"], made["start_ns"], made["end_ns"], made["reason"]) == (
            buy,
            sell,
            start,
            at,
            why,
        )
        assert made["peak_bps"] == pytest.approx(peak, abs=1e-6)
        assert made["peak_profit"] == pytest.approx(profit, abs=1e-9)
        assert made["later_profit"] == pytest.approx(later, abs=1e-9)
    lasted = (ended["end_ns"] - ended["start_ns"]).sum()
    running = sum(int(state.now_ns[0] - t) for t in state.began_ns[state.began_ns > 0])
    assert state.totals[:, :, 2].sum() == lasted + running


EVENTS = _market(9, 300)


@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(0, len(EVENTS)), max_size=8))
def test_cutting_the_stream_anywhere_changes_nothing(cuts: list[int]) -> None:
    whole_state, whole = THREE.step(THREE.init(), EVENTS)
    state, parts, first = THREE.init(), [], 0
    for cut in [*sorted(cuts), len(EVENTS)]:
        state, ended = THREE.step(copy_monitor(state), EVENTS[first:cut])
        parts.append(ended)
        first = cut
    assert clean_copy(np.concatenate(parts)).tobytes() == whole.tobytes()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(state, whole_state, strict=True))


def test_disordered_events_are_refused() -> None:
    with pytest.raises(ValueError, match="order"):
        TWO.step(TWO.init(), EVENTS[::-1].copy())

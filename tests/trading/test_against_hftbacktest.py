"""Against hftbacktest: where both specify the same, every order ends the same at the same nanosecond; elsewhere, our answer.

What hftbacktest made of the simulated day is stored (``tests/golden``): the day comes from a seed, so nobody needs hftbacktest to
run the comparison. With an interpreter that has it (``FLOWSENSE_PEER_PYTHONS``) the same is asked live, recorded data included.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks.backtest_feeds import FEED_ADD, FEED_CANCEL, FEED_DTYPE, FEED_FILL
from benchmarks.order_outcomes import commands_of, compare
from benchmarks.peers import peer_python
from marketdata.clock import NS_PER_MS
from marketdata.codecs.binance import USDM, BinanceCodec
from marketdata.codecs.catalog import infer_grid
from marketdata.events import ADD, ASK, BID, EXECUTE, LEVEL, TRADE, EventArray
from marketdata.frames import RAISE
from marketdata.recordings import read_binance_raw
from marketdata.sources import build_source, preset
from tests.trading.common_domain import (
    CANCELLED,
    EXPIRED,
    FILLED,
    NEW,
    Int64,
    by_level,
    feed_of,
    normal,
    ours,
    plan,
    theirs,
)
from tests.trading.tape import OPEN_NS, Tape, quoted
from tests.trading.test_fifo_queue import NamedTape
from trading.journal import ACKNOWLEDGED, CANCEL, CANCELLED_ROW, FILL, JOURNAL_DTYPE, ORDER
from trading.orders import IOC, LIMIT

GOLDEN = Path(__file__).parents[1] / "golden" / "hftbacktest_simulated_day.npz"
EVERY_NS = 9_000 * NS_PER_MS


@lru_cache(maxsize=1)
def simulated_day() -> tuple[EventArray, int]:
    """The first session of the first simulated instrument, as levels and trades, and its tick."""
    settings = preset("simulated", None, sessions=1)
    source, item = build_source(settings), settings.instruments[0]
    session = source.sessions()[0]
    events = source.events(source.raw_ticks(session.date, item.symbol), session.date, item.symbol)
    return by_level(events, item.instrument_id), item.tick_units


@lru_cache(maxsize=1)
def simulated_commands() -> Int64:
    return plan(simulated_day()[0], every_ns=EVERY_NS, seed=18)


def inputs_sha256(commands: Int64, events: EventArray) -> str:
    """Hash commands and events field by field: what lies between the fields is nobody's."""
    digest = hashlib.sha256(commands.tobytes())
    for name in events.dtype.names or ():
        digest.update(np.ascontiguousarray(events[name]).tobytes())
    return digest.hexdigest()


def _python() -> Path:
    python = peer_python("hftbacktest")
    if python is None:
        pytest.skip("no interpreter of FLOWSENSE_PEER_PYTHONS has hftbacktest")
    return python


def _differences(mine: Int64, other: Int64) -> list[tuple[int, list[int], list[int]]]:
    """Return (order id, ours, theirs) of every order that did not end the same."""
    wrong = np.flatnonzero((normal(mine)[:, :4] != normal(other)[:, :4]).any(axis=1))
    return [(int(k) + 1, mine[k].tolist(), other[k].tolist()) for k in wrong]


def _is_enough(rows: int, outcome: Int64) -> None:
    makers = int(np.sum((outcome[:, 0] == FILLED) & (outcome[:, 3] == 1)))
    assert rows >= 100_000
    assert len(outcome) >= 2_000
    assert makers >= 300
    assert np.sum((outcome[:, 0] == FILLED) & (outcome[:, 3] == 0)) >= 100
    assert np.sum(outcome[:, 0] == CANCELLED) >= 300


def test_on_a_simulated_day_every_order_ends_as_hftbacktest_had_it() -> None:
    record = json.loads(GOLDEN.with_suffix(".json").read_text())
    assert hashlib.sha256(GOLDEN.read_bytes()).hexdigest() == record["sha256"]
    events, tick = simulated_day()
    commands = simulated_commands()
    assert inputs_sha256(commands, events) == record["inputs_sha256"]
    with np.load(GOLDEN) as archive:
        stored = archive["orders"].astype(np.int64)
    mine = ours(events, commands, tick)
    _is_enough(len(events), mine)
    assert _differences(mine, stored) == []


def test_hftbacktest_still_says_what_is_stored(tmp_path: Path) -> None:
    python = _python()
    events, tick = simulated_day()
    live = theirs(python, tmp_path, feed_of(events, tick), simulated_commands(), tick)
    with np.load(GOLDEN) as archive:
        assert np.array_equal(archive["orders"].astype(np.int64), live)


@pytest.mark.realdata
def test_on_recorded_binance_data_every_order_ends_as_in_hftbacktest(shared_data: Path, tmp_path: Path) -> None:
    python = _python()
    outcomes, rows = [], 0
    for symbol in ("BTCUSDT", "ETHUSDT"):
        path = shared_data / f"market/binance_raw_2024/usdm/{symbol.lower()}_20240808.gz"
        recording = read_binance_raw(path, "wss://recorded", BinanceCodec(USDM, {}).snapshot_url(symbol))
        item = infer_grid(USDM.venue, recording)[symbol].model_copy(update={"instrument_id": 0})
        codec = BinanceCodec(USDM, {symbol: item}, RAISE)
        events = by_level(codec.step(codec.init(), recording)[1].events, 0)
        # The local clock runs 1.27 s behind: receive times are put right by the smallest difference, plus a millisecond of way.
        late = int((events["ts_recv"] - events["ts_event"]).min())
        events["ts_recv"] = np.maximum.accumulate(events["ts_recv"] - late + NS_PER_MS)
        commands = plan(events, every_ns=145 * NS_PER_MS, seed=19)
        mine = ours(events, commands, item.tick_units)
        feed = feed_of(events, item.tick_units)
        assert _differences(mine, theirs(python, tmp_path, feed, commands, item.tick_units)) == []
        outcomes.append(mine)
        rows += len(events)
    _is_enough(rows, np.concatenate(outcomes))


# -- where it differs: what both say ------------------------------------------------------------------------------------------
def _command(ms: float, side: int, price: int, lots: int, number: int, tif: int = LIMIT) -> list[int]:
    return [OPEN_NS + round(ms * NS_PER_MS), 0, side, tif, price, lots, number]


def _both(tape: Tape, commands: list[list[int]], tmp_path: Path, **options: int) -> tuple[Int64, Int64 | None]:
    events, table = tape.events(), np.array(commands, np.int64)
    python = peer_python("hftbacktest")
    live = None if python is None else theirs(python, tmp_path, feed_of(events, 5), table, 5, **options)
    return ours(events, table, 5), live


def _filled(outcome: Int64) -> list[int]:
    return [int(row) for row in outcome[:, 0]]


def test_several_own_orders_at_a_level_stand_one_behind_the_other(tmp_path: Path) -> None:
    # Five lots ahead, three own orders of one lot, a trade of seven: two lots are left for us.
    tape = quoted(Tape(), 10_000, 10_005, 5)(100, TRADE, BID, 10_000, 7)(5_000, LEVEL, ASK, 10_005, 6)
    mine, live = _both(tape, [_command(10 + k, BID, 10_000, 1, k + 1) for k in range(3)], tmp_path)
    assert _filled(mine)[:2] == [FILLED, FILLED]
    assert _filled(mine)[2] != FILLED
    if live is not None:
        assert _filled(live) == [FILLED, FILLED, FILLED]


def test_what_one_order_took_the_next_does_not_find(tmp_path: Path) -> None:
    # Ten lots at the ask, three IOC of ten.
    tape = quoted(Tape(), 10_000, 10_005, 10)(5_000, LEVEL, BID, 10_000, 6)
    mine, live = _both(tape, [_command(10 + 20 * k, BID, 10_005, 10, k + 1, IOC) for k in range(3)], tmp_path)
    assert _filled(mine) == [FILLED, EXPIRED, EXPIRED]
    if live is not None:
        assert _filled(live) == [FILLED, FILLED, FILLED]


def test_lots_that_we_took_do_not_stand_before_us(tmp_path: Path) -> None:
    # Three lots at the bid, we sell one to it, then join it: two are ahead, a trade of three fills us.
    tape = quoted(Tape(), 10_000, 10_005, 3)(100, TRADE, BID, 10_000, 3)(5_000, LEVEL, ASK, 10_005, 6)
    commands = [_command(10, ASK, 10_000, 1, 1, IOC), _command(30, BID, 10_000, 1, 2)]
    mine, live = _both(tape, commands, tmp_path)
    assert _filled(mine) == [FILLED, FILLED]
    if live is not None:
        assert _filled(live)[1] != FILLED


def test_an_order_filled_in_part_keeps_its_place(tmp_path: Path) -> None:
    # Two lots ahead of five, eight behind: a trade of four fills two of ours, one of three the rest. hftbacktest 2.4.4 with its
    # exchange of partial fills says so too; with the one of whole fills the first trade fills all five.
    tape = quoted(Tape(), 10_000, 10_005, 2)(50, LEVEL, BID, 10_000, 10)
    tape(100, TRADE, BID, 10_000, 4, last=False)(100, LEVEL, BID, 10_000, 6)
    tape(300, TRADE, BID, 10_000, 3)(5_000, LEVEL, ASK, 10_005, 6)
    mine, live = _both(tape, [_command(10, BID, 10_000, 5, 1)], tmp_path, partial=1)
    assert _filled(mine) == [FILLED]
    assert mine[0, 1] == OPEN_NS + 300 * NS_PER_MS
    if live is not None:
        assert live[0, 1] == mine[0, 1]
        whole = _both(tape, [_command(10, BID, 10_000, 5, 1)], tmp_path)[1]
        assert whole is not None
        assert whole[0, 1] == OPEN_NS + 100 * NS_PER_MS


def _through() -> EventArray:
    """Order 1 (four lots) before us, order 2 a tick lower; an aggressor of five lots takes all of 1 and goes on to 2."""
    tape = NamedTape()
    tape.row(0, ADD, ASK, 10_005, 50, 9)
    tape.row(0, ADD, BID, 10_000, 4, 1)
    tape.row(0, ADD, BID, 9_995, 3, 2)
    tape.row(100, EXECUTE, BID, 10_000, 4, 1, flags=0)
    tape.row(100, EXECUTE, BID, 9_995, 1, 2)
    tape.row(5_000, ADD, BID, 9_990, 6, 3)
    return tape.events()


def test_whoever_trades_at_a_worse_price_has_met_our_order_before_where_queues_go_by_id_too(tmp_path: Path) -> None:
    events, commands = _through(), np.array([_command(10, BID, 10_000, 1, 1)], np.int64)
    assert ours(events, commands, 5, queue="fifo")[0].tolist() == [FILLED, OPEN_NS + 100 * NS_PER_MS, 2_000, 1]
    python = peer_python("hftbacktest")
    if python is not None:
        # An order-by-order feed also says of an order that is filled whole that it is gone.
        rows = events[[0, 1, 2, 3, 3, 4, 5]]
        feed = np.zeros(len(rows), FEED_DTYPE)
        feed["kind"] = [FEED_ADD, FEED_ADD, FEED_ADD, FEED_FILL, FEED_CANCEL, FEED_FILL, FEED_ADD]
        for name, own in (("side", "side"), ("lots", "size_lots"), ("order_id", "order_id"), ("ts_event", "ts_event")):
            feed[name] = rows[own]
        feed["ts_recv"], feed["price"] = rows["ts_recv"], rows["price_units"] // 5
        assert theirs(python, tmp_path, feed, commands, 5, l3=1)[0, 0] == NEW


def test_the_speed_table_explains_each_order_that_ends_otherwise_in_hftbacktest() -> None:
    events, at = _through(), OPEN_NS + 100 * NS_PER_MS
    rows = np.zeros(5, JOURNAL_DTYPE)
    rows["kind"], rows["sequence"] = [ORDER, CANCEL, ACKNOWLEDGED, FILL, CANCELLED_ROW], np.arange(5)
    rows["order_id"], rows["side"], rows["size_lots"], rows["price_units"] = 1, BID, 1, 10_000
    rows["venue_ns"], rows["ts_ns"], rows["flag"] = at, OPEN_NS + 10 * NS_PER_MS, 1
    filled, rested = np.array([[FILLED, at, 10_000, 1]]), np.array([[NEW, 0, 0, 0]])
    for kept, theirs_had, reason in (
        ([0, 2, 3], filled, "same"),
        ([0, 2, 3], rested, "traded_through"),
        ([0, 1, 2, 4], filled, "cancelled_early"),
        ([0, 2, 4], filled, "unexplained"),
    ):
        some = rows[kept]
        found = compare(events, some, commands_of(some, at), theirs_had)
        assert getattr(found, reason) == found.orders == 1

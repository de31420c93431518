"""Whatever a venue and a network do, the book that comes out is the venue's own or says that it is unknown."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from marketdata.feeds.backoff import Backoff
from marketdata.feeds.connection import AsyncClock, Connection
from marketdata.feeds.decoding import FrameDecoder
from marketdata.feeds.inbox import Inbox
from marketdata.feeds.metrics import FeedMetrics
from marketdata.feeds.protocol import Feed
from marketdata.feeds.websocket import WebSocketFeed
from marketdata.feeds.websocket_settings import WebSocketSettings
from marketdata.frames import Endpoint, FrameCodec, frame_batch
from marketdata.messages import EventBatch, FeedStatus, StatusKind, StreamItem
from tests.feeds.binance_like import Checker, Market, addresses, followed, spot_codec, usdm_codec
from tests.feeds.exchange_server import LIMIT_S, ExchangeServer, Fault

QUICK = WebSocketSettings(
    first_wait_s=0.01, longest_wait_s=0.05, rest_first_wait_s=0.01, rest_longest_wait_s=0.05, idle_s=0.01, proxy=None
)


def run(feed: Feed, checker: Checker, servers: Iterable[ExchangeServer], limit_s: float = LIMIT_S) -> None:
    """Consume until every book is at the venue's last update."""
    deadline = time.monotonic() + limit_s
    everyone = list(servers)
    for item in feed:
        checker.take(item)
        if checker.is_done and all(server.is_done for server in everyone):
            break
        assert time.monotonic() < deadline, f"not done: {checker.known}, the venue is at {checker.market.last}"
    feed.close()


def play(
    market: Market, faults: dict[int, Fault], *symbols: str, **options: object
) -> tuple[Checker, WebSocketFeed, ExchangeServer]:
    with ExchangeServer(market.script, market.books, faults, **options) as server:  # type: ignore[arg-type]  # by name
        feed = WebSocketFeed([spot_codec(*symbols)], settings=QUICK, addresses=addresses(server))
        checker = Checker(market, dict(enumerate(symbols)))
        followed(server, checker, feed)
        run(feed, checker, [server])
    return checker, feed, server


def test_a_clean_stream_gives_the_venues_book_at_every_update() -> None:
    market = Market(["AAAUSDT", "BBBUSDT"], 400, 1)
    checker, feed, server = play(market, {}, "AAAUSDT", "BBBUSDT")
    assert not checker.gaps()
    assert feed.metrics.gaps == feed.metrics.rejected == feed.metrics.reconnects == 0
    assert checker.trades == market.trades
    assert feed.metrics.frames >= 402
    assert feed.metrics.snapshots == server.rest_requests >= 2
    assert checker.checked.total() > 100
    assert feed.metrics.as_dict(time.time_ns())["bytes"] > 10_000


def test_every_dropped_update_is_a_gap_with_its_numbers_and_the_book_comes_back() -> None:
    market = Market(["AAAUSDT"], 500, 2)
    places = market.depth_places()
    dropped = [places[k] for k in (60, 140, 220, 300)]
    checker, feed, server = play(market, {k: Fault("drop") for k in dropped}, "AAAUSDT")
    assert server.happened["drop"] == 4
    assert feed.metrics.gaps == len(checker.gaps()) == checker.clears == 4
    assert feed.metrics.resyncs == 4
    for gap, place in zip(checker.gaps(), dropped, strict=True):
        after = places[places.index(place) + 1]
        first, found = market.script[place].depth, market.script[after].depth
        assert first is not None
        assert found is not None
        assert (gap.symbol, gap.expected, gap.found) == ("AAAUSDT", first["U"], found["U"])
    assert checker.count(StatusKind.SYNCED) == 5


def test_doubled_frames_change_nothing_and_double_no_trade() -> None:
    market = Market(["AAAUSDT"], 300, 3)
    checker, feed, _ = play(market, {k: Fault("duplicate") for k in range(20, 300, 3)}, "AAAUSDT")
    assert feed.metrics.gaps == 0
    assert checker.doubled_trades == 0
    assert checker.trades == market.trades
    assert feed.metrics.ignored["old"] > 50


def test_frames_that_come_late_are_gaps_and_their_old_news_is_not_believed() -> None:
    market = Market(["AAAUSDT"], 400, 4)
    places = market.depth_places()
    checker, feed, _ = play(market, {places[k]: Fault("late", count=3) for k in (70, 160)}, "AAAUSDT")
    assert feed.metrics.gaps == checker.clears == 2


def test_a_delayed_stream_is_told_as_stale_and_loses_nothing() -> None:
    market = Market(["AAAUSDT"], 120, 5)
    settings = WebSocketSettings(idle_s=0.01, stale_s=0.05, proxy=None)
    with ExchangeServer(market.script, market.books, hold_at=80) as server:
        feed = WebSocketFeed([spot_codec("AAAUSDT")], settings=settings, addresses=addresses(server))

        class Patient(Checker):
            def take(self, item: StreamItem) -> None:
                super().take(item)
                if isinstance(item, FeedStatus) and item.kind is StatusKind.STALE and server.position == 80:
                    server.go_on()

        checker = Patient(market, {0: "AAAUSDT"})
        followed(server, checker, feed)
        run(feed, checker, [server])
    assert feed.metrics.gaps == feed.metrics.reconnects == 0
    assert 1 <= checker.count(StatusKind.STALE) <= feed.metrics.stale, "the venue's end is a silence too"
    assert checker.trades == market.trades


def test_a_broken_connection_is_reopened_and_what_went_by_is_a_gap() -> None:
    market = Market(["AAAUSDT"], 400, 6)
    places = market.depth_places()
    faults = {places[80]: Fault("disconnect", count=4), places[180]: Fault("disconnect", count=4)}
    checker, feed, server = play(market, faults, "AAAUSDT")
    assert server.connections == 3
    assert feed.metrics.reconnects == feed.metrics.disconnects == 2
    assert feed.metrics.gaps == 2
    lost = [status for status in checker.statuses if status.kind is StatusKind.DISCONNECTED]
    assert all("without a closing frame" in status.detail for status in lost[:2])


def test_a_break_in_which_nothing_happened_is_no_gap() -> None:
    market = Market(["AAAUSDT"], 200, 7)
    with ExchangeServer(market.script, market.books, {120: Fault("disconnect", count=0)}) as server:
        feed = WebSocketFeed([spot_codec("AAAUSDT")], settings=QUICK, addresses=addresses(server))
        checker = Checker(market, {0: "AAAUSDT"})
        followed(server, checker, feed)
        run(feed, checker, [server])
    assert feed.metrics.reconnects == 1
    assert feed.metrics.gaps == 0
    assert server.rest_requests == 1


def test_a_frame_that_cannot_be_read_is_counted_and_kept_and_named() -> None:
    market = Market(["AAAUSDT"], 200, 8)
    kept: list[tuple[str, int, bytes]] = []

    class Quarantine:
        def write(self, stream: str, ts_recv: int, payload: bytes) -> None:
            kept.append((stream, ts_recv, payload))

    with ExchangeServer(market.script, market.books, {90: Fault("garbage"), 130: Fault("garbage")}) as server:
        feed = WebSocketFeed(
            [spot_codec("AAAUSDT")], settings=QUICK, addresses=addresses(server), quarantine=Quarantine()
        )
        checker = Checker(market, {0: "AAAUSDT"})
        run(feed, checker, [server])
    assert feed.metrics.rejected == checker.count(StatusKind.REJECTED) == 2
    assert [payload for *_, payload in kept] == [
        market.script[k].payload[: len(market.script[k].payload) // 2] for k in (90, 130)
    ]


def test_snapshots_that_are_refused_or_too_old_are_asked_again_until_one_helps() -> None:
    market = Market(["AAAUSDT"], 300, 9)
    options = {"rest_statuses": [503, 429], "rest_lag": [0, 12]}
    drop = market.depth_places()[100]
    checker, feed, server = play(market, {drop: Fault("drop")}, "AAAUSDT", **options)
    assert feed.metrics.snapshot_failures == checker.count(StatusKind.SNAPSHOT_FAILED) == 2
    details = [status.detail for status in checker.statuses if status.kind is StatusKind.SNAPSHOT_FAILED]
    assert "HTTP 503, the venue is overloaded" in details[0]
    assert "HTTP 429, too many requests" in details[1]
    assert feed.metrics.ignored["stale_snapshot"] >= 1
    assert server.rest_requests >= 5


@pytest.mark.parametrize("seed", range(12))
def test_any_plan_of_faults_ends_in_the_venues_book(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    symbols = ["AAAUSDT", "BBBUSDT"][: 1 + seed % 2]
    market = Market(symbols, 260, seed)
    kinds = ["drop", "duplicate", "late", "delay", "disconnect", "garbage"]
    places = rng.choice(np.arange(8, 255), size=12, replace=False)
    faults = {
        int(place): Fault(kinds[int(rng.integers(len(kinds)))], int(rng.integers(1, 5)), 0.02) for place in places
    }
    checker, feed, server = play(market, faults, *symbols, patience_s=0.1, rest_lag=[int(rng.integers(0, 3))] * 3)
    assert sum(server.happened.values()) >= 10
    assert feed.metrics.gaps == len(checker.gaps()) == checker.clears
    assert feed.metrics.resyncs <= feed.metrics.gaps
    assert feed.metrics.rejected == checker.count(StatusKind.REJECTED) == server.happened["garbage"]
    assert feed.metrics.reconnects == server.connections - 1
    assert checker.doubled_trades == 0


def test_two_venues_run_side_by_side_and_one_that_breaks_off_does_not_touch_the_other() -> None:
    spot = Market(["AAAUSDT"], 300, 21)
    futures = Market(["AAAUSDT"], 300, 22, futures=True)
    places = futures.depth_places()
    with (
        ExchangeServer(spot.script, spot.books) as one,
        ExchangeServer(futures.script, futures.books, {places[90]: Fault("disconnect", count=5)}) as two,
    ):
        codecs: list[FrameCodec] = [spot_codec("AAAUSDT"), usdm_codec("AAAUSDT", first_id=1)]
        both = {**addresses(one), **addresses(two, "binance_usdm")}
        feed = WebSocketFeed(codecs, settings=QUICK, addresses=both)
        first, second = Checker(spot, {0: "AAAUSDT"}), Checker(futures, {1: "AAAUSDT"})
        for server, checker in ((one, first), (two, second)):
            followed(server, checker, feed)
        one.connects, two.connects = lambda: one.connections, lambda: feed.metrics.connects - one.connections
        deadline = time.monotonic() + LIMIT_S
        for item in feed:
            assert time.monotonic() < deadline
            if isinstance(item, EventBatch):
                for checker in (first, second):
                    of = np.isin(item.events["instrument_id"], list(checker.names))
                    checker.take(EventBatch(item.events[of], item.watermark_ns))
            elif isinstance(item, FeedStatus):
                (second if "usdm" in item.feed or "fstream" in item.feed else first).take(item)
            if first.is_done and second.is_done:
                break
        feed.close()
    assert not first.gaps()
    assert len(second.gaps()) == feed.metrics.gaps == 1
    assert feed.metrics.reconnects == 1


def test_a_silent_connection_is_taken_for_dead_and_opened_again() -> None:
    market = Market(["AAAUSDT"], 200, 10)
    settings = WebSocketSettings(
        first_wait_s=0.01, longest_wait_s=0.02, idle_s=0.01, silence_s=0.2, stale_s=0.1, proxy=None
    )
    with ExchangeServer(market.script, market.books, hold_at=100) as server:
        feed = WebSocketFeed([spot_codec("AAAUSDT")], settings=settings, addresses=addresses(server))

        class Patient(Checker):
            def take(self, item: StreamItem) -> None:
                super().take(item)
                if isinstance(item, FeedStatus) and "taken for dead" in item.detail and server.position == 100:
                    server.go_on()

        checker = Patient(market, {0: "AAAUSDT"})
        run(feed, checker, [server])
    assert feed.metrics.reconnects >= 1
    assert any("taken for dead" in s.detail for s in checker.statuses if s.kind is StatusKind.DISCONNECTED)


def test_each_silence_is_told_when_it_is_due_also_soon_after_another() -> None:
    inbox, metrics, now = Inbox(time.time_ns), FeedMetrics(), [0.0]
    frames_at = [7.0, 30.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        while frames_at and frames_at[0] <= now[0]:
            connection._last, connection._is_stale = frames_at.pop(0), False

    clock = AsyncClock(time.time_ns, lambda: now[0], sleep)
    endpoint = Endpoint("wss://venue", silence_s=60.0)
    connection = Connection(0, endpoint, endpoint.url, inbox, metrics, clock, Backoff(0.1, 1.0), stale_s=5.0)
    told: list[float] = []
    connection._tell = lambda kind, detail: told.append(now[0])  # type: ignore[method-assign]  # when, not what
    with pytest.raises(ConnectionError, match=r"nothing received for 60\.0 s"):
        asyncio.run(connection._watch())
    assert told == pytest.approx([5.0, 12.0, 35.0], abs=0.01)
    assert now[0] == pytest.approx(90.0, abs=0.01)
    assert metrics.stale == 3


def test_a_tee_gets_every_frame_as_it_came_and_parsing_them_again_gives_the_same_events() -> None:
    market = Market(["AAAUSDT"], 200, 12)
    tape: list[tuple[str, int, bytes]] = []

    class Tee:
        def write(self, stream: str, ts_recv: int, payload: bytes) -> None:
            tape.append((stream, ts_recv, payload))

    live = []
    drop = market.depth_places()[60]
    with ExchangeServer(market.script, market.books, {drop: Fault("drop")}) as server:
        feed = WebSocketFeed([spot_codec("AAAUSDT")], settings=QUICK, addresses=addresses(server), tee=Tee())
        checker = Checker(market, {0: "AAAUSDT"})
        followed(server, checker, feed)
        for item in feed:
            checker.take(item)
            if isinstance(item, EventBatch):
                live.append(item.events)
            if checker.is_done:
                break
        feed.close()
    assert {payload for _, _, payload in tape} >= {f.payload for k, f in enumerate(market.script) if k != drop}
    decoder, again, mark = FrameDecoder(spot_codec("AAAUSDT"), FeedMetrics()), [], -(2**63)
    for stream, ts_recv, payload in tape:
        for item in decoder.step(frame_batch([(ts_recv, payload)], stream), mark):
            if isinstance(item, EventBatch):
                again.append(item.events)
                mark = item.watermark_ns
    np.testing.assert_array_equal(np.concatenate(live), np.concatenate(again))


def test_feeds_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no instrument is given for symbol 'XXX', only for AAAUSDT"):
        WebSocketFeed([spot_codec("AAAUSDT")], {"binance_spot": ["XXX"]})
    with pytest.raises(ValueError, match="one codec for each of its venues"):
        WebSocketFeed([spot_codec("AAAUSDT"), spot_codec("BBBUSDT")])
    with pytest.raises(ValueError, match="share instrument id 0"):
        WebSocketFeed([spot_codec("AAAUSDT"), usdm_codec("AAAUSDT")])
    with pytest.raises(ValueError, match="symbols of kraken"):
        WebSocketFeed([spot_codec("AAAUSDT")], {"kraken": ["XBT"]})

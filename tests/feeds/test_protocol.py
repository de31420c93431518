"""Every kind of feed keeps the same promises; sessions, receivers and addresses work over any of them."""

import gzip
import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from marketdata.clock import NS_PER_DAY, NS_PER_S, Calendar, Session, to_ns
from marketdata.events import CLEAR, F_LAST, F_SNAPSHOT, EventArray, empty_events
from marketdata.feeds import FrameReplayFeed, ReplayFeed, SocketFeed, WallClock, consume, serve_stream, stream_session
from marketdata.feeds.backoff import Backoff
from marketdata.feeds.catalog import FEEDS, FeedContext, open_feed
from marketdata.feeds.decoding import FrameDecoder
from marketdata.feeds.metrics import FeedMetrics, LagHistogram
from marketdata.feeds.protocol import Feed, FeedError, WatermarkError, WatermarkGuard
from marketdata.feeds.receiver import run_receiver
from marketdata.feeds.ring import SharedRing
from marketdata.feeds.ring_feed import RingFeed, RingWriter
from marketdata.feeds.sessions import SessionFeed
from marketdata.frames import FrameBatch, frame_batch
from marketdata.messages import EventBatch, FeedStatus, SessionEnd, SessionStart, StatusKind, StreamItem
from tests.codecs.test_fix_laws import WANTED as FIX_WANTED
from tests.codecs.test_fix_laws import session
from tests.feeds.binance_like import Market, spot_codec
from tests.feeds.ring_worker import numbered

DAY = to_ns(datetime(2026, 1, 5, tzinfo=UTC))


class ToyClock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> WallClock:
        return WallClock(lambda: self.now, self.sleep, lambda: int(self.now * NS_PER_S))


def batch(times: list[int], watermark: int) -> EventBatch:
    events = empty_events(len(times))
    events["ts_recv"] = times
    return EventBatch(events, watermark)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([batch([1], 5), batch([4], 6)], "row received at 4 after watermark 5"),
        ([batch([1], 5), batch([], 4)], "watermark 4 after 5"),
        ([batch([2, 1], 5)], "not in order"),
        ([batch([7], 5), batch([6], 8)], "not in order"),
    ],
)
def test_a_feed_that_lets_time_pass_its_watermark_is_stopped(items: list[EventBatch], words: str) -> None:
    class Lying:
        name, metrics, closed = "liar", FeedMetrics(), 0

        def __iter__(self) -> Iterator[StreamItem]:
            return iter(items)

        def close(self) -> None:
            self.closed += 1

    feed = Lying()
    with pytest.raises(WatermarkError, match=f"liar: .*{words}"):
        consume(feed, lambda _: None)
    assert feed.closed == 1


def test_one_loop_consumes_replay_stream_and_ring_alike_and_they_count_alike() -> None:
    events = numbered(0, 5_000)
    session = Session(date(2026, 1, 5), 0, 10_000)

    def rows(feed: Feed) -> EventArray:
        parts: list[EventArray] = []
        consume(feed, lambda item: parts.append(item.events) if isinstance(item, EventBatch) else None)
        assert feed.metrics.events == 5_000
        assert feed.metrics.watermark_ns >= 4_999
        return np.concatenate(parts)

    np.testing.assert_array_equal(rows(ReplayFeed(events, batch_rows=777)), events)
    with serve_stream(stream_session(session, ["A"], ReplayFeed(events))) as server:
        np.testing.assert_array_equal(rows(SocketFeed(*server.address)), events)
    with SharedRing.create(f"test-protocol-{threading.get_ident()}", 1_024) as ring:
        feed = RingFeed(ring)
        writing = threading.Thread(target=run_receiver, args=(ReplayFeed(events, batch_rows=50), RingWriter(ring)))
        writing.start()
        np.testing.assert_array_equal(rows(feed), events)
        writing.join(120)


def test_statuses_go_over_the_wire_with_everything_else() -> None:
    status = FeedStatus(0, StatusKind.GAP, 5, "venue", "A", 7, 9, "why")
    with serve_stream([batch([1], 1), status, batch([2], 2)]) as server:
        items = list(SocketFeed(*server.address))
    assert [type(item) for item in items] == [EventBatch, FeedStatus, EventBatch]
    assert str(items[1]) == "venue A: gap, expected 7, found 9 (why)"


def test_a_closed_feed_ends_even_while_it_waits() -> None:
    closing = threading.Event()

    def slow() -> Iterator[StreamItem]:
        yield batch([1], 1)
        closing.wait(120)

    with serve_stream(slow()) as server:
        feed = SocketFeed(*server.address)
        taken = []
        for item in feed:
            taken.append(item)
            threading.Timer(0.05, feed.close).start()
        closing.set()
    assert len(taken) == 1


def frames_of(market: Market, step_ns: int = NS_PER_S // 100) -> FrameBatch:
    url = spot_codec("AAAUSDT").snapshot_url("AAAUSDT")
    snapshot = frame_batch([(1, market.books["AAAUSDT"].snapshot())], url)
    rest = frame_batch([((k + 1) * step_ns, frame.payload) for k, frame in enumerate(market.script)], "live")
    return FrameBatch(
        np.concatenate([snapshot.data, rest.data]),
        np.concatenate([snapshot.starts, rest.starts[1:] + snapshot.starts[-1]]),
        np.concatenate([snapshot.ts_recv, rest.ts_recv]),
        np.concatenate([snapshot.stream, rest.stream + 1]),
        (url, "live"),
    )


def test_replayed_frames_are_the_codecs_events_at_any_pace_and_any_batch() -> None:
    market = Market(["AAAUSDT"], 300, 1)
    frames = frames_of(market)
    codec = spot_codec("AAAUSDT")
    _, direct = codec.step(codec.init(), frames)
    for speed, size in ((None, 7), (None, 10_000), (20.0, 64)):
        toy = ToyClock()
        feed = FrameReplayFeed(spot_codec("AAAUSDT"), [frames], speed, size, clock=toy.clock())
        items: list[StreamItem] = []
        consume(feed, items.append)
        got = np.concatenate([item.events for item in items if isinstance(item, EventBatch)])
        np.testing.assert_array_equal(got, direct.events)
        assert feed.metrics.frames == 301
        assert [i.kind for i in items if isinstance(i, FeedStatus)] == [StatusKind.SYNCED]
        if speed is not None:
            assert toy.now == pytest.approx(3.0 / speed, abs=0.06)
    with pytest.raises(ValueError, match="not in the order received"):
        consume(FrameReplayFeed(codec, [frames.part(5, 9), frames.part(0, 4)]), lambda _: None)


def test_a_clock_offset_moves_receive_times_and_says_so() -> None:
    frames = frames_of(Market(["AAAUSDT"], 20, 1))
    feed = FrameReplayFeed(spot_codec("AAAUSDT"), [frames], clock_offset_ns=1_270)
    items: list[StreamItem] = []
    consume(feed, items.append)
    events = np.concatenate([item.events for item in items if isinstance(item, EventBatch)])
    assert set(events["clock_quality"].tolist()) == {1}
    assert events["ts_recv"][-1] == frames.ts_recv[-1] + 1_270 == feed.metrics.watermark_ns


def day_rows(hours: list[float]) -> EventArray:
    events = empty_events(len(hours))
    events["ts_recv"] = [DAY + int(hour * 3_600) * NS_PER_S for hour in hours]
    events["action"], events["flags"] = CLEAR, F_SNAPSHOT | F_LAST
    events["sequence"] = np.arange(len(hours))
    return events


def test_a_venue_that_never_closes_is_cut_into_days_that_begin_with_their_books() -> None:
    events = day_rows([10, 20, 23.9, 24.0, 30, 47.9, 49])
    for size in (1, 2, 7):
        feed = SessionFeed(ReplayFeed(events, batch_rows=size), Calendar("24/7", "UTC"), ["A"])
        items: list[StreamItem] = []
        consume(feed, items.append)
        told = [(type(i).__name__, i.date.day) for i in items if isinstance(i, SessionStart | SessionEnd)]
        assert told == [
            ("SessionStart", 5),
            ("SessionEnd", 5),
            ("SessionStart", 6),
            ("SessionEnd", 6),
            ("SessionStart", 7),
        ]
        rows = np.concatenate([i.events for i in items if isinstance(i, EventBatch)])
        assert rows["sequence"].tolist() == [0, 1, 2, 2, 3, 4, 5, 5, 6], "each later day begins with the book as it was"
        assert rows["ts_recv"][3] == DAY + NS_PER_DAY
        assert [i.rows for i in items if isinstance(i, SessionEnd)] == [3, 4]


def test_rows_between_sessions_change_books_and_are_not_given_out() -> None:
    events = day_rows([10, 15, 20, 22, 39, 40])  # New York trades from 14:30 to 21:00 UTC
    feed = SessionFeed(ReplayFeed(events, batch_rows=2), Calendar("XNYS", "America/New_York"), ["A"])
    items: list[StreamItem] = []
    consume(feed, items.append)
    rows = np.concatenate([i.events for i in items if isinstance(i, EventBatch)])
    assert rows["sequence"].tolist() == [0, 1, 2, 3, 4, 5]
    assert rows["ts_recv"][0] == DAY + int(14.5 * 3_600) * NS_PER_S, "the book from before the open, at the open"
    assert feed.outside_rows == 2


def test_a_feed_that_brings_its_own_sessions_passes_unchanged() -> None:
    given = list(stream_session(Session(date(2026, 1, 5), DAY, DAY + 9), ["A"], ReplayFeed(day_rows([30, 31]))))
    with serve_stream(given) as server:
        items = list(SessionFeed(SocketFeed(*server.address), Calendar("24/7", "UTC"), ["B"]))
    assert [type(item) for item in items] == [type(item) for item in given]
    assert isinstance(items[0], SessionStart)
    assert items[0].symbols == ("A",)


def test_a_receiver_writes_its_counters_where_others_read_them(tmp_path: Path) -> None:
    events = numbered(0, 100)
    toy = ToyClock()
    with SharedRing.create(f"test-receiver-{threading.get_ident()}", 1_024) as ring:
        reader = RingFeed(ring)
        feed = ReplayFeed(events, batch_rows=10)
        run_receiver(feed, RingWriter(ring), metrics_file=tmp_path / "feeds" / "m.json", clock=toy.clock())
        assert sum(len(i.events) for i in reader if isinstance(i, EventBatch)) == 100
        reader.close()
    values = json.loads((tmp_path / "feeds" / "m.json").read_text())
    assert values["feed"] == "replay"
    assert values["events"] == 100
    assert [path.name for path in (tmp_path / "feeds").iterdir()] == ["m.json"]


def test_lag_quantiles_are_at_most_an_eighth_too_large_and_negative_lags_are_counted() -> None:
    histogram = LagHistogram()
    assert math.isnan(histogram.quantile_ns(0.5))
    for lag in range(1_000, 101_000, 10):
        histogram.add(lag)
    for q in (0.01, 0.5, 0.99):
        true = 1_000 + q * 100_000
        assert true * 0.999 <= histogram.quantile_ns(q) <= true * 1.13
    histogram.add(-5)
    assert histogram.negative == 1
    metrics = FeedMetrics()
    rows = day_rows([1, 2])
    rows["flags"], rows["ts_event"] = [F_LAST, F_LAST | F_SNAPSHOT], rows["ts_recv"] - 4_000
    metrics.saw_events(rows, 5)
    values = metrics.as_dict(DAY)
    assert values["lag_p50_us"] == pytest.approx(4.0, rel=0.13)
    assert metrics.lag.counts.sum() == 1, "a snapshot says nothing about lag"
    assert values["message_age_s"] is None
    assert json.dumps(values)


def test_waits_grow_to_their_limit_with_jitter_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(0.1, 5.0, rng=np.random.default_rng(3))
    waits = [backoff.failed() for _ in range(80)]
    for k, wait in enumerate(waits):
        whole = min(0.1 * 2**k, 5.0)
        assert whole / 2 <= wait <= whole
    assert len(set(waits[10:])) > 60, "clients that failed together do not come back together"
    backoff.worked()
    assert backoff.failed() <= 0.1
    with pytest.raises(ValueError, match="waits are positive and grow"):
        Backoff(2.0, 1.0)


def test_every_kind_of_feed_opens_by_its_address_or_says_what_is_missing(tmp_path: Path) -> None:
    codec = spot_codec("AAAUSDT", "BBBUSDT")
    context = FeedContext(tuple(codec.instruments.values()), tmp_path)
    assert open_feed("ws:binance_spot/AAAUSDT", context).name == "binance_spot"
    assert open_feed("stream:127.0.0.1:8765").name == "127.0.0.1:8765"
    assert open_feed("stream:unix:/run/x.sock").name == "unix:/run/x.sock"
    assert open_feed("kafka:broker:9092", context).name == "kafka://broker:9092/ticks"
    with SharedRing.create(f"test-open-{threading.get_ident()}", 64) as ring:
        opened = open_feed(f"ring:{ring.name}")
        assert opened.name == f"ring {ring.name}"
        opened.close()
    for venue, address in (("itch50", "itch:U:P@host:1"), ("fix", "fix:US:VENUE@host:2"), ("fix", "fix:host:3")):
        items = tuple(item.model_copy(update={"venue": venue}) for item in context.instruments)
        assert open_feed(address, FeedContext(items)).name.startswith("tcp://host:")
    for address, words in (
        ("smoke:signals", "no address of a feed; there are stream:HOST:PORT"),
        ("ws:", "no address of a feed"),
        ("stream:nowhere", "is no HOST:PORT"),
        ("itch:host:1", "no instrument here is of venue 'itch50'; the venues are binance_spot"),
    ):
        with pytest.raises(FeedError, match=words):
            open_feed(address, context)
    assert set(FEEDS) == {"stream", "ring", "ws", "kafka", "itch", "fix", "capture", "file"}


def test_a_captured_file_is_a_feed(tmp_path: Path) -> None:
    from marketdata.capture import CaptureWriter, capture_files

    market = Market(["AAAUSDT"], 50, 1)
    frames = frames_of(market)
    with CaptureWriter(tmp_path, "binance_spot", ["AAAUSDT"]) as writer:
        for k in range(len(frames)):
            writer.write(frames.streams[frames.stream[k]], int(frames.ts_recv[k]), frames.frame(k))
    codec = spot_codec("AAAUSDT")
    _, direct = codec.step(codec.init(), frames)
    (path,) = capture_files(tmp_path)
    feed = open_feed(f"capture:binance_spot/{path}", FeedContext(tuple(codec.instruments.values())))
    parts: list[EventArray] = []
    consume(feed, lambda item: parts.append(item.events) if isinstance(item, EventBatch) else None)
    np.testing.assert_array_equal(np.concatenate(parts), direct.events)


def events_of(feed: Feed) -> EventArray:
    parts: list[EventArray] = []
    consume(feed, lambda item: parts.append(item.events) if isinstance(item, EventBatch) else None)
    return np.concatenate(parts)


def test_the_files_of_a_recording_are_one_feed_by_the_names_of_the_root_that_took_them_in(tmp_path: Path) -> None:
    """``flowsense ingest`` calls the venue's AAAUSDT ``AAAUSDT.binance_spot``; feeds still ask the venue for AAAUSDT."""
    made = frames_of(Market(["AAAUSDT"], 80, 1))
    frames = FrameBatch(made.data, made.starts, made.ts_recv + DAY, made.stream, made.streams)
    folder = tmp_path / "binance_spot"
    folder.mkdir()
    for part in (0, 1):
        text = b"".join(b"%d %b\n" % (frames.ts_recv[k], frames.frame(k)) for k in range(50 * part, 50 + 31 * part))
        (folder / f"aaausdt_2026010{part + 5}.gz").write_bytes(gzip.compress(text))
    codec = spot_codec("AAAUSDT")
    _, direct = codec.step(codec.init(), frames)
    recorded = codec.instruments["AAAUSDT"].model_copy(update={"symbol": "AAAUSDT.binance_spot"})
    context = FeedContext((recorded,))
    np.testing.assert_array_equal(events_of(open_feed(f"file:{folder}", context)), direct.events)
    elsewhere = folder.rename(tmp_path / "elsewhere")
    np.testing.assert_array_equal(events_of(open_feed(f"file:binance_spot@{elsewhere}", context)), direct.events)
    with pytest.raises(FeedError, match="say whose with --venue"):
        open_feed(f"file:{elsewhere}", context)
    (elsewhere / "other.gz").write_bytes(gzip.compress(text))
    with pytest.raises(FeedError, match="2 streams are there, and a feed is of one: binance_spot/aaausdt"):
        open_feed(f"file:binance_spot@{elsewhere}", context)
    assert open_feed("ws:binance_spot/AAAUSDT", context).name == "binance_spot"


def test_a_root_writes_for_signs_that_no_path_holds_what_the_user_says() -> None:
    item = spot_codec("AAAUSDT").instruments["AAAUSDT"]
    names = ("BTC-USD.kraken", "ETH-USD.kraken")
    items = [item.model_copy(update={"venue": "kraken", "symbol": name}) for name in names]
    assert set(FeedContext(items).of_venue("kraken", ["BTC/USD"])) == {"BTC/USD", "ETH-USD"}
    shares = item.model_copy(update={"venue": "NASDAQ", "symbol": "AAPL.NASDAQ"})
    assert set(FeedContext([shares]).of_venue("itch50")) == {"AAPL"}


def test_a_fix_log_is_a_feed_at_any_pace(tmp_path: Path) -> None:
    path = tmp_path / "a.fix.log"
    path.write_bytes(
        b"".join(
            b"20240102-10:00:%02d.5: " % (k % 60) + message + b"\n"
            for k, message in enumerate(session(50, 1, ids=False))
        )
    )
    items = [item.model_copy(update={"venue": "FIX", "symbol": f"{symbol}.FIX"}) for symbol, item in FIX_WANTED.items()]
    straight = events_of(open_feed(f"file:{path}", FeedContext(items)))
    assert len(straight) > 50
    fast = open_feed(f"file:{path}", FeedContext(items, speed=10.0))
    assert isinstance(fast, ReplayFeed)
    toy = ToyClock()
    np.testing.assert_array_equal(events_of(replace(fast, clock=toy.clock())), straight)
    assert toy.now == pytest.approx((straight["ts_recv"][-1] - straight["ts_recv"][0]) / NS_PER_S / 10, abs=0.1)


def test_the_guard_begins_anew_with_a_session() -> None:
    guard = WatermarkGuard()
    guard.check(batch([5], 9))
    guard.check(SessionStart(0, date(2026, 1, 5), 0, 1, ()))
    guard.check(batch([1], 1))


def test_a_snapshot_that_a_hole_ends_at_once_mends_no_loss_and_the_next_one_does() -> None:
    market, codec = Market(["AAAUSDT"], 60, 1), spot_codec("AAAUSDT")
    decoder, stream = FrameDecoder(codec, FeedMetrics()), "wss://venue"
    depths = [market.script[place] for place in market.depth_places()]
    first = market.books["AAAUSDT"]
    for k, frame in enumerate(depths[:6]):
        if k != 3:
            decoder.step(frame_batch([(k, frame.payload)], stream), 0)
    snapshot = first.snapshot()
    decoder.step(frame_batch([(10, snapshot)], codec.snapshot_url("AAAUSDT")), 0)
    counts = decoder.metrics
    assert (counts.snapshots, counts.gaps, counts.resyncs) == (1, 1, 0)
    for frame in depths[:6]:
        assert frame.depth is not None
        first.apply(frame.depth)
    items = decoder.step(frame_batch([(20, first.snapshot())], codec.snapshot_url("AAAUSDT")), 0)
    assert (counts.snapshots, counts.gaps, counts.resyncs) == (2, 1, 1)
    assert [item.kind for item in items if isinstance(item, FeedStatus)] == [StatusKind.SYNCED]


@pytest.mark.parametrize("size", [1, 3, 1_000])
def test_gaps_clears_and_resyncs_agree_however_frames_are_cut_and_whenever_snapshots_come(size: int) -> None:
    for seed in range(25):
        rng = np.random.default_rng(seed)
        market, codec = Market(["AAAUSDT", "BBBUSDT"], 120, seed), spot_codec("AAAUSDT", "BBBUSDT")
        decoder, books = FrameDecoder(codec, FeedMetrics()), market.books
        frames: list[tuple[bytes, str]] = []
        for frame in market.script:
            if rng.uniform() < 0.9:
                frames.append((frame.payload, "wss://venue"))
            if frame.depth is not None:
                books[frame.depth["s"]].apply(frame.depth)
            if rng.uniform() < 0.1:
                symbol = ["AAAUSDT", "BBBUSDT"][int(rng.integers(2))]
                frames.insert(
                    len(frames) - int(rng.integers(0, 4)), (books[symbol].snapshot(), codec.snapshot_url(symbol))
                )
        told = clears = snapshots = mended = 0
        known, ever = set[int](), set[int]()
        for at in range(0, len(frames), size):
            part = frame_batch([(at, payload) for payload, _ in frames[at : at + size]], "wss://venue")
            urls = tuple(dict.fromkeys(stream for _, stream in frames))
            index = np.array([urls.index(stream) for _, stream in frames[at : at + size]], np.int16)
            batch_of = FrameBatch(part.data, part.starts, part.ts_recv, index, urls)
            for item in decoder.step(batch_of, 0):
                told += isinstance(item, FeedStatus) and item.kind is StatusKind.GAP
                if isinstance(item, EventBatch):
                    for row in item.events:
                        number, flags = int(row["instrument_id"]), int(row["flags"])
                        if row["action"] == CLEAR and not flags & F_SNAPSHOT:
                            clears += 1
                            known.discard(number)
                        elif flags & (F_SNAPSHOT | F_LAST) == F_SNAPSHOT | F_LAST:
                            snapshots += 1
                            mended += number in ever - known
                            known.add(number)
                            ever.add(number)
        counts = decoder.metrics
        assert told == clears == counts.gaps > 0
        assert (counts.snapshots, counts.resyncs) == (snapshots, mended)

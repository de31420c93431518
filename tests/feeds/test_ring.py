"""The ring loses, doubles, swaps and tears no row between two processes, and says what it does when it is full or alone."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from marketdata.events import ASK, BID, CLEAR, F_LAST, F_SNAPSHOT, LEVEL, EventArray, empty_events
from marketdata.feeds import ring_kernels as at
from marketdata.feeds.books import BookKeeper
from marketdata.feeds.protocol import WatermarkGuard
from marketdata.feeds.ring import PREFIX, RingError, SharedRing
from marketdata.feeds.ring_feed import RingFeed, RingWriter
from marketdata.messages import EventBatch, FeedStatus, SessionEnd, SessionStart, StatusKind, StreamItem
from tests.feeds.ring_worker import numbered

WORKER = Path(__file__).with_name("ring_worker.py")
ROOT = WORKER.parents[2]
STARTED: "list[subprocess.Popen[str]]" = []


def start(*arguments: object) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(WORKER), *(str(part) for part in arguments)]
    worker = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    STARTED.append(worker)
    return worker


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """End what a test started, and close what it was heard by."""
    yield
    while STARTED:
        worker = STARTED.pop()
        worker.kill()
        worker.communicate(timeout=120)


@pytest.fixture
def name() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def ring(name: str) -> Iterator[SharedRing]:
    with SharedRing.create(name, 256) as made:
        yield made


def drained(ring: SharedRing, **options: object) -> list[StreamItem]:
    return list(RingFeed(ring, **options))  # type: ignore[arg-type]  # options of the feed


def rows_of(items: list[StreamItem]) -> EventArray:
    parts = [item.events for item in items if isinstance(item, EventBatch)]
    return np.concatenate(parts) if parts else empty_events(0)


def test_millions_of_rows_cross_from_one_process_to_another_each_once_whole_and_in_order(name: str) -> None:
    total = 2_000_000
    with SharedRing.create(name, 8_192) as ring:
        worker = start("produce", name, total, 7)
        feed = RingFeed(ring, copy=False, wait_for_producer_s=120.0)
        guard, seen, batches = WatermarkGuard(), 0, 0
        for item in feed:
            guard.check(item)
            if isinstance(item, EventBatch) and len(item.events):
                assert item.events.tobytes() == numbered(seen, len(item.events)).tobytes(), f"from row {seen} on"
                seen += len(item.events)
                batches += 1
        assert worker.wait(120) == 0
        feed.close()
    assert seen == total
    assert batches > total // 8_192, "the ring went round many times"
    assert feed.metrics.events == total


def test_controls_and_rows_keep_their_order_around_the_ring_many_times(ring: SharedRing) -> None:
    writer = RingWriter(ring)
    put: list[StreamItem] = []
    got: list[StreamItem] = []
    reader = threading.Thread(target=lambda: got.extend(RingFeed(ring)))
    reader.start()
    done, rng = 0, np.random.default_rng(3)
    for k in range(300):
        size = int(rng.integers(0, 90))
        put.append(EventBatch(numbered(done, size), max(done + size - 1, 0)))
        done += size
        if k % 7 == 0:
            put.append(FeedStatus(0, StatusKind.STALE, done, "here", "X", detail="a" * int(rng.integers(0, 400))))
        if k % 50 == 0:
            put += [SessionStart(0, date(2026, 1, 5), 0, 9, ("A", "BÉ")), SessionEnd(0, date(2026, 1, 5), done)]
    for item in put:
        writer.put(item)
    writer.close()
    reader.join(120)
    assert not reader.is_alive()

    def folded(items: list[StreamItem]) -> list[object]:
        out: list[object] = []
        for item in items:
            if not isinstance(item, EventBatch):
                if not (isinstance(item, FeedStatus) and item.kind is StatusKind.CONNECTED):
                    out.append(item)
            elif len(item.events):
                out += item.events["sequence"].tolist()
        return out

    assert folded(got) == folded(put)


def test_a_full_ring_makes_the_receiver_wait_under_block_and_nothing_is_lost(ring: SharedRing) -> None:
    feed = RingFeed(ring)
    writer = RingWriter(ring)
    done = threading.Event()

    def write() -> None:
        writer.put(EventBatch(numbered(0, 1_000), 999))
        writer.close()
        done.set()

    threading.Thread(target=write, daemon=True).start()
    assert not done.wait(0.2), "256 rows fit, the rest waits"
    items = list(feed)
    assert done.wait(120)
    np.testing.assert_array_equal(rows_of(items), numbered(0, 1_000))


def test_a_full_ring_whose_engine_is_gone_is_an_error_under_block(ring: SharedRing) -> None:
    writer = RingWriter(ring, silence_s=0.1)
    with pytest.raises(RingError, match="is full and its engine is gone"):
        writer.put(EventBatch(numbered(0, 1_000), 999))
    writer.close()


def test_a_full_ring_is_an_error_at_once_under_fail(ring: SharedRing) -> None:
    writer = RingWriter(ring, "fail")
    writer.put(EventBatch(numbered(0, 256), 255))
    with pytest.raises(RingError, match="is full: 256 rows wait"):
        writer.put(EventBatch(numbered(256, 1), 256))
    writer.close()


def changes(rng: np.random.Generator, first: int, count: int) -> EventArray:
    """Level changes of two instruments, bids below 50 and asks above."""
    rows = empty_events(count)
    rows["sequence"] = rows["ts_recv"] = np.arange(first, first + count)
    rows["action"], rows["flags"] = LEVEL, F_LAST
    rows["instrument_id"] = rng.integers(0, 2, count)
    rows["side"] = rng.choice([BID, ASK], count)
    rows["price_units"] = 50 - rows["side"] * rng.integers(1, 12, count)
    rows["size_lots"] = rng.integers(0, 9, count)
    return rows


def test_a_slow_engine_under_drop_is_told_and_its_books_are_right_again(ring: SharedRing) -> None:
    rng = np.random.default_rng(11)
    writer, feed = RingWriter(ring, "drop"), RingFeed(ring)
    ours, theirs, guard = BookKeeper(), BookKeeper(), WatermarkGuard()
    items = iter(feed)
    overruns, known = [], 0
    opening = ours.snapshots([0, 1], 0)
    opening["flags"] |= F_SNAPSHOT
    writer.put(EventBatch(opening, 0))
    ours.apply(opening)
    done = 1
    for k in range(400):
        size = int(rng.integers(1, 60))
        batch = EventBatch(changes(rng, done, size), done + size - 1)
        done += size
        ours.apply(batch.events)
        writer.put(batch)
        slow = (k // 40) % 2 == 0
        while not slow and ring.word(at.HEAD_AT) != ring.word(at.TAIL_AT):
            item = next(items)
            guard.check(item)
            if isinstance(item, FeedStatus) and item.kind is StatusKind.OVERRUN:
                overruns.append(item)
            if isinstance(item, EventBatch):
                theirs.apply(item.events)
                tail = item.events[-1:] if len(item.events) else empty_events(0)
                if len(tail) and int(tail["sequence"][0]) == done - 1 and not writer._lost:
                    known += 1
                    assert_same_books(ours, theirs)
    assert len(overruns) >= 4, "it was slow five times"
    assert known > 100
    assert writer.metrics.overruns == len(overruns)
    assert sum(item.found for item in overruns) == writer.metrics.dropped_rows > 1_000
    assert feed.metrics.dropped_rows == writer.metrics.dropped_rows
    writer.close()
    for item in items:
        guard.check(item)
        if isinstance(item, EventBatch):
            theirs.apply(item.events)
    assert_same_books(ours, theirs)
    feed.close()


def assert_same_books(ours: BookKeeper, theirs: BookKeeper) -> None:
    for instrument, book in ours.books.items():
        for side in (0, 1):
            assert theirs.books[instrument].levels(side) == book.levels(side)


def test_an_order_book_that_lost_rows_is_cleared_and_the_venue_is_asked(ring: SharedRing) -> None:
    asked: list[set[int]] = []
    writer = RingWriter(ring, "drop", on_lost=asked.append)
    rows = numbered(0, 300)
    rows["action"], rows["instrument_id"] = 1, 5
    writer.put(EventBatch(rows, 299))
    feed = RingFeed(ring)
    items = iter(feed)
    while ring.word(at.HEAD_AT) != ring.word(at.TAIL_AT):
        next(items)
    writer.put(EventBatch(rows[:0], 300))
    assert asked == [{5}]
    writer.close()
    last = rows_of(list(items))[-1]
    assert (last["action"], last["flags"], last["instrument_id"]) == (CLEAR, F_LAST, 5)
    feed.close()


def test_a_producer_that_is_killed_is_noticed_and_a_new_one_may_follow(name: str) -> None:
    with SharedRing.create(name, 256) as ring:
        worker = start("stall", name)
        feed = RingFeed(ring)
        items = iter(feed)
        seen: list[StreamItem] = []

        def until(kind: StatusKind) -> FeedStatus:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                item = next(items)
                seen.append(item)
                if isinstance(item, FeedStatus) and item.kind is kind:
                    return item
            raise AssertionError(f"no {kind} came")

        until(StatusKind.CONNECTED)
        with pytest.raises(RingError, match="already has a producer"):
            RingWriter(ring)
        assert worker.stdout is not None
        worker.stdout.readline()
        worker.send_signal(signal.SIGKILL)
        worker.wait(120)
        assert "has ended without closing" in until(StatusKind.DISCONNECTED).detail
        again = RingWriter(ring)
        again.put(EventBatch(numbered(10, 5), 14))
        again.close()
        seen += list(items)
        assert rows_of(seen)["sequence"].tolist() == list(range(15))
        assert feed.metrics.reconnects == 1
        feed.close()


def test_a_producer_that_hangs_is_noticed_and_so_is_its_return(name: str) -> None:
    with SharedRing.create(name, 256) as ring:
        worker = start("stall", name)
        items = iter(RingFeed(ring, silence_s=0.3))
        kinds: list[StatusKind] = []
        deadline = time.monotonic() + 120
        for item in items:
            if isinstance(item, FeedStatus):
                kinds.append(item.kind)
                if kinds == [StatusKind.CONNECTED]:
                    worker.send_signal(signal.SIGSTOP)
                elif len(kinds) == 2:
                    assert "silent" in item.detail
                    worker.send_signal(signal.SIGCONT)
                else:
                    break
            assert time.monotonic() < deadline
        worker.kill()
        worker.wait(120)
    assert kinds == [StatusKind.CONNECTED, StatusKind.DISCONNECTED, StatusKind.CONNECTED]


def test_a_ring_without_a_producer_is_an_error_after_the_declared_wait(ring: SharedRing) -> None:
    with pytest.raises(RingError, match=r"there is no producer yet, and none came within 0\.2 s"):
        drained(ring, wait_for_producer_s=0.2)


def test_the_memory_of_a_killed_maker_is_removed_and_its_name_is_free_again(name: str) -> None:
    maker = start("own", name)
    assert maker.stdout is not None
    maker.stdout.readline()
    path = Path("/dev/shm") / (PREFIX + name)
    with pytest.raises(RingError, match=f"belongs to process {maker.pid}, which still runs"):
        SharedRing.create(name, 64)
    with SharedRing.attach(name):
        pass
    assert path.exists(), "whoever only joined does not remove it"
    maker.kill()
    maker.wait(120)
    deadline = time.monotonic() + 120
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with SharedRing.create(name, 64):
        assert path.exists()
    assert not path.exists()


def test_a_stale_ring_that_nobody_removed_is_replaced(name: str) -> None:
    left = SharedRing.create(name, 64)
    left.set(at.OWNER_START_AT, 1)  # as if an earlier process had had our pid
    with SharedRing.create(name, 128) as fresh:
        assert fresh.capacity == 128
    left.is_owner = False
    left.close()


def test_rings_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(RingError, match="no power of two"):
        SharedRing.create(name, 100)
    with pytest.raises(RingError, match=f"there is no ring {name}"):
        SharedRing.attach(name)
    with SharedRing.create(name, 64) as ring:
        ring.set(at.LAYOUT_AT, 1)
        with pytest.raises(RingError, match="another version"):
            SharedRing.attach(name)
        with pytest.raises(RingError, match="does not fit"):
            ring.push_control(b"x" * 4_000)


def test_views_of_the_ring_are_the_ring_itself_and_batches_by_default_are_not(ring: SharedRing) -> None:
    writer = RingWriter(ring)
    writer.put(EventBatch(numbered(0, 10), 9))
    for copy in (False, True):
        items = iter(RingFeed(ring, copy=copy))
        item = next(item for item in items if isinstance(item, EventBatch))
        assert np.shares_memory(item.events, ring.rows) is not copy
        writer.put(EventBatch(numbered(10, 10), 19))
    writer.close()

"""The two ends of a ring: what the receiver's process puts in, and the feed that the engine's process reads.

What happens when the ring is full is the writer's ``policy``:

``block``  the receiver waits for the engine; nothing is lost, and a venue's socket fills up behind it. An engine that is gone
           is an error, not a wait.
``drop``   what does not fit is dropped and counted. Once half the ring is free again the engine gets a status OVERRUN and,
           for every instrument that lost rows, a new book from the receiver's own (CLEAR and snapshot). Where rows carry
           order ids, or the book is not known, it is a CLEAR alone, and ``on_lost`` is called so that the venue is asked.
           Lost trades stay lost, and are counted.
``fail``   a full ring is an error at once.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from marketdata.events import EventArray
from marketdata.feeds import ring_kernels as at
from marketdata.feeds.books import BookKeeper
from marketdata.feeds.metrics import FeedMetrics
from marketdata.feeds.protocol import IDLE_S, WallClock
from marketdata.feeds.ring import CLOSED, OPEN, RingError, SharedRing, is_alive, process_start_ns
from marketdata.messages import EventBatch, FeedStatus, ProtocolError, SessionEnd, SessionStart, StatusKind, StreamItem
from marketdata.messages import decode as decode_message
from marketdata.messages import encode as encode_message

LOG: Final = logging.getLogger(__name__)
Policy = Literal["block", "drop", "fail"]
LENGTH_BYTES: Final = 4
BEAT_S: Final = 0.1
"""A living side says so this often."""


class _Beat:
    """A thread that says that its process lives; a stopped process (SIGSTOP, swap) says nothing."""

    def __init__(self, ring: SharedRing, place: int) -> None:
        self._ring, self._place = ring, place
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ring-beat", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_S):
            self._ring.set(self._place, time.monotonic_ns())

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@dataclass
class RingWriter:
    """The producing side: takes stream items.

    Attributes
    ----------
    ring : SharedRing
        One writer a ring at a time; a new one may follow one whose process has died.
    policy : ``block``, ``drop`` or ``fail``
        See the module.
    silence_s : float
        ``block``: an engine that has not said anything for so long is gone.
    on_lost : callable, optional
        ``drop``: called with the instruments whose book the receiver cannot give anew.
    metrics : FeedMetrics
        Rows dropped and overruns are counted here: give the feed's own.
    """

    ring: SharedRing
    policy: Policy = "block"
    silence_s: float = 5.0
    on_lost: Callable[[set[int]], None] | None = None
    metrics: FeedMetrics = field(default_factory=FeedMetrics)
    clock: WallClock = field(default_factory=WallClock)
    _keeper: BookKeeper = field(default_factory=BookKeeper, init=False, repr=False)
    _lost: set[int] = field(default_factory=set, init=False)
    _lost_rows: int = field(default=0, init=False)
    _last_ns: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        ring = self.ring
        if ring.word(at.STATE_AT) == OPEN and is_alive(ring, at.PRODUCER_PID_AT, at.PRODUCER_START_AT):
            raise RingError(f"ring {ring.name} already has a producer, process {ring.word(at.PRODUCER_PID_AT)}")
        ring.set(at.PRODUCER_START_AT, process_start_ns(os.getpid()))
        ring.set(at.PRODUCER_PID_AT, os.getpid())
        ring.set(at.PRODUCER_BEAT_AT, time.monotonic_ns())
        ring.set(at.EPOCH_AT, ring.word(at.EPOCH_AT) + 1)
        ring.set(at.STATE_AT, OPEN)
        self._beat = _Beat(ring, at.PRODUCER_BEAT_AT)

    def put(self, item: StreamItem) -> None:
        """Put an item in.

        Raises
        ------
        RingError
            If the ring is full under ``fail``, or the engine is gone under ``block``.
        """
        if self._lost:
            self._make_good()
        if not isinstance(item, EventBatch):
            self._put_control(item)
            return
        pushed = 0 if self._lost else self.ring.push(item.events)
        if pushed:
            self._last_ns = int(item.events["ts_recv"][-1])
        if pushed < len(item.events):
            self._put_rest(item.events, pushed)
        if self.policy == "drop":
            self._keeper.apply(item.events)
        if item.watermark_ns > self.ring.word(at.WATERMARK_AT):
            self.ring.set(at.WATERMARK_AT, item.watermark_ns)

    def close(self) -> None:
        """Say that nothing more will come; the ring stays until its maker closes it."""
        if self.ring.is_closed:
            return
        if self._lost:
            self._make_good()
        self._beat.stop()
        self.ring.set(at.STATE_AT, CLOSED)

    def _put_rest(self, events: EventArray, pushed: int) -> None:
        if self.policy == "fail":
            raise RingError(f"ring {self.ring.name} is full: {self.ring.capacity} rows wait for the engine")
        if self.policy == "block":
            waiting = self._waiting()
            while pushed < len(events):
                next(waiting)
                pushed += self.ring.push(events[pushed:])
            return
        rest = events[pushed:]
        if not self._lost:
            self.metrics.overruns += 1
            self.ring.set(at.OVERRUNS_AT, self.ring.word(at.OVERRUNS_AT) + 1)
        self._lost.update(np.unique(rest["instrument_id"]).tolist())
        self._lost_rows += len(rest)
        self.metrics.dropped_rows += len(rest)
        self.ring.set(at.DROPPED_AT, self.ring.word(at.DROPPED_AT) + len(rest))

    def _make_good(self) -> None:
        """Give the engine new books of what lost rows, once there is room for them and more."""
        now_ns = max(self.ring.word(at.WATERMARK_AT), self._last_ns)
        rows = self._keeper.snapshots(sorted(self._lost), now_ns)
        if len(rows) + 64 > self.ring.capacity:
            raise RingError(
                f"ring {self.ring.name}: books of {len(rows)} rows do not fit into {self.ring.capacity}; make it larger"
            )
        if self.ring.room() < max(len(rows) + 64, self.ring.capacity // 2):
            return
        names = ", ".join(str(k) for k in sorted(self._lost))
        detail = f"{self._lost_rows} rows dropped, books made anew: instruments {names}"
        status = FeedStatus(
            0, StatusKind.OVERRUN, self.clock.wall_ns(), f"ring {self.ring.name}", found=self._lost_rows, detail=detail
        )
        if not self.ring.push_control(encode_message(status)[LENGTH_BYTES:]):
            return
        self.ring.push(rows, whole=True)
        unknown = {k for k in self._lost if not self._keeper.books[k].is_known or self._keeper.books[k].has_orders}
        self._lost.clear()
        self._lost_rows = 0
        if unknown and self.on_lost is not None:
            self.on_lost(unknown)

    def _put_control(self, item: SessionStart | SessionEnd | FeedStatus) -> None:
        payload = encode_message(item)[LENGTH_BYTES:]
        if self.ring.push_control(payload):
            return
        if self.policy == "fail":
            raise RingError(f"ring {self.ring.name} is full: {self.ring.capacity} rows wait for the engine")
        waiting = self._waiting()  # sessions and statuses are few and never dropped
        while not self.ring.push_control(payload):
            next(waiting)

    def _waiting(self) -> Iterator[None]:
        """Wait a little longer each time; raise when nobody is there to make room."""
        pause, since = 20e-6, self.clock.monotonic()
        while True:
            self.clock.sleep(pause)
            pause = min(pause * 2, 1e-3)
            yield
            if self.clock.monotonic() - since < self.silence_s:
                continue
            since = self.clock.monotonic()
            beat_age_s = (time.monotonic_ns() - self.ring.word(at.CONSUMER_BEAT_AT)) / 1e9
            if beat_age_s > self.silence_s or not is_alive(self.ring, at.CONSUMER_PID_AT, at.CONSUMER_START_AT):
                raise RingError(f"ring {self.ring.name} is full and its engine is gone; start it, then this receiver")


@dataclass
class RingFeed:
    """The engine's side: a feed that reads the ring.

    Attributes
    ----------
    ring : SharedRing
        Closed with the feed.
    batch_rows : int
        Rows of a batch at most.
    copy : bool
        Batches own their rows (default). False: they are views of the ring, void when the next item is asked for: for loops that
        keep none.
    spins : int
        Looks at an empty ring (about 1 ns each) before the first sleep: on a core of its own, millions; 0 on a busy machine.
    poll_s, idle_poll_s : float
        First sleep of an empty ring, and the longest that it grows to.
    silence_s : float
        A producer that has not said anything for so long, or whose process has ended, is gone.
    wait_for_producer_s : float, optional
        How long a ring without a producer is watched for a new one; None: for ever.
    """

    ring: SharedRing
    batch_rows: int = 4_096
    copy: bool = True
    spins: int = 2_000
    poll_s: float = 50e-6
    idle_poll_s: float = 1e-3
    silence_s: float = 2.0
    wait_for_producer_s: float | None = None
    clock: WallClock = field(default_factory=WallClock)
    metrics: FeedMetrics = field(default_factory=FeedMetrics)
    _closed: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _iterating: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        ring = self.ring
        if ring.word(at.CONSUMER_PID_AT) != os.getpid() and is_alive(ring, at.CONSUMER_PID_AT, at.CONSUMER_START_AT):
            raise RingError(f"ring {ring.name} already has a reader, process {ring.word(at.CONSUMER_PID_AT)}")
        ring.set(at.CONSUMER_START_AT, process_start_ns(os.getpid()))
        ring.set(at.CONSUMER_PID_AT, os.getpid())
        ring.set(at.CONSUMER_BEAT_AT, time.monotonic_ns())
        self._beat = _Beat(ring, at.CONSUMER_BEAT_AT)

    @property
    def name(self) -> str:
        """Name of the ring."""
        return f"ring {self.ring.name}"

    def close(self) -> None:
        """End the iteration and let go of the ring."""
        self._closed.set()
        self._beat.stop()
        with self._iterating:
            if not self.ring.is_closed:
                self.ring.set(at.CONSUMER_PID_AT, 0)
                self.ring.close()

    def __iter__(self) -> Iterator[StreamItem]:
        """Give items until the producer closes its side.

        Raises
        ------
        RingError
            If no producer comes within ``wait_for_producer_s``.
        """
        ring, pause, idle_since = self.ring, self.poll_s, self.clock.monotonic()
        epoch, mark, gone_since = 0, -(2**63), None  # type: int, int, float | None
        while not self._closed.is_set():
            with self._iterating:
                if self._closed.is_set():
                    return
                current = ring.word(at.EPOCH_AT)
                promised = ring.word(at.WATERMARK_AT)  # before the rows: it was set after them
                run = ring.next(self.batch_rows, self.spins)
                item, mark = self._item(run.events, run.control, promised, mark, ring)
                if run.rows and (self.copy or run.control is not None):
                    ring.release(run.rows)
            if current != epoch:
                epoch, gone_since = current, None
                self.metrics.connects += 1
                self.metrics.reconnects += epoch > 1
                yield self._status(StatusKind.CONNECTED, f"producer is process {ring.word(at.PRODUCER_PID_AT)}")
            if item is not None:
                yield item
                if run.rows and not self.copy and run.control is None:
                    ring.release(run.rows)
                pause, idle_since = self.poll_s, self.clock.monotonic()
                continue
            state = ring.word(at.STATE_AT)
            if state == CLOSED:
                if at.ring_waiting(ring.words) or ring.word(at.WATERMARK_AT) > mark:
                    continue
                return
            now = self.clock.monotonic()
            if now - idle_since < IDLE_S:
                self.clock.sleep(pause)
                pause = min(pause * 2, self.idle_poll_s)
                continue
            idle_since = now
            reason = self._is_gone() if state == OPEN else "there is no producer yet"
            if reason and gone_since is None:
                gone_since = now
                if state == OPEN:
                    self.metrics.disconnects += 1
                    yield self._status(StatusKind.DISCONNECTED, reason)
            elif not reason:
                if gone_since is not None:
                    yield self._status(StatusKind.CONNECTED, "the producer is back")
                gone_since = None
            patience = self.wait_for_producer_s
            if gone_since is not None and patience is not None and now - gone_since >= patience:
                raise RingError(f"{self.name}: {reason}, and none came within {patience:g} s")
            yield EventBatch(ring.rows[:0].copy(), mark)

    def _item(
        self, events: EventArray, control: bytes | None, promised: int, mark: int, ring: SharedRing
    ) -> tuple[StreamItem | None, int]:
        """Return the item in a run, None where there is nothing new, and the watermark from there on."""
        if control is not None:
            message = decode_message(control)
            if not isinstance(message, SessionStart | SessionEnd | FeedStatus):
                raise ProtocolError(f"{self.name}: unexpected {type(message).__name__}")
            if isinstance(message, FeedStatus) and message.kind is StatusKind.OVERRUN:
                self.metrics.overruns += 1
                self.metrics.dropped_rows += message.found
            return message, mark
        if not len(events):
            if promised <= mark:
                return None, mark
            return EventBatch(events.copy(), promised), promised
        last = int(events["ts_recv"][-1])
        mark = max(mark, last)
        self.metrics.saw_frames(1, events.nbytes, last)
        self.metrics.saw_events(events, mark)
        return EventBatch(events.copy() if self.copy else events, mark), mark

    def _is_gone(self) -> str:
        ring = self.ring
        pid = ring.word(at.PRODUCER_PID_AT)
        if not is_alive(ring, at.PRODUCER_PID_AT, at.PRODUCER_START_AT):
            return f"the producer, process {pid}, has ended without closing"
        age_s = (time.monotonic_ns() - ring.word(at.PRODUCER_BEAT_AT)) / 1e9
        return f"the producer, process {pid}, has been silent for {age_s:.1f} s" if age_s > self.silence_s else ""

    def _status(self, kind: StatusKind, detail: str) -> FeedStatus:
        return FeedStatus(0, kind, self.clock.wall_ns(), self.name, detail=detail)

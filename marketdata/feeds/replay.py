"""Recorded or simulated events as a stream: as fast as possible, or at a multiple of their own pace."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from marketdata.clock import NS_PER_S, Session
from marketdata.events import EventArray, empty_events
from marketdata.feeds.decoding import FrameDecoder, FrameSink
from marketdata.feeds.metrics import FeedMetrics
from marketdata.feeds.protocol import WallClock
from marketdata.frames import FrameBatch, FrameCodec
from marketdata.messages import EventBatch, SessionEnd, SessionStart, StreamItem


@dataclass(frozen=True)
class ReplayFeed:
    """Events of any number of instruments, merged by ``ts_recv``, in batches.

    Attributes
    ----------
    events : event array
        In order of ``ts_recv`` (``marketdata.events.merge_events``).
    speed : float, optional
        Multiple of the events' own pace (20: a minute takes three seconds); None: as fast as they are taken.
    batch_rows : int
        Rows of a batch at most.
    start_ns : int, optional
        Receive time at which the pace begins; default: that of the first event.
    tick_s : float
        Longest wait of a paced replay between batches. When nothing arrives, a batch without rows carries the
        watermark on.
    """

    events: EventArray
    speed: float | None = None
    batch_rows: int = 4_096
    start_ns: int | None = None
    tick_s: float = 0.05
    clock: WallClock = field(default_factory=WallClock)
    name: str = "replay"
    metrics: FeedMetrics = field(default_factory=FeedMetrics, compare=False)
    closed: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.speed is not None and not self.speed > 0:
            raise ValueError(f"speed {self.speed} is not positive")
        if self.batch_rows < 1:
            raise ValueError(f"batch_rows {self.batch_rows} is below 1")
        if np.any(np.diff(self.events["ts_recv"]) < 0):
            raise ValueError("events are not in order of ts_recv; merge_events makes them so")

    def __iter__(self) -> Iterator[EventBatch]:
        """Give all batches in order."""
        for batch in self._unpaced() if self.speed is None else self._paced(self.speed):
            if self.closed.is_set():
                return
            self.metrics.saw_events(*batch)
            yield batch

    def close(self) -> None:
        """End the iteration before its next batch."""
        self.closed.set()

    def _unpaced(self) -> Iterator[EventBatch]:
        for start in range(0, len(self.events), self.batch_rows):
            rows = self.events[start : start + self.batch_rows]
            yield EventBatch(rows, int(rows["ts_recv"][-1]))

    def _paced(self, speed: float) -> Iterator[EventBatch]:
        times = np.ascontiguousarray(self.events["ts_recv"])
        if not len(times):
            return
        first = int(times[0]) if self.start_ns is None else self.start_ns
        began = self.clock.monotonic()
        position = 0
        while position < len(times):
            now_ns = first + int((self.clock.monotonic() - began) * speed * NS_PER_S)
            due = int(np.searchsorted(times, now_ns, side="right"))
            if due <= position:
                yield EventBatch(self.events[position:position], min(now_ns, int(times[position])))
                wait = (int(times[position]) - now_ns) / NS_PER_S / speed
                self.clock.sleep(min(max(wait, 0.001), self.tick_s))
                continue
            end = min(due, position + self.batch_rows)
            rows = self.events[position:end]
            yield EventBatch(rows, int(rows["ts_recv"][-1]))
            position = end


def stream_session(session: Session, symbols: Sequence[str], feed: Iterable[EventBatch]) -> Iterator[StreamItem]:
    """Give a session's feed as stream items: its start, its batches, its end."""
    yield SessionStart(0, session.date, session.open_ns, session.close_ns, tuple(symbols))
    rows = 0
    for batch in feed:
        rows += len(batch.events)
        yield batch
    yield SessionEnd(0, session.date, rows)


@dataclass(frozen=True)
class FrameReplayFeed:
    """Recorded frames through their codec, as fast as possible or at a multiple of their own pace: a live feed again.

    The same decoder as live feeds: gaps, rejected frames and books that become known are told as statuses. A codec that wants a
    snapshot gets those that the recording holds.

    Attributes
    ----------
    codec : FrameCodec
    frames : iterable of FrameBatch
        In the order received, as ``marketdata.capture.iter_frames`` and ``marketdata.recordings`` give them.
    speed : float, optional
        Multiple of the frames' own pace; None: as fast as they are taken.
    batch_frames : int
        Frames decoded at a time at most.
    clock_offset_ns : int
        Added to receive times (R4).
    """

    codec: FrameCodec
    frames: Iterable[FrameBatch]
    speed: float | None = None
    batch_frames: int = 4_096
    tick_s: float = 0.05
    clock_offset_ns: int = 0
    quarantine: FrameSink | None = None
    clock: WallClock = field(default_factory=WallClock)
    name: str = "frame replay"
    metrics: FeedMetrics = field(default_factory=FeedMetrics, compare=False)
    closed: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.speed is not None and not self.speed > 0:
            raise ValueError(f"speed {self.speed} is not positive")

    def close(self) -> None:
        """End the iteration before its next batch."""
        self.closed.set()

    def __iter__(self) -> Iterator[StreamItem]:
        """Give the items of all frames in order.

        Raises
        ------
        ValueError
            If a receive time lies before the one of the frame before it.
        marketdata.frames.FrameError
            If a frame cannot be read and the codec's policy is to raise.
        """
        decoder = FrameDecoder(
            self.codec, self.metrics, clock_offset_ns=self.clock_offset_ns, quarantine=self.quarantine
        )
        began, first_ns, last_ns, mark_ns = self.clock.monotonic(), None, -(2**63), -(2**63)
        for batch in self.frames:
            if not len(batch):
                continue
            times = batch.ts_recv
            if times[0] < last_ns or np.any(times[1:] < times[:-1]):
                raise ValueError(f"{self.name}: frames are not in the order received")
            last_ns = int(times[-1])
            first_ns = int(times[0]) if first_ns is None else first_ns
            at = 0
            while at < len(batch):
                end = min(at + self.batch_frames, len(batch))
                if self.speed is not None:
                    now_ns = first_ns + int((self.clock.monotonic() - began) * self.speed * NS_PER_S)
                    end = min(end, int(np.searchsorted(times, now_ns, side="right")))
                    if end <= at:
                        mark_ns = max(mark_ns, min(now_ns, int(times[at])) + self.clock_offset_ns)
                        yield EventBatch(empty_events(0), mark_ns)
                        wait = (int(times[at]) - now_ns) / NS_PER_S / self.speed
                        self.clock.sleep(min(max(wait, 0.001), self.tick_s))
                        continue
                for item in decoder.step(batch.part(at, end), mark_ns):
                    if self.closed.is_set():
                        return
                    if isinstance(item, EventBatch):
                        mark_ns = item.watermark_ns
                    yield item
                at = end

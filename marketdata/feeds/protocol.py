"""What every feed is, whatever its events come from, and the one loop that consumes any of them.

A feed gives :data:`marketdata.messages.StreamItem`: the start and end of sessions, batches of events with a watermark, and
statuses (connected, gap, synced, stale, …). A gap is always told twice: in the events as a CLEAR, so that a book that only
folds events is right, and as a status, so that people and metrics see it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from marketdata.feeds.metrics import FeedMetrics
from marketdata.messages import EventBatch, SessionStart, StreamItem


class FeedError(ConnectionError):
    """A feed cannot go on; the message names its address, the reason and what to do."""


class WatermarkError(FeedError):
    """A feed gave a row from before a watermark that it had already promised."""


@dataclass(frozen=True)
class WallClock:
    """The clocks that a feed lives by; a test gives its own."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    wall_ns: Callable[[], int] = time.time_ns


class Feed(Protocol):
    """A source of stream items.

    Iterating yields until the source ends or :meth:`close` is called; ``close`` may come from another thread. Within a
    session rows are in order of ``ts_recv``, over batches too; none lies before a watermark that was given, and
    watermarks never go back.
    """

    @property
    def name(self) -> str:
        """Address or name, as shown in statuses and metrics."""
        ...

    @property
    def metrics(self) -> FeedMetrics:
        """Counters, kept up to date while it runs."""
        ...

    def __iter__(self) -> Iterator[StreamItem]:
        """Give the items."""
        ...

    def close(self) -> None:
        """End the iteration soon and free what it holds; closing twice is fine."""
        ...


@dataclass
class WatermarkGuard:
    """Checks that time never passes a watermark (R1): one comparison a batch."""

    name: str = "feed"
    _mark_ns: int = field(default=-(2**63), init=False)
    _row_ns: int = field(default=-(2**63), init=False)

    def check(self, item: StreamItem) -> None:
        """Look at the next item.

        Raises
        ------
        WatermarkError
            If a row lies before the last watermark, rows are not in order of ``ts_recv``, or a watermark goes back.
        """
        if isinstance(item, SessionStart):
            self._mark_ns = self._row_ns = -(2**63)
        if not isinstance(item, EventBatch):
            return
        if item.watermark_ns < self._mark_ns:
            raise WatermarkError(f"{self.name}: watermark {item.watermark_ns} after {self._mark_ns}")
        times = item.events["ts_recv"]
        if len(times):
            if times[0] < self._mark_ns:
                raise WatermarkError(f"{self.name}: row received at {times[0]} after watermark {self._mark_ns}")
            if times[0] < self._row_ns or (len(times) > 1 and np.any(times[1:] < times[:-1])):
                raise WatermarkError(f"{self.name}: rows are not in order of ts_recv")
            self._row_ns = int(times[-1])
        self._mark_ns = item.watermark_ns


def consume(feed: Feed, take: Callable[[StreamItem], object], *, stop: threading.Event | None = None) -> int:
    """Hand every item of a feed to ``take`` until the feed ends or ``stop`` is set; close the feed; return the items.

    Raises
    ------
    FeedError
        If the feed cannot go on or breaks its watermark.
    """
    guard = WatermarkGuard(feed.name)
    taken = 0
    try:
        for item in feed:
            guard.check(item)
            take(item)
            taken += 1
            if stop is not None and stop.is_set():
                break
    finally:
        feed.close()
    return taken


IDLE_S: Final = 0.1
"""A live feed without news gives a batch without rows at least so often: the watermark goes on."""

"""The receiver's process: a feed into a ring or onto the bus, with its counters in a file that others read."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from marketdata.feeds.protocol import Feed, WallClock, consume
from marketdata.messages import EventBatch, FeedStatus, StreamItem

METRICS_EVERY_S: Final = 1.0


class ItemSink(Protocol):
    """Where a receiver puts what comes: a ring's writer, the bus."""

    def put(self, item: StreamItem) -> None:
        """Take an item."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


def run_receiver(
    feed: Feed,
    sink: ItemSink,
    *,
    metrics_file: Path | None = None,
    stop: threading.Event | None = None,
    say: Callable[[FeedStatus], None] | None = None,
    clock: WallClock | None = None,
) -> int:
    """Put a feed's items into a sink until it ends or ``stop`` is set; return how many.

    Parameters
    ----------
    metrics_file : Path, optional
        Gets the feed's counters as JSON about every second, whole or not at all.
    stop : threading.Event, optional
        Seen with the next item; live feeds give one ten times a second.
    say : callable, optional
        Gets every status.

    Raises
    ------
    FeedError
        If the feed or the sink cannot go on.
    """
    clock = clock or WallClock()
    written = clock.monotonic()

    def take(item: StreamItem) -> None:
        nonlocal written
        sink.put(item)
        if say is not None and isinstance(item, FeedStatus):
            say(item)
        if metrics_file is not None and isinstance(item, EventBatch) and clock.monotonic() - written >= METRICS_EVERY_S:
            written = clock.monotonic()
            write_metrics(feed, metrics_file, clock.wall_ns())

    try:
        return consume(feed, take, stop=stop)
    finally:
        if metrics_file is not None:
            write_metrics(feed, metrics_file, clock.wall_ns())
        sink.close()


def write_metrics(feed: Feed, path: Path, now_ns: int | None = None) -> None:
    """Write a feed's name and counters as JSON under a temporary name, then rename it."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    values = {"feed": feed.name, "written_ns": now_ns, **feed.metrics.as_dict(now_ns)}
    temporary.write_text(json.dumps(values) + "\n", encoding="utf-8")
    os.replace(temporary, path)

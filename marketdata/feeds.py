"""Feeds: recorded or simulated events as a stream, in this process or over a local socket.

:class:`ReplayFeed` gives a session's events in batches, as fast as possible or at a multiple of their own pace.
:func:`serve_stream` offers sessions to any number of clients over TCP or a Unix socket (``host="unix:/path"``);
:class:`SocketFeed` is such a client. It reconnects with exponential backoff and jitter and asks for the message after
the last one it has, so that nothing is lost or doubled; a gap is an error, never silence.
"""

import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from marketdata.clock import NS_PER_S, Session
from marketdata.events import EventArray
from marketdata.messages import (
    OLDEST,
    UNIX,
    VERSION,
    EventBatch,
    Events,
    Heartbeat,
    Hello,
    ProtocolError,
    Refused,
    SessionEnd,
    SessionStart,
    StreamEnd,
    StreamItem,
    Subscribe,
    decode,
    encode,
    layout,
    read_frame,
    unpack_events,
)
from marketdata.stream_server import serve_stream

__all__ = ["OLDEST", "ReplayFeed", "SocketFeed", "StreamItem", "WallClock", "serve_stream", "stream_session"]

LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class WallClock:
    """The clock that paces a replay; a test gives its own."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


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

    def __post_init__(self) -> None:
        if self.speed is not None and not self.speed > 0:
            raise ValueError(f"speed {self.speed} is not positive")
        if self.batch_rows < 1:
            raise ValueError(f"batch_rows {self.batch_rows} is below 1")
        if np.any(np.diff(self.events["ts_recv"]) < 0):
            raise ValueError("events are not in order of ts_recv; merge_events makes them so")

    def __iter__(self) -> Iterator[EventBatch]:
        """Give all batches in order."""
        return self._unpaced() if self.speed is None else self._paced(self.speed)

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


@dataclass
class SocketFeed:
    """A client of :func:`serve_stream`: every item once and in order, over as many connections as it takes.

    Attributes
    ----------
    host, port : str, int
        Where the server listens; ``unix:/path`` for a Unix socket.
    retries : int
        Connections in a row that may fail before it gives up; a connection that delivered something starts the count
        anew.
    silence_s : float
        A connection without even a heartbeat for so long is dropped.
    next_index : int
        Number of the next message wanted; kept up to date, and set to resume from a checkpoint. :data:`OLDEST` joins
        late: the first message is the start of the oldest session that the server keeps.
    seed : int
        Of the backoff's jitter.
    """

    host: str
    port: int
    retries: int = 8
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0
    silence_s: float = 5.0
    next_index: int = 0
    seed: int = 1
    clock: WallClock = field(default_factory=WallClock)

    def __iter__(self) -> Iterator[StreamItem]:
        """Give the items until the stream ends.

        Raises
        ------
        ConnectionError
            If ``retries`` connections in a row failed.
        ProtocolError
            If the server refuses, speaks another protocol, or leaves a gap.
        """
        jitter = np.random.default_rng(self.seed)
        failures = 0
        while True:
            before = self.next_index
            try:
                with self._connect() as connection:
                    while True:
                        message = decode(read_frame(connection))
                        if isinstance(message, Heartbeat):
                            continue
                        item = self._take(message)
                        if item is None:
                            return
                        yield item
            except OSError as error:
                failures = 1 if self.next_index > before else failures + 1
                if failures > self.retries:
                    raise ConnectionError(f"{self.host}:{self.port}: no stream after {failures} attempts") from error
                wait = min(self.first_wait_s * 2 ** (failures - 1), self.longest_wait_s)
                LOG.info("stream %s:%s: %s; next attempt in %.1f s", self.host, self.port, error, wait)
                self.clock.sleep(wait * float(jitter.uniform(0.5, 1.0)))

    def _connect(self) -> socket.socket:
        if self.host.startswith(UNIX):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self.silence_s)
            connection.connect(self.host.removeprefix(UNIX))
        else:
            connection = socket.create_connection((self.host, self.port), timeout=self.silence_s)
        hello = decode(read_frame(connection))
        if not isinstance(hello, Hello) or hello.version != VERSION or hello.layout != layout():
            connection.close()
            raise ProtocolError(f"{self.host}:{self.port} speaks another version of this stream")
        connection.sendall(encode(Subscribe(self.next_index)))
        return connection

    def _take(self, message: object) -> StreamItem | None:
        """Return the item in a numbered message, None for the stream's end."""
        if isinstance(message, Refused):
            raise ProtocolError(f"{self.host}:{self.port}: {message.reason}")
        if not isinstance(message, SessionStart | Events | SessionEnd | StreamEnd):
            raise ProtocolError(f"{self.host}:{self.port}: unexpected {type(message).__name__}")
        if self.next_index == OLDEST:
            self.next_index = message.index
        if message.index != self.next_index:
            raise ProtocolError(f"message {message.index} came where {self.next_index} was due: the stream has a gap")
        self.next_index += 1
        if isinstance(message, StreamEnd):
            return None
        return unpack_events(message) if isinstance(message, Events) else message

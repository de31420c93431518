"""A client of the local event stream (:mod:`marketdata.stream_server`): TCP or a Unix socket, length-prefixed MessagePack."""

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from marketdata.feeds.backoff import Backoff
from marketdata.feeds.metrics import FeedMetrics
from marketdata.feeds.protocol import FeedError, WallClock
from marketdata.messages import (
    OLDEST,
    UNIX,
    VERSION,
    EventBatch,
    Events,
    FeedStatus,
    Heartbeat,
    Hello,
    ProtocolError,
    Refused,
    SessionEnd,
    SessionStart,
    StatusKind,
    StreamEnd,
    StreamItem,
    Subscribe,
    decode,
    encode,
    layout,
    read_frame,
    unpack_events,
)

LOG: Final = logging.getLogger(__name__)


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
    metrics: FeedMetrics = field(default_factory=FeedMetrics)
    _closed: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _connection: socket.socket | None = field(default=None, init=False, repr=False)

    @property
    def name(self) -> str:
        """Host and port."""
        return self.host if self.host.startswith(UNIX) else f"{self.host}:{self.port}"

    def close(self) -> None:
        """End the iteration; one that waits for the server wakes up."""
        self._closed.set()
        if self._connection is not None:
            with contextlib.suppress(OSError):  # it may have gone by itself at this moment
                self._connection.shutdown(socket.SHUT_RDWR)

    def __iter__(self) -> Iterator[StreamItem]:
        """Give the items until the stream ends, or until the feed is closed.

        A lost connection is told by a status, and so is the next one; between them nothing is lost.

        Raises
        ------
        FeedError
            If ``retries`` connections in a row failed.
        ProtocolError
            If the server refuses, speaks another protocol, or leaves a gap.
        """
        backoff = Backoff(self.first_wait_s, self.longest_wait_s, rng=np.random.default_rng(self.seed))
        while not self._closed.is_set():
            before, connected = self.next_index, False
            try:
                with self._connect() as connection:
                    self._connection, connected = connection, True
                    self.metrics.connects += 1
                    if self.metrics.connects > 1:
                        self.metrics.reconnects += 1
                        yield self._status(StatusKind.CONNECTED, f"from message {self.next_index} on")
                    while not self._closed.is_set():
                        body = read_frame(connection)
                        message = decode(body)
                        self.metrics.saw_frames(1, len(body), self.clock.wall_ns())
                        if isinstance(message, Heartbeat):
                            continue
                        item = self._take(message)
                        if item is None:
                            return
                        if isinstance(item, EventBatch):
                            self.metrics.saw_events(*item)
                        yield item
            except OSError as error:
                if self._closed.is_set():
                    return
                self.metrics.disconnects += connected
                if self.next_index > before:
                    backoff.worked()
                wait = backoff.failed()
                if backoff.failures > self.retries:
                    raise FeedError(f"{self.name}: no stream after {backoff.failures} attempts: {error}") from error
                LOG.info("stream %s: %s; next attempt in %.1f s", self.name, error, wait)
                if connected:
                    yield self._status(StatusKind.DISCONNECTED, str(error))
                self.clock.sleep(wait)
            finally:
                self._connection = None

    def _status(self, kind: StatusKind, detail: str) -> FeedStatus:
        return FeedStatus(0, kind, self.clock.wall_ns(), self.name, detail=detail)

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
            raise ProtocolError(f"{self.name} speaks another version of this stream")
        connection.sendall(encode(Subscribe(self.next_index)))
        return connection

    def _take(self, message: object) -> StreamItem | None:
        """Return the item in a numbered message, None for the stream's end."""
        if isinstance(message, Refused):
            raise ProtocolError(f"{self.name}: {message.reason}")
        if not isinstance(message, SessionStart | Events | FeedStatus | SessionEnd | StreamEnd):
            raise ProtocolError(f"{self.name}: unexpected {type(message).__name__}")
        if self.next_index == OLDEST:
            self.next_index = message.index
        if message.index != self.next_index:
            raise ProtocolError(f"message {message.index} came where {self.next_index} was due: the stream has a gap")
        self.next_index += 1
        if isinstance(message, StreamEnd):
            return None
        return unpack_events(message) if isinstance(message, Events) else message

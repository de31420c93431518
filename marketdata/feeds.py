"""Feeds: recorded or simulated events as a stream, in this process or over a local socket.

:class:`ReplayFeed` gives a session's events in batches, as fast as possible or at a multiple of their own pace.
:func:`serve_stream` offers sessions to any number of clients over TCP or a Unix socket (``host="unix:/path"``);
:class:`SocketFeed` is such a client. It reconnects with exponential backoff and jitter and asks for the message after
the last one it has, so that nothing is lost or doubled; a gap is an error, never silence.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from marketdata.clock import NS_PER_S, Session
from marketdata.events import EVENT_DTYPE, EventArray
from marketdata.messages import (
    VERSION,
    EventBatch,
    Events,
    Heartbeat,
    Hello,
    Numbered,
    ProtocolError,
    Refused,
    SessionEnd,
    SessionStart,
    StreamEnd,
    Subscribe,
    decode,
    encode,
    layout,
    pack_events,
    read_frame,
    unpack_events,
)

LOG: Final = logging.getLogger(__name__)
UNIX: Final = "unix:"
HEARTBEAT_S: Final = 1.0
OLDEST: Final = -1
"""Message number that asks for everything that the server still keeps, from the start of a session."""
StreamItem = SessionStart | EventBatch | SessionEnd
"""What a stream consists of, for those who consume it."""


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


class StreamServer:
    """Serves stream items to clients; each gets every message from the number on that it asks for.

    The messages of the running session and of the one before are kept, so that a client that comes late or comes back
    misses nothing. Batches without rows and without a new session are sent as well: they carry the watermark.
    """

    def __init__(self, items: Iterable[StreamItem], host: str = "127.0.0.1", port: int = 0) -> None:
        self._items = items
        self._frames: list[bytes] = []
        self._first = 0
        self._starts: list[int] = []
        self._changed = threading.Condition()
        self._ended = False
        self._stopping = threading.Event()
        self.error: Exception | None = None
        self._unix_path = Path(host.removeprefix(UNIX)) if host.startswith(UNIX) else None
        self._listener = self._listen(host, port)
        self._threads = [
            threading.Thread(target=self._pump, name="stream-pump", daemon=True),
            threading.Thread(target=self._accept, name="stream-accept", daemon=True),
        ]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to connect to."""
        if self._unix_path is not None:
            return f"{UNIX}{self._unix_path}", 0
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def start(self) -> Self:
        """Begin to take items and clients; return at once."""
        for thread in self._threads:
            thread.start()
        return self

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until every item was taken; return whether it was. Raises what the items raised."""
        self._threads[0].join(timeout_s)
        if self.error is not None:
            raise self.error
        return not self._threads[0].is_alive()

    def stop(self) -> None:
        """Close the listening socket and all connections."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._listener.close()
        for thread in self._threads[1:]:
            thread.join(5.0)
        if self._unix_path is not None:
            self._unix_path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Return the server; it was started by :func:`serve_stream`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _listen(self, host: str, port: int) -> socket.socket:
        if self._unix_path is not None:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._unix_path.unlink(missing_ok=True)
            listener.bind(str(self._unix_path))
        else:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
        listener.listen()
        listener.settimeout(0.2)
        return listener

    def _pump(self) -> None:
        try:
            for item in self._items:
                if self._stopping.is_set():
                    return
                self._append(item)
        except Exception as error:  # whatever the items raise is raised again by join()
            LOG.exception("the stream's source failed")
            self.error = error
        finally:
            self._append(None)

    def _append(self, item: StreamItem | None) -> None:
        with self._changed:
            index = self._first + len(self._frames)
            if isinstance(item, SessionStart):
                self._forget_old_sessions(index)
            self._frames.append(encode(_numbered(index, item)))
            self._ended = item is None
            self._changed.notify_all()

    def _forget_old_sessions(self, index: int) -> None:
        self._starts.append(index)
        if len(self._starts) > 2:
            self._starts.pop(0)
            del self._frames[: self._starts[0] - self._first]
            self._first = self._starts[0]

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), name="stream-client", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(10 * HEARTBEAT_S)
                connection.sendall(encode(Hello(VERSION, EVENT_DTYPE.itemsize, layout())))
                asked = decode(read_frame(connection))
                if not isinstance(asked, Subscribe):
                    raise ProtocolError("a client has to subscribe first")
                self._send_from(connection, asked.next_index)
            except (OSError, ProtocolError) as error:
                LOG.info("a stream client went away: %s", error)

    def _send_from(self, connection: socket.socket, index: int) -> None:
        while not self._stopping.is_set():
            with self._changed:
                if index == OLDEST:
                    index = self._first
                if index < self._first:
                    reason = f"message {index} is no longer kept, the oldest is {self._first}"
                    connection.sendall(encode(Refused(reason)))
                    return
                frames = self._frames[index - self._first :]
                if not frames and not self._ended:
                    self._changed.wait(HEARTBEAT_S)
                    frames = self._frames[index - self._first :]
                ended = self._ended
            if not frames:
                if ended:
                    return
                connection.sendall(encode(Heartbeat()))
                continue
            for frame in frames:
                connection.sendall(frame)
            index += len(frames)


def _numbered(index: int, item: StreamItem | None) -> Numbered:
    if item is None:
        return StreamEnd(index)
    if isinstance(item, SessionStart):
        return SessionStart(index, item.date, item.open_ns, item.close_ns, item.symbols)
    if isinstance(item, SessionEnd):
        return SessionEnd(index, item.date, item.rows)
    return pack_events(index, item)


def serve_stream(items: Iterable[StreamItem], host: str = "127.0.0.1", port: int = 0) -> StreamServer:
    """Start to serve stream items and return the server; port 0 takes a free one (``server.address``).

    Raises
    ------
    OSError
        If the address cannot be bound.
    """
    return StreamServer(items, host, port).start()


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

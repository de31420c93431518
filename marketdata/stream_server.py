"""The serving side of a live stream: every client gets every message from the number on that it asks for."""

import logging
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from marketdata.events import EVENT_DTYPE
from marketdata.messages import (
    OLDEST,
    UNIX,
    VERSION,
    EventBatch,
    Heartbeat,
    Hello,
    Numbered,
    ProtocolError,
    Refused,
    SessionStart,
    StreamEnd,
    StreamItem,
    Subscribe,
    decode,
    encode,
    layout,
    pack_events,
    read_frame,
)

LOG: Final = logging.getLogger(__name__)
HEARTBEAT_S: Final = 1.0


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
        for thread in tuple(self._threads):  # a client that comes at once adds its own thread, already started
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
    if isinstance(item, EventBatch):
        return pack_events(index, item)
    return msgspec.structs.replace(item, index=index)


def serve_stream(items: Iterable[StreamItem], host: str = "127.0.0.1", port: int = 0) -> StreamServer:
    """Start to serve stream items and return the server; port 0 takes a free one (``server.address``).

    Raises
    ------
    OSError
        If the address cannot be bound.
    """
    return StreamServer(items, host, port).start()

"""The messages of a live stream: typed, MessagePack, each behind its length.

A frame is a 4-byte big-endian length and so many bytes of MessagePack. The server speaks first (:class:`Hello`), the
client asks from which message on it wants the stream (:class:`Subscribe`), and then messages come numbered without a
gap. Event rows travel as the bytes of :data:`marketdata.events.EVENT_DTYPE`; ``Hello`` names its layout, and a client
with another one goes away.
"""

import socket
import struct
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from marketdata.clock import Session
from marketdata.events import EVENT_DTYPE, EventArray

VERSION: Final = 2
"""Of the wire: 2 added :class:`FeedStatus`."""
OLDEST: Final = -1
"""Message number that asks for everything that the server still keeps, from the start of a session."""
UNIX: Final = "unix:"
"""Beginning of a host that is the path of a Unix socket."""
MAX_FRAME: Final = 64 * 1024 * 1024
"""Longest frame that is read: a length beyond it means that this is no such stream."""
_LENGTH: Final = struct.Struct(">I")


def layout() -> list[str]:
    """Return the event layout as ``name:type@offset`` texts."""
    fields: Mapping[str, Any] = EVENT_DTYPE.fields or {}
    return [f"{name}:{fields[name][0].str}@{fields[name][1]}" for name in EVENT_DTYPE.names or ()]


class ProtocolError(RuntimeError):
    """The other side does not speak this protocol, or cannot give what was asked for."""


class Hello(msgspec.Struct, tag="hello", frozen=True):
    """First word of the server."""

    version: int
    row_bytes: int
    layout: list[str]


class Subscribe(msgspec.Struct, tag="subscribe", frozen=True):
    """First word of the client: send everything from this message number on."""

    next_index: int


class Refused(msgspec.Struct, tag="refused", frozen=True):
    """The server cannot serve the subscription."""

    reason: str


class Heartbeat(msgspec.Struct, tag="heartbeat", frozen=True):
    """Nothing new; the connection lives."""


class SessionStart(msgspec.Struct, tag="session_start", frozen=True):
    """A session begins; event batches of it follow."""

    index: int
    date: date
    open_ns: int
    close_ns: int
    symbols: tuple[str, ...]

    @property
    def session(self) -> Session:
        """The session."""
        return Session(self.date, self.open_ns, self.close_ns)


class Events(msgspec.Struct, tag="events", frozen=True):
    """Event rows, and the receive time that no later row will lie before."""

    index: int
    watermark_ns: int
    data: bytes


class StatusKind(StrEnum):
    """What happened to a feed, beside its events."""

    CONNECTED = "connected"
    """A connection is open and subscribed; after :attr:`DISCONNECTED`, again."""
    DISCONNECTED = "disconnected"
    """A connection is gone; ``detail`` says why. Books stand as they were and may be stale."""
    GAP = "gap"
    """The numbering has a hole from ``expected`` to ``found``; the book is unknown until :attr:`SYNCED`."""
    SYNCED = "synced"
    """The book is known: a snapshot came in, or a restart went on from its checkpoint without a hole."""
    STALE = "stale"
    """A connection is open but silent for longer than its feed calls normal."""
    REJECTED = "rejected"
    """A frame could not be read; it was counted and kept."""
    SNAPSHOT_FAILED = "snapshot_failed"
    """The venue did not give a snapshot that was asked for; it is asked again."""
    OVERRUN = "overrun"
    """The consumer was too slow and rows were dropped (``found`` counts them); books come anew."""


class FeedStatus(msgspec.Struct, tag="status", frozen=True):
    """One thing that happened to a feed.

    Attributes
    ----------
    index : int
        Number on the wire; 0 in the process that it happened in.
    kind : StatusKind
    ts_recv : int
        When, ns since 1970 UTC by the feed's clock.
    feed : str
        Address of the connection, or name of the feed.
    symbol : str
        The venue's symbol; empty: all of the connection.
    expected, found : int
        Of a gap: the sequence number that was due and the one that came; else −1.
    detail : str
        For a person.
    """

    index: int
    kind: StatusKind
    ts_recv: int
    feed: str
    symbol: str = ""
    expected: int = -1
    found: int = -1
    detail: str = ""

    def __str__(self) -> str:
        """Return a line for a person."""
        text = f"{self.feed}{' ' + self.symbol if self.symbol else ''}: {self.kind}"
        if self.kind is StatusKind.GAP:
            text += f", expected {self.expected}, found {self.found}"
        return f"{text} ({self.detail})" if self.detail else text


class SessionEnd(msgspec.Struct, tag="session_end", frozen=True):
    """The session is over; ``rows`` counts its event rows."""

    index: int
    date: date
    rows: int


class StreamEnd(msgspec.Struct, tag="stream_end", frozen=True):
    """No further session will come."""

    index: int


Numbered = SessionStart | Events | FeedStatus | SessionEnd | StreamEnd
Message = Hello | Subscribe | Refused | Heartbeat | SessionStart | Events | FeedStatus | SessionEnd | StreamEnd

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Message)


class EventBatch(NamedTuple):
    """A batch of events in order of ``ts_recv``; no later batch holds a row received before ``watermark_ns``."""

    events: EventArray
    watermark_ns: int


StreamItem = SessionStart | EventBatch | FeedStatus | SessionEnd
"""What a stream consists of, for those who give and take it."""


def encode(message: Message) -> bytes:
    """Return a message as a frame, length included."""
    body = _ENCODER.encode(message)
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Message:
    """Return the message in a frame's body.

    Raises
    ------
    ProtocolError
        If it is none.
    """
    try:
        return _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise ProtocolError(f"not a message of this stream: {error}") from error


def pack_events(index: int, batch: EventBatch) -> Events:
    """Return a batch as a message."""
    return Events(index, batch.watermark_ns, np.ascontiguousarray(batch.events).tobytes())


def unpack_events(message: Events) -> EventBatch:
    """Return the batch in a message.

    Raises
    ------
    ProtocolError
        If the bytes are no whole number of rows.
    """
    if len(message.data) % EVENT_DTYPE.itemsize:
        raise ProtocolError(f"{len(message.data)} bytes are no whole number of rows of {EVENT_DTYPE.itemsize} bytes")
    return EventBatch(np.frombuffer(message.data, dtype=EVENT_DTYPE).copy(), message.watermark_ns)


def read_frame(connection: socket.socket) -> bytes:
    """Return the body of the next frame.

    Raises
    ------
    ConnectionError
        If the other side went away.
    ProtocolError
        If the length is impossible.
    """
    (length,) = _LENGTH.unpack(_read_exactly(connection, _LENGTH.size))
    if length > MAX_FRAME:
        raise ProtocolError(f"a frame of {length} bytes: this is no such stream")
    return _read_exactly(connection, length)


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), 1 << 20))
        if not part:
            raise ConnectionError("the other side closed the connection")
        parts += part
    return bytes(parts)

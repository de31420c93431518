"""Verbatim frames of a venue, and the one protocol by which they become events.

A *frame* is what the venue sent, byte for byte, with the time we received it and the stream (connection or REST address) that it
came by. A :class:`FrameCodec` is a fold over batches of frames: pure, deterministic, no sockets and no clock, so that a recording
can be parsed again at any time and gives the same events, and live is a batch of one.

Sequence rules live in the codec: a gap turns into a CLEAR event and a :class:`Gap`, and the codec asks for what it needs to go on
through :attr:`Decoded.wants_snapshot`; the feed fetches it and hands it to the same codec as one more frame.

An *empty frame* (no bytes) says that the connection named by its stream was opened, for the first time or again. A feed
puts one in front of a connection's first frame and a capture keeps it, so that parsing the capture again gives what the
live codec gave. Venues that number their messages notice by themselves whether something was missed; a codec of one that
does not takes every book that came by that connection for unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from marketdata.events import EventArray
from marketdata.instruments import Instrument

RAISE: Final = "raise"
QUARANTINE: Final = "quarantine"
"""What happens to a frame that cannot be read: an error at once, or it is counted and kept with its reason."""


class FrameError(ValueError):
    """A frame cannot be read; the message names venue, stream, offset and reason."""

    def __init__(self, venue: str, stream: str, frame: int, offset: int, reason: str) -> None:
        super().__init__(f"{venue}: frame {frame} of {stream}, byte {offset}: {reason}")
        self.venue = venue
        self.stream = stream
        self.frame = frame
        self.offset = offset
        self.reason = reason


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Frames in the order received.

    Attributes
    ----------
    data : uint8 array, shape (bytes,)
        The frames' bytes, one after the other.
    starts : int64 array, shape (n + 1,)
        Frame ``k`` is ``data[starts[k] : starts[k + 1]]``.
    ts_recv : int64 array, shape (n,)
        When each was received, ns since 1970 UTC by our clock, as it was read (no correction).
    stream : int16 array, shape (n,)
        Index into ``streams``.
    streams : tuple of str
        URL of the connection, or address of the REST request, that frames came by.
    """

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    ts_recv: npt.NDArray[np.int64]
    stream: npt.NDArray[np.int16]
    streams: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.ts_recv)

    def frame(self, k: int) -> bytes:
        """Return the bytes of frame ``k``."""
        return self.data[self.starts[k] : self.starts[k + 1]].tobytes()

    def part(self, first: int, end: int) -> "FrameBatch":
        """Return frames ``first`` up to ``end`` (not included) without copying their bytes."""
        starts = self.starts[first : end + 1]
        base = starts[0]
        return FrameBatch(
            self.data[base : starts[-1]], starts - base, self.ts_recv[first:end], self.stream[first:end], self.streams
        )


def frame_batch(frames: Iterable[tuple[int, bytes]], stream: str = "") -> FrameBatch:
    """Return frames of one stream, each given as (receive time in ns, bytes), as a batch."""
    listed = list(frames)
    lengths = np.array([0, *(len(payload) for _, payload in listed)], np.int64)
    return FrameBatch(
        np.frombuffer(b"".join(payload for _, payload in listed), np.uint8),
        np.cumsum(lengths),
        np.array([ts for ts, _ in listed], np.int64),
        np.zeros(len(listed), np.int16),
        (stream,),
    )


def join_batches(batches: Sequence[FrameBatch]) -> FrameBatch:
    """Return batches one after the other as one; their streams are numbered anew, each address once."""
    streams: dict[str, int] = {}
    numbers = []
    for batch in batches:
        own = np.array([streams.setdefault(name, len(streams)) for name in batch.streams], np.int16)
        numbers.append(own[batch.stream])
    lengths = [np.diff(batch.starts) for batch in batches]
    return FrameBatch(
        np.concatenate([batch.data for batch in batches]) if batches else np.zeros(0, np.uint8),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
        if batches
        else np.zeros(1, np.int64),
        np.concatenate([batch.ts_recv for batch in batches]) if batches else np.zeros(0, np.int64),
        np.concatenate(numbers) if batches else np.zeros(0, np.int16),
        tuple(streams),
    )


class Rejected(NamedTuple):
    """A frame that could not be read: its place in the batch, the byte, and why."""

    frame: int
    offset: int
    reason: str


class Gap(NamedTuple):
    """A hole in a venue's numbering: the next number that was due and the one that came."""

    symbol: str
    ts_recv: int
    expected: int
    found: int


class Decoded(NamedTuple):
    """What a batch of frames meant.

    Attributes
    ----------
    events : event array
        In the order of the frames, ``ts_recv`` as received and ``clock_quality`` recorded; ``sequence`` is the venue's number.
    gaps : tuple of Gap
        Holes found in this batch; each has a CLEAR in ``events``.
    rejected : tuple of Rejected
        Frames kept out of ``events``; under the policy ``raise`` always empty.
    wants_snapshot : tuple of str
        Symbols whose book is unknown at the end of the batch and stays so until somebody acts. Where the venue has a REST
        snapshot (``snapshot_url`` gives an address): from the start, and after each gap; fetch it. Where the stream brings
        its own: after a gap or a wrong checksum only; subscribe again. Named in every step until the book is known: a feed
        asks once at a time.
    ignored : mapping of str to int
        Frames that rightly carry no event, counted by kind (acknowledgements, heartbeats, statistics).
    """

    events: EventArray
    gaps: tuple[Gap, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    wants_snapshot: tuple[str, ...] = ()
    ignored: Mapping[str, int] = {}


class Endpoint(NamedTuple):
    """How a live connection to a venue is opened.

    Attributes
    ----------
    url : str
        WebSocket address.
    hello : tuple of str
        Frames to send once it is open (subscriptions).
    ping : str or None
        Frame to send every ``ping_s`` seconds, where the venue wants one of its own; protocol pings are the socket's business.
    silence_s : float
        Without a frame for so long, the connection is taken for dead.
    """

    url: str
    hello: tuple[str, ...] = ()
    ping: str | None = None
    ping_s: float = 20.0
    silence_s: float = 30.0


class FrameCodec(Protocol):
    """A venue's wire format: a frozen description of the instruments asked for, and a fold over frames."""

    @property
    def venue(self) -> str:
        """Name in the catalogue, as in ``binance_spot``."""
        ...

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Instruments by the venue's own symbol."""
        ...

    def init(self) -> Any:
        """Return the state before the first frame: no book known."""
        ...

    def step(self, state: Any, batch: FrameBatch) -> tuple[Any, Decoded]:
        """Return the state after the batch and what the batch meant.

        The state given may be changed in place and must not be used again.

        Raises
        ------
        FrameError
            Under the policy ``raise``, for a frame that cannot be read.
        """
        ...

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return the connections that bring depth and trades of the venue's symbols."""
        ...

    def snapshot_url(self, symbol: str) -> str | None:
        """Return the REST address of a symbol's book snapshot; None where the stream brings its own."""
        ...


@runtime_checkable
class ResumableCodec(Protocol):
    """A codec whose fold can go on from sequence numbers alone, because its venue's snapshots come by REST.

    Codecs whose stream opens with a snapshot need none of it: a new connection is a new book.
    """

    def sequences(self, state: Any) -> Mapping[str, Sequence[int]]:
        """Return what :meth:`resume` needs, by symbol, for every symbol whose book is known."""
        ...

    def resume(self, sequences: Mapping[str, Sequence[int]]) -> Any:
        """Return a state in which these symbols' books are known up to these numbers; the rest is as after ``init``.

        The next frame follows without a hole, or it is a gap like any other.

        Raises
        ------
        ValueError
            If a symbol is unknown or its numbers are not such as :meth:`sequences` gives.
        """
        ...

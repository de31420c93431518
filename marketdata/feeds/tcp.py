"""Raw frames over TCP or a Unix socket, for any codec: FIX sessions, ITCH over SoupBinTCP, or frames behind their length.

One connection, read in the thread that iterates: a slow consumer lets the socket fill up, and nothing is dropped here.
"""

import contextlib
import logging
import socket
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from marketdata.events import empty_events
from marketdata.feeds.backoff import Backoff
from marketdata.feeds.decoding import FrameDecoder, FrameSink
from marketdata.feeds.framing import Cut, Framing
from marketdata.feeds.metrics import FeedMetrics
from marketdata.feeds.network_errors import explain
from marketdata.feeds.protocol import IDLE_S, FeedError, WallClock
from marketdata.frames import FrameBatch, FrameCodec
from marketdata.messages import UNIX, EventBatch, FeedStatus, StatusKind, StreamItem

LOG: Final = logging.getLogger(__name__)
PIECE: Final = 1 << 18


class _Anew(ConnectionError):
    """The connection is given up for a new one, because a book is lost and only a new session brings it."""


@dataclass
class TcpFrameFeed:
    """A feed of one connection that carries a codec's frames.

    Attributes
    ----------
    codec : FrameCodec
    host, port : str, int
        ``unix:/path`` for a Unix socket.
    framing : Framing
        How frames are cut, and what the session wants said.
    retries : int, optional
        Connections in a row without a frame before the feed fails; None: never.
    silence_s, stale_s : float
        A connection without a byte for so long is dead, or told as STALE.
    renew_s : float
        Least time between two requests, or new connections, for the sake of a lost book; 0: none are made (ITCH has no
        snapshots).
    clock_offset_ns : int
        Added to receive times (R4).
    tee, quarantine : FrameSink, optional
        Get every frame verbatim, and those that could not be read.
    """

    codec: FrameCodec
    host: str
    port: int
    framing: Framing
    retries: int | None = 12
    first_wait_s: float = 0.1
    longest_wait_s: float = 10.0
    silence_s: float = 30.0
    stale_s: float = 5.0
    renew_s: float = 10.0
    clock_offset_ns: int = 0
    tee: FrameSink | None = None
    quarantine: FrameSink | None = None
    seed: int = 1
    clock: WallClock = field(default_factory=WallClock)
    metrics: FeedMetrics = field(default_factory=FeedMetrics)
    _closed: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _socket: socket.socket | None = field(default=None, init=False, repr=False)
    _mark_ns: int = field(default=-(2**63), init=False)
    _stamp_ns: int = field(default=0, init=False)
    _renewed_at: float = field(default=float("-inf"), init=False)

    @property
    def name(self) -> str:
        """Address, as frames and statuses are marked with."""
        return self.host if self.host.startswith(UNIX) else f"tcp://{self.host}:{self.port}"

    def close(self) -> None:
        """End the iteration; one that waits for bytes wakes up."""
        self._closed.set()
        connection = self._socket
        if connection is not None:
            with contextlib.suppress(OSError):  # it may have gone by itself at this moment
                connection.shutdown(socket.SHUT_RDWR)

    def __iter__(self) -> Iterator[StreamItem]:
        """Connect and give items until the other side says that nothing more will come, or the feed is closed.

        Raises
        ------
        FeedError
            If no connection can be had, or the login is refused.
        marketdata.frames.FrameError
            If a frame cannot be read and the codec's policy is to raise.
        """
        decoder = FrameDecoder(
            self.codec, self.metrics, clock_offset_ns=self.clock_offset_ns, quarantine=self.quarantine
        )
        backoff = Backoff(self.first_wait_s, self.longest_wait_s, rng=np.random.default_rng(self.seed))
        while not self._closed.is_set():
            before, connects = self.metrics.frames, self.metrics.connects
            try:
                with self._connect() as connection:
                    self._socket = connection
                    hello = self.framing.hello()
                    if hello:  # sending nothing would still fail where the other side has said all it has to say
                        connection.sendall(hello)
                    self.metrics.connects += 1
                    self.metrics.reconnects += self.metrics.connects > 1
                    yield self._status(StatusKind.CONNECTED, "again" if self.metrics.connects > 1 else "")
                    yield from self._step(decoder, [b""])
                    ended = yield from self._receive(connection, decoder)
                    if ended:
                        return
            except FeedError:
                raise
            except OSError as error:
                if self._closed.is_set():
                    return
                reason = str(error) if isinstance(error, _Anew) else explain(error, self.name).reason
                if self.metrics.frames > before:
                    backoff.worked()
                wait = backoff.failed()
                if self.retries is not None and backoff.failures > self.retries:
                    raise FeedError(f"no connection after {backoff.failures} attempts: {reason}") from error
                LOG.info("%s: %s", self.name, reason)
                if self.metrics.connects > connects:
                    self.metrics.disconnects += 1
                    yield self._status(StatusKind.DISCONNECTED, reason)
                self.clock.sleep(wait)
            finally:
                self._socket = None

    def _connect(self) -> socket.socket:
        if self.host.startswith(UNIX):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self.silence_s)
            connection.connect(self.host.removeprefix(UNIX))
            return connection
        connection = socket.create_connection((self.host, self.port), timeout=self.silence_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _receive(self, connection: socket.socket, decoder: FrameDecoder) -> Generator[StreamItem, None, bool]:
        """Give items until the stream has ended in good order; return True then."""
        heard = said = self.clock.monotonic()
        is_stale = False
        connection.settimeout(IDLE_S)
        while not self._closed.is_set():
            try:
                piece = connection.recv(PIECE)
                if not piece:
                    raise ConnectionError("the other side closed the connection")
            except TimeoutError:
                piece = b""
            now = self.clock.monotonic()
            if piece:
                heard, is_stale = now, False
                cut: Cut = self.framing.feed(piece)
                if cut.answer:
                    connection.sendall(cut.answer)
                    said = now
                if cut.frames:
                    yield from self._step(decoder, cut.frames)
                if cut.ended:
                    return True
                self._renew_if_lost(connection, decoder, now)
            else:
                if now - heard >= self.silence_s:
                    raise ConnectionError(f"nothing received for {now - heard:.1f} s, taken for dead")
                if now - heard >= self.stale_s and not is_stale:
                    is_stale = True
                    self.metrics.stale += 1
                    yield self._status(StatusKind.STALE, f"nothing received for {now - heard:.1f} s")
                self._mark_ns = self.metrics.watermark_ns = max(self._mark_ns, self._stamp() + self.clock_offset_ns)
                yield EventBatch(empty_events(0), self._mark_ns)
            if self.framing.beat_s and now - said >= self.framing.beat_s:
                due = self.framing.beat()
                if due:
                    connection.sendall(due)
                said = now
        return True

    def _step(self, decoder: FrameDecoder, frames: list[bytes]) -> Iterator[StreamItem]:
        stamp = self._stamp()
        starts = np.zeros(len(frames) + 1, np.int64)
        np.cumsum([len(frame) for frame in frames], out=starts[1:])
        batch = FrameBatch(
            np.frombuffer(b"".join(frames), np.uint8),
            starts,
            np.full(len(frames), stamp, np.int64),
            np.zeros(len(frames), np.int16),
            (self.name,),
        )
        if self.tee is not None:
            for frame in frames:
                self.tee.write(self.name, stamp, frame)
        for item in decoder.step(batch, self._mark_ns):
            if isinstance(item, EventBatch):
                self._mark_ns = item.watermark_ns
            yield item

    def _renew_if_lost(self, connection: socket.socket, decoder: FrameDecoder, now: float) -> None:
        """Ask for books that were lost: within the session where it can, else by a new one."""
        if not self.renew_s or not decoder.wants or not decoder.lost or now - self._renewed_at < self.renew_s:
            return
        self._renewed_at = now
        request = self.framing.ask(decoder.wants)
        if not request:
            raise _Anew("connecting anew for a new snapshot")
        connection.sendall(request)

    def _stamp(self) -> int:
        self._stamp_ns = max(self._stamp_ns, self.clock.wall_ns())
        return self._stamp_ns

    def _status(self, kind: StatusKind, detail: str) -> FeedStatus:
        return FeedStatus(0, kind, self._stamp(), self.name, detail=detail)

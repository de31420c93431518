"""How frames are cut out of a TCP stream, and the little that a session protocol wants said back.

A framing is a state machine over bytes, without sockets and without a clock: :meth:`Framing.feed` takes what came and gives whole
frames and what to answer. :class:`marketdata.feeds.tcp.TcpFrameFeed` moves the bytes.

Frames are given to codecs as the codecs take them: a FIX message from ``8=`` to its checksum, a SoupBinTCP packet with its
length.
"""

import logging
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from marketdata.codecs.fix_session import FixLogin, FixSession, FixSessionError
from marketdata.codecs.fix_splitter import FixSplitter
from marketdata.feeds.protocol import FeedError

LOG: Final = logging.getLogger(__name__)
MAX_LENGTH: Final = 64 << 20


class Cut(NamedTuple):
    """What a piece of the stream gave.

    Attributes
    ----------
    frames : list of bytes
        Whole frames, in order.
    answer : bytes
        To be sent back at once; often empty.
    ended : bool
        Whether the other side has said that nothing more will come.
    """

    frames: list[bytes]
    answer: bytes = b""
    ended: bool = False


class Framing(Protocol):
    """Cuts one connection's stream; made anew, or reset, for each connection."""

    beat_s: float
    """:meth:`beat` has to be asked this often; 0: never."""

    def hello(self) -> bytes:
        """Forget the last connection's rest and return what to send first."""
        ...

    def feed(self, data: bytes) -> Cut:
        """Take bytes as they came.

        Raises
        ------
        FeedError
            If the stream is of another kind, or the login was refused.
        """
        ...

    def beat(self) -> bytes:
        """Return what says that we live, where something is due."""
        ...

    def ask(self, symbols: Sequence[str]) -> bytes:
        """Return what asks for new books within the session; nothing where only a new connection brings them."""
        ...


@dataclass
class LengthFraming:
    """Each frame behind its length, big-endian, of two or four bytes; the length does not count itself."""

    length_bytes: int = 4
    beat_s: float = 0.0
    _rest: bytes = field(default=b"", init=False, repr=False)

    def __post_init__(self) -> None:
        if self.length_bytes not in (2, 4):
            raise ValueError(f"a length has 2 or 4 bytes, not {self.length_bytes}")

    def hello(self) -> bytes:
        """Return nothing."""
        self._rest = b""
        return b""

    def feed(self, data: bytes) -> Cut:
        """Return the frames that are whole now."""
        joined, at, frames = self._rest + data, 0, []
        head = self.length_bytes
        while len(joined) - at >= head:
            length = int.from_bytes(joined[at : at + head], "big")
            if length > MAX_LENGTH:
                raise FeedError(f"a frame of {length} bytes: this stream has no lengths of {head} bytes in it")
            if len(joined) - at - head < length:
                break
            frames.append(joined[at + head : at + head + length])
            at += head + length
        self._rest = joined[at:]
        return Cut(frames)

    def beat(self) -> bytes:
        """Return nothing."""
        return b""

    def ask(self, symbols: Sequence[str]) -> bytes:
        """Return nothing."""
        return b""


_SOUP_HEAD: Final = struct.Struct(">H")
_LOGIN: Final = struct.Struct(">HB6s10s10s20s")


@dataclass
class SoupBinTcpFraming:
    """NASDAQ's SoupBinTCP 3.00 as a client: login, heartbeats, and the number of the next sequenced packet.

    After a broken connection the login asks for the packet after the last one, so nothing is lost or doubled.

    Attributes
    ----------
    username, password : str
        At most 6 and 10 characters.
    session : str
        Session wanted; empty: the running one. After the first login, the one that was joined.
    next_sequence : int
        Number of the next sequenced packet wanted: keep it to resume after a restart. 0: whatever comes next; 1: all from
        the start.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    session: str = ""
    next_sequence: int = 1
    beat_s: float = 1.0
    _rest: bytes = field(default=b"", init=False, repr=False)

    def hello(self) -> bytes:
        """Return the login request."""
        self._rest = b""
        return _LOGIN.pack(
            _LOGIN.size - 2,
            ord("L"),
            self.username.encode().ljust(6),
            self.password.encode().ljust(10),
            self.session.encode().rjust(10),
            str(self.next_sequence).encode().rjust(20),
        )

    def feed(self, data: bytes) -> Cut:
        """Return whole packets, lengths included; numbers are kept up to date."""
        joined, at, frames, ended = self._rest + data, 0, [], False
        while len(joined) - at >= 3:
            (length,) = _SOUP_HEAD.unpack_from(joined, at)
            if length < 1:
                raise FeedError("a packet without a type: this is no SoupBinTCP stream")
            if len(joined) - at - 2 < length:
                break
            packet = joined[at : at + 2 + length]
            at += 2 + length
            kind = packet[2:3]
            if kind == b"A":
                self.session = packet[3:13].decode("ascii", "replace").strip()
                self.next_sequence = int(packet[13:33])
            elif kind == b"J":
                reason = {b"A": "user or password is wrong", b"S": "there is no such session"}.get(packet[3:4], "")
                raise FeedError(f"SoupBinTCP login refused: {reason or packet[3:4].decode('ascii', 'replace')}")
            elif kind == b"S":
                self.next_sequence += 1
            ended = ended or kind == b"Z"
            frames.append(packet)
        self._rest = joined[at:]
        return Cut(frames, ended=ended)

    def beat(self) -> bytes:
        """Return a client heartbeat."""
        return b"\x00\x01R"

    def ask(self, symbols: Sequence[str]) -> bytes:
        """Return nothing: there are no snapshots."""
        return b""


@dataclass
class FixFraming:
    """FIX messages; with a login also a session as its initiator (:class:`marketdata.codecs.fix_session.FixSession`).

    Every connection begins its numbers anew and asks for the symbols, so that full refreshes come first: for market data a new
    book is better than old messages. A hole within a connection is the codec's to find; the books lost by it are asked for again.

    Attributes
    ----------
    login : FixLogin, optional
        None: only listen.
    symbols : sequence of str
        To ask for.
    now_ns : callable
        The clock of SendingTime and heartbeats.
    """

    login: FixLogin | None = None
    symbols: tuple[str, ...] = ()
    now_ns: Callable[[], int] = time.time_ns
    beat_s: float = field(default=1.0, init=False)
    _splitter: FixSplitter = field(default_factory=FixSplitter, init=False, repr=False)
    _session: FixSession | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.login is None:
            self.beat_s = 0.0

    def hello(self) -> bytes:
        """Return the logon, or nothing."""
        self._splitter = FixSplitter()
        if self.login is None:
            return b""
        self._session = FixSession(self.login, self.symbols)
        return self._session.start(self.now_ns())

    def feed(self, data: bytes) -> Cut:
        """Return whole messages, and answers where the session wants them; a logout is answered and ends the stream."""
        frames = self._splitter.feed(data)
        session, answer = self._session, b""
        if session is None:
            return Cut(frames)
        for k, frame in enumerate(frames):
            try:
                answer += session.receive(frame, self.now_ns())[1]
            except FixSessionError as error:
                if _is_logout(frame):
                    LOG.info("%s", error)
                    return Cut(frames[: k + 1], answer + session.stop(self.now_ns()), ended=True)
                raise FeedError(str(error)) from error
        return Cut(frames, answer)

    def beat(self) -> bytes:
        """Return a heartbeat or a test request where one is due."""
        return self._session.tick(self.now_ns()) if self._session is not None else b""

    def ask(self, symbols: Sequence[str]) -> bytes:
        """Return requests for new books."""
        return self._session.request(symbols, self.now_ns()) if self._session is not None else b""


def _is_logout(frame: bytes) -> bool:
    return b"\x0135=5\x01" in frame[:64]

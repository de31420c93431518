"""How frames are cut out of a TCP stream, and the little that a session protocol wants said back.

A framing is a state machine over bytes, without sockets and without a clock: :meth:`Framing.feed` takes what came and gives whole
frames and what to answer. :class:`marketdata.feeds.tcp.TcpFrameFeed` moves the bytes.

Frames are given to codecs as the codecs take them: a FIX message from ``8=`` to its checksum, a SoupBinTCP packet with its
length.
"""

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from marketdata.codecs.fix_message import FixSplitter, make_message, parse_message
from marketdata.feeds.protocol import FeedError

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
    """Something has to be sent this often; 0: never."""

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
        """Return what says that we live."""
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


@dataclass
class FixFraming:
    """FIX messages; with ``sender`` also a session as its initiator: logon, heartbeats, answers to test requests.

    Every connection begins its numbers anew (ResetSeqNumFlag) and sends ``requests`` once the logon is answered, so that full
    refreshes come first: for market data a new book is better than old messages. A hole within a connection is the codec's
    to find.

    Attributes
    ----------
    sender, target : str
        SenderCompID and TargetCompID; an empty sender: only listen.
    requests : sequence of (type, fields)
        Messages to send after the logon (35=V), without header.
    beat_s : float
        HeartBtInt.
    version : str
        BeginString.
    logon : sequence of (tag, value)
        Further fields of the logon (553, 554).
    """

    sender: str = ""
    target: str = ""
    requests: tuple[tuple[str, tuple[tuple[int, str], ...]], ...] = ()
    beat_s: float = 30.0
    version: str = "FIX.4.4"
    logon: tuple[tuple[int, str], ...] = field(default=(), repr=False)
    now: "Clock" = field(default=lambda: datetime.now(UTC), repr=False)
    _splitter: FixSplitter = field(default_factory=FixSplitter, init=False, repr=False)
    _next: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        if not self.sender:
            self.beat_s = 0.0

    def hello(self) -> bytes:
        """Return the logon, or nothing."""
        self._splitter, self._next = FixSplitter(), 1
        if not self.sender:
            return b""
        return self._message("A", (98, "0"), (108, f"{self.beat_s:.0f}"), (141, "Y"), *self.logon)

    def feed(self, data: bytes) -> Cut:
        """Return whole messages, and answers where the session wants them."""
        frames = self._splitter.feed(data)
        if not self.sender:
            return Cut(frames)
        answer, ended = b"", False
        for frame in frames:
            kind = _kind(frame)
            if kind == b"A":
                answer += b"".join(self._message(name, *fields) for name, fields in self.requests)
            elif kind == b"1":
                answer += self._message("0", (112, parse_message(frame, strict=False).text(112) or ""))
            elif kind == b"2":  # ours are requests and heartbeats: there is nothing worth sending again
                answer += self._message("4", (123, "Y"), (36, str(self._next + 1)))
            elif kind == b"5":
                answer += self._message("5")
                ended = True
        return Cut(frames, answer, ended)

    def beat(self) -> bytes:
        """Return a heartbeat."""
        return self._message("0")

    def _message(self, kind: str, *fields: tuple[int, str]) -> bytes:
        now = self.now()
        stamp = f"{now:%Y%m%d-%H:%M:%S}.{now.microsecond // 1_000:03d}"
        head = [(35, kind), (49, self.sender), (56, self.target), (34, str(self._next)), (52, stamp)]
        self._next += 1
        return make_message([*head, *fields], begin=self.version)


class Clock(Protocol):
    """Gives the time for SendingTime."""

    def __call__(self) -> datetime:
        """Return now, UTC."""
        ...


def _kind(frame: bytes) -> bytes:
    """Return the value of MsgType (35), which is the third field."""
    at = frame.find(b"\x0135=")
    return frame[at + 4 : frame.find(b"\x01", at + 4)] if at >= 0 else b""

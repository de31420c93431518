"""A FIX 4.4 market data session without a socket: what to send, and what came in, as a fold over bytes.

:class:`FixSession` logs on, answers test and resend requests, sends heartbeats, asks for market data (35=V) and numbers what it
sends. It verifies nothing of the market data: whole messages go on as frames, to :class:`~marketdata.codecs.fix.FixCodec` and to
captures. Time is given, never read: the same bytes at the same times give the same replies. :func:`stream_fix` is the socket
around it.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from marketdata.clock import NS_PER_S
from marketdata.codecs.fix_message import FixError, FixMessage, make_message, parse_message
from marketdata.codecs.fix_splitter import FixSplitter
from marketdata.frames import FrameBatch, frame_batch

READ_BYTES: Final = 1 << 16
SNAPSHOT_AND_UPDATES: Final = "1"
UNSUBSCRIBE: Final = "2"


class FixSessionError(ConnectionError):
    """The session cannot go on: a refused logon or request, a logout, or silence; the message says which and why."""


@dataclass(frozen=True, slots=True)
class FixLogin:
    """Who logs on to whom.

    Attributes
    ----------
    sender, target : str
        SenderCompID (49) and TargetCompID (56).
    user, password : str, optional
        Username (553) and Password (554), where the venue wants them.
    heartbeat_s : int
        HeartBtInt (108); twice as long without a byte from the venue, the session is taken for dead.
    begin : str
        FIX.4.4, or FIX.4.2.
    """

    sender: str
    target: str
    user: str = ""
    password: str = field(default="", repr=False)
    heartbeat_s: int = 30
    begin: str = "FIX.4.4"


class FixSession:
    """The initiator's side of a session."""

    def __init__(self, login: FixLogin, symbols: Sequence[str], *, depth: int = 0) -> None:
        """Take who logs on and the symbols to ask for; ``depth`` is MarketDepth (264), 0 for the whole book."""
        self.login = login
        self.symbols = tuple(symbols)
        self.depth = depth
        self._splitter = FixSplitter()
        self._next_out = 1
        self._requests = 0
        self._last_in = self._last_out = 0
        self._tested = False
        self.is_logged_on = False

    def start(self, now_ns: int) -> bytes:
        """Return the logon, which starts both sides' numbers again."""
        self._last_in = now_ns
        credentials = [(tag, text) for tag, text in ((553, self.login.user), (554, self.login.password)) if text]
        fields = [(98, "0"), (108, str(self.login.heartbeat_s)), (141, "Y"), *credentials]
        return self._message("A", fields, now_ns)

    def receive(self, data: bytes, now_ns: int) -> tuple[list[bytes], bytes]:
        """Return the whole messages that came, as frames, and the bytes to send back.

        Raises
        ------
        FixSessionError
            If the venue refused the logon or the request (35=3, j, Y) or logged out (35=5).
        """
        self._last_in = now_ns
        self._tested = False
        frames = self._splitter.feed(data)
        replies = b""
        for frame in frames:
            try:
                message = parse_message(frame, strict=False)
            except FixError:
                continue  # the codec refuses it with its reason
            replies += self._answer(message, now_ns)
        return frames, replies

    def _answer(self, message: FixMessage, now_ns: int) -> bytes:
        kind = message.msg_type
        if kind == "A":
            self.is_logged_on = True
            return self.request(self.symbols, now_ns)
        if kind == "1":
            return self._message("0", [(112, message.text(112) or "")], now_ns)
        if kind == "2":  # what we sent has no second meaning: fill the gap
            first = message.text(7) or "1"
            return self._message("4", [(43, "Y"), (123, "Y"), (36, str(self._next_out))], now_ns, number=int(first))
        if kind in ("3", "j", "Y"):
            what = {"3": "session reject", "j": "business reject", "Y": "market data request reject"}[kind]
            reason = (
                message.text(58) or message.text(281) or message.text(373) or message.text(380) or "no reason given"
            )
            raise FixSessionError(f"{self.login.target}: {what}: {reason}")
        if kind == "5":
            raise FixSessionError(f"{self.login.target}: logged out: {message.text(58) or 'no reason given'}")
        return b""

    def request(self, symbols: Sequence[str], now_ns: int, *, subscribe: bool = True) -> bytes:
        """Return the market data request of bids, offers and trades: a snapshot, then increments.

        Asking again for a symbol brings a new snapshot: what a codec's ``wants_snapshot`` names.
        """
        out = b""
        for symbol in symbols:
            self._requests += 1
            what = SNAPSHOT_AND_UPDATES if subscribe else UNSUBSCRIBE
            fields = [(262, f"{symbol}:{self._requests}"), (263, what), (264, str(self.depth)), (265, "1")]
            fields += [(267, "3"), (269, "0"), (269, "1"), (269, "2"), (146, "1"), (55, symbol)]
            out += self._message("V", fields, now_ns)
        return out

    def tick(self, now_ns: int) -> bytes:
        """Return what is due at this time: a heartbeat, a test request, or nothing.

        Raises
        ------
        FixSessionError
            If the venue has been silent for two heartbeats and has not answered a test request.
        """
        silence = (now_ns - self._last_in) / NS_PER_S
        if silence > 2 * self.login.heartbeat_s and self._tested:
            raise FixSessionError(f"{self.login.target}: silent for {silence:.0f} s")
        if silence > 1.2 * self.login.heartbeat_s and not self._tested:
            self._tested = True
            return self._message("1", [(112, str(now_ns))], now_ns)
        if now_ns - self._last_out >= self.login.heartbeat_s * NS_PER_S:
            return self._message("0", [], now_ns)
        return b""

    def stop(self, now_ns: int) -> bytes:
        """Return the logout."""
        return self._message("5", [], now_ns)

    def _message(self, kind: str, fields: list[tuple[int, str]], now_ns: int, number: int | None = None) -> bytes:
        sent = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).strftime("%Y%m%d-%H:%M:%S")
        millis = now_ns % NS_PER_S // 1_000_000
        head = [(35, kind), (49, self.login.sender), (56, self.login.target)]
        head += [(34, str(self._next_out if number is None else number)), (52, f"{sent}.{millis:03d}")]
        if number is None:
            self._next_out += 1
        self._last_out = now_ns
        filled = [(tag, text) for tag, text in fields if text]
        return make_message([*head, *filled], self.login.begin)


def stream_fix(
    host: str,
    port: int,
    session: FixSession,
    *,
    tls: bool = True,
    clock: Callable[[], int] = time.time_ns,
    until: Callable[[], bool] = lambda: False,
) -> Iterator[FrameBatch]:
    """Yield what a venue sends, verbatim, one batch a read, until ``until()`` says so or the venue closes.

    The first batch is an empty frame: the connection was opened. Reconnecting is the caller's business, with a new session.

    Raises
    ------
    FixSessionError
        As :class:`FixSession` raises it, and if the venue closes the connection.
    """
    address = f"fix://{host}:{port}/{session.login.sender}-{session.login.target}"
    with socket.create_connection((host, port), timeout=10.0) as plain:
        wrapped = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if tls else plain
        with wrapped as connection:
            connection.settimeout(0.2)
            yield frame_batch([(clock(), b"")], address)
            connection.sendall(session.start(clock()))
            while not until():
                try:
                    data = connection.recv(READ_BYTES)
                except TimeoutError:
                    connection.sendall(session.tick(clock()))
                    continue
                if not data:
                    raise FixSessionError(f"{host}:{port}: the venue closed the connection")
                now = clock()
                frames, replies = session.receive(data, now)
                if replies:
                    connection.sendall(replies)
                if frames:
                    yield frame_batch([(now, frame) for frame in frames], address)
            connection.sendall(session.stop(clock()))

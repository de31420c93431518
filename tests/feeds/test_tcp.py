"""FIX and ITCH from a socket are what they are from a file, however the network cuts and breaks the stream."""

import re
import socket
import struct
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from marketdata.codecs.fix import FixCodec
from marketdata.codecs.fix_message import make_message, parse_message
from marketdata.codecs.fix_session import FixLogin
from marketdata.codecs.itch import ItchCodec
from marketdata.codecs.itch_framing import SOUPBINTCP
from marketdata.events import EventArray, empty_events
from marketdata.feeds.framing import FixFraming, Framing, LengthFraming, SoupBinTcpFraming
from marketdata.feeds.protocol import FeedError, WallClock, consume
from marketdata.feeds.tcp import TcpFrameFeed
from marketdata.frames import QUARANTINE, FrameCodec, frame_batch
from marketdata.instruments import Instrument
from marketdata.messages import EventBatch, FeedStatus, StatusKind, StreamItem
from tests.feeds.binance_like import Market, spot_codec

Serve = Callable[[socket.socket, int], None]


class Server:
    """Listens, and hands each connection with its number to a function."""

    def __init__(self, serve: Serve, path: Path | None = None) -> None:
        self.serve, self.connections = serve, 0
        if path is None:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.host, self.port = self.listener.getsockname()[:2]
        else:
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listener.bind(str(path))
            self.listener.listen()
            self.host, self.port = f"unix:{path}", 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                self.serve(connection, self.connections)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()


def feed_of(server: Server, codec: FrameCodec, framing: Framing, **options: object) -> TcpFrameFeed:
    quick = {"first_wait_s": 0.01, "longest_wait_s": 0.02, "retries": 3, **options}
    return TcpFrameFeed(codec, server.host, server.port, framing, **quick)  # type: ignore[arg-type]  # options by name


def taken(feed: TcpFrameFeed) -> tuple[EventArray, list[FeedStatus]]:
    items: list[StreamItem] = []
    consume(feed, items.append)
    parts = [item.events for item in items if isinstance(item, EventBatch)]
    return np.concatenate([empty_events(0), *parts]), [item for item in items if isinstance(item, FeedStatus)]


def untimed(events: EventArray) -> list[tuple[int, ...]]:
    names = [name for name in events.dtype.names or () if name != "ts_recv"]
    return events[names].tolist()


def in_pieces(connection: socket.socket, data: bytes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = 0
    while at < len(data):
        size = int(rng.integers(1, 200))
        connection.sendall(data[at : at + size])
        at += size


def soup(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">H", 1 + len(body)) + kind + body


def itch_messages(count: int) -> list[bytes]:
    """System event, directory, then orders that come, trade and go."""
    rng = np.random.default_rng(9)
    stamp = 34_200_000_000_000

    def head(kind: bytes, locate: int) -> bytes:
        nonlocal stamp
        stamp += 1_000
        return kind + struct.pack(">HH", locate, 0) + stamp.to_bytes(6, "big")

    out = [head(b"S", 0) + b"O"]
    live: dict[int, int] = {}
    for number in range(1, count):
        choice = rng.uniform()
        if len(live) < 3 or choice < 0.6:
            side = b"B" if rng.uniform() < 0.5 else b"S"
            price = 1_000_000 + (100 if side == b"S" else -100) * int(rng.integers(1, 20))
            live[number] = int(rng.integers(2, 9)) * 100
            shape = struct.pack(">Q", number) + side + struct.pack(">I", live[number]) + b"AAPL    "
            out.append(head(b"A", 7) + shape + struct.pack(">I", price))
        else:
            order = int(rng.choice(list(live)))
            if choice < 0.8:
                live[order] -= 100
                out.append(head(b"E", 7) + struct.pack(">QIQ", order, 100, number))
                if not live[order]:
                    del live[order]
            else:
                del live[order]
                out.append(head(b"D", 7) + struct.pack(">Q", order))
    return out


AAPL = Instrument(symbol="AAPL", instrument_id=3, venue="itch50", unit_nanos=1, price_decimals=0.0001)


def itch_codec() -> ItchCodec:
    return ItchCodec({"AAPL": AAPL}, framing=SOUPBINTCP, day=date(2026, 1, 5), policy=QUARANTINE)


class SoupServer:
    """Gives sequenced packets from the number asked for, and breaks its first connections off in the middle."""

    def __init__(self, messages: list[bytes], breaks: int) -> None:
        self.messages, self.breaks, self.logins, self.beats = messages, breaks, [], 0

    def __call__(self, connection: socket.socket, number: int) -> None:
        login = connection.recv(49)
        wanted = int(login[29:49])
        self.logins.append((login[3:9].strip(), wanted))
        accepted = soup(b"A", b"SESSION001" + str(wanted).encode().rjust(20))
        rest = [soup(b"S", message) for message in self.messages[wanted - 1 :]]
        if number <= self.breaks:
            cut = b"".join(rest[: len(rest) // 3])
            in_pieces(connection, accepted + soup(b"H") + cut[:-5], number)
        else:
            in_pieces(connection, accepted + b"".join(rest) + soup(b"Z"), number)


def test_itch_over_soupbintcp_survives_broken_connections_without_losing_or_doubling_a_message() -> None:
    messages = itch_messages(400)
    codec = itch_codec()
    whole = [soup(b"A", b"SESSION001" + b"1".rjust(20)), *(soup(b"S", m) for m in messages)]
    _, direct = codec.step(codec.init(), frame_batch([(k, frame) for k, frame in enumerate(whole)], "itch"))
    venue = SoupServer(messages, breaks=2)
    framing = SoupBinTcpFraming("USER", "secret")
    with Server(venue) as server:
        feed = feed_of(server, itch_codec(), framing)
        events, statuses = taken(feed)
    assert untimed(events) == untimed(direct.events)
    assert len(events) > 350
    assert [name for name, _ in venue.logins] == [b"USER"] * 3
    wanted = [number for _, number in venue.logins]
    assert wanted[0] == 1 < wanted[1] < wanted[2]
    assert framing.next_sequence == len(messages) + 1
    assert framing.session == "SESSION001"
    assert feed.metrics.gaps == 0
    assert (feed.metrics.reconnects, feed.metrics.disconnects) == (2, 2)
    assert [s.kind for s in statuses].count(StatusKind.DISCONNECTED) == 2
    assert "secret" not in repr(framing)


def test_a_soupbintcp_login_that_is_refused_is_said_and_not_repeated() -> None:
    with Server(lambda connection, _: connection.sendall(soup(b"J", b"A"))) as server:
        with pytest.raises(FeedError, match="login refused: user or password is wrong"):
            taken(feed_of(server, itch_codec(), SoupBinTcpFraming("USER", "wrong")))
        assert server.connections == 1


def test_a_client_heartbeat_is_sent_while_nothing_comes() -> None:
    beats: list[bytes] = []

    def serve(connection: socket.socket, _: int) -> None:
        connection.recv(49)
        connection.sendall(soup(b"A", b"SESSION001" + b"1".rjust(20)))
        while len(beats) < 2:
            beats.append(connection.recv(3))
        connection.sendall(soup(b"Z"))

    with Server(serve) as server:
        taken(feed_of(server, itch_codec(), SoupBinTcpFraming(beat_s=0.05)))
    assert beats == [b"\x00\x01R"] * 2


EURUSD = Instrument(
    symbol="EURUSD", instrument_id=4, venue="fix", unit_nanos=1, price_decimals=0.00001, lot_size=1_000.0
)


def fix(kind: str, number: int, *fields: tuple[int, str]) -> bytes:
    head = [(35, kind), (49, "VENUE"), (56, "US"), (34, str(number)), (52, "20260105-10:00:00.000")]
    return make_message([*head, *fields])


def refresh(number: int) -> bytes:
    entries = [(269, "0"), (270, "1.10000"), (271, "5000"), (269, "1"), (270, "1.10010"), (271, "7000")]
    return fix("W", number, (55, "EUR/USD"), (268, "2"), *entries)


def change(number: int, size: int) -> bytes:
    return fix("X", number, (268, "1"), (279, "1"), (269, "0"), (55, "EUR/USD"), (270, "1.10000"), (271, str(size)))


def test_a_fix_session_logs_on_subscribes_answers_tests_and_asks_again_after_a_hole() -> None:
    heard: list[str] = []

    def message(connection: socket.socket) -> str:
        data = b""
        while not re.search(rb"\x0110=\d{3}\x01$", data):
            data += connection.recv(4_096)
        heard.append(data.decode())
        return parse_message(data).msg_type

    def serve(connection: socket.socket, number: int) -> None:
        assert message(connection) == "A"
        connection.sendall(fix("A", 1, (98, "0"), (108, "30"), (141, "Y")))
        assert message(connection) == "V"
        in_pieces(connection, refresh(2) + change(3, 6_000) + fix("1", 4, (112, "ping7")), number)
        assert message(connection) == "0"
        if number == 1:
            return
        in_pieces(connection, change(6, 9_000), number)  # number 5 was lost
        assert message(connection) == "V"
        in_pieces(connection, refresh(7) + change(8, 8_000) + fix("5", 9), number)
        assert message(connection) == "5"

    framing = FixFraming(FixLogin("US", "VENUE"), ("EUR/USD",))
    with Server(serve) as server:
        feed = feed_of(server, FixCodec({"EUR/USD": EURUSD}, QUARANTINE), framing)
        events, statuses = taken(feed)
    told = [s.kind for s in statuses if s.kind in (StatusKind.GAP, StatusKind.SYNCED)]
    assert told == [StatusKind.SYNCED, StatusKind.SYNCED, StatusKind.GAP, StatusKind.SYNCED]
    assert feed.metrics.gaps == feed.metrics.resyncs == feed.metrics.reconnects == 1
    assert events["size_lots"][-1] == 8
    assert any("112=ping7" in text for text in heard)
    assert all("34=1\x01" in text for text in heard if "35=A" in text), "numbers begin anew with each connection"


def test_a_fix_request_that_is_refused_is_said() -> None:
    def serve(connection: socket.socket, number: int) -> None:
        connection.recv(4_096)
        connection.sendall(fix("A", 1, (98, "0"), (108, "30")) + fix("Y", 2, (281, "0"), (58, "no such symbol")))
        connection.recv(4_096)

    framing = FixFraming(FixLogin("US", "VENUE"), ("EUR/USD",))
    with Server(serve) as server:
        feed = feed_of(server, FixCodec({"EUR/USD": EURUSD}, QUARANTINE), framing)
        with pytest.raises(FeedError, match="VENUE: market data request reject: no such symbol"):
            taken(feed)


@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.parametrize("length_bytes", [2, 4])
def test_frames_behind_their_length_come_whole_over_tcp_and_unix_sockets(
    tmp_path: Path, unix: bool, length_bytes: int
) -> None:
    market = Market(["AAAUSDT"], 60, 4)
    frames = [f.payload for f in market.script if f.depth is None]
    data = b"".join(len(frame).to_bytes(length_bytes, "big") + frame for frame in frames)
    kept: list[bytes] = []

    class Tee:
        def write(self, stream: str, ts_recv: int, payload: bytes) -> None:
            kept.append(payload)

    def serve(connection: socket.socket, number: int) -> None:
        in_pieces(connection, data, number)

    with Server(serve, tmp_path / "s.sock" if unix else None) as server:
        feed = feed_of(server, spot_codec("AAAUSDT"), LengthFraming(length_bytes), tee=Tee())
        events = []
        for item in feed:
            if isinstance(item, EventBatch):
                events.append(item.events)
            if feed.metrics.disconnects:
                break
        feed.close()
    assert [payload for payload in kept if payload] == frames
    assert sum(len(part) for part in events) == len(frames) == market.trades.total()


def test_lengths_and_ends_that_cannot_be_are_named() -> None:
    with pytest.raises(FeedError, match="this stream has no lengths of 4 bytes in it"):
        LengthFraming().feed(b"GET / HTTP/1.1")
    with pytest.raises(FeedError, match="no SoupBinTCP stream"):
        SoupBinTcpFraming().feed(b"\x00\x00\x00")
    with pytest.raises(ValueError, match="2 or 4 bytes"):
        LengthFraming(3)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    clock = WallClock(sleep=lambda _: None)
    feed = TcpFrameFeed(itch_codec(), "127.0.0.1", port, LengthFraming(), retries=1, clock=clock)
    with pytest.raises(FeedError, match=f"no connection after 2 attempts: 127.0.0.1:{port}: connection refused"):
        taken(feed)

"""A FIX session logs on, asks for data, answers what it is asked, and its frames come over a real socket into events."""

import socket
import threading

import numpy as np
import pytest

from marketdata.codecs.fix import FixCodec
from marketdata.codecs.fix_message import make_message, parse_message
from marketdata.codecs.fix_session import FixLogin, FixSession, FixSessionError, stream_fix
from marketdata.codecs.fix_splitter import FixSplitter
from marketdata.events import CLEAR, LEVEL
from tests.codecs.market_files import instrument

NOW = 1_704_189_600_123_000_000  # 2024-01-02 10:00:00.123 UTC
S = 1_000_000_000
LOGIN = FixLogin("US", "VENUE", "name", "secret", heartbeat_s=10)


def venue(kind: str, seq: int, *fields: tuple[int, str]) -> bytes:
    return make_message([(35, kind), (49, "VENUE"), (56, "US"), (34, str(seq)), (52, "20240102-10:00:00.200"), *fields])


def test_a_logon_is_followed_by_a_request_for_each_symbol() -> None:
    session = FixSession(LOGIN, ["EUR/USD", "GBP/USD"], depth=5)
    logon = parse_message(session.start(NOW))
    assert [logon.text(tag) for tag in (35, 49, 56, 34, 52, 108, 141, 553, 554)] == [
        "A", "US", "VENUE", "1", "20240102-10:00:00.123", "10", "Y", "name", "secret",
    ]  # fmt: skip
    assert "secret" not in repr(LOGIN)
    frames, replies = session.receive(venue("A", 1, (98, "0"), (108, "10")), NOW + 1)
    assert len(frames) == 1
    asked = [parse_message(message) for message in FixSplitter().feed(replies)]
    assert [(m.msg_type, m.text(34), m.text(55), m.text(263), m.text(264), m.text(262)) for m in asked] == [
        ("V", "2", "EUR/USD", "1", "5", "EUR/USD:1"), ("V", "3", "GBP/USD", "1", "5", "GBP/USD:2"),
    ]  # fmt: skip
    assert [entry[269] for entry in asked[0].group(267)] == [b"0", b"1", b"2"]
    again = parse_message(session.request(["EUR/USD"], NOW, subscribe=False))
    assert (again.text(262), again.text(263)) == ("EUR/USD:3", "2")


def test_test_and_resend_requests_are_answered_and_heartbeats_sent_in_time() -> None:
    session = FixSession(LOGIN, [])
    session.start(NOW)
    _, reply = session.receive(venue("1", 2, (112, "abc")), NOW)
    assert [parse_message(reply).text(tag) for tag in (35, 34, 112)] == ["0", "2", "abc"]
    _, reply = session.receive(venue("2", 3, (7, "1"), (16, "0")), NOW)
    assert [parse_message(reply).text(tag) for tag in (35, 34, 43, 123, 36)] == ["4", "1", "Y", "Y", "3"]
    assert session.tick(NOW + 9 * S) == b""
    assert parse_message(session.tick(NOW + 10 * S)).msg_type == "0"
    assert parse_message(session.tick(NOW + 13 * S)).msg_type == "1"
    with pytest.raises(FixSessionError, match="VENUE: silent for 21 s"):
        session.tick(NOW + 21 * S)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (venue("Y", 2, (262, "x"), (281, "0"), (58, "no such symbol")), "market data request reject: no such symbol"),
        (venue("3", 2, (373, "5")), "session reject: 5"),
        (venue("5", 2, (58, "good night")), "logged out: good night"),
    ],
)
def test_what_the_venue_refuses_ends_the_session_with_its_reason(message: bytes, reason: str) -> None:
    with pytest.raises(FixSessionError, match=f"VENUE: {reason}"):
        FixSession(LOGIN, []).receive(message, NOW)


def test_a_session_over_a_socket_gives_frames_that_become_events() -> None:
    seen: list[str] = []
    snapshot = venue("W", 2, (55, "EUR/USD"), (268, "1"), (269, "0"), (270, "1.1"), (271, "2000"))
    change = [(279, "0"), (269, "1"), (55, "EUR/USD"), (270, "1.2"), (271, "3000")]

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        splitter = FixSplitter()
        with connection:
            while data := connection.recv(4_096):
                for frame in splitter.feed(data):
                    kind = parse_message(frame).msg_type
                    seen.append(kind)
                    if kind == "A":
                        connection.sendall(venue("A", 1, (98, "0"), (108, "10")))
                    elif kind == "V":
                        payload = snapshot + venue("X", 3, (268, "1"), *change)
                        for k in range(0, len(payload), 17):
                            connection.sendall(payload[k : k + 17])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,), daemon=True)
        server.start()
        codec = FixCodec({"EUR/USD": instrument("EURUSD", 0.1, 1_000.0)})
        state, events = codec.init(), np.zeros(0)
        done: list[bool] = []
        session = FixSession(LOGIN, ["EUR/USD"])
        parts = []
        for batch in stream_fix("127.0.0.1", listener.getsockname()[1], session, tls=False, until=lambda: bool(done)):
            assert batch.streams[0].startswith("fix://127.0.0.1:")
            state, decoded = codec.step(state, batch)
            parts.append(decoded.events)
            if sum(map(len, parts)) == 3:
                done.append(True)
        server.join(5)
    events = np.concatenate(parts)
    assert events["action"].tolist() == [CLEAR, LEVEL, LEVEL]
    assert events["size_lots"].tolist() == [0, 2, 3]
    assert seen == ["A", "V", "5"]

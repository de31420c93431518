"""A replay keeps every row and its pace; a socket stream loses nothing over broken connections."""

import socket
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from marketdata.clock import NS_PER_S, Session
from marketdata.events import EVENT_DTYPE, EventArray, empty_events
from marketdata.feeds import OLDEST, ReplayFeed, SocketFeed, StreamItem, WallClock, serve_stream, stream_session
from marketdata.messages import (
    EventBatch,
    Events,
    Hello,
    ProtocolError,
    SessionEnd,
    SessionStart,
    decode,
    encode,
    layout,
    pack_events,
    read_frame,
    unpack_events,
)

SESSION = Session(date(2026, 1, 5), 0, 100 * NS_PER_S)


def some_events(rows: int, step_ns: int = NS_PER_S) -> EventArray:
    events = empty_events(rows)
    events["ts_recv"] = np.arange(rows) * step_ns
    events["sequence"] = np.arange(rows)
    events["instrument_id"] = np.arange(rows) % 3
    return events


class ToyClock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> WallClock:
        return WallClock(lambda: self.now, self.sleep)


@pytest.mark.parametrize("batch_rows", [1, 7, 1_000])
def test_an_unpaced_replay_gives_every_row_once_with_a_watermark_that_never_goes_back(batch_rows: int) -> None:
    events = some_events(100)
    batches = list(ReplayFeed(events, batch_rows=batch_rows))
    np.testing.assert_array_equal(np.concatenate([b.events for b in batches]), events)
    marks = [b.watermark_ns for b in batches]
    assert marks == sorted(marks)
    assert all(b.events["ts_recv"][-1] == b.watermark_ns for b in batches)


def test_a_paced_replay_takes_its_time_and_carries_the_watermark_through_silence() -> None:
    toy = ToyClock()
    events = some_events(11, 10 * NS_PER_S)
    feed = ReplayFeed(events, speed=20.0, clock=toy.clock(), tick_s=0.05)
    seen = []
    for batch in feed:
        assert not len(batch.events) or batch.events["ts_recv"][-1] <= toy.now * 20 * NS_PER_S
        assert batch.watermark_ns <= events["ts_recv"][min(len(seen), 10)]
        seen += batch.events["sequence"].tolist()
    assert seen == list(range(11))
    assert toy.now == pytest.approx(100 / 20, abs=0.06)


def test_events_out_of_order_and_impossible_speeds_are_refused() -> None:
    with pytest.raises(ValueError, match="not in order of ts_recv"):
        ReplayFeed(some_events(5)[::-1])
    with pytest.raises(ValueError, match="not positive"):
        ReplayFeed(some_events(5), speed=0.0)


def test_messages_survive_the_wire_and_another_dtype_or_rubbish_is_refused() -> None:
    batch = EventBatch(some_events(5), 77)
    back = unpack_events(decode(encode(pack_events(3, batch))[4:]))
    np.testing.assert_array_equal(back.events, batch.events)
    assert back.watermark_ns == 77
    assert back.events.flags.writeable
    start = SessionStart(0, SESSION.date, SESSION.open_ns, SESSION.close_ns, ("ALFA",))
    assert decode(encode(start)[4:]).session == SESSION
    assert len(layout()) == len(EVENT_DTYPE.names)
    with pytest.raises(ProtocolError, match="no whole number of rows"):
        unpack_events(Events(0, 0, b"123"))
    with pytest.raises(ProtocolError, match="not a message"):
        decode(b"\xc1")


def collect(feed: SocketFeed) -> tuple[list[StreamItem], EventArray]:
    items = list(feed)
    parts = [item.events for item in items if isinstance(item, EventBatch)]
    return items, np.concatenate(parts) if parts else empty_events(0)


@pytest.mark.parametrize("unix", [False, True])
def test_a_session_comes_through_the_socket_as_it_was_sent(tmp_path: Path, unix: bool) -> None:
    events = some_events(5_000)
    host = f"unix:{tmp_path}/stream.sock" if unix else "127.0.0.1"
    with serve_stream(stream_session(SESSION, ["A", "B"], ReplayFeed(events, batch_rows=300)), host) as server:
        items, got = collect(SocketFeed(*server.address))
        again, _ = collect(SocketFeed(*server.address))
    assert isinstance(items[0], SessionStart)
    assert items[0].symbols == ("A", "B")
    assert isinstance(items[-1], SessionEnd)
    assert items[-1].rows == 5_000
    np.testing.assert_array_equal(got, events)
    assert len(again) == len(items), "a client that comes late gets the session from its start"


class Proxy:
    """Passes bytes on to a server and cuts each connection after so many."""

    def __init__(self, target: tuple[str, int], cut_after: int) -> None:
        self.target, self.cut_after, self.connections = target, cut_after, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.run, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def run(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with client, socket.create_connection(self.target) as server:
                hello = read_frame(server)
                client.sendall(len(hello).to_bytes(4, "big") + hello)
                body = read_frame(client)
                server.sendall(len(body).to_bytes(4, "big") + body)
                left = self.cut_after
                while left > 0:
                    part = server.recv(min(left, 65_536))
                    if not part:
                        break
                    client.sendall(part)
                    left -= len(part)


def test_a_client_whose_connection_breaks_again_and_again_still_gets_every_row_once() -> None:
    events = some_events(3_000)
    with serve_stream(stream_session(SESSION, ["A"], ReplayFeed(events, batch_rows=100))) as server:
        proxy = Proxy(server.address, cut_after=30_000)
        toy = ToyClock()
        _, got = collect(SocketFeed("127.0.0.1", proxy.port, clock=toy.clock()))
        proxy.listener.close()
    np.testing.assert_array_equal(got, events)
    assert proxy.connections > 4
    assert toy.now > 0, "it waited before each new attempt"


def test_nobody_there_is_an_error_after_the_declared_attempts_with_growing_waits() -> None:
    toy = ToyClock()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    feed = SocketFeed("127.0.0.1", port, retries=3, clock=toy.clock())
    with pytest.raises(ConnectionError, match=f"127.0.0.1:{port}: no stream after 4 attempts"):
        list(feed)
    assert 0.35 <= toy.now <= 0.7


def test_sessions_before_the_last_two_are_forgotten_and_a_client_that_wants_them_is_told() -> None:
    def three() -> Iterator[StreamItem]:
        for day in (5, 6, 7):
            session = Session(date(2026, 1, day), 0, 1)
            yield from stream_session(session, ["A"], ReplayFeed(some_events(10)))

    with serve_stream(three()) as server:
        server.join(120)
        with pytest.raises(ProtocolError, match="message 0 is no longer kept, the oldest is 3"):
            list(SocketFeed(*server.address))
        items = list(SocketFeed(*server.address, next_index=3))
        late = list(SocketFeed(*server.address, next_index=OLDEST))
    assert [item.date.day for item in items if isinstance(item, SessionStart)] == [6, 7]
    assert [item.date.day for item in late if isinstance(item, SessionStart)] == [6, 7], "the oldest that is kept"


def test_a_failing_source_ends_the_stream_and_shows_at_the_server() -> None:
    def failing() -> Iterator[StreamItem]:
        yield from stream_session(SESSION, ["A"], ReplayFeed(some_events(3)))
        raise RuntimeError("the disk is gone")

    with serve_stream(failing()) as server:
        _, got = collect(SocketFeed(*server.address))
        assert len(got) == 3
        with pytest.raises(RuntimeError, match="the disk is gone"):
            server.join(120)


def test_a_server_of_another_version_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def old() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(encode(Hello(0, 1, [])))
                connection.recv(1)

        threading.Thread(target=old, daemon=True).start()
        with pytest.raises(ProtocolError, match="another version"):
            list(SocketFeed("127.0.0.1", listener.getsockname()[1]))

"""Messages that leave in bulk are those of the library, in order, however the network cuts the bytes."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from marketdata.feeds.bulk_connection import BulkConnection

Send = Callable[[ServerProtocol], None]
LONGEST = 100_000


class Transport(asyncio.Transport):
    """Takes what is written; a socket that is always ready."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.held = self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def write_eof(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.held = True

    def resume_reading(self) -> None:
        self.held = False


def joined() -> tuple[BulkConnection, ServerProtocol, bytes, list[bytes]]:
    """A connection before its handshake, the venue's side, the bytes of the handshake, and what will be taken."""
    taken: list[bytes] = []

    def take(messages: Sequence[bytes]) -> None:
        assert messages
        taken.extend(messages)

    client = ClientProtocol(parse_uri("ws://venue.test"), max_size=LONGEST)
    connection = BulkConnection(client, take=take, ping_interval=None)
    connection.connection_made(Transport())
    client.send_request(client.connect())
    server = ServerProtocol()
    server.receive_data(b"".join(client.data_to_send()))
    [request] = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]  # the first event is the request
    return connection, server, b"".join(server.data_to_send()), taken


def received(sends: Sequence[Send], cuts: Sequence[int] = ()) -> tuple[BulkConnection, list[bytes]]:
    async def play() -> tuple[BulkConnection, list[bytes]]:
        connection, server, handshake, taken = joined()
        connection.data_received(handshake)
        for send in sends:
            send(server)
        wire = b"".join(server.data_to_send())
        places = sorted({0, *(cut % len(wire) for cut in cuts), len(wire)})
        for first, last in pairwise(places):
            connection.data_received(wire[first:last])
        return connection, taken

    return asyncio.run(play())


def text(size: int) -> bytes:
    return bytes(97 + (k * 7 + size) % 26 for k in range(size))


SIZES = (0, 1, 125, 126, 127, 300, 65_535, 65_536, 70_000)
WHOLE: list[Send] = [lambda server, n=size: server.send_text(text(n)) for size in SIZES]  # type: ignore[misc]


def mixed(server: ServerProtocol) -> None:
    server.send_text(text(10))
    server.send_ping(b"are you there")
    server.send_binary(text(11))
    server.send_text(text(12), fin=False)
    server.send_ping(b"still?")
    server.send_continuation(text(300), fin=False)
    server.send_continuation(text(13), fin=True)
    server.send_text(text(14))
    server.send_pong(b"unasked")
    server.send_text(text(15))


MIXED = [text(10), text(11), text(12) + text(300) + text(13), text(14), text(15)]


def test_messages_of_every_length_come_whole() -> None:
    assert received(WHOLE)[1] == [text(size) for size in SIZES]


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 1 << 30), max_size=40))
def test_cutting_the_bytes_anywhere_changes_nothing(cuts: list[int]) -> None:
    connection, taken = received([mixed, *WHOLE, mixed], cuts)
    assert taken == [*MIXED, *(text(size) for size in SIZES), *MIXED]
    assert connection.protocol.state is State.OPEN


def test_byte_by_byte_gives_the_same() -> None:
    assert received([mixed, mixed], range(1_000))[1] == MIXED * 2


def test_pings_are_answered() -> None:
    connection, _ = received([mixed])
    written = bytes(connection.transport.written)  # type: ignore[attr-defined]  # the transport above
    assert written.count(b"\x8a") >= 2, "two masked pongs"


def test_messages_in_the_read_of_the_handshake_are_not_lost() -> None:
    async def play() -> list[bytes]:
        connection, server, handshake, taken = joined()
        mixed(server)
        connection.data_received(handshake + b"".join(server.data_to_send()))
        return taken

    assert asyncio.run(play()) == MIXED


@pytest.mark.parametrize("cuts", [[], [400, 500], [470, 100_300]])
@pytest.mark.parametrize("size", [LONGEST + 1, 1 << 20])
def test_a_message_beyond_the_limit_closes_the_connection_at_its_header(size: int, cuts: list[int]) -> None:
    connection, taken = received([mixed, lambda server: server.send_binary(bytes(size)), mixed], cuts)
    assert taken == MIXED
    assert connection.protocol.state is not State.OPEN
    assert connection.protocol.close_sent is not None
    assert connection.protocol.close_sent.code == 1009


def test_a_masked_frame_of_a_server_closes_the_connection() -> None:
    async def play() -> tuple[BulkConnection, list[bytes]]:
        connection, server, handshake, taken = joined()
        connection.data_received(handshake)
        mixed(server)
        connection.data_received(b"".join(server.data_to_send()) + b"\x81\x81\x01\x02\x03\x04\x05")
        return connection, taken

    connection, taken = asyncio.run(play())
    assert taken == MIXED
    assert connection.protocol.close_sent is not None
    assert connection.protocol.close_sent.code == 1002


def test_nothing_is_taken_behind_the_close() -> None:
    connection, taken = received([mixed, lambda server: server.send_close(1000)])
    assert taken == MIXED
    assert connection.protocol.state is State.CLOSING

"""What stands between us and a venue is named so that a person knows what to do."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from marketdata.feeds.network_errors import explain, explain_status
from marketdata.feeds.protocol import FeedError
from marketdata.feeds.websocket import WebSocketFeed
from marketdata.feeds.websocket_settings import WebSocketSettings
from tests.feeds.binance_like import ADDRESSES, Market, addresses, spot_codec
from tests.feeds.exchange_server import ExchangeServer


def failing(address: str, **options: object) -> str:
    """Return what a feed says that cannot connect."""
    settings = WebSocketSettings(
        retries=1, first_wait_s=0.01, longest_wait_s=0.01, **{"proxy": None, "open_timeout_s": 60.0, **options}
    )
    socket_url, rest = ADDRESSES["binance_spot"]
    feed = WebSocketFeed([spot_codec("AAAUSDT")], settings=settings, addresses={socket_url: address, rest: "http://x"})
    with pytest.raises(FeedError) as raised:
        for _ in feed:
            pass
    return str(raised.value)


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A listener that does the same with everyone who connects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        threading.Thread(target=run, daemon=True).start()
        yield listener.getsockname()[1]


def says(text: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(text)

    return answer


def test_nobody_listening_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    said = failing(f"ws://127.0.0.1:{port}")
    assert said.startswith(f"no connection after 2 attempts: 127.0.0.1:{port}: connection refused")


@pytest.mark.parametrize(
    ("status", "words", "attempts"),
    [
        (451, "the venue blocks the country", ""),
        (403, "a firewall in between or the venue's own blocks this address", " after 2 attempts"),
        (407, "the proxy wants a login", ""),
        (503, "the venue is overloaded", " after 2 attempts"),
    ],
)
def test_a_refusal_is_named_and_not_repeated_where_that_cannot_help(status: int, words: str, attempts: str) -> None:
    market = Market(["AAAUSDT"], 5, 1)
    with ExchangeServer(market.script, market.books, refuse=status) as server:
        said = failing(next(iter(addresses(server).values())))
    assert said.startswith(f"no connection{attempts}: 127.0.0.1:{server.port}: HTTP {status}, ")
    assert words in said
    assert "blocked by policy" in said, "what the other side says is shown"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy wants a login"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy answers HTTP 403 and does not let this host through"),
    ],
)
def test_a_proxy_that_does_not_let_us_through_is_named(answer: bytes, words: str) -> None:
    with answering(says(answer)) as port:
        said = failing("wss://stream.example:9443", proxy=f"http://user:secret@127.0.0.1:{port}")
    assert f"stream.example:9443 by proxy http://127.0.0.1:{port}: {words}" in said
    assert "secret" not in said


def test_a_port_that_speaks_no_tls_and_one_that_is_no_websocket_are_named() -> None:
    with answering(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        assert "no TLS there" in failing(f"wss://127.0.0.1:{port}")
    with answering(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")) as port:
        assert "HTTP 200, unexpected answer" in failing(f"ws://127.0.0.1:{port}")
    with answering(says(b"SSH-2.0-x\r\n")) as port:
        assert "answers, but not as a WebSocket" in failing(f"ws://127.0.0.1:{port}")


def test_a_host_that_says_nothing_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = failing(f"ws://127.0.0.1:{silent.getsockname()[1]}", open_timeout_s=0.2)
    assert "no answer in time; the network is slow, or a firewall drops packets" in said


def test_names_and_certificates_are_named() -> None:
    said = explain(socket.gaierror(-2, "Name or service not known"), "wss://stream.example:9443/x")
    assert said.reason.startswith("stream.example:9443: the name cannot be resolved")
    untrusted = ssl.SSLCertVerificationError(1, "x")
    untrusted.verify_message = "self-signed certificate in certificate chain"
    said = explain(untrusted, "wss://stream.example")
    assert "a proxy that opens TLS needs its own certificate in SSL_CERT_FILE" in said.reason
    assert said.is_fatal
    assert explain(ValueError("odd"), "wss://a").reason == "a: ValueError: odd"
    assert "banned for a while" in explain_status(418, "https://api.example/x").reason

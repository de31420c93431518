"""Whatever a venue and a network do, the book that comes out is the venue's own or says that it is unknown."""

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from marketdata.feeds.protocol import Feed
from marketdata.feeds.websocket import WebSocketFeed
from marketdata.feeds.websocket_settings import WebSocketSettings
from marketdata.frames import FrameCodec
from marketdata.messages import StatusKind
from tests.feeds.binance_like import Checker, Market, addresses, spot_codec, usdm_codec
from tests.feeds.exchange_server import ExchangeServer, Fault

QUICK = WebSocketSettings(
    first_wait_s=0.01, longest_wait_s=0.05, rest_first_wait_s=0.01, rest_longest_wait_s=0.05, idle_s=0.01, proxy=None
)


def run(feed: Feed, checker: Checker, servers: Iterable[ExchangeServer], limit_s: float = 20.0) -> None:
    """Consume until every book is at the venue's last update."""
    deadline = time.monotonic() + limit_s
    everyone = list(servers)
    for item in feed:
        checker.take(item)
        if checker.is_done and all(server.is_done for server in everyone):
            break
        assert time.monotonic() < deadline, f"not done: {checker.known}, the venue is at {checker.market.last}"
    feed.close()


def play(
    market: Market, faults: dict[int, Fault], *symbols: str, **options: object
) -> tuple[Checker, WebSocketFeed, ExchangeServer]:
    with ExchangeServer(market.script, market.books, faults, **options) as server:  # type: ignore[arg-type]  # by name
        feed = WebSocketFeed([spot_codec(*symbols)], settings=QUICK, addresses=addresses(server))
        checker = Checker(market, dict(enumerate(symbols)))
        run(feed, checker, [server])
    return checker, feed, server


def test_a_clean_stream_gives_the_venues_book_at_every_update() -> None:
    market = Market(["AAAUSDT", "BBBUSDT"], 400, 1)
    checker, feed, server = play(market, {}, "AAAUSDT", "BBBUSDT")
    assert not checker.gaps()
    assert feed.metrics.gaps == feed.metrics.rejected == feed.metrics.reconnects == 0
    assert checker.trades == market.trades
    assert feed.metrics.frames >= 402
    assert feed.metrics.snapshots == server.rest_requests >= 2
    assert checker.checked.total() > 100
    assert feed.metrics.as_dict(time.time_ns())["bytes"] > 10_000

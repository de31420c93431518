"""A feed that was killed goes on from its checkpoint where the venue's stream lets it, and asks for a new book where not."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from marketdata.feeds.checkpoint import FeedCheckpoint, load_checkpoint, save_checkpoint
from marketdata.feeds.websocket import WebSocketFeed
from marketdata.feeds.websocket_settings import WebSocketSettings
from marketdata.messages import StatusKind
from tests.feeds.binance_like import Checker, Market, addresses, spot_codec
from tests.feeds.exchange_server import LIMIT_S, ExchangeServer

WORKER = Path(__file__).with_name("feed_worker.py")
SETTINGS = WebSocketSettings(proxy=None, idle_s=0.01, first_wait_s=0.01, checkpoint_s=0.0)


def wait_for(checkpoint: Path, sequence: int, limit_s: float = 200.0) -> FeedCheckpoint:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = load_checkpoint(checkpoint)
        if found is not None:
            book = found.venues["binance_spot"].get("AAAUSDT")
            if book is not None and book.sequence == sequence:
                return found
        time.sleep(0.02)
    raise AssertionError(f"the checkpoint never came to update {sequence}")


def finish(server: ExchangeServer, market: Market, checkpoint: Path) -> tuple[Checker, WebSocketFeed]:
    feed = WebSocketFeed([spot_codec("AAAUSDT")], settings=SETTINGS, addresses=addresses(server), checkpoint=checkpoint)
    checker = Checker(market, {0: "AAAUSDT"})
    deadline = time.monotonic() + LIMIT_S
    server.go_on()
    for item in feed:
        checker.take(item)
        if checker.is_done and server.is_done:
            break
        assert time.monotonic() < deadline, checker.known
    feed.close()
    return checker, feed


@contextmanager
def killed_at_hold(market: Market, hold: int, checkpoint: Path) -> Iterator[ExchangeServer]:
    """A venue that waits at a place of its script, and a feed that was there and is gone without a word."""
    with ExchangeServer(market.script, market.books, hold_at=hold) as server:
        environment = {**os.environ, "PYTHONPATH": str(WORKER.parents[2])}
        command = [sys.executable, str(WORKER), str(server.port), str(checkpoint)]
        worker = subprocess.Popen(command, env=environment)
        try:
            wait_for(checkpoint, at(market, hold))
        finally:
            worker.kill()
            worker.wait(LIMIT_S)
        yield server


def listen_until(feed: WebSocketFeed, market: Market, sequence: int) -> Checker:
    """Consume until the book stands at an update, and close the feed."""
    checker = Checker(market, {0: "AAAUSDT"})
    deadline = time.monotonic() + LIMIT_S
    for item in feed:
        checker.take(item)
        if checker.known[0] == sequence:
            break
        assert time.monotonic() < deadline, checker.known
    feed.close()
    return checker


def at(market: Market, place: int) -> int:
    """Return the last update before a place of the script."""
    return max(frame.depth["u"] for frame in market.script[:place] if frame.depth is not None)


def test_a_killed_feed_goes_on_without_a_new_snapshot_where_the_stream_has_no_hole(tmp_path: Path) -> None:
    market = Market(["AAAUSDT"], 200, 31)
    checkpoint = tmp_path / "feed.ckpt"
    with killed_at_hold(market, 90, checkpoint) as server:
        before = server.rest_requests
        checker, feed = finish(server, market, checkpoint)
        assert server.rest_requests == before == 1
    assert feed.metrics.gaps == 0
    first = next(status for status in checker.statuses if status.kind is StatusKind.SYNCED)
    assert (first.found, first.detail) == (at(market, 90), "gone on from the checkpoint without a hole")
    assert checker.snapshots[0] == 1, "a consumer without memory gets the book first"
    assert checker.checked[0] > 40


def test_a_feed_that_missed_something_while_it_was_gone_finds_the_hole_and_asks(tmp_path: Path) -> None:
    market = Market(["AAAUSDT"], 200, 32)
    checkpoint = tmp_path / "feed.ckpt"
    with ExchangeServer(market.script, market.books, hold_at=90) as server:
        first = WebSocketFeed(
            [spot_codec("AAAUSDT")], settings=SETTINGS, addresses=addresses(server), checkpoint=checkpoint
        )
        listen_until(first, market, at(market, 90))
        first.close()
        # What came after that update may still wait for somebody to hear it: the venue goes past it all the same.
        server.pass_by(96 - server.position)
        checker, feed = finish(server, market, checkpoint)
        assert server.rest_requests == 2
    assert feed.metrics.gaps == len(checker.gaps()) == 1
    assert checker.gaps()[0].expected == at(market, 90) + 1


def test_a_book_whose_stream_says_nothing_is_asked_from_the_venue_after_a_while(tmp_path: Path) -> None:
    market = Market(["AAAUSDT"], 100, 33)
    checkpoint = tmp_path / "feed.ckpt"
    settings = WebSocketSettings(proxy=None, idle_s=0.01, resume_s=0.1)
    with ExchangeServer(market.script, market.books, hold_at=60) as server:
        feeds = [
            WebSocketFeed(
                [spot_codec("AAAUSDT")], settings=settings, addresses=addresses(server), checkpoint=checkpoint
            )
            for _ in range(2)
        ]
        checkers = [listen_until(feed, market, at(market, 60)) for feed in feeds]
        assert server.rest_requests == 2
    assert checkers[1].snapshots[0] == 1
    assert feeds[1].metrics.snapshots == 1


def test_a_checkpoint_that_is_broken_or_of_another_grid_costs_a_snapshot_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    market = Market(["AAAUSDT"], 60, 34)
    checkpoint = tmp_path / "feed.ckpt"
    checkpoint.write_bytes(b"\xc1 no checkpoint")
    with ExchangeServer(market.script, market.books) as server:
        checker, _ = finish(server, market, checkpoint)
        assert server.rest_requests == 1
    assert checker.is_done
    assert "no checkpoint that can be read" in caplog.text
    found = load_checkpoint(checkpoint)
    assert found is not None
    book = found.venues["binance_spot"]["AAAUSDT"]
    instrument = spot_codec("AAAUSDT").instruments["AAAUSDT"]
    assert book.fits(instrument)
    assert not book.fits(instrument.model_copy(update={"price_decimals": 0.1}))
    save_checkpoint(found, checkpoint, sync=True)
    assert load_checkpoint(checkpoint) == found
    assert [p.name for p in tmp_path.iterdir()] == ["feed.ckpt"]

"""Recorded Binance frames and snapshots, played by a local venue that misbehaves: the book is the recording's own."""

import gzip
import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marketdata.codecs.binance import COINM, SPOT, USDM, BinanceCodec
from marketdata.codecs.binance import Market as BinanceMarket
from marketdata.events import CLEAR, F_SNAPSHOT, TRADE, EventArray
from marketdata.feeds.books import BookKeeper
from marketdata.feeds.protocol import WatermarkGuard
from marketdata.feeds.websocket import WebSocketFeed
from marketdata.feeds.websocket_settings import WebSocketSettings
from marketdata.frames import QUARANTINE, frame_batch
from marketdata.instruments import Instrument
from marketdata.messages import EventBatch, FeedStatus, StatusKind, StreamItem
from tests.feeds.binance_like import followed, groups
from tests.feeds.exchange_server import ExchangeServer, Fault, Frame, VenueBook

pytestmark = pytest.mark.realdata
SETTINGS = WebSocketSettings(
    first_wait_s=0.01, longest_wait_s=0.1, rest_first_wait_s=0.02, rest_longest_wait_s=0.1, idle_s=0.02, proxy=None
)
BEST = 10
Levels = list[tuple[int, int]]


class Recorded:
    """A recording as a script, its snapshots as books, and the truth of every update by folding text in a dict."""

    def __init__(
        self, frames: list[str], snapshots: dict[str, dict[str, Any]], steps: dict[str, tuple[str, str]]
    ) -> None:
        self.steps = {symbol: (Decimal(price), Decimal(size)) for symbol, (price, size) in steps.items()}
        self.starts = {
            symbol: VenueBook(
                dict(found["bids"]),
                dict(found["asks"]),
                found["lastUpdateId"],
                {key: found[key] for key in ("E", "T") if key in found},
            )
            for symbol, found in snapshots.items()
        }
        self.script = []
        for text in frames:
            data = json.loads(text).get("data", {})
            new = data.get("e") == "depthUpdate" and data["u"] > self.starts[data["s"]].last
            self.script.append(Frame(text.encode(), data if new else None))
        self.updates = {symbol: [book.last] for symbol, book in self.starts.items()}
        self.depths: dict[tuple[str, int], dict[str, Any]] = {}
        for frame in self.script:
            if frame.depth is not None:
                self.updates[frame.depth["s"]].append(frame.depth["u"])
                self.depths[frame.depth["s"], frame.depth["u"]] = dict(frame.depth)
        self.places = [k for k, frame in enumerate(self.script) if frame.depth is not None]
        self.truth = self.books()

    def books(self) -> dict[str, VenueBook]:
        return {s: VenueBook(dict(b.bids), dict(b.asks), b.last, dict(b.extra)) for s, b in self.starts.items()}

    def true_levels(self, symbol: str, update: int) -> tuple[Levels, Levels]:
        """Return the venue's levels at an update not before the one asked for last, the best first."""
        book, updates = self.truth[symbol], self.updates[symbol]
        for u in updates[updates.index(book.last) + 1 : updates.index(update) + 1]:
            book.apply(self.depths[symbol, u])
        price, size = self.steps[symbol]
        bids, asks = (
            sorted((int(Decimal(p) / price), int(Decimal(q) / size)) for p, q in side.items())
            for side in (book.bids, book.asks)
        )
        return bids[::-1], asks


class Checker:
    """Holds the best levels of every group, and every level of every snapshot and at the end, against the recording."""

    def __init__(self, recorded: Recorded, names: dict[int, str], *, every: int) -> None:
        self.recorded, self.names, self.every = recorded, names, every
        self.keeper, self.guard = BookKeeper(), WatermarkGuard()
        self.known: dict[int, int | None] = dict.fromkeys(names)
        self.statuses: list[FeedStatus] = []
        self.clears = self.groups = self.snapshots = self.compared = self.trades = 0

    @property
    def is_done(self) -> bool:
        return all(self.known[k] == self.recorded.updates[name][-1] for k, name in self.names.items())

    def take(self, item: StreamItem) -> None:
        self.guard.check(item)
        if isinstance(item, FeedStatus):
            self.statuses.append(item)
        elif isinstance(item, EventBatch):
            for group in groups(item.events):
                self._group(group)

    def _group(self, group: EventArray) -> None:
        number, sequence = int(group["instrument_id"][0]), int(group["sequence"][-1])
        if group["action"][0] == TRADE:
            self.trades += 1
            return
        self.keeper.apply(group)
        if group["action"][0] == CLEAR and not group["flags"][0] & F_SNAPSHOT:
            self.clears += 1
            self.known[number] = None
            return
        updates = self.recorded.updates[self.names[number]]
        is_snapshot = bool(group["flags"][-1] & F_SNAPSHOT)
        before = self.known[number]
        if not is_snapshot:
            assert before is not None
            assert updates[updates.index(before) + 1] == sequence
        self.known[number] = sequence
        self.groups += 1
        self.snapshots += is_snapshot
        if is_snapshot or sequence == updates[-1]:
            self.compare(number, sequence, None)
        elif self.groups % self.every == 0:
            self.compare(number, sequence, BEST)

    def compare(self, number: int, sequence: int, most: int | None) -> None:
        kept, true = self.keeper.books[number], self.recorded.true_levels(self.names[number], sequence)
        for side in (0, 1):
            assert kept.levels(side)[:most] == true[side][:most], f"side {side} at update {sequence}"
        self.compared += 1


def warm_up(recorded: Recorded, market: BinanceMarket, instruments: dict[str, Instrument]) -> None:
    """Compile what decodes and keeps books: a consumer that stands still for that long has not seen what the venue played."""
    codec, keeper = BinanceCodec(market, instruments, QUARANTINE), BookKeeper()
    snapshots = [
        (book.snapshot(), codec.snapshot_url(symbol))
        for symbol, book in recorded.books().items()
        if symbol in instruments
    ]
    frames = [(frame.payload, market.sockets[0][0]) for frame in recorded.script[:200]]
    state = codec.init()
    for payload, stream in [*frames, *snapshots, *frames]:
        state, decoded = codec.step(state, frame_batch([(0, payload)], stream))
        if len(decoded.events):
            keeper.apply(decoded.events)


def run(
    recorded: Recorded, market: BinanceMarket, instruments: dict[str, Instrument], faults: dict[int, Fault], every: int
) -> tuple[Checker, WebSocketFeed, ExchangeServer]:
    socket, rest = ("/".join(address.split("/")[:3]) for address in (market.sockets[0][0], market.rest))
    warm_up(recorded, market, instruments)
    with ExchangeServer(recorded.script, recorded.books(), faults, burst=200, pause_s=0.0005) as server:
        real = {socket: f"ws://127.0.0.1:{server.port}", rest: f"http://127.0.0.1:{server.port}"}
        feed = WebSocketFeed([BinanceCodec(market, instruments, QUARANTINE)], settings=SETTINGS, addresses=real)
        checker = Checker(recorded, {item.instrument_id: s for s, item in instruments.items()}, every=every)
        followed(server, checker, feed)
        deadline = time.monotonic() + 240
        for item in feed:
            checker.take(item)
            if checker.is_done and server.is_done:
                break
            assert time.monotonic() < deadline, (checker.known, server.position)
        feed.close()
    assert feed.metrics.gaps == checker.clears == sum(s.kind is StatusKind.GAP for s in checker.statuses)
    assert feed.metrics.rejected == 0
    assert checker.compared > 20
    return checker, feed, server


def instrument(symbol: str, number: int, market: BinanceMarket, price: str, size: str) -> Instrument:
    return Instrument(
        symbol=symbol,
        instrument_id=number,
        venue=market.venue,
        unit_nanos=1,
        price_decimals=float(price),
        lot_size=float(size),
    )


RAW = {
    "spot": (SPOT, "spot/btcusdt_20240808.gz", "BTCUSDT", "0.01", "0.00000001"),
    "usdm": (USDM, "usdm/btcusdt_20240808.gz", "BTCUSDT", "0.1", "0.001"),
    "coinm": (COINM, "cm/ethusd_perp_20240808.gz", "ETHUSD_PERP", "0.01", "1"),
}


@pytest.fixture(scope="module", params=sorted(RAW))
def raw(request: pytest.FixtureRequest, shared_data: Path) -> tuple[Recorded, BinanceMarket, Instrument]:
    """The first minutes of a raw recording: all of its depth, trades, and every tenth best quote."""
    market, name, symbol, price, size = RAW[request.param]
    frames, snapshot = [], None
    with gzip.open(shared_data / "market" / "binance_raw_2024" / name, "rt") as lines:
        for k, line in enumerate(lines):
            text = line.split(" ", 1)[1].strip()
            if '"lastUpdateId"' in text[:20]:
                snapshot = snapshot or json.loads(text)
            elif "bookTicker" not in text[:60] or k % 10 == 0:
                frames.append(text)
            if len(frames) == 8_000:
                break
    assert snapshot is not None
    return (
        Recorded(frames, {symbol: snapshot}, {symbol: (price, size)}),
        market,
        instrument(symbol, 0, market, price, size),
    )


def test_a_recording_played_cleanly_gives_its_own_book(raw: tuple[Recorded, BinanceMarket, Instrument]) -> None:
    recorded, market, item = raw
    recorded.truth = recorded.books()
    checker, feed, server = run(recorded, market, {item.symbol: item}, {}, every=20)
    assert feed.metrics.gaps == 0
    assert server.rest_requests == checker.snapshots == 1
    assert checker.groups >= 0.99 * len(recorded.places)


def test_a_recording_played_by_a_venue_that_misbehaves_gives_its_own_book_too(
    raw: tuple[Recorded, BinanceMarket, Instrument],
) -> None:
    recorded, market, item = raw
    recorded.truth = recorded.books()
    rng = np.random.default_rng(5)
    kinds = ["drop", "duplicate", "late", "disconnect", "delay"]
    chosen = np.linspace(200, len(recorded.places) - 200, 15).astype(int)
    faults = {
        recorded.places[k]: Fault(kinds[j % 5], int(rng.integers(1, 20)), 0.05) for j, k in enumerate(chosen.tolist())
    }
    checker, feed, server = run(recorded, market, {item.symbol: item}, faults, every=20)
    assert dict(server.happened) == dict.fromkeys(kinds, 3)
    assert feed.metrics.reconnects == 3
    assert 6 <= feed.metrics.gaps <= 9, "three drops, three late frames, three breaks, unless two met in one resync"
    assert checker.snapshots == feed.metrics.resyncs + 1
    assert 6 <= feed.metrics.resyncs <= feed.metrics.gaps, (
        "a gap before the snapshot of another has come costs none of its own"
    )


def test_four_symbols_on_one_connection_with_their_recorded_rest_answers(shared_data: Path) -> None:
    folder = shared_data / "market" / "exchange_ws_frames"
    with gzip.open(folder / "BINANCE.ws.1.0.gz", "rt") as lines:
        frames = [line.split(": ", 1)[1].strip() for line in lines if line[:1].isdigit() and ": {" in line]
    snapshots = {}
    with gzip.open(folder / "BINANCE.http.0.0.gz", "rt") as lines:
        for line in lines:
            if "/depth?symbol=" in line:
                symbol = line.split("symbol=")[1].split("&")[0]
                snapshots[symbol] = json.loads(line.split(": ", 1)[1])
    assert len(snapshots) == 4
    steps = dict.fromkeys(snapshots, ("0.00000001", "0.00000001"))
    recorded = Recorded(frames, snapshots, steps)
    instruments = {s: instrument(s, k, SPOT, "0.00000001", "0.00000001") for k, s in enumerate(sorted(snapshots))}
    places = recorded.places
    faults = {places[30]: Fault("drop"), places[70]: Fault("disconnect", 3), places[100]: Fault("duplicate")}
    checker, feed, server = run(recorded, SPOT, instruments, faults, every=1)
    assert feed.metrics.gaps >= 1
    assert feed.metrics.reconnects == 1
    assert server.rest_requests >= 5
    assert feed.metrics.ignored["kline"] > 0
    assert checker.compared == checker.groups

"""A small synthetic stream in Binance's form, the truth behind it, and a consumer that holds every book against that truth."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Protocol

import numpy as np

from marketdata.codecs.binance import SPOT, USDM, BinanceCodec
from marketdata.events import CLEAR, F_LAST, F_SNAPSHOT, LEVEL, TRADE, EventArray
from marketdata.feeds.books import BookKeeper
from marketdata.feeds.protocol import WatermarkGuard
from marketdata.feeds.websocket import WebSocketFeed
from marketdata.frames import QUARANTINE
from marketdata.instruments import Instrument
from marketdata.messages import EventBatch, FeedStatus, StatusKind, StreamItem
from tests.feeds.exchange_server import ExchangeServer, Frame, VenueBook

Book = tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int]]]
START_MS = 1_767_600_000_000
ADDRESSES = {
    "binance_spot": ("wss://stream.binance.com:9443", "https://api.binance.com"),
    "binance_usdm": ("wss://fstream.binance.com", "https://fapi.binance.com"),
}


def instrument(symbol: str, number: int, venue: str = "binance_spot") -> Instrument:
    return Instrument(
        symbol=symbol, instrument_id=number, venue=venue, unit_nanos=1, price_decimals=0.01, lot_size=0.001
    )


def spot_codec(*symbols: str, policy: str = QUARANTINE) -> BinanceCodec:
    return BinanceCodec(SPOT, {symbol: instrument(symbol, k) for k, symbol in enumerate(symbols)}, policy)


def usdm_codec(*symbols: str, first_id: int = 0) -> BinanceCodec:
    return BinanceCodec(
        USDM, {symbol: instrument(symbol, first_id + k, "binance_usdm") for k, symbol in enumerate(symbols)}, QUARANTINE
    )


def addresses(server: ExchangeServer, venue: str = "binance_spot") -> dict[str, str]:
    socket, rest = ADDRESSES[venue]
    return {socket: f"ws://127.0.0.1:{server.port}", rest: f"http://127.0.0.1:{server.port}"}


class Follower(Protocol):
    """A consumer that says which update each instrument's book stands at."""

    known: dict[int, int | None]
    names: dict[int, str]


def followed(server: ExchangeServer, checker: Follower, feed: WebSocketFeed) -> None:
    """Let a venue wait for its client where it has to: until every book is at the update that was played last."""
    server.is_abreast = lambda: all(checker.known[k] == server.books[name].last for k, name in checker.names.items())
    server.connects = lambda: feed.metrics.connects


def units(book: VenueBook) -> Book:
    """Return a venue's book on our grid (0.01, 0.001)."""
    bids, asks = (
        frozenset((int(Decimal(p) * 100), int(Decimal(q) * 1_000)) for p, q in side.items())
        for side in (book.bids, book.asks)
    )
    return bids, asks


class Market:
    """Frames of one symbol after the other's, and every book that ever stood, by symbol and update number."""

    def __init__(self, symbols: Iterable[str], frames: int, seed: int, *, futures: bool = False) -> None:
        rng = np.random.default_rng(seed)
        self.books: dict[str, VenueBook] = {}
        self.truth: dict[str, dict[int, Book]] = {}
        self.updates: dict[str, list[int]] = {}
        self.script: list[Frame] = []
        names = list(symbols)
        now: dict[str, VenueBook] = {}
        for symbol in names:
            book = VenueBook(
                {f"{99.99 - k / 100:.2f}": f"{k + 1}.000" for k in range(8)},
                {f"{100.01 + k / 100:.2f}": f"{k + 1}.500" for k in range(8)},
                last=1_000,
                extra={"E": START_MS, "T": START_MS} if futures else {},
            )
            self.books[symbol] = VenueBook(dict(book.bids), dict(book.asks), book.last, dict(book.extra))
            now[symbol] = book
            self.truth[symbol] = {book.last: units(book)}
            self.updates[symbol] = [book.last]
        trades = Counter[str]()
        for k in range(frames):
            symbol = names[int(rng.integers(len(names)))]
            is_tail = k >= frames - len(names)
            if (
                is_tail
            ):  # ends with an update of every symbol: whoever has the last books has had every trade before them
                symbol = names[k - frames + len(names)]
            stamp = START_MS + 10 * k
            if rng.uniform() < 0.3 and not is_tail:
                trades[symbol] += 1
                data: dict[str, Any] = {
                    "e": "aggTrade" if futures else "trade",
                    "E": stamp,
                    "s": symbol,
                    "a" if futures else "t": trades[symbol],
                    "p": "100.00",
                    "q": "0.100",
                    "T": stamp,
                    "m": bool(rng.uniform() < 0.5),
                }
                self._add(symbol, data, None)
                continue
            book = now[symbol]
            first = book.last + 1
            data = {
                "e": "depthUpdate",
                "E": stamp,
                "s": symbol,
                "U": first,
                "u": first + int(rng.integers(0, 5)),
                "b": self._changes(rng, 99.99, -1),
                "a": self._changes(rng, 100.01, 1),
            }
            if futures:
                data |= {"T": stamp, "pu": book.last}
            book.apply(data)
            self.truth[symbol][book.last] = units(book)
            self.updates[symbol].append(book.last)
            self._add(symbol, data, data)
        self.last = {symbol: book.last for symbol, book in now.items()}
        self.trades = trades

    def depth_places(self, symbol: str | None = None) -> list[int]:
        """Return the places of depth frames in the script."""
        return [
            k for k, frame in enumerate(self.script) if frame.depth is not None and symbol in (None, frame.depth["s"])
        ]

    def _add(self, symbol: str, data: dict[str, Any], depth: dict[str, Any] | None) -> None:
        kind = "depth@100ms" if depth is not None else data["e"]
        self.script.append(
            Frame(
                json.dumps({"stream": f"{symbol.lower()}@{kind}", "data": data}, separators=(",", ":")).encode(), depth
            )
        )

    @staticmethod
    def _changes(rng: np.random.Generator, best: float, step: int) -> list[list[str]]:
        return [
            [
                f"{best + step * int(rng.integers(0, 15)) / 100:.2f}",
                f"{int(rng.integers(0, 4))}.{int(rng.integers(0, 10))}00",
            ]
            for _ in range(int(rng.integers(1, 4)))
        ]


class Checker:
    """Consumes items and fails at the first book that is not the venue's at that update number."""

    def __init__(self, market: Market, names: dict[int, str]) -> None:
        self.market, self.names = market, names
        self.keeper, self.guard = BookKeeper(), WatermarkGuard()
        self.known: dict[int, int | None] = dict.fromkeys(names)
        self.statuses: list[FeedStatus] = []
        self.checked = Counter[int]()
        self.snapshots = Counter[int]()
        self.clears = 0
        self.trades = Counter[str]()
        self.doubled_trades = 0
        self._trade_ids: dict[int, set[int]] = {k: set() for k in names}

    @property
    def is_done(self) -> bool:
        return all(self.known[k] == self.market.last[name] for k, name in self.names.items())

    def gaps(self) -> list[FeedStatus]:
        return [status for status in self.statuses if status.kind is StatusKind.GAP]

    def count(self, kind: StatusKind) -> int:
        return sum(status.kind is kind for status in self.statuses)

    def take(self, item: StreamItem) -> None:
        self.guard.check(item)
        if isinstance(item, FeedStatus):
            self.statuses.append(item)
        elif isinstance(item, EventBatch):
            for group in groups(item.events):
                self._group(group)

    def _group(self, group: EventArray) -> None:
        number, sequence = int(group["instrument_id"][0]), int(group["sequence"][-1])
        name = self.names[number]
        if group["action"][0] == TRADE:
            self.trades[name] += 1
            self.doubled_trades += sequence in self._trade_ids[number]
            self._trade_ids[number].add(sequence)
            return
        self.keeper.apply(group)
        if group["action"][0] == CLEAR and not group["flags"][0] & F_SNAPSHOT:
            self.clears += 1
            self.known[number] = None
            assert not self.keeper.books[number].is_known
            return
        if group["flags"][-1] & F_SNAPSHOT:
            assert group["action"][0] == CLEAR
            self.snapshots[number] += 1
        else:
            assert np.all(group["action"] == LEVEL)
            before = self.known[number]
            assert before is not None, "levels of a book that is not known"
            updates = self.market.updates[name]
            assert updates[updates.index(before) + 1] == sequence, f"{name}: {sequence} after {before}"
        self.known[number] = sequence
        kept = self.keeper.books[number]
        assert (frozenset(kept.levels(0)), frozenset(kept.levels(1))) == self.market.truth[name][sequence], (
            f"{name}: the book at update {sequence} is not the venue's"
        )
        self.checked[number] += 1


def groups(events: EventArray) -> Iterator[EventArray]:
    """Give event groups; the last row of each carries F_LAST."""
    ends = np.flatnonzero(events["flags"] & F_LAST) + 1
    start = 0
    for end in ends.tolist():
        yield events[start:end]
        start = end
    assert start == len(events), "a batch ends within a group"

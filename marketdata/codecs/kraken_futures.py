"""Kraken Futures: ``book``, ``trade``.

Sequence rule: every book message of a product carries ``seq``, one more than the one before; the stream begins with
``book_snapshot``. A message changes one level. Trades have a ``seq`` of their own; ``side`` is the taker's, so the
resting side is the other; ``trade_snapshot`` repeats trades of the past and is counted. No checksum.

https://docs.kraken.com/api/docs/futures-api/websocket/book
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from marketdata.clock import NS_PER_MS
from marketdata.codecs.reports import SNAPSHOT, UPDATE, BookReport, Notice, Report, TradeReport, number_pair
from marketdata.codecs.venue_books import BookRule
from marketdata.codecs.wire import BadFrame, Number, Stamp, decode
from marketdata.events import ASK, BID
from marketdata.frames import Endpoint


class _Head(msgspec.Struct):
    feed: str = ""
    event: str = ""
    message: str = ""


class _Level(msgspec.Struct):
    price: msgspec.Raw
    qty: msgspec.Raw


class _Snapshot(msgspec.Struct):
    product_id: str
    timestamp: Stamp
    seq: Number
    bids: list[_Level]
    asks: list[_Level]


class _Change(msgspec.Struct):
    product_id: str
    side: Literal["buy", "sell"]
    seq: Number
    price: msgspec.Raw
    qty: msgspec.Raw
    timestamp: Stamp


class _Trade(msgspec.Struct):
    product_id: str
    side: Literal["buy", "sell"]
    seq: Number
    price: msgspec.Raw
    qty: msgspec.Raw
    time: Stamp


_HEAD: Final = msgspec.json.Decoder(_Head)
_SNAPSHOT: Final = msgspec.json.Decoder(_Snapshot)
_CHANGE: Final = msgspec.json.Decoder(_Change)
_TRADE: Final = msgspec.json.Decoder(_Trade)
_EVENTS: Final = frozenset({"info", "subscribed", "unsubscribed", "pong"})
_FEEDS: Final = frozenset({"ticker", "ticker_lite", "heartbeat", "trade_snapshot"})


class KrakenFutures:
    """The dialect; see the module."""

    venue = "kraken_futures"
    rule = BookRule(resumes=True, trade_numbers_rise=True)

    def read(self, frame: bytes, stream: str) -> Sequence[Report]:
        """See :class:`~marketdata.codecs.dialect.Dialect`."""
        head = decode(_HEAD, frame)
        if head.event:
            if head.event not in _EVENTS:
                raise BadFrame(f"the venue answers {head.event}: {head.message}")
            return (Notice(head.event),)
        if head.feed == "book":
            change = decode(_CHANGE, frame)
            level = [number_pair(change.price, change.qty)]
            bids, asks = (level, []) if change.side == "buy" else ([], level)
            time = change.timestamp * NS_PER_MS
            return (BookReport(change.product_id, UPDATE, bids, asks, time, change.seq, change.seq - 1),)
        if head.feed == "trade":
            trade = decode(_TRADE, frame)
            side = ASK if trade.side == "buy" else BID
            numbers = number_pair(trade.price, trade.qty)
            return (TradeReport(trade.product_id, *numbers, side, trade.time * NS_PER_MS, trade.seq),)
        if head.feed == "book_snapshot":
            book = decode(_SNAPSHOT, frame)
            bids, asks = ([number_pair(level.price, level.qty) for level in side] for side in (book.bids, book.asks))
            return (BookReport(book.product_id, SNAPSHOT, bids, asks, book.timestamp * NS_PER_MS, book.seq),)
        if head.feed in _FEEDS:
            return (Notice(head.feed),)
        raise BadFrame(f"unknown kind of frame {head.feed!r}")

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return one connection: book, trades and heartbeat."""
        feeds = [{"event": "subscribe", "feed": feed, "product_ids": list(symbols)} for feed in ("book", "trade")]
        hello = tuple(
            msgspec.json.encode(feed).decode() for feed in [*feeds, {"event": "subscribe", "feed": "heartbeat"}]
        )
        return (Endpoint("wss://futures.kraken.com/ws/v1", hello),)

    def snapshot_url(self, symbol: str) -> None:
        """Return None: the stream begins with a snapshot."""
        return

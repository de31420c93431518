"""Coinbase Exchange: ``level2``, ``matches``.

Sequence rule: level-2 messages carry no number; the stream begins with a snapshot and comes in order on one connection,
so a new connection makes every book unknown until its snapshot. Matches carry a rising ``trade_id``; ``side`` is the
resting order's. ``last_match`` and ``ticker`` repeat what was traded before and are counted. No checksum.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from marketdata.codecs.reports import SNAPSHOT, UPDATE, BookReport, Notice, Report, TradeReport, iso_ns
from marketdata.codecs.venue_books import BookRule
from marketdata.codecs.wire import BadFrame, Number, PriceSize, decode
from marketdata.events import ASK, BID
from marketdata.frames import Endpoint


class _Head(msgspec.Struct):
    type: str
    message: str = ""
    reason: str = ""


class _Snapshot(msgspec.Struct):
    product_id: str
    bids: list[PriceSize]
    asks: list[PriceSize]
    time: str = ""


class _Update(msgspec.Struct):
    product_id: str
    changes: list[tuple[Literal["buy", "sell"], str, str]]
    time: str = ""


class _Match(msgspec.Struct):
    product_id: str
    trade_id: Number
    side: Literal["buy", "sell"]
    price: str
    size: str
    time: str


_HEAD: Final = msgspec.json.Decoder(_Head)
_SNAPSHOT: Final = msgspec.json.Decoder(_Snapshot)
_UPDATE: Final = msgspec.json.Decoder(_Update)
_MATCH: Final = msgspec.json.Decoder(_Match)
_NOTICES: Final = frozenset({"subscriptions", "heartbeat", "ticker", "ticker_batch", "last_match", "status"})


class Coinbase:
    """The dialect; see the module."""

    venue = "coinbase"
    rule = BookRule(trade_numbers_rise=True)

    def read(self, frame: bytes, stream: str) -> Sequence[Report]:
        """See :class:`~marketdata.codecs.dialect.Dialect`."""
        head = decode(_HEAD, frame)
        if head.type == "l2update":
            update = decode(_UPDATE, frame)
            sides: dict[str, list[PriceSize]] = {"buy": [], "sell": []}
            for name, price, size in update.changes:
                sides[name].append((price, size))
            return (BookReport(update.product_id, UPDATE, sides["buy"], sides["sell"], iso_ns(update.time)),)
        if head.type == "match":
            match = decode(_MATCH, frame)
            side = BID if match.side == "buy" else ASK
            return (TradeReport(match.product_id, match.price, match.size, side, iso_ns(match.time), match.trade_id),)
        if head.type == "snapshot":
            snapshot = decode(_SNAPSHOT, frame)
            return (BookReport(snapshot.product_id, SNAPSHOT, snapshot.bids, snapshot.asks, iso_ns(snapshot.time)),)
        if head.type in _NOTICES:
            return (Notice(head.type),)
        if head.type == "error":
            raise BadFrame(f"the venue answers with an error: {head.message} {head.reason}")
        raise BadFrame(f"unknown kind of frame {head.type!r}")

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return one connection: batched level 2 (open to everybody), matches, and a heartbeat every second."""
        hello = {
            "type": "subscribe",
            "product_ids": list(symbols),
            "channels": ["level2_batch", "matches", "heartbeat"],
        }
        return (Endpoint("wss://ws-feed.exchange.coinbase.com", (msgspec.json.encode(hello).decode(),)),)

    def snapshot_url(self, symbol: str) -> None:
        """Return None: the stream begins with a snapshot."""
        return

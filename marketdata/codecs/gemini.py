"""Gemini: ``l2`` of version 2 (levels, trades, heartbeat).

Sequence rule: messages carry no number and no time (heartbeats and trades do: the last one is carried,
``F_TS_CARRIED``); a subscription begins with a message that has the whole book and the trades of the past (they are
left out), so a new connection makes every book unknown. Trades have a rising ``event_id``; ``side`` is the taker's, so
the resting side is the other. No checksum.

https://docs.gemini.com/websocket/market-data/v2
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from marketdata.clock import NS_PER_MS
from marketdata.codecs.reports import SNAPSHOT, UPDATE, BookReport, Notice, Report, TradeReport
from marketdata.codecs.venue_books import BookRule
from marketdata.codecs.wire import BadFrame, Number, PriceSize, Stamp, decode
from marketdata.events import ASK, BID
from marketdata.frames import Endpoint


class _Message(msgspec.Struct):
    type: str = ""
    symbol: str = ""
    changes: list[tuple[Literal["buy", "sell"], str, str]] | None = None
    trades: msgspec.Raw = msgspec.Raw(b"")
    timestamp: Stamp = 0
    result: str = ""
    reason: str = ""


class _Trade(msgspec.Struct):
    symbol: str
    event_id: Number
    timestamp: Stamp
    price: str
    quantity: str
    side: Literal["buy", "sell"]


_MESSAGE: Final = msgspec.json.Decoder(_Message)
_TRADE: Final = msgspec.json.Decoder(_Trade)
_NOTICES: Final = frozenset({"heartbeat", "subscription_ack", "auction_open", "auction_indicative", "auction_result"})


class Gemini:
    """The dialect; see the module."""

    venue = "gemini"
    rule = BookRule(trade_numbers_rise=True)

    def read(self, frame: bytes, stream: str) -> Sequence[Report]:
        """See :class:`~marketdata.codecs.dialect.Dialect`."""
        message = decode(_MESSAGE, frame)
        if message.type == "l2_updates":
            if not message.symbol or message.changes is None:
                raise BadFrame("levels without symbol or changes")
            sides: dict[str, list[PriceSize]] = {"buy": [], "sell": []}
            for name, price, size in message.changes:
                sides[name].append((price, size))
            kind = SNAPSHOT if bytes(message.trades) else UPDATE
            return (BookReport(message.symbol, kind, sides["buy"], sides["sell"]),)
        if message.type == "trade":
            trade = decode(_TRADE, frame)
            side = ASK if trade.side == "buy" else BID
            time = trade.timestamp * NS_PER_MS
            return (TradeReport(trade.symbol, trade.price, trade.quantity, side, time, trade.event_id),)
        if message.type in _NOTICES:
            return (Notice(message.type, message.timestamp * NS_PER_MS),)
        if message.result == "error":
            raise BadFrame(f"the venue answers with an error: {message.reason}")
        raise BadFrame(f"unknown kind of frame {message.type!r}")

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return one connection: levels and trades."""
        hello = {"type": "subscribe", "subscriptions": [{"name": "l2", "symbols": list(symbols)}]}
        return (Endpoint("wss://api.gemini.com/v2/marketdata", (msgspec.json.encode(hello).decode(),)),)

    def snapshot_url(self, symbol: str) -> None:
        """Return None: the stream begins with a snapshot."""
        return

"""Hyperliquid: ``l2Book`` (the 20 best levels a side, whole, at most every half second) and ``trades``.

Sequence rule: every message is the whole visible book with its block's ``time``; one whose time is not beyond the last
one is old. Events are the differences from one message to the next, so nothing is lost by a hole but what happened
within it; a level that comes into sight or leaves it at the far end is flagged ``F_SNAPSHOT``. A new connection makes
every book unknown. ``side`` of a trade is the taker's (``B`` buys), so the resting side is the other; trade ids do not
rise; the first message after subscribing repeats recent trades, which nothing tells from new ones. No checksum.

https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from marketdata.clock import NS_PER_MS
from marketdata.codecs.reports import WHOLE, BookReport, Notice, Report, TradeReport
from marketdata.codecs.venue_books import BookRule
from marketdata.codecs.wire import BadFrame, Number, Stamp, decode
from marketdata.events import ASK, BID
from marketdata.frames import Endpoint


class _Message(msgspec.Struct):
    channel: str
    data: msgspec.Raw = msgspec.Raw(b"")


class _Level(msgspec.Struct):
    px: str
    sz: str


class _Book(msgspec.Struct):
    coin: str
    levels: tuple[list[_Level], list[_Level]]
    time: Stamp


class _Trade(msgspec.Struct):
    coin: str
    side: Literal["A", "B"]
    px: str
    sz: str
    time: Stamp
    tid: Number


_MESSAGE: Final = msgspec.json.Decoder(_Message)
_BOOK: Final = msgspec.json.Decoder(_Book)
_TRADES: Final = msgspec.json.Decoder(list[_Trade])
_NOTICES: Final = frozenset({"subscriptionResponse", "pong", "bbo", "allMids", "activeAssetCtx"})


class Hyperliquid:
    """The dialect; see the module."""

    venue = "hyperliquid"
    rule = BookRule(compares=True)

    def read(self, frame: bytes, stream: str) -> Sequence[Report]:
        """See :class:`~marketdata.codecs.dialect.Dialect`."""
        message = decode(_MESSAGE, frame)
        if message.channel == "l2Book":
            book = decode(_BOOK, message.data)
            bids, asks = ([(level.px, level.sz) for level in side] for side in book.levels)
            return (BookReport(book.coin, WHOLE, bids, asks, book.time * NS_PER_MS, book.time),)
        if message.channel == "trades":
            return tuple(
                TradeReport(
                    trade.coin, trade.px, trade.sz, ASK if trade.side == "B" else BID, trade.time * NS_PER_MS, trade.tid
                )
                for trade in decode(_TRADES, message.data)
            )
        if message.channel in _NOTICES:
            return (Notice(message.channel),)
        if message.channel == "error":
            answer = bytes(message.data)[:200].decode(errors="replace")
            raise BadFrame(f"the venue answers with an error: {answer}")
        raise BadFrame(f"unknown kind of frame {message.channel!r}")

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return one connection: books and trades."""
        asked = [{"type": kind, "coin": symbol} for symbol in symbols for kind in ("l2Book", "trades")]
        hello = tuple(msgspec.json.encode({"method": "subscribe", "subscription": one}).decode() for one in asked)
        return (Endpoint("wss://api.hyperliquid.xyz/ws", hello, ping='{"method":"ping"}'),)

    def snapshot_url(self, symbol: str) -> None:
        """Return None: every message is a snapshot."""
        return

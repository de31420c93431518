"""Bitstamp by level: ``diff_order_book`` and ``live_trades``. By order: :mod:`marketdata.codecs.bitstamp_orders`.

Sequence rule: messages carry ``microtimestamp``, which rises without being dense: what is old is recognised, a hole is
not, so a new connection makes every book unknown. The snapshot comes by REST; updates are kept until then, those up to
its ``microtimestamp`` are dropped. ``type`` of a trade is the taker's side (0 buys), so the resting side is the other;
trade ids rise. No checksum.

https://www.bitstamp.net/websocket/v2/
"""

from collections.abc import Sequence
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from marketdata.clock import NS_PER_S, NS_PER_US
from marketdata.codecs.reports import (
    SNAPSHOT,
    UPDATE,
    BookReport,
    Notice,
    Report,
    TradeReport,
    number_pair,
    whole_number,
)
from marketdata.codecs.venue_books import BookRule
from marketdata.codecs.wire import BadFrame, Number, PriceSize, decode
from marketdata.events import ASK, BID
from marketdata.frames import Endpoint

SOCKET: Final = "wss://ws.bitstamp.net"
REST: Final = "https://www.bitstamp.net/api/v2/order_book"


class Message(msgspec.Struct):
    """Any frame of the socket."""

    event: str
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Book(msgspec.Struct):
    bids: list[PriceSize]
    asks: list[PriceSize]
    microtimestamp: str


class _Trade(msgspec.Struct):
    id: Number
    type: Literal[0, 1]
    amount: msgspec.Raw
    price: msgspec.Raw
    microtimestamp: str = ""
    timestamp: str = ""
    amount_str: str = ""
    price_str: str = ""


MESSAGE: Final = msgspec.json.Decoder(Message)
_BOOK: Final = msgspec.json.Decoder(_Book)
_TRADE: Final = msgspec.json.Decoder(_Trade)
CONTROL: Final = frozenset(
    {"bts:subscription_succeeded", "bts:unsubscription_succeeded", "bts:heartbeat", "bts:request_reconnect"}
)


def snapshot_pair(stream: str) -> str | None:
    """Return the pair whose book was fetched, where the stream is its REST address; None for a socket."""
    path = urlsplit(stream).path
    return path.partition("/order_book/")[2].strip("/") or None if "/order_book/" in path else None


def moment_ns(microtimestamp: str, timestamp: str) -> int:
    """Return an exchange time given in microseconds, else in whole seconds; 0 where there is none."""
    if microtimestamp:
        return whole_number(microtimestamp) * NS_PER_US
    return whole_number(timestamp) * NS_PER_S if timestamp else 0


class Bitstamp:
    """The dialect; see the module."""

    venue = "bitstamp"
    rule = BookRule(rest_snapshot=True, trade_numbers_rise=True)

    def read(self, frame: bytes, stream: str) -> Sequence[Report]:
        """See :class:`~marketdata.codecs.dialect.Dialect`."""
        pair = snapshot_pair(stream)
        if pair is not None:
            return (_book(pair, SNAPSHOT, decode(_BOOK, frame)),)
        message = decode(MESSAGE, frame)
        kind, _, pair = message.channel.rpartition("_")
        if message.event in CONTROL:
            return (Notice(message.event.removeprefix("bts:")),)
        if message.event == "data" and kind == "diff_order_book":
            return (_book(pair, UPDATE, decode(_BOOK, message.data)),)
        if message.event == "trade" and kind == "live_trades":
            trade = decode(_TRADE, message.data)
            numbers = number_pair(trade.price_str or trade.price, trade.amount_str or trade.amount)
            side, time = ASK if trade.type == 0 else BID, moment_ns(trade.microtimestamp, trade.timestamp)
            return (TradeReport(pair, *numbers, side, time, trade.id),)
        raise BadFrame(f"unknown kind of frame: event {message.event!r} of channel {message.channel!r}")

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return one connection: changes of the book, and trades."""
        channels = [f"{kind}_{symbol}" for symbol in symbols for kind in ("diff_order_book", "live_trades")]
        return (subscribed(channels),)

    def snapshot_url(self, symbol: str) -> str:
        """Return the address of the whole book."""
        return f"{REST}/{symbol}/"


def subscribed(channels: Sequence[str]) -> Endpoint:
    """Return a connection that subscribes to channels, one frame each."""
    hello = tuple(msgspec.json.encode({"event": "bts:subscribe", "data": {"channel": c}}).decode() for c in channels)
    return Endpoint(SOCKET, hello, ping='{"event":"bts:heartbeat"}')


def _book(pair: str, kind: int, book: _Book) -> BookReport:
    number = whole_number(book.microtimestamp)
    bids, asks = book.bids, book.asks
    if kind == SNAPSHOT:  # now and then the answer lists a level that has just become empty
        bids, asks = ([level for level in side if level[1].strip("0.")] for side in (bids, asks))
    return BookReport(pair, kind, bids, asks, number * NS_PER_US, number)

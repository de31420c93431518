"""Kraken spot: ``book`` and ``trade``, in the form of version 2 of its socket and in that of version 1.

Sequence rule: updates carry no number but a CRC32 of the ten best asks and bids after them, which is computed for each
and compared; a difference is a gap and the book is unknown until the next snapshot. The venue keeps as many levels a
side as were subscribed to and does not say when one falls out below: this codec removes it, flagged ``F_SNAPSHOT``. A
new connection makes every book unknown. Exchange time is the message's (version 2) or its latest level's (version 1).
The checksum is of the digits of price and size as written, without point and leading zeros. Trades: ``side`` is the
taker's, the resting side is the other; version 2 has rising ``trade_id``, and its first message after subscribing
repeats trades of the past (counted as ``past_trades``).

https://docs.kraken.com/api/docs/websocket-v2/book · https://docs.kraken.com/api/docs/guides/spot-ws-book-v1
"""

from collections.abc import Sequence
from typing import Final, Literal
from zlib import crc32

import msgspec

from marketdata.codecs.reports import (
    SNAPSHOT,
    UPDATE,
    BookReport,
    Notice,
    Report,
    TradeReport,
    iso_ns,
    number_pair,
    seconds_ns,
    whole_number,
)
from marketdata.codecs.venue_books import BookRule
from marketdata.codecs.wire import BadFrame, Number, PriceSize, decode
from marketdata.events import ASK, BID
from marketdata.frames import Endpoint

DEPTH: Final = 1_000


def checksum(bids: list[PriceSize], asks: list[PriceSize]) -> int:
    """Return Kraken's CRC32 of the ten best levels a side, asks first."""
    text = "".join(
        price.replace(".", "").lstrip("0") + size.replace(".", "").lstrip("0") for price, size in (*asks, *bids)
    )
    return crc32(text.encode())


class _Level(msgspec.Struct):
    price: msgspec.Raw
    qty: msgspec.Raw


class _Book(msgspec.Struct):
    symbol: str
    checksum: Number
    bids: list[_Level]
    asks: list[_Level]
    timestamp: str = ""


class _Trade(msgspec.Struct):
    symbol: str
    side: Literal["buy", "sell"]
    price: msgspec.Raw
    qty: msgspec.Raw
    trade_id: Number
    timestamp: str


class _Message(msgspec.Struct):
    """A version-2 message, or a version-1 event."""

    channel: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    method: str = ""
    success: bool = True
    error: str = ""
    event: str = ""
    errorMessage: str = ""


class _Book1(msgspec.Struct, forbid_unknown_fields=True):
    """Version 1: ``as``/``bs`` in a snapshot, ``a``/``b`` and ``c`` in an update."""

    bids: list[msgspec.Raw] | None = msgspec.field(name="bs", default=None)
    asks: list[msgspec.Raw] | None = msgspec.field(name="as", default=None)
    b: list[msgspec.Raw] = []
    a: list[msgspec.Raw] = []
    c: str | None = None


_MESSAGE: Final = msgspec.json.Decoder(_Message)
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_BOOKS: Final = msgspec.json.Decoder(list[_Book])
_TRADES: Final = msgspec.json.Decoder(list[_Trade])
_BOOK1: Final = msgspec.json.Decoder(_Book1)
_STRINGS: Final = msgspec.json.Decoder(list[str])
_STRING: Final = msgspec.json.Decoder(str)
_TRADES1: Final = msgspec.json.Decoder(list[tuple[str, str, str, Literal["b", "s"], str, str]])
_EVENTS: Final = frozenset({"heartbeat", "systemStatus", "subscriptionStatus", "pong"})
_CHANNELS: Final = frozenset({"heartbeat", "status", "ticker", "ohlc", "instrument"})


class Kraken:
    """The dialect; see the module."""

    venue = "kraken"
    rule = BookRule(checksum=checksum, checksum_levels=10, depth=DEPTH, trade_numbers_rise=True)

    def read(self, frame: bytes, stream: str) -> Sequence[Report]:
        """See :class:`~marketdata.codecs.dialect.Dialect`."""
        if frame[:1] == b"[":
            return _read_array(decode(_ARRAY, frame))
        message = decode(_MESSAGE, frame)
        if message.event or message.method:
            problem = message.errorMessage or message.error
            if problem or not message.success:
                raise BadFrame(f"the venue answers with an error: {problem}")
            if message.event and message.event not in _EVENTS:
                raise BadFrame(f"unknown kind of frame {message.event!r}")
            return (Notice(message.event or "answer"),)
        if message.channel == "book":
            if message.type not in ("snapshot", "update"):
                raise BadFrame(f"a book message is a snapshot or an update, not {message.type!r}")
            kind = SNAPSHOT if message.type == "snapshot" else UPDATE
            return tuple(
                BookReport(
                    book.symbol,
                    kind,
                    [number_pair(level.price, level.qty) for level in book.bids],
                    [number_pair(level.price, level.qty) for level in book.asks],
                    iso_ns(book.timestamp),
                    checksum=book.checksum,
                )
                for book in decode(_BOOKS, message.data)
            )
        if message.channel == "trade":
            trades = decode(_TRADES, message.data)
            if message.type == "snapshot":
                return (Notice("past_trades"),)
            return tuple(
                TradeReport(
                    trade.symbol,
                    *number_pair(trade.price, trade.qty),
                    ASK if trade.side == "buy" else BID,
                    iso_ns(trade.timestamp),
                    trade.trade_id,
                )
                for trade in trades
            )
        if message.channel in _CHANNELS:
            return (Notice(message.channel),)
        raise BadFrame(f"unknown kind of frame {message.channel!r}")

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return one version-2 connection: books of 1,000 levels, and trades."""
        asked: tuple[dict[str, object], ...] = (
            {"channel": "book", "symbol": list(symbols), "depth": DEPTH, "snapshot": True},
            {"channel": "trade", "symbol": list(symbols), "snapshot": False},
        )
        hello = tuple(msgspec.json.encode({"method": "subscribe", "params": params}).decode() for params in asked)
        return (Endpoint("wss://ws.kraken.com/v2", hello, ping='{"method":"ping"}'),)

    def snapshot_url(self, symbol: str) -> None:
        """Return None: the stream begins with a snapshot."""
        return


def _read_array(parts: list[msgspec.Raw]) -> Sequence[Report]:
    """Return what a version-1 message ``[channel id, content, …, channel name, pair]`` says."""
    if len(parts) not in (4, 5):
        raise BadFrame(f"a version-1 message has 4 or 5 parts, not {len(parts)}")
    whole_number(parts[0])
    channel, pair = decode(_STRING, parts[-2]), decode(_STRING, parts[-1])
    if channel.startswith("book"):
        return (_read_book1(pair, [decode(_BOOK1, part) for part in parts[1:-2]]),)
    if len(parts) != 4:
        raise BadFrame(f"a message of {channel!r} has 4 parts, not {len(parts)}")
    if channel == "trade":
        return tuple(
            TradeReport(pair, price, size, ASK if side == "b" else BID, seconds_ns(time))
            for price, size, time, side, _, _ in decode(_TRADES1, parts[1])
        )
    if channel in ("ticker", "spread") or channel.startswith("ohlc"):
        return (Notice(channel),)
    raise BadFrame(f"unknown kind of frame {channel!r}")


def _read_book1(pair: str, books: list[_Book1]) -> BookReport:
    kind, latest, sent = UPDATE, 0, None
    sides: tuple[list[PriceSize], list[PriceSize]] = ([], [])
    for book in books:
        if book.bids is not None or book.asks is not None:
            kind = SNAPSHOT
            if book.bids is None or book.asks is None:
                raise BadFrame("a snapshot with one side only")
        sent = book.c if book.c is not None else sent
        for side, levels in ((0, [*(book.bids or []), *book.b]), (1, [*(book.asks or []), *book.a])):
            for raw in levels:
                level = decode(_STRINGS, raw)
                if len(level) not in (3, 4):
                    raise BadFrame(f"a level has 3 or 4 parts, not {len(level)}")
                sides[side].append((level[0], level[1]))
                latest = max(latest, seconds_ns(level[2]))
    if kind == UPDATE and sent is None:
        raise BadFrame("an update of the book without its checksum (c)")
    return BookReport(pair, kind, *sides, latest, checksum=whole_number(sent) if sent is not None else None)

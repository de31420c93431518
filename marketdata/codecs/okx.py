"""OKX: ``books`` (400 levels) and ``trades``.

Sequence rule: where messages carry ``seqId`` and ``prevSeqId`` (since 2022), the latter must be the number before.
Where they carry a checksum (CRC32 of the 25 best levels a side, bid and ask in turn, as written), it is computed for
each message and compared. A difference in either is a gap and the book is unknown until the next snapshot. A new
connection makes every book unknown. ``side`` of a trade is the taker's, so the resting side is the other; trade numbers
rise.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel
"""

from collections.abc import Sequence
from typing import Final, Literal
from zlib import crc32

import msgspec

from marketdata.clock import NS_PER_MS
from marketdata.codecs.reports import SNAPSHOT, UPDATE, BookReport, Notice, Report, TradeReport, whole_number
from marketdata.codecs.venue_books import BookRule
from marketdata.codecs.wire import BadFrame, PriceSize, decode
from marketdata.events import ASK, BID
from marketdata.frames import Endpoint


def checksum(bids: list[PriceSize], asks: list[PriceSize]) -> int:
    """Return OKX's signed CRC32 of the best levels, bid and ask in turn."""
    parts: list[str] = []
    for k in range(max(len(bids), len(asks))):
        parts += [":".join(side[k]) for side in (bids, asks) if k < len(side)]
    value = crc32(":".join(parts).encode())
    return value - 2**32 if value >= 2**31 else value


class _Argument(msgspec.Struct):
    channel: str = ""
    instId: str = ""


class _Message(msgspec.Struct):
    arg: _Argument = msgspec.field(default_factory=_Argument)
    event: str = ""
    action: str = ""
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Book(msgspec.Struct):
    bids: list[list[str]]
    asks: list[list[str]]
    ts: str
    checksum: int | None = None
    seqId: int | None = None
    prevSeqId: int | None = None


class _Trade(msgspec.Struct):
    instId: str
    tradeId: str
    px: str
    sz: str
    side: Literal["buy", "sell"]
    ts: str


_MESSAGE: Final = msgspec.json.Decoder(_Message)
_BOOKS: Final = msgspec.json.Decoder(list[_Book])
_TRADES: Final = msgspec.json.Decoder(list[_Trade])
_EVENTS: Final = frozenset({"subscribe", "unsubscribe", "channel-conn-count", "notice"})
_CHANNELS: Final = frozenset(
    {"tickers", "funding-rate", "open-interest", "liquidation-orders", "mark-price", "bbo-tbt"}
)


class Okx:
    """The dialect; see the module."""

    venue = "okx"
    rule = BookRule(checksum=checksum, checksum_levels=25, trade_numbers_rise=True)

    def read(self, frame: bytes, stream: str) -> Sequence[Report]:
        """See :class:`~marketdata.codecs.dialect.Dialect`."""
        if frame == b"pong":
            return (Notice("pong"),)
        message = decode(_MESSAGE, frame)
        if message.event:
            if message.event not in _EVENTS:
                raise BadFrame(f"the venue answers {message.event}: {message.msg}")
            return (Notice(message.event),)
        channel = message.arg.channel
        if channel == "books":
            if message.action not in ("snapshot", "update"):
                raise BadFrame(f"a book message is a snapshot or an update, not {message.action!r}")
            kind = SNAPSHOT if message.action == "snapshot" else UPDATE
            return tuple(_book(message.arg.instId, kind, book) for book in decode(_BOOKS, message.data))
        if channel == "trades":
            return tuple(
                TradeReport(
                    trade.instId,
                    trade.px,
                    trade.sz,
                    ASK if trade.side == "buy" else BID,
                    whole_number(trade.ts) * NS_PER_MS,
                    whole_number(trade.tradeId),
                )
                for trade in decode(_TRADES, message.data)
            )
        if channel in _CHANNELS:
            return (Notice(channel),)
        raise BadFrame(f"unknown kind of frame {channel!r}")

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return one connection: books of 400 levels, and trades."""
        asked = [{"channel": channel, "instId": symbol} for symbol in symbols for channel in ("books", "trades")]
        hello = msgspec.json.encode({"op": "subscribe", "args": asked}).decode()
        return (Endpoint("wss://ws.okx.com:8443/ws/v5/public", (hello,), ping="ping"),)

    def snapshot_url(self, symbol: str) -> None:
        """Return None: the stream begins with a snapshot."""
        return


def _book(symbol: str, kind: int, book: _Book) -> BookReport:
    if any(len(level) < 2 for level in (*book.bids, *book.asks)):
        raise BadFrame("a level has at least price and size")
    bids, asks = ([(level[0], level[1]) for level in side] for side in (book.bids, book.asks))
    follows = book.prevSeqId if kind == UPDATE else None
    return BookReport(
        symbol, kind, bids, asks, whole_number(book.ts) * NS_PER_MS, book.seqId, follows, book.checksum or None
    )

"""Bybit: ``orderbook`` and ``publicTrade`` of version 5, and the older ``orderBookL2_25`` and ``trade``.

Sequence rule. Version 5: ``u`` of a delta is one more than the one before; a snapshot (also in mid-stream, after the
venue restarts) begins anew. Older: ``cross_seq`` rises from message to message without being dense, so what is old is
recognised and a hole is not. The stream begins with a snapshot; a new connection makes every book unknown. Exchange
time is the matching engine's (``cts``), where given. ``side`` of a trade is the taker's, so the resting side is the
other; trade ids do not rise. No checksum.

https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from marketdata.clock import NS_PER_MS, NS_PER_US
from marketdata.codecs.reports import (
    SNAPSHOT,
    UPDATE,
    BookReport,
    Notice,
    Report,
    TradeReport,
    number_pair,
    number_text,
    whole_number,
)
from marketdata.codecs.venue_books import BookRule
from marketdata.codecs.wire import BadFrame, Number, PriceSize, Stamp, decode
from marketdata.events import ASK, BID
from marketdata.frames import Endpoint


class _Message(msgspec.Struct):
    topic: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    cts: Stamp = 0
    ts: Stamp = 0
    cross_seq: int | str = 0
    timestamp_e6: int | str = 0
    success: bool | None = None
    ret_msg: str = ""
    op: str = ""


class _Book(msgspec.Struct):
    s: str
    b: list[PriceSize]
    a: list[PriceSize]
    u: Number


class _Trade(msgspec.Struct):
    T: Stamp
    s: str
    S: Literal["Buy", "Sell"]
    v: str
    p: str


class _OldLevel(msgspec.Struct):
    price: msgspec.Raw
    symbol: str
    side: Literal["Buy", "Sell"]
    size: msgspec.Raw = msgspec.Raw(b"0")


class _OldSnapshot(msgspec.Struct):
    order_book: list[_OldLevel]


class _OldDelta(msgspec.Struct):
    delete: list[_OldLevel]
    update: list[_OldLevel]
    insert: list[_OldLevel]


class _OldTrade(msgspec.Struct):
    symbol: str
    side: Literal["Buy", "Sell"]
    size: msgspec.Raw
    price: msgspec.Raw
    trade_time_ms: msgspec.Raw


_MESSAGE: Final = msgspec.json.Decoder(_Message)
_BOOK: Final = msgspec.json.Decoder(_Book)
_TRADES: Final = msgspec.json.Decoder(list[_Trade])
_OLD_SNAPSHOT: Final = msgspec.json.Decoder(list[_OldLevel] | _OldSnapshot)
_OLD_DELTA: Final = msgspec.json.Decoder(_OldDelta)
_OLD_TRADES: Final = msgspec.json.Decoder(list[_OldTrade])
_NOTICES: Final = ("tickers.", "kline.", "allLiquidation.", "liquidation.", "instrument_info.", "klineV2.")


class Bybit:
    """The dialect; see the module."""

    venue = "bybit"
    rule = BookRule()

    def read(self, frame: bytes, stream: str) -> Sequence[Report]:
        """See :class:`~marketdata.codecs.dialect.Dialect`."""
        message = decode(_MESSAGE, frame)
        topic = message.topic
        if not topic:
            if message.success is False:
                raise BadFrame(f"the venue answers with an error: {message.ret_msg}")
            if message.success is None and not message.op:
                raise BadFrame("neither a topic nor an answer")
            return (Notice("answer"),)
        if topic.startswith("orderbook."):
            book = decode(_BOOK, message.data)
            time = (message.cts or message.ts) * NS_PER_MS
            kind = self._kind(message)
            follows = book.u - 1 if kind == UPDATE else None
            return (BookReport(book.s, kind, book.b, book.a, time, book.u, follows),)
        if topic.startswith("publicTrade."):
            return tuple(
                TradeReport(trade.s, trade.p, trade.v, ASK if trade.S == "Buy" else BID, trade.T * NS_PER_MS)
                for trade in decode(_TRADES, message.data)
            )
        if topic.startswith(("orderBookL2_25.", "orderBook_200.")):
            return self._old_book(message)
        if topic.startswith("trade."):
            return tuple(
                TradeReport(
                    trade.symbol,
                    *number_pair(trade.price, trade.size),
                    ASK if trade.side == "Buy" else BID,
                    whole_number(trade.trade_time_ms) * NS_PER_MS,
                )
                for trade in decode(_OLD_TRADES, message.data)
            )
        if topic.startswith(_NOTICES):
            return (Notice(topic.partition(".")[0]),)
        raise BadFrame(f"unknown kind of frame {topic!r}")

    def _kind(self, message: _Message) -> int:
        if message.type not in ("snapshot", "delta"):
            raise BadFrame(f"a book message is a snapshot or a delta, not {message.type!r}")
        return SNAPSHOT if message.type == "snapshot" else UPDATE

    def _old_book(self, message: _Message) -> Sequence[Report]:
        kind, symbol = self._kind(message), message.topic.rpartition(".")[2]
        if kind == SNAPSHOT:
            content = decode(_OLD_SNAPSHOT, message.data)
            levels = content.order_book if isinstance(content, _OldSnapshot) else content
        else:
            delta = decode(_OLD_DELTA, message.data)
            if any(number_text(level.size) != "0" for level in delta.delete):
                raise BadFrame("a level that is removed and has a size")
            levels = [*delta.delete, *delta.update, *delta.insert]
        if any(level.symbol != symbol for level in levels):
            raise BadFrame(f"levels of another symbol than {symbol}")
        bids, asks = (
            [number_pair(level.price, level.size) for level in levels if level.side == side] for side in ("Buy", "Sell")
        )
        time, number = whole_number(message.timestamp_e6) * NS_PER_US, whole_number(message.cross_seq)
        return (BookReport(symbol, kind, bids, asks, time, number or None),)

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return one connection to linear contracts: books of 50 levels, and trades."""
        topics = [f"{topic}.{symbol}" for symbol in symbols for topic in ("orderbook.50", "publicTrade")]
        hello = msgspec.json.encode({"op": "subscribe", "args": topics}).decode()
        return (Endpoint("wss://stream.bybit.com/v5/public/linear", (hello,), ping='{"op":"ping"}'),)

    def snapshot_url(self, symbol: str) -> None:
        """Return None: the stream begins with a snapshot."""
        return

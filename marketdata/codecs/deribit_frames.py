"""Deribit by JSON-RPC: ``book`` and ``trades``; daily option chains are in :mod:`marketdata.codecs.deribit`.

Sequence rule: a change names the one before it (``prev_change_id``); a subscription begins with a snapshot. Trades have
a ``trade_seq`` that rises by instrument; ``direction`` is the taker's, so the resting side is the other. No checksum. A
ticker's exchange time counts as the connection's.

https://docs.deribit.com/#book-instrument_name-interval
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from marketdata.clock import NS_PER_MS
from marketdata.codecs.reports import SNAPSHOT, UPDATE, BookReport, Notice, Report, TradeReport, number_pair
from marketdata.codecs.venue_books import BookRule
from marketdata.codecs.wire import BadFrame, Number, PriceSize, Stamp, decode
from marketdata.events import ASK, BID
from marketdata.frames import Endpoint


class _Parameters(msgspec.Struct):
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Message(msgspec.Struct):
    method: str = ""
    params: _Parameters = msgspec.field(default_factory=_Parameters)
    id: int | str | None = None
    error: msgspec.Raw = msgspec.Raw(b"")


_Change = tuple[Literal["new", "change", "delete"], msgspec.Raw, msgspec.Raw]


class _Book(msgspec.Struct):
    instrument_name: str
    timestamp: Stamp
    change_id: Number
    bids: list[_Change]
    asks: list[_Change]
    type: Literal["snapshot", "change"] = "change"
    prev_change_id: Number | None = None


class _Trade(msgspec.Struct):
    instrument_name: str
    timestamp: Stamp
    trade_seq: Number
    price: msgspec.Raw
    amount: msgspec.Raw
    direction: Literal["buy", "sell"]


class _Ticker(msgspec.Struct):
    timestamp: Stamp


_MESSAGE: Final = msgspec.json.Decoder(_Message)
_BOOK: Final = msgspec.json.Decoder(_Book)
_TRADES: Final = msgspec.json.Decoder(list[_Trade])
_TICKER: Final = msgspec.json.Decoder(_Ticker)


class Deribit:
    """The dialect; see the module."""

    venue = "deribit"
    rule = BookRule(resumes=True, trade_numbers_rise=True)

    def read(self, frame: bytes, stream: str) -> Sequence[Report]:
        """See :class:`~marketdata.codecs.dialect.Dialect`."""
        message = decode(_MESSAGE, frame)
        if bytes(message.error):
            raise BadFrame(f"the venue answers with an error: {bytes(message.error)[:200].decode(errors='replace')}")
        if message.method == "heartbeat":
            return (Notice("heartbeat"),)
        if message.method != "subscription":
            if message.id is None:
                raise BadFrame("neither a subscription's message nor an answer")
            return (Notice("answer"),)
        kind = message.params.channel.partition(".")[0]
        if kind == "book":
            return (_book(decode(_BOOK, message.params.data)),)
        if kind == "trades":
            return tuple(
                TradeReport(
                    trade.instrument_name,
                    *number_pair(trade.price, trade.amount),
                    ASK if trade.direction == "buy" else BID,
                    trade.timestamp * NS_PER_MS,
                    trade.trade_seq,
                )
                for trade in decode(_TRADES, message.params.data)
            )
        if kind in ("ticker", "quote"):
            return (Notice(kind, decode(_TICKER, message.params.data).timestamp * NS_PER_MS),)
        raise BadFrame(f"unknown kind of frame {message.params.channel!r}")

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return one connection: books and trades every 100 ms (raw ones are for registered users)."""
        channels = [f"{kind}.{symbol}.100ms" for symbol in symbols for kind in ("book", "trades")]
        call = {"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": {"channels": channels}}
        ping = '{"jsonrpc":"2.0","id":2,"method":"public/test"}'
        return (Endpoint("wss://www.deribit.com/ws/api/v2", (msgspec.json.encode(call).decode(),), ping=ping),)

    def snapshot_url(self, symbol: str) -> None:
        """Return None: the stream begins with a snapshot."""
        return


def _book(book: _Book) -> BookReport:
    kind = SNAPSHOT if book.type == "snapshot" else UPDATE
    if kind == UPDATE and book.prev_change_id is None:
        raise BadFrame("a change without prev_change_id")
    sides: list[list[PriceSize]] = []
    for changes in (book.bids, book.asks):
        side = []
        for action, price, amount in changes:
            text, size = number_pair(price, amount)
            side.append((text, "0" if action == "delete" else size))
        sides.append(side)
    time, follows = book.timestamp * NS_PER_MS, book.prev_change_id if kind == UPDATE else None
    return BookReport(book.instrument_name, kind, sides[0], sides[1], time, book.change_id, follows)

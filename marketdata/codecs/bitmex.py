"""BitMEX: ``orderBookL2`` and ``trade``.

Sequence rule: none of its own; a table begins with ``partial`` and comes in order on one connection, so a new
connection makes every book unknown. Levels are named by ``id``: ``insert`` gives the price, ``update`` and ``delete``
may leave it out, so the codec remembers it. A level that was never inserted is refused. Messages have no exchange time
before 2023: then the connection's last one is carried (``F_TS_CARRIED``). ``side`` of a trade is the taker's, so the
resting side is the other; trades have no rising numbers; ``partial`` of trades repeats the past. No checksum. ``quote``
is counted.

https://www.bitmex.com/app/wsAPI
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from marketdata.codecs.reports import SNAPSHOT, UPDATE, KeyedReport, Notice, Report, TradeReport, iso_ns, number_text
from marketdata.codecs.venue_books import BookRule
from marketdata.codecs.wire import BadFrame, Number, decode
from marketdata.events import ASK, BID
from marketdata.frames import Endpoint

Action = Literal["partial", "insert", "update", "delete"]


class _Filter(msgspec.Struct):
    symbol: str = ""


class _Message(msgspec.Struct):
    table: str = ""
    action: Action | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    filter: _Filter = msgspec.field(default_factory=_Filter)
    success: bool | None = None
    info: str = ""
    error: str = ""


class _Level(msgspec.Struct):
    symbol: str
    id: Number
    side: Literal["Buy", "Sell"]
    size: msgspec.Raw = msgspec.Raw(b"")
    price: msgspec.Raw = msgspec.Raw(b"")
    timestamp: str = ""


class _Trade(msgspec.Struct):
    timestamp: str
    symbol: str
    side: Literal["Buy", "Sell"]
    size: msgspec.Raw
    price: msgspec.Raw


_MESSAGE: Final = msgspec.json.Decoder(_Message)
_LEVELS: Final = msgspec.json.Decoder(list[_Level])
_TRADES: Final = msgspec.json.Decoder(list[_Trade])
_BOOKS: Final = frozenset({"orderBookL2", "orderBookL2_25"})
_NOTICES: Final = frozenset({"quote", "instrument", "funding", "liquidation", "settlement"})


class Bitmex:
    """The dialect; see the module."""

    venue = "bitmex"
    rule = BookRule()

    def read(self, frame: bytes, stream: str) -> Sequence[Report]:
        """See :class:`~marketdata.codecs.dialect.Dialect`."""
        if frame == b"pong":
            return (Notice("pong"),)
        message = decode(_MESSAGE, frame)
        if not message.table:
            if message.error:
                raise BadFrame(f"the venue answers with an error: {message.error}")
            if not message.info and not message.success:
                raise BadFrame("neither a table nor an answer")
            return (Notice("answer"),)
        if message.action is None:
            raise BadFrame("a table without an action")
        if message.table in _BOOKS:
            return _books(message.action, decode(_LEVELS, message.data), message.filter.symbol)
        if message.table == "trade":
            trades = decode(_TRADES, message.data)
            if message.action == "partial":
                return (Notice("past_trades", max((iso_ns(trade.timestamp) for trade in trades), default=0)),)
            return tuple(
                TradeReport(
                    trade.symbol,
                    number_text(trade.price),
                    number_text(trade.size),
                    ASK if trade.side == "Buy" else BID,
                    iso_ns(trade.timestamp),
                )
                for trade in trades
            )
        if message.table in _NOTICES:
            return (Notice(message.table),)
        raise BadFrame(f"unknown kind of frame {message.table!r}")

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return one connection: whole books by level, and trades."""
        topics = [f"{table}:{symbol}" for symbol in symbols for table in ("orderBookL2", "trade")]
        hello = msgspec.json.encode({"op": "subscribe", "args": topics}).decode()
        return (Endpoint("wss://ws.bitmex.com/realtime", (hello,), ping="ping", ping_s=5.0),)

    def snapshot_url(self, symbol: str) -> None:
        """Return None: the stream begins with the whole table."""
        return


def _books(action: Action, levels: list[_Level], asked: str) -> Sequence[Report]:
    kind = SNAPSHOT if action == "partial" else UPDATE
    by_symbol: dict[str, list[_Level]] = {asked: []} if kind == SNAPSHOT and asked else {}
    for level in levels:
        has_size, has_price = bool(bytes(level.size)), bool(bytes(level.price))
        if action in ("partial", "insert") and not (has_size and has_price):
            raise BadFrame(f"{level.symbol}: a new level without price or size")
        if action == "update" and not has_size:
            raise BadFrame(f"{level.symbol}: an update of a level without its size")
        by_symbol.setdefault(level.symbol, []).append(level)
    return tuple(
        KeyedReport(
            symbol,
            kind,
            [
                (
                    level.id,
                    BID if level.side == "Buy" else ASK,
                    number_text(level.price) or None,
                    None if action == "delete" else number_text(level.size),
                )
                for level in own
            ],
            max((iso_ns(level.timestamp) for level in own), default=0) if kind == UPDATE else 0,
        )
        for symbol, own in by_symbol.items()
    )

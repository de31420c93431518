"""Binance's frames as the complete parser sees them: shapes, required fields, and which kinds rightly carry no event."""

from typing import Final

import msgspec

from marketdata.codecs.wire import Number, PriceSize, Stamp

STATISTICS: Final = frozenset(
    {
        "kline", "continuous_kline", "24hrTicker", "24hrMiniTicker", "1hTicker", "4hTicker", "1dTicker", "avgPrice",
        "markPriceUpdate", "indexPriceUpdate", "forceOrder", "compositeIndex", "contractInfo", "assetIndexUpdate",
    }
)  # fmt: skip
"""Event types that carry no event of ours."""


class Outer(msgspec.Struct):
    """The outermost object of any frame: a stream's wrapper, an answer, a snapshot, or the payload itself."""

    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    id: int | str | None = None
    error: msgspec.Raw = msgspec.Raw(b"")
    code: int | None = None
    lastUpdateId: Number | None = None


class Head(msgspec.Struct):
    """What tells payloads apart; spot best quotes name no kind."""

    e: str | None = None
    s: str | None = None
    u: int | None = None


class SnapshotJson(msgspec.Struct):
    """Answer of ``GET …/depth``."""

    lastUpdateId: Number
    bids: list[PriceSize]
    asks: list[PriceSize]
    T: Stamp | None = None


class DepthJson(msgspec.Struct):
    """Payload ``depthUpdate``; futures add ``T`` and ``pu``."""

    E: Stamp
    U: Number
    u: Number
    b: list[PriceSize]
    a: list[PriceSize]
    T: Stamp | None = None
    pu: Number | None = None


class TradeJson(msgspec.Struct):
    """Payload ``trade``."""

    E: Stamp
    T: Stamp
    p: str
    q: str
    m: bool
    id: Number = msgspec.field(name="t")
    X: str = "MARKET"


class AggregateJson(msgspec.Struct):
    """Payload ``aggTrade``."""

    E: Stamp
    T: Stamp
    p: str
    q: str
    m: bool
    id: Number = msgspec.field(name="a")
    X: str = "MARKET"


class BestJson(msgspec.Struct):
    """Payload ``bookTicker``; spot sends no time."""

    u: Number
    b: str
    B: str
    a: str
    A: str
    T: Stamp = 0
    E: Stamp = 0


OUTER: Final = msgspec.json.Decoder(Outer)
HEAD: Final = msgspec.json.Decoder(Head)
SNAPSHOT: Final = msgspec.json.Decoder(SnapshotJson)
DEPTH: Final = msgspec.json.Decoder(DepthJson)
TRADE: Final = msgspec.json.Decoder(TradeJson)
AGGREGATE: Final = msgspec.json.Decoder(AggregateJson)
BEST: Final = msgspec.json.Decoder(BestJson)

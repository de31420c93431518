"""What travels on the bus: four topics (W34), their records, and how they are partitioned and kept.

Records are MessagePack of the structs below (a map with field names and a ``type``), so that any language reads them. Each
carries ``ts_event``, ``ts_recv`` and ``sequence``. The partition follows from the instrument alone, so order holds for each
instrument. The key is the instrument, except in ``trades``: a compacted topic keeps one record a key, and there that is a
fill.
"""

import zlib
from typing import Final, NamedTuple

import msgspec
import numpy as np

from marketdata.clock import NS_PER_DAY, NS_PER_MS
from marketdata.events import EVENT_DTYPE, EVENT_SCHEMA, EventArray, empty_events
from marketdata.messages import FeedStatus

TICKS: Final = "ticks"
ORDER_FLOW: Final = "order_flow"
PREDICTIONS: Final = "predictions"
TRADES: Final = "trades"
FOREVER: Final = -1


class Ticks(msgspec.Struct, tag="ticks", frozen=True):
    """Event rows of one instrument: whole groups, in order.

    Attributes
    ----------
    symbol : str
        Our name of the instrument, as in the settings.
    ts_event, ts_recv, sequence : int
        Of the last row.
    position : int
        Number of this record among the instrument's since the producer began, from 0: a hole shows.
    producer : int
        Changes with each start of a producer.
    columns : tuple of str
        Names of a row's fields.
    rows : list of tuples of int
        The events (:mod:`marketdata.events`).
    """

    symbol: str
    ts_event: int
    ts_recv: int
    sequence: int
    position: int
    producer: int
    rows: list[tuple[int, ...]]
    columns: tuple[str, ...] = tuple(EVENT_SCHEMA)


class TicksWatermark(msgspec.Struct, tag="watermark", frozen=True):
    """No later record of this partition holds a row received before ``ts_recv``; sent to every partition."""

    ts_event: int
    ts_recv: int
    sequence: int
    producer: int


class TicksStatus(msgspec.Struct, tag="status", frozen=True):
    """A feed's status, beside its ticks; sent to every partition, counted once by its number."""

    symbol: str
    ts_event: int
    ts_recv: int
    sequence: int
    producer: int
    status: FeedStatus


class OrderFlow(msgspec.Struct, tag="order_flow", frozen=True):
    """Order flow of one instrument over a stated window; NaN where a value is not known yet.

    Attributes
    ----------
    window_ns : int
    ofi : float
        Order flow imbalance at the best quotes (W1) over the mean lots of a level in the window.
    toxicity : float
        Volume-synchronised probability of informed trading, or the measure named in ``toxicity_kind`` (W3).
    spread_ticks : float
    """

    symbol: str
    ts_event: int
    ts_recv: int
    sequence: int
    window_ns: int
    ofi: float
    toxicity: float
    toxicity_kind: str
    spread_ticks: float


class Prediction(msgspec.Struct, tag="prediction", frozen=True):
    """One forecast: probabilities of down, flat and up over the horizon."""

    symbol: str
    ts_event: int
    ts_recv: int
    sequence: int
    horizon_ns: int
    p_down: float
    p_flat: float
    p_up: float
    model_version: str
    feature_fingerprint: str


class TradeRecord(msgspec.Struct, tag="trade", frozen=True):
    """One fill of ours; a correction is the same fill id again and replaces it.

    Attributes
    ----------
    session_id : str
        Our session, in which order and fill ids count.
    side : int
        Ours: 1 bought, −1 sold.
    fee_nanos, pnl_nanos : int
        1e-9 of the quote currency; profit is what this fill realised against the average cost of what it closed, less its fee.
    """

    symbol: str
    ts_event: int
    ts_recv: int
    sequence: int
    session_id: str
    order_id: int
    fill_id: int
    side: int
    price_units: int
    size_lots: int
    fee_nanos: int
    pnl_nanos: int


TickRecord = Ticks | TicksWatermark | TicksStatus
Record = TickRecord | OrderFlow | Prediction | TradeRecord
ENCODER: Final = msgspec.msgpack.Encoder()
DECODER: Final = msgspec.msgpack.Decoder(Record)


class Topic(NamedTuple):
    """A topic: how many partitions, how long records are kept, and whether only the last of a key is."""

    name: str
    partitions: int
    retention_ms: int
    is_compacted: bool = False

    def config(self) -> dict[str, str]:
        """Return the broker's settings of the topic."""
        settings = {"retention.ms": str(self.retention_ms), "min.insync.replicas": "1"}
        if self.is_compacted:
            settings["cleanup.policy"] = "compact"
        return settings


def topics(training_window_days: int = 20, partitions: int = 8) -> tuple[Topic, ...]:
    """Return the four topics; order flow outlives the training window by half, at least by a week."""
    day_ms = NS_PER_DAY // NS_PER_MS
    kept_days = training_window_days + max(training_window_days // 2, 7)
    return (
        Topic(TICKS, partitions, 7 * day_ms),
        Topic(ORDER_FLOW, partitions, kept_days * day_ms),
        Topic(PREDICTIONS, partitions, 30 * day_ms),
        Topic(TRADES, partitions, FOREVER, is_compacted=True),
    )


def topic_of(record: Record) -> str:
    """Return the topic of a record."""
    if isinstance(record, OrderFlow):
        return ORDER_FLOW
    if isinstance(record, Prediction):
        return PREDICTIONS
    return TRADES if isinstance(record, TradeRecord) else TICKS


def key_of(record: OrderFlow | Prediction | TradeRecord | Ticks) -> bytes:
    """Return a record's key."""
    if isinstance(record, TradeRecord):
        return f"{record.symbol}/{record.session_id}/{record.fill_id}".encode()
    return record.symbol.encode()


def partition_of(symbol: str, partitions: int) -> int:
    """Return an instrument's partition: the same for its ticks, order flow, predictions and trades."""
    return zlib.crc32(symbol.encode()) % partitions


def decode_record(value: bytes, where: str) -> Record:
    """Return the record in a message.

    Raises
    ------
    ValueError
        If it is none, naming ``where`` it lies.
    """
    try:
        return DECODER.decode(value)
    except msgspec.DecodeError as error:
        raise ValueError(f"{where}: not a record of ours: {error}") from error


def rows_of(record: Ticks) -> EventArray:
    """Return a record's rows as events."""
    if record.columns != tuple(EVENT_SCHEMA):
        raise ValueError(
            f"ticks of {record.symbol} have columns {', '.join(record.columns)}: another version wrote them"
        )
    return np.array(record.rows, EVENT_DTYPE) if record.rows else empty_events(0)

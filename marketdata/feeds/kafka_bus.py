"""The producing side of the bus: it loses nothing silently.

Producing is idempotent with ``acks=all``: the broker keeps a producer's order and drops its repetitions, and what could not be
delivered is an error, not a log line. Needs the optional extra ``kafka`` (confluent-kafka).
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from marketdata.clock import NS_PER_S
from marketdata.events import EventArray
from marketdata.feeds.books import BookKeeper
from marketdata.feeds.bus_records import (
    ENCODER,
    TICKS,
    OrderFlow,
    Prediction,
    Record,
    Ticks,
    TicksStatus,
    TicksWatermark,
    TradeRecord,
    key_of,
    partition_of,
    topic_of,
)
from marketdata.feeds.kafka_client import BusError, library, partitions_of
from marketdata.feeds.protocol import WallClock
from marketdata.messages import FeedStatus, SessionEnd, SessionStart, StreamItem

LOG: Final = logging.getLogger(__name__)
NEVER: Final = -(2**63)
"""Watermark before the first."""


class KafkaBus:
    """The producing side: records of any of the four topics, and feeds as ticks.

    Parameters
    ----------
    bootstrap : str
        ``host:port,…`` of the brokers.
    symbols : mapping of int to str
        Our instrument names by id, for ticks.
    config : mapping, optional
        Further settings of librdkafka (security, compression).
    delivery_s : float
        A record that is not delivered within this is an error.
    watermark_s : float
        Market time between two watermarks: what a consumer waits for at most, besides the broker.
    snapshot_s : float
        Market time between two snapshots of every known book, so that whoever joins late has books soon.
    clock : WallClock

    Raises
    ------
    BusError
        If the extra is missing or the brokers do not answer.
    """

    def __init__(
        self,
        bootstrap: str,
        symbols: Mapping[int, str] | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        delivery_s: float = 30.0,
        watermark_s: float = 0.02,
        snapshot_s: float = 60.0,
        clock: WallClock | None = None,
    ) -> None:
        kafka = library()
        self._watermark_ns, self._snapshot_ns = int(watermark_s * NS_PER_S), int(snapshot_s * NS_PER_S)
        self._keeper, self._snapshots_at_ns = BookKeeper(), NEVER
        self._kafka = kafka
        self.bootstrap = bootstrap
        self._symbols = dict(symbols or {})
        self._clock = clock or WallClock()
        self._producer = kafka.Producer(
            {
                "linger.ms": 2,
                "compression.type": "lz4",
                **(config or {}),
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "delivery.timeout.ms": int(delivery_s * 1_000),
                "logger": LOG,
            }
        )
        self._delivery_s = delivery_s
        self._failures: list[str] = []
        self._partitions: dict[str, int] = {}
        self._positions: dict[str, int] = {}
        self._number = 0
        self._watermark_sent_ns = self._last_ns = NEVER
        self._run = self._clock.wall_ns()
        self.delivered = 0
        self.failed = 0

    def publish(self, record: OrderFlow | Prediction | TradeRecord | Ticks) -> None:
        """Hand a record over; it is sent soon, in order with the instrument's others.

        Raises
        ------
        BusError
            If an *earlier* record could not be delivered, or the broker does not answer.
        """
        topic = topic_of(record)
        self._send(topic, partition_of(record.symbol, self._count(topic)), key_of(record), record)

    def put(self, item: StreamItem) -> None:
        """Publish an item of a feed as ticks: events by instrument, watermark and statuses to every partition."""
        if isinstance(item, SessionStart | SessionEnd):
            return  # sessions follow from the calendar at the consumer
        if isinstance(item, FeedStatus):
            self._number += 1
            self._everywhere(TicksStatus(item.symbol, 0, item.ts_recv, self._number, self._run, item))
            return
        self._publish_rows(item.events)
        last_ns = max(item.watermark_ns, int(item.events["ts_recv"][-1]) if len(item.events) else NEVER)
        if last_ns - max(self._snapshots_at_ns, 0) >= self._snapshot_ns:
            known = [k for k, kept in self._keeper.books.items() if kept.is_known and not kept.has_orders]
            if self._snapshots_at_ns != NEVER:
                self._publish_rows(self._keeper.snapshots(known, last_ns))
            self._snapshots_at_ns = last_ns
        if item.watermark_ns - max(self._watermark_sent_ns, 0) >= self._watermark_ns:
            self._say_watermark(item.watermark_ns)
        self._last_ns = max(last_ns, item.watermark_ns)

    def flush(self) -> None:
        """Wait until everything is delivered.

        Raises
        ------
        BusError
            If something could not be.
        """
        left = self._producer.flush(self._delivery_s + 5.0)
        self._raise_failures()
        if left:
            raise BusError(f"{self.bootstrap}: {left} records are still not delivered after {self._delivery_s:g} s")

    def close(self) -> None:
        """Say a last watermark, behind everything that was put, and deliver; see :meth:`flush`."""
        if self._last_ns != NEVER:
            self._say_watermark(self._last_ns + 1)
        self.flush()

    def _records(self, events: EventArray) -> Iterator[Ticks]:
        ids = events["instrument_id"]
        for instrument in np.unique(ids).tolist():
            rows = events[ids == instrument]
            symbol = self._symbols.get(instrument)
            if symbol is None:
                raise BusError(f"events of instrument {instrument}, which has no symbol here")
            position = self._positions.get(symbol, 0)
            self._positions[symbol] = position + 1
            last = rows[-1]
            yield Ticks(
                symbol,
                int(last["ts_event"]),
                int(last["ts_recv"]),
                int(last["sequence"]),
                position,
                self._run,
                rows.tolist(),
            )

    def _publish_rows(self, events: EventArray) -> None:
        if not len(events):
            return
        self._keeper.apply(events)
        for record in self._records(events):
            self.publish(record)

    def _say_watermark(self, watermark_ns: int) -> None:
        self._watermark_sent_ns = watermark_ns
        self._number += 1
        self._everywhere(TicksWatermark(0, watermark_ns, self._number, self._run))

    def _everywhere(self, record: TicksWatermark | TicksStatus) -> None:
        for partition in range(self._count(TICKS)):
            self._send(TICKS, partition, None, record)

    def _send(self, topic: str, partition: int, key: bytes | None, record: Record) -> None:
        self._raise_failures()
        value = ENCODER.encode(record)
        deadline = self._clock.monotonic() + self._delivery_s
        while True:
            try:
                self._producer.produce(topic, value, key, partition, on_delivery=self._delivered)
                self._producer.poll(0)
                return
            except BufferError:  # the local queue is full: the broker is slower than we are
                if self._clock.monotonic() > deadline:
                    raise BusError(
                        f"{self.bootstrap}: the send queue has been full for {self._delivery_s:g} s"
                    ) from None
                self._producer.poll(0.05)
                self._raise_failures()

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.failed += 1
            self._failures.append(f"{message.topic()}[{message.partition()}]: {error.str()}")

    def _raise_failures(self) -> None:
        if self._failures:
            failures, self._failures = self._failures, []
            raise BusError(f"{self.bootstrap}: {len(failures)} records were not delivered, the first: {failures[0]}")

    def _count(self, topic: str) -> int:
        if topic not in self._partitions:
            self._partitions[topic] = len(partitions_of(self._kafka, self._producer, self.bootstrap, topic))
        return self._partitions[topic]

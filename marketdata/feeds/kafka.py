"""Kafka as the bus: a producer that loses nothing silently, and the ticks topic as a feed.

Producing is idempotent with ``acks=all``: the broker keeps a producer's order and drops its repetitions, and what could not be
delivered is an error, not a log line. Consuming assigns partitions by hand from a file of offsets that is written after the
consumer has taken what lies before them: nothing is lost, and after a crash what was taken since the last write comes again.

Needs the optional extra ``kafka`` (confluent-kafka).
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from marketdata.clock import NS_PER_S
from marketdata.events import CLEAR, F_LAST, EventArray, empty_events
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
    Topic,
    TradeRecord,
    decode_record,
    key_of,
    partition_of,
    rows_of,
    topic_of,
    topics,
)
from marketdata.feeds.metrics import FeedMetrics
from marketdata.feeds.protocol import IDLE_S, FeedError, WallClock
from marketdata.messages import EventBatch, FeedStatus, SessionEnd, SessionStart, StatusKind, StreamItem

LOG: Final = logging.getLogger(__name__)
NEVER: Final = -(2**63)
"""Watermark of a partition that has said nothing yet."""


class BusError(FeedError):
    """The bus cannot be used, or did not take a record; the message names broker, topic and reason."""


def library() -> Any:
    """Return the ``confluent_kafka`` module.

    Raises
    ------
    BusError
        If the extra is not installed.
    """
    try:
        import confluent_kafka
    except ImportError as error:
        raise BusError("Kafka needs an extra package: pip install 'flowsense[kafka]'") from error
    return confluent_kafka


def create_topics(
    bootstrap: str, wanted: tuple[Topic, ...] = (), *, replication: int = 1, timeout_s: float = 10.0
) -> list[str]:
    """Make the topics that are not there yet and return their names; those there are left as they are.

    Raises
    ------
    BusError
        If the brokers do not answer or refuse.
    """
    kafka = library()
    from confluent_kafka import admin as administration
    from confluent_kafka import cimpl

    admin = administration.AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
    try:
        present = set(admin.list_topics(timeout=timeout_s).topics)
        missing = [topic for topic in wanted or topics() if topic.name not in present]
        asked = [
            cimpl.NewTopic(t.name, num_partitions=t.partitions, replication_factor=replication, config=t.config())
            for t in missing
        ]
        if asked:
            for future in admin.create_topics(asked, request_timeout=timeout_s).values():
                future.result(timeout_s)
    except (kafka.KafkaException, TimeoutError) as error:
        raise BusError(f"{bootstrap}: topics cannot be made: {_why(error)}") from error
    return [topic.name for topic in missing]


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
            self._failures.append(f"{message.topic()}[{message.partition()}]: {error.str()}")

    def _raise_failures(self) -> None:
        if self._failures:
            failures, self._failures = self._failures, []
            raise BusError(f"{self.bootstrap}: {len(failures)} records were not delivered, the first: {failures[0]}")

    def _count(self, topic: str) -> int:
        if topic not in self._partitions:
            self._partitions[topic] = len(_partitions(self._kafka, self._producer, self.bootstrap, topic))
        return self._partitions[topic]


class SavedOffsets(msgspec.Struct, frozen=True):
    """The next offset of each partition of a topic, and the watermark up to which rows were taken."""

    topic: str
    offsets: dict[int, int]
    watermark_ns: int


@dataclass
class KafkaFeed:
    """The ticks topic as a feed: rows of all instruments merged by receive time.

    Order holds for each instrument, and over instruments too: rows wait until every partition's watermark has passed
    them. A hole in an instrument's records (retention, a lost broker) is a status GAP and a CLEAR.

    Attributes
    ----------
    bootstrap : str
    instruments : mapping of str to int, optional
        Wanted symbols and their instrument ids here; default: all, with the producer's ids.
    checkpoint : Path, optional
        File of the next offsets; without one, or without offsets in it, reading begins at ``start``.
    start : {"earliest", "latest"}
    config : mapping, optional
        Further settings of librdkafka.
    """

    bootstrap: str
    instruments: Mapping[str, int] | None = None
    checkpoint: Path | None = None
    start: str = "latest"
    config: Mapping[str, Any] | None = None
    batch_records: int = 2_000
    checkpoint_s: float = 1.0
    timeout_s: float = 10.0
    clock: WallClock = field(default_factory=WallClock)
    metrics: FeedMetrics = field(default_factory=FeedMetrics)
    _closed: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    @property
    def name(self) -> str:
        """Brokers and topic."""
        return f"kafka://{self.bootstrap}/{TICKS}"

    def close(self) -> None:
        """End the iteration soon; the offsets are written by the iterating thread."""
        self._closed.set()

    def __iter__(self) -> Iterator[StreamItem]:
        """Give items until the feed is closed.

        Raises
        ------
        BusError
            If the extra is missing, the brokers do not answer, or a record cannot be read.
        """
        kafka = library()
        consumer = kafka.Consumer(
            {
                "fetch.wait.max.ms": 20,
                **(self.config or {}),
                "bootstrap.servers": self.bootstrap,
                "group.id": "flowsense-feed",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "logger": LOG,
            }
        )
        try:
            yield from self._items(kafka, consumer)
        finally:
            consumer.close()

    def _items(self, kafka: Any, consumer: Any) -> Iterator[StreamItem]:
        partitions = _partitions(kafka, consumer, self.bootstrap, TICKS, self.timeout_s)
        saved = _load_offsets(self.checkpoint) if self.checkpoint is not None else SavedOffsets(TICKS, {}, NEVER)
        merge = _Merge(partitions, self, saved.watermark_ns)
        offsets = self._first_offsets(kafka, consumer, partitions, saved.offsets, merge)
        consumer.assign([kafka.TopicPartition(TICKS, p, offset) for p, offset in offsets.items()])
        self.metrics.connects += 1
        yield FeedStatus(0, StatusKind.CONNECTED, self.clock.wall_ns(), self.name)
        saved_at = self.clock.monotonic()
        try:
            while not self._closed.is_set():
                first = consumer.poll(IDLE_S)  # consume() would wait for a full batch
                for message in [first, *consumer.consume(self.batch_records, 0)] if first is not None else ():
                    if message.error() is None:
                        merge.take(message)
                    else:
                        self._on_error(kafka, consumer, message, merge)
                yield from merge.items()
                if self.clock.monotonic() - saved_at >= self.checkpoint_s:
                    saved_at = self.clock.monotonic()
                    self._save(merge.taken_offsets(offsets), merge.mark_ns)
        finally:
            self._save(merge.taken_offsets(offsets), merge.mark_ns)

    def _first_offsets(
        self, kafka: Any, consumer: Any, partitions: list[int], saved: dict[int, int], merge: "_Merge"
    ) -> dict[int, int]:
        found = {}
        for partition in partitions:
            try:
                low, high = consumer.get_watermark_offsets(kafka.TopicPartition(TICKS, partition), self.timeout_s)
            except kafka.KafkaException as error:
                raise BusError(f"{self.name}[{partition}]: {_why(error)}") from error
            wanted = saved.get(partition, low if self.start == "earliest" else high)
            found[partition] = min(max(wanted, low), high)
            if wanted < low:
                merge.lost(partition, wanted, low)
        return found

    def _on_error(self, kafka: Any, consumer: Any, message: Any, merge: "_Merge") -> None:
        error = message.error()
        if error.code() == kafka.KafkaError._AUTO_OFFSET_RESET or error.code() == kafka.KafkaError.OFFSET_OUT_OF_RANGE:
            partition = message.partition()
            low, _ = consumer.get_watermark_offsets(kafka.TopicPartition(TICKS, partition), self.timeout_s)
            merge.lost(partition, message.offset(), low)
            consumer.seek(kafka.TopicPartition(TICKS, partition, low))
            return
        if error.fatal():
            raise BusError(f"{self.name}: {error.str()}")
        LOG.info("%s: %s", self.name, error.str())
        if error.code() == kafka.KafkaError._ALL_BROKERS_DOWN:
            self.metrics.disconnects += 1
            merge.tell(FeedStatus(0, StatusKind.DISCONNECTED, self.clock.wall_ns(), self.name, detail=error.str()))

    def _save(self, offsets: dict[int, int], watermark_ns: int) -> None:
        if self.checkpoint is None:
            return
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.checkpoint.with_name(f"{self.checkpoint.name}.{os.getpid()}.tmp")
        temporary.write_bytes(msgspec.json.encode(SavedOffsets(TICKS, offsets, watermark_ns)))
        os.replace(temporary, self.checkpoint)


class _Merge:
    """Holds rows back until every partition has passed them, and watches the instruments' numbering."""

    def __init__(self, partitions: list[int], feed: KafkaFeed, mark_ns: int) -> None:
        self._feed = feed
        self._marks = dict.fromkeys(partitions, NEVER)
        self._next = {}  # type: dict[int, int]
        self._held: list[tuple[int, int, EventArray]] = []
        self._positions: dict[str, tuple[int, int]] = {}
        self._statuses: list[FeedStatus] = []
        self._seen: set[tuple[int, int]] = set()
        self.mark_ns = mark_ns

    def take(self, message: Any) -> None:
        """Take a record."""
        feed = self._feed
        partition, offset = message.partition(), message.offset()
        where = f"{feed.name}[{partition}] offset {offset}"
        value = message.value() or b""
        try:
            record = decode_record(value, where)
            if not isinstance(record, Ticks | TicksWatermark | TicksStatus):
                raise ValueError(f"{where}: a record of type {type(record).__name__} in topic {TICKS}")
            rows = rows_of(record) if isinstance(record, Ticks) else None
        except ValueError as error:
            raise BusError(str(error)) from error
        self._next[partition] = offset + 1
        feed.metrics.saw_frames(1, len(value), feed.clock.wall_ns())
        if isinstance(record, TicksStatus):
            if (record.producer, record.sequence) not in self._seen:
                self._seen = {pair for pair in self._seen if pair[0] == record.producer}
                self._seen.add((record.producer, record.sequence))
                self._statuses.append(record.status)
        elif rows is not None and isinstance(record, Ticks):
            self._ticks(record, rows, partition, offset)
        self._marks[partition] = max(self._marks[partition], record.ts_recv if rows is None else self._marks[partition])

    def lost(self, partition: int, wanted: int, low: int) -> None:
        """Say that a partition no longer keeps what came next; the next snapshots bring its books anew."""
        self._feed.metrics.gaps += 1
        name, detail = f"{self._feed.name}[{partition}]", "the broker no longer keeps what came next"
        self.tell(FeedStatus(0, StatusKind.GAP, self._feed.clock.wall_ns(), name, "", wanted, low, detail))

    def tell(self, status: FeedStatus) -> None:
        """Give a status with the next items."""
        self._statuses.append(status)

    def items(self) -> Iterator[StreamItem]:
        """Give what every partition has passed."""
        statuses, self._statuses = self._statuses, []
        yield from statuses
        mark_ns = min(self._marks.values())
        if mark_ns <= self.mark_ns:
            return
        ready, held = [], []
        for partition, offset, rows in self._held:
            cut = int(np.searchsorted(rows["ts_recv"], mark_ns, side="left"))
            if cut:
                ready.append(rows[:cut])
            if cut < len(rows):
                held.append((partition, offset, rows[cut:]))
        self._held = held
        self.mark_ns = mark_ns
        rows = np.concatenate(ready) if ready else empty_events(0)
        rows = rows[np.argsort(rows["ts_recv"], kind="stable")]
        self._feed.metrics.saw_events(rows, mark_ns)
        yield EventBatch(rows, mark_ns)

    def taken_offsets(self, first: dict[int, int]) -> dict[int, int]:
        """Return the offsets to go on from: those of rows still held come again."""
        offsets = {**first, **self._next}
        for partition, offset, _ in self._held:
            offsets[partition] = min(offsets[partition], offset)
        return offsets

    def _ticks(self, record: Ticks, rows: EventArray, partition: int, offset: int) -> None:
        feed = self._feed
        if feed.instruments is not None:
            if record.symbol not in feed.instruments:
                return
            rows["instrument_id"] = feed.instruments[record.symbol]
        before = self._positions.get(record.symbol)
        self._positions[record.symbol] = record.producer, record.position
        due = before[1] + 1 if before is not None and before[0] == record.producer else record.position
        if before is not None and before[0] != record.producer:
            due = 0
        if record.position < due:
            return
        if record.position > due:
            feed.metrics.gaps += 1
            self._statuses.append(
                FeedStatus(0, StatusKind.GAP, record.ts_recv, feed.name, record.symbol, due, record.position)
            )
            lost = empty_events(1)
            for name in ("ts_event", "ts_recv", "sequence", "instrument_id", "clock_quality"):
                lost[name] = rows[name][0]
            lost["action"], lost["flags"] = CLEAR, F_LAST
            rows = np.concatenate([lost, rows])
        rows = rows[
            int(np.searchsorted(rows["ts_recv"], self.mark_ns, side="left")) :
        ]  # the rest was taken before a restart
        if len(rows):
            self._held.append((partition, offset, rows))


def _partitions(kafka: Any, client: Any, bootstrap: str, topic: str, timeout_s: float = 10.0) -> list[int]:
    try:
        found = client.list_topics(topic, timeout=timeout_s).topics[topic]
    except kafka.KafkaException as error:
        raise BusError(f"{bootstrap}: no answer about topic {topic}: {_why(error)}") from error
    if found.error is not None or not found.partitions:
        raise BusError(f"{bootstrap}: topic {topic}: {found.error}; make the topics first (flowsense bus HOST:PORT)")
    return sorted(found.partitions)


def _load_offsets(path: Path) -> SavedOffsets:
    with contextlib.suppress(FileNotFoundError):
        try:
            return msgspec.json.decode(path.read_bytes(), type=SavedOffsets)
        except msgspec.DecodeError as error:
            raise BusError(f"{path}: no file of offsets ({error}); remove it to begin anew") from error
    return SavedOffsets(TICKS, {}, NEVER)


def _why(error: Exception) -> str:
    first = error.args[0] if error.args else error
    return str(first.str()) if hasattr(first, "str") else str(first) or type(error).__name__

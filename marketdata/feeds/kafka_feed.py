"""The ticks topic as a feed.

Partitions are assigned by hand from a file of offsets that is written after the consumer has taken what lies before them: nothing
is lost, and after a crash what was taken since the last write comes again. Needs the optional extra ``kafka`` (confluent-kafka).
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

from marketdata.events import CLEAR, F_LAST, EventArray, empty_events
from marketdata.feeds.bus_records import TICKS, Ticks, TicksStatus, TicksWatermark, decode_record, rows_of
from marketdata.feeds.kafka_client import BusError, library, partitions_of, why
from marketdata.feeds.metrics import FeedMetrics
from marketdata.feeds.protocol import IDLE_S, WallClock
from marketdata.messages import EventBatch, FeedStatus, StatusKind, StreamItem

LOG: Final = logging.getLogger(__name__)
NEVER: Final = -(2**63)
"""Watermark of a partition that has said nothing yet."""


class SavedOffsets(msgspec.Struct, frozen=True):
    """The next offset of each partition of a topic, the watermark up to which rows were taken, and those of partitions.

    A partition that was read to its end says nothing after a restart until somebody writes to it; without its own watermark it
    would hold up the rows of all others.
    """

    topic: str
    offsets: dict[int, int]
    watermark_ns: int
    marks: dict[int, int] = {}


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
        partitions = partitions_of(kafka, consumer, self.bootstrap, TICKS, self.timeout_s)
        saved = _load_offsets(self.checkpoint) if self.checkpoint is not None else SavedOffsets(TICKS, {}, NEVER)
        merge = _Merge(partitions, self, saved)
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
                    self._save(merge, offsets)
        finally:
            self._save(merge, offsets)

    def _first_offsets(
        self, kafka: Any, consumer: Any, partitions: list[int], saved: dict[int, int], merge: "_Merge"
    ) -> dict[int, int]:
        found = {}
        for partition in partitions:
            try:
                low, high = consumer.get_watermark_offsets(kafka.TopicPartition(TICKS, partition), self.timeout_s)
            except kafka.KafkaException as error:
                raise BusError(f"{self.name}[{partition}]: {why(error)}") from error
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

    def _save(self, merge: "_Merge", first: dict[int, int]) -> None:
        if self.checkpoint is None:
            return
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.checkpoint.with_name(f"{self.checkpoint.name}.{os.getpid()}.tmp")
        saved = SavedOffsets(TICKS, merge.taken_offsets(first), merge.mark_ns, merge.taken_marks())
        temporary.write_bytes(msgspec.json.encode(saved))
        os.replace(temporary, self.checkpoint)


class _Merge:
    """Holds rows back until every partition has passed them, and watches the instruments' numbering."""

    def __init__(self, partitions: list[int], feed: KafkaFeed, saved: SavedOffsets) -> None:
        self._feed = feed
        self._marks = {partition: saved.marks.get(partition, NEVER) for partition in partitions}
        self._next = {}  # type: dict[int, int]
        self._held: list[tuple[int, int, EventArray]] = []
        self._positions: dict[str, tuple[int, int]] = {}
        self._statuses: list[FeedStatus] = []
        self._seen: set[tuple[int, int]] = set()
        self.mark_ns = saved.watermark_ns

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

    def taken_marks(self) -> dict[int, int]:
        """Return the watermarks of partitions that come on from where they are; the others read theirs again with their rows."""
        held = {partition for partition, _, _ in self._held}
        return {partition: mark for partition, mark in self._marks.items() if mark > NEVER and partition not in held}

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


def _load_offsets(path: Path) -> SavedOffsets:
    with contextlib.suppress(FileNotFoundError):
        try:
            return msgspec.json.decode(path.read_bytes(), type=SavedOffsets)
        except msgspec.DecodeError as error:
            raise BusError(f"{path}: no file of offsets ({error}); remove it to begin anew") from error
    return SavedOffsets(TICKS, {}, NEVER)

"""The bus keeps each instrument's order, loses nothing silently, and goes on where its consumer was."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marketdata.events import ASK, BID, CLEAR, F_LAST, F_SNAPSHOT, LEVEL, EventArray, empty_events
from marketdata.feeds.books import BookKeeper
from marketdata.feeds.bus_records import (
    ENCODER,
    ORDER_FLOW,
    PREDICTIONS,
    TICKS,
    TRADES,
    OrderFlow,
    Prediction,
    Record,
    Ticks,
    TradeRecord,
    decode_record,
    key_of,
    partition_of,
    rows_of,
    topic_of,
    topics,
)
from marketdata.feeds.kafka_bus import KafkaBus
from marketdata.feeds.kafka_client import BusError, create_topics
from marketdata.feeds.kafka_feed import KafkaFeed
from marketdata.feeds.protocol import WatermarkGuard
from marketdata.messages import EventBatch, FeedStatus, StatusKind

confluent_kafka = pytest.importorskip("confluent_kafka")
SYMBOLS = {k: f"COIN{k}" for k in range(6)}


@pytest.fixture
def brokers() -> Iterator[str]:
    """A cluster of librdkafka's own brokers in this process; topics come to be when they are asked for."""
    holder = confluent_kafka.Producer({"test.mock.num.brokers": 3, "bootstrap.servers": "none", "log_level": 0})
    found = holder.list_topics(timeout=60).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in found)
    del holder


def some_events(rows: int, seed: int, first_ns: int = 1_000_000_000) -> EventArray:
    rng = np.random.default_rng(seed)
    events = empty_events(rows)
    events["ts_recv"] = first_ns + np.cumsum(rng.integers(0, 2_000_000, rows))
    events["ts_event"] = events["ts_recv"] - 500
    events["sequence"] = np.arange(rows)
    events["instrument_id"] = rng.integers(0, len(SYMBOLS), rows)
    events["action"], events["flags"] = LEVEL, F_LAST
    events["side"] = rng.choice([BID, ASK], rows)
    events["price_units"] = 100 - events["side"] * rng.integers(1, 9, rows)
    events["size_lots"] = rng.integers(0, 5, rows)
    return events


def published(bus: KafkaBus, events: EventArray, size: int = 50) -> None:
    for k in range(0, len(events), size):
        part = events[k : k + size]
        bus.put(EventBatch(part, int(part["ts_recv"][-1])))
    bus.close()


def taken(feed: KafkaFeed, rows: int, limit_s: float = 120.0) -> tuple[EventArray, list[FeedStatus]]:
    parts, statuses, guard = [empty_events(0)], [], WatermarkGuard()
    deadline = time.monotonic() + limit_s
    for item in feed:
        guard.check(item)
        if isinstance(item, EventBatch):
            parts.append(item.events)
        elif isinstance(item, FeedStatus):
            statuses.append(item)
        if sum(map(len, parts)) >= rows:
            break
        if time.monotonic() > deadline:
            raise AssertionError(f"{sum(map(len, parts))} of {rows} rows came")
    feed.close()
    return np.concatenate(parts), statuses


def test_ticks_of_many_instruments_come_back_merged_by_receive_time_each_once(brokers: str) -> None:
    events = some_events(3_000, 1)
    bus = KafkaBus(brokers, SYMBOLS)
    published(bus, events)
    assert bus.delivered > 100
    got, statuses = taken(KafkaFeed(brokers, start="earliest"), len(events))
    assert [status.kind for status in statuses] == [StatusKind.CONNECTED]
    assert sorted(got.tolist()) == sorted(events.tolist())
    assert np.all(np.diff(got["ts_recv"]) >= 0)
    for k in SYMBOLS:
        np.testing.assert_array_equal(got[got["instrument_id"] == k], events[events["instrument_id"] == k])


def test_a_consumer_takes_the_instruments_it_wants_by_its_own_ids(brokers: str) -> None:
    events = some_events(600, 2)
    published(KafkaBus(brokers, SYMBOLS), events)
    wanted = int(np.count_nonzero(events["instrument_id"] == 3))
    got, _ = taken(KafkaFeed(brokers, {"COIN3": 77}, start="earliest"), wanted)
    assert set(got["instrument_id"].tolist()) == {77}
    np.testing.assert_array_equal(got["sequence"], events["sequence"][events["instrument_id"] == 3])


def test_a_consumer_that_stops_in_the_middle_goes_on_with_the_next_row(brokers: str, tmp_path: Path) -> None:
    events = some_events(2_000, 3)
    published(KafkaBus(brokers, SYMBOLS), events)
    checkpoint, parts, stops = tmp_path / "offsets.json", [], 0
    while sum(map(len, parts)) < len(events):
        left = len(events) - sum(map(len, parts))
        got, _ = taken(KafkaFeed(brokers, start="earliest", checkpoint=checkpoint, batch_records=25), min(left, 400))
        parts.append(got)
        stops += 1
    assert stops >= 3
    got = np.concatenate(parts)
    assert sorted(got.tolist()) == sorted(events.tolist())
    assert np.all(np.diff(got["ts_recv"]) >= 0)
    checkpoint.write_text("rubbish")
    with pytest.raises(BusError, match="no file of offsets"):
        taken(KafkaFeed(brokers, checkpoint=checkpoint), 1)


def test_a_partition_that_was_read_to_its_end_holds_up_no_other_after_a_restart(brokers: str, tmp_path: Path) -> None:
    events = some_events(400, 8)
    published(KafkaBus(brokers, SYMBOLS), events)
    checkpoint = tmp_path / "offsets.json"
    taken(KafkaFeed(brokers, start="earliest", checkpoint=checkpoint), len(events))
    saved = json.loads(checkpoint.read_text())
    partitions = {k: partition_of(name, len(saved["offsets"])) for k, name in SYMBOLS.items()}
    behind = partitions[0]
    before = int(events["ts_recv"][0]) - 1
    checkpoint.write_text(
        json.dumps(
            {
                **saved,
                "offsets": {**saved["offsets"], str(behind): 0},
                "watermark_ns": before,
                "marks": {partition: mark for partition, mark in saved["marks"].items() if partition != str(behind)},
            }
        )
    )
    of_it = events[np.isin(events["instrument_id"], [k for k, partition in partitions.items() if partition == behind])]
    got, _ = taken(KafkaFeed(brokers, checkpoint=checkpoint), len(of_it))
    np.testing.assert_array_equal(got, of_it)


def test_statuses_travel_with_the_ticks_and_are_given_once(brokers: str) -> None:
    bus = KafkaBus(brokers, SYMBOLS)
    gap = FeedStatus(0, StatusKind.GAP, 5, "venue", "COIN1", 7, 9)
    bus.put(gap)
    published(bus, some_events(100, 4))
    _, statuses = taken(KafkaFeed(brokers, start="earliest"), 100)
    assert statuses[1:] == [gap]


def test_whoever_joins_late_gets_every_book_from_the_next_snapshots(brokers: str) -> None:
    keeper, opening = BookKeeper(), some_events(len(SYMBOLS), 5)
    opening["action"], opening["flags"], opening["instrument_id"] = CLEAR, F_SNAPSHOT | F_LAST, list(SYMBOLS)
    first = np.concatenate([opening, some_events(600, 6, int(opening["ts_recv"][-1]))])
    bus = KafkaBus(brokers, SYMBOLS, snapshot_s=0.5)
    keeper.apply(first)
    for k in range(0, len(first), 30):
        bus.put(EventBatch(first[k : k + 30], int(first["ts_recv"][min(k + 29, len(first) - 1)])))
    bus.flush()
    feed = KafkaFeed(brokers)
    items = iter(feed)
    next(items)  # connected, at the end of what there is
    later = some_events(2_000, 7, int(first["ts_recv"][-1]))
    keeper.apply(later)
    published(bus, later)
    theirs = BookKeeper()
    deadline = time.monotonic() + 120
    while (
        sum(
            book.sequence == int(later["sequence"][later["instrument_id"] == k][-1]) for k, book in theirs.books.items()
        )
        < 6
    ):
        item = next(items)
        assert time.monotonic() < deadline
        if isinstance(item, EventBatch):
            theirs.apply(item.events)
    feed.close()
    for k in SYMBOLS:
        assert theirs.books[k].is_known
        assert theirs.books[k].levels(0) == keeper.books[k].levels(0)
        assert theirs.books[k].levels(1) == keeper.books[k].levels(1)


def test_a_lost_record_is_a_gap_and_a_clear(brokers: str) -> None:
    raw = confluent_kafka.Producer({"bootstrap.servers": brokers})
    for position in (0, 1, 3):
        rows = some_events(2, position, 1_000 + position * 10_000_000)
        rows["instrument_id"] = 0
        record = Ticks("COIN0", 0, int(rows["ts_recv"][-1]), 0, position, 1, rows.tolist())
        raw.produce(TICKS, ENCODER.encode(record), b"COIN0", 0)
    raw.flush(60)
    bus = KafkaBus(brokers, SYMBOLS)
    bus.put(EventBatch(empty_events(0), 10_000_000_000))
    bus.close()
    feed = KafkaFeed(brokers, start="earliest")
    got, statuses = taken(feed, 7)
    assert (statuses[1].kind, statuses[1].symbol, statuses[1].expected, statuses[1].found) == ("gap", "COIN0", 2, 3)
    assert got["action"].tolist().index(CLEAR) == 4
    assert feed.metrics.gaps == 1


RECORDS: list[Record] = [
    OrderFlow("COIN0", 1, 2, 3, 10_000_000_000, 1.5, 0.25, "vpin", 2.0),
    Prediction("COIN0", 1, 2, 4, 10_000_000_000, 0.2, 0.5, 0.3, "7", "abc"),
    TradeRecord("COIN0", 1, 2, 5, "day-1", 11, 12, 1, 100, 2, 30, -40),
    Ticks("COIN0", 1, 2, 6, 0, 1, some_events(3, 1).tolist()),
]


def test_the_four_topics_are_keyed_and_partitioned_by_instrument_and_trades_by_fill(brokers: str) -> None:
    bus = KafkaBus(brokers)
    for record in RECORDS:
        bus.publish(record)  # type: ignore[arg-type]  # none of them is a watermark or a status
    bus.flush()
    assert [topic_of(record) for record in RECORDS] == [ORDER_FLOW, PREDICTIONS, TRADES, TICKS]
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": brokers, "group.id": "t", "auto.offset.reset": "earliest"}
    )
    partition = partition_of("COIN0", 4)
    consumer.assign([confluent_kafka.TopicPartition(topic_of(record), partition, 0) for record in RECORDS])
    got: dict[str, Any] = {}
    deadline = time.monotonic() + 120
    while len(got) < 4 and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            got[message.topic()] = message
    consumer.close()
    for record in RECORDS:
        message = got[topic_of(record)]
        assert decode_record(message.value(), "here") == record
        assert message.key() == (b"COIN0/day-1/12" if isinstance(record, TradeRecord) else b"COIN0")
        assert key_of(record) == message.key()  # type: ignore[arg-type]  # as above


def test_topics_are_kept_as_long_as_the_product_says() -> None:
    day_ms = 86_400_000
    kept = {topic.name: topic for topic in topics(training_window_days=20)}
    assert kept[TICKS].retention_ms == 7 * day_ms
    assert kept[ORDER_FLOW].retention_ms == 30 * day_ms
    assert kept[PREDICTIONS].retention_ms == 30 * day_ms
    assert kept[TRADES].config()["cleanup.policy"] == "compact"
    assert topics(training_window_days=4)[1].retention_ms == 11 * day_ms


def test_what_could_not_be_delivered_is_an_error_and_not_a_log_line() -> None:
    cluster = confluent_kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none", "log_level": 0})
    broker = next(iter(cluster.list_topics(timeout=60).brokers.values()))
    bus = KafkaBus(f"{broker.host}:{broker.port}", SYMBOLS, delivery_s=1.0, config={"log_level": 0})
    bus._count(ORDER_FLOW)  # asks how many partitions there are, while somebody answers
    del cluster
    bus.publish(RECORDS[0])  # type: ignore[arg-type]  # an order flow record
    with pytest.raises(BusError, match="were not delivered, the first: order_flow"):
        bus.flush()


def test_brokers_that_are_not_there_records_that_are_none_and_a_missing_package_are_named(
    brokers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BusError, match="no answer about topic ticks"):
        taken(KafkaFeed("127.0.0.1:9", timeout_s=0.3, config={"log_level": 0}), 1)
    with pytest.raises(BusError, match="topics cannot be made"):
        create_topics("127.0.0.1:9", timeout_s=0.3)
    with pytest.raises(BusError, match="instrument 9, which has no symbol here"):
        KafkaBus(brokers, SYMBOLS).put(EventBatch(np.array([(0,) * 6 + (9, 7, 1, 1, 0)], empty_events(0).dtype), 0))
    raw = confluent_kafka.Producer({"bootstrap.servers": brokers})
    raw.produce(TICKS, b"rubbish", b"x", 0)
    raw.flush(60)
    with pytest.raises(BusError, match=r"\[0\] offset 0: not a record of ours"):
        taken(KafkaFeed(brokers, start="earliest"), 1)
    with pytest.raises(ValueError, match="another version wrote them"):
        rows_of(Ticks("A", 0, 0, 0, 0, 0, [], ("x",)))
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(BusError, match=r"pip install 'flowsense\[kafka\]'"):
        KafkaBus("127.0.0.1:9")

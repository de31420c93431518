"""What a session tells the bus is what it did; the bus can fail without the session."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.feeds.bus_records import (
    ORDER_FLOW,
    PREDICTIONS,
    TRADES,
    OrderFlow,
    Prediction,
    TradeRecord,
    decode_record,
)
from marketdata.feeds.kafka_bus import KafkaBus
from marketdata.paths import DataRoot
from serving.heartbeat import read_heartbeat
from serving.ledger_store import read_ledger
from serving.live import LiveTrader
from serving.publishing import BusPublisher, Holding, realise
from tests.serving.conftest import World
from tests.serving.test_live import Stands, items_of

confluent_kafka = pytest.importorskip("confluent_kafka")
FILLS = st.lists(
    st.tuples(st.sampled_from([1, -1]), st.integers(1, 10_000), st.integers(1, 50)), min_size=1, max_size=30
)


@given(FILLS)
def test_what_fills_realise_is_cash_and_cost_of_what_is_held(fills: list[tuple[int, int, int]]) -> None:
    held, cash, realised = Holding(), 0, 0
    for side, price, lots in fills:
        held, gain = realise(held, side, price, lots)
        cash -= side * price * lots
        realised += gain
    assert held.lots == sum(side * lots for side, _, lots in fills)
    assert realised == cash + held.cost  # what came in, and what the rest is worth at its own cost
    if held.lots == 0:
        assert held.cost == 0


def test_a_fill_realises_against_the_average_cost_and_beyond_the_position_opens_a_new_one() -> None:
    held, first = realise(Holding(), 1, 100, 10)
    held, second = realise(held, 1, 110, 10)
    assert (held, first, second) == (Holding(20, 2_100), 0, 0)
    held, gain = realise(held, -1, 115, 5)
    assert (held, gain) == (Holding(15, 1_575), 5 * 115 - 525)
    held, gain = realise(held, -1, 100, 25)
    assert (held, gain) == (Holding(-10, -1_000), 15 * 100 - 1_575)


@pytest.fixture
def brokers() -> Iterator[str]:
    holder = confluent_kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none", "log_level": 0})
    yield ",".join(f"{broker.host}:{broker.port}" for broker in holder.list_topics(timeout=10).brokers.values())
    del holder


def traded(root: DataRoot, world: World, publisher: BusPublisher) -> list[str]:
    said: list[str] = []
    trader = LiveTrader(root, world.settings, say=said.append, publisher=publisher)
    trader._watch = Stands("paper", world.bundle)  # type: ignore[assignment]  # answers as the watch does
    for item in items_of(world):
        trader.take(item)
    trader.beat(connected=True)
    publisher.close()
    return said


def consumed(brokers: str, topic: str) -> list[OrderFlow | Prediction | TradeRecord]:
    consumer = confluent_kafka.Consumer({"bootstrap.servers": brokers, "group.id": "t"})
    places = [
        confluent_kafka.TopicPartition(topic, k, 0) for k in consumer.list_topics(topic, 10).topics[topic].partitions
    ]
    ends = [consumer.get_watermark_offsets(place, 10)[1] for place in places]
    consumer.assign(places)
    found = []
    while len(found) < sum(ends):
        message = consumer.poll(5)
        assert message is not None
        assert message.error() is None
        found.append(decode_record(message.value(), topic))
    consumer.close()
    return found  # type: ignore[return-value]  # ticks are another topic


def test_a_session_publishes_its_order_flow_its_forecasts_and_its_fills(
    world: World, fresh_root: DataRoot, brokers: str
) -> None:
    publisher = BusPublisher(KafkaBus(brokers, {k: item.symbol for k, item in enumerate(world.settings.instruments)}))
    traded(fresh_root, world, publisher)
    assert publisher.facts()["bus_lost"] == 0
    fills = read_ledger(fresh_root.ledger_database, "fills")
    trades = consumed(brokers, TRADES)
    assert len(trades) == len(fills) > 20
    assert sorted(t.fill_id for t in trades) == sorted(fills["sequence"].to_list())
    units = {item.symbol: item.unit_nanos for item in world.settings.instruments}
    cash = sum(-t.side * t.price_units * t.size_lots * units[t.symbol] - t.fee_nanos for t in trades)
    assert sum(t.pnl_nanos for t in trades) == cash  # the session ends flat: everything was realised
    predictions = consumed(brokers, PREDICTIONS)
    assert {p.model_version for p in predictions} == {f"{world.bundle.manifest.name}@{world.bundle.sha256}"}
    flow = consumed(brokers, ORDER_FLOW)
    assert {f.symbol for f in flow} == {item.symbol for item in world.settings.instruments}
    rows = {(f.symbol, f.ts_recv, f.sequence) for f in flow}
    assert {(p.symbol, p.ts_recv, p.sequence) for p in predictions} <= rows
    warm = [f for f in flow if f.ofi == f.ofi]
    assert len(warm) > 0.9 * len(flow)
    assert publisher.facts()["bus_delivered"] == len(trades) + len(predictions) + len(flow)


def test_a_dead_bus_costs_records_and_no_trade(world: World, fresh_root: DataRoot) -> None:
    cluster = confluent_kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none", "log_level": 0})
    broker = next(iter(cluster.list_topics(timeout=10).brokers.values()))
    bus = KafkaBus(f"{broker.host}:{broker.port}", delivery_s=1.0, config={"log_level": 0})
    for topic in (ORDER_FLOW, PREDICTIONS, TRADES):
        bus._count(topic)
    del cluster
    lines: list[str] = []
    publisher = BusPublisher(bus, lines.append)
    traded(fresh_root, world, publisher)
    assert len(read_ledger(fresh_root.ledger_database, "fills")) > 20
    assert publisher.facts()["bus_lost"] > 1_000
    assert len(lines) == 1
    assert "trading goes on, the journal has everything" in lines[0]
    assert "bus_lost" in read_heartbeat(fresh_root)

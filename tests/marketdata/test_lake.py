"""SQL over published partitions sees exactly what was published, and bars agree with a slow reference."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from marketdata.events import ASK, BID, EXECUTE, HIDDEN, LEVEL, empty_events, events_to_frame
from marketdata.instruments import Instrument
from marketdata.lake import LakeError, bars, partition_files, query
from marketdata.partitions import CheckResult, PartitionQuarantined, publish
from marketdata.paths import DataRoot, PartitionKey

COIN = Instrument(symbol="AAA", instrument_id=0, venue="X", unit_nanos=1, price_decimals=0.01)
DAYS = (date(2026, 1, 5), date(2026, 1, 6))


def some_events(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    events = empty_events(400)
    events["ts_recv"] = np.sort(rng.integers(0, 20_000_000_000, 400)) + seed * 10**12
    events["ts_event"] = events["ts_recv"]
    events["action"] = rng.choice([LEVEL, EXECUTE, HIDDEN], 400)
    events["side"] = rng.choice([BID, ASK], 400)
    events["price_units"] = rng.integers(9_900, 10_100, 400)
    events["size_lots"] = rng.integers(1, 9, 400)
    return events_to_frame(events)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    made = DataRoot(tmp_path / "root")
    for k, day in enumerate(DAYS):
        for symbol in ("AAA", "BBB"):
            publish(made, PartitionKey("events", day, symbol), some_events(k + 1), [])
    with pytest.raises(PartitionQuarantined):
        publish(made, PartitionKey("events", DAYS[1], "CCC"), some_events(9), [CheckResult("it_is_good", False)])
    return made


def test_bars_equal_a_row_by_row_reference(root: DataRoot) -> None:
    made = bars(root, COIN, DAYS[0], DAYS[1], 1_000_000_000)
    expected: dict[int, list[tuple[int, int, int]]] = {}
    for seed in (1, 2):
        for row in some_events(seed).iter_rows(named=True):
            if row["action"] in (EXECUTE, HIDDEN):
                start = row["ts_recv"] // 1_000_000_000 * 1_000_000_000
                expected.setdefault(start, []).append((row["price_units"], row["size_lots"], row["side"]))
    assert made["start_ns"].to_list() == sorted(expected)
    for row in made.iter_rows(named=True):
        trades = expected[row["start_ns"]]
        prices = [price * 0.01 for price, _, _ in trades]
        assert (row["open"], row["high"], row["low"], row["close"]) == (prices[0], max(prices), min(prices), prices[-1])
        assert row["volume_lots"] == sum(lots for _, lots, _ in trades)
        assert row["signed_lots"] == sum(-side * lots for _, lots, side in trades)
        assert row["trades"] == len(trades)


def test_only_the_partitions_that_are_asked_for_are_opened(root: DataRoot) -> None:
    files = partition_files(root, "events", symbols=["AAA"], first=DAYS[1], last=DAYS[1])
    assert [Path(name).parts[-3:-1] for name in files] == [("AAA", "2026-01-06")]


def test_a_quarantined_partition_cannot_be_queried(root: DataRoot) -> None:
    counted = query(root, "SELECT instrument, session, count(*) AS n FROM events GROUP BY ALL ORDER BY ALL")
    assert counted["instrument"].to_list() == ["AAA", "AAA", "BBB", "BBB"]
    assert counted["n"].to_list() == [400] * 4


def test_wrong_questions_get_a_reason(root: DataRoot) -> None:
    with pytest.raises(LakeError, match="no_such_table"):
        query(root, "SELECT * FROM no_such_table")
    with pytest.raises(LakeError, match="no published events of AAA"):
        bars(root, COIN, date(2020, 1, 1), date(2020, 1, 2), 10**9)
    with pytest.raises(LakeError, match="no length"):
        bars(root, COIN, DAYS[0], DAYS[1], 0)

"""SQL over published partitions sees exactly what was published, and bars agree with a slow reference."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from marketdata.events import ASK, BID, EXECUTE, F_LAST, HIDDEN, LEVEL, TRADE, empty_events, events_to_frame
from marketdata.instruments import Instrument
from marketdata.lake import (
    LakeError,
    bars,
    connect,
    partition_files,
    query,
    quotes,
    trade_bars,
    trades_with_quotes,
    volume_bars,
)
from marketdata.partitions import CheckResult, PartitionQuarantined, publish
from marketdata.paths import DataRoot, PartitionKey
from marketdata.presets import preset
from marketdata.settings import save_settings

COIN = Instrument(symbol="AAA", instrument_id=0, venue="X", unit_nanos=1, price_decimals=0.01)
EXACT = COIN.model_copy(update={"price_decimals": 0.25})
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
    made.path.mkdir()
    settings = preset("simulated", None).model_copy(update={"instruments": (COIN,)})
    save_settings(settings, made.settings_file)
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


def reference_trades() -> list[dict[str, int]]:
    rows = pl.concat([some_events(1), some_events(2)])
    return [row for row in rows.iter_rows(named=True) if row["action"] in (EXECUTE, HIDDEN)]


def test_volume_bars_and_trade_bars_take_trades_whole_and_in_order(root: DataRoot) -> None:
    trades = reference_trades()
    by_volume: dict[int, list[dict[str, int]]] = {}
    before = 0
    for row in trades:
        by_volume.setdefault(before // 50, []).append(row)
        before += row["size_lots"]
    by_count = {k: trades[7 * k : 7 * k + 7] for k in range(-(-len(trades) // 7))}
    for made, expected in (
        (volume_bars(root, COIN, DAYS[0], DAYS[1], 50), by_volume),
        (trade_bars(root, COIN, DAYS[0], DAYS[1], 7), by_count),
    ):
        assert made["trades"].to_list() == [len(rows) for rows in expected.values()]
        assert made["volume_lots"].to_list() == [sum(row["size_lots"] for row in rows) for rows in expected.values()]
        assert made["open"].to_list() == [rows[0]["price_units"] * 0.01 for rows in expected.values()]
        assert made["close"].to_list() == [rows[-1]["price_units"] * 0.01 for rows in expected.values()]
        assert made["start_ns"].to_list() == [rows[0]["ts_recv"] for rows in expected.values()]


def test_bars_in_sql_are_those_of_the_functions(root: DataRoot) -> None:
    dates = "DATE '2026-01-05', DATE '2026-01-06'"
    for sql, made in (
        (f"FROM time_bars('AAA', {dates}, 1000000000)", bars(root, COIN, *DAYS, 1_000_000_000)),
        (f"FROM volume_bars('AAA', {dates}, 50)", volume_bars(root, COIN, *DAYS, 50)),
        (f"FROM trade_bars('AAA', {dates}, 7)", trade_bars(root, COIN, *DAYS, 7)),
    ):
        found = query(root, sql)
        assert found.drop("instrument").equals(made)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM events WHERE instrument = 'AAA' AND session = DATE '2026-01-06'",
        "SELECT sum(size) FROM trades WHERE instrument = 'AAA' AND session = DATE '2026-01-06' AND aggressor = 1",
        "SELECT * FROM time_bars('AAA', DATE '2026-01-06', DATE '2026-01-06', 1000000000)",
    ],
)
def test_a_filter_on_session_and_instrument_reads_one_file_of_four(root: DataRoot, sql: str) -> None:
    with connect(root) as connection:
        plan = str(connection.sql(f"EXPLAIN ANALYZE {sql}").fetchall())
    assert "Scanning Files: 1/4" in plan
    assert "AAA/2026-01-06/data.parquet" in plan
    assert "BBB" not in plan


def test_a_join_as_of_a_time_prunes_both_sides(root: DataRoot) -> None:
    sql = """
        SELECT t.ts_recv, t.price, q.ts_recv AS before, q.price_units FROM trades t
        ASOF LEFT JOIN (FROM events WHERE action = 7) q
            ON t.instrument = q.instrument AND t.session = q.session AND t.ts_recv > q.ts_recv
        WHERE t.instrument = 'AAA' AND t.session = DATE '2026-01-05'
          AND q.instrument = 'AAA' AND q.session = DATE '2026-01-05' ORDER BY t.ts_recv
    """
    found = query(root, sql)
    events = some_events(1)
    levels = events.filter(pl.col("action") == LEVEL)
    for row in found.iter_rows(named=True):
        assert row["before"] == levels.filter(pl.col("ts_recv") < row["ts_recv"])["ts_recv"][-1]
    with connect(root) as connection:
        plan = str(connection.sql(f"EXPLAIN {sql}").fetchall())
    assert plan.count("Scanning Files: 1/4") == 2


def test_trades_meet_the_quotes_that_stood_before_their_group(tmp_path: Path) -> None:
    made = DataRoot(tmp_path / "root")
    events = empty_events(7)
    events["ts_recv"] = events["ts_event"] = [10, 10, 20, 20, 20, 30, 40]
    events["sequence"] = [0, 0, 1, 1, 2, 3, 4]
    events["action"] = [LEVEL, LEVEL, EXECUTE, LEVEL, TRADE, LEVEL, TRADE]
    events["side"] = [BID, ASK, ASK, ASK, 0, BID, BID]
    events["price_units"] = [9_999, 10_001, 10_001, 10_001, 10_000, 10_000, 10_000]
    events["size_lots"] = [5, 6, 2, 4, 1, 3, 1]
    events["flags"] = [0, F_LAST, 0, F_LAST, F_LAST, F_LAST, F_LAST]
    publish(made, PartitionKey("events", DAYS[0], "AAA"), events_to_frame(events), [])
    seen = quotes(made, EXACT, DAYS[0], DAYS[0])
    assert seen.select("bid", "bid_lots", "ask", "ask_lots").rows() == [
        (2499.75, 5, 2500.25, 6),
        (2499.75, 5, 2500.25, 4),
        (2500.0, 3, 2500.25, 4),
    ]
    found = trades_with_quotes(made, EXACT, DAYS[0], DAYS[0])
    assert found.select("price", "aggressor", "bid", "ask", "ask_lots").rows() == [
        (2500.25, 1, 2499.75, 2500.25, 6),  # before its own group, in which the level already shrank
        (2500.0, 0, 2499.75, 2500.25, 4),
        (2500.0, -1, 2500.0, 2500.25, 4),
    ]
    assert found["effective_spread_bps"][0] == pytest.approx(2.0)
    assert found["effective_spread_bps"][1] is None


def test_a_trade_before_any_quote_has_none(tmp_path: Path) -> None:
    made = DataRoot(tmp_path / "root")
    events = empty_events(1)
    events["action"], events["price_units"], events["size_lots"], events["flags"] = TRADE, 5, 1, F_LAST
    publish(made, PartitionKey("events", DAYS[0], "AAA"), events_to_frame(events), [])
    assert trades_with_quotes(made, EXACT, DAYS[0], DAYS[0]).select("bid", "ask", "mid").row(0) == (None, None, None)

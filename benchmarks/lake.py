"""The store under a query: one-second bars of one instrument-day out of a lake of 100 million rows."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import polars as pl

from marketdata import lake
from marketdata.clock import NS_PER_DAY, NS_PER_HOUR, NS_PER_S
from marketdata.events import EVENT_SCHEMA, EXECUTE
from marketdata.instruments import Instrument
from marketdata.parquet import write_parquet
from marketdata.partitions import DATA_FILE
from marketdata.paths import DataRoot, PartitionKey

SYMBOLS: Final = 10
DAYS: Final = 10
ROWS_A_DAY: Final = 1_000_000
REPEATS: Final = 9
FIRST: Final = date(2026, 1, 5)
BAR_NS: Final = NS_PER_S


def _day_of_events(seed: int, day: int) -> pl.DataFrame:
    """Return a day of adds, deletes, executions and levels at random times in 6.5 hours, about 15 % of them executions."""
    draw = np.random.default_rng(seed)
    opened = (20_458 + day) * NS_PER_DAY + 14 * NS_PER_HOUR
    times = opened + np.sort(draw.integers(0, 13 * NS_PER_HOUR // 2, ROWS_A_DAY))
    numbers = np.arange(ROWS_A_DAY)
    columns = {
        "ts_event": times - draw.integers(100_000, 900_000, ROWS_A_DAY),
        "ts_recv": times,
        "price_units": 10_000 + np.cumsum(draw.integers(-1, 2, ROWS_A_DAY)) // 50,
        "size_lots": draw.integers(1, 200, ROWS_A_DAY),
        "order_id": numbers + 10**9,
        "sequence": numbers,
        "instrument_id": np.zeros(ROWS_A_DAY),
        "action": draw.choice(np.array([1, 3, EXECUTE, 7]), ROWS_A_DAY, p=[0.4, 0.4, 0.15, 0.05]),
        "side": draw.choice([-1, 1], ROWS_A_DAY),
        "flags": np.ones(ROWS_A_DAY),
        "clock_quality": np.zeros(ROWS_A_DAY),
    }
    return pl.DataFrame(columns).cast(pl.Schema(EVENT_SCHEMA))


def _write_lake(root: DataRoot) -> int:
    """Write one partition an instrument and day; return the rows written."""

    def write(place: tuple[int, int]) -> int:
        symbol, day = place
        folder = root.published(PartitionKey("events", FIRST + timedelta(days=day), f"S{symbol}"))
        folder.mkdir(parents=True)
        events = _day_of_events(1_000 * symbol + day, day)
        write_parquet(events, folder / DATA_FILE)
        return events.height

    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(write, [(symbol, day) for symbol in range(SYMBOLS) for day in range(DAYS)]))


def _expected(root: DataRoot, instrument: Instrument, day: date) -> pl.DataFrame:
    """Return the bars as polars makes them of the partition's file."""
    (name,) = lake.partition_files(root, "events", symbols=[instrument.symbol], first=day, last=day)
    price = pl.col("price_units") * instrument.price_decimals
    return (
        pl.read_parquet(name)
        .filter(pl.col("action") == EXECUTE)
        .group_by((pl.col("ts_recv") // BAR_NS * BAR_NS).alias("start_ns"), maintain_order=True)
        .agg(
            price.first().alias("open"),
            price.max().alias("high"),
            price.min().alias("low"),
            price.last().alias("close"),
            pl.col("size_lots").sum().alias("volume_lots"),
            (-pl.col("side").cast(pl.Int64) * pl.col("size_lots")).sum().alias("signed_lots"),
            pl.len().cast(pl.Int64).alias("trades"),
        )
    )


def query_bars() -> dict[str, Any]:
    """Measure one query for the one-second bars of an instrument-day; the peer is polars on the one file."""
    with TemporaryDirectory(prefix="flowsense_lake_") as folder:
        root = DataRoot(Path(folder))
        written = _write_lake(root)
        assert written == SYMBOLS * DAYS * ROWS_A_DAY, f"{written} rows written"
        instrument = Instrument(symbol="S3", instrument_id=3, venue="X", unit_nanos=1, price_decimals=0.01)
        day = FIRST + timedelta(days=4)
        made = lake.bars(root, instrument, day, day, BAR_NS)
        expected = _expected(root, instrument, day)
        assert made.equals(expected), "DuckDB and polars make different bars"
        times = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            again = lake.bars(root, instrument, day, day, BAR_NS)
            times.append(time.perf_counter() - started)
            assert again.height == expected.height
        peer = min(_timed(lambda: _expected(root, instrument, day)) for _ in range(3))
    return {
        "n": REPEATS,
        "unit": "query",
        "per_s": 1 / min(times),
        "p50_us": float(np.median(times)) * 1e6,
        "p99_us": max(times) * 1e6,
        "peer": f"polars {pl.__version__}, whole file",
        "peer_per_s": 1 / peer,
    }


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


BENCHMARKS: dict[str, Callable[[], dict[str, Any]]] = {"query_bars": query_bars}

"""Partitions are small, keep their order and types, and equal rows give equal bytes."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from marketdata.events import EVENT_SCHEMA
from marketdata.parquet import write_parquet


def some_events(rows: int = 5_000) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.integers(1, 5_000_000, rows)) + 1_700_000_000_000_000_000
    columns = {
        "ts_event": times,
        "ts_recv": times + rng.integers(0, 2_000_000, rows),
        "price_units": rng.integers(9_990, 10_010, rows),
        "size_lots": rng.integers(1, 9, rows),
        "order_id": np.arange(rows) + 10**9,
        "sequence": np.arange(rows),
        "instrument_id": np.zeros(rows),
        "action": rng.integers(1, 8, rows),
        "side": rng.choice([-1, 1], rows),
        "flags": np.ones(rows),
        "clock_quality": np.zeros(rows),
    }
    return pl.DataFrame(columns).cast(EVENT_SCHEMA)


def test_times_are_packed_differences_and_codes_a_dictionary(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    write_parquet(some_events(), path)
    group = pq.ParquetFile(path).metadata.row_group(0)
    encodings = {group.column(k).path_in_schema: set(group.column(k).encodings) for k in range(group.num_columns)}
    for name in ("ts_event", "ts_recv", "sequence", "order_id"):
        assert "DELTA_BINARY_PACKED" in encodings[name]
    for name in ("price_units", "size_lots", "action", "side", "flags"):
        assert "RLE_DICTIONARY" in encodings[name]
    assert all(group.column(k).statistics.has_min_max for k in range(group.num_columns))


def test_events_take_less_than_three_quarters_of_what_one_setting_for_all_takes(tmp_path: Path) -> None:
    ours, default = tmp_path / "ours.parquet", tmp_path / "default.parquet"
    write_parquet(some_events(), ours)
    some_events().write_parquet(default, compression="zstd", compression_level=3)
    assert ours.stat().st_size < 3 / 4 * default.stat().st_size


def test_rows_types_and_order_come_back(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "ts_known": pl.Series([3, 1, 2], dtype=pl.Int64),
            "text": ["a", None, "ü"],
            "value": [0.1, float("nan"), None],
            "flag": [True, False, None],
            "small": pl.Series([1, 2, 3], dtype=pl.Int8),
        }
    )
    for given in (frame, frame.clear(), some_events()):
        write_parquet(given, tmp_path / "x.parquet")
        found = pl.read_parquet(tmp_path / "x.parquet")
        assert found.schema == given.schema
        assert found.equals(given)


def test_equal_rows_give_equal_bytes_on_one_and_on_two_threads(tmp_path: Path) -> None:
    write_parquet(some_events(), tmp_path / "here.parquet")
    script = (
        "import sys; from pathlib import Path; from marketdata.parquet import write_parquet\n"
        "from tests.marketdata.test_partitions import some_events\n"
        "write_parquet(some_events(), Path(sys.argv[1]))"
    )
    for threads in ("1", "2"):
        path = tmp_path / f"{threads}.parquet"
        environment = {"POLARS_MAX_THREADS": threads, "OMP_NUM_THREADS": threads, "PATH": "", "PYTHONPATH": "."}
        subprocess.run([sys.executable, "-c", script, str(path)], check=True, env=environment)
        assert digest(path) == digest(tmp_path / "here.parquet")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""Deribit option chains: one snapshot of BTC and ETH a day.

``volume`` and ``volume_usd`` roll over 24 hours: once-a-day snapshots give days that hardly overlap, more frequent
ones must not be summed. Prices (bid, ask, mark) are in coins, strikes and ``underlying`` (the index) in dollars.
Taking a snapshot of some 1,600 contracts lasts: it counts as known :data:`DOWNLOAD_NS` after its time stamp, open
interest included (the venue publishes it live).
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import polars as pl

from marketdata.clock import NS_PER_MINUTE
from marketdata.codecs.tables import FLOAT, TEXT, SourceError, read_table
from marketdata.slow_data import OPTIONS, slow_frame

DOWNLOAD_NS: Final = 1 * NS_PER_MINUTE
FOLDER: Final = "options/deribit_snapshots/daily"
SCHEMA: Final = {
    "timestamp": TEXT,
    "instrument_name": TEXT,
    "underlying": FLOAT,
    "underlying_name": TEXT,
    "option_type": TEXT,
    "strike": FLOAT,
    "expiry_datetime": TEXT,
    "time_to_maturity": FLOAT,
    "bid_price": FLOAT,
    "ask_price": FLOAT,
    "mark_price": FLOAT,
    "mid_price": FLOAT,
    "futures_price": FLOAT,
    "futures_instrument_name": TEXT,
    "implied_volatility": FLOAT,
    "delta": FLOAT,
    "vega": FLOAT,
    "open_interest": FLOAT,
    "volume": FLOAT,
    "bid_ask_spread": FLOAT,
    "currency": TEXT,
    "index_price": FLOAT,
    "volume_usd": FLOAT,
}
NULLABLE: Final = ("bid_price", "ask_price", "mid_price", "futures_price", "futures_instrument_name", "bid_ask_spread")


def find_files(folders: Sequence[Path]) -> list[Path]:
    """Return the monthly files.

    Raises
    ------
    SourceError
        If there is none.
    """
    paths = [path for folder in folders for path in sorted((folder / FOLDER).glob("deribit_daily_*.csv*"))]
    if not paths:
        raise SourceError(folders[0] / FOLDER / "deribit_daily_YYYYMM.csv.gz", "no such file")
    return paths


def read_month(path: Path) -> pl.DataFrame:
    """Return a monthly file as slow raw options, sorted by ``ts_known``.

    Raises
    ------
    SourceError
        If it is malformed, or an option is neither call nor put.
    """
    return _read_month(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read_month(path: Path, modified_ns: int) -> pl.DataFrame:
    table = read_table(path, SCHEMA, header=True, nullable=NULLABLE)
    kinds = table["option_type"].is_in(["call", "put"])
    if not kinds.all():
        row = int((~kinds).arg_max() or 0)
        raise SourceError(
            path, f"{table['option_type'][row]!r} is neither call nor put", row=row + 1, field="option_type"
        )
    times = {name: utc_ns(table, name, path) for name in ("timestamp", "expiry_datetime")}
    return slow_frame(
        OPTIONS,
        table.select(
            (times["timestamp"] + DOWNLOAD_NS).alias("ts_known"),
            times["timestamp"].alias("ts_snapshot"),
            pl.col("currency").alias("symbol"),
            pl.col("instrument_name").alias("contract"),
            (pl.col("option_type") == "call").alias("is_call"),
            "strike",
            times["expiry_datetime"].alias("expiry_ns"),
            pl.col("bid_price").alias("bid"),
            pl.col("ask_price").alias("ask"),
            pl.col("mark_price").alias("mark"),
            pl.col("implied_volatility").alias("iv"),
            "delta",
            "open_interest",
            "volume",
            "volume_usd",
            pl.col("index_price").alias("underlying"),
        ),
    )


def utc_ns(table: pl.DataFrame, name: str, path: Path) -> pl.Series:
    """Return a column of ISO-8601 times (UTC where they name no offset) as nanoseconds.

    Raises
    ------
    SourceError
        Naming the first row that is no time.
    """
    text = table[name].str.replace(" ", "T", literal=True).str.replace(r"(\+00:00|Z)$", "")
    stamps = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="ns")
    if stamps.null_count():
        row = int(stamps.is_null().arg_max() or 0)
        raise SourceError(path, f"{table[name][row]!r} is no time", row=row + 1, field=name)
    return stamps.cast(pl.Int64)

"""US equity and index option chains, one snapshot a day after the close, in three recorded shapes.

Prices are dollars a share, one contract is :data:`MULTIPLIER` shares. ``volume`` is the day's, ``open_interest`` the figure
that the clearing house published that morning: it lags the volume by a day, and is known with the snapshot at the latest. A
volatility that the source did not have (zero, or its cap) is null, its delta as well. Days on which the exchange was closed
(re-reads of the last chain) are dropped. A snapshot counts as known :data:`KNOWN_NS` after its time stamp, a delayed quote 15
minutes after it.

- Yahoo (MSTR, TSLA): no bid or ask; premium is last price · volume · 100, an approximation where the last trade is old.
- CBOE 2019 (SPX): delayed quotes at the end of the day; the first recorded day is incomplete.
- SPX 2026: volatilities are decimals. On third Fridays the morning and the evening settled series share expiry, type and
  strike: they are told apart by their order in the file.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from marketdata.clock import NS_PER_MINUTE, Calendar, to_ns
from marketdata.codecs.deribit import utc_ns
from marketdata.codecs.tables import FLOAT, TEXT, SourceError, read_table
from marketdata.slow_data import OPTIONS, slow_frame

MULTIPLIER: Final = 100.0
KNOWN_NS: Final = 1 * NS_PER_MINUTE
DELAY_NS: Final = 15 * NS_PER_MINUTE
CAP_IV: Final = 5.0
EASTERN: Final = ZoneInfo("America/New_York")
EXPIRY_HOUR: Final = 16
CALENDAR: Final = Calendar("XNYS", "America/New_York")

YAHOO: Final = {
    **dict.fromkeys(("snapshot_date", "snapshot_timestamp", "ticker"), TEXT),
    **{"spot": FLOAT, "expiry": TEXT, "type": TEXT},
    **dict.fromkeys(("strike", "lastPrice", "volume", "openInterest", "iv", "delta", "gex"), FLOAT),
}
CBOE: Final = {
    **{"underlying": TEXT, "underlying_last": FLOAT},
    **dict.fromkeys(("exchange", "optionroot", "type", "expiration", "quotedate"), TEXT),
    **dict.fromkeys(("strike", "last", "net", "bid", "ask", "volume", "openinterest"), FLOAT),
    **dict.fromkeys(("impliedvol", "delta", "gamma"), FLOAT),
}
SPX: Final = {
    **{"snapshot_date": TEXT, "snapshot_timestamp": TEXT, "spot": FLOAT, "expirationDate": TEXT, "optionType": TEXT},
    **dict.fromkeys(("strikePrice", "bidPrice", "askPrice", "lastPrice", "volatility", "volume"), FLOAT),
    **dict.fromkeys(("openInterest", "daysToExpiration", "delta", "gamma", "theta", "vega", "rho"), FLOAT),
}
CHAINS: Final = {
    "MSTR": "options/mstr_tsla_daily/MSTR_chain_*.csv*",
    "TSLA": "options/mstr_tsla_daily/TSLA_chain_*.csv*",
    "SPX 2019": "options/spx_cboe_2019/SPX_chain_*.csv*",
    "SPX 2026": "options/spx_daily_2026/SPX_chain_*.csv*",
}
"""Recorded chains by name, and their files below a folder of recorded data."""


def find_files(folders: Sequence[Path], chain: str) -> list[Path]:
    """Return the files of one of :data:`CHAINS`, oldest first.

    Raises
    ------
    SourceError
        If there is none.
    """
    paths = [path for folder in folders for path in sorted(folder.glob(CHAINS[chain]))]
    if not paths:
        raise SourceError(folders[0] / CHAINS[chain], "no such file")
    return paths


def read_chain(path: Path) -> pl.DataFrame:
    """Return a file of any of the three shapes as slow raw options, sorted by ``ts_known``.

    Raises
    ------
    SourceError
        If it is malformed, or an option is neither call nor put.
    """
    first = path.parent.name
    if first == "mstr_tsla_daily":
        return _yahoo(path)
    return _cboe(path) if first == "spx_cboe_2019" else _spx(path)


def _yahoo(path: Path) -> pl.DataFrame:
    table = read_table(path, YAHOO, header=True, nullable=("volume", "openInterest", "delta", "gex", "iv"))
    stamp = _eastern_ns(table["snapshot_timestamp"], path, "snapshot_timestamp")
    has_iv = (pl.col("iv") > 0) & (pl.col("iv") < CAP_IV)
    volume = pl.col("volume").fill_null(0.0)
    return _finish(
        path,
        table.with_columns(stamp.alias("ts_snapshot")),
        day="snapshot_date",
        day_format="%Y-%m-%d",
        kind="type",
        expiry="expiry",
        expiry_format="%Y-%m-%d",
        known_ns=KNOWN_NS,
        symbol=pl.col("ticker"),
        contract=pl.concat_str("ticker", "expiry", "type", "strike", separator="-"),
        strike=pl.col("strike"),
        bid=pl.lit(None, pl.Float64),
        ask=pl.lit(None, pl.Float64),
        mark=pl.col("lastPrice"),
        iv=pl.when(has_iv).then("iv"),
        delta=pl.when(has_iv).then("delta"),
        open_interest=pl.col("openInterest").fill_null(0.0),
        volume=volume,
        volume_usd=volume * pl.col("lastPrice") * MULTIPLIER,
        underlying=pl.col("spot"),
    )


def _cboe(path: Path) -> pl.DataFrame:
    table = read_table(path, CBOE, header=True)
    days = _days(table["quotedate"], "%m/%d/%Y", path, "quotedate")
    close = {day: _close_ns(day) for day in set(days.to_list())}
    stamp = days.replace_strict(close, return_dtype=pl.Int64)
    has_iv = pl.col("impliedvol") > 0
    mid = (pl.col("bid") + pl.col("ask")) / 2.0
    return _finish(
        path,
        table.with_columns(stamp.alias("ts_snapshot")),
        day="quotedate",
        day_format="%m/%d/%Y",
        kind="type",
        expiry="expiration",
        expiry_format="%m/%d/%Y",
        known_ns=DELAY_NS,
        symbol=pl.lit("SPX"),
        contract=pl.col("optionroot"),
        strike=pl.col("strike"),
        bid=pl.col("bid"),
        ask=pl.col("ask"),
        mark=mid,
        iv=pl.when(has_iv).then("impliedvol"),
        delta=pl.when(has_iv).then("delta"),
        open_interest=pl.col("openinterest"),
        volume=pl.col("volume"),
        volume_usd=pl.col("volume") * mid * MULTIPLIER,
        underlying=pl.col("underlying_last"),
    )


def _spx(path: Path) -> pl.DataFrame:
    table = read_table(path, SPX, header=True)
    series = pl.int_range(pl.len()).over("snapshot_date", "expirationDate", "optionType", "strikePrice")
    table = table.with_columns(
        utc_ns(table, "snapshot_timestamp", path).alias("ts_snapshot"), series.cast(pl.String).alias("series")
    )
    has_iv = pl.col("volatility") > 0
    mid = (pl.col("bidPrice") + pl.col("askPrice")) / 2.0
    return _finish(
        path,
        table,
        day="snapshot_date",
        day_format="%Y-%m-%d",
        kind="optionType",
        expiry="expirationDate",
        expiry_format="%Y-%m-%d",
        known_ns=KNOWN_NS,
        symbol=pl.lit("SPX"),
        contract=pl.concat_str(pl.lit("SPX"), "expirationDate", "optionType", "strikePrice", "series", separator="-"),
        strike=pl.col("strikePrice"),
        bid=pl.col("bidPrice"),
        ask=pl.col("askPrice"),
        mark=mid,
        iv=pl.when(has_iv).then("volatility"),
        delta=pl.when(has_iv).then("delta"),
        open_interest=pl.col("openInterest"),
        volume=pl.col("volume"),
        volume_usd=pl.col("volume") * mid * MULTIPLIER,
        underlying=pl.col("spot"),
    )


def _finish(
    path: Path,
    table: pl.DataFrame,
    *,
    day: str,
    day_format: str,
    kind: str,
    expiry: str,
    expiry_format: str,
    known_ns: int,
    **columns: pl.Expr,
) -> pl.DataFrame:
    """Return the rows of trading days with their times, and the columns given."""
    kinds = table[kind].str.to_lowercase()
    wrong = ~kinds.is_in(["call", "put"])
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise SourceError(path, f"{table[kind][row]!r} is neither call nor put", row=row + 1, field=kind)
    days = _days(table[day], day_format, path, day)
    expiries = _days(table[expiry], expiry_format, path, expiry)
    ends = {end: _expiry_ns(end) for end in set(expiries.to_list())}
    open_days = {s.date for s in CALENDAR.sessions(days.min(), days.max())}  # type: ignore[arg-type]  # dates
    found = table.with_columns(
        (kinds == "call").alias("is_call"),
        expiries.replace_strict(ends, return_dtype=pl.Int64).alias("expiry_ns"),
        (pl.col("ts_snapshot") + known_ns).alias("ts_known"),
    )
    found = found.filter(days.is_in(list(open_days)))
    return slow_frame(OPTIONS, found.with_columns(expression.alias(name) for name, expression in columns.items()))


def _days(text: pl.Series, form: str, path: Path, field: str) -> pl.Series:
    found = text.str.to_date(form, strict=False)
    if found.null_count():
        row = int(found.is_null().arg_max() or 0)
        raise SourceError(path, f"{text[row]!r} is no date", row=row + 1, field=field)
    return found


def _eastern_ns(text: pl.Series, path: Path, field: str) -> pl.Series:
    stamps = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="ns")
    if stamps.null_count():
        row = int(stamps.is_null().arg_max() or 0)
        raise SourceError(path, f"{text[row]!r} is no time", row=row + 1, field=field)
    return stamps.dt.replace_time_zone("America/New_York").dt.convert_time_zone("UTC").dt.timestamp("ns")


def _close_ns(day: date) -> int:
    """Return the session's close; a day without one (a stale repeat, dropped later) counts its evening."""
    found = CALENDAR.sessions(day, day)
    return (
        found[0].close_ns if found else to_ns(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=21))
    )


def _expiry_ns(day: date) -> int:
    return to_ns(datetime(day.year, day.month, day.day, EXPIRY_HOUR, tzinfo=EASTERN))

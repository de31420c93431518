"""LEAN archives of currencies, futures, crypto and shares: quote ticks, trade ticks, and second or minute bars as events.

A day of a symbol is one zip for quotes and one for trades; futures have a member for each contract month, and their symbols here
are ``ES_201312``. (Quote ticks of shares, one-sided and with trades beside them, are read by ``lean``.)

======================== ===========================================================================================
quote tick               QUOTE, both sides, one nominal lot: these files have no sizes (currencies, metals)
trade tick               TRADE; the resting side by the tick test, as in ``lean``; suspicious ones and those of size 0 are
                         counted
quote bar                QUOTE, both sides, at the END of the bar: its close and the last sizes; a side without a price is empty
trade bar                TRADE at the END of the bar: the volume at the close price, side NONE; nothing for a bar of no volume
======================== ===========================================================================================

A bar's open, high and low give no event: nobody can say when in the bar they were. Sizes of bars are sums of floats and are
rounded to lots. Within one time quotes come before trades. Times are milliseconds after midnight, with fractions in some files:
New York for shares, UTC-05:00 all year for FXCM, UTC elsewhere. There is no receive time.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata.clock import NS_PER_MS, to_ns
from marketdata.codecs.exact import grid_of
from marketdata.codecs.tables import UNREADABLE_ZIP, SourceError
from marketdata.codecs.text_columns import exact_column, nearest_integers, read_text_table
from marketdata.events import ASK, BID, CLEAR, F_LAST, F_SNAPSHOT, NONE, QUOTE, TRADE, EventArray, empty_events
from marketdata.frames import Decoded
from marketdata.instruments import Instrument

Int64 = npt.NDArray[np.int64]

NAME: Final = re.compile(r"(?P<day>\d{8})_(?P<kind>quote|trade)\.zip$")
MONTH: Final = re.compile(r"_(?P<month>\d{6})\.csv$")
PERIODS: Final = {"tick": 0, "second": 1_000, "minute": 60_000}
"""Resolution folder to the milliseconds of a bar."""
CENTS: Final = 10_000
"""Prices of shares are in 1/10,000 of a dollar, without a point."""

TICK_QUOTE: Final = ("ms", "bid", "ask")
TICK_TRADE: Final = ("ms", "price", "size", "exchange", "condition", "suspicious")
BAR_TRADE: Final = ("ms", "open", "high", "low", "price", "size")
BAR_QUOTE: Final = (
    "ms", "bid_open", "bid_high", "bid_low", "bid", "bid_size", "ask_open", "ask_high", "ask_low", "ask", "ask_size",
)  # fmt: skip
LAYOUTS: Final = {
    ("tick", "quote"): TICK_QUOTE,
    ("tick", "trade"): TICK_TRADE,
    ("bar", "quote"): BAR_QUOTE,
    ("bar", "trade"): BAR_TRADE,
}


@dataclass(frozen=True, slots=True)
class LeanDay:
    """The files of a symbol and day at one resolution; either may be absent."""

    symbol: str
    day: date
    resolution: str
    zone: tzinfo
    scale: int
    quotes: Path | None
    trades: Path | None


def find_days(path: Path) -> list[LeanDay]:
    """Return the days at a path: a folder with resolution folders somewhere below, or one zip of a day (and the other beside it).

    Raises
    ------
    SourceError
        If a single file has another name or lies in no resolution folder.
    """
    candidates = sorted(path.rglob("*.zip")) if path.is_dir() else [path]
    found: dict[tuple[Path, str], LeanDay] = {}
    for candidate in candidates:
        match = NAME.match(candidate.name)
        resolution = candidate.parent.parent.name
        if match is None or resolution not in PERIODS:
            if path.is_dir():
                continue
            raise SourceError(path, "is no LEAN archive: expected <resolution>/<symbol>/<YYYYMMDD>_<quote|trade>.zip")
        files = [candidate.with_name(f"{match['day']}_{kind}.zip") for kind in ("quote", "trade")]
        quotes, trades = (file if file.exists() else None for file in files)
        day = date(int(match["day"][:4]), int(match["day"][4:6]), int(match["day"][6:]))
        zone, scale = _conventions(candidate)
        symbol = candidate.parent.name.upper()
        found[candidate.parent, match["day"]] = LeanDay(symbol, day, resolution, zone, scale, quotes, trades)
    return list(found.values())


def _conventions(path: Path) -> tuple[tzinfo, int]:
    """Return time zone and price scale of an archive, by the folders that it lies in."""
    parts = [part.lower() for part in path.parts]
    if any("equity" in part for part in parts):
        return ZoneInfo("America/New_York"), CENTS
    if "fxcm" in parts:
        return timezone(timedelta(hours=-5)), 1
    return UTC, 1


def read_lean(path: Path, instruments: Mapping[str, Instrument]) -> Iterator[Decoded]:
    """Yield the events of each symbol and day at a path.

    Parameters
    ----------
    instruments : mapping of str to Instrument
        By symbol in capitals; futures as ``ES_201312``. Others are counted.

    Raises
    ------
    SourceError
        If an archive is damaged, or a cell is malformed or off the grid.
    """
    days = find_days(path)
    if not days:
        raise SourceError(path, "there is no LEAN archive below")
    for day in days:
        yield _read_day(day, instruments)


def _read_day(day: LeanDay, instruments: Mapping[str, Instrument]) -> Decoded:
    ignored: dict[str, int] = {}
    quotes = _members(day, day.quotes, "quote")
    trades = _members(day, day.trades, "trade")
    parts = []
    for symbol in sorted(quotes.keys() | trades.keys()):
        if symbol not in instruments:
            ignored["other symbol"] = ignored.get("other symbol", 0) + 1
            continue
        quote, trade = quotes.get(symbol), trades.get(symbol)
        origin = f"{day.quotes or day.trades} {symbol}"
        parts.append(_events(day, origin, quote, trade, instruments[symbol], ignored))
    merged = np.concatenate(parts) if parts else empty_events(0)
    order = np.argsort(merged["ts_event"], kind="stable")
    return Decoded(merged[order], ignored=ignored)


def _members(day: LeanDay, path: Path | None, kind: str) -> dict[str, pl.DataFrame]:
    if path is None:
        return {}
    columns = LAYOUTS["tick" if day.resolution == "tick" else "bar", kind]
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                month = MONTH.search(name)
                symbol = f"{day.symbol}_{month['month']}" if month else day.symbol
                data = archive.read(name)
                if data.strip():
                    found[symbol] = read_text_table(data, f"{path}/{name}", columns)
    except UNREADABLE_ZIP as error:
        raise SourceError(path, f"cannot be read: {error}") from error
    return found


def _events(
    day: LeanDay,
    origin: str,
    quotes: pl.DataFrame | None,
    trades: pl.DataFrame | None,
    instrument: Instrument,
    ignored: dict[str, int],
) -> EventArray:
    """Return the events of one symbol and day: quotes and trades merged by time, quotes first."""
    midnight = to_ns(datetime(day.day.year, day.day.month, day.day.day, tzinfo=day.zone))
    end = PERIODS[day.resolution] * NS_PER_MS
    price_grid = grid_of(instrument.price_decimals, day.scale)
    parts = []
    if quotes is not None:
        parts.append(_quotes(quotes, origin, instrument, price_grid, midnight, end))
    if trades is not None:
        parts.append(_trades(trades, origin, instrument, price_grid, midnight, end, ignored))
    rows = np.concatenate(parts) if parts else empty_events(0)
    rows = rows[np.argsort(rows["ts_event"], kind="stable")]
    clear = empty_events(1)
    clear["action"], clear["flags"] = CLEAR, F_SNAPSHOT | F_LAST
    clear["ts_event"] = rows["ts_event"][0] if len(rows) else midnight
    events = np.concatenate([clear, rows])
    events["sequence"][1:] = 1 + np.cumsum(np.concatenate([[0], events["flags"][1:-1] & F_LAST])) if len(rows) else 0
    events["instrument_id"] = instrument.instrument_id
    return events


def _times(table: pl.DataFrame, origin: str, midnight: int, end: int) -> Int64:
    return midnight + end + exact_column(table, "ms", (NS_PER_MS, 1, 6), origin)


def _lots(table: pl.DataFrame, name: str, origin: str, instrument: Instrument) -> Int64:
    """Return sizes in lots, rounded: sums of floats are not on the grid."""
    sizes = table[name].cast(pl.Float64, strict=False)
    missing = sizes.is_null() & table[name].is_not_null()
    if missing.any():
        row = int(missing.arg_true()[0])
        raise SourceError(origin, f"{table[name][row]!r} is not a number", row=row + 1, field=name)
    return nearest_integers(sizes.fill_null(0.0).to_numpy() / instrument.lot_size, origin, name)


def _quotes(
    table: pl.DataFrame, origin: str, instrument: Instrument, grid: tuple[int, int, int], midnight: int, end: int
) -> EventArray:
    rows = empty_events(2 * table.height).reshape(table.height, 2)
    rows["ts_event"] = _times(table, origin, midnight, end)[:, None]
    rows["action"] = QUOTE
    for k, (name, side) in enumerate((("bid", BID), ("ask", ASK))):
        price = exact_column(table, name, grid, origin, empty=True)
        sized = f"{name}_size" in table.columns
        lots = _lots(table, f"{name}_size", origin, instrument) if sized else np.ones(table.height, np.int64)
        rows["side"][:, k] = side
        rows["price_units"][:, k] = price
        rows["size_lots"][:, k] = np.where(price > 0, np.maximum(lots, 1), 0)  # what stood there was at least one lot
    rows["flags"][:, 1] = F_LAST
    return rows.reshape(-1)


def _trades(
    table: pl.DataFrame,
    origin: str,
    instrument: Instrument,
    grid: tuple[int, int, int],
    midnight: int,
    end: int,
    ignored: dict[str, int],
) -> EventArray:
    rows = empty_events(table.height)
    rows["ts_event"] = _times(table, origin, midnight, end)
    rows["action"] = TRADE
    rows["price_units"] = exact_column(table, "price", grid, origin)
    rows["size_lots"] = _lots(table, "size", origin, instrument)
    rows["flags"] = F_LAST
    kept = rows["size_lots"] > 0
    if (~kept).any():
        ignored["trade without size"] = ignored.get("trade without size", 0) + int((~kept).sum())
    if "suspicious" in table.columns:
        doubted = (table["suspicious"] == "1").to_numpy() & kept
        if doubted.any():
            ignored["suspicious trade"] = ignored.get("suspicious trade", 0) + int(doubted.sum())
        kept &= ~doubted
        rows = rows[kept]
        rows["side"] = _tick_test(rows["price_units"])
        return rows
    rows["side"] = NONE
    return rows[kept]


def _tick_test(price: Int64) -> npt.NDArray[np.int8]:
    """Return the resting side by the last change of price (Lee, Ready 1991): up, the ask rested; NONE before the first change."""
    step = np.sign(np.diff(price, prepend=price[:1]))
    last = np.maximum.accumulate(np.where(step != 0, np.arange(len(price)), -1))
    return np.where(last >= 0, -step[last], NONE).astype(np.int8)

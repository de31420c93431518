"""Hourly candles as events: an assumed pair of quotes at open and close, the bar's trades at its close.

A candle file knows no quotes. Around the open and the close stands an assumed pair, half a spread of
:data:`HALF_SPREAD_PPM` away on each side (rounded outwards to ticks), with :data:`QUOTED_LOTS` at each. The bar's
volume comes as two prints at its close, what takers bought and what they sold, each at the bar's mean price: before
the close nobody knew it.

Every bar gives exactly :data:`EVENTS_PER_BAR` rows in two groups (open: two quotes; close: two prints and two
quotes), so that sampling every so many events gives one row a bar, at its close. A print that would be empty is a
STATUS row instead. A missing hour gives a CLEAR: the book is unknown. A day that begins at midnight has none: these
markets do not close.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from marketdata.clock import NS_PER_DAY, NS_PER_HOUR, NS_PER_MS, to_ns
from marketdata.codecs.tables import FLOAT, INT, SourceError, read_table
from marketdata.events import ASK, BID, CLEAR, F_LAST, NONE, QUOTE, STATUS, TRADE, EventArray, empty_events
from marketdata.instruments import Instrument

EVENTS_PER_BAR: Final = 6
HALF_SPREAD_PPM: Final = 50
"""Half a basis point: about four ticks of BTC; the recorded spread of these futures is a tick most of the time."""
QUOTED_LOTS: Final = 10_000

SCHEMA: Final = {
    "open_time": INT,
    "open": FLOAT,
    "high": FLOAT,
    "low": FLOAT,
    "close": FLOAT,
    "volume": FLOAT,
    "close_time": INT,
    "quote_volume": FLOAT,
    "count": INT,
    "taker_buy_volume": FLOAT,
    "taker_buy_quote_volume": FLOAT,
    "ignore": INT,
}
FOLDER: Final = "prices/crypto_1h_2024_2026"


def day_start_ns(day: date) -> int:
    """Return midnight UTC of a date in nanoseconds."""
    return to_ns(datetime(day.year, day.month, day.day, tzinfo=UTC))


def _find(folders: Sequence[Path], symbol: str) -> list[Path]:
    paths = [path for folder in folders for path in sorted((folder / FOLDER).glob(f"{symbol}USDT_1h_*.csv*"))]
    if not paths:
        raise SourceError(folders[0] / FOLDER / f"{symbol}USDT_1h_*.csv.gz", "no such file")
    return paths


@lru_cache(maxsize=16)
def _table(path: Path, modified_ns: int) -> pl.DataFrame:
    return read_table(path, SCHEMA, header=True)


def _all_bars(folders: Sequence[Path], symbol: str) -> pl.DataFrame:
    return pl.concat([_table(path, path.stat().st_mtime_ns) for path in _find(folders, symbol)])


def last_hour_ns(folders: Sequence[Path], symbol: str) -> int:
    """Return the end of the last recorded hour of a coin.

    Raises
    ------
    SourceError
        If the file is missing or malformed.
    """
    times = _all_bars(folders, symbol)["open_time"].to_numpy()
    return int(times.max()) * NS_PER_MS + NS_PER_HOUR


def read_raw(folders: Sequence[Path], symbol: str, day: date) -> pl.DataFrame:
    """Return the candles that open on a UTC date, native columns and units.

    Raises
    ------
    SourceError
        If the file is missing or malformed, or has no candle of that date.
    """
    start = day_start_ns(day) // NS_PER_MS
    bars = _all_bars(folders, symbol).filter(
        (pl.col("open_time") >= start) & (pl.col("open_time") < start + NS_PER_DAY // NS_PER_MS)
    )
    if not bars.height:
        raise SourceError(_find(folders, symbol)[0], f"no candle of {day}", field="open_time")
    return bars


def _lots(values: pl.Series, instrument: Instrument) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.rint(values.to_numpy() / instrument.lot_size).astype(np.int64)


def traded_lots(raw: pl.DataFrame, instrument: Instrument) -> int:
    """Return the lots that the candles say were traded."""
    bought = _lots(raw["taker_buy_volume"], instrument)
    return int((bought + _lots(raw["volume"] - raw["taker_buy_volume"], instrument)).sum())


def parse(raw: pl.DataFrame, instrument: Instrument, origin: str) -> EventArray:
    """Return the events of one day's candles, without receive times.

    Raises
    ------
    SourceError
        If the frame lacks a column.
    """
    for name in SCHEMA:
        if name not in raw.columns:
            raise SourceError(origin, "the column is missing", field=name)
    tick = instrument.tick_units
    prices = {name: raw[name].to_numpy() / instrument.price_decimals for name in ("open", "close")}
    half = {name: np.maximum(value * HALF_SPREAD_PPM * 1e-6, tick / 2) for name, value in prices.items()}
    bids = {name: (np.floor((prices[name] - half[name]) / tick + 1e-9) * tick).astype(np.int64) for name in prices}
    asks = {name: (np.ceil((prices[name] + half[name]) / tick - 1e-9) * tick).astype(np.int64) for name in prices}
    bought = _lots(raw["taker_buy_volume"], instrument)
    sold = _lots(raw["volume"] - raw["taker_buy_volume"], instrument)
    means = _mean_prices(raw, instrument)
    opened = raw["open_time"].to_numpy() * NS_PER_MS
    closed = raw["close_time"].to_numpy() * NS_PER_MS
    gaps = np.flatnonzero(np.diff(opened) > NS_PER_HOUR) + 1
    out = empty_events(raw.height * EVENTS_PER_BAR)
    n = raw.height
    rows = out.reshape(n, EVENTS_PER_BAR)  # a view: one row a bar
    rows["instrument_id"] = instrument.instrument_id
    rows["ts_event"][:, :2] = opened[:, None]
    rows["ts_event"][:, 2:] = closed[:, None]
    for column, name in ((0, "open"), (4, "close")):
        rows["action"][:, column : column + 2] = QUOTE
        rows["side"][:, column], rows["side"][:, column + 1] = BID, ASK
        rows["price_units"][:, column], rows["price_units"][:, column + 1] = bids[name], asks[name]
        rows["size_lots"][:, column : column + 2] = QUOTED_LOTS
        rows["flags"][:, column + 1] = F_LAST
    for column, lots, side, price in ((2, bought, ASK, means[0]), (3, sold, BID, means[1])):
        printed = lots > 0
        rows["action"][:, column] = np.where(printed, TRADE, STATUS)
        rows["side"][:, column] = np.where(printed, side, NONE)
        rows["price_units"][:, column] = np.where(printed, price, 0)
        rows["size_lots"][:, column] = np.where(printed, lots, 1)
    rows["sequence"][:, :2] = 2 * np.arange(n)[:, None] + 1
    rows["sequence"][:, 2:] = 2 * np.arange(n)[:, None] + 2
    late = [0] if n and opened[0] % NS_PER_DAY else []
    return _with_clears(out, np.concatenate([late, gaps]).astype(np.int64))


def _mean_prices(raw: pl.DataFrame, instrument: Instrument) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return the mean price that takers bought at and sold at, in price units; the close where there was none."""
    close = raw["close"].to_numpy()
    volumes = (raw["taker_buy_volume"].to_numpy(), (raw["volume"] - raw["taker_buy_volume"]).to_numpy())
    turnovers = (
        raw["taker_buy_quote_volume"].to_numpy(),
        (raw["quote_volume"] - raw["taker_buy_quote_volume"]).to_numpy(),
    )
    means = []
    for volume, turnover in zip(volumes, turnovers, strict=True):
        mean = np.where(volume > 0, turnover / np.where(volume > 0, volume, 1.0), close)
        means.append(np.rint(mean / instrument.price_decimals).astype(np.int64))
    return means


def _with_clears(events: EventArray, bars: np.ndarray[tuple[int], np.dtype[np.int64]]) -> EventArray:
    """Return the events with a CLEAR before each of the named bars, sequences renumbered."""
    clears = events[bars * EVENTS_PER_BAR].copy()
    for name, value in (("action", CLEAR), ("side", NONE), ("price_units", 0), ("size_lots", 0), ("flags", F_LAST)):
        clears[name] = value
    joined = np.insert(events, bars * EVENTS_PER_BAR, clears)
    new_group = np.ones(len(joined), np.bool_)
    new_group[1:] = (joined["flags"][:-1] & F_LAST) > 0
    joined["sequence"] = np.cumsum(new_group) - 1
    return joined

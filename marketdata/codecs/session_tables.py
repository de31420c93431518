"""Exchange snapshots of Shanghai (level 2, ten levels about every three seconds) and best quotes with trades of B3, as events.

Shanghai's snapshots, in the two vendors' layouts at hand, are LEVEL rows where a level differs from the snapshot before, and a
TRADE of what was traded in between (the growth of the day's volume) at the last price, side NONE: a snapshot does not say in how
many trades, at which prices, or who took. In a call auction the best level is indicative and may be crossed or locked: levels are
read in continuous trading only, and STATUS rows say where it begins and ends.

B3's rows are the best bid and ask carried forward, without sizes (QUOTE of one nominal lot), and trades with the aggressor (4
bought, 3 sold, others unknown). They have the recorder's receive time and no exchange time: ``ts_event`` is the receive time,
flagged F_TS_CARRIED.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata.clock import NS_PER_MS, NS_PER_S, to_ns
from marketdata.codecs.exact import grid_of
from marketdata.codecs.tables import SourceError, read_bytes
from marketdata.codecs.text_columns import nearest_integers, read_text_table
from marketdata.events import (
    ASK,
    BID,
    CLEAR,
    F_LAST,
    F_SNAPSHOT,
    F_TS_CARRIED,
    LEVEL,
    NONE,
    QUOTE,
    STATUS,
    TRADE,
    EventArray,
    empty_events,
)
from marketdata.frames import Decoded
from marketdata.instruments import Instrument

Int64 = npt.NDArray[np.int64]

SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
LEVELS: Final = 10
NOISE: Final = 1e-4
"""How far from the grid, in price units, binary noise of the vendors' floats may put a price."""
B3_COLUMNS: Final = (
    "symbol", "rpt_seq", "network_received_time", "event_type", "md_entry_px", "md_entry_size", "aggressor",
    "en_s_px_1", "en_b_px_1",
)  # fmt: skip
B3_RESTING: Final = {"4": ASK, "4.0": ASK, "3": BID, "3.0": BID}
DAY_IN_NAME: Final = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")


def _units(values: pl.Series, instrument: Instrument, origin: object) -> Int64:
    """Return float prices, given as texts, in price units; empty and 0 are 0."""
    numbers = values.cast(pl.Float64, strict=False)
    wrong = numbers.is_null() & values.is_not_null() & (values != "")
    if wrong.any():
        row = int(wrong.arg_true()[0])
        raise SourceError(origin, f"{values[row]!r} is not a number", row=row + 1, field=values.name)
    num, den, _ = grid_of(instrument.price_decimals)
    scaled = numbers.fill_null(0.0).to_numpy() * num / den
    units = nearest_integers(scaled, origin, values.name)
    off = np.abs(scaled - units) > NOISE
    if off.any():
        row = int(np.argmax(off))
        raise SourceError(origin, f"{values[row]!r} is off the grid", row=row + 1, field=values.name)
    return units


def _whole(values: pl.Series, origin: object, unit: float = 1.0) -> Int64:
    """Return float numbers, given as texts, in whole units; empty is 0."""
    numbers = values.cast(pl.Float64, strict=False)
    wrong = numbers.is_null() & values.is_not_null() & (values != "")
    if wrong.any():
        row = int(wrong.arg_true()[0])
        raise SourceError(origin, f"{values[row]!r} is not a number", row=row + 1, field=values.name)
    return nearest_integers(numbers.fill_null(0.0).to_numpy() / unit, origin, values.name)


def _sse_names(columns: list[str]) -> dict[str, str] | None:
    """Return which column is what in one of the two layouts; None for another header."""
    names = {
        "symbol": "SecurityID",
        "volume": "TradVolume",
        "last": "LastPrice",
        "status": "InstruStatus",
        "time": "UpdateTime",
    }
    parts = ("BidPrice", "BidVolume", "AskPrice", "AskVolume")
    first = 1
    if "DateTime" in columns:
        names = {
            "symbol": "SecurityID",
            "volume": "TotalVolumeTrade",
            "last": "LastPx",
            "status": "InstrumentStatus",
            "time": "DateTime",
        }
        parts = ("BidPrice", "BidOrderQty", "OfferPrice", "OfferOrderQty")
        first = 0
    for part, ours in zip(parts, ("bid", "bid_size", "ask", "ask_size"), strict=True):
        for k in range(LEVELS):
            names[f"{ours}_{k}"] = f"{part}{k + first}"
    return names if set(names.values()) <= set(columns) else None


def read_sse_snapshots(path: Path, instruments: Mapping[str, Instrument]) -> Iterator[Decoded]:
    """Yield the events of a snapshot file, symbol by symbol in its own order of time.

    Raises
    ------
    SourceError
        If the header is of neither layout, the date is nowhere, or a cell is malformed or off the grid.
    """
    table = read_text_table(read_bytes(path), path, None)
    names = _sse_names(table.columns)
    if names is None:
        raise SourceError(path, "the header is of neither snapshot layout")
    table = table.rename({theirs: ours for ours, theirs in names.items()})
    symbols = table["symbol"].str.replace(r"\.SH$", "")
    other = int((~symbols.is_in(list(instruments))).sum())
    for symbol, instrument in instruments.items():
        own = table.filter(symbols == symbol)
        if own.height:
            yield Decoded(_sse_events(own, path, symbol, instrument))
    yield Decoded(empty_events(0), ignored={"other symbol": other} if other else {})


def _sse_times(table: pl.DataFrame, path: Path) -> Int64:
    text = table["time"]
    if "T" in str(text[0]):
        stamp = text.str.strip_chars('"').str.strptime(pl.Datetime("ms"), "%Y.%m.%dT%H:%M:%S%.f", strict=False)
        if stamp.null_count():
            raise SourceError(path, "a time is not YYYY.MM.DDTHH:MM:SS.fff", field="DateTime")
        local = stamp.dt.replace_time_zone("Asia/Shanghai").dt.timestamp("ms").to_numpy()
        return local.astype(np.int64) * NS_PER_MS
    match = DAY_IN_NAME.search(path.name)
    if match is None:
        raise SourceError(path, "neither the rows nor the name have a date")
    day = date(int(match[1]), int(match[2]), int(match[3]))
    midnight = to_ns(datetime(day.year, day.month, day.day, tzinfo=SHANGHAI))
    parts = [text.str.slice(a, n).cast(pl.Int64, strict=False) for a, n in ((0, 2), (3, 2), (6, 2), (9, 3))]
    if any(part.null_count() for part in parts):
        raise SourceError(path, "a time is not HH:MM:SS.fff", field="UpdateTime")
    h, m, s, ms = (part.to_numpy() for part in parts)
    return midnight + ((h * 60 + m) * 60 + s) * NS_PER_S + ms * NS_PER_MS


def _sse_events(table: pl.DataFrame, path: Path, symbol: str, instrument: Instrument) -> EventArray:
    origin = f"{path} {symbol}"
    ts = _sse_times(table, path)
    trading = (table["status"] == "TRADE").to_numpy()
    volume = _whole(table["volume"], origin)
    last = _units(table["last"], instrument, origin)
    lot = round(instrument.lot_size)
    price = {
        f"{side}_{k}": _units(table[f"{side}_{k}"], instrument, origin)
        for side in ("bid", "ask")
        for k in range(LEVELS)
    }
    size = {
        f"{side}_{k}": _whole(table[f"{side}_size_{k}"], origin) // lot
        for side in ("bid", "ask")
        for k in range(LEVELS)
    }
    rows: list[tuple[int, ...]] = [(int(ts[0]), CLEAR, NONE, 0, 0, F_SNAPSHOT)]
    groups = [0]
    shown: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
    was = False
    for k in range(len(ts)):
        here: list[tuple[int, ...]] = []
        now, t = bool(trading[k]), int(ts[k])
        if now != was:
            here.append((t, STATUS, NONE, 0, int(now), 0))
        grown = int(volume[k] - (volume[k - 1] if k else 0)) // lot
        if grown > 0 and last[k] > 0:
            here.append((t, TRADE, NONE, int(last[k]), grown, 0))
        if now:
            for name, side in (("bid", BID), ("ask", ASK)):
                fresh = {
                    int(price[f"{name}_{j}"][k]): int(size[f"{name}_{j}"][k])
                    for j in range(LEVELS)
                    if size[f"{name}_{j}"][k] > 0
                }
                before = shown[side]
                here += [(t, LEVEL, side, p, 0, 0) for p in before if p not in fresh]
                here += [(t, LEVEL, side, p, lots, 0) for p, lots in fresh.items() if before.get(p) != lots]
                shown[side] = fresh
        was = now
        rows += here
        groups += [k + 1] * len(here)
    events = empty_events(len(rows))
    for column, name in enumerate(("ts_event", "action", "side", "price_units", "size_lots", "flags")):
        events[name] = [row[column] for row in rows]
    events["sequence"] = groups
    ends = np.append(events["sequence"][1:] != events["sequence"][:-1], True)
    events["flags"][ends] |= F_LAST
    events["instrument_id"] = instrument.instrument_id
    return events


def read_b3(path: Path, instruments: Mapping[str, Instrument]) -> Iterator[Decoded]:
    """Yield the events of a file of best quotes and trades.

    Raises
    ------
    SourceError
        If the header is another, or a cell is malformed or off the grid.
    """
    table = read_text_table(read_bytes(path), path, None)
    if tuple(table.columns) != B3_COLUMNS:
        raise SourceError(path, f"the header is {', '.join(table.columns)}; expected {', '.join(B3_COLUMNS)}")
    stamps = table["network_received_time"].str.strptime(
        pl.Datetime("ns", "UTC"), "%Y-%m-%d %H:%M:%S%.f%:z", strict=False
    )
    if stamps.null_count():
        row = int(stamps.is_null().arg_true()[0])
        raise SourceError(
            path, f"{table['network_received_time'][row]!r} is no time", row=row + 1, field="network_received_time"
        )
    table = table.with_columns(stamps.dt.timestamp("ns").alias("ts"))
    other = int((~table["symbol"].is_in(list(instruments))).sum())
    for symbol, instrument in instruments.items():
        own = table.filter(pl.col("symbol") == symbol)
        if own.height:
            yield Decoded(_b3_events(own, path, instrument))
    yield Decoded(empty_events(0), ignored={"other symbol": other} if other else {})


def _b3_events(table: pl.DataFrame, path: Path, instrument: Instrument) -> EventArray:
    ts = table["ts"].to_numpy().astype(np.int64)
    is_trade = (table["event_type"] == "trade").to_numpy()
    bid, ask = (_units(table[name], instrument, path) for name in ("en_b_px_1", "en_s_px_1"))
    price = _units(table["md_entry_px"], instrument, path)
    lots = _whole(table["md_entry_size"], path, instrument.lot_size)
    side = table["aggressor"].replace_strict(B3_RESTING, default=NONE, return_dtype=pl.Int8).to_numpy()
    rows = empty_events(3 * len(ts)).reshape(len(ts), 3)
    rows["ts_event"], rows["ts_recv"] = ts[:, None], ts[:, None]
    rows["action"] = (TRADE, QUOTE, QUOTE)
    rows["side"] = np.stack([side, np.full(len(ts), BID), np.full(len(ts), ASK)], axis=1)
    rows["price_units"] = np.stack([price, bid, ask], axis=1)
    rows["size_lots"] = np.stack([lots, (bid > 0).astype(np.int64), (ask > 0).astype(np.int64)], axis=1)
    changed = np.append(True, (bid[1:] != bid[:-1]) | (ask[1:] != ask[:-1]))
    kept = np.stack([is_trade & (lots > 0), changed, changed], axis=1)
    rows["sequence"] = np.arange(1, len(ts) + 1)[:, None]
    events = rows.reshape(-1)[kept.reshape(-1)]
    clear = empty_events(1)
    clear["ts_event"], clear["ts_recv"], clear["action"] = ts[0], ts[0], CLEAR
    clear["flags"] = F_SNAPSHOT
    events = np.concatenate([clear, events])
    ends = np.append(events["sequence"][1:] != events["sequence"][:-1], True)
    events["flags"] |= F_TS_CARRIED
    events["flags"][ends] |= F_LAST
    events["instrument_id"] = instrument.instrument_id
    return events

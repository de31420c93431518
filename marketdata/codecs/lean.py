"""LEAN US equities: updates of the national best bid and offer, and trades, in milliseconds of New York time.

A quote row is one-sided: the other side is 0, which says "no change there"; both sides are carried forward as one
pair. Quotes and trades are in two files; within one millisecond the order between the files is not recorded, and
quotes are put first. Where that is wrong, a trade is compared with a quote that came up to a millisecond later.

The aggressor is not recorded either. ``side`` (the resting side) of a trade is inferred: by the quote rule where
there is a best bid and offer (nearer to the ask: the ask was resting; at the middle: unknown), by the tick test for a
symbol without quotes (Lee and Ready 1991). Rows that the feed marks suspicious stay in the raw rows and give no
event.

Only regular hours give events; the session starts with the pair that stood at the open.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from marketdata.clock import NS_PER_MS, Session, to_ns
from marketdata.codecs.tables import INT, TEXT, SourceError, read_table
from marketdata.events import CLEAR, F_LAST, F_SNAPSHOT, QUOTE, TRADE, EventArray, empty_events

QUOTE_SCHEMA: Final = {
    "ms": INT,
    "bid_price": INT,
    "bid_size": INT,
    "ask_price": INT,
    "ask_size": INT,
    "exchange": TEXT,
    "condition": TEXT,
    "suspicious": INT,
}
TRADE_SCHEMA: Final = {"ms": INT, "price": INT, "size": INT, "exchange": TEXT, "condition": TEXT, "suspicious": INT}
RAW_COLUMNS: Final = (
    "kind",
    "ms",
    "bid_price",
    "bid_size",
    "ask_price",
    "ask_size",
    "price",
    "size",
    "exchange",
    "condition",
    "suspicious",
)
"""Columns of the raw frame: quotes (``kind`` 0) and then trades (1); what a kind does not have is 0."""
NAME: Final = re.compile(r"(?P<day>\d{8})_(?P<kind>quote|trade)\.zip$")
NUMBERS: Final = RAW_COLUMNS[:8]


def find_days(folders: Sequence[Path]) -> dict[tuple[str, date], set[str]]:
    """Return which kinds of file (``quote``, ``trade``) there are for each symbol (lower case) and day."""
    found: dict[tuple[str, date], set[str]] = {}
    for folder in folders:
        for path in sorted(folder.glob("tick/*/*.zip")):
            match = NAME.match(path.name)
            if match is not None:
                day = date(int(match["day"][:4]), int(match["day"][4:6]), int(match["day"][6:]))
                found.setdefault((path.parent.name, day), set()).add(match["kind"])
    return found


def _path(folders: Sequence[Path], symbol: str, day: date, kind: str) -> Path | None:
    paths = [folder / "tick" / symbol / f"{day:%Y%m%d}_{kind}.zip" for folder in folders]
    return next((path for path in paths if path.exists()), None)


def first_price(folders: Sequence[Path], symbol: str, day: date) -> float:
    """Return the first trade price of a day in dollars (an order of magnitude for fees)."""
    path = _path(folders, symbol, day, "trade")
    if path is None:
        raise SourceError(folders[0] / "tick" / symbol / f"{day:%Y%m%d}_trade.zip", "no such file")
    trades = read_table(path, TRADE_SCHEMA, header=False)
    return float(trades["price"][0]) / 10_000


def read_raw(folders: Sequence[Path], symbol: str, day: date, *, quotes: bool) -> pl.DataFrame:
    """Return all rows of a symbol's day, quotes first, native columns and units.

    Raises
    ------
    SourceError
        If a file is missing or malformed.
    """
    parts = []
    for code, kind, schema in ((0, "quote", QUOTE_SCHEMA), (1, "trade", TRADE_SCHEMA)):
        if kind == "quote" and not quotes:
            continue
        path = _path(folders, symbol, day, kind)
        if path is None:
            raise SourceError(folders[0] / "tick" / symbol / f"{day:%Y%m%d}_{kind}.zip", "no such file")
        table = read_table(path, schema, header=False)
        absent = [pl.lit(0, pl.Int64).alias(name) for name in NUMBERS if name not in schema and name != "kind"]
        parts.append(table.with_columns(pl.lit(code, pl.Int64).alias("kind"), *absent).select(RAW_COLUMNS))
    return pl.concat(parts)


def _hours(day: date, session: Session) -> tuple[int, int, int]:
    """Return New York's midnight in ns, and open and close in milliseconds after it."""
    midnight = to_ns(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo("America/New_York")))
    return midnight, (session.open_ns - midnight) // NS_PER_MS, (session.close_ns - midnight) // NS_PER_MS


def traded_lots(raw: pl.DataFrame, day: date, session: Session) -> int:
    """Return the shares traded in regular hours, suspicious prints left out."""
    _, opens, closes = _hours(day, session)
    kept = (pl.col("kind") == 1) & (pl.col("suspicious") == 0) & (pl.col("ms") >= opens) & (pl.col("ms") < closes)
    return int(raw.filter(kept)["size"].sum())


def parse(raw: pl.DataFrame, day: date, session: Session, instrument_id: int, origin: str) -> EventArray:
    """Return the events of one session, without receive times.

    Raises
    ------
    SourceError
        If the frame lacks a column, or a quote row carries no side.
    """
    for name in RAW_COLUMNS:
        if name not in raw.columns:
            raise SourceError(origin, "the column is missing", field=name)
    midnight, opens, closes = _hours(day, session)
    values = {name: np.ascontiguousarray(raw[name].to_numpy()) for name in (*NUMBERS, "suspicious")}
    is_quote = values["kind"] == 0
    blank = is_quote & (values["bid_price"] == 0) & (values["ask_price"] == 0)
    if blank.any():
        raise SourceError(origin, "a quote without bid and ask", row=int(np.argmax(blank)) + 1, field="bid_price")
    start = int(is_quote.sum())
    columns = [values[name] for name in NUMBERS[1:]]
    out = empty_events(2 * len(is_quote) + 8)
    rows = _merge(*columns, values["suspicious"], start, opens, closes, midnight, out)
    events = out[:rows].copy()
    events["instrument_id"] = instrument_id
    return events


@njit(cache=True)
def _put(
    out: EventArray, n: int, ts: int, sequence: int, action: int, side: int, price: int, size: int, flags: int
) -> None:
    out[n].ts_event = ts
    out[n].sequence = sequence
    out[n].action = action
    out[n].side = side
    out[n].price_units = price
    out[n].size_lots = size
    out[n].flags = flags


@njit(cache=True)
def _resting_side(price: int, bid: int, ask: int, last: int, last_side: int) -> int:
    """Return the inferred resting side of a trade: quote rule, or tick test where there is no pair."""
    if bid > 0 and ask > 0:
        middle = bid + ask
        if 2 * price > middle:
            return -1
        if 2 * price < middle:
            return 1
        return 0
    if last == 0 or price == last:
        return last_side
    return -1 if price > last else 1


@njit(cache=True)
def _merge(
    ms: npt.NDArray[np.int64],
    bid_price: npt.NDArray[np.int64],
    bid_size: npt.NDArray[np.int64],
    ask_price: npt.NDArray[np.int64],
    ask_size: npt.NDArray[np.int64],
    price: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
    suspicious: npt.NDArray[np.int64],
    quotes: int,
    opens: int,
    closes: int,
    midnight: int,
    out: EventArray,
) -> int:
    """Merge quotes (rows before ``quotes``) and trades by time, quotes first; write the event rows, return how many."""
    bid = 0
    bid_lots = 0
    ask = 0
    ask_lots = 0
    q = 0
    while q < quotes and ms[q] < opens:  # the pair that stands at the open
        if suspicious[q] == 0 and bid_price[q] > 0:
            bid = bid_price[q]
            bid_lots = bid_size[q]
        if suspicious[q] == 0 and ask_price[q] > 0:
            ask = ask_price[q]
            ask_lots = ask_size[q]
        q += 1
    t = quotes
    while t < len(ms) and ms[t] < opens:
        t += 1
    n = 0
    ts = midnight + opens * 1_000_000
    _put(out, n, ts, 0, CLEAR, 0, 0, 0, F_SNAPSHOT)
    n += 1
    if bid > 0:
        _put(out, n, ts, 0, QUOTE, 1, bid, bid_lots, F_SNAPSHOT)
        n += 1
    if ask > 0:
        _put(out, n, ts, 0, QUOTE, -1, ask, ask_lots, F_SNAPSHOT)
        n += 1
    out[n - 1].flags |= F_LAST
    sequence = 1
    last = 0
    last_side = 0
    while True:
        has_quote = q < quotes and ms[q] < closes
        has_trade = t < len(ms) and ms[t] < closes
        if not has_quote and not has_trade:
            return n
        if has_quote and (not has_trade or ms[q] <= ms[t]):
            if suspicious[q] != 0:
                q += 1
                continue
            ts = midnight + ms[q] * 1_000_000
            two = bid_price[q] > 0 and ask_price[q] > 0
            if bid_price[q] > 0:
                bid = bid_price[q]
                _put(out, n, ts, sequence, QUOTE, 1, bid, bid_size[q], 0 if two else F_LAST)
                n += 1
            if ask_price[q] > 0:
                ask = ask_price[q]
                _put(out, n, ts, sequence, QUOTE, -1, ask, ask_size[q], F_LAST)
                n += 1
            q += 1
        else:
            if suspicious[t] == 0:
                ts = midnight + ms[t] * 1_000_000
                last_side = _resting_side(price[t], bid, ask, last, last_side)
                last = price[t]
                _put(out, n, ts, sequence, TRADE, last_side, last, size[t], F_LAST)
                n += 1
            t += 1
        sequence += 1

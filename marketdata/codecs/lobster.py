"""LOBSTER: NASDAQ order messages and the recorded book beside them.

A message becomes one event group. Row 0 starts the book: CLEAR and the LEVEL rows of the first recorded book row (the
state *after* message 0, whose own effect is therefore not applied again; if it is an execution, its print stays).
From then on the group of message ``k`` is the message itself and, flagged ``F_SNAPSHOT``, the LEVEL rows by which the
recorded book of row ``k`` differs from the book rebuilt so far: levels that enter the file's window from below, and
levels that leave it. The rebuilt book holds exactly the recorded levels at every row: what lies deeper is not known,
and is not in the book.

``direction`` is the side of the resting order, for executions as well. Types: 1 new order, 2 partial cancel, 3
delete, 4 visible execution, 5 hidden execution, 6 cross (a print; the book does not change), 7 halt (price -1 halted,
0 quotes only, 1 trading).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from marketdata.book import BookState, book_apply, book_level_size, book_set_level, empty_book
from marketdata.clock import NS_PER_S, to_ns
from marketdata.codecs.tables import FLOAT, INT, SourceError, read_table
from marketdata.events import (
    ADD,
    CLEAR,
    DELETE,
    EXECUTE,
    F_LAST,
    F_SNAPSHOT,
    HIDDEN,
    LEVEL,
    REDUCE,
    STATUS,
    TRADE,
    EventArray,
    empty_events,
)

MESSAGE_COLUMNS: Final = ("time", "type", "order_id", "size", "price", "direction")
NAME: Final = re.compile(
    r"(?P<symbol>[A-Z.]+)_(?P<day>\d{4}-\d{2}-\d{2})_(?P<start>\d+)_(?P<end>\d+)_message_(?P<levels>\d+)\.csv(?P<gz>\.gz)?$"
)
MISSING_PRICE: Final = 9_999_999_999
"""Absolute price of a level that does not exist; its size is 0."""
LAST_TYPE: Final = 7


@dataclass(frozen=True, slots=True, order=True)
class LobsterFile:
    """A message file and the book file that belongs to it, row by row."""

    symbol: str
    day: date
    levels: int
    messages: Path
    books: Path


def find_files(folders: Sequence[Path]) -> list[LobsterFile]:
    """Return the deepest pair of files of each symbol and day that span the longest time, sorted."""
    best: dict[tuple[str, date], tuple[tuple[int, int], LobsterFile]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*_message_*.csv*")):
            match = NAME.match(path.name)
            if match is None:
                continue
            books = path.with_name(path.name.replace("_message_", "_orderbook_"))
            if not books.exists():
                continue
            day, levels = date.fromisoformat(match["day"]), int(match["levels"])
            rank = (int(match["end"]) - int(match["start"]), levels)
            key = (match["symbol"], day)
            if key not in best or rank > best[key][0]:
                best[key] = (rank, LobsterFile(match["symbol"], day, levels, path, books))
    return sorted(file for _, file in best.values())


def book_columns(levels: int) -> list[str]:
    """Return the names of the recorded book's columns, best level first."""
    names = []
    for k in range(1, levels + 1):
        names += [f"ask_price_{k}", f"ask_size_{k}", f"bid_price_{k}", f"bid_size_{k}"]
    return names


def first_price(file: LobsterFile) -> float:
    """Return the best ask of the first book row in dollars (an order of magnitude for fees)."""
    books = read_table(file.books, dict.fromkeys(book_columns(file.levels), INT), header=False)
    return float(books["ask_price_1"][0]) / 10_000


def read_raw(file: LobsterFile) -> pl.DataFrame:
    """Return messages and recorded book in one frame, native columns and units.

    Raises
    ------
    SourceError
        If a file is malformed, or the two have different lengths.
    """
    schema = {name: FLOAT if name == "time" else INT for name in MESSAGE_COLUMNS}
    messages = read_table(file.messages, schema, header=False)
    books = read_table(file.books, dict.fromkeys(book_columns(file.levels), INT), header=False)
    if messages.height != books.height:
        raise SourceError(file.books, f"{books.height} book rows for {messages.height} messages")
    return messages.hstack(books)


def raw_levels(raw: pl.DataFrame) -> int:
    """Return how many book levels a raw frame has."""
    return sum(name.startswith("ask_price_") for name in raw.columns)


def traded_lots(raw: pl.DataFrame) -> int:
    """Return the shares that the messages say were traded."""
    return int(raw.filter(pl.col("type").is_in([4, 5, 6]))["size"].sum())


def parse(raw: pl.DataFrame, day: date, instrument_id: int, origin: str) -> EventArray:
    """Return the events of one session, without receive times.

    Parameters
    ----------
    raw : pl.DataFrame
        As :func:`read_raw` gives it.
    origin : str
        Names the data in errors.

    Raises
    ------
    SourceError
        If a message has an unknown type or direction, or the frame lacks a column.
    """
    levels = raw_levels(raw)
    expected = [*MESSAGE_COLUMNS, *book_columns(max(levels, 1))]
    for name in expected:
        if name not in raw.columns:
            raise SourceError(origin, "the column is missing", field=name)
    kind, direction = (raw[name].to_numpy() for name in ("type", "direction"))
    _require(((kind >= 1) & (kind <= LAST_TYPE)), kind, origin, "type", "is no message type (1 to 7)")
    _require((np.abs(direction) <= 1), direction, origin, "direction", "is no direction (1 or -1)")
    midnight = to_ns(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo("America/New_York")))
    ts_event = midnight + np.rint(raw["time"].to_numpy() * NS_PER_S).astype(np.int64)
    columns = [np.ascontiguousarray(raw[name].to_numpy()) for name in ("order_id", "size", "price")]
    book = np.ascontiguousarray(raw.select(book_columns(levels)).to_numpy())
    capacity = 2 * raw.height + 4 * levels + 16
    while True:
        out = empty_events(capacity)
        rows = _expand(ts_event, kind, *columns, direction, book, empty_book(2 * levels + 4), out)
        if rows >= 0:
            break
        capacity *= 2
    events = out[:rows].copy()
    events["instrument_id"] = instrument_id
    return events


def _require(good: npt.NDArray[np.bool_], values: npt.NDArray[np.int64], origin: str, field: str, problem: str) -> None:
    if not good.all():
        row = int(np.argmin(good))
        raise SourceError(origin, f"{values[row]} {problem}", row=row + 1, field=field)


@njit(cache=True)
def _put(out: EventArray, n: int, ts: int, action: int, side: int, price: int, size: int, flags: int) -> None:
    out[n].ts_event = ts
    out[n].action = action
    out[n].side = side
    out[n].price_units = price
    out[n].size_lots = size
    out[n].flags = flags


@njit(cache=True)
def _agrees(book: BookState, row: npt.NDArray[np.int64], s: int) -> bool:
    """Return whether a side of the book is exactly what a recorded row shows."""
    offset = 2 if s == 0 else 0
    n = book.count[s]
    known = 0
    for j in range(len(row) // 4):
        if row[4 * j + offset + 1] <= 0:
            break
        known += 1
        if (
            j >= n
            or book.price[s, n - 1 - j] != row[4 * j + offset]
            or book.size[s, n - 1 - j] != row[4 * j + offset + 1]
        ):
            return False
    return known == n


@njit(cache=True)
def _reconcile(book: BookState, row: npt.NDArray[np.int64], ts: int, out: EventArray, n: int) -> int:
    """Make the book equal to a recorded row; write the LEVEL rows that do it; return the next free row of ``out``."""
    levels = len(row) // 4
    for s in range(2):
        if _agrees(book, row, s):
            continue
        offset = 2 if s == 0 else 0
        event_side = 1 if s == 0 else -1
        k = book.count[s] - 1
        while k >= 0:  # levels that the record does not show
            price = book.price[s, k]
            found = False
            for j in range(levels):
                if row[4 * j + offset] == price and row[4 * j + offset + 1] > 0:
                    found = True
                    break
            if not found:
                _put(out, n, ts, LEVEL, event_side, price, 0, F_SNAPSHOT)
                n += 1
                book_set_level(book, s, price, 0)
            k -= 1
        for j in range(levels):
            price = row[4 * j + offset]
            size = row[4 * j + offset + 1]
            if size > 0 and abs(price) < MISSING_PRICE and book_level_size(book, s, price) != size:
                _put(out, n, ts, LEVEL, event_side, price, size, F_SNAPSHOT)
                n += 1
                book_set_level(book, s, price, size)
    return n


@njit(cache=True)
def _expand(
    ts_event: npt.NDArray[np.int64],
    kind: npt.NDArray[np.int64],
    order_id: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
    price: npt.NDArray[np.int64],
    direction: npt.NDArray[np.int64],
    recorded: npt.NDArray[np.int64],
    book: BookState,
    out: EventArray,
) -> int:
    """Write all event rows; return how many, or -1 when ``out`` is too small."""
    n = 0
    worst = 2 * book.price.shape[1] + recorded.shape[1] + 2
    for k in range(len(kind)):
        if n + worst > len(out):
            return -1
        start = n
        ts = ts_event[k]
        if k == 0:
            _put(out, n, ts, CLEAR, 0, 0, 0, F_SNAPSHOT)
            n += 1
        else:
            action = 0
            lots = size[k]
            if kind[k] == 1:
                action = ADD
            elif kind[k] == 2:
                action = REDUCE
            elif kind[k] == 3:
                action = DELETE
            elif kind[k] == 4:
                action = EXECUTE
            elif kind[k] == 5:
                action = HIDDEN
            elif kind[k] == 6:
                action = TRADE
            else:
                action = STATUS
                lots = 1 if price[k] == 1 else 0
            side = direction[k] if action != STATUS else 0
            _put(out, n, ts, action, side, price[k] if action != STATUS else 0, lots, 0)
            out[n].order_id = order_id[k]
            book_apply(book, action, side, price[k], lots)
            n += 1
        n = _reconcile(book, recorded[k], ts, out, n)
        if k == 0 and (
            kind[k] == 4 or kind[k] == 5 or kind[k] == 6
        ):  # its book effect is in the start, the print is not
            _put(out, n, ts, HIDDEN if kind[k] == 5 else TRADE, direction[k], price[k], size[k], 0)
            out[n].order_id = order_id[k]
            n += 1
        for j in range(start, n):
            out[j].sequence = k
        out[n - 1].flags |= F_LAST
    return n

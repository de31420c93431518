"""Shanghai Stock Exchange level 2, order by order and trade by trade, as events; one group a matching event.

Orders and trades of a stock share one number (``BizIndex`` or ``ApplSeqNum``); by it they are merged. The exchange publishes
only what RESTS: an order that trades at once is not in the order file, its trades come first, and what is left of it follows as
an order of that size. So the two numbers of a trade are those of the resting order (always published before) and of the
aggressor (never in the book before).

======================== ===========================================================================================
order, new (A, 2)        ADD with the order's number
order, cancelled (D, 10) DELETE of the order with what was left of it, REDUCE where it is less
trade, B or 1            EXECUTE of the sell order: the buyer was the aggressor
trade, S or 2            EXECUTE of the buy order
trade, N or 0 (auction)  the two orders leave the book at their own limits (REDUCE or DELETE), and one TRADE, side NONE
======================== ===========================================================================================

The trades of one aggressor and the rest of it that stays are one group. A call auction (before 09:25, and from 14:57 on), from
its first order to its last trade, is one group as well: until it is held the book is crossed, and that is how an auction is. A
STATUS row opens continuous trading and closes it. There is no receive time that means anything (the recorded one is up to ten
minutes late in the opening auction), so ingest models it (R4).
"""

import re
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from marketdata.clock import NS_PER_MS, NS_PER_S, to_ns
from marketdata.codecs.order_table import (
    LOTS,
    PRICE,
    SIDE,
    OrderTable,
    drop_order,
    empty_table,
    find_order,
    put_order,
)
from marketdata.codecs.tables import SourceError, read_bytes
from marketdata.codecs.text_columns import nearest_integers
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    DELETE,
    EXECUTE,
    F_LAST,
    F_SNAPSHOT,
    NONE,
    REDUCE,
    STATUS,
    TRADE,
    EventArray,
    empty_events,
)
from marketdata.instruments import Instrument

Int64 = npt.NDArray[np.int64]

SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
OPENED: Final = (9 * 60 + 25) * 60 * NS_PER_S
CLOSING: Final = (14 * 60 + 57) * 60 * NS_PER_S
"""Ends of the opening auction and of continuous trading, ns after midnight in Shanghai."""
PRICE_NOISE: Final = 1e-4
"""How far from the grid, in price units, binary noise of the vendors' floats may put a price."""

PAIRS: Final = (
    (re.compile(r"(?P<stem>.*)_entrust\.csv(\.gz)?$"), "_entrust.", "_trade."),
    (re.compile(r"(?P<stem>.*)_SHorders\.csv(\.gz)?$"), "_SHorders.", "_SHtrans."),
)
"""Order files by name, and what turns one's name into the trade file's."""
DAY_IN_NAME: Final = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")

ORDER: Final = 0
CANCEL: Final = 1
TRADE_ROW: Final = 2

SCHEMA: Final = {
    "symbol": pl.String, "number": pl.Int64, "kind": pl.Int64, "flag": pl.Int64, "buy": pl.Int64, "sell": pl.Int64,
    "price": pl.Float64, "shares": pl.Int64, "since_ns": pl.Int64,
}  # fmt: skip
"""Columns of the merged rows: ``kind`` order, cancel or trade; ``flag`` 1 buy (order) or bought by the aggressor (trade), -1
sell, 0 auction; ``buy`` has an order's own number; ``since_ns`` after midnight in Shanghai."""


class ShanghaiFiles(NamedTuple):
    """An order file and the trade file beside it."""

    day: date
    orders: Path
    trades: Path


def find_pairs(path: Path) -> list[ShanghaiFiles]:
    """Return the pairs at a path: a folder, or one file of a pair.

    Raises
    ------
    SourceError
        If one of two files is missing, or a name has no date.
    """
    candidates = sorted(path.iterdir()) if path.is_dir() else [path]
    found: dict[Path, ShanghaiFiles] = {}
    for candidate in candidates:
        for pattern, orders_part, trades_part in PAIRS:
            orders = candidate.with_name(candidate.name.replace(trades_part, orders_part))
            if pattern.match(orders.name) is None or orders in found:
                continue
            trades = orders.with_name(orders.name.replace(orders_part, trades_part))
            for needed in (orders, trades):
                if not needed.exists():
                    raise SourceError(needed, "no such file; orders and trades are read together")
            match = DAY_IN_NAME.search(orders.name)
            if match is None:
                raise SourceError(orders, "the name has no date (YYYY-MM-DD)")
            found[orders] = ShanghaiFiles(date(int(match[1]), int(match[2]), int(match[3])), orders, trades)
    return list(found.values())


def read_rows(files: ShanghaiFiles) -> pl.DataFrame:
    """Return orders and trades of all stocks of a pair of files in the order of their numbers.

    Raises
    ------
    SourceError
        If a file is malformed, or two rows of a stock have one number.
    """
    rows = pl.concat([_read(files.orders), _read(files.trades)]).sort("symbol", "number", maintain_order=True)
    twice = rows.select(pl.struct("symbol", "number").is_duplicated()).to_series()
    if twice.any():
        row = rows.filter(twice).row(0, named=True)
        raise SourceError(files.orders, f"two rows of {row['symbol']} have the number {row['number']}")
    return rows


def _read(path: Path) -> pl.DataFrame:
    raw = read_bytes(path)
    try:
        table = pl.read_csv(raw, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise SourceError(path, f"cannot be parsed as a comma-separated table: {error}") from error
    for columns in _LAYOUTS:
        if set(columns.values()) <= set(table.columns):
            return _normal(path, table, columns)
    raise SourceError(path, f"the header is {', '.join(table.columns)}: neither orders nor trades of a known layout")


_LAYOUTS: Final = (
    {"symbol": "SecurityID", "number": "BizIndex", "type": "OrderType", "flag": "OrderBSFlag", "buy": "OrderNO",
     "price": "OrderPrice", "shares": "Balance", "time": "OrderTime"},
    {"symbol": "SecurityID", "number": "BizIndex", "flag": "TradeBSFlag", "buy": "TradeBuyNo", "sell": "TradeSellNo",
     "price": "TradPrice", "shares": "TradVolume", "time": "TradTime"},
    {"symbol": "SecurityID", "number": "ApplSeqNum", "type": "OrderType", "flag": "OrderBSFlag", "buy": "OrderNO",
     "price": "OrderPrice", "shares": "OrderQty", "time": "MDTime"},
    {"symbol": "SecurityID", "number": "ApplSeqNum", "flag": "TradeBSFlag", "buy": "TradeBuyNo", "sell": "TradeSellNo",
     "price": "TradePrice", "shares": "TradeQty", "time": "MDTime"},
)  # fmt: skip
_TYPES: Final = {"A": ORDER, "D": CANCEL, "2": ORDER, "10": CANCEL}
_ORDER_FLAGS: Final = {"B": 1, "S": -1, "1": 1, "2": -1}
_TRADE_FLAGS: Final = {"B": 1, "S": -1, "N": 0, "1": 1, "2": -1, "0": 0}


def _normal(path: Path, table: pl.DataFrame, columns: dict[str, str]) -> pl.DataFrame:
    is_order = "type" in columns
    time = pl.col(columns["time"])
    parts = [time.str.slice(0, 2), time.str.slice(3, 2), time.str.slice(6, 2), time.str.slice(9, 3)]
    h, m, s, ms = (part.cast(pl.Int64, strict=False) for part in parts)
    flags = _ORDER_FLAGS if is_order else _TRADE_FLAGS

    def whole(name: str) -> pl.Expr:
        return pl.col(columns[name]).cast(pl.Int64, strict=False)

    frame = table.select(
        pl.col(columns["symbol"]).str.replace(r"\.SH$", "").alias("symbol"),
        whole("number").alias("number"),
        pl.col(columns["type"]).replace_strict(_TYPES, default=None, return_dtype=pl.Int64).alias("kind")
        if is_order
        else pl.lit(TRADE_ROW, pl.Int64).alias("kind"),
        pl.col(columns["flag"]).replace_strict(flags, default=None, return_dtype=pl.Int64).alias("flag"),
        whole("buy").alias("buy"),
        whole("sell").alias("sell") if not is_order else pl.lit(0, pl.Int64).alias("sell"),
        pl.col(columns["price"]).cast(pl.Float64, strict=False).alias("price"),
        whole("shares").alias("shares"),
        (((h * 60 + m) * 60 + s) * NS_PER_S + ms * NS_PER_MS).alias("since_ns"),
    )
    for name in SCHEMA:
        column = frame.get_column(name)
        if column.null_count():
            row = int(column.is_null().arg_true()[0])
            field = columns.get({"kind": "type", "since_ns": "time"}.get(name, name), name)
            raise SourceError(path, f"{table[field][row]!r} cannot be read", row=row + 1, field=field)
    return frame


def parse(rows: pl.DataFrame, day: date, instrument: Instrument, origin: str) -> EventArray:
    """Return the events of one stock's day, without receive times.

    Parameters
    ----------
    rows : pl.DataFrame
        Of one stock, as :func:`read_rows` gives them.
    origin : str
        Names the data in errors.

    Raises
    ------
    SourceError
        If a trade or a cancel names an order that does not rest, or takes more than it has; if a price is off the grid.
    """
    scaled = rows["price"].to_numpy() / instrument.price_decimals
    price = nearest_integers(scaled, origin, "price")
    off = (np.abs(scaled - price) > PRICE_NOISE) & (rows["kind"].to_numpy() != CANCEL)
    if off.any():
        row = int(np.argmax(off))
        raise SourceError(origin, f"{rows['price'][row]} is off the price grid", row=row + 1, field="price")
    shares = rows["shares"].to_numpy()
    lot = round(instrument.lot_size)
    lots = shares // lot
    if (lots * lot != shares).any() or (shares <= 0).any():
        row = int(np.argmax((lots * lot != shares) | (shares <= 0)))
        raise SourceError(origin, f"{shares[row]} shares are no lots of {lot}", row=row + 1, field="shares")
    columns = [np.ascontiguousarray(rows[name].to_numpy()) for name in ("kind", "flag", "buy", "sell")]
    since = np.ascontiguousarray(rows["since_ns"].to_numpy())
    midnight = to_ns(datetime(day.year, day.month, day.day, tzinfo=SHANGHAI))
    out = empty_events(3 * len(since) + 8)
    table = empty_table(1 << max(12, (4 * rows.height).bit_length()))
    count, problem, row = _expand(*columns, price, lots, since, midnight, table, out)
    if problem:
        number = int(rows["number"][row])
        raise SourceError(origin, f"number {number}: {_PROBLEMS[problem]}", row=row + 1)
    events = out[:count].copy()
    events["instrument_id"] = instrument.instrument_id
    return events


_UNKNOWN: Final = 1
_TOO_MUCH: Final = 2
_TWICE: Final = 3
_PROBLEMS: Final = {
    _UNKNOWN: "the order that it names does not rest",
    _TOO_MUCH: "takes more than the order has left",
    _TWICE: "an order of this number rests already",
}


@njit(cache=True)
def _put(
    out: EventArray, n: int, ts: int, sequence: int, action: int, side: int, price: int, lots: int, order: int
) -> int:
    out[n].ts_event = ts
    out[n].sequence = sequence
    out[n].action = action
    out[n].side = side
    out[n].price_units = price
    out[n].size_lots = lots
    out[n].order_id = order
    return n + 1


@njit(cache=True)
def _take(
    out: EventArray, n: int, ts: int, sequence: int, table: OrderTable, order: int, lots: int, action: int
) -> tuple[int, int]:
    """Take lots off a resting order; return (next row, problem). ``action`` 0: DELETE or REDUCE, as it comes out."""
    place = find_order(table, order, 0)
    if place < 0:
        return n, _UNKNOWN
    there = table.value[place, LOTS]
    if lots > there:
        return n, _TOO_MUCH
    if action == 0:
        action = DELETE if lots == there else REDUCE
    n = _put(out, n, ts, sequence, action, table.value[place, SIDE], table.value[place, PRICE], lots, order)
    if lots == there:
        drop_order(table, place)
    else:
        table.value[place, LOTS] = there - lots
    return n, 0


@njit(cache=True)
def _expand(
    kind: Int64,
    flag: Int64,
    buy: Int64,
    sell: Int64,
    price: Int64,
    lots: Int64,
    since: Int64,
    midnight: int,
    table: OrderTable,
    out: EventArray,
) -> tuple[int, int, int]:
    """Write all event rows; return (rows, problem, row of the problem)."""
    if len(kind) == 0:
        return 0, 0, 0
    n = _put(out, 0, midnight + since[0], 0, CLEAR, NONE, 0, 0, 0)
    out[0].flags = F_SNAPSHOT
    group = 0
    aggressor = -1  # of the group so far; -1: an auction, 0: none
    phase = 0  # opening auction, continuous trading, closing auction
    for k in range(len(kind)):
        is_trade = kind[k] == TRADE_ROW
        ts = midnight + since[k]
        now = 0
        if is_trade:
            now = -1 if flag[k] == 0 else buy[k] if flag[k] == 1 else sell[k]
        elif kind[k] == ORDER:
            now = buy[k]
        status = -1
        if phase == 0 and since[k] >= OPENED and now != -1:
            phase = 1
            status = 1
        elif phase == 1 and since[k] >= CLOSING:
            phase = 2
            status = 0
        if phase != 1:
            now = -1
        if now != aggressor or now == 0:
            out[n - 1].flags |= F_LAST
            group += 1
        aggressor = now
        if status >= 0:
            n = _put(out, n, ts, group, STATUS, NONE, 0, status, 0)
        problem = 0
        if kind[k] == ORDER:
            if find_order(table, buy[k], 0) >= 0:
                return n, _TWICE, k
            side = BID if flag[k] == 1 else ASK
            put_order(table, buy[k], 0, price[k], lots[k], side)
            n = _put(out, n, ts, group, ADD, side, price[k], lots[k], buy[k])
        elif kind[k] == CANCEL:
            n, problem = _take(out, n, ts, group, table, buy[k], lots[k], 0)
        elif flag[k] == 0:
            n, problem = _take(out, n, ts, group, table, buy[k], lots[k], 0)
            if problem == 0:
                n, problem = _take(out, n, ts, group, table, sell[k], lots[k], 0)
            n = _put(out, n, ts, group, TRADE, NONE, price[k], lots[k], 0)
        else:
            n, problem = _take(out, n, ts, group, table, sell[k] if flag[k] == 1 else buy[k], lots[k], EXECUTE)
        if problem:
            return n, problem, k
    out[n - 1].flags |= F_LAST
    return n, 0, 0


def iter_days(path: Path, symbols: list[str]) -> Iterator[tuple[str, date, pl.DataFrame, str]]:
    """Yield (symbol, day, rows, origin) of the stocks asked for, pair by pair."""
    for files in find_pairs(path):
        rows = read_rows(files)
        for symbol in symbols:
            own = rows.filter(pl.col("symbol") == symbol)
            if own.height:
                yield symbol, files.day, own, f"{files.orders} {symbol}"

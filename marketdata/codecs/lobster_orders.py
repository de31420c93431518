"""LOBSTER messages without the book beside them: the book by order id, from a first book row or from nothing.

``lobster.parse`` makes the book equal to the recorded one at every row. Here the messages speak alone, as they would live, so
that the rebuilt book can be checked against the recorded one, and queues are known where they can be known:

* the start is CLEAR and, where a first book row is given, its levels (LEVEL rows, whose orders have no names);
* every message after it is one group of one row: ADD, REDUCE, DELETE, EXECUTE with the order's id, HIDDEN, TRADE, STATUS;
* what a cancel or an execution takes from an order whose ADD was never seen comes off the nameless part of its level.

:func:`queue_known` says row by row whether the whole queue at the row's price is made of orders that were seen coming. Levels
deeper than the file's window change without a message; a level that comes back into the window is unknown until its nameless part
is gone.
"""

from datetime import date, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from marketdata.clock import NS_PER_S, to_ns
from marketdata.codecs.lobster import LAST_TYPE, MESSAGE_COLUMNS, MISSING_PRICE
from marketdata.codecs.order_table import LOTS, PRICE, OrderTable, drop_order, empty_table, find_order, put_order
from marketdata.codecs.order_table import SIDE as EPOCH
from marketdata.codecs.tables import FLOAT, INT, SourceError, read_table
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    DELETE,
    EXECUTE,
    F_LAST,
    F_SNAPSHOT,
    HIDDEN,
    LEVEL,
    NONE,
    REDUCE,
    STATUS,
    TRADE,
    EventArray,
    empty_events,
)

Int64 = npt.NDArray[np.int64]

_ACTIONS: Final = np.array([0, ADD, REDUCE, DELETE, EXECUTE, HIDDEN, TRADE, STATUS], np.uint8)
HALT: Final = 7


def read_messages(path: Path) -> pl.DataFrame:
    """Return the rows of a message file, native columns and units.

    Raises
    ------
    SourceError
        If the file is malformed.
    """
    schema = {name: FLOAT if name == "time" else INT for name in MESSAGE_COLUMNS}
    return read_table(path, schema, header=False)


def parse_orders(
    messages: pl.DataFrame, day: date, instrument_id: int, origin: str, first_book: npt.NDArray[np.int64] | None = None
) -> EventArray:
    """Return the events of a message file, without receive times.

    Parameters
    ----------
    messages : pl.DataFrame
        As :func:`read_messages` gives them.
    first_book : int64 array, shape (4 * levels,), optional
        The recorded book after message 0 (ask price, ask size, bid price, bid size, next level). That message is then in the book
        already and gives no row of its own but its print.

    Raises
    ------
    SourceError
        If a message has an unknown type or direction, or no size.
    """
    kind, direction, size, price, names = (
        messages[name].to_numpy() for name in ("type", "direction", "size", "price", "order_id")
    )
    good = (kind >= 1) & (kind <= LAST_TYPE) & (np.abs(direction) <= 1) & ((size > 0) | (kind == HALT))
    if not good.all():
        row = int(np.argmin(good))
        what = messages.row(row, named=True)
        raise SourceError(
            origin, f"type {what['type']}, direction {what['direction']}, size {what['size']}", row=row + 1
        )
    midnight = to_ns(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo("America/New_York")))
    rows = empty_events(messages.height)
    rows["ts_event"] = midnight + np.rint(messages["time"].to_numpy() * NS_PER_S).astype(np.int64)
    rows["action"] = _ACTIONS[kind]
    halt = kind == HALT
    rows["side"] = np.where(halt, NONE, direction)
    rows["price_units"] = np.where(halt, 0, price)
    rows["size_lots"] = np.where(halt, price == 1, size)
    rows["order_id"] = names
    rows["sequence"] = np.arange(messages.height)
    rows["flags"] = F_LAST
    start = _start(rows[0]["ts_event"] if len(rows) else midnight, first_book)
    if first_book is not None and len(rows):
        printed = np.isin(rows["action"][:1], (EXECUTE, HIDDEN, TRADE))
        first = rows[:1][printed].copy()  # its book effect is in the start, its print is not
        first["action"] = np.where(first["action"] == HIDDEN, HIDDEN, TRADE)
        start["flags"] = F_SNAPSHOT
        rows = np.concatenate([start, first, rows[1:]])
        rows["flags"][len(start) + len(first) - 1] |= F_LAST
    else:
        start["sequence"] = -1
        rows = np.concatenate([start, rows])
        rows["sequence"] += 1
    rows["instrument_id"] = instrument_id
    return rows


def _start(ts: int, first_book: npt.NDArray[np.int64] | None) -> EventArray:
    levels = first_book.reshape(-1, 2, 2) if first_book is not None else np.zeros((0, 2, 2), np.int64)
    cells = [
        (int(price), int(lots), side)
        for pair in levels
        for (price, lots), side in ((pair[0], ASK), (pair[1], BID))
        if lots > 0 and abs(int(price)) < MISSING_PRICE
    ]
    rows = empty_events(1 + len(cells))
    rows["ts_event"] = ts
    rows["action"] = LEVEL
    rows["action"][0] = CLEAR
    rows["flags"] = F_SNAPSHOT
    rows["flags"][-1] |= F_LAST
    for k, (price, lots, side) in enumerate(cells, start=1):
        rows["price_units"][k], rows["size_lots"][k], rows["side"][k] = price, lots, side
    return rows


def queue_known(events: EventArray) -> npt.NDArray[np.bool_]:
    """Return for each row whether, after it, every lot at its price and side belongs to an order whose ADD was seen there.

    Parameters
    ----------
    events : event array, shape (n,)
        Of one instrument, with order ids.

    Returns
    -------
    bool array, shape (n,)
        False for rows that are about no level (HIDDEN, TRADE, STATUS, CLEAR); True for a level that is empty.

    Notes
    -----
    A LEVEL row that sets another size than the named orders add up to, or sets a level anew, forgets their names there: while the
    level was out of sight any of them may have left. Sizes that go below what is known are taken for an end of the nameless part.
    """
    known = np.zeros(len(events), np.bool_)
    capacity = 1 << max(12, (4 * len(events)).bit_length())
    columns = [
        np.ascontiguousarray(events[name]) for name in ("action", "side", "price_units", "size_lots", "order_id")
    ]
    _queues(*columns, empty_table(capacity), empty_table(capacity), known)
    return known


@njit(cache=True)
def _queues(
    action: npt.NDArray[np.uint8],
    side: npt.NDArray[np.int8],
    price: Int64,
    lots: Int64,
    names: Int64,
    orders: OrderTable,
    levels: OrderTable,
    known: npt.NDArray[np.bool_],
) -> None:
    """Follow levels as (price, side) with nameless and named lots, and orders with the level's epoch at their ADD.

    In ``levels`` the column PRICE has the named lots, LOTS the nameless, SIDE the epoch.
    """
    for k in range(len(action)):
        what = action[k]
        if what == CLEAR:
            for table in (orders, levels):
                table.key[:, 1] = 0
                table.live[0] = 0
            continue
        if what != ADD and what != REDUCE and what != DELETE and what != EXECUTE and what != LEVEL:
            continue
        book = 0 if side[k] == BID else 1
        at = find_order(levels, price[k], book)
        if at < 0:
            put_order(levels, price[k], book, 0, 0, 0)
            at = find_order(levels, price[k], book)
        level = levels.value[at]
        if what == LEVEL:
            if lots[k] != level[PRICE] or level[LOTS] > 0:
                level[EPOCH] += 1
                level[PRICE] = 0
                level[LOTS] = lots[k]
        elif what == ADD:
            place = find_order(orders, names[k], book)
            if place >= 0:
                drop_order(orders, place)
            put_order(orders, names[k], book, price[k], lots[k], level[EPOCH])
            level[PRICE] += lots[k]
        else:
            place = find_order(orders, names[k], book)
            own = place >= 0 and orders.value[place, PRICE] == price[k] and orders.value[place, EPOCH] == level[EPOCH]
            taken = min(lots[k], orders.value[place, LOTS]) if own else 0
            if own:
                level[PRICE] -= taken
                orders.value[place, LOTS] -= taken
                if orders.value[place, LOTS] == 0:
                    drop_order(orders, place)
            level[LOTS] = max(0, level[LOTS] - (lots[k] - taken))
        known[k] = level[LOTS] == 0

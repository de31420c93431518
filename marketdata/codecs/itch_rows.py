"""ITCH messages about a known symbol as event rows: each order message is looked up, checked, applied and written.

The fold around it (:mod:`marketdata.codecs.itch_fold`) knows sessions, holes, locate codes and time; here a message has its
symbol, time and number, and gives rows or the code of what is wrong with it.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.codecs.exact import EXACT, integer_to_units
from marketdata.codecs.itch_framing import big_endian
from marketdata.codecs.itch_problems import (
    BAD_SIDE,
    BAD_STATE,
    GOOD,
    LIVE_ORDER,
    OFF_PRICE,
    OFF_SIZE,
    TOO_MUCH,
    UNKNOWN_ORDER,
)
from marketdata.codecs.order_table import LOTS, PRICE, SIDE, OrderTable, drop_order, find_order, put_order
from marketdata.events import (
    ADD,
    ASK,
    BID,
    DELETE,
    EXECUTE,
    HIDDEN,
    NONE,
    REDUCE,
    STATUS,
    TRADE,
    EventArray,
)

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

N_DUPLICATE: Final = 256
N_OTHER: Final = 257
N_BEFORE: Final = 258
N_LOCATE: Final = 259
N_SILENT: Final = 260
N_EMPTY_CROSS: Final = 261
N_HOLE: Final = 262
COUNTERS: Final = 263
"""``counts``: 0-255 messages without an event by type, then these."""


@njit(cache=True)
def put_row(
    events: EventArray, used: Int64, ts: int, recv: int, seq: int, action: int, side: int,
    price: int, lots: int, name: int, slot: int,
) -> None:  # fmt: skip
    """Write one event row; its flags are the caller's."""
    n = used[0]
    events[n].ts_event = ts
    events[n].ts_recv = recv
    events[n].sequence = seq
    events[n].action = action
    events[n].side = side
    events[n].price_units = price
    events[n].size_lots = lots
    events[n].order_id = name
    events[n].instrument_id = slot  # the caller turns slots into numbers
    used[0] = n + 1


@njit(cache=True)
def _price(data: Bytes, k: int, price_grid: Int64, slot: int) -> tuple[int, int]:
    return integer_to_units(big_endian(data, k, 4), 4, price_grid[slot, 0], price_grid[slot, 1], price_grid[slot, 2])


@njit(cache=True)
def _lots(shares: int, size_grid: Int64, slot: int) -> tuple[int, int]:
    if shares <= 0:
        return 0, OFF_SIZE
    return integer_to_units(shares, 0, size_grid[slot, 0], size_grid[slot, 1], size_grid[slot, 2])


@njit(cache=True)
def order_message(
    data: Bytes, k: int, kind: int, slot: int, ts: int, recv: int, seq: int, price_grid: Int64, size_grid: Int64,
    complete: bool, table: OrderTable, events: EventArray, used: Int64, counts: Int64,
) -> int:  # fmt: skip
    """Write the rows of a message about an order; return a code."""
    name = big_endian(data, k + 11, 8)
    place = find_order(table, name, slot)
    if kind == 65 or kind == 70:  # A, F
        if place >= 0:
            return LIVE_ORDER
        buy = data[k + 19] == 66
        if not buy and data[k + 19] != 83:
            return BAD_SIDE
        lots, outcome = _lots(big_endian(data, k + 20, 4), size_grid, slot)
        if outcome != EXACT:
            return OFF_SIZE
        price, outcome = _price(data, k + 32, price_grid, slot)
        if outcome != EXACT:
            return OFF_PRICE
        side = BID if buy else ASK
        put_order(table, name, slot, price, lots, side)
        put_row(events, used, ts, recv, seq, ADD, side, price, lots, name, slot)
        return GOOD
    if place < 0:
        if complete:
            return UNKNOWN_ORDER
        counts[N_BEFORE] += 1
        if kind != 85:
            return GOOD
    value = table.value
    side = value[place, SIDE] if place >= 0 else 0
    price = value[place, PRICE] if place >= 0 else 0
    there = value[place, LOTS] if place >= 0 else 0
    if kind == 68:  # D
        drop_order(table, place)
        put_row(events, used, ts, recv, seq, DELETE, side, price, there, name, slot)
        return GOOD
    if kind == 85:  # U: the side of an order from before the start is unknown, and so is the new one's
        if place < 0:
            return GOOD
        new = big_endian(data, k + 19, 8)
        if new != name and find_order(table, new, slot) >= 0:
            return LIVE_ORDER
        lots, outcome = _lots(big_endian(data, k + 27, 4), size_grid, slot)
        if outcome != EXACT:
            return OFF_SIZE
        to, outcome = _price(data, k + 31, price_grid, slot)
        if outcome != EXACT:
            return OFF_PRICE
        drop_order(table, place)
        put_order(table, new, slot, to, lots, side)
        put_row(events, used, ts, recv, seq, DELETE, side, price, there, name, slot)
        put_row(events, used, ts, recv, seq, ADD, side, to, lots, new, slot)
        return GOOD
    lots, outcome = _lots(big_endian(data, k + 19, 4), size_grid, slot)
    if outcome != EXACT:
        return OFF_SIZE
    if lots > there:
        return TOO_MUCH
    at = price
    printed = True
    if kind == 67:  # C
        at, outcome = _price(data, k + 32, price_grid, slot)
        if outcome != EXACT:
            return OFF_PRICE
        printed = data[k + 31] == 89
    if lots == there:
        drop_order(table, place)
    else:
        value[place, LOTS] = there - lots
    if kind == 88:  # X
        put_row(events, used, ts, recv, seq, DELETE if lots == there else REDUCE, side, price, lots, name, slot)
    elif printed and at == price:
        put_row(events, used, ts, recv, seq, EXECUTE, side, price, lots, name, slot)
    else:
        put_row(events, used, ts, recv, seq, DELETE if lots == there else REDUCE, side, price, lots, name, slot)
        if printed:
            put_row(events, used, ts, recv, seq, TRADE, side, at, lots, name, slot)
        else:
            counts[N_SILENT] += 1
    return GOOD


@njit(cache=True)
def other_message(
    data: Bytes, k: int, kind: int, slot: int, ts: int, recv: int, seq: int, price_grid: Int64, size_grid: Int64,
    events: EventArray, used: Int64, counts: Int64,
) -> int:  # fmt: skip
    """Write the row of a message about a symbol but no order of the book; return a code."""
    if kind == 80:  # P
        lots, outcome = _lots(big_endian(data, k + 20, 4), size_grid, slot)
        if outcome != EXACT:
            return OFF_SIZE
        price, outcome = _price(data, k + 32, price_grid, slot)
        if outcome != EXACT:
            return OFF_PRICE
        side = ASK if data[k + 19] == 83 else NONE
        put_row(events, used, ts, recv, seq, HIDDEN, side, price, lots, big_endian(data, k + 11, 8), slot)
    elif kind == 81:  # Q
        shares = big_endian(data, k + 11, 8)
        if shares == 0:
            counts[N_EMPTY_CROSS] += 1
            return GOOD
        lots, outcome = _lots(shares, size_grid, slot)
        if outcome != EXACT:
            return OFF_SIZE
        price, outcome = _price(data, k + 27, price_grid, slot)
        if outcome != EXACT:
            return OFF_PRICE
        put_row(events, used, ts, recv, seq, TRADE, NONE, price, lots, 0, slot)
    elif kind == 72 or kind == 104:  # H, h
        state = data[k + 19] if kind == 72 else data[k + 20]
        if state != 84 and state != 72 and (kind == 104 or (state != 80 and state != 81)):
            return BAD_STATE
        put_row(events, used, ts, recv, seq, STATUS, NONE, 0, 1 if state == 84 else 0, 0, slot)
    else:
        counts[kind] += 1
    return GOOD

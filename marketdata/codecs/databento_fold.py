"""The fold over Databento's records: orders and levels to event rows; see ``databento``."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.codecs.exact import EXACT, integer_to_units
from marketdata.codecs.order_table import (
    LOTS,
    PRICE,
    SIDE,
    VENUE_LOTS,
    OrderTable,
    drop_order,
    find_order,
    forget_orders,
    has_room,
    put_order,
)
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    DELETE,
    EXECUTE,
    F_LAST,
    F_SNAPSHOT,
    LEVEL,
    NONE,
    REDUCE,
    TRADE,
    EventArray,
)

Int64 = npt.NDArray[np.int64]

DONE: Final = 0
NEED_GROW: Final = 1
REFUSED: Final = 2

OFF_PRICE: Final = 1
OFF_SIZE: Final = 2
UNKNOWN_ORDER: Final = 3
LIVE_ORDER: Final = 4
BAD_SIDE: Final = 5
BAD_ACTION: Final = 6
TOO_MUCH: Final = 7
PROBLEMS: Final = {
    OFF_PRICE: "the price is off the instrument's grid",
    OFF_SIZE: "the size is off the instrument's lot grid",
    UNKNOWN_ORDER: "names an order that does not rest",
    LIVE_ORDER: "adds an order that rests already",
    BAD_SIDE: "an order has no side",
    BAD_ACTION: "the action is none of A, C, M, T, F, R, N",
    TOO_MUCH: "cancels more than the order has",
}

V_LAST: Final = 128
V_SNAPSHOT: Final = 32
V_BAD_BOOK: Final = 4
"""Flags of the vendor's."""
UNDEFINED: Final = 2**63 - 1

N_OTHER: Final = 0
N_FILL: Final = 1
N_NONE: Final = 2
N_BEFORE: Final = 3
COUNTERS: Final = 4
COUNTED: Final = {
    N_OTHER: "other instrument",
    N_FILL: "fill of no resting order at its price",
    N_NONE: "record without an action",
    N_BEFORE: "order from before the start or a gap",
}

UNKNOWN: Final = 0
PARTIAL: Final = 1
COMPLETE: Final = 2
"""``known``: nothing yet; orders since a start or a gap; every order since a snapshot or a CLEAR."""


class Fold(NamedTuple):
    """State of the fold.

    Orders; the last levels shown by (slot, side, level, price | size); what is known; counters; group number; the group in which
    an instrument's last row was flagged.
    """

    table: OrderTable
    shown: Int64
    known: Int64
    counts: Int64
    group: Int64
    stamp: Int64


def whole_groups(flags: npt.NDArray[np.uint8]) -> int:
    """Return how many records from the first on are whole groups, whatever comes next."""
    ends = (flags & V_LAST) != 0
    snapshot = (flags & V_SNAPSHOT) != 0
    ends[:-1] |= snapshot[:-1] & ~snapshot[1:]  # a snapshot ends where a record is none
    last = np.flatnonzero(ends)
    return int(last[-1]) + 1 if len(last) else 0


@njit(cache=True)
def _put(
    out: EventArray, used: Int64, ts: int, recv: int, seq: int, action: int, side: int, price: int, lots: int, order: int,
    slot: int,
) -> None:  # fmt: skip
    n = used[0]
    out[n].ts_event = ts
    out[n].ts_recv = recv
    out[n].sequence = seq
    out[n].action = action
    out[n].side = side
    out[n].price_units = price
    out[n].size_lots = lots
    out[n].order_id = order
    out[n].instrument_id = slot  # the caller turns slots into numbers
    used[0] = n + 1


@njit(cache=True)
def _side_of(letter: int) -> int:
    return BID if letter == 66 else ASK if letter == 65 else NONE


@njit(cache=True)
def _by_order(
    table: OrderTable, known: Int64, counts: Int64, left: Int64, ts: int, recv: int, seq: int, action: int, side: int, price: int,
    lots: int, order: int, slot: int, out: EventArray, used: Int64,
) -> int:  # fmt: skip
    """Write the rows of a market-by-order record; return a problem or 0.

    ``left`` is the lots of the last trade that no EXECUTE row has told, and the side that rested in it.
    """
    place = find_order(table, order, slot)
    if action == 65:  # A
        if side == NONE:
            return BAD_SIDE
        if place >= 0:
            return LIVE_ORDER
        put_order(table, order, slot, price, lots, side)
        _put(out, used, ts, recv, seq, ADD, side, price, lots, order, slot)
        return 0
    if action == 70:  # F
        value = table.value
        if (
            place >= 0
            and value[place, PRICE] == price
            and value[place, SIDE] == left[1]
            and (lots <= value[place, LOTS] and lots <= left[0])
        ):
            value[place, LOTS] -= lots
            left[0] -= lots
            _put(out, used, ts, recv, seq, EXECUTE, value[place, SIDE], price, lots, order, slot)
        else:
            counts[N_FILL] += 1
        return 0
    if place < 0:
        if known[slot] == COMPLETE:
            return UNKNOWN_ORDER
        counts[N_BEFORE] += 1
        if action == 77 and side != NONE:  # from now on the order is known
            put_order(table, order, slot, price, lots, side)
            _put(out, used, ts, recv, seq, ADD, side, price, lots, order, slot)
        return 0
    value = table.value
    ours, there, at = value[place, LOTS], value[place, VENUE_LOTS], value[place, PRICE]
    own = value[place, SIDE]
    if action == 67:  # C
        stays = there - lots
        if stays < 0:
            return TOO_MUCH
        if ours > stays:
            _put(out, used, ts, recv, seq, DELETE if stays == 0 else REDUCE, own, at, ours - stays, order, slot)
        if stays == 0:
            drop_order(table, place)
        else:
            value[place, VENUE_LOTS] = stays
            value[place, LOTS] = min(ours, stays)
        return 0
    if price == at and lots <= ours:  # M, the place in the queue is kept
        if lots < ours:
            _put(out, used, ts, recv, seq, REDUCE if lots > 0 else DELETE, own, at, ours - lots, order, slot)
        value[place, LOTS] = lots
        value[place, VENUE_LOTS] = lots
        if lots == 0:
            drop_order(table, place)
        return 0
    if ours > 0:
        _put(out, used, ts, recv, seq, DELETE, own, at, ours, order, slot)
    drop_order(table, place)
    put_order(table, order, slot, price, lots, own)
    _put(out, used, ts, recv, seq, ADD, own, price, lots, order, slot)
    return 0


@njit(cache=True)
def _levels(
    shown: Int64, depth: Int64, levels: int, ts: int, recv: int, seq: int, flags: int, slot: int, price_grid: Int64,
    size_grid: Int64, out: EventArray, used: Int64,
) -> int:  # fmt: skip
    """Write LEVEL rows where the levels differ from those shown before; return a problem or 0."""
    for s in range(2):
        side = BID if s == 0 else ASK
        for k in range(levels):  # the new side, in units; a level that does not exist has no price
            if depth[s, k, 0] == UNDEFINED or depth[s, k, 1] == 0:
                depth[s, k, 0] = 0
                depth[s, k, 1] = 0
                continue
            grid = price_grid[slot]
            depth[s, k, 0], outcome = integer_to_units(depth[s, k, 0], 9, grid[0], grid[1], grid[2])
            if outcome != EXACT:
                return OFF_PRICE
            grid = size_grid[slot]
            depth[s, k, 1], outcome = integer_to_units(depth[s, k, 1], 0, grid[0], grid[1], grid[2])
            if outcome != EXACT:
                return OFF_SIZE
        for k in range(levels):
            price, lots = shown[slot, s, k, 0], shown[slot, s, k, 1]
            if lots == 0:
                continue
            gone = True
            for j in range(levels):
                if depth[s, j, 1] > 0 and depth[s, j, 0] == price:
                    gone = False
            if gone:
                _put(out, used, ts, recv, seq, LEVEL, side, price, 0, 0, slot)
                out[used[0] - 1].flags = flags
        for k in range(levels):
            price, lots = depth[s, k, 0], depth[s, k, 1]
            if lots == 0:
                continue
            same = False
            for j in range(levels):
                if shown[slot, s, j, 0] == price and shown[slot, s, j, 1] == lots:
                    same = True
            if not same:
                _put(out, used, ts, recv, seq, LEVEL, side, price, lots, 0, slot)
                out[used[0] - 1].flags = flags
        for k in range(levels):
            shown[slot, s, k, 0] = depth[s, k, 0]
            shown[slot, s, k, 1] = depth[s, k, 1]
    return 0


@njit(cache=True)
def _clear(
    table: OrderTable, shown: Int64, slot: int, ts: int, recv: int, seq: int, out: EventArray, used: Int64
) -> None:
    _put(out, used, ts, recv, seq, CLEAR, NONE, 0, 0, 0, slot)
    forget_orders(table, slot)
    shown[slot] = 0


@njit(cache=True)
def _close(out: EventArray, begin: int, end: int, stamp: Int64, group: int) -> None:
    """Flag the last row of each instrument of a group."""
    for k in range(end - 1, begin - 1, -1):
        slot = out[k].instrument_id
        if stamp[slot] != group:
            stamp[slot] = group
            out[k].flags |= F_LAST


@njit(cache=True)
def _executed(
    table: OrderTable, first: int, stop: int, slot: int, side: int, lots: int, action: Int64, slots: Int64, order: Int64,
    price: Int64, size: Int64, price_grid: Int64, size_grid: Int64,
) -> int:  # fmt: skip
    """Return how many lots of a trade its fills take from orders that rest at their price, as EXECUTE rows will tell."""
    done = 0
    p, s = price_grid[slot], size_grid[slot]
    for j in range(first, stop):
        if action[j] != 70 or slots[j] != slot:
            break
        place = find_order(table, order[j], slot)
        if place < 0 or table.value[place, SIDE] != side:
            continue
        units, _ = integer_to_units(price[j], 9, p[0], p[1], p[2])
        filled, _ = integer_to_units(size[j], 0, s[0], s[1], s[2])
        if table.value[place, PRICE] == units and filled <= table.value[place, LOTS] and done + filled <= lots:
            done += filled
    return done


@njit(cache=True)
def fold_records(
    ts: Int64, recv: Int64, price: Int64, size: Int64, order: Int64, flags: Int64, action: Int64, side: Int64, sequence: Int64,
    slots: Int64, depth: Int64, levels: int, first: int, end: int, price_grid: Int64, size_grid: Int64, fold: Fold,
    out: EventArray, gaps: Int64, used: Int64,
) -> tuple[int, int, int]:  # fmt: skip
    """Fold the whole groups among records ``first`` to ``end``; return (status, next record, problem).

    The table is asked for room at the start of a group, for all its records.
    """
    table, shown, known, counts = fold.table, fold.shown, fold.known, fold.counts
    begin = used[0]
    left = np.zeros(2, np.int64)
    k = first
    stop = first
    while k < end:
        if k == stop:  # a new group: find its end
            while stop < end:
                stop += 1
                if flags[stop - 1] & V_LAST:
                    break
                if flags[stop - 1] & V_SNAPSHOT and stop < end and not flags[stop] & V_SNAPSHOT:
                    break
            if not has_room(table) or 2 * (table.live[0] + stop - k + 2) > len(table.key):
                return NEED_GROW, k, 0
            begin = used[0]
            fold.group[0] += 1
            left[:] = 0
        slot = slots[k]
        what = action[k]
        seq = fold.group[0]
        problem = 0
        if slot < 0:
            counts[N_OTHER] += 1
        elif what == 78:
            counts[N_NONE] += 1
        else:
            row_flags = F_SNAPSHOT if flags[k] & V_SNAPSHOT else 0
            if flags[k] & V_BAD_BOOK and known[slot] != UNKNOWN:
                _clear(table, shown, slot, ts[k], recv[k], seq, out, used)
                known[slot] = UNKNOWN
                gap = gaps[used[1]]
                gap[0], gap[1], gap[2], gap[3] = slot, recv[k], 0, sequence[k]
                used[1] += 1
            if known[slot] == UNKNOWN and what != 82:
                if flags[k] & V_BAD_BOOK == 0 or used[0] == begin:
                    _put(out, used, ts[k], recv[k], seq, CLEAR, NONE, 0, 0, 0, slot)
                    out[used[0] - 1].flags = row_flags
                known[slot] = COMPLETE if row_flags else PARTIAL
            units, lots = 0, 0
            if what != 82:
                units, outcome = integer_to_units(
                    0 if price[k] == UNDEFINED else price[k],
                    9,
                    price_grid[slot, 0],
                    price_grid[slot, 1],
                    price_grid[slot, 2],
                )
                if outcome != EXACT:
                    problem = OFF_PRICE
                lots, outcome = integer_to_units(size[k], 0, size_grid[slot, 0], size_grid[slot, 1], size_grid[slot, 2])
                if outcome != EXACT:
                    problem = OFF_SIZE
            taker = _side_of(side[k])
            if problem == 0 and what == 82:  # R
                _clear(table, shown, slot, ts[k], recv[k], seq, out, used)
                out[used[0] - 1].flags = row_flags
                known[slot] = COMPLETE
            elif problem == 0 and what == 84:  # T: its fills follow
                left[0], left[1] = lots, -taker
                executed = 0
                if levels == 0:
                    executed = _executed(
                        table,
                        k + 1,
                        stop,
                        slot,
                        left[1],
                        lots,
                        action,
                        slots,
                        order,
                        price,
                        size,
                        price_grid,
                        size_grid,
                    )
                if executed < lots:
                    _put(out, used, ts[k], recv[k], seq, TRADE, left[1], units, lots - executed, 0, slot)
                left[0] = executed
            elif problem == 0 and levels == 0 and (what == 65 or what == 67 or what == 77 or what == 70):
                begin_row = used[0]
                problem = _by_order(
                    table, known, counts, left, ts[k], recv[k], seq, what, taker, units, lots, order[k], slot, out, used
                )
                for j in range(begin_row, used[0]):
                    out[j].flags = row_flags
            elif problem == 0 and what != 65 and what != 67 and what != 77 and what != 70:
                problem = BAD_ACTION
            if problem == 0 and levels > 0:
                problem = _levels(
                    shown, depth[k], levels, ts[k], recv[k], seq, row_flags, slot, price_grid, size_grid, out, used
                )
            if problem:
                return REFUSED, k, problem
        k += 1
        if k == stop:
            _close(out, begin, used[0], fold.stamp, fold.group[0])
    return DONE, end, 0

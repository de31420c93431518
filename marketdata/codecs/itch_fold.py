"""The fold over ITCH messages: sessions and holes, locate codes to instruments, time; rows are written by ``itch_rows``."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.codecs.exact import Grids
from marketdata.codecs.itch_framing import (
    DUE,
    FIRST,
    FRAME,
    IS_HOLE,
    IS_MESSAGE,
    IS_SESSION,
    LENGTH_OF,
    NUMBER,
    WHAT,
    big_endian,
)
from marketdata.codecs.itch_problems import (
    BAD_TIME,
    GOOD,
    UNKNOWN_TYPE,
    WRONG_LENGTH,
)
from marketdata.codecs.itch_rows import N_HOLE, N_LOCATE, N_OTHER, order_message, other_message, put_row
from marketdata.codecs.order_table import (
    OrderTable,
    forget_orders,
    has_room,
)
from marketdata.codecs.symbol_table import SymbolTable, find_symbol
from marketdata.events import (
    CLEAR,
    F_LAST,
    NONE,
    EventArray,
)

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

DONE: Final = 0
OUT_FULL: Final = 1
NEED_GROW: Final = 2
REFUSED: Final = 3

COMPLETE: Final = 0
SEEN: Final = 1
"""Columns of ``books``: whether every order since the book was empty is known; whether the symbol has come."""
SESSION_COMPLETE: Final = 0
BASE: Final = 1
LAST: Final = 2
"""``session``: whether it was seen from its first message; what is added to numbers so that none steps back; the last."""

NS_PER_DAY: Final = 86_400_000_000_000


class Fold(NamedTuple):
    """State; ``locate`` gives 0 for an unknown code, slot + 1 for a symbol asked for, -1 for another."""

    locate: Int64
    books: Int64
    table: OrderTable
    counts: Int64
    session: Int64


class Report(NamedTuple):
    """Where rows, gaps and refusals go; ``used`` has the rows used of each."""

    events: EventArray
    gaps: Int64
    bad: Int64
    used: Int64


@njit(cache=True)
def _clear(fold: Fold, events: EventArray, used: Int64, slot: int, ts: int, recv: int, seq: int) -> None:
    """Make a book unknown, with a group of its own."""
    put_row(events, used, ts, recv, seq, CLEAR, NONE, 0, 0, 0, slot)
    events[used[0] - 1].flags = F_LAST
    fold.books[slot, COMPLETE] = 0
    forget_orders(fold.table, slot)


@njit(cache=True)
def _mark(fold: Fold, report: Report, row: Int64, ts: int, recv: int) -> None:
    """Apply a row of the message table that is no message: a session that begins, a hole, a refused frame."""
    number, due = row[NUMBER], row[DUE]
    if row[WHAT] == IS_SESSION:
        fold.session[SESSION_COMPLETE] = 1 if number == 1 else 0
        if fold.session[LAST] >= fold.session[BASE] + number:
            fold.session[BASE] = fold.session[LAST] + 1 - number
        fold.locate[:] = 0
        fold.table.key[:, 1] = 0
        fold.table.live[0] = 0
        fold.books[:, :] = 0  # each symbol begins with a CLEAR when it comes
        return
    fold.session[SESSION_COMPLETE] = 0
    seen = 0
    for slot in range(len(fold.books)):
        if fold.books[slot, SEEN] == 1:
            _clear(fold, report.events, report.used, slot, ts, recv, fold.session[BASE] + due)
            seen += 1
            if row[WHAT] == IS_HOLE:
                gap = report.gaps[report.used[1]]
                gap[0], gap[1], gap[2], gap[3] = slot, recv, due, number
                report.used[1] += 1
    if row[WHAT] == IS_HOLE and seen == 0:
        fold.counts[N_HOLE] += 1


@njit(cache=True)
def _slot(
    data: Bytes, k: int, kind: int, locate: int, symbols: SymbolTable, stock_at: Int64, fold: Fold
) -> tuple[int, bool]:
    """Return the slot of a message's symbol (-1: another, -2: unknown), and whether it has just become known."""
    slot = fold.locate[locate]
    at = stock_at[kind]
    if at > 0 and (slot == 0 or kind == 82):  # the directory may give a code to another symbol
        end = k + at + 8
        while end > k + at and data[end - 1] == 32:
            end -= 1
        found = find_symbol(symbols.text, symbols.start, symbols.place, data, k + at, end) + 1
        fold.locate[locate] = found if found > 0 else -1
        slot = fold.locate[locate]
    if slot <= 0:
        return (-1 if slot < 0 else -2), False
    new = fold.books[slot - 1, SEEN] == 0
    if new:
        fold.books[slot - 1, SEEN] = 1
        fold.books[slot - 1, COMPLETE] = fold.session[SESSION_COMPLETE]
    return slot - 1, new


@njit(cache=True)
def fold_messages(
    data: Bytes, starts: Int64, ts_recv: Int64, midnight: Int64, messages: Int64, first: int, symbols: SymbolTable, grids: Grids,
    lengths: Int64, stock_at: Int64, stop_at_bad: bool, fold: Fold, report: Report,
) -> tuple[int, int]:  # fmt: skip
    """Fold rows of the message table from ``first`` on; return (status, next row)."""
    events, used, table, counts, books = report.events, report.used, fold.table, fold.counts, fold.books
    price_grid, size_grid, locates, session = grids.price, grids.size, fold.locate, fold.session
    slots = len(books)
    room, gap_room, bad_room = len(events), len(report.gaps), len(report.bad)
    for m in range(first, len(messages)):
        if used[0] + slots + 4 > room or used[1] + slots > gap_room or used[2] >= bad_room:
            return OUT_FULL, m
        if not has_room(table):
            return NEED_GROW, m
        frame = messages[m, FRAME]
        recv = ts_recv[frame]
        if messages[m, WHAT] != IS_MESSAGE:
            _mark(fold, report, messages[m], recv if recv > 0 else midnight[frame], recv)
            continue
        k = messages[m, FIRST]
        length = messages[m, LENGTH_OF]
        seq = session[BASE] + messages[m, NUMBER]
        session[LAST] = seq
        kind = data[k] if length > 0 else 0
        if messages[m, NUMBER] == 1 and kind != 83:
            session[SESSION_COMPLETE] = 0  # a session begins with a system event; this is a part of one
        code = GOOD
        slot = -2
        ts = midnight[frame]
        begin = used[0]
        if lengths[kind] == 0:
            code = UNKNOWN_TYPE
        elif lengths[kind] != length:
            code = WRONG_LENGTH
        else:
            since = big_endian(data, k + 5, 6)
            ts += since
            if since > NS_PER_DAY:
                code = BAD_TIME
        if code == GOOD:
            if kind == 83 or kind == 86 or kind == 87 or kind == 66:
                counts[kind] += 1
                continue
            locate = big_endian(data, k + 1, 2)
            slot = locates[locate] - 1
            if slot < 0 or kind == 82:
                slot, new = _slot(data, k, kind, locate, symbols, stock_at, fold)
                if slot < 0:
                    counts[N_OTHER if slot == -1 else N_LOCATE] += 1
                    continue
                if new:
                    put_row(events, used, ts, recv, seq, CLEAR, NONE, 0, 0, 0, slot)
            if kind == 65 or kind == 70 or kind == 69 or kind == 67 or kind == 88 or kind == 68 or kind == 85:
                complete = books[slot, COMPLETE] == 1
                code = order_message(
                    data,
                    k,
                    kind,
                    slot,
                    ts,
                    recv,
                    seq,
                    price_grid,
                    size_grid,
                    complete,
                    table,
                    events,
                    used,
                    counts,
                )
            else:
                code = other_message(data, k, kind, slot, ts, recv, seq, price_grid, size_grid, events, used, counts)
        if code == GOOD:
            if used[0] > begin:
                events[used[0] - 1].flags = F_LAST
            continue
        bad = report.bad[used[2]]
        bad[0], bad[1], bad[2] = frame, k - starts[frame], code
        used[2] += 1
        if stop_at_bad:
            return REFUSED, m
        used[0] = begin
        if slot < 0 and length >= 3:
            slot = locates[big_endian(data, k + 1, 2)] - 1
        for each in range(slots):
            if books[each, SEEN] == 1 and (slot < 0 or slot == each):
                _clear(fold, events, used, each, recv if recv > 0 else ts, recv, seq)
    return DONE, len(messages)

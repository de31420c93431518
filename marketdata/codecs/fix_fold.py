"""FIX market data, phase two: the session's numbering, then the entries of a message as event rows.

A refused message counts as not received: the numbering shows the hole at the next message, and every book of that session is
unknown from there on. Without numbering to go by, a refused message clears the books at once.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.codecs.fix_kernel import (
    ACTION,
    AGGRESSOR,
    BID_ENTRY,
    DUPLICATE,
    EMPTY_BOOK,
    ENTRIES,
    FAULTS,
    HAS,
    ID,
    ID_LIVE,
    ID_UNKNOWN,
    KIND,
    LOTS,
    NEW,
    NEW_SEQUENCE,
    NO_ID,
    NO_PRICE,
    NO_SIZE,
    OFFER_ENTRY,
    OFFSET,
    PRICE,
    REMOVE,
    RESET,
    SENT,
    SEQUENCE,
    SESSION,
    SLOT,
    TOO_LOW,
    TRADE_ENTRY,
    TS,
    TYPE,
    Wire,
    read_message,
)
from marketdata.codecs.fix_message import GOOD
from marketdata.codecs.order_table import LOTS as T_LOTS
from marketdata.codecs.order_table import PRICE as T_PRICE
from marketdata.codecs.order_table import SIDE as T_SIDE
from marketdata.codecs.order_table import OrderTable, drop_order, find_order, forget_orders, put_order
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    DELETE,
    F_LAST,
    F_SNAPSHOT,
    LEVEL,
    NONE,
    REDUCE,
    TRADE,
    EventArray,
)

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

DONE: Final = 0
OUT_FULL: Final = 1
NEED_GROW: Final = 2
NEED_ENTRIES: Final = 3
REFUSED: Final = 4
"""Why the kernel came back; REFUSED only where it was told to stop at the first refused frame."""

MAX_SESSIONS: Final = 64
KEY: Final = 0
EXPECTED: Final = 1
BASE: Final = 2
"""Columns of ``sessions``: key + 1, next number due, what is added to a number so that a reset does not let it step back."""

KNOWN: Final = 0
OWNER: Final = 1
WANTED: Final = 2
STAMP: Final = 3
"""Columns of ``books``, one row a slot: whether the book is known, its session, whether a snapshot is wanted, scratch."""

N_DUPLICATE: Final = 512
N_OTHER: Final = 513
N_BEFORE: Final = 514
N_FAULT: Final = 515  # and 516, 517: length, checksum, both
N_NO_BOOK_GAP: Final = 518
N_PASSED: Final = 519
N_OPENED: Final = 520
COUNTERS: Final = 521
"""``counts``: 0-255 messages by type, 256-511 entries by type, then these."""

SNAPSHOT: Final = 87
INCREMENT: Final = 88


class Fold(NamedTuple):
    """State of the fold; arrays, so that a checkpoint is a copy."""

    sessions: Int64
    books: Int64
    table: OrderTable
    counts: Int64
    passed: Int64


class Report(NamedTuple):
    """Where the kernel writes what it found; ``used`` has the rows used of each."""

    events: EventArray
    gaps: Int64
    bad: Int64
    used: Int64


@njit(cache=True)
def _put(
    events: EventArray,
    used: Int64,
    ts: int,
    recv: int,
    seq: int,
    action: int,
    side: int,
    price: int,
    lots: int,
    order: int,
    slot: int,
) -> None:
    n = used[0]
    events[n].ts_event = ts
    events[n].ts_recv = recv
    events[n].sequence = seq
    events[n].action = action
    events[n].side = side
    events[n].price_units = price
    events[n].size_lots = lots
    events[n].order_id = order
    events[n].instrument_id = slot  # the caller turns slots into numbers
    used[0] = n + 1


@njit(cache=True)
def _clear(fold: Fold, report: Report, slot: int, ts: int, recv: int, seq: int) -> None:
    """Make a book unknown, with a group of its own."""
    _put(report.events, report.used, ts, recv, seq, CLEAR, NONE, 0, 0, 0, slot)
    report.events[report.used[0] - 1].flags = F_LAST
    fold.books[slot, KNOWN] = 0
    fold.books[slot, WANTED] = 1
    forget_orders(fold.table, slot)


@njit(cache=True)
def _session(fold: Fold, key: int) -> int:
    """Return the row of a session, made where it is new; the last row is shared when there are too many."""
    for k in range(MAX_SESSIONS):
        if fold.sessions[k, KEY] == key + 1:
            return k
        if fold.sessions[k, KEY] == 0:
            fold.sessions[k, KEY] = key + 1
            fold.sessions[k, EXPECTED] = -1
            return k
    return MAX_SESSIONS - 1


@njit(cache=True)
def _number(fold: Fold, report: Report, header: Int64, recv: int) -> tuple[int, int, int]:
    """Apply a message's number to its session; return (code, session, sequence), sequence -1 for a duplicate."""
    s = _session(fold, header[SESSION])
    row = fold.sessions[s]
    seq = header[SEQUENCE]
    ts = header[SENT] if header[SENT] > 0 else recv
    if header[TYPE] == 65 and header[RESET] == 1:  # a logon that starts the numbers again: subscriptions are gone too
        if row[EXPECTED] > seq:
            row[BASE] += row[EXPECTED] - seq
        row[EXPECTED] = seq + 1
        for slot in range(len(fold.books)):
            if fold.books[slot, KNOWN] == 1 and fold.books[slot, OWNER] == s:
                _clear(fold, report, slot, ts, recv, row[BASE] + seq)
        return GOOD, s, row[BASE] + seq
    if row[EXPECTED] < 0:
        row[EXPECTED] = seq
    if header[TYPE] == 52 and header[NEW_SEQUENCE] > 0:
        if header[RESET] == 0 and row[EXPECTED] > header[NEW_SEQUENCE]:
            row[BASE] += row[EXPECTED] - header[NEW_SEQUENCE]
        if header[RESET] == 0 or header[NEW_SEQUENCE] > row[EXPECTED]:
            row[EXPECTED] = header[NEW_SEQUENCE]
        return GOOD, s, row[BASE] + seq
    if seq < row[EXPECTED]:
        if header[DUPLICATE] == 1:
            fold.counts[N_DUPLICATE] += 1
            return GOOD, s, -1
        return TOO_LOW, s, -1
    if seq > row[EXPECTED]:
        lost = 0
        for slot in range(len(fold.books)):
            if fold.books[slot, KNOWN] == 1 and fold.books[slot, OWNER] == s:
                _clear(fold, report, slot, ts, recv, row[BASE] + row[EXPECTED])
                gap = report.gaps[report.used[1]]
                gap[0], gap[1], gap[2], gap[3] = slot, recv, row[EXPECTED], seq
                report.used[1] += 1
                lost += 1
        if lost == 0:
            fold.counts[N_NO_BOOK_GAP] += 1
    row[EXPECTED] = seq + 1
    return GOOD, s, row[BASE] + seq


@njit(cache=True)
def _by_id(fold: Fold, report: Report, entry: Int64, recv: int, seq: int) -> int:
    """Write the rows of a bid or offer of a venue that names orders; return a code."""
    table = fold.table
    slot, side = entry[SLOT], BID if entry[KIND] == BID_ENTRY else ASK
    if entry[HAS] & 4 == 0:
        return NO_ID
    events, used, ts, name = report.events, report.used, entry[TS], entry[ID]
    place = find_order(table, name, slot)
    if entry[ACTION] == NEW:
        if entry[HAS] & 3 != 3:
            return NO_PRICE if entry[HAS] & 1 == 0 else NO_SIZE
        if place >= 0:
            return ID_LIVE
        put_order(table, name, slot, entry[PRICE], entry[LOTS], side)
        _put(events, used, ts, recv, seq, ADD, side, entry[PRICE], entry[LOTS], name, slot)
        return GOOD
    if place < 0:
        return ID_UNKNOWN
    order = table.value[place]
    old_side, old_price, old_lots = order[T_SIDE], order[T_PRICE], order[T_LOTS]
    if entry[ACTION] == REMOVE:
        _put(events, used, ts, recv, seq, DELETE, old_side, old_price, old_lots, name, slot)
        drop_order(table, place)
        return GOOD
    price = entry[PRICE] if entry[HAS] & 1 else old_price
    lots = entry[LOTS] if entry[HAS] & 2 else old_lots
    if price == old_price and side == old_side and 0 < lots <= old_lots:
        if lots < old_lots:  # keeps its place in the queue
            _put(events, used, ts, recv, seq, REDUCE, side, price, old_lots - lots, name, slot)
            order[T_LOTS] = lots
        return GOOD
    _put(events, used, ts, recv, seq, DELETE, old_side, old_price, old_lots, name, slot)
    drop_order(table, place)
    if lots > 0:
        put_order(table, name, slot, price, lots, side)
        _put(events, used, ts, recv, seq, ADD, side, price, lots, name, slot)
    return GOOD


@njit(cache=True)
def _by_price(events: EventArray, used: Int64, scratch: Int64, k: int, recv: int, seq: int, first: int) -> int:
    """Write the row of a bid or offer of a venue that names prices; return a code.

    ``first`` is the first row of a snapshot, whose entries at one price and side are added up; -1 otherwise.
    """
    side = BID if scratch[k, KIND] == BID_ENTRY else ASK
    if scratch[k, HAS] & 1 == 0:
        return NO_PRICE
    lots = 0
    if scratch[k, ACTION] != REMOVE:
        if scratch[k, HAS] & 2 == 0:
            return NO_SIZE
        lots = scratch[k, LOTS]
    price = scratch[k, PRICE]
    if first >= 0:
        for j in range(used[0] - 1, first - 1, -1):
            if events[j].action == LEVEL and events[j].side == side and events[j].price_units == price:
                lots += events[j].size_lots
                break
    _put(events, used, scratch[k, TS], recv, seq, LEVEL, side, price, lots, 0, scratch[k, SLOT])
    return GOOD


@njit(cache=True)
def _snapshot(
    fold: Fold, report: Report, scratch: Int64, n: int, session: int, by_id: bool, ts: int, recv: int, seq: int
) -> tuple[int, int]:
    slot = scratch[0, SLOT]
    if slot < 0:
        fold.counts[N_OTHER] += 1
        return GOOD, 0
    first = report.used[0]
    _put(report.events, report.used, scratch[0, TS] if n > 0 else ts, recv, seq, CLEAR, NONE, 0, 0, 0, slot)
    forget_orders(fold.table, slot)
    for k in range(n):
        entry = scratch[k]
        if entry[KIND] != BID_ENTRY and entry[KIND] != OFFER_ENTRY:
            fold.counts[256 + min(entry[KIND], 255)] += 1
            continue
        if by_id:
            code = _by_id(fold, report, entry, recv, seq)
        else:
            code = _by_price(report.events, report.used, scratch, k, recv, seq, first)
        if code != GOOD:
            return code, entry[OFFSET]
    for k in range(first, report.used[0]):
        report.events[k].flags = F_SNAPSHOT
    report.events[report.used[0] - 1].flags |= F_LAST
    fold.books[slot, KNOWN] = 1
    fold.books[slot, OWNER] = session
    fold.books[slot, WANTED] = 0
    return GOOD, 0


@njit(cache=True)
def _increment(
    fold: Fold,
    report: Report,
    scratch: Int64,
    n: int,
    session: int,
    by_id: bool,
    needs_snapshot: bool,
    recv: int,
    seq: int,
) -> tuple[int, int]:
    events, used, books, counts = report.events, report.used, fold.books, fold.counts
    first = used[0]
    for k in range(n):
        slot, kind = scratch[k, SLOT], scratch[k, KIND]
        if slot < 0:
            counts[N_OTHER] += 1
            continue
        if kind == TRADE_ENTRY and scratch[k, ACTION] == NEW:
            has = scratch[k, HAS]
            if has & 3 != 3:
                return (NO_PRICE if has & 1 == 0 else NO_SIZE), scratch[k, OFFSET]
            taker = scratch[k, AGGRESSOR]
            side = ASK if taker == 49 else BID if taker == 50 else NONE
            order = scratch[k, ID] if has & 4 else 0
            price, lots = scratch[k, PRICE], scratch[k, LOTS]
            _put(events, used, scratch[k, TS], recv, seq, TRADE, side, price, lots, order, slot)
            continue
        if kind == EMPTY_BOOK:
            _put(events, used, scratch[k, TS], recv, seq, CLEAR, NONE, 0, 0, 0, slot)
            forget_orders(fold.table, slot)
            books[slot, KNOWN] = 1
            books[slot, OWNER] = session
            books[slot, WANTED] = 0
            continue
        if kind != BID_ENTRY and kind != OFFER_ENTRY:
            counts[256 + min(kind, 255)] += 1
            continue
        if books[slot, KNOWN] == 0:
            if needs_snapshot:
                books[slot, WANTED] = 1
                counts[N_BEFORE] += 1
                continue
            books[slot, KNOWN] = 1
            books[slot, OWNER] = session
        code = (
            _by_id(fold, report, scratch[k], recv, seq) if by_id else _by_price(events, used, scratch, k, recv, seq, -1)
        )
        if code != GOOD:
            return code, scratch[k, OFFSET]
    stamp = fold.passed[0] + 1
    fold.passed[0] = stamp
    for k in range(used[0] - 1, first - 1, -1):
        slot = events[k].instrument_id
        if books[slot, STAMP] != stamp:
            books[slot, STAMP] = stamp
            events[k].flags |= F_LAST
    return GOOD, 0


@njit(cache=True)
def _refuse(fold: Fold, report: Report, frame: int, start: int, offset: int, code: int) -> None:
    bad = report.bad[report.used[2]]
    bad[0], bad[1], bad[2] = frame, offset - start, code
    report.used[2] += 1


@njit(cache=True)
def fold_messages(
    data: Bytes,
    starts: Int64,
    ts_recv: Int64,
    first: int,
    wire: Wire,
    by_id: bool,
    needs_snapshot: bool,
    numbered: bool,
    stop_at_bad: bool,
    fold: Fold,
    scratch: Int64,
    texts: Int64,
    header: Int64,
    report: Report,
) -> tuple[int, int]:
    """Fold frames from ``first`` on; return (status, next frame)."""
    slots = len(fold.books)
    used = report.used
    names, name_start, name_place = wire.symbols.text, wire.symbols.start, wire.symbols.place
    symbol_tag, strict = wire.symbol_tag, wire.strict
    price_grid, size_grid = wire.grids.price, wire.grids.size
    key = fold.table.key
    room, gap_room, bad_room = len(report.events), len(report.gaps), len(report.bad)
    for frame in range(first, len(ts_recv)):
        start, end = starts[frame], starts[frame + 1]
        if end == start:  # a connection was opened; the numbers tell whether anything was missed
            fold.counts[N_OPENED] += 1
            continue
        if (end - start) // 5 + 2 > len(scratch):  # an entry takes at least its first field: 269=0 and a delimiter
            return NEED_ENTRIES, frame
        if used[2] == bad_room or used[1] + slots > gap_room or used[0] + slots > room:
            return OUT_FULL, frame
        recv = ts_recv[frame]
        code, offset = read_message(
            data,
            start,
            end,
            names,
            name_start,
            name_place,
            price_grid,
            size_grid,
            symbol_tag,
            strict,
            scratch,
            texts,
            header,
        )
        if code != GOOD:
            _refuse(fold, report, frame, start, offset, code)
            if stop_at_bad:
                return REFUSED, frame
            if not numbered:
                fold.counts[N_PASSED] += 1
                for slot in range(slots):
                    if fold.books[slot, KNOWN] == 1:
                        _clear(fold, report, slot, recv, recv, fold.counts[N_PASSED])
            continue
        n = header[ENTRIES]
        if used[0] + 2 * n + 2 * slots + 4 > room:
            return OUT_FULL, frame
        if by_id and 2 * (fold.table.live[0] + n + 2) > len(key):
            return NEED_GROW, frame
        if numbered:
            code, session, seq = _number(fold, report, header, recv)
        else:
            fold.counts[N_PASSED] += 1
            session, seq = 0, fold.counts[N_PASSED]
        if header[FAULTS] > 0 and code == GOOD:
            fold.counts[N_FAULT + header[FAULTS] - 1] += 1
        if code == GOOD and seq < 0:
            continue
        kind = header[TYPE]
        if code == GOOD and kind == SNAPSHOT:
            code, offset = _snapshot(fold, report, scratch, n, session, by_id, header[SENT], recv, seq)
        elif code == GOOD and kind == INCREMENT:
            code, offset = _increment(fold, report, scratch, n, session, by_id, needs_snapshot, recv, seq)
        elif code == GOOD:
            fold.counts[kind] += 1
        else:
            offset = start
        if code != GOOD:
            _refuse(fold, report, frame, start, offset, code)
            if stop_at_bad:
                return REFUSED, frame
            if seq >= 0:  # half applied: its books are unknown now, and its rows go
                while (
                    used[0] > 0
                    and report.events[used[0] - 1].sequence == seq
                    and (report.events[used[0] - 1].ts_recv == recv)
                ):
                    used[0] -= 1
                _clear_books_of(fold, report, scratch, n, recv, seq)
    return DONE, len(ts_recv)


@njit(cache=True)
def _clear_books_of(fold: Fold, report: Report, scratch: Int64, n: int, recv: int, seq: int) -> None:
    fold.passed[0] += 1
    for k in range(n):
        slot = scratch[k, SLOT]
        if slot >= 0 and fold.books[slot, STAMP] != fold.passed[0]:
            fold.books[slot, STAMP] = fold.passed[0]
            _clear(fold, report, slot, scratch[k, TS], recv, seq)

"""The entries of a FIX market data message as event rows: snapshots, increments, orders by id and levels by price."""

from numba import njit

from marketdata.codecs.fix_kernel import (
    ACTION,
    AGGRESSOR,
    BID_ENTRY,
    EMPTY_BOOK,
    HAS,
    ID,
    ID_LIVE,
    ID_UNKNOWN,
    KIND,
    LOTS,
    NEW,
    NO_ID,
    NO_PRICE,
    NO_SIZE,
    OFFER_ENTRY,
    OFFSET,
    PRICE,
    REMOVE,
    SLOT,
    TRADE_ENTRY,
    TS,
)
from marketdata.codecs.fix_message import GOOD
from marketdata.codecs.fix_state import (
    KNOWN,
    N_BEFORE,
    N_OTHER,
    OWNER,
    STAMP,
    WANTED,
    Fold,
    Int64,
    Report,
)
from marketdata.codecs.order_table import LOTS as T_LOTS
from marketdata.codecs.order_table import PRICE as T_PRICE
from marketdata.codecs.order_table import SIDE as T_SIDE
from marketdata.codecs.order_table import drop_order, find_order, forget_orders, put_order
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


@njit(cache=True)
def put_row(
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
    """Write an event row; its flags are left to the caller."""
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
def clear_book(fold: Fold, report: Report, slot: int, ts: int, recv: int, seq: int) -> None:
    """Make a book unknown, with a group of its own."""
    put_row(report.events, report.used, ts, recv, seq, CLEAR, NONE, 0, 0, 0, slot)
    report.events[report.used[0] - 1].flags = F_LAST
    fold.books[slot, KNOWN] = 0
    fold.books[slot, WANTED] = 1
    forget_orders(fold.table, slot)


@njit(cache=True)
def entry_by_id(fold: Fold, report: Report, entry: Int64, recv: int, seq: int) -> int:
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
        put_row(events, used, ts, recv, seq, ADD, side, entry[PRICE], entry[LOTS], name, slot)
        return GOOD
    if place < 0:
        return ID_UNKNOWN
    order = table.value[place]
    old_side, old_price, old_lots = order[T_SIDE], order[T_PRICE], order[T_LOTS]
    if entry[ACTION] == REMOVE:
        put_row(events, used, ts, recv, seq, DELETE, old_side, old_price, old_lots, name, slot)
        drop_order(table, place)
        return GOOD
    price = entry[PRICE] if entry[HAS] & 1 else old_price
    lots = entry[LOTS] if entry[HAS] & 2 else old_lots
    if price == old_price and side == old_side and 0 < lots <= old_lots:
        if lots < old_lots:  # keeps its place in the queue
            put_row(events, used, ts, recv, seq, REDUCE, side, price, old_lots - lots, name, slot)
            order[T_LOTS] = lots
        return GOOD
    put_row(events, used, ts, recv, seq, DELETE, old_side, old_price, old_lots, name, slot)
    drop_order(table, place)
    if lots > 0:
        put_order(table, name, slot, price, lots, side)
        put_row(events, used, ts, recv, seq, ADD, side, price, lots, name, slot)
    return GOOD


@njit(cache=True)
def entry_by_price(events: EventArray, used: Int64, scratch: Int64, k: int, recv: int, seq: int, first: int) -> int:
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
    put_row(events, used, scratch[k, TS], recv, seq, LEVEL, side, price, lots, 0, scratch[k, SLOT])
    return GOOD


@njit(cache=True)
def snapshot_rows(
    fold: Fold, report: Report, scratch: Int64, n: int, session: int, by_id: bool, ts: int, recv: int, seq: int
) -> tuple[int, int]:
    """Write the ``n`` entries of a snapshot as a group; return (GOOD or what is wrong, offset)."""
    slot = scratch[0, SLOT]
    if slot < 0:
        fold.counts[N_OTHER] += 1
        return GOOD, 0
    first = report.used[0]
    put_row(report.events, report.used, scratch[0, TS] if n > 0 else ts, recv, seq, CLEAR, NONE, 0, 0, 0, slot)
    forget_orders(fold.table, slot)
    for k in range(n):
        entry = scratch[k]
        if entry[KIND] != BID_ENTRY and entry[KIND] != OFFER_ENTRY:
            fold.counts[256 + min(entry[KIND], 255)] += 1
            continue
        if by_id:
            code = entry_by_id(fold, report, entry, recv, seq)
        else:
            code = entry_by_price(report.events, report.used, scratch, k, recv, seq, first)
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
def increment_rows(
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
    """Write the ``n`` entries of an incremental refresh; return (GOOD or what is wrong, offset)."""
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
            put_row(events, used, scratch[k, TS], recv, seq, TRADE, side, price, lots, order, slot)
            continue
        if kind == EMPTY_BOOK:
            put_row(events, used, scratch[k, TS], recv, seq, CLEAR, NONE, 0, 0, 0, slot)
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
            entry_by_id(fold, report, scratch[k], recv, seq)
            if by_id
            else entry_by_price(events, used, scratch, k, recv, seq, -1)
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

"""FIX market data, phase two: the session's numbering, then the entries of a message as event rows.

A refused message counts as not received: the numbering shows the hole at the next message, and every book of that session is
unknown from there on. Without numbering to go by, a refused message clears the books at once.
"""

from numba import njit

from marketdata.codecs.fix_books import clear_book, increment_rows, snapshot_rows
from marketdata.codecs.fix_kernel import (
    DUPLICATE,
    ENTRIES,
    FAULTS,
    NEW_SEQUENCE,
    RESET,
    SENT,
    SEQUENCE,
    SESSION,
    SLOT,
    TOO_LOW,
    TS,
    TYPE,
    Wire,
    read_message,
)
from marketdata.codecs.fix_message import GOOD
from marketdata.codecs.fix_state import (
    BASE,
    DONE,
    EXPECTED,
    INCREMENT,
    KEY,
    KNOWN,
    MAX_SESSIONS,
    N_DUPLICATE,
    N_FAULT,
    N_NO_BOOK_GAP,
    N_OPENED,
    N_PASSED,
    NEED_ENTRIES,
    NEED_GROW,
    OUT_FULL,
    OWNER,
    REFUSED,
    SNAPSHOT,
    STAMP,
    Bytes,
    Fold,
    Int64,
    Report,
)


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
                clear_book(fold, report, slot, ts, recv, row[BASE] + seq)
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
                clear_book(fold, report, slot, ts, recv, row[BASE] + row[EXPECTED])
                gap = report.gaps[report.used[1]]
                gap[0], gap[1], gap[2], gap[3] = slot, recv, row[EXPECTED], seq
                report.used[1] += 1
                lost += 1
        if lost == 0:
            fold.counts[N_NO_BOOK_GAP] += 1
    row[EXPECTED] = seq + 1
    return GOOD, s, row[BASE] + seq


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
                        clear_book(fold, report, slot, recv, recv, fold.counts[N_PASSED])
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
            code, offset = snapshot_rows(fold, report, scratch, n, session, by_id, header[SENT], recv, seq)
        elif code == GOOD and kind == INCREMENT:
            code, offset = increment_rows(fold, report, scratch, n, session, by_id, needs_snapshot, recv, seq)
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
            clear_book(fold, report, slot, scratch[k, TS], recv, seq)

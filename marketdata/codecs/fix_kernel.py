"""The byte scanner of FIX market data: one pass over a message into a scratch of entries, then the entries into events.

Two phases, so that a message is whole or not at all: phase one reads and checks everything and changes nothing; phase two
(``fix_fold``) applies the session's numbering and writes rows.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.codecs.exact import EXACT, NOT_A_NUMBER, Grids, decimal_to_units
from marketdata.codecs.fix_message import BAD_FIELD, GOOD, NO_BEGIN, SOH, check_frame, data_tag
from marketdata.codecs.fix_time import NO_TS, parse_date, parse_time, parse_utc
from marketdata.codecs.symbol_table import SymbolTable, find_symbol, is_symbol

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

BAD_TIME: Final = 20
BAD_PRICE: Final = 21
BAD_SIZE: Final = 22
BAD_COUNT: Final = 23
BAD_ACTION: Final = 24
NO_ENTRY_TYPE: Final = 25
NO_SYMBOL: Final = 26
NO_PRICE: Final = 27
NO_SIZE: Final = 28
OFF_PRICE: Final = 29
OFF_SIZE: Final = 30
NO_SEQUENCE: Final = 31
NO_ID: Final = 32
TOO_LOW: Final = 33
ID_LIVE: Final = 34
ID_UNKNOWN: Final = 35
NO_TIME: Final = 36
BAD_NUMBER: Final = 37

REASONS: Final = {
    BAD_TIME: "a time is not YYYYMMDD-HH:MM:SS with an optional fraction",
    BAD_PRICE: "MDEntryPx (270) is not a number",
    BAD_SIZE: "MDEntrySize (271) is not a number of zero or more",
    BAD_COUNT: "NoMDEntries (268) is not the number of entries",
    BAD_ACTION: "MDUpdateAction (279) is none of new 0, change 1, delete 2",
    NO_ENTRY_TYPE: "an entry has no MDEntryType (269)",
    NO_SYMBOL: "an entry has no symbol, and none stands before it",
    NO_PRICE: "an entry has no MDEntryPx (270)",
    NO_SIZE: "an entry has no MDEntrySize (271)",
    OFF_PRICE: "MDEntryPx (270) is off the instrument's price grid",
    OFF_SIZE: "MDEntrySize (271) is off the instrument's lot grid",
    NO_SEQUENCE: "has no MsgSeqNum (34)",
    NO_ID: "an entry has no MDEntryID (278), by which this venue names orders",
    TOO_LOW: "MsgSeqNum (34) is lower than expected, and the message is no possible duplicate (43)",
    ID_LIVE: "a new entry has the MDEntryID (278) of a live one",
    ID_UNKNOWN: "MDEntryID (278) is that of no live entry",
    NO_TIME: "has no SendingTime (52)",
    BAD_NUMBER: "a field that must be a whole number is none",
}

ACTION: Final = 0
KIND: Final = 1
PRICE: Final = 2
LOTS: Final = 3
ID: Final = 4
SLOT: Final = 5
TS: Final = 6
HAS: Final = 7
AGGRESSOR: Final = 8
OFFSET: Final = 9
COLUMNS: Final = 10
"""Columns of the scratch, one row an entry; ``HAS`` has bit 1 for a price, 2 for a size, 4 for an id."""

NEW: Final = 48
CHANGE: Final = 49
REMOVE: Final = 50
BID_ENTRY: Final = 48
OFFER_ENTRY: Final = 49
TRADE_ENTRY: Final = 50
EMPTY_BOOK: Final = 74
"""Values of 279 and 269, as characters."""

MULTI: Final = 1
"""Message type of more than one character."""

TYPE: Final = 0
SEQUENCE: Final = 1
SENT: Final = 2
DUPLICATE: Final = 3
RESET: Final = 4
NEW_SEQUENCE: Final = 5
SESSION: Final = 6
ENTRIES: Final = 7
COUNT: Final = 8
FAULTS: Final = 9
HEADERS: Final = 10
"""Columns of the header of a message."""


class Wire(NamedTuple):
    """What a scanner must know of a venue: constants of a codec."""

    symbols: SymbolTable
    grids: Grids
    symbol_tag: int
    strict: bool


@njit(cache=True)
def _whole(data: Bytes, k: int, end: int) -> int:
    """Return a whole number of at most 18 digits; -1 where it is none."""
    if end == k or end - k > 18:
        return -1
    number = 0
    for j in range(k, end):
        if data[j] < 48 or data[j] > 57:
            return -1
        number = number * 10 + (data[j] - 48)
    return number


@njit(cache=True)
def entry_number(data: Bytes, k: int, end: int) -> int:
    """Return a positive number for an entry's name: the name itself where it is one, else its 62-bit FNV-1a hash + 2**62."""
    number = _whole(data, k, end)
    if number > 0:  # 0 is how events say that there is no id
        return number
    h = np.uint64(0xCBF29CE484222325)
    for j in range(k, end):
        h = (h ^ np.uint64(data[j])) * np.uint64(0x100000001B3)
    return np.int64((h & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x4000000000000000))  # type: ignore[return-value]  # an int in numba


@njit(cache=True)
def _entry_time(sent: int, transact: int, date: int, time: int) -> int:
    """Return when an entry happened: its own time, on the day nearest to SendingTime; else TransactTime; else SendingTime."""
    if time == NO_TS:
        return transact if transact != NO_TS else sent
    if date != NO_TS:
        return date + time
    day = 86_400_000_000_000
    base = transact if transact != NO_TS else sent
    ts = base - base % day + time
    if ts - base > day // 2:
        ts -= day
    elif base - ts > day // 2:
        ts += day
    return ts


@njit(cache=True)
def _finish(scratch: Int64, k: int, date: int, time: int, sent: int, transact: int, symbol: int) -> tuple[int, int]:
    """Complete entry ``k``; return (code, byte)."""
    if scratch[k, ACTION] == 0:
        scratch[k, ACTION] = NEW
    if scratch[k, KIND] == 0:
        return NO_ENTRY_TYPE, scratch[k, OFFSET]
    if scratch[k, SLOT] == -2:
        scratch[k, SLOT] = symbol
        if symbol == -2:
            return NO_SYMBOL, scratch[k, OFFSET]
    scratch[k, TS] = _entry_time(sent, transact, date, time)
    return GOOD, 0


@njit(cache=True)
def read_message(
    data: Bytes,
    start: int,
    end: int,
    names: Bytes,
    name_start: Int64,
    name_place: Int64,
    price_grid: Int64,
    size_grid: Int64,
    symbol_tag: int,
    strict: bool,
    scratch: Int64,
    texts: Int64,
    header: Int64,
) -> tuple[int, int]:
    """Read one message into ``header`` and ``scratch``; return (code, byte), GOOD where it is one.

    ``scratch`` has a row for every entry that the message could hold; ``texts`` holds start and end of its price and size.
    """
    code, offset, k, trailer = check_frame(data, start, end)
    if code >= NO_BEGIN or (strict and code != GOOD):
        return code, offset
    for j in range(HEADERS):
        header[j] = 0
    header[FAULTS] = code
    header[SEQUENCE] = -1
    header[SENT] = NO_TS
    header[COUNT] = -1
    transact = NO_TS
    symbol = -2  # not named yet; -1: not asked for
    n = 0
    due = 0
    length = -1
    kind = 0
    date = time = NO_TS
    session = np.uint64(0xCBF29CE484222325)
    while k < trailer:
        at = k
        tag = 0
        while 48 <= data[k] <= 57 and tag < 100_000_000:  # the trailer ends each loop: it has a '=' and a delimiter
            tag = tag * 10 + (data[k] - 48)
            k += 1
        if k == at or data[k] != 61:
            return BAD_FIELD, at
        value = k + 1
        stop = value + length if tag == due and due > 0 else value
        while data[stop] != SOH:
            stop += 1
        if stop == value or stop >= trailer or (due > 0 and tag == due and stop != value + length):
            return BAD_FIELD, at
        k = stop + 1
        due = 0
        if tag == 35:
            kind = data[value] if stop == value + 1 else MULTI
            header[TYPE] = kind
            continue
        market = kind == 87 or kind == 88
        if market and (tag == 279 or (tag == 269 and kind == 87)):
            if n > 0:
                code, offset = _finish(scratch, n - 1, date, time, header[SENT], transact, symbol)
                if code != GOOD:
                    return code, offset
                symbol = scratch[n - 1, SLOT]
            for j in range(COLUMNS):
                scratch[n, j] = 0
            scratch[n, SLOT] = -2
            scratch[n, OFFSET] = at
            date = time = NO_TS
            n += 1
            if tag == 279:
                scratch[n - 1, ACTION] = data[value] if stop == value + 1 else 0
                if data[value] < NEW or data[value] > REMOVE or stop != value + 1:
                    return BAD_ACTION, at
            else:
                scratch[n - 1, KIND] = data[value] if stop == value + 1 else MULTI
        elif tag == 269 and kind == 88 and n > 0:
            scratch[n - 1, KIND] = data[value] if stop == value + 1 else MULTI
        elif tag == 270 and n > 0:
            texts[n - 1, 0] = value
            texts[n - 1, 1] = stop
            scratch[n - 1, HAS] |= 1
        elif tag == 271 and n > 0:
            texts[n - 1, 2] = value
            texts[n - 1, 3] = stop
            scratch[n - 1, HAS] |= 2
        elif tag == symbol_tag and market:
            if symbol < 0 or not is_symbol(names, name_start, symbol, data, value, stop):
                found = find_symbol(names, name_start, name_place, data, value, stop)
            else:
                found = symbol
            if n > 0:
                scratch[n - 1, SLOT] = found
            else:
                symbol = found
        elif tag == 278 and n > 0:
            scratch[n - 1, ID] = entry_number(data, value, stop)
            scratch[n - 1, HAS] |= 4
        elif tag == 272 and n > 0:
            date = parse_date(data, value, stop)
            if date == NO_TS:
                return BAD_TIME, at
        elif tag == 273 and n > 0:
            time = parse_time(data, value, stop)
            if time == NO_TS:
                return BAD_TIME, at
        elif (tag == 5797 or tag == 2446) and n > 0:
            scratch[n - 1, AGGRESSOR] = data[value]
        elif tag == 34:
            header[SEQUENCE] = _whole(data, value, stop)
            if header[SEQUENCE] < 0:
                return BAD_NUMBER, at
        elif tag == 52:
            header[SENT] = parse_utc(data, value, stop)
            if header[SENT] == NO_TS:
                return BAD_TIME, at
        elif tag == 60 and market and n == 0:
            transact = parse_utc(data, value, stop)
            if transact == NO_TS:
                return BAD_TIME, at
        elif tag == 268:
            header[COUNT] = _whole(data, value, stop)
            if header[COUNT] < 0:
                return BAD_COUNT, at
        elif tag == 49 or tag == 56:
            for j in range(at, stop):
                session = (session ^ np.uint64(data[j])) * np.uint64(0x100000001B3)
        elif tag == 43 or tag == 123 or tag == 141:
            if data[value] == 89:
                header[DUPLICATE if tag == 43 else RESET] = 1
        elif tag == 36:
            header[NEW_SEQUENCE] = _whole(data, value, stop)
            if header[NEW_SEQUENCE] < 0:
                return BAD_NUMBER, at
        else:
            due = data_tag(tag)
            if due > 0:
                length = _whole(data, value, stop)
                if length < 0 or length > trailer - k:
                    return BAD_FIELD, at
    header[ENTRIES] = n
    header[SESSION] = np.int64(session >> np.uint64(1))
    if header[SEQUENCE] < 0:
        return NO_SEQUENCE, start
    if kind != 87 and kind != 88:
        return GOOD, start
    if header[SENT] == NO_TS:
        return NO_TIME, start
    if n > 0:
        code, offset = _finish(scratch, n - 1, date, time, header[SENT], transact, symbol)
        if code != GOOD:
            return code, offset
    if header[COUNT] != n:
        return BAD_COUNT, start
    if n == 0:
        scratch[0, SLOT] = symbol
    return _numbers(data, scratch, texts, n, price_grid, size_grid)


@njit(cache=True)
def _numbers(data: Bytes, scratch: Int64, texts: Int64, n: int, price_grid: Int64, size_grid: Int64) -> tuple[int, int]:
    """Turn the texts of prices and sizes into units and lots of each entry's instrument; return (code, byte)."""
    for k in range(n):
        slot = scratch[k, SLOT]
        kind = scratch[k, KIND]
        if slot < 0 or (kind != BID_ENTRY and kind != OFFER_ENTRY and kind != TRADE_ENTRY):
            continue
        if scratch[k, HAS] & 1:
            units, outcome = decimal_to_units(
                data, texts[k, 0], texts[k, 1], price_grid[slot, 0], price_grid[slot, 1], price_grid[slot, 2]
            )
            if outcome != EXACT:
                return (BAD_PRICE if outcome == NOT_A_NUMBER else OFF_PRICE), texts[k, 0]
            scratch[k, PRICE] = units
        if scratch[k, HAS] & 2:
            lots, outcome = decimal_to_units(
                data, texts[k, 2], texts[k, 3], size_grid[slot, 0], size_grid[slot, 1], size_grid[slot, 2]
            )
            if outcome != EXACT or lots < 0:
                return (OFF_SIZE if outcome != EXACT and outcome != NOT_A_NUMBER else BAD_SIZE), texts[k, 2]
            scratch[k, LOTS] = lots
    return GOOD, 0

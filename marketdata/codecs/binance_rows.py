"""Rows of Binance's frames, written in compiled code: levels as they are read, and single ones."""

from numba import njit

from marketdata.codecs.json_scan import Bytes, scan_decimal
from marketdata.events import LEVEL, EventArray


@njit(cache=True)
def level_list(
    data: Bytes,
    i: int,
    price_units: int,
    price_places: int,
    lot_units: int,
    lot_places: int,
    side: int,
    ts_event: int,
    ts_recv: int,
    sequence: int,
    instrument: int,
    out: EventArray,
    row: int,
) -> tuple[int, int]:
    """Write a row for each ``["price","size"]`` of the list at ``i``; return (position behind, or ODD; next row)."""
    i += 1
    if data[i] == 93:
        return i + 1, row
    while True:
        if data[i] != 91:
            return -1, row
        price, i = scan_decimal(data, i + 1, price_units, price_places)
        if price < 0 or data[i] != 44:
            return -1, row
        size, i = scan_decimal(data, i + 1, lot_units, lot_places)
        if size < 0 or data[i] != 93:
            return -1, row
        event = out[row]
        event.ts_event = ts_event
        event.ts_recv = ts_recv
        event.price_units = price
        event.size_lots = size
        event.order_id = 0
        event.sequence = sequence
        event.instrument_id = instrument
        event.action = LEVEL
        event.side = side
        event.flags = 0
        event.clock_quality = 0
        row += 1
        i += 1
        c = data[i]
        if c == 44:
            i += 1
        elif c == 93:
            return i + 1, row
        else:
            return -1, row


@njit(cache=True)
def write_row(
    out: EventArray, row: int, ts_event: int, ts_recv: int, price: int, size: int, sequence: int, instrument: int,
    action: int, side: int, flags: int,
) -> None:  # fmt: skip
    """Write one row that names no order."""
    event = out[row]
    event.ts_event = ts_event
    event.ts_recv = ts_recv
    event.price_units = price
    event.size_lots = size
    event.order_id = 0
    event.sequence = sequence
    event.instrument_id = instrument
    event.action = action
    event.side = side
    event.flags = flags
    event.clock_quality = 0

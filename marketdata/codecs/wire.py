"""What the codecs of venues share: why a frame is refused, complete JSON decoding, and rows in the making."""

import re
from typing import Annotated, Final, TypeVar

import msgspec
import numpy as np

from marketdata.codecs.decimals import OffGrid, Step, to_units
from marketdata.events import ASK, BID, CLEAR, EVENT_DTYPE, EVENT_SCHEMA, F_LAST, F_SNAPSHOT, LEVEL, EventArray
from marketdata.instruments import Instrument

T = TypeVar("T")

Number = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A venue's counter or identifier."""
Stamp = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000_000)]
"""A time in milli- or microseconds that is still one in nanoseconds."""
PriceSize = tuple[str, str]
"""Price and size as the venue wrote them."""

_BYTE: Final = re.compile(r"\(byte (\d+)\)")


class BadFrame(ValueError):
    """A frame cannot be read: why, and at which byte of it (0 where only the whole is wrong)."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


def decode(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw) -> T:
    """Return the frame's content as the decoder's type.

    Raises
    ------
    BadFrame
        If it is not JSON of that type.
    """
    if not bytes(raw):
        raise BadFrame("the content is missing")
    try:
        return decoder.decode(raw)
    except msgspec.DecodeError as error:
        reason = str(error)
        found = _BYTE.search(reason)
        offset = int(found[1]) if found else len(bytes(raw)) if "truncated" in reason else 0
        raise BadFrame(reason, offset) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"no valid JSON: {error}") from error


def price_and_lots(price: str, size: str, instrument: Instrument, steps: tuple[Step, Step]) -> tuple[int, int]:
    """Return a price and a size on the grid.

    Raises
    ------
    BadFrame
        If one of them is off the grid; the instrument and the number are named.
    """
    try:
        return to_units(price, steps[0]), to_units(size, steps[1])
    except OffGrid as error:
        raise BadFrame(f"{instrument.symbol}: {error}") from error


Row = tuple[int, int, int, int, int, int, int, int, int, int, int]


def level_rows(
    instrument_id: int,
    ts_event: int,
    ts_recv: int,
    sequence: int,
    bids: list[tuple[int, int]],
    asks: list[tuple[int, int]],
    flags: int = 0,
) -> list[Row]:
    """Return LEVEL rows in the order of :data:`~marketdata.events.EVENT_DTYPE`'s fields; the last one ends its group."""
    rows: list[Row] = [
        (ts_event, ts_recv, price, lots, 0, sequence, instrument_id, LEVEL, side, flags, 0)
        for side, levels in ((BID, bids), (ASK, asks))
        for price, lots in levels
    ]
    if rows:
        last = rows[-1]
        rows[-1] = (*last[:9], flags | F_LAST, 0)
    return rows


def clear_row(instrument_id: int, ts_event: int, ts_recv: int, sequence: int, flags: int) -> Row:
    """Return a CLEAR row; with ``F_SNAPSHOT`` it opens a snapshot, with ``F_LAST`` it is a group of its own."""
    return (ts_event, ts_recv, 0, 0, 0, sequence, instrument_id, CLEAR, 0, flags, 0)


def snapshot_rows(
    instrument_id: int,
    ts_event: int,
    ts_recv: int,
    sequence: int,
    bids: list[tuple[int, int]],
    asks: list[tuple[int, int]],
    flags: int = 0,
) -> list[Row]:
    """Return CLEAR and LEVEL rows that rebuild a book, flagged ``F_SNAPSHOT``; the last one ends the group."""
    flags |= F_SNAPSHOT
    levels = level_rows(instrument_id, ts_event, ts_recv, sequence, bids, asks, flags)
    return [clear_row(instrument_id, ts_event, ts_recv, sequence, flags if levels else flags | F_LAST), *levels]


def as_events(rows: list[Row]) -> EventArray:
    """Return rows as an event array, whose padding bytes are zero."""
    events = np.zeros(len(rows), EVENT_DTYPE)
    if rows:
        columns = np.array(rows, np.int64).T
        for name, column in zip(EVENT_SCHEMA, columns, strict=True):
            events[name] = column
    return events


def joined_events(parts: list[EventArray]) -> EventArray:
    """Return events one after the other, byte for byte (numpy's own joining leaves padding bytes to chance)."""
    if not parts:
        return np.zeros(0, EVENT_DTYPE)
    return np.concatenate([part.view(np.uint8) for part in parts]).view(EVENT_DTYPE)

"""The one form that everything which happens in a market takes: a row of :data:`EVENT_DTYPE`.

An event is one change of one instrument's book, or one execution, or one status change. Several rows with the same
``sequence`` form one *group* (a message, or one matching event); the last row of a group carries :data:`F_LAST`, and only
there is the book in a state that invariants are judged on.

Prices are integers in ``price_units`` of the venue's grid, sizes integers in lots; the tick belongs to the instrument,
because some executions (hidden ones) happen between ticks. Times are int64 nanoseconds since 1970 UTC.

What ``price_units``, ``size_lots``, ``side`` and ``order_id`` mean, action by action:

======== ==================================================================================================
ADD      a new resting order: its limit price, size, side; ``order_id`` is 0 where the feed has no ids
REDUCE   part of a resting order is cancelled: ``size_lots`` is the part that goes; ``side`` is the order's
DELETE   the rest of a resting order is cancelled: ``size_lots`` is what went; ``side`` is the order's
EXECUTE  a visible resting order trades: ``side`` is the RESTING order's, the aggressor is the opposite; the
         book loses ``size_lots`` at ``price_units``
HIDDEN   a hidden order trades: ``side`` is the resting one's; the visible book does not change
TRADE    a print without a book row of its own (trade feeds beside quote feeds): ``side`` is the RESTING side
         where known, else NONE; the visible book does not change
LEVEL    the whole size at this price and side is now ``size_lots`` (0 removes the level)
QUOTE    the whole side is now one level: best price and size (best-quote feeds); 0 size empties the side
CLEAR    the book is unknown from here on (start, gap, resynchronisation); both sides empty
STATUS   trading status: ``size_lots`` is 1 trading, 0 halted; the book does not change
======== ==================================================================================================
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

ADD: Final = 1
REDUCE: Final = 2
DELETE: Final = 3
EXECUTE: Final = 4
HIDDEN: Final = 5
TRADE: Final = 6
LEVEL: Final = 7
QUOTE: Final = 8
CLEAR: Final = 9
STATUS: Final = 10

BID: Final = 1
ASK: Final = -1
NONE: Final = 0

F_LAST: Final = 1
"""Last row of its group: book invariants hold here, and rows may be sampled here."""
F_SNAPSHOT: Final = 2
"""Row of a snapshot that rebuilds the book, not a change that happened."""
F_CROSSED: Final = 4
"""The book is crossed after this group; flagged where the instrument's ``book_kind`` tolerates it, never sampled."""
F_TS_CARRIED: Final = 8
"""The venue gave no exchange time for this row; the connection's last one was carried."""

CLOCK_RECORDED: Final = 0
CLOCK_OFFSET_CORRECTED: Final = 1
CLOCK_MODELLED: Final = 2
"""``clock_quality``: receive time recorded as is, corrected by an estimated offset, or made by a latency model."""

EVENT_DTYPE: Final = np.dtype(
    [
        ("ts_event", "i8"),
        ("ts_recv", "i8"),
        ("price_units", "i8"),
        ("size_lots", "i8"),
        ("order_id", "i8"),
        ("sequence", "i8"),
        ("instrument_id", "i2"),
        ("action", "u1"),
        ("side", "i1"),
        ("flags", "u1"),
        ("clock_quality", "u1"),
    ],
    align=True,
)
"""One event, 56 bytes aligned."""

EVENT_SCHEMA: Final = {
    "ts_event": pl.Int64,
    "ts_recv": pl.Int64,
    "price_units": pl.Int64,
    "size_lots": pl.Int64,
    "order_id": pl.Int64,
    "sequence": pl.Int64,
    "instrument_id": pl.Int16,
    "action": pl.UInt8,
    "side": pl.Int8,
    "flags": pl.UInt8,
    "clock_quality": pl.UInt8,
}
"""The same columns as a polars schema, in the same order."""

EventArray = npt.NDArray[np.void]


def empty_events(rows: int) -> EventArray:
    """Return ``rows`` zeroed events, shape (rows,)."""
    return np.zeros(rows, dtype=EVENT_DTYPE)


def events_to_frame(events: EventArray) -> pl.DataFrame:
    """Return the events as a polars frame with :data:`EVENT_SCHEMA`."""
    return pl.DataFrame({name: np.ascontiguousarray(events[name]) for name in EVENT_SCHEMA}, schema=EVENT_SCHEMA)


def events_from_frame(frame: pl.DataFrame) -> EventArray:
    """Return the frame's rows as an event array; columns beyond :data:`EVENT_SCHEMA` are left out.

    Raises
    ------
    ValueError
        If a column is missing or holds a null.
    """
    missing = [name for name in EVENT_SCHEMA if name not in frame.columns]
    if missing:
        raise ValueError(f"event frame lacks column(s) {', '.join(missing)}")
    events = empty_events(frame.height)
    for name in EVENT_SCHEMA:
        column = frame.get_column(name)
        if column.null_count():
            raise ValueError(f"event column {name} holds {column.null_count()} null(s)")
        events[name] = column.to_numpy()
    return events


def merge_events(parts: list[EventArray]) -> EventArray:
    """Return several instruments' events as one array ordered by ``ts_recv``, ties by position in ``parts``.

    Each part must be in its own order already; that order is kept.
    """
    joined = np.concatenate(parts) if parts else empty_events(0)
    return joined[np.argsort(joined["ts_recv"], kind="stable")]

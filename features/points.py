"""Point events: the four-dimensional point process that Hawkes models are fitted to.

Executions of one exchange time and side are one aggressor; a change of the mid is judged at the end of an event group,
on a two-sided book that is not crossed. The same definitions drive the ``hawkes_s_*`` features.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from features.aggressors import KIND_BUY, KIND_MID_DOWN, KIND_MID_UP, KIND_SELL, aggressor_sign, is_execution
from features.state import NEVER
from marketdata.book import BookState, book_best, copy_book, empty_book, levels_apply
from marketdata.events import CLEAR, F_CROSSED, F_LAST, EventArray
from marketdata.instruments import BookKind, Instrument

POINT_SCHEMA: Final = {"ts_recv": pl.Int64, "ts_event": pl.Int64, "kind": pl.UInt8}
"""Columns of a point-event partition; kinds as in :mod:`features.aggressors`."""

Int64 = npt.NDArray[np.int64]

P_MID2: Final = 0
P_PRICE: Final = 1
P_SIGN: Final = 2
P_BUY_GROUP: Final = 3
P_SELL_GROUP: Final = 4


class PointState(NamedTuple):
    """State of the fold: the book, and doubled mid, last price, last sign, last buyer's and last seller's time."""

    book: BookState
    at: Int64


def empty_points() -> PointState:
    """Return the state before the first event."""
    return PointState(empty_book(), np.array([0, 0, 0, NEVER, NEVER], np.int64))


def copy_points(state: PointState) -> PointState:
    """Return a checkpoint of the state."""
    return PointState(copy_book(state.book), state.at.copy())


@njit(cache=True)
def _fold(state: PointState, has_book: bool, events: EventArray, times: Int64, kinds: npt.NDArray[np.uint8]) -> int:
    book = state.book
    at = state.at
    prices, sizes, counts, counters = book.price, book.size, book.count, book.counters
    rows = 0
    for k in range(len(events)):
        event = events[k]
        action = event.action
        price = event.price_units
        kind = -1
        if action == CLEAR:
            at[P_MID2] = 0
            at[P_PRICE] = 0
            at[P_SIGN] = 0
        elif is_execution(action):
            bid, bid_lots, ask, ask_lots = book_best(book)
            sign = aggressor_sign(event.side, price, bid, bid_lots, ask, ask_lots, at[P_PRICE], at[P_SIGN])
            at[P_PRICE] = price
            at[P_SIGN] = sign
            if sign > 0 and at[P_BUY_GROUP] != event.ts_event:
                at[P_BUY_GROUP] = event.ts_event
                kind = KIND_BUY
            elif sign < 0 and at[P_SELL_GROUP] != event.ts_event:
                at[P_SELL_GROUP] = event.ts_event
                kind = KIND_SELL
        if kind >= 0:
            times[rows, 0] = event.ts_recv
            times[rows, 1] = event.ts_event
            kinds[rows] = kind
            rows += 1
        levels_apply(prices, sizes, counts, counters, action, event.side, price, event.size_lots)
        if not event.flags & F_LAST or event.flags & F_CROSSED or not has_book:
            continue
        bid, bid_lots, ask, ask_lots = book_best(book)
        if bid_lots == 0 or ask_lots == 0 or bid > ask:
            continue
        if at[P_MID2] != 0 and bid + ask != at[P_MID2]:
            times[rows, 0] = event.ts_recv
            times[rows, 1] = event.ts_event
            kinds[rows] = KIND_MID_UP if bid + ask > at[P_MID2] else KIND_MID_DOWN
            rows += 1
        at[P_MID2] = bid + ask
    return rows


def step_points(state: PointState, batch: EventArray, instrument: Instrument) -> tuple[PointState, pl.DataFrame]:
    """Fold a batch of events, changing the state in place, and return it with the points in the batch."""
    if not (batch.flags.writeable and batch.flags.c_contiguous):
        batch = batch.copy()
    times = np.empty((2 * len(batch), 2), np.int64)
    kinds = np.empty(2 * len(batch), np.uint8)
    rows = _fold(state, instrument.book_kind is not BookKind.TRADES_ONLY, batch, times, kinds)
    columns = {"ts_recv": times[:rows, 0].copy(), "ts_event": times[:rows, 1].copy(), "kind": kinds[:rows].copy()}
    return state, pl.DataFrame(columns, schema=POINT_SCHEMA)


def point_events(events: EventArray, instrument: Instrument) -> pl.DataFrame:
    """Return the point events of a session.

    Returns
    -------
    pl.DataFrame
        Columns of :data:`POINT_SCHEMA` in the order of the events: receive time (ns) of the aggressor's first execution
        or of the group that moved the mid, its exchange time, and the kind: 0 aggressive buy, 1 aggressive sell, 2 mid
        up, 3 mid down. Executions whose side nothing tells are left out.
    """
    return step_points(empty_points(), events, instrument)[1]

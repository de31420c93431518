"""The book at a moment, written as the snapshot rows that rebuild it: what a session that begins mid-stream starts from.

Plain polars over the events of one instrument: whole sizes by level, one level by side, orders by id in the order of their
arrival.
"""

from typing import Final

import numpy as np
import polars as pl

from marketdata.book import ASK_SIDE, BID_SIDE, empty_book, fold_best
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
    QUOTE,
    REDUCE,
    STATUS,
    EventArray,
    empty_events,
    events_to_frame,
)

_CHANGES: Final = (ADD, REDUCE, DELETE, EXECUTE)
_BOOK: Final = (*_CHANGES, LEVEL, QUOTE, CLEAR)
MAX_LEVELS: Final = 65_536
_KEPT: Final = ("action", "side", "price_units", "size_lots", "order_id")


def book_rows(events: EventArray) -> EventArray:
    """Return rows that rebuild the book which stands after these events.

    Parameters
    ----------
    events : event array
        Of one instrument, in order, from where its book was known: a snapshot, or earlier rows of this function.

    Returns
    -------
    event array
        CLEAR, then what rests on both sides as the feed tells it (LEVEL, QUOTE, or ADD with ids), then a STATUS where trading
        is halted; all flagged ``F_SNAPSHOT``, the last one ``F_LAST``; times and sequence of the last event. Empty where no event
        touched the book, or the last that did was a CLEAR: the book is not known.

    Notes
    -----
    Orders keep the order of their arrival, so that queues are the same. Changes without an order id are summed by level; where a
    feed tells both orders and whole levels (LOBSTER's window of a book), the rows are levels.
    """
    if not len(events):
        return empty_events(0)
    actions = events["action"]
    touching = np.flatnonzero(np.isin(actions, _BOOK))
    if not len(touching) or actions[touching[-1]] == CLEAR:
        return empty_events(0)
    cleared = np.flatnonzero(actions == CLEAR)
    known = events[cleared[-1] if len(cleared) else 0 :]
    frame = events_to_frame(known).select(_KEPT).with_row_index("place")
    halted = _status(events_to_frame(events).select(_KEPT))
    if {LEVEL, QUOTE} & set(known["action"].tolist()) and np.isin(known["action"], _CHANGES).any():
        parts = [_folded(known), halted]
    else:
        parts = [_levels(frame), _quotes(frame), _orders(frame), halted]
    resting = pl.concat([part.select(_KEPT) for part in parts], how="vertical")
    rows = empty_events(resting.height + 1)
    for name in ("ts_event", "ts_recv", "sequence", "instrument_id", "clock_quality"):
        rows[name] = events[name][-1]
    rows["action"][0] = CLEAR
    for name in _KEPT:
        rows[name][1:] = resting[name].to_numpy()
    rows["flags"] = F_SNAPSHOT
    rows["flags"][-1] |= F_LAST
    return rows


def _levels(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the last whole size of each level that is there, best levels first, bids before asks."""
    last = frame.filter(pl.col("action") == LEVEL).group_by("side", "price_units").agg(pl.col("size_lots").last())
    named = last.filter(pl.col("size_lots") > 0).with_columns(
        pl.lit(LEVEL, pl.UInt8).alias("action"), pl.lit(0, pl.Int64).alias("order_id")
    )
    return named.sort("side", pl.col("price_units") * -pl.col("side").cast(pl.Int64), descending=[True, False])


def _folded(events: EventArray) -> pl.DataFrame:
    """Return the levels of the book that the events build."""
    book = empty_book(MAX_LEVELS)
    fold_best(book, events)
    sides = []
    for row, side in ((BID_SIDE, BID), (ASK_SIDE, ASK)):
        count = int(book.count[row])
        columns = {
            "price_units": book.price[row, :count][::-1].copy(),
            "size_lots": book.size[row, :count][::-1].copy(),
        }
        sides.append(pl.DataFrame(columns).with_columns(pl.lit(side, pl.Int8).alias("side")))
    return pl.concat(sides).with_columns(pl.lit(LEVEL, pl.UInt8).alias("action"), pl.lit(0, pl.Int64).alias("order_id"))


def _quotes(frame: pl.DataFrame) -> pl.DataFrame:
    last = frame.filter(pl.col("action") == QUOTE).group_by("side").agg(pl.exclude("side").last())
    return last.filter(pl.col("size_lots") > 0).sort("side", descending=True)


def _orders(frame: pl.DataFrame) -> pl.DataFrame:
    """Return what rests of each order, by arrival; rows without an id as one order a level."""
    changes = frame.filter(pl.col("action").is_in(_CHANGES))
    grown = pl.when(pl.col("action") == ADD).then(pl.col("size_lots")).otherwise(-pl.col("size_lots"))
    added = pl.col("action") == ADD
    named = (
        changes.filter(pl.col("order_id") != 0)
        .with_columns(grown.alias("change"))
        .group_by("order_id")
        .agg(
            pl.col("change").sum().alias("size_lots"),
            pl.col("place").filter(added).last().alias("place"),
            pl.col("side").filter(added).last(),
            pl.col("price_units").filter(added).last(),
        )
        .filter((pl.col("size_lots") > 0) & pl.col("place").is_not_null())
    )
    nameless = (
        changes.filter(pl.col("order_id") == 0)
        .with_columns(grown.alias("change"))
        .group_by("side", "price_units")
        .agg(pl.col("change").sum().alias("size_lots"), pl.col("place").first(), pl.lit(0, pl.Int64).alias("order_id"))
        .filter(pl.col("size_lots") > 0)
    )
    columns = ("place", "side", "price_units", "size_lots", "order_id")
    both = pl.concat([named.select(columns), nameless.select(columns)])
    return both.sort("place").with_columns(pl.lit(ADD, pl.UInt8).alias("action"))


def _status(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("action") == STATUS).tail(1).filter(pl.col("size_lots") == 0)


def compacted(state: EventArray, events: EventArray) -> EventArray:
    """Return the book after ``events`` that begin at ``state``; rows as :func:`book_rows`."""
    return book_rows(np.concatenate([state, events]) if len(state) else events)

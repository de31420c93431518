"""Price-level books kept beside a stream, so that whoever joins or was too slow can be given a book that is right."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numba import njit

from marketdata.book import BookState, empty_book, levels_apply
from marketdata.events import (
    ASK,
    BID,
    CLEAR,
    CLOCK_RECORDED,
    EVENT_DTYPE,
    EXECUTE,
    F_LAST,
    F_SNAPSHOT,
    HIDDEN,
    LEVEL,
    STATUS,
    TRADE,
    EventArray,
    empty_events,
)

DEPTH: Final = 4_096
"""Levels kept on each side of a book."""


@njit(cache=True)
def _apply(book: BookState, events: EventArray) -> None:
    prices, sizes, count, counters = book.price, book.size, book.count, book.counters
    for k in range(len(events)):
        row = events[k]
        levels_apply(prices, sizes, count, counters, row.action, row.side, row.price_units, row.size_lots)


class KeptBook:
    """One instrument's book and what its last row said.

    Attributes
    ----------
    state : BookState
    is_known : bool
        Whether a snapshot came in since the start or the last CLEAR.
    has_orders : bool
        Whether rows carried order ids: then a book of levels cannot stand for what was lost.
    sequence, ts_event : int
        Of the last row that changed the book.
    """

    __slots__ = ("clock_quality", "has_orders", "is_known", "sequence", "state", "ts_event")

    def __init__(self) -> None:
        self.state = empty_book(DEPTH)
        self.is_known = False
        self.has_orders = False
        self.sequence = 0
        self.ts_event = 0
        self.clock_quality = CLOCK_RECORDED

    def apply(self, events: EventArray) -> None:
        """Fold this instrument's rows, in order."""
        _apply(self.state, events)
        actions, flags = events["action"], events["flags"]
        of_book = np.flatnonzero((actions != TRADE) & (actions != HIDDEN) & (actions != STATUS))
        if not len(of_book):
            return
        last = events[of_book[-1]]
        self.sequence, self.ts_event = int(last["sequence"]), int(last["ts_event"])
        self.clock_quality = int(last["clock_quality"])
        self.has_orders = self.has_orders or bool(events["order_id"][of_book].any() and actions.min() <= EXECUTE)
        whole = np.flatnonzero((flags & (F_SNAPSHOT | F_LAST)) == (F_SNAPSHOT | F_LAST))
        lost = np.flatnonzero((actions == CLEAR) & (flags & F_SNAPSHOT == 0))
        if len(whole) or len(lost):
            self.is_known = (whole[-1] if len(whole) else -1) > (lost[-1] if len(lost) else -1)

    def levels(self, side: int) -> list[tuple[int, int]]:
        """Return (price units, lots) of a side (0 bids, 1 asks), the best first."""
        n = int(self.state.count[side])
        return list(
            zip(self.state.price[side, :n][::-1].tolist(), self.state.size[side, :n][::-1].tolist(), strict=True)
        )


class BookKeeper:
    """Books of all instruments of a stream."""

    def __init__(self) -> None:
        self.books: dict[int, KeptBook] = {}

    def apply(self, events: EventArray) -> None:
        """Fold rows of any instruments, in order."""
        if not len(events):
            return
        ids = events["instrument_id"]
        first = int(ids[0])
        if np.all(ids == first):
            self._book(first).apply(events)
            return
        for instrument in np.unique(ids).tolist():
            self._book(instrument).apply(events[ids == instrument])

    def snapshot(self, instrument: int, ts_recv: int) -> EventArray:
        """Return rows that make an instrument's book anew, as received at ``ts_recv``.

        CLEAR and LEVEL rows, all with ``F_SNAPSHOT``, ``F_LAST`` on the last. Where the book is not known, or is one of
        orders, it is one CLEAR that says so: the book is unknown.
        """
        kept = self.books.get(instrument)
        if kept is None or not kept.is_known or kept.has_orders:
            rows = empty_events(1)
            rows["flags"] = F_LAST
        else:
            rows = snapshot_rows(kept.levels(0), kept.levels(1))
        rows["instrument_id"] = instrument
        rows["ts_recv"] = ts_recv
        if kept is not None:
            rows["sequence"], rows["ts_event"] = kept.sequence, kept.ts_event
            rows["clock_quality"] = kept.clock_quality
        rows["action"][0] = CLEAR
        return rows

    def snapshots(self, instruments: Iterable[int], ts_recv: int) -> EventArray:
        """Return the snapshots of several instruments, one after the other."""
        parts = [self.snapshot(instrument, ts_recv) for instrument in instruments]
        return np.concatenate(parts) if parts else empty_events(0)

    def _book(self, instrument: int) -> KeptBook:
        kept = self.books.get(instrument)
        if kept is None:
            kept = self.books[instrument] = KeptBook()
        return kept


def snapshot_rows(bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> EventArray:
    """Return a snapshot group of (price units, lots) levels; times, instrument and sequence are left at zero."""
    rows = np.zeros(1 + len(bids) + len(asks), EVENT_DTYPE)
    rows["flags"] = F_SNAPSHOT
    rows["flags"][-1] |= F_LAST
    rows["action"] = LEVEL
    rows["action"][0] = CLEAR
    for first, side, levels in ((1, BID, bids), (1 + len(bids), ASK, asks)):
        part = rows[first : first + len(levels)]
        part["side"] = side
        if levels:
            part["price_units"], part["size_lots"] = np.array(levels, np.int64).T
    return rows

"""Marks the call before a market opens, for sources of single orders that tell no trading status.

Before its opening auction a market takes orders and does not match them, so that its book may be locked or crossed; once it
matches, it never is. A book that ends a group crossed before anything has traded is therefore in its call: a STATUS row (0: not
trading) ends that group, and one of 1 the group with which it is crossed no more. From the first trade on, once the book is
uncrossed, nothing is marked: a crossed book is a fault then, and the audit finds it.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from marketdata.books import LevelBook
from marketdata.events import EXECUTE, F_LAST, F_SNAPSHOT, NONE, STATUS, TRADE, EventArray

Mask = npt.NDArray[np.bool_]


@dataclass
class OpeningCall:
    """One instrument's book until it is open, and whether it is in its call."""

    book: LevelBook = field(default_factory=LevelBook)
    is_call: bool = False
    has_traded: bool = False
    is_open: bool = False

    def changes(self, events: EventArray) -> tuple[npt.NDArray[np.intp], Mask]:
        """Return the last rows of the groups behind which the phase is another, and whether it is the call then.

        ``events`` are whole groups of this instrument, after all earlier ones.
        """
        ends = np.flatnonzero(events["flags"] & F_LAST)
        if self.is_open or not len(ends):
            return ends[:0], np.zeros(0, np.bool_)
        best = self.book.apply(events)[ends]
        crossed = (best[:, 1] > 0) & (best[:, 3] > 0) & (best[:, 0] >= best[:, 2])
        trades = np.cumsum(np.isin(events["action"], (EXECUTE, TRADE)))[ends] > 0
        traded = trades | self.has_traded
        opened = traded & ~crossed
        stop = int(np.argmax(opened)) + 1 if opened.any() else len(ends)
        before = np.append(self.is_call, crossed[: stop - 1])
        changed = crossed[:stop] != before
        self.is_call, self.has_traded, self.is_open = bool(crossed[stop - 1]), bool(traded[-1]), bool(opened.any())
        return ends[:stop][changed], crossed[:stop][changed]


def with_calls(events: EventArray, calls: dict[int, OpeningCall]) -> EventArray:
    """Return events of whole groups with a STATUS row wherever an instrument enters or leaves its opening call.

    Parameters
    ----------
    events : event array
        Of any instruments, in order; left as they are.
    calls : dict of int to OpeningCall
        By instrument id, after all earlier events; changed in place.
    """
    places, phases = [], []
    for number in np.unique(events["instrument_id"]).tolist():
        call = calls.setdefault(number, OpeningCall())
        own = np.flatnonzero(events["instrument_id"] == number)
        rows, is_call = call.changes(events[own])
        places.append(own[rows])
        phases.append(is_call)
    at = np.concatenate([*places, np.zeros(0, np.intp)])
    if not len(at):
        return events
    is_call = np.concatenate(phases)
    rows = events[at]
    rows["action"], rows["side"], rows["price_units"], rows["order_id"] = STATUS, NONE, 0, 0
    rows["size_lots"] = ~is_call
    rows["flags"] &= F_LAST | F_SNAPSHOT
    marked = events.copy()
    marked["flags"][at] &= ~np.uint8(F_LAST)
    order = np.argsort(at, kind="stable")
    return np.insert(marked, at[order] + 1, rows[order])

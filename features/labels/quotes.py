"""The quotes that labels look at: one row an event group, with what breaks a window."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marketdata.book import empty_book, fold_best
from marketdata.events import CLEAR, F_CROSSED, F_LAST, STATUS, EventArray

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class QuotePath:
    """The quotes of one instrument at the end of each of G event groups.

    Attributes
    ----------
    ts_recv, ts_event : int64 arrays, shape (G,)
        Times of the group's last row; ``ts_event`` as its running maximum.
    best : int64 array, shape (G, 4)
        Bid price units, bid lots, ask price units, ask lots; 0 lots where a side is empty.
    mid2 : int64 array, shape (G,)
        Doubled mid of the last group that was two-sided and not crossed; 0 where there is none or a side is empty.
    breaks : int64 array, shape (G,)
        CLEAR rows, halted groups and silences longer than the allowed gap so far: a window in which it changes is
        broken.
    """

    ts_recv: Int64
    ts_event: Int64
    best: Int64
    mid2: Int64
    breaks: Int64

    def at(self, times: Int64) -> npt.NDArray[np.intp]:
        """Return the last group received at or before each time; -1 where there is none."""
        return np.searchsorted(self.ts_recv, times, side="right") - 1


def quote_path(events: EventArray, max_gap_ns: int) -> QuotePath:
    """Return the quotes at the end of each event group; a silence beyond ``max_gap_ns`` is a break."""
    best = fold_best(empty_book(), events)
    last = np.flatnonzero(events["flags"] & F_LAST)
    halted = _halted(events)[last]
    clears = np.cumsum(events["action"] == CLEAR)[last]
    best = best[last]
    ts_recv = np.ascontiguousarray(events["ts_recv"][last])
    has_both = (best[:, 1] > 0) & (best[:, 3] > 0)
    is_good = has_both & (best[:, 0] <= best[:, 2]) & (events["flags"][last] & F_CROSSED == 0)
    carried = np.maximum.accumulate(np.where(is_good, np.arange(len(last)), -1))
    mid2 = np.where(has_both & (carried >= 0), (best[:, 0] + best[:, 2])[carried], 0)
    silent = np.diff(ts_recv, prepend=ts_recv[:1]) > max_gap_ns
    breaks = clears + np.cumsum(halted) + np.cumsum(silent)
    return QuotePath(ts_recv, np.maximum.accumulate(events["ts_event"][last]), best, mid2, breaks)


def _halted(events: EventArray) -> npt.NDArray[np.bool_]:
    """Return whether trading is halted after each row."""
    changes = events["action"] == STATUS
    latest = np.maximum.accumulate(np.where(changes, np.arange(len(events)), -1))
    return (latest >= 0) & (events["size_lots"][latest] == 0)

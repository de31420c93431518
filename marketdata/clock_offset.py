"""How far our clock was off: the lower envelope of receive minus event time, and events corrected by it.

A message cannot arrive before it happened. What receive minus event time says is (true latency) + (our clock's error);
the fastest messages come near the least latency there can be, the *declared* base latency, so the lower envelope is
base + error. Clocks run at slightly different rates: the envelope is a line, the edge of the lower convex hull of all
points that lies below their mean time, which is the line below every point that is nearest to them in sum (Moon,
Skelly, Towsley 1999). In the Binance recordings of 2024 it falls by 0.3 ms a minute (5 parts in a million): held
constant, a day's last hour would be wrong by 0.4 s.

Only the sum of base latency and error can be seen. A base latency declared too small by x leaves every corrected time x
too early.

References ---------- Moon, Skelly, Towsley (1999). Estimation and removal of clock skew from network delay
measurements. IEEE INFOCOM.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.clock import NS_PER_S
from marketdata.events import CLOCK_OFFSET_CORRECTED, F_SNAPSHOT, F_TS_CARRIED, EventArray

Ints = npt.NDArray[np.int64]

BASE_LATENCY_NS: Final = 100_000
"""Declared by default: a recorder in the venue's own data centre."""

MIN_ROWS: Final = 1_000
MIN_SPAN_NS: Final = 60 * NS_PER_S
"""From so many rows over so long a time on, the drift is estimated; before, the offset is a constant."""

MAX_DRIFT_PPM: Final = 200.0
"""No quartz is so bad: an envelope that is steeper is one of latency, and the offset is a constant."""


class ClockOffsetError(ValueError):
    """There are no events with an exchange time of their own, so nothing can be said about the clock."""


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """Our clock's error: a line in receive time.

    Attributes
    ----------
    offset_ns : int
        Our clock minus the exchange's at ``reference_ns``; negative where ours is behind.
    drift_ppm : float
        By how many millionths our clock runs faster; 0 where it was not estimated.
    reference_ns : int
        The middle of the receive times, by our clock.
    base_latency_ns : int
        Least latency, as declared.
    rows : int
        Events that it was estimated from.
    """

    offset_ns: int
    drift_ppm: float
    reference_ns: int
    base_latency_ns: int
    rows: int

    def at(self, ts_recv: Ints) -> Ints:
        """Return the offset at receive times by our clock, int64 ns."""
        elapsed = (np.asarray(ts_recv, np.int64) - self.reference_ns).astype(np.float64)
        return self.offset_ns + np.rint(elapsed * (self.drift_ppm * 1e-6)).astype(np.int64)


@njit(cache=True)
def _edge(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], middle: float) -> tuple[int, int]:
    """Return the ends of the lower convex hull's edge below ``middle``; ``x`` ascends."""
    hull = np.empty(len(x), np.int64)
    n = 0
    for k in range(len(x)):
        while n >= 1 and x[hull[n - 1]] == x[k] and y[hull[n - 1]] >= y[k]:
            n -= 1
        if n >= 1 and x[hull[n - 1]] == x[k]:
            continue
        while n >= 2:
            a, b = hull[n - 2], hull[n - 1]
            if (x[b] - x[a]) * (y[k] - y[a]) - (y[b] - y[a]) * (x[k] - x[a]) > 0:
                break
            n -= 1
        hull[n] = k
        n += 1
    for k in range(1, n):
        if x[hull[k]] >= middle:
            return hull[k - 1], hull[k]
    return hull[n - 1], hull[n - 1]


def estimate_offset(ts_event: Ints, ts_recv: Ints, base_latency_ns: int = BASE_LATENCY_NS) -> ClockOffset:
    """Return our clock's error over a capture.

    Parameters
    ----------
    ts_event : int64 array, shape (n,)
        Exchange times of their own, ns (none carried over from another message).
    ts_recv : int64 array, shape (n,)
        Receive times as read, ns, in any order.
    base_latency_ns : int
        Least time from the exchange's stamp to our receipt, as declared for the venue and the place.

    Raises
    ------
    ClockOffsetError
        If there are no rows.
    """
    if not len(ts_event):
        raise ClockOffsetError("no event has an exchange time of its own: the clock's offset cannot be estimated")
    order = np.argsort(ts_recv, kind="stable")
    recv, delay = ts_recv[order], (ts_recv - ts_event)[order]
    first, last = int(recv[0]), int(recv[-1])
    reference = first + (last - first) // 2
    base = int(base_latency_ns)
    constant = ClockOffset(int(delay.min()) - base, 0.0, reference, base, len(recv))
    if len(recv) < MIN_ROWS or last - first < MIN_SPAN_NS:
        return constant
    x, y = (recv - reference).astype(np.float64), delay.astype(np.float64)
    left, right = _edge(x, y, float(x.mean()))
    if left == right:
        return constant
    slope = (y[right] - y[left]) / (x[right] - x[left])
    if abs(slope) * 1e6 > MAX_DRIFT_PPM:
        return constant
    line = ClockOffset(round(y[left] - slope * x[left]) - base, slope * 1e6, reference, base, len(recv))
    beyond = int((delay - line.at(recv)).min()) - base  # rounding of the line, a nanosecond or so
    return ClockOffset(line.offset_ns + min(beyond, 0), line.drift_ppm, reference, base, len(recv))


def estimate_from_events(events: EventArray, base_latency_ns: int = BASE_LATENCY_NS) -> ClockOffset:
    """Return the offset from those events that carry an exchange time of their own and are no snapshot's.

    Raises
    ------
    ClockOffsetError
        If there are none.
    """
    own = (events["flags"] & (F_TS_CARRIED | F_SNAPSHOT)) == 0
    return estimate_offset(events["ts_event"][own], events["ts_recv"][own], base_latency_ns)


def correct(events: EventArray, offset: ClockOffset) -> EventArray:
    """Return the events with receive times by the exchange's clock.

    ``ts_recv`` becomes receive time minus offset, at least ``ts_event``, and never runs backwards (a running maximum), so the
    order of rows stays; ``clock_quality`` becomes offset-corrected. The events given are not changed: raw times and the offset
    go to the manifest.
    """
    out = events.copy()
    corrected = np.maximum(events["ts_recv"] - offset.at(events["ts_recv"]), events["ts_event"])
    out["ts_recv"] = np.maximum.accumulate(corrected) if len(out) else corrected
    out["clock_quality"] = CLOCK_OFFSET_CORRECTED
    return out

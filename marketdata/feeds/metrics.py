"""What a feed counts while it runs: plain numbers, written by one thread and read by any."""

import math
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.clock import NS_PER_S
from marketdata.events import F_LAST, F_SNAPSHOT, F_TS_CARRIED, EventArray

PER_OCTAVE: Final = 8
"""Buckets to a doubling: a quantile is at most an eighth too large."""


class LagHistogram:
    """Counts of ``ts_recv - ts_event`` in logarithmic buckets.

    A lag below 1 ns counts as the lowest bucket and in :attr:`negative`: many of them mean that our clock is behind the
    venue's, and then no quantile here says anything (recordings get an estimated offset at ingest).
    """

    def __init__(self) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros(65 * PER_OCTAVE, np.int64)
        self.negative = 0

    def add(self, lag_ns: int) -> None:
        """Count one lag, ns."""
        self.negative += lag_ns < 0
        self.counts[_bucket(lag_ns)] += 1

    def quantile_ns(self, q: float) -> float:
        """Return the upper end of the bucket that holds quantile ``q``; NaN before the first lag."""
        total = int(self.counts.sum())
        if not total:
            return float("nan")
        bucket = int(np.searchsorted(np.cumsum(self.counts), max(q * total, 1.0)))
        exponent, part = divmod(bucket, PER_OCTAVE)
        return float(2.0**exponent * (0.5 + (part + 1) / (2 * PER_OCTAVE)))


@njit(cache=True)
def _count_lags(counts: npt.NDArray[np.int64], events: EventArray) -> int:
    """Count the lag of each group's last row that has an exchange time of its own; return how many are negative."""
    negative = 0
    for k in range(len(events)):
        row = events[k]
        if row.flags & (F_LAST | F_SNAPSHOT | F_TS_CARRIED) != F_LAST:
            continue
        lag = row.ts_recv - row.ts_event
        if lag < 0:
            negative += 1
        counts[_bucket(lag)] += 1
    return negative


@njit(cache=True)
def _bucket(lag_ns: int) -> int:
    mantissa, exponent = math.frexp(float(max(lag_ns, 1)))
    return exponent * PER_OCTAVE + int((mantissa - 0.5) * 2 * PER_OCTAVE)


@dataclass
class FeedMetrics:
    """Counters of one feed since it was made.

    Attributes
    ----------
    frames, bytes, events : int
        Received from the venue (or read from a stream), and event rows given out.
    gaps : int
        Holes found in a venue's numbering.
    resyncs : int
        Books that became known again after a gap.
    snapshots, snapshot_failures : int
        Snapshots that came in, and requests that failed (each is repeated).
    connects, disconnects, reconnects : int
        Connections opened, lost, and opened again after a loss.
    rejected : int
        Frames that could not be read; each was kept where the feed has a quarantine.
    stale : int
        Times that a connection fell silent.
    dropped_rows, overruns : int
        Rows lost because the consumer was too slow, and how often that happened.
    held_rows : int
        Rows that became usable only after their receipt (increments that waited for their snapshot); their ``ts_recv``
        is the moment they became usable, so that time never passes a watermark.
    ignored : Counter
        Frames that rightly carry no event, by kind.
    last_recv_ns : int
        Receive time of the last frame, 0 before the first.
    watermark_ns : int
        Last watermark given out.
    lag : LagHistogram
        Of each event group that carries an exchange time of its own.
    """

    frames: int = 0
    bytes: int = 0
    events: int = 0
    gaps: int = 0
    resyncs: int = 0
    snapshots: int = 0
    snapshot_failures: int = 0
    connects: int = 0
    disconnects: int = 0
    reconnects: int = 0
    rejected: int = 0
    stale: int = 0
    dropped_rows: int = 0
    overruns: int = 0
    held_rows: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    last_recv_ns: int = 0
    watermark_ns: int = 0
    lag: LagHistogram = field(default_factory=LagHistogram)

    def saw_frames(self, count: int, size: int, last_recv_ns: int) -> None:
        """Count frames of ``size`` bytes together."""
        self.frames += count
        self.bytes += size
        self.last_recv_ns = last_recv_ns

    def saw_events(self, events: EventArray, watermark_ns: int) -> None:
        """Count event rows given out, and their lags."""
        self.events += len(events)
        self.watermark_ns = watermark_ns
        if len(events):
            self.lag.negative += _count_lags(self.lag.counts, events)

    def message_age_s(self, now_ns: int) -> float:
        """Return how long ago the last frame came; infinite before the first."""
        return (now_ns - self.last_recv_ns) / NS_PER_S if self.last_recv_ns else float("inf")

    def as_dict(self, now_ns: int) -> dict[str, Any]:
        """Return all counters as plain data, for JSON and for exporters; a quantile without lags is None."""
        plain: dict[str, Any] = {
            item.name: getattr(self, item.name) for item in fields(self) if item.name not in {"lag", "ignored"}
        }
        plain["ignored"] = dict(self.ignored)
        plain["message_age_s"] = self.message_age_s(now_ns) if self.last_recv_ns else None
        plain["negative_lags"] = self.lag.negative
        for q in (0.5, 0.9, 0.99, 0.999):
            value = self.lag.quantile_ns(q)
            plain[f"lag_p{q * 100:g}_us"] = None if np.isnan(value) else value / 1e3
        return plain

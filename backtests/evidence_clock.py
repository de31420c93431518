"""The evidence clock: one minute grid over all sessions, on which every model's profit and loss are set side by side."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.dataset import Dataset

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Clock:
    """The evidence clock: equal intervals from each session's first row to its close, sessions one after the other.

    Attributes
    ----------
    ts_ns : int64 array, shape (T,)
        End of each interval.
    day : int32 array, shape (T,)
        Index into ``days``.
    days : tuple of str
        ISO dates of the sessions that have rows.
    row_interval : int64 array, shape (n,)
        Interval of each dataset row, by its ``ts_recv``.
    first, start : int64 arrays, one entry a session of the dataset
        First interval of the session, and when it begins; -1 for sessions without rows.
    length : int64 array
        Intervals of the session.
    period_ns : int
    """

    ts_ns: Int64
    day: npt.NDArray[np.int32]
    days: tuple[str, ...]
    row_interval: Int64
    first: Int64
    start: Int64
    length: Int64
    period_ns: int


def evidence_clock(dataset: Dataset, period_ns: int) -> Clock:
    """Return the clock over the dataset's rows."""
    sessions = len(dataset.sessions)
    first, start, length = (np.full(sessions, -1, np.int64) for _ in range(3))
    ends: list[Int64] = []
    day: list[npt.NDArray[np.int32]] = []
    days: list[str] = []
    interval = np.zeros(len(dataset), np.int64)
    done = 0
    for s in np.unique(dataset.session).tolist():
        session = dataset.sessions[s]
        rows = np.flatnonzero(dataset.session == s)
        begin = session.open_ns + (int(dataset.ts_recv[rows[0]]) - session.open_ns) // period_ns * period_ns
        count = max(-(-(session.close_ns - begin) // period_ns), 1)
        first[s], start[s], length[s] = done, begin, count
        ends.append(begin + period_ns * np.arange(1, count + 1))
        day.append(np.full(count, len(days), np.int32))
        days.append(session.date.isoformat())
        interval[rows] = done + np.clip((dataset.ts_recv[rows] - begin) // period_ns, 0, count - 1)
        done += count
    ts = np.concatenate(ends) if ends else np.zeros(0, np.int64)
    days_of = np.concatenate(day) if day else np.zeros(0, np.int32)
    return Clock(ts, days_of, tuple(days), interval, first, start, length, period_ns)

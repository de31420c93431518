"""The forms of the label: each gives a value and the moment it could be known, from the quotes after the row.

All share one rule for what is missing: a window that a CLEAR, a halt or a silence breaks, that ends at or beyond the
session's close, whose ends have no two-sided book, or after which nothing was received, has no label.

References
----------
Zhang, Zohren, Roberts (2019). DeepLOB: Deep convolutional neural networks for limit order books. IEEE TSP 67(11).
López de Prado (2018). Advances in Financial Machine Learning, ch. 3 (triple barrier). Wiley.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from features.dataset import NEVER_KNOWN
from features.labels.quotes import Float64, Int64, QuotePath
from features.labels.spec import VOLATILITY_CELLS, LabelSpec
from marketdata.clock import Session

Bool = npt.NDArray[np.bool_]


class Outcome(NamedTuple):
    """What happened after each of n rows: float64 value in price units (NaN: no label) and int64 ``ts_known``."""

    value: Float64
    ts_known: Int64


class Rows(NamedTuple):
    """When each of n rows was received, and its threshold: half the spread plus one taker fee, in price units."""

    ts_recv: Int64
    threshold: Float64


def outcome(spec: LabelSpec, path: QuotePath, rows: Rows, session: Session) -> Outcome:
    """Return what the form says of each row."""
    arrive = rows.ts_recv + spec.to_venue_ns
    if spec.form == "executable":
        return fixed_time(path, rows.ts_recv, arrive, arrive + spec.horizon_ns, spec.max_gap_ns, session)
    if spec.form == "anchored":
        return fixed_time(path, rows.ts_recv, rows.ts_recv, rows.ts_recv + spec.horizon_ns, spec.max_gap_ns, session)
    if spec.form == "smoothed":
        return smoothed(path, rows.ts_recv, spec, session)
    if spec.form == "events":
        return fixed_events(path, rows.ts_recv, arrive, spec, session)
    if spec.form == "next_move":
        return next_move(path, rows.ts_recv, arrive, spec, session)
    if spec.form == "triple_barrier":
        return triple_barrier(path, rows, arrive, spec, session)
    return volatility(path, rows.ts_recv, arrive, spec, session)


def fixed_time(path: QuotePath, decided: Int64, begin: Int64, end: Int64, max_gap_ns: int, session: Session) -> Outcome:
    """Return the mid at ``end`` minus the mid at ``begin``, each the last quote received at or before that time."""
    at_begin, at_end = path.at(begin), path.at(end)
    ok = _whole(path, decided, at_end, end, max_gap_ns, session) & (path.mid2[at_begin] > 0) & (path.mid2[at_end] > 0)
    move = np.where(ok, (path.mid2[at_end] - path.mid2[at_begin]) / 2.0, np.nan)
    return Outcome(move, _known_after(path, at_end, ok))


def fixed_events(path: QuotePath, decided: Int64, begin: Int64, spec: LabelSpec, session: Session) -> Outcome:
    """Return the mid ``horizon_events`` groups after ``begin`` minus the mid at ``begin``; known with that group."""
    at_begin = path.at(begin)
    at_end = at_begin + spec.horizon_events
    ok = _reached(path, decided, at_end, session) & (path.mid2[at_begin] > 0)
    last = np.minimum(at_end, len(path.ts_recv) - 1)
    ok &= path.mid2[last] > 0
    move = np.where(ok, (path.mid2[last] - path.mid2[at_begin]) / 2.0, np.nan)
    return Outcome(move, np.where(ok, path.ts_recv[last], NEVER_KNOWN))


def smoothed(path: QuotePath, decided: Int64, spec: LabelSpec, session: Session) -> Outcome:
    """Return the mean mid of the groups in ``(t, t + h]`` minus that of the groups in ``(t - h, t]``.

    Part of the move has happened when the row is taken, so a forecast that only repeats the last label does well on it.
    """
    move, ts_known = fixed_time(path, decided, decided, decided + spec.horizon_ns, spec.max_gap_ns, session)
    sums = np.concatenate([[0], np.cumsum(path.mid2)])
    before, here, after = (path.at(decided + shift) + 1 for shift in (-spec.horizon_ns, 0, spec.horizon_ns))
    hollow = np.concatenate([[0], np.cumsum(path.mid2 == 0)])
    with np.errstate(invalid="ignore", divide="ignore"):
        ahead = (sums[after] - sums[here]) / (2.0 * (after - here))
        behind = (sums[here] - sums[before]) / (2.0 * (here - before))
    missing = np.isnan(move) | (after == here) | (before == here) | (hollow[after] != hollow[before])
    missing |= path.breaks[np.maximum(before, 0).clip(max=len(path.breaks) - 1)] != path.breaks[np.maximum(here - 1, 0)]
    return Outcome(np.where(missing, np.nan, ahead - behind), np.where(missing, NEVER_KNOWN, ts_known))


def next_move(path: QuotePath, decided: Int64, begin: Int64, spec: LabelSpec, session: Session) -> Outcome:
    """Return the first change of the mid after ``begin``; without one within the horizon there is no label."""
    valid = np.flatnonzero(path.mid2 > 0)
    mids = path.mid2[valid]
    changes = valid[1:][mids[1:] != mids[:-1]]
    at_begin = path.at(begin)
    nth = np.searchsorted(changes, at_begin, side="right")
    there = nth < len(changes)
    at_end = np.where(there, changes[np.minimum(nth, len(changes) - 1)] if len(changes) else 0, len(path.ts_recv))
    ok = there & _reached(path, decided, at_end, session) & (path.mid2[at_begin] > 0)
    last = np.minimum(at_end, len(path.ts_recv) - 1)
    ok &= path.ts_recv[last] - begin <= spec.horizon_ns
    move = np.where(ok, (path.mid2[last] - path.mid2[at_begin]) / 2.0, np.nan)
    return Outcome(move, np.where(ok, path.ts_recv[last], NEVER_KNOWN))


def triple_barrier(path: QuotePath, rows: Rows, begin: Int64, spec: LabelSpec, session: Session) -> Outcome:
    """Return the move at the first group beyond a barrier, known with it; else the move at the end of the horizon."""
    held, ts_known = fixed_time(path, rows.ts_recv, begin, begin + spec.horizon_ns, spec.max_gap_ns, session)
    at_begin = path.at(begin)
    touched = np.full(len(begin), -1, np.int64)
    barrier = spec.barrier_thresholds * rows.threshold
    _first_touch(path.ts_recv, path.mid2, at_begin, begin + spec.horizon_ns, barrier, touched)
    hit = np.maximum(touched, 0)
    ok = (touched >= 0) & _reached(path, rows.ts_recv, np.where(touched >= 0, touched, len(path.ts_recv)), session)
    move = np.where(ok, (path.mid2[hit] - path.mid2[at_begin]) / 2.0, np.where(touched >= 0, np.nan, held))
    known = np.where(ok, path.ts_recv[hit], np.where(touched >= 0, NEVER_KNOWN, ts_known))
    return Outcome(move, known)


@njit(cache=True)
def _first_touch(ts_recv: Int64, mid2: Int64, at_begin: Int64, end: Int64, barrier: Float64, touched: Int64) -> None:
    """Write the first group after each beginning, received by its end, whose mid lies beyond the barrier."""
    for n in range(len(at_begin)):
        here = at_begin[n]
        if here < 0 or mid2[here] == 0:
            continue
        g = here + 1
        while g < len(ts_recv) and ts_recv[g] <= end[n]:
            if mid2[g] > 0 and abs(mid2[g] - mid2[here]) * 0.5 > barrier[n]:
                touched[n] = g
                break
            g += 1


def volatility(path: QuotePath, decided: Int64, begin: Int64, spec: LabelSpec, session: Session) -> Outcome:
    """Return the root of the summed squared moves of the mid over equal parts of ``(begin, begin + h]``."""
    end = begin + spec.horizon_ns
    at_end = path.at(end)
    ok = _whole(path, decided, at_end, end, spec.max_gap_ns, session)
    total = np.zeros(len(begin))
    before = path.mid2[path.at(begin)]
    ok &= before > 0
    for part in range(1, VOLATILITY_CELLS + 1):
        mid2 = path.mid2[path.at(begin + spec.horizon_ns * part // VOLATILITY_CELLS)]
        ok &= mid2 > 0
        total += ((mid2 - before) / 2.0) ** 2
        before = mid2
    return Outcome(np.where(ok, np.sqrt(total), np.nan), _known_after(path, at_end, ok))


def _whole(
    path: QuotePath, decided: Int64, at_end: npt.NDArray[np.intp], end: Int64, max_gap_ns: int, session: Session
) -> Bool:
    """Return whether a window that ends at a time is unbroken, inside the session, and followed by some group."""
    at_decision = path.at(decided)
    ok = (at_decision >= 0) & (end < session.close_ns) & (at_end + 1 < len(path.ts_recv))
    ok &= path.breaks[at_decision] == path.breaks[at_end]
    return np.asarray(ok & (end - path.ts_recv[at_end] <= max_gap_ns), np.bool_)


def _reached(path: QuotePath, decided: Int64, at_end: npt.NDArray[np.intp] | Int64, session: Session) -> Bool:
    """Return whether a window that ends with a group is unbroken and inside the session."""
    at_decision = path.at(decided)
    last = np.minimum(at_end, len(path.ts_recv) - 1)
    ok = (at_decision >= 0) & (at_end < len(path.ts_recv)) & (path.ts_recv[last] < session.close_ns)
    return np.asarray(ok & (path.breaks[at_decision] == path.breaks[last]), np.bool_)


def _known_after(path: QuotePath, at_end: npt.NDArray[np.intp], ok: Bool) -> Int64:
    """Return when the first group after each window was received, NEVER_KNOWN where the window has no label."""
    after = path.ts_recv[np.minimum(at_end + 1, len(path.ts_recv) - 1)]
    return np.where(ok, after, NEVER_KNOWN).astype(np.int64)

"""Labels: what the mid did after a decision could have reached the venue. Offline only: they look ahead.

The default label is executable. It begins where an order decided on the row would arrive, ends a horizon later, and
counts as a move only beyond half the spread at the decision plus the taker fee. The classic forms are for comparison
with the literature.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.dataset import LABEL_MISSING, NEVER_KNOWN
from features.rows import FeatureRows
from marketdata.book import empty_book, fold_best
from marketdata.clock import Session
from marketdata.events import CLEAR, F_CROSSED, F_LAST, STATUS, EventArray
from marketdata.instruments import Instrument
from marketdata.settings import LabelSettings, LatencySettings

LABEL_SCHEMA: Final = {
    "ts_recv": pl.Int64,
    "y": pl.Int8,
    "move_units": pl.Float64,
    "threshold_units": pl.Float64,
    "ts_known": pl.Int64,
    "arrive_ns": pl.Int64,
    "entry_bid_units": pl.Int64,
    "entry_ask_units": pl.Int64,
    "entry_bid_lots": pl.Int64,
    "entry_ask_lots": pl.Int64,
}
"""Columns of a label partition, one row a feature row, in the same order."""

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


def executable_labels(
    rows: FeatureRows,
    events: EventArray,
    instrument: Instrument,
    label: LabelSettings,
    latency: LatencySettings,
    session: Session,
) -> pl.DataFrame:
    """Return the executable label of each feature row.

    The move is the mid at ``ts_recv + latency + horizon`` minus the mid at ``ts_recv + latency``, each the last quote
    received at or before that time. It is up or down beyond half the spread at the decision plus one taker fee on the
    mid, else flat.

    Parameters
    ----------
    rows : FeatureRows
        Decision rows of the instrument.
    events : event array
        The session's events of the instrument; further ones after it do no harm.
    session : Session
        A window that does not end inside it has no label. Where markets never close, give a longer one with its events.

    Returns
    -------
    pl.DataFrame
        Columns of :data:`LABEL_SCHEMA`. The label is missing (``LABEL_MISSING``, NaN, ``NEVER_KNOWN``) across a gap,
        halt or CLEAR, beyond the session, on a one-sided book, and where no event after the window has been received.
        The entry quotes are the venue's own at the exchange time ``arrive_ns``, 0 lots where there were none. An
        instrument that is not traded has no labels.
    """
    ts_recv = rows.key("ts_recv")
    arrive = ts_recv + latency.to_venue_ns
    bid, ask = rows.key("bid_units"), rows.key("ask_units")
    threshold = (ask - bid) / 2.0 + (ask + bid) / 2.0 * instrument.fees.taker_ppm / 1e6
    if not instrument.is_traded or len(events) == 0:
        move, ts_known = np.full(len(ts_recv), np.nan), np.full(len(ts_recv), NEVER_KNOWN)
        entry = np.zeros((len(ts_recv), 4), np.int64)
    else:
        path = quote_path(events, label.max_gap_ns)
        move, ts_known = _moves(path, ts_recv, arrive, arrive + label.horizon_ns, label.max_gap_ns, session)
        slot = np.searchsorted(path.ts_event, arrive, side="right") - 1
        entry = np.where((slot >= 0)[:, None], path.best[slot], 0)
    return _frame(ts_recv, move, threshold, ts_known, arrive, entry)


def _moves(
    path: QuotePath, decided: Int64, begin: Int64, end: Int64, max_gap_ns: int, session: Session
) -> tuple[Float64, Int64]:
    """Return the mid move over each window and when it was known; NaN and NEVER_KNOWN where there is none."""
    at_decision, at_begin, at_end = path.at(decided), path.at(begin), path.at(end)
    known_from = at_end + 1
    ok = (at_decision >= 0) & (end < session.close_ns) & (known_from < len(path.ts_recv))
    ok &= path.breaks[at_decision] == path.breaks[at_end]
    ok &= end - path.ts_recv[at_end] <= max_gap_ns
    ok &= (path.mid2[at_begin] > 0) & (path.mid2[at_end] > 0)
    move = np.where(ok, (path.mid2[at_end] - path.mid2[at_begin]) / 2.0, np.nan)
    ts_known = np.where(ok, path.ts_recv[np.minimum(known_from, len(path.ts_recv) - 1)], NEVER_KNOWN)
    return move, ts_known


def _classes(move: Float64, threshold: Float64) -> npt.NDArray[np.int8]:
    """Return -1, 0 or 1 by the threshold, LABEL_MISSING where the move is NaN."""
    beyond = np.where(np.abs(move) > threshold, np.sign(move), 0.0)
    return np.where(np.isnan(move), LABEL_MISSING, np.nan_to_num(beyond)).astype(np.int8)


def _frame(
    ts_recv: Int64, move: Float64, threshold: Float64, ts_known: Int64, arrive: Int64, entry: Int64
) -> pl.DataFrame:
    values = {
        "ts_recv": ts_recv.copy(),
        "y": _classes(move, threshold),
        "move_units": move,
        "threshold_units": threshold,
        "ts_known": ts_known,
        "arrive_ns": arrive,
        "entry_bid_units": entry[:, 0].copy(),
        "entry_ask_units": entry[:, 2].copy(),
        "entry_bid_lots": entry[:, 1].copy(),
        "entry_ask_lots": entry[:, 3].copy(),
    }
    return pl.DataFrame(values, schema=LABEL_SCHEMA)


def anchored_labels(
    rows: FeatureRows, events: EventArray, label: LabelSettings, session: Session, threshold_units: Float64
) -> pl.DataFrame:
    """Return the classic label anchored at the row: the mid a horizon later minus the mid at the row, no latency.

    For comparison with the literature only: nobody can trade it.

    Returns
    -------
    pl.DataFrame
        ``ts_recv``, ``y``, ``move_units``, ``ts_known``; missing as in :func:`executable_labels`.
    """
    ts_recv = rows.key("ts_recv")
    path = quote_path(events, label.max_gap_ns)
    move, ts_known = _moves(path, ts_recv, ts_recv, ts_recv + label.horizon_ns, label.max_gap_ns, session)
    return pl.DataFrame(
        {"ts_recv": ts_recv.copy(), "y": _classes(move, threshold_units), "move_units": move, "ts_known": ts_known}
    )


def smoothed_labels(
    rows: FeatureRows, events: EventArray, label: LabelSettings, session: Session, threshold_units: Float64
) -> pl.DataFrame:
    """Return the smoothed label of DeepLOB on the event clock: mean mid after the row minus mean mid before it.

    Both means run over the event groups of one horizon, ``(t, t + h]`` and ``(t - h, t]``. Part of the move has
    happened when the row is taken, so a forecast that only repeats the last label does well on it: for comparison only.

    Returns
    -------
    pl.DataFrame
        ``ts_recv``, ``y``, ``move_units``, ``ts_known``; missing as in :func:`executable_labels`, and where either side
        holds no group.

    References
    ----------
    Zhang, Zohren, Roberts (2019). DeepLOB: Deep convolutional neural networks for limit order books. IEEE TSP 67(11).
    """
    ts_recv = rows.key("ts_recv")
    path = quote_path(events, label.max_gap_ns)
    move, ts_known = _moves(path, ts_recv, ts_recv, ts_recv + label.horizon_ns, label.max_gap_ns, session)
    sums = np.concatenate([[0], np.cumsum(path.mid2)])
    before, here, after = (path.at(ts_recv + shift) + 1 for shift in (-label.horizon_ns, 0, label.horizon_ns))
    with np.errstate(invalid="ignore", divide="ignore"):
        ahead = (sums[after] - sums[here]) / (2.0 * (after - here))
        behind = (sums[here] - sums[before]) / (2.0 * (here - before))
    move = np.where(np.isnan(move) | (after == here) | (before == here), np.nan, ahead - behind)
    ts_known = np.where(np.isnan(move), NEVER_KNOWN, ts_known)
    return pl.DataFrame(
        {"ts_recv": ts_recv.copy(), "y": _classes(move, threshold_units), "move_units": move, "ts_known": ts_known}
    )

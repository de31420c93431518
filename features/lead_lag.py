"""Lead-lag and correlation across instruments: whose moves go with ours, whose come before, and what they say now.

Everything is made of rows as of ``ts_known``: a *sample* of an instrument is one of its own rows, at least one middle window
after its sample before, with its return over that window and what the peers' latest rows said then and one window earlier; a
peer's row that is older than a window says nothing. A lagged pair takes the own return and the peer's as of the moment at which
the own window began: no part of a move stands on both sides, as it would on a grid of stale prices. A peer whose rows are far
apart still makes its lead look smaller than it is. Correlations and slopes are those of the newest :data:`SAMPLES` samples, made
anew from them in their order, so they depend neither on where a stream was cut nor on rounding that a running sum would gather.

References
----------
Lo, MacKinlay (1990). When are contrarian profits due to stock market overreaction? Rev. Fin. Studies 3(2).
Huth, Abergel (2014). High frequency lead/lag relationships. J. Empirical Finance 26.
Cont, Cucuringu, Zhang (2023). Cross-impact of order flow imbalance. Quantitative Finance 23(10).
Gatev, Goetzmann, Rouwenhorst (2006). Pairs trading. Rev. Fin. Studies 19(3).
"""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from features.entry import MIDDLE, FeatureEntry, span_name
from marketdata.settings import SamplingSettings

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

SAMPLES: Final = 100
"""Samples of an instrument that its correlations look at."""
REACH: Final = 200
"""Middle windows that a sample may lie back."""
LEAST: Final = 20
"""Pairs below which a correlation is NaN."""
STEPS: Final = 32
"""Parts of a middle window of which the newest row is remembered, to look one window back."""
_PAST: Final = 128
"""Remembered rows of an instrument; two windows of parts and more."""

P_TOGETHER: Final = 0
P_TOGETHER_SLOPE: Final = 1
P_LEAD: Final = 2
P_LEAD_SLOPE: Final = 3
P_FLOW: Final = 4
P_FLOW_SLOPE: Final = 5
P_COUNT: Final = 6
"""Columns of ``pairs``: correlation of the own return with the peer's and its slope, the same with the peer's return as of one
window before, and with the peer's order flow imbalance as of then."""

COLUMNS: Final = 10

LM_1990: Final = (
    "Lo, MacKinlay (1990). When are contrarian profits due to stock market overreaction? Rev. Fin. Studies 3(2)."
)
HA_2014: Final = "Huth, Abergel (2014). High frequency lead/lag relationships. J. Empirical Finance 26."
CCZ_2023: Final = "Cont, Cucuringu, Zhang (2023). Cross-impact of order flow imbalance. Quantitative Finance 23(10)."
GGR_2006: Final = "Gatev, Goetzmann, Rouwenhorst (2006). Pairs trading. Rev. Fin. Studies 19(3)."


class LeadLagState(NamedTuple):
    """State over I instruments; where the family is off, the arrays have no rows.

    Attributes
    ----------
    taken : int64 array, shape (I,)
        Samples so far.
    ts : int64 array, shape (I, SAMPLES)
        Their times, a ring.
    own : float64 array, shape (I, SAMPLES)
        Own return of each sample, bps.
    seen : float64 array, shape (I, SAMPLES, I, 3)
        What the peers' rows said: return (bps) as of the sample, return and order flow imbalance as of one window before.
    past_count : int64 array, shape (I,)
        Rows remembered so far.
    past_ts, past : int64 array, shape (I, 128), and float64 array, shape (I, 128, 2)
        The newest row of each part of a window: its time, return and order flow imbalance.
    pairs : float64 array, shape (I, I, P_COUNT)
        What the samples of the first say about the second, see the ``P_*`` constants; NaN until there are :data:`LEAST` pairs.
    """

    taken: Int64
    ts: Int64
    own: Float64
    seen: Float64
    past_count: Int64
    past_ts: Int64
    past: Float64
    pairs: Float64


def empty_lead_lag(instruments: int) -> LeadLagState:
    """Return the state before the first row; of no instruments where the family is off."""
    return LeadLagState(
        taken=np.zeros(instruments, np.int64),
        ts=np.zeros((instruments, SAMPLES), np.int64),
        own=np.full((instruments, SAMPLES), np.nan),
        seen=np.full((instruments, SAMPLES, instruments, 3), np.nan),
        past_count=np.zeros(instruments, np.int64),
        past_ts=np.zeros((instruments, _PAST), np.int64),
        past=np.full((instruments, _PAST, 2), np.nan),
        pairs=np.full((instruments, instruments, P_COUNT), np.nan),
    )


def lead_lag_memory_ns(sampling: SamplingSettings) -> int:
    """Return how far back a value reaches: the oldest sample, the newest's age, the lag, a stale peer, the return's window."""
    return (REACH + 5) * sampling.windows_ns[MIDDLE]


def entries(sampling: SamplingSettings) -> list[FeatureEntry]:
    """Return the family's entries in column order."""
    ns = sampling.windows_ns[MIDDLE]
    span = span_name(ns)
    warm, memory = LEAST * ns, lead_lag_memory_ns(sampling)
    newest = f"over the newest {SAMPLES} own rows {span} apart"
    together = f"correlation of own and a peer's mid_return_bps_{span} {newest}"
    lead = f"correlation of own mid_return_bps_{span} with a peer's as of one window before, {newest}"
    led = "the same with own and peer exchanged"
    flow = f"correlation of own mid_return_bps_{span} with a peer's ofi_best_{span} as of one window before, {newest}"
    lines = (
        ("peer_correlation", "1", f"mean over the peers of the {together}", HA_2014, "even"),
        ("closest_correlation", "1", f"the largest in size of the {together}", GGR_2006, "even"),
        ("closest_gap_bps", "bps", f"slope on that peer × its latest mid_return_bps_{span} - own", GGR_2006, "odd"),
        ("peer_lead", "1", f"mean over the peers of the {lead}", LM_1990, "even"),
        ("own_lead", "1", f"mean over the peers of {led}, on the peer's samples", LM_1990, "even"),
        ("leader_lead", "1", f"the largest in size of the {lead}", HA_2014, "even"),
        ("leader_signal_bps", "bps", f"slope on that leader × its latest mid_return_bps_{span}", HA_2014, "odd"),
        (
            "lead_signal_bps",
            "bps",
            f"mean over the peers of lagged slope × latest mid_return_bps_{span}",
            LM_1990,
            "odd",
        ),
        ("flow_lead", "1", f"mean over the peers of the {flow}", CCZ_2023, "even"),
        ("flow_signal_bps", "bps", f"mean over the peers of that slope × latest ofi_best_{span}", CCZ_2023, "odd"),
    )
    return [
        FeatureEntry(
            f"{key}_{span}",
            unit,
            formula,
            reference,
            warm,
            memory,
            key.startswith("flow"),
            family="lead_lag",
            key=key,
            mirror=mirror,
            joins="phase",
            may_be_unknown=True,
        )
        for key, unit, formula, reference, mirror in lines
    ]


@njit(cache=True)
def _relate(y: Float64, x: Float64, n: int, into: Float64, first: int) -> None:
    """Write correlation and slope of ``n`` pairs; NaN where they are too few or one side does not vary."""
    into[first] = np.nan
    into[first + 1] = np.nan
    if n < LEAST:
        return
    mean_y = 0.0
    mean_x = 0.0
    for k in range(n):
        mean_y += y[k]
        mean_x += x[k]
    mean_y /= n
    mean_x /= n
    yy = 0.0
    xx = 0.0
    xy = 0.0
    for k in range(n):
        dy = y[k] - mean_y
        dx = x[k] - mean_x
        yy += dy * dy
        xx += dx * dx
        xy += dx * dy
    # Moves of one tick are far above rounding; what is below it varied by rounding alone.
    if yy > 1e-18 * n and xx > 1e-18 * n:
        into[first] = max(-1.0, min(1.0, xy / math.sqrt(yy * xx)))
        into[first + 1] = xy / xx


@njit(cache=True)
def _remember(state: LeadLagState, me: int, now: int, window: int, move: float, flow: float) -> None:
    """Keep the row as the newest of its part of a window."""
    count = state.past_count[me]
    part = max(window // STEPS, 1)
    if count == 0 or state.past_ts[me, (count - 1) % _PAST] // part != now // part:
        count += 1
        state.past_count[me] = count
    here = (count - 1) % _PAST
    state.past_ts[me, here] = now
    state.past[me, here, 0] = move
    state.past[me, here, 1] = flow


@njit(cache=True)
def _place_as_of(state: LeadLagState, peer: int, then: int, window: int) -> int:
    """Return where the peer's latest remembered row at ``then`` lies in the ring; -1 where it is older than a window."""
    count = state.past_count[peer]
    for k in range(count - 1, max(count - _PAST, 0) - 1, -1):
        ts = state.past_ts[peer, k % _PAST]
        if ts <= then:
            return k % _PAST if ts >= then - window else -1
    return -1


@njit(cache=True)
def _relate_to(state: LeadLagState, me: int, b: int, first: int, count: int, y: Float64, x: Float64) -> None:
    """Relate the own samples to what one peer showed at them and one window before."""
    for c in range(3):
        n = 0
        for s in range(first, count):
            value = state.seen[me, s % SAMPLES, b, c]
            if not np.isnan(value):
                y[n] = state.own[me, s % SAMPLES]
                x[n] = value
                n += 1
        _relate(y, x, n, state.pairs[me, b], 2 * c)


@njit(cache=True)
def take_sample(
    state: LeadLagState, me: int, now: int, window: int, peer_ts: Int64, moves: Float64, flows: Float64
) -> None:
    """Remember the own row, take it as a sample where one is due, and then relate the instrument to every peer anew."""
    _remember(state, me, now, window, moves[me], flows[me])
    if np.isnan(moves[me]):
        return
    count = state.taken[me]
    if count > 0 and now - state.ts[me, (count - 1) % SAMPLES] < window:
        return
    here = count % SAMPLES
    state.ts[me, here] = now
    state.own[me, here] = moves[me]
    for b in range(len(peer_ts)):
        if b == me:
            continue
        state.seen[me, here, b, 0] = moves[b] if peer_ts[b] >= now - window else np.nan
        place = _place_as_of(state, b, now - window, window)
        state.seen[me, here, b, 1] = state.past[b, place, 0] if place >= 0 else np.nan
        state.seen[me, here, b, 2] = state.past[b, place, 1] if place >= 0 else np.nan
    count += 1
    state.taken[me] = count
    first = max(0, count - SAMPLES)
    while state.ts[me, first % SAMPLES] <= now - REACH * window:
        first += 1
    y = np.empty(SAMPLES)
    x = np.empty(SAMPLES)
    for b in range(len(peer_ts)):
        if b != me:
            _relate_to(state, me, b, first, count, y, x)


@njit(cache=True)
def write_lead_lag(
    state: LeadLagState,
    me: int,
    now: int,
    window: int,
    peer_ts: Int64,
    moves: Float64,
    flows: Float64,
    out: Float32,
    first: int,
) -> None:
    """Write the family's columns of a row from column ``first`` on; the row has been offered as a sample before."""
    for c in range(COLUMNS):
        out[first + c] = np.nan
    if np.isnan(moves[me]):
        return
    sums = np.zeros(COLUMNS)
    counts = np.zeros(COLUMNS, np.int64)
    closest = np.nan
    leader = np.nan
    for b in range(len(peer_ts)):
        if b == me or peer_ts[b] < now - window or np.isnan(moves[b]):
            continue
        pair = state.pairs[me, b]
        if not np.isnan(pair[P_TOGETHER]):
            sums[0] += pair[P_TOGETHER]
            counts[0] += 1
            if not abs(pair[P_TOGETHER]) <= abs(closest):
                closest = pair[P_TOGETHER]
                out[first + 1] = closest
                out[first + 2] = pair[P_TOGETHER_SLOPE] * moves[b] - moves[me]
        if not np.isnan(pair[P_LEAD]):
            sums[3] += pair[P_LEAD]
            counts[3] += 1
            sums[7] += pair[P_LEAD_SLOPE] * moves[b]
            counts[7] += 1
            if not abs(pair[P_LEAD]) <= abs(leader):
                leader = pair[P_LEAD]
                out[first + 5] = leader
                out[first + 6] = pair[P_LEAD_SLOPE] * moves[b]
        if not np.isnan(state.pairs[b, me, P_LEAD]):
            sums[4] += state.pairs[b, me, P_LEAD]
            counts[4] += 1
        if not np.isnan(pair[P_FLOW]) and not np.isnan(flows[b]):
            sums[8] += pair[P_FLOW]
            counts[8] += 1
            sums[9] += pair[P_FLOW_SLOPE] * flows[b]
            counts[9] += 1
    for c in (0, 3, 4, 7, 8, 9):
        if counts[c] > 0:
            out[first + c] = sums[c] / counts[c]

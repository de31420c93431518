"""What the families beside the core keep at each event: totals, aggressors, markouts, volume buckets, ranges, averages.

All of it is int64 and exact but the averages and the decayed flow, which are exponential and move only where a cell closes or the
best level changes.
"""

import math
from typing import Final

from numba import njit

from features.entry import MIDDLE
from features.families.momentum import average_cell
from features.state import (
    A_LOTS,
    A_MID2,
    A_PRICE,
    A_SIGN,
    A_SWEPT,
    A_TS,
    AGGRESSORS,
    BUCKETS,
    E_BUY_VALUE,
    E_DEPLETED,
    E_EARNED,
    E_EXECUTED,
    E_HIDDEN,
    E_IMPROVED,
    E_LOTS,
    E_MARK,
    E_MARK_LOTS,
    E_MOVES,
    E_PAID,
    E_PAID_LOTS,
    E_PRINTS,
    E_SELL_VALUE,
    E_SPREAD,
    E_SPREAD_NS,
    E_SWEPT,
    E_VALUE,
    S_MID2,
    X_AGGRESSORS,
    X_BUCKET,
    X_BUCKETS,
    X_BUYER,
    X_CELLS,
    X_FLOW_TS,
    X_HIGH,
    X_LOW,
    X_MOVE,
    X_SELLER,
    X_SETTLED,
    X_SPREAD,
    X_SPREAD_TS,
    X_TRADES,
    FeatureState,
    Float64,
    Int64,
    Plan,
)
from marketdata.events import HIDDEN

MOST_CELLS: Final = 4_096
"""Cells that are passed over one by one; after so many without a move every average has forgotten all."""

SPLITS: Final = 4 * BUCKETS
"""Buckets that one execution fills at most; more would all be the same."""


@njit(cache=True)
def forget(extra: Int64, averages: Float64, decayed_flow: Float64) -> None:
    """Start anew after a gap."""
    extra[:] = 0
    extra[X_SPREAD] = -1
    averages[:] = 0.0
    decayed_flow[:] = 0.0


@njit(cache=True)
def settle(windows: Int64, total: Int64, extra: Int64, trades: Int64, mid2: int, now: int) -> None:
    """Add the markouts of executions whose horizon has passed, against the mid that was in force before ``now``."""
    mask = len(trades) - 1
    for h in range(2):
        at = extra[X_SETTLED + h]
        while at < extra[X_TRADES]:
            due = trades[at & mask, 0] + windows[h]
            if due >= now:
                break
            if now - due < windows[MIDDLE] and mid2 != 0:  # one that comes later still is of a market that slept
                signed = trades[at & mask, 1]
                total[E_MARK + h] += signed * (mid2 - trades[at & mask, 3])
                total[E_EARNED + h] += signed * (2 * trades[at & mask, 2] - mid2)
                total[E_MARK_LOTS + h] += abs(signed)
            at += 1
        extra[X_SETTLED + h] = at


@njit(cache=True)
def _fill_buckets(plan: Plan, state: FeatureState, signed: int, now: int) -> None:
    """Pour signed lots into volume buckets; a bucket's size is fixed when it opens."""
    extra, total = state.extra, state.total
    left = abs(signed)
    sign = 1 if signed > 0 else -1
    spans = len(plan.windows)
    base = state.ring[state.tails[spans - 1] & (len(state.ring_ts) - 1)]
    size = max((total[E_LOTS] - base[E_LOTS]) // BUCKETS, 1)
    left = min(left, SPLITS * size + extra[X_BUCKET])
    while left > 0:
        if extra[X_BUCKET] == 0:
            extra[X_BUCKET] = size
            extra[X_BUCKET + 1] = 0
            extra[X_BUCKET + 2] = 0
            extra[X_BUCKET + 3] = now
        part = min(left, extra[X_BUCKET] - extra[X_BUCKET + 2])
        extra[X_BUCKET + 1] += sign * part
        extra[X_BUCKET + 2] += part
        left -= part
        if extra[X_BUCKET + 2] == extra[X_BUCKET]:
            row = extra[X_BUCKETS] % BUCKETS
            state.buckets[row, 0] = extra[X_BUCKET + 1]
            state.buckets[row, 1] = extra[X_BUCKET + 2]
            state.buckets[row, 2] = extra[X_BUCKET + 3]
            state.buckets[row, 3] = now
            extra[X_BUCKETS] += 1
            extra[X_BUCKET] = 0


@njit(cache=True)
def count_execution(
    plan: Plan, state: FeatureState, action: int, sign: int, price: int, lots: int, is_new: bool, now: int
) -> None:
    """Count an execution: value, what was paid, its aggressor, its markout to come, its share of a volume bucket."""
    total, extra, ring = state.total, state.extra, state.aggressors
    mid2 = state.at[S_MID2]
    if sign != 0 and state.at[S_MID2] != 0:
        _fill_buckets(plan, state, sign * lots, now)
    total[E_PRINTS] += 1
    total[E_LOTS] += lots
    total[E_VALUE] += price * lots
    if action == HIDDEN:
        total[E_HIDDEN] += lots
    if sign == 0:
        return
    total[E_BUY_VALUE if sign > 0 else E_SELL_VALUE] += price * lots
    own = X_BUYER if sign > 0 else X_SELLER
    if is_new or extra[X_AGGRESSORS] - extra[own] > AGGRESSORS or extra[own] == 0:
        extra[X_AGGRESSORS] += 1
        extra[own] = extra[X_AGGRESSORS]
        row = (extra[own] - 1) % AGGRESSORS
        ring[row, A_TS] = now
        ring[row, A_SIGN] = sign
        ring[row, A_LOTS] = lots
        ring[row, A_MID2] = mid2
        ring[row, A_SWEPT] = 0
    else:
        row = (extra[own] - 1) % AGGRESSORS
        ring[row, A_LOTS] += lots
        if ring[row, A_PRICE] != price and ring[row, A_SWEPT] == 0:
            ring[row, A_SWEPT] = 1
            total[E_SWEPT] += 1
    ring[row, A_PRICE] = price
    if plan.has_book and mid2 != 0:
        total[E_PAID] += sign * (2 * price - mid2) * lots
        total[E_PAID_LOTS] += lots
        trade = state.trades[extra[X_TRADES] & (len(state.trades) - 1)]
        trade[0] = now
        trade[1] = sign * lots
        trade[2] = price
        trade[3] = mid2
        extra[X_TRADES] += 1


@njit(cache=True)
def change_best(
    total: Int64, side: int, sign: int, price: int, lots: int, old_price: int, old_lots: int, executed: int
) -> None:
    """Count what a group did to a side's best level: executed lots, left better, left worse."""
    total[E_EXECUTED + side] += executed
    if old_lots > 0 and (lots == 0 or sign * (price - old_price) < 0):
        total[E_DEPLETED + side] += 1
    elif lots > 0 and (old_lots == 0 or sign * (price - old_price) > 0):
        total[E_IMPROVED + side] += 1


@njit(cache=True)
def pass_group(
    decays: Float64,
    total: Int64,
    extra: Int64,
    decayed_flow: Float64,
    flow: int,
    is_valid: bool,
    counts: Int64,
    prices: Int64,
    now: int,
) -> None:
    """Add the time that the spread held, take the new one, and let the decayed flow fade to now where the best level changed."""
    if extra[X_SPREAD] >= 0:
        total[E_SPREAD] += extra[X_SPREAD] * (now - extra[X_SPREAD_TS])
        total[E_SPREAD_NS] += now - extra[X_SPREAD_TS]
    extra[X_SPREAD] = prices[1, counts[1] - 1] - prices[0, counts[0] - 1] if is_valid else -1
    extra[X_SPREAD_TS] = now
    if flow != 0:
        for d in range(len(decays)):
            weight = 1.0
            if extra[X_FLOW_TS] != 0:
                weight = math.exp(-decays[d] * 1e-9 * (now - extra[X_FLOW_TS]))
            decayed_flow[d] = decayed_flow[d] * weight + flow
        extra[X_FLOW_TS] = now


@njit(cache=True)
def move_mid(total: Int64, extra: Int64, mid2: int, old_mid2: int) -> None:
    """Count a move of the mid and stretch the open cell's range."""
    up = mid2 > old_mid2
    total[E_MOVES if up else E_MOVES + 1] += 1
    extra[X_MOVE] = 1 if up else -1
    extra[X_HIGH] = max(extra[X_HIGH], mid2)
    extra[X_LOW] = min(extra[X_LOW], mid2)


@njit(cache=True)
def close_range(extra: Int64, ranges: Int64, row: int, mid2: int, is_first: bool) -> None:
    """Keep the range of a cell of the longest grid that closes; cells passed over have none."""
    ranges[row, 0] = extra[X_HIGH] if is_first else mid2
    ranges[row, 1] = extra[X_LOW] if is_first else mid2


@njit(cache=True)
def close_averages(extra: Int64, averages: Float64, passed: int, is_anchor: bool, move: int) -> None:
    """Move the averages over the cells of the middle grid that close; the first boundary only anchors them."""
    if is_anchor:
        averages[:] = 0.0
    for step in range(1 if is_anchor else 0, min(passed, MOST_CELLS)):
        average_cell(averages, move if step == 0 else 0)
        extra[X_CELLS] += 1

"""The feature kernel: one pass over events that keeps the state, and the values of a row where one is sampled.

Everything that a row is made of is exact int64 arithmetic on totals and fixed grids, or an exponential count whose
state moves only at points: no value depends on where the stream was cut into batches.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from features.aggressors import KIND_BUY, KIND_MID_DOWN, KIND_MID_UP, KIND_SELL, aggressor_sign, is_execution
from features.entry import CELLS, LEVELS, MIDDLE
from features.families import further
from features.families.rows import write_further
from features.state import (
    C_ARRIVE,
    C_BUY_LOTS,
    C_BUYS,
    C_CANCEL,
    C_DEPTH_ALL,
    C_DEPTH_BEST,
    C_GROUPS,
    C_LEVELS,
    C_MID2,
    C_OFI,
    C_SELL_LOTS,
    C_SELLS,
    E_BID_DEPTH,
    E_DEPTH,
    E_LEVELS,
    E_MESSAGES,
    E_OFI,
    NEVER,
    S_ANCHOR_TS,
    S_BUY_GROUP,
    S_COUNTER,
    S_GROUP_ASK,
    S_GROUP_BID,
    S_GROUP_TRADED,
    S_HEAD,
    S_MID2,
    S_MID_MOVED,
    S_MID_TS,
    S_PENDING_TS,
    S_SELL_GROUP,
    S_SINCE,
    S_TOP_KNOWN,
    S_TRADE_PRICE,
    S_TRADE_SIGN,
    S_TRADE_TS,
    X_HIGH,
    X_LOW,
    X_SETTLED,
    X_TRADES,
    FeatureState,
    Plan,
    borrow_plan,
    borrow_state,
)
from features.values import write_values
from marketdata.bits import borrowed
from marketdata.book import book_best, levels_apply
from marketdata.events import BID, CLEAR, EXECUTE, F_CROSSED, F_LAST, F_SNAPSHOT, STATUS, EventArray
from marketdata.settings import SAMPLING_CLOCKS

DONE: Final = 0
NEED_GROW: Final = 1
"""Status of :func:`fold_events`: all events consumed, or the ring is full and must grow before the next event."""

CLOCK_EVENTS: Final = SAMPLING_CLOCKS.index("events")
CLOCK_TRADES: Final = SAMPLING_CLOCKS.index("trades")
CLOCK_TIME: Final = SAMPLING_CLOCKS.index("time")
CLOCK_VOLUME: Final = SAMPLING_CLOCKS.index("volume")

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@njit(cache=True)
def _reset(state: FeatureState) -> None:
    """Forget what came before a gap: windows, grids and counts start anew."""
    at = state.at
    at[S_HEAD] = 0
    at[S_MID2] = 0
    at[S_MID_MOVED] = 0
    at[S_TRADE_PRICE] = 0
    at[S_TRADE_SIGN] = 0
    at[S_TRADE_TS] = NEVER
    at[S_PENDING_TS] = NEVER
    at[S_ANCHOR_TS] = NEVER
    at[S_SINCE] = -1
    at[S_TOP_KNOWN] = 0
    state.tails[:] = 0
    state.grid[:, 0] = -1
    state.decayed[:, :] = 0.0
    state.pending[:] = 0
    if len(state.aggressors) > 0:
        further.forget(state.extra, state.averages, state.decayed_flow)


@njit(cache=True)
def _add_point(plan: Plan, state: FeatureState, kind: int, now: int) -> None:
    """Count a point; points of the same time wait together, so that they excite only what comes later."""
    at = state.at
    if now > at[S_PENDING_TS]:
        if at[S_PENDING_TS] != NEVER:
            for d in range(len(plan.decays)):
                weight = 1.0
                if at[S_ANCHOR_TS] != NEVER:
                    weight = math.exp(-plan.decays[d] * 1e-9 * (at[S_PENDING_TS] - at[S_ANCHOR_TS]))
                for k in range(4):
                    state.decayed[k, d] = state.decayed[k, d] * weight + state.pending[k]
            at[S_ANCHOR_TS] = at[S_PENDING_TS]
        at[S_PENDING_TS] = now
        state.pending[:] = 0
    state.pending[kind] += 1


@njit(cache=True)
def _roll_grid(plan: Plan, state: FeatureState, w: int, now: int) -> None:
    """Close the grid cells of window ``w`` whose boundary is at or before ``now``, with the state before this event."""
    cell = plan.windows[w] // CELLS
    grid = state.grid
    total = state.total
    passed = (now - grid[w, 0]) // cell + 1
    is_further = len(state.aggressors) > 0
    if is_further and w == MIDDLE:
        further.close_averages(state.extra, state.averages, passed, grid[w, 2] < 0, state.at[S_MID2] - grid[w, 1])
    for step in range(min(passed, CELLS + 1)):
        if grid[w, 2] < 0:  # the first boundary only anchors the grid: the part before it is no whole cell
            grid[w, 2] = 0
            continue
        if is_further and w == len(plan.windows) - 1:
            further.close_range(state.extra, state.ranges, grid[w, 3], state.at[S_MID2], step == 0)
        here = state.cells[w, grid[w, 3]]
        if step == 0:
            bought = total[C_BUY_LOTS] - state.grid_total[w, 0]
            sold = total[C_SELL_LOTS] - state.grid_total[w, 1]
            here[0] = state.at[S_MID2] - grid[w, 1]
            here[1] = bought - sold
            here[2] = bought + sold
        else:
            here[0] = 0
            here[1] = 0
            here[2] = 0
        grid[w, 3] = (grid[w, 3] + 1) % CELLS
        grid[w, 2] = min(grid[w, 2] + 1, CELLS)
    grid[w, 0] += passed * cell
    grid[w, 1] = state.at[S_MID2]
    state.grid_total[w, 0] = total[C_BUY_LOTS]
    state.grid_total[w, 1] = total[C_SELL_LOTS]
    if is_further and w == len(plan.windows) - 1:
        state.extra[X_HIGH] = state.at[S_MID2]
        state.extra[X_LOW] = state.at[S_MID2]


@njit(cache=True)
def _set_mid(plan: Plan, state: FeatureState, mid2: int, now: int) -> None:
    """Take over a new reference price; the first one after a gap starts the grids."""
    at = state.at
    if at[S_MID2] == 0:
        at[S_SINCE] = now
        at[S_MID_TS] = now
        for w in range(len(plan.windows)):
            cell = plan.windows[w] // CELLS
            state.grid[w, 0] = (now // cell + 1) * cell
            state.grid[w, 1] = mid2
            state.grid[w, 2] = -1
            state.grid[w, 3] = 0
            state.grid_total[w, 0] = state.total[C_BUY_LOTS]
            state.grid_total[w, 1] = state.total[C_SELL_LOTS]
        state.extra[X_HIGH] = mid2
        state.extra[X_LOW] = mid2
    else:
        at[S_MID_TS] = now
        at[S_MID_MOVED] = 1
        if len(state.aggressors) > 0:
            further.move_mid(state.total, state.extra, mid2, at[S_MID2])
        if plan.has_book:
            _add_point(plan, state, KIND_MID_UP if mid2 > at[S_MID2] else KIND_MID_DOWN, now)
    at[S_MID2] = mid2


@njit(cache=True)
def _execution(
    plan: Plan, state: FeatureState, action: int, side: int, price: int, lots: int, ts_event: int, now: int
) -> None:
    """Count an execution: volume always, the aggressor once for each exchange time and side."""
    at = state.at
    total = state.total
    bid, bid_lots, ask, ask_lots = book_best(state.book)
    sign = aggressor_sign(side, price, bid, bid_lots, ask, ask_lots, at[S_TRADE_PRICE], at[S_TRADE_SIGN])
    is_new = sign == 0 or at[S_BUY_GROUP if sign > 0 else S_SELL_GROUP] != ts_event
    if len(state.aggressors) > 0:
        further.count_execution(plan, state, action, sign, price, lots, is_new, now)
    if plan.clock == CLOCK_TRADES:
        at[S_COUNTER] += is_new
    elif plan.clock == CLOCK_VOLUME:
        at[S_COUNTER] += lots
    if sign > 0:
        total[C_BUY_LOTS] += lots
        if at[S_BUY_GROUP] != ts_event:
            at[S_BUY_GROUP] = ts_event
            total[C_BUYS] += 1
            _add_point(plan, state, KIND_BUY, now)
    elif sign < 0:
        total[C_SELL_LOTS] += lots
        if at[S_SELL_GROUP] != ts_event:
            at[S_SELL_GROUP] = ts_event
            total[C_SELLS] += 1
            _add_point(plan, state, KIND_SELL, now)
    at[S_TRADE_PRICE] = price
    at[S_TRADE_SIGN] = sign
    at[S_TRADE_TS] = now
    at[S_GROUP_TRADED] = 1


@njit(cache=True)
def _level_flow(side: int, price: int, lots: int, old_price: int, old_lots: int) -> int:
    """Return what came minus what went at one level of a side; an empty level has no price, only its size."""
    if lots == 0:
        return -old_lots
    if old_lots == 0:
        return lots
    better = price - old_price if side == 0 else old_price - price
    if better > 0:
        return lots
    if better < 0:
        return -old_lots
    return lots - old_lots


@njit(cache=True)
def _fold_top(at: Int64, total: Int64, top: Int64, prices: Int64, sizes: Int64, counts: Int64) -> None:
    """Add the group's order flow imbalance, depth and queue changes, and keep the levels for the next group."""
    is_further = top.shape[1] > LEVELS
    for side in range(2):
        count = counts[side]
        sign = 1 if side == 0 else -1
        executed = at[S_GROUP_BID] if side == 0 else at[S_GROUP_ASK]
        for m in range(LEVELS):
            price = 0
            lots = 0
            if m < count:
                price = prices[side, count - 1 - m]
                lots = sizes[side, count - 1 - m]
                total[C_DEPTH_ALL] += lots
                total[C_LEVELS] += 1
            if at[S_TOP_KNOWN]:
                flow = _level_flow(side, price, lots, top[side, m, 0], top[side, m, 1])
                total[C_OFI + m] += sign * flow
                if m == 0:
                    total[C_ARRIVE + side] += max(flow, 0)
                    total[C_CANCEL + side] += max(-flow - executed, 0)
                    if is_further:
                        further.change_best(total, side, sign, price, lots, top[side, 0, 0], top[side, 0, 1], executed)
            if m == 0:
                total[C_DEPTH_BEST] += lots
                if is_further and side == 0:
                    total[E_BID_DEPTH] += lots
            top[side, m, 0] = price
            top[side, m, 1] = lots
        for m in range(LEVELS, top.shape[1]):
            price = 0
            lots = 0
            if m < count:
                price = prices[side, count - 1 - m]
                lots = sizes[side, count - 1 - m]
                total[E_DEPTH] += lots
                total[E_LEVELS] += 1
            if at[S_TOP_KNOWN]:
                total[E_OFI + m - LEVELS] += sign * _level_flow(side, price, lots, top[side, m, 0], top[side, m, 1])
            top[side, m, 0] = price
            top[side, m, 1] = lots
    at[S_TOP_KNOWN] = 1
    total[C_GROUPS] += 1


@njit(cache=True)
def _push(windows: Int64, at: Int64, total: Int64, ring_ts: Int64, ring: Int64, tails: Int64, now: int) -> None:
    """Write the totals into the ring, over the last row where the time has not moved, and move the tails on."""
    mask = len(ring_ts) - 1
    total[C_MID2] = at[S_MID2]
    head = at[S_HEAD]
    if head == 0 or ring_ts[(head - 1) & mask] != now:
        head += 1
        at[S_HEAD] = head
        ring_ts[(head - 1) & mask] = now
    row = (head - 1) & mask
    for c in range(len(total)):
        ring[row, c] = total[c]
    for w in range(len(windows)):
        start = now - windows[w]
        tail = tails[w]
        while tail + 1 < head and ring_ts[(tail + 1) & mask] <= start:
            tail += 1
        tails[w] = tail


@njit(cache=True)
def fold_events(
    plan: Plan, state: FeatureState, events: EventArray, first: int, keys: Int64, values: Float64, rows: int
) -> tuple[int, int, int]:
    """Fold events into the state, in place, and write the rows that are sampled on the way.

    Parameters
    ----------
    first : int
        Event to begin with.
    keys, values : arrays, shape (n, 7) and (n, F)
        Rows go here from row ``rows`` on.

    Returns
    -------
    status, consumed, rows : int
        DONE or NEED_GROW, the event to go on with, the rows written so far.
    """
    # Borrowed and taken apart once: reaching into the state for each event would count references all the time.
    plan = borrow_plan(plan)
    state = borrow_state(state)
    events = borrowed(events)
    keys = borrowed(keys)
    values = borrowed(values)
    windows = plan.windows
    has_book = plan.has_book == 1
    at, total, top, grid, tails = state.at, state.total, state.top, state.grid, state.tails
    ring_ts, ring = state.ring_ts, state.ring
    prices, sizes, counts, counters = state.book.price, state.book.size, state.book.count, state.book.counters
    extra, trades, decayed_flow = state.extra, state.trades, state.decayed_flow
    is_further = len(state.aggressors) > 0
    spans = len(windows)
    for k in range(first, len(events)):
        if at[S_HEAD] - tails[spans - 1] == len(ring_ts):
            return NEED_GROW, k, rows
        event = events[k]
        now = event.ts_recv
        action = event.action
        side = event.side
        flags = event.flags
        if is_further and extra[X_TRADES] > extra[X_SETTLED + MIDDLE]:
            if extra[X_TRADES] - extra[X_SETTLED + MIDDLE] == len(trades):
                return NEED_GROW, k, rows
            further.settle(windows, total, extra, trades, at[S_MID2], now)
        if grid[0, 0] >= 0:
            for w in range(spans):
                if now >= grid[w, 0]:
                    _roll_grid(plan, state, w, now)
        if action == CLEAR:
            _reset(state)
        elif is_execution(action):
            _execution(plan, state, action, side, event.price_units, event.size_lots, event.ts_event, now)
            if action == EXECUTE:
                at[S_GROUP_BID if side == BID else S_GROUP_ASK] += event.size_lots
        elif is_further and action != STATUS and not flags & F_SNAPSHOT:
            total[E_MESSAGES] += 1
        levels_apply(prices, sizes, counts, counters, action, side, event.price_units, event.size_lots)
        if plan.clock == CLOCK_EVENTS and not flags & F_SNAPSHOT:
            at[S_COUNTER] += 1
        if not flags & F_LAST:
            continue
        is_valid = False
        mid2 = 0
        if has_book:
            if counts[0] > 0 and counts[1] > 0 and not flags & F_CROSSED:
                bid = prices[0, counts[0] - 1]
                ask = prices[1, counts[1] - 1]
                is_valid = bid <= ask
                mid2 = bid + ask
            flow = total[C_OFI]
            _fold_top(at, total, top, prices, sizes, counts)
            if is_further:
                further.pass_group(
                    plan.decays, total, extra, decayed_flow, total[C_OFI] - flow, is_valid, counts, prices, now
                )
        else:
            is_valid = at[S_GROUP_TRADED] == 1 and at[S_TRADE_PRICE] > 0
            mid2 = 2 * at[S_TRADE_PRICE]
        if is_valid and mid2 != at[S_MID2]:
            _set_mid(plan, state, mid2, now)
        if at[S_SINCE] >= 0:
            _push(windows, at, total, ring_ts, ring, tails, now)
        at[S_GROUP_BID] = 0
        at[S_GROUP_ASK] = 0
        at[S_GROUP_TRADED] = 0
        passed = now // plan.every > at[S_COUNTER] if plan.clock == CLOCK_TIME else at[S_COUNTER] >= plan.every
        if is_valid and passed and counters[2] == 0 and plan.open_ns <= now < plan.close_ns:
            at[S_COUNTER] = now // plan.every if plan.clock == CLOCK_TIME else 0
            keys[rows, 0] = now
            keys[rows, 1] = event.ts_event
            keys[rows, 2] = event.sequence
            for c in range(4):
                keys[rows, 3 + c] = top[c % 2, 0, c // 2] if has_book else 0
            write_values(plan, state, now, values[rows])
            if is_further:
                write_further(plan, state, now, values[rows])
            rows += 1
    return DONE, len(events), rows

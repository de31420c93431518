"""The values of one feature row, from the state of the fold: called only where a row is sampled."""

import math

import numpy as np
from numba import njit

from features.aggressors import KIND_MID_UP
from features.entry import CELLS, FORGOTTEN, LEVELS, MIDDLE
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
    NEVER,
    S_ANCHOR_TS,
    S_MID2,
    S_MID_MOVED,
    S_MID_TS,
    S_PENDING_TS,
    S_SINCE,
    S_TRADE_SIGN,
    S_TRADE_TS,
    FeatureState,
    Float64,
    Plan,
)
from marketdata.book import book_best


@njit(cache=True)
def _write_windows(plan: Plan, state: FeatureState, now: int, mid2: float, out: Float64, first: int) -> None:
    """Write the families that have one column a window, from column ``first`` on."""
    total = state.total
    mask = len(state.ring_ts) - 1
    spans = len(plan.windows)
    longest = state.ring[state.tails[spans - 1] & mask]
    for w in range(spans):
        if state.ring_ts[state.tails[w] & mask] > now - plan.windows[w]:
            continue
        base = state.ring[state.tails[w] & mask]
        out[first + w] = 1e4 * (total[C_MID2] - base[C_MID2]) / mid2
        levels = total[C_LEVELS] - base[C_LEVELS]
        if plan.has_book and levels > 0:
            depth = (total[C_DEPTH_ALL] - base[C_DEPTH_ALL]) / levels
            flow = 0
            for m in range(LEVELS):
                flow += total[C_OFI + m] - base[C_OFI + m]
            out[first + spans + w] = (total[C_OFI] - base[C_OFI]) / depth
            out[first + 2 * spans + w] = flow / depth / LEVELS
        bought = total[C_BUY_LOTS] - base[C_BUY_LOTS]
        sold = total[C_SELL_LOTS] - base[C_SELL_LOTS]
        out[first + 3 * spans + w] = (bought - sold) / max(bought + sold, 1)
        count = total[C_BUYS] + total[C_SELLS] - base[C_BUYS] - base[C_SELLS]
        if w == spans - 1:
            out[first + 4 * spans + w] = math.log1p(count)
        elif state.ring_ts[state.tails[spans - 1] & mask] <= now - plan.windows[spans - 1]:
            usual = total[C_BUYS] + total[C_SELLS] - longest[C_BUYS] - longest[C_SELLS]
            share = plan.windows[w] / plan.windows[spans - 1]
            out[first + 4 * spans + w] = math.log1p(count) - math.log1p(usual * share)
    for w in range(spans):
        if state.grid[w, 0] < 0 or state.grid[w, 2] < CELLS:
            continue
        squares = 0
        for k in range(CELLS):
            move = state.cells[w, k, 0]
            squares += move * move
        out[first + 5 * spans + w] = 1e4 * math.sqrt(float(squares)) / mid2


@njit(cache=True)
def _write_longest_grid(plan: Plan, state: FeatureState, depth: float, out: Float64, column: int) -> None:
    """Write bipower share, toxicity and Kyle's lambda of the longest window's grid from ``column`` on."""
    w = len(plan.windows) - 1
    if state.grid[w, 0] < 0 or state.grid[w, 2] < CELLS:
        return
    squares = 0
    neighbours = 0
    signed_abs = 0
    lots = 0
    cross = 0
    flow_squares = 0
    start = state.grid[w, 3]
    before = 0
    for k in range(CELLS):
        cell = state.cells[w, (start + k) % CELLS]
        squares += cell[0] * cell[0]
        neighbours += abs(cell[0]) * before
        before = abs(cell[0])
        signed_abs += abs(cell[1])
        lots += cell[2]
        cross += cell[0] * cell[1]
        flow_squares += cell[1] * cell[1]
    if squares > 0:
        out[column] = 0.5 * math.pi * neighbours / squares * CELLS / (CELLS - 1)
    if lots > 0:
        out[column + 1] = signed_abs / lots
    if flow_squares > 0 and depth > 0.0:
        out[column + 2] = 0.5 * cross / flow_squares / plan.tick_units * depth


@njit(cache=True)
def _write_counts(plan: Plan, state: FeatureState, now: int, out: Float64, column: int) -> int:
    """Write the decayed counts of points strictly before ``now`` and return the next column."""
    at = state.at
    decays = len(plan.decays)
    for k in range(4):
        for d in range(decays):
            is_there = plan.has_book or k < KIND_MID_UP
            if is_there and at[S_SINCE] >= 0 and math.exp(-plan.decays[d] * 1e-9 * (now - at[S_SINCE])) <= FORGOTTEN:
                value = state.decayed[k, d]
                since = at[S_ANCHOR_TS]
                if at[S_PENDING_TS] != NEVER and now > at[S_PENDING_TS]:
                    if since != NEVER:
                        value *= math.exp(-plan.decays[d] * 1e-9 * (at[S_PENDING_TS] - since))
                    value += state.pending[k]
                    since = at[S_PENDING_TS]
                if since != NEVER:
                    value *= math.exp(-plan.decays[d] * 1e-9 * (now - since))
                out[column] = value
            column += 1
    return column


@njit(cache=True)
def _write_book(plan: Plan, state: FeatureState, out: Float64) -> None:
    """Write the columns that only the book at this moment decides."""
    book = state.book
    bid, bid_lots, ask, ask_lots = book_best(book)
    out[0] = (ask - bid) / plan.tick_units
    out[1] = 2e4 * (ask - bid) / (bid + ask)
    bids = 0
    asks = 0
    for m in range(LEVELS):
        level_bid = book.size[0, book.count[0] - 1 - m] if m < book.count[0] else 0
        level_ask = book.size[1, book.count[1] - 1 - m] if m < book.count[1] else 0
        bids += level_bid
        asks += level_ask
        if m < 3 and level_bid + level_ask > 0:
            out[2 + m] = (level_bid - level_ask) / (level_bid + level_ask)
    out[5] = (bids - asks) / (bids + asks)
    out[6] = 1e4 * (ask - bid) * (bid_lots - ask_lots) / (bid_lots + ask_lots) / (bid + ask)


@njit(cache=True)
def write_values(plan: Plan, state: FeatureState, now: int, out: Float64) -> None:
    """Write one row; what is not known yet stays NaN. The column order is that of ``FeatureSpec.columns``."""
    at = state.at
    total = state.total
    spans = len(plan.windows)
    mask = len(state.ring_ts) - 1
    mid2 = float(at[S_MID2])
    longest_ns = plan.windows[spans - 1]
    out[:] = np.nan
    if plan.has_book:
        _write_book(plan, state, out)
    base = state.ring[state.tails[spans - 1] & mask]
    is_full = state.ring_ts[state.tails[spans - 1] & mask] <= now - longest_ns
    depth = 0.0
    if plan.has_book and is_full:
        depth = (total[C_DEPTH_BEST] - base[C_DEPTH_BEST]) / (2.0 * max(total[C_GROUPS] - base[C_GROUPS], 1))
        if depth > 0.0:
            out[7] = math.log((state.top[0, 0, 1] + state.top[1, 0, 1]) / (2.0 * depth))
    _write_windows(plan, state, now, mid2, out, 8)
    column = 8 + 6 * spans
    _write_longest_grid(plan, state, depth, out, column)
    column += 3
    middle = state.ring[state.tails[MIDDLE] & mask]
    if state.ring_ts[state.tails[MIDDLE] & mask] <= now - plan.windows[MIDDLE]:
        if plan.has_book:
            for family in range(2):
                first = C_ARRIVE if family == 0 else C_CANCEL
                bids = total[first] - middle[first]
                asks = total[first + 1] - middle[first + 1]
                out[column + family] = (bids - asks) / max(bids + asks, 1)
        noise = 1e4 * plan.tick_units / mid2
        volatility = out[8 + 6 * spans - 1]
        scale = math.sqrt(plan.windows[MIDDLE] / longest_ns) * volatility
        out[column + 3] = out[8 + MIDDLE] / math.sqrt(scale * scale + noise * noise)
    if depth > 0.0:
        bought = total[C_BUY_LOTS] - base[C_BUY_LOTS]
        sold = total[C_SELL_LOTS] - base[C_SELL_LOTS]
        out[column + 2] = (bought - sold) / depth
    column += 4
    if at[S_TRADE_TS] > now - longest_ns:
        out[column] = at[S_TRADE_SIGN]
    elif is_full:
        out[column] = 0.0
    if at[S_MID_MOVED] or now - at[S_MID_TS] >= longest_ns:
        out[column + 1] = min(now - at[S_MID_TS], longest_ns) / longest_ns
    column = _write_counts(plan, state, now, out, column + 2)
    if plan.time_of_day:
        share = (now - plan.open_ns) / (plan.close_ns - plan.open_ns)
        out[column] = share
        out[column + 1] = math.sin(2.0 * math.pi * share)
        out[column + 2] = math.cos(2.0 * math.pi * share)

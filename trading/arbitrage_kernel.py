"""The loop of the arbitrage monitor (:mod:`trading.arbitrage`)."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.book import levels_apply
from marketdata.events import CLEAR, F_LAST

CLOSED: Final = 1
STALE: Final = 2
LOST: Final = 3
END: Final = 4
"""Why an opportunity ended."""

OPPORTUNITY_DTYPE: Final = np.dtype(
    [
        ("start_ns", "i8"),
        ("end_ns", "i8"),
        ("peak_bps", "f8"),
        ("peak_profit", "f8"),
        ("peak_size", "f8"),
        ("buy_depth", "f8"),
        ("sell_depth", "f8"),
        ("first_profit", "f8"),
        ("later_profit", "f8"),
        ("buy_age_ns", "i8"),
        ("sell_age_ns", "i8"),
        ("changes", "i8"),
        ("buy", "i2"),
        ("sell", "i2"),
        ("reason", "u1"),
    ],
    align=True,
)
"""One opportunity. ``peak_bps`` is the largest net spread at size; ``peak_profit`` (quote) and ``peak_size`` (base) the most that
could be made at one moment, with both legs' paying depth then; ``first_profit`` and ``later_profit`` the same at its start and a
latency later (0: it was over); ages are those of the books at its start."""

NET: Final = 0
PROFIT: Final = 1
SIZE: Final = 2
BUY_DEPTH: Final = 3
SELL_DEPTH: Final = 4
"""Of a pair as it is now."""
PEAK_NET: Final = 5
PEAK_PROFIT: Final = 6
PEAK_SIZE: Final = 7
PEAK_BUY_DEPTH: Final = 8
PEAK_SELL_DEPTH: Final = 9
FIRST: Final = 10
LATER: Final = 11
BUY_AGE: Final = 12
SELL_AGE: Final = 13
CHANGES: Final = 14
"""Of the pair's running opportunity; ``LATER`` is -1 until it is known."""
PAIR_COLUMNS: Final = 15

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Records = npt.NDArray[np.void]


@njit(cache=True)
def _net_bps(state: Any, legs: Float64, v: int, w: int, size: float) -> float:
    """Return the net spread of buying ``size`` at v and selling it at w, in basis points of its cost; NaN without the depth."""
    cost, proceeds = 0.0, 0.0
    for side in range(2):
        venue = v if side == 1 else w
        decimals, lot, fee = legs[1 + venue, 0], legs[1 + venue, 1], legs[1 + venue, 2]
        left = size
        k = state.counts[venue, side] - 1
        total = 0.0
        while left > 0.0 and k >= 0:
            taken = min(left, state.size[venue, side, k] * lot)
            total += taken * state.price[venue, side, k] * decimals
            left -= taken
            k -= 1
        if left > 1e-12 * size:
            return np.nan
        if side == 1:
            cost = total * (1.0 + fee)
        else:
            proceeds = total * (1.0 - fee)
    return 1e4 * (proceeds - cost) / cost


@njit(cache=True)
def _measure(state: Any, legs: Float64, v: int, w: int) -> None:
    """Write what a pair is worth now: net spread at size, the most that could be made, and the depth that pays."""
    pair = state.pairs[v, w]
    pair[PROFIT], pair[SIZE], pair[BUY_DEPTH], pair[SELL_DEPTH] = 0.0, 0.0, 0.0, 0.0
    pair[NET] = _net_bps(state, legs, v, w, legs[0, 0])
    i, j = state.counts[v, 1] - 1, state.counts[w, 0] - 1
    if i < 0 or j < 0:
        return
    buy_scale, sell_scale = legs[1 + v, 0] * (1.0 + legs[1 + v, 2]), legs[1 + w, 0] * (1.0 - legs[1 + w, 2])
    best_ask, best_bid = state.price[v, 1, i] * buy_scale, state.price[w, 0, j] * sell_scale
    if best_bid <= best_ask:
        return
    k = i
    while k >= 0 and state.price[v, 1, k] * buy_scale < best_bid:
        pair[BUY_DEPTH] += state.size[v, 1, k] * legs[1 + v, 1]
        k -= 1
    k = j
    while k >= 0 and state.price[w, 0, k] * sell_scale > best_ask:
        pair[SELL_DEPTH] += state.size[w, 0, k] * legs[1 + w, 1]
        k -= 1
    ask_left, bid_left = state.size[v, 1, i] * legs[1 + v, 1], state.size[w, 0, j] * legs[1 + w, 1]
    while True:
        ask, bid = state.price[v, 1, i] * buy_scale, state.price[w, 0, j] * sell_scale
        if bid <= ask:
            break
        taken = min(ask_left, bid_left)
        pair[PROFIT] += taken * (bid - ask)
        pair[SIZE] += taken
        ask_left -= taken
        bid_left -= taken
        if ask_left <= 0.0:
            i -= 1
            if i < 0:
                break
            ask_left = state.size[v, 1, i] * legs[1 + v, 1]
        if bid_left <= 0.0:
            j -= 1
            if j < 0:
                break
            bid_left = state.size[w, 0, j] * legs[1 + w, 1]


@njit(cache=True)
def _end(state: Any, v: int, w: int, at: int, reason: int, out: Records, written: int) -> int:
    """Write a pair's opportunity down; what was over before the latency had passed is worth nothing later."""
    pair, row = state.pairs[v, w], out[written]
    began = state.began_ns[v, w]
    row.start_ns, row.end_ns = began, at
    row.peak_bps, row.peak_profit, row.peak_size = pair[PEAK_NET], pair[PEAK_PROFIT], pair[PEAK_SIZE]
    row.buy_depth, row.sell_depth = pair[PEAK_BUY_DEPTH], pair[PEAK_SELL_DEPTH]
    row.first_profit = pair[FIRST]
    row.later_profit = max(pair[LATER], 0.0)
    row.buy_age_ns, row.sell_age_ns = np.int64(pair[BUY_AGE]), np.int64(pair[SELL_AGE])
    row.changes = np.int64(pair[CHANGES])
    row.buy, row.sell, row.reason = v, w, reason
    state.began_ns[v, w] = 0
    return written + 1


@njit(cache=True)
def _pass_time(state: Any, ints: Int64, now: int, out: Records, written: int) -> int:
    """Let time pass to ``now``: count it, keep what is still there after the latency, end what has become stale."""
    stale, latency = ints[0], ints[1]
    before = state.now_ns[0]
    count = len(state.seen_ns)
    for v in range(count):
        for w in range(count):
            if v == w or state.seen_ns[v] < 0 or state.seen_ns[w] < 0:
                continue
            until = min(state.seen_ns[v], state.seen_ns[w]) + stale
            state.totals[v, w, 0] += now - before
            state.totals[v, w, 1] += max(min(now, until) - before, 0)
            began = state.began_ns[v, w]
            if began == 0:
                continue
            pair = state.pairs[v, w]
            if pair[LATER] < 0.0 and now >= began + latency and until >= began + latency:
                pair[LATER] = pair[PROFIT]
            state.totals[v, w, 2] += max(min(now, until) - before, 0)
            if now > until:
                written = _end(state, v, w, until, STALE, out, written)
    state.now_ns[0] = now
    return written


@njit(cache=True)
def _judge(state: Any, ints: Int64, legs: Float64, v: int, w: int, now: int, out: Records, written: int) -> int:
    """Measure a pair after one of its books changed: begin, go on with, or end an opportunity."""
    pair = state.pairs[v, w]
    if state.seen_ns[v] < 0 or state.seen_ns[w] < 0:
        if state.began_ns[v, w] > 0:
            written = _end(state, v, w, now, LOST, out, written)
        return written
    _measure(state, legs, v, w)
    fresh = now - min(state.seen_ns[v], state.seen_ns[w]) <= ints[0]
    pays = fresh and pair[NET] >= legs[0, 1]
    if state.began_ns[v, w] > 0 and not pays:
        written = _end(state, v, w, now, CLOSED, out, written)
    elif pays:
        if state.began_ns[v, w] == 0:
            state.began_ns[v, w] = now
            pair[PEAK_NET], pair[PEAK_PROFIT], pair[CHANGES] = pair[NET], -1.0, 0.0
            pair[FIRST] = pair[PROFIT]
            pair[LATER] = pair[PROFIT] if ints[1] == 0 else -1.0
            pair[BUY_AGE], pair[SELL_AGE] = now - state.seen_ns[v], now - state.seen_ns[w]
        pair[CHANGES] += 1.0
        pair[PEAK_NET] = max(pair[PEAK_NET], pair[NET])
        if pair[PROFIT] > pair[PEAK_PROFIT]:
            pair[PEAK_PROFIT], pair[PEAK_SIZE] = pair[PROFIT], pair[SIZE]
            pair[PEAK_BUY_DEPTH], pair[PEAK_SELL_DEPTH] = pair[BUY_DEPTH], pair[SELL_DEPTH]
    return written


@njit(cache=True)
def watch_events(
    state: Any, ints: Int64, legs: Float64, leg_of: Int64, events: Records, first: int, out: Records
) -> tuple[int, int]:
    """Take events from ``first`` on; return (events taken, opportunities written); stops early when ``out`` is nearly full."""
    written = 0
    count = len(state.seen_ns)
    for r in range(first, len(events)):
        if written + 4 * count * count > len(out):
            return r, written
        event = events[r]
        number = np.int64(event.instrument_id)
        v = leg_of[number] if 0 <= number < len(leg_of) else -1
        if v < 0:
            continue
        now = event.ts_recv
        if state.now_ns[0] == 0:
            state.now_ns[0] = now
        if now > state.now_ns[0]:
            written = _pass_time(state, ints, now, out, written)
        action = np.int64(event.action)
        levels_apply(
            state.price[v],
            state.size[v],
            state.counts[v],
            state.counters[v],
            action,
            np.int64(event.side),
            event.price_units,
            event.size_lots,
        )
        if action == CLEAR or state.counters[v, 2] != 0:
            state.seen_ns[v] = -1
        if event.flags & F_LAST == 0:
            continue
        if state.counts[v, 0] > 0 and state.counts[v, 1] > 0 and state.counters[v, 2] == 0:
            state.seen_ns[v] = now
        for w in range(count):
            if w != v:
                written = _judge(state, ints, legs, v, w, now, out, written)
                written = _judge(state, ints, legs, w, v, now, out, written)
    return len(events), written


@njit(cache=True)
def end_episodes(state: Any, ints: Int64, until: int, out: Records) -> int:
    """Let time pass to ``until``, then end what is open."""
    written = _pass_time(state, ints, max(until, state.now_ns[0]), out, 0)
    for v in range(len(state.seen_ns)):
        for w in range(len(state.seen_ns)):
            if state.began_ns[v, w] > 0:
                written = _end(state, v, w, state.now_ns[0], END, out, written)
    return written

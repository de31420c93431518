"""The risk gate: every order passes it in process, and every refusal has a reason.

Positions are counted at their worst: what is held plus every live order of the side, whether pending, resting or waiting for
a cancel to be confirmed. An order that only reduces a position (opposite to it, and together with the other live orders of its
side no larger than it) always passes. The gate approves, refuses, or makes an order smaller.

The drawdown ladder is latched: NORMAL, REDUCED_20, REDUCED_50, HALTED are entered at once when the drawdown from the peak
reaches 5, 10 or 15 % (settings), compared in integers and exact at the thresholds; a step is left one at a time, after the
drawdown has stayed below its threshold less a margin for half an hour; HALTED is left only by a person's re-arm, which makes
the equity of that moment the new peak. The size that passes is a function of the state, it does not compound, and is rounded to
the nearest lot, halves down.
"""

from typing import Final

from numba import njit

from trading.journal import (
    R_CLOSING,
    R_COLLAR,
    R_DAILY_LOSS,
    R_DRAWDOWN,
    R_FLATTENING,
    R_HALTED,
    R_KILLED,
    R_NO_QUOTE,
    R_ORDER_SIZE,
    R_PAUSED,
    R_POSITION,
    R_RATE,
    R_RECOVERED,
    R_SCALED_TO_ZERO,
    R_SELF_CROSS,
)
from trading.ledger import MILLION, share_ceil
from trading.orders import is_live
from trading.state import (
    G_CALM_SINCE,
    G_ENDING,
    G_EQUITY,
    G_FLATTEN,
    G_HALT_REASON,
    G_KILLED,
    G_LADDER,
    G_LEVEL_1,
    G_LEVEL_2,
    G_LEVEL_3,
    G_OPEN_EQUITY,
    G_PAUSED,
    G_PEAK,
    G_RATE_COUNT,
    I_ASK,
    I_ASK_LOTS,
    I_BID,
    I_BID_LOTS,
    I_BUY_WORKING,
    I_MAX_POSITION,
    I_POSITION,
    I_SELL_WORKING,
    P_COLLAR_PPM,
    P_DAILY_LOSS,
    P_MARGIN_PPM,
    P_MAX_ORDER,
    P_RECOVER_NS,
    P_SCALE_PPM,
    P_STEP_PPM,
    AgentState,
    EngineParameters,
    Int64,
    Records,
)

NORMAL: Final = 0
REDUCED_20: Final = 1
REDUCED_50: Final = 2
HALTED: Final = 3
LADDER_NAMES: Final = ("normal", "reduced_20", "reduced_50", "halted")

ONE_SECOND: Final = 1_000_000_000


@njit(cache=True)
def set_peak(g: Int64, ints: Int64, peak: int) -> None:
    """Set the peak and the drawdowns, in nanos, at which the ladder's steps begin."""
    g[G_PEAK] = peak
    g[G_LEVEL_1] = share_ceil(peak, ints[P_STEP_PPM])
    g[G_LEVEL_2] = share_ceil(peak, ints[P_STEP_PPM + 1])
    g[G_LEVEL_3] = share_ceil(peak, ints[P_STEP_PPM + 2])


@njit(cache=True)
def ladder_step(g: Int64, ints: Int64, now: int) -> int:
    """Bring the ladder up to date with the equity; return the reason of a change, 0 when there was none."""
    equity = g[G_EQUITY]
    if equity > g[G_PEAK]:
        set_peak(g, ints, equity)
    drawdown = g[G_PEAK] - equity
    state = g[G_LADDER]
    if state == HALTED:
        return 0
    if g[G_OPEN_EQUITY] - equity >= ints[P_DAILY_LOSS]:
        g[G_LADDER] = HALTED
        g[G_HALT_REASON] = R_DAILY_LOSS
        return R_DAILY_LOSS
    target = NORMAL
    if drawdown >= g[G_LEVEL_3]:
        target = HALTED
    elif drawdown >= g[G_LEVEL_2]:
        target = REDUCED_50
    elif drawdown >= g[G_LEVEL_1]:
        target = REDUCED_20
    if target > state:
        g[G_LADDER] = target
        g[G_CALM_SINCE] = 0
        if target == HALTED:
            g[G_HALT_REASON] = R_DRAWDOWN
        return R_DRAWDOWN
    if state == NORMAL:
        return 0
    line = share_ceil(g[G_PEAK], ints[P_STEP_PPM + state - 1] - ints[P_MARGIN_PPM])
    if drawdown >= line:
        g[G_CALM_SINCE] = 0
    elif g[G_CALM_SINCE] == 0:
        g[G_CALM_SINCE] = now
    elif now - g[G_CALM_SINCE] >= ints[P_RECOVER_NS]:
        g[G_LADDER] = state - 1
        g[G_CALM_SINCE] = 0
        return R_RECOVERED
    return 0


@njit(cache=True)
def ladder_may_move(g: Int64, ints: Int64) -> bool:
    """Return whether :func:`ladder_step` could do anything now: a new peak, a threshold reached, a step to recover from."""
    equity = g[G_EQUITY]
    return (
        g[G_LADDER] != NORMAL
        or equity > g[G_PEAK]
        or g[G_PEAK] - equity >= g[G_LEVEL_1]
        or g[G_OPEN_EQUITY] - equity >= ints[P_DAILY_LOSS]
    )


@njit(cache=True)
def rearm(g: Int64, ints: Int64) -> None:
    """Leave HALTED and a kill: the equity of this moment is the new peak and the new base of the daily loss."""
    g[G_LADDER] = NORMAL
    g[G_HALT_REASON] = 0
    g[G_KILLED] = 0
    g[G_CALM_SINCE] = 0
    g[G_OPEN_EQUITY] = g[G_EQUITY]
    set_peak(g, ints, g[G_EQUITY])


@njit(cache=True)
def scaled_lots(lots: int, ppm: int) -> int:
    """Return a share of an order's size, to the nearest lot, halves down."""
    product = lots * ppm
    return product // MILLION + (1 if product % MILLION > MILLION // 2 else 0)


@njit(cache=True)
def is_reducing(row: Int64, side: int, lots: int) -> bool:
    """Return whether an order only reduces the position, with every other live order of its side counted before it."""
    if side > 0:
        return lots <= -row[I_POSITION] - row[I_BUY_WORKING]
    return lots <= row[I_POSITION] - row[I_SELL_WORKING]


@njit(cache=True)
def _crosses_own(orders: Records, slot: int, side: int, price: int) -> bool:
    for k in range(len(orders)):
        order = orders[k]
        if order.slot == slot and order.side == -side and is_live(order.state):
            if side > 0 and price >= order.price_units:
                return True
            if side < 0 and price <= order.price_units:
                return True
    return False


@njit(cache=True)
def check_order(
    agent: AgentState, parameters: EngineParameters, slot: int, side: int, price: int, lots: int, now: int
) -> tuple[int, int, bool]:
    """Return (reason, lots, reduces): reason 0 lets ``lots`` pass, which may be fewer than asked for.

    The order's time is written into the rate window when it passes; reducing orders are counted there but never refused.
    """
    g, ints, row = agent.g, parameters.ints, agent.inst[slot]
    reduces = is_reducing(row, side, lots)
    if not reduces:
        reason = 0
        if g[G_KILLED] != 0:
            reason = R_KILLED
        elif g[G_LADDER] == HALTED:
            reason = R_DAILY_LOSS if g[G_HALT_REASON] == R_DAILY_LOSS else R_HALTED
        elif g[G_PAUSED] != 0:
            reason = R_PAUSED
        elif g[G_ENDING] != 0:
            reason = R_CLOSING
        elif g[G_FLATTEN] != 0:
            reason = R_FLATTENING
        elif lots > ints[P_MAX_ORDER]:
            reason = R_ORDER_SIZE
        elif row[I_BID_LOTS] == 0 or row[I_ASK_LOTS] == 0:
            reason = R_NO_QUOTE
        elif _outside_collar(row, ints[P_COLLAR_PPM], side, price):
            reason = R_COLLAR
        elif agent.rate[g[G_RATE_COUNT] % len(agent.rate)] > now - ONE_SECOND:
            reason = R_RATE
        elif _crosses_own(agent.orders, slot, side, price):
            reason = R_SELF_CROSS
        if reason != 0:
            return reason, 0, False
        lots = scaled_lots(lots, ints[P_SCALE_PPM + g[G_LADDER]])
        if lots == 0:
            return R_SCALED_TO_ZERO, 0, False
        if side > 0:
            room = row[I_MAX_POSITION] - row[I_POSITION] - row[I_BUY_WORKING]
        else:
            room = row[I_MAX_POSITION] + row[I_POSITION] - row[I_SELL_WORKING]
        if room <= 0:
            return R_POSITION, 0, False
        lots = min(lots, room)
    agent.rate[g[G_RATE_COUNT] % len(agent.rate)] = now
    g[G_RATE_COUNT] += 1
    return 0, lots, reduces


@njit(cache=True)
def _outside_collar(row: Int64, collar_ppm: int, side: int, price: int) -> bool:
    """Return whether an order's price is further through the touch than the collar allows."""
    if side > 0:
        return price > row[I_ASK] + share_ceil(row[I_ASK], collar_ppm)
    return price < row[I_BID] - share_ceil(row[I_BID], collar_ppm)

"""The drawdown ladder: how much of an order's size passes after losses, and when nothing does.

It is latched: NORMAL, REDUCED_20, REDUCED_50, HALTED are entered at once when the drawdown from the peak reaches 5, 10 or 15 %
(settings), compared in integers and exact at the thresholds; a step is left one at a time, after the drawdown has stayed below
its threshold less a margin for half an hour; HALTED is left only by a person's re-arm, which makes the equity of that moment the
new peak. The size that passes is a function of the state, it does not compound, and is rounded to the nearest lot, halves down.
Deposits move the peak as they move the equity: a payment out is no drawdown.
"""

from typing import Final

from numba import njit

from trading.journal import R_DAILY_LOSS, R_DRAWDOWN, R_RECOVERED
from trading.ledger import MILLION, share_ceil
from trading.state import (
    G_CALM_SINCE,
    G_EQUITY,
    G_HALT_REASON,
    G_KILLED,
    G_LADDER,
    G_LEVEL_1,
    G_LEVEL_2,
    G_LEVEL_3,
    G_OPEN_EQUITY,
    G_PEAK,
    P_DAILY_LOSS,
    P_MARGIN_PPM,
    P_RECOVER_NS,
    P_STEP_PPM,
    Int64,
)

NORMAL: Final = 0
REDUCED_20: Final = 1
REDUCED_50: Final = 2
HALTED: Final = 3
LADDER_NAMES: Final = ("normal", "reduced_20", "reduced_50", "halted")


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

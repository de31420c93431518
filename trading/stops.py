"""Stops: a position that lost too much against its entry, or against its best mark, is closed.

A position's entry is what its lots cost, on average; what is closed takes its share of the cost with it, rounded down. Marks are
the touch that would close the position. The stop loss is reached when the loss is the setting's share of the entry's value, the
trailing stop when the mark is the setting's share away from the best mark since the position was opened; both compared in
integers, shares rounded up, exact at the threshold. What a stop closes is closed like everything else that is flattened: resting
orders are cancelled, then the position is taken off by IOC, asked again until it is flat. Until a while later (settings) the
instrument takes on nothing new.
"""

from numba import njit

from trading.journal import R_STOP_LOSS, R_TRAILING_STOP
from trading.ledger import share_ceil
from trading.state import (
    I_BEST_MARK,
    I_ENTRY_COST,
    I_MARK_ASK,
    I_MARK_BID,
    I_POSITION,
    P_STOP_PPM,
    P_TRAIL_PPM,
    Int64,
)


@njit(cache=True)
def follow_entry(inst: Int64, side: int, price: int, lots: int) -> None:
    """Take a fill into the cost of what is held; called before the position changes."""
    position = inst[I_POSITION]
    held = abs(position)
    if position == 0 or (position > 0) == (side > 0):
        inst[I_ENTRY_COST] += price * lots
        if position == 0:
            inst[I_BEST_MARK] = price
        return
    if lots >= held:
        inst[I_ENTRY_COST] = price * (lots - held)
        inst[I_BEST_MARK] = price if lots > held else 0
        return
    cost = inst[I_ENTRY_COST]
    inst[I_ENTRY_COST] -= cost // held * lots + cost % held * lots // held


@njit(cache=True)
def stop_reason(inst: Int64, ints: Int64) -> int:
    """Follow the best mark of a position, and return the reason for which it must be closed, 0 if there is none."""
    position = inst[I_POSITION]
    if position == 0:
        return 0
    cost = inst[I_ENTRY_COST]
    if position > 0:
        mark = inst[I_MARK_BID]
        inst[I_BEST_MARK] = max(inst[I_BEST_MARK], mark)
        loss, back = cost - mark * position, inst[I_BEST_MARK] - mark
    else:
        mark = inst[I_MARK_ASK]
        inst[I_BEST_MARK] = min(inst[I_BEST_MARK], mark)
        loss, back = -mark * position - cost, mark - inst[I_BEST_MARK]
    if ints[P_STOP_PPM] > 0 and loss >= share_ceil(cost, ints[P_STOP_PPM]):
        return R_STOP_LOSS
    if ints[P_TRAIL_PPM] > 0 and back >= share_ceil(inst[I_BEST_MARK], ints[P_TRAIL_PPM]):
        return R_TRAILING_STOP
    return 0

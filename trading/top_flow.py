"""What the agent keeps of changes of the best quotes: order flow imbalance, depth, and the variance of the mid, in integers.

Everything is a running total or an integer recursion from one event group to the next, so that cutting the stream anywhere
changes nothing. The order flow imbalance is that of the features (``features.kernel``): what came to the best bid less what
went, minus the same at the best ask; a level that improves counts whole, and a side that empties or appears counts its size.

References
----------
Cont, Kukanov, Stoikov (2014). The price impact of order book events. Journal of Financial Econometrics 12(1).
"""

from typing import Final

from numba import njit

from marketdata.clock import NS_PER_MS, NS_PER_S
from trading.state import (
    I_ASK,
    I_ASK_LOTS,
    I_BID,
    I_BID_LOTS,
    I_MID2,
    I_MID2_NS,
    I_OFI,
    I_TOP_CHANGES,
    I_TOP_DEPTH,
    I_VARIANCE,
    Int64,
)
from trading.strategies.interface import V_OFI, V_TOP_CHANGES, V_TOP_DEPTH, V_VARIANCE

VARIANCE_ONE: Final = 65_536
"""``I_VARIANCE`` of one price unit squared a second."""
SAMPLE_NS: Final = NS_PER_S
"""Least time between two samples of the mid."""
SAMPLES: Final = 64
"""Weight of a sample: one part in so many."""
LONGEST_GAP_NS: Final = 60 * NS_PER_S
"""After a longer silence the next sample only starts anew."""
LARGEST_MOVE: Final = 20_000_000
"""Doubled price units that one sample counts at most: keeps its square within int64."""


@njit(cache=True)
def side_flow(sign: int, price: int, lots: int, old_price: int, old_lots: int) -> int:
    """Return what came minus what went at the best quote of a side: ``sign`` 1 of the bids, -1 of the asks."""
    if lots == 0:
        return -old_lots
    if old_lots == 0:
        return lots
    better = sign * (price - old_price)
    if better > 0:
        return lots
    if better < 0:
        return -old_lots
    return lots - old_lots


@njit(cache=True)
def show_top(inst: Int64, view: Int64) -> None:
    """Write an instrument's totals into its view, for the strategy to read."""
    view[V_OFI] = inst[I_OFI]
    view[V_TOP_DEPTH] = inst[I_TOP_DEPTH]
    view[V_TOP_CHANGES] = inst[I_TOP_CHANGES]
    view[V_VARIANCE] = inst[I_VARIANCE]


@njit(cache=True)
def track_top(inst: Int64, now: int, bid: int, bid_lots: int, ask: int, ask_lots: int) -> None:
    """Add a change of the best quotes to an instrument's totals; called before the new quotes are taken in."""
    if inst[I_TOP_CHANGES] > 0:
        inst[I_OFI] += side_flow(1, bid, bid_lots, inst[I_BID], inst[I_BID_LOTS])
        inst[I_OFI] -= side_flow(-1, ask, ask_lots, inst[I_ASK], inst[I_ASK_LOTS])
    inst[I_TOP_DEPTH] += bid_lots + ask_lots
    inst[I_TOP_CHANGES] += 1
    if bid_lots == 0 or ask_lots == 0:
        return
    passed = now - inst[I_MID2_NS]
    if passed < SAMPLE_NS:
        return
    if inst[I_MID2_NS] > 0 and passed <= LONGEST_GAP_NS:
        move = min(abs(bid + ask - inst[I_MID2]), LARGEST_MOVE)
        # The doubled mid squared is four times the mid's: 65,536 / 4 to a unit squared.
        sample = move * move * (VARIANCE_ONE // 4) // (passed // NS_PER_MS) * 1_000
        inst[I_VARIANCE] += (sample - inst[I_VARIANCE]) // SAMPLES
    inst[I_MID2] = bid + ask
    inst[I_MID2_NS] = now

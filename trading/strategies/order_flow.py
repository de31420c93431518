"""The order flow strategy: trade with a lasting imbalance of order flow at the best quotes.

Order flow imbalance over a window, divided by the mean depth of the touch over its changes, is a pure number: how many times the
touch was bought away, net. In the window itself it goes with the price (Cont, Kukanov and Stoikov find a slope of about half a
tick); how much of a further move it announces, ``impact`` ticks for each touch, must be measured for the instrument at hand, and
the default is not a claim that it pays. When the announced move exceeds the round trip's cost by a margin, the strategy enters at
the touch by IOC, or rests there post-only and saves the spread where somebody comes. It leaves by IOC after the holding time, or
as soon as the flow has turned against it by as much.

The window is kept in integers from the agent's running totals (``V_OFI`` and its neighbours): the totals at the beginning of
the last seven sixths of a window, so that it reaches back one window to seven sixths of one. Nothing is decided before it is
full.

Size grows with how far the announced move exceeds what entering asks for, to the whole order at twice that, and is bound by a
risk budget: one standard deviation of the position's value over the holding time (volatility targeting).

References
----------
Cont, Kukanov, Stoikov (2014). The price impact of order book events. Journal of Financial Econometrics 12(1).
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import cfunc, njit

from marketdata.events import ASK, BID
from trading.hooks import DECIDE_SIGNATURE
from trading.orders import IOC, POST_ONLY
from trading.sizing import confidence_share, risk_lots
from trading.strategies.interface import (
    V_ASK,
    V_ASK_LOTS,
    V_BID,
    V_BID_LOTS,
    V_BUY_WORKING,
    V_OFI,
    V_OWN_ASK,
    V_OWN_ASK_ID,
    V_OWN_BID,
    V_OWN_BID_ID,
    V_POSITION,
    V_SELL_WORKING,
    V_TAKER_PPM,
    V_TICK,
    V_TIMER_NS,
    V_TOP_CHANGES,
    V_TOP_DEPTH,
    V_TRADE_FEE,
    V_UNIT_NANOS,
    V_UNSETTLED,
    V_VARIANCE,
    WAKE_RESPONSE,
    WAKE_TIMER,
    WAKE_TOP,
    Floats,
    Ints,
    Strategy,
    put_cancel,
    put_order,
)
from trading.strategies.taker import round_trip_cost, trade_fee_cost

F_LOTS: Final = 0
F_LAST_ENTRY: Final = 1
F_BUCKET: Final = 2
F_HOLD: Final = 3
F_REST: Final = 4
F_EXIT_TICKS: Final = 5
F_RETRY: Final = 6
G_IMPACT: Final = 0
G_MARGIN: Final = 1
G_BUDGET: Final = 2

PARTS: Final = 6
"""Parts of a window; one more is kept."""
M_BUCKET: Final = 0
M_FIRST: Final = 1
M_EXPIRY: Final = 2
M_LAST: Final = 3
"""Totals at the latest wake: imbalance, depth, changes."""
M_RING: Final = 6
"""Totals at the beginning of the last seven parts, by part modulo seven."""

M_RETRY: Final = 27
"""No exit is sent before this: what found nothing to take is not sent again at once."""

VARIANCE_ONE: Final = 65_536.0


@njit(cache=True)
def window_flow(now: int, bucket_ns: int, view: Ints, memory: Ints) -> tuple[bool, float]:
    """Move the window on to now; return (whether it is full, imbalance over mean depth of the touch).

    ``memory`` holds the window (``M_*``); ``view`` the running totals.
    """
    part = now // bucket_ns
    ring = PARTS + 1
    if memory[M_FIRST] == 0:
        memory[M_FIRST] = part + 1
        memory[M_BUCKET] = part
        for k in range(3):
            memory[M_LAST + k] = view[V_OFI + k]
            memory[M_RING + 3 * (part % ring) + k] = view[V_OFI + k]
    for p in range(max(memory[M_BUCKET] + 1, part - PARTS), part + 1):
        for k in range(3):
            memory[M_RING + 3 * (p % ring) + k] = memory[M_LAST + k]
    memory[M_BUCKET] = part
    for k in range(3):
        memory[M_LAST + k] = view[V_OFI + k]
    if part < memory[M_FIRST] + PARTS:
        return False, 0.0
    oldest = M_RING + 3 * ((part - PARTS) % ring)
    changes = view[V_TOP_CHANGES] - memory[oldest + 2]
    depth = view[V_TOP_DEPTH] - memory[oldest + 1]
    if changes == 0 or depth == 0:
        return True, 0.0
    return True, (view[V_OFI] - memory[oldest]) * 2.0 * changes / depth


@cfunc(DECIDE_SIGNATURE, cache=True)
def decide_order_flow(
    now: int,
    wake: int,
    ints: Ints,
    floats: Floats,
    view: Ints,
    forecast: Floats,
    memory: Ints,
    out: npt.NDArray[np.int64],
) -> int:
    """Enter with the flow when it announces more than the round trip costs; leave after a time or when it turns."""
    full, flow = window_flow(now, ints[F_BUCKET], view, memory)
    if view[V_UNSETTLED] > 0:
        return 0
    bid, ask, tick, position = view[V_BID], view[V_ASK], view[V_TICK], view[V_POSITION]
    quoted = view[V_BID_LOTS] > 0 and view[V_ASK_LOTS] > 0 and bid < ask
    move = floats[G_IMPACT] * flow * tick
    own_id = view[V_OWN_BID_ID] if view[V_OWN_BID_ID] > 0 else view[V_OWN_ASK_ID]
    side = 1 if move > 0.0 else -1
    cost = round_trip_cost(bid, ask, view[V_TAKER_PPM])
    cost += trade_fee_cost(view[V_TRADE_FEE], view[V_UNIT_NANOS], ints[F_LOTS])
    need = cost * (1.0 + floats[G_MARGIN])
    if own_id > 0:
        own_side = 1 if view[V_OWN_BID_ID] > 0 else -1
        own = view[V_OWN_BID] if own_side > 0 else view[V_OWN_ASK]
        touch = bid if own_side > 0 else ask
        if not quoted or own != touch or side != own_side or abs(move) <= need or position != 0:
            return put_cancel(out, 0, own_id)
        return 0
    if view[V_BUY_WORKING] + view[V_SELL_WORKING] > 0:
        return 0
    if position != 0:
        if memory[M_EXPIRY] == 0:
            memory[M_EXPIRY] = now + ints[F_HOLD]
        turned = move * position < 0.0 and abs(move) > need
        if now < memory[M_EXPIRY] and not turned:
            view[V_TIMER_NS] = memory[M_EXPIRY]
            return 0
        if not quoted or now < memory[M_RETRY]:
            view[V_TIMER_NS] = max(memory[M_RETRY], now + ints[F_RETRY])
            return 0
        memory[M_RETRY] = now + ints[F_RETRY]
        view[V_TIMER_NS] = memory[M_RETRY]
        through = ints[F_EXIT_TICKS] * tick
        price = max(bid - through, tick) if position > 0 else ask + through
        return put_order(out, 0, ASK if position > 0 else BID, IOC, price, abs(position))
    memory[M_EXPIRY] = 0
    if not full or not quoted or now > ints[F_LAST_ENTRY] or abs(move) <= need:
        return 0
    variance = view[V_VARIANCE] / VARIANCE_ONE
    most = risk_lots(floats[G_BUDGET], variance, ints[F_HOLD] * 1e-9, view[V_UNIT_NANOS], ints[F_LOTS])
    lots = int(most * confidence_share(abs(move), need, 2.0 * need) + 0.999999)
    if lots == 0:
        return 0
    if ints[F_REST] != 0:
        return put_order(out, 0, side, POST_ONLY, bid if side > 0 else ask, lots)
    return put_order(out, 0, side, IOC, ask if side > 0 else bid, lots)


def order_flow(
    *,
    lots: int,
    last_entry_ns: int,
    window_ns: int = 10_000_000_000,
    hold_ns: int = 10_000_000_000,
    impact_ticks: float = 0.5,
    margin: float = 0.25,
    risk_budget: float = 0.0,
    rest: bool = False,
    exit_ticks: int = 20,
) -> Strategy:
    """Return the order flow strategy.

    Parameters
    ----------
    lots : int
        Of the largest order.
    last_entry_ns : int
        Nothing is opened after this.
    window_ns, hold_ns : int
        Over which flow is summed, and for which a position is held.
    impact_ticks : float
        Ticks of further move that one touch bought away announces.
    margin : float
        Share of the round trip's cost by which the announced move must exceed it.
    risk_budget : float
        Quote currency that a position may lose in one standard deviation over the holding time; 0: no such bound.
    rest : bool
        Join the queue at the touch in place of taking the other side's.
    """
    bucket = max(window_ns // PARTS, 1)
    ints = (lots, last_entry_ns, bucket, hold_ns, int(rest), exit_ticks, 1_000_000_000)
    mask = WAKE_TOP | WAKE_TIMER | WAKE_RESPONSE
    return Strategy("order_flow", decide_order_flow, mask, ints, (impact_ticks, margin, risk_budget), tracks_top=True)

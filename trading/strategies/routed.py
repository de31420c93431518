"""A routed order: what :func:`trading.routing.route` decided, carried out over several venues at once.

Each venue is an instrument of the engine. At the start every leg sends its part: what takes, as IOC no worse than the plan's last
price there, and what rests, post-only at the touch. What did not fill (quotes were gone on arrival, nobody came) then rests at
the leg's touch and follows it, until the finish takes what is left some ticks behind the other side's touch: the order is done
by its end wherever there is anything to take. Nothing is sent while an answer is under way, so nothing is bought twice; what
found nothing is sent again when the quotes change, or after a second.

Legs do not hand lots to each other: the plan is made once, from what was known at the start.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import cfunc

from marketdata.clock import NS_PER_S
from trading.hooks import DECIDE_SIGNATURE
from trading.orders import IOC, POST_ONLY
from trading.routing import Route, RouteError
from trading.strategies.interface import (
    V_ASK,
    V_ASK_LOTS,
    V_BID,
    V_BID_LOTS,
    V_BUY_WORKING,
    V_INSTRUMENT,
    V_OWN_ASK,
    V_OWN_ASK_ID,
    V_OWN_BID,
    V_OWN_BID_ID,
    V_POSITION,
    V_SELL_WORKING,
    V_TICK,
    V_TIMER_NS,
    V_UNSETTLED,
    WAKE_RESPONSE,
    WAKE_TIMER,
    WAKE_TOP,
    Floats,
    Ints,
    Strategy,
    put_cancel,
    put_order,
)

R_SIDE: Final = 0
R_START: Final = 1
R_FINISH: Final = 2
R_END: Final = 3
R_EXIT_TICKS: Final = 4
R_LEGS: Final = 5
"""From here on four values a leg."""
LEG_WIDTH: Final = 4
L_INSTRUMENT: Final = 0
L_TAKE: Final = 1
L_LIMIT: Final = 2
L_REST: Final = 3
M_SENT: Final = 0
M_RETRY: Final = 1
"""Whether the plan was sent; until when what found nothing, or was refused, is not sent again unless the quotes change."""


@cfunc(DECIDE_SIGNATURE, cache=True)
def decide_routed(
    now: int,
    wake: int,
    ints: Ints,
    floats: Floats,
    view: Ints,
    forecast: Floats,
    memory: Ints,
    out: npt.NDArray[np.int64],
) -> int:
    """Carry out one leg of a routed order; see the module's words."""
    leg = R_LEGS
    while leg < len(ints) and ints[leg + L_INSTRUMENT] != view[V_INSTRUMENT]:
        leg += LEG_WIDTH
    side, start, end = ints[R_SIDE], ints[R_START], ints[R_END]
    if leg >= len(ints) or now >= end:
        return 0
    if now < start:
        view[V_TIMER_NS] = start
        return 0
    left = ints[leg + L_TAKE] + ints[leg + L_REST] - side * view[V_POSITION]
    if left <= 0 or view[V_UNSETTLED] > 0:
        return 0
    touch, far = (view[V_BID], view[V_ASK]) if side > 0 else (view[V_ASK], view[V_BID])
    quoted = view[V_BID_LOTS] > 0 and view[V_ASK_LOTS] > 0 and view[V_BID] < view[V_ASK]
    rows = 0
    if memory[M_SENT] == 0:
        memory[M_SENT] = 1
        view[V_TIMER_NS] = ints[R_FINISH]
        for part in range(2):
            lots = ints[leg + L_TAKE] if part == 0 else ints[leg + L_REST]
            if lots == 0 or (part == 1 and not quoted):
                continue
            tif = IOC if part == 0 else POST_ONLY
            rows = put_order(out, rows, side, tif, ints[leg + L_LIMIT] if part == 0 else touch, lots)
        return rows
    if now < ints[R_FINISH]:
        view[V_TIMER_NS] = ints[R_FINISH]
    else:
        view[V_TIMER_NS] = min(now + NS_PER_S, end)
    own_id = view[V_OWN_BID_ID] if side > 0 else view[V_OWN_ASK_ID]
    own = view[V_OWN_BID] if side > 0 else view[V_OWN_ASK]
    working = view[V_BUY_WORKING] if side > 0 else view[V_SELL_WORKING]
    last = now >= ints[R_FINISH]
    if own_id > 0:
        if last or not quoted or own != touch:
            rows = put_cancel(out, 0, own_id)
            memory[M_RETRY] = 0
        elif working >= left:
            return 0
    if not quoted or (last and working > 0) or left <= working or rows > 0:
        return rows
    if now < memory[M_RETRY] and wake & WAKE_TOP == 0:
        view[V_TIMER_NS] = min(view[V_TIMER_NS], memory[M_RETRY])
        return 0
    memory[M_RETRY] = now + NS_PER_S
    price = max(far + side * ints[R_EXIT_TICKS] * view[V_TICK], view[V_TICK]) if last else touch
    return put_order(out, 0, side, IOC if last else POST_ONLY, price, left - working)


def routed(
    plan: Route,
    side: int,
    instruments: Sequence[int],
    *,
    start_ns: int,
    end_ns: int,
    finish_ns: int = 5 * NS_PER_S,
    exit_ticks: int = 20,
) -> Strategy:
    """Return the strategy that carries out a route.

    Parameters
    ----------
    plan : Route
        What no venue shows is given to the first leg's rest.
    side : int
        1 buy, -1 sell.
    instruments : sequence of int
        Instrument ids, in the order of the quotes that the plan was made from.
    start_ns, end_ns : int
        Receive times between which it is worked.
    finish_ns : int
        Before the end, what is left is taken.

    Raises
    ------
    RouteError
        If it ends no later than its finish after its start.
    """
    if end_ns - start_ns <= finish_ns:
        raise RouteError(f"the order lasts {end_ns - start_ns} ns, no longer than its finish of {finish_ns} ns")
    legs = {k: [number, 0, 0, 0] for k, number in enumerate(instruments)}
    for child in plan.children:
        if child.rests:
            legs[child.venue][L_REST] += child.lots
        else:
            legs[child.venue][L_TAKE], legs[child.venue][L_LIMIT] = child.lots, child.price_units
    legs[0][L_REST] += plan.unrouted_lots
    table = [value for leg in legs.values() for value in leg]
    ints = (side, start_ns, end_ns - finish_ns, end_ns, exit_ticks, *table)
    return Strategy("routed", decide_routed, WAKE_TOP | WAKE_TIMER | WAKE_RESPONSE, ints, ())

"""A visitor's plan as a strategy of the engine: the orders of :mod:`marketdata.simulator.visits`, sent to a replay."""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import cfunc

from marketdata.simulator.visits import VisitPlan
from trading.hooks import DECIDE_SIGNATURE
from trading.orders import POST_ONLY
from trading.strategies import (
    V_ASK,
    V_ASK_LOTS,
    V_BID,
    V_BID_LOTS,
    V_OWN_ASK,
    V_OWN_ASK_ID,
    V_OWN_BID,
    V_OWN_BID_ID,
    V_TIMER_NS,
    WAKE_TIMER,
    WAKE_TOP,
    Strategy,
    put_cancel,
    put_order,
)

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

PLAN_HEAD: Final = 1
PLAN_COLUMNS: Final = 3
M_CURSOR: Final = 0
M_ARMED: Final = 1


@cfunc(DECIDE_SIGNATURE, cache=True)
def decide_visits(
    now: int,
    wake: int,
    ints: Int64,
    floats: Float64,
    view: Int64,
    forecast: Float64,
    memory: Int64,
    out: npt.NDArray[np.int64],
) -> int:
    """Carry out a plan: ``ints`` holds the number of actions, then (time, side, lots) each; 0 lots cancel the side's order.

    Where ``floats[0]`` is not 0, an order whose price is no longer the touch is cancelled too.
    """
    count = ints[0]
    rows = 0
    if wake == WAKE_TIMER:
        while memory[M_CURSOR] < count and rows < 8:
            at = PLAN_HEAD + PLAN_COLUMNS * memory[M_CURSOR]
            if ints[at] > now:
                break
            memory[M_CURSOR] += 1
            side, lots = ints[at + 1], ints[at + 2]
            if lots == 0:
                own = view[V_OWN_BID_ID] if side > 0 else view[V_OWN_ASK_ID]
                if own > 0:
                    rows = put_cancel(out, rows, own)
            elif view[V_BID_LOTS] > 0 and view[V_ASK_LOTS] > 0:
                rows = put_order(out, rows, side, POST_ONLY, view[V_BID] if side > 0 else view[V_ASK], lots)
    elif memory[M_ARMED] != 0:
        if floats[0] != 0.0:
            for side in (1, -1):
                own = view[V_OWN_BID_ID] if side > 0 else view[V_OWN_ASK_ID]
                price = view[V_OWN_BID] if side > 0 else view[V_OWN_ASK]
                touch = view[V_BID] if side > 0 else view[V_ASK]
                if own > 0 and price != touch:
                    rows = put_cancel(out, rows, own)
        return rows
    memory[M_ARMED] = 1
    if memory[M_CURSOR] < count:
        view[V_TIMER_NS] = ints[PLAN_HEAD + PLAN_COLUMNS * memory[M_CURSOR]]
    return rows


def visiting(plan: VisitPlan, to_venue_ns: int) -> Strategy:
    """Return the plan as a strategy: it decides ``to_venue_ns`` before its orders and cancels arrive."""
    when = np.concatenate([plan.arrive_ns, plan.cancel_ns]) - to_venue_ns
    side = np.tile(np.where(plan.side == 0, 1, -1), 2)
    lots = np.concatenate([plan.lots, np.zeros(len(plan), np.int64)])
    order = np.argsort(when, kind="stable")
    table = np.stack([when[order], side[order], lots[order]], axis=1)
    ints = (len(table), *(int(value) for value in table.ravel()))
    return Strategy("visits", decide_visits, WAKE_TOP | WAKE_TIMER, ints, (float(plan.reaction_ns is not None),))

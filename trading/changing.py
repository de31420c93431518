"""How a live order is changed: price and size by one command, without leaving the venue in between.

``size_lots`` of a change is the order's whole new size, what has filled included, so that a fill on its way can never make it
larger than asked. Until the answer is there the order counts at the larger of both sizes; one change is under way at a time.
"""

from typing import Final

import numpy as np
from numba import njit

from marketdata.bits import inner
from trading.journal import MODIFY, RISK_REJECT
from trading.orders import ACT_MODIFY, FREE, may_rest
from trading.outbox import note, own_orders_changed, send_command
from trading.risk import check_order
from trading.state import I_BUY_WORKING, I_SELL_WORKING, I_UNSETTLED, AgentState, EngineParameters, Records

_i: Final = np.int64
"""Makes a constant an ordinary int64 argument: numba would compile a function anew for each literal."""


@njit(cache=True)
def reserved_lots(orders: Records, j: int) -> int:
    """Return the lots at which an order counts: what is left of it, or what a change under way may make of that."""
    order = orders[j]
    if order.modify_sent == 0:
        return order.leaves_lots
    return max(order.leaves_lots, order.asked_lots - (order.size_lots - order.leaves_lots))


@inner
def change_order(
    agent: AgentState, parameters: EngineParameters, out: Records, now: int, j: int, price: int, size: int
) -> None:
    """Ask for a resting order's price and whole size to be changed; it passes the risk gate as a new order in its place would.

    A change that the gate would make smaller is refused; one of an order with a change under way is left out.
    """
    order = agent.orders[j]
    if order.modify_sent != 0 or not may_rest(order.tif):
        return
    slot, side, tif = _i(order.slot), _i(order.side), _i(order.tif)
    inst = agent.inst[slot]
    working = I_BUY_WORKING if side > 0 else I_SELL_WORKING
    filled = order.size_lots - order.leaves_lots
    left = size - filled
    if left > 0:
        state = order.state
        inst[working] -= order.leaves_lots
        order.state = FREE
        reason, lots, _ = check_order(agent, parameters, slot, side, price, left, now)
        order.state = state
        inst[working] += order.leaves_lots
        if lots < left:
            k = note(agent, parameters, out, _i(RISK_REJECT), now, slot, reason)
            out[k].order_id = order.order_id
            out[k].side = side
            out[k].tif = tif
            out[k].price_units = price
            out[k].size_lots = size
            return
    order.asked_price = price
    order.asked_lots = size
    order.modify_sent = 1
    inst[working] += reserved_lots(agent.orders, j) - order.leaves_lots
    if order.awaiting == 0:
        order.awaiting = 1
        inst[I_UNSETTLED] += 1
    k = note(agent, parameters, out, _i(MODIFY), now, slot, _i(0))
    row = out[k]
    row.venue_ns = send_command(agent, parameters, now, order.order_id, slot, side, tif, price, size, _i(ACT_MODIFY))
    row.order_id = order.order_id
    row.side = side
    row.tif = tif
    row.price_units = price
    row.size_lots = size
    row.leaves_lots = order.leaves_lots
    row.state = order.state
    own_orders_changed(agent, slot, j)

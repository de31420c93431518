"""How the agent's wishes become commands: one table of intents, one place that carries them out, each through the risk gate."""

from typing import Final

import numpy as np

from marketdata.bits import inner, inner_inlined
from trading.changing import change_order
from trading.journal import (
    CANCEL,
    ORDER,
    RISK,
    RISK_REJECT,
)
from trading.ledger import share_ceil
from trading.order_ids import index_of, index_put
from trading.orders import (
    ACT_CANCEL,
    ACT_MODIFY,
    ACT_NEW,
    FREE,
    IOC,
    MARKET,
    PENDING,
    may_rest,
)
from trading.outbox import note, own_orders_changed, send_command
from trading.risk import HALTED, check_order, ladder_step
from trading.state import (
    G_FLATTEN,
    G_FREE,
    G_HIGH,
    G_INTENTS,
    G_LADDER,
    G_LIVE,
    G_NEXT_ID,
    G_STOPS,
    I_ASK,
    I_ASK_LOTS,
    I_BID,
    I_BID_LOTS,
    I_BUY_WORKING,
    I_MARK_ASK,
    I_MARK_BID,
    I_POSITION,
    I_SELL_WORKING,
    I_STOP,
    I_STOP_UNTIL,
    I_UNSETTLED,
    K_TICK,
    P_COLLAR_PPM,
    P_FLATTEN_ON_HALT,
    P_STOP_COOLDOWN_NS,
    AgentState,
    EngineParameters,
    Int64,
    Records,
)
from trading.stops import stop_reason
from trading.strategies import (
    O_AT_CAP,
    O_CANCEL,
    O_ID,
    O_LOTS,
    O_PRICE,
    O_SIDE,
    O_SLOT,
    O_TIF,
)

_i: Final = np.int64
"""Makes a constant an ordinary int64 argument: numba would compile a function anew for each literal."""

FLATTEN_HALT: Final = 1
FLATTEN_KILL: Final = 2
FLATTEN_PAUSE: Final = 4
FLATTEN_ENDING: Final = 8
FLATTEN_ASKED: Final = 16
"""Bits of ``G_FLATTEN``: why positions are being closed."""


@inner
def collar_price(inst: Int64, parameters: EngineParameters, slot: int, side: int) -> int:
    """Return the price furthest through the touch that the collar allows, in whole ticks."""
    tick, collar = parameters.inst[slot, K_TICK], parameters.ints[P_COLLAR_PPM]
    if side < 0:
        return max((inst[I_BID] - share_ceil(inst[I_BID], collar)) // tick * tick, tick)
    return -(-(inst[I_ASK] + share_ceil(inst[I_ASK], collar)) // tick) * tick


@inner_inlined
def _submit(agent: AgentState, parameters: EngineParameters, out: Records, now: int, intent: Int64) -> None:
    """Pass an order through the risk gate, and send it or journal its refusal."""
    g, slot, side = agent.g, intent[O_SLOT], intent[O_SIDE]
    price, asked, tif = intent[O_PRICE], intent[O_LOTS], intent[O_TIF]
    inst = agent.inst[slot]
    if tif == MARKET:
        price = collar_price(inst, parameters, slot, side)
    reason, lots, reduces = check_order(agent, parameters, slot, side, price, asked, now)
    k = note(agent, parameters, out, RISK_REJECT if lots == 0 else ORDER, now, slot, reason)
    row = out[k]
    row.side = side
    row.tif = tif
    row.price_units = price
    row.size_lots = asked
    if lots == 0:
        return
    g[G_NEXT_ID] += 1
    j = g[G_FREE]
    while agent.orders[j].state != FREE:
        j += 1
    g[G_FREE] = j + 1
    g[G_HIGH] = max(g[G_HIGH], j + 1)
    index_put(agent.order_index, g[G_NEXT_ID], j)
    order = agent.orders[j]
    order.order_id = g[G_NEXT_ID]
    order.price_units = price
    order.size_lots = lots
    order.leaves_lots = lots
    order.sent_ns = now
    order.slot = slot
    order.side = side
    order.state = PENDING
    order.tif = tif
    order.cancel_sent = 0
    order.modify_sent = 0
    order.awaiting = 1
    g[G_LIVE] += 1
    inst[I_UNSETTLED] += 1
    inst[I_BUY_WORKING if side > 0 else I_SELL_WORKING] += lots
    row.venue_ns = send_command(agent, parameters, now, g[G_NEXT_ID], slot, side, tif, price, lots, _i(ACT_NEW))
    row.order_id = g[G_NEXT_ID]
    row.size_lots = lots
    row.leaves_lots = lots
    row.state = PENDING
    row.flag = (1 if reduces else 0) + (2 if intent[O_AT_CAP] != 0 else 0) + (4 if lots < asked else 0)
    own_orders_changed(agent, slot, j)


@inner_inlined
def _cancel(agent: AgentState, parameters: EngineParameters, out: Records, now: int, j: int) -> None:
    """Ask for a live order to be cancelled."""
    order = agent.orders[j]
    slot, side, tif = _i(order.slot), _i(order.side), _i(order.tif)
    order.cancel_sent = 1
    if order.awaiting == 0:
        order.awaiting = 1
        agent.inst[slot, I_UNSETTLED] += 1
    k = note(agent, parameters, out, _i(CANCEL), now, slot, _i(0))
    row = out[k]
    row.venue_ns = send_command(
        agent, parameters, now, order.order_id, slot, side, tif, order.price_units, _i(0), _i(ACT_CANCEL)
    )
    row.order_id = order.order_id
    row.side = order.side
    row.tif = order.tif
    row.price_units = order.price_units
    row.leaves_lots = order.leaves_lots
    row.state = order.state
    own_orders_changed(agent, slot, j)


@inner
def carry_out(agent: AgentState, parameters: EngineParameters, out: Records, now: int) -> None:
    """Send every order, change and cancel that was decided on, in order, each through the risk gate; a cancel is sent once."""
    for r in range(agent.g[G_INTENTS]):
        intent = agent.intents[r]
        if intent[O_CANCEL] == 0:
            _submit(agent, parameters, out, now, intent)
            continue
        if intent[O_ID] != 0:
            j = index_of(agent.order_index, intent[O_ID])
            if j < 0 or agent.orders[j].cancel_sent != 0:
                continue
            if intent[O_CANCEL] == ACT_MODIFY:
                change_order(agent, parameters, out, now, j, intent[O_PRICE], intent[O_LOTS])
            else:
                _cancel(agent, parameters, out, now, j)
        elif intent[O_CANCEL] != ACT_MODIFY:
            for j in range(agent.g[G_HIGH]):
                order = agent.orders[j]
                if order.state == FREE or order.cancel_sent != 0 or order.slot != intent[O_SLOT]:
                    continue
                if may_rest(order.tif):
                    _cancel(agent, parameters, out, now, j)
    agent.g[G_INTENTS] = 0


@inner
def want_cancel(agent: AgentState, slot: int) -> None:
    """Want every resting order of an instrument cancelled."""
    row = agent.intents[agent.g[G_INTENTS]]
    row[O_CANCEL] = 1
    row[O_ID] = 0
    row[O_SLOT] = slot
    agent.g[G_INTENTS] += 1


@inner
def want_flat(agent: AgentState, parameters: EngineParameters, slot: int) -> None:
    """Want an instrument's position closed by IOC, once nothing else of it is live; asked again until it is flat."""
    inst = agent.inst[slot]
    position = inst[I_POSITION]
    if inst[I_BUY_WORKING] + inst[I_SELL_WORKING] > 0:
        want_cancel(agent, slot)
        return
    if position == 0 or inst[I_BID_LOTS if position > 0 else I_ASK_LOTS] == 0:
        return
    row = agent.intents[agent.g[G_INTENTS]]
    row[O_CANCEL] = 0
    row[O_SLOT] = slot
    row[O_TIF] = IOC
    row[O_AT_CAP] = 0
    row[O_LOTS] = abs(position)
    row[O_SIDE] = -1 if position > 0 else 1
    row[O_PRICE] = collar_price(inst, parameters, slot, row[O_SIDE])
    agent.g[G_INTENTS] += 1


@inner
def watch_risk(agent: AgentState, parameters: EngineParameters, out: Records, now: int) -> None:
    """Bring the drawdown ladder up to date; HALTED cancels what rests and, by policy, begins to flatten."""
    g = agent.g
    before = g[G_LADDER]
    reason = ladder_step(g, parameters.ints, now)
    if reason == 0:
        return
    k = note(agent, parameters, out, _i(RISK), now, _i(-1), reason)
    out[k].state = g[G_LADDER]
    out[k].flag = before
    if g[G_LADDER] == HALTED:
        if parameters.ints[P_FLATTEN_ON_HALT] != 0:
            g[G_FLATTEN] |= FLATTEN_HALT
        else:
            for slot in range(len(agent.inst)):
                want_cancel(agent, slot)


@inner
def watch_stop(agent: AgentState, parameters: EngineParameters, out: Records, now: int, slot: int) -> None:
    """Begin to close a position whose stop is reached; once it is closed, keep new ones out for a while."""
    g, inst = agent.g, agent.inst[slot]
    if inst[I_STOP] != 0:
        if inst[I_POSITION] == 0:
            inst[I_STOP] = 0
            inst[I_STOP_UNTIL] = now + parameters.ints[P_STOP_COOLDOWN_NS]
            g[G_STOPS] -= 1
        return
    reason = stop_reason(inst, parameters.ints)
    if reason != 0:
        inst[I_STOP] = reason
        g[G_STOPS] += 1
        k = note(agent, parameters, out, _i(RISK), now, slot, reason)
        out[k].price_units = inst[I_MARK_BID] if inst[I_POSITION] > 0 else inst[I_MARK_ASK]
        out[k].state = g[G_LADDER]
        out[k].flag = g[G_LADDER]


@inner
def go_on_flattening(agent: AgentState, parameters: EngineParameters, slot: int) -> None:
    """Want an instrument (-1: all) flat while ``G_FLATTEN`` or its stop says so; a close only asked for ends when all is."""
    g = agent.g
    if g[G_FLATTEN] == FLATTEN_ASKED:
        left = 0
        for k in range(len(agent.inst)):
            row = agent.inst[k]
            left += abs(row[I_POSITION]) + row[I_BUY_WORKING] + row[I_SELL_WORKING]
        if left == 0:
            g[G_FLATTEN] = 0
            return
    for k in range(len(agent.inst)):
        if (slot < 0 or k == slot) and (g[G_FLATTEN] != 0 or agent.inst[k, I_STOP] != 0):
            want_flat(agent, parameters, k)

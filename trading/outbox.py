"""What every part of the agent writes to: the journal, the ring of commands, and what a strategy sees of its own orders."""

from marketdata.bits import inner_inlined
from trading.latency import latency_ns
from trading.orders import FREE
from trading.state import (
    G_CMD_HEAD,
    G_CMD_TAIL,
    G_EQUITY,
    G_HIGH,
    G_OPEN_BETS,
    G_OUT,
    G_SEQUENCE,
    I_ASK,
    I_ASK_LOTS,
    I_BID,
    I_BID_LOTS,
    I_BUY_WORKING,
    I_CASH,
    I_IS_OPEN,
    I_LAST_DUE,
    I_OWN_ASK,
    I_OWN_ASK_ID,
    I_OWN_BID,
    I_OWN_BID_ID,
    I_POSITION,
    I_SELL_WORKING,
    K_ID,
    P_DECISION_NS,
    AgentState,
    EngineParameters,
    Records,
)


@inner_inlined
def note(
    agent: AgentState, parameters: EngineParameters, out: Records, kind: int, now: int, slot: int, reason: int
) -> int:
    """Append a journal row with what every row carries, and return its index; slot -1 stands for the account."""
    g = agent.g
    k = g[G_OUT]
    row = out[k]
    row.ts_ns = now
    row.venue_ns = 0
    row.sequence = g[G_SEQUENCE]
    row.order_id = 0
    row.price_units = 0
    row.size_lots = 0
    row.leaves_lots = 0
    row.equity_nanos = g[G_EQUITY]
    row.fee_nanos = 0
    row.p_down = 0.0
    row.p_flat = 0.0
    row.p_up = 0.0
    row.edge_units = 0.0
    row.kind = kind
    row.side = 0
    row.state = 0
    row.reason = reason
    row.tif = 0
    row.flag = 0
    if slot >= 0:
        inst = agent.inst[slot]
        row.instrument_id = parameters.inst[slot, K_ID]
        row.position_lots = inst[I_POSITION]
        row.cash_nanos = inst[I_CASH]
        row.bid_units = inst[I_BID] if inst[I_BID_LOTS] > 0 else 0
        row.ask_units = inst[I_ASK] if inst[I_ASK_LOTS] > 0 else 0
    else:
        row.instrument_id = -1
        row.position_lots = 0
        row.cash_nanos = 0
        row.bid_units = 0
        row.ask_units = 0
    g[G_OUT] += 1
    g[G_SEQUENCE] += 1
    return k


@inner_inlined
def own_orders_changed(agent: AgentState, slot: int, j: int) -> None:
    """Bring what a strategy sees of its own orders up to date after order ``j`` of an instrument changed.

    What it sees is the newest live order of a side that has no cancel under way; only where that one goes is another looked for.
    """
    inst, changed = agent.inst[slot], agent.orders[j]
    newest, price = (I_OWN_BID_ID, I_OWN_BID) if changed.side > 0 else (I_OWN_ASK_ID, I_OWN_ASK)
    if changed.state != FREE and changed.cancel_sent == 0:
        if changed.order_id >= inst[newest]:
            inst[newest], inst[price] = changed.order_id, changed.price_units
    elif changed.order_id == inst[newest]:
        inst[newest], inst[price] = 0, 0
        if inst[I_BUY_WORKING if changed.side > 0 else I_SELL_WORKING] > 0:
            for k in range(agent.g[G_HIGH]):
                order = agent.orders[k]
                if order.state == FREE or order.slot != slot or order.side != changed.side or order.cancel_sent != 0:
                    continue
                if order.order_id > inst[newest]:
                    inst[newest], inst[price] = order.order_id, order.price_units
    is_open = 1 if inst[I_POSITION] != 0 or inst[I_BUY_WORKING] + inst[I_SELL_WORKING] > 0 else 0
    agent.g[G_OPEN_BETS] += is_open - inst[I_IS_OPEN]
    inst[I_IS_OPEN] = is_open


@inner_inlined
def send_command(
    agent: AgentState,
    parameters: EngineParameters,
    now: int,
    order_id: int,
    slot: int,
    side: int,
    tif: int,
    price: int,
    lots: int,
    act: int,
) -> int:
    """Put a command on its way and return when it reaches the venue: after the decision's time and the latency of its kind.

    Commands of one instrument arrive in the order in which they were sent; ``act`` is also the leg of the latency model.
    """
    g, commands, room = agent.g, agent.commands, len(agent.commands)
    count = g[G_CMD_TAIL]
    start = now + parameters.ints[P_DECISION_NS]
    due = start + latency_ns(parameters.legs, parameters.latency, slot, act, start, count)
    due = max(due, agent.inst[slot, I_LAST_DUE])
    agent.inst[slot, I_LAST_DUE] = due
    place = count
    while place > g[G_CMD_HEAD] and commands[(place - 1) % room].due_ns > due:
        commands[place % room] = commands[(place - 1) % room]
        place -= 1
    row = commands[place % room]
    row.due_ns = due
    row.order_id = order_id
    row.price_units = price
    row.size_lots = lots
    row.slot = slot
    row.side = side
    row.tif = tif
    row.act = act
    g[G_CMD_TAIL] += 1
    return due

"""The agent: what it knows, what it decides, what it sends. It sees events only, and is the same in every mode.

Best quotes it takes in within the scheduler's loop; its other steps are :func:`agent_answer`, :func:`agent_forecast`,
:func:`agent_timer` and :func:`trading.agent_controls.agent_control`; each may put commands on their way and write journal
rows. It knows the book as of the last whole event group that it received, and its position as of the last answer that it
received.
"""

from typing import Any, Final

import numpy as np
from numba import njit

from marketdata.bits import inlined, inner, inner_inlined
from trading.changing import reserved_lots
from trading.journal import (
    ACKNOWLEDGED,
    CANCEL_REJECTED,
    CANCELLED_ROW,
    FILL,
    FORECAST,
    MARK,
    MARK_INSTRUMENT,
    MODIFIED_ROW,
    MODIFY_REJECTED,
    R_SILENT,
    REJECTED_ROW,
    RISK,
    SESSION,
)
from trading.ledger import ledger_fill, remark
from trading.order_ids import index_forget, index_of
from trading.orders import (
    ACK,
    CANCEL_REFUSED,
    CANCELLED,
    DONE,
    FILL_PART,
    FILL_WHOLE,
    FREE,
    ILLEGAL,
    MODIFIED,
    MODIFY_REFUSED,
    REFUSED,
    is_live,
    next_state,
)
from trading.outbox import note, own_orders_changed
from trading.sending import (
    FLATTEN_ENDING,
    want_cancel,
)
from trading.state import (
    G_ENDING,
    G_FLATTEN,
    G_FREE,
    G_HEARD_NS,
    G_HIGH,
    G_ILLEGAL,
    G_INTENTS,
    G_LADDER,
    G_LIVE,
    G_NEXT_MARK,
    G_NEXT_TIMER,
    G_OPEN_BETS,
    G_SEQUENCE,
    G_SILENT,
    I_BUY_WORKING,
    I_CASH,
    I_EQUITY,
    I_FEES,
    I_FORECAST_NS,
    I_IS_OPEN,
    I_OFI,
    I_OWN_ASK,
    I_OWN_ASK_ID,
    I_OWN_BID,
    I_OWN_BID_ID,
    I_POSITION,
    I_SELL_WORKING,
    I_TIMER,
    I_TOP_CHANGES,
    I_TOP_DEPTH,
    I_TRADED_LOTS,
    I_UNSETTLED,
    I_VARIANCE,
    K_ID,
    K_MAKER_PPM,
    K_TAKER_PPM,
    K_TICK,
    K_TRADE_FEE,
    K_UNIT_NANOS,
    NEVER,
    P_CLOCK_NS,
    P_CLOSE_NS,
    P_DEAD_MAN_NS,
    P_ENDING_NS,
    P_OPEN_NS,
    AgentState,
    EngineParameters,
    Int64,
    Records,
)
from trading.stops import follow_entry
from trading.strategies.interface import (
    O_SLOT,
    V_BUY_WORKING,
    V_CLOSE_NS,
    V_COUNT,
    V_FORECAST_NS,
    V_INSTRUMENT,
    V_MAKER_PPM,
    V_OFI,
    V_OPEN_BETS,
    V_OPEN_NS,
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
)
from trading.top_flow import show_top

_i: Final = np.int64
"""Makes a constant an ordinary int64 argument: numba would compile a function anew for each literal."""

CLOSED: Final = 2
"""Value of ``G_ENDING`` once the session is over: the strategy is not woken any more."""

TIMER_STRATEGY: Final = 1
TIMER_ENDING: Final = 2
TIMER_MARK: Final = 3
TIMER_CLOSE: Final = 4
TIMER_DEAD_MAN: Final = 5


@njit(cache=True)
def prepare_view(agent: AgentState, parameters: EngineParameters, view: Int64) -> None:
    """Write what changes nowhere, or not at a wake, into the view of each instrument, shape (I, V_COUNT)."""
    for slot in range(len(agent.inst)):
        fixed = parameters.inst[slot]
        view[slot, V_OPEN_NS] = parameters.ints[P_OPEN_NS]
        view[slot, V_CLOSE_NS] = parameters.ints[P_CLOSE_NS]
        view[slot, V_TICK] = fixed[K_TICK]
        view[slot, V_UNIT_NANOS] = fixed[K_UNIT_NANOS]
        view[slot, V_MAKER_PPM] = fixed[K_MAKER_PPM]
        view[slot, V_TAKER_PPM] = fixed[K_TAKER_PPM]
        view[slot, V_INSTRUMENT] = fixed[K_ID]
        view[slot, V_TRADE_FEE] = fixed[K_TRADE_FEE]
        show_top(agent.inst[slot], view[slot])


@inner_inlined
def look(agent: AgentState, slot: int, view: Int64) -> None:
    """Write what changes only with a journal row into the view; the scheduler writes the best quotes every time."""
    inst = agent.inst
    view[slot, V_OFI] = inst[slot, I_OFI]
    view[slot, V_TOP_DEPTH] = inst[slot, I_TOP_DEPTH]
    view[slot, V_TOP_CHANGES] = inst[slot, I_TOP_CHANGES]
    view[slot, V_VARIANCE] = inst[slot, I_VARIANCE]
    view[slot, V_COUNT] = agent.g[G_SEQUENCE]
    view[slot, V_POSITION] = inst[slot, I_POSITION]
    view[slot, V_BUY_WORKING] = inst[slot, I_BUY_WORKING]
    view[slot, V_SELL_WORKING] = inst[slot, I_SELL_WORKING]
    view[slot, V_UNSETTLED] = inst[slot, I_UNSETTLED]
    view[slot, V_OPEN_BETS] = agent.g[G_OPEN_BETS] - inst[slot, I_IS_OPEN]
    view[slot, V_FORECAST_NS] = inst[slot, I_FORECAST_NS]
    view[slot, V_OWN_BID_ID] = inst[slot, I_OWN_BID_ID]
    view[slot, V_OWN_BID] = inst[slot, I_OWN_BID]
    view[slot, V_OWN_ASK_ID] = inst[slot, I_OWN_ASK_ID]
    view[slot, V_OWN_ASK] = inst[slot, I_OWN_ASK]


@inlined
def after_wake(agent: AgentState, slot: int, now: int, rows: int, view: Int64) -> None:
    """Note what the strategy wants: ``rows`` orders and cancels, and perhaps a timer."""
    for r in range(rows):
        agent.intents[r, O_SLOT] = slot
    agent.g[G_INTENTS] = rows
    if view[slot, V_TIMER_NS] > 0:
        agent.inst[slot, I_TIMER] = max(view[slot, V_TIMER_NS], now + 1)
        agent.g[G_NEXT_TIMER] = min(agent.g[G_NEXT_TIMER], agent.inst[slot, I_TIMER])


@inner_inlined
def agent_answer(
    agent: AgentState, parameters: EngineParameters, fee: Any, out: Records, now: int, responses: Records, i: int
) -> bool:
    """Take in a venue's answer: order state, position, money. Return whether the equity changed."""
    g = agent.g
    said = responses[i]
    slot, answer, reason = _i(said.slot), _i(said.answer), _i(said.reason)
    inst = agent.inst[slot]
    j = index_of(agent.order_index, said.order_id)
    before = _i(agent.orders[max(j, 0)].state)
    after = _i(next_state(before, answer)) if j >= 0 else ILLEGAL
    if after == ILLEGAL:
        if j < 0 and answer in (CANCEL_REFUSED, MODIFY_REFUSED):
            k = note(
                agent,
                parameters,
                out,
                CANCEL_REJECTED if answer == CANCEL_REFUSED else MODIFY_REJECTED,
                now,
                slot,
                reason,
            )
            out[k].venue_ns = said.venue_ns
            out[k].order_id = said.order_id
        else:
            g[G_ILLEGAL] += 1
        return False
    order = agent.orders[j]
    side = _i(order.side)
    working = I_BUY_WORKING if side > 0 else I_SELL_WORKING
    kind = ACKNOWLEDGED
    paid = 0
    reserved = reserved_lots(agent.orders, j)
    if answer in (FILL_PART, FILL_WHOLE):
        kind = FILL
        unit = parameters.inst[slot, K_UNIT_NANOS]
        ppm = parameters.inst[slot, K_MAKER_PPM if said.maker else K_TAKER_PPM]
        paid = fee(said.price_units * said.size_lots * unit, said.size_lots, ppm) + parameters.inst[slot, K_TRADE_FEE]
        follow_entry(inst, side, said.price_units, said.size_lots)
        ledger_fill(inst, side, said.price_units, said.size_lots, unit, paid)
        order.leaves_lots -= said.size_lots
        remark(g, inst, unit)
        if answer == FILL_WHOLE:
            order.modify_sent = 0
    elif answer == CANCEL_REFUSED:
        kind = CANCEL_REJECTED
        order.cancel_sent = 0
    elif answer == ACK:
        order.price_units = said.price_units
    elif answer == MODIFIED:
        kind = MODIFIED_ROW
        order.size_lots += said.leaves_lots - order.leaves_lots
        order.leaves_lots = said.leaves_lots
        order.price_units = said.price_units
        order.modify_sent = 0
    elif answer == MODIFY_REFUSED:
        kind = MODIFY_REJECTED
        order.modify_sent = 0
    else:
        kind = CANCELLED_ROW if answer == DONE else REJECTED_ROW
        order.modify_sent = 0
    inst[working] += (0 if answer in (DONE, REFUSED) else reserved_lots(agent.orders, j)) - reserved
    awaiting = _i(order.awaiting)
    if answer in (ACK, CANCEL_REFUSED, MODIFIED, MODIFY_REFUSED):
        awaiting = max(_i(order.cancel_sent), _i(order.modify_sent))
    elif answer != FILL_PART:
        awaiting = _i(0)
    inst[I_UNSETTLED] += awaiting - _i(order.awaiting)
    order.awaiting = awaiting
    order.state = after
    k = note(agent, parameters, out, kind, now, slot, reason)
    row = out[k]
    row.venue_ns = said.venue_ns
    row.order_id = said.order_id
    row.side = order.side
    row.tif = order.tif
    row.state = after
    row.price_units = said.price_units
    row.size_lots = said.size_lots
    row.leaves_lots = order.leaves_lots if after < CANCELLED else 0
    row.fee_nanos = paid
    row.flag = said.maker
    if not is_live(after):
        order.state = FREE
        index_forget(agent.order_index, said.order_id)
        g[G_LIVE] -= 1
        g[G_FREE] = min(g[G_FREE], j)
        high = g[G_HIGH]
        while high > 0 and agent.orders[high - 1].state == FREE:
            high -= 1
        g[G_HIGH] = high
    own_orders_changed(agent, slot, j)
    return kind == FILL


@inner
def agent_forecast(
    agent: AgentState, parameters: EngineParameters, out: Records, now: int, slot: int, forecasts: Records, i: int
) -> int:
    """Take in a forecast and journal it, before anything is decided on it; return the journal row."""
    said = forecasts[i]
    values = agent.forecast[slot]
    values[0] = said.p_down
    values[1] = said.p_flat
    values[2] = said.p_up
    values[3] = said.edge_units
    values[4] = 1.0
    agent.inst[slot, I_FORECAST_NS] = said.ts_recv
    k = note(agent, parameters, out, _i(FORECAST), now, slot, _i(0))
    row = out[k]
    row.venue_ns = said.ts_recv
    row.p_down = said.p_down
    row.p_flat = said.p_flat
    row.p_up = said.p_up
    row.edge_units = said.edge_units
    return k


@inner
def agent_timer(agent: AgentState, parameters: EngineParameters, out: Records, now: int) -> tuple[int, int]:
    """Do the one thing whose time has come: return which timer it was, and of which instrument.

    At one moment strategy timers come first, then the session's last seconds, then the account's mark and the close.
    """
    g, ints = agent.g, parameters.ints
    which, slot = 0, -1
    for k in range(len(agent.inst)):
        if which == 0 and agent.inst[k, I_TIMER] <= now:
            agent.inst[k, I_TIMER] = NEVER
            which, slot = TIMER_STRATEGY, k
    if which == 0 and g[G_ENDING] == 0 and ints[P_ENDING_NS] <= now:
        g[G_ENDING] = 1
        g[G_FLATTEN] |= FLATTEN_ENDING
        note(agent, parameters, out, _i(SESSION), now, _i(-1), _i(2))
        which = TIMER_ENDING
    dead_man = ints[P_DEAD_MAN_NS]
    if which == 0 and dead_man > 0 and g[G_SILENT] == 0 and g[G_HEARD_NS] + dead_man <= now:
        g[G_SILENT] = 1
        note(agent, parameters, out, _i(RISK), now, _i(-1), _i(R_SILENT))
        for k in range(len(agent.inst)):
            want_cancel(agent, k)
        which = TIMER_DEAD_MAN
    if which == 0 and g[G_NEXT_MARK] <= now:
        if now == ints[P_OPEN_NS]:
            note(agent, parameters, out, _i(SESSION), now, _i(-1), _i(1))
        _mark(agent, parameters, out, now)
        which = TIMER_MARK
        if now >= ints[P_CLOSE_NS]:
            g[G_NEXT_MARK] = NEVER
            g[G_ENDING] = CLOSED
            agent.inst[:, I_TIMER] = NEVER
            note(agent, parameters, out, _i(SESSION), now, _i(-1), _i(3))
            which = TIMER_CLOSE
        else:
            g[G_NEXT_MARK] = min(g[G_NEXT_MARK] + ints[P_CLOCK_NS], ints[P_CLOSE_NS])
    first = g[G_NEXT_MARK]
    if g[G_ENDING] == 0:
        first = min(first, ints[P_ENDING_NS])
    if dead_man > 0 and g[G_SILENT] == 0 and g[G_ENDING] != CLOSED:
        first = min(first, g[G_HEARD_NS] + dead_man)
    for k in range(len(agent.inst)):
        first = min(first, agent.inst[k, I_TIMER])
    g[G_NEXT_TIMER] = first
    return which, slot


@inner
def _mark(agent: AgentState, parameters: EngineParameters, out: Records, now: int) -> None:
    cash, fees = 0, 0
    for slot in range(len(agent.inst)):
        inst = agent.inst[slot]
        cash += inst[I_CASH]
        fees += inst[I_FEES]
        if inst[I_TRADED_LOTS] > 0:
            k = note(agent, parameters, out, _i(MARK_INSTRUMENT), now, slot, _i(0))
            out[k].equity_nanos = inst[I_EQUITY]
            out[k].fee_nanos = inst[I_FEES]
    k = note(agent, parameters, out, _i(MARK), now, _i(-1), _i(0))
    out[k].cash_nanos = cash
    out[k].fee_nanos = fees
    out[k].state = agent.g[G_LADDER]

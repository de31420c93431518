"""The agent: what it knows, what it decides, what it sends. It sees events only, and is the same in every mode.

Its steps are :func:`agent_market`, :func:`agent_answer`, :func:`agent_forecast`, :func:`agent_timer` and
:func:`agent_control`; each may put commands on their way and write journal rows. It knows the book as of the last whole event
group that it received, and its position as of the last answer that it received.
"""

from typing import Any, Final

import numpy as np
from numba import njit

from marketdata.events import BID
from trading import controls as _controls
from trading.journal import (
    ACKNOWLEDGED,
    CANCEL,
    CANCEL_REJECTED,
    CANCELLED_ROW,
    CONTROL,
    FILL,
    FORECAST,
    MARK,
    MARK_INSTRUMENT,
    ORDER,
    R_REARMED,
    REJECTED_ROW,
    RISK,
    RISK_REJECT,
    SESSION,
)
from trading.ledger import ledger_fill, remark, share_ceil
from trading.orders import (
    ACK,
    CANCEL_REFUSED,
    CANCELLED,
    DONE,
    FILL_PART,
    FILL_WHOLE,
    FREE,
    ILLEGAL,
    IOC,
    PENDING,
    is_live,
    next_state,
)
from trading.risk import HALTED, check_order, ladder_step, rearm
from trading.state import (
    G_CMD_TAIL,
    G_ENDING,
    G_EQUITY,
    G_FLATTEN,
    G_ILLEGAL,
    G_INTENTS,
    G_KILLED,
    G_LADDER,
    G_LIVE,
    G_NEXT_ID,
    G_NEXT_MARK,
    G_NEXT_TIMER,
    G_OUT,
    G_PAUSED,
    G_SEQUENCE,
    I_ASK,
    I_ASK_LOTS,
    I_BID,
    I_BID_LOTS,
    I_BUY_WORKING,
    I_CASH,
    I_EQUITY,
    I_FEES,
    I_FORECAST_NS,
    I_MARK_ASK,
    I_MARK_BID,
    I_MAX_POSITION,
    I_POSITION,
    I_SELL_WORKING,
    I_TIMER,
    I_TRADED_LOTS,
    I_UNSETTLED,
    K_ID,
    K_MAKER_PPM,
    K_TAKER_PPM,
    K_TICK,
    K_UNIT_NANOS,
    NEVER,
    P_CLOCK_NS,
    P_CLOSE_NS,
    P_COLLAR_PPM,
    P_DECISION_NS,
    P_ENDING_NS,
    P_FLATTEN_ON_HALT,
    P_OPEN_NS,
    P_ORDER_NS,
    AgentState,
    EngineParameters,
    Int64,
    Records,
)
from trading.strategies import (
    O_AT_CAP,
    O_CANCEL,
    O_ID,
    O_LOTS,
    O_PRICE,
    O_SIDE,
    O_SLOT,
    O_TIF,
    V_ASK,
    V_ASK_LOTS,
    V_BID,
    V_BID_LOTS,
    V_BUY_WORKING,
    V_CLOSE_NS,
    V_FORECAST_NS,
    V_MAKER_PPM,
    V_OPEN_BETS,
    V_OPEN_NS,
    V_OUTCOME,
    V_OWN_ASK,
    V_OWN_ASK_ID,
    V_OWN_BID,
    V_OWN_BID_ID,
    V_POSITION,
    V_SELL_WORKING,
    V_TAKER_PPM,
    V_TICK,
    V_TIMER_NS,
    V_UNIT_NANOS,
    V_UNSETTLED,
)

_KILL, _PAUSE, _RESUME = _controls.KILL, _controls.PAUSE, _controls.RESUME
_REARM, _LIMIT, _FLATTEN = _controls.REARM, _controls.POSITION_LIMIT, _controls.FLATTEN

_i: Final = np.int64
"""Makes a constant an ordinary int64 argument: numba would compile a function anew for each literal."""

FLATTEN_HALT: Final = 1
FLATTEN_KILL: Final = 2
FLATTEN_PAUSE: Final = 4
FLATTEN_ENDING: Final = 8
FLATTEN_ASKED: Final = 16
"""Bits of ``G_FLATTEN``: why positions are being closed."""

CLOSED: Final = 2
"""Value of ``G_ENDING`` once the session is over: the strategy is not woken any more."""

TIMER_STRATEGY: Final = 1
TIMER_ENDING: Final = 2
TIMER_MARK: Final = 3
TIMER_CLOSE: Final = 4


@njit(cache=True)
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


@njit(cache=True)
def _send(
    agent: AgentState,
    parameters: EngineParameters,
    now: int,
    order_id: int,
    slot: int,
    side: int,
    tif: int,
    price: int,
    lots: int,
    is_cancel: int,
) -> int:
    row = agent.commands[agent.g[G_CMD_TAIL] % len(agent.commands)]
    row.due_ns = now + parameters.ints[P_DECISION_NS] + parameters.ints[P_ORDER_NS]
    row.order_id = order_id
    row.price_units = price
    row.size_lots = lots
    row.slot = slot
    row.side = side
    row.tif = tif
    row.is_cancel = is_cancel
    agent.g[G_CMD_TAIL] += 1
    return row.due_ns


@njit(cache=True)
def _submit(agent: AgentState, parameters: EngineParameters, out: Records, now: int, intent: Int64) -> None:
    """Pass an order through the risk gate, and send it or journal its refusal."""
    g, slot, side = agent.g, intent[O_SLOT], intent[O_SIDE]
    price, asked, tif = intent[O_PRICE], intent[O_LOTS], intent[O_TIF]
    inst = agent.inst[slot]
    reason, lots, reduces = check_order(agent, parameters, slot, side, price, asked, now)
    k = note(agent, parameters, out, ORDER if reason == 0 else RISK_REJECT, now, slot, reason)
    row = out[k]
    row.side = side
    row.tif = tif
    row.price_units = price
    row.size_lots = asked
    if reason != 0:
        return
    g[G_NEXT_ID] += 1
    j = 0
    while agent.orders[j].state != FREE:
        j += 1
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
    order.awaiting = 1
    g[G_LIVE] += 1
    inst[I_UNSETTLED] += 1
    inst[I_BUY_WORKING if side > 0 else I_SELL_WORKING] += lots
    row.venue_ns = _send(agent, parameters, now, g[G_NEXT_ID], slot, side, tif, price, lots, _i(0))
    row.order_id = g[G_NEXT_ID]
    row.size_lots = lots
    row.leaves_lots = lots
    row.state = PENDING
    row.flag = (1 if reduces else 0) + (2 if intent[O_AT_CAP] != 0 else 0) + (4 if lots < asked else 0)


@njit(cache=True)
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
    row.venue_ns = _send(agent, parameters, now, order.order_id, slot, side, tif, order.price_units, _i(0), _i(1))
    row.order_id = order.order_id
    row.side = order.side
    row.tif = order.tif
    row.price_units = order.price_units
    row.leaves_lots = order.leaves_lots
    row.state = order.state


@njit(cache=True)
def carry_out(agent: AgentState, parameters: EngineParameters, out: Records, now: int) -> None:
    """Send every order and cancel that was decided on, in order, each through the risk gate; a cancel is sent once."""
    for r in range(agent.g[G_INTENTS]):
        intent = agent.intents[r]
        if intent[O_CANCEL] == 0:
            _submit(agent, parameters, out, now, intent)
            continue
        one = intent[O_ID]
        for j in range(len(agent.orders)):
            order = agent.orders[j]
            if order.state == FREE or order.cancel_sent != 0:
                continue
            if order.order_id == one or (one == 0 and order.tif != IOC and order.slot == intent[O_SLOT]):
                _cancel(agent, parameters, out, now, j)
    agent.g[G_INTENTS] = 0


@njit(cache=True)
def _want_cancel(agent: AgentState, slot: int) -> None:
    """Want every resting order of an instrument cancelled."""
    row = agent.intents[agent.g[G_INTENTS]]
    row[O_CANCEL] = 1
    row[O_ID] = 0
    row[O_SLOT] = slot
    agent.g[G_INTENTS] += 1


@njit(cache=True)
def want_flat(agent: AgentState, parameters: EngineParameters, slot: int) -> None:
    """Want an instrument's position closed by IOC, once nothing else of it is live; asked again until it is flat."""
    inst = agent.inst[slot]
    position = inst[I_POSITION]
    if inst[I_BUY_WORKING] + inst[I_SELL_WORKING] > 0:
        _want_cancel(agent, slot)
        return
    if position == 0 or inst[I_BID_LOTS if position > 0 else I_ASK_LOTS] == 0:
        return
    tick, collar = parameters.inst[slot, K_TICK], parameters.ints[P_COLLAR_PPM]
    row = agent.intents[agent.g[G_INTENTS]]
    row[O_CANCEL] = 0
    row[O_SLOT] = slot
    row[O_TIF] = IOC
    row[O_AT_CAP] = 0
    row[O_LOTS] = abs(position)
    if position > 0:
        row[O_SIDE] = -1
        row[O_PRICE] = max((inst[I_BID] - share_ceil(inst[I_BID], collar)) // tick * tick, tick)
    else:
        row[O_SIDE] = 1
        row[O_PRICE] = -(-(inst[I_ASK] + share_ceil(inst[I_ASK], collar)) // tick) * tick
    agent.g[G_INTENTS] += 1


@njit(cache=True)
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
                _want_cancel(agent, slot)


@njit(cache=True)
def go_on_flattening(agent: AgentState, parameters: EngineParameters, slot: int) -> None:
    """While ``G_FLATTEN`` says so, want an instrument (-1: all) flat; a close that was only asked for ends when all is."""
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
        if slot < 0 or k == slot:
            want_flat(agent, parameters, k)


@njit(cache=True)
def _look(agent: AgentState, parameters: EngineParameters, slot: int, view: Int64) -> None:
    inst, fixed = agent.inst[slot], parameters.inst[slot]
    view[V_BID] = inst[I_BID]
    view[V_BID_LOTS] = inst[I_BID_LOTS]
    view[V_ASK] = inst[I_ASK]
    view[V_ASK_LOTS] = inst[I_ASK_LOTS]
    view[V_POSITION] = inst[I_POSITION]
    view[V_BUY_WORKING] = inst[I_BUY_WORKING]
    view[V_SELL_WORKING] = inst[I_SELL_WORKING]
    view[V_UNSETTLED] = inst[I_UNSETTLED]
    others = 0
    for k in range(len(agent.inst)):
        row = agent.inst[k]
        if k != slot and (row[I_POSITION] != 0 or row[I_BUY_WORKING] + row[I_SELL_WORKING] > 0):
            others += 1
    view[V_OPEN_BETS] = others
    view[V_FORECAST_NS] = inst[I_FORECAST_NS]
    view[V_OPEN_NS] = parameters.ints[P_OPEN_NS]
    view[V_CLOSE_NS] = parameters.ints[P_CLOSE_NS]
    view[V_TICK] = fixed[K_TICK]
    view[V_UNIT_NANOS] = fixed[K_UNIT_NANOS]
    view[V_MAKER_PPM] = fixed[K_MAKER_PPM]
    view[V_TAKER_PPM] = fixed[K_TAKER_PPM]
    for k in range(V_OWN_BID_ID, V_TIMER_NS + 1):
        view[k] = 0
    if inst[I_BUY_WORKING] + inst[I_SELL_WORKING] > 0:
        for j in range(len(agent.orders)):
            order = agent.orders[j]
            if order.state != FREE and order.slot == slot and order.cancel_sent == 0:
                if order.side == BID and order.order_id > view[V_OWN_BID_ID]:
                    view[V_OWN_BID_ID] = order.order_id
                    view[V_OWN_BID] = order.price_units
                elif order.side != BID and order.order_id > view[V_OWN_ASK_ID]:
                    view[V_OWN_ASK_ID] = order.order_id
                    view[V_OWN_ASK] = order.price_units


@njit(cache=True)
def wake(
    agent: AgentState, parameters: EngineParameters, decide: Any, view: Int64, now: int, slot: int, why: int
) -> int:
    """Let the strategy decide about one instrument, note what it wants, and return what it made of it."""
    _look(agent, parameters, slot, view)
    ints, floats = parameters.strategy_ints, parameters.strategy_floats
    rows = decide(now, why, ints, floats, view, agent.forecast[slot], agent.memory[slot], agent.intents)
    for r in range(rows):
        agent.intents[r, O_SLOT] = slot
    agent.g[G_INTENTS] = rows
    if view[V_TIMER_NS] > 0:
        agent.inst[slot, I_TIMER] = max(view[V_TIMER_NS], now + 1)
        agent.g[G_NEXT_TIMER] = min(agent.g[G_NEXT_TIMER], agent.inst[slot, I_TIMER])
    return view[V_OUTCOME]


@njit(cache=True)
def agent_quote(inst: Int64, bid: int, bid_lots: int, ask: int, ask_lots: int) -> None:
    """Take in the best quotes after an event group that changed them."""
    inst[I_BID] = bid
    inst[I_BID_LOTS] = bid_lots
    inst[I_ASK] = ask
    inst[I_ASK_LOTS] = ask_lots
    if bid_lots > 0:
        inst[I_MARK_BID] = bid
    if ask_lots > 0:
        inst[I_MARK_ASK] = ask


@njit(cache=True)
def agent_answer(
    agent: AgentState, parameters: EngineParameters, fee: Any, out: Records, now: int, responses: Records, i: int
) -> bool:
    """Take in a venue's answer: order state, position, money. Return whether the equity changed."""
    g = agent.g
    said = responses[i]
    slot, answer, reason = _i(said.slot), _i(said.answer), _i(said.reason)
    inst = agent.inst[slot]
    j = -1
    for i in range(len(agent.orders)):
        if agent.orders[i].state != FREE and agent.orders[i].order_id == said.order_id:
            j = i
    before = _i(agent.orders[max(j, 0)].state)
    after = _i(next_state(before, answer)) if j >= 0 else ILLEGAL
    if after == ILLEGAL:
        if j < 0 and answer == CANCEL_REFUSED:
            k = note(agent, parameters, out, _i(CANCEL_REJECTED), now, slot, reason)
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
    if answer == FILL_PART or answer == FILL_WHOLE:
        kind = FILL
        unit = parameters.inst[slot, K_UNIT_NANOS]
        ppm = parameters.inst[slot, K_MAKER_PPM if said.maker else K_TAKER_PPM]
        paid = fee(said.price_units * said.size_lots * unit, said.size_lots, ppm)
        ledger_fill(inst, side, said.price_units, said.size_lots, unit, paid)
        order.leaves_lots -= said.size_lots
        inst[working] -= said.size_lots
        remark(g, inst, unit)
    elif answer == CANCEL_REFUSED:
        kind = CANCEL_REJECTED
        order.cancel_sent = 0
    elif answer != ACK:
        inst[working] -= order.leaves_lots
        kind = CANCELLED_ROW if answer == DONE else REJECTED_ROW
    awaiting = _i(order.awaiting)
    if answer == ACK or answer == CANCEL_REFUSED:
        awaiting = _i(order.cancel_sent)
    elif answer != FILL_PART:
        awaiting = 0
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
        g[G_LIVE] -= 1
    return kind == FILL


@njit(cache=True)
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


@njit(cache=True)
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
    for k in range(len(agent.inst)):
        first = min(first, agent.inst[k, I_TIMER])
    g[G_NEXT_TIMER] = first
    return which, slot


@njit(cache=True)
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


@njit(cache=True)
def agent_control(
    agent: AgentState, parameters: EngineParameters, out: Records, now: int, controls: Records, i: int
) -> None:
    """Obey a control and journal it."""
    g = agent.g
    said = controls[i]
    kind, value, slot = _i(said.kind), said.value, -1
    if said.instrument_id >= 0 and said.instrument_id < len(parameters.slot_of):
        slot = parameters.slot_of[said.instrument_id]
    k = note(agent, parameters, out, _i(CONTROL), now, slot, kind)
    out[k].order_id = said.control_id
    out[k].size_lots = value
    if kind == _KILL or kind == _PAUSE:
        g[G_KILLED if kind == _KILL else G_PAUSED] = 1
        for s in range(len(agent.inst)):
            _want_cancel(agent, s)
        if value != 0:
            g[G_FLATTEN] |= FLATTEN_KILL if kind == _KILL else FLATTEN_PAUSE
    elif kind == _RESUME:
        g[G_PAUSED] = 0
        g[G_FLATTEN] &= ~FLATTEN_PAUSE
    elif kind == _REARM:
        before = g[G_LADDER]
        rearm(g, parameters.ints)
        g[G_FLATTEN] &= ~(FLATTEN_HALT | FLATTEN_KILL)
        k = note(agent, parameters, out, _i(RISK), now, _i(-1), _i(R_REARMED))
        out[k].flag = before
    elif kind == _LIMIT:
        for s in range(len(agent.inst)):
            if slot < 0 or s == slot:
                agent.inst[s, I_MAX_POSITION] = value
    elif kind == _FLATTEN:
        g[G_FLATTEN] |= FLATTEN_ASKED

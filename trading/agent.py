"""The agent: what it knows, what it decides, what it sends. It sees events only, and is the same in every mode.

Its steps are :func:`agent_market`, :func:`agent_answer`, :func:`agent_forecast`, :func:`agent_timer` and
:func:`agent_control`; each may put commands on their way and write journal rows. It knows the book as of the last whole event
group that it received, and its position as of the last answer that it received.
"""

from typing import Any

from numba import njit

from marketdata.book import BookState, book_apply, book_best
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
    P_WAKE_MASK,
    EngineParameters,
    EngineState,
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
    WAKE_FORECAST,
    WAKE_RESPONSE,
    WAKE_TIMER,
    WAKE_TOP,
)

_KILL, _PAUSE, _RESUME = _controls.KILL, _controls.PAUSE, _controls.RESUME
_REARM, _LIMIT, _FLATTEN = _controls.REARM, _controls.POSITION_LIMIT, _controls.FLATTEN

FLATTEN_HALT = 1
FLATTEN_KILL = 2
FLATTEN_PAUSE = 4
FLATTEN_ENDING = 8
FLATTEN_ASKED = 16
"""Bits of ``G_FLATTEN``: why positions are being closed."""


@njit(cache=True)
def note(
    state: EngineState, parameters: EngineParameters, out: Records, kind: int, now: int, slot: int, reason: int
) -> int:
    """Append a journal row with what every row carries, and return its index; slot -1 stands for the account."""
    g = state.g
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
        inst = state.inst[slot]
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
    state: EngineState,
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
    row = state.commands[state.g[G_CMD_TAIL] % len(state.commands)]
    row.due_ns = now + parameters.ints[P_DECISION_NS] + parameters.ints[P_ORDER_NS]
    row.order_id = order_id
    row.price_units = price
    row.size_lots = lots
    row.slot = slot
    row.side = side
    row.tif = tif
    row.is_cancel = is_cancel
    state.g[G_CMD_TAIL] += 1
    return row.due_ns


@njit(cache=True)
def submit(
    state: EngineState,
    parameters: EngineParameters,
    out: Records,
    now: int,
    slot: int,
    side: int,
    tif: int,
    price: int,
    lots: int,
    at_cap: int,
) -> int:
    """Pass an order through the risk gate and send it; return its id, 0 when it was refused."""
    g, inst = state.g, state.inst[slot]
    reason, passed, reduces = check_order(state, parameters, slot, side, price, lots, now)
    if reason != 0 or lots <= 0:
        k = note(state, parameters, out, RISK_REJECT, now, slot, reason)
        out[k].side = side
        out[k].tif = tif
        out[k].price_units = price
        out[k].size_lots = lots
        return 0
    g[G_NEXT_ID] += 1
    order_id = g[G_NEXT_ID]
    j = 0
    while state.orders[j].state != FREE:
        j += 1
    order = state.orders[j]
    order.order_id = order_id
    order.price_units = price
    order.size_lots = passed
    order.leaves_lots = passed
    order.sent_ns = now
    order.slot = slot
    order.side = side
    order.state = PENDING
    order.tif = tif
    order.cancel_sent = 0
    order.awaiting = 1
    g[G_LIVE] += 1
    inst[I_UNSETTLED] += 1
    inst[I_BUY_WORKING if side > 0 else I_SELL_WORKING] += passed
    due = _send(state, parameters, now, order_id, slot, side, tif, price, passed, 0)
    k = note(state, parameters, out, ORDER, now, slot, 0)
    row = out[k]
    row.venue_ns = due
    row.order_id = order_id
    row.side = side
    row.tif = tif
    row.price_units = price
    row.size_lots = passed
    row.leaves_lots = passed
    row.state = PENDING
    row.flag = (1 if reduces else 0) | (2 if at_cap else 0) | (4 if passed < lots else 0)
    return order_id


@njit(cache=True)
def cancel(state: EngineState, parameters: EngineParameters, out: Records, now: int, j: int) -> None:
    """Ask for a live order to be cancelled, once."""
    order = state.orders[j]
    if not is_live(order.state) or order.cancel_sent != 0:
        return
    order.cancel_sent = 1
    if order.awaiting == 0:
        order.awaiting = 1
        state.inst[order.slot, I_UNSETTLED] += 1
    due = _send(state, parameters, now, order.order_id, order.slot, order.side, order.tif, order.price_units, 0, 1)
    k = note(state, parameters, out, CANCEL, now, order.slot, 0)
    row = out[k]
    row.venue_ns = due
    row.order_id = order.order_id
    row.side = order.side
    row.tif = order.tif
    row.price_units = order.price_units
    row.leaves_lots = order.leaves_lots
    row.state = order.state


@njit(cache=True)
def cancel_resting(state: EngineState, parameters: EngineParameters, out: Records, now: int, slot: int) -> None:
    """Cancel every live order of an instrument (-1: of all) that is not immediate-or-cancel anyway."""
    for j in range(len(state.orders)):
        order = state.orders[j]
        if order.state != FREE and order.tif != IOC and (slot < 0 or order.slot == slot):
            cancel(state, parameters, out, now, j)


@njit(cache=True)
def flatten(state: EngineState, parameters: EngineParameters, out: Records, now: int, slot: int) -> None:
    """Close an instrument's position by IOC, once nothing else of it is live; called again until it is flat."""
    inst = state.inst[slot]
    position = inst[I_POSITION]
    if position == 0:
        return
    if inst[I_BUY_WORKING] + inst[I_SELL_WORKING] > 0:
        cancel_resting(state, parameters, out, now, slot)
        return
    tick, collar = parameters.inst[slot, K_TICK], parameters.ints[P_COLLAR_PPM]
    if position > 0:
        if inst[I_BID_LOTS] == 0:
            return
        price = (inst[I_BID] - share_ceil(inst[I_BID], collar)) // tick * tick
        submit(state, parameters, out, now, slot, -1, IOC, max(price, tick), position, 0)
    else:
        if inst[I_ASK_LOTS] == 0:
            return
        price = -(-(inst[I_ASK] + share_ceil(inst[I_ASK], collar)) // tick) * tick
        submit(state, parameters, out, now, slot, 1, IOC, price, -position, 0)


@njit(cache=True)
def flatten_all(state: EngineState, parameters: EngineParameters, out: Records, now: int) -> None:
    """Cancel everything that rests and close every position."""
    cancel_resting(state, parameters, out, now, -1)
    for slot in range(len(state.inst)):
        flatten(state, parameters, out, now, slot)


@njit(cache=True)
def watch_risk(state: EngineState, parameters: EngineParameters, out: Records, now: int) -> None:
    """Bring the drawdown ladder up to date and act on HALTED."""
    g = state.g
    before = g[G_LADDER]
    reason = ladder_step(g, parameters.ints, now)
    if reason == 0:
        return
    k = note(state, parameters, out, RISK, now, -1, reason)
    out[k].state = g[G_LADDER]
    out[k].flag = before
    if g[G_LADDER] == HALTED:
        cancel_resting(state, parameters, out, now, -1)
        if parameters.ints[P_FLATTEN_ON_HALT] != 0:
            g[G_FLATTEN] |= FLATTEN_HALT
            flatten_all(state, parameters, out, now)


@njit(cache=True)
def _look(state: EngineState, parameters: EngineParameters, slot: int, view: Int64) -> None:
    inst, fixed = state.inst[slot], parameters.inst[slot]
    view[V_BID] = inst[I_BID]
    view[V_BID_LOTS] = inst[I_BID_LOTS]
    view[V_ASK] = inst[I_ASK]
    view[V_ASK_LOTS] = inst[I_ASK_LOTS]
    view[V_POSITION] = inst[I_POSITION]
    view[V_BUY_WORKING] = inst[I_BUY_WORKING]
    view[V_SELL_WORKING] = inst[I_SELL_WORKING]
    view[V_UNSETTLED] = inst[I_UNSETTLED]
    others = 0
    for k in range(len(state.inst)):
        row = state.inst[k]
        if k != slot and (row[I_POSITION] != 0 or row[I_BUY_WORKING] + row[I_SELL_WORKING] > 0):
            others += 1
    view[V_OPEN_BETS] = others
    view[V_FORECAST_NS] = state.forecast_ns[slot]
    view[V_OPEN_NS] = parameters.ints[P_OPEN_NS]
    view[V_CLOSE_NS] = parameters.ints[P_CLOSE_NS]
    view[V_TICK] = fixed[K_TICK]
    view[V_UNIT_NANOS] = fixed[K_UNIT_NANOS]
    view[V_MAKER_PPM] = fixed[K_MAKER_PPM]
    view[V_TAKER_PPM] = fixed[K_TAKER_PPM]
    view[V_OWN_BID_ID] = 0
    view[V_OWN_BID] = 0
    view[V_OWN_ASK_ID] = 0
    view[V_OWN_ASK] = 0
    view[V_OUTCOME] = 0
    view[V_TIMER_NS] = 0
    if inst[I_BUY_WORKING] + inst[I_SELL_WORKING] > 0:
        for j in range(len(state.orders)):
            order = state.orders[j]
            if order.state != FREE and order.slot == slot and order.cancel_sent == 0:
                if order.side == BID and order.order_id > view[V_OWN_BID_ID]:
                    view[V_OWN_BID_ID] = order.order_id
                    view[V_OWN_BID] = order.price_units
                elif order.side != BID and order.order_id > view[V_OWN_ASK_ID]:
                    view[V_OWN_ASK_ID] = order.order_id
                    view[V_OWN_ASK] = order.price_units


@njit(cache=True)
def wake(
    state: EngineState,
    parameters: EngineParameters,
    decide: Any,
    out: Records,
    view: Int64,
    table: Int64,
    now: int,
    slot: int,
    why: int,
) -> int:
    """Let the strategy decide about one instrument, carry out what it wants, and return what it made of it."""
    _look(state, parameters, slot, view)
    rows = decide(
        now,
        why,
        parameters.strategy_ints,
        parameters.strategy_floats,
        view,
        state.forecast[slot],
        state.memory[slot],
        table,
    )
    if view[V_TIMER_NS] > 0:
        state.inst[slot, I_TIMER] = max(view[V_TIMER_NS], now + 1)
        state.g[G_NEXT_TIMER] = min(state.g[G_NEXT_TIMER], state.inst[slot, I_TIMER])
    for r in range(rows):
        if table[r, O_CANCEL] != 0:
            for j in range(len(state.orders)):
                if state.orders[j].state != FREE and state.orders[j].order_id == table[r, O_ID]:
                    cancel(state, parameters, out, now, j)
        else:
            submit(
                state,
                parameters,
                out,
                now,
                slot,
                table[r, O_SIDE],
                table[r, O_TIF],
                table[r, O_PRICE],
                table[r, O_LOTS],
                table[r, O_AT_CAP],
            )
    return view[V_OUTCOME]


@njit(cache=True)
def agent_group(
    state: EngineState,
    parameters: EngineParameters,
    decide: Any,
    out: Records,
    view: Int64,
    table: Int64,
    now: int,
    slot: int,
    bid: int,
    bid_lots: int,
    ask: int,
    ask_lots: int,
) -> None:
    """Take in the best quotes after an event group that changed them."""
    inst = state.inst[slot]
    inst[I_BID] = bid
    inst[I_BID_LOTS] = bid_lots
    inst[I_ASK] = ask
    inst[I_ASK_LOTS] = ask_lots
    if bid_lots > 0:
        inst[I_MARK_BID] = bid
    if ask_lots > 0:
        inst[I_MARK_ASK] = ask
    if inst[I_POSITION] != 0:
        remark(state.g, inst, parameters.inst[slot, K_UNIT_NANOS])
        watch_risk(state, parameters, out, now)
        if state.g[G_FLATTEN] != 0:
            flatten(state, parameters, out, now, slot)
    if parameters.ints[P_WAKE_MASK] & WAKE_TOP:
        wake(state, parameters, decide, out, view, table, now, slot, WAKE_TOP)


@njit(cache=True)
def agent_book_best(state: EngineState, slot: int) -> tuple[int, int, int, int]:
    """Return the best quotes of the agent's book of an instrument."""
    return book_best(
        BookState(state.agent_price[slot], state.agent_size[slot], state.agent_count[slot], state.agent_counters[slot])
    )


@njit(cache=True)
def agent_apply(state: EngineState, slot: int, action: int, side: int, price: int, lots: int) -> None:
    """Apply one market row to the agent's book."""
    book = BookState(
        state.agent_price[slot], state.agent_size[slot], state.agent_count[slot], state.agent_counters[slot]
    )
    book_apply(book, action, side, price, lots)


@njit(cache=True)
def agent_answer(
    state: EngineState,
    parameters: EngineParameters,
    fee: Any,
    decide: Any,
    out: Records,
    view: Int64,
    table: Int64,
    now: int,
    answer_row: int,
) -> None:
    """Take in a venue's answer: order state, position, money, risk."""
    g = state.g
    said = state.responses[answer_row]
    slot, answer = said.slot, said.answer
    inst = state.inst[slot]
    j = -1
    for i in range(len(state.orders)):
        if state.orders[i].state != FREE and state.orders[i].order_id == said.order_id:
            j = i
    if j < 0:
        k = note(state, parameters, out, CANCEL_REJECTED, now, slot, said.reason)
        out[k].venue_ns = said.venue_ns
        out[k].order_id = said.order_id
        if answer != CANCEL_REFUSED:
            g[G_ILLEGAL] += 1
        return
    order = state.orders[j]
    after = next_state(order.state, answer)
    if after == ILLEGAL:
        g[G_ILLEGAL] += 1
        return
    side = order.side
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
    elif answer != ACK and answer != CANCEL_REFUSED:
        inst[working] -= order.leaves_lots
        kind = CANCELLED_ROW if answer == DONE else REJECTED_ROW
    elif answer == CANCEL_REFUSED:
        kind = CANCEL_REJECTED
        order.cancel_sent = 0
    awaiting = order.awaiting
    if answer == ACK or answer == CANCEL_REFUSED:
        awaiting = order.cancel_sent
    elif answer != FILL_PART:
        awaiting = 0
    inst[I_UNSETTLED] += awaiting - order.awaiting
    order.awaiting = awaiting
    order.state = after
    k = note(state, parameters, out, kind, now, slot, said.reason)
    row = out[k]
    row.venue_ns = said.venue_ns
    row.order_id = said.order_id
    row.side = side
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
    if kind == FILL:
        watch_risk(state, parameters, out, now)
    if g[G_FLATTEN] != 0:
        _settle_flatten(state, parameters, out, now, slot)
    if parameters.ints[P_WAKE_MASK] & WAKE_RESPONSE:
        wake(state, parameters, decide, out, view, table, now, slot, WAKE_RESPONSE)


@njit(cache=True)
def _settle_flatten(state: EngineState, parameters: EngineParameters, out: Records, now: int, slot: int) -> None:
    """Go on with closing an instrument; a close that was only asked for ends when nothing is left."""
    g = state.g
    if g[G_FLATTEN] == FLATTEN_ASKED:
        left = 0
        for k in range(len(state.inst)):
            row = state.inst[k]
            left += abs(row[I_POSITION]) + row[I_BUY_WORKING] + row[I_SELL_WORKING]
        if left == 0:
            g[G_FLATTEN] = 0
            return
    flatten(state, parameters, out, now, slot)


@njit(cache=True)
def agent_forecast(
    state: EngineState,
    parameters: EngineParameters,
    decide: Any,
    out: Records,
    view: Int64,
    table: Int64,
    now: int,
    slot: int,
    forecasts: Records,
    i: int,
) -> None:
    """Journal a forecast, then let the strategy decide on it."""
    said = forecasts[i]
    values = state.forecast[slot]
    values[0] = said.p_down
    values[1] = said.p_flat
    values[2] = said.p_up
    values[3] = said.edge_units
    values[4] = 1.0
    state.forecast_ns[slot] = said.ts_recv
    k = note(state, parameters, out, FORECAST, now, slot, 0)
    row = out[k]
    row.venue_ns = said.ts_recv
    row.p_down = said.p_down
    row.p_flat = said.p_flat
    row.p_up = said.p_up
    row.edge_units = said.edge_units
    if parameters.ints[P_WAKE_MASK] & WAKE_FORECAST:
        out[k].reason = wake(state, parameters, decide, out, view, table, now, slot, WAKE_FORECAST)


@njit(cache=True)
def next_timer(state: EngineState, parameters: EngineParameters) -> int:
    """Return when the earliest timer is due."""
    ints = parameters.ints
    first = state.g[G_NEXT_MARK]
    if state.g[G_ENDING] == 0:
        first = min(first, ints[P_ENDING_NS])
    for slot in range(len(state.inst)):
        first = min(first, state.inst[slot, I_TIMER])
    return first


@njit(cache=True)
def agent_timer(
    state: EngineState,
    parameters: EngineParameters,
    decide: Any,
    out: Records,
    view: Int64,
    table: Int64,
    now: int,
) -> bool:
    """Do everything whose time has come: strategy timers, the session's last minutes, account marks; True at the close."""
    g, ints = state.g, parameters.ints
    for slot in range(len(state.inst)):
        if state.inst[slot, I_TIMER] <= now:
            state.inst[slot, I_TIMER] = NEVER
            if parameters.ints[P_WAKE_MASK] & WAKE_TIMER:
                wake(state, parameters, decide, out, view, table, now, slot, WAKE_TIMER)
    if g[G_ENDING] == 0 and ints[P_ENDING_NS] <= now:
        g[G_ENDING] = 1
        g[G_FLATTEN] |= FLATTEN_ENDING
        note(state, parameters, out, SESSION, now, -1, 2)
        flatten_all(state, parameters, out, now)
    closes = False
    if g[G_NEXT_MARK] <= now:
        if now == ints[P_OPEN_NS]:
            note(state, parameters, out, SESSION, now, -1, 1)
        watch_risk(state, parameters, out, now)
        if g[G_FLATTEN] != 0:
            for slot in range(len(state.inst)):
                flatten(state, parameters, out, now, slot)
        _mark(state, parameters, out, now)
        closes = now >= ints[P_CLOSE_NS]
        if closes:
            g[G_NEXT_MARK] = NEVER
            note(state, parameters, out, SESSION, now, -1, 3)
        else:
            g[G_NEXT_MARK] = min(g[G_NEXT_MARK] + ints[P_CLOCK_NS], ints[P_CLOSE_NS])
    g[G_NEXT_TIMER] = next_timer(state, parameters)
    return closes


@njit(cache=True)
def _mark(state: EngineState, parameters: EngineParameters, out: Records, now: int) -> None:
    cash, fees = 0, 0
    for slot in range(len(state.inst)):
        inst = state.inst[slot]
        cash += inst[I_CASH]
        fees += inst[I_FEES]
        if inst[I_TRADED_LOTS] > 0:
            k = note(state, parameters, out, MARK_INSTRUMENT, now, slot, 0)
            out[k].equity_nanos = inst[I_EQUITY]
            out[k].fee_nanos = inst[I_FEES]
    k = note(state, parameters, out, MARK, now, -1, 0)
    out[k].cash_nanos = cash
    out[k].fee_nanos = fees
    out[k].state = state.g[G_LADDER]


@njit(cache=True)
def agent_control(
    state: EngineState,
    parameters: EngineParameters,
    out: Records,
    now: int,
    controls: Records,
    i: int,
) -> None:
    """Obey a control and journal it."""
    g = state.g
    said = controls[i]
    kind, value = said.kind, said.value
    slot = -1
    if said.instrument_id >= 0 and said.instrument_id < len(parameters.slot_of):
        slot = parameters.slot_of[said.instrument_id]
    k = note(state, parameters, out, CONTROL, now, slot, kind)
    out[k].order_id = said.control_id
    out[k].size_lots = value
    if kind == _KILL or kind == _PAUSE:
        bit = FLATTEN_KILL if kind == _KILL else FLATTEN_PAUSE
        if kind == _KILL:
            g[G_KILLED] = 1
        else:
            g[G_PAUSED] = 1
        cancel_resting(state, parameters, out, now, -1)
        if value != 0:
            g[G_FLATTEN] |= bit
            flatten_all(state, parameters, out, now)
    elif kind == _RESUME:
        g[G_PAUSED] = 0
        g[G_FLATTEN] &= ~FLATTEN_PAUSE
    elif kind == _REARM:
        before = g[G_LADDER]
        rearm(g, parameters.ints)
        g[G_FLATTEN] &= ~(FLATTEN_HALT | FLATTEN_KILL)
        r = note(state, parameters, out, RISK, now, -1, R_REARMED)
        out[r].flag = before
    elif kind == _LIMIT:
        for s in range(len(state.inst)):
            if slot < 0 or s == slot:
                state.inst[s, I_MAX_POSITION] = value
    elif kind == _FLATTEN:
        g[G_FLATTEN] |= FLATTEN_ASKED
        flatten_all(state, parameters, out, now)
        _settle_flatten(state, parameters, out, now, 0)

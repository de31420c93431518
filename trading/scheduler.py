"""The scheduler: one compiled loop that merges everything by (due_ns, class, sequence).

Classes, in the order in which they happen at one and the same nanosecond:

0. market rows reach the venue, at ``ts_event``
1. commands reach the venue, decision and order latency after they were decided
2. market rows reach the agent, at ``ts_recv``
3. answers reach the agent, response latency after the venue gave them
4. controls
5. forecasts, at their ``due_ns``
6. timers: strategy timers, the session's last minutes, account marks, the close

Within a class the order is the order of the array (market rows at the venue: by ``ts_event``, ties by position) or of sending;
latencies are constant, so what is sent first arrives first. A command sent with no latency at all happens at the same
nanosecond, before the agent sees anything more of it.

A flattening order that found nothing to take is not sent again at once, but when the quotes change or at the next mark.

Time stops before ``limit``: only things due strictly earlier happen. Calling again with more goes on exactly there.
"""

from typing import Any, Final

import numpy as np
from numba import njit

from marketdata.book import levels_apply
from marketdata.events import EXECUTE, F_LAST, HIDDEN, TRADE
from trading.agent import (
    CLOSED,
    TIMER_CLOSE,
    TIMER_STRATEGY,
    agent_answer,
    agent_control,
    agent_forecast,
    agent_quote,
    agent_timer,
    wake,
)
from trading.journal import R_IOC_REST
from trading.ledger import remark
from trading.orders import REFUSED
from trading.queues import ids_are_full
from trading.risk import ladder_may_move
from trading.sending import carry_out, go_on_flattening, watch_risk
from trading.state import (
    G_CMD_HEAD,
    G_CMD_TAIL,
    G_ENDING,
    G_FLATTEN,
    G_GROW,
    G_INTENTS,
    G_LATE_ROWS,
    G_LIVE,
    G_NEXT_TIMER,
    G_NOW,
    G_OUT,
    G_RSP_HEAD,
    GROW_COMMANDS,
    GROW_IDS,
    GROW_ORDERS,
    GROW_RESPONSES,
    I_ASK,
    I_ASK_LOTS,
    I_BID,
    I_BID_LOTS,
    I_POSITION,
    I_TAPE_LOTS,
    INTENT_ROWS,
    J_RESTING,
    K_TRADED,
    K_UNIT_NANOS,
    N_RSP_TAIL,
    NEVER,
    P_QUEUE_BY_ID,
    P_WAKE_MASK,
    TAKEN_LEVELS,
    EngineParameters,
    EngineState,
    Int64,
    Records,
)
from trading.strategies import WAKE_FORECAST, WAKE_RESPONSE, WAKE_TIMER, WAKE_TOP
from trading.venue import venue_cancel, venue_close, venue_market, venue_order
from trading.venue_table import forget_taken, touches_taken

RUN_DONE: Final = 0
RUN_OUT_FULL: Final = 1
RUN_NEED_GROW: Final = 2

C_VENUE: Final = 0
C_AGENT: Final = 1
C_CONTROL: Final = 2
C_FORECAST: Final = 3

NOTHING: Final = -1
MARKET_AT_VENUE: Final = 0
COMMAND: Final = 1
MARKET_AT_AGENT: Final = 2
ANSWER: Final = 3
CONTROL: Final = 4
FORECAST: Final = 5
TIMER: Final = 6
"""Classes: what happens first at one and the same nanosecond."""


@njit(cache=True)
def _room(state: EngineState, out_rows: int) -> int:
    """Return a status other than DONE when the next thing that happens might not find room."""
    g = state.agent.g
    instruments, orders = len(state.agent.inst), len(state.agent.orders)
    sends = INTENT_ROWS + 2 * instruments
    if g[G_OUT] + 2 * orders + 2 * sends + 64 > out_rows:
        return RUN_OUT_FULL
    if g[G_LIVE] + sends > orders:
        g[G_GROW] = GROW_ORDERS
        return RUN_NEED_GROW
    if g[G_CMD_TAIL] - g[G_CMD_HEAD] + orders + sends > len(state.agent.commands):
        g[G_GROW] = GROW_COMMANDS
        return RUN_NEED_GROW
    if state.venue.g[N_RSP_TAIL] - g[G_RSP_HEAD] + 2 * TAKEN_LEVELS + 2 * orders > len(state.venue.responses):
        g[G_GROW] = GROW_RESPONSES
        return RUN_NEED_GROW
    return RUN_DONE


@njit(cache=True)
def run_kernel(
    state: EngineState,
    parameters: EngineParameters,
    queue: Any,
    fee: Any,
    decide: Any,
    market: Records,
    venue_order_of: Int64,
    forecasts: Records,
    controls: Records,
    cursors: Int64,
    limit: int,
    out: Records,
    view: Int64,
) -> int:
    """Let everything happen that is due before ``limit``; return DONE, OUT_FULL or NEED_GROW.

    Parameters
    ----------
    venue_order_of : int64 array
        Positions of market rows in the order of ``ts_event``; empty where that is the array's own order.
    cursors : int64 array, shape (4,)
        Rows already taken: by the venue (of ``venue_order_of``), by the agent, of controls, of forecasts. Advanced in place.
    out : JOURNAL_DTYPE array
        Rows are written from ``G_OUT`` on.
    """
    agent, books, venue = state.agent, state.books, state.venue
    g, inst, commands, responses = agent.g, agent.inst, agent.commands, venue.responses
    rows = len(market)
    in_order = len(venue_order_of) == 0
    venue_rows = rows if in_order else len(venue_order_of)
    v, a, c, f = cursors[C_VENUE], cursors[C_AGENT], cursors[C_CONTROL], cursors[C_FORECAST]
    ids, mask = len(parameters.slot_of), parameters.ints[P_WAKE_MASK]
    by_id = parameters.ints[P_QUEUE_BY_ID] != 0
    now = g[G_NOW]
    status = RUN_DONE
    checked = -1
    while now < NEVER:
        busy = g[G_OUT] + g[G_CMD_TAIL] + venue.g[N_RSP_TAIL]
        if busy != checked:
            status = _room(state, len(out))
            if status != RUN_DONE:
                break
            checked = busy
        due = limit
        kind = NOTHING
        row = v
        if v < venue_rows:
            row = v if in_order else venue_order_of[v]
            if market[row].ts_event < due:
                due = market[row].ts_event
                kind = MARKET_AT_VENUE
        if g[G_CMD_HEAD] < g[G_CMD_TAIL] and commands[g[G_CMD_HEAD] % len(commands)].due_ns < due:
            due = commands[g[G_CMD_HEAD] % len(commands)].due_ns
            kind = COMMAND
        if a < rows and market[a].ts_recv < due:
            due = market[a].ts_recv
            kind = MARKET_AT_AGENT
        if g[G_RSP_HEAD] < venue.g[N_RSP_TAIL] and responses[g[G_RSP_HEAD] % len(responses)].due_ns < due:
            due = responses[g[G_RSP_HEAD] % len(responses)].due_ns
            kind = ANSWER
        if c < len(controls) and controls[c].due_ns < due:
            due = controls[c].due_ns
            kind = CONTROL
        if f < len(forecasts) and forecasts[f].due_ns < due:
            due = forecasts[f].due_ns
            kind = FORECAST
        if g[G_NEXT_TIMER] < due:
            due = g[G_NEXT_TIMER]
            kind = TIMER
        if kind == NOTHING:
            break
        if due > now:
            now = due
            g[G_NOW] = now
        elif due < now and kind in (MARKET_AT_VENUE, MARKET_AT_AGENT):
            g[G_LATE_ROWS] += 1
        slot: Any = np.int64(-1)
        why, forecast_row = 0, -1
        risky, in_vain = False, False
        if kind == MARKET_AT_VENUE:
            event = market[row]
            if by_id:
                number = np.int64(event.instrument_id)
                slot = parameters.slot_of[number] if 0 <= number < ids else -1
                if slot >= 0 and ids_are_full(venue, slot):
                    g[G_GROW] = GROW_IDS
                    status = RUN_NEED_GROW
                    break
            v += 1
            number = np.int64(event.instrument_id)
            slot = parameters.slot_of[number] if 0 <= number < ids else -1
            if slot < 0 or parameters.inst[slot, K_TRADED] == 0:
                continue
            action, side, price = np.int64(event.action), np.int64(event.side), event.price_units
            if venue.inst[slot, J_RESTING] > 0:
                flags = np.int64(event.flags)
                size, named = event.size_lots, event.order_id
                venue_market(venue, parameters, queue, now, slot, action, side, price, size, flags, named)
                continue
            prices, sizes = venue.price[slot], venue.size[slot]
            levels_apply(prices, sizes, venue.counts[slot], venue.counters[slot], action, side, price, event.size_lots)
            if touches_taken(venue.inst, venue.taken, slot, action, side, price):
                forget_taken(venue, slot, action, side)
            continue
        if kind == MARKET_AT_AGENT:
            event = market[a]
            a += 1
            number = np.int64(event.instrument_id)
            slot = parameters.slot_of[number] if 0 <= number < ids else -1
            if slot < 0 or parameters.inst[slot, K_TRADED] == 0:
                continue
            prices, sizes, counts = books.price[slot], books.size[slot], books.counts[slot]
            levels_apply(
                prices,
                sizes,
                counts,
                books.counters[slot],
                event.action,
                event.side,
                event.price_units,
                event.size_lots,
            )
            if event.action == EXECUTE or event.action == TRADE or event.action == HIDDEN:
                inst[slot, I_TAPE_LOTS] += event.size_lots
            if event.flags & F_LAST == 0:
                continue
            bid, bid_lots, ask, ask_lots = 0, 0, 0, 0
            if counts[0] > 0:
                bid, bid_lots = prices[0, counts[0] - 1], sizes[0, counts[0] - 1]
            if counts[1] > 0:
                ask, ask_lots = prices[1, counts[1] - 1], sizes[1, counts[1] - 1]
            if (
                bid == inst[slot, I_BID]
                and bid_lots == inst[slot, I_BID_LOTS]
                and ask == inst[slot, I_ASK]
                and ask_lots == inst[slot, I_ASK_LOTS]
            ):
                continue
            agent_quote(inst[slot], bid, bid_lots, ask, ask_lots)
            if inst[slot, I_POSITION] != 0:
                remark(g, inst[slot], parameters.inst[slot, K_UNIT_NANOS])
                risky = True
            elif mask & WAKE_TOP == 0:
                continue
            why = WAKE_TOP
        elif kind == COMMAND:
            command = commands[g[G_CMD_HEAD] % len(commands)]
            g[G_CMD_HEAD] += 1
            order_id, number = command.order_id, np.int64(command.slot)
            if command.is_cancel != 0:
                venue_cancel(venue, parameters, now, order_id, number)
            else:
                side, tif = np.int64(command.side), np.int64(command.tif)
                venue_order(venue, parameters, now, order_id, number, side, tif, command.price_units, command.size_lots)
            continue
        elif kind == ANSWER:
            place = g[G_RSP_HEAD] % len(responses)
            g[G_RSP_HEAD] += 1
            slot = np.int64(responses[place].slot)
            in_vain = responses[place].answer == REFUSED or responses[place].reason == R_IOC_REST
            risky = agent_answer(agent, parameters, fee, out, now, responses, place)
            why = WAKE_RESPONSE
        elif kind == CONTROL:
            agent_control(agent, parameters, out, now, controls, c)
            c += 1
        elif kind == FORECAST:
            number = np.int64(forecasts[f].instrument_id)
            slot = parameters.slot_of[number] if 0 <= number < ids else -1
            if slot >= 0 and parameters.inst[slot, K_TRADED] != 0:
                forecast_row = agent_forecast(agent, parameters, out, now, slot, forecasts, f)
                why = WAKE_FORECAST
            f += 1
        else:
            which, slot = agent_timer(agent, parameters, out, now)
            if which == TIMER_CLOSE:
                venue_close(venue, parameters, now)
            elif which == TIMER_STRATEGY:
                why = WAKE_TIMER
            else:
                risky = True
        if risky and ladder_may_move(g, parameters.ints):
            watch_risk(agent, parameters, out, now)
        if g[G_FLATTEN] != 0 and not in_vain and g[G_ENDING] != CLOSED:
            go_on_flattening(agent, parameters, slot)
        if g[G_INTENTS] > 0:
            carry_out(agent, parameters, out, now)
        if mask & why and g[G_ENDING] != CLOSED:
            outcome = wake(agent, parameters, decide, view, now, slot, why)
            if forecast_row >= 0:
                out[forecast_row].reason = outcome
            if g[G_INTENTS] > 0:
                carry_out(agent, parameters, out, now)
    cursors[C_VENUE], cursors[C_AGENT], cursors[C_CONTROL], cursors[C_FORECAST] = v, a, c, f
    return status

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

Time stops before ``limit``: only things due strictly earlier happen. Calling again with more goes on exactly there.
"""

from typing import Any, Final

from numba import njit

from marketdata.book import BookState, book_apply
from marketdata.events import F_LAST
from trading.agent import (
    agent_answer,
    agent_apply,
    agent_book_best,
    agent_control,
    agent_forecast,
    agent_group,
    agent_timer,
)
from trading.state import (
    G_CMD_HEAD,
    G_CMD_TAIL,
    G_GROW,
    G_LATE_ROWS,
    G_LIVE,
    G_NEXT_TIMER,
    G_NOW,
    G_OUT,
    G_RSP_HEAD,
    G_RSP_TAIL,
    GROW_COMMANDS,
    GROW_ORDERS,
    GROW_RESPONSES,
    I_ASK,
    I_ASK_LOTS,
    I_BID,
    I_BID_LOTS,
    I_TAKEN,
    I_VENUE_OPEN,
    K_TRADED,
    NEVER,
    TAKEN_LEVELS,
    EngineParameters,
    EngineState,
    Int64,
    Records,
)
from trading.strategies import O_ROWS
from trading.venue import venue_cancel, venue_close, venue_market, venue_order

RUN_DONE: Final = 0
RUN_OUT_FULL: Final = 1
RUN_NEED_GROW: Final = 2

C_VENUE: Final = 0
C_AGENT: Final = 1
C_CONTROL: Final = 2
C_FORECAST: Final = 3


@njit(cache=True)
def _no_room(state: EngineState, out: Records) -> int:
    """Return a status other than DONE when the next thing that happens might not find room."""
    g = state.g
    instruments, orders = len(state.inst), len(state.orders)
    if g[G_OUT] + 2 * orders + 2 * O_ROWS * instruments + 64 > len(out):
        return RUN_OUT_FULL
    if g[G_LIVE] + (O_ROWS + 1) * instruments > orders:
        g[G_GROW] = GROW_ORDERS
        return RUN_NEED_GROW
    if g[G_CMD_TAIL] - g[G_CMD_HEAD] + orders + (O_ROWS + 1) * instruments > len(state.commands):
        g[G_GROW] = GROW_COMMANDS
        return RUN_NEED_GROW
    if g[G_RSP_TAIL] - g[G_RSP_HEAD] + 2 * TAKEN_LEVELS + orders > len(state.responses):
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
    table: Int64,
) -> int:
    """Let everything happen that is due before ``limit``; return DONE, OUT_FULL or NEED_GROW.

    Parameters
    ----------
    venue_order_of : int64 array
        Positions of market rows in the order of ``ts_event``; empty where that is the array's own order.
    cursors : int64 array, shape (4,)
        Rows already taken: by the venue (of ``venue_order_of``), by the agent, of controls, of forecasts. Advanced in place.
    out : JOURNAL_DTYPE array
        Rows are written from ``g[G_OUT]`` on.
    """
    g = state.g
    rows = len(market)
    sorted_already = len(venue_order_of) == 0
    venue_rows = rows if sorted_already else len(venue_order_of)
    v, a, c, f = cursors[C_VENUE], cursors[C_AGENT], cursors[C_CONTROL], cursors[C_FORECAST]
    now = g[G_NOW]
    status = RUN_DONE
    ids = len(parameters.slot_of)
    checked = -1
    while True:
        busy = g[G_OUT] + g[G_CMD_TAIL] + g[G_RSP_TAIL]
        if busy != checked:
            status = _no_room(state, out)
            if status != RUN_DONE:
                break
            checked = busy
        due = limit
        kind = -1
        row = 0
        if v < venue_rows:
            row = v if sorted_already else venue_order_of[v]
            at = market[row].ts_event
            if at < due:
                due = at
                kind = 0
        if g[G_CMD_HEAD] < g[G_CMD_TAIL]:
            at = state.commands[g[G_CMD_HEAD] % len(state.commands)].due_ns
            if at < due:
                due = at
                kind = 1
        if a < rows:
            at = market[a].ts_recv
            if at < due:
                due = at
                kind = 2
        if g[G_RSP_HEAD] < g[G_RSP_TAIL]:
            at = state.responses[g[G_RSP_HEAD] % len(state.responses)].due_ns
            if at < due:
                due = at
                kind = 3
        if c < len(controls):
            at = controls[c].due_ns
            if at < due:
                due = at
                kind = 4
        if f < len(forecasts):
            at = forecasts[f].due_ns
            if at < due:
                due = at
                kind = 5
        if g[G_NEXT_TIMER] < due:
            due = g[G_NEXT_TIMER]
            kind = 6
        if kind < 0:
            break
        if due > now:
            now = due
            g[G_NOW] = now
        elif due < now and (kind == 0 or kind == 2):
            g[G_LATE_ROWS] += 1
        if kind == 0:
            event = market[row]
            v += 1
            number = event.instrument_id
            slot = parameters.slot_of[number] if 0 <= number < ids else -1
            if slot < 0 or parameters.inst[slot, K_TRADED] == 0:
                continue
            if state.inst[slot, I_VENUE_OPEN] == 0 and state.inst[slot, I_TAKEN] == 0:
                book = BookState(
                    state.venue_price[slot],
                    state.venue_size[slot],
                    state.venue_count[slot],
                    state.venue_counters[slot],
                )
                book_apply(book, event.action, event.side, event.price_units, event.size_lots)
            else:
                venue_market(
                    state,
                    parameters,
                    queue,
                    now,
                    slot,
                    event.action,
                    event.side,
                    event.price_units,
                    event.size_lots,
                    event.flags,
                )
        elif kind == 2:
            event = market[a]
            a += 1
            number = event.instrument_id
            slot = parameters.slot_of[number] if 0 <= number < ids else -1
            if slot < 0 or parameters.inst[slot, K_TRADED] == 0:
                continue
            agent_apply(state, slot, event.action, event.side, event.price_units, event.size_lots)
            if event.flags & F_LAST:
                bid, bid_lots, ask, ask_lots = agent_book_best(state, slot)
                inst = state.inst[slot]
                if (
                    bid != inst[I_BID]
                    or bid_lots != inst[I_BID_LOTS]
                    or ask != inst[I_ASK]
                    or ask_lots != inst[I_ASK_LOTS]
                ):
                    agent_group(
                        state, parameters, decide, out, view, table, now, slot, bid, bid_lots, ask, ask_lots
                    )
        elif kind == 1:
            command = state.commands[g[G_CMD_HEAD] % len(state.commands)]
            g[G_CMD_HEAD] += 1
            if command.is_cancel != 0:
                venue_cancel(state, parameters, now, command.order_id, command.slot)
            else:
                venue_order(
                    state,
                    parameters,
                    now,
                    command.order_id,
                    command.slot,
                    command.side,
                    command.tif,
                    command.price_units,
                    command.size_lots,
                )
        elif kind == 3:
            answer = g[G_RSP_HEAD] % len(state.responses)
            g[G_RSP_HEAD] += 1
            agent_answer(state, parameters, fee, decide, out, view, table, now, answer)
        elif kind == 4:
            agent_control(state, parameters, out, now, controls, c)
            c += 1
        elif kind == 5:
            number = forecasts[f].instrument_id
            slot = parameters.slot_of[number] if 0 <= number < ids else -1
            if slot >= 0 and parameters.inst[slot, K_TRADED] != 0:
                agent_forecast(state, parameters, decide, out, view, table, now, slot, forecasts, f)
            f += 1
        else:
            closes = agent_timer(state, parameters, decide, out, view, table, now)
            if closes:
                venue_close(state, parameters, now)
        if now == NEVER:
            break
    cursors[C_VENUE], cursors[C_AGENT], cursors[C_CONTROL], cursors[C_FORECAST] = v, a, c, f
    return status

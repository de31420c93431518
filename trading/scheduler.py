"""The scheduler: one compiled loop that merges everything by (due_ns, class, sequence).

Classes, in the order in which they happen at one and the same nanosecond:

0. market rows reach the venue, at ``ts_event``
1. a downtime window of a venue begins
2. commands reach the venue, decision and order latency after they were decided
3. market rows reach the agent, at ``ts_recv``
4. answers reach the agent, response latency after the venue gave them
5. controls
6. forecasts, at their ``due_ns``
7. timers: strategy timers, the session's last minutes, account marks, the close

Within a class the order is the order of the array (market rows at the venue: by ``ts_event``, ties by position) or of sending:
whatever the latencies, what is sent first on one instrument's connection arrives first. A command sent with no latency at all
happens at the same nanosecond, before the agent sees anything more of it.

A flattening order that found nothing to take is not sent again at once, but when the quotes change or at the next mark.

Time stops before ``limit``: only things due strictly earlier happen. Calling again with more goes on exactly there.
"""

from typing import Any, Final

import numpy as np
from numba import njit

from marketdata.bits import borrowed
from marketdata.book import levels_apply
from marketdata.events import BID, EXECUTE, F_LAST, HIDDEN, QUOTE, TRADE
from trading.agent import CLOSED, after_wake, look
from trading.happenings import (
    ANSWER,
    COMMAND,
    CONTROL,
    DOWNTIME,
    FORECAST,
    NOTHING,
    TIMER,
    happens_at_venue,
    happens_to_agent,
)
from trading.ladder import ladder_may_move
from trading.loop_state import RUN_DONE, RUN_NEED_GROW, RUN_WAKE_PYTHON, lacking_room, lend_parameters, lend_state
from trading.queues import ids_are_full
from trading.sending import carry_out, go_on_flattening, watch_risk, watch_stop
from trading.state import (
    G_CMD_HEAD,
    G_CMD_TAIL,
    G_ENDING,
    G_EQUITY,
    G_FLATTEN,
    G_GROW,
    G_INTENTS,
    G_LATE_ROWS,
    G_NEXT_TIMER,
    G_NOW,
    G_RSP_HEAD,
    G_SEQUENCE,
    G_STOPS,
    G_WAKE_ROW,
    G_WAKE_SLOT,
    G_WAKE_WHY,
    G_WAKING,
    GROW_IDS,
    I_ASK,
    I_ASK_LOTS,
    I_BID,
    I_BID_LOTS,
    I_CASH,
    I_EQUITY,
    I_MARK_ASK,
    I_MARK_BID,
    I_POSITION,
    I_TAPE_LOTS,
    I_TAPE_SEEN,
    J_RESTING,
    J_TAKEN,
    K_TRADED,
    K_UNIT_NANOS,
    N_APART,
    N_IDLE,
    N_NEXT_DOWN,
    N_RSP_TAIL,
    NEVER,
    P_PYTHON,
    P_QUEUE_BY_ID,
    P_STOP_PPM,
    P_TRACK_TOP,
    P_TRAIL_PPM,
    P_WAKE_MASK,
    EngineParameters,
    EngineState,
    Int64,
    Records,
)
from trading.strategies import V_ASK, V_ASK_LOTS, V_BID, V_BID_LOTS, V_COUNT, V_OUTCOME, V_TAPE_LOTS, V_TIMER_NS
from trading.strategies.interface import WAKE_EVENT, WAKE_TOP, WAKE_TRADE
from trading.top_flow import track_top
from trading.venue_step import make_books, rest_if_idle, rows_until, venue_row

ASKED: Final = 1
ANSWERED: Final = 2
"""Values of ``G_WAKING``."""

C_VENUE: Final = 0
C_AGENT: Final = 1
C_CONTROL: Final = 2
C_FORECAST: Final = 3
C_PREFIX: Final = 4
"""Rows at the front that the venue has taken, where ``venue_order_of`` counts the others."""


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
    """Let everything happen that is due before ``limit``; return DONE, OUT_FULL, NEED_GROW or WAKE_PYTHON.

    Market rows, which are nearly everything, go through a short path: as long as one is due before everything else (two bounds,
    worked out again only after something else has changed them), nothing else is looked at. A row that cannot concern a resting
    order changes the venue's book and nothing else there.

    Parameters
    ----------
    venue_order_of : int64 array
        Positions of market rows in the order of ``ts_event``; empty where that is the array's own order.
    cursors : int64 array, shape (5,)
        Rows already taken: by the venue (of ``venue_order_of``), by the agent, of controls, of forecasts, advanced in place; and
        rows at the front that the venue had taken before (``C_PREFIX``).
    out : JOURNAL_DTYPE array
        Rows are written from ``G_OUT`` on.
    view : int64 array, shape (I, V_COUNT + 1)
        What strategies read; :func:`trading.agent.prepare_view` has written what never changes.
    """
    state, parameters = lend_state(state), lend_parameters(parameters)
    market, out, view = borrowed(market), borrowed(out), borrowed(view)
    forecasts, controls, venue_order_of = borrowed(forecasts), borrowed(controls), borrowed(venue_order_of)
    agent, books, venue = state.agent, state.books, state.venue
    # Everything that the loop reads row by row is a variable of its own: reaching into a tuple costs as much as the work.
    g, inst, commands, responses = agent.g, agent.inst, agent.commands, venue.responses
    prices, sizes, counts, counters = books.price, books.size, books.counts, books.counters
    venue_g, venue_inst, venue_prices, venue_sizes, venue_counts = (
        venue.g,
        venue.inst,
        venue.price,
        venue.size,
        venue.counts,
    )
    slot_of, fixed = parameters.slot_of, parameters.inst
    strategy_ints, strategy_floats = parameters.strategy_ints, parameters.strategy_floats
    forecast, memory, intents = agent.forecast, agent.memory, agent.intents
    rows = len(market)
    in_order = len(venue_order_of) == 0
    venue_rows = rows if in_order else len(venue_order_of)
    v, a, c, f = cursors[C_VENUE], cursors[C_AGENT], cursors[C_CONTROL], cursors[C_FORECAST]
    ids, mask = len(parameters.slot_of), parameters.ints[P_WAKE_MASK]
    by_id = parameters.ints[P_QUEUE_BY_ID] != 0
    python = parameters.ints[P_PYTHON] != 0
    track = parameters.ints[P_TRACK_TOP] != 0
    stops = parameters.ints[P_STOP_PPM] + parameters.ints[P_TRAIL_PPM] > 0
    now = g[G_NOW]
    status = RUN_DONE
    if g[G_WAKING] == ANSWERED:
        g[G_WAKING] = 0
        after_wake(agent, g[G_WAKE_SLOT], now, g[G_INTENTS], view)
        if g[G_WAKE_ROW] >= 0:
            out[g[G_WAKE_ROW]].reason = view[g[G_WAKE_SLOT], V_OUTCOME]
        if g[G_INTENTS] > 0:
            carry_out(agent, parameters, out, now)
    if not in_order:
        if venue.g[N_IDLE] != 0:
            make_books(venue, books, parameters, market, a, cursors[C_PREFIX])
        venue.g[N_APART] = 1
    idle = venue.g[N_IDLE] != 0
    while idle and v < rows and market[v].ts_event < now:
        g[G_LATE_ROWS] += 1
        v += 1
    other, due = NOTHING, limit
    venue_until, agent_until = limit, limit
    changed = True
    while True:
        if changed:
            status = lacking_room(state, len(out))
            if status != RUN_DONE:
                break
            changed = False
            timer = g[G_NEXT_TIMER]
            due, other = limit, NOTHING
            if venue_g[N_NEXT_DOWN] < due:
                due = venue_g[N_NEXT_DOWN]
                other = DOWNTIME
            if g[G_CMD_HEAD] < g[G_CMD_TAIL] and commands[g[G_CMD_HEAD] % len(commands)].due_ns < due:
                due = commands[g[G_CMD_HEAD] % len(commands)].due_ns
                other = COMMAND
            if g[G_RSP_HEAD] < venue_g[N_RSP_TAIL] and responses[g[G_RSP_HEAD] % len(responses)].due_ns < due:
                due = responses[g[G_RSP_HEAD] % len(responses)].due_ns
                other = ANSWER
            if c < len(controls) and controls[c].due_ns < due:
                due = controls[c].due_ns
                other = CONTROL
            if f < len(forecasts) and forecasts[f].due_ns < due:
                due = forecasts[f].due_ns
                other = FORECAST
            if timer < due:
                due = timer
                other = TIMER
            # The last nanosecond at which a market row comes before the other thing: at the venue always, at the agent
            # unless the venue acts.
            venue_until = due if other > NOTHING else due - 1
            agent_until = due if other > COMMAND else due - 1
        slot: Any = np.int64(-1)
        why, forecast_row = 0, -1
        risky, in_vain = False, False
        row = v
        to_venue, to_agent = NEVER, NEVER
        if v < venue_rows and not idle:
            if not in_order:
                row = venue_order_of[v]
            to_venue = market[row].ts_event
        if a < rows:
            to_agent = market[a].ts_recv
        if to_venue <= to_agent and to_venue <= venue_until:
            event = market[row]
            number = np.int64(event.instrument_id)
            slot = slot_of[number] if 0 <= number < ids else -1
            if slot >= 0 and by_id and venue_inst[slot, J_RESTING] > 0 and ids_are_full(venue, slot):
                g[G_GROW] = GROW_IDS
                status = RUN_NEED_GROW
                break
            v += 1
            if to_venue >= now:
                now = to_venue
            else:
                g[G_LATE_ROWS] += 1
            if slot < 0 or fixed[slot, K_TRADED] == 0:
                continue
            action, side, price, size = np.int64(event.action), np.int64(event.side), event.price_units, event.size_lots
            watched = venue_inst[slot, J_RESTING] + venue_inst[slot, J_TAKEN] + venue_inst[slot, J_TAKEN + 1]
            if action == QUOTE and watched == 0:
                s = 0 if side == BID else 1
                venue_prices[slot, s, 0] = price
                venue_sizes[slot, s, 0] = size
                venue_counts[slot, s] = 1 if size > 0 else 0
                continue
            g[G_NOW] = now
            flags, named = np.int64(event.flags), event.order_id
            answers = venue_g[N_RSP_TAIL]
            venue_row(venue, parameters, queue, now, slot, action, side, price, size, flags, named)
            changed = venue_g[N_RSP_TAIL] != answers
            if watched > 0:
                watched = venue_inst[slot, J_RESTING] + venue_inst[slot, J_TAKEN] + venue_inst[slot, J_TAKEN + 1]
                if watched == 0:
                    rest_if_idle(venue)
                    idle = venue_g[N_IDLE] != 0
            continue
        if to_agent <= agent_until:
            event = market[a]
            a += 1
            if to_agent >= now:
                now = to_agent
            else:
                g[G_LATE_ROWS] += 1
            number = np.int64(event.instrument_id)
            slot = slot_of[number] if 0 <= number < ids else -1
            if slot < 0 or fixed[slot, K_TRADED] == 0:
                continue
            action, side, price, size = np.int64(event.action), np.int64(event.side), event.price_units, event.size_lots
            if action == QUOTE:
                s = 0 if side == BID else 1
                prices[slot, s, 0] = price
                sizes[slot, s, 0] = size
                counts[slot, s] = 1 if size > 0 else 0
            else:
                levels_apply(prices[slot], sizes[slot], counts[slot], counters[slot], action, side, price, size)
                if action in (EXECUTE, TRADE, HIDDEN):
                    inst[slot, I_TAPE_LOTS] += size
            if event.flags & F_LAST == 0:
                continue
            bid, bid_lots, ask, ask_lots = 0, 0, 0, 0
            bids, asks = counts[slot, 0], counts[slot, 1]
            if bids > 0:
                bid, bid_lots = prices[slot, 0, bids - 1], sizes[slot, 0, bids - 1]
            if asks > 0:
                ask, ask_lots = prices[slot, 1, asks - 1], sizes[slot, 1, asks - 1]
            # One branch for all four: which of them changes cannot be predicted.
            if (
                (bid != inst[slot, I_BID])
                | (bid_lots != inst[slot, I_BID_LOTS])
                | (ask != inst[slot, I_ASK])
                | (ask_lots != inst[slot, I_ASK_LOTS])
            ):
                if track:
                    track_top(inst[slot], now, bid, bid_lots, ask, ask_lots)
                inst[slot, I_BID] = bid
                inst[slot, I_BID_LOTS] = bid_lots
                inst[slot, I_ASK] = ask
                inst[slot, I_ASK_LOTS] = ask_lots
                if bid_lots > 0:
                    inst[slot, I_MARK_BID] = bid
                if ask_lots > 0:
                    inst[slot, I_MARK_ASK] = ask
                why = WAKE_TOP
                position = inst[slot, I_POSITION]
                if position != 0:
                    mark = inst[slot, I_MARK_BID] if position > 0 else inst[slot, I_MARK_ASK]
                    fresh = inst[slot, I_CASH] + position * mark * fixed[slot, K_UNIT_NANOS]
                    g[G_EQUITY] += fresh - inst[slot, I_EQUITY]
                    inst[slot, I_EQUITY] = fresh
                    risky = True
            why |= WAKE_EVENT
            if inst[slot, I_TAPE_LOTS] != inst[slot, I_TAPE_SEEN]:
                inst[slot, I_TAPE_SEEN] = inst[slot, I_TAPE_LOTS]
                why |= WAKE_TRADE
            in_vain = why & WAKE_TOP == 0
            if not risky and mask & why == 0:
                continue
        elif other == NOTHING:
            break
        else:
            now = max(now, due)
            g[G_NOW] = now
            changed = True
            if idle and other <= COMMAND:
                v = rows_until(market, max(v, a), now)
                make_books(venue, books, parameters, market, a, v)
                idle = False
            elif not idle and other > COMMAND:
                rest_if_idle(venue)
                idle = venue_g[N_IDLE] != 0
            if other <= COMMAND:
                happens_at_venue(state, parameters, now, other)
                continue
            slot, why, forecast_row, risky, in_vain = happens_to_agent(
                state, parameters, fee, out, now, other, forecasts, f, controls, c
            )
            c += other == CONTROL
            f += other == FORECAST
        if risky and ladder_may_move(g, parameters.ints):
            watch_risk(agent, parameters, out, now)
            changed = True
        if stops and risky and slot >= 0:
            watch_stop(agent, parameters, out, now, slot)
            changed = True
        if g[G_FLATTEN] + g[G_STOPS] != 0 and not in_vain and g[G_ENDING] != CLOSED:
            go_on_flattening(agent, parameters, slot)
        if g[G_INTENTS] > 0:
            carry_out(agent, parameters, out, now)
            changed = True
        why &= mask
        if why == 0 or g[G_ENDING] == CLOSED:
            continue
        view[slot, V_BID] = inst[slot, I_BID]
        view[slot, V_BID_LOTS] = inst[slot, I_BID_LOTS]
        view[slot, V_ASK] = inst[slot, I_ASK]
        view[slot, V_ASK_LOTS] = inst[slot, I_ASK_LOTS]
        view[slot, V_TAPE_LOTS] = inst[slot, I_TAPE_LOTS]
        view[slot, V_OUTCOME] = 0
        view[slot, V_TIMER_NS] = 0
        if track or view[slot, V_COUNT] != g[G_SEQUENCE]:
            look(agent, slot, view)
        if python:
            g[G_WAKING], g[G_WAKE_SLOT], g[G_WAKE_ROW], g[G_WAKE_WHY] = ASKED, slot, forecast_row, why
            status = RUN_WAKE_PYTHON
            break
        asked = decide(now, why, strategy_ints, strategy_floats, view[slot], forecast[slot], memory[slot], intents)
        if asked > 0 or view[slot, V_TIMER_NS] > 0:
            after_wake(agent, slot, now, asked, view)
            changed = True
        if forecast_row >= 0:
            out[forecast_row].reason = view[slot, V_OUTCOME]
        if asked > 0:
            carry_out(agent, parameters, out, now)
    if idle:
        v = rows_until(market, max(v, a), limit - 1 if status == RUN_DONE else now)
        if v > a:
            now = max(now, market[v - 1].ts_event)
    g[G_NOW] = now
    cursors[C_VENUE], cursors[C_AGENT], cursors[C_CONTROL], cursors[C_FORECAST] = v, a, c, f
    return status

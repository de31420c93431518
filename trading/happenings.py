"""What happens when something other than a market row is due: at the venue, and to the agent."""

from typing import Any, Final

import numpy as np

from marketdata.bits import inner_inlined
from trading.agent import TIMER_CLOSE, TIMER_STRATEGY, agent_answer, agent_forecast, agent_timer
from trading.agent_controls import agent_control
from trading.journal import R_IOC_REST
from trading.orders import ACT_CANCEL, ACT_MODIFY, REFUSED
from trading.state import G_CMD_HEAD, G_RSP_HEAD, K_TRADED, N_RSP_HEAD, EngineParameters, EngineState, Records
from trading.strategies.interface import WAKE_FORECAST, WAKE_RESPONSE, WAKE_TIMER
from trading.venue import venue_close, venue_down, venue_order
from trading.venue_changes import venue_cancel, venue_modify

NOTHING: Final = -1
DOWNTIME: Final = 1
COMMAND: Final = 2
ANSWER: Final = 4
CONTROL: Final = 5
FORECAST: Final = 6
TIMER: Final = 7
"""Classes, market rows left out: what happens first at one and the same nanosecond."""


@inner_inlined
def happens_at_venue(state: EngineState, parameters: EngineParameters, now: int, kind: int) -> None:
    """Let a downtime window begin, or the next command arrive."""
    g, venue, commands = state.agent.g, state.venue, state.agent.commands
    if kind == DOWNTIME:
        venue_down(venue, parameters, now)
        return
    command = commands[g[G_CMD_HEAD] % len(commands)]
    g[G_CMD_HEAD] += 1
    order_id, slot = command.order_id, np.int64(command.slot)
    side, tif = np.int64(command.side), np.int64(command.tif)
    price, size = command.price_units, command.size_lots
    if command.act == ACT_CANCEL:
        venue_cancel(venue, parameters, now, order_id, slot)
    elif command.act == ACT_MODIFY:
        venue_modify(venue, parameters, now, order_id, slot, tif, price, size)
    else:
        venue_order(venue, parameters, now, order_id, slot, side, tif, price, size)


@inner_inlined
def happens_to_agent(
    state: EngineState,
    parameters: EngineParameters,
    fee: Any,
    out: Records,
    now: int,
    kind: int,
    forecasts: Records,
    f: int,
    controls: Records,
    c: int,
) -> tuple[int, int, int, bool, bool]:
    """Let the agent take in an answer, a control, a forecast or a timer.

    Returns
    -------
    slot, why, forecast_row : int
        The instrument (-1: none), the wake (0: none), and the journal row of a forecast (-1: there is none).
    risky, in_vain : bool
        Whether the equity may have changed; whether an order ended for want of lots, so that another one would too.
    """
    agent, venue, slot_of = state.agent, state.venue, parameters.slot_of
    slot: Any = np.int64(-1)
    why: Any = np.int64(0)
    forecast_row: Any = np.int64(-1)
    risky, in_vain = False, False
    if kind == ANSWER:
        g, responses = agent.g, venue.responses
        place = g[G_RSP_HEAD] % len(responses)
        g[G_RSP_HEAD] += 1
        venue.g[N_RSP_HEAD] = g[G_RSP_HEAD]
        slot = np.int64(responses[place].slot)
        in_vain = responses[place].answer == REFUSED or responses[place].reason == R_IOC_REST
        risky = agent_answer(agent, parameters, fee, out, now, responses, place)
        why = np.int64(WAKE_RESPONSE)
    elif kind == CONTROL:
        agent_control(agent, parameters, out, now, controls, c)
    elif kind == FORECAST:
        number = np.int64(forecasts[f].instrument_id)
        slot = slot_of[number] if 0 <= number < len(slot_of) else -1
        if slot >= 0 and parameters.inst[slot, K_TRADED] != 0:
            forecast_row = agent_forecast(agent, parameters, out, now, slot, forecasts, f)
            why = np.int64(WAKE_FORECAST)
    else:
        which, slot = agent_timer(agent, parameters, out, now)
        if which == TIMER_CLOSE:
            venue_close(venue, parameters, now)
        elif which == TIMER_STRATEGY:
            why = np.int64(WAKE_TIMER)
        else:
            risky = True
    return slot, why, forecast_row, risky, in_vain

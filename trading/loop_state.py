"""What the scheduler's loop runs on: its state without owners, and room for the next thing that happens."""

from typing import Final

from marketdata.bits import borrowed, inlined, inner
from trading.state import (
    G_CMD_HEAD,
    G_CMD_TAIL,
    G_GROW,
    G_LIVE,
    G_OUT,
    G_RSP_HEAD,
    GROW_COMMANDS,
    GROW_ORDERS,
    GROW_RESPONSES,
    INTENT_ROWS,
    N_RSP_TAIL,
    TAKEN_LEVELS,
    AgentState,
    Books,
    EngineParameters,
    EngineState,
    VenueState,
)

RUN_DONE: Final = 0
RUN_OUT_FULL: Final = 1
RUN_NEED_GROW: Final = 2
RUN_WAKE_PYTHON: Final = 3


@inner
def lacking_room(state: EngineState, out_rows: int) -> int:
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


@inlined
def lend_state(state: EngineState) -> EngineState:
    """Return the state over the same memory, without owners: nothing in the loop counts references."""
    a, b, v = state.agent, state.books, state.venue
    return EngineState(
        AgentState(
            borrowed(a.g),
            borrowed(a.inst),
            borrowed(a.memory),
            borrowed(a.forecast),
            borrowed(a.orders),
            borrowed(a.commands),
            borrowed(a.rate),
            borrowed(a.intents),
            borrowed(a.order_index),
        ),
        Books(borrowed(b.price), borrowed(b.size), borrowed(b.counts), borrowed(b.counters)),
        VenueState(
            borrowed(v.g),
            borrowed(v.inst),
            borrowed(v.resting),
            borrowed(v.responses),
            borrowed(v.taken),
            borrowed(v.ids),
            borrowed(v.order_index),
            borrowed(v.price),
            borrowed(v.size),
            borrowed(v.counts),
            borrowed(v.counters),
        ),
    )


@inlined
def lend_parameters(parameters: EngineParameters) -> EngineParameters:
    """Return the parameters over the same memory, without owners."""
    return EngineParameters(
        borrowed(parameters.ints),
        borrowed(parameters.inst),
        borrowed(parameters.slot_of),
        borrowed(parameters.queue),
        borrowed(parameters.strategy_ints),
        borrowed(parameters.strategy_floats),
        borrowed(parameters.legs),
        borrowed(parameters.latency),
        borrowed(parameters.downtime),
    )

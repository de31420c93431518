"""Room for the engine's state: making it, copying it, giving it more."""

import numpy as np
import numpy.typing as npt

from trading.order_ids import copy_ids, empty_index, index_put
from trading.orders import FREE
from trading.records import AGENT_ORDER_DTYPE, COMMAND_DTYPE, RESPONSE_DTYPE, VENUE_ORDER_DTYPE
from trading.state import (
    G_CMD_HEAD,
    G_CMD_TAIL,
    G_COUNT,
    G_GROW,
    G_RSP_HEAD,
    GROW_COMMANDS,
    GROW_IDS,
    GROW_ORDERS,
    GROW_RESPONSES,
    I_COUNT,
    INTENT_ROWS,
    J_COUNT,
    J_HIGH,
    J_LOW,
    MEMORY_COLUMNS,
    N_COUNT,
    N_IDLE,
    N_RSP_TAIL,
    NEVER,
    TAKEN_LEVELS,
    AgentState,
    Books,
    EngineState,
    Records,
    VenueState,
)


def _empty_books(instruments: int, levels: int) -> Books:
    side = (instruments, 2, levels)
    counts = np.zeros((instruments, 2), np.int64), np.zeros((instruments, 4), np.int64)
    return Books(np.zeros(side, np.int64), np.zeros(side, np.int64), *counts)


def allocate_state(
    instruments: int, *, rate_limit: int, levels: int, orders: int, ring: int, intent_columns: int, ids: int = 1
) -> EngineState:
    """Return a zeroed state for ``instruments`` instruments."""
    agent = AgentState(
        np.zeros(G_COUNT, np.int64),
        np.zeros((instruments, I_COUNT), np.int64),
        np.zeros((instruments, MEMORY_COLUMNS), np.int64),
        np.zeros((instruments, 5), np.float64),
        np.zeros(orders, AGENT_ORDER_DTYPE),
        np.zeros(ring, COMMAND_DTYPE),
        np.full(rate_limit, -NEVER, np.int64),
        np.zeros((INTENT_ROWS + instruments, intent_columns), np.int64),
        empty_index(orders),
    )
    venue = VenueState(
        np.zeros(N_COUNT, np.int64),
        np.zeros((instruments, J_COUNT), np.int64),
        np.zeros(orders, VENUE_ORDER_DTYPE),
        np.zeros(ring, RESPONSE_DTYPE),
        np.zeros((instruments, 2, TAKEN_LEVELS, 2), np.int64),
        np.zeros((instruments, ids, 3), np.int64),
        empty_index(orders),
        *_empty_books(instruments, levels),
    )
    venue.g[N_IDLE] = 1
    venue.inst[:, J_LOW : J_LOW + 2] = NEVER
    venue.inst[:, J_HIGH : J_HIGH + 2] = -NEVER
    return EngineState(agent, _empty_books(instruments, levels), venue)


def copy_state(state: EngineState) -> EngineState:
    """Return a checkpoint of the state."""
    return EngineState(
        AgentState._make(array.copy() for array in state.agent),
        Books._make(array.copy() for array in state.books),
        VenueState._make(array.copy() for array in state.venue),
    )


def grow(state: EngineState) -> EngineState:
    """Return the state with twice the room in the array that ``G_GROW`` named; nothing else changes."""
    agent, venue = state.agent, state.venue
    which = agent.g[G_GROW]
    if which == GROW_ORDERS:
        orders = np.concatenate([agent.orders, np.zeros_like(agent.orders)])
        resting = np.concatenate([venue.resting, np.zeros_like(venue.resting)])
        agent = agent._replace(orders=orders, order_index=_indexed(orders, orders["state"] != FREE))
        venue = venue._replace(resting=resting, order_index=_indexed(resting, resting["active"] != 0))
    elif which == GROW_COMMANDS:
        agent = agent._replace(commands=_grow_ring(agent.commands, agent.g[G_CMD_HEAD], agent.g[G_CMD_TAIL]))
    elif which == GROW_RESPONSES:
        venue = venue._replace(responses=_grow_ring(venue.responses, agent.g[G_RSP_HEAD], venue.g[N_RSP_TAIL]))
    elif which == GROW_IDS:
        slots, rows, _ = venue.ids.shape
        bigger = np.zeros((slots, 2 * rows, 3), np.int64)
        copy_ids(venue.ids, bigger)
        venue = venue._replace(ids=bigger)
    else:
        raise ValueError(f"nothing to grow is known under {which}")
    return EngineState(agent, state.books, venue)


def _indexed(orders: Records, live: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the index of a table's live orders."""
    index = empty_index(len(orders))
    for row in np.flatnonzero(live).tolist():
        index_put(index, int(orders[row]["order_id"]), row)
    return index


def _grow_ring(ring: Records, head: int, tail: int) -> Records:
    bigger = np.zeros(2 * len(ring), ring.dtype)
    counts = np.arange(head, tail)
    bigger[counts % len(bigger)] = ring[counts % len(ring)]
    return bigger

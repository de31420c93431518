"""The venue's step for one market row: the short way for rows that cannot concern us, the long one for the others.

While nothing of ours rests and no lots that we took are still shown, nobody asks for the venue's books: the venue is *idle*, and
its rows are only counted. What it would hold are the agent's books and the rows that are still on their way to the agent, as long
as both take rows in the same order: :func:`make_books` puts that together when a command arrives.
"""

from typing import Any

import numpy as np

from marketdata.bits import inlined, inner
from marketdata.book import levels_apply
from marketdata.events import BID, F_LAST, QUOTE
from trading.state import (
    J_HIGH,
    J_LOW,
    J_RESTING,
    J_TAKEN,
    J_UNKNOWN_QUEUE,
    K_TRADED,
    N_APART,
    N_IDLE,
    Books,
    EngineParameters,
    Int64,
    Records,
    VenueState,
)
from trading.venue import end_of_group, venue_market
from trading.venue_table import concerns_us, forget_taken, touches_taken


@inlined
def set_quote(prices: Int64, sizes: Int64, counts: Int64, slot: int, side: int, price: int, lots: int) -> None:
    """Apply a QUOTE row: the whole side is one level."""
    s = 0 if side == BID else 1
    if lots > 0:
        prices[slot, s, 0] = price
        sizes[slot, s, 0] = lots
        counts[slot, s] = 1
    else:
        counts[slot, s] = 0


@inlined
def quotes_reach_us(venue: VenueState, slot: int) -> bool:
    """Return whether quotes of the other side have reached one of our resting orders."""
    inst, counts, price = venue.inst, venue.counts, venue.price
    bids, asks = counts[slot, 0], counts[slot, 1]
    if asks > 0 and price[slot, 1, asks - 1] <= inst[slot, J_HIGH]:
        return True
    return bids > 0 and price[slot, 0, bids - 1] >= inst[slot, J_LOW + 1]


@inlined
def rows_until(market: Records, row: int, until_ns: int) -> int:
    """Return the first row from ``row`` on whose ``ts_event`` is after ``until_ns``."""
    while row < len(market) and market[row].ts_event <= until_ns:
        row += 1
    return row


@inner
def make_books(
    venue: VenueState, books: Books, parameters: EngineParameters, market: Records, first: int, until: int
) -> None:
    """End the venue's idleness: its books are the agent's and the rows from ``first`` (the agent's next) to ``until``."""
    venue.g[N_IDLE] = 0
    for slot in range(len(venue.counts)):
        for half in range(2):
            count = books.counts[slot, half]
            venue.counts[slot, half] = count
            for k in range(count):
                venue.price[slot, half, k] = books.price[slot, half, k]
            for k in range(count):
                venue.size[slot, half, k] = books.size[slot, half, k]
        for k in range(venue.counters.shape[1]):
            venue.counters[slot, k] = books.counters[slot, k]
    for row in range(first, until):
        event = market[row]
        number = np.int64(event.instrument_id)
        own = parameters.slot_of[number] if 0 <= number < len(parameters.slot_of) else -1
        if own >= 0 and parameters.inst[own, K_TRADED] != 0:
            prices, sizes, counts = venue.price[own], venue.size[own], venue.counts[own]
            action, side = np.int64(event.action), np.int64(event.side)
            levels_apply(prices, sizes, counts, venue.counters[own], action, side, event.price_units, event.size_lots)


@inlined
def rest_if_idle(venue: VenueState) -> None:
    """Let the venue be idle when it has nothing of ours to watch, and the agent's books can stand for its own."""
    if venue.g[N_APART] != 0:
        return
    for slot in range(len(venue.inst)):
        if venue.inst[slot, J_RESTING] + venue.inst[slot, J_TAKEN] + venue.inst[slot, J_TAKEN + 1] > 0:
            return
    venue.g[N_IDLE] = 1


@inlined
def venue_row(
    venue: VenueState,
    parameters: EngineParameters,
    queue: Any,
    now: int,
    slot: int,
    action: int,
    side: int,
    price: int,
    lots: int,
    flags: int,
    order_id: int,
) -> None:
    """Apply one market row to the venue: its book, the queues before our orders, our fills."""
    resting = venue.inst[slot, J_RESTING] > 0
    if resting and concerns_us(venue.inst, slot, action, side, price):
        venue_market(venue, parameters, queue, now, slot, action, side, price, lots, flags, order_id)
        return
    if action == QUOTE:
        set_quote(venue.price, venue.size, venue.counts, slot, side, price, lots)
    else:
        prices, sizes = venue.price[slot], venue.size[slot]
        levels_apply(prices, sizes, venue.counts[slot], venue.counters[slot], action, side, price, lots)
    has_taken = venue.inst[slot, J_TAKEN] + venue.inst[slot, J_TAKEN + 1] > 0
    if has_taken and touches_taken(venue.inst, venue.taken, slot, action, side, price):
        forget_taken(venue, slot, action, side)
    ends = resting and flags & F_LAST != 0
    if ends and (venue.inst[slot, J_UNKNOWN_QUEUE] != 0 or quotes_reach_us(venue, slot)):
        end_of_group(venue, parameters, now, slot)

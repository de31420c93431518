"""What every part of the simulated venue works on: its books, our orders in it, its answers, and the lots we have taken."""

from typing import Final

import numpy as np
from numba import njit

from marketdata.bits import inlined, inner, inner_inlined
from marketdata.book import BookState, book_level_size
from marketdata.events import ADD, ASK, BID, CLEAR, EXECUTE, HIDDEN, QUOTE, STATUS, TRADE
from trading.latency import LEG_ANSWER, latency_ns
from trading.order_ids import index_forget
from trading.orders import FILL_PART, FILL_WHOLE
from trading.state import (
    J_HIGH,
    J_LAST_DUE,
    J_LOW,
    J_RESTING,
    J_TAKEN,
    N_FREE,
    N_HIGH,
    N_RSP_HEAD,
    N_RSP_TAIL,
    NEVER,
    TAKEN_LEVELS,
    EngineParameters,
    Int64,
    VenueState,
)

_i: Final = np.int64
"""Makes a constant an ordinary int64 argument: numba would compile a function anew for each literal."""


@inner
def venue_book(venue: VenueState, slot: int) -> BookState:
    """Return the venue's book of an instrument, sharing its memory."""
    return BookState(venue.price[slot], venue.size[slot], venue.counts[slot], venue.counters[slot])


@inner_inlined
def send_answer(
    venue: VenueState,
    parameters: EngineParameters,
    now: int,
    order_id: int,
    slot: int,
    answer: int,
    reason: int,
    price: int,
    lots: int,
    leaves: int,
    maker: int,
) -> None:
    """Send an answer on its way to the agent; answers of one instrument arrive in the order in which they were given."""
    count = venue.g[N_RSP_TAIL]
    due = now + latency_ns(parameters.legs, parameters.latency, slot, _i(LEG_ANSWER), now, count)
    due = max(due, venue.inst[slot, J_LAST_DUE])
    venue.inst[slot, J_LAST_DUE] = due
    responses, room = venue.responses, len(venue.responses)
    place = count
    while place > venue.g[N_RSP_HEAD] and responses[(place - 1) % room].due_ns > due:
        responses[place % room] = responses[(place - 1) % room]
        place -= 1
    row = responses[place % room]
    row.due_ns = due
    row.venue_ns = now
    row.order_id = order_id
    row.price_units = price
    row.size_lots = lots
    row.leaves_lots = leaves
    row.slot = slot
    row.answer = answer
    row.reason = reason
    row.maker = maker
    venue.g[N_RSP_TAIL] += 1


@inner
def taken_at(venue: VenueState, slot: int, book_side: int, price: int) -> int:
    """Return the lots at a level that the tape still shows but that we have taken."""
    for k in range(venue.inst[slot, J_TAKEN + book_side]):
        if venue.taken[slot, book_side, k, 0] == price:
            return venue.taken[slot, book_side, k, 1]
    return 0


@inner
def take(venue: VenueState, slot: int, book_side: int, price: int, lots: int) -> bool:
    """Remember that ``lots`` at a level are gone; False when no more levels can be remembered."""
    used = venue.inst[slot, J_TAKEN + book_side]
    for k in range(used):
        if venue.taken[slot, book_side, k, 0] == price:
            venue.taken[slot, book_side, k, 1] += lots
            return True
    if used == TAKEN_LEVELS:
        return False
    venue.taken[slot, book_side, used, 0] = price
    venue.taken[slot, book_side, used, 1] = lots
    venue.inst[slot, J_TAKEN + book_side] += 1
    return True


@njit(cache=True)
def touches_taken(inst: Int64, taken: Int64, slot: int, action: int, side: int, price: int) -> bool:
    """Return whether a market row may change a level of which we have taken lots."""
    if action == CLEAR:
        return True
    if action == ADD or side == 0:
        return False
    book_side = 0 if side == BID else 1
    for k in range(inst[slot, J_TAKEN + book_side]):  # noqa: SIM110  numba compiles no generator into any()
        if action == QUOTE or taken[slot, book_side, k, 0] == price:
            return True
    return False


@inner
def forget_taken(venue: VenueState, slot: int, action: int, side: int) -> None:
    """Bring what was taken up to date after a row that :func:`touches_taken` has been applied to the book."""
    if action == CLEAR:
        venue.inst[slot, J_TAKEN] = 0
        venue.inst[slot, J_TAKEN + 1] = 0
    else:
        _forget_taken(venue, slot, 0 if side == BID else 1)


@inner
def _forget_taken(venue: VenueState, slot: int, book_side: int) -> None:
    """Let taken lots go where the tape shows fewer than were taken: they have left it, or new ones took their place."""
    book = venue_book(venue, slot)
    k = venue.inst[slot, J_TAKEN + book_side] - 1
    while k >= 0:
        row = venue.taken[slot, book_side, k]
        shown = book_level_size(book, book_side, row[0])
        if shown == 0:
            last = venue.inst[slot, J_TAKEN + book_side] - 1
            row[0] = venue.taken[slot, book_side, last, 0]
            row[1] = venue.taken[slot, book_side, last, 1]
            venue.inst[slot, J_TAKEN + book_side] = last
        elif shown < row[1]:
            row[1] = shown
        k -= 1


@inner_inlined
def leave(venue: VenueState, k: int) -> None:
    """Take an order off the venue's table."""
    order = venue.resting[k]
    slot, side, price = _i(order.slot), 0 if order.side == BID else 1, order.price_units
    order.active = 0
    index_forget(venue.order_index, order.order_id)
    venue.inst[slot, J_RESTING] -= 1
    venue.g[N_FREE] = min(venue.g[N_FREE], k)
    high = venue.g[N_HIGH]
    while high > 0 and venue.resting[high - 1].active == 0:
        high -= 1
    venue.g[N_HIGH] = high
    if price == venue.inst[slot, J_LOW + side] or price == venue.inst[slot, J_HIGH + side]:
        own_prices(venue, slot)


@inner
def own_prices(venue: VenueState, slot: int) -> None:
    """Bring the lowest and the highest price of the resting orders of each side up to date."""
    inst = venue.inst[slot]
    inst[J_LOW] = inst[J_LOW + 1] = NEVER
    inst[J_HIGH] = inst[J_HIGH + 1] = -NEVER
    if inst[J_RESTING] == 0:
        return
    for k in range(venue.g[N_HIGH]):
        order = venue.resting[k]
        if order.active != 0 and order.slot == slot:
            side = 0 if order.side == BID else 1
            inst[J_LOW + side] = min(inst[J_LOW + side], order.price_units)
            inst[J_HIGH + side] = max(inst[J_HIGH + side], order.price_units)


@inlined
def concerns_us(inst: Int64, slot: int, action: int, side: int, price: int) -> bool:
    """Return whether a market row may fill one of our resting orders or move the queue before it.

    A trade does at our best price or a worse one; a change of the book at a price between our lowest and our highest.
    """
    if action in (QUOTE, CLEAR, STATUS):
        return True
    if side == BID:
        if action in (EXECUTE, TRADE, HIDDEN):
            return price <= inst[slot, J_HIGH]
        return inst[slot, J_LOW] <= price <= inst[slot, J_HIGH]
    if side == ASK:
        if action in (EXECUTE, TRADE, HIDDEN):
            return price >= inst[slot, J_LOW + 1]
        return inst[slot, J_LOW + 1] <= price <= inst[slot, J_HIGH + 1]
    return False


@inner
def fill_resting(venue: VenueState, parameters: EngineParameters, now: int, k: int, lots: int) -> None:
    """Fill a resting order at its price, and answer."""
    order = venue.resting[k]
    order.leaves_lots -= lots
    answer = FILL_WHOLE if order.leaves_lots == 0 else FILL_PART
    slot = _i(order.slot)
    send_answer(
        venue, parameters, now, order.order_id, slot, answer, _i(0), order.price_units, lots, order.leaves_lots, _i(1)
    )
    if order.leaves_lots == 0:
        leave(venue, k)

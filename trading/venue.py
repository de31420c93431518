"""The simulated venue: what a fill is.

The venue replays the recorded book and adds our orders to it; our orders do not move the market.

*Taking.* An order that crosses takes the visible lots it finds when it arrives, level by level from the best, never beyond its
limit. What we took stays taken: the tape goes on showing it, so each level remembers how many of its lots are ours, and only
lots that come after are new. Hidden liquidity is not taken.

*Resting.* A limit order that rests joins the end of its level's visible queue, behind our own earlier orders. Executions on its
side at its price come off the front of the queue, first of all from what stood ahead; what is left over fills us, oldest order
first, and one execution is never given out twice. An execution at a worse price means that the market traded through us: we
fill first. Cancels shrink the queue ahead as the queue model says. When the other side's quote reaches our price, we fill
against it, at our price, up to its size. Hidden executions fill us only where nothing visible stands ahead. After a CLEAR the
queue ahead is looked up again in the rebuilt book (all of the level counts as ahead).

*Refusals.* Closed or halted market; resting orders where the tape is not one venue's own book (best quotes of several venues,
dealers, bars): there the queue is not visible, and only taking can be simulated. Post-only orders that would take are refused.

Not modelled: the market's reaction to us, self-matching of hidden orders, auctions, latency that depends on load.
"""

from typing import Any, Final

import numpy as np
from numba import njit

from marketdata.book import BookState, book_apply, book_level_size
from marketdata.events import ADD, BID, CLEAR, EXECUTE, F_LAST, HIDDEN, QUOTE, TRADE
from trading.journal import (
    R_ASKED,
    R_IOC_REST,
    R_TAKER_ONLY,
    R_UNKNOWN_ORDER,
    R_VENUE_CLOSED,
    R_VENUE_HALTED,
    R_WOULD_CROSS,
)
from trading.orders import ACK, CANCEL_REFUSED, DONE, FILL_PART, FILL_WHOLE, IOC, POST_ONLY, REFUSED
from trading.state import (
    J_RESTING,
    J_TAKEN,
    J_UNKNOWN_QUEUE,
    K_PASSIVE,
    N_CLOSED,
    N_HIGH,
    N_RSP_TAIL,
    P_RESPONSE_NS,
    TAKEN_LEVELS,
    EngineParameters,
    Int64,
    VenueState,
)

_i: Final = np.int64
"""Makes a constant an ordinary int64 argument: numba would compile a function anew for each literal."""


@njit(cache=True)
def venue_book(venue: VenueState, slot: int) -> BookState:
    """Return the venue's book of an instrument, sharing its memory."""
    return BookState(venue.price[slot], venue.size[slot], venue.counts[slot], venue.counters[slot])


@njit(cache=True)
def _answer(
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
    """Send an answer on its way to the agent."""
    row = venue.responses[venue.g[N_RSP_TAIL] % len(venue.responses)]
    row.due_ns = now + parameters.ints[P_RESPONSE_NS]
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


@njit(cache=True)
def _taken_at(venue: VenueState, slot: int, book_side: int, price: int) -> int:
    """Return the lots at a level that the tape still shows but that we have taken."""
    for k in range(venue.inst[slot, J_TAKEN + book_side]):
        if venue.taken[slot, book_side, k, 0] == price:
            return venue.taken[slot, book_side, k, 1]
    return 0


@njit(cache=True)
def _take(venue: VenueState, slot: int, book_side: int, price: int, lots: int) -> bool:
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


@njit(cache=True)
def forget_taken(venue: VenueState, slot: int, action: int, side: int) -> None:
    """Bring what was taken up to date after a row that :func:`touches_taken` has been applied to the book."""
    if action == CLEAR:
        venue.inst[slot, J_TAKEN] = 0
        venue.inst[slot, J_TAKEN + 1] = 0
    else:
        _forget_taken(venue, slot, 0 if side == BID else 1)


@njit(cache=True)
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


@njit(cache=True)
def _walk(
    venue: VenueState,
    parameters: EngineParameters,
    now: int,
    order_id: int,
    slot: int,
    side: int,
    limit: int,
    leaves: int,
    maker: int,
) -> int:
    """Fill against the other side up to ``limit``; return what is left. A maker fills at its own limit."""
    book = venue_book(venue, slot)
    other = 1 if side == BID else 0
    k = book.count[other] - 1
    while k >= 0 and leaves > 0:
        price = book.price[other, k]
        if (side == BID and price > limit) or (side != BID and price < limit):
            break
        there = book.size[other, k] - _taken_at(venue, slot, other, price)
        if there > 0:
            lots = min(there, leaves)
            if not _take(venue, slot, other, price, lots):
                break
            leaves -= lots
            answer = FILL_WHOLE if leaves == 0 else FILL_PART
            at = limit if maker else price
            _answer(venue, parameters, now, order_id, slot, answer, _i(0), at, lots, leaves, maker)
        k -= 1
    return leaves


@njit(cache=True)
def _leave(venue: VenueState, k: int) -> None:
    """Take an order off the venue's table."""
    venue.resting[k].active = 0
    venue.inst[venue.resting[k].slot, J_RESTING] -= 1
    high = venue.g[N_HIGH]
    while high > 0 and venue.resting[high - 1].active == 0:
        high -= 1
    venue.g[N_HIGH] = high


@njit(cache=True)
def _fill_resting(venue: VenueState, parameters: EngineParameters, now: int, k: int, lots: int) -> None:
    order = venue.resting[k]
    order.leaves_lots -= lots
    answer = FILL_WHOLE if order.leaves_lots == 0 else FILL_PART
    slot = _i(order.slot)
    _answer(
        venue, parameters, now, order.order_id, slot, answer, _i(0), order.price_units, lots, order.leaves_lots, _i(1)
    )
    if order.leaves_lots == 0:
        _leave(venue, k)


@njit(cache=True)
def _next_in_line(venue: VenueState, slot: int, side: int, after_price: int, after_id: int) -> int:
    """Return the resting order that follows (price, id) in price-time priority, -1 when there is none.

    Prices are compared as ``side * price``, larger first; ``after_id`` 0 starts from the front.
    """
    best = -1
    for k in range(venue.g[N_HIGH]):
        order = venue.resting[k]
        if order.active == 0 or order.slot != slot or order.side != side:
            continue
        if after_id > 0:
            ahead = side * order.price_units > side * after_price
            if ahead or (order.price_units == after_price and order.order_id <= after_id):
                continue
        if best >= 0:
            rank = side * order.price_units - side * venue.resting[best].price_units
            if rank < 0 or (rank == 0 and order.order_id > venue.resting[best].order_id):
                continue
        best = k
    return best


@njit(cache=True)
def _executed(
    venue: VenueState, parameters: EngineParameters, now: int, slot: int, action: int, side: int, price: int, lots: int
) -> None:
    """Give an execution of ``lots`` at ``price`` on our side to our orders, best price and oldest first."""
    left = lots
    last_price, last_id = _i(0), _i(0)
    while left > 0:
        k = _next_in_line(venue, slot, side, last_price, last_id)
        if k < 0:
            return
        order = venue.resting[k]
        last_price, last_id = order.price_units, order.order_id
        if side * order.price_units < side * price:
            return
        if order.price_units == price:
            if order.ahead_lots < 0.0 or (action == HIDDEN and order.ahead_lots > 0.0):
                continue
            reach = left - order.ahead_lots
            order.ahead_lots = max(-reach, 0.0)
            if action == TRADE:
                order.traded_lots += lots
            mine = min(int(max(reach, 0.0)), order.leaves_lots)
        else:
            order.ahead_lots = 0.0
            mine = min(left, order.leaves_lots)
        if mine > 0:
            left -= mine
            _fill_resting(venue, parameters, now, k, mine)


@njit(cache=True)
def _requeue(venue: VenueState, parameters: EngineParameters, queue: Any, slot: int, side: int, executed: int) -> None:
    """Bring the queues ahead of our orders of one side up to date with their levels; ``executed`` lots left by execution."""
    book = venue_book(venue, slot)
    book_side = 0 if side == BID else 1
    for k in range(venue.g[N_HIGH]):
        order = venue.resting[k]
        if order.active == 0 or order.slot != slot or order.side != side:
            continue
        shown = book_level_size(book, book_side, order.price_units)
        gone = order.level_lots - shown
        if gone < 0:
            order.traded_lots = 0
        elif gone > 0:
            printed = min(gone, order.traded_lots + executed)
            order.traded_lots = max(order.traded_lots - max(printed - executed, 0), 0)
            cancelled = gone - printed
            level = order.level_lots - printed
            if printed > 0 and order.ahead_lots > level + order.ghost_lots:
                order.ghost_lots = _i(np.ceil(order.ahead_lots)) - level
            if cancelled > 0:
                order.traded_lots = 0
                if order.ahead_lots > 0.0:
                    whole = float(level + order.ghost_lots)
                    order.ahead_lots = queue(order.ahead_lots, whole, float(cancelled), parameters.queue)
            order.ahead_lots = min(order.ahead_lots, float(shown + order.ghost_lots))
        order.level_lots = shown


@njit(cache=True)
def venue_market(
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
) -> None:
    """Apply one market row of an instrument that has own orders resting."""
    book = venue_book(venue, slot)
    trade = action in (EXECUTE, HIDDEN, TRADE)
    if trade and side != 0:
        _executed(venue, parameters, now, slot, action, side, price, lots)
    book_apply(book, action, side, price, lots)
    if touches_taken(venue.inst, venue.taken, slot, action, side, price):
        forget_taken(venue, slot, action, side)
    if action == CLEAR:
        venue.inst[slot, J_UNKNOWN_QUEUE] = 1
        for k in range(venue.g[N_HIGH]):
            if venue.resting[k].active != 0 and venue.resting[k].slot == slot:
                venue.resting[k].ahead_lots = -1.0
    elif action == EXECUTE:
        _requeue(venue, parameters, queue, slot, side, lots)
    elif action != HIDDEN and action != TRADE and (side != 0 or action == QUOTE):
        _requeue(venue, parameters, queue, slot, side, _i(0))
    if flags & F_LAST:
        _end_of_group(venue, parameters, now, slot)


@njit(cache=True)
def _end_of_group(venue: VenueState, parameters: EngineParameters, now: int, slot: int) -> None:
    """Look up unknown queues in the rebuilt book, and fill what the other side's quotes have reached."""
    book = venue_book(venue, slot)
    if venue.inst[slot, J_UNKNOWN_QUEUE] != 0 and (book.count[0] > 0 or book.count[1] > 0):
        venue.inst[slot, J_UNKNOWN_QUEUE] = 0
        for k in range(venue.g[N_HIGH]):
            order = venue.resting[k]
            if order.active != 0 and order.slot == slot and order.ahead_lots < 0.0:
                shown = book_level_size(book, 0 if order.side == BID else 1, order.price_units)
                order.ahead_lots = float(shown)
                order.level_lots = shown
                order.traded_lots = 0
                order.ghost_lots = 0
    if book.counters[2] != 0:
        return
    for side in (_i(1), _i(-1)):
        other = 1 if side == BID else 0
        last_price, last_id = _i(0), _i(0)
        while book.count[other] > 0:
            k = _next_in_line(venue, slot, side, last_price, last_id)
            if k < 0 or side * venue.resting[k].price_units < side * book.price[other, book.count[other] - 1]:
                break
            order = venue.resting[k]
            last_price, last_id = order.price_units, order.order_id
            left = _walk(
                venue, parameters, now, order.order_id, slot, side, order.price_units, order.leaves_lots, _i(1)
            )
            order.leaves_lots = left
            if left == 0:
                _leave(venue, k)


@njit(cache=True)
def _would_cross(venue: VenueState, slot: int, side: int, price: int) -> bool:
    book = venue_book(venue, slot)
    other = 1 if side == BID else 0
    n = book.count[other]
    return n > 0 and side * price >= side * book.price[other, n - 1]


@njit(cache=True)
def venue_order(
    venue: VenueState,
    parameters: EngineParameters,
    now: int,
    order_id: int,
    slot: int,
    side: int,
    tif: int,
    price: int,
    lots: int,
) -> None:
    """Take an order that has arrived: refuse it, fill it, let it rest or cancel what is left."""
    reason = 0
    if venue.g[N_CLOSED] != 0:
        reason = R_VENUE_CLOSED
    elif venue.counters[slot, 2] != 0:
        reason = R_VENUE_HALTED
    elif tif != IOC and parameters.inst[slot, K_PASSIVE] == 0:
        reason = R_TAKER_ONLY
    elif tif == POST_ONLY and _would_cross(venue, slot, side, price):
        reason = R_WOULD_CROSS
    if reason != 0:
        _answer(venue, parameters, now, order_id, slot, _i(REFUSED), reason, price, _i(0), lots, _i(0))
        return
    left = _walk(venue, parameters, now, order_id, slot, side, price, lots, _i(0))
    if left == 0:
        return
    if tif == IOC:
        _answer(venue, parameters, now, order_id, slot, _i(DONE), _i(R_IOC_REST), price, _i(0), left, _i(0))
        return
    k = 0
    while venue.resting[k].active != 0:
        k += 1
    shown = book_level_size(venue_book(venue, slot), 0 if side == BID else 1, price)
    order = venue.resting[k]
    order.order_id = order_id
    order.price_units = price
    order.leaves_lots = left
    order.ahead_lots = float(shown - _taken_at(venue, slot, 0 if side == BID else 1, price))
    order.level_lots = shown
    order.traded_lots = 0
    order.ghost_lots = 0
    order.slot = slot
    order.side = side
    order.active = 1
    venue.inst[slot, J_RESTING] += 1
    venue.g[N_HIGH] = max(venue.g[N_HIGH], k + 1)
    _answer(venue, parameters, now, order_id, slot, _i(ACK), _i(0), price, _i(0), left, _i(0))


@njit(cache=True)
def venue_cancel(venue: VenueState, parameters: EngineParameters, now: int, order_id: int, slot: int) -> None:
    """Cancel a resting order by id; a cancel that comes too late is refused."""
    for k in range(venue.g[N_HIGH]):
        order = venue.resting[k]
        if order.active != 0 and order.order_id == order_id:
            _answer(
                venue,
                parameters,
                now,
                order_id,
                slot,
                _i(DONE),
                _i(R_ASKED),
                order.price_units,
                _i(0),
                order.leaves_lots,
                _i(0),
            )
            _leave(venue, k)
            return
    _answer(venue, parameters, now, order_id, slot, _i(CANCEL_REFUSED), _i(R_UNKNOWN_ORDER), _i(0), _i(0), _i(0), _i(0))


@njit(cache=True)
def venue_close(venue: VenueState, parameters: EngineParameters, now: int) -> None:
    """Close the session: every resting order ends."""
    venue.g[N_CLOSED] = 1
    for k in range(len(venue.resting)):
        order = venue.resting[k]
        if order.active != 0:
            slot = _i(order.slot)
            _answer(
                venue,
                parameters,
                now,
                order.order_id,
                slot,
                _i(DONE),
                _i(R_VENUE_CLOSED),
                order.price_units,
                _i(0),
                order.leaves_lots,
                _i(0),
            )
            _leave(venue, k)

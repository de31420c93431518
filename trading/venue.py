"""The simulated venue: what a fill is.

The venue replays the recorded book and adds our orders to it; our orders do not move the market.

*Taking.* An order that crosses takes the visible lots it finds when it arrives, level by level from the best, never beyond its
limit. What we took stays taken: the tape goes on showing it, so each level remembers how many of its lots are ours, and only
lots that come after are new. Hidden liquidity is not taken.

*Resting.* A limit order that rests joins the end of its level's visible queue, behind our own earlier orders. Executions on its
side at its price come off the front of the queue, first of all from what stood ahead; what is left over fills us, oldest order
first, and one execution is never given out twice. An execution at a worse price means that the market traded through us: we
fill first. Cancels shrink the queue ahead as the queue model says, or exactly, by order id (:mod:`trading.queues`). When the
other side's quote reaches our price, we fill against it, at our price, up to its size. Hidden executions fill us only where
nothing visible stands ahead. After a CLEAR the queue ahead is looked up again in the rebuilt book (all of the level counts as
ahead).

*Refusals.* Closed or halted market; resting orders where the tape is not one venue's own book (best quotes of several venues,
dealers, bars): there the queue is not visible, and only taking can be simulated. Post-only orders that would take are refused.

Not modelled: the market's reaction to us, self-matching of hidden orders, auctions, latency that depends on load.
"""

from typing import Any, Final

import numpy as np
from numba import njit

from marketdata.book import book_apply, book_level_size
from marketdata.events import ADD, BID, CLEAR, DELETE, EXECUTE, F_LAST, HIDDEN, QUOTE, REDUCE, TRADE
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
from trading.queues import executed, forget_ids, next_in_line, next_stamp, requeue, requeue_by_id
from trading.state import (
    J_RESTING,
    J_UNKNOWN_QUEUE,
    K_PASSIVE,
    N_CLOSED,
    N_HIGH,
    P_QUEUE_BY_ID,
    EngineParameters,
    VenueState,
)
from trading.venue_table import forget_taken, leave, send_answer, take, taken_at, touches_taken, venue_book

_i: Final = np.int64
"""Makes a constant an ordinary int64 argument: numba would compile a function anew for each literal."""


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
        there = book.size[other, k] - taken_at(venue, slot, other, price)
        if there > 0:
            lots = min(there, leaves)
            if not take(venue, slot, other, price, lots):
                break
            leaves -= lots
            answer = FILL_WHOLE if leaves == 0 else FILL_PART
            at = limit if maker else price
            send_answer(venue, parameters, now, order_id, slot, answer, _i(0), at, lots, leaves, maker)
        k -= 1
    return leaves


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
    order_id: int,
) -> None:
    """Apply one market row of an instrument that has own orders resting."""
    book = venue_book(venue, slot)
    trade = action in (EXECUTE, HIDDEN, TRADE)
    if trade and side != 0:
        executed(venue, parameters, now, slot, action, side, price, lots, order_id)
    book_apply(book, action, side, price, lots)
    if touches_taken(venue.inst, venue.taken, slot, action, side, price):
        forget_taken(venue, slot, action, side)
    by_id = parameters.ints[P_QUEUE_BY_ID] != 0 and order_id != 0 and side != 0
    if action == CLEAR:
        forget_ids(venue, slot)
        venue.inst[slot, J_UNKNOWN_QUEUE] = 1
        for k in range(venue.g[N_HIGH]):
            if venue.resting[k].active != 0 and venue.resting[k].slot == slot:
                venue.resting[k].ahead_lots = -1.0
    elif by_id and action in (ADD, REDUCE, DELETE, EXECUTE):
        requeue_by_id(venue, slot, action, side, price, lots, order_id)
    elif action == EXECUTE:
        requeue(venue, parameters, queue, slot, side, lots)
    elif action != HIDDEN and action != TRADE and (side != 0 or action == QUOTE):
        requeue(venue, parameters, queue, slot, side, _i(0))
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
                order.stamp = next_stamp(venue)
    if book.counters[2] != 0:
        return
    for side in (_i(1), _i(-1)):
        other = 1 if side == BID else 0
        last_price, last_id = _i(0), _i(0)
        while book.count[other] > 0:
            k = next_in_line(venue, slot, side, last_price, last_id)
            if k < 0 or side * venue.resting[k].price_units < side * book.price[other, book.count[other] - 1]:
                break
            order = venue.resting[k]
            last_price, last_id = order.price_units, order.order_id
            left = _walk(
                venue, parameters, now, order.order_id, slot, side, order.price_units, order.leaves_lots, _i(1)
            )
            order.leaves_lots = left
            if left == 0:
                leave(venue, k)


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
        send_answer(venue, parameters, now, order_id, slot, _i(REFUSED), reason, price, _i(0), lots, _i(0))
        return
    left = _walk(venue, parameters, now, order_id, slot, side, price, lots, _i(0))
    if left == 0:
        return
    if tif == IOC:
        send_answer(venue, parameters, now, order_id, slot, _i(DONE), _i(R_IOC_REST), price, _i(0), left, _i(0))
        return
    if venue.inst[slot, J_RESTING] == 0:
        forget_ids(venue, slot)
    k = 0
    while venue.resting[k].active != 0:
        k += 1
    shown = book_level_size(venue_book(venue, slot), 0 if side == BID else 1, price)
    order = venue.resting[k]
    order.order_id = order_id
    order.price_units = price
    order.leaves_lots = left
    order.ahead_lots = float(shown - taken_at(venue, slot, 0 if side == BID else 1, price))
    order.level_lots = shown
    order.traded_lots = 0
    order.ghost_lots = 0
    order.stamp = next_stamp(venue)
    order.slot = slot
    order.side = side
    order.active = 1
    venue.inst[slot, J_RESTING] += 1
    venue.g[N_HIGH] = max(venue.g[N_HIGH], k + 1)
    send_answer(venue, parameters, now, order_id, slot, _i(ACK), _i(0), price, _i(0), left, _i(0))


@njit(cache=True)
def venue_cancel(venue: VenueState, parameters: EngineParameters, now: int, order_id: int, slot: int) -> None:
    """Cancel a resting order by id; a cancel that comes too late is refused."""
    for k in range(venue.g[N_HIGH]):
        order = venue.resting[k]
        if order.active != 0 and order.order_id == order_id:
            send_answer(
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
            leave(venue, k)
            return
    send_answer(
        venue, parameters, now, order_id, slot, _i(CANCEL_REFUSED), _i(R_UNKNOWN_ORDER), _i(0), _i(0), _i(0), _i(0)
    )


@njit(cache=True)
def venue_close(venue: VenueState, parameters: EngineParameters, now: int) -> None:
    """Close the session: every resting order ends."""
    venue.g[N_CLOSED] = 1
    for k in range(len(venue.resting)):
        order = venue.resting[k]
        if order.active != 0:
            slot = _i(order.slot)
            send_answer(
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
            leave(venue, k)

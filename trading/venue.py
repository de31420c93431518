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

*Refusals.* Closed, halted or down venue; resting orders where the tape is not one venue's own book (best quotes of several
venues, dealers, bars): there the queue is not visible, and only taking can be simulated. Post-only orders that would take are
refused, or, as ``POST_ONLY_SLIDE``, rest one tick before the quote that they would meet. ``FOK`` fills all of its lots from what
is visible and not yet taken, or ends without a fill; ``MARKET`` is an IOC whose limit the agent sets at its price collar.

*Changes.* A change gives price and whole size, what has filled included. At its price and no larger than what is left an order
keeps its place; otherwise it joins the end of the queue at its new price, and what crosses is filled as a taker's. A change that
is refused leaves the order as it was (:mod:`trading.venue_changes`).

*Venues' own rules* (:mod:`trading.venue_rules`): square-root impact worsens the price of every taker fill, beyond the order's
limit if need be; a halt, or the start of a downtime window, cancels resting orders or keeps them, by policy; while down the
venue refuses orders, changes and cancels alike.

Not modelled, and so not realistic: the market's reaction to us (nobody leaves because we quote, nobody fills the gap we take),
self-matching of hidden orders, auctions, latency that depends on load, a venue that breaks trades.
"""

from typing import Any, Final

import numpy as np

from marketdata.bits import inner, inner_inlined
from marketdata.book import book_apply, book_level_size
from marketdata.events import ADD, BID, CLEAR, DELETE, EXECUTE, F_LAST, HIDDEN, QUOTE, REDUCE, STATUS, TRADE
from trading.journal import (
    R_IOC_REST,
    R_NOT_ALL,
    R_TAKER_ONLY,
    R_VENUE_CLOSED,
    R_VENUE_DOWN,
    R_VENUE_HALTED,
    R_WOULD_CROSS,
)
from trading.order_ids import index_put
from trading.orders import (
    ACK,
    DONE,
    FILL_PART,
    FILL_WHOLE,
    FOK,
    POST_ONLY,
    POST_ONLY_SLIDE,
    REFUSED,
    may_rest,
)
from trading.queues import executed, forget_ids, next_in_line, next_stamp, requeue, requeue_by_id
from trading.state import (
    J_DOWN_UNTIL,
    J_HIGH,
    J_LOW,
    J_RESTING,
    J_UNKNOWN_QUEUE,
    K_DAILY_LOTS,
    K_DOWN_CANCELS,
    K_HALT_CANCELS,
    K_IMPACT_PPM,
    K_PASSIVE,
    K_TICK,
    N_CLOSED,
    N_DOWN,
    N_FREE,
    N_HIGH,
    N_NEXT_DOWN,
    NEVER,
    P_QUEUE_BY_ID,
    EngineParameters,
    VenueState,
)
from trading.venue_table import forget_taken, leave, send_answer, take, taken_at, touches_taken, venue_book

_i: Final = np.int64
"""Makes a constant an ordinary int64 argument: numba would compile a function anew for each literal."""


@inner
def walk(
    venue: VenueState,
    parameters: EngineParameters,
    now: int,
    order_id: int,
    slot: int,
    side: int,
    limit: int,
    leaves: int,
    maker: int,
    impact: int,
) -> int:
    """Fill against the other side up to ``limit``; return what is left.

    A maker fills at its own limit; a taker at the level's price, ``impact`` price units worse.
    """
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
            at = limit if maker else max(price + side * impact, 1)
            send_answer(venue, parameters, now, order_id, slot, answer, _i(0), at, lots, leaves, maker)
        k -= 1
    return leaves


@inner
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
    if action == STATUS and lots == 0 and parameters.inst[slot, K_HALT_CANCELS] != 0:
        cancel_resting(venue, parameters, now, slot, _i(R_VENUE_HALTED))
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
        end_of_group(venue, parameters, now, slot)


@inner
def end_of_group(venue: VenueState, parameters: EngineParameters, now: int, slot: int) -> None:
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
            left = walk(
                venue, parameters, now, order.order_id, slot, side, order.price_units, order.leaves_lots, _i(1), _i(0)
            )
            order.leaves_lots = left
            if left == 0:
                leave(venue, k)


@inner
def would_cross(venue: VenueState, slot: int, side: int, price: int) -> bool:
    """Return whether an order at ``price`` would meet the other side's best quote."""
    book = venue_book(venue, slot)
    other = 1 if side == BID else 0
    n = book.count[other]
    return n > 0 and side * price >= side * book.price[other, n - 1]


@inner
def _can_fill(venue: VenueState, slot: int, side: int, limit: int, lots: int) -> bool:
    """Return whether the visible book fills all of an order."""
    book = venue_book(venue, slot)
    other = 1 if side == BID else 0
    k = book.count[other] - 1
    while k >= 0 and lots > 0 and side * book.price[other, k] <= side * limit:
        lots -= max(book.size[other, k] - taken_at(venue, slot, other, book.price[other, k]), 0)
        k -= 1
    return lots <= 0


@inner
def impact_units(parameters: EngineParameters, slot: int, price: int, lots: int) -> Any:
    """Return by how many price units an order of ``lots`` moves its own price, rounded up; 0 where impact is off."""
    ppm, daily = parameters.inst[slot, K_IMPACT_PPM], parameters.inst[slot, K_DAILY_LOTS]
    if ppm == 0 or daily == 0:
        return 0
    return _i(np.ceil(float(price) * float(ppm) * 1e-6 * np.sqrt(float(lots) / float(daily))))


@inner_inlined
def refusal(
    venue: VenueState, parameters: EngineParameters, now: int, slot: int, side: int, tif: int, price: int
) -> int:
    """Return why a new order or a change is not taken, 0 if it is."""
    if venue.g[N_CLOSED] != 0:
        return R_VENUE_CLOSED
    if now < venue.inst[slot, J_DOWN_UNTIL]:
        return R_VENUE_DOWN
    if venue.counters[slot, 2] != 0:
        return R_VENUE_HALTED
    if may_rest(tif) and parameters.inst[slot, K_PASSIVE] == 0:
        return R_TAKER_ONLY
    if tif == POST_ONLY and would_cross(venue, slot, side, price):
        return R_WOULD_CROSS
    return 0


@inner_inlined
def join_queue(venue: VenueState, slot: int, k: int) -> None:
    """Put a resting order at the end of its level's visible queue."""
    order = venue.resting[k]
    book_side = 0 if order.side == BID else 1
    shown = book_level_size(venue_book(venue, slot), book_side, order.price_units)
    order.ahead_lots = float(shown - taken_at(venue, slot, book_side, order.price_units))
    order.level_lots = shown
    order.traded_lots = 0
    order.ghost_lots = 0
    order.stamp = next_stamp(venue)


@inner_inlined
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
    reason = refusal(venue, parameters, now, slot, side, tif, price)
    if reason != 0:
        send_answer(venue, parameters, now, order_id, slot, _i(REFUSED), reason, price, _i(0), lots, _i(0))
        return
    if tif == FOK and not _can_fill(venue, slot, side, price, lots):
        send_answer(venue, parameters, now, order_id, slot, _i(DONE), _i(R_NOT_ALL), price, _i(0), lots, _i(0))
        return
    if tif == POST_ONLY_SLIDE and would_cross(venue, slot, side, price):
        other = 1 if side == BID else 0
        price = venue.price[slot, other, venue.counts[slot, other] - 1] - side * parameters.inst[slot, K_TICK]
    impact = impact_units(parameters, slot, price, lots)
    left = walk(venue, parameters, now, order_id, slot, side, price, lots, _i(0), impact)
    if left == 0:
        return
    if not may_rest(tif):
        send_answer(venue, parameters, now, order_id, slot, _i(DONE), _i(R_IOC_REST), price, _i(0), left, _i(0))
        return
    if venue.inst[slot, J_RESTING] == 0:
        forget_ids(venue, slot)
    k = venue.g[N_FREE]
    while venue.resting[k].active != 0:
        k += 1
    venue.g[N_FREE] = k + 1
    index_put(venue.order_index, order_id, k)
    order = venue.resting[k]
    order.order_id = order_id
    order.price_units = price
    order.leaves_lots = left
    order.size_lots = lots
    order.slot = slot
    order.side = side
    order.active = 1
    join_queue(venue, slot, k)
    venue.inst[slot, J_RESTING] += 1
    venue.g[N_HIGH] = max(venue.g[N_HIGH], k + 1)
    half = 0 if side == BID else 1
    venue.inst[slot, J_LOW + half] = min(venue.inst[slot, J_LOW + half], price)
    venue.inst[slot, J_HIGH + half] = max(venue.inst[slot, J_HIGH + half], price)
    send_answer(venue, parameters, now, order_id, slot, _i(ACK), _i(0), price, _i(0), left, _i(0))


@inner
def cancel_resting(venue: VenueState, parameters: EngineParameters, now: int, slot: int, reason: int) -> None:
    """End every resting order of an instrument, -1: of all."""
    for k in range(venue.g[N_HIGH]):
        order = venue.resting[k]
        if order.active != 0 and (slot < 0 or order.slot == slot):
            own, order_id, price, left = _i(order.slot), order.order_id, order.price_units, order.leaves_lots
            send_answer(venue, parameters, now, order_id, own, _i(DONE), reason, price, _i(0), left, _i(0))
            leave(venue, k)


@inner
def venue_down(venue: VenueState, parameters: EngineParameters, now: int) -> None:
    """Begin the next downtime window: everything sent is refused until its end; resting orders end by policy."""
    row = parameters.downtime[venue.g[N_DOWN]]
    venue.g[N_DOWN] += 1
    more = venue.g[N_DOWN] < len(parameters.downtime)
    venue.g[N_NEXT_DOWN] = parameters.downtime[venue.g[N_DOWN], 0] if more else NEVER
    venue.inst[row[2], J_DOWN_UNTIL] = row[1]
    if parameters.inst[row[2], K_DOWN_CANCELS] != 0:
        cancel_resting(venue, parameters, now, row[2], _i(R_VENUE_DOWN))


@inner
def venue_close(venue: VenueState, parameters: EngineParameters, now: int) -> None:
    """Close the session: every resting order ends."""
    venue.g[N_CLOSED] = 1
    cancel_resting(venue, parameters, now, _i(-1), _i(R_VENUE_CLOSED))

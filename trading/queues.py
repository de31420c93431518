"""Who trades before us: the queues ahead of our resting orders.

By *volume*: executions come off the front, and a queue model (``trading.hooks``) says how much of a cancel stood ahead. That
is all a feed without order ids can give.

By *order id* (``QueueModel.by_id``): a level's queue is exact. Whatever stood at our level when our order came is ahead of it;
whatever is added there afterwards is behind. So the venue writes down the ids that are added at the prices of our orders
while they rest, each with a stamp of its arrival, and an id it never wrote down was there before. An execution, reduction or
deletion of an id ahead shortens the queue by exactly its lots; of one behind it does nothing, except that an execution behind
us means that the aggressor met us first: it fills us. A row without an id is treated by volume.

Lots that one of our earlier orders took out of an execution have left the tape and yet still stand before our later orders.
These *ghosts* go when something behind trades.
"""

from typing import Any, Final

import numpy as np

from marketdata.bits import inner
from marketdata.book import book_level_size
from marketdata.events import ADD, BID, DELETE, EXECUTE, HIDDEN, REDUCE, TRADE
from trading.order_ids import forget_id, place_of
from trading.state import (
    J_IDS,
    N_HIGH,
    N_STAMP,
    P_QUEUE_BY_ID,
    EngineParameters,
    VenueState,
)
from trading.venue_table import fill_resting, venue_book

_i: Final = np.int64


@inner
def forget_ids(venue: VenueState, slot: int) -> None:
    """Forget every id of an instrument: nothing of ours rests there, or the book is being rebuilt."""
    if venue.inst[slot, J_IDS] > 0:
        venue.ids[slot] = 0
        venue.inst[slot, J_IDS] = 0


@inner
def next_stamp(venue: VenueState) -> int:
    """Return the stamp of something that arrives now."""
    venue.g[N_STAMP] += 1
    return venue.g[N_STAMP]


@inner
def ids_are_full(venue: VenueState, slot: int) -> bool:
    """Whether the table of ids must grow before another row is applied."""
    return 2 * (venue.inst[slot, J_IDS] + 1) > venue.ids.shape[1]


@inner
def next_in_line(venue: VenueState, slot: int, side: int, after_price: int, after_id: int) -> int:
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


@inner
def executed(
    venue: VenueState,
    parameters: EngineParameters,
    now: int,
    slot: int,
    action: int,
    side: int,
    price: int,
    lots: int,
    order_id: int,
) -> None:
    """Give an execution of ``lots`` at ``price`` on our side to our orders, best price and oldest first."""
    left = lots
    stamp = _i(-1)
    if parameters.ints[P_QUEUE_BY_ID] != 0 and order_id != 0 and action == EXECUTE:
        found = place_of(venue.ids[slot], order_id)
        stamp = venue.ids[slot, found, 1] if venue.ids[slot, found, 0] != 0 else _i(0)
    last_price, last_id = _i(0), _i(0)
    while left > 0:
        k = next_in_line(venue, slot, side, last_price, last_id)
        if k < 0:
            return
        order = venue.resting[k]
        last_price, last_id = order.price_units, order.order_id
        if side * order.price_units < side * price:
            return
        if order.price_units == price:
            if order.ahead_lots < 0.0 or (action == HIDDEN and order.ahead_lots > 0.0):
                continue
            if 0 <= stamp <= _i(order.stamp):
                order.ghost_lots += lots - left
                order.ahead_lots = max(order.ahead_lots - left, 0.0)
                continue
            if stamp > 0:
                order.ahead_lots = min(order.ahead_lots, float(order.ghost_lots))
                order.ghost_lots -= min(left, order.ghost_lots)
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
            fill_resting(venue, parameters, now, k, mine)


@inner
def requeue(venue: VenueState, parameters: EngineParameters, queue: Any, slot: int, side: int, executed: int) -> None:
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


@inner
def requeue_by_id(venue: VenueState, slot: int, action: int, side: int, price: int, lots: int, order_id: int) -> None:
    """Bring the queues ahead of our orders of one side up to date with a row that names an order.

    Executions have been given out already (:func:`executed`).
    """
    table = venue.ids[slot]
    at = place_of(table, order_id)
    stamp = table[at, 1] if table[at, 0] != 0 else _i(0)
    is_cancel = action in (REDUCE, DELETE)
    is_ours = False
    book = venue_book(venue, slot)
    book_side = 0 if side == BID else 1
    for k in range(venue.g[N_HIGH]):
        order = venue.resting[k]
        if order.active == 0 or order.slot != slot or order.side != side or order.price_units != price:
            continue
        is_ours = True
        order.level_lots = book_level_size(book, book_side, price)
        if is_cancel and order.ahead_lots > 0.0 and stamp <= _i(order.stamp):
            order.ahead_lots = max(order.ahead_lots - lots, 0.0)
        if action != ADD and order.ahead_lots > 0.0:
            order.ahead_lots = min(order.ahead_lots, float(order.level_lots + order.ghost_lots))
    if action == ADD:
        if is_ours:
            if table[at, 0] == 0:
                venue.inst[slot, J_IDS] += 1
            table[at, 0] = order_id
            table[at, 1] = next_stamp(venue)
            table[at, 2] = lots
    elif table[at, 0] != 0:
        table[at, 2] -= lots
        if action == DELETE or table[at, 2] <= 0:
            forget_id(table, at)
            venue.inst[slot, J_IDS] -= 1

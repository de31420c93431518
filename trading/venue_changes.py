"""What the venue does to orders that rest there: changes and cancels."""

from typing import Final

import numpy as np

from marketdata.bits import inner, inner_inlined
from marketdata.events import BID
from trading.journal import R_ASKED, R_UNKNOWN_ORDER, R_VENUE_DOWN
from trading.order_ids import index_of
from trading.orders import CANCEL_REFUSED, DONE, MODIFIED, MODIFY_REFUSED, POST_ONLY_SLIDE
from trading.state import J_DOWN_UNTIL, K_TICK, EngineParameters, VenueState
from trading.venue import impact_units, join_queue, refusal, walk, would_cross
from trading.venue_table import leave, own_prices, send_answer

_i: Final = np.int64
"""Makes a constant an ordinary int64 argument: numba would compile a function anew for each literal."""


@inner
def venue_modify(
    venue: VenueState,
    parameters: EngineParameters,
    now: int,
    order_id: int,
    slot: int,
    tif: int,
    price: int,
    lots: int,
) -> None:
    """Change a resting order's price and whole size (``lots``, what has filled included); nothing left to fill cancels it.

    At its price and no larger than before it keeps its place; otherwise it joins the end of the queue, and what crosses is
    filled at once. A change that is refused leaves the order as it was.
    """
    k = index_of(venue.order_index, order_id)
    if k < 0:
        reason = _i(R_UNKNOWN_ORDER)
        send_answer(venue, parameters, now, order_id, slot, _i(MODIFY_REFUSED), reason, _i(0), _i(0), _i(0), _i(0))
        return
    order = venue.resting[k]
    side = _i(order.side)
    reason = refusal(venue, parameters, now, slot, side, tif, price)
    if reason != 0:
        kept, rest = order.price_units, order.leaves_lots
        send_answer(venue, parameters, now, order_id, slot, _i(MODIFY_REFUSED), reason, kept, _i(0), rest, _i(0))
        return
    left = lots - (order.size_lots - order.leaves_lots)
    if left <= 0:
        send_answer(venue, parameters, now, order_id, slot, _i(DONE), _i(R_ASKED), price, _i(0), _i(0), _i(0))
        leave(venue, k)
        return
    if tif == POST_ONLY_SLIDE and would_cross(venue, slot, side, price):
        other = 1 if side == BID else 0
        price = venue.price[slot, other, venue.counts[slot, other] - 1] - side * parameters.inst[slot, K_TICK]
    keeps = price == order.price_units and left <= order.leaves_lots
    order.price_units = price
    order.leaves_lots = left
    order.size_lots = lots
    send_answer(venue, parameters, now, order_id, slot, _i(MODIFIED), _i(0), price, _i(0), left, _i(0))
    if keeps:
        return
    if would_cross(venue, slot, side, price):
        impact = impact_units(parameters, slot, price, left)
        left = walk(venue, parameters, now, order_id, slot, side, price, left, _i(0), impact)
        order.leaves_lots = left
        if left == 0:
            leave(venue, k)
            own_prices(venue, slot)
            return
    join_queue(venue, slot, k)
    own_prices(venue, slot)


@inner_inlined
def venue_cancel(venue: VenueState, parameters: EngineParameters, now: int, order_id: int, slot: int) -> None:
    """Cancel a resting order by id; a cancel that comes too late, or while the venue is down, is refused."""
    if now < venue.inst[slot, J_DOWN_UNTIL]:
        reason = _i(R_VENUE_DOWN)
        send_answer(venue, parameters, now, order_id, slot, _i(CANCEL_REFUSED), reason, _i(0), _i(0), _i(0), _i(0))
        return
    k = index_of(venue.order_index, order_id)
    if k < 0:
        reason = _i(R_UNKNOWN_ORDER)
        send_answer(venue, parameters, now, order_id, slot, _i(CANCEL_REFUSED), reason, _i(0), _i(0), _i(0), _i(0))
        return
    price, left = venue.resting[k].price_units, venue.resting[k].leaves_lots
    send_answer(venue, parameters, now, order_id, slot, _i(DONE), _i(R_ASKED), price, _i(0), left, _i(0))
    leave(venue, k)

"""The venue's step for one market row: the short way for rows that cannot concern us, the long one for the others."""

from typing import Any

from marketdata.bits import inlined
from marketdata.book import levels_apply
from marketdata.events import BID, F_LAST, QUOTE
from trading.state import J_HIGH, J_LOW, J_RESTING, J_TAKEN, J_UNKNOWN_QUEUE, EngineParameters, Int64, VenueState
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

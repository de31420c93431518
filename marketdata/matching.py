"""A price-time matching engine for one instrument, order by order, in integers; prices have no window, ids are any 64-bit number.

The rules of the market, in full:

* An incoming order trades with the best opposite price first, and with the oldest order there first, at the resting price.
* What a ``GTC`` order leaves unfilled rests at its limit at the end of that queue. ``IOC`` and market orders cancel what is left;
  a market order takes whatever price there is. ``FOK`` trades whole at once or not at all. ``POST_ONLY`` is refused if its limit
  reaches the best opposite price, whoever stands there.
* Cancel and reduce go by id; a reduced order keeps its place, one reduced to nothing or below leaves.
* Modify keeps the place only when the price stays and the size does not grow. Otherwise the order leaves its queue, trades if it
  now can, and what is left rests at the end of its new queue under the same id. A refused change leaves the order as it was.
* An id is live at most once: a new order under a live id is refused. 0 is no id; orders that cannot rest may come without one.
* Self-trade prevention: when an order with an owner (not 0) meets a resting order of the same owner, the policy of the
  incoming one decides. ``STP_CANCEL_NEWEST`` cancels what is left of the incoming one; ``STP_CANCEL_OLDEST`` cancels the
  resting one and goes on; ``STP_CANCEL_BOTH`` does both; ``STP_DECREMENT`` takes the smaller size off both, so that the
  smaller order goes without a trade; ``STP_NONE`` trades. For ``FOK`` own lots do not count: with CANCEL_OLDEST they are
  passed over, with the others what lies behind the first own order cannot be reached.
* A refused message changes nothing but the count of messages.

Not modelled: hidden and iceberg orders, stops, auctions, pro-rata allocation, price bands, orders that expire.
"""

from typing import Final

from numba import njit

from marketdata.bits import borrowed, inlined
from marketdata.events import ASK, BID
from marketdata.matching_rules import (
    begin_message,
    cancel_message,
    enter_message,
    market_message,
    modify_message,
    reduce_message,
)
from marketdata.order_book import (
    FILLS_FROM,
    FILLS_TO,
    LIVE,
    NEXT_ID,
    SEQUENCE,
    OrderBookState,
    Records,
    lent,
)
from marketdata.order_index import find_id
from marketdata.order_messages import (
    CANCEL,
    CANCELLED,
    FOK,
    GTC,
    MARKET,
    MODIFY,
    NEW,
    POST_ONLY,
    REDUCE,
    REJECTED_FULL,
    REJECTED_MESSAGE,
    REJECTED_UNKNOWN,
    RESTED,
    STP_DECREMENT,
    STP_NONE,
)

RUN_DONE: Final = 0
RUN_FILLS: Final = 1
RUN_GROW: Final = 2
"""Why :func:`run_messages` came back: all done; the fills must be read before it goes on; the book must grow."""


@njit(cache=True)
def submit_order(
    book: OrderBookState, order_id: int, side: int, price: int, lots: int, kind: int, owner: int, policy: int
) -> tuple[int, int]:
    """Take a limit order (0 buys, 1 sells) into the book under an id; return (status, lots), see RESPONSE_DTYPE."""
    book = lent(book)
    begin_message(book)
    return enter_message(book, order_id, side, price, lots, kind, owner, policy)


@njit(cache=True)
def submit_limit(book: OrderBookState, side: int, price: int, lots: int, kind: int) -> tuple[int, int, int]:
    """Take a limit order (0 buys, 1 sells) into the book under the book's own next id.

    Returns
    -------
    status : int
        RESTED, DONE, CANCELLED or a REJECTED code.
    order_id : int
        Id of the resting part; 0 where nothing rests.
    left : int
        Lots that rest or were cancelled; all of them when rejected.
    """
    book = lent(book)
    begin_message(book)
    order_id = book.counters[NEXT_ID]
    while find_id(book.ids, book.records, order_id) != 0:
        order_id += 1
    status, left = enter_message(book, order_id, side, price, lots, kind, 0, STP_NONE)
    if status != RESTED:
        return status, 0, left
    book.counters[NEXT_ID] = order_id + 1
    return status, order_id, left


@njit(cache=True)
def submit_market(book: OrderBookState, side: int, lots: int) -> tuple[int, int]:
    """Trade a market order (0 buys, 1 sells) against all there is; return (status, lots cancelled)."""
    book = lent(book)
    begin_message(book)
    return market_message(book, 0, side, lots, 0, STP_NONE)


@njit(cache=True)
def cancel_order(book: OrderBookState, order_id: int) -> int:
    """Cancel a resting order; return the lots that went, 0 for an id that does not rest."""
    book = lent(book)
    begin_message(book)
    return cancel_message(book, order_id)[1]


@njit(cache=True)
def reduce_order(book: OrderBookState, order_id: int, lots: int) -> int:
    """Take lots off a resting order, which keeps its place; return what went (all of it removes the order)."""
    book = lent(book)
    begin_message(book)
    status, left = reduce_message(book, order_id, lots)
    if status == CANCELLED:
        return left
    return lots if status == RESTED else 0


@njit(cache=True)
def modify_order(book: OrderBookState, order_id: int, price: int, lots: int) -> tuple[int, int]:
    """Change price and size of a resting order; return (status, lots resting), 0 lots for an id that does not rest."""
    book = lent(book)
    begin_message(book)
    status, left = modify_message(book, order_id, price, lots, GTC, STP_NONE)
    return status, 0 if status == REJECTED_UNKNOWN else left


@inlined
def match_message(book: OrderBookState, messages: Records, k: int) -> tuple[int, int]:
    """Match message ``k`` of an array on a lent book; return (status, lots)."""
    begin_message(book)
    action = messages[k].action
    order_id = messages[k].order_id
    lots = messages[k].size_lots
    kind = messages[k].kind
    policy = messages[k].policy
    side = 0 if messages[k].side == BID else 1
    if kind > FOK or policy > STP_DECREMENT or (action <= MARKET and side == 1 and messages[k].side != ASK):
        status, left = REJECTED_MESSAGE, lots
    elif action == NEW:
        status, left = enter_message(
            book, order_id, side, messages[k].price_units, lots, kind, messages[k].owner, policy
        )
    elif action == CANCEL:
        status, left = cancel_message(book, order_id)
    elif action == MODIFY:
        if kind == GTC or kind == POST_ONLY:  # noqa: SIM109  faster in numba
            status, left = modify_message(book, order_id, messages[k].price_units, lots, kind, policy)
        else:
            status, left = REJECTED_MESSAGE, lots
    elif action == MARKET:
        status, left = market_message(book, order_id, side, lots, messages[k].owner, policy)
    elif action == REDUCE:
        status, left = reduce_message(book, order_id, lots)
    else:
        status, left = REJECTED_MESSAGE, lots
    return status, left


@njit(cache=True, nogil=True)
def run_messages(book: OrderBookState, messages: Records, responses: Records) -> tuple[int, int, int]:
    """Match messages in order until they end, or the caller has something to do first.

    Parameters
    ----------
    book : OrderBookState
        Changed in place.
    messages : MESSAGE_DTYPE array, shape (n,)
    responses : RESPONSE_DTYPE array, shape (n,) or longer
        Written, one a message.

    Returns
    -------
    status : int
        RUN_DONE, RUN_FILLS or RUN_GROW; call again with the messages that were not consumed.
    consumed : int
        Messages matched.
    first : int
        Their fills are ``book.fills[first : counters[FILLS_TO]]``.
    """
    book = lent(book)
    messages = borrowed(messages)
    responses = borrowed(responses)
    counters = book.counters
    first = counters[FILLS_TO]
    capacity = len(book.fills)
    for k in range(len(messages)):
        to = counters[FILLS_TO]
        if to > first and capacity - to < counters[LIVE] + counters[LIVE + 1]:
            return RUN_FILLS, k, first
        status, left = match_message(book, messages, k)
        first = min(first, counters[FILLS_FROM])
        if status == REJECTED_FULL:
            counters[SEQUENCE] -= 1
            return RUN_GROW, k, first
        responses[k].lots = left
        responses[k].fills = counters[FILLS_TO] - counters[FILLS_FROM]
        responses[k].status = status
    return RUN_DONE, len(messages), first

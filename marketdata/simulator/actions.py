"""What each process of the simulated market does to the book, and the description of what drives an instrument."""

from math import ceil, floor, log
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.events import ADD, CLEAR, F_LAST, F_SNAPSHOT
from marketdata.matching import submit_limit
from marketdata.order_book import OrderBookState
from marketdata.order_messages import POST_ONLY
from marketdata.order_queries import best_ask, best_bid
from marketdata.simulator.parameters import (
    BUY,
    CANCEL_BID,
    DEEP_ADD_BID,
    DEEP_CANCEL_BID,
    DEPTH_LEVELS,
    FAR_SHARE,
    IMPROVE_BID,
    PICKED_RATE,
    RACE_RATE,
    REDUCE_SHARE,
    SELL,
    STALE_RATE,
)
from marketdata.simulator.tape import (
    Tape,
    add_order,
    cancel,
    take_limit,
    take_market,
    write_row,
)
from marketdata.simulator.visits import other_order, others_at

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

STALE: Final = 12
PICK: Final = 14
FAR: Final = 16
INFORMED: Final = 18
RUN_OVER: Final = 19
PROCESSES: Final = 20
"""Processes beside the Hawkes types: makers pulling stale quotes, arbitrage against them and far cancels (each on the bid, then
on the ask), the informed trader's orders and the cancels of those about to be run over."""


class Flow(NamedTuple):
    """What drives one instrument: grid arrays of shape (G,), tables, and the market orders of its leaders.

    Attributes
    ----------
    activity, half_spread, news, informed, planned_rows : float64 arrays, shape (G,)
        Relative activity, quoted half spread, efficient-price move a step, signed informed orders a second, and the
        rows that the tape should hold by the end of each step.
    lead_s, lead_jump : float64 arrays; lead_side : int64 array
        Leaders' market orders in time order, and what each adds to the fast rate of the same side here.
    excitation : float64 array, shape (12, 12)
        Fast jumps, child by parent.
    fit : float64 array, shape (G,) or (0,)
        Factor on activity a step, as an earlier run of this session was steered; empty: steer towards ``planned_rows``.
    base_order_rate, impact_units, open_units, pace : float
        Exogenous market orders a second a side; see ``Character``; activity relative to the default.
    """

    activity: Float64
    half_spread: Float64
    news: Float64
    informed: Float64
    planned_rows: Float64
    lead_s: Float64
    lead_jump: Float64
    lead_side: Int64
    excitation: Float64
    middle_jump: Float64
    slow_jump: Float64
    add_lots: Int64
    add_share: Float64
    market_lots: Int64
    market_share: Float64
    informed_lots: Int64
    informed_share: Float64
    fit: Float64
    base_order_rate: float
    impact_units: float
    open_units: float
    pace: float
    mean_root_lots: float


@njit(cache=True, forceinline=True)
def uniform(state: npt.NDArray[np.uint64]) -> float:
    """Return the next number in (0, 1) of a splitmix64 stream."""
    z = state[0] + np.uint64(0x9E3779B97F4A7C15)
    state[0] = z
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (float(z >> np.uint64(11)) + 0.5) * 1.1102230246251565e-16


@njit(cache=True, forceinline=True)
def draw(state: npt.NDArray[np.uint64], values: Int64, share: Float64) -> int:
    """Return one of the values, drawn by its cumulative shares."""
    u = uniform(state)
    k = 0
    while share[k] < u:
        k += 1
    return values[k]


@njit(cache=True, forceinline=True)
def open_book(book: OrderBookState, tape: Tape, state: npt.NDArray[np.uint64], flow: Flow, ts: int) -> int:
    """Write CLEAR and the opening book: 60 levels a side, thinner behind the first dozen."""
    n = write_row(tape, 0, ts, 0, 0, 0, 1, CLEAR, 0, F_SNAPSHOT)
    tape.side[0] = 0
    half = flow.half_spread[0]
    for side in range(2):
        top = floor(flow.open_units - half) if side == 0 else ceil(flow.open_units + half)
        for d in range(60):
            price = top - d if side == 0 else top + d
            orders = 3 if d < DEPTH_LEVELS else 2
            for _ in range(orders):
                lots = draw(state, flow.add_lots, flow.add_share)
                _, order_id, left = submit_limit(book, side, price, lots, POST_ONLY)
                n = write_row(tape, n, ts, price, left, order_id, 1, ADD, side, F_SNAPSHOT)
    tape.flags[n - 1] = F_SNAPSHOT | F_LAST
    return n


@njit(cache=True, forceinline=True)
def _pick_behind(book: OrderBookState, side: int, place: int, own_price: Int64, visit_of: npt.NDArray[np.int32]) -> int:
    """Return the id of the order at a place among those behind the best level (counted level by level)."""
    top = best_bid(book) if side == 0 else best_ask(book)
    for d in range(1, DEPTH_LEVELS):
        price = top - d if side == 0 else top + d
        orders = others_at(book, side, price, own_price)
        if place < orders:
            return other_order(book, side, price, place, own_price, visit_of)
        place -= orders
    return 0


@njit(cache=True, forceinline=True)
def _pick_stale(book: OrderBookState, side: int, place: int, own_price: Int64, visit_of: npt.NDArray[np.int32]) -> int:
    """Return the id of the order at a place among the stale ones, best price first."""
    price = best_bid(book) if side == 0 else best_ask(book)
    for _ in range(200):
        orders = others_at(book, side, price, own_price)
        if place < orders:
            return other_order(book, side, price, place, own_price, visit_of)
        place -= orders
        price += -1 if side == 0 else 1
    return 0


@njit(cache=True, forceinline=True)
def _stale_place(counts: Int64, side: int, u: float) -> int:
    """Return the place of the stale order whose owner pulls it first, from a number in (0, 1): the dearer the likelier.

    Places count from the best price on, so the dear orders come first and those that the efficient price has passed next.
    """
    stale, passed, dear = counts[4 + side], counts[10 + side], counts[12 + side]
    u *= RACE_RATE * dear + PICKED_RATE * passed + STALE_RATE * stale
    if u < RACE_RATE * dear:
        return min(dear - 1, int(u / RACE_RATE))
    u -= RACE_RATE * dear
    if u < PICKED_RATE * passed:
        return min(passed - 1, int(u / PICKED_RATE))
    return min(stale - 1, int((u - PICKED_RATE * passed) / STALE_RATE))


@njit(cache=True, forceinline=True)
def _pick_far(book: OrderBookState, side: int, first: int, own_price: Int64, visit_of: npt.NDArray[np.int32]) -> int:
    """Return the id of an order at ``first`` levels from the best or, if there is none, next further out; 0: none."""
    top = best_bid(book) if side == 0 else best_ask(book)
    for d in range(first, 400):
        found = other_order(book, side, top - d if side == 0 else top + d, 0, own_price, visit_of)
        if found > 0:
            return found
    return 0


@njit(cache=True, forceinline=True)
def act(
    book: OrderBookState,
    tape: Tape,
    flow: Flow,
    state: npt.NDArray[np.uint64],
    counts: Int64,
    kind: int,
    n: int,
    ts: int,
    sequence: int,
    step: int,
    value: float,
    own_price: Int64,
    visit_of: npt.NDArray[np.int32],
) -> int:
    """Let one process other than the uninformed market orders act; return the rows written so far.

    Who cancels is drawn among the others: the visitor's own orders (``own_price``, ``visit_of``: see
    ``marketdata.simulator.visits``) leave by its plan alone, and stand in for nobody's cancel.
    """
    side = kind & 1
    away = -1 if side == 0 else 1
    top = best_bid(book) if side == 0 else best_ask(book)
    if kind < CANCEL_BID or (kind >= IMPROVE_BID and kind < STALE):
        lots = draw(state, flow.add_lots, flow.add_share)
        half = flow.half_spread[step]
        wanted = floor(value - half) if side == 0 else ceil(value + half)
        if kind < DEEP_ADD_BID and counts[4 + side] == 0:
            wanted = max(wanted, top) if side == 0 else min(wanted, top)
        price = min(wanted, best_ask(book) - 1) if side == 0 else max(wanted, best_bid(book) + 1)
        if kind >= DEEP_ADD_BID and kind < CANCEL_BID:
            distance = 1 + min(DEPTH_LEVELS - 2, int(-4.0 * log(uniform(state))))
            if uniform(state) < FAR_SHARE:
                distance = DEPTH_LEVELS + int(-15.0 * log(uniform(state)))
            price += away * distance
        if kind >= IMPROVE_BID and away * (price - top) >= 0:
            return n
        return add_order(book, tape, n, ts, sequence, side, price, lots)
    if kind < DEEP_CANCEL_BID:
        if counts[side] == 0:
            return n
        found = other_order(book, side, top, int(uniform(state) * counts[side]), own_price, visit_of)
        return cancel(book, tape, n, ts, sequence, found, uniform(state) < REDUCE_SHARE)
    if kind < IMPROVE_BID:
        if counts[2 + side] == 0:
            return n
        found = _pick_behind(book, side, int(uniform(state) * counts[2 + side]), own_price, visit_of)
        return cancel(book, tape, n, ts, sequence, found, False)
    if kind < PICK:
        found = _pick_stale(book, side, _stale_place(counts, side, uniform(state)), own_price, visit_of)
        return cancel(book, tape, n, ts, sequence, found, False)
    if kind < FAR:
        lots = draw(state, flow.market_lots, flow.market_share)
        return take_limit(book, tape, n, ts, sequence, 1 - side, lots, top)
    if kind < INFORMED:
        found = _pick_far(book, side, DEPTH_LEVELS + int(-15.0 * log(uniform(state))), own_price, visit_of)
        return cancel(book, tape, n, ts, sequence, found, False)
    taken = BUY if flow.informed[step] > 0 else SELL
    if kind == INFORMED:
        return take_market(book, tape, n, ts, sequence, taken, draw(state, flow.informed_lots, flow.informed_share))
    resting = 1 - taken
    top = best_bid(book) if resting == 0 else best_ask(book)
    place = int(uniform(state) * others_at(book, resting, top, own_price))
    return cancel(book, tape, n, ts, sequence, other_order(book, resting, top, place, own_price, visit_of), False)

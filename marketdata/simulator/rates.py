"""What the rates of the simulated flow depend on: orders counted, and the part of each rate that does not decay."""

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.order_book import BEST_PRICE, LIVE, OrderBookState
from marketdata.order_queries import level_lots
from marketdata.simulator.actions import FAR, INFORMED, PICK, RUN_OVER, STALE, Flow
from marketdata.simulator.parameters import (
    ADD_BID,
    ADD_RATE,
    ARBITRAGE_RATE,
    ARBITRAGE_UNITS,
    BUY,
    CANCEL_BID,
    CANCEL_RATE,
    DEEP_ADD_BID,
    DEEP_ADD_RATE,
    DEEP_CANCEL_BID,
    DEEP_CANCEL_RATE,
    DEEP_SHORTAGE_BOOST,
    DEPTH_LEVELS,
    FAR_CANCEL_RATE,
    IMPROVE_BID,
    IMPROVE_RATE,
    LAST_ORDERS,
    PICKED_RATE,
    RACE_RATE,
    RUN_OVER_CANCELS,
    SELL,
    SHORTAGE_BOOST,
    STALE_BAND,
    STALE_RATE,
    TARGET_BEHIND,
    TARGET_LOTS,
    THIN_ADD_RATE,
    THIN_BEHIND,
)
from marketdata.simulator.visits import others_at

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@njit(cache=True, forceinline=True)
def count_orders(book: OrderBookState, counts: Int64, own_price: Int64) -> None:
    """Count what rates depend on: of each side the orders at the best price, those behind it, lots at the best, all orders.

    A visitor's order (``own_price``) is not among the orders: nobody else cancels for it.
    """
    for side in range(2):
        best = book.counters[BEST_PRICE + side]
        away = -1 if side == 0 else 1
        behind = 0
        for d in range(1, DEPTH_LEVELS):
            behind += others_at(book, side, best + away * d, own_price)
        counts[side] = others_at(book, side, best, own_price)
        counts[2 + side] = behind
        counts[6 + side] = level_lots(book, side, best)
        counts[8 + side] = book.counters[LIVE + side] - (1 if own_price[side] >= 0 else 0)


@njit(cache=True, forceinline=True)
def passed_lots(book: OrderBookState, side: int, value: float) -> int:
    """Return the lots of a side whose prices the efficient price has passed."""
    price = book.counters[BEST_PRICE + side]
    away = -1 if side == 0 else 1
    lots = 0
    while away * (value - price) > 0.0:
        lots += level_lots(book, side, price)
        price += away
    return lots


@njit(cache=True, forceinline=True)
def base_rates(
    book: OrderBookState,
    flow: Flow,
    rates: Float64,
    counts: Int64,
    step: int,
    value: float,
    fit: float,
    own_price: Int64,
    own_counts: bool,
) -> None:
    """Fill the rates that do not decay, and count the stale orders: nearer to the efficient price than the band allows.

    ``counts`` holds, bids before asks, the orders at the best price, those behind it within the window, the stale ones, the lots
    at the best price, all orders, those that the efficient price has passed, and those dear to their owners. A visitor's order
    is not among the orders; where ``own_counts`` it is worth an arbitrageur's while like any other.
    """
    act = flow.activity[step] * flow.pace * fit
    half = flow.half_spread[step]
    rates[BUY] = flow.base_order_rate * act
    rates[SELL] = rates[BUY]
    for side in range(2):
        best = book.counters[BEST_PRICE + side]
        away = -1 if side == 0 else 1
        at_top = counts[side]
        behind = counts[2 + side]
        # Signed so that on both sides a larger number is nearer to, or beyond, the efficient price.
        price = best
        beyond = -away * (best - value)
        stale = 0
        passed = 0
        dear = 0
        prey = 0
        if own_counts and own_price[side] >= 0 and away * (value - own_price[side]) > ARBITRAGE_UNITS:
            prey = 1
        while beyond > STALE_BAND - half:
            orders = others_at(book, side, price, own_price)
            stale += orders
            if beyond > 0.0:
                passed += orders
            if beyond > ARBITRAGE_UNITS:
                dear += orders
            price += away
            beyond -= 1.0
        shortage = max(0.0, 1.0 - counts[6 + side] / TARGET_LOTS)
        rates[ADD_BID + side] = ADD_RATE * act * (1.0 + SHORTAGE_BOOST * shortage)
        rates[DEEP_ADD_BID + side] = (
            DEEP_ADD_RATE * act * (1.0 + DEEP_SHORTAGE_BOOST * max(0.0, 1.0 - behind / TARGET_BEHIND))
        )
        rates[DEEP_ADD_BID + side] = max(rates[DEEP_ADD_BID + side], THIN_ADD_RATE * (1.0 - behind / THIN_BEHIND))
        rates[CANCEL_BID + side] = CANCEL_RATE * act * at_top if stale == 0 else 0.0
        rates[DEEP_CANCEL_BID + side] = DEEP_CANCEL_RATE * act * behind
        gap = -away * (value - best) - half
        rates[IMPROVE_BID + side] = IMPROVE_RATE if gap >= 1.0 else 0.0
        rates[STALE + side] = STALE_RATE * stale + PICKED_RATE * passed + RACE_RATE * dear
        rates[PICK + side] = ARBITRAGE_RATE if dear + prey > 0 else 0.0
        rates[FAR + side] = FAR_CANCEL_RATE * act * max(0, counts[8 + side] - at_top - behind)
        if counts[8 + side] <= LAST_ORDERS:
            for kind in (CANCEL_BID, DEEP_CANCEL_BID, STALE, FAR):
                rates[kind + side] = 0.0
            if dear > 0:  # a side never empties: what is dear leaves as soon as somebody has quoted a price that is not
                rates[DEEP_ADD_BID + side] = RACE_RATE
        counts[4 + side] = stale
        counts[10 + side] = passed
        counts[12 + side] = dear
    rates[INFORMED] = abs(flow.informed[step])
    rates[RUN_OVER] = RUN_OVER_CANCELS * rates[INFORMED]

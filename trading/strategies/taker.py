"""The taker: take the touch when a forecast pays for the round trip, hold for the horizon, leave."""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import cfunc, njit

from marketdata.events import ASK, BID
from trading.hooks import DECIDE_SIGNATURE
from trading.orders import IOC
from trading.sizing import bet_lots, bet_share
from trading.strategies.interface import (
    ENTERED,
    EXIT_SENT,
    EXTENDED,
    HOLDING,
    IN_FLIGHT,
    NO_EDGE,
    NO_QUOTE,
    NO_SIZE,
    O_AT_CAP,
    TOO_LATE,
    V_ASK,
    V_ASK_LOTS,
    V_BID,
    V_BID_LOTS,
    V_FORECAST_NS,
    V_OPEN_BETS,
    V_OUTCOME,
    V_POSITION,
    V_TAKER_PPM,
    V_TICK,
    V_TIMER_NS,
    V_TRADE_FEE,
    V_UNIT_NANOS,
    V_UNSETTLED,
    WAKE_FORECAST,
    WAKE_TIMER,
    Floats,
    Ints,
    Strategy,
    put_order,
)

T_HORIZON: Final = 0
T_ORDER_LOTS: Final = 1
T_LAST_ENTRY: Final = 2
T_GRACE: Final = 3
T_EXIT_TICKS: Final = 4
T_MARGIN: Final = 0
T_EXTEND: Final = 1
T_FRACTION: Final = 2
T_CAPITAL: Final = 3
M_EXPIRY: Final = 0


@njit(cache=True)
def round_trip_cost(bid: int, ask: int, taker_ppm: int) -> float:
    """Return what getting in and out costs, in price units: the spread and two taker fees on the mid."""
    return float(ask - bid) + 2.0 * taker_ppm * 1e-6 * 0.5 * float(bid + ask)


@njit(cache=True, error_model="numpy")
def trade_fee_cost(trade_nanos: int, unit_nanos: int, lots: int) -> float:
    """Return what two fills of ``lots`` pay by the fill, in price units of each lot: an amount a fill weighs on small orders.

    Under numpy's division, which raises nothing: a check for a zero of lots, which never is one, keeps the loop of the screen
    from being inlined and costs a third of its speed.
    """
    return 2.0 * float(trade_nanos) / (float(lots) * float(unit_nanos))


@njit(cache=True)
def entry_decision(
    forecast: Floats,
    bid: int,
    ask: int,
    taker_ppm: int,
    trade_nanos: int,
    unit_nanos: int,
    open_bets: int,
    ints: Ints,
    floats: Floats,
) -> tuple[int, int, bool]:
    """Return (side, lots, whether the Kelly cap bound the size): side 0 without an edge, lots 0 where the bet is below one lot.

    The edge must exceed the round-trip cost by the margin, a share of the cost. Where fills cost an amount each, that is the
    cost of so many lots as are ordered: a smaller bet bears more of it, and is made smaller until it pays for itself.
    """
    edge = forecast[3]
    plain = round_trip_cost(bid, ask, taker_ppm)
    side = 1 if edge > 0.0 else -1
    p_for = forecast[2] if side > 0 else forecast[0]
    p_against = forecast[0] if side > 0 else forecast[2]
    price = 0.5 * float(bid + ask)
    most = ints[T_ORDER_LOTS]
    while True:
        cost = plain + trade_fee_cost(trade_nanos, unit_nanos, most)
        if abs(edge) <= cost * (1.0 + floats[T_MARGIN]):
            return 0, 0, False
        share, capped = bet_share(p_for, forecast[1], p_against, abs(edge), cost, price, floats[T_FRACTION], open_bets)
        lots = bet_lots(share, floats[T_CAPITAL], price, unit_nanos, most)
        if trade_nanos == 0 or lots == 0 or lots == most:
            return side, lots, capped
        most = lots


@njit(cache=True)
def stays_in(
    edge: float, position: int, bid: int, ask: int, taker_ppm: int, trade_nanos: int, unit_nanos: int, floats: Floats
) -> bool:
    """Return whether a position at its expiry is held for another horizon: the edge still favours it enough."""
    signed = edge if position > 0 else -edge
    cost = round_trip_cost(bid, ask, taker_ppm)
    if trade_nanos != 0:
        cost += trade_fee_cost(trade_nanos, unit_nanos, abs(position))
    return signed > floats[T_EXTEND] * cost


@cfunc(DECIDE_SIGNATURE, cache=True)
def decide_taker(
    now: int,
    wake: int,
    ints: Ints,
    floats: Floats,
    view: Ints,
    forecast: Floats,
    memory: Ints,
    out: npt.NDArray[np.int64],
) -> int:
    """Take the touch when a forecast pays for the round trip, hold for the horizon, leave or extend on a fresh forecast.

    Decisions are made when forecasts arrive, never in between and never while an order's answer is under way. An entry is an
    IOC limit at the touch as seen; an exit is an IOC limit some ticks through it. At the first forecast whose row is at least
    a horizon after the entry's, the position is extended or left. Should forecasts stop coming, a timer leaves it. No entry
    that could not run its horizon before the session's last seconds.
    """
    position = view[V_POSITION]
    if wake != WAKE_FORECAST and wake != WAKE_TIMER:
        return 0
    if view[V_UNSETTLED] > 0:
        view[V_OUTCOME] = IN_FLIGHT
        if wake == WAKE_TIMER:
            view[V_TIMER_NS] = now + ints[T_GRACE]
        return 0
    bid, ask = view[V_BID], view[V_ASK]
    quoted = view[V_BID_LOTS] > 0 and view[V_ASK_LOTS] > 0 and bid <= ask
    if position != 0:
        if wake == WAKE_FORECAST and view[V_FORECAST_NS] < memory[M_EXPIRY]:
            view[V_OUTCOME] = HOLDING
            return 0
        if not quoted:
            view[V_OUTCOME] = NO_QUOTE
            view[V_TIMER_NS] = now + ints[T_GRACE]
            return 0
        fresh = wake == WAKE_FORECAST and view[V_FORECAST_NS] <= ints[T_LAST_ENTRY]
        ppm, trade, unit = view[V_TAKER_PPM], view[V_TRADE_FEE], view[V_UNIT_NANOS]
        if fresh and stays_in(forecast[3], position, bid, ask, ppm, trade, unit, floats):
            memory[M_EXPIRY] = view[V_FORECAST_NS] + ints[T_HORIZON]
            view[V_TIMER_NS] = memory[M_EXPIRY] + ints[T_GRACE]
            view[V_OUTCOME] = EXTENDED
            return 0
        through = ints[T_EXIT_TICKS] * view[V_TICK]
        price = max(bid - through, view[V_TICK]) if position > 0 else ask + through
        put_order(out, 0, ASK if position > 0 else BID, IOC, price, abs(position))
        view[V_TIMER_NS] = now + ints[T_GRACE]
        view[V_OUTCOME] = EXIT_SENT
        return 1
    if wake == WAKE_TIMER:
        return 0
    if not quoted:
        view[V_OUTCOME] = NO_QUOTE
        return 0
    if view[V_FORECAST_NS] > ints[T_LAST_ENTRY]:
        view[V_OUTCOME] = TOO_LATE
        return 0
    side, lots, capped = entry_decision(
        forecast,
        bid,
        ask,
        view[V_TAKER_PPM],
        view[V_TRADE_FEE],
        view[V_UNIT_NANOS],
        view[V_OPEN_BETS],
        ints,
        floats,
    )
    if lots == 0:
        view[V_OUTCOME] = NO_SIZE if side != 0 else NO_EDGE
        return 0
    put_order(out, 0, side, IOC, ask if side > 0 else bid, lots)
    out[0, O_AT_CAP] = 1 if capped else 0
    memory[M_EXPIRY] = view[V_FORECAST_NS] + ints[T_HORIZON]
    view[V_TIMER_NS] = memory[M_EXPIRY] + ints[T_GRACE]
    view[V_OUTCOME] = ENTERED
    return 1


def taker(
    *,
    horizon_ns: int,
    order_lots: int,
    last_entry_ns: int,
    margin: float,
    fraction: float,
    capital: float,
    extend_share: float = 0.25,
    exit_ticks: int = 20,
) -> Strategy:
    """Return the forecast taker.

    Parameters
    ----------
    last_entry_ns : int
        No row received after this opens or extends a position.
    margin : float
        Share of the round-trip cost by which the edge must exceed it to enter.
    extend_share : float
        Share of the round-trip cost that the edge must still be to hold for another horizon.
    capital : float
        Quote currency on which sizes are based.
    """
    grace = 2 * horizon_ns + 60_000_000_000
    ints = (horizon_ns, order_lots, last_entry_ns, grace, exit_ticks)
    floats = (margin, extend_share, fraction, capital)
    return Strategy("taker", decide_taker, WAKE_FORECAST | WAKE_TIMER, ints, floats)

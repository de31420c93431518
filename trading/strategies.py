"""Strategies: what to do with a forecast, as compiled functions of one signature.

``decide(now_ns, wake, ints, floats, view, forecast, memory, out) -> orders``

======== ==========================================================================================================
now_ns   the agent's time
wake     which of the ``WAKE_*`` happened
ints     int64 parameters of the strategy
floats   float64 parameters of the strategy
view     int64, what the agent knows of the instrument (``V_*``); the strategy writes ``V_OUTCOME`` and ``V_TIMER_NS``
forecast float64: p_down, p_flat, p_up, edge in price units, 1.0 once there is one
memory   int64, kept for the strategy per instrument
out      int64 table; one row an order or cancel (``O_*``)
======== ==========================================================================================================

It returns how many rows of ``out`` it wrote. It sees one instrument; the risk gate comes after it.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import cfunc, njit

from marketdata.events import ASK, BID
from trading.hooks import DECIDE_SIGNATURE
from trading.orders import IOC, POST_ONLY
from trading.sizing import bet_lots, bet_share

WAKE_FORECAST: Final = 1
WAKE_TOP: Final = 2
WAKE_TIMER: Final = 8
WAKE_RESPONSE: Final = 16

V_BID: Final = 0
V_BID_LOTS: Final = 1
V_ASK: Final = 2
V_ASK_LOTS: Final = 3
V_POSITION: Final = 4
V_BUY_WORKING: Final = 5
V_SELL_WORKING: Final = 6
V_UNSETTLED: Final = 7
"""Live orders whose next answer is under way."""
V_OPEN_BETS: Final = 8
"""Other instruments with a position or a live order."""
V_FORECAST_NS: Final = 9
"""``ts_recv`` of the row behind the latest forecast."""
V_OPEN_NS: Final = 10
V_CLOSE_NS: Final = 11
V_TICK: Final = 12
V_UNIT_NANOS: Final = 13
V_MAKER_PPM: Final = 14
V_TAKER_PPM: Final = 15
V_OWN_BID_ID: Final = 16
V_OWN_BID: Final = 17
V_OWN_ASK_ID: Final = 18
V_OWN_ASK: Final = 19
"""Newest live own order of each side that has no cancel under way: id (0: none) and price."""
V_OUTCOME: Final = 20
V_TIMER_NS: Final = 21
"""Wake me then; 0 leaves the timer as it is."""
V_TAPE_LOTS: Final = 22
"""Lots that have traded in the market so far."""
V_COUNT: Final = 23

O_CANCEL: Final = 0
O_SIDE: Final = 1
O_TIF: Final = 2
O_PRICE: Final = 3
O_LOTS: Final = 4
O_ID: Final = 5
O_AT_CAP: Final = 6
O_SLOT: Final = 7
"""Set by the agent."""
O_COUNT: Final = 8

NO_EDGE: Final = 1
ENTERED: Final = 2
HOLDING: Final = 3
EXTENDED: Final = 4
EXIT_SENT: Final = 5
IN_FLIGHT: Final = 6
NO_QUOTE: Final = 7
TOO_LATE: Final = 8
NO_SIZE: Final = 9

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# -- the taker -------------------------------------------------------------------------------------------------------------
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


@njit(cache=True)
def entry_decision(
    forecast: Floats, bid: int, ask: int, taker_ppm: int, unit_nanos: int, open_bets: int, ints: Ints, floats: Floats
) -> tuple[int, int, bool]:
    """Return (side, lots, whether the Kelly cap bound the size): side 0 without an edge, lots 0 where the bet is below one lot.

    The edge must exceed the round-trip cost by the margin, a share of the cost.
    """
    edge = forecast[3]
    cost = round_trip_cost(bid, ask, taker_ppm)
    side = 1 if edge > 0.0 else -1
    if abs(edge) <= cost * (1.0 + floats[T_MARGIN]):
        return 0, 0, False
    p_for = forecast[2] if side > 0 else forecast[0]
    p_against = forecast[0] if side > 0 else forecast[2]
    price = 0.5 * float(bid + ask)
    share, capped = bet_share(p_for, forecast[1], p_against, abs(edge), cost, price, floats[T_FRACTION], open_bets)
    return side, bet_lots(share, floats[T_CAPITAL], price, unit_nanos, ints[T_ORDER_LOTS]), capped


@njit(cache=True)
def stays_in(edge: float, position: int, bid: int, ask: int, taker_ppm: int, floats: Floats) -> bool:
    """Return whether a position at its expiry is held for another horizon: the edge still favours it enough."""
    signed = edge if position > 0 else -edge
    return signed > floats[T_EXTEND] * round_trip_cost(bid, ask, taker_ppm)


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
        if fresh and stays_in(forecast[3], position, bid, ask, view[V_TAKER_PPM], floats):
            memory[M_EXPIRY] = view[V_FORECAST_NS] + ints[T_HORIZON]
            view[V_TIMER_NS] = memory[M_EXPIRY] + ints[T_GRACE]
            view[V_OUTCOME] = EXTENDED
            return 0
        through = ints[T_EXIT_TICKS] * view[V_TICK]
        out[0, O_CANCEL] = 0
        out[0, O_SIDE] = ASK if position > 0 else BID
        out[0, O_TIF] = IOC
        out[0, O_PRICE] = max(bid - through, view[V_TICK]) if position > 0 else ask + through
        out[0, O_LOTS] = abs(position)
        out[0, O_AT_CAP] = 0
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
        forecast, bid, ask, view[V_TAKER_PPM], view[V_UNIT_NANOS], view[V_OPEN_BETS], ints, floats
    )
    if lots == 0:
        view[V_OUTCOME] = NO_SIZE if side != 0 else NO_EDGE
        return 0
    out[0, O_CANCEL] = 0
    out[0, O_SIDE] = side
    out[0, O_TIF] = IOC
    out[0, O_PRICE] = ask if side > 0 else bid
    out[0, O_LOTS] = lots
    out[0, O_AT_CAP] = 1 if capped else 0
    memory[M_EXPIRY] = view[V_FORECAST_NS] + ints[T_HORIZON]
    view[V_TIMER_NS] = memory[M_EXPIRY] + ints[T_GRACE]
    view[V_OUTCOME] = ENTERED
    return 1


# -- the touch maker -------------------------------------------------------------------------------------------------------
K_LOTS: Final = 0
K_MAX_POSITION: Final = 1
K_LAST_ENTRY: Final = 2
K_MIN_SPREAD_TICKS: Final = 3
K_JOIN: Final = 0
K_STAY: Final = 1


@cfunc(DECIDE_SIGNATURE, cache=True)
def decide_touch_maker(
    now: int,
    wake: int,
    ints: Ints,
    floats: Floats,
    view: Ints,
    forecast: Floats,
    memory: Ints,
    out: npt.NDArray[np.int64],
) -> int:
    """Rest a post-only order at the best bid and the best ask, as far as the inventory limit allows.

    A side is joined when its share of the touch's lots is at least ``floats[K_JOIN]`` and left again below ``floats[K_STAY]``
    (0 and 0: always there); an order whose price is no longer the touch is cancelled and sent anew. The cancel's answer is
    awaited before a new order of the side.
    """
    bid, ask = view[V_BID], view[V_ASK]
    usable = view[V_BID_LOTS] > 0 and view[V_ASK_LOTS] > 0 and bid < ask
    usable = usable and ask - bid >= ints[K_MIN_SPREAD_TICKS] * view[V_TICK]
    usable = usable and now <= ints[K_LAST_ENTRY]
    rows = 0
    for side in (1, -1):
        own_id = view[V_OWN_BID_ID] if side > 0 else view[V_OWN_ASK_ID]
        own = view[V_OWN_BID] if side > 0 else view[V_OWN_ASK]
        working = view[V_BUY_WORKING] if side > 0 else view[V_SELL_WORKING]
        touch = bid if side > 0 else ask
        mine = view[V_BID_LOTS] if side > 0 else view[V_ASK_LOTS]
        share = mine / max(view[V_BID_LOTS] + view[V_ASK_LOTS], 1)
        room = ints[K_MAX_POSITION] - side * view[V_POSITION]
        if own_id > 0:
            if not usable or own != touch or share < floats[K_STAY]:
                out[rows, O_CANCEL] = 1
                out[rows, O_ID] = own_id
                rows += 1
        elif working == 0 and usable and share >= floats[K_JOIN] and room > 0:
            out[rows, O_CANCEL] = 0
            out[rows, O_SIDE] = side
            out[rows, O_TIF] = POST_ONLY
            out[rows, O_PRICE] = touch
            out[rows, O_LOTS] = min(ints[K_LOTS], room)
            out[rows, O_AT_CAP] = 0
            rows += 1
    return rows


@dataclass(frozen=True, slots=True)
class Strategy:
    """A decide hook with its parameters and the events that wake it."""

    name: str
    hook: Any
    wake_mask: int
    ints: tuple[int, ...]
    floats: tuple[float, ...]


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


def touch_maker(
    *,
    lots: int,
    max_position: int,
    last_entry_ns: int,
    join_share: float = 0.0,
    stay_share: float = 0.0,
    min_spread_ticks: int = 1,
) -> Strategy:
    """Return the touch maker; shares are of the lots at both touches, 0 to quote regardless of them."""
    ints = (lots, max_position, last_entry_ns, min_spread_ticks)
    return Strategy("touch_maker", decide_touch_maker, WAKE_TOP | WAKE_RESPONSE, ints, (join_share, stay_share))

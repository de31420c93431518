"""The market maker: two quotes around a reservation price that leans against the inventory and with the forecast.

With mid ``s`` (in ticks), position ``q`` (lots), variance ``v`` of the mid (ticks² a second), ``τ`` seconds to go, risk aversion
``γ`` (per tick and lot) and decay of fills with distance ``k`` (per tick),

    reservation price  r = s − q γ v τ + w f
    half spread        h = γ v τ / 2 + ln(1 + γ/k) / γ

quotes are at ``r − h`` rounded down and ``r + h`` rounded up to the grid, never closer than the other side's touch allows a
post-only order. ``f`` is the latest forecast's edge in ticks, ``w`` the share of it that is believed, 0 once it is older than
allowed. ``τ`` is the lesser of a horizon and the time to the session's last entry: far from the close the paper's finite horizon
would make quotes lean ever more with the day's length, so the horizon is how long inventory is meant to be held (the stationary
form). ``v`` is the agent's own running estimate, or a fixed one.

A side is quoted as far as the inventory limit allows, its order is left alone until it is off its price by ``requote`` ticks
(a new order joins the end of a queue), and the cancel's answer is awaited before a new order of either side. What was refused (a
halt, a quote that moved, a limit) is sent again when the best quotes change, or after a second.

Not modelled: that fills come faster at some prices than the exponential says, and that they come when the price is about to move;
both are in the venue, not in the quotes.

References
----------
Avellaneda, Stoikov (2008). High-frequency trading in a limit order book. Quantitative Finance 8(3), equations 3.17 and 3.18.
Guéant, Lehalle, Fernandez-Tapia (2013). Dealing with the inventory risk. Mathematics and Financial Economics 7(4). (Why a
finite horizon settles into a stationary one.)
"""

from math import ceil, floor, log1p
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import cfunc, njit

from trading.hooks import DECIDE_SIGNATURE
from trading.orders import POST_ONLY
from trading.strategies.interface import (
    V_ASK,
    V_ASK_LOTS,
    V_BID,
    V_BID_LOTS,
    V_BUY_WORKING,
    V_FORECAST_NS,
    V_OWN_ASK,
    V_OWN_ASK_ID,
    V_OWN_BID,
    V_OWN_BID_ID,
    V_POSITION,
    V_SELL_WORKING,
    V_TICK,
    V_TIMER_NS,
    V_VARIANCE,
    WAKE_FORECAST,
    WAKE_RESPONSE,
    WAKE_TIMER,
    WAKE_TOP,
    Floats,
    Ints,
    Strategy,
    put_cancel,
    put_order,
)

Q_LOTS: Final = 0
Q_MAX_POSITION: Final = 1
Q_LAST_ENTRY: Final = 2
Q_HORIZON_NS: Final = 3
Q_REQUOTE: Final = 4
Q_FORECAST_AGE_NS: Final = 5
A_AVERSION: Final = 0
A_DECAY: Final = 1
A_VARIANCE: Final = 2
A_FORECAST_SHARE: Final = 3

VARIANCE_ONE: Final = 65_536.0

M_SENT: Final = 0
M_POSITION: Final = 1
M_RETRY: Final = 2
M_WIDTH: Final = 3
"""Memory of a side: when its latest order was sent (0: it was cancelled by us, or known to be refused), the position then, and
until when an order that was refused is not sent again."""
RETRY_NS: Final = 1_000_000_000


@njit(cache=True)
def quote_offsets(
    position: int, variance: float, seconds: float, edge: float, aversion: float, decay: float
) -> tuple[float, float]:
    """Return (reservation price less the mid, half spread), both in ticks.

    Parameters
    ----------
    position : int
        Lots held.
    variance : float
        Ticks squared a second.
    seconds : float
        Time over which inventory is held.
    edge : float
        Expected move of the mid, in ticks.
    aversion : float
        γ, per tick and lot, above 0.
    decay : float
        k, per tick, above 0.
    """
    risk = aversion * variance * seconds
    return edge - position * risk, 0.5 * risk + log1p(aversion / decay) / aversion


@njit(cache=True)
def _is_clear(view: Ints, side: int, price: int) -> bool:
    """Return whether an order would not meet an own one: none of the other side is leaving, and none stands at its price."""
    if side > 0:
        return view[V_SELL_WORKING] == 0 or (view[V_OWN_ASK_ID] > 0 and price < view[V_OWN_ASK])
    return view[V_BUY_WORKING] == 0 or (view[V_OWN_BID_ID] > 0 and price > view[V_OWN_BID])


@cfunc(DECIDE_SIGNATURE, cache=True)
def decide_market_maker(
    now: int,
    wake: int,
    ints: Ints,
    floats: Floats,
    view: Ints,
    forecast: Floats,
    memory: Ints,
    out: npt.NDArray[np.int64],
) -> int:
    """Keep one post-only order a side at the price that inventory, volatility and forecast ask for."""
    bid, ask, tick = view[V_BID], view[V_ASK], view[V_TICK]
    quoted = view[V_BID_LOTS] > 0 and view[V_ASK_LOTS] > 0 and bid < ask
    position = view[V_POSITION]
    left = max(ints[Q_LAST_ENTRY] - now, 0)
    buy_at, sell_at = 0, 0
    if quoted:
        variance = floats[A_VARIANCE]
        if variance == 0.0:
            variance = view[V_VARIANCE] / VARIANCE_ONE / float(tick * tick)
        edge = 0.0
        if forecast[4] != 0.0 and now - view[V_FORECAST_NS] <= ints[Q_FORECAST_AGE_NS]:
            edge = floats[A_FORECAST_SHARE] * forecast[3] / tick
        seconds = min(left, ints[Q_HORIZON_NS]) * 1e-9
        offset, half = quote_offsets(position, variance, seconds, edge, floats[A_AVERSION], floats[A_DECAY])
        doubled = (bid + ask) // tick
        odd, whole = 0.5 * (doubled % 2), doubled // 2
        buy_at = min(tick * (whole + floor(odd + offset - half)), ask - tick)
        sell_at = max(tick * (whole + ceil(odd + offset + half)), bid + tick)
    rows = 0
    for side in (1, -1):
        mine = 0 if side > 0 else M_WIDTH
        own_id = view[V_OWN_BID_ID] if side > 0 else view[V_OWN_ASK_ID]
        own = view[V_OWN_BID] if side > 0 else view[V_OWN_ASK]
        working = view[V_BUY_WORKING] if side > 0 else view[V_SELL_WORKING]
        price = buy_at if side > 0 else sell_at
        room = ints[Q_MAX_POSITION] - side * position
        if left == 0:
            room = min(room, -side * position)
        wanted = quoted and room > 0 and price > 0
        if own_id > 0:
            if not wanted or abs(own - price) >= ints[Q_REQUOTE] * tick:
                rows = put_cancel(out, rows, own_id)
                memory[mine + M_SENT] = 0
        elif working == 0 and wanted and _is_clear(view, side, price):
            if memory[mine + M_SENT] > 0 and memory[mine + M_POSITION] == position:
                memory[mine + M_RETRY] = memory[mine + M_SENT] + RETRY_NS
                memory[mine + M_SENT] = 0
            if now < memory[mine + M_RETRY] and wake & WAKE_TOP == 0:
                if view[V_TIMER_NS] == 0 or memory[mine + M_RETRY] < view[V_TIMER_NS]:
                    view[V_TIMER_NS] = memory[mine + M_RETRY]
                continue
            memory[mine + M_SENT] = now
            memory[mine + M_POSITION] = position
            rows = put_order(out, rows, side, POST_ONLY, price, min(ints[Q_LOTS], room))
    return rows


def market_maker(
    *,
    lots: int,
    max_position: int,
    last_entry_ns: int,
    risk_aversion: float = 0.05,
    fill_decay: float = 0.6,
    horizon_ns: int = 60_000_000_000,
    volatility: float = 0.0,
    forecast_share: float = 0.5,
    forecast_age_ns: int = 10_000_000_000,
    requote_ticks: int = 1,
) -> Strategy:
    """Return the market maker.

    Parameters
    ----------
    lots : int
        Of one order.
    max_position : int
        Lots held at most, either way.
    last_entry_ns : int
        From here on only what reduces the position is quoted.
    risk_aversion, fill_decay : float
        γ per tick and lot, and k per tick.
    horizon_ns : int
        How long inventory is meant to be held.
    volatility : float
        Ticks over the root of a second; 0: as estimated from the mid.
    forecast_share : float
        Share of a forecast's edge by which the quotes move; 0: forecasts are not looked at.
    forecast_age_ns : int
        A forecast of an older row is not looked at.
    requote_ticks : int
        An order this far from its price is replaced.
    """
    ints = (lots, max_position, last_entry_ns, horizon_ns, requote_ticks, forecast_age_ns)
    floats = (risk_aversion, fill_decay, volatility * volatility, forecast_share)
    mask = WAKE_TOP | WAKE_TIMER | WAKE_RESPONSE | (WAKE_FORECAST if forecast_share != 0 else 0)
    return Strategy("market_maker", decide_market_maker, mask, ints, floats, tracks_top=volatility == 0.0)

"""How much to bet: Kelly on the net edge over the holding period, a fraction of it, capped.

The binary form is ``p/a - q/b`` for a loss of ``a`` and a gain of ``b`` per unit of capital staked; it bets nothing on a fair
coin. The forecasts here have three outcomes (down, flat, up), for which the growth-optimal share has no closed form and is
found by bisection on the derivative of expected log growth, which falls monotonically.

References
----------
Kelly (1956). A new interpretation of information rate. Bell System Technical Journal 35(4).
"""

from typing import Final

from numba import njit

BISECTIONS: Final = 48
KELLY_CAP: Final = 0.10
"""Share of capital that one bet may take at most."""


@njit(cache=True)
def kelly_binary(p: float, gain: float, loss: float) -> float:
    """Return the growth-optimal share of capital for a bet won with probability ``p``; 0 where there is no edge."""
    return max(p / loss - (1.0 - p) / gain, 0.0)


@njit(cache=True)
def _growth_slope(f: float, p1: float, p2: float, p3: float, r1: float, r2: float, r3: float) -> float:
    return p1 * r1 / (1.0 + f * r1) + p2 * r2 / (1.0 + f * r2) + p3 * r3 / (1.0 + f * r3)


@njit(cache=True)
def kelly_three(p1: float, p2: float, p3: float, r1: float, r2: float, r3: float, most: float) -> float:
    """Return the growth-optimal share of capital for three outcomes, between 0 and ``most``.

    Parameters
    ----------
    p1, p2, p3 : float
        Probabilities.
    r1, r2, r3 : float
        Net return of the bet in each outcome, per unit staked.
    most : float
        Largest answer wanted; below the share at which the worst outcome ruins.
    """
    worst = min(r1, min(r2, r3))
    if worst < 0.0:
        most = min(most, -0.999 / worst)
    if _growth_slope(0.0, p1, p2, p3, r1, r2, r3) <= 0.0:
        return 0.0
    if _growth_slope(most, p1, p2, p3, r1, r2, r3) >= 0.0:
        return most
    low, high = 0.0, most
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if _growth_slope(middle, p1, p2, p3, r1, r2, r3) > 0.0:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True)
def bet_share(
    p_for: float,
    p_flat: float,
    p_against: float,
    edge: float,
    cost: float,
    price: float,
    fraction: float,
    open_bets: int,
) -> tuple[float, bool]:
    """Return (share of capital for one bet, whether the cap bound it).

    Parameters
    ----------
    p_for, p_flat, p_against : float
        Probabilities of a move in the bet's favour, none, and against it.
    edge : float
        Expected move in favour over the holding period, in price units; the size of a move is ``edge / (p_for - p_against)``.
    cost : float
        Round-trip cost, in price units: spread and both fees.
    price : float
        Price, in price units.
    fraction : float
        Share of the growth-optimal bet that is taken.
    open_bets : int
        Bets already open on the same signal; the share is divided among them and this one.
    """
    tilt = p_for - p_against
    if tilt <= 0.0 or price <= 0.0:
        return 0.0, False
    move = edge / tilt
    share = (1.0 + open_bets) / fraction
    best = kelly_three(
        p_for, p_flat, p_against, (move - cost) / price, -cost / price, (-move - cost) / price, KELLY_CAP * share
    )
    return best / share, best >= KELLY_CAP * share


@njit(cache=True)
def bet_lots(share: float, capital: float, price: float, unit_nanos: int, most: int) -> int:
    """Return whole lots for a share of capital (in quote currency), at most ``most``, never rounded up."""
    return min(int(share * capital / (price * unit_nanos / 1e9)), most)

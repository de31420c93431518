"""How much to bet: Kelly on the net edge over the holding period, a fraction of it, capped; by volatility, confidence.

The regime's share of a bet is in the edge already (``models.design``).

The binary form is ``p/a - q/b`` for a loss of ``a`` and a gain of ``b`` per unit of capital staked; it bets nothing on a fair
coin. The forecasts here have three outcomes (down, flat, up), for which the growth-optimal share has no closed form and is
found by bisection on the derivative of expected log growth, which falls monotonically.

Estimates are shrunk before they are bet on, and what multiplies a bet is never above 1: a calm regime does not make an edge
larger than it was estimated, it only leaves it whole.

References
----------
Kelly (1956). A new interpretation of information rate. Bell System Technical Journal 35(4).
Thorp (2006). The Kelly criterion in blackjack, sports betting, and the stock market. (The Gaussian form.)
Efron, Morris (1973). Stein's estimation rule and its competitors. JASA 68(341). (The positive-part shrinkage.)
"""

from math import sqrt
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
def kelly_gaussian(mean: float, variance: float) -> float:
    """Return the growth-optimal share of capital for returns of a mean and a variance: ``mean / variance``, at least 0."""
    return max(mean / variance, 0.0)


@njit(cache=True)
def shrunk_edge(mean: float, variance: float, samples: int) -> float:
    """Return an estimated edge drawn towards 0 by its own uncertainty.

    Parameters
    ----------
    mean, variance : float
        Of the net results that the edge was estimated from.
    samples : int
        How many, independent of each other.

    Returns
    -------
    float
        ``mean * max(0, 1 - 1 / t**2)`` with ``t`` the mean over its standard error: nothing is left of an edge that is not
        larger than its own error.
    """
    if samples < 1 or mean == 0.0:
        return 0.0
    return mean * max(1.0 - variance / samples / (mean * mean), 0.0)


@njit(cache=True)
def volatility_scale(target: float, realised: float) -> float:
    """Return the factor on a size at which its volatility is at most the target, never above 1; 0 where it is not known."""
    if not realised >= 0.0:
        return 0.0
    return 1.0 if realised <= target else target / realised


@njit(cache=True)
def risk_lots(budget: float, variance: float, seconds: float, unit_nanos: int, most: int) -> int:
    """Return the lots of which one standard deviation over a holding time is worth at most a budget, no more than ``most``.

    Parameters
    ----------
    budget : float
        Quote currency; 0: no bound.
    variance : float
        Of the price, in price units squared a second.
    seconds : float
        Holding time.
    """
    deviation = sqrt(variance * seconds) * unit_nanos * 1e-9
    if budget <= 0.0 or deviation * most <= budget:
        return most
    return int(budget / deviation)


@njit(cache=True)
def confidence_share(value: float, floor: float, full: float) -> float:
    """Return the share of a size for a confidence: 0 up to the floor, 1 from ``full`` on, straight in between."""
    if value <= floor:
        return 0.0
    return 1.0 if value >= full else (value - floor) / (full - floor)


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

"""What an option chain's implied volatilities say: level, skew, butterfly, and how they change with the tenor.

Volatilities are read off each expiry by linear interpolation in delta, never beyond the deltas that are quoted, and then
brought to a constant maturity, so that a value does not jump when one expiry leaves and the next comes.
"""

from bisect import bisect_right
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

TENOR_DAYS: Final = 30.0
"""Constant maturity of level, skew and butterfly."""
LEAST_DAYS: Final = 1.0
MOST_DAYS: Final = 400.0
"""Expiries within these tenors make the term structure: a contract's last day says little about volatility."""
SLOPE_SPAN: Final = 1.4
CURVATURE_SPAN: Final = 2.0
"""The longest tenor over the shortest that a slope and a curvature need at least."""


class ExpirySmile(NamedTuple):
    """Implied volatilities of one expiry, NaN where no quoted delta lies on both sides."""

    days: float
    atm: float
    call_25: float
    put_25: float


class TermStructure(NamedTuple):
    """What the smiles of one snapshot say together.

    Attributes
    ----------
    atm, skew, butterfly : float
        At 30 days: volatility at the money; 25-delta call minus put; their mean minus the one at the money.
    slope, curvature : float
        Coefficients of at-the-money volatility on x = log(days / 30) and on x², from two and from three expiries on.
    """

    atm: float
    skew: float
    butterfly: float
    slope: float
    curvature: float


def expiry_smile(days: float, strike: Float64, iv: Float64, delta: Float64, is_call: Bool) -> ExpirySmile:
    """Return the smile of one expiry.

    Parameters
    ----------
    days : float
        To expiry.
    strike, iv, delta : float64 arrays, shape (C,)
        Per contract: strike in the underlying's unit, volatility a year (0.6 is 60 %), and delta, calls' positive and puts'
        negative. NaN or a volatility that is not positive leaves a contract out, and so does a delta out of order: deltas
        fall with the strike, but one made from a stale price says 0.5 far from the money. The longest run in order is kept.
    is_call : bool array, shape (C,)
    """
    usable = (iv > 0) & np.isfinite(iv) & np.isfinite(delta)
    calls, puts = usable & is_call, usable & ~is_call
    kept_calls, kept_puts = (np.flatnonzero(side)[_in_order(strike[side], delta[side])] for side in (calls, puts))
    call_50, call_25 = _at(delta[kept_calls], iv[kept_calls], (0.5, 0.25))
    put_50, put_25 = _at(delta[kept_puts], iv[kept_puts], (-0.5, -0.25))
    return ExpirySmile(days, 0.5 * (call_50 + put_50), call_25, put_25)


def _in_order(strike: Float64, delta: Float64) -> npt.NDArray[np.int64]:
    """Return the places of the longest run of contracts, by strike, whose deltas never rise (patience sorting)."""
    order = np.argsort(strike, kind="stable")
    falling = (-delta[order]).tolist()
    ends: list[float] = []
    last: list[int] = []
    before: list[int] = []
    for k, value in enumerate(falling):
        place = bisect_right(ends, value)
        before.append(last[place - 1] if place else -1)
        ends[place : place + 1], last[place : place + 1] = [value], [k]
    kept, k = [], last[-1] if last else -1
    while k >= 0:
        kept.append(k)
        k = before[k]
    return order[np.array(kept[::-1], np.int64)].astype(np.int64)


def _at(delta: Float64, iv: Float64, wanted: tuple[float, float]) -> tuple[float, float]:
    if not len(delta):
        return np.nan, np.nan
    order = np.argsort(delta, kind="stable")
    found = np.interp(wanted, delta[order], iv[order], left=np.nan, right=np.nan)
    return float(found[0]), float(found[1])


def term_structure(smiles: list[ExpirySmile]) -> TermStructure:
    """Return what the smiles of one snapshot say together; NaN where too few expiries are known.

    At 30 days, total variance is linear in the tenor between the two expiries around it, skew and butterfly are linear
    themselves; where 30 days lie outside the tenors known, the nearest one stands in.
    """
    kept = sorted((s for s in smiles if LEAST_DAYS < s.days <= MOST_DAYS and np.isfinite(s.atm)), key=lambda s: s.days)
    if not kept:
        return TermStructure(np.nan, np.nan, np.nan, np.nan, np.nan)
    days = np.array([s.days for s in kept])
    atm = np.array([s.atm for s in kept])
    variance = float(np.interp(TENOR_DAYS, days, atm**2 * days))
    nearest = min(max(TENOR_DAYS, days[0]), days[-1])
    level = float(np.sqrt(variance / nearest))
    wings = [s for s in kept if np.isfinite(s.call_25) and np.isfinite(s.put_25)]
    skew = butterfly = np.nan
    if wings:
        at = [s.days for s in wings]
        skew = float(np.interp(TENOR_DAYS, at, [s.call_25 - s.put_25 for s in wings]))
        butterfly = float(np.interp(TENOR_DAYS, at, [0.5 * (s.call_25 + s.put_25) - s.atm for s in wings]))
    return TermStructure(level, skew, butterfly, *_bend(np.log(days / TENOR_DAYS), atm))


def _bend(x: Float64, atm: Float64) -> tuple[float, float]:
    """Return slope and curvature of at-the-money volatility over log tenor."""
    span = x[-1] - x[0]
    slope = curvature = np.nan
    if len(x) >= 2 and span >= np.log(SLOPE_SPAN):
        away = x - x.mean()
        slope = float(away @ atm / (away @ away))
    if len(x) >= 3 and span >= np.log(CURVATURE_SPAN):
        curvature = float(np.polyfit(x, atm, 2)[0])
    return slope, curvature

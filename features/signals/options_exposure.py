"""What open interest and past prices say beside the smile: dealers' gamma, new positions, realised against implied."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata.clock import NS_PER_DAY

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

NS_PER_YEAR: Final = 365 * NS_PER_DAY
REALISED_NS: Final = 30 * NS_PER_DAY
REALISED_LEAST: Final = 10
"""Realised volatility is that of the snapshots' underlying over 30 days, from ten returns on."""
ONE_PER_CENT: Final = 0.01


def black_gamma(spot: Float64, strike: Float64, iv: Float64, years: Float64) -> Float64:
    """Return the second derivative of a Black-Scholes price by the spot, no rate and no dividend, calls as puts.

    Parameters
    ----------
    spot, strike : float64 arrays, shape (C,)
        In one currency.
    iv : float64 array, shape (C,)
        Volatility a year.
    years : float64 array, shape (C,)
        To expiry.

    Returns
    -------
    float64 array, shape (C,)
        Per unit of the underlying, one over currency; NaN where volatility or time is not positive.

    References
    ----------
    Black, Scholes (1973). The pricing of options and corporate liabilities. J. Political Economy 81(3).
    """
    usable = (iv > 0) & (years > 0) & (spot > 0) & (strike > 0)
    root = np.sqrt(np.where(usable, years, 1.0)) * np.where(usable, iv, 1.0)
    d1 = np.log(np.where(usable, spot / strike, 1.0)) / root + 0.5 * root
    density = np.exp(-0.5 * d1**2) / np.sqrt(2.0 * np.pi)
    return np.where(usable, density / (spot * root), np.nan)


def dealer_gamma(
    spot: Float64,
    strike: Float64,
    iv: Float64,
    years: Float64,
    open_interest: Float64,
    is_call: npt.NDArray[np.bool_],
    *,
    multiplier: float = 1.0,
) -> tuple[float, float]:
    """Return dealers' net gamma exposure and its gross, in the underlying's currency per 1 % move of the underlying.

    Convention and assumptions: customers sell the calls (overwriting) and buy the puts (insurance) that are open, dealers
    stand on the other side of all of them, so calls count positive and puts negative for the dealer; a dealer who is long
    gamma trades against a move, one who is short trades with it. Open interest is the last one published; gamma is
    Black-Scholes at the contract's own volatility. Who really holds which side is not in the data: this is an estimate
    of a convention, not of a position.

    Parameters
    ----------
    multiplier : float
        Units of the underlying a contract: 1 on Deribit, 100 for US equities. It cancels in net / gross.

    Returns
    -------
    net, gross : float
        Σ ± OI · multiplier · Γ · S² · 0.01, and the sum of its sizes; contracts without volatility are left out.

    References
    ----------
    Barbon, Buraschi (2020). Gamma fragility. University of St. Gallen working paper 2020/05.
    """
    gamma = np.nan_to_num(black_gamma(spot, strike, iv, years))
    size = np.nan_to_num(open_interest) * multiplier * gamma * spot**2 * ONE_PER_CENT
    return float(np.where(is_call, size, -size).sum()), float(size.sum())


def interest_change(rows: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with ``interest_before``: the contract's open interest in the last snapshot of the session before.

    Open interest is known when it is published: both figures come from snapshots, so their difference is known with the
    later one, whichever day's trades it sums up. A contract that was not listed had none; one that has expired is in
    neither side of the difference.

    Parameters
    ----------
    before : pl.DataFrame
        Raw rows of the session before; without rows ``interest_before`` is null throughout.
    """
    if not before.height:
        return rows.with_columns(pl.lit(None, pl.Float64).alias("interest_before"))
    last = before.sort("ts_known", maintain_order=True).group_by("contract", maintain_order=True).last()
    found = rows.join(
        last.select("contract", pl.col("open_interest").alias("interest_before")),
        on="contract",
        how="left",
        maintain_order="left",
    )
    return found.with_columns(pl.col("interest_before").fill_null(0.0))


def underlying_path(history: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the underlying at every snapshot, ``symbol, ts_snapshot, underlying``: the median over the chain's rows."""
    parts = [frame.select("symbol", "ts_snapshot", "underlying") for frame in history]
    key = ("symbol", "ts_snapshot")
    return pl.concat(parts).group_by(key).agg(pl.col("underlying").median()).sort(key)


def realised_volatility(times: Int64, prices: Float64, now_ns: int) -> float:
    """Return the volatility a calendar year of the snapshots' prices in the 30 days up to ``now_ns``.

    Parameters
    ----------
    times : int64 array, shape (T,)
        Snapshot times, increasing.
    prices : float64 array, shape (T,)

    Returns
    -------
    float
        sqrt(Σ r² / years that they span); NaN with fewer than ten returns or less than a day.
    """
    first = int(np.searchsorted(times, now_ns - REALISED_NS, side="right"))
    last = int(np.searchsorted(times, now_ns, side="right"))
    window = slice(first, last)
    if last - first <= REALISED_LEAST or times[last - 1] - times[first] < NS_PER_DAY:
        return float("nan")
    returns = np.diff(np.log(prices[window]))
    return float(np.sqrt((returns @ returns) * NS_PER_YEAR / (times[last - 1] - times[first])))

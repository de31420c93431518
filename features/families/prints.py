"""Prints: statistics of the newest aggressors one by one - sizes, signs, waiting times, prices and where volume lies.

They look at the newest 128 aggressors that are no older than the longest window, and are recomputed from them at every row.
"""

import math
from typing import Final

import numpy as np
from numba import njit

from features.entry import FeatureEntry, span_name
from features.families.windows import FEW_AGGRESSORS, window_is_full, windowed
from features.state import (
    A_LOTS,
    A_MID2,
    A_PRICE,
    A_SIGN,
    A_SWEPT,
    A_TS,
    AGGRESSORS,
    S_MID2,
    X_AGGRESSORS,
    FeatureState,
    Float64,
    Plan,
)
from marketdata.settings import SamplingSettings

ROLL_1984: Final = "Roll (1984). A simple implicit measure of the effective bid-ask spread. J. Finance 39(4)."
LF_2004: Final = (
    "Lillo, Farmer (2004). The long memory of the efficient market. Studies Nonlin. Dyn. Econometrics 8(3)."
)
GB_2008: Final = "Goh, Barabási (2008). Burstiness and memory in complex systems. Europhysics Letters 81(4)."
ER_1998: Final = "Engle, Russell (1998). Autoregressive conditional duration. Econometrica 66(5)."
BFL_2009: Final = "Bouchaud, Farmer, Lillo (2009). How markets slowly digest changes in supply and demand. Elsevier."
STEIDLMAYER_1986: Final = "Steidlmayer, Koy (1986). Markets and Market Logic. Porcupine Press."
BW_1993: Final = "Barclay, Warner (1993). Stealth trading and volatility. J. Financial Economics 34(3)."

EO_1987: Final = "Easley, O'Hara (1987). Price, trade size, and information in securities markets. J. Fin. Econ. 19(1)."

MT_1967: Final = "Mandelbrot, Taylor (1967). On the distribution of stock price differences. Op. Research 15(6)."

LAGS: Final = (1, 5)
"""Lags of the autocorrelation of signs, in aggressors."""
RETURNS: Final = (10, 50)
"""Aggressors that the move over trades goes back."""


def entries(sampling: SamplingSettings) -> list[FeatureEntry]:
    """Return the family's entries in column order."""
    ns = sampling.windows_ns[-1]
    many = f"the newest {AGGRESSORS} aggressors of {span_name(ns)}; NaN with fewer than {FEW_AGGRESSORS}"

    def entry(
        key: str,
        unit: str,
        formula: str,
        reference: str,
        *,
        mirror: str = "even",
        name: str | None = None,
    ) -> FeatureEntry:
        return windowed(
            "prints",
            key,
            unit,
            formula,
            reference,
            ns,
            needs_book=False,
            mirror=mirror,
            may_be_unknown=True,
            name=name or key,
        )

    return [
        entry(
            "roll_spread_bps",
            "bps",
            f"1e4 · 2 sqrt(max(-cov(Δp_i, Δp_i-1), 0)) / mid, p the last prices of {many}",
            ROLL_1984,
        ),
        entry("trade_size_cv", "1", f"deviation (n-1) / mean of the lots of {many}", EO_1987),
        entry(
            "largest_trade_share",
            "1",
            f"signed lots of the largest, the newest of equals, / lots of {many}",
            BW_1993,
            mirror="odd",
        ),
        entry("sweep_share", "1", f"share that traded at more than one price, of {many}", BFL_2009),
        entry(
            "trade_run", "1", f"signed length of the newest run of one sign / number, of {many}", LF_2004, mirror="odd"
        ),
        *(
            entry(
                "sign_autocorrelation",
                "1",
                f"mean of s_i s_i-{lag} over {many} after the lag",
                LF_2004,
                name=f"sign_autocorrelation_{lag}",
            )
            for lag in LAGS
        ),
        entry(
            "burstiness",
            "1",
            f"(σ - μ) / (σ + μ) of the waiting times (ns + 1; deviation n-1) between {many}",
            GB_2008,
        ),
        entry(
            "waiting_memory",
            "1",
            f"correlation of neighbouring waiting times between {many}, 0 where they are all the same",
            GB_2008,
        ),
        windowed(
            "prints",
            "trade_age",
            "1",
            f"time since the last aggressor, cut at {span_name(ns)}, over {span_name(ns)}",
            ER_1998,
            ns,
            needs_book=False,
            name="trade_age",
        ),
        *(
            entry(
                "trade_return_bps",
                "bps",
                f"1e4 (mid - mid before the {back}th newest aggressor) / mid, of {many.split(';')[0]}; NaN with fewer",
                MT_1967,
                mirror="odd",
                name=f"trade_return_bps_{back}",
            )
            for back in RETURNS
        ),
        entry(
            "volume_peak_bps",
            "bps",
            f"1e4 (mid - last price with most lots) / mid; the nearest to the mid of equals, 0 between two as near, of {many}",
            STEIDLMAYER_1986,
            mirror="odd",
        ),
        entry(
            "volume_below",
            "1",
            f"(lots whose last price lies below the mid - above) / lots, of {many}",
            STEIDLMAYER_1986,
            mirror="odd",
        ),
    ]


@njit(cache=True)
def _correlation(x: Float64, y: Float64) -> float:
    """Return the correlation of two series; 0 where one does not vary."""
    n = len(x)
    mean_x = 0.0
    mean_y = 0.0
    for k in range(n):
        mean_x += x[k]
        mean_y += y[k]
    mean_x /= n
    mean_y /= n
    xy = 0.0
    xx = 0.0
    yy = 0.0
    for k in range(n):
        xy += (x[k] - mean_x) * (y[k] - mean_y)
        xx += (x[k] - mean_x) ** 2
        yy += (y[k] - mean_y) ** 2
    return xy / math.sqrt(xx * yy) if xx > 0.0 and yy > 0.0 else 0.0


@njit(cache=True)
def write_prints(plan: Plan, state: FeatureState, now: int, out: Float64, column: int) -> None:
    """Write the family from ``column`` on."""
    longest = len(plan.windows) - 1
    if not window_is_full(plan, state, longest, now):
        return
    ring = state.aggressors
    head = state.extra[X_AGGRESSORS]
    oldest = now - plan.windows[longest]
    n = 0
    while n < min(head, AGGRESSORS) and ring[(head - 1 - n) % AGGRESSORS, A_TS] > oldest:
        n += 1
    age = now - ring[(head - 1) % AGGRESSORS, A_TS] if n > 0 else plan.windows[longest]
    out[column + 9] = age / plan.windows[longest]
    mid2 = state.at[S_MID2]
    for k in range(2):
        back = RETURNS[k]
        if n >= back:
            out[column + 10 + k] = 1e4 * (mid2 - ring[(head - back) % AGGRESSORS, A_MID2]) / mid2
    if n < FEW_AGGRESSORS:
        return
    sign = np.empty(n, np.int64)
    lots = np.empty(n, np.int64)
    price = np.empty(n, np.int64)
    ts = np.empty(n, np.int64)
    swept = 0
    volume = 0
    below = 0
    largest = 0
    for k in range(n):
        row = (head - n + k) % AGGRESSORS
        sign[k] = ring[row, A_SIGN]
        lots[k] = ring[row, A_LOTS]
        price[k] = ring[row, A_PRICE]
        ts[k] = ring[row, A_TS]
        swept += ring[row, A_SWEPT]
        volume += lots[k]
        below += lots[k] * int(np.sign(mid2 - 2 * price[k]))
        if lots[k] >= lots[largest]:
            largest = k
    moves = np.empty(n - 1)
    waits = np.empty(n - 1)
    for k in range(n - 1):
        moves[k] = price[k + 1] - price[k]
        waits[k] = ts[k + 1] - ts[k] + 1.0
    mean = moves.mean()
    covariance = 0.0
    for k in range(n - 2):
        covariance += (moves[k + 1] - mean) * (moves[k] - mean)
    out[column] = 4e4 * math.sqrt(max(-covariance / (n - 2), 0.0)) / mid2
    mean = volume / n
    squares = 0.0
    for k in range(n):
        squares += (lots[k] - mean) ** 2
    out[column + 1] = math.sqrt(squares / (n - 1)) / mean
    out[column + 2] = sign[largest] * lots[largest] / volume
    out[column + 3] = swept / n
    run = 1
    while run < n and sign[n - 1 - run] == sign[n - 1]:
        run += 1
    out[column + 4] = sign[n - 1] * run / n
    for k in range(2):
        lag = LAGS[k]
        agreed = 0
        for j in range(lag, n):
            agreed += sign[j] * sign[j - lag]
        out[column + 5 + k] = agreed / (n - lag)
    mean = waits.mean()
    squares = 0.0
    for k in range(n - 1):
        squares += (waits[k] - mean) ** 2
    deviation = math.sqrt(squares / (n - 2))
    out[column + 7] = (deviation - mean) / (deviation + mean)
    out[column + 8] = _correlation(waits[1:], waits[:-1])
    levels = np.empty(n, np.int64)
    held = np.zeros(n, np.int64)
    found = 0
    for k in range(n):
        at = 0
        while at < found and levels[at] != price[k]:
            at += 1
        if at == found:
            levels[at] = price[k]
            found += 1
        held[at] += lots[k]
    most = 0
    nearest = 0
    peak2 = 0
    for b in range(found):
        away = abs(mid2 - 2 * levels[b])
        if held[b] > most or (held[b] == most and away < nearest):
            most = held[b]
            nearest = away
            peak2 = 2 * levels[b]
        elif held[b] == most and away == nearest and peak2 != 2 * levels[b]:
            peak2 = mid2
    out[column + 12] = 1e4 * (mid2 - peak2) / mid2
    out[column + 13] = below / volume

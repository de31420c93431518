"""Volatility on the fixed grid of the longest window: ranges, jumps, asymmetry, and how far moves follow each other.

A cell's move is its last mid minus the last mid of the cell before; r_j is the move over the last mid of the grid.
"""

import math
from typing import Final

import numpy as np
from numba import njit

from features.entry import CELLS, MIDDLE, FeatureEntry, span_name
from features.families.windows import windowed
from features.state import S_MID2, X_HIGH, X_LOW, FeatureState, Float64, Plan
from marketdata.settings import SamplingSettings

PARKINSON_1980: Final = "Parkinson (1980). The extreme value method for estimating the variance. J. Business 53(1)."
GK_1980: Final = "Garman, Klass (1980). On the estimation of security price volatilities. J. Business 53(1)."
RS_1991: Final = (
    "Rogers, Satchell (1991). Estimating variance from high, low and closing prices. Ann. Appl. Prob. 1(4)."
)
HT_2005: Final = "Huang, Tauchen (2005). The relative contribution of jumps. J. Financial Econometrics 3(4)."
ADS_2012: Final = "Andersen, Dobrev, Schaumburg (2012). Jump-robust volatility estimation. J. Econometrics 169(1)."
ACJV_2015: Final = (
    "Amaya, Christoffersen, Jacobs, Vasquez (2015). Does realized skewness predict? J. Fin. Economics 118(1)."
)
BKS_2010: Final = "Barndorff-Nielsen, Kinnebrock, Shephard (2010). Measuring downside risk: realised semivariance. OUP."
LM_1988: Final = "Lo, MacKinlay (1988). Stock market prices do not follow random walks. Rev. Fin. Studies 1(1)."
LOT_1999: Final = "Lesmond, Ogden, Trzcinka (1999). A new estimate of transaction costs. Rev. Fin. Studies 12(5)."
KAUFMAN_1995: Final = "Kaufman (1995). Smarter Trading. McGraw-Hill."
LANE_1984: Final = "Lane (1984). Lane's stochastics. Technical Analysis of Stocks and Commodities 2(3)."
MU_1997: Final = "Müller et al. (1997). Volatilities of different time resolutions. J. Empirical Finance 4(2-3)."
AGGREGATE: Final = 4
"""Cells that the variance ratio adds up."""


def entries(sampling: SamplingSettings) -> list[FeatureEntry]:
    """Return the family's entries in column order."""
    ns, middle = sampling.windows_ns[-1], sampling.windows_ns[MIDDLE]
    span, short = span_name(ns), span_name(middle)
    cell = ns // CELLS
    over = f"over {CELLS} cells of {span}"

    def entry(
        key: str, unit: str, formula: str, reference: str, *, mirror: str = "even", is_total: bool = True
    ) -> FeatureEntry:
        return windowed(
            "volatility",
            key,
            unit,
            formula,
            reference,
            ns,
            needs_book=False,
            warmup_ns=CELLS * cell,
            memory_ns=(CELLS + 1) * cell,
            mirror=mirror,
            may_be_unknown=not is_total,
        )

    ohlc = f"{over}; o, h, l, c logs of the first, highest, lowest and last mid"
    return [
        entry("parkinson_bps", "bps", f"1e4 sqrt(Σ (h - l)² / (4 ln 2)) {ohlc}", PARKINSON_1980),
        entry("garman_klass_bps", "bps", f"1e4 sqrt(Σ (h - l)²/2 - (2 ln 2 - 1)(c - o)²) {ohlc}", GK_1980),
        entry("rogers_satchell_bps", "bps", f"1e4 sqrt(Σ (h - c)(h - o) + (l - c)(l - o)) {ohlc}", RS_1991),
        entry("range_bps", "bps", f"1e4 (highest - lowest mid) / mid {over}, the open cell included", PARKINSON_1980),
        entry(
            "range_position",
            "1",
            f"2 (mid - lowest) / (highest - lowest) - 1 {over}, the open cell included; 0 without a range",
            LANE_1984,
            mirror="odd",
        ),
        entry(
            "jump_statistic",
            "1",
            f"(1 - BV/RV) / sqrt((π²/4 + π - 5)/n · max(1, TQ/BV²)) {over}; RV Σ r², BV π/2 n/(n-1) Σ |r_j r_j-1|, TQ tripower "
            "quarticity; NaN where BV is 0",
            HT_2005,
            is_total=False,
        ),
        entry(
            "median_variance_share",
            "1",
            f"π/(6 - 4√3 + π) n/(n-2) Σ med(|r_j-1|, |r_j|, |r_j+1|)² / Σ r² {over}; NaN without moves",
            ADS_2012,
            is_total=False,
        ),
        entry(
            "realised_skewness",
            "1",
            f"√n Σ r³ / (Σ r²)^1.5 {over}; NaN without moves",
            ACJV_2015,
            mirror="odd",
            is_total=False,
        ),
        entry("realised_kurtosis", "1", f"n Σ r⁴ / (Σ r²)² {over}; NaN without moves", ACJV_2015, is_total=False),
        entry(
            "semivariance_imbalance",
            "1",
            f"(Σ r² of moves up - of moves down) / Σ r² {over}; NaN without moves",
            BKS_2010,
            mirror="odd",
            is_total=False,
        ),
        entry(
            "variance_ratio",
            "1",
            f"Σ of squared sums of {AGGREGATE} neighbouring r / Σ r², sums that do not overlap {over}; NaN without moves",
            LM_1988,
            is_total=False,
        ),
        entry(
            "return_autocorrelation", "1", f"Σ r_j r_j-1 / Σ r_j² {over}; NaN without moves", LM_1988, is_total=False
        ),
        entry("no_move_share", "1", f"share of cells without a move {over}", LOT_1999),
        entry("path_efficiency", "1", f"Σ r / Σ |r| {over}; 0 without moves", KAUFMAN_1995, mirror="odd"),
        entry(
            "volatility_trend",
            "1",
            f"ln(volatility of {short} scaled to {span} by the root of time / volatility of {span}); NaN without moves",
            MU_1997,
            is_total=False,
        ),
    ]


@njit(cache=True)
def write_volatility(plan: Plan, state: FeatureState, now: int, out: Float64, column: int) -> None:
    """Write the family from ``column`` on."""
    w = len(plan.windows) - 1
    grid = state.grid
    if grid[w, 0] < 0 or grid[w, 2] < CELLS:
        return
    start = grid[w, 3]
    moves = np.empty(CELLS)
    close2 = np.empty(CELLS + 1, np.int64)
    close2[CELLS] = grid[w, 1]
    for k in range(CELLS - 1, -1, -1):
        move = state.cells[w, (start + k) % CELLS, 0]
        moves[k] = move
        close2[k] = close2[k + 1] - move
    parkinson = 0.0
    garman_klass = 0.0
    rogers_satchell = 0.0
    highest = state.extra[X_HIGH]
    lowest = state.extra[X_LOW]
    for k in range(CELLS):
        high = state.ranges[(start + k) % CELLS, 0]
        low = state.ranges[(start + k) % CELLS, 1]
        highest = max(highest, high)
        lowest = min(lowest, low)
        if high == low and close2[k + 1] == close2[k]:
            continue
        o = math.log(high / close2[k])
        c = math.log(high / close2[k + 1])
        both = math.log(high / low)
        parkinson += both * both
        garman_klass += 0.5 * both * both - (2.0 * math.log(2.0) - 1.0) * (o - c) ** 2
        rogers_satchell += o * c + (both - c) * (both - o)
    out[column] = 1e4 * math.sqrt(parkinson / (4.0 * math.log(2.0)))
    out[column + 1] = 1e4 * math.sqrt(max(garman_klass, 0.0))
    out[column + 2] = 1e4 * math.sqrt(max(rogers_satchell, 0.0))
    mid2 = state.at[S_MID2]
    out[column + 3] = 1e4 * (highest - lowest) / mid2
    out[column + 4] = (2 * mid2 - highest - lowest) / (highest - lowest) if highest > lowest else 0.0
    _write_moments(moves, out, column + 5)
    still = 0
    net = 0.0
    path = 0.0
    for k in range(CELLS):
        still += 1 if moves[k] == 0.0 else 0
        net += moves[k]
        path += abs(moves[k])
    out[column + 12] = still / CELLS
    out[column + 13] = net / path if path > 0.0 else 0.0
    if grid[MIDDLE, 2] >= CELLS and path > 0.0:
        short = 0.0
        long = 0.0
        for k in range(CELLS):
            short += float(state.cells[MIDDLE, (grid[MIDDLE, 3] + k) % CELLS, 0]) ** 2
            long += moves[k] ** 2
        if short > 0.0:
            out[column + 14] = 0.5 * math.log(short / long * (plan.windows[w] / plan.windows[MIDDLE]))


@njit(cache=True)
def _write_moments(moves: Float64, out: Float64, column: int) -> None:
    """Write jump statistic, median share, skewness, kurtosis, semivariance, variance ratio and autocorrelation."""
    n = len(moves)
    second = 0.0
    third = 0.0
    fourth = 0.0
    up = 0.0
    neighbours = 0.0
    bipower = 0.0
    tripower = 0.0
    median = 0.0
    for k in range(n):
        r = moves[k]
        second += r * r
        third += r * r * r
        fourth += r * r * r * r
        up += r * r if r > 0.0 else 0.0
        if k > 0:
            neighbours += r * moves[k - 1]
            bipower += abs(r) * abs(moves[k - 1])
        if k > 1:
            a, b, c = abs(r), abs(moves[k - 1]), abs(moves[k - 2])
            tripower += (a * b * c) ** (4.0 / 3.0)
            middle = max(min(a, b), min(max(a, b), c))
            median += middle * middle
    if second == 0.0:
        return
    bipower *= 0.5 * math.pi * n / (n - 1)
    if bipower > 0.0:
        mu = 2.0 ** (2.0 / 3.0) * math.gamma(7.0 / 6.0) / math.gamma(0.5)
        tripower *= n * mu**-3.0 * n / (n - 2)
        spread = (0.25 * math.pi**2 + math.pi - 5.0) / n * max(1.0, tripower / (bipower * bipower))
        out[column] = (1.0 - bipower / second) / math.sqrt(spread)
    out[column + 1] = math.pi / (6.0 - 4.0 * math.sqrt(3.0) + math.pi) * n / (n - 2) * median / second
    out[column + 2] = math.sqrt(n) * third / second**1.5
    out[column + 3] = n * fourth / (second * second)
    out[column + 4] = (2.0 * up - second) / second
    sums = 0.0
    for k in range(0, n, AGGREGATE):
        block = 0.0
        for j in range(AGGREGATE):
            block += moves[k + j]
        sums += block * block
    out[column + 5] = sums / second
    out[column + 6] = neighbours / second

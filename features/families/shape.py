"""Shape: prices at which ten levels stand - slope, convexity, gaps, walls, and what taking a given size would cost."""

import math
from typing import Final

import numpy as np
from numba import njit

from features.entry import DEEP, FeatureEntry, span_name
from features.families.windows import instant, mean_best_depth, window_base, window_is_full, windowed
from features.state import E_SPREAD, E_SPREAD_NS, FeatureState, Float64, Plan
from marketdata.settings import SamplingSettings

NS_2006: Final = (
    "Næs, Skjeltorp (2006). Order book characteristics and the volume-volatility relation. J. Fin. Markets 9(4)."
)
CHW_2009: Final = (
    "Cao, Hansch, Wang (2009). The information content of an open limit-order book. J. Futures Markets 29(1)."
)
FARMER_2004: Final = (
    "Farmer, Gillemot, Lillo, Mike, Sen (2004). What really causes large price changes? Quant. Finance 4(4)."
)
IBK_2000: Final = "Irvine, Benston, Kandel (2000). Liquidity beyond the inside spread. SSRN 229959."
BHS_1995: Final = (
    "Biais, Hillion, Spatt (1995). The limit order book and the order flow in the Paris Bourse. J. Finance 50(5)."
)
STOLL_2000: Final = "Stoll (2000). Friction. J. Finance 55(4)."
TAKEN: Final = 5.0
"""Lots that the cost columns take, in mean best depths."""


def entries(sampling: SamplingSettings) -> list[FeatureEntry]:
    """Return the family's entries in column order."""
    ns = sampling.windows_ns[-1]
    span = span_name(ns)
    slope = "Σ x D / Σ x² a side, x distance from the mid (bps), D cumulated share of both sides' lots"
    bend = (
        "b of the least-squares fit y = a x + b x² a side, x distance and y lots cumulated, each over the last level's"
    )
    cost = f"mean cost over the mid (bps) of taking {TAKEN:g} mean best depths of {span} from {DEEP} levels at most"
    return [
        instant("shape", "book_slope", "1/bps", f"mean of both sides' {slope}", NS_2006, may_be_unknown=True),
        instant(
            "shape", "slope_imbalance", "1", f"(bid - ask) / sum of {slope}", NS_2006, mirror="odd", may_be_unknown=True
        ),
        instant("shape", "book_convexity", "1", f"mean of both sides' {bend}", BHS_1995, may_be_unknown=True),
        instant(
            "shape", "convexity_imbalance", "1", f"bid's - ask's {bend}", BHS_1995, mirror="odd", may_be_unknown=True
        ),
        instant(
            "shape",
            "book_price_bps",
            "bps",
            f"1e4 (Σ price lots / Σ lots over {DEEP} levels of both sides - mid) / mid",
            CHW_2009,
            mirror="odd",
        ),
        instant(
            "shape",
            "weighted_mid_deep_bps",
            "bps",
            f"1e4 ((Pa B + Pb A) / (A + B) - mid) / mid, P mean price and A, B lots of {DEEP} levels of a side",
            CHW_2009,
            mirror="odd",
        ),
        instant(
            "shape",
            "gap_ticks",
            "ticks",
            "mean of both sides' distance from the best to the second level",
            FARMER_2004,
            price_power=1,
            may_be_unknown=True,
        ),
        instant(
            "shape",
            "gap_imbalance",
            "1",
            "(ask - bid) / sum of these gaps",
            FARMER_2004,
            mirror="odd",
            may_be_unknown=True,
        ),
        instant("shape", "wall_size", "1", f"ln(largest / mean lots of a level) over {DEEP} levels a side", BHS_1995),
        instant(
            "shape",
            "wall_imbalance",
            "1",
            "(ask - bid) / sum of the distances from the mid to each side's largest level, the nearest of equals",
            BHS_1995,
            mirror="odd",
            may_be_unknown=True,
        ),
        windowed(
            "shape",
            "spread_mean_ticks",
            "ticks",
            f"time-weighted mean of the spread over {span}",
            STOLL_2000,
            ns,
            price_power=1,
        ),
        windowed(
            "shape",
            "spread_relative",
            "1",
            f"spread / its time-weighted mean over {span}",
            STOLL_2000,
            ns,
            may_be_unknown=True,
        ),
        windowed("shape", "taking_cost_bps", "bps", f"mean of buying's and selling's {cost}", IBK_2000, ns),
        windowed("shape", "taking_cost_gap_bps", "bps", f"buying's - selling's {cost}", IBK_2000, ns, mirror="odd"),
    ]


@njit(cache=True)
def _bend(state: FeatureState, side: int, mid2: int) -> float:
    """Return the quadratic coefficient of cumulated share on distance share; NaN with fewer than three levels."""
    prices, sizes, count = state.book.price, state.book.size, state.book.count[side]
    levels = min(count, DEEP)
    reach = abs(2 * prices[side, count - levels] - mid2)
    if levels < 3 or reach == 0:
        return np.nan
    lots = 0
    for m in range(levels):
        lots += sizes[side, count - 1 - m]
    x2 = x3 = x4 = xy = x2y = 0.0
    cumulated = 0
    for m in range(levels):
        cumulated += sizes[side, count - 1 - m]
        x = abs(2 * prices[side, count - 1 - m] - mid2) / reach
        y = cumulated / lots
        x2 += x * x
        x3 += x * x * x
        x4 += x * x * x * x
        xy += x * y
        x2y += x * x * y
    return (x2 * x2y - x3 * xy) / (x2 * x4 - x3 * x3)


@njit(cache=True)
def _taking_cost(state: FeatureState, side: int, lots: float, mid2: int) -> float:
    """Return the mean distance from the mid, in half units, of taking lots from a side's levels."""
    prices, sizes, count = state.book.price, state.book.size, state.book.count[side]
    left = lots
    paid = 0.0
    for m in range(min(count, DEEP)):
        taken = min(left, float(sizes[side, count - 1 - m]))
        paid += taken * abs(2 * prices[side, count - 1 - m] - mid2)
        left -= taken
        if left <= 0.0:
            break
    return paid / (lots - left)


@njit(cache=True)
def write_shape(plan: Plan, state: FeatureState, now: int, out: Float64, column: int) -> None:
    """Write the family from ``column`` on."""
    if not plan.has_book:
        return
    prices, sizes, counts = state.book.price, state.book.size, state.book.count
    mid2 = prices[0, counts[0] - 1] + prices[1, counts[1] - 1]
    lots = np.zeros(2, np.int64)
    distance = np.zeros(2, np.int64)
    wall = np.zeros(2, np.int64)
    wall_at = np.zeros(2, np.int64)
    for side in range(2):
        for m in range(min(counts[side], DEEP)):
            k = counts[side] - 1 - m
            lots[side] += sizes[side, k]
            distance[side] += abs(2 * prices[side, k] - mid2) * sizes[side, k]
            if sizes[side, k] > wall[side]:
                wall[side] = sizes[side, k]
                wall_at[side] = abs(2 * prices[side, k] - mid2)
    both = lots[0] + lots[1]
    slope = np.zeros(2)
    for side in range(2):
        cumulated = 0
        x_d = 0.0
        x_x = 0.0
        for m in range(min(counts[side], DEEP)):
            k = counts[side] - 1 - m
            cumulated += sizes[side, k]
            x = 1e4 * abs(2 * prices[side, k] - mid2) / mid2
            x_d += x * cumulated / both
            x_x += x * x
        slope[side] = x_d / x_x if x_x > 0.0 else np.nan
    out[column] = 0.5 * (slope[0] + slope[1])
    out[column + 1] = (slope[0] - slope[1]) / (slope[0] + slope[1])
    bid_bend = _bend(state, 0, mid2)
    ask_bend = _bend(state, 1, mid2)
    out[column + 2] = 0.5 * (bid_bend + ask_bend)
    out[column + 3] = bid_bend - ask_bend
    out[column + 4] = 1e4 * (distance[1] - distance[0]) / both / mid2
    out[column + 5] = 1e4 * (distance[1] / lots[1] * lots[0] - distance[0] / lots[0] * lots[1]) / both / mid2
    if counts[0] > 1 and counts[1] > 1:
        bid_gap = prices[0, counts[0] - 1] - prices[0, counts[0] - 2]
        ask_gap = prices[1, counts[1] - 2] - prices[1, counts[1] - 1]
        out[column + 6] = 0.5 * (bid_gap + ask_gap) / plan.tick_units
        out[column + 7] = (ask_gap - bid_gap) / (ask_gap + bid_gap)
    levels = min(counts[0], DEEP) + min(counts[1], DEEP)
    out[column + 8] = math.log(max(wall[0], wall[1]) * levels / both)
    if wall_at[0] + wall_at[1] > 0:
        out[column + 9] = (wall_at[1] - wall_at[0]) / (wall_at[1] + wall_at[0])
    last = len(plan.windows) - 1
    if window_is_full(plan, state, last, now):
        base = window_base(state, last)
        spread = prices[1, counts[1] - 1] - prices[0, counts[0] - 1]
        held_ns = state.total[E_SPREAD_NS] - base[E_SPREAD_NS]
        held = state.total[E_SPREAD] - base[E_SPREAD]
        if held_ns > 0:
            out[column + 10] = held / held_ns / plan.tick_units
            if held > 0:
                out[column + 11] = spread * (held_ns / held)
        depth = mean_best_depth(plan, state, now)
        if not np.isnan(depth):
            buy = _taking_cost(state, 1, TAKEN * depth, mid2)
            sell = _taking_cost(state, 0, TAKEN * depth, mid2)
            out[column + 12] = 0.5e4 * (buy + sell) / mid2
            out[column + 13] = 1e4 * (buy - sell) / mid2

"""Depth: how the lots of ten levels stand against each other, bid against ask and near against far."""

import math
from typing import Final

import numpy as np
from numba import njit

from features.entry import DEEP, LEVELS, MIDDLE, FeatureEntry, span_name
from features.families.windows import instant, window_base, window_is_full, windowed
from features.state import C_DEPTH_BEST, E_BID_DEPTH, FeatureState, Float64, Plan
from marketdata.settings import SamplingSettings

CJP_2015: Final = (
    "Cartea, Jaimungal, Penalva (2015). Algorithmic and High-Frequency Trading. Cambridge University Press."
)
GB_2016: Final = (
    "Gould, Bonart (2016). Queue imbalance as a one-tick-ahead price predictor. Market Micro. and Liq. 2(2)."
)
CHW_2009: Final = (
    "Cao, Hansch, Wang (2009). The information content of an open limit-order book. J. Futures Markets 29(1)."
)
SHANNON_1948: Final = "Shannon (1948). A mathematical theory of communication. Bell System Technical J. 27(3)."
FIRST_LEVEL: Final = 4
"""The core has the levels before."""


def entries(sampling: SamplingSettings) -> list[FeatureEntry]:
    """Return the family's entries in column order."""
    ns = sampling.windows_ns[MIDDLE]
    level = "(bid lots - ask lots) / (bid lots + ask lots) at level {}"
    return [
        *(
            instant(
                "depth",
                f"depth_imbalance_l{m}",
                "1",
                level.format(m),
                CHW_2009,
                key="depth_imbalance_level",
                mirror="odd",
                may_be_unknown=True,
            )
            for m in range(FIRST_LEVEL, DEEP + 1)
        ),
        instant(
            "depth",
            "depth_imbalance_deep",
            "1",
            f"(bid lots - ask lots) / (bid lots + ask lots) over {DEEP} levels",
            CHW_2009,
            key="depth_imbalance_total",
            mirror="odd",
        ),
        instant(
            "depth",
            "depth_imbalance_weighted",
            "1",
            f"Σ_m e^(-(m-1)/2) (bid_m - ask_m) / Σ_m e^(-(m-1)/2) (bid_m + ask_m) over {DEEP} levels",
            CJP_2015,
            mirror="odd",
        ),
        instant(
            "depth",
            "book_pressure",
            "1",
            f"(B - A) / (B + A), each Σ lots / |price - mid| over {DEEP} levels of a side; NaN on a locked book",
            CHW_2009,
            mirror="odd",
            may_be_unknown=True,
        ),
        instant("depth", "touch_share", "1", f"best bid and ask lots / lots of {DEEP} levels", CHW_2009),
        instant(
            "depth",
            "depth_entropy",
            "1",
            f"-Σ s ln s / ln n over the n levels there are of {DEEP} a side, s a level's share of the lots",
            SHANNON_1948,
        ),
        windowed(
            "depth",
            "imbalance_mean",
            "1",
            f"(Σ best bid lots - Σ best ask lots) / their sum over group ends in {span_name(ns)}",
            GB_2016,
            ns,
            mirror="odd",
        ),
    ]


@njit(cache=True)
def write_depth(plan: Plan, state: FeatureState, now: int, out: Float64, column: int) -> None:
    """Write the family from ``column`` on."""
    if not plan.has_book:
        return
    prices, sizes, counts = state.book.price, state.book.size, state.book.count
    bids, asks = counts[0], counts[1]
    mid2 = prices[0, bids - 1] + prices[1, asks - 1]
    total = np.zeros(2, np.int64)
    weighted = np.zeros(2)
    pressure = np.zeros(2)
    is_locked = prices[0, bids - 1] == prices[1, asks - 1]
    decay = math.exp(-0.5)
    for side in range(2):
        weight = 1.0
        for m in range(min(counts[side], DEEP)):
            lots = sizes[side, counts[side] - 1 - m]
            total[side] += lots
            weighted[side] += weight * lots
            if not is_locked:
                pressure[side] += lots / abs(2 * prices[side, counts[side] - 1 - m] - mid2)
            weight *= decay
    for m in range(LEVELS - 2, DEEP):
        bid = sizes[0, bids - 1 - m] if m < bids else 0
        ask = sizes[1, asks - 1 - m] if m < asks else 0
        if bid + ask > 0:
            out[column + m - 3] = (bid - ask) / (bid + ask)
    column += DEEP - 3
    lots = total[0] + total[1]
    out[column] = (total[0] - total[1]) / lots
    out[column + 1] = (weighted[0] - weighted[1]) / (weighted[0] + weighted[1])
    if not is_locked:
        out[column + 2] = (pressure[0] - pressure[1]) / (pressure[0] + pressure[1])
    out[column + 3] = (sizes[0, bids - 1] + sizes[1, asks - 1]) / lots
    entropy = 0.0
    levels = min(bids, DEEP) + min(asks, DEEP)
    for side in range(2):
        for m in range(min(counts[side], DEEP)):
            share = sizes[side, counts[side] - 1 - m] / lots
            entropy -= share * math.log(share)
    out[column + 4] = entropy / math.log(levels)
    if window_is_full(plan, state, MIDDLE, now):
        base = window_base(state, MIDDLE)
        bid_lots = state.total[E_BID_DEPTH] - base[E_BID_DEPTH]
        both = state.total[C_DEPTH_BEST] - base[C_DEPTH_BEST]
        out[column + 5] = (2 * bid_lots - both) / max(both, 1)

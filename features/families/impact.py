"""Impact: what volume does to the price, and how one-sided volume is on its own clock."""

import math
from typing import Final

import numpy as np
from numba import njit

from features.entry import CELLS, FeatureEntry, span_name
from features.families.windows import windowed
from features.state import BUCKETS, X_BUCKETS, FeatureState, Float64, Plan
from marketdata.settings import SamplingSettings

ELO_2012: Final = "Easley, López de Prado, O'Hara (2012). Flow toxicity and liquidity. Rev. Fin. Studies 25(5)."
AMIHUD_2002: Final = "Amihud (2002). Illiquidity and stock returns. J. Financial Markets 5(1)."
HASBROUCK_2009: Final = "Hasbrouck (2009). Trading costs and returns for U.S. equities. J. Finance 64(3)."
KYLE_1985: Final = "Kyle (1985). Continuous auctions and insider trading. Econometrica 53(6)."
FEWEST: Final = 5
"""VPIN is NaN with fewer closed buckets than this."""


def entries(sampling: SamplingSettings) -> list[FeatureEntry]:
    """Return the family's entries in column order."""
    ns = sampling.windows_ns[-1]
    span = span_name(ns)
    cell = ns // CELLS
    grid = {"warmup_ns": CELLS * cell, "memory_ns": (CELLS + 1) * cell, "needs_book": False, "may_be_unknown": True}
    bucket = (
        f"the newest {BUCKETS} volume buckets opened in the last two {span}, each a {BUCKETS}th of the lots of {span}"
    )
    return [
        windowed(
            "impact",
            "vpin",
            "1",
            f"Σ |buy - sell lots| / Σ lots over {bucket} at its opening; NaN with fewer than {FEWEST} closed",
            ELO_2012,
            ns,
            needs_book=False,
            warmup_ns=0,
            memory_ns=3 * ns,
            lots_power=None,
            joins="phase",
            may_be_unknown=True,
            name="vpin",
        ),
        windowed(
            "impact",
            "amihud_bps",
            "bps",
            f"mean over the cells with lots, of {CELLS} of {span}, of 1e4 |move| / mid · (mean lots of those cells / its lots)",
            AMIHUD_2002,
            ns,
            name=f"amihud_bps_{span}",
            **grid,  # type: ignore[arg-type]  # keywords of windowed, written once
        ),
        windowed(
            "impact",
            "hasbrouck_lambda",
            "bps",
            f"slope through the origin of the move (bps) on sign(v) sqrt(|v| / mean |v|), v signed lots, {CELLS} cells of {span}",
            HASBROUCK_2009,
            ns,
            name=f"hasbrouck_lambda_{span}",
            **grid,  # type: ignore[arg-type]  # as above
        ),
        windowed(
            "impact",
            "impact_fit",
            "1",
            f"(Σ move v)² / (Σ move² Σ v²) over {CELLS} cells of {span}: the share of moves that Kyle's line explains",
            KYLE_1985,
            ns,
            name=f"impact_fit_{span}",
            **grid,  # type: ignore[arg-type]  # as above
        ),
    ]


@njit(cache=True)
def write_impact(plan: Plan, state: FeatureState, now: int, out: Float64, column: int) -> None:
    """Write the family from ``column`` on."""
    w = len(plan.windows) - 1
    closed = state.extra[X_BUCKETS]
    one_sided = 0
    lots = 0
    n = 0
    while n < min(closed, BUCKETS):
        bucket = state.buckets[(closed - 1 - n) % BUCKETS]
        if bucket[2] <= now - 2 * plan.windows[w]:
            break
        one_sided += abs(bucket[0])
        lots += bucket[1]
        n += 1
    if n >= FEWEST:
        out[column] = one_sided / lots
    if state.grid[w, 0] < 0 or state.grid[w, 2] < CELLS:
        return
    # From the oldest cell on: a fold that joined late holds them in other places, and sums of floats have an order.
    cells = np.empty((CELLS, 3), np.int64)
    for k in range(CELLS):
        for c in range(3):
            cells[k, c] = state.cells[w, (state.grid[w, 3] + k) % CELLS, c]
    mid2 = float(state.grid[w, 1])
    volume = 0
    traded = 0
    flow = 0
    cross = 0.0
    moves = 0.0
    squares = 0.0
    for k in range(CELLS):
        volume += cells[k, 2]
        traded += 1 if cells[k, 2] > 0 else 0
        flow += abs(cells[k, 1])
        cross += float(cells[k, 0]) * cells[k, 1]
        moves += float(cells[k, 0]) * cells[k, 0]
        squares += float(cells[k, 1]) * cells[k, 1]
    if traded > 0:
        illiquid = 0.0
        for k in range(CELLS):
            if cells[k, 2] > 0:
                illiquid += abs(cells[k, 0]) / cells[k, 2]
        out[column + 1] = 1e4 * illiquid / traded * (volume / traded) / mid2
    if flow > 0:
        mean = flow / CELLS
        along = 0.0
        for k in range(CELLS):
            v = cells[k, 1]
            along += cells[k, 0] * (math.sqrt(v / mean) if v > 0 else -math.sqrt(-v / mean))
        out[column + 2] = 1e4 * along / CELLS / mid2
        if moves > 0.0:
            out[column + 3] = cross * cross / (moves * squares)

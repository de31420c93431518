"""Levels: order flow imbalance level by level, which the integrated form is fitted on."""

from typing import Final

from numba import njit

from features.entry import DEEP, LEVELS, FeatureEntry, span_name
from features.families.windows import window_base, window_is_full, windowed
from features.state import C_DEPTH_ALL, C_LEVELS, C_OFI, E_DEPTH, E_LEVELS, E_OFI, FeatureState, Float64, Plan
from marketdata.settings import SamplingSettings

CCZ_2023: Final = "Cont, Cucuringu, Zhang (2023). Cross-impact of order flow imbalance. Quantitative Finance 23(10)."


def entries(sampling: SamplingSettings) -> list[FeatureEntry]:
    """Return the family's entries in column order: window by window, level by level."""
    return [
        windowed(
            "levels",
            "ofi_level",
            "1",
            f"Σ e_n at level {m} over {span_name(ns)} / mean lots of a level, {DEEP} levels",
            CCZ_2023,
            ns,
            mirror="odd",
            name=f"ofi_l{m}_{span_name(ns)}",
        )
        for ns in sampling.windows_ns
        for m in range(1, DEEP + 1)
    ]


@njit(cache=True)
def write_levels(plan: Plan, state: FeatureState, now: int, out: Float64, column: int) -> None:
    """Write the family from ``column`` on."""
    total = state.total
    for w in range(len(plan.windows)):
        if not plan.has_book or not window_is_full(plan, state, w, now):
            continue
        base = window_base(state, w)
        levels = total[C_LEVELS] - base[C_LEVELS] + total[E_LEVELS] - base[E_LEVELS]
        lots = total[C_DEPTH_ALL] - base[C_DEPTH_ALL] + total[E_DEPTH] - base[E_DEPTH]
        if levels == 0 or lots == 0:
            continue
        depth = lots / levels
        for m in range(DEEP):
            k = C_OFI + m if m < LEVELS else E_OFI + m - LEVELS
            out[column + w * DEEP + m] = (total[k] - base[k]) / depth

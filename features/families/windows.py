"""What the families share: the ring row at which a window began, and usual depth."""

from typing import Final

import numpy as np
from numba import njit

from features.entry import FeatureEntry, Joins, span_name
from features.state import C_DEPTH_BEST, C_GROUPS, FeatureState, Int64, Plan

FEW_AGGRESSORS: Final = 8
"""Statistics of single trades are NaN with fewer aggressors than this."""


@njit(cache=True)
def window_base(state: FeatureState, w: int) -> Int64:
    """Return the totals of the ring row at which window ``w`` began."""
    return state.ring[state.tails[w] & (len(state.ring_ts) - 1)]


@njit(cache=True)
def window_is_full(plan: Plan, state: FeatureState, w: int, now: int) -> bool:
    """Return whether the record reaches back to the beginning of window ``w``."""
    return state.ring_ts[state.tails[w] & (len(state.ring_ts) - 1)] <= now - plan.windows[w]


@njit(cache=True)
def mean_best_depth(plan: Plan, state: FeatureState, now: int) -> float:
    """Return the mean lots of a best quote at group ends in the longest window; NaN until it is full or without a book."""
    w = len(plan.windows) - 1
    if not plan.has_book or not window_is_full(plan, state, w, now):
        return np.nan
    base = window_base(state, w)
    groups = state.total[C_GROUPS] - base[C_GROUPS]
    lots = state.total[C_DEPTH_BEST] - base[C_DEPTH_BEST]
    return lots / (2.0 * groups) if groups > 0 and lots > 0 else np.nan


def windowed(
    family: str,
    key: str,
    unit: str,
    formula: str,
    reference: str,
    ns: int,
    *,
    needs_book: bool = True,
    mirror: str = "even",
    memory_ns: int | None = None,
    warmup_ns: int | None = None,
    price_power: int | None = 0,
    lots_power: int | None = 0,
    joins: Joins = "exact",
    may_be_unknown: bool = False,
    name: str | None = None,
) -> FeatureEntry:
    """Return the entry of a column that sums a window of ``ns``; its name carries the window unless it is given."""
    return FeatureEntry(
        name=name or f"{key}_{span_name(ns)}",
        unit=unit,
        formula=formula,
        reference=reference,
        warmup_ns=ns if warmup_ns is None else warmup_ns,
        memory_ns=ns if memory_ns is None else memory_ns,
        needs_book=needs_book,
        family=family,
        key=key,
        price_power=price_power,
        lots_power=lots_power,
        mirror=mirror,
        joins=joins,
        may_be_unknown=may_be_unknown,
    )


def instant(
    family: str,
    name: str,
    unit: str,
    formula: str,
    reference: str,
    *,
    key: str | None = None,
    mirror: str = "even",
    price_power: int | None = 0,
    may_be_unknown: bool = False,
) -> FeatureEntry:
    """Return the entry of a column that only the book at the moment decides."""
    return FeatureEntry(
        name,
        unit,
        formula,
        reference,
        warmup_ns=0,
        memory_ns=0,
        needs_book=True,
        family=family,
        key=key or name,
        price_power=price_power,
        mirror=mirror,
        may_be_unknown=may_be_unknown,
    )

"""The row of the further families: each writes its columns where the plan says, or nothing."""

from typing import Final

from numba import njit

from features.families import FAMILIES
from features.families.depth import write_depth
from features.families.flow import write_flow
from features.families.impact import write_impact
from features.families.levels import write_levels
from features.families.momentum import write_momentum
from features.families.prints import write_prints
from features.families.shape import write_shape
from features.families.trades import write_trades
from features.families.volatility import write_volatility
from features.state import FeatureState, Float64, Plan

_ORDER: Final = tuple(FAMILIES)
DEPTH: Final = _ORDER.index("depth")
SHAPE: Final = _ORDER.index("shape")
LEVELS: Final = _ORDER.index("levels")
FLOW: Final = _ORDER.index("flow")
TRADES: Final = _ORDER.index("trades")
PRINTS: Final = _ORDER.index("prints")
IMPACT: Final = _ORDER.index("impact")
VOLATILITY: Final = _ORDER.index("volatility")
MOMENTUM: Final = _ORDER.index("momentum")


@njit(cache=True)
def write_further(plan: Plan, state: FeatureState, now: int, out: Float64) -> None:
    """Write the columns of every family that is switched on; what is not known yet stays NaN."""
    first = plan.first
    if first[DEPTH] >= 0:
        write_depth(plan, state, now, out, first[DEPTH])
    if first[SHAPE] >= 0:
        write_shape(plan, state, now, out, first[SHAPE])
    if first[LEVELS] >= 0:
        write_levels(plan, state, now, out, first[LEVELS])
    if first[FLOW] >= 0:
        write_flow(plan, state, now, out, first[FLOW])
    if first[TRADES] >= 0:
        write_trades(plan, state, now, out, first[TRADES])
    if first[PRINTS] >= 0:
        write_prints(plan, state, now, out, first[PRINTS])
    if first[IMPACT] >= 0:
        write_impact(plan, state, now, out, first[IMPACT])
    if first[VOLATILITY] >= 0:
        write_volatility(plan, state, now, out, first[VOLATILITY])
    if first[MOMENTUM] >= 0:
        write_momentum(plan, state, now, out, first[MOMENTUM])

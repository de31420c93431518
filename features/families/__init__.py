"""The families of raw features beside the core, written out; each file holds a family's columns and its kernel."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from features.entry import FeatureEntry
from features.families import depth, flow, impact, levels, momentum, prints, shape, trades, volatility
from marketdata.settings import SamplingSettings

CORE: Final = "core"
ALL: Final = "all"
LEAD_LAG: Final = "lead_lag"
"""Columns made of several instruments' rows: the assembler's, not the kernel's (``features.lead_lag``)."""

FAMILIES: Final[Mapping[str, Callable[[SamplingSettings], list[FeatureEntry]]]] = {
    "depth": depth.entries,
    "shape": shape.entries,
    "levels": levels.entries,
    "flow": flow.entries,
    "trades": trades.entries,
    "prints": prints.entries,
    "impact": impact.entries,
    "volatility": volatility.entries,
    "momentum": momentum.entries,
}
"""Entries of each family under a sampling setting, in column order; the order of the families is that of the kernel."""


def chosen_families(names: Sequence[str]) -> tuple[str, ...]:
    """Return the kernel's families beside the core that settings ask for, in kernel order.

    Raises
    ------
    ValueError
        If a name is no family.
    """
    known = (CORE, *FAMILIES, LEAD_LAG, ALL)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"sampling.families: unknown {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(FAMILIES) if ALL in names else tuple(name for name in FAMILIES if name in names)


def has_lead_lag(names: Sequence[str]) -> bool:
    """Return whether settings ask for the columns made of several instruments' rows."""
    return ALL in names or LEAD_LAG in names

"""What the catalogue says about one column, and the scales that all features share."""

import math
from dataclasses import dataclass
from typing import Final, Literal

from marketdata.clock import NS_PER_HOUR, NS_PER_MS, NS_PER_S, NS_PER_US

LEVELS: Final = 5
"""Book levels a side that the core features look at."""

DEEP: Final = 10
"""Book levels a side that the further families look at."""

CELLS: Final = 24
"""Cells of the fixed time grid inside each window (realised volatility, Kyle's lambda, toxicity)."""

MIDDLE: Final = 1
"""Index of the window that features of the middle scale use: the second."""

FORGOTTEN: Final = 1e-3
"""An exponentially decayed count is warm, and forgotten, at the lag where the weight is below this."""

Joins = Literal["exact", "decays", "phase"]


def span_name(ns: int) -> str:
    """Return a short name of a span: ``1s``, ``250ms``, ``24h``."""
    for unit, suffix in ((NS_PER_HOUR, "h"), (NS_PER_S, "s"), (NS_PER_MS, "ms"), (NS_PER_US, "us")):
        if ns % unit == 0:
            return f"{ns // unit}{suffix}"
    return f"{ns}ns"


def forget_ns(decay_per_s: float) -> int:
    """Return the lag at which an exponential weight falls below :data:`FORGOTTEN`."""
    return math.ceil(-math.log(FORGOTTEN) / decay_per_s * NS_PER_S)


@dataclass(frozen=True, slots=True)
class FeatureEntry:
    """One column of the feature rows, with the laws that it is held to.

    Attributes
    ----------
    name : str
        Column name.
    unit : str
        Unit of its values; ``1`` for pure numbers.
    formula : str
        What it is.
    reference : str
        Where it comes from; empty for the plain ones.
    warmup_ns : int
        How long after the start, or after a gap, it stays NaN at least.
    memory_ns : int
        How far back its value reaches.
    needs_book : bool
        Whether it is NaN on an instrument without a book.
    family : str
        The family that is switched on or off as one.
    key : str
        Name of its formula: columns that differ by window, level or decay share one.
    price_power : int or None
        Its values grow with this power of the prices while the tick stays; None where they do not scale by a power.
    lots_power : int or None
        The same for sizes.
    mirror : str
        What bids and asks exchanged make of it: ``odd`` (the sign flips), ``even`` (nothing), or the name of the column that it
        becomes.
    joins : str
        What a fold that joined late has once the memory has passed: ``exact`` the same bits, ``decays`` the same up to the
        forgotten weight, ``phase`` another value, because its buckets began elsewhere.
    may_be_unknown : bool
        Whether it can be NaN on a two-sided book although it is warm (a thin book, no trades, no moves).
    """

    name: str
    unit: str
    formula: str
    reference: str
    warmup_ns: int
    memory_ns: int
    needs_book: bool
    family: str = "core"
    key: str = ""
    price_power: int | None = 0
    lots_power: int | None = 0
    mirror: str = "even"
    joins: Joins = "exact"
    may_be_unknown: bool = False

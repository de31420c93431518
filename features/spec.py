"""The specification of the raw features: names in kernel order, memory, and the hash that stands for them."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from features.aggressors import KIND_NAMES
from features.entry import CELLS, DEEP, FORGOTTEN, LEVELS, MIDDLE, FeatureEntry, forget_ns, span_name
from features.families import FAMILIES, chosen_families
from marketdata.settings import SamplingSettings

if TYPE_CHECKING:
    from features.own import OwnColumns

__all__ = ["CELLS", "DEEP", "FORGOTTEN", "LEVELS", "MIDDLE", "SPEC_VERSION", "FeatureSpec", "forget_ns", "span_name"]

SPEC_VERSION: Final = 2
"""Goes up whenever a formula of the kernel changes: old bundles then refuse the new rows."""


@dataclass(frozen=True)
class FeatureSpec:
    """What the raw features are, for one sampling setting; the same for every instrument, because models are pooled.

    Raises
    ------
    ValueError
        If there are not two windows or more, positive and strictly ascending, a decay is not positive, or a family is unknown.
    """

    sampling: SamplingSettings
    time_of_day: bool

    def __post_init__(self) -> None:
        windows = self.sampling.windows_ns
        if len(windows) < 2 or windows[0] < CELLS or any(b <= a for a, b in pairwise(windows)):
            raise ValueError(f"windows_ns must be two or more, positive and strictly ascending, not {windows}")
        chosen_families(self.sampling.families)
        if not self.sampling.decays_per_s or min(self.sampling.decays_per_s) <= 0:
            raise ValueError(f"decays_per_s must be positive, not {self.sampling.decays_per_s}")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the features: those of the kernel in its order, then those of one's own."""
        return self.kernel_columns + (self.own.names if self.own else ())

    @cached_property
    def own(self) -> "OwnColumns | None":
        """The features of one's own that ``sampling.own`` names; None where there are none."""
        if not self.sampling.own:
            return None
        from features.own import load_columns

        return load_columns([Path(path) for path in self.sampling.own], self.kernel_columns)

    @cached_property
    def kernel_columns(self) -> tuple[str, ...]:
        """Names of the features that the kernel writes, in its order."""
        spans = [span_name(ns) for ns in self.sampling.windows_ns]
        middle, longest = spans[MIDDLE], spans[-1]
        names = ["spread_ticks", "spread_bps", "depth_imbalance_l1", "depth_imbalance_l2", "depth_imbalance_l3"]
        names += ["depth_imbalance_total", "weighted_mid_bps", f"depth_relative_{longest}"]
        for family in ("mid_return_bps", "ofi_best", "ofi_multi", "trade_imbalance", "trade_intensity"):
            names += [f"{family}_{span}" for span in spans]
        names += [f"realised_vol_bps_{span}" for span in spans]
        names += [f"bipower_share_{longest}", f"toxicity_{longest}", f"kyle_lambda_{longest}"]
        names += [f"arrival_imbalance_{middle}", f"cancel_imbalance_{middle}", f"signed_volume_{longest}"]
        names += [f"momentum_{middle}", "last_trade_sign", "mid_age"]
        names += [f"hawkes_s_{kind}_{k}" for kind in KIND_NAMES for k in range(len(self.sampling.decays_per_s))]
        if self.time_of_day:
            names += ["time_of_day", "time_of_day_sin", "time_of_day_cos"]
        return (*names, *(entry.name for entry in self.further))

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Names of the families beside the core, in the order of their columns."""
        return chosen_families(self.sampling.families)

    @cached_property
    def further(self) -> tuple[FeatureEntry, ...]:
        """Catalogue entries of the families beside the core, in column order."""
        return tuple(entry for name in self.families for entry in FAMILIES[name](self.sampling))

    @cached_property
    def first_columns(self) -> npt.NDArray[np.int64]:
        """First column of each family of ``FAMILIES``, -1 where it is switched off; int64 of shape (families,)."""
        names = [entry.family for entry in self.further]
        core = len(self.kernel_columns) - len(names)
        return np.array([core + names.index(name) if name in names else -1 for name in FAMILIES], np.int64)

    @cached_property
    def memory_ns(self) -> int:
        """How far back any raw feature reaches: the longest window and one grid cell, or the slowest decay, or a family's."""
        longest = self.sampling.windows_ns[-1]
        core = max(longest + longest // CELLS + 1, max(forget_ns(decay) for decay in self.sampling.decays_per_s))
        own = self.own.features if self.own else ()
        return max(core, *(entry.memory_ns for entry in (*self.further, *(feature.entry() for feature in own))), 0)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides what a column means."""
        sampling = self.sampling
        parts: tuple[object, ...] = (
            SPEC_VERSION,
            self.columns,
            sampling.clock,
            sampling.every,
            sampling.windows_ns,
            sampling.decays_per_s,
            LEVELS,
            DEEP,
            CELLS,
        )
        if self.own:
            parts += (self.own.sha256, tuple(feature.memory_ns for feature in self.own.features))
        return hashlib.sha256(repr(parts).encode()).hexdigest()

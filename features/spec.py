"""The specification of the raw features: names in kernel order, memory, and the hash that stands for them."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from features.aggressors import KIND_NAMES
from marketdata.clock import NS_PER_HOUR, NS_PER_MS, NS_PER_S, NS_PER_US
from marketdata.settings import SamplingSettings

SPEC_VERSION: Final = 1
"""Goes up whenever a formula of the kernel changes: old bundles then refuse the new rows."""

LEVELS: Final = 5
"""Book levels a side that features look at."""

CELLS: Final = 24
"""Cells of the fixed time grid inside each window (realised volatility, Kyle's lambda, toxicity)."""

MIDDLE: Final = 1
"""Index of the window that features of the middle scale use: the second."""

FORGOTTEN: Final = 1e-3
"""An exponentially decayed count is warm, and forgotten, at the lag where the weight is below this."""


def span_name(ns: int) -> str:
    """Return a short name of a span: ``1s``, ``250ms``, ``24h``."""
    for unit, suffix in ((NS_PER_HOUR, "h"), (NS_PER_S, "s"), (NS_PER_MS, "ms"), (NS_PER_US, "us")):
        if ns % unit == 0:
            return f"{ns // unit}{suffix}"
    return f"{ns}ns"


def forget_ns(decay_per_s: float) -> int:
    """Return the lag at which an exponential weight falls below :data:`FORGOTTEN`."""
    return math.ceil(-math.log(FORGOTTEN) / decay_per_s * NS_PER_S)


@dataclass(frozen=True)
class FeatureSpec:
    """What the raw features are, for one sampling setting; the same for every instrument, because models are pooled.

    Raises
    ------
    ValueError
        If there are not two windows or more, positive and strictly ascending, or a decay is not positive.
    """

    sampling: SamplingSettings
    time_of_day: bool

    def __post_init__(self) -> None:
        windows = self.sampling.windows_ns
        if len(windows) < 2 or windows[0] < CELLS or any(b <= a for a, b in pairwise(windows)):
            raise ValueError(f"windows_ns must be two or more, positive and strictly ascending, not {windows}")
        if not self.sampling.decays_per_s or min(self.sampling.decays_per_s) <= 0:
            raise ValueError(f"decays_per_s must be positive, not {self.sampling.decays_per_s}")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the features, in the order in which the kernel writes them."""
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
        return tuple(names)

    @cached_property
    def memory_ns(self) -> int:
        """How far back any raw feature reaches: the longest window and one grid cell, or the slowest decay."""
        longest = self.sampling.windows_ns[-1]
        return max(longest + longest // CELLS + 1, max(forget_ns(decay) for decay in self.sampling.decays_per_s))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides what a column means."""
        sampling = self.sampling
        parts = (
            SPEC_VERSION,
            self.columns,
            sampling.every_events,
            sampling.windows_ns,
            sampling.decays_per_s,
            LEVELS,
            CELLS,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()

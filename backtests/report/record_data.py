"""Data and machine in a night's record: partitions, features, labels, signals, stages, timings."""

from dataclasses import dataclass
from datetime import date
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionQuality:
    """How the audit of one partition went."""

    asset: str
    day: date
    symbol: str | None
    status: Literal["published", "quarantined", "missing"]
    rows: int = 0
    checks_passed: int = 0
    checks_failed: int = 0
    bad_rows: int = 0
    reasons: tuple[str, ...] = ()
    """Blocking failures (quarantined) or warnings (published), in words."""
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSummary:
    """Distribution of one raw feature over the night's training rows."""

    name: str
    family: str = ""
    unit: str = ""
    missing_share: float | None = None
    mean: float | None = None
    sd: float | None = None
    p01: float | None = None
    p50: float | None = None
    p99: float | None = None
    histogram: tuple[int, ...] = ()
    """Counts in equal bins between p01 and p99, the tails in the outer bins."""
    psi: float | None = None
    """Population stability index of the night's session against the sessions before it; None where either has few values."""
    wasserstein_sd: float | None = None
    """Wasserstein distance between the same two, in standard deviations of the sessions before."""
    drift: Literal["", "stable", "watch", "drifted", "too few values"] = ""
    """Empty where there is no session before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelShare:
    """How the labels of one instrument are spread."""

    symbol: str
    down: int
    flat: int
    up: int
    missing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFamily:
    """One family of slow signals: there, or absent with the reason."""

    kind: Literal["options", "social", "onchain"]
    present: bool
    rows: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRows:
    """Rows into and out of one stage of the night."""

    stage: str
    rows_in: int | None
    rows_out: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Wall time of one part of the night."""

    part: str
    seconds: float
    budget_s: float | None = None

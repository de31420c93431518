"""The decision and what it rests on: tests, conditions, league, controls, diagnoses."""

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

Kind = Literal["baseline", "candidate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkTest:
    """One test of the gate: all candidates against one benchmark.

    ``measure`` is ``net_pnl`` (cash and every baseline) or ``loss`` (log loss, every baseline); ``p_value`` the SPA's.
    """

    benchmark: str
    measure: Literal["net_pnl", "loss"]
    p_value: float | None
    best: str | None = None
    """Candidate that did best against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One necessary condition of the gate, with what was found."""

    name: str
    """``test days``, ``round trips``, ``share of days positive``, ``pessimistic net P&L``, …"""
    needed: str
    found: str
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionCard:
    """The promotion decision and what it rests on."""

    verdict: Literal["promote", "refuse"]
    reason: str
    """Reason code: ``promoted``, ``insufficient_evidence``, ``not_better_than_baseline:last_trade_sign``, …"""
    sentence: str = ""
    """The reason in words."""
    winner: str | None = None
    champion_before: str | None = None
    champion_after: str | None = None
    p_threshold: float | None = None
    tests: tuple[BenchmarkTest, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    sharpe: float | None = None
    """Per period of ``sharpe_period``, not annualised."""
    sharpe_error: float | None = None
    """Standard error (Newey-West / Lo)."""
    sharpe_period: str = ""
    psr: float | None = None
    dsr: float | None = None
    """Deflated with the raw number of trials (the gate's)."""
    dsr_effective: float | None = None
    trials: int | None = None
    trials_effective: float | None = None
    pbo: float | None = None
    pbo_note: str = ""
    """Why ``pbo`` is None, for example ``not computed: 5 configurations, 10 needed``."""
    gate_version: str = ""
    bundle_sha256: str | None = None
    record_hash: str = ""
    previous_hash: str = ""
    signed_by: str = ""
    """Fingerprint of the public key."""
    approved_by: str = "gate"
    decided_ns: int | None = None
    effective_from: date | None = None
    missing_instruments: dict[str, str] = field(default_factory=dict)
    """Symbol to reason (P3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeagueRow:
    """One model of the night over all test rows; scores are None where not defined."""

    name: str
    kind: Kind
    mcc: float | None = None
    balanced_accuracy: float | None = None
    macro_f1: float | None = None
    log_loss: float | None = None
    ece: float | None = None
    net_pnl: float | None = None
    """Screen, after fees, over all test days."""
    net_bps: float | None = None
    """Mean net edge a round trip."""
    round_trips: int | None = None
    positive_days: float | None = None
    fold_mcc: tuple[float | None, ...] = ()
    fold_net: tuple[float | None, ...] = ()
    """Net P&L a fold, in the order of the folds."""
    is_winner: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRow:
    """One control world: how often the gate promoted in it, tonight and since this gate version exists."""

    world: Literal["n0", "n1", "n2", "planted"]
    expects: Literal["refuse", "promote"]
    strength: float | None = None
    """Oracle's net edge in median spreads (planted worlds)."""
    runs: int = 0
    promoted: int = 0
    runs_total: int = 0
    promoted_total: int = 0
    bound_low: float | None = None
    bound_high: float | None = None
    """Exact binomial interval of the promotion rate, over all runs of this gate version."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationPoint:
    """One bin of a calibration curve."""

    predicted: float
    observed: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Calibration and confusion of one model over all test rows.

    ``confusion[i][j]`` counts rows of true class i called class j, classes in the order down, flat, up.
    """

    name: str
    kind: Kind
    confusion: tuple[tuple[int, ...], ...]
    up: tuple[CalibrationPoint, ...] = ()
    down: tuple[CalibrationPoint, ...] = ()
    ece: float | None = None

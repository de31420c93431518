"""What one night's report is made from: plain data, JSON there and back.

Every field is something that a person reads; the report itself computes only shapes that follow from the data (drawdown
from P&L, histograms from round trips). ``None`` means "not known" or "not measured" and is shown so, not as 0.
Times are nanoseconds UTC, money is in the quote currency, shares lie in [0, 1].
"""

import os
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec

RECORD_VERSION = 1

Kind = Literal["baseline", "candidate"]
StatusKind = Literal["champion", "shadow", "refused", "no_training"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The first line of the page: is there a champion, and if not, why not and what trades instead (R17).

    ``kind``: ``champion`` (promoted tonight or still standing), ``shadow`` (none; the best candidate trades in the
    shadow), ``refused`` (none and nothing trades), ``no_training`` (too few instruments or units to train tonight).
    """

    kind: StatusKind
    headline: str
    """One sentence, for example ``Champion: linear, promoted tonight``."""
    reason: str = ""
    """Why: the gate's reason code and its sentence (``insufficient_evidence: 1 of 5 test days``)."""
    model: str | None = None
    bundle_sha256: str | None = None
    since: date | None = None
    """First session that this champion could trade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What made the page."""

    version: str = ""
    commit: str = ""
    dirty: bool = False
    code_sha256: str = ""
    data_sha256: str = ""
    settings_sha256: str = ""
    libraries: dict[str, str] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PnlCurve:
    """Net P&L of one account on the evidence clock (shared by all curves of the record, ``Evidence.ts_ns``)."""

    name: str
    kind: Kind
    net: tuple[float, ...]
    """Change of net P&L in each interval, same length as the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Profit and loss of the walk-forward test days."""

    ts_ns: tuple[int, ...] = ()
    """End of each interval of the evidence clock (1 minute)."""
    curves: tuple[PnlCurve, ...] = ()
    shown: str | None = None
    """The curve that histogram and heatmap are of: the winner, else the best candidate."""
    round_trips: tuple[float, ...] = ()
    """Net P&L of each round trip of ``shown``."""
    capital: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BandRow:
    """The engine's result for one queue model and latency."""

    queue_model: str
    latency: str
    """``median``, ``p90``, ``×4``, …"""
    net_pnl: float
    fees: float | None = None
    fills: int | None = None
    round_trips: int | None = None
    max_drawdown: float | None = None
    role: Literal["", "pessimistic", "optimistic"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """The league with one signal family added to the tape alone, or taken from the whole."""

    family: str
    change: Literal["none", "added", "removed", "all"]
    model: str
    mcc: float | None = None
    log_loss: float | None = None
    net_pnl: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskEvent:
    """Something that the risk gate did."""

    ts_ns: int
    kind: str
    symbol: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperInstrument:
    """One instrument of the paper session."""

    symbol: str
    fills: int = 0
    bought_lots: int = 0
    sold_lots: int = 0
    end_position_lots: int = 0
    net_pnl: float = 0.0
    fees: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperSession:
    """One session traded on paper: by the champion, or by the best candidate in the shadow (never champion P&L)."""

    day: date
    mode: Literal["champion", "shadow"]
    model: str
    bundle_sha256: str = ""
    ts_ns: tuple[int, ...] = ()
    equity: tuple[float, ...] = ()
    """Net P&L since the open at each ``ts_ns``."""
    net_pnl: float = 0.0
    fees: float = 0.0
    forecasts: int = 0
    orders: int = 0
    fills: int = 0
    round_trips: int = 0
    refused_by_risk: int = 0
    max_drawdown: float | None = None
    risk_state: str = "NORMAL"
    risk_events: tuple[RiskEvent, ...] = ()
    instruments: tuple[PaperInstrument, ...] = ()
    forecast_p50_us: float | None = None
    """Wall time of one forecast, features included."""
    forecast_p99_us: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityCheck:
    """One comparison of the executor with the offline path."""

    name: str
    """A sentence that is true when it passed, for example ``replayed fills equal paper fills``."""
    passed: bool
    compared: int
    different: int
    detail: str = ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class NightRecord:
    """Everything that one night's page shows.

    Only ``day``, ``source`` and ``status`` are needed; a part that is not there is left out or named as absent.
    """

    day: date
    source: str
    status: Status
    time_zone: str = "UTC"
    currency: str = "USD"
    record_version: int = RECORD_VERSION
    generated_ns: int | None = None
    world: str = ""
    """For the simulated source: world and strength, for example ``market, signal +1.0``."""
    horizon_ns: int | None = None
    instruments: tuple[str, ...] = ()
    train_days: tuple[date, ...] = ()
    test_days: tuple[date, ...] = ()
    fold_unit: str = "session"
    notes: tuple[str, ...] = ()
    """Sentences for the top of the page (recorded source with one day: the table is a demonstration)."""
    build: Build = field(default_factory=Build)
    decision: DecisionCard | None = None
    league: tuple[LeagueRow, ...] = ()
    controls: tuple[ControlRow, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)
    band: tuple[BandRow, ...] = ()
    ablations: tuple[Ablation, ...] = ()
    paper: PaperSession | None = None
    parity: tuple[ParityCheck, ...] = ()
    partitions: tuple[PartitionQuality, ...] = ()
    features: tuple[FeatureSummary, ...] = ()
    labels: tuple[LabelShare, ...] = ()
    signals: tuple[SignalFamily, ...] = ()
    stages: tuple[StageRows, ...] = ()
    timings: tuple[Timing, ...] = ()
    wall_s: float | None = None
    peak_memory_bytes: int | None = None


class RecordError(ValueError):
    """A file is not a night record; the message names the file and the field."""


def save_record(record: NightRecord, path: Path) -> None:
    """Write the record as JSON, whole or not at all; NaN becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    os.replace(temporary, path)


def load_record(path: Path) -> NightRecord:
    """Return the record in a JSON file made by :func:`save_record`.

    Raises
    ------
    RecordError
        If the file cannot be read, is no JSON, or a field is missing or wrong.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=NightRecord)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    except msgspec.DecodeError as error:
        raise RecordError(f"{path}: not a night record: {error}") from error

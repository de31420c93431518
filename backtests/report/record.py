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

from backtests.report.record_data import FeatureSummary as FeatureSummary
from backtests.report.record_data import LabelShare as LabelShare
from backtests.report.record_data import PartitionQuality as PartitionQuality
from backtests.report.record_data import SignalFamily as SignalFamily
from backtests.report.record_data import StageRows as StageRows
from backtests.report.record_data import Timing as Timing
from backtests.report.record_decision import BenchmarkTest as BenchmarkTest
from backtests.report.record_decision import CalibrationPoint as CalibrationPoint
from backtests.report.record_decision import ControlRow as ControlRow
from backtests.report.record_decision import DecisionCard as DecisionCard
from backtests.report.record_decision import Diagnosis as Diagnosis
from backtests.report.record_decision import Kind as Kind
from backtests.report.record_decision import LeagueRow as LeagueRow
from backtests.report.record_decision import Requirement as Requirement
from backtests.report.record_evidence import Bounded as Bounded
from backtests.report.record_evidence import Execution as Execution
from backtests.report.record_evidence import LatencyLeg as LatencyLeg
from backtests.report.record_evidence import MarkoutPoint as MarkoutPoint
from backtests.report.record_evidence import ModelFigures as ModelFigures
from backtests.report.record_evidence import Roc as Roc
from backtests.report.record_evidence import Statistics as Statistics
from backtests.report.record_evidence import SurfaceRow as SurfaceRow
from backtests.report.record_evidence import SurfaceTable as SurfaceTable
from backtests.report.record_evidence import Uplift as Uplift
from backtests.report.record_evidence import UpliftRow as UpliftRow
from backtests.report.record_features import BookPicture as BookPicture
from backtests.report.record_features import FeatureReport as FeatureReport
from backtests.report.record_features import LabelFormRow as LabelFormRow
from backtests.report.record_trading import Ablation as Ablation
from backtests.report.record_trading import BandRow as BandRow
from backtests.report.record_trading import Evidence as Evidence
from backtests.report.record_trading import PaperInstrument as PaperInstrument
from backtests.report.record_trading import PaperSession as PaperSession
from backtests.report.record_trading import ParityCheck as ParityCheck
from backtests.report.record_trading import PnlCurve as PnlCurve
from backtests.report.record_trading import RiskEvent as RiskEvent

RECORD_VERSION = 1

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
    statistics: Statistics | None = None
    execution: Execution | None = None
    surfaces: SurfaceTable | None = None
    uplift: Uplift | None = None
    ablations: tuple[Ablation, ...] = ()
    paper: PaperSession | None = None
    parity: tuple[ParityCheck, ...] = ()
    partitions: tuple[PartitionQuality, ...] = ()
    features: tuple[FeatureSummary, ...] = ()
    labels: tuple[LabelShare, ...] = ()
    information: FeatureReport | None = None
    label_forms: tuple[LabelFormRow, ...] = ()
    books: tuple[BookPicture, ...] = ()
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

"""Money in a night's record: evidence, band, paper session, parity."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, Self

from backtests.report.record_decision import Kind


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

    @classmethod
    def of(cls, point: Mapping[str, Any], role: Literal["", "pessimistic", "optimistic"] = "") -> Self:
        """Return the row of a point of ``backtests.band`` as plain values."""
        return cls(
            queue_model=point["queue_model"].replace("_", " "),
            latency=f"×{point['latency_scale']:g}",
            net_pnl=point["net"],
            fees=point["fees"],
            fills=point["fills"],
            round_trips=point["round_trips"],
            max_drawdown=point["max_drawdown"],
            role=role,
        )


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

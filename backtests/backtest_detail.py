"""What one run of the engine over several sessions came to: by session, in sum, on the clock, and how it was filled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backtests.execution_quality import ExecutionQuality, execution_quality
from backtests.replay import BacktestResult
from marketdata.clock import Session
from marketdata.events import EventArray
from models.forecast import ForecastArray
from models.statistics import sharpe
from trading.journal import FILL

SESSION_FIGURES = (
    "net_pnl",
    "gross_pnl",
    "fees",
    "max_drawdown",
    "orders",
    "fills",
    "maker_fills",
    "round_trips",
    "winning_share",
    "fill_rate",
    "slippage_units",
    "refused_by_risk",
    "kelly_cap_share",
    "worst_ladder",
)
"""Of ``backtests.metrics.TradingMetrics``, by session."""


@dataclass(frozen=True, slots=True)
class BacktestDetail:
    """One queue model and latency over all sessions; money in quote currency.

    Attributes
    ----------
    sessions : tuple of dict
        ``date`` and the figures of :data:`SESSION_FIGURES`, one entry a session or span of sessions without a break.
    sharpe, sharpe_error : float or None
        Of the clock's intervals, ``sharpe_period_ns`` long each, over all sessions; None where nothing moved.
    turnover : float
        Value of everything bought and sold.
    clock_ns, pnl : tuple
        End and net profit of each interval.
    round_trips : tuple of float
        Net profit of each.
    """

    queue_model: str
    latency_scale: float
    sessions: tuple[dict[str, Any], ...]
    net: float
    fees: float
    turnover: float
    max_drawdown: float
    sharpe: float | None
    sharpe_error: float | None
    sharpe_period_ns: int
    warnings: tuple[str, ...]
    clock_ns: tuple[int, ...]
    pnl: tuple[float, ...]
    round_trips: tuple[float, ...]
    execution: ExecutionQuality


def backtest_detail(
    queue_model: str,
    latency_scale: float,
    results: Sequence[BacktestResult],
    days: Mapping[Session, tuple[EventArray, ForecastArray]],
    *,
    seed: int,
) -> BacktestDetail:
    """Return the detail of a backtest.

    Parameters
    ----------
    results : sequence of BacktestResult
        As :func:`backtests.replay.run_days` returns them for ``days``; at least one.
    seed : int
        Of the bootstrap of the execution's intervals.
    """
    metrics = [result.metrics() for result in results]
    pnl = np.concatenate([result.pnl for result in results])
    clock = np.concatenate([result.clock_ns for result in results])
    trips = np.concatenate([result.round_trips()["net_nanos"].to_numpy() for result in results]) / 1e9
    period = results[0].config.clock_ns
    ratio = sharpe(pnl, period_ns=period, periods_per_year=1.0)
    equity = np.concatenate([[0.0], np.cumsum(pnl)])
    rows = tuple(
        {"date": result.config.session.date.isoformat(), **{name: getattr(one, name) for name in SESSION_FIGURES}}
        for result, one in zip(results, metrics, strict=True)
    )
    known = bool(np.isfinite(ratio.ratio))
    return BacktestDetail(
        queue_model=queue_model,
        latency_scale=latency_scale,
        sessions=rows,
        net=float(pnl.sum()),
        fees=sum(one.fees for one in metrics),
        turnover=sum(_turnover(result) for result in results),
        max_drawdown=float(np.max(np.maximum.accumulate(equity) - equity)),
        sharpe=ratio.ratio if known else None,
        sharpe_error=ratio.error if known else None,
        sharpe_period_ns=period,
        warnings=tuple(sorted({text for one in metrics for text in one.warnings})),
        clock_ns=tuple(int(at) for at in clock),
        pnl=tuple(float(value) for value in pnl),
        round_trips=tuple(float(value) for value in trips),
        execution=execution_quality(results, days, seed=seed),
    )


def _turnover(result: BacktestResult) -> float:
    rows = result.journal[result.journal["kind"] == FILL]
    total = 0.0
    for item in result.config.instruments:
        own = rows[rows["instrument_id"] == item.instrument_id]
        total += float((own["price_units"] * own["size_lots"]).sum()) * item.unit_nanos / 1e9
    return total

"""The band: the same strategy under every queue model and several latencies. The pessimistic end decides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from backtests.replay import BacktestResult, run_days
from marketdata.clock import Session
from marketdata.events import EventArray
from marketdata.settings import Settings
from models.forecast import ForecastArray
from trading.carried import SessionTrace
from trading.journal import ACKNOWLEDGED
from trading.strategy_catalog import StrategyFactory

QUEUES: Final = ("risk_averse", "probabilistic", "optimistic")
LATENCIES: Final = (0.5, 1.0, 3.0)
"""Factors on the constant latencies: half, the stated ones, three times."""


@dataclass(frozen=True, slots=True)
class BandPoint:
    """The result of one queue model and latency over all sessions; money in quote currency.

    ``day_net`` has one entry a session, or a span of sessions without a break.
    """

    queue_model: str
    latency_scale: float
    net: float
    fees: float
    fills: int
    round_trips: int
    max_drawdown: float
    day_net: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """All points of the band.

    Where nothing ever rested in a queue, the queue models coincide by construction: they are not run one by one then.
    """

    points: tuple[BandPoint, ...]

    @property
    def pessimistic(self) -> BandPoint:
        """The point of the least net profit: the one that the gate looks at."""
        return min(self.points, key=lambda p: p.net)

    @property
    def optimistic(self) -> BandPoint:
        """The point of the largest net profit."""
        return max(self.points, key=lambda p: p.net)

    @property
    def median(self) -> float:
        """Median net profit over the points."""
        return float(np.median([p.net for p in self.points]))


def run_band(
    settings: Settings,
    days: Mapping[Session, tuple[EventArray, ForecastArray]],
    *,
    queues: Sequence[str] = QUEUES,
    latencies: Sequence[float] = LATENCIES,
    edge_margin: float | None = None,
    strategy: StrategyFactory | None = None,
    earlier: Sequence[SessionTrace] = (),
    progress: Callable[[str], None] | None = None,
    inspect: Callable[[str, float, list[BacktestResult]], None] | None = None,
) -> Band:
    """Trade the sessions once for each queue model and latency.

    Parameters
    ----------
    days : mapping of session to (events, forecasts)
        As :func:`backtests.replay.run_days`; the same arrays serve every point.
    strategy : callable, optional
        What makes the strategy of a session, in place of the taker of the settings (``trading.strategy_catalog``).
    earlier : sequence of SessionTrace
        Of sessions before the first one.
    inspect : callable, optional
        Called with queue model, latency factor and the results of every run that is made, before they are summed up and let go.

    Raises
    ------
    ValueError
        If there is no session.
    """
    if not days:
        raise ValueError("a band needs at least one session")
    points = []
    for scale in latencies:
        only_taking: BandPoint | None = None
        for queue in queues:
            if only_taking is not None:
                point = replace(only_taking, queue_model=queue)
            else:
                results = run_days(
                    settings,
                    days,
                    queue_model=queue,
                    latency_scale=scale,
                    edge_margin=edge_margin,
                    strategy=strategy,
                    earlier=earlier,
                )
                if inspect is not None:
                    inspect(queue, scale, results)
                point = _point(queue, scale, results)
                if not any(bool(np.any(r.journal["kind"] == ACKNOWLEDGED)) for r in results):
                    only_taking = point
            points.append(point)
            if progress is not None:
                progress(f"{queue}, latency ×{scale:g}: net {point.net:+.2f}")
    return Band(tuple(points))


def _point(queue: str, scale: float, results: list[BacktestResult]) -> BandPoint:
    metrics = [r.metrics() for r in results]
    net = np.concatenate([r.pnl for r in results])
    equity = np.concatenate([[0.0], np.cumsum(net)])
    return BandPoint(
        queue,
        scale,
        float(net.sum()),
        sum(m.fees for m in metrics),
        sum(m.fills for m in metrics),
        sum(m.round_trips for m in metrics),
        float(np.max(np.maximum.accumulate(equity) - equity)),
        tuple(r.net for r in results),
    )

"""Evidence of a made-up night: figures with intervals, ROC curves, execution, surfaces."""

from itertools import product

from backtests.report.record import (
    Bounded,
    Execution,
    LatencyLeg,
    MarkoutPoint,
    ModelFigures,
    Roc,
    Statistics,
    SurfaceRow,
    SurfaceTable,
    Uplift,
    UpliftRow,
)
from marketdata.clock import NS_PER_MINUTE

FIGURES = ("net_pnl", "sharpe", "max_drawdown", "net_bps", "winning_share", "positive_days", "mcc", "log_loss")
GRID = (1.0, 3.0)


def statistics(candidates: tuple[str, ...], baselines: tuple[str, ...]) -> Statistics:
    """Return figures for every model; the last baseline never traded."""
    models = []
    for place, name in enumerate((*candidates, *baselines)):
        value = 0.7 - 0.05 * place
        known = Bounded(value=value, low=value - 0.1, high=value + 0.1)
        models.append(
            ModelFigures(
                name=name,
                kind="candidate" if name in candidates else "baseline",
                figures={key: Bounded() if name == baselines[-1] else known for key in FIGURES},
                sharpe_period_ns=NS_PER_MINUTE,
                net_p=1.0 if place == 0 else 0.4 if place < 3 else 0.001,
                loss_p=0.2,
                roc_up=Roc(false_positive=(0.0, 0.3, 1.0), true_positive=(0.0, 0.7, 1.0), area=0.7),
                roc_down=Roc(false_positive=(0.0, 0.4, 1.0), true_positive=(0.0, 0.7, 1.0), area=0.65),
            )
        )
    return Statistics(models=tuple(models), block_intervals=12.0, clock_ns=NS_PER_MINUTE, replications=1_000)


def execution(model: str) -> Execution:
    """Return fills of a taker."""
    return Execution(
        model=model,
        orders=2_700,
        fills=2_650,
        slippage_bps=Bounded(value=0.9, low=0.8, high=1.0),
        slippage_edges=(-0.5, 0.0, 0.5, 1.0),
        slippage_counts=(50, 600, 2_000),
        fill_rate=Bounded(value=0.98, low=0.97, high=0.99),
        markouts=(
            MarkoutPoint(after_s=1.0, bps=Bounded(value=-0.4, low=-0.5, high=-0.3), fills=2_650),
            MarkoutPoint(after_s=60.0, bps=Bounded(value=1.1), fills=2_600),
        ),
        latencies=(
            LatencyLeg(leg="decision to venue", count=2_700, p50_us=2_100, p90_us=2_300, p99_us=9_000, max_us=2e6),
        ),
    )


def uplift(model: str) -> Uplift:
    """Return a comparison that saves a little."""
    rows = tuple(
        UpliftRow(
            algorithm=name,
            shortfall_bps=cost,
            arrival_bps=cost - 0.2,
            vwap_bps=cost - 0.1,
            fill_rate=1.0,
            maker_share=share,
            children=12.0,
            shortfall=40.0 * cost,
            fees=3.0,
        )
        for name, cost, share in (("twap", 1.5, 0.0), ("hybrid_twap", 0.9, 0.6))
    )
    return Uplift(
        model=model,
        sessions=("2025-03-11",),
        parents=60,
        lots=20,
        minutes=10.0,
        queue_model="risk_averse",
        difference_bps=Bounded(value=-0.6, low=-0.9, high=-0.3),
        rows=rows,
    )


def surfaces(model: str) -> SurfaceTable:
    """Return a small grid."""
    points = [
        SurfaceRow(
            size=size,
            latency=latency,
            fees=fee,
            net=100.0 * size - 20.0 * latency - 30.0 * fee,
            gross=100.0 * size - 20.0 * latency,
            fees_paid=30.0 * fee,
            turnover=1e6 * size,
            fills=100,
            round_trips=50,
            max_drawdown=9.0,
            net_bps=0.5 - 0.2 * fee,
            break_even_bps=None if latency == 3.0 else 0.8,
        )
        for size, latency, fee in product(GRID, GRID, GRID)
    ]
    return SurfaceTable(
        model=model, sessions=("2025-03-12",), sizes=GRID, latencies=GRID, fees=GRID, fee_bps=0.3, points=tuple(points)
    )

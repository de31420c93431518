"""Evidence in a night's record: figures with their intervals, ranks, how fills came about, sensitivity surfaces."""

from dataclasses import dataclass, field

from backtests.report.record_decision import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """A figure with its 95 % interval; None where it is not defined, bounds None where there is too little to give any."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Roc:
    """A receiver operating characteristic: rates from (0, 0) to (1, 1)."""

    false_positive: tuple[float, ...] = ()
    true_positive: tuple[float, ...] = ()
    area: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFigures:
    """One model's headline figures over all test rows.

    ``figures`` by name: ``net_pnl, sharpe, max_drawdown, net_bps, winning_share, positive_days, accuracy, mcc,
    balanced_accuracy, log_loss, auc_up, auc_down``. ``net_p`` and ``loss_p`` are the p-values of the model confidence sets.
    """

    name: str
    kind: Kind
    figures: dict[str, Bounded] = field(default_factory=dict)
    sharpe_period_ns: int | None = None
    net_p: float | None = None
    loss_p: float | None = None
    roc_up: Roc = field(default_factory=Roc)
    roc_down: Roc = field(default_factory=Roc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """All models' figures and how their intervals were made."""

    models: tuple[ModelFigures, ...] = ()
    block_intervals: float | None = None
    clock_ns: int | None = None
    replications: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkoutPoint:
    """Mean move of the mid in our favour so long after a fill, in basis points."""

    after_s: float
    bps: Bounded
    fills: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyLeg:
    """Quantiles of one leg of an order's way, microseconds."""

    leg: str
    count: int
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How the engine's orders were filled: pessimistic queue, stated latency, all test sessions."""

    model: str
    orders: int = 0
    fills: int = 0
    maker_fills: int = 0
    slippage_bps: Bounded = field(default_factory=Bounded)
    slippage_edges: tuple[float, ...] = ()
    slippage_counts: tuple[int, ...] = ()
    fill_rate: Bounded = field(default_factory=Bounded)
    markouts: tuple[MarkoutPoint, ...] = ()
    latencies: tuple[LatencyLeg, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpliftRow:
    """How one algorithm worked the parents: means over parents, ``shortfall`` and ``fees`` sums in quote currency."""

    algorithm: str
    shortfall_bps: float | None = None
    arrival_bps: float | None = None
    vwap_bps: float | None = None
    fill_rate: float | None = None
    maker_share: float | None = None
    children: float | None = None
    shortfall: float | None = None
    fees: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplift:
    """What a model's forecasts save in execution: the same parents by a plain TWAP and by one that decides by them (TV7).

    ``difference_bps``: mean shortfall of the second row's algorithm minus the first's, in basis points of a parent's value;
    negative: the forecasts save that.
    """

    model: str
    sessions: tuple[str, ...] = ()
    parents: int = 0
    lots: int = 0
    minutes: float = 0.0
    queue_model: str = ""
    difference_bps: Bounded = field(default_factory=Bounded)
    rows: tuple[UpliftRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceRow:
    """One size, latency and fee tier, as factors of the settings' own; money in quote currency, costs in basis points a side."""

    size: float
    latency: float
    fees: float
    net: float
    gross: float
    fees_paid: float
    turnover: float
    fills: int
    round_trips: int
    max_drawdown: float
    net_bps: float | None = None
    break_even_bps: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceTable:
    """The sensitivity surfaces of one model over some sessions."""

    model: str
    sessions: tuple[str, ...] = ()
    sizes: tuple[float, ...] = ()
    latencies: tuple[float, ...] = ()
    fees: tuple[float, ...] = ()
    fee_bps: float | None = None
    points: tuple[SurfaceRow, ...] = ()

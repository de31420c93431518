"""Sensitivity surfaces: the same forecasts through the engine at other sizes, latencies and fee tiers, with what each could bear.

One point is one run of the engine over all sessions. *Size* multiplies the account: capital, lots of an order, position and loss
limits together, so that the strategy decides the same and only depth and queue see the difference. *Latency* multiplies
inference, decision, order and response latency (the feed's is in the data). *Fee tier* multiplies maker and taker fees; the
strategy knows the fee it pays, so a dearer tier also trades less.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from backtests.replay import BacktestResult, run_days
from marketdata.clock import Session
from marketdata.events import EventArray
from marketdata.settings import Settings
from marketdata.taker_cost import venue_fees
from marketdata.venue_settings import FeeSettings, Venues
from models.forecast import ForecastArray
from trading.carried import SessionTrace
from trading.journal import FILL
from trading.strategy_catalog import StrategyFactory

SIZES: Final = (1.0, 2.0, 5.0, 10.0)
LATENCIES: Final = (0.5, 1.0, 3.0, 10.0)
FEES: Final = (0.0, 0.5, 1.0, 2.0)
BPS: Final = 1e4


@dataclass(frozen=True, slots=True)
class SurfacePoint:
    """One size, latency and fee tier; factors of the settings' own, money in quote currency.

    Attributes
    ----------
    turnover : float
        Value of everything bought and sold.
    net_bps : float
        Net profit over turnover, in basis points: what is left of each side after its costs. NaN without a fill.
    break_even_bps : float
        Profit before fees over turnover: the fee of a side at which these trades earn nothing. The spread is already paid.
    """

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
    net_bps: float
    break_even_bps: float


@dataclass(frozen=True, slots=True)
class Surfaces:
    """All points; ``size`` varies slowest, ``fees`` fastest.

    Attributes
    ----------
    fee_bps : float
        The taker fee of the settings in basis points, the mean over traded instruments: what ``fees`` of 1 stands for.
    """

    sizes: tuple[float, ...]
    latencies: tuple[float, ...]
    fees: tuple[float, ...]
    fee_bps: float
    points: tuple[SurfacePoint, ...]

    def at(self, size: float, latency: float, fees: float) -> SurfacePoint:
        """Return one point.

        Raises
        ------
        KeyError
            If it is not on the grid.
        """
        for point in self.points:
            if (point.size, point.latency, point.fees) == (size, latency, fees):
                return point
        raise KeyError((size, latency, fees))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def scaled_settings(settings: Settings, *, size: float, fees: float) -> Settings:
    """Return the settings of an account ``size`` times as large that pays ``fees`` times the fees.

    Lots are rounded up, so that a size below 1 never rounds to nothing.
    """

    def lots(value: int) -> int:
        return int(np.ceil(value * size))

    strategy, risk = settings.strategy, settings.risk
    instruments = tuple(
        item.model_copy(
            update={
                "fees": item.fees.model_copy(
                    update={
                        "maker_ppm": round(item.fees.maker_ppm * fees),
                        "taker_ppm": round(item.fees.taker_ppm * fees),
                    }
                )
            }
        )
        for item in settings.instruments
    )
    scaled = {
        name: own.model_copy(update={"fees": _scaled_fees(own.fees, fees)}) for name, own in settings.venues.items()
    }
    return settings.model_copy(
        update={
            "instruments": instruments,
            "venues": Venues(scaled),
            "strategy": strategy.model_copy(
                update={
                    "capital": strategy.capital * size,
                    "order_lots": lots(strategy.order_lots),
                    "max_position_lots": lots(strategy.max_position_lots),
                }
            ),
            "risk": risk.model_copy(
                update={
                    "daily_loss": risk.daily_loss * size,
                    "max_order_lots": lots(risk.max_order_lots),
                    "max_position_lots": lots(risk.max_position_lots),
                }
            ),
        }
    )


def _scaled_fees(own: FeeSettings | None, factor: float) -> FeeSettings | None:
    """Return a venue's schedule with every fee times a factor; the volumes that its tiers begin at stay."""
    if own is None:
        return None
    tiers = tuple(
        tier.model_copy(
            update={"maker_ppm": round(tier.maker_ppm * factor), "taker_ppm": round(tier.taker_ppm * factor)}
        )
        for tier in own.tiers
    )
    return own.model_copy(update={"tiers": tiers, "per_trade": own.per_trade * factor})


def run_surfaces(
    settings: Settings,
    days: Mapping[Session, tuple[EventArray, ForecastArray]],
    *,
    sizes: Sequence[float] = SIZES,
    latencies: Sequence[float] = LATENCIES,
    fees: Sequence[float] = FEES,
    queue_model: str | None = None,
    strategy: StrategyFactory | None = None,
    earlier: Sequence[SessionTrace] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> Surfaces:
    """Trade the sessions once for every size, latency and fee tier.

    Raises
    ------
    ValueError
        If there is no session, an axis is empty, a size or a latency is not above 0, or a fee factor is negative.
    """
    if not days or not all(len(axis) for axis in (sizes, latencies, fees)):
        raise ValueError("surfaces need at least one session, size, latency and fee tier")
    if min(sizes) <= 0 or min(latencies) <= 0 or min(fees) < 0:
        raise ValueError(f"sizes {sizes} and latencies {latencies} must be above 0, fees {fees} not below")
    points = []
    total = len(sizes) * len(latencies) * len(fees)
    for size in sizes:
        for latency in latencies:
            for fee in fees:
                own = scaled_settings(settings, size=size, fees=fee)
                results = run_days(
                    own, days, queue_model=queue_model, latency_scale=latency, strategy=strategy, earlier=earlier
                )
                points.append(_point(size, latency, fee, results))
                if progress is not None:
                    progress("sensitivity", len(points), total)
    traded = [venue_fees(settings, item).taker_ppm for item in settings.instruments if item.is_traded]
    fee_bps = float(np.mean(traded)) / 100.0 if traded else 0.0
    return Surfaces(tuple(sizes), tuple(latencies), tuple(fees), fee_bps, tuple(points))


def _point(size: float, latency: float, fee: float, results: list[BacktestResult]) -> SurfacePoint:
    pnl = np.concatenate([r.pnl for r in results])
    equity = np.concatenate([[0.0], np.cumsum(pnl)])
    paid = turnover = 0.0
    fills = trips = 0
    for result in results:
        rows = result.journal[result.journal["kind"] == FILL]
        units = {item.instrument_id: item.unit_nanos / 1e9 for item in result.config.instruments}
        unit = np.array([units[int(k)] for k in rows["instrument_id"]])
        turnover += float((rows["price_units"] * rows["size_lots"] * unit).sum()) if len(rows) else 0.0
        paid += float(rows["fee_nanos"].sum()) / 1e9
        fills += len(rows)
        trips += result.round_trips().height
    net = float(pnl.sum())
    nan = float("nan")
    return SurfacePoint(
        size=size,
        latency=latency,
        fees=fee,
        net=net,
        gross=net + paid,
        fees_paid=paid,
        turnover=turnover,
        fills=fills,
        round_trips=trips,
        max_drawdown=float(np.max(np.maximum.accumulate(equity) - equity)),
        net_bps=BPS * net / turnover if turnover else nan,
        break_even_bps=BPS * (net + paid) / turnover if turnover else nan,
    )

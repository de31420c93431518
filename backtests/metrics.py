"""Metrics of a traded account: net and gross profit, Sharpe with its clock, drawdown, fills, slippage, use of the Kelly cap."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata.clock import NS_PER_S
from models.evidence import plain
from models.statistics import sharpe
from trading.journal import FILL, MARK, ORDER, RISK, RISK_REJECT, Journal
from trading.risk import LADDER_NAMES

AT_CAP_WARNING = 0.5
"""Above this share of sized decisions at the Kelly cap the sizes say nothing about the forecasts any more."""


@dataclass(frozen=True, slots=True)
class TradingMetrics:
    """Numbers of one account over one or more sessions. Money in quote currency, shares in [0, 1], None where not defined.

    Attributes
    ----------
    sharpe, sharpe_error : float or None
        Per interval of ``sharpe_period_ns``, with its standard error; ``sharpe_annual`` scales it by Lo's factor.
    max_drawdown : float
        Largest fall of equity from its peak, on the clock.
    fill_rate : float or None
        Lots filled over lots sent.
    slippage_units : float or None
        Mean signed distance of the executed price from the mid at the decision, per lot; positive costs.
    slippage_touch_units : float or None
        The same from the touch that the decision saw: what latency and depth cost beyond the half spread.
    kelly_cap_share : float or None
        Share of opening orders that were sized at the Kelly cap; above one half, see ``warnings``.
    """

    net_pnl: float
    gross_pnl: float
    fees: float
    sharpe: float | None
    sharpe_error: float | None
    sharpe_annual: float | None
    sharpe_period_ns: int
    intervals: int
    max_drawdown: float
    orders: int
    fills: int
    maker_fills: int
    round_trips: int
    winning_share: float | None
    mean_holding_s: float | None
    net_per_round_trip: float | None
    fill_rate: float | None
    slippage_units: float | None
    slippage_touch_units: float | None
    kelly_cap_share: float | None
    refused_by_risk: int
    worst_ladder: str
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {str(k): plain(v) for k, v in asdict(self).items()}


def trading_metrics(
    rows: Journal,
    trips: pl.DataFrame,
    pnl: npt.NDArray[np.float64],
    *,
    period_ns: int,
    periods_per_year: float,
) -> TradingMetrics:
    """Return the metrics of a journal.

    Parameters
    ----------
    rows : journal array
    trips : pl.DataFrame
        Its round trips (``trading.journal.round_trips_frame``).
    pnl : float64 array, shape (T,)
        Net profit by interval of the clock.
    period_ns : int
        Length of an interval.
    periods_per_year : float
        Intervals in a year of trading.
    """
    orders, fills = rows[rows["kind"] == ORDER], rows[rows["kind"] == FILL]
    fees = float(fills["fee_nanos"].sum()) / 1e9
    net = float(pnl.sum())
    ratio = sharpe(pnl, period_ns=period_ns, periods_per_year=periods_per_year)
    equity = np.concatenate([[0.0], np.cumsum(pnl)])
    drawdown = float(np.max(np.maximum.accumulate(equity) - equity))
    sent = int(orders["size_lots"].sum())
    opening = orders[(orders["flag"] & 1) == 0]
    cap = float((opening["flag"] & 2 > 0).mean()) if len(opening) else None
    from_mid, from_touch = _slippage(orders, fills)
    holding = (trips["exit_ns"] - trips["entry_ns"]).mean() if trips.height else None
    states = rows["state"][np.isin(rows["kind"], (RISK, MARK))]
    warnings = []
    if cap is not None and cap > AT_CAP_WARNING:
        warnings.append(f"{cap:.0%} of entries were sized at the Kelly cap: sizes do not follow the forecasts")
    known = np.isfinite(ratio.ratio)
    return TradingMetrics(
        net_pnl=net,
        gross_pnl=net + fees,
        fees=fees,
        sharpe=ratio.ratio if known else None,
        sharpe_error=ratio.error if known else None,
        sharpe_annual=ratio.annual if known else None,
        sharpe_period_ns=period_ns,
        intervals=len(pnl),
        max_drawdown=drawdown,
        orders=len(orders),
        fills=len(fills),
        maker_fills=int((fills["flag"] == 1).sum()),
        round_trips=trips.height,
        winning_share=float((trips["net_nanos"] > 0).mean() or 0.0) if trips.height else None,  # type: ignore[arg-type]  # a mean of booleans is a float
        mean_holding_s=float(holding) / NS_PER_S if holding is not None else None,  # type: ignore[arg-type]  # a mean of integers is a float
        net_per_round_trip=float(trips["net_nanos"].sum()) / 1e9 / trips.height if trips.height else None,
        fill_rate=float(fills["size_lots"].sum()) / sent if sent else None,
        slippage_units=from_mid,
        slippage_touch_units=from_touch,
        kelly_cap_share=cap,
        refused_by_risk=int((rows["kind"] == RISK_REJECT).sum()),
        worst_ladder=LADDER_NAMES[int(states.max()) if len(states) else 0],
        warnings=tuple(warnings),
    )


def _slippage(orders: Journal, fills: Journal) -> tuple[float | None, float | None]:
    if not len(fills) or not len(orders):
        return None, None
    place = np.searchsorted(orders["order_id"], fills["order_id"])
    decided = orders[place]
    bid, ask = decided["bid_units"].astype(np.float64), decided["ask_units"].astype(np.float64)
    side, price = fills["side"].astype(np.float64), fills["price_units"].astype(np.float64)
    lots = fills["size_lots"].astype(np.float64)
    quoted = (bid > 0) & (ask > 0)
    if not quoted.any():
        return None, None
    touch = np.where(side > 0, ask, bid)
    from_mid = side * (price - 0.5 * (bid + ask))
    from_touch = side * (price - touch)
    weight = lots[quoted] / lots[quoted].sum()
    return float((from_mid[quoted] * weight).sum()), float((from_touch[quoted] * weight).sum())

"""What a traded session amounts to, as plain data for pages."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from marketdata.clock import Session
from marketdata.settings import Settings
from trading.journal import (
    FILL,
    FORECAST,
    ORDER,
    RISK,
    RISK_REJECT,
    Journal,
    equity_frame,
    risk_frame,
    round_trips_frame,
)

LADDER: Final = ("NORMAL", "REDUCED_20", "REDUCED_50", "HALTED")
MOST_RISK_EVENTS: Final = 200


def summarise_session(
    settings: Settings,
    session: Session,
    journal: Journal,
    forecast_seconds: Sequence[tuple[int, float]] = (),
) -> dict[str, Any]:
    """Return the figures of a session; the keys are the fields of the report's paper session.

    Parameters
    ----------
    forecast_seconds : sequence of (rows, seconds)
        Wall time of the steps that forecast, features included.

    Returns
    -------
    dict
        JSON-able. ``equity`` is net P&L since the open in the quote currency on the account clock; ``risk_events`` are
        refusals, drawdown steps and controls, the first :data:`MOST_RISK_EVENTS` of them; quantiles of the time of one
        forecast are None without timings.
    """
    marks = equity_frame(journal)
    capital = round(settings.strategy.capital * 1e9)
    start = int(marks["equity_nanos"][0]) if marks.height else capital
    net = [(int(value) - start) / 1e9 for value in marks["equity_nanos"]]
    fills = journal[journal["kind"] == FILL]
    unit = {item.instrument_id: item.unit_nanos for item in settings.instruments}
    symbols = {item.instrument_id: item.symbol for item in settings.instruments}
    peak = np.maximum.accumulate(np.array([0.0, *net]))
    risk = journal[journal["kind"] == RISK]
    micros = _quantiles(forecast_seconds)
    return {
        "ts_ns": [int(value) for value in marks["ts_ns"]],
        "equity": net,
        "net_pnl": net[-1] if net else 0.0,
        "fees": int(fills["fee_nanos"].sum()) / 1e9,
        "forecasts": int((journal["kind"] == FORECAST).sum()),
        "orders": int((journal["kind"] == ORDER).sum()),
        "fills": len(fills),
        "round_trips": round_trips_frame(journal, unit).height,
        "refused_by_risk": int((journal["kind"] == RISK_REJECT).sum()),
        "max_drawdown": float((peak - np.array([0.0, *net])).max()),
        "risk_state": LADDER[int(risk["state"][-1])] if len(risk) else LADDER[0],
        "risk_events": [
            {
                "ts_ns": row["ts_ns"],
                "kind": row["kind"].replace("_", " "),
                "symbol": symbols.get(row["instrument_id"], "") if row["kind"] == "risk_reject" else "",
                "detail": row["reason"].replace("_", " "),
            }
            for row in risk_frame(journal).head(MOST_RISK_EVENTS).iter_rows(named=True)
        ],
        "instruments": [
            _instrument(settings, journal, item.instrument_id) for item in settings.instruments if item.is_traded
        ],
        "forecast_p50_us": micros[0],
        "forecast_p99_us": micros[1],
    }


def _instrument(settings: Settings, journal: Journal, instrument_id: int) -> dict[str, Any]:
    item = next(i for i in settings.instruments if i.instrument_id == instrument_id)
    fills = journal[(journal["kind"] == FILL) & (journal["instrument_id"] == instrument_id)]
    signed = fills["side"].astype(np.int64) * fills["size_lots"]
    bought, sold = int(signed[signed > 0].sum()), int(-signed[signed < 0].sum())
    fees = int(fills["fee_nanos"].sum())
    held = int(signed.sum())
    mark = int(fills["price_units"][-1]) if len(fills) else 0
    cash = -int((signed * fills["price_units"]).sum()) * item.unit_nanos - fees
    return {
        "symbol": item.symbol,
        "fills": len(fills),
        "bought_lots": bought,
        "sold_lots": sold,
        "end_position_lots": held,
        "net_pnl": (cash + held * mark * item.unit_nanos) / 1e9,
        "fees": fees / 1e9,
    }


def _quantiles(forecast_seconds: Sequence[tuple[int, float]]) -> tuple[float | None, float | None]:
    rows = np.array([n for n, _ in forecast_seconds], np.int64)
    if not rows.sum():
        return None, None
    each = np.repeat([1e6 * seconds / n for n, seconds in forecast_seconds], rows)
    return float(np.quantile(each, 0.5)), float(np.quantile(each, 0.99))

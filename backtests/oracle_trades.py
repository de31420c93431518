"""What somebody would trade who knows what no model can know: the efficient price, or every informed episode before it ends.

Both are traded through the real engine, so the profit is after spread, fees and latency. The first says whether a null market
pays anybody at all, the second what a planted edge is worth.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from backtests.replay import run_backtest
from marketdata.clock import NS_PER_MINUTE, NS_PER_S, Session
from marketdata.events import EventArray, merge_events
from marketdata.settings import Settings
from marketdata.simulator.oracle import median_spread_units, oracle_round_trips, quotes, quotes_at
from marketdata.simulator.session import SimulatedSession, simulate_session
from marketdata.simulator.truth import MarketTruth, efficient_price
from marketdata.sources import build_source
from models.forecast import FORECAST_DTYPE, ForecastArray, quantise
from trading.config import last_entry_ns
from trading.strategies import round_trip_cost, taker

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Quotes = Mapping[int, tuple[Int64, Int64]]
"""Times and best quotes of each instrument, by id, as ``marketdata.simulator.oracle.quotes`` gives them."""

DECISION_EVERY_NS: Final = 2 * NS_PER_S


def without_limits(settings: Settings) -> Settings:
    """Return settings whose limits never bind: what is measured is the edge, not the limits."""
    risk = settings.risk.model_copy(
        update={"daily_loss": 1e9, "max_orders_per_s": 1_000, "drawdown_steps": (0.9, 0.95, 0.99)}
    )
    strategy = settings.strategy.model_copy(update={"capital": 1e9, "edge_margin": 0.0, "order_lots": 1})
    return settings.model_copy(update={"risk": risk, "strategy": strategy})


def session_events(settings: Settings, session: Session, made: SimulatedSession) -> EventArray:
    """Return a simulated session's events of all instruments, as received."""
    source = build_source(settings)
    parts = [source.events(made.ticks[item.symbol], session.date, item.symbol) for item in settings.instruments]
    return merge_events(parts)


def session_quotes(settings: Settings, made: SimulatedSession) -> Quotes:
    """Return the best quotes of every instrument of a simulated session."""
    return {item.instrument_id: quotes(made.ticks[item.symbol]) for item in settings.instruments}


def efficient_price_forecasts(
    settings: Settings, session: Session, truth: MarketTruth, mids: Quotes, threshold: float
) -> ForecastArray:
    """Return what a taker forecasts who sees the efficient price.

    It looks every two seconds and trades where the mid is further from it than ``threshold`` round-trip costs. The edge is
    stated as three costs, so that the strategy's own threshold and size let every such trade pass.
    """
    when = np.arange(
        session.open_ns + NS_PER_MINUTE, last_entry_ns(settings, session), DECISION_EVERY_NS, dtype=np.int64
    )
    parts = []
    for item in settings.instruments:
        now = quotes_at(*mids[item.instrument_id], when)
        mid = 0.5 * (now[:, 0] + now[:, 2])
        away = efficient_price(truth, item.symbol, when) - mid
        cost = round_trip_cost_of(now, item.fees.taker_ppm)
        trade = np.abs(away) > threshold * cost
        parts.append(_certain(when, item.instrument_id, np.where(trade, 3.0 * np.sign(away) * cost, 0.0)))
    return _by_time(parts)


def round_trip_cost_of(best: Int64, taker_ppm: int) -> Float64:
    """Return the round-trip cost at quotes in the form of ``fold_best``, price units, shape (n,)."""
    return np.array([round_trip_cost(int(row[0]), int(row[2]), taker_ppm) for row in best])


def episode_forecasts(settings: Settings, truth: MarketTruth, mids: Quotes) -> ForecastArray:
    """Return what the planted world's oracle forecasts: a move at each of its decisions, none when it wants to be out again."""
    latency = settings.latency
    parts = []
    for item in settings.instruments:
        ts, best = mids[item.instrument_id]
        spread = median_spread_units(ts, best, int(ts[-1]))
        trips = oracle_round_trips(ts, best, truth.episodes, item, spread_units=spread, latency_ns=latency.to_venue_ns)
        edge = trips["direction"].to_numpy() * 1_000.0
        parts.append(_certain(trips["decision_ns"].to_numpy(), item.instrument_id, edge))
        parts.append(_certain(trips["closing_ns"].to_numpy(), item.instrument_id, np.zeros(len(edge))))
    made = _by_time(parts)
    made["due_ns"] += latency.inference_ns
    return made


def oracle_strength(
    settings: Settings,
    sessions: Sequence[Session] | int = 2,
    *,
    latency_scale: float = 1.0,
    progress: Callable[[str], None] | None = None,
) -> dict[str, dict[str, float]]:
    """Return what the planted world's oracle earns through the engine, by symbol and for all (``""``).

    Returns
    -------
    dict of symbol to dict
        ``round_trips``, ``net_spreads`` (mean net profit of a round trip in median spreads), ``standard_error``.
    """
    calendar = settings.market_calendar()
    chosen = calendar.first_sessions(settings.start_date, sessions) if isinstance(sessions, int) else list(sessions)
    free = without_limits(settings)
    earned: dict[str, list[float]] = {item.symbol: [] for item in settings.instruments}
    symbol_of = {item.instrument_id: item for item in settings.instruments}
    for index, session in enumerate(chosen):
        made = simulate_session(free, session, index)
        mids = session_quotes(settings, made)
        spread = {
            item.symbol: median_spread_units(*mids[item.instrument_id], session.close_ns) * item.unit_nanos
            for item in settings.instruments
        }
        events = session_events(free, session, made)
        forecasts = episode_forecasts(free, made.truth, mids)
        strategy = taker(
            horizon_ns=1,
            order_lots=1,
            last_entry_ns=session.close_ns,
            margin=0.0,
            fraction=settings.strategy.kelly_fraction,
            capital=free.strategy.capital,
        )
        result = run_backtest(free, session, events, forecasts, latency_scale=latency_scale, strategy=strategy)
        for row in result.round_trips().iter_rows(named=True):
            symbol = symbol_of[row["instrument_id"]].symbol
            earned[symbol].append(row["net_nanos"] / spread[symbol] / row["size_lots"])
        if progress is not None:
            progress(f"{session.date}: {result.round_trips().height} round trips")
    everything = {**earned, "": [value for values in earned.values() for value in values]}
    return {symbol: _mean_of(np.array(values)) for symbol, values in everything.items()}


def _mean_of(values: Float64) -> dict[str, float]:
    n = len(values)
    error = float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return {"round_trips": n, "net_spreads": float(values.mean()) if n else float("nan"), "standard_error": error}


def _certain(when: Int64, instrument_id: int, edge: Float64) -> ForecastArray:
    out = np.zeros(len(when), FORECAST_DTYPE)
    out["ts_recv"] = out["due_ns"] = when
    out["instrument_id"] = instrument_id
    out["edge_units"] = quantise(edge)
    up, down = np.where(edge > 0, 0.98, 0.01), np.where(edge < 0, 0.98, 0.01)
    out["p_up"], out["p_down"] = quantise(up), quantise(down)
    out["p_flat"] = quantise(1.0 - up - down)
    return out


def _by_time(parts: list[ForecastArray]) -> ForecastArray:
    joined = np.concatenate(parts)
    ordered: ForecastArray = joined[np.argsort(joined["due_ns"], kind="stable")]
    return ordered

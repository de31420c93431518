"""The backtest: the engine over one recorded or simulated session, and what came of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from backtests.metrics import TradingMetrics, trading_metrics
from marketdata.clock import NS_PER_DAY, Session
from marketdata.events import EventArray, merge_events
from marketdata.instruments import Instrument
from marketdata.settings import Settings
from models.forecast import FORECAST_DTYPE, ForecastArray
from trading.carried import CarriedOver, SessionTrace, carry_over, session_trace
from trading.config import EngineConfig, engine_config
from trading.controls import DEPOSIT, ControlArray
from trading.engine import FOREVER, Account, Engine
from trading.heartbeats import with_heartbeats
from trading.journal import CONTROL, MARK, Journal, fills_frame, round_trips_frame
from trading.strategies import Strategy
from trading.strategy_catalog import StrategyFactory


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """One session through the engine.

    Attributes
    ----------
    config : EngineConfig
    journal : journal array
    account : Account
        What the next session starts from.
    clock_ns : int64 array, shape (T,)
        End of each interval of the clock, from the session's open on.
    pnl : float64 array, shape (T,)
        Net profit of the account in each interval, in quote currency, marked at the touch; sums to the account's change, less
        what was paid in.
    """

    config: EngineConfig
    journal: Journal
    account: Account
    clock_ns: npt.NDArray[np.int64]
    pnl: npt.NDArray[np.float64]

    @property
    def net(self) -> float:
        """Net profit of the session, in quote currency."""
        return float(self.pnl.sum())

    def fills(self) -> pl.DataFrame:
        """Return one row a fill."""
        return fills_frame(self.journal)

    def round_trips(self) -> pl.DataFrame:
        """Return one row a round trip."""
        return round_trips_frame(self.journal, {i.instrument_id: i.unit_nanos for i in self.config.instruments})

    def metrics(self, *, sessions_per_year: float = 252.0) -> TradingMetrics:
        """Return the session's numbers; the Sharpe ratio's period is the clock's interval."""
        return trading_metrics(
            self.journal,
            self.round_trips(),
            self.pnl,
            period_ns=self.config.clock_ns,
            periods_per_year=sessions_per_year * max(len(self.pnl), 1),
        )


def run_backtest(
    settings: Settings,
    session: Session,
    events: EventArray,
    forecasts: ForecastArray,
    *,
    queue_model: str | None = None,
    latency_scale: float = 1.0,
    edge_margin: float | None = None,
    strategy: Strategy | None = None,
    instruments: tuple[Instrument, ...] | None = None,
    controls: ControlArray | None = None,
    account: Account | None = None,
    carried: CarriedOver | None = None,
) -> BacktestResult:
    """Trade one session through the engine.

    Parameters
    ----------
    events : event array
        All instruments, ordered by ``ts_recv`` (``marketdata.events.merge_events``).
    forecasts : forecast array
        Ordered by ``due_ns``; ``latency_scale`` scales the distance of ``due_ns`` from ``ts_recv`` as well.
    queue_model, latency_scale, edge_margin, strategy, instruments
        Variants, see ``trading.config.engine_config``.
    controls : control array, optional
        Pauses, kills and limits during the session.
    account : Account, optional
        Equity of the session before.
    carried : CarriedOver, optional
        Volumes and volatilities that earlier sessions left.
    """
    config = engine_config(
        settings,
        session,
        queue_model=queue_model,
        latency_scale=latency_scale,
        strategy=strategy,
        edge_margin=edge_margin,
        instruments=instruments,
        carried=carried,
    )
    watched = with_heartbeats(controls, session, settings.risk.dead_man_ns)
    return replay(config, events, delay_forecasts(forecasts, latency_scale), controls=watched, account=account)


def delay_forecasts(forecasts: ForecastArray, scale: float) -> ForecastArray:
    """Return the forecasts with their inference latency times ``scale``, in the order of their new ``due_ns``."""
    if scale == 1.0:
        return forecasts
    out = forecasts.copy()
    out["due_ns"] = out["ts_recv"] + np.rint((out["due_ns"] - out["ts_recv"]) * scale).astype(np.int64)
    ordered: ForecastArray = out[np.argsort(out["due_ns"], kind="stable")]
    return ordered


def replay(
    config: EngineConfig,
    events: EventArray,
    forecasts: ForecastArray | None,
    *,
    controls: ControlArray | None = None,
    account: Account | None = None,
) -> BacktestResult:
    """Run one engine over a whole session."""
    engine = Engine(config)
    state, journal = engine.run(engine.init(account), events, forecasts, controls, FOREVER)
    if state.late_rows or state.illegal_answers:
        raise RuntimeError(
            f"engine lost its order: {state.late_rows} late rows, {state.illegal_answers} illegal answers"
        )
    marks = journal[journal["kind"] == MARK]
    after = engine.account(state)
    equity = marks["equity_nanos"].astype(np.int64)
    if len(equity):
        equity = np.concatenate([equity[:-1], [after.equity_nanos]])
    paid_in = journal[(journal["kind"] == CONTROL) & (journal["reason"] == DEPOSIT)]
    if len(paid_in):
        bounds = np.concatenate([marks["ts_ns"][:-1], [FOREVER]])
        equity = equity - np.array([paid_in["size_lots"][paid_in["ts_ns"] <= at].sum() for at in bounds], np.int64)
    return BacktestResult(config, journal, after, marks["ts_ns"][1:].copy(), np.diff(equity) / 1e9)


def run_days(
    settings: Settings,
    days: Mapping[Session, tuple[EventArray, ForecastArray]],
    *,
    queue_model: str | None = None,
    latency_scale: float = 1.0,
    edge_margin: float | None = None,
    strategy: StrategyFactory | None = None,
    earlier: Sequence[SessionTrace] = (),
    progress: Callable[[str], None] | None = None,
) -> list[BacktestResult]:
    """Trade several sessions in order, one account carried from each to the next, and what decides fee tiers and sizes.

    Sessions that follow each other without a break (markets that never close) are traded as one span, as the screen does:
    positions are held over midnight, and there is one result for the span. A strategy in place of the taker of the settings
    is made anew for each. ``earlier`` are the traces of sessions before the first one (``trading.carried.rows_trace``).
    """
    results = []
    account = None
    traces = list(earlier)
    for span in _spans(days):
        session = Session(span[0].date, span[0].open_ns, span[-1].close_ns)
        events, forecasts = _joined(days, span)
        result = run_backtest(
            settings,
            session,
            events,
            forecasts,
            queue_model=queue_model,
            latency_scale=latency_scale,
            edge_margin=edge_margin,
            strategy=None if strategy is None else strategy(settings, session),
            account=account,
            carried=carry_over(settings, session.date, traces),
        )
        account = result.account
        traces.append(session_trace(session.date, result.journal, settings.instruments))
        results.append(result)
        if progress is not None:
            progress(f"{session.date}: net {result.net:+.2f}")
    return results


def _spans(days: Mapping[Session, object]) -> list[list[Session]]:
    spans: list[list[Session]] = []
    for session in sorted(days, key=lambda s: s.open_ns):
        if spans and spans[-1][-1].close_ns == session.open_ns:
            spans[-1].append(session)
        else:
            spans.append([session])
    return spans


def _joined(
    days: Mapping[Session, tuple[EventArray, ForecastArray]], span: list[Session]
) -> tuple[EventArray, ForecastArray]:
    if len(span) == 1:
        return days[span[0]]
    parts = [days[session] for session in span]
    # Named, because rows read from a file would be joined without their padding, which is another form.
    forecasts = np.concatenate([part[1] for part in parts], dtype=FORECAST_DTYPE)
    return merge_events([part[0] for part in parts]), forecasts[np.argsort(forecasts["due_ns"], kind="stable")]


SESSIONS_PER_YEAR_ALL_DAY = 365.0


def sessions_per_year(settings: Settings) -> float:
    """Return trading sessions in a year: 365 for a market that never closes, else 252."""
    session = settings.market_calendar().first_sessions(settings.start_date, 1)[0]
    return SESSIONS_PER_YEAR_ALL_DAY if session.close_ns - session.open_ns >= NS_PER_DAY else 252.0

"""Backtests: money on the clock is the account's, days are carried on, the band's pessimistic end is its least."""

import io
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from backtests.band import run_band
from backtests.oracle_trades import episode_forecasts, oracle_strength
from backtests.replay import delay_forecasts, run_backtest, run_days, sessions_per_year
from marketdata.clock import NS_PER_MINUTE
from marketdata.simulator.oracle import quotes
from tests.backtests.conftest import Hour
from tests.backtests.test_screen import _noise
from trading.carried import SessionTrace
from trading.config import last_entry_ns
from trading.strategies import touch_maker


def test_profit_on_the_clock_adds_up_to_the_account_and_the_round_trips(hour: Hour) -> None:
    result = run_backtest(hour.settings, hour.session, hour.events, _noise(hour, 1, 8.0))
    change = result.account.equity_nanos / 1e9 - hour.settings.strategy.capital
    assert result.net == pytest.approx(change, abs=1e-6)
    assert result.round_trips()["net_nanos"].sum() / 1e9 == pytest.approx(change, abs=1e-6)
    assert len(result.pnl) == 60
    metrics = result.metrics()
    assert metrics.net_pnl == pytest.approx(metrics.gross_pnl - metrics.fees)
    assert metrics.sharpe_period_ns == NS_PER_MINUTE
    assert metrics.round_trips == result.round_trips().height
    assert metrics.fill_rate is not None
    assert 0.5 < metrics.fill_rate <= 1
    assert metrics.slippage_units is not None
    assert metrics.slippage_units > 0.4, "a taker pays about half the spread"
    assert metrics.kelly_cap_share == 1.0
    assert "Kelly cap" in metrics.warnings[0]
    assert metrics.max_drawdown > 0
    assert metrics.to_dict()["worst_ladder"] == "normal"


def test_a_day_without_trades_has_no_ratios(hour: Hour) -> None:
    metrics = run_backtest(hour.settings, hour.session, hour.events, _noise(hour, 1, 1e-3)).metrics()
    assert (metrics.orders, metrics.net_pnl, metrics.sharpe, metrics.fill_rate) == (0, 0.0, None, None)


def test_an_account_is_carried_from_day_to_day(hour: Hour) -> None:
    forecasts = _noise(hour, 2, 8.0)
    results = run_days(hour.settings, {hour.session: (hour.events, forecasts)})
    again = run_backtest(hour.settings, hour.session, hour.events, forecasts, account=results[0].account)
    assert again.net == pytest.approx(results[0].net)
    assert again.account.equity_nanos - results[0].account.equity_nanos == round(again.net * 1e9)


def test_sessions_without_a_break_are_traded_as_one(hour: Hour) -> None:
    middle = (hour.session.open_ns + hour.session.close_ns) // 2
    halves = [replace(hour.session, close_ns=middle), replace(hour.session, open_ns=middle)]
    forecasts = _noise(hour, 2, 8.0)
    days = {
        half: (
            hour.events[(hour.events["ts_recv"] < middle) == first],
            forecasts[(forecasts["due_ns"] < middle) == first],
        )
        for half, first in zip(halves, (True, False), strict=True)
    }
    (joined,) = run_days(hour.settings, days)
    whole = run_backtest(hour.settings, hour.session, hour.events, forecasts)
    assert joined.journal.tobytes() == whole.journal.tobytes()
    read = {half: (events, _from_a_file(rows)) for half, (events, rows) in days.items()}
    (joined,) = run_days(hour.settings, read)
    assert joined.journal.tobytes() == whole.journal.tobytes()


def _from_a_file(rows: np.ndarray) -> np.ndarray:
    """Return rows as numpy reads them from a file: laid out alike, but not marked as aligned."""
    kept = io.BytesIO()
    np.save(kept, rows)
    kept.seek(0)
    return np.load(kept)


def test_more_latency_is_later_and_costs(hour: Hour) -> None:
    forecasts = _noise(hour, 3, 8.0)
    forecasts["due_ns"] += 1_000
    later = delay_forecasts(forecasts, 3.0)
    assert np.all(later["due_ns"] - later["ts_recv"] == 3_000)
    assert delay_forecasts(forecasts, 1.0) is forecasts


def test_the_bands_pessimistic_end_is_its_least_and_takers_do_not_queue(hour: Hour) -> None:
    world = hour.world.truth
    mids = {i.instrument_id: quotes(hour.world.ticks[i.symbol]) for i in hour.settings.instruments}
    forecasts = episode_forecasts(hour.settings, world, mids)
    band = run_band(hour.settings, {hour.session: (hour.events, forecasts)})
    assert len(band.points) == 9
    assert band.pessimistic.net == min(p.net for p in band.points) <= band.median <= band.optimistic.net
    by = {(p.queue_model, p.latency_scale): p.net for p in band.points}
    assert all(by["risk_averse", k] == by["probabilistic", k] == by["optimistic", k] for k in (0.5, 1.0, 3.0))
    with pytest.raises(ValueError, match="at least one session"):
        run_band(hour.settings, {})


def test_a_makers_fills_depend_on_the_queue_model(hour: Hour) -> None:
    maker = touch_maker(lots=100, max_position=300, last_entry_ns=last_entry_ns(hour.settings, hour.session))
    loose = hour.settings.model_copy(
        update={"risk": hour.settings.risk.model_copy(update={"max_order_lots": 500, "max_position_lots": 1_000})}
    )
    none = _noise(hour, 1, 1.0)[:0]
    fills = {
        queue: run_backtest(loose, hour.session, hour.events, none, strategy=maker, queue_model=queue)
        .metrics()
        .maker_fills
        for queue in ("risk_averse", "probabilistic", "optimistic")
    }
    assert 0 < fills["risk_averse"] < fills["probabilistic"]
    assert fills["probabilistic"] <= fills["optimistic"] * 1.2


def test_a_year_has_252_sessions_or_365(hour: Hour) -> None:
    assert sessions_per_year(hour.settings) == 252.0
    assert sessions_per_year(hour.settings.model_copy(update={"calendar": "24/7", "time_zone": "UTC"})) == 365.0


def test_an_oracle_earns_what_the_worlds_strength_states(hour: Hour) -> None:
    earned = oracle_strength(hour.settings, [hour.session])[""]
    assert earned["round_trips"] > 20
    assert abs(earned["net_spreads"] - 1.0) < 4 * earned["standard_error"]


def test_a_first_session_trades_single_lots_until_a_volatility_is_known_and_whole_orders_where_it_is(
    hour: Hour,
) -> None:
    strategy = hour.settings.strategy.model_copy(update={"order_lots": 4, "max_position_lots": 4})
    risk = hour.settings.risk.model_copy(update={"max_order_lots": 4, "max_position_lots": 4})
    sizing = hour.settings.sizing.model_copy(update={"volatility_target": 0.02})
    settings = hour.settings.model_copy(update={"strategy": strategy, "risk": risk, "sizing": sizing})
    day = {hour.session: (hour.events, _noise(hour, 2, 8.0))}

    def lots(earlier: list[SessionTrace]) -> dict[int, set[int]]:
        (result,) = run_days(settings, day, earlier=earlier)
        trips = result.round_trips()
        assert trips.height > 20
        ids = [item.instrument_id for item in settings.instruments]
        return {k: set(trips.filter(trips["instrument_id"] == number)["size_lots"]) for k, number in enumerate(ids)}

    assert lots([]) == {0: {1}, 1: {1}}
    known = settings.instruments[0].symbol
    before = [SessionTrace(hour.session.date - timedelta(days=1), {}, {known: 0.01})]
    found = lots(before)
    assert max(found[0]) == 4
    assert found[1] == {1}, "the other one is not known yet"

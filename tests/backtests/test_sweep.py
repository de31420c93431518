"""The sweep makes the engine's trades under every parameter set, on any number of threads."""

import numpy as np
import pytest

from backtests.parameters import TakerParameters, parameter_grid
from backtests.replay import run_backtest
from backtests.screen import Screen, screen
from backtests.sweep import Signals, sweep
from marketdata.clock import NS_PER_MINUTE
from models.training import strategy_trial
from tests.backtests.conftest import Hour
from tests.backtests.rows import make_forecasts, make_rows, make_settings
from tests.backtests.test_screen import _noise
from trading.config import taker_strategy
from trading.journal import RISK_REJECT

KEYS = ("instrument_id", "side", "entry_ns", "exit_ns", "gross_nanos", "fee_nanos")


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        (5.0, TakerParameters(0.0, 10.0)),
        (8.0, TakerParameters(0.5, 3.0, extend_share=1.5, exit_ticks=2)),
        (8.0, TakerParameters(0.1, 25.0, extend_share=0.0, order_lots=4, kelly_fraction=0.9)),
        (12.0, TakerParameters(1.0, 45.0, exit_ticks=0, order_lots=2, kelly_fraction=0.05)),
    ],
)
def test_at_no_latency_every_trade_is_the_engines(instant_hour: Hour, size: float, parameters: TakerParameters) -> None:
    hour = instant_hour
    forecasts = _noise(hour, 4, size)
    # Nothing is open when the session ends: there the engine trades on quotes between two rows, which the screen lacks.
    forecasts["edge_units"][forecasts["ts_recv"] > hour.session.close_ns - 5 * NS_PER_MINUTE] = 0.0
    fast = Screen.build(hour.dataset, hour.settings, parameters=parameters).run(forecasts)
    strategy = parameters.strategy(hour.settings, hour.session)
    slow = run_backtest(hour.settings, hour.session, hour.events, forecasts, strategy=strategy)
    assert not (slow.journal["kind"] == RISK_REJECT).any()
    ours = sorted(tuple(int(trip[name]) for name in KEYS) for trip in fast.trips)
    theirs = sorted(tuple(row[name] for name in KEYS) for row in slow.round_trips().iter_rows(named=True))
    assert len(ours) > 15
    assert ours == theirs
    assert fast.net == pytest.approx(slow.net, abs=1e-9)


def test_the_settings_own_parameters_are_the_nights_taker() -> None:
    settings = make_settings(2)
    rows = make_rows(settings, 3, days=2)
    own = TakerParameters.of(settings)
    assert own.strategy(settings, rows.sessions[0]) == taker_strategy(settings, rows.sessions[0])
    assert own.trial(settings) == strategy_trial(settings)
    forecasts = make_forecasts(rows, settings, 1, skill=0.4)
    found = sweep(Screen.build(rows, settings), Signals.of(forecasts), [own])
    night = screen(rows, forecasts, settings)
    assert np.array_equal(found.pnl[:, 0], night.pnl)
    assert found.round_trips[0] == night.round_trips
    assert found.held_s[0] * 1e9 == pytest.approx(night.holding_ns)
    gross, fees = (night.trips[name].sum() / 1e9 for name in ("gross_nanos", "fee_nanos"))
    assert (found.gross[0], found.fees[0]) == (pytest.approx(gross), pytest.approx(fees))
    value = (night.trips["entry_units"] + night.trips["exit_units"]) * night.trips["lots"] * 1e-2
    assert found.turnover[0] == pytest.approx(value.sum())
    assert found.break_even_bps[0] == pytest.approx(1e4 * gross / value.sum())


def test_threads_and_neighbours_change_nothing() -> None:
    settings = make_settings(2)
    rows = make_rows(settings, 3, days=2)
    signals = Signals.of(make_forecasts(rows, settings, 1, skill=0.4))
    sets = parameter_grid(
        TakerParameters.of(settings), {"edge_margin": [0.0, 0.5, 1.0], "horizon_s": [5, 20], "extend_share": [0.0, 1.0]}
    )
    assert len(sets) == 13
    prepared = Screen.build(rows, settings)
    together = sweep(prepared, signals, sets, threads=3)
    for k in (0, 5, 12):
        alone = sweep(prepared, signals, [sets[k]], threads=1)
        assert np.array_equal(alone.pnl[:, 0], together.pnl[:, k])
    assert together.round_trips.min() > 0
    assert len(set(together.net.tolist())) == 13


def test_a_set_that_never_trades_has_no_break_even() -> None:
    settings = make_settings(1)
    rows = make_rows(settings, 3, days=1)
    never = TakerParameters(1e6, 10.0)
    found = sweep(Screen.build(rows, settings), Signals.of(make_forecasts(rows, settings, 1, skill=0.4)), [never])
    assert (found.round_trips[0], found.net[0], found.sharpe[0]) == (0, 0.0, 0.0)
    assert np.isnan(found.break_even_bps[0])
    assert np.isnan(found.held_s[0])


@pytest.mark.parametrize(
    "axes", [{"speed": [1.0]}, {"edge_margin": []}, {"edge_margin": [-0.1]}, {"order_lots": [0]}, {"horizon_s": [0.0]}]
)
def test_a_grid_of_what_is_no_parameter_is_refused(axes: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match=r"each must be one of|needed|above 0"):
        parameter_grid(TakerParameters.of(make_settings(1)), axes)

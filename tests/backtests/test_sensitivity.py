"""Surfaces: fees and latency cost, a larger account meets less depth, and what a side could bear is the profit before fees."""

import numpy as np
import pytest

from backtests.oracle_trades import episode_forecasts
from backtests.parameters import TakerParameters, parameter_grid
from backtests.replay import run_days
from backtests.screen import Screen
from backtests.screen_bias import screen_bias, spread_places
from backtests.sensitivity import run_surfaces, scaled_settings
from backtests.sweep import Signals, sweep
from marketdata.simulator.oracle import quotes
from models.forecast import ForecastArray
from tests.backtests.conftest import Hour
from tests.backtests.test_screen import _noise


def oracle(hour: Hour) -> ForecastArray:
    mids = {item.instrument_id: quotes(hour.world.ticks[item.symbol]) for item in hour.settings.instruments}
    return episode_forecasts(hour.settings, hour.world.truth, mids)


def test_each_axis_costs_in_its_own_way_and_the_middle_is_the_backtest(hour: Hour) -> None:
    days = {hour.session: (hour.events, oracle(hour))}
    found = run_surfaces(hour.settings, days, sizes=(1.0, 4.0), latencies=(1.0, 200.0), fees=(0.0, 1.0, 3.0))
    assert len(found.points) == 12
    own = found.at(1.0, 1.0, 1.0)
    (result,) = run_days(hour.settings, days)
    assert own.net == pytest.approx(result.net)
    assert own.fees_paid == pytest.approx(result.metrics().fees)
    assert own.round_trips == result.round_trips().height > 20
    free, dear = found.at(1.0, 1.0, 0.0), found.at(1.0, 1.0, 3.0)
    assert free.fees_paid == 0.0
    assert free.net == free.gross
    assert free.net > own.net > dear.net
    assert found.at(1.0, 200.0, 1.0).gross < own.gross, "a second later much of the move is gone"
    assert found.at(4.0, 1.0, 1.0).turnover > 2 * own.turnover
    assert own.break_even_bps == pytest.approx(own.net_bps + 1e4 * own.fees_paid / own.turnover)
    assert own.break_even_bps > found.fee_bps > 0


def test_a_larger_account_differs_in_nothing_but_size(hour: Hour) -> None:
    same = scaled_settings(hour.settings, size=1.0, fees=1.0)
    assert same == hour.settings
    large = scaled_settings(hour.settings, size=2.5, fees=0.5)
    assert large.strategy.capital == 2.5 * hour.settings.strategy.capital
    assert large.strategy.order_lots == int(np.ceil(2.5 * hour.settings.strategy.order_lots))
    for ours, theirs in zip(large.instruments, hour.settings.instruments, strict=True):
        assert ours.fees.taker_ppm == round(0.5 * theirs.fees.taker_ppm)


@pytest.mark.parametrize("axes", [{"sizes": ()}, {"sizes": (0.0,)}, {"latencies": (-1.0,)}, {"fees": (-0.5,)}])
def test_axes_that_mean_nothing_are_refused(hour: Hour, axes: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match=r"surfaces need|must be above 0"):
        run_surfaces(hour.settings, {hour.session: (hour.events, _noise(hour, 1, 8.0))}, **axes)  # type: ignore[arg-type]  # names are the test's


def test_the_screens_bias_is_measured_over_sets_of_every_rank(hour: Hour) -> None:
    forecasts = _noise(hour, 6, 8.0)
    sets = parameter_grid(TakerParameters.of(hour.settings), {"edge_margin": [0.0, 0.5, 1.0], "horizon_s": [5, 20]})
    found = sweep(Screen.build(hour.dataset, hour.settings), Signals.of(forecasts), sets)
    places = spread_places(found.net.tolist(), 4)
    assert len(set(places)) == 4
    assert found.net[places[0]] == found.net.max()
    assert found.net[places[-1]] == found.net.min()
    bias = screen_bias(hour.settings, found, {hour.session: (hour.events, forecasts)}, places)
    assert [row.rank for row in bias.rows] == sorted(row.rank for row in bias.rows)
    assert bias.rank_correlation > 0.9
    for row in bias.rows:
        (engine,) = run_days(hour.settings, {hour.session: (hour.events, forecasts)}, strategy=row.parameters.strategy)
        assert row.engine_net == pytest.approx(engine.net)
        # Levels are deep and no forecast takes time: only the session's last exit differs.
        assert abs(row.bias_per_trip) * row.engine_trips < 0.02 * abs(row.engine_net)

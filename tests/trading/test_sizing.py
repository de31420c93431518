"""Sizes: nothing without an edge, more for more, never above the whole; growth is largest where Kelly says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.controls import ANOMALY, SIZE_SCALE, ControlArray
from trading.size_scales import anomaly_scores, regime_scales, volatility_scales
from trading.sizing import (
    confidence_share,
    kelly_binary,
    kelly_gaussian,
    regime_multiplier,
    risk_lots,
    shrunk_edge,
    volatility_scale,
)


def _growth(share: float, p: float, gain: float, loss: float, bets: int = 400_000) -> float:
    """Mean log growth a bet, simulated with one seed for every share."""
    won = np.random.default_rng(7).random(bets) < p
    return float(np.mean(np.log1p(share * np.where(won, gain, -loss))))


@pytest.mark.parametrize(("p", "gain", "loss"), [(0.55, 1.0, 1.0), (0.4, 2.0, 1.0), (0.7, 0.5, 0.8)])
def test_the_simulated_growth_curve_peaks_at_the_binary_share(p: float, gain: float, loss: float) -> None:
    best = kelly_binary(p, gain, loss)
    assert best == pytest.approx(p / loss - (1 - p) / gain)
    assert best > 0
    curve = [_growth(share, p, gain, loss) for share in (0.5 * best, 0.9 * best, best, 1.1 * best, 1.5 * best)]
    assert curve[0] < curve[1] < curve[2] * 1.02
    assert curve[4] < curve[3] < curve[2] * 1.02
    # Half the bet keeps three quarters of the growth (to second order), twice of it none.
    assert curve[0] == pytest.approx(0.75 * curve[2], rel=0.1)
    assert _growth(2.05 * best, p, gain, loss) < 0.1 * curve[2]


def test_nothing_is_bet_on_a_fair_coin_or_worse() -> None:
    # The form (p(1+b) - q)/b, which W4 forbids, would bet half of the capital on the first of these.
    for p, gain in ((0.5, 1.0), (0.3, 1.0), (1 / 3, 2.0)):
        assert kelly_binary(p, gain, 1.0) == pytest.approx(0.0, abs=1e-12)
    assert kelly_gaussian(0.0, 1.0) == kelly_gaussian(-0.1, 1.0) == 0.0
    assert kelly_gaussian(0.02, 0.04) == pytest.approx(0.5)


@settings(deadline=None)
@given(p=st.floats(0, 1), more=st.floats(0, 0.5), gain=st.floats(0.1, 5), loss=st.floats(0.1, 1))
def test_the_share_grows_with_the_probability(p: float, more: float, gain: float, loss: float) -> None:
    assert kelly_binary(min(p + more, 1.0), gain, loss) >= kelly_binary(p, gain, loss) >= 0


def test_an_edge_within_its_own_error_is_shrunk_to_nothing() -> None:
    assert shrunk_edge(0.1, 1.0, 99) == 0.0, "t below 1"
    assert shrunk_edge(0.2, 1.0, 100) == pytest.approx(0.2 * 0.75), "t = 2"
    assert shrunk_edge(-0.2, 1.0, 100) == pytest.approx(-0.15)
    assert shrunk_edge(0.2, 1.0, 0) == shrunk_edge(0.0, 1.0, 9) == 0.0


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=5), st.data())
def test_a_regime_multiplier_lies_between_nothing_and_one(weights: list[float], data: st.DataObject) -> None:
    p = np.array(weights) / sum(weights)
    m = np.array(data.draw(st.lists(st.floats(-2, 5), min_size=len(p), max_size=len(p))))
    made = regime_multiplier(p, m)
    assert 0 <= made <= 1
    assert made == pytest.approx(float(p @ np.clip(m, 0, 1)))


def test_a_regime_that_is_not_known_bets_nothing() -> None:
    assert regime_multiplier(np.array([np.nan, 0.5]), np.array([1.0, 1.0])) == 0.0
    assert volatility_scale(1.0, np.nan) == 0.0


def test_volatility_is_held_at_its_target_and_never_levered_up() -> None:
    assert volatility_scale(1.0, 4.0) == 0.25
    assert volatility_scale(1.0, 0.1) == volatility_scale(1.0, 1.0) == 1.0
    # Variance 4 units squared a second for 25 s: a deviation of 10 units, worth 0.01 a lot.
    assert risk_lots(0.05, 4.0, 25.0, 1_000_000, 100) == 5
    assert risk_lots(0.0499, 4.0, 25.0, 1_000_000, 100) == 4
    assert risk_lots(0.0, 4.0, 25.0, 1_000_000, 100) == risk_lots(0.05, 0.0, 25.0, 1_000_000, 100) == 100


def test_confidence_is_nothing_at_the_floor_and_whole_from_full_on() -> None:
    assert [confidence_share(v, 0.5, 0.9) for v in (0.4, 0.5, 0.7, 0.9, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])


def test_scales_are_controls_where_they_change() -> None:
    times = np.arange(5, dtype=np.int64) * 10
    p = np.array([[1.0, 0.0], [0.99, 0.01], [0.4, 0.6], [0.4, 0.6], [np.nan, np.nan]])
    made = regime_scales(times, p, np.array([1.0, 0.0]), 3, steps=10)
    assert made["due_ns"].tolist() == [10, 20, 40]
    assert made["value"].tolist() == [900_000, 400_000, 0]
    assert set(made["kind"].tolist()) == {SIZE_SCALE}
    assert set(made["instrument_id"].tolist()) == {3}
    calm = volatility_scales(times, np.array([1.0, 1.0, 2.0, 2.0, 0.5]), 1.0, 0)
    assert list(zip(calm["due_ns"].tolist(), calm["value"].tolist(), strict=True)) == [(20, 500_000), (40, 1_000_000)]
    odd = anomaly_scores(times, np.array([0.1, 3.0, 4.0, np.nan, np.inf]), 3.0, 0)
    assert odd["due_ns"].tolist() == [10, 30, 40]
    assert odd["value"].tolist()[:2] == [3_000_000, 0]
    assert set(odd["kind"].tolist()) == {ANOMALY}
    with pytest.raises(ValueError, match="shape"):
        regime_scales(times, p, np.ones(3), 0)
    with pytest.raises(ValueError, match="target"):
        volatility_scales(times, np.ones(5), 0.0, 0)


def test_scales_of_many_rows_are_those_of_each_row_and_look_at_no_later_one() -> None:
    rng = np.random.default_rng(4)
    p = rng.dirichlet([0.4, 0.4, 0.4], 400)
    p[rng.random(400) < 0.05] = np.nan
    weights = np.array([1.5, 0.6, -0.3])
    volatility = np.where(rng.random(400) < 0.05, np.nan, rng.gamma(1.0, 1.0, 400))
    times = np.arange(400, dtype=np.int64)

    def held(rows: ControlArray) -> list[int]:
        """Value in force at each time."""
        place = np.searchsorted(rows["due_ns"], times, side="right") - 1
        return np.where(place >= 0, rows["value"][place], 1_000_000).tolist()

    regimes, calm = regime_scales(times, p, weights, 0), volatility_scales(times, volatility, 0.7, 0)
    assert held(regimes) == [int(regime_multiplier(row, weights) * 20 + 1e-9) * 50_000 for row in p]
    assert held(calm) == [int(volatility_scale(0.7, v) * 20 + 1e-9) * 50_000 for v in volatility]
    for cut in (1, 57, 399):
        part = regime_scales(times[:cut], p[:cut], weights, 0)
        assert part.tolist() == regimes[regimes["due_ns"] < cut].tolist()

"""Sizes: nothing without an edge, more for more, never above the whole; growth is largest where Kelly says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.sizing import (
    confidence_share,
    kelly_binary,
    kelly_gaussian,
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


def test_volatility_is_held_at_its_target_and_never_levered_up() -> None:
    assert volatility_scale(1.0, 4.0) == 0.25
    assert volatility_scale(1.0, 0.1) == volatility_scale(1.0, 1.0) == 1.0
    # Variance 4 units squared a second for 25 s: a deviation of 10 units, worth 0.01 a lot.
    assert risk_lots(0.05, 4.0, 25.0, 1_000_000, 100) == 5
    assert risk_lots(0.0499, 4.0, 25.0, 1_000_000, 100) == 4
    assert risk_lots(0.0, 4.0, 25.0, 1_000_000, 100) == risk_lots(0.05, 0.0, 25.0, 1_000_000, 100) == 100


def test_confidence_is_nothing_at_the_floor_and_whole_from_full_on() -> None:
    assert [confidence_share(v, 0.5, 0.9) for v in (0.4, 0.5, 0.7, 0.9, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])


def test_a_volatility_that_is_not_known_bets_nothing() -> None:
    assert volatility_scale(1.0, np.nan) == 0.0

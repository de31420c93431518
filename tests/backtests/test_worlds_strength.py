"""A planted strength is what it says, whatever the pace of the market."""

import numpy as np
import pytest

from marketdata.presets import preset
from marketdata.simulator.calibration import PACES, STRENGTH_COSTS, STRENGTH_MAP, informed_move_units, strength_line
from marketdata.simulator.oracle import net_spreads, oracle_profit


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_the_oracle_nets_the_strength_in_a_market_an_eighth_as_busy(strength: float) -> None:
    base = preset("simulated", None, signal=strength, sessions=12)
    simulator = base.simulator.model_copy(update={"events_per_session": 20_000, "world": "market", "signal": strength})
    settings = base.model_copy(update={"instruments": base.instruments[:3], "simulator": simulator})
    sessions = settings.market_calendar().first_sessions(settings.start_date, 12)
    net = net_spreads(oracle_profit(settings, sessions))
    assert len(net) > 800
    assert abs(net.mean() - strength) < 0.05 + 3.0 * net.std() / np.sqrt(len(net))


def test_costs_are_those_measured_and_lines_between() -> None:
    for pace, costs in zip(PACES, STRENGTH_COSTS, strict=True):
        assert tuple(strength_line(k, pace).cost_units for k in range(5)) == pytest.approx(costs)
    assert tuple(strength_line(k) for k in range(5)) == STRENGTH_MAP
    assert strength_line(0, 0.01) == strength_line(0, PACES[0])
    assert strength_line(0, 50.0) == strength_line(0, PACES[-1])
    middle = strength_line(0, np.sqrt(0.5 * 0.25)).cost_units
    assert middle == pytest.approx(0.5 * (STRENGTH_COSTS[1][0] + STRENGTH_COSTS[2][0]))
    item = preset("simulated", None).instruments[0]
    moves = [informed_move_units(item, 1.0, pace) for pace in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)]
    assert np.all(np.diff(moves) < 0), "the busier the market, the cheaper to trade in, the smaller the move"

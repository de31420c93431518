"""What order flow explains in recorded NASDAQ messages (R10), and where the micro-price says the mid goes (W2).

The figures are those of one day; they are held as they were found, so that a change of the flows or of the codec shows.
"""

from pathlib import Path
from typing import NamedTuple

import pytest

from features.entry import LEVELS
from features.microprice_study import FAIR_PRICES, microprice_study
from features.order_flow import (
    MEASURES,
    Explained,
    GroupFlows,
    bin_flows,
    group_flows,
    impact_regressions,
    integrated_weights,
    shuffled,
)
from features.pipeline import FeaturePipeline
from features.state import C_BUY_LOTS, C_OFI, C_SELL_LOTS
from marketdata.clock import Session
from marketdata.events import EventArray
from marketdata.instruments import Instrument
from marketdata.settings import SamplingSettings
from marketdata.sources import build_source, preset

pytestmark = pytest.mark.realdata


class Tape(NamedTuple):
    events: EventArray
    instrument: Instrument
    session: Session
    groups: GroupFlows


def _tape(shared_data: Path, symbol: str, levels: int) -> Tape:
    settings = preset("lobster", shared_data / "market" / "lobster")
    source = build_source(settings)
    session = source.sessions()[0]
    events = source.events(source.raw_ticks(session.date, symbol), session.date, symbol)
    return Tape(events, settings.instrument(symbol), session, group_flows(events, levels))


@pytest.fixture(scope="module")
def amazon(shared_data: Path) -> Tape:
    return _tape(shared_data, "AMZN", LEVELS)


@pytest.fixture(scope="module")
def apple(shared_data: Path) -> Tape:
    return _tape(shared_data, "AAPL", 1)


def _found(tape: Tape) -> dict[str, Explained]:
    return {one.measure: one for one in impact_regressions(bin_flows(tape.groups, tape.session))}


def test_integrated_flow_explains_more_than_the_best_level_and_that_more_than_trades(amazon: Tape) -> None:
    found = _found(amazon)
    assert tuple(found) == MEASURES
    assert found["trade imbalance"].inside == pytest.approx(0.36, abs=0.005)
    assert found["best level"].inside == pytest.approx(0.53, abs=0.01)
    assert found["integrated"].inside == pytest.approx(0.83, abs=0.005)
    assert found["trade imbalance"].inside < found["best level"].inside < found["integrated"].inside
    # Over the whole day at once the order of the first two reverses.
    assert found["trade imbalance"].whole == pytest.approx(0.319, abs=0.001)
    assert found["best level"].whole == pytest.approx(0.312, abs=0.001)
    assert len(found["integrated"].windows) == 13


def test_the_order_holds_in_the_next_half_hour_once_flows_are_divided_by_depth(amazon: Tape) -> None:
    found = _found(amazon)
    assert found["integrated"].ahead == pytest.approx(0.829, abs=0.005)
    assert found["best level / depth"].ahead == pytest.approx(0.591, abs=0.005)
    assert found["trade imbalance / depth"].ahead == pytest.approx(0.284, abs=0.005)
    assert found["trade imbalance / depth"].ahead < found["best level / depth"].ahead < found["integrated"].ahead
    # In lots the slope of one half hour says little of the next, because depth differs.
    assert found["best level"].ahead == pytest.approx(0.064, abs=0.005)
    weights = integrated_weights(bin_flows(amazon.groups, amazon.session))
    assert (weights > 0).all()
    assert weights.sum() == pytest.approx(1.0)


def test_with_one_level_there_is_no_integrated_flow(apple: Tape) -> None:
    found = _found(apple)
    assert tuple(found) == MEASURES[:4]
    assert found["trade imbalance"].inside == pytest.approx(0.33, abs=0.005)
    assert found["best level"].inside == pytest.approx(0.51, abs=0.005)
    assert found["best level / depth"].ahead > found["trade imbalance / depth"].ahead > 0.2


@pytest.mark.parametrize("symbol", ["amazon", "apple"])
def test_dealing_the_flows_out_anew_destroys_the_relation(symbol: str, request: pytest.FixtureRequest) -> None:
    tape: Tape = request.getfixturevalue(symbol)
    for seed in (0, 1):
        for one in impact_regressions(bin_flows(shuffled(tape.groups, seed), tape.session)):
            assert one.inside < 0.03
            assert one.ahead < 0.0
            assert one.whole < 0.01


def test_the_kernels_own_totals_are_the_same_flows(amazon: Tape) -> None:
    sampling = SamplingSettings(every_events=1_000_000)
    pipeline = FeaturePipeline(amazon.instrument, sampling, amazon.session.open_ns, amazon.session.close_ns, False)
    state, _ = pipeline.step(pipeline.init(), amazon.events)
    groups = amazon.groups
    assert [int(state.total[C_OFI + m]) for m in range(LEVELS)] == groups.flow.sum(axis=0).tolist()
    assert int(state.total[C_BUY_LOTS] - state.total[C_SELL_LOTS]) == int(groups.traded.sum())


def test_the_micro_price_beats_the_weighted_mid_everywhere_and_the_mid_within_ten_seconds(amazon: Tape) -> None:
    found = {row.target: row for row in microprice_study(amazon.events, amazon.instrument, amazon.session)}
    for row in found.values():
        assert row.quotes > 20_000
        assert row.gain_over_weighted[1] > 0
    for target in ("mid 1 s on", "mid 10 s on"):
        assert found[target].gain_over_mid[1] > 0
    assert found["mid 10 s on"].gain_over_mid[0] == pytest.approx(0.0131, abs=0.002)
    # As the limit of all later moves it goes beyond the very next one: there the mid after the first move is better.
    following = found["next mid"]
    assert following.gain_over_mid[0] < 0
    assert following.first_over_mid[1] > 0
    assert following.mae[FAIR_PRICES[2]] < following.mae[FAIR_PRICES[0]]


def test_on_apple_the_micro_price_does_not_beat_the_mid(apple: Tape) -> None:
    found = {row.target: row for row in microprice_study(apple.events, apple.instrument, apple.session)}
    assert all(row.gain_over_weighted[1] > 0 for row in found.values())
    assert not any(row.gain_over_mid[1] > 0 for row in found.values())

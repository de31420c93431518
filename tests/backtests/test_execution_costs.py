"""What a parent order cost adds up, and two algorithms are compared on the same parents and tape."""

from typing import Any

import numpy as np
import pytest

from backtests.ab import ABError, Assignment, compare, draw_parents, group_differences
from backtests.tca import MARKOUTS_NS, analyse_parent, market_mids
from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.events import ASK, BID, EXECUTE, LEVEL
from marketdata.presets import preset
from marketdata.sources import build_source
from models.forecast import FORECAST_DTYPE
from tests.trading.tape import OPEN_NS, Tape, engine, instrument, run, script
from trading.execution import ParentOrder
from trading.execution_algorithms import hybrid_twap, twap
from trading.orders import IOC, POST_ONLY
from trading.strategies import Strategy


def crossing(one: Assignment) -> Strategy:
    return twap(one.parent)


def resting(one: Assignment) -> Strategy:
    return hybrid_twap(one.parent)


def rising_tape() -> Any:
    """Mid 1005 for ten seconds, 1025 for ten, 1045 from then on; the spread stays 10."""
    tape = Tape()
    for k in range(40):
        step = 20 * min(k // 10, 2)
        tape(1_000 * k, LEVEL, ASK, 1_010 + step, 30, last=False)
        if k % 10 == 0 and k and k <= 20:
            tape(1_000 * k, LEVEL, ASK, 990 + step, 0, last=False)
        tape(1_000 * k, LEVEL, BID, 1_000 + step, 30)
    tape(15_500, EXECUTE, BID, 1_020, 4)
    return tape


def test_the_shortfall_is_the_sum_of_delay_execution_opportunity_and_fees() -> None:
    tape = rising_tape()
    events = np.sort(tape.events(), order=["ts_event", "sequence"])
    parent = ParentOrder(1, 10, OPEN_NS + 9_999 * NS_PER_MS, OPEN_NS + 25 * NS_PER_S)
    # Six lots at the ask of 1030, four more asked at 1020 at rest and never filled.
    made = engine(script((10_500, 1, IOC, 1_030, 6), (11_000, 1, POST_ONLY, 1_015, 4)))
    _, journal = run(made, events)
    what = instrument()
    report = analyse_parent(parent, journal, market_mids(events, what), what, path_ns=2_100_000, decision_ns=100_000)
    unit = what.unit_nanos / 1e9
    assert report.filled_lots == 6
    assert report.fill_rate == pytest.approx(0.6)
    assert report.decision_units == 1_005.0
    assert report.arrival_units == 1_025.0, "the price moved while the order was on its way"
    assert report.delay == pytest.approx(20 * 6 * unit)
    assert report.execution == pytest.approx(5 * 6 * unit), "half a spread on six lots"
    assert report.opportunity == pytest.approx((1_045 - 1_005) * 4 * unit), "four lots that ran away"
    assert report.fees == pytest.approx(1_030 * 6 * unit * 30e-6, abs=2e-9)
    assert report.shortfall == pytest.approx(report.delay + report.execution + report.opportunity + report.fees)
    assert report.shortfall_bps == pytest.approx(1e4 * report.shortfall / (1_005 * 10 * unit))
    assert report.decision_bps == pytest.approx(1e4 * 25 / 1_005)
    assert report.vwap_units == 1_020.0, "four lots traded in the market"
    assert dict(zip(MARKOUTS_NS, report.markout_bps, strict=True))[NS_PER_S] == pytest.approx(1e4 * 5 / 1_030)
    assert report.markout_bps[-1] == pytest.approx(-1e4 * 15 / 1_030), "a minute later the mid is 1,045"
    assert report.maker_share == 0.0
    assert report.latency.decision_us == pytest.approx(100)
    assert report.latency.wire_us == pytest.approx(2_000)
    assert np.isnan(report.latency.queue_us)


def test_a_seller_pays_when_the_price_falls() -> None:
    tape = rising_tape()
    events = np.sort(tape.events(), order=["ts_event", "sequence"])
    parent = ParentOrder(-1, 5, OPEN_NS + 5 * NS_PER_S, OPEN_NS + 25 * NS_PER_S)
    _, journal = run(engine(script((15_000, -1, IOC, 1_020, 5))), events)
    what = instrument()
    report = analyse_parent(parent, journal, market_mids(events, what), what, path_ns=2_100_000)
    assert report.execution == pytest.approx(-15 * 5 * what.unit_nanos / 1e9), "sold 15 above the arrival mid"
    assert report.decision_bps < 0


@pytest.fixture(scope="module")
def market() -> tuple[Any, ...]:
    settings = preset("simulated", None, signal=0.0, sessions=1)
    settings = settings.model_copy(update={"instruments": settings.instruments[:1]})
    session = settings.market_calendar().first_sessions(settings.start_date, 1)[0]

    source = build_source(settings)
    raw = source.raw_ticks(session.date, settings.instruments[0].symbol)
    events = source.events(raw, session.date, settings.instruments[0].symbol)
    return settings, session, events


def test_an_algorithm_against_itself_differs_by_nothing(market: tuple[Any, ...]) -> None:
    settings, session, events = market
    drawn = draw_parents([session], settings.instruments, parents=20, lots=2, length_ns=300 * NS_PER_S, seed=3)
    nothing = np.zeros(0, FORECAST_DTYPE)
    found = compare(settings, drawn, lambda _: (events, nothing), {"a": crossing, "b": crossing})
    assert found.difference_bps == 0.0
    assert (found.low_bps, found.high_bps) == (0.0, 0.0)
    assert not found.differs
    assert all(report.filled_lots == 2 for report in found.reports[0])


def test_resting_saves_most_of_the_spread_where_nothing_can_be_forecast(market: tuple[Any, ...]) -> None:
    settings, session, events = market
    drawn = draw_parents([session], settings.instruments, parents=30, lots=20, length_ns=1_800 * NS_PER_S, seed=5)
    nothing = np.zeros(0, FORECAST_DTYPE)
    algorithms = {"crossing": crossing, "resting": resting}
    found = compare(settings, drawn, lambda _: (events, nothing), algorithms, queue_model="fifo")
    assert found.names == ("crossing", "resting")
    maker = np.nanmean([report.maker_share for report in found.reports[1]])
    assert maker > 0.5, "two lots every three minutes find somebody to trade with"
    assert found.differs
    assert found.high_bps < 0, "what is earned at rest outweighs what runs away"
    assert found.low_bps <= found.difference_bps <= found.high_bps
    groups = group_differences(found)
    assert [g.kind for g in groups] == ["all", "side", "side", "instrument", "session"]
    for kind in ("side", "instrument", "session"):
        own = [g for g in groups if g.kind == kind]
        assert sum(g.parents for g in own) == 30
        assert sum(g.difference_bps * g.parents for g in own) / 30 == pytest.approx(found.difference_bps)
    whole = groups[0]
    assert (whole.low_bps, whole.high_bps) == (found.low_bps, found.high_bps)
    assert all(np.isnan(g.low_bps) == (g.parents < 20) for g in groups)


def test_too_few_parents_and_too_short_sessions_are_refused(market: tuple[Any, ...]) -> None:
    settings, session, events = market
    with pytest.raises(ABError, match="too short"):
        draw_parents([session], settings.instruments, parents=1, lots=1, length_ns=30_000 * NS_PER_S, seed=1)
    drawn = draw_parents([session], settings.instruments, parents=3, lots=1, length_ns=60 * NS_PER_S, seed=1)
    with pytest.raises(ABError, match="too few"):
        compare(settings, drawn, lambda _: (events, np.zeros(0, FORECAST_DTYPE)), {"a": crossing, "b": crossing})
    with pytest.raises(ABError, match="of two"):
        compare(settings, drawn, lambda _: (events, np.zeros(0, FORECAST_DTYPE)), {"a": crossing})

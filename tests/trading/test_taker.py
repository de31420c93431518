"""The taker: enters on an edge that pays, holds for its horizon, extends or leaves, and does not re-enter on each tick."""

import numpy as np
import pytest

from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.events import ASK, BID, LEVEL
from marketdata.instruments import BookKind
from models.forecast import ForecastArray
from tests.trading.tape import (
    LATENCY,
    OPEN_NS,
    SESSION,
    Tape,
    engine,
    forecast,
    instrument,
    quoted,
    run,
    simple_taker,
)
from trading.journal import FILL, FORECAST, ORDER, OUTCOME_NAMES, Journal
from trading.sizing import KELLY_CAP, bet_lots, bet_share, kelly_binary, kelly_three

COST = 5 + 2 * 30e-6 * 10_002.5
ENOUGH = 1.26 * COST


def _outcomes(rows: Journal) -> list[str]:
    return [OUTCOME_NAMES[k] for k in rows["reason"][rows["kind"] == FORECAST]]


def _trade(*forecasts: ForecastArray, tape: Tape | None = None, **changes: object) -> Journal:
    events = (tape or quoted(Tape(), lots=100)).events()
    return run(engine(simple_taker(**changes)), events, np.concatenate(forecasts))[1]


def test_it_enters_only_above_the_cost_and_the_margin() -> None:
    rows = _trade(forecast(100, 1.24 * COST), forecast(200, -1.24 * COST), forecast(300, ENOUGH))
    assert _outcomes(rows) == ["no_edge", "no_edge", "entered"]
    order = rows[rows["kind"] == ORDER][0]
    assert (order["side"], order["price_units"]) == (BID, 10_005)


def test_it_does_not_enter_again_on_each_tick() -> None:
    rows = _trade(*(forecast(100 + 500 * k, ENOUGH) for k in range(15)))
    assert _outcomes(rows) == ["entered"] + ["holding"] * 14
    assert (rows["kind"] == ORDER).sum() == 2, "one in, and one out at the session's end"


def test_nothing_is_decided_while_an_answer_is_under_way() -> None:
    rows = _trade(forecast(100, ENOUGH), forecast(104, ENOUGH), forecast(104.2, ENOUGH))
    assert LATENCY.decision_ns + LATENCY.order_ns + LATENCY.response_ns == round(4.1 * NS_PER_MS)
    assert _outcomes(rows) == ["entered", "in_flight", "holding"]


def test_it_leaves_at_the_first_forecast_a_horizon_later() -> None:
    rows = _trade(forecast(100, -ENOUGH), forecast(10_099, 0.0), forecast(10_100, 0.0), forecast(10_200, 0.0))
    assert _outcomes(rows) == ["entered", "holding", "exit_sent", "no_edge"]
    assert rows["position_lots"][rows["kind"] == FILL].tolist() == [-1, 0]


def test_it_stays_for_another_horizon_when_the_forecast_still_favours_it() -> None:
    rows = _trade(
        forecast(100, ENOUGH), forecast(10_200, 0.26 * COST), forecast(20_100, 9.0), forecast(20_200, 0.24 * COST)
    )
    assert _outcomes(rows) == ["entered", "extended", "holding", "exit_sent"]


def test_an_opposite_forecast_does_not_extend() -> None:
    rows = _trade(forecast(100, ENOUGH), forecast(10_200, -ENOUGH), forecast(10_300, -ENOUGH))
    assert _outcomes(rows) == ["entered", "exit_sent", "entered"]


def test_an_entry_that_finds_the_quote_gone_is_not_chased() -> None:
    tape = quoted(Tape(), lots=9)(101, LEVEL, ASK, 10_005, 0, last=False)(101, LEVEL, ASK, 10_010, 9)
    rows = _trade(forecast(100, ENOUGH), forecast(200, ENOUGH), tape=tape)
    assert _outcomes(rows) == ["entered", "no_edge"]
    assert not (rows["kind"] == FILL).any()


def test_an_exit_goes_through_the_touch() -> None:
    tape = quoted(Tape(), lots=9)(10_101, LEVEL, BID, 10_000, 0, last=False)(10_101, LEVEL, BID, 9_990, 9)
    rows = _trade(forecast(100, ENOUGH), forecast(10_100, 0.0), tape=tape)
    assert rows["price_units"][rows["kind"] == FILL].tolist() == [10_005, 9_990]


def test_when_forecasts_stop_a_timer_leaves() -> None:
    rows = _trade(forecast(100, ENOUGH))
    fills = rows[rows["kind"] == FILL]
    assert fills["position_lots"].tolist() == [1, 0]
    assert fills["venue_ns"][1] < OPEN_NS + 100 * NS_PER_S


def test_it_opens_nothing_late_and_is_flat_before_the_close() -> None:
    last_ms = (SESSION.close_ns - OPEN_NS) / NS_PER_MS - 40_000
    rows = _trade(forecast(last_ms, ENOUGH), forecast(last_ms + 12_000, 9 * ENOUGH), forecast(last_ms + 13_000, 9.0))
    assert _outcomes(rows) == ["entered", "exit_sent", "too_late_to_enter"]
    rows = _trade(forecast(last_ms, ENOUGH), forecast(last_ms + 100, ENOUGH, k=0))
    fills = rows[rows["kind"] == FILL]
    assert fills["position_lots"].tolist() == [1, 0]
    assert fills["venue_ns"][1] < SESSION.close_ns - 14 * NS_PER_S


def test_a_crossed_or_one_sided_book_is_no_quote() -> None:
    crossed = Tape()(0, LEVEL, BID, 10_010, 5, last=False)(0, LEVEL, ASK, 10_005, 5)
    made = engine(simple_taker(), instruments=(instrument(kind=BookKind.NBBO),))
    assert _outcomes(run(made, crossed.events(), forecast(100, 50.0))[1]) == ["no_quote"]
    assert _outcomes(_trade(forecast(100, 50.0), tape=Tape()(0, LEVEL, BID, 10_000, 5))) == ["no_quote"]


def test_a_bet_below_one_lot_is_not_made() -> None:
    assert _outcomes(_trade(forecast(100, ENOUGH), capital=99.0)) == ["no_size"]


# -- sizes -------------------------------------------------------------------------------------------------------------------


def test_the_binary_kelly_bets_nothing_on_a_fair_coin_and_grows_with_the_odds() -> None:
    assert kelly_binary(0.5, 1.0, 1.0) == 0.0
    assert kelly_binary(0.4, 1.0, 1.0) == 0.0
    shares = [float(kelly_binary(p, 1.0, 1.0)) for p in np.linspace(0.5, 1.0, 11)]
    assert np.all(np.diff(shares) > 0)
    assert kelly_binary(0.6, 1.0, 1.0) == pytest.approx(0.2)


def test_three_outcomes_reduce_to_two_and_maximise_simulated_growth() -> None:
    assert float(kelly_three(0.6, 0.0, 0.4, 1.0, 0.0, -1.0, 0.9)) == pytest.approx(0.2, abs=1e-9)
    p, r = (0.5, 0.2, 0.3), (0.9, -0.1, -1.1)
    best = float(kelly_three(*p, *r, 0.9))
    grid = np.linspace(0.0, 0.85, 400)
    growth = [sum(q * np.log1p(f * x) for q, x in zip(p, r, strict=True)) for f in grid]
    assert best == pytest.approx(grid[int(np.argmax(growth))], abs=0.003)
    rng = np.random.default_rng(1)
    draws = rng.choice(r, p=p, size=400_000)
    at, more, less = (np.log1p(f * draws).mean() for f in (best, 1.6 * best, 0.4 * best))
    assert at > more
    assert at > less


def test_a_bet_is_zero_without_net_edge_capped_and_shared_among_open_bets() -> None:
    assert bet_share(0.5, 0.0, 0.5, 5.0, 1.0, 1e4, 0.25, 0) == (0.0, False)
    assert float(bet_share(0.6, 0.0, 0.4, 5.0, 6.0, 1e4, 0.25, 0)[0]) == 0.0
    share, capped = bet_share(0.9, 0.05, 0.05, 10.0, 5.0, 1e4, 0.25, 0)
    assert (float(share), bool(capped)) == (KELLY_CAP, True)
    alone, free = bet_share(0.55, 0.0, 0.45, 520.0, 2.0, 1e3, 0.01, 0)
    shared, _ = bet_share(0.55, 0.0, 0.45, 520.0, 2.0, 1e3, 0.01, 1)
    assert not free
    assert 0 < float(alone) < KELLY_CAP
    assert float(shared) == pytest.approx(0.5 * float(alone), rel=1e-9)


def test_lots_are_whole_and_never_rounded_up() -> None:
    assert int(bet_lots(0.1, 1_000.0, 100.0, 10**9, 50)) == 1
    assert int(bet_lots(0.1, 1_999.0, 100.0, 10**9, 50)) == 1
    assert int(bet_lots(0.1, 1e9, 100.0, 10**9, 50)) == 50

"""The venue truth test, small in the default run and whole in the slow one."""

import numpy as np
import polars as pl
import pytest

from backtests.venue_truth import INSIDE, VISITORS, VenueTruth, as_markdown, measure_venue_truth
from backtests.visiting import visiting
from marketdata.presets import preset
from marketdata.settings import Settings
from marketdata.simulator.visits import even_plan
from tests.simulator.worlds import hour
from trading.hooks import QUEUE_MODELS

SESSIONS = 5


def small_settings() -> Settings:
    base = preset("simulated", None, sessions=SESSIONS)
    simulator = base.simulator.model_copy(update={"events_per_session": 20_000})
    return base.model_copy(update={"instruments": base.instruments[:2], "simulator": simulator})


@pytest.fixture(scope="module")
def truth() -> VenueTruth:
    settings = small_settings()
    sessions = [hour(s) for s in settings.market_calendar().first_sessions(settings.start_date, SESSIONS)]
    return measure_venue_truth(settings, sessions, lots=(1,), every_s=20.0, patience_s=15.0)


def row(truth: VenueTruth, visitor: str, way: str) -> dict[str, float]:
    found = truth.table.filter((pl.col("visitor") == visitor) & (pl.col("way") == way))
    return found.row(0, named=True)


def test_every_way_sees_every_visit(truth: VenueTruth) -> None:
    counts = truth.visits.group_by("visitor", "way").len()
    assert counts["len"].n_unique() == 1
    assert counts.height == len(VISITORS) * (1 + len(QUEUE_MODELS))
    assert truth.visits["rested"].mean() > 0.99


def test_the_exact_queue_lies_between_the_bounds_by_volume(truth: VenueTruth) -> None:
    for visitor in VISITORS:
        rates = {name: row(truth, visitor, name)["fill_rate"] for name in QUEUE_MODELS}
        assert rates["risk_averse"] < rates["fifo"] < rates["optimistic"]


@pytest.mark.parametrize("visitor", ["following", "following, not counted"])
def test_the_exact_queue_agrees_with_the_matching_engine(truth: VenueTruth, visitor: str) -> None:
    found = row(truth, visitor, "fifo")
    assert found["fill_rate_half"] < 0.03, "the interval is narrow enough to say something"
    assert abs(found["fill_rate_diff"]) < 1.5 * found["fill_rate_half"]
    low, high = row(truth, visitor, "risk_averse"), row(truth, visitor, "optimistic")
    assert high["fill_rate"] - low["fill_rate"] > found["fill_rate_half"], (
        "and wrong queues are further apart than it reaches"
    )


def test_a_visit_that_fills_waits_less_than_its_patience_and_is_marked(truth: VenueTruth) -> None:
    filled = truth.visits.filter(pl.col("filled_lots") > 0)
    assert filled["wait_s"].min() >= 0.0
    assert filled["wait_s"].max() <= 15.0 + 1e-6
    assert filled["markout_1s"].is_not_nan().all()
    assert truth.visits.filter(pl.col("filled_lots") == 0)["markout_1s"].is_nan().all()


def test_the_strategy_holds_one_place_and_one_cancel_a_visit() -> None:
    session = hour(small_settings().market_calendar().first_sessions(small_settings().start_date, 1)[0])
    plan = even_plan(session, every_s=40, patience_s=30, lots=2, feed_ns=10, to_venue_ns=7, seed=1, follows=False)
    ints = np.array(visiting(plan, 7).ints)
    table = ints[1:].reshape(-1, 3)
    assert ints[0] == len(table) == 2 * len(plan)
    assert (np.diff(table[:, 0]) >= 0).all()
    placed = table[table[:, 2] > 0]
    assert np.array_equal(placed[:, 0], np.sort(plan.arrive_ns) - 7)
    assert (placed[:, 2] == 2).all()


def test_the_table_prints_a_line_a_way(truth: VenueTruth) -> None:
    text = as_markdown(truth.table)
    assert text.count("\n") == 1 + truth.table.height
    assert f"| following | 1 | {INSIDE} |" in text
    assert "±" in text


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_one_lot_agrees_on_whole_sessions() -> None:
    settings = preset("simulated", None, sessions=10)
    sessions = settings.market_calendar().first_sessions(settings.start_date, 10)
    found = measure_venue_truth(settings, sessions, lots=(1,), visitors=("following",))
    exact = row(found, "following", "fifo")
    assert exact["fill_rate_half"] < 0.008
    assert abs(exact["fill_rate_diff"]) < exact["fill_rate_half"]
    for name in ("risk_averse", "probabilistic", "optimistic"):
        assert abs(row(found, "following", name)["fill_rate_diff"]) > abs(exact["fill_rate_diff"])


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_thirty_sessions_agree_in_every_measure() -> None:
    """R20 by its letter, with the number of sessions that decision 0158 set before it was run."""
    settings = preset("simulated", None, sessions=30)
    sessions = settings.market_calendar().first_sessions(settings.start_date, 30)
    found = measure_venue_truth(settings, sessions, lots=(1,), visitors=("following",), models=("fifo",))
    exact = row(found, "following", "fifo")
    assert exact["fill_rate_half"] < 0.004
    for name in ("fill_rate", "wait_s", "markout_1s", "markout_10s"):
        assert abs(exact[f"{name}_diff"]) < exact[f"{name}_half"], name

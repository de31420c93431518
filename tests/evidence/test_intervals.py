import math

import numpy as np
import pytest

from models.intervals import (
    Interval,
    block_length,
    drawdown_interval,
    figure_intervals,
    percentile_interval,
    sharpe_interval,
)
from models.roc import binned_area, roc_curve


def moving_average(rng: np.random.Generator, n: int, mean: float) -> np.ndarray:
    e = rng.normal(size=n + 1)
    return mean + e[1:] + 0.6 * e[:-1]


def test_a_sharpe_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    # 200 dependent series; a 95 % interval misses 10 of them on average, and more than 24 hardly ever. Taking the
    # minutes for independent misses 29.
    truth = 0.1 / math.sqrt(1 + 0.6**2)
    missed = 0
    for world in range(200):
        x = moving_average(np.random.default_rng([1, world]), 500, 0.1)
        found = sharpe_interval(x, block=block_length(x[:, None]), replications=299, seed=world)
        missed += not found.low <= truth <= found.high
    assert missed <= 24


def test_a_ratio_of_sums_is_the_ratio_and_its_interval_shrinks_with_time() -> None:
    rng = np.random.default_rng(2)
    widths = []
    for n in (400, 6_400):
        trips = rng.poisson(3.0, n).astype(np.float64)
        columns = {"pnl": 0.5 * trips + rng.normal(size=n), "trips": trips}
        figures = {"per trip": lambda s: s["pnl"] / s["trips"]}
        found = figure_intervals(columns, figures, block=4.0, replications=500, seed=3)["per trip"]
        assert found.value == pytest.approx(columns["pnl"].sum() / trips.sum())
        assert found.low < 0.5 < found.high
        widths.append(found.high - found.low)
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.3)


def test_tables_are_summed_column_by_column() -> None:
    table = np.random.default_rng(3).integers(0, 5, (300, 9)).astype(np.float64)
    figures = {"right": lambda s: s["confusion"][:, [0, 4, 8]].sum(axis=1) / s["confusion"].sum(axis=1)}
    found = figure_intervals({"confusion": table}, figures, block=2.0, replications=200, seed=1)["right"]
    assert found.value == pytest.approx(table[:, [0, 4, 8]].sum() / table.sum())
    assert found.low < found.value < found.high


def test_too_few_blocks_bound_nothing() -> None:
    x = np.random.default_rng(4).normal(size=50)
    for found in (
        sharpe_interval(x, block=10.0, replications=100, seed=1),
        drawdown_interval(x, block=10.0, replications=100, seed=1),
    ):
        assert math.isfinite(found.value)
        assert math.isnan(found.low)
        assert math.isnan(found.high)


def test_a_ratio_whose_denominator_may_vanish_has_no_interval() -> None:
    draws = np.where(np.arange(100) < 8, np.nan, 1.0)
    found = percentile_interval(1.0, draws)
    assert (found.value, math.isnan(found.low)) == (1.0, True)


def test_a_drawdown_counts_the_start_and_is_that_of_the_equity() -> None:
    pnl = np.concatenate([[-3.0, 1.0, 5.0, -2.0, -2.0], np.zeros(95)])
    found = drawdown_interval(pnl, block=1.0, replications=400, seed=2)
    assert found.value == 4.0
    assert 0.0 <= found.low < 4.0 < found.high
    flat = drawdown_interval(np.ones(100), block=1.0, replications=50, seed=2)
    assert flat == Interval(0.0, 0.0, 0.0)


def test_the_area_below_a_curve_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(5)
    score, came = rng.integers(0, 12, 300).astype(np.float64), rng.random(300) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in score[came] for b in score[~came]]
    curve = roc_curve(score, came)
    assert curve.area == pytest.approx(np.mean(pairs))
    assert curve.false_positive[0] == curve.true_positive[0] == 0.0
    assert curve.false_positive[-1] == curve.true_positive[-1] == 1.0
    bins = [np.bincount(score[k].astype(int), minlength=12)[None, :].astype(float) for k in (came, ~came)]
    assert binned_area(*bins)[0] == pytest.approx(curve.area)


def test_a_perfect_score_a_useless_one_and_one_class_alone() -> None:
    came = np.arange(1_000) % 2 == 0
    assert roc_curve(came.astype(float), came).area == 1.0
    assert roc_curve(np.zeros(1_000), came).area == 0.5
    assert math.isnan(roc_curve(np.zeros(4), np.ones(4, bool)).area)

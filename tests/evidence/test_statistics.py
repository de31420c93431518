import math

import numpy as np
import pytest
from scipy import stats

from models.statistics import (
    deflated_sharpe,
    effective_trials,
    expected_best_sharpe,
    lo_factor,
    mean_correlation,
    minimum_track_record,
    newey_west_lags,
    overfitting_probability,
    probabilistic_sharpe,
    sharpe,
)

MINUTE_NS = 60_000_000_000


class TestProbabilisticSharpe:
    def test_equals_the_worked_example_of_bailey_and_lopez_de_prado_2012(self) -> None:
        # Two years of monthly returns, SR 1.59 a year, skewness -2.448, kurtosis 10.164: the paper prints 0.913, and
        # 0.982 if the returns are wrongly taken for Gaussian.
        ratio = 1.59 / math.sqrt(12)
        assert probabilistic_sharpe(ratio, 0.0, 24, -2.448, 10.164) == pytest.approx(0.913, abs=1e-3)
        assert probabilistic_sharpe(ratio, 0.0, 24, 0.0, 3.0) == pytest.approx(0.982, abs=1e-3)

    def test_is_one_half_at_the_benchmark(self) -> None:
        assert probabilistic_sharpe(0.1, 0.1, 500, -1.0, 6.0) == pytest.approx(0.5)

    def test_is_unknown_for_a_series_that_never_moved(self) -> None:
        flat = sharpe(np.zeros(50), period_ns=MINUTE_NS, periods_per_year=252.0)
        assert math.isnan(probabilistic_sharpe(flat.ratio, 0.0, flat.intervals, flat.skewness, flat.kurtosis))


class TestDeflatedSharpe:
    # Bailey, López de Prado (2014): five years of daily returns, SR 2.5 a year, skewness -3, kurtosis 10; over the
    # trials V[SR] = 1/2 a year.
    RATIO = 2.5 / math.sqrt(250)
    VARIANCE = 0.5 / 250

    def test_the_bar_for_a_hundred_trials_is_the_papers(self) -> None:
        assert expected_best_sharpe(100, self.VARIANCE) == pytest.approx(0.1132, abs=1e-4)

    def test_equals_the_papers_worked_example(self) -> None:
        found = deflated_sharpe(self.RATIO, 1250, -3.0, 10.0, trials=100, variance=self.VARIANCE)
        assert found == pytest.approx(0.9004, abs=1e-4)

    def test_equals_the_papers_second_example(self) -> None:
        # "Had the researcher found it after only 46 independent trials", the paper's DSR is 0.9505.
        found = deflated_sharpe(self.RATIO, 1250, -3.0, 10.0, trials=46, variance=self.VARIANCE)
        assert found == pytest.approx(0.9505, abs=1e-4)

    def test_one_trial_means_no_deflation(self) -> None:
        assert expected_best_sharpe(1, 0.3) == 0.0

    @pytest.mark.parametrize("trials", [1.0, 1.2, 2.0, 10.0])
    def test_the_bar_is_never_below_zero(self, trials: float) -> None:
        assert expected_best_sharpe(trials, 0.01) >= 0.0

    def test_the_bar_is_the_mean_of_the_best_of_many(self) -> None:
        rng = np.random.default_rng(5)
        best = rng.normal(scale=0.2, size=(20_000, 50)).max(axis=1).mean()
        assert expected_best_sharpe(50, 0.04) == pytest.approx(best, rel=0.02)

    def test_less_than_one_trial_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one trial"):
            expected_best_sharpe(0, 0.1)

    def test_correlated_trials_count_for_fewer(self) -> None:
        assert effective_trials(100, 0.0) == 100.0
        assert effective_trials(100, 1.0) == 1.0
        assert effective_trials(100, 0.5) == pytest.approx(50.5)
        rng = np.random.default_rng(1)
        shared = rng.normal(size=(5_000, 1))
        assert mean_correlation(shared + rng.normal(size=(5_000, 4))) == pytest.approx(0.5, abs=0.03)


class TestSharpe:
    def test_the_error_of_independent_gaussian_returns_is_los(self) -> None:
        # Lo (2002), table 1: SR 0.5 from 60 observations has a standard error of 0.137.
        assert math.sqrt((1 + 0.5 * 0.5**2) / 60) == pytest.approx(0.137, abs=1e-3)
        rng = np.random.default_rng(2)
        found = sharpe(rng.normal(0.5, 1.0, 20_000), period_ns=MINUTE_NS, periods_per_year=12.0)
        assert found.error == pytest.approx(math.sqrt((1 + 0.5 * found.ratio**2) / 20_000), rel=0.03)

    def test_the_error_is_the_spread_over_many_dependent_skewed_samples(self) -> None:
        rng = np.random.default_rng(3)
        ratios, errors = [], []
        for _ in range(400):
            noise = rng.exponential(size=1_001) - 0.8
            found = sharpe(noise[1:] + 0.4 * noise[:-1], period_ns=MINUTE_NS, periods_per_year=252.0)
            ratios.append(found.ratio)
            errors.append(found.error)
        assert np.mean(errors) == pytest.approx(np.std(ratios), rel=0.1)

    def test_kurtosis_is_raw(self) -> None:
        found = sharpe(np.random.default_rng(4).normal(size=50_000), period_ns=MINUTE_NS, periods_per_year=252.0)
        assert found.kurtosis == pytest.approx(3.0, abs=0.1)
        assert found.skewness == pytest.approx(0.0, abs=0.05)

    def test_independent_returns_scale_with_the_root_of_time(self) -> None:
        x = np.random.default_rng(6).normal(size=4_000)
        assert lo_factor(x - x.mean(), 12.0, 0) == pytest.approx(math.sqrt(12))

    def test_autocorrelation_changes_the_yearly_ratio_as_lo_says(self) -> None:
        # MA(1) with ρ1 = 0.4: η(12) = 12 / sqrt(12 + 2 · 11 · 0.4).
        rng = np.random.default_rng(7)
        e = rng.normal(size=200_001)
        x = e[1:] + 0.5 * e[:-1]
        assert lo_factor(x - x.mean(), 12.0, 1) == pytest.approx(12 / math.sqrt(12 + 2 * 11 * 0.4), rel=0.01)

    def test_a_series_that_is_too_short_has_no_ratio(self) -> None:
        assert math.isnan(sharpe(np.array([1.0, 2.0]), period_ns=MINUTE_NS, periods_per_year=252.0).ratio)
        assert newey_west_lags(1) == 0


class TestOverfitting:
    def test_is_not_computed_for_few_configurations(self) -> None:
        found = overfitting_probability(np.random.default_rng(0).normal(size=(2_000, 9)))
        assert found.probability is None
        assert found.note == "not computed: 9 configurations, at least 10 needed"

    def test_is_not_computed_for_a_short_clock(self) -> None:
        assert overfitting_probability(np.zeros((40, 12))).note.startswith("not computed: 40 intervals")

    def test_is_near_one_half_for_noise(self) -> None:
        rng = np.random.default_rng(8)
        found = [overfitting_probability(rng.normal(size=(800, 20))).probability for _ in range(12)]
        assert np.mean([p for p in found if p is not None]) == pytest.approx(0.5, abs=0.12)

    def test_is_near_zero_when_one_configuration_is_truly_better(self) -> None:
        performance = np.random.default_rng(9).normal(size=(1_600, 12))
        performance[:, 4] += 0.5
        assert overfitting_probability(performance).probability == 0.0

    def test_is_one_where_every_configuration_earned_nothing_over_the_whole(self) -> None:
        # Bailey, Borwein, López de Prado, Zhu (2017), the case of full overfitting: each series is centred to earn exactly
        # nothing over all blocks, so what leads inside must lag outside, and the paper's Monte Carlo finds 1.000.
        noise = np.random.default_rng(11).normal(size=(1_000, 100))
        found = overfitting_probability(noise - noise.mean(axis=0))
        assert found.probability is not None
        assert found.probability > 0.995

    def test_equals_a_plain_loop(self) -> None:
        import itertools

        performance = np.random.default_rng(10).normal(size=(96, 10))
        blocks = performance.reshape(6, 16, 10)
        below = []
        for chosen in itertools.combinations(range(6), 3):
            inside = blocks[list(chosen)].reshape(-1, 10)
            outside = blocks[[b for b in range(6) if b not in chosen]].reshape(-1, 10)
            best = int(np.argmax(inside.mean(axis=0) / inside.std(axis=0)))
            rank = stats.rankdata(outside.mean(axis=0) / outside.std(axis=0))[best] / 11
            below.append(rank <= 0.5)
        assert overfitting_probability(performance, blocks=6).probability == pytest.approx(np.mean(below))


class TestMinimumTrackRecord:
    def test_equals_the_worked_examples_of_bailey_and_lopez_de_prado_2012(self) -> None:
        # SR 2 a year against 1 at 95 %: 2.73 years of daily Gaussian returns; 4.99 years of monthly ones that are as
        # skewed and fat-tailed as those of the hedge funds there (-0.72 and 5.78).
        daily = minimum_track_record(2 / math.sqrt(252), 1 / math.sqrt(252), 0.0, 3.0)
        assert daily / 252 == pytest.approx(2.73, abs=0.005)
        monthly = minimum_track_record(2 / math.sqrt(12), 1 / math.sqrt(12), -0.72, 5.78)
        assert monthly / 12 == pytest.approx(4.99, abs=0.005)

    def test_is_where_the_probabilistic_sharpe_ratio_reaches_the_confidence(self) -> None:
        needed = minimum_track_record(0.08, 0.01, -0.5, 6.0, confidence=0.9)
        assert probabilistic_sharpe(0.08, 0.01, math.ceil(needed), -0.5, 6.0) >= 0.9
        assert probabilistic_sharpe(0.08, 0.01, math.floor(needed), -0.5, 6.0) <= 0.9

    def test_no_record_is_long_enough_for_a_ratio_that_is_not_above(self) -> None:
        assert minimum_track_record(0.1, 0.1, 0.0, 3.0) == math.inf
        assert math.isnan(minimum_track_record(math.nan, 0.0, 0.0, 3.0))

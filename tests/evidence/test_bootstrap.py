import math

import numpy as np
import pytest
from arch.bootstrap import SPA, optimal_block_length

from models.bootstrap import (
    bootstrap_means,
    draw_blocks,
    long_run_scale,
    politis_white,
    superior_predictive_ability,
)


def autoregression(rng: np.random.Generator, n: int, columns: int, phi: float) -> np.ndarray:
    e = rng.standard_t(5, size=(n + 50, columns)) + rng.normal(size=(n + 50, 1))
    for t in range(1, len(e)):
        e[t] += phi * e[t - 1]
    return e[50:]


def drawn_indices(n: int, block: float, seed: int, replications: int) -> np.ndarray:
    """Return the time indices of each replication, written out the slow way."""
    starts, ends = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    rows = []
    for r in range(replications):
        count = draw_blocks(n, block, np.uint64(seed), r, starts, ends)
        rows.append(np.concatenate([np.arange(starts[k], ends[k]) for k in range(count)]) % n)
    return np.array(rows)


class TestStationaryBootstrap:
    def test_means_are_those_of_the_resampled_series(self) -> None:
        x = autoregression(np.random.default_rng(0), 300, 3, 0.4)
        x -= x.mean(axis=0)
        indices = drawn_indices(300, 6.5, 42, 50)
        np.testing.assert_allclose(bootstrap_means(x, 6.5, 50, 42), x[indices].mean(axis=1), atol=1e-12)

    @pytest.mark.parametrize("block", [1.0, 4.0, 25.0])
    def test_blocks_have_the_asked_mean_length_and_start_anywhere(self, block: float) -> None:
        n = 2_000
        starts, ends = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
        counts, firsts = [], []
        for r in range(300):
            count = draw_blocks(n, block, np.uint64(9), r, starts, ends)
            assert (ends - starts)[:count].sum() == n
            counts.append(count)
            firsts.extend(starts[:count])
        assert n / np.mean(counts) == pytest.approx(block, rel=0.03)
        shares = np.bincount(np.array(firsts) * 10 // n, minlength=10) / len(firsts)
        np.testing.assert_allclose(shares, 0.1, atol=0.012)

    def test_the_same_seed_draws_the_same_and_another_does_not(self) -> None:
        x = autoregression(np.random.default_rng(1), 200, 2, 0.0)
        np.testing.assert_array_equal(bootstrap_means(x, 3.0, 40, 5), bootstrap_means(x, 3.0, 40, 5))
        assert not np.array_equal(bootstrap_means(x, 3.0, 40, 5), bootstrap_means(x, 3.0, 40, 6))

    def test_its_spread_is_the_kernel_form_of_the_variance(self) -> None:
        x = autoregression(np.random.default_rng(2), 800, 3, 0.5)
        x -= x.mean(axis=0)
        spread = bootstrap_means(x, 12.0, 4_000, 3).std(axis=0) * math.sqrt(800)
        np.testing.assert_allclose(long_run_scale(x, 12.0), spread, rtol=0.05)

    @pytest.mark.parametrize("phi", [0.0, 0.3, 0.8])
    @pytest.mark.parametrize("n", [120, 1_950])
    def test_the_block_length_is_that_of_the_arch_package(self, n: int, phi: float) -> None:
        x = autoregression(np.random.default_rng(3), n, 1, phi)[:, 0]
        assert politis_white(x)[0] == pytest.approx(optimal_block_length(x)["stationary"].iloc[0], rel=1e-6)

    def test_the_long_run_variance_of_an_autoregression_is_recovered(self) -> None:
        e = np.random.default_rng(4).normal(size=60_000)
        for t in range(1, len(e)):
            e[t] += 0.5 * e[t - 1]
        assert politis_white(e)[1] == pytest.approx(4.0, rel=0.1)  # 1 / (1 - 0.5)²

    def test_a_constant_series_has_no_block_length(self) -> None:
        assert politis_white(np.ones(100)) == (0.0, 0.0)


class TestSuperiorPredictiveAbility:
    @pytest.mark.parametrize("shift", [0.0, 0.03, 0.1])
    def test_equals_the_arch_package_on_the_same_draws(self, shift: float) -> None:
        # arch 8.0 does not studentise the maximum whatever its option says, so it is given series of long-run scale
        # one; and it does not cut the statistic at zero as Hansen does, so a series here has a positive mean.
        n, block, replications = 400, 8, 500
        x = autoregression(np.random.default_rng([11, int(100 + 100 * shift)]), n, 6, 0.3)
        x[:, 0] -= 2.0
        x = x - x.mean(axis=0) * 0.5 + shift
        mean = x.mean(axis=0)
        centred = x - mean
        scale = long_run_scale(centred, block)
        ours = superior_predictive_ability(mean, scale, bootstrap_means(centred, block, replications, 6), n)

        class SameDraws:
            def bootstrap(self, reps: int):  # type: ignore[no-untyped-def]  # yields what arch's own yields
                for indices in drawn_indices(n, block, 6, reps):
                    yield ((x / scale)[indices],), {}

        theirs = SPA(np.zeros(n), -x / scale, block_size=block, reps=replications, seed=0)
        theirs.bootstrap = SameDraws()
        theirs.compute()
        np.testing.assert_allclose(theirs._loss_diff_var, 1.0, rtol=1e-9)
        # Ours counts the sample itself as one replication.
        assert ours.p_value == pytest.approx((1 + replications * theirs.pvalues["consistent"]) / (1 + replications))

    def test_names_the_series_that_lead_and_spares_the_others(self) -> None:
        x = autoregression(np.random.default_rng(12), 1_000, 5, 0.2)
        x -= x.mean(axis=0)
        means = np.array([0.0, 0.6, -1.0, 0.6, 0.02])
        found = superior_predictive_ability(means, long_run_scale(x, 5.0), bootstrap_means(x, 5.0, 999, 1), 1_000)
        assert set(np.flatnonzero(found.adjusted < 0.01)) == {1, 3}
        assert found.p_value == found.adjusted.min() == pytest.approx(0.001)
        order = np.argsort(-found.statistic)
        assert np.all(np.diff(found.adjusted[order]) >= 0.0)

    def test_a_series_that_never_moves_is_never_significant(self) -> None:
        # A constant lead, up to rounding, must not become an infinite statistic.
        means = np.array([0.1, 0.1])
        centred = np.column_stack([np.zeros(100), np.full(100, 1e-18)])
        resampled = bootstrap_means(centred, 2.0, 99, 0)
        found = superior_predictive_ability(means, long_run_scale(centred, 2.0), resampled, 100)
        assert found.p_value == 1.0

    @pytest.mark.parametrize(("phi", "seed"), [(0.0, 1), (0.6, 2)])
    def test_noise_is_rejected_about_as_often_as_the_level_says(self, phi: float, seed: int) -> None:
        # 200 worlds of eight worthless, correlated, heavy-tailed candidates. A correct test at 5 % rejects at most 9 %
        # of them with a chance of 99 %; on the second kind of world an iid bootstrap rejects 46 %.
        rejected = 0
        for world in range(200):
            x = autoregression(np.random.default_rng([seed, world]), 600, 8, phi)
            mean = x.mean(axis=0)
            centred = x - mean
            dependence = [politis_white(column) for column in centred.T]
            block = max(1.0, *(length for length, _ in dependence))
            bootstrap_scale = long_run_scale(centred, block)
            scale = np.maximum(bootstrap_scale, np.sqrt([variance for _, variance in dependence]))
            means = bootstrap_means(centred, block, 299, world)
            found = superior_predictive_ability(mean, scale, means, 600, resampled_scale=bootstrap_scale)
            rejected += found.p_value < 0.05
        assert 2 <= rejected <= 18

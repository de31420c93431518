"""Information coefficients, their intervals and the control of false discoveries, where the answer is known."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, spearmanr

from features.information import (
    MIN_ROWS,
    block_coefficients,
    bootstrap_counts,
    coefficients,
    correlation_clusters,
    q_values,
    select,
)

BLOCKS, ROWS = 40, 60


def _world(seed: int, width: int = 12, strength: float = 0.3) -> tuple[np.ndarray, ...]:
    """Return features of which the first two say something about the target, over two instruments."""
    rng = np.random.default_rng(seed)
    n = BLOCKS * ROWS * 2
    block, owner = np.repeat(np.arange(BLOCKS), 2 * ROWS), np.tile(np.repeat([0, 1], ROWS), BLOCKS)
    x = rng.normal(size=(n, width))
    target = strength * x[:, 0] - strength * x[:, 1] + rng.normal(size=n)
    return x, target, owner, block


def test_a_blocks_coefficient_is_spearmans_inside_each_instrument() -> None:
    x, target, owner, block = _world(1)
    target = target + 50.0 * owner + 3.0 * block  # differences between instruments and blocks are not information
    x[:, 3] = np.round(x[:, 3])
    found = block_coefficients(x, target, owner, block)
    assert found.value.shape == (BLOCKS, x.shape[1])
    for b in (0, 7):
        for f in (0, 3):
            own = [spearmanr(x[(block == b) & (owner == k), f], target[(block == b) & (owner == k)])[0] for k in (0, 1)]
            assert found.value[b, f] == pytest.approx(np.mean(own))
    assert (found.weight == 2 * ROWS).all()


def test_what_is_not_known_or_does_not_vary_has_no_coefficient() -> None:
    x, target, owner, block = _world(2)
    x[:, 4] = np.nan
    x[:, 5] = 1.0
    x[block < 20, 6] = np.nan
    x[::2, 7] = np.nan
    found = block_coefficients(x, target, owner, block)
    total = coefficients(found)
    assert np.isnan(found.value[:, 4:6]).all()
    assert np.isnan(total.p_value[4:6]).all()
    assert total.blocks[6] == 20
    assert (found.weight[:, 7] == ROWS).all()
    few = block_coefficients(x[: MIN_ROWS - 1], target[: MIN_ROWS - 1], owner[: MIN_ROWS - 1], block[: MIN_ROWS - 1])
    assert np.isnan(few.value).all()


def test_intervals_hold_the_truth_and_p_values_of_nothing_are_even() -> None:
    inside, rejected = 0, []
    for seed in range(40):
        x, target, owner, block = _world(seed, strength=0.0)
        total = coefficients(block_coefficients(x, target, owner, block), seed)
        inside += int(((total.low <= 0) & (total.high >= 0)).sum())
        rejected += (total.p_value < 0.05).tolist()
    assert inside / (40 * 12) == pytest.approx(0.95, abs=0.025)
    assert np.mean(rejected) == pytest.approx(0.05, abs=0.025)


def test_the_bootstrap_draws_as_many_blocks_as_there_are_in_runs() -> None:
    counts = bootstrap_counts(27, seed=3, replications=200)
    assert (counts.sum(axis=1) == 27).all()
    assert counts.mean() == pytest.approx(1.0)
    alone = (np.diff(counts, axis=1) == 0).mean()
    assert alone > (np.diff(np.random.default_rng(0).multinomial(27, np.full(27, 1 / 27), 200), axis=1) == 0).mean()


@pytest.mark.parametrize("method", ["bh", "by"])
def test_q_values_equal_those_of_scipy(method: str) -> None:
    p = np.random.default_rng(5).random(50) ** 2
    p[[3, 9]] = np.nan
    got = q_values(p, method)  # type: ignore[arg-type]  # one of the two names
    known = np.isfinite(p)
    np.testing.assert_allclose(got[known], false_discovery_control(p[known], method=method))
    assert np.isnan(got[~known]).all()
    with pytest.raises(ValueError, match="unknown false-discovery"):
        q_values(p, "bonferroni")  # type: ignore[arg-type]  # a wrong name on purpose


def test_selection_finds_what_is_there_and_seldom_what_is_not() -> None:
    wrong = 0
    for seed in range(12):
        x, target, owner, block = _world(seed, width=30)
        chosen = select(block_coefficients(x, target, owner, block), "bh", 0.05, seed)
        assert chosen[:2].all()
        wrong += int(chosen[2:].sum())
        nothing = select(block_coefficients(x[:, 2:], target, owner, block), "by", 0.05, seed)
        assert nothing.sum() <= 2
    assert wrong / (12 * 2) < 0.25


def test_columns_that_move_together_are_one_cluster() -> None:
    rng = np.random.default_rng(6)
    base = rng.normal(size=(3_000, 3))
    x = np.column_stack(
        [base[:, 0], base[:, 1], -np.exp(base[:, 0]), base[:, 0] + 0.1 * rng.normal(size=3_000), base[:, 2]]
    )
    x[::50, 3] = np.nan
    assert correlation_clusters(x).tolist() == [0, 1, 0, 0, 2]
    assert correlation_clusters(np.ones((10, 1))).tolist() == [0]
    constant = np.column_stack([x[:, 0], np.full(3_000, 2.0)])
    assert correlation_clusters(constant).tolist() == [0, 1]

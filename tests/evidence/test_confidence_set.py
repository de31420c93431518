import numpy as np
import pytest
from arch.bootstrap import MCS

from models.bootstrap import bootstrap_means
from models.confidence_set import model_confidence_set
from tests.evidence.test_bootstrap import autoregression, drawn_indices


def resampled(losses: np.ndarray, block: float, replications: int, seed: int) -> np.ndarray:
    return bootstrap_means(losses - losses.mean(axis=0), block, replications, seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_p_values_equal_the_arch_packages_on_the_same_draws(seed: int) -> None:
    n, block, replications = 300, 6, 400
    losses = autoregression(np.random.default_rng(seed), n, 6, 0.3) + np.array([0.0, 0.05, 0.1, 0.3, 0.5, 1.5])
    ours = model_confidence_set(losses.mean(axis=0), resampled(losses, block, replications, seed))

    class SameDraws:
        def bootstrap(self, reps: int):  # type: ignore[no-untyped-def]  # yields what arch's own yields
            for indices in drawn_indices(n, block, seed, reps):
                yield ((indices,), {})

    theirs = MCS(losses, 0.1, reps=replications, block_size=block, method="R", seed=0)
    theirs.bootstrap = SameDraws()
    theirs.compute()
    expected = theirs.pvalues["Pvalue"].sort_index().to_numpy()
    # Ours counts the sample itself as one replication; the best model's 1 stays 1.
    np.testing.assert_allclose(ours.p_value, (1 + replications * expected) / (1 + replications), atol=1e-12)
    assert list(ours.order) == list(theirs.pvalues.index)


def test_a_clearly_better_model_is_left_alone_and_equal_ones_stay_together() -> None:
    losses = np.random.default_rng(4).normal(size=(2_000, 5))
    losses[:, 2] -= 1.0
    alone = model_confidence_set(losses.mean(axis=0), resampled(losses, 1.0, 999, 1))
    assert list(np.flatnonzero(alone.included(0.95))) == [2]
    same = np.repeat(losses[:, :1], 4, axis=1)
    together = model_confidence_set(same.mean(axis=0), resampled(same, 1.0, 999, 1))
    assert together.included(0.95).all()


def test_the_best_model_is_in_the_set_as_often_as_its_level_says() -> None:
    # Hansen, Lunde, Nason (2011), section 5.1, in small: means spread over λ/√n, one best. A correct 90 % set holds it in at
    # least 100 of 120 worlds with a chance above 99.9 %; and it is no set of everything.
    held, size = 0, 0
    for world in range(120):
        losses = autoregression(np.random.default_rng([5, world]), 250, 8, 0.3)
        losses += 10.0 / np.sqrt(250) * np.linspace(0.0, 1.0, 8)
        found = model_confidence_set(losses.mean(axis=0), resampled(losses, 6.0, 199, world))
        inside = found.included(0.9)
        held += bool(inside[0])
        size += int(inside.sum())
    assert held >= 100
    assert 1.0 < size / 120 < 6.0


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="no set of models"):
        model_confidence_set(np.zeros(3), np.zeros((10, 2)))

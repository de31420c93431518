"""The two laws over every fitted feature's step: one row and many give the same bits, later rows change nothing
earlier."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from features.fitted.hawkes_intensity import HawkesParams, count_columns, intensities
from features.fitted.params import FitWindow
from features.fitted.regimes import RegimeParams, filter_regimes, init_regimes
from features.fitted.scaler import ScalerParams, standardise

RNG = np.random.default_rng(5)
ROWS, INSTRUMENTS, WIDTH = 400, 3, 6
OWNER = RNG.integers(0, INSTRUMENTS, ROWS)
X = RNG.normal(size=(ROWS, WIDTH)).astype(np.float32)
X[RNG.random(X.shape) < 0.1] = np.nan
FINITE = np.nan_to_num(X)
WINDOW = FitWindow(0, 1, 2)

SCALER = ScalerParams(
    tuple("abcdef"), RNG.normal(size=(INSTRUMENTS, WIDTH)), RNG.gamma(2.0, size=(INSTRUMENTS, WIDTH)), 3.0, WINDOW
)
REGIMES = RegimeParams(
    tuple("abcdef"),
    np.array([0.6, 0.4]),
    np.array([[0.9, 0.1], [0.2, 0.8]]),
    RNG.normal(size=(2, WIDTH)),
    RNG.gamma(2.0, size=(2, WIDTH)) + 0.2,
    WINDOW,
)
DECAYS = (10.0, 1.0, 0.1)
HAWKES = HawkesParams(
    DECAYS, RNG.gamma(1.0, size=(INSTRUMENTS, 4, 7)), RNG.gamma(0.2, size=(INSTRUMENTS, 4, 4, 3)), WINDOW
)
COUNTS = RNG.gamma(1.0, size=(ROWS, len(count_columns(3)))).astype(np.float32)
COUNTS[RNG.random(COUNTS.shape) < 0.05] = np.nan
SHARE = np.sort(RNG.random(ROWS))

Run = Callable[[list[int], int], npt.NDArray[np.generic]]


def _scaler(cuts: list[int], rows: int) -> npt.NDArray[np.generic]:
    parts = [standardise(SCALER, OWNER[a:b], X[a:b]) for a, b in zip([0, *cuts], [*cuts, rows], strict=True)]
    return np.concatenate(parts)


def _regimes(cuts: list[int], rows: int) -> npt.NDArray[np.generic]:
    state = init_regimes(REGIMES, INSTRUMENTS)
    parts = []
    for a, b in zip([0, *cuts], [*cuts, rows], strict=True):
        state, found = filter_regimes(REGIMES, state, OWNER[a:b], FINITE[a:b])
        parts.append(found)
    return np.concatenate(parts)


def _hawkes(cuts: list[int], rows: int) -> npt.NDArray[np.generic]:
    parts = [
        intensities(HAWKES, OWNER[a:b], SHARE[a:b], COUNTS[a:b]) for a, b in zip([0, *cuts], [*cuts, rows], strict=True)
    ]
    return np.concatenate(parts)


FITTED = pytest.mark.parametrize("run", [_scaler, _regimes, _hawkes], ids=["scaler", "regimes", "hawkes_intensity"])


@FITTED
def test_cutting_the_rows_changes_no_bit(run: Run) -> None:
    whole = run([], ROWS)
    assert run(list(range(1, ROWS)), ROWS).tobytes() == whole.tobytes()
    assert run([3, 3, 200], ROWS).tobytes() == whole.tobytes()


@FITTED
def test_rows_that_come_later_change_nothing(run: Run) -> None:
    assert run([], 250).tobytes() == run([], ROWS)[:250].tobytes()


def test_regime_probabilities_equal_a_slow_filter_in_logs() -> None:
    got = _regimes([], ROWS)
    for k in range(INSTRUMENTS):
        own = np.flatnonzero(k == OWNER)
        prior = REGIMES.start
        for n in own[:60]:
            gap = FINITE[n].astype(float) - REGIMES.mean
            density = np.exp(-0.5 * (gap**2 / REGIMES.variance + np.log(2 * np.pi * REGIMES.variance)).sum(axis=1))
            posterior = prior * density / (prior * density).sum()
            np.testing.assert_allclose(got[n], posterior, rtol=1e-9, atol=1e-12)
            prior = posterior @ REGIMES.transition


def test_unknown_features_become_the_training_mean_and_outliers_are_cut() -> None:
    got = _scaler([], ROWS)
    assert (got[np.isnan(X)] == 0).all()
    assert np.abs(got).max() <= 3.0


def test_equal_parameters_have_equal_hashes_and_others_differ() -> None:
    again = ScalerParams(SCALER.columns, SCALER.centre.copy(), SCALER.scale.copy(), 3.0, FitWindow(7, 8, 9))
    other = ScalerParams(SCALER.columns, SCALER.centre + 1e-9, SCALER.scale, 3.0, WINDOW)
    assert again.sha256 == SCALER.sha256
    assert other.sha256 != SCALER.sha256
    assert len({SCALER.sha256, REGIMES.sha256, HAWKES.sha256}) == 3

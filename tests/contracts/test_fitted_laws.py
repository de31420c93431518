"""The laws over every fitted feature (R8): one row and many give the same bits, later rows change nothing earlier, and
rows after the training window change no parameter.
"""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from features.dataset import Dataset
from features.fitted.catalog import FITTED, fitted_catalogue
from features.fitted.family import FittedParams, RowBatch
from features.fitted.hawkes_intensity import HawkesParams, count_columns, intensities
from features.fitted.params import FitWindow
from features.fitted.regimes import RegimeParams, filter_regimes, init_regimes
from features.fitted.scaler import ScalerParams, standardise
from models.splits import walk_forward_folds
from models.training_window import instrument_places, training_window
from tests.features.fitted_rows import fitted_dataset, fitted_settings

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

SETTINGS, TABLE = fitted_settings(), fitted_dataset()
FOLD = walk_forward_folds(TABLE, SETTINGS.training, SETTINGS.latency)[-1]


def _params(table: Dataset) -> dict[str, FittedParams]:
    window = training_window(table, FOLD, {})
    places = instrument_places(window.dataset)
    found = {name: member.fit(window.dataset, places, window.span) for name, member in FITTED.items()}
    return {name: params for name, params in found.items() if params is not None}


PARAMS = _params(TABLE)
BATCH = RowBatch(OWNER, SHARE, TABLE.x[:ROWS])


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


def _member(name: str) -> Run:
    def run(cuts: list[int], rows: int) -> npt.NDArray[np.generic]:
        edges = zip([0, *cuts], [*cuts, rows], strict=True)
        return np.concatenate([PARAMS[name].step(RowBatch(*(part[a:b] for part in BATCH))) for a, b in edges])

    return run


MEMBERS: dict[str, Run] = {
    **{"scaler": _scaler, "regimes": _regimes, "hawkes_intensity": _hawkes},
    **{name: _member(name) for name in FITTED},
}
EVERY = pytest.mark.parametrize("run", MEMBERS.values(), ids=MEMBERS.keys())


def test_every_member_can_be_fitted_and_makes_the_columns_that_the_catalogue_names() -> None:
    assert PARAMS.keys() == FITTED.keys()
    made = [name for params in PARAMS.values() for name in params.columns]
    entries = {entry.name: entry for entry in fitted_catalogue(SETTINGS)}
    assert set(made) <= entries.keys()
    assert len(entries) == len(fitted_catalogue(SETTINGS))
    assert all(entry.reference and entry.formula and entry.unit for entry in entries.values())
    for name in FITTED:
        column = _member(name)([], ROWS)
        assert column.shape == (ROWS, len(PARAMS[name].columns))
        assert np.isfinite(column).any()


@pytest.mark.parametrize("name", FITTED)
def test_rows_after_the_training_window_change_no_parameter(name: str) -> None:
    later = np.flatnonzero(TABLE.ts_recv >= FOLD.train_end_ns)
    x = TABLE.x.copy()
    x[later] = 7.0 - 3.0 * x[later]
    bid = TABLE.bid_units.copy()
    bid[later] += 40
    changed = replace(TABLE, x=x, bid_units=bid)
    assert len(later) > 100
    assert _params(changed)[name].sha256 == PARAMS[name].sha256
    x[np.flatnonzero(TABLE.ts_recv < FOLD.train_end_ns)[::2]] *= 1.5
    assert _params(replace(TABLE, x=x))[name].sha256 != PARAMS[name].sha256


@pytest.mark.parametrize("name", FITTED)
def test_a_bundle_gives_back_the_same_parameters(name: str) -> None:
    arrays, config = PARAMS[name].to_arrays()
    again = FITTED[name].restore(
        {key: value.copy() for key, value in arrays.items()}, json.loads(json.dumps(config)), WINDOW
    )
    assert again.sha256 == PARAMS[name].sha256
    np.testing.assert_array_equal(again.step(BATCH), PARAMS[name].step(BATCH))


@pytest.mark.parametrize("name", FITTED)
def test_parameters_say_which_rows_they_saw_and_when_those_were_known(name: str) -> None:
    window = PARAMS[name].window
    assert window.start_ns == TABLE.ts_recv[0]
    assert window.end_ns < FOLD.train_end_ns
    assert window.end_ns <= window.ts_known < FOLD.train_end_ns


@EVERY
def test_cutting_the_rows_changes_no_bit(run: Run) -> None:
    whole = run([], ROWS)
    assert run(list(range(1, ROWS)), ROWS).tobytes() == whole.tobytes()
    assert run([3, 3, 200], ROWS).tobytes() == whole.tobytes()


@EVERY
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

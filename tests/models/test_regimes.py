"""The regime filter against a slow one, and recovery of a known chain by the fit."""

import numpy as np
import pytest

from features.fitted.params import FitWindow
from features.fitted.regimes import RegimeParams, filter_regimes, init_regimes
from models.forecaster import copy_state
from models.hmm import _baum_welch, observed_columns

MEAN = np.array([[-1.0, -0.5], [0.5, 0.0], [2.0, 1.5]])
VARIANCE = np.array([[0.2, 0.3], [0.2, 0.2], [0.5, 0.4]])
TRANSITION = np.array([[0.97, 0.02, 0.01], [0.02, 0.96, 0.02], [0.01, 0.04, 0.95]])
PARAMS = RegimeParams(("vol", "rate"), np.array([0.5, 0.3, 0.2]), TRANSITION, MEAN, VARIANCE, FitWindow(0, 1, 1))


def chain(seed: int, sequences: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    states = np.empty((sequences, length), dtype=int)
    for k in range(sequences):
        states[k, 0] = generator.choice(3, p=PARAMS.start)
        for t in range(1, length):
            states[k, t] = generator.choice(3, p=TRANSITION[states[k, t - 1]])
    noise = generator.normal(size=(sequences, length, 2))
    return states, MEAN[states] + noise * np.sqrt(VARIANCE[states])


def slow_filter(z: np.ndarray) -> np.ndarray:
    out, prior = np.empty((len(z), 3)), PARAMS.start
    for t, row in enumerate(z):
        density = np.exp(-0.5 * ((row - MEAN) ** 2 / VARIANCE)).prod(axis=1) / np.sqrt(VARIANCE.prod(axis=1))
        out[t] = prior * density / (prior * density).sum()
        prior = out[t] @ TRANSITION
    return out


def test_the_filter_equals_a_slow_one_for_interleaved_instruments():
    _, z = chain(1, 2, 60)
    instrument = np.tile([0, 1], 60)
    rows = z.transpose(1, 0, 2).reshape(120, 2).astype(np.float32)
    _, found = filter_regimes(PARAMS, init_regimes(PARAMS, 2), instrument, rows)
    for k in range(2):
        assert found[instrument == k] == pytest.approx(slow_filter(rows[instrument == k].astype(float)), abs=1e-12)


def test_the_filter_is_a_fold_and_looks_at_nothing_later():
    _, z = chain(2, 1, 80)
    rows, instrument = z[0].astype(np.float32), np.zeros(80, dtype=np.int64)
    _, whole = filter_regimes(PARAMS, init_regimes(PARAMS, 1), instrument, rows)
    state, first = filter_regimes(PARAMS, init_regimes(PARAMS, 1), instrument[:33], rows[:33])
    kept = copy_state(state)
    _, second = filter_regimes(PARAMS, kept, instrument[33:], rows[33:])
    assert np.array_equal(np.concatenate([first, second]), whole)


def test_a_row_far_from_every_regime_still_gives_probabilities():
    rows = np.full((3, 2), 80.0, dtype=np.float32)
    _, found = filter_regimes(PARAMS, init_regimes(PARAMS, 1), np.zeros(3, dtype=np.int64), rows)
    assert found.sum(axis=1) == pytest.approx(1.0)


def test_the_fit_recovers_a_known_chain():
    states, z = chain(3, 20, 300)
    start, transition, mean, variance = _baum_welch(z, 0)
    order = np.argsort(mean[:, 0])
    assert mean[order] == pytest.approx(MEAN, abs=0.1)
    assert variance[order] == pytest.approx(VARIANCE, rel=0.25)
    assert transition[np.ix_(order, order)] == pytest.approx(TRANSITION, abs=0.03)
    fitted = RegimeParams(
        PARAMS.columns, start[order], transition[np.ix_(order, order)], mean[order], variance[order], PARAMS.window
    )
    _, fresh = chain(4, 1, 1_000)
    truth = chain(4, 1, 1_000)[0][0]
    _, found = filter_regimes(
        fitted, init_regimes(fitted, 1), np.zeros(1_000, dtype=np.int64), fresh[0].astype(np.float32)
    )
    assert (found.argmax(axis=1) == truth).mean() > 0.9
    assert states.shape == (20, 300)


def test_regimes_are_seen_by_the_middle_window_of_each_kind():
    columns = ("spread_bps", "trade_intensity_1s", "trade_intensity_10s", "trade_intensity_60s", "realised_vol_bps_1s")
    assert observed_columns(columns) == ("realised_vol_bps_1s", "trade_intensity_10s", "spread_bps")

"""Fitted features against short slow references and against markets whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from features.fitted.anomaly import Anomaly, throttle
from features.fitted.catalog import FITTED
from features.fitted.family import RowBatch
from features.fitted.integrated_ofi import LEVEL_COLUMN, IntegratedOfi, first_component
from features.fitted.microprice import READS, MicroPriceParams, estimate, solve
from features.fitted.params import FitWindow
from features.fitted.volume_curve import BINS, PREFIX, VolumeCurve
from features.spec import FeatureSpec
from marketdata.settings import SamplingSettings
from models.training_window import instrument_places
from tests.features.fitted_rows import fitted_dataset

WINDOW = FitWindow(0, 1, 2)
BUCKETS, SPREADS = 5, 2


def _chain(seed: int, steps: int) -> tuple[np.ndarray, ...]:
    """Return a mirror-symmetric Markov chain of quotes: transition and move matrices, and a path with its moves."""
    rng = np.random.default_rng(seed)
    count = BUCKETS * SPREADS
    mirror = np.arange(count).reshape(SPREADS, BUCKETS)[:, ::-1].ravel()
    chance = rng.dirichlet(np.full(count, 0.6), count)
    chance = (chance + chance[np.ix_(mirror, mirror)]) / 2
    imbalance = np.tile(np.linspace(-1, 1, BUCKETS), SPREADS)
    up = np.clip(0.25 + 0.2 * imbalance, 0, 1)
    down = up[mirror]
    state, path, moves = 0, np.empty(steps, np.int64), np.zeros(steps)
    draws = rng.random((steps, 2))
    bounds = np.cumsum(chance, axis=1)
    for k in range(steps):
        path[k] = state
        moves[k] = 1.0 if draws[k, 0] < up[state] else -1.0 if draws[k, 0] < up[state] + down[state] else 0.0
        state = min(int(np.searchsorted(bounds[state], draws[k, 1])), count - 1)
    return chance, up - down, path, moves


def _stoikov_series(path: np.ndarray, moves: np.ndarray, *, first_move: bool = False) -> np.ndarray:
    """Return G* as the paper writes it: G¹ = (I - Q)⁻¹ r and Σ Bᵏ G¹, from counted, symmetrised transitions."""
    count = BUCKETS * SPREADS
    still, moved, expected, visits = (
        np.zeros((count, count)),
        np.zeros((count, count)),
        np.zeros(count),
        np.zeros(count),
    )
    for k in range(len(path) - 1):
        for mirrored in (False, True):
            a, b = (
                (s // BUCKETS) * BUCKETS + BUCKETS - 1 - s % BUCKETS if mirrored else s
                for s in path[k : k + 2].tolist()
            )
            move = -moves[k] if mirrored else moves[k]
            visits[a] += 1
            expected[a] += move
            (moved if move else still)[a, b] += 1
    q, t, r = still / visits[:, None], moved / visits[:, None], expected / visits
    first = np.linalg.solve(np.eye(count) - q, r)
    if first_move:
        return first.reshape(SPREADS, BUCKETS)
    later = np.linalg.solve(np.eye(count) - q, t)
    total, term = first.copy(), first.copy()
    for _ in range(3_000):
        term = later @ term
        total += term
    return total.reshape(SPREADS, BUCKETS)


def test_the_limit_of_expected_mids_equals_the_papers_series_and_the_known_chain() -> None:
    chance, drift, path, moves = _chain(1, 60_000)
    begin, end, move = path[:-1], path[1:], moves[:-1]
    flip = lambda s: (s // BUCKETS) * BUCKETS + BUCKETS - 1 - s % BUCKETS  # noqa: E731  # one line of arithmetic
    steps = (np.concatenate(pair) for pair in ((begin, flip(begin)), (end, flip(end)), (move, -move)))
    pairs = tuple(steps)
    table = solve(*pairs, SPREADS, BUCKETS)
    np.testing.assert_allclose(table, _stoikov_series(path, moves), atol=1e-9)
    first = solve(*pairs, SPREADS, BUCKETS, first_move=True)
    np.testing.assert_allclose(first, _stoikov_series(path, moves, first_move=True), atol=1e-9)
    assert np.abs(first - table).max() > 0.05
    count = BUCKETS * SPREADS
    known = np.linalg.lstsq(np.eye(count) - chance, drift, rcond=None)[0].reshape(SPREADS, BUCKETS)
    known -= known[:, BUCKETS // 2].mean()
    assert np.abs(known).max() > 0.3
    np.testing.assert_allclose(table, known, atol=0.03)


def test_the_adjustment_is_antisymmetric_to_the_bit_and_nothing_on_a_balanced_book() -> None:
    rng = np.random.default_rng(2)
    n = 20_000
    imbalance, spread = rng.uniform(-1, 1, n), rng.integers(1, 9, n).astype(float)
    move = np.where(rng.random(n) < 0.4, np.sign(imbalance + rng.normal(size=n)), 0.0)
    mid = np.concatenate([[0.0], np.cumsum(move)[:-1]])
    table, edges = estimate(imbalance, spread, mid, np.arange(n - 1), np.arange(1, n))
    assert (table == -table[:, ::-1]).all()
    params = MicroPriceParams(table[None], edges[None], (0, 1, 2), WINDOW)
    owner = np.zeros(n, np.int64)
    assert (
        params.adjustment_ticks(owner, imbalance, spread) == -params.adjustment_ticks(owner, -imbalance, spread)
    ).all()
    assert (params.adjustment_ticks(owner, np.zeros(n), spread) == 0).all()
    assert (params.adjustment_ticks(owner, np.ones(n), spread) > 0).all()
    assert np.isnan(params.adjustment_ticks(owner[:1], np.array([np.nan]), np.ones(1))[0])


def test_an_instrument_with_few_rows_has_no_adjustment() -> None:
    rows = np.linspace(-1, 1, 50)
    table, edges = estimate(rows, np.ones(50), rows, np.arange(49), np.arange(1, 50))
    assert not table.any()
    assert np.isinf(edges).all()
    with pytest.raises(ValueError, match="odd number"):
        estimate(rows, rows, rows, np.arange(49), np.arange(1, 50), buckets=4)


def test_integrated_flow_takes_the_common_flow_out_of_its_levels() -> None:
    rng = np.random.default_rng(4)
    common, loads = rng.normal(size=5_000), np.array([1.0, 0.8, 0.6, 0.4, 0.2])
    flows = common[:, None] * loads + 0.05 * rng.normal(size=(5_000, 5))
    weights = first_component(flows)
    assert np.abs(weights).sum() == pytest.approx(1.0)
    assert weights.sum() > 0
    np.testing.assert_allclose(weights, loads / loads.sum(), atol=0.01)
    np.testing.assert_allclose(first_component(-flows), weights, atol=1e-12)
    table = fitted_dataset()
    params = IntegratedOfi().fit(table, instrument_places(table), WINDOW)
    assert params is not None
    assert params.columns == ("ofi_integrated_1s", "ofi_integrated_10s", "ofi_integrated_60s")
    for k in range(3):
        own = table.x[table.instrument_id == k][:, params.places[1]].astype(float)
        vector = np.linalg.svd(own - own.mean(axis=0), full_matrices=False)[2][0]
        vector *= np.sign(vector.sum()) / np.abs(vector).sum()
        np.testing.assert_allclose(params.weights[1, k], vector, atol=1e-6)


def test_the_volume_curve_finds_the_shape_of_the_day() -> None:
    table = fitted_dataset()
    params = VolumeCurve().fit(table, instrument_places(table), WINDOW)
    assert params is not None
    middle = (np.arange(BINS) + 0.5) / BINS
    expected = 30.0 + 60.0 * (2.0 * middle - 1.0) ** 2
    assert np.abs(params.curve / expected - 1).max() < 0.25
    shares = params.shares(0, 5)
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(1.0)
    assert (np.diff(shares) > 0).all()
    assert shares[1] > 0.25  # busy at both ends: a quarter of the day holds more than a quarter of the volume
    quiet = table.x[:1].copy()
    quiet[0, params.place] = 0.0
    usual = params.step(RowBatch(np.zeros(1, np.int64), np.array([0.5]), quiet))[0]
    assert usual[0] < 0
    assert usual[1] < -3


def test_a_broken_row_is_an_anomaly_and_a_usual_one_is_not() -> None:
    table = fitted_dataset()
    places = instrument_places(table)
    params = Anomaly().fit(table, places, WINDOW)
    assert params is not None
    rows = RowBatch(places, np.zeros(len(table)), table.x)
    score = params.step(rows)[:, 0]
    known = np.isfinite(score)
    assert known.mean() > 0.95
    assert (score[known] > params.threshold[places[known]]).mean() < 0.003
    # A slow reference: the inverse of the covariance that components and rest stand for.
    n = int(np.flatnonzero(np.isfinite(table.x[:, params.places]).all(axis=1))[5])
    z = (table.x[n, params.places].astype(float) - params.centre[places[n]]) / params.scale[places[n]]
    z = np.clip(z, -100, 100)
    precision = params.rest[0] * np.eye(len(z)) - params.directions @ params.directions.T
    assert np.linalg.eigvalsh(precision).min() > 0
    distance = np.sqrt(z @ precision @ z / len(z))
    assert score[n] == pytest.approx(distance)
    broken = table.x[n : n + 1].copy()
    flows = [k for k in range(len(params.names)) if params.names[k].startswith("ofi_l")]
    broken[0, params.places[flows]] *= np.array([20.0, -20.0] * len(flows))[: len(flows)]
    worse = params.step(RowBatch(places[n : n + 1], np.zeros(1), broken))[0, 0]
    assert worse > 2 * params.threshold[places[n]]


def test_the_throttle_lets_usual_rows_pass_and_closes_at_twice_the_threshold() -> None:
    score = np.array([0.0, 4.0, 6.0, 8.0, 99.0, np.nan])
    assert throttle(score, np.full(6, 4.0)).tolist() == [1.0, 1.0, 0.5, 0.0, 0.0, 1.0]


def test_members_that_the_rows_cannot_feed_are_left_out() -> None:
    table = fitted_dataset()
    few = table.take(np.arange(100))
    places = instrument_places(few)
    assert Anomaly().fit(few, places, WINDOW) is None
    bare = table.columns[:3]
    for name in ("microprice", "integrated_ofi", "volume_curve"):
        cut = replace(table, columns=bare, x=table.x[:, :3])
        assert FITTED[name].fit(cut, instrument_places(table), WINDOW) is None


def test_the_raw_catalogue_has_the_columns_that_members_read() -> None:
    spec = FeatureSpec(SamplingSettings(families=("core", "levels")), True)
    assert set(READS) <= set(spec.columns)
    levels = [found.groups() for found in map(LEVEL_COLUMN.fullmatch, spec.columns) if found]
    assert {span for _, span in levels} == {"1s", "10s", "60s"}
    assert {int(level) for level, _ in levels} >= {1, 2, 3, 4, 5}
    assert [name for name in spec.columns if name.startswith(PREFIX)][-1] == "trade_intensity_60s"

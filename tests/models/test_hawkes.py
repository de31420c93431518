"""The Hawkes likelihood against a double sum, its gradient against differences, and recovery of known parameters."""

import numpy as np
import pytest

from features.fitted.hawkes_intensity import HawkesParams, intensities
from features.fitted.params import FitWindow
from marketdata.clock import NS_PER_S
from models.hawkes import MAX_RADIUS, exponential_distance, fit_hawkes, fit_instrument, next_block_fit
from models.hawkes_likelihood import (
    KINDS,
    PointEvents,
    Window,
    excitation,
    hat_functions,
    hat_integrals,
    loglik_and_gradient,
    rescaled_gaps,
    simulate_by_thinning,
    spectral_radius,
    window_features,
)

DECAYS = np.array([4.0, 0.4])
BASELINE = np.array([0.35, 0.30, 0.20, 0.25])
EXCITATION = np.zeros((4, 4, 2))
EXCITATION[0, 0] = 0.25, 0.10
EXCITATION[1, 1] = 0.20, 0.15
EXCITATION[2, 0] = 0.30, 0.00
EXCITATION[3, 1] = 0.25, 0.05
EXCITATION[1, 2] = 0.00, 0.20


def watched(events: PointEvents, span_s: float) -> Window:
    end = int(span_s * NS_PER_S)
    return Window(events, 0, end, 0, end)


def few_events() -> PointEvents:
    generator = np.random.default_rng(3)
    ts = np.sort(generator.integers(0, 40 * NS_PER_S, 80))
    ts[10:13] = ts[10]  # three events of one time stamp
    return PointEvents(np.sort(ts), generator.integers(0, 4, 80).astype(np.uint8))


def slow_excitation(events: PointEvents, decays: np.ndarray) -> np.ndarray:
    out = np.zeros((len(events), KINDS * len(decays)))
    for n in range(len(events)):
        for m in range(len(events)):
            if events.ts_ns[m] < events.ts_ns[n]:
                gap = (events.ts_ns[n] - events.ts_ns[m]) / NS_PER_S
                for b, decay in enumerate(decays):
                    out[n, events.kind[m] * len(decays) + b] += decay * np.exp(-decay * gap)
    return out


def slow_loglik(theta: np.ndarray, events: PointEvents, decays: np.ndarray, span_s: float, kind: int) -> float:
    knots = len(theta) - KINDS * len(decays)
    places = np.linspace(0.0, span_s, knots)
    past = slow_excitation(events, decays)
    value = 0.0
    for n in np.flatnonzero(events.kind == kind):
        value += np.log(np.interp(events.ts_ns[n] / NS_PER_S, places, theta[:knots]) + past[n] @ theta[knots:])
    value -= np.trapezoid(theta[:knots], places)
    for m in range(len(events)):
        left = span_s - events.ts_ns[m] / NS_PER_S
        alpha = theta[knots + events.kind[m] * len(decays) :][: len(decays)]
        value -= float(alpha @ (1.0 - np.exp(-decays * left)))
    return value


def test_recursive_likelihood_equals_the_double_sum():
    events, knots, span = few_events(), 6, 40.0
    theta = np.abs(np.random.default_rng(1).normal(size=knots + 8)) + 0.05
    features = window_features([watched(events, span)], DECAYS, knots)
    for kind in range(KINDS):
        rows = np.ascontiguousarray(features.at[features.kind == kind])
        fast = loglik_and_gradient(theta, rows, features.integral, np.empty(len(theta)))
        assert fast == pytest.approx(slow_loglik(theta, events, DECAYS, span, kind), abs=1e-9)


def test_gradient_equals_central_differences():
    events, knots = few_events(), 6
    features = window_features([watched(events, 40.0)], DECAYS, knots)
    theta = np.abs(np.random.default_rng(2).normal(size=knots + 8)) + 0.2
    rows = np.ascontiguousarray(features.at[features.kind == 1])
    gradient, scratch = np.empty(len(theta)), np.empty(len(theta))
    loglik_and_gradient(theta, rows, features.integral, gradient)
    for p in range(len(theta)):
        step = np.zeros(len(theta))
        step[p] = 1e-6
        up = loglik_and_gradient(theta + step, rows, features.integral, scratch)
        down = loglik_and_gradient(theta - step, rows, features.integral, scratch)
        assert gradient[p] == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-4)


def test_events_of_one_time_stamp_do_not_excite_each_other():
    events = PointEvents(np.array([0, NS_PER_S, NS_PER_S, NS_PER_S]), np.array([0, 0, 1, 2], dtype=np.uint8))
    out = np.empty((4, 8))
    excitation(events.ts_ns, events.kind, DECAYS, out)
    assert np.array_equal(out[1], out[2])
    assert np.array_equal(out[1], out[3])
    assert out[1, 0] == pytest.approx(4.0 * np.exp(-4.0))
    assert window_features([watched(events, 2.0)], DECAYS, 6).tie_share == 0.75


def test_hat_functions_sum_to_one_and_integrate_to_the_watch():
    ts = np.arange(0, 100 * NS_PER_S, NS_PER_S // 3)
    out = np.empty((len(ts), 7))
    hat_functions(ts, 0, 100 * NS_PER_S, out)
    assert np.allclose(out.sum(axis=1), 1.0)
    window = Window(PointEvents(ts, np.zeros(len(ts), np.uint8)), 0, 100 * NS_PER_S, 20 * NS_PER_S, 75 * NS_PER_S)
    assert hat_integrals(window, 7).sum() == pytest.approx(55.0)


@pytest.fixture(scope="module")
def path() -> tuple[PointEvents, float]:
    span = 12_000.0
    return simulate_by_thinning(BASELINE, EXCITATION, DECAYS, span, np.random.default_rng(17)), span


def test_thinning_gives_the_stationary_rates(path):
    events, span = path
    expected = np.linalg.solve(np.eye(4) - EXCITATION.sum(axis=2), BASELINE)
    rates = np.bincount(events.kind, minlength=4) / span
    assert rates == pytest.approx(expected, rel=0.05)


def test_maximum_likelihood_recovers_a_four_kind_process(path):
    events, span = path
    fit = fit_instrument(window_features([watched(events, span)], DECAYS, 6), DECAYS)
    branching = EXCITATION.sum(axis=2)
    assert np.abs(fit.excitation.sum(axis=2) - branching).max() < 0.06
    assert fit.baseline.mean(axis=1) == pytest.approx(BASELINE, rel=0.15)
    assert fit.radius == pytest.approx(spectral_radius(EXCITATION), abs=0.06)


def test_a_baseline_that_changes_in_the_day_is_followed():
    generator = np.random.default_rng(4)
    span, times, kinds = 8_000.0, [], []
    for kind in range(4):  # thinned Poisson, from 0.4 a second down to 0.1 and up again
        candidate = np.sort(generator.random(int(0.5 * span)) * span)
        rate = np.interp(candidate, [0, span / 2, span], [0.4, 0.1, 0.4])
        kept = candidate[generator.random(len(candidate)) < rate / 0.5]
        times.append(kept)
        kinds.append(np.full(len(kept), kind, dtype=np.uint8))
    order = np.argsort(np.concatenate(times))
    events = PointEvents((np.concatenate(times)[order] * NS_PER_S).astype(np.int64), np.concatenate(kinds)[order])
    fit = fit_instrument(window_features([watched(events, span)], DECAYS, 9), DECAYS)
    assert fit.baseline[:, 0].mean() == pytest.approx(0.4, rel=0.2)
    assert fit.baseline[:, 4].mean() == pytest.approx(0.1, rel=0.35)
    assert fit.excitation.sum(axis=2).max() < 0.05


def test_time_rescaling_gives_unit_exponential_gaps_of_the_true_process(path):
    events, span = path
    theta = np.concatenate([np.full((4, 6), 1.0) * BASELINE[:, None], EXCITATION.reshape(4, -1)], axis=1)
    for kind in range(4):
        gaps = rescaled_gaps(theta[kind], events.ts_ns, events.kind, DECAYS, 0, int(span * NS_PER_S), kind)
        assert gaps.mean() == pytest.approx(1.0, rel=0.05)
        assert exponential_distance(gaps) < 1.63 / np.sqrt(len(gaps))  # the 1 % point of Kolmogorov's law


def test_on_the_next_block_hawkes_beats_poisson_and_shuffled_kinds(path):
    events, span = path
    report = next_block_fit([watched(events, span)], DECAYS, np.random.default_rng(0))
    assert report["hawkes"]["loglik_per_event"] > report["poisson"]["loglik_per_event"] + 0.05
    assert report["hawkes"]["loglik_per_event"] > report["shuffled_loglik_per_event"] + 0.05
    assert report["hawkes"]["ks"] < report["poisson"]["ks"]


def test_an_explosive_fit_is_scaled_back_below_one():
    ts = np.concatenate([np.arange(40) * 1_000_000 + k * 30 * NS_PER_S for k in range(40)])  # bursts out of nothing
    events = PointEvents(ts, (np.arange(len(ts)) % 4).astype(np.uint8))
    fit = fit_instrument(window_features([watched(events, 1_200.0)], np.array([50.0]), 6), np.array([50.0]))
    assert spectral_radius(fit.excitation) <= MAX_RADIUS + 1e-9
    with pytest.raises(ValueError, match="not below 1"):
        simulate_by_thinning(BASELINE, EXCITATION * 4.0, DECAYS, 1.0, np.random.default_rng(0))


def test_an_instrument_without_events_gets_a_finite_flat_process():
    nothing = PointEvents(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint8))
    params, found = fit_hawkes([[watched(nothing, 100.0)], []], (4.0, 0.4), FitWindow(0, 1, 1), 1)
    assert np.isfinite(params.baseline).all()
    assert not params.excitation.any()
    assert found["instruments"][0]["events"] == 0


def test_intensities_at_a_row_equal_the_formula():
    params = HawkesParams((4.0, 0.4), np.tile(BASELINE[None, :, None], (1, 1, 6)), EXCITATION[None], FitWindow(0, 1, 1))
    counts = np.abs(np.random.default_rng(0).normal(size=(5, 8))).astype(np.float32)
    counts[3, 2] = np.nan
    found = intensities(params, np.zeros(5, dtype=np.int64), np.linspace(0, 1, 5), counts)
    weights = EXCITATION * DECAYS
    expected = BASELINE + np.nan_to_num(counts.astype(np.float64)) @ weights.reshape(4, 8).T
    assert np.allclose(found, expected, atol=1e-12)

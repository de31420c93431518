"""The measures of a market's look, each on a tape or a process whose answer is known."""

import numpy as np
import pytest

from marketdata.clock import NS_PER_S
from marketdata.events import ADD, ASK, BID, DELETE, EVENT_DTYPE, EXECUTE, F_LAST, HIDDEN, REDUCE, EventArray
from marketdata.stylised_facts import (
    Quotes,
    Span,
    aggressors,
    autocorrelation,
    best_quotes,
    cancel_distances,
    coefficient_of_variation,
    depth_profile,
    durations_s,
    intraday_shape,
    mean_spread_bps,
    mean_spread_ticks,
    order_rows,
    order_to_trade,
    power_law_exponent,
    raw_kurtosis,
    returns_bps,
    signature,
    spread_distribution,
    waits_s,
)

TICK = 5


def tape(*rows: tuple[float, int, int, int, int]) -> EventArray:
    """Rows of (second, action, side, price, lots), each a group of its own."""
    full = [
        (round(s * NS_PER_S), round(s * NS_PER_S), price, lots, k + 1, k, 0, action, side, F_LAST, 0)
        for k, (s, action, side, price, lots) in enumerate(rows)
    ]
    return np.array(full, EVENT_DTYPE)


def span(first: float, last: float) -> Span:
    return Span(round(first * NS_PER_S), round(last * NS_PER_S))


def walk(mids: np.ndarray, every_s: float = 1.0) -> Quotes:
    ts = (np.arange(len(mids)) * every_s * NS_PER_S).astype(np.int64)
    lots = np.ones(len(mids), np.int64)
    return Quotes(ts, mids - 1, lots, mids + 1, lots)


BOOK = (
    (0, ADD, BID, 100, 4),
    (0, ADD, BID, 95, 6),
    (0, ADD, ASK, 110, 2),
    (0, ADD, ASK, 120, 8),
)


def test_the_spread_is_weighted_by_how_long_it_held() -> None:
    events = tape(*BOOK, (6, ADD, BID, 105, 1), (8, EXECUTE, BID, 105, 1))
    spans = [span(0, 10)]
    quotes = best_quotes(events, spans)
    assert mean_spread_ticks(quotes, spans, TICK) == pytest.approx(0.8 * 2 + 0.2 * 1)
    share = spread_distribution(quotes, spans, TICK, most=3)
    assert share == pytest.approx([0.2, 0.8, 0.0])
    assert mean_spread_bps(quotes, spans) == pytest.approx(1e4 * (0.8 * 10 / 105 + 0.2 * 5 / 107.5))


def test_a_break_belongs_to_no_state() -> None:
    ts = np.array([0, 4, 12]) * NS_PER_S
    assert durations_s(ts, [span(0, 5), span(10, 13)]) == pytest.approx([4.0, 1.0, 1.0])


def test_depth_is_read_by_distance_in_ticks_from_each_best() -> None:
    events = tape(*BOOK, (30, ADD, BID, 90, 1))
    profile = depth_profile(events, [span(0, 21)], TICK, every_s=10)
    assert profile[:4] == pytest.approx([(4 + 2) / 2, 6 / 2, 8 / 2, 0.0])
    assert np.isnan(depth_profile(tape((0, ADD, BID, 100, 1)), [span(0, 21)], TICK)).all()


def test_executions_of_one_time_and_side_are_one_aggressor() -> None:
    events = tape(
        *BOOK,
        (1, EXECUTE, ASK, 110, 2),
        (1, EXECUTE, ASK, 120, 1),
        (2, HIDDEN, BID, 103, 3),
        (2, EXECUTE, ASK, 120, 1),
        (2, EXECUTE, BID, 100, 1),
        (9, EXECUTE, BID, 100, 1),
    )
    found = aggressors(events, [span(0, 5)])
    assert found.sign.tolist() == [1, -1, 1]
    assert found.lots.tolist() == [3, 4, 1]
    assert (found.ts // NS_PER_S).tolist() == [1, 2, 2]
    assert len(aggressors(events, [span(20, 30)]).ts) == 0


def test_the_autocorrelation_of_an_autoregression_is_a_power_of_its_coefficient() -> None:
    rng = np.random.default_rng(1)
    values = np.zeros(200_000)
    for k in range(1, len(values)):
        values[k] = 0.6 * values[k - 1] + rng.standard_normal()
    assert autocorrelation(values, 3) == pytest.approx([0.6, 0.36, 0.216], abs=0.01)
    slow = [float(np.mean((values[:-k] - values.mean()) * (values[k:] - values.mean()))) for k in (1, 2)]
    assert autocorrelation(values, 2) == pytest.approx(np.array(slow) / values.var(), abs=1e-4)
    assert np.isnan(autocorrelation(np.ones(50), 4)).all()
    assert np.isnan(autocorrelation(np.array([1.0, 2.0, 4.0, 1.0]), 6)[3:]).all()


def test_the_exponent_of_a_power_law_is_found_and_noise_has_none() -> None:
    lags = np.arange(1, 101)
    assert power_law_exponent(0.4 * lags**-0.5) == pytest.approx(0.5)
    assert np.isnan(power_law_exponent(np.full(100, -0.01)))


def test_returns_are_log_moves_in_bps_within_a_span() -> None:
    quotes = walk(np.array([10_000, 10_010, 10_000, 10_020, 10_030]))
    two = returns_bps(quotes, [span(0, 2), span(3, 4)], 1.0)
    assert two == pytest.approx([10.0, -10.0, 1e4 * np.log(10_030 / 10_020)], abs=0.01)


def test_kurtosis_is_three_for_a_gaussian_and_one_for_a_coin() -> None:
    rng = np.random.default_rng(2)
    assert raw_kurtosis(rng.standard_normal(400_000)) == pytest.approx(3.0, abs=0.05)
    assert raw_kurtosis(np.tile([1.0, -1.0], 50)) == pytest.approx(1.0)
    assert np.isnan(raw_kurtosis(np.ones(9)))
    assert np.isnan(raw_kurtosis(np.zeros(0)))


def test_the_signature_plot_of_a_random_walk_is_flat_and_of_noise_falls() -> None:
    rng = np.random.default_rng(3)
    steps = 2 * rng.integers(-2, 3, 60_000)
    flat = signature(walk(1_000_000 + np.cumsum(steps)), [span(0, 60_000)], (1, 10, 60))
    assert flat / flat[0] == pytest.approx([1.0, 1.0, 1.0], abs=0.1)
    assert flat[0] == pytest.approx(8.0 * 1e8 / 1_000_000**2, rel=0.1)
    noise = signature(walk(1_000_000 + 2 * rng.integers(-2, 3, 60_000)), [span(0, 60_000)], (1, 10))
    assert noise[1] / noise[0] == pytest.approx(0.1, abs=0.02)


def test_the_intraday_shape_skips_the_break() -> None:
    ts = (np.array([0.5, 1.5, 10.5, 10.6, 11.5, 50.0]) * NS_PER_S).astype(np.int64)
    shape = intraday_shape(ts, [span(0, 2), span(10, 12)], bins=4)
    assert shape == pytest.approx(np.array([1, 1, 2, 1]) / 1.25)


def test_waits_do_not_span_a_break_and_a_poisson_process_varies_by_its_mean() -> None:
    ts = np.array([0, 1, 3, 10, 14]) * NS_PER_S
    assert waits_s(ts, [span(0, 5), span(9, 20)]) == pytest.approx([1.0, 2.0, 4.0])
    rng = np.random.default_rng(4)
    assert coefficient_of_variation(rng.exponential(2.0, 200_000)) == pytest.approx(1.0, abs=0.02)
    assert np.isnan(coefficient_of_variation(np.zeros(0)))


def test_orders_are_counted_against_aggressors() -> None:
    events = tape(*BOOK, (1, REDUCE, ASK, 120, 1), (2, DELETE, BID, 95, 6), (3, EXECUTE, BID, 100, 1))
    spans = [span(0, 5)]
    assert order_rows(events, spans) == {"add": 4, "reduce": 1, "delete": 1}
    assert order_to_trade(events, spans) == 6.0
    assert np.isnan(order_to_trade(events, [span(0, 2.5)]))


def test_a_cancel_is_as_far_as_it_was_behind_the_best_before_it() -> None:
    events = tape(*BOOK, (1, DELETE, BID, 95, 6), (2, DELETE, ASK, 110, 2), (3, DELETE, ASK, 120, 8))
    share = cancel_distances(events, [span(0, 5)], TICK, most=3)
    assert share == pytest.approx([2 / 3, 1 / 3, 0.0])
    assert np.isnan(cancel_distances(events, [span(0, 0.5)], TICK)).all()

"""Sketches add up exactly, and drift is that of the rows they were made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from features.drift import DRIFTED, STABLE, UNKNOWN, drift, drift_frame
from features.sketch import (
    BINS,
    ZERO,
    SketchError,
    add_rows,
    bin_centres,
    bin_edges,
    empty_sketch,
    merge_sketches,
    sketch_rows,
)

NAMES = ("a", "b", "c")


def _slow_bin(value: float) -> int:
    """Return the bin by looking through the edges: the reference."""
    if abs(value) < 2.0**-40:
        return ZERO
    edges = bin_edges()
    if value > 0:
        return int(np.searchsorted(edges, value, side="right"))
    return int(np.searchsorted(edges, value, side="left"))


@given(st.floats(allow_nan=False, allow_infinity=True))
@settings(max_examples=400, deadline=None)
def test_a_value_falls_into_the_bin_whose_edges_enclose_it(value: float) -> None:
    counts = sketch_rows(("a",), np.array([[value]])).counts[0]
    assert counts.sum() == 1
    assert int(np.argmax(counts)) == _slow_bin(value)


def test_a_bin_is_at_most_a_thirty_second_of_its_value_wide() -> None:
    edges = bin_edges()[ZERO:]
    assert (np.diff(edges) <= edges[:-1] / 32 + 1e-300).all()
    assert len(bin_centres()) == BINS
    assert (np.diff(bin_centres()) > 0).all()


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 300), max_size=5))
@settings(max_examples=40, deadline=None)
def test_a_stream_cut_anywhere_gives_the_same_sketch(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((300, 3)) * 10.0 ** rng.integers(-6, 6, (300, 3))
    values[rng.random((300, 3)) < 0.1] = np.nan
    whole = sketch_rows(NAMES, values)
    parts = [sketch_rows(NAMES, part) for part in np.split(values, sorted(cuts))]
    merged = merge_sketches(parts[::-1])
    assert np.array_equal(merged.counts, whole.counts)
    assert np.array_equal(merged.rows, whole.rows)
    assert np.array_equal(merged.missing_share, np.isnan(values).mean(axis=0))


def test_float32_rows_count_as_their_float64_values() -> None:
    values = np.random.default_rng(3).standard_normal((500, 3)).astype(np.float32)
    assert np.array_equal(sketch_rows(NAMES, values).counts, sketch_rows(NAMES, values.astype(np.float64)).counts)


def test_the_wasserstein_distance_is_that_of_the_rows_to_the_width_of_a_bin() -> None:
    rng = np.random.default_rng(5)
    before, now = rng.normal(0, 1, 20_000), rng.normal(0.5, 1.3, 20_000)
    found = drift(sketch_rows(("a",), before[:, None]), sketch_rows(("a",), now[:, None]))[0]
    assert found.wasserstein_sd == pytest.approx(wasserstein_distance(before, now) / before.std(), rel=0.02)


def test_the_index_of_a_shift_is_the_textbook_sum_over_training_deciles() -> None:
    rng = np.random.default_rng(6)
    before, now = rng.normal(10, 1, 50_000), rng.normal(11, 1, 50_000)
    edges = np.quantile(before, np.arange(0.1, 1.0, 0.1))
    p = np.bincount(np.searchsorted(edges, before), minlength=10) / len(before)
    q = np.bincount(np.searchsorted(edges, now), minlength=10) / len(now)
    expected = float(np.sum((q - p) * np.log(q / p)))
    found = drift(sketch_rows(("a",), before[:, None]), sketch_rows(("a",), now[:, None]))[0]
    # A decile's edge moves to the edge of a bin of width 1/32 of 10, a third of a standard deviation.
    assert found.psi == pytest.approx(expected, rel=0.15)
    assert found.status == DRIFTED


def test_the_same_distribution_is_stable_and_a_column_that_falls_silent_has_drifted() -> None:
    rng = np.random.default_rng(7)
    before, now = rng.standard_normal((5_000, 3)), rng.standard_normal((5_000, 3))
    now[:, 1] = np.nan
    before[:, 2], now[:, 2] = 0.0, 0.0
    found = drift(sketch_rows(NAMES, before), sketch_rows(NAMES, now))
    assert [row.status for row in found] == [STABLE, DRIFTED, STABLE]
    assert np.isnan(found[1].psi)
    assert found[1].missing_now == 1.0
    assert found[2].psi == 0.0
    assert found[2].wasserstein_sd == 0.0
    assert drift_frame(found).get_column("column").to_list()[-1] == "b"


def test_a_constant_that_moves_is_infinitely_many_deviations_away() -> None:
    before, now = np.zeros((300, 1)), np.ones((300, 1))
    found = drift(sketch_rows(("a",), before), sketch_rows(("a",), now))[0]
    assert found.status == DRIFTED
    assert np.isinf(found.wasserstein_sd)


def test_few_values_say_so_and_unlike_columns_are_refused() -> None:
    few = sketch_rows(("a",), np.ones((10, 1)))
    assert drift(few, few)[0].status == UNKNOWN
    with pytest.raises(SketchError, match="different columns"):
        drift(few, empty_sketch(("b",)))
    with pytest.raises(SketchError, match="do not merge"):
        merge_sketches([few, empty_sketch(("b",))])
    with pytest.raises(SketchError, match="shape"):
        add_rows(few, np.ones((3, 2)))


def test_quantiles_lie_within_a_bin_of_those_of_the_rows() -> None:
    values = np.random.default_rng(8).lognormal(3, 1, 10_000)
    sketch = sketch_rows(("a",), values[:, None])
    for share in (0.01, 0.5, 0.99):
        assert sketch.quantile(0, share) == pytest.approx(np.quantile(values, share), rel=1 / 32 + 0.01)

"""Purging is a matter of what was known when: properties over random spans, and a brute-force reference."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import LABEL_MISSING, NEVER_KNOWN, Dataset
from marketdata.clock import NS_PER_MINUTE, NS_PER_S
from marketdata.settings import LatencySettings, TrainingSettings
from models.splits import combinatorial_purged_splits, final_fold, inner_split, purge_spans, walk_forward_folds
from tests.models.rows import small_dataset

LATENCY = LatencySettings()


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return small_dataset(sessions=5, rows=120)


def slow_known(dataset: Dataset, seed: int, longest_s: int) -> Dataset:
    """Return the dataset with labels that take up to ``longest_s`` seconds to be known."""
    wait = np.random.default_rng(seed).integers(1, longest_s + 1, len(dataset)) * NS_PER_S
    known = np.where(dataset.labelled, dataset.ts_recv + wait, NEVER_KNOWN)
    return replace(dataset, ts_known=known)


@given(seed=st.integers(0, 10_000), longest_s=st.integers(1, 40_000), first=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_no_training_label_was_unknown_when_the_test_began(dataset, seed, longest_s, first):
    rows = slow_known(dataset, seed, longest_s)
    folds = walk_forward_folds(rows, TrainingSettings(first_train_units=first), LATENCY)
    assert len(folds) == 5 - first
    for fold in folds:
        opened = int(rows.ts_recv[fold.test].min())
        assert fold.test_start_ns <= opened
        assert (rows.ts_known[fold.train] < fold.test_start_ns - LATENCY.to_venue_ns).all()
        assert (rows.ts_recv[fold.context] < fold.test_start_ns - LATENCY.to_venue_ns).all()
        left_out = np.setdiff1d(np.flatnonzero(rows.labelled & (rows.session < rows.session[fold.test[0]])), fold.train)
        assert (rows.ts_known[left_out] >= fold.train_end_ns).all()
        assert np.isin(fold.train, fold.context).all()
        assert not np.isin(fold.test, fold.context).any()


@given(seed=st.integers(0, 10_000), longest_s=st.integers(1, 4_000), share=st.floats(0.05, 0.45))
@settings(max_examples=25, deadline=None)
def test_the_inner_split_is_purged_like_a_test(dataset, seed, longest_s, share):
    rows = slow_known(dataset, seed, longest_s)
    train = np.flatnonzero(rows.labelled)
    earlier, later = inner_split(rows, train, share, LATENCY)
    assert (rows.ts_known[earlier] < rows.ts_recv[later].min() - LATENCY.to_venue_ns).all()
    assert len(later) == pytest.approx(share * len(train), abs=3)


@given(seed=st.integers(0, 10_000), longest_s=st.integers(1, 4_000), groups=st.integers(3, 6))
@settings(max_examples=15, deadline=None)
def test_combinatorial_training_spans_meet_no_test_span(dataset, seed, longest_s, groups):
    rows = slow_known(dataset.take(np.arange(0, len(dataset), 9)), seed, longest_s)
    for train, test in combinatorial_purged_splits(rows, groups, 2):
        begin, end = rows.ts_recv[test], rows.ts_known[test]
        low, high = rows.ts_recv - rows.memory_ns, rows.ts_known
        for row in np.setdiff1d(np.flatnonzero(rows.labelled), test):
            meets = bool(((begin <= high[row]) & (end >= low[row])).any())
            assert meets == (row not in train)


def test_combinatorial_splits_test_every_row_equally_often(dataset):
    splits = combinatorial_purged_splits(dataset, 5, 2)
    assert len(splits) == 10
    times = np.bincount(np.concatenate([test for _, test in splits]), minlength=len(dataset))
    assert set(times[dataset.labelled]) == {4}
    with pytest.raises(ValueError, match="cannot take"):
        combinatorial_purged_splits(dataset, 2, 2)


def test_purging_nothing_when_spans_are_far_apart(dataset):
    day = np.flatnonzero(dataset.labelled & (dataset.session == 0))
    assert np.array_equal(purge_spans(dataset, day, np.flatnonzero(dataset.labelled & (dataset.session == 3))), day)


def test_tonights_final_fold_holds_the_rows_of_tomorrows_last_fold(dataset):
    training = TrainingSettings(first_train_units=2, window_sessions=2)
    tomorrow = walk_forward_folds(dataset, training, LATENCY)[-1]
    tonight = dataset.take(dataset.session < 4)
    fold = final_fold(tonight, training)
    assert np.array_equal(tonight.ts_recv[fold.context], dataset.ts_recv[tomorrow.context])
    assert np.array_equal(tonight.ts_recv[fold.train], dataset.ts_recv[tomorrow.train])
    assert set(dataset.session[tomorrow.train]) == {2, 3}
    assert fold.name == "next"
    assert not len(fold.test)


def test_blocks_of_a_day_are_units_of_their_own(dataset):
    day = dataset.take(dataset.session == 0)
    folds = walk_forward_folds(day, TrainingSettings(fold_unit="block", first_train_units=3), LATENCY)
    assert len(folds) == 10  # thirteen half hours, three to start with
    opened = day.sessions[0].open_ns
    for k, fold in enumerate(folds):
        assert fold.test_start_ns == opened + (3 + k) * 30 * NS_PER_MINUTE
        inside = (day.ts_recv[fold.test] - fold.test_start_ns) / NS_PER_MINUTE
        assert inside.min() >= 0
        assert inside.max() < 30


def test_weeks_are_units_by_calendar_week():
    long = small_dataset(sessions=12, rows=10)
    folds = walk_forward_folds(long, TrainingSettings(fold_unit="week", first_train_units=1), LATENCY)
    assert [fold.name for fold in folds] == ["2026-W11", "2026-W12"]
    assert set(long.session[folds[0].test]) == {5, 6, 7, 8, 9}


def test_rows_without_a_label_are_context_and_never_train(dataset):
    fold = walk_forward_folds(dataset, TrainingSettings(first_train_units=3), LATENCY)[0]
    missing = np.flatnonzero((dataset.y == LABEL_MISSING) & (dataset.session < 3))
    assert np.isin(missing, fold.context).all()
    assert not np.isin(missing, fold.train).any()

"""Cross-validated paths: every row once a path, by a model that did not see it or what overlaps it."""

from dataclasses import replace
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import pytest

from features.dataset import Dataset
from marketdata.paths import DataRoot
from models import cross_validation
from models.cross_validation import cross_validate, path_table
from models.hawkes_likelihood import PointEvents
from models.splits import Fold
from tests.models.rows import small_dataset, small_settings


@pytest.mark.parametrize(("groups", "test_groups"), [(6, 2), (5, 1), (6, 3), (4, 2)])
def test_paths_use_every_forecast_of_every_split_once(groups: int, test_groups: int) -> None:
    table = path_table(groups, test_groups)
    # López de Prado (2018), section 12.4: (k / N) C(N, k) paths; 5 for the book's N = 6, k = 2.
    assert table.shape == (comb(groups, test_groups) * test_groups // groups, groups)
    used = {(int(split), group) for path in table for group, split in enumerate(path)}
    splits = list(combinations(range(groups), test_groups))
    assert used == {(k, group) for k, chosen in enumerate(splits) for group in chosen}


def test_the_first_paths_are_put_together_as_in_the_book() -> None:
    # Figures 12.1 and 12.2, N = 6 and k = 2, splits S1 to S15: path 1 is G1 and G2 from S1, G3 from S2, G4 from S3, G5 from S4,
    # G6 from S5; path 2 is G1 from S2, G2 and G3 from S6, G4 from S7, G5 from S8, G6 from S9.
    table = path_table(6, 2)
    assert table[0].tolist() == [0, 0, 1, 2, 3, 4]
    assert table[1].tolist() == [1, 5, 5, 6, 7, 8]


def test_no_fit_sees_a_tested_row_its_overlap_or_its_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = small_dataset(sessions=3, rows=80)
    seen: list[tuple[Fold, dict[tuple[int, int], PointEvents]]] = []

    def fit(store, settings, rows, fold, name, points):  # type: ignore[no-untyped-def]  # stands in for the fit alone
        seen.append((fold, points))
        return fold

    def forecast(bundle: Fold, rows: Dataset, test: np.ndarray) -> np.ndarray:
        from models.forecast import FORECAST_DTYPE

        out = np.zeros(len(test), FORECAST_DTYPE)
        out["ts_recv"], out["instrument_id"] = rows.ts_recv[test], rows.instrument_id[test]
        out["edge_units"] = bundle.index
        return out

    monkeypatch.setattr(cross_validation, "fit_bundle", fit)
    monkeypatch.setattr(cross_validation, "forecast_rows", forecast)
    ticks = np.linspace(dataset.ts_recv[0], dataset.ts_recv[-1], 5_000).astype(np.int64)
    points = {(0, 1): PointEvents(ticks, np.zeros(len(ticks), np.int8))}
    found = cross_validate(DataRoot(tmp_path), small_settings(), dataset, "linear", points, groups=6, test_groups=2)
    assert (len(found.paths), found.splits) == (5, 15)
    assert 0.0 < found.purged_share < 0.5
    labelled = np.flatnonzero(dataset.labelled)
    assert np.array_equal(found.rows, labelled)
    parts = np.array_split(labelled, 6)
    for (fold, events), chosen in zip(seen, combinations(range(6), 2), strict=True):
        assert np.array_equal(fold.test, np.concatenate([parts[g] for g in chosen]))
        assert np.array_equal(fold.context, fold.train)
        assert not np.isin(fold.train, fold.test).any()
        kept = events[0, 1].ts_ns
        for group in chosen:
            begin, end = dataset.ts_recv[parts[group][0]], dataset.ts_known[parts[group]].max()
            assert not ((kept >= begin) & (kept <= end)).any()
            low, high = dataset.ts_recv[fold.train] - dataset.memory_ns, dataset.ts_known[fold.train]
            inside = (high >= begin) & (low <= end)
            rows = parts[group]
            for row in fold.train[inside]:
                span = (dataset.ts_recv[row] - dataset.memory_ns, dataset.ts_known[row])
                assert not ((dataset.ts_recv[rows] <= span[1]) & (dataset.ts_known[rows] >= span[0])).any()
    for path in found.paths:
        assert np.array_equal(path["ts_recv"], dataset.ts_recv[labelled])
        for group, rows in enumerate(parts):
            split = set(path["edge_units"][np.searchsorted(labelled, rows)].tolist())
            assert len(split) == 1
            assert group in list(combinations(range(6), 2))[int(split.pop()) - 1]


def test_a_linear_model_is_cross_validated_for_real(tmp_path: Path) -> None:
    dataset = small_dataset(sessions=3, rows=120)
    store = DataRoot(tmp_path)
    found = cross_validate(store, small_settings(), dataset, "linear", {}, groups=3, test_groups=1)
    (path,) = found.paths
    total = path["p_down"] + path["p_flat"] + path["p_up"]
    np.testing.assert_allclose(total, 1.0, atol=1e-4)
    assert len(list(store.bundles.iterdir())) >= 3


def test_purging_that_leaves_nothing_says_so(tmp_path: Path) -> None:
    dataset = small_dataset(sessions=1, rows=60)
    forever = replace(dataset, memory_ns=10**18)
    with pytest.raises(ValueError, match="no training row left"):
        cross_validate(DataRoot(tmp_path), small_settings(), forever, "linear", {}, groups=3, test_groups=1)

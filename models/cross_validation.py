"""Combinatorial purged cross-validation: many paths through the same history instead of one.

A walk forward is one draw. Testing every choice of k out of N groups of time, each by a model that was fitted without them, gives
every group several forecasts, and those are put together into paths that each cover all of history once. The spread over paths
says how much of a result was the one order in which history came.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from features.dataset import Dataset
from marketdata.paths import DataRoot
from marketdata.settings import Settings
from models.forecast import FORECAST_DTYPE, ForecastArray
from models.hawkes_likelihood import PointEvents
from models.splits import Fold, combinatorial_purged_splits
from models.training import fit_bundle, forecast_rows
from models.training_window import Points

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Forecasts of all labelled rows, once for every path.

    Attributes
    ----------
    rows : intp array, shape (n,)
        The labelled rows, ascending.
    paths : tuple of forecast arrays, each of shape (n,)
    splits : int
        Fits that were made.
    purged_share : float
        Mean share of the rows outside the test groups that purging took away.
    """

    rows: Rows
    paths: tuple[ForecastArray, ...]
    splits: int
    purged_share: float


def path_table(groups: int, test_groups: int) -> npt.NDArray[np.int64]:
    """Return which split each path takes each group's forecasts from, shape (paths, groups).

    There are ``C(N, k)`` splits and ``C(N - 1, k - 1)`` paths; a split's forecasts of a group are used by one path.

    References
    ----------
    López de Prado (2018). Advances in financial machine learning, section 12.4 (figures 12.1 and 12.2).
    """
    tested: list[list[int]] = [[] for _ in range(groups)]
    for split, chosen in enumerate(combinations(range(groups), test_groups)):
        for group in chosen:
            tested[group].append(split)
    return np.array(tested, np.int64).T


def cross_validate(
    store: DataRoot,
    settings: Settings,
    dataset: Dataset,
    name: str,
    points: Points,
    *,
    groups: int = 6,
    test_groups: int = 2,
    progress: Callable[[str, int, int], None] | None = None,
) -> CrossValidation:
    """Fit a forecaster on every combinatorial split and return its forecasts by path.

    Parameters
    ----------
    store : DataRoot
        Where fits are kept.
    points : mapping
        Point events for the Hawkes fit; those from test groups are left out of each.
    groups, test_groups : int
        N and k. Groups hold equally many labelled rows in time.

    Raises
    ------
    ValueError
        If the groups are not possible, or purging leaves a split nothing to train on.
    """
    splits = combinatorial_purged_splits(dataset, groups, test_groups)
    labelled = np.flatnonzero(dataset.labelled)
    parts = np.array_split(labelled, groups)
    made: list[dict[int, ForecastArray]] = []
    kept = []
    for number, (chosen, (train, test)) in enumerate(
        zip(combinations(range(groups), test_groups), splits, strict=True), start=1
    ):
        kept.append(len(train) / (len(labelled) - len(test)))
        outside = _points_outside(dataset, points, [parts[g] for g in chosen])
        bundle = fit_bundle(store, settings, dataset, _fold(dataset, train, test, number), name, outside)
        forecasts = forecast_rows(bundle, dataset, test)
        made.append({g: forecasts[np.searchsorted(test, parts[g])] for g in chosen})
        if progress is not None:
            progress("cross-validated fits", number, len(splits))
    paths = []
    for sources in path_table(groups, test_groups):
        path = np.zeros(len(labelled), FORECAST_DTYPE)
        for group, split in enumerate(sources):
            path[np.searchsorted(labelled, parts[group])] = made[int(split)][group]
        paths.append(path)
    return CrossValidation(labelled, tuple(paths), len(splits), 1.0 - float(np.mean(kept)))


def _fold(dataset: Dataset, train: Rows, test: Rows, number: int) -> Fold:
    """Return a split as a fold: nothing but its purged training rows is looked at, features and labels alike."""
    if not len(train):
        raise ValueError(f"split {number} has no training row left after purging: take more groups")
    end = int(max(dataset.ts_recv[train].max(), dataset.ts_known[train].max())) + 1
    first, last = int(dataset.ts_recv[test[0]]), int(dataset.ts_recv[test[-1]]) + 1
    return Fold(number, f"split {number}", train, train, test, end, first, last)


def _points_outside(dataset: Dataset, points: Points, tested: list[Rows]) -> Points:
    """Return the point events outside the test groups' spans, from the first row's receive time to the last known label."""
    spans = [(int(dataset.ts_recv[rows[0]]), int(dataset.ts_known[rows].max())) for rows in tested]
    found: dict[tuple[int, int], Any] = {}
    for key, events in points.items():
        keep = np.ones(len(events.ts_ns), bool)
        for begin, end in spans:
            keep &= (events.ts_ns < begin) | (events.ts_ns > end)
        found[key] = PointEvents(events.ts_ns[keep], events.kind[keep])
    return found

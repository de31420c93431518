"""Walk-forward folds, inner splits and combinatorial splits, purged by information spans (R13).

A row's information span is [``ts_recv`` − memory, ``ts_known``]. Going forward only the right end matters: a row may
train iff its label was known before the decision latency ahead of the first test moment. Combinatorial splits have test
rows on both sides, so there the whole span counts.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from features.dataset import NEVER_KNOWN, Dataset
from marketdata.clock import NS_PER_MINUTE, from_ns
from marketdata.settings import LatencySettings, TrainingSettings

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Fold:
    """One training window and the rows that are tested on it.

    Attributes
    ----------
    index : int
        Position in the walk.
    name : str
        The test unit: a date, a date and time (blocks), a week; ``next`` where the test is still to come.
    context : intp array
        Rows received before ``train_end_ns``: fitted features and windows may look at their features.
    train : intp array
        Context rows whose label was known before ``train_end_ns``: the loss may look at these.
    test : intp array
        Rows of the test unit.
    train_end_ns : int
        Test start less the decision latency; nothing received or known at or after it is used in the fit.
    test_start_ns, test_end_ns : int
        The test unit, half open.
    """

    index: int
    name: str
    context: Rows
    train: Rows
    test: Rows
    train_end_ns: int
    test_start_ns: int
    test_end_ns: int


@dataclass(frozen=True, slots=True)
class _Unit:
    name: str
    first_session: int
    start_ns: int
    end_ns: int


def walk_forward_folds(
    dataset: Dataset, training: TrainingSettings, latency: LatencySettings | None = None
) -> list[Fold]:
    """Return one fold for each unit (session, block or week) after the first ``first_train_units``, expanding by time.

    Parameters
    ----------
    latency : LatencySettings, optional
        Its ``to_venue_ns`` is the decision latency that labels have to be older than; defaults to the default settings.

    Returns
    -------
    list of Fold
        In time order; empty when there are not enough units. The window reaches back ``window_sessions`` at most.
    """
    unit_of_row, units = _units(dataset, training)
    delay = (latency or LatencySettings()).to_venue_ns
    folds = []
    for k in range(training.first_train_units, len(units)):
        unit = units[k]
        oldest = unit.first_session - training.window_sessions
        eligible = (unit_of_row < k) & (dataset.session >= oldest)
        folds.append(
            _fold(dataset, eligible, unit, np.flatnonzero(unit_of_row == k), k - training.first_train_units, delay)
        )
    return folds


def final_fold(dataset: Dataset, training: TrainingSettings) -> Fold:
    """Return the fold that trains on everything there is, for a test that is still to come.

    For daily folds its rows equal those of the next night's last fold, so that fit is made once.

    Raises
    ------
    ValueError
        If the dataset is empty.
    """
    if not len(dataset):
        raise ValueError("a dataset without rows trains nothing")
    last = int(dataset.session.max())
    end = max(dataset.sessions[last].close_ns, int(dataset.ts_recv[-1]) + 1)
    known = dataset.ts_known[dataset.ts_known != NEVER_KNOWN]
    end = max(end, int(known.max()) + 1 if len(known) else end)
    eligible = dataset.session > last - training.window_sessions
    unit = _Unit("next", last + 1, end, end)
    return _fold(dataset, eligible, unit, np.empty(0, dtype=np.intp), -1, 0)


def inner_split(
    dataset: Dataset, train: Rows, share: float, latency: LatencySettings | None = None
) -> tuple[Rows, Rows]:
    """Return (earlier, later) training rows for early stopping: the last ``share`` by time, purged like a test (R13).

    Parameters
    ----------
    train : intp array
        Ascending rows with known labels.
    """
    if len(train) < 2:
        return train, train[:0]
    cut = min(max(round(len(train) * (1.0 - share)), 1), len(train) - 1)
    start = int(dataset.ts_recv[train[cut]])
    later = train[dataset.ts_recv[train] >= start]
    bound = start - (latency or LatencySettings()).to_venue_ns
    earlier = train[dataset.ts_known[train] < bound]
    return earlier, later


def combinatorial_purged_splits(dataset: Dataset, groups: int, test_groups: int) -> list[tuple[Rows, Rows]]:
    """Return (train, test) rows for every choice of ``test_groups`` out of ``groups`` blocks of time.

    Groups hold equally many labelled rows. A training row is dropped when its information span meets the span
    [``ts_recv``, ``ts_known``] of any test row, on either side (López de Prado 2018, ch. 12).

    Raises
    ------
    ValueError
        Unless 0 < ``test_groups`` < ``groups`` <= labelled rows.
    """
    labelled = np.flatnonzero(dataset.labelled)
    if not 0 < test_groups < groups <= len(labelled):
        raise ValueError(f"cannot take {test_groups} of {groups} groups out of {len(labelled)} labelled rows")
    parts = np.array_split(labelled, groups)
    splits = []
    for chosen in combinations(range(groups), test_groups):
        test = np.concatenate([parts[k] for k in chosen])
        rest = np.concatenate([parts[k] for k in range(groups) if k not in chosen])
        splits.append((purge_spans(dataset, rest, test), test))
    return splits


def purge_spans(dataset: Dataset, train: Rows, test: Rows) -> Rows:
    """Return the training rows whose information span meets no test row's [``ts_recv``, ``ts_known``]."""
    order = np.argsort(dataset.ts_recv[test], kind="stable")
    begins = dataset.ts_recv[test][order]
    latest = np.maximum.accumulate(dataset.ts_known[test][order])
    known = dataset.ts_known[train]
    before = np.searchsorted(begins, known, side="right")
    reach = np.where(before > 0, latest[np.maximum(before - 1, 0)], np.iinfo(np.int64).min)
    return train[reach < dataset.ts_recv[train] - dataset.memory_ns]


def _fold(dataset: Dataset, eligible: npt.NDArray[np.bool_], unit: _Unit, test: Rows, index: int, delay: int) -> Fold:
    bound = unit.start_ns - delay
    context = eligible & (dataset.ts_recv < bound)
    train = context & dataset.labelled & (dataset.ts_known < bound)
    return Fold(
        index=index,
        name=unit.name,
        context=np.flatnonzero(context),
        train=np.flatnonzero(train),
        test=test,
        train_end_ns=bound,
        test_start_ns=unit.start_ns,
        test_end_ns=unit.end_ns,
    )


def _units(dataset: Dataset, training: TrainingSettings) -> tuple[npt.NDArray[np.int64], list[_Unit]]:
    """Return each row's unit and the units in time order, those without rows left out."""
    session = dataset.session.astype(np.int64)
    if training.fold_unit == "session":
        code = session
    elif training.fold_unit == "block":
        opens = np.array([s.open_ns for s in dataset.sessions], dtype=np.int64)
        block = (dataset.ts_recv - opens[session]) // (training.block_minutes * NS_PER_MINUTE)
        code = session * 10_000 + block
    else:
        weeks = np.array([s.date.isocalendar().year * 100 + s.date.isocalendar().week for s in dataset.sessions])
        code = weeks.astype(np.int64)[session]
    values, unit_of_row = np.unique(code, return_inverse=True)
    units = [_unit(dataset, training, int(value), session[unit_of_row == k]) for k, value in enumerate(values)]
    return unit_of_row.astype(np.int64), units


def _unit(dataset: Dataset, training: TrainingSettings, code: int, session: npt.NDArray[np.int64]) -> _Unit:
    first, last = dataset.sessions[int(session.min())], dataset.sessions[int(session.max())]
    start, end = first.open_ns, last.close_ns
    name = first.date.isoformat()
    if training.fold_unit == "block":
        length = training.block_minutes * NS_PER_MINUTE
        start = first.open_ns + (code % 10_000) * length
        end = min(start + length, last.close_ns)
        name = f"{name}T{from_ns(start):%H:%M}Z"
    elif training.fold_unit == "week":
        name = f"{code // 100}-W{code % 100:02d}"
    return _Unit(name, int(session.min()), start, end)

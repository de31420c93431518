"""What a fit may see: rows, labels and point events of a fold's training window, and the block made of them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.dataset import LABEL_MISSING, Dataset
from features.fitted.params import FitWindow
from marketdata.paths import DataRoot
from marketdata.settings import Settings
from models.design import DesignParams, design_step, init_design
from models.fitting import fit_design
from models.forecaster import DesignRows, Part, TrainingBlock, session_slices
from models.hawkes_likelihood import PointEvents
from models.splits import Fold, inner_split

SLOPE_SPREAD: Final = 0.25
"""By how much of it the worth of a forecast may be expected to differ from the mean size of a move, one standard deviation."""

Points = Mapping[tuple[int, int], PointEvents]
"""Point events by (position of the session in ``Dataset.sessions``, instrument id)."""


@dataclass(frozen=True, slots=True)
class TrainingWindow:
    """What a fit may see of a dataset: context rows, which of them count in the loss, and the point events."""

    dataset: Dataset
    loss: npt.NDArray[np.intp]
    points: dict[tuple[int, int], PointEvents]

    @property
    def span(self) -> FitWindow:
        """First and last receive time, and when the last label was known."""
        ts, known = self.dataset.ts_recv, self.dataset.ts_known[self.loss]
        return FitWindow(int(ts[0]), int(ts[-1]), int(max(known.max(), ts[-1])))

    def rows_sha256(self) -> str:
        """Hash of the rows, of the loss rows, of the sessions and the instruments."""
        digest = hashlib.sha256(self.dataset.content_hash().encode())
        digest.update(repr([(s.open_ns, s.close_ns) for s in self.dataset.sessions]).encode())
        digest.update(repr([(i.instrument_id, i.symbol) for i in self.dataset.instruments]).encode())
        digest.update(self.loss.astype(np.int64).tobytes())
        return digest.hexdigest()

    def points_sha256(self) -> str:
        """Hash of the point events."""
        digest = hashlib.sha256()
        for key in sorted(self.points):
            digest.update(repr((int(key[0]), int(key[1]))).encode())
            digest.update(np.ascontiguousarray(self.points[key].ts_ns).tobytes())
            digest.update(np.ascontiguousarray(self.points[key].kind).tobytes())
        return digest.hexdigest()


def training_window(dataset: Dataset, fold: Fold, points: Points) -> TrainingWindow:
    """Return the part of dataset and point events that the fold trains on, sessions renumbered from its first.

    Raises
    ------
    ValueError
        If no row's label was known in time.
    """
    if not len(fold.train):
        raise ValueError(f"fold {fold.name} has no row whose label was known before it")
    rows = dataset.take(fold.context)
    first, last = int(rows.session.min()), int(rows.session.max())
    rows = replace(rows, session=(rows.session - first).astype(np.int32), sessions=dataset.sessions[first : last + 1])
    chosen = {}
    for (session, instrument), events in points.items():
        if first <= session <= last:
            early = events.ts_ns < fold.train_end_ns
            chosen[session - first, instrument] = PointEvents(events.ts_ns[early], events.kind[early])
    return TrainingWindow(rows, np.searchsorted(fold.context, fold.train), chosen)


def training_block(
    root: DataRoot,
    settings: Settings,
    window: TrainingWindow,
    parts: tuple[Part, ...],
    seed: int,
    stamps: tuple[str, str],
) -> tuple[TrainingBlock, DesignParams, dict[str, Any]]:
    """Return the block a forecaster is fitted on, the fitted design, and what the design's fits found out.

    Parameters
    ----------
    stamps : tuple of str
        Hashes that name the design's fits in the store: of rows and code, and of rows, point events, decays and code.
    """
    data = window.dataset
    places = instrument_places(data)
    inner = inner_split(data, window.loss, settings.training.inner_share, settings.latency)
    design, findings = fit_design(
        root, settings, data, places, window.points, window.span, parts, seed, stamps[0], stamps[1]
    )
    matured = last_known_labels(data)
    blocks = []
    for begin, end in session_slices(data.session.astype(np.int64)):
        state = init_design(design, data.sessions[int(data.session[begin])])
        cut = slice(begin, end)
        blocks.append(design_step(design, state, places[cut], data.ts_recv[cut], data.x[cut], matured[cut])[1])
    rows = DesignRows(
        data.columns,
        design.columns,
        data.ts_recv,
        places,
        data.x,
        np.concatenate([part.x for part in blocks]),
        matured,
    )
    block = TrainingBlock(
        rows, data.session.astype(np.int64), data.y, window.loss, inner[0], inner[1], len(data.instruments)
    )
    return block, design, findings


def move_scale_units(train: Dataset) -> npt.NDArray[np.float64]:
    """Return each instrument's mean |move| of training rows that are not flat, price units; without any, the pooled."""
    moved = (train.y == 1) | (train.y == -1)
    size = np.abs(train.move_units)
    pooled = float(size[moved].mean()) if moved.any() else 0.0
    scales = []
    for item in train.instruments:
        own = moved & (train.instrument_id == item.instrument_id)
        scales.append(float(size[own].mean()) if own.any() else pooled)
    return np.array(scales)


def edge_scale_units(
    train: Dataset, rows: npt.NDArray[np.intp], probabilities: npt.NDArray[np.float64], mean_move_units: Any
) -> npt.NDArray[np.float64]:
    """Return what a forecast is worth: expected move by P(up) - P(down), price units, by instrument (docs/decisions/0167).

    The least-squares slope of the move on P(up) - P(down) through the origin, over rows that a fit was not given (or, of a model
    without early stopping, was given last), drawn towards the mean size of a move: a slope that rows do not tell apart from it
    within :data:`SLOPE_SPREAD` of it stays there. Never below 0.

    Parameters
    ----------
    train : Dataset
        The training window.
    rows : intp array, shape (m,)
        Positions in it.
    probabilities : float64 array, shape (m, 3)
        Of down, flat, up on these rows.
    mean_move_units : float64 array, shape (I,)
        Of :func:`move_scale_units`.
    """
    lead = probabilities[:, 2] - probabilities[:, 0]
    move = train.move_units[rows].astype(np.float64)
    out = np.array(mean_move_units, dtype=np.float64)
    for place, item in enumerate(train.instruments):
        own = (train.instrument_id[rows] == item.instrument_id) & np.isfinite(move)
        if own.sum() < 2 or not out[place] > 0.0:
            continue
        # Labels of rows nearer than a horizon share their move: so many rows say as much as one.
        gap = float(np.median(np.diff(train.ts_recv[rows[own]])))
        shared = max(1.0, train.horizon_ns / max(gap, 1.0))
        noise = float(np.mean(move[own] ** 2))
        weight = shared * noise / (SLOPE_SPREAD * out[place]) ** 2
        told = float(lead[own] @ move[own]) + weight * out[place]
        out[place] = max(told / (float(lead[own] @ lead[own]) + weight), 0.0)
    return out


def last_known_labels(dataset: Dataset) -> npt.NDArray[np.int8]:
    """Return the last label of the row's instrument and session that was known at the row's ``ts_recv``, shape (n,)."""
    out = np.full(len(dataset), LABEL_MISSING, dtype=np.int8)
    group = dataset.session.astype(np.int64) * 65_536 + dataset.instrument_id
    for value in np.unique(group):
        rows = np.flatnonzero(group == value)
        labelled = rows[dataset.labelled[rows]]
        labelled = labelled[np.argsort(dataset.ts_known[labelled], kind="stable")]
        count = np.searchsorted(dataset.ts_known[labelled], dataset.ts_recv[rows], side="right")
        some = count > 0
        out[rows[some]] = dataset.y[labelled[count[some] - 1]]
    return out


def instrument_places(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Return the position of each row's instrument in ``dataset.instruments``, shape (n,)."""
    ids = np.array([item.instrument_id for item in dataset.instruments], dtype=np.int64)
    order = np.argsort(ids)
    return order[np.searchsorted(ids[order], dataset.instrument_id.astype(np.int64))].astype(np.int64)

"""What each family of columns adds: the linear candidate walked forward with the family added to the rest, and taken from all.

These fits choose nothing and are never traded: they are a picture of the night's table, like the controls, and count as no
trials.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from features.dataset import Dataset
from features.fitted.params import FitWindow
from marketdata.settings import Settings
from models.design import fit_scaler
from models.evaluation import score
from models.linear import LinearForecaster, fit_logit, logit_probabilities
from models.splits import walk_forward_folds
from models.training_window import instrument_places

Change = Literal["none", "added", "removed", "all"]

CLIP: Final = 8.0
"""Columns are cut at so many deviations of the training window."""


@dataclass(frozen=True, slots=True)
class FamilyScore:
    """Scores over all test rows of the walk with one choice of columns.

    Attributes
    ----------
    family : str
        Empty for ``none`` (no family) and ``all``.
    change : str
        ``added`` to the columns of no family, or ``removed`` from all.
    columns, rows : int
        Columns used; test rows with a label.
    mcc, log_loss : float
    """

    family: str
    change: Change
    columns: int
    rows: int
    mcc: float
    log_loss: float


def ablate_families(
    dataset: Dataset, settings: Settings, families: Mapping[str, Sequence[str]]
) -> tuple[FamilyScore, ...]:
    """Return the walk-forward scores without any family, with each one added, with each one removed, and with all.

    Parameters
    ----------
    dataset : Dataset
    families : mapping of str to sequence of str
        Columns of each family; those that the dataset lacks are left out, and a family of which it has none as well.

    Returns
    -------
    tuple of FamilyScore
        Empty where the table is too short for a single fold. Folds and purging are the night's own.
    """
    place = {name: k for k, name in enumerate(dataset.columns)}
    members = {family: [place[name] for name in names if name in place] for family, names in families.items()}
    members = {family: columns for family, columns in members.items() if columns}
    folds = [fold for fold in walk_forward_folds(dataset, settings.training, settings.latency) if len(fold.train)]
    if not folds or not members:
        return ()
    owned = {column for columns in members.values() for column in columns}
    base = [k for k in range(len(dataset.columns)) if k not in owned]
    everything = list(range(len(dataset.columns)))
    choices: list[tuple[str, Change, list[int]]] = [("", "none", base)]
    choices += [(family, "added", base + columns) for family, columns in members.items()]
    choices += [
        (family, "removed", [k for k in everything if k not in set(columns)]) for family, columns in members.items()
    ]
    choices.append(("", "all", everything))
    truth: list[npt.NDArray[np.int8]] = []
    found: list[list[Any]] = [[] for _ in choices]
    places = instrument_places(dataset)
    penalty = LinearForecaster().penalty
    for fold in folds:
        x = _scaled(dataset, places, fold.context, fold.train_end_ns)
        truth.append(dataset.y[fold.test])
        for choice, (_, _, columns) in enumerate(choices):
            logit = fit_logit(x[fold.train][:, columns], dataset.y[fold.train], penalty)
            found[choice].append(logit_probabilities(logit, x[fold.test][:, columns]))
    y = np.concatenate(truth)
    scores = [score(np.concatenate(parts), y) for parts in found]
    return tuple(
        FamilyScore(family, change, len(columns), int(one["rows"]), float(one["mcc"]), float(one["log_loss"]))
        for (family, change, columns), one in zip(choices, scores, strict=True)
    )


def _scaled(
    dataset: Dataset, places: npt.NDArray[np.int64], context: npt.NDArray[np.intp], end_ns: int
) -> npt.NDArray[np.float64]:
    """Return all columns in deviations of the training window, 0 where a value is not known."""
    train = dataset.take(context)
    scaler = fit_scaler(train, places[context], FitWindow(int(train.ts_recv[0]), int(train.ts_recv[-1]), end_ns))
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (dataset.x.astype(np.float64) - scaler.centre[places]) / scaler.scale[places]
    return np.clip(np.where(np.isfinite(z), z, 0.0), -CLIP, CLIP)

"""How much of a label is the label before: class shares and the score of a forecast that only repeats (LB5).

Two such forecasts are scored. ``persistence`` repeats the last label that was known when the row was taken, which
anybody could do. ``previous_row`` repeats the label of the row before, which nobody knew yet: it shows how much
neighbouring windows overlap, and it is what a careless split lets a model learn. For the smoothed form a third one,
``already_happened``, takes the sign of the part of the move that lies before the row.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.dataset import LABEL_MISSING, NEVER_KNOWN
from features.labels.quotes import Int64, QuotePath

Classes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One form on one instrument's session.

    Attributes
    ----------
    down, flat, up : float
        Shares of the classes among labelled rows.
    labelled, rows : int
        How many have a label, of how many.
    persistence, previous_row, already_happened : float
        Accuracy of the three forecasts that know nothing of the future's causes; NaN where there is none.
    majority : float
        Accuracy of always saying the most frequent class.
    persistence_f1 : float
        Macro-F1 of ``persistence``.
    wait_s : float
        Median seconds from row to ``ts_known``.
    """

    form: str
    rows: int
    labelled: int
    down: float
    flat: float
    up: float
    majority: float
    persistence: float
    persistence_f1: float
    previous_row: float
    already_happened: float
    wait_s: float


def score_label(form: str, y: Classes, ts_recv: Int64, ts_known: Int64, happened: Classes | None = None) -> LabelScore:
    """Return class shares and persistence scores of one instrument's labels in one session.

    Parameters
    ----------
    y : int8 array, shape (n,)
        Classes in time order, ``LABEL_MISSING`` where there is none.
    happened : int8 array, shape (n,), optional
        Class of what had happened when the row was taken.
    """
    known = y != LABEL_MISSING
    labelled = int(known.sum())
    shares = [float((y[known] == value).mean()) if labelled else float("nan") for value in (-1, 0, 1)]
    last = last_known(y, ts_recv, ts_known)
    both = known & (last != LABEL_MISSING)
    pairs = known[1:] & known[:-1]
    told = known & (happened != LABEL_MISSING) if happened is not None else None
    return LabelScore(
        form=form,
        rows=len(y),
        labelled=labelled,
        down=shares[0],
        flat=shares[1],
        up=shares[2],
        majority=max(shares),
        persistence=_agreement(y[both], last[both]),
        persistence_f1=macro_f1(y[both], last[both]),
        previous_row=_agreement(y[1:][pairs], y[:-1][pairs]),
        already_happened=_agreement(y[told], happened[told]) if told is not None and happened is not None else np.nan,
        wait_s=float(np.median((ts_known - ts_recv)[known]) / 1e9) if labelled else float("nan"),
    )


def last_known(y: Classes, ts_recv: Int64, ts_known: Int64) -> Classes:
    """Return the class of the latest label known at each row, ``LABEL_MISSING`` where there is none yet."""
    rows = np.flatnonzero((y != LABEL_MISSING) & (ts_known != NEVER_KNOWN))
    order = rows[np.argsort(ts_known[rows], kind="stable")]
    count = np.searchsorted(ts_known[order], ts_recv, side="right")
    out = np.full(len(y), LABEL_MISSING, np.int8)
    some = count > 0
    out[some] = y[order[count[some] - 1]]
    return out


def happened_move(path: QuotePath, ts_recv: Int64, horizon_ns: int) -> npt.NDArray[np.float64]:
    """Return the mid at each row minus the mean mid of the horizon before it: the smoothed label's part that is past."""
    sums = np.concatenate([[0], np.cumsum(path.mid2)])
    here, before = path.at(ts_recv) + 1, path.at(ts_recv - horizon_ns) + 1
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (sums[here] - sums[before]) / (2.0 * (here - before))
    return np.where((here > before) & (here > 0), path.mid2[np.maximum(here - 1, 0)] / 2.0 - mean, np.nan)


def macro_f1(truth: Classes, said: Classes) -> float:
    """Return the mean F1 over the classes that occur in either; NaN without rows."""
    scores = []
    for value in np.union1d(truth, said):
        right = int(((truth == value) & (said == value)).sum())
        wrong = int((truth == value).sum() + (said == value).sum()) - 2 * right
        scores.append(2 * right / (2 * right + wrong))
    return float(np.mean(scores)) if scores else float("nan")


def _agreement(truth: Classes, said: Classes) -> float:
    return float((truth == said).mean()) if len(truth) else float("nan")

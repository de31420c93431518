"""What every feature says about the label, fold by fold inside training windows alone, as plain data (F19).

For each fold of the walk and for the window of the next session: the information coefficient with its interval, the
false-discovery rates at which it counts, and whether it would be chosen. Over the folds: how often a feature was chosen
and how steady its sign is. Test rows are never looked at.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from features.dataset import Dataset
from features.information import (
    BLOCK_NS,
    BlockCoefficients,
    Coefficients,
    Method,
    block_coefficients,
    coefficients,
    correlation_clusters,
    q_values,
)

if TYPE_CHECKING:  # the catalogue brings the kernels with it, and whoever only reads a report needs none
    from features.entry import FeatureEntry

LINKED: Final = 0.7
"""Mean absolute rank correlation at which columns belong to one cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldInformation:
    """One feature in one fold's training window; None where too few blocks know it."""

    coefficient: float | None = None
    low: float | None = None
    high: float | None = None
    q_bh: float | None = None
    q_by: float | None = None
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureInformation:
    """One feature over the folds.

    ``folds`` are in the report's order; fitted columns have the last one only, because their parameters belong to it.
    ``cost_ns`` is the measured time of its kernel per row, shared evenly by the columns of a family; None: not measured.
    """

    name: str
    fitted: bool = False
    unit: str = ""
    formula: str = ""
    reference: str = ""
    cost_ns: float | None = None
    cluster: int = 0
    cluster_size: int = 1
    chosen_share: float | None = None
    """Share of the folds in which it was chosen."""
    steady_share: float | None = None
    """Share of the folds in which its coefficient has the last fold's sign."""
    folds: tuple[FoldInformation | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureReport:
    """Information of all features of a training table.

    Attributes
    ----------
    folds, blocks, rows : tuples
        Names of the folds in time order (the last: the window of the next session), and the blocks and training rows of
        each.
    method, rate : str, float
        False-discovery control of ``chosen``.
    """

    folds: tuple[str, ...] = ()
    blocks: tuple[int, ...] = ()
    rows: tuple[int, ...] = ()
    block_minutes: float = BLOCK_NS / 60e9
    method: Method = "by"
    rate: float = 0.05
    clusters: int = 0
    features: tuple[FeatureInformation, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """A fold's name and the rows that its training may look at."""

    name: str
    rows: npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class FittedColumns:
    """Fitted columns of the last fold's training rows, made with its own parameters; ``cost_ns`` a row and column."""

    names: tuple[str, ...]
    x: npt.NDArray[np.float32]
    cost_ns: tuple[float | None, ...]


def feature_report(
    table: Dataset,
    folds: Sequence[TrainingRows],
    entries: dict[str, "FeatureEntry"],
    fitted: FittedColumns | None = None,
    costs: dict[str, float] | None = None,
    *,
    method: Method = "by",
    rate: float = 0.05,
    seed: int = 0,
) -> FeatureReport:
    """Return the report of a training table.

    Parameters
    ----------
    folds : sequence of TrainingRows
        In time order; only their rows are looked at, and of a block only if all its labelled rows are among them.
    entries : dict
        Catalogue lines by column name; columns without one have no words.
    fitted : FittedColumns, optional
        Of the rows of the last fold, in their order.
    costs : dict, optional
        Measured nanoseconds a row by raw column.

    Raises
    ------
    ValueError
        If there is no fold, or the fitted columns are not those of the last fold's rows.
    """
    if not folds:
        raise ValueError("a feature report needs a training window")
    if fitted is not None and len(fitted.x) != len(folds[-1].rows):
        raise ValueError(f"{len(fitted.x)} rows of fitted columns for {len(folds[-1].rows)} training rows")
    started = time.perf_counter()
    eligible = np.unique(np.concatenate([fold.rows for fold in folds]))
    block = table.ts_recv // BLOCK_NS
    owner = table.instrument_id.astype(np.int64)
    raw = block_coefficients(table.x[eligible], table.move_units[eligible], owner[eligible], block[eligible])
    whole = np.bincount(np.searchsorted(raw.block, block[eligible]), minlength=len(raw.block))
    inside = []
    for fold in folds:
        count = np.bincount(np.searchsorted(raw.block, block[fold.rows]), minlength=len(raw.block))
        inside.append(raw.take((count == whole) & (count > 0)))
    last, names = folds[-1].rows, list(table.columns)
    if fitted is not None:
        own = block_coefficients(fitted.x, table.move_units[last], owner[last], block[last])
        kept = np.isin(own.block, inside[-1].block)
        inside[-1] = _beside(inside[-1], own.take(kept))
        names += fitted.names
    judged = [_judge(found, method, rate, seed) for found in inside]
    everything = table.x[last] if fitted is None else np.concatenate([table.x[last], fitted.x], axis=1)
    cluster = correlation_clusters(everything, LINKED)
    sizes = np.bincount(cluster)
    costs = dict(costs or {})
    if fitted is not None:
        costs |= {name: cost for name, cost in zip(fitted.names, fitted.cost_ns, strict=True) if cost is not None}
    features = []
    for place, name in enumerate(names):
        is_fitted = place >= len(table.columns)
        folds_of = tuple(None if is_fitted and k < len(folds) - 1 else judged[k][place] for k in range(len(folds)))
        entry = entries.get(name)
        features.append(
            FeatureInformation(
                name=name,
                fitted=is_fitted,
                unit=entry.unit if entry else "",
                formula=entry.formula if entry else "",
                reference=entry.reference if entry else "",
                cost_ns=costs.get(name),
                cluster=int(cluster[place]),
                cluster_size=int(sizes[cluster[place]]),
                chosen_share=_share([item.chosen for item in folds_of if item is not None]),
                steady_share=_steady(folds_of),
                folds=folds_of,
            )
        )
    return FeatureReport(
        folds=tuple(fold.name for fold in folds),
        blocks=tuple(len(found.block) for found in inside),
        rows=tuple(len(fold.rows) for fold in folds),
        method=method,
        rate=rate,
        clusters=len(sizes),
        features=tuple(features),
        seconds=time.perf_counter() - started,
    )


def _beside(left: BlockCoefficients, right: BlockCoefficients) -> BlockCoefficients:
    """Return the columns of both over the same blocks."""
    if not np.array_equal(left.block, right.block):
        raise ValueError("raw and fitted columns have other blocks")
    return BlockCoefficients(
        left.block,
        np.concatenate([left.value, right.value], axis=1),
        np.concatenate([left.weight, right.weight], axis=1),
    )


def _judge(found: BlockCoefficients, method: Method, rate: float, seed: int) -> list[FoldInformation]:
    total: Coefficients = coefficients(found, seed)
    q = {name: q_values(total.p_value, name) for name in ("bh", "by")}
    return [
        FoldInformation(
            coefficient=_number(total.mean[k]),
            low=_number(total.low[k]),
            high=_number(total.high[k]),
            q_bh=_number(q["bh"][k]),
            q_by=_number(q["by"][k]),
            chosen=bool(q[method][k] <= rate),
        )
        for k in range(len(total.mean))
    ]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _share(flags: list[bool]) -> float | None:
    return float(np.mean(flags)) if flags else None


def _steady(folds: tuple[FoldInformation | None, ...]) -> float | None:
    values = [item.coefficient for item in folds if item is not None and item.coefficient is not None]
    return float(np.mean([np.sign(value) == np.sign(values[-1]) for value in values])) if values else None

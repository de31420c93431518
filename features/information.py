"""How much a feature says about what comes: rank correlations by blocks of time, intervals, and false discoveries (F19).

The information coefficient of a block is Spearman's correlation between a feature and the label's move inside each
instrument's part of the block, averaged over instruments. Blocks of half an hour stand for independent draws far better
than rows do, whose windows overlap; what dependence is left between them, a stationary bootstrap of blocks accounts for.
Everything here is for training rows: the caller hands over nothing else.

References
----------
Grinold, Kahn (1999). Active Portfolio Management, ch. 6. McGraw-Hill. (The information coefficient.)
Politis, Romano (1994). The stationary bootstrap. JASA 89(428).
Benjamini, Hochberg (1995). Controlling the false discovery rate. J. Royal Statistical Society B 57(1).
Benjamini, Yekutieli (2001). The control of the false discovery rate under dependency. Annals of Statistics 29(4).
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from marketdata.clock import NS_PER_MINUTE

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Method = Literal["bh", "by"]

BLOCK_NS: Final = 30 * NS_PER_MINUTE
MIN_ROWS: Final = 20
"""Rows of an instrument below which its part of a block says nothing."""
MIN_BLOCKS: Final = 8
"""Blocks below which a coefficient has no interval and no p-value."""
REPLICATIONS: Final = 1_000
CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class BlockCoefficients:
    """Rank correlations of F features in each of B blocks, in time order.

    Attributes
    ----------
    block : int64 array, shape (B,)
        Names of the blocks, ascending.
    value : float64 array, shape (B, F)
        Coefficient of each block, NaN where a feature was not known or did not vary.
    weight : float64 array, shape (B, F)
        Rows behind it.
    """

    block: Int64
    value: Float64
    weight: Float64

    def take(self, chosen: npt.NDArray[np.bool_]) -> "BlockCoefficients":
        """Return the chosen blocks."""
        return BlockCoefficients(self.block[chosen], self.value[chosen], self.weight[chosen])


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Information coefficients of F features over some blocks, each array of shape (F,).

    Attributes
    ----------
    mean, low, high : float64 arrays
        Mean over blocks, weighted by rows, and its 95 % interval; NaN where fewer than :data:`MIN_BLOCKS` blocks know it.
    p_value : float64 array
        Two-sided, of no relation. Interval and p-value come from the bootstrap's standard error and Student's law with the
        equivalent degrees of freedom of its lag weights.
    blocks : int64 array
        Blocks behind each.
    """

    mean: Float64
    low: Float64
    high: Float64
    p_value: Float64
    blocks: Int64


def block_coefficients(
    x: npt.NDArray[np.floating[Any]], target: npt.NDArray[Any], instrument: Int64, block: Int64
) -> BlockCoefficients:
    """Return the rank correlation of every column with the target in every block.

    Parameters
    ----------
    x : float array, shape (n, F)
        Features; NaN means not known.
    target : array, shape (n,)
        What is forecast, finite.
    instrument, block : int64 arrays, shape (n,)
        Owner and block of each row. Ranks are taken inside each instrument's part of a block, so that neither differences
        between instruments nor the time of day make a correlation.
    """
    from scipy.stats import rankdata

    names, place = np.unique(block, return_inverse=True)
    total, weight = np.zeros((2, len(names), x.shape[1]))
    order = np.lexsort((instrument, place))
    edges = np.flatnonzero(np.diff(place[order]) | np.diff(instrument[order])) + 1
    for rows in np.split(order, edges):
        if len(rows) < MIN_ROWS:
            continue
        values = x[rows]
        known = np.isfinite(values)
        ranks = rankdata(np.where(known, values, np.inf), axis=0)
        goal = rankdata(target[rows])[:, None]
        count = np.maximum(known.sum(axis=0), 1)
        own = np.where(known, ranks - np.where(known, ranks, 0.0).sum(axis=0) / count, 0.0)
        aim = np.where(known, goal - np.where(known, goal, 0.0).sum(axis=0) / count, 0.0)
        size = np.sqrt((own * own).sum(axis=0) * (aim * aim).sum(axis=0))
        ok = (size > 0) & (count >= MIN_ROWS)
        total[place[rows[0]]] += np.where(ok, count * (own * aim).sum(axis=0) / np.where(ok, size, 1.0), 0.0)
        weight[place[rows[0]]] += np.where(ok, count, 0)
    value = np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)
    return BlockCoefficients(names.astype(np.int64), value, weight)


def coefficients(found: BlockCoefficients, seed: int = 0) -> Coefficients:
    """Return the mean coefficient of every feature with interval and p-value; see :class:`Coefficients`."""
    from scipy.stats import t as student

    count, width = found.value.shape
    known = np.isfinite(found.value)
    blocks = known.sum(axis=0)
    weight = np.where(known, found.weight, 0.0)
    signal = np.where(known, found.value, 0.0) * weight
    whole = weight.sum(axis=0)
    mean = np.where(whole > 0, signal.sum(axis=0) / np.where(whole > 0, whole, 1.0), np.nan)
    low, high, p_value = np.full((3, width), np.nan)
    if count >= MIN_BLOCKS:
        times = bootstrap_counts(count, seed=seed)
        below = times @ weight
        drawn = np.where(below > 0, times @ signal / np.where(below > 0, below, 1.0), np.nan)
        enough = (blocks >= MIN_BLOCKS) & np.isfinite(drawn).all(axis=0)
        used = blocks[enough]
        length = run_length(count)
        # Runs share blocks with each other, so that the spread over draws is too small by this share (independent blocks).
        error = drawn[:, enough].std(axis=0) / np.sqrt(1.0 - np.minimum((2.0 * length - 1.0) / used, 0.9))
        stay = (1.0 - 1.0 / length) ** 2
        freedom = 2.0 * used * (1.0 - stay) / (1.0 + stay)
        wide = student.ppf(0.5 + CONFIDENCE / 2.0, freedom) * error
        low[enough], high[enough] = mean[enough] - wide, mean[enough] + wide
        p_value[enough] = 2.0 * student.sf(np.abs(mean[enough]) / np.where(error > 0, error, np.inf), freedom)
    return Coefficients(mean, low, high, p_value, blocks.astype(np.int64))


def run_length(count: int) -> float:
    """Return the mean length of the bootstrap's runs: the third root of the number of blocks."""
    return max(count ** (1.0 / 3.0), 1.0)


def bootstrap_counts(count: int, *, seed: int, replications: int = REPLICATIONS) -> Float64:
    """Return how often each of ``count`` blocks is drawn in each replication, shape (replications, count).

    A stationary bootstrap: runs of neighbouring blocks, circular, of geometric length with mean ``count`` to the third root.
    """
    rng = np.random.default_rng(seed)
    length = run_length(count)
    start = rng.integers(0, count, (replications, count))
    fresh = rng.random((replications, count)) < 1.0 / length
    fresh[:, 0] = True
    last = np.maximum.accumulate(np.where(fresh, np.arange(count), 0), axis=1)
    drawn = (np.take_along_axis(start, last, axis=1) + np.arange(count) - last) % count
    flat = drawn + np.arange(replications)[:, None] * count
    return np.bincount(flat.ravel(), minlength=replications * count).reshape(replications, count).astype(np.float64)


def q_values(p_value: Float64, method: Method) -> Float64:
    """Return the smallest false-discovery rate at which each hypothesis is rejected; NaN stays and is not counted.

    Parameters
    ----------
    p_value : float64 array, shape (F,)
    method : {"bh", "by"}
        Benjamini-Hochberg (independent or positively dependent tests) or Benjamini-Yekutieli (any dependence).

    Raises
    ------
    ValueError
        If the method is another.
    """
    if method not in ("bh", "by"):
        raise ValueError(f"unknown false-discovery control {method!r}: bh or by")
    out = np.full(len(p_value), np.nan)
    tested = np.flatnonzero(np.isfinite(p_value))
    if not len(tested):
        return out
    order = tested[np.argsort(p_value[tested], kind="stable")]
    rank = np.arange(1, len(order) + 1)
    factor = float(np.sum(1.0 / rank)) if method == "by" else 1.0
    raised = p_value[order] * len(order) * factor / rank
    out[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    return out


def select(found: BlockCoefficients, method: Method, rate: float, seed: int = 0) -> npt.NDArray[np.bool_]:
    """Return which features are discoveries at a false-discovery rate, shape (F,); none where blocks are too few."""
    q = q_values(coefficients(found, seed).p_value, method)
    return np.asarray(np.isfinite(q) & (q <= rate), np.bool_)


def correlation_clusters(x: npt.NDArray[np.floating[Any]], linked: float = 0.7, max_rows: int = 20_000) -> Int64:
    """Return a cluster for each column: average linkage on 1 - |rank correlation|, cut where the mean falls below ``linked``.

    Parameters
    ----------
    x : float array, shape (n, F)
        NaN counts as the column's middle; ``max_rows`` evenly spread rows are looked at.

    Returns
    -------
    int64 array, shape (F,)
        Clusters numbered from 0 by falling size, then by first column. A column without any variation is alone.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform
    from scipy.stats import rankdata

    width = x.shape[1]
    if width < 2 or len(x) < 3:
        return np.arange(width, dtype=np.int64)
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), max_rows)).astype(np.int64))
    values = x[rows]
    known = np.isfinite(values)
    ranks = rankdata(np.where(known, values, np.inf), axis=0)
    ranks = np.where(known, ranks - np.where(known, ranks, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), 0.0)
    size = np.sqrt((ranks * ranks).sum(axis=0))
    unit = ranks / np.where(size > 0, size, 1.0)
    distance = np.clip(1.0 - np.abs(unit.T @ unit), 0.0, 1.0)
    np.fill_diagonal(distance, 0.0)
    raw = fcluster(linkage(squareform(distance, checks=False), "average"), 1.0 - linked, "distance")
    names, first, counts = np.unique(raw, return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return rank[np.searchsorted(names, raw)]

"""Stoikov's micro-price: where the mid is expected to go, given the imbalance and the spread (R8, W2).

The best quotes are a Markov chain over states x = (imbalance bucket, spread bucket). With Q the chance of a step to
another state without a move of the mid, T that of one with a move, and r the expected move of one step, the expected mid
after the first move is G¹ = (I − Q)⁻¹ r, after all later ones G* = Σ Bᵏ G¹ with B = (I − Q)⁻¹ T: the limit of expected
mids. It solves (I − Q − T) G* = r, which is what is solved here, on the states that were seen.

Every transition is counted together with its mirror image (buyers and sellers exchanged, the move turned round), so that
G* is antisymmetric in the imbalance and zero where the book is balanced: without that the sum does not converge. The
limit does not depend on the clock of the steps, so consecutive rows of the training window serve as well as events.

References
----------
Stoikov (2018). The micro-price: a high-frequency estimator of future prices. Quantitative Finance 18(12).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from features.dataset import Dataset
from features.entry import FeatureEntry
from features.fitted.family import Arrays, RowBatch, consecutive_rows
from features.fitted.params import FitWindow, params_hash

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

IMBALANCE_BUCKETS: Final = 11
"""Odd, so that one bucket is the balanced book."""
SPREAD_BUCKETS: Final = 5
"""At most so many: training quantiles of the spread, merged where they fall together."""
MIN_PAIRS: Final = 500
"""Transitions below which an instrument has no table of its own and its adjustment is 0."""
COLUMN: Final = "microprice_bps"
READS: Final = ("depth_imbalance_l1", "spread_ticks", "spread_bps")
"""Raw columns that the step reads, in this order."""
STOIKOV_2018: Final = "Stoikov (2018). The micro-price. Quantitative Finance 18(12)."


@njit(cache=True)
def _place(imbalance: float, buckets: int) -> tuple[int, float]:
    """Return the bucket centre at or below an imbalance in [-1, 1] and how far it lies towards the next one.

    The middle bucket is the origin, so that an imbalance and its mirror image give the same two weights, bit for bit.
    """
    middle = (buckets - 1) // 2
    place = min(abs(imbalance) * buckets * 0.5, float(middle))
    left = min(int(place), middle - 1)
    return left, place - left


@njit(cache=True)
def _adjustment(table: Float64, edges: Float64, instrument: int, imbalance: float, spread_ticks: float) -> float:
    """Return micro-price minus mid in ticks; NaN where imbalance or spread is."""
    if np.isnan(imbalance) or np.isnan(spread_ticks):
        return np.nan
    s = 0
    while s < edges.shape[1] and spread_ticks > edges[instrument, s]:
        s += 1
    middle = (table.shape[2] - 1) // 2
    left, weight = _place(imbalance, table.shape[2])
    size = table[instrument, s, middle + left] * (1.0 - weight) + table[instrument, s, middle + left + 1] * weight
    if imbalance > 0.0:
        return size
    return -size if imbalance < 0.0 else 0.0


@njit(cache=True)
def _adjustments(
    table: Float64, edges: Float64, instrument: Int64, imbalance: Float64, spread_ticks: Float64, out: Float64
) -> None:
    for n in range(len(out)):
        out[n] = _adjustment(table, edges, instrument[n], imbalance[n], spread_ticks[n])


@njit(cache=True)
def _columns(
    table: Float64,
    edges: Float64,
    places: tuple[int, int, int],
    instrument: Int64,
    raw: npt.NDArray[np.float32],
    out: Float64,
) -> None:
    for n in range(len(out)):
        ticks = np.float64(raw[n, places[1]])
        move = _adjustment(table, edges, instrument[n], np.float64(raw[n, places[0]]), ticks)
        out[n, 0] = move * (np.float64(raw[n, places[2]]) / ticks) if ticks > 0.0 else np.nan


@dataclass(frozen=True, slots=True)
class MicroPriceParams:
    """Frozen tables of adjustments.

    Attributes
    ----------
    table : float64 array, shape (I, S, N)
        G* in ticks by instrument, spread bucket and imbalance bucket (ascending imbalance); antisymmetric in the last.
    edges : float64 array, shape (I, S - 1)
        Largest spread, in ticks, of each bucket but the last.
    """

    table: Float64
    edges: Float64
    places: tuple[int, int, int]
    window: FitWindow

    @property
    def columns(self) -> tuple[str, ...]:
        """``microprice_bps``."""
        return (COLUMN,)

    @property
    def sha256(self) -> str:
        """Hash of the numbers and the specification, the window left out."""
        return params_hash("microprice", list(self.places), {"table": self.table, "edges": self.edges})

    def to_arrays(self) -> tuple[Arrays, dict[str, Any]]:
        """Return table and edges, and where the raw columns stand."""
        return {"table": self.table, "edges": self.edges}, {"places": list(self.places)}

    def adjustment_ticks(self, instrument: Int64, imbalance: Float64, spread_ticks: Float64) -> Float64:
        """Return micro-price minus mid, ticks, shape (n,); linear between the centres of the imbalance buckets.

        Parameters
        ----------
        imbalance : float64 array, shape (n,)
            (bid lots - ask lots) / (bid lots + ask lots) at the best quotes.
        spread_ticks : float64 array, shape (n,)
            NaN in either gives NaN.
        """
        out = np.empty(len(imbalance))
        _adjustments(self.table, self.edges, instrument, imbalance, spread_ticks, out)
        return out

    def step(self, batch: RowBatch) -> Float64:
        """Return ``microprice_bps`` of each row: 1e4 (micro-price - mid) / mid."""
        out = np.empty((len(batch.instrument), 1))
        _columns(self.table, self.edges, self.places, batch.instrument, batch.raw, out)
        return out


@dataclass(frozen=True, slots=True)
class MicroPrice:
    """The family member: one table an instrument, from consecutive rows of the training window."""

    name: str = "microprice"

    def fit(self, train: Dataset, places: Int64, window: FitWindow) -> MicroPriceParams | None:
        """Return the tables; None where the rows have no book columns."""
        if not set(READS) <= set(train.columns):
            return None
        imbalance = train.column(READS[0]).astype(np.float64)
        spread = train.column(READS[1]).astype(np.float64)
        mid2 = (train.bid_units + train.ask_units).astype(np.float64)
        pairs = consecutive_rows(train, places)
        tables, edges = [], []
        for k, item in enumerate(train.instruments):
            own = places[pairs.first] == k
            table, edge = estimate(
                imbalance,
                spread,
                mid2 / (2.0 * item.tick_units),
                pairs.first[own],
                pairs.second[own],
            )
            tables.append(table)
            edges.append(edge)
        columns = train.columns
        at = (columns.index(READS[0]), columns.index(READS[1]), columns.index(READS[2]))
        return MicroPriceParams(np.stack(tables), np.stack(edges), at, window)

    def restore(self, arrays: Arrays, config: dict[str, Any], window: FitWindow) -> MicroPriceParams:
        """Return the parameters of a bundle."""
        first, second, third = config["places"]
        return MicroPriceParams(arrays["table"], arrays["edges"], (first, second, third), window)

    def entries(self, windows_ns: tuple[int, ...]) -> tuple[FeatureEntry, ...]:
        """Return the entry of the adjustment."""
        text = "1e4 G*(imbalance, spread) / mid: the limit of expected mids, minus the mid"
        return (FeatureEntry(COLUMN, "bps", text, STOIKOV_2018, 0, 0, True),)


def estimate(
    imbalance: Float64,
    spread_ticks: Float64,
    mid_ticks: Float64,
    first: npt.NDArray[np.intp],
    second: npt.NDArray[np.intp],
    *,
    buckets: int = IMBALANCE_BUCKETS,
    spreads: int = SPREAD_BUCKETS,
    first_move: bool = False,
) -> tuple[Float64, Float64]:
    """Return the table of adjustments, shape (S, N), ticks, and the spread edges, shape (S - 1,).

    Parameters
    ----------
    imbalance, spread_ticks, mid_ticks : float64 arrays, shape (n,)
        Of every row; rows without a known imbalance or spread take part in no transition.
    first, second : intp arrays, shape (p,)
        The rows that a transition goes from and to.
    first_move : bool
        Return G¹, the expected mid after its first move, in place of the limit.

    Raises
    ------
    ValueError
        If ``buckets`` is even.
    """
    if buckets % 2 == 0:
        raise ValueError(f"{buckets} imbalance buckets: an odd number is needed, so that one of them is balanced")
    known = np.isfinite(imbalance) & np.isfinite(spread_ticks) & np.isfinite(mid_ticks) & (spread_ticks > 0)
    kept = known[first] & known[second]
    first, second = first[kept], second[kept]
    edges = np.full(spreads - 1, np.inf)
    if len(first) < MIN_PAIRS:
        return np.zeros((spreads, buckets)), edges
    shares = np.arange(1, spreads) / spreads
    cuts = np.unique(np.quantile(spread_ticks[first], shares, method="lower"))
    cuts = cuts[cuts < spread_ticks[first].max()]
    edges[: len(cuts)] = cuts
    column = np.clip(np.floor((imbalance + 1.0) * buckets * 0.5), 0, buckets - 1)
    row = np.searchsorted(edges, spread_ticks, side="left")
    move = mid_ticks[second] - mid_ticks[first]
    state = [np.nan_to_num(row * buckets + c).astype(np.int64) for c in (column, buckets - 1 - column)]
    begin = np.concatenate([state[0][first], state[1][first]])
    end = np.concatenate([state[0][second], state[1][second]])
    return solve(begin, end, np.concatenate([move, -move]), spreads, buckets, first_move=first_move), edges


def solve(begin: Int64, end: Int64, move: Float64, spreads: int, buckets: int, *, first_move: bool = False) -> Float64:
    """Return G* of every state, shape (S, N), from symmetrised transitions; states that were not seen take a neighbour's.

    Parameters
    ----------
    begin, end : int64 arrays, shape (p,)
        States, ``spread bucket * buckets + imbalance bucket``.
    move : float64 array, shape (p,)
        Change of the mid, ticks.
    first_move : bool
        Stop at the first move: G¹ = (I - Q)⁻¹ r.
    """
    count = spreads * buckets
    visits = np.bincount(begin, minlength=count).astype(np.float64)
    seen = visits > 0
    inside = seen[end] & (move == 0) if first_move else seen[end]
    steps = np.bincount(begin[inside] * count + end[inside], minlength=count * count).reshape(count, count)
    expected = np.bincount(begin, weights=move, minlength=count) / np.maximum(visits, 1.0)
    chance = steps / np.maximum(visits, 1.0)[:, None]
    half = np.flatnonzero(seen & (np.arange(count) % buckets > (buckets - 1) // 2))
    opposite = (half // buckets) * buckets + buckets - 1 - half % buckets
    # On antisymmetric tables the chain is (I - P) restricted to one half: a step to the other half counts negative.
    system = np.eye(len(half)) - (chance[np.ix_(half, half)] - chance[np.ix_(half, opposite)])
    solution = np.linalg.lstsq(system, expected[half], rcond=None)[0]
    table = np.full((spreads, buckets), np.nan)
    table.flat[half] = solution
    middle = (buckets - 1) // 2
    table[:, middle] = 0.0
    right = table[:, middle:]
    known_rows = np.flatnonzero(np.isfinite(right[:, 1:]).any(axis=1))
    for s in range(spreads):
        source = known_rows[np.argmin(np.abs(known_rows - s))] if len(known_rows) else s
        finite = np.isfinite(table[source, middle:])
        table[s, middle:] = np.interp(
            np.arange(buckets - middle), np.flatnonzero(finite), table[source, middle:][finite]
        )
    table[:, :middle] = -table[:, :middle:-1]
    return table

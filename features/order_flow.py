"""Order flow and the price move of the same moment: the regressions that the literature reports, on any tape (R10).

Flows are taken group by group from the book itself, summed in time bins, and set against the move of the mid in the same
bin, window by window. What explains the same bin forecasts nothing: this is a check of the flows, not of a model.

References
----------
Cont, Kukanov, Stoikov (2014). The price impact of order book events. J. Financial Econometrics 12(1).
Cont, Cucuringu, Zhang (2023). Cross-impact of order flow imbalance in equity markets. Quantitative Finance 23(10).
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from features.aggressors import aggressor_sign, is_execution
from features.fitted.integrated_ofi import first_component
from marketdata.book import BookState, book_best, empty_book, levels_apply
from marketdata.clock import NS_PER_S, Session
from marketdata.events import F_CROSSED, F_LAST, EventArray

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

BIN_NS: Final = 10 * NS_PER_S
WINDOW_BINS: Final = 180
"""Bins of a half hour."""
MEASURES: Final = (
    "trade imbalance",
    "trade imbalance / depth",
    "best level",
    "best level / depth",
    "integrated",
)
"""What the move is set against; the integrated flow is divided by the depth too, and needs two levels."""


class GroupFlows(NamedTuple):
    """What each of G event groups did, M levels deep.

    Attributes
    ----------
    ts_recv : int64 array, shape (G,)
        Time of the group's last row.
    flow : int64 array, shape (G, M)
        e_n of each level: lots that came less lots that went, bids positive, asks negative.
    depth : int64 array, shape (G, 2)
        Lots of all levels of both sides at the group's end, and how many levels there are.
    traded : int64 array, shape (G,)
        Lots of buying less lots of selling aggressors, visible and hidden.
    mid2 : int64 array, shape (G,)
        Doubled mid in price units of the last two-sided, uncrossed book; 0 before the first.
    """

    ts_recv: Int64
    flow: Int64
    depth: Int64
    traded: Int64
    mid2: Int64


@njit(cache=True)
def _came_less_went(side: int, price: int, lots: int, old_price: int, old_lots: int) -> int:
    """Return e_n of one level of a side; an empty level has no price, only its vanishing size."""
    if lots == 0 or old_lots == 0:
        return lots - old_lots
    if price == old_price:
        return lots - old_lots
    is_better = price > old_price if side == 0 else price < old_price
    return lots if is_better else -old_lots


@njit(cache=True)
def _fold_groups(
    book: BookState, events: EventArray, out_ts: Int64, flow: Int64, depth: Int64, traded: Int64, mid2: Int64
) -> int:
    prices, sizes, counts, counters = book.price, book.size, book.count, book.counters
    levels = flow.shape[1]
    top = np.zeros((2, levels, 2), np.int64)
    groups = 0
    is_known = False
    volume = 0
    last = 0
    sign = 0
    mid = 0
    for k in range(len(events)):
        event = events[k]
        if is_execution(event.action):
            bid, bid_lots, ask, ask_lots = book_best(book)
            sign = aggressor_sign(event.side, event.price_units, bid, bid_lots, ask, ask_lots, last, sign)
            last = event.price_units
            volume += sign * event.size_lots
        levels_apply(prices, sizes, counts, counters, event.action, event.side, event.price_units, event.size_lots)
        if not event.flags & F_LAST:
            continue
        for side in range(2):
            for m in range(levels):
                price = 0
                lots = 0
                if m < counts[side]:
                    price = prices[side, counts[side] - 1 - m]
                    lots = sizes[side, counts[side] - 1 - m]
                    depth[groups, 0] += lots
                    depth[groups, 1] += 1
                if is_known:
                    moved = _came_less_went(side, price, lots, top[side, m, 0], top[side, m, 1])
                    flow[groups, m] += moved if side == 0 else -moved
                top[side, m, 0] = price
                top[side, m, 1] = lots
        is_known = True
        if counts[0] > 0 and counts[1] > 0 and not event.flags & F_CROSSED and top[0, 0, 0] <= top[1, 0, 0]:
            mid = top[0, 0, 0] + top[1, 0, 0]
        out_ts[groups] = event.ts_recv
        traded[groups] = volume
        mid2[groups] = mid
        volume = 0
        groups += 1
    return groups


def group_flows(events: EventArray, levels: int) -> GroupFlows:
    """Return what each event group did to the first ``levels`` levels of the book.

    Raises
    ------
    ValueError
        If ``levels`` is below 1.
    """
    if levels < 1:
        raise ValueError(f"{levels} levels: at least the best one is needed")
    if not (events.flags.writeable and events.flags.c_contiguous):
        events = events.copy()
    n = len(events)
    ts, traded, mid2 = np.zeros((3, n), np.int64)
    flow, depth = np.zeros((n, levels), np.int64), np.zeros((n, 2), np.int64)
    groups = _fold_groups(empty_book(), events, ts, flow, depth, traded, mid2)
    return GroupFlows(ts[:groups], flow[:groups], depth[:groups], traded[:groups], mid2[:groups])


class FlowBins(NamedTuple):
    """Flows and moves of B equal time bins.

    Attributes
    ----------
    move : float64 array, shape (B,)
        Change of the mid, price units.
    traded : float64 array, shape (B,)
        Signed aggressive lots.
    flow : float64 array, shape (B, M)
        Order flow imbalance by level, lots.
    depth : float64 array, shape (B,)
        Mean lots of a level over the group ends of the bin; NaN in a bin without any.
    """

    move: Float64
    traded: Float64
    flow: Float64
    depth: Float64


def bin_flows(groups: GroupFlows, session: Session, bin_ns: int = BIN_NS) -> FlowBins:
    """Return the groups' flows summed in the bins of a session, from its open on; groups outside it are left out."""
    first = int(np.argmax(groups.mid2 > 0))
    edges = np.arange(session.open_ns, session.close_ns + 1, bin_ns)
    at = np.maximum(np.searchsorted(groups.ts_recv, edges, side="right"), first + 1)
    totals = np.concatenate([groups.traded[:, None], groups.flow, groups.depth], axis=1)
    sums = np.concatenate([np.zeros((1, totals.shape[1]), np.int64), np.cumsum(totals, axis=0)])
    inside = np.diff(sums[at], axis=0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        depth = inside[:, -2] / inside[:, -1]
    return FlowBins(np.diff(groups.mid2[at - 1]) / 2.0, inside[:, 0], inside[:, 1:-2], depth)


@dataclass(frozen=True, slots=True)
class Explained:
    """How much of the move of the same bin a measure explains.

    Attributes
    ----------
    inside : float
        Mean R² of the windows' own regressions.
    ahead : float
        Mean R² of each window under the line (and the weights) fitted in the window before it; may be negative.
    whole : float
        R² over the whole session at once.
    windows : tuple of float
        R² of each window's own regression.
    """

    measure: str
    inside: float
    ahead: float
    whole: float
    windows: tuple[float, ...]


def impact_regressions(bins: FlowBins, window: int = WINDOW_BINS) -> tuple[Explained, ...]:
    """Return R² of the mid's move on each of :data:`MEASURES`.

    Trades and best-level flow are taken in lots, and divided by the bin's mean depth of a level. The levels' divided flows
    are weighted by the first principal component of the window that the line is fitted in.
    """
    columns = {
        MEASURES[0]: bins.traded[:, None],
        MEASURES[1]: _over_depth(bins.traded[:, None], bins.depth),
        MEASURES[2]: bins.flow[:, :1],
        MEASURES[3]: _over_depth(bins.flow[:, :1], bins.depth),
    }
    if bins.flow.shape[1] > 1:
        columns[MEASURES[4]] = _over_depth(bins.flow, bins.depth)
    return tuple(_explained(name, x, bins.move, window) for name, x in columns.items())


def integrated_weights(bins: FlowBins) -> Float64:
    """Return the levels' weights in the first principal component of all bins, shape (M,)."""
    return first_component(_over_depth(bins.flow, bins.depth))


def _over_depth(flow: Float64, depth: Float64) -> Float64:
    """Return flows divided by the mean depth of their bin; 0 in a bin without a group."""
    return flow / np.where(np.isfinite(depth) & (depth > 0), depth, np.inf)[:, None]


def shuffled(groups: GroupFlows, seed: int) -> GroupFlows:
    """Return the groups with their flows and trades dealt out anew among them; times and mids stay."""
    order = np.random.default_rng(seed).permutation(len(groups.ts_recv))
    return groups._replace(flow=groups.flow[order], traded=groups.traded[order])


def _explained(measure: str, x: Float64, move: Float64, window: int) -> Explained:
    cuts = [slice(k, min(k + window, len(move))) for k in range(0, len(move), window)]
    cuts = [cut for cut in cuts if cut.stop - cut.start > 2]
    fits = [_line(x[cut], move[cut]) for cut in cuts]
    inside = [_share(x[cut] @ fit[0] * fit[1] + fit[2], move[cut]) for cut, fit in zip(cuts, fits, strict=True)]
    ahead = [_share(x[cut] @ fit[0] * fit[1] + fit[2], move[cut]) for cut, fit in zip(cuts[1:], fits[:-1], strict=True)]
    weights, slope, level = _line(x, move)
    whole = _share(x @ weights * slope + level, move)
    return Explained(measure, float(np.mean(inside)), float(np.mean(ahead)) if ahead else np.nan, whole, tuple(inside))


def _line(x: Float64, move: Float64) -> tuple[Float64, float, float]:
    """Return weights of the columns, slope and level of the least-squares line on their weighted sum."""
    weights = first_component(x) if x.shape[1] > 1 else np.ones(1)
    signal = x @ weights
    centred = signal - signal.mean()
    size = float(centred @ centred)
    slope = float(centred @ move) / size if size > 0 else 0.0
    return weights, slope, float(move.mean() - slope * signal.mean())


def _share(said: Float64, move: Float64) -> float:
    """Return 1 - Σ(move - said)² / Σ(move - mean)²; 0 where nothing moved."""
    spread = float(np.square(move - move.mean()).sum())
    return 1.0 - float(np.square(move - said).sum()) / spread if spread > 0 else 0.0

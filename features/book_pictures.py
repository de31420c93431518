"""What a session's book and order flow look like: the numbers behind the depth heatmap and the multi-level flow chart."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.entry import LEVELS
from features.order_flow import BIN_NS, Explained, bin_flows, group_flows, impact_regressions, integrated_weights
from marketdata.book import empty_book, fold_best
from marketdata.clock import Session
from marketdata.events import EventArray
from marketdata.instruments import Instrument

COLUMNS: Final = 360
"""Moments of a session that the heatmap shows."""
PRICES: Final = 96
"""Price rows of the heatmap."""
MARGIN: Final = 0.3
"""Share of the mid's range that the heatmap shows above and below it."""

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DepthPicture:
    """Resting lots by price and time.

    Attributes
    ----------
    lots : float64 array, shape (2, P, T)
        Lots of the bid (0) and the ask side (1) in each price row, rows from the highest price down.
    low, high : float
        Prices in price units at the lower and upper edge.
    mid : float64 array, shape (T,)
        Mid at each moment, price units; NaN on a one-sided book.
    """

    lots: Float64
    low: float
    high: float
    mid: Float64


@dataclass(frozen=True, slots=True)
class FlowPicture:
    """Order flow by level and the move it went with.

    Attributes
    ----------
    flow : float64 array, shape (B, M)
        Flow of each level in each bin, over the bin's mean depth of a level.
    move : float64 array, shape (B,)
        Move of the mid, ticks.
    weights : float64 array, shape (M,)
        First principal component of the levels, Σ|w| = 1.
    explained : tuple of Explained
        Regressions of the same bin's move (R10).
    """

    flow: Float64
    move: Float64
    weights: Float64
    explained: tuple[Explained, ...]


def depth_picture(events: EventArray, session: Session) -> DepthPicture:
    """Return the book's depth at equally spaced moments of a session.

    Raises
    ------
    ValueError
        If the book never had two sides.
    """
    edges = np.linspace(session.open_ns, session.close_ns, COLUMNS + 1).astype(np.int64)[1:]
    cuts = np.searchsorted(events["ts_recv"], edges, side="left")
    book, begin = empty_book(), 0
    sides: list[list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]] = []
    mid = np.full(COLUMNS, np.nan)
    for k, end in enumerate(cuts):
        if end > begin:
            fold_best(book, np.ascontiguousarray(events[begin:end]))
        begin = end
        own = [
            (book.price[side, : book.count[side]].copy(), book.size[side, : book.count[side]].copy()) for side in (0, 1)
        ]
        sides.append(own)
        if len(own[0][0]) and len(own[1][0]):
            mid[k] = (own[0][0][-1] + own[1][0][-1]) / 2.0
    if not np.isfinite(mid).any():
        raise ValueError("the book never had two sides")
    reach = float(np.nanmax(mid) - np.nanmin(mid)) or 1.0
    low, high = float(np.nanmin(mid) - MARGIN * reach), float(np.nanmax(mid) + MARGIN * reach)
    lots = np.zeros((2, PRICES, COLUMNS))
    for k, own in enumerate(sides):
        for side, (prices, sizes) in enumerate(own):
            row = np.floor((high - prices) / (high - low) * PRICES).astype(np.int64)
            inside = (row >= 0) & (row < PRICES)
            np.add.at(lots[side, :, k], row[inside], sizes[inside])
    return DepthPicture(lots, low, high, mid)


def flow_picture(events: EventArray, session: Session, instrument: Instrument) -> FlowPicture:
    """Return the flows by level of a session and what they explain."""
    bins = bin_flows(group_flows(events, LEVELS), session, BIN_NS)
    flow = bins.flow / np.where(np.isfinite(bins.depth) & (bins.depth > 0), bins.depth, np.inf)[:, None]
    return FlowPicture(flow, bins.move / instrument.tick_units, integrated_weights(bins), impact_regressions(bins))

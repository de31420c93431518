"""Features of recorded book snapshots: seventeen columns of a matrix of ten-level books in one pass over its rows.

For files that hold the book after every message and no events (LOBSTER's order book files, vendors' depth files). The columns are
those that the literature on snapshot data trains on: order flow imbalance by level, its rolling sum, the size-weighted mid, depth
imbalance, and rolling scores of the spread and the imbalance. Windows count rows.

Rolling sums run in integers: a log return, an imbalance and a spread are first rounded to multiples of 2⁻³⁰, 2⁻²⁴ and 1/64 of the
tick, so a window's sum is exact, does not drift, and does not depend on where a file was cut.

References
----------
Cont, Kukanov, Stoikov (2014). The price impact of order book events. J. Financial Econometrics 12(1).
Kolm, Turiel, Westray (2023). Deep order flow imbalance. Mathematical Finance 33(4).
"""

import math
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from marketdata.bits import borrowed, prefetch, prefetch_to_write

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

DEPTH: Final = 10
"""Levels a side."""
FLOW_ROWS: Final = 100
RETURN_ROWS: Final = 300
SCORE_ROWS: Final = 500
"""Rows of the rolling sum of flow, of the deviation of returns, of the scores of spread and imbalance."""
NEAR: Final = 5
"""Levels of the imbalance of the near book."""

SNAPSHOT_COLUMNS: Final = (
    *(f"ofi_l{m}" for m in range(1, DEPTH + 1)),
    f"ofi_sum_{FLOW_ROWS}",
    "weighted_mid",
    "depth_imbalance_l1",
    f"depth_imbalance_{NEAR}",
    f"return_deviation_{RETURN_ROWS}",
    f"spread_score_{SCORE_ROWS}",
    f"imbalance_score_{SCORE_ROWS}",
)
"""Names of the columns of :func:`book_features`, in order."""

FLOW_UNIT: Final = 2.0**20
RETURN_UNIT: Final = 2.0**30
SHARE_UNIT: Final = 2.0**24
SPREAD_UNIT: Final = 64.0
LOBSTER_UNITS: Final = 10_000.0
LOBSTER_DUMMY: Final = 9_999_999_999
"""Units of a dollar in LOBSTER's files, and the price of a level that is not there."""
_RING: Final = 512
"""Rows of the rings, a power of two not below any window."""
_AHEAD: Final = 8
"""Rows ahead of which the memory is asked for: the hardware stops at each page of 4 KiB, which is after 13 rows."""
_LINE: Final = 64
_IN: Final = 4 * DEPTH * 8
_OUT: Final = len(SNAPSHOT_COLUMNS) * 8
"""Bytes of a cache line, and of a row of the input and of the output."""


class SnapshotState(NamedTuple):
    """State of the fold over snapshots.

    Attributes
    ----------
    last : float64 array, shape (40,)
        The snapshot before.
    rings : int64 array, shape (512, 4)
        Flow, log return, spread and imbalance of the newest rows, rounded to integers.
    sums : int64 array, shape (8,)
        Rows so far; sums in their windows of flow, return, squared return, spread, its square, imbalance, its square.
    """

    last: Float64
    rings: Int64
    sums: Int64


def empty_snapshots() -> SnapshotState:
    """Return the state before the first snapshot."""
    return SnapshotState(np.zeros(4 * DEPTH), np.zeros((_RING, 4), np.int64), np.zeros(8, np.int64))


def copy_snapshots(state: SnapshotState) -> SnapshotState:
    """Return a checkpoint: a copy that shares no memory with the state."""
    return SnapshotState(state.last.copy(), state.rings.copy(), state.sums.copy())


@njit(cache=True)
def _fold(state: SnapshotState, books: Float64, tick: float, out: Float64) -> None:
    last, rings, sums = borrowed(state.last), borrowed(state.rings), borrowed(state.sums)
    books, out = borrowed(books), borrowed(out)
    rows, flow_sum, return_sum, return_squares = sums[0], sums[1], sums[2], sums[3]
    spread_sum, spread_squares, share_sum, share_squares = sums[4], sums[5], sums[6], sums[7]
    mid = 0.5 * (last[0] + last[DEPTH])
    per_tick = SPREAD_UNIT / tick
    for n in range(len(books)):
        book = books[n]
        to = out[n]
        before = books[n - 1] if n > 0 else last
        is_first = rows == 0
        for line in range(_IN // _LINE):
            prefetch(books, (n + _AHEAD) * _IN + line * _LINE)
        prefetch_to_write(out, (n + _AHEAD) * _OUT)
        prefetch_to_write(out, (n + _AHEAD) * _OUT + _LINE)
        total = 0.0
        for m in range(DEPTH):
            bid, ask, bid_lots, ask_lots = book[m], book[10 + m], book[20 + m], book[30 + m]
            old_bid, old_ask = before[m], before[10 + m]
            e = (
                (bid_lots if bid >= old_bid else 0.0)
                - (before[20 + m] if bid <= old_bid else 0.0)
                - (ask_lots if ask <= old_ask else 0.0)
                + (before[30 + m] if ask >= old_ask else 0.0)
            )
            to[m] = e
        for m in range(DEPTH):
            total += to[m]
        bid, ask, bid_lots, ask_lots = book[0], book[10], book[20], book[30]
        share = (bid_lots - ask_lots) / (bid_lots + ask_lots) if bid_lots + ask_lots > 0.0 else 0.0
        near_bid = 0.0
        near_ask = 0.0
        for m in range(NEAR):
            near_bid += book[20 + m]
            near_ask += book[30 + m]
        to[11] = 0.5 * (ask + bid) + 0.5 * (ask - bid) * share
        to[12] = share
        to[13] = (near_bid - near_ask) / (near_bid + near_ask) if near_bid + near_ask > 0.0 else np.nan
        new_mid = 0.5 * (bid + ask)
        flow: Any = 0
        move: Any = 0
        if is_first:
            for m in range(DEPTH):
                to[m] = np.nan
        else:
            flow = np.int64(np.rint(total * FLOW_UNIT))
            if new_mid != mid:
                move = np.int64(np.rint(math.log(new_mid / mid) * RETURN_UNIT))
        mid = new_mid
        spread = np.int64(np.rint((ask - bid) * per_tick))
        part = np.int64(np.rint(share * SHARE_UNIT))
        here = rows & (_RING - 1)  # a place that no row has reached holds 0
        flow_sum += flow - rings[(rows - FLOW_ROWS) & (_RING - 1), 0]
        old = rings[(rows - RETURN_ROWS) & (_RING - 1), 1]
        return_sum += move - old
        return_squares += move * move - old * old
        gone = (rows - SCORE_ROWS) & (_RING - 1)
        old = rings[gone, 2]
        spread_sum += spread - old
        spread_squares += spread * spread - old * old
        old = rings[gone, 3]
        share_sum += part - old
        share_squares += part * part - old * old
        rings[here, 0] = flow
        rings[here, 1] = move
        rings[here, 2] = spread
        rings[here, 3] = part
        rows += 1
        to[10] = flow_sum / FLOW_UNIT if rows > FLOW_ROWS else np.nan
        to[14] = np.nan
        if rows > RETURN_ROWS:
            mean = return_sum * (1.0 / RETURN_ROWS)
            spread_out = max(return_squares - return_sum * mean, 0.0) * (1.0 / (RETURN_ROWS - 1))
            to[14] = math.sqrt(spread_out) / RETURN_UNIT
        to[15] = np.nan
        to[16] = np.nan
        if rows >= SCORE_ROWS:
            mean = spread_sum * (1.0 / SCORE_ROWS)
            variance = (spread_squares - spread_sum * mean) * (1.0 / (SCORE_ROWS - 1))
            to[15] = (spread - mean) / math.sqrt(variance) if variance > 1e-9 else 0.0
            mean = share_sum * (1.0 / SCORE_ROWS)
            variance = (share_squares - share_sum * mean) * (1.0 / (SCORE_ROWS - 1))
            to[16] = (part - mean) / math.sqrt(variance) if variance > 1e-9 else 0.0
    sums[0], sums[1], sums[2], sums[3] = rows, flow_sum, return_sum, return_squares
    sums[4], sums[5], sums[6], sums[7] = spread_sum, spread_squares, share_sum, share_squares
    if len(books) > 0:
        last[:] = books[len(books) - 1]


def step_snapshots(
    state: SnapshotState, books: Float64, tick: float, out: Float64 | None = None
) -> tuple[SnapshotState, Float64]:
    """Fold snapshots in, changing the state in place; see :func:`book_features`.

    ``out`` takes the values where it is given, float64 of shape (n, 17), C-contiguous.

    Raises
    ------
    ValueError
        If the matrix is not of float64 and shape (n, 40) in C order, ``out`` does not fit, or the tick is not positive.
    """
    if books.dtype != np.float64 or books.ndim != 2 or books.shape[1] != 4 * DEPTH or not books.flags.c_contiguous:
        raise ValueError(
            f"books must be a C-ordered float64 matrix of {4 * DEPTH} columns, not {books.dtype} of shape {books.shape}"
        )
    if not tick > 0:
        raise ValueError(f"the tick must be positive, not {tick}")
    values = np.empty((len(books), len(SNAPSHOT_COLUMNS))) if out is None else out
    if (
        values.shape != (len(books), len(SNAPSHOT_COLUMNS))
        or not values.flags.c_contiguous
        or values.dtype != np.float64
    ):
        raise ValueError(f"out must be C-ordered float64 of shape ({len(books)}, {len(SNAPSHOT_COLUMNS)})")
    _fold(state, books if books.flags.writeable else books.copy(), tick, values)
    return state, values


def book_features(books: Float64, tick: float) -> Float64:
    """Return seventeen features of every snapshot of a recorded book.

    Parameters
    ----------
    books : float64 array, shape (n, 40), C order
        Ten bid prices from the best on, ten ask prices, their sizes in the same order; a level that is not there has size 0.
    tick : float
        Price step, in the unit of the prices.

    Returns
    -------
    float64 array, shape (n, 17)
        Columns of :data:`SNAPSHOT_COLUMNS`: flow by level and its sum over 100 rows (units of size), size-weighted mid (price),
        imbalance at the best and over five levels, deviation of log returns over 300 rows, scores of spread and imbalance against
        their 500 rows. NaN in row 0 for flow, and until a window is full; a score of a window that does not vary is 0.

    Raises
    ------
    ValueError
        As in :func:`step_snapshots`.
    """
    return step_snapshots(empty_snapshots(), books, tick)[1]


def read_lobster_book(path: Path) -> Float64:
    """Return the ten best levels of a LOBSTER order book file, as :func:`book_features` takes them.

    Returns
    -------
    float64 array, shape (n, 40)
        Prices in dollars; a level that the file does not have, or whose price is a dummy, has price and size 0.

    Raises
    ------
    ValueError
        If the file has not four columns a level.
    """
    table = pl.read_csv(path, has_header=False).to_numpy()
    if table.shape[1] % 4:
        raise ValueError(
            f"{path}: {table.shape[1]} columns, not four a level (ask price, ask size, bid price, bid size)"
        )
    books = np.zeros((len(table), 4 * DEPTH))
    for m in range(min(table.shape[1] // 4, DEPTH)):
        ask, ask_lots, bid, bid_lots = (table[:, 4 * m + k] for k in range(4))
        for first, price, lots in ((0, bid, bid_lots), (DEPTH, ask, ask_lots)):
            is_there = np.abs(price) < LOBSTER_DUMMY
            books[:, first + m] = np.where(is_there, price / LOBSTER_UNITS, 0.0)
            books[:, 2 * DEPTH + first + m] = np.where(is_there, lots, 0.0)
    return books

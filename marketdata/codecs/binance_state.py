"""What Binance's sequence rules remember, and the names of what is counted: shared by the scanner and the complete parser."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Ints = npt.NDArray[np.int64]

COUNT_OLD: Final = 0
COUNT_BEST_QUOTE: Final = 1
COUNT_OTHER_TRADES: Final = 2
COUNT_EMPTY_DEPTH: Final = 3
COUNTS: Final = ("old", "best_quote", "other_trade_stream", "empty_depth")
"""Frames without an event, by reason: already seen (or older), best quotes that go nowhere, trades of the second of two trade
streams, depth updates without a level."""

BYTES_PER_ROW: Final = 9
"""No level takes fewer bytes: ``["1","0"]``; a best quote's two rows and a trade's one take more."""

MAX_STAMP: Final = 9_000_000_000_000_000
"""Largest time in micro- or milliseconds that is still a time in nanoseconds."""

TRADES_BY_ID: Final = 1
TRADES_AGGREGATED: Final = 2


class BinanceSync(NamedTuple):
    """What sequence rules remember, one entry a symbol.

    Attributes
    ----------
    known : int8 array
        1 where the book is known: a snapshot came, and no gap since.
    last : int64 array
        The ``u`` up to which the book is known.
    last_trade : int64 array
        Id of the last trade (or aggregate) given out.
    trades : int8 array
        Which of the two trade streams came first: ``TRADES_BY_ID``, ``TRADES_AGGREGATED``; 0 none yet.
    clock : int64 array, shape (1,)
        The latest exchange time that any frame carried, ns.
    """

    known: npt.NDArray[np.int8]
    last: Ints
    last_trade: Ints
    trades: npt.NDArray[np.int8]
    clock: Ints


@njit(cache=True)
def stamp_to_ns(stamp: int) -> int:
    """Return a time that came in milliseconds, or in microseconds where the stream was asked for them."""
    return stamp * 1_000_000 if stamp < 100_000_000_000_000 else stamp * 1_000

"""Strategies: what to do with a forecast, as compiled functions of one signature.

``decide(now_ns, wake, ints, floats, view, forecast, memory, out) -> orders``

======== ==========================================================================================================
now_ns   the agent's time
wake     which of the ``WAKE_*`` happened
ints     int64 parameters of the strategy
floats   float64 parameters of the strategy
view     int64, what the agent knows of the instrument (``V_*``); the strategy writes ``V_OUTCOME`` and ``V_TIMER_NS``
forecast float64: p_down, p_flat, p_up, edge in price units, 1.0 once there is one
memory   int64, kept for the strategy per instrument
out      int64 table; one row an order or cancel (``O_*``)
======== ==========================================================================================================

It returns how many rows of ``out`` it wrote. It sees one instrument; the risk gate comes after it.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

WAKE_FORECAST: Final = 1
WAKE_TOP: Final = 2
WAKE_TRADE: Final = 4
WAKE_TIMER: Final = 8
WAKE_RESPONSE: Final = 16
WAKE_EVENT: Final = 32
"""What wakes a strategy: a forecast, a change of the best quotes, a trade, its timer, an answer to an order of its own, the end
of any event group. Of one event group those in its mask come as one wake."""

V_BID: Final = 0
V_BID_LOTS: Final = 1
V_ASK: Final = 2
V_ASK_LOTS: Final = 3
V_POSITION: Final = 4
V_BUY_WORKING: Final = 5
V_SELL_WORKING: Final = 6
V_UNSETTLED: Final = 7
"""Live orders whose next answer is under way."""
V_OPEN_BETS: Final = 8
"""Other instruments with a position or a live order."""
V_FORECAST_NS: Final = 9
"""``ts_recv`` of the row behind the latest forecast."""
V_OPEN_NS: Final = 10
V_CLOSE_NS: Final = 11
V_TICK: Final = 12
V_UNIT_NANOS: Final = 13
V_MAKER_PPM: Final = 14
V_TAKER_PPM: Final = 15
V_OWN_BID_ID: Final = 16
V_OWN_BID: Final = 17
V_OWN_ASK_ID: Final = 18
V_OWN_ASK: Final = 19
"""Newest live own order of each side that has no cancel under way: id (0: none) and price."""
V_OUTCOME: Final = 20
V_TIMER_NS: Final = 21
"""Wake me then; 0 leaves the timer as it is."""
V_TAPE_LOTS: Final = 22
"""Lots that have traded in the market so far."""
V_OFI: Final = 23
V_TOP_DEPTH: Final = 24
V_TOP_CHANGES: Final = 25
"""Running totals over changes of the best quotes: order flow imbalance, lots at both touches, changes. Kept where the strategy
``tracks_top``; a window's value is the difference of two totals."""
V_VARIANCE: Final = 26
"""Variance of the mid a second, in price units squared times 65,536 (:data:`trading.top_flow.VARIANCE_ONE`)."""
V_INSTRUMENT: Final = 27
"""The instrument's id."""
V_TRADE_FEE: Final = 28
"""What a fill pays whatever its size, in 1e-9 of the quote currency."""
V_COUNT: Final = 29

O_CANCEL: Final = 0
O_SIDE: Final = 1
O_TIF: Final = 2
O_PRICE: Final = 3
O_LOTS: Final = 4
O_ID: Final = 5
O_AT_CAP: Final = 6
O_SLOT: Final = 7
"""Set by the agent."""
O_COUNT: Final = 8

NO_EDGE: Final = 1
ENTERED: Final = 2
HOLDING: Final = 3
EXTENDED: Final = 4
EXIT_SENT: Final = 5
IN_FLIGHT: Final = 6
NO_QUOTE: Final = 7
TOO_LATE: Final = 8
NO_SIZE: Final = 9

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@njit(cache=True)
def put_order(out: Ints, row: int, side: int, tif: int, price: int, lots: int) -> int:
    """Write a new order into a row of ``out`` and return how many rows are written then.

    Parameters
    ----------
    out : int64 array, shape (rows, O_COUNT)
        What ``decide`` was given.
    row : int
        Rows written so far.
    side : int
        ``BID`` buys, ``ASK`` sells.
    tif : int
        Kind of order, as in :mod:`trading.orders`.
    price : int
        Price units; of no meaning for a market order.
    lots : int
    """
    out[row, O_CANCEL] = 0
    out[row, O_SIDE] = side
    out[row, O_TIF] = tif
    out[row, O_PRICE] = price
    out[row, O_LOTS] = lots
    out[row, O_AT_CAP] = 0
    return row + 1


@njit(cache=True)
def put_cancel(out: Ints, row: int, order_id: int) -> int:
    """Write the cancel of an order of one's own into a row of ``out`` and return how many rows are written then."""
    out[row, O_CANCEL] = 1
    out[row, O_ID] = order_id
    return row + 1


@dataclass(frozen=True, slots=True)
class Strategy:
    """A decide hook with its parameters and the events that wake it.

    ``hook`` is a numba ``cfunc`` of the signature above, or, slower, a Python function of the same arguments, or an object with
    such a ``decide`` method. A Python strategy keeps what it must remember in ``memory``, as a compiled one does: only that is
    in a checkpoint.

    ``tracks_top``: the agent keeps order flow imbalance and variance of the best quotes for it.
    """

    name: str
    hook: Any
    wake_mask: int
    ints: tuple[int, ...] | Ints
    floats: tuple[float, ...] | Floats
    tracks_top: bool = False

    @property
    def is_compiled(self) -> bool:
        """Whether the kernel can call the hook itself."""
        return hasattr(self.hook, "native_name")

    def decide(
        self, now_ns: int, wake: int, ints: Ints, floats: Floats, view: Ints, forecast: Floats, memory: Ints, out: Ints
    ) -> int:
        """Ask a Python strategy."""
        function = getattr(self.hook, "decide", self.hook)
        return int(function(now_ns, wake, ints, floats, view, forecast, memory, out))

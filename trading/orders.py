"""Order states as a closed table: pending, open, partially filled, filled, cancelled, rejected.

The table is the agent's view of its own orders; what the venue thinks arrives as responses. A pending cancel is a mark on a
live order, not a state: the order can still fill until the venue's answer is there.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

FREE: Final = 0
PENDING: Final = 1
OPEN: Final = 2
PARTIALLY_FILLED: Final = 3
FILLED: Final = 4
CANCELLED: Final = 5
REJECTED: Final = 6
"""States. ``FREE`` marks an unused row of the order table; the last three are final."""

ACK: Final = 1
FILL_PART: Final = 2
FILL_WHOLE: Final = 3
DONE: Final = 4
REFUSED: Final = 5
CANCEL_REFUSED: Final = 6
MODIFIED: Final = 7
MODIFY_REFUSED: Final = 8
ANSWERS: Final = 9
"""Answers of a venue: the order rests; part of it filled; the rest of it filled; what was left is cancelled; the order was
not taken; a cancel came too late; the order has the new price and size; a change was refused and the order is as it was."""

STATE_NAMES: Final = ("free", "pending", "open", "partially_filled", "filled", "cancelled", "rejected")

ILLEGAL: Final = 255

LIMIT: Final = 1
IOC: Final = 2
POST_ONLY: Final = 3
FOK: Final = 4
POST_ONLY_SLIDE: Final = 5
MARKET: Final = 6
"""Time in force: rest what does not fill at once; cancel it; refuse the order if any of it would fill at once; fill all of it at
once or nothing; rest one tick before the other side's quote if it would cross; an IOC whose limit is the price collar."""

ACT_NEW: Final = 0
ACT_CANCEL: Final = 1
ACT_MODIFY: Final = 2
"""What a command asks for."""

TIF_NAMES: Final = ("", "limit", "ioc", "post_only", "fok", "post_only_slide", "market")


def _table() -> npt.NDArray[np.uint8]:
    table = np.full((7, ANSWERS), ILLEGAL, np.uint8)
    table[PENDING, ACK] = OPEN
    table[PENDING, FILL_PART] = PARTIALLY_FILLED
    table[PENDING, FILL_WHOLE] = FILLED
    table[PENDING, DONE] = CANCELLED
    table[PENDING, REFUSED] = REJECTED
    for live in (OPEN, PARTIALLY_FILLED):
        table[live, FILL_PART] = PARTIALLY_FILLED
        table[live, FILL_WHOLE] = FILLED
        table[live, DONE] = CANCELLED
        table[live, MODIFIED] = live
    table[PARTIALLY_FILLED, ACK] = PARTIALLY_FILLED
    for state in range(1, 7):
        table[state, CANCEL_REFUSED] = state
        table[state, MODIFY_REFUSED] = state
    return table


TRANSITIONS: Final = _table()
"""``TRANSITIONS[state, answer]`` is the next state, or :data:`ILLEGAL`. A part of a marketable limit order may fill before
the rest is acknowledged as resting, so an acknowledgement leaves ``PARTIALLY_FILLED`` as it is."""


@njit(cache=True)
def next_state(state: int, answer: int) -> int:
    """Return the state after a venue's answer, :data:`ILLEGAL` where the table has none."""
    return TRANSITIONS[state, answer]


@njit(cache=True)
def is_live(state: int) -> bool:
    """Return whether an order in this state can still fill."""
    return PENDING <= state <= PARTIALLY_FILLED


@njit(cache=True)
def may_rest(tif: int) -> bool:
    """Return whether what does not fill at once rests."""
    return tif in (LIMIT, POST_ONLY, POST_ONLY_SLIDE)

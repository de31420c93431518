"""What became of every order, in our engine and in the peer that is given the same commands; each difference has a reason.

Closed loops cannot be compared order by order: after the first difference both strategies want something else. So the peer is
also given our commands, at their nanoseconds. What ends otherwise there is one of these, or ``unexplained``:

``traded_through``
    We were filled at a nanosecond at which the tape executed on our side at a worse price than ours. Whoever executes there has
    met our order before. hftbacktest's rules say so too ("your order price > sell trade price"), and its exchange for levels
    does it; the one for orders (2.4.4, ``L3NoPartialFillExchange``) fills an order only when one behind it at its own price is
    filled, or when the other side's best quote reaches it.
``lots_taken``
    We were filled before it was filled or cancelled there, at a price at which an order of ours on the other side had been
    filled before: lots that we took do not stand before us, as long as the tape shows them; hftbacktest forgets that they are
    gone.
``cancelled_early``
    The cancel was sent before the order's acknowledgement had come back, which hftbacktest does not do.
``left_open``
    It rested when the tape ended: our session's close cancels it.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from marketdata.events import EXECUTE, TRADE, EventArray
from trading.journal import ACKNOWLEDGED, CANCEL, CANCELLED_ROW, FILL, ORDER, R_IOC_REST, REJECTED_ROW, Journal

NEW: Final = 1
EXPIRED: Final = 2
FILLED: Final = 3
CANCELLED: Final = 4
"""What became of an order, as hftbacktest numbers it: resting at the end; refused or nothing to take; filled; cancelled."""

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How many orders ended the same in both, at the same nanosecond and price, and why the others did not."""

    same: int
    traded_through: int
    lots_taken: int
    cancelled_early: int
    left_open: int
    unexplained: int

    @property
    def orders(self) -> int:
        """All orders compared."""
        return sum(getattr(self, field.name) for field in fields(self))


def commands_of(rows: Journal, until_ns: int) -> Int64:
    """Return every order and cancel sent up to a time: (time, is cancel, side, tif, price units, lots, order id)."""
    sent = rows[np.isin(rows["kind"], (ORDER, CANCEL)) & (rows["ts_ns"] <= until_ns)]
    columns = (sent["ts_ns"], sent["kind"] == CANCEL, *(sent[n] for n in ("side", "tif", "price_units")))
    return np.stack([*columns, sent["size_lots"], sent["order_id"]], axis=1).astype(np.int64)


def outcomes_of(rows: Journal, orders: int) -> Int64:
    """Return what became of the first ``orders`` orders: (status, venue time, price, 1 if a maker); zeros where unfilled."""
    out = np.zeros((orders, 4), np.int64)
    out[:, 0] = NEW
    own = rows[(rows["order_id"] >= 1) & (rows["order_id"] <= orders)]
    for kind, status in ((CANCELLED_ROW, CANCELLED), (REJECTED_ROW, EXPIRED), (FILL, FILLED)):
        some = own[own["kind"] == kind]
        at = some["order_id"] - 1
        out[at, 0] = np.where(some["reason"] == R_IOC_REST, EXPIRED, status) if kind == CANCELLED_ROW else status
        out[at, 1] = some["venue_ns"]
        if kind == FILL:
            out[at, 2], out[at, 3] = some["price_units"], some["flag"]
    return out


def compare(events: EventArray, rows: Journal, commands: Int64, theirs: Int64) -> Outcomes:
    """Compare our journal's orders with what a peer made of the same commands, one lot each.

    Parameters
    ----------
    events : event array
        The tape that both replayed.
    rows : journal array
    commands : int64 array, shape (n, 7)
        As :func:`commands_of` returns them.
    theirs : int64 array, shape (orders, 4 or more)
        Status, venue time, price and maker of every order by id, as :func:`outcomes_of`.
    """
    mine = outcomes_of(rows, len(theirs))
    orders = commands[commands[:, 1] == 0]
    both_filled = (mine[:, 0] == FILLED) & (theirs[:, 0] == FILLED)
    same = (mine[:, 0] == theirs[:, 0]) & np.where(
        mine[:, 0] == NEW, True, (mine[:, 1] == theirs[:, 1]) & (~both_filled | (mine[:, 2] == theirs[:, 2]))
    )
    through = (mine[:, 0] == FILLED) & _traded_through(events, mine[:, 1], orders)
    early = np.zeros(len(mine), np.bool_)
    known = np.full(len(mine), np.iinfo(np.int64).max)
    seen = rows[(rows["kind"] == ACKNOWLEDGED) & (rows["order_id"] <= len(mine))]
    known[seen["order_id"] - 1] = seen["sequence"]
    cancels = rows[(rows["kind"] == CANCEL) & (rows["order_id"] >= 1) & (rows["order_id"] <= len(mine))]
    early[cancels["order_id"] - 1] = cancels["sequence"] < known[cancels["order_id"] - 1]
    open_at_end = (theirs[:, 0] == NEW) & (mine[:, 0] == CANCELLED) & (mine[:, 1] > int(events["ts_event"][-1]))
    took = (mine[:, 0] == FILLED) & (mine[:, 1] < theirs[:, 1]) & _took_before(mine, orders)
    reasons = np.select([same, through, took, early, open_at_end], [0, 1, 2, 3, 4], 5)
    return Outcomes(*np.bincount(reasons, minlength=6).tolist())


def _took_before(mine: Int64, orders: Int64) -> npt.NDArray[np.bool_]:
    """Return whether an order of the other side had been filled at an order's price when it was sent."""
    first: dict[tuple[int, int], int] = {}
    for (_, when, price, _), side in zip(
        mine[mine[:, 0] == FILLED].tolist(), orders[mine[:, 0] == FILLED, 2], strict=True
    ):
        key = int(side), price
        first[key] = min(first.get(key, when), when)
    never = np.iinfo(np.int64).max
    return np.array([first.get((-side, price), never) < at for at, side, price in orders[:, [0, 2, 4]].tolist()])


def _traded_through(events: EventArray, times: Int64, orders: Int64) -> npt.NDArray[np.bool_]:
    """Return whether the tape executed on an order's side at a worse price than its own, at one nanosecond each."""
    out = np.zeros(len(times), np.bool_)
    trades = events[(events["action"] == EXECUTE) | (events["action"] == TRADE)]
    for side in (1, -1):
        some = trades[trades["side"] == side]
        at = np.flatnonzero(orders[:, 2] == side)
        if len(some) == 0 or len(at) == 0:
            continue
        starts = np.flatnonzero(np.diff(some["ts_event"], prepend=some["ts_event"][0] - 1))
        worst = np.minimum.reduceat(side * some["price_units"], starts)
        group = np.searchsorted(some["ts_event"][starts], times[at], side="right") - 1
        there = (group >= 0) & (some["ts_event"][starts][np.maximum(group, 0)] == times[at])
        out[at] = there & (worst[np.maximum(group, 0)] < side * orders[at, 4])
    return out

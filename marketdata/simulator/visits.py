"""A visitor in the simulated market: orders of our own inside the matching engine, placed by a plan.

A visit is one post-only limit order: at ``look_ns`` the visitor reads the touch of its side, at ``arrive_ns`` its order for
that price reaches the engine, at ``cancel_ns`` its cancel does. The flow treats the order as anybody's: makers count it,
takers hit it in its turn, its arrival and its cancel excite what such events excite. Only the background's cancels are drawn
among the others, whose orders alone set their pace: the visitor leaves by its plan, and its order stands in for nobody's cancel
(docs/decisions/0165).

A *patient* visitor leaves when the plan says so, whatever the market does; alone at a price that makers have left, it is picked
off. One that *follows* cancels as soon as it has seen that the touch of the others is not at its price any more.

A session with visits is another draw of the same market, not the recorded one with changes: from the first visit on the rates
differ a little, and with them what the stream of random numbers means. What is compared between the two is a distribution
over many visits and sessions (``backtests.venue_truth``).
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from marketdata.clock import NS_PER_S, Session
from marketdata.events import EXECUTE
from marketdata.order_book import OrderBookState
from marketdata.order_queries import best_ask, best_bid, level_lots, level_orders, lots_ahead, order_at
from marketdata.simulator.parameters import ADD_BID, CANCEL_BID, DEEP_ADD_BID, DEEP_CANCEL_BID, IMPROVE_BID
from marketdata.simulator.tape import Tape, add_order, cancel

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

LOOK: Final = 0
ARRIVE: Final = 1
LEAVE: Final = 2

PLANNED: Final = 0
REFUSED: Final = 1
RESTING: Final = 2
FILLED: Final = 3
CANCELLED: Final = 4
STATUS_NAMES: Final = ("planned", "refused", "resting", "filled", "cancelled")
"""A visit's end: its time never came, the order would have traded, it still rests, it filled whole, it was cancelled."""

NO_ACTION: Final = -1


@dataclass(frozen=True, slots=True)
class VisitPlan:
    """When the visitor comes, the same in every instrument; one entry a visit.

    Attributes
    ----------
    look_ns, arrive_ns, cancel_ns : int64 arrays, shape (V,)
        Exchange times, each visit's in this order.
    side : int64 array, shape (V,)
        0 buys, 1 sells; visits of a side do not overlap.
    lots : int64 array, shape (V,)
    reaction_ns : int, optional
        Where the visitor follows the touch: from a change of it at the exchange until the cancel arrives there. None: patient.
    is_counted : bool
        Whether the flow reacts to it as to anybody's: makers and takers count its lots at the touch, its arrival and its cancel
        excite others. False takes apart what the flow does because of an order from what matching alone does to it.
    """

    look_ns: Int64
    arrive_ns: Int64
    cancel_ns: Int64
    side: Int64
    lots: Int64
    reaction_ns: int | None = None
    is_counted: bool = True

    def __post_init__(self) -> None:
        count = len(self.look_ns)
        if any(len(part) != count for part in (self.arrive_ns, self.cancel_ns, self.side, self.lots)):
            raise ValueError("the columns of a visit plan differ in length")
        if np.any(self.arrive_ns < self.look_ns) or np.any(self.cancel_ns <= self.arrive_ns):
            raise ValueError("a visit looks, arrives and leaves in this order")
        if np.any((self.side != 0) & (self.side != 1)) or np.any(self.lots < 1):
            raise ValueError("a visit buys (0) or sells (1) at least one lot")
        for side in (0, 1):
            own = self.side == side
            if np.any(self.look_ns[own][1:] <= self.cancel_ns[own][:-1]):
                raise ValueError("visits of a side are in order of time and do not overlap")

    def __len__(self) -> int:
        return len(self.look_ns)


class Visits(NamedTuple):
    """A plan under way in one instrument.

    Attributes
    ----------
    act_s, act_visit, act_what : arrays, shape (A,)
        What is due when (seconds from the open), in order of time.
    cursor : int64 array, shape (2,)
        Actions done, and tape rows that are the visitor's own.
    now_in : int64 array, shape (2,)
        By side, the visit that has looked last, counted from 1.
    leave_s : float64 array, shape (2,)
        By side, when a cancel that follows the touch arrives; infinite while none is under way.
    reaction_s : float64 array, shape (1,)
        Infinite where the visitor is patient.
    is_counted : bool array, shape (1,)
    side, lots, price, order_id, ahead, filled, status : int64 arrays, shape (V,)
    rested_ns, first_fill_ns, last_fill_ns, left_ns : int64 arrays, shape (V,)
        0 until it happened.
    visit_of : int32 array, shape (M,)
        Visit whose order an id is, counted from 1; 0 for everybody else's. Empty where there is no visitor.
    """

    act_s: Float64
    act_visit: Int64
    act_what: Int64
    cursor: Int64
    now_in: Int64
    leave_s: Float64
    reaction_s: Float64
    is_counted: npt.NDArray[np.bool_]
    side: Int64
    lots: Int64
    price: Int64
    order_id: Int64
    ahead: Int64
    filled: Int64
    status: Int64
    rested_ns: Int64
    first_fill_ns: Int64
    last_fill_ns: Int64
    left_ns: Int64
    visit_of: npt.NDArray[np.int32]


def start_visits(plan: VisitPlan | None, open_ns: int, max_ids: int) -> Visits:
    """Return a plan's state before the session; without a plan, of a market nobody visits."""
    count = 0 if plan is None else len(plan)
    columns = [np.zeros(count, np.int64) for _ in range(9)]
    nothing = np.zeros(0, np.int64)
    if plan is None or count == 0:
        ids = np.zeros(0, np.int32)
        return Visits._make(
            [np.zeros(0), nothing, nothing, *_clocks(np.inf), np.ones(1, np.bool_), nothing, nothing, *columns, ids]
        )
    when = np.concatenate([plan.look_ns, plan.arrive_ns, plan.cancel_ns])
    what = np.repeat(np.array([LOOK, ARRIVE, LEAVE]), count)
    order = np.lexsort((what, when))
    reaction_s = np.inf if plan.reaction_ns is None else plan.reaction_ns / NS_PER_S
    return Visits._make(
        [
            (when[order] - open_ns) / NS_PER_S,
            np.tile(np.arange(count), 3)[order],
            what[order],
            *_clocks(reaction_s),
            np.array([plan.is_counted]),
            plan.side.astype(np.int64),
            plan.lots.astype(np.int64),
            *columns,
            np.zeros(max_ids, np.int32),
        ]
    )


def _clocks(reaction_s: float) -> tuple[Int64, Int64, Float64, Float64]:
    return np.zeros(2, np.int64), np.zeros(2, np.int64), np.full(2, np.inf), np.array([reaction_s])


@njit(cache=True, forceinline=True)
def find_own(visits: Visits, own_price: Int64) -> None:
    """Write the price at which an order of the visitor rests, by side; -1 where none does."""
    for side in range(2):
        v = visits.now_in[side] - 1
        own_price[side] = visits.price[v] if v >= 0 and visits.status[v] == RESTING else -1


@njit(cache=True, forceinline=True)
def others_at(book: OrderBookState, side: int, price: int, own_price: Int64) -> int:
    """Return how many orders rest at a price, the visitor's left out."""
    return level_orders(book, side, price) - (1 if own_price[side] == price else 0)


@njit(cache=True, forceinline=True)
def other_order(
    book: OrderBookState, side: int, price: int, place: int, own_price: Int64, visit_of: npt.NDArray[np.int32]
) -> int:
    """Return the id of the order at a place among those at a price, the visitor's left out; 0: none."""
    if own_price[side] == price:
        for before in range(place + 1):
            if visit_of[order_at(book, side, price, before)] > 0:
                place += 1
                break
    return order_at(book, side, price, place)


@njit(cache=True, forceinline=True)
def next_visit_s(visits: Visits) -> float:
    """Return when the visitor next does something, in seconds from the open."""
    at = visits.cursor[0]
    planned = visits.act_s[at] if at < visits.act_s.shape[0] else np.inf
    return min(planned, visits.leave_s[0], visits.leave_s[1])


@njit(cache=True, forceinline=True)
def visit_now(
    book: OrderBookState, tape: Tape, visits: Visits, n: int, ts: int, sequence: int, now: float
) -> tuple[int, int]:
    """Do what is due; return the rows written so far, and which Hawkes type the flow takes it for (NO_ACTION: none)."""
    what = LEAVE
    v = -1
    for follows in range(2):
        if visits.leave_s[follows] <= now:
            v = visits.now_in[follows] - 1
            visits.leave_s[follows] = np.inf
            break
    if v < 0:
        at = visits.cursor[0]
        visits.cursor[0] = at + 1
        v = visits.act_visit[at]
        what = visits.act_what[at]
    side = visits.side[v]
    touch = best_bid(book) if side == 0 else best_ask(book)
    if what == LOOK:
        visits.price[v] = touch
        visits.now_in[side] = v + 1
        return n, NO_ACTION
    if what == LEAVE:
        if visits.status[v] != RESTING:
            return n, NO_ACTION
        kind = CANCEL_BID if visits.price[v] == touch else DEEP_CANCEL_BID
        n = cancel(book, tape, n, ts, sequence, visits.order_id[v], False)
        visits.status[v] = CANCELLED
        visits.left_ns[v] = ts
        visits.cursor[1] += 1
        return n, kind + side
    price = visits.price[v]
    before = n
    n = add_order(book, tape, n, ts, sequence, side, price, visits.lots[v])
    if n == before:
        visits.status[v] = REFUSED
        return n, NO_ACTION
    order_id = tape.order_id[before]
    visits.order_id[v] = order_id
    visits.visit_of[order_id] = v + 1
    visits.ahead[v] = lots_ahead(book, order_id)
    visits.status[v] = RESTING
    visits.rested_ns[v] = ts
    visits.cursor[1] += 1
    if price == touch:
        return n, ADD_BID + side
    is_better = price > touch if side == 0 else price < touch
    return n, (IMPROVE_BID if is_better else DEEP_ADD_BID) + side


@njit(cache=True, forceinline=True)
def watch_touch(book: OrderBookState, visits: Visits, now: float) -> None:
    """Send a cancel on its way where the touch of the others has left the price of a visit."""
    for side in range(2):
        v = visits.now_in[side] - 1
        if v < 0 or visits.status[v] > RESTING or visits.status[v] == REFUSED or visits.leave_s[side] < np.inf:
            continue
        price = visits.price[v]
        touch = best_bid(book) if side == 0 else best_ask(book)
        gone = touch != price
        if not gone and visits.status[v] == RESTING:
            gone = level_lots(book, side, price) == visits.lots[v] - visits.filled[v]
        if gone:
            visits.leave_s[side] = now + visits.reaction_s[0]


@njit(cache=True, forceinline=True)
def uncount(book: OrderBookState, visits: Visits, lots: Int64) -> None:
    """Take the visitor's own lots at the touch out of ``lots``, shape (2,): the lots at the best bid and ask."""
    for side in range(2):
        v = visits.now_in[side] - 1
        if v >= 0 and visits.status[v] == RESTING:
            touch = best_bid(book) if side == 0 else best_ask(book)
            if visits.price[v] == touch:
                lots[side] -= visits.lots[v] - visits.filled[v]


@njit(cache=True, forceinline=True)
def own_passed(visits: Visits, side: int, value: float) -> int:
    """Return the visitor's lots of a side at a price that the efficient price has passed."""
    v = visits.now_in[side] - 1
    if v < 0 or visits.status[v] != RESTING:
        return 0
    away = -1 if side == 0 else 1
    return visits.lots[v] - visits.filled[v] if away * (value - visits.price[v]) > 0.0 else 0


@njit(cache=True, forceinline=True)
def note_fills(visits: Visits, tape: Tape, first: int, n: int) -> None:
    """Look for fills of the visitor's orders among the rows of one event group."""
    for row in range(first, n):
        if tape.action[row] != EXECUTE:
            continue
        v = visits.visit_of[tape.order_id[row]] - 1
        if v < 0:
            continue
        visits.filled[v] += tape.size_lots[row]
        if visits.first_fill_ns[v] == 0:
            visits.first_fill_ns[v] = tape.ts_event[row]
        visits.last_fill_ns[v] = tape.ts_event[row]
        if visits.filled[v] == visits.lots[v]:
            visits.status[v] = FILLED


def visits_frame(visits: Visits, symbol: str) -> pl.DataFrame:
    """Return what became of the visits of an instrument, one row a visit.

    Returns
    -------
    pl.DataFrame
        ``symbol, visit, side (0 buys), lots, price_units, order_id, status, ahead_lots`` (at arrival), ``filled_lots, rested_ns,
        first_fill_ns, last_fill_ns, left_ns`` (the cancel); times are null where it did not happen.
    """
    count = len(visits.side)

    def or_null(values: Int64) -> pl.Series:
        return pl.Series(values).replace(0, None)

    return pl.DataFrame(
        {
            "symbol": pl.Series([symbol] * count, dtype=pl.String),
            "visit": np.arange(count),
            "side": visits.side,
            "lots": visits.lots,
            "price_units": visits.price,
            "order_id": visits.order_id,
            "status": pl.Series([STATUS_NAMES[k] for k in visits.status], dtype=pl.String),
            "ahead_lots": visits.ahead,
            "filled_lots": visits.filled,
            "rested_ns": or_null(visits.rested_ns),
            "first_fill_ns": or_null(visits.first_fill_ns),
            "last_fill_ns": or_null(visits.last_fill_ns),
            "left_ns": or_null(visits.left_ns),
        }
    )


def even_plan(
    session: Session,
    *,
    every_s: float,
    patience_s: float,
    lots: int,
    feed_ns: int,
    to_venue_ns: int,
    seed: int,
    follows: bool,
    is_counted: bool = True,
    margin_s: float = 120.0,
) -> VisitPlan:
    """Return a plan that visits both sides in turn, once each every ``every_s`` seconds, jittered by a tenth of that.

    Parameters
    ----------
    patience_s : float
        From a decision to join to the decision to leave; below nine tenths of ``every_s``, so that a side has one order at
        a time.
    feed_ns, to_venue_ns : int
        The decision at time t sees the market of ``t - feed_ns`` and acts on it at ``t + to_venue_ns``.
    follows : bool
        Whether it cancels when the touch has left its price.
    is_counted : bool
        See :class:`VisitPlan`.
    margin_s : float
        Free time at the start and the end of the session.

    Raises
    ------
    ValueError
        If the patience is too long.
    """
    if not 0.0 < patience_s < 0.9 * every_s:
        raise ValueError(f"a patience of {patience_s} s does not fit between visits {every_s} s apart")
    start = session.open_ns + round(margin_s * NS_PER_S)
    last = session.close_ns - round((margin_s + patience_s) * NS_PER_S)
    half = round(0.5 * every_s * NS_PER_S)
    decide = np.arange(start, last, half, dtype=np.int64)
    jitter = np.random.default_rng(seed).integers(0, max(half // 5, 1), len(decide))
    decide = decide + jitter
    leave = decide + round(patience_s * NS_PER_S)
    return VisitPlan(
        look_ns=decide - feed_ns,
        arrive_ns=decide + to_venue_ns,
        cancel_ns=leave + to_venue_ns,
        side=np.arange(len(decide), dtype=np.int64) % 2,
        lots=np.full(len(decide), lots, np.int64),
        reaction_ns=feed_ns + to_venue_ns if follows else None,
        is_counted=is_counted,
    )

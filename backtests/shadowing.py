"""Shadow real orders: our venue fills an order when the real one in its place was filled, or it is not right.

On a tape with order ids a real order is taken off, and one of ours takes its place in the queue, at its time, price and size,
with no latency. The venue is the one of every backtest, with exact queues (model ``fifo``). Executions are shown to it as what an
aggressor is: anonymous volume at a price, whoever's order it was; so ours must come to its fills through its place in the queue.
Everything else of the tape stays: adds and cancels of others, with their ids.

*Executed* orders ended by visible executions alone; each of their execution rows must be met by a fill of ours of the same time
and size. *Cancelled* ones ended by a cancel without ever having traded: ours must be unfilled then. Only orders count whose
queue is known from arrival to end (``marketdata.codecs.lobster_orders.queue_known``): a level that leaves the file's window, or
that holds lots nobody saw coming, is *queue unknown* until it is known again; and those that lived in continuous trading. What
did not agree is classified by what the tape did meanwhile.

References
----------
The tape's own order of execution is the truth here; price-time priority is NASDAQ's and Shanghai's rule for displayed orders.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.clock import Session
from marketdata.codecs.lobster_orders import queue_known
from marketdata.events import ADD, DELETE, EXECUTE, HIDDEN, REDUCE, STATUS, TRADE, EventArray
from marketdata.instruments import Instrument
from marketdata.settings import LatencySettings, RiskSettings
from trading.config import EngineConfig
from trading.engine import Engine
from trading.hooks import QUEUE_MODELS
from trading.orders import FILL_PART, FILL_WHOLE, LIMIT
from trading.queues import ids_are_full
from trading.room import allocate_state
from trading.state import (
    J_IDS,
    J_LAST_DUE,
    J_RESTING,
    J_TAKEN,
    N_HIGH,
    N_RSP_HEAD,
    N_RSP_TAIL,
    EngineParameters,
    VenueState,
)
from trading.strategies import O_COUNT, touch_maker
from trading.venue import cancel_resting, venue_order
from trading.venue_step import venue_row

Int64 = npt.NDArray[np.int64]

ID_ROWS: Final = 65_536
LEVELS: Final = 4_096
SAW_HIDDEN: Final = 1
SAW_REACHED: Final = 2
SAW_BEHIND: Final = 4
SAW_UNKNOWN: Final = 8
MISSES: Final = {
    SAW_HIDDEN: "a hidden order traded at its price",
    SAW_BEHIND: "an order behind it traded first",
    SAW_REACHED: "the other side was shown at its price",
    0: "other",
}
"""What the tape did during a missed order's life, the first that applies."""


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """How the shadows of one tape fared.

    Attributes
    ----------
    executed, cancelled : int
        Orders of the tape that ended so.
    known_executed, known_cancelled : int
        Those of them that were shadowed: their queue was known throughout.
    rows, equal_rows : int
        Execution rows of the known executed orders, and those met by a fill of the same time and size.
    equal_orders : int
        Executed orders all of whose rows were met, without a fill too many.
    filled_cancelled : int
        Shadows of cancelled orders that were filled before the cancel.
    misses : dict of str to int
        Executed orders that were not met, by what the tape did (:data:`MISSES`).
    """

    executed: int
    cancelled: int
    known_executed: int
    known_cancelled: int
    rows: int
    equal_rows: int
    equal_orders: int
    filled_cancelled: int
    misses: dict[str, int]

    @property
    def share(self) -> float:
        """Share of execution rows that were met; NaN without any."""
        return self.equal_rows / self.rows if self.rows else float("nan")

    @property
    def known_share(self) -> float:
        """Share of executed orders whose queue was known; NaN without any."""
        return self.known_executed / self.executed if self.executed else float("nan")


def shadow_orders(events: EventArray, *, most_cancelled: int = 2_000) -> ShadowReport:
    """Shadow every executed order of a tape and some of the cancelled ones.

    Parameters
    ----------
    events : event array, shape (n,)
        Of one instrument, with order ids, in the venue's order.
    most_cancelled : int
        Cancelled orders that are shadowed at most, spread evenly.
    """
    known = queue_known(events)
    first, last, executed, cancelled = _lives(events)
    known_rows = _known_lives(events, known, first, last) & _continuous(events, first, last)
    own_executed = np.flatnonzero(executed)
    own_cancelled = np.flatnonzero(cancelled)
    shadowed = own_executed[known_rows[own_executed]]
    spread = own_cancelled[known_rows[own_cancelled]]
    if len(spread) > most_cancelled:
        spread = spread[np.linspace(0, len(spread) - 1, most_cancelled).astype(np.int64)]
    chosen = np.concatenate([shadowed, spread])
    order = np.argsort(first[chosen], kind="stable")
    chosen = chosen[order]
    engine = _engine(events)
    parameters = engine.parameters
    state = allocate_state(1, rate_limit=1, levels=LEVELS, orders=8, ring=4_096, intent_columns=O_COUNT, ids=ID_ROWS)
    reference = allocate_state(1, rate_limit=1, levels=LEVELS, orders=8, ring=8, intent_columns=O_COUNT).venue
    found = np.zeros((len(chosen), 5), np.int64)
    hook = QUEUE_MODELS["fifo"].hook
    stop = _shadow(state.venue, reference, parameters, hook, events, first[chosen], last[chosen], found)
    if stop != 0:
        raise ValueError(f"row {stop}: more than {ID_ROWS // 2} orders joined a level behind a shadow")
    is_executed = executed[chosen]
    real, met, surplus, fills, saw = found.T
    whole = (met == real) & (surplus == 0)
    misses: dict[str, int] = {}
    for flags in saw[is_executed & ~whole]:
        reason = next(text for bit, text in MISSES.items() if bit == 0 or flags & bit)
        misses[reason] = misses.get(reason, 0) + 1
    return ShadowReport(
        executed=len(own_executed),
        cancelled=len(own_cancelled),
        known_executed=int(is_executed.sum()),
        known_cancelled=int((~is_executed).sum()),
        rows=int(real[is_executed].sum()),
        equal_rows=int(met[is_executed].sum()),
        equal_orders=int((is_executed & whole).sum()),
        filled_cancelled=int((fills[~is_executed] > 0).sum()),
        misses=misses,
    )


def _engine(events: EventArray) -> Engine:
    """Return an engine whose parameters are those of an instrument without latency, fees or impact."""
    start, stop = int(events["ts_event"][0]), int(events["ts_event"][-1])
    session = Session(datetime.fromtimestamp(start / 1e9, UTC).date(), start, stop + 1)
    item = Instrument(
        symbol="X", instrument_id=int(events["instrument_id"][0]), venue="V", unit_nanos=1, price_decimals=1.0
    )
    config = EngineConfig(
        session=session,
        instruments=(item,),
        latency=LatencySettings(feed_ns=0, feed_jitter_ns=0, inference_ns=0, decision_ns=0, order_ns=0, response_ns=0),
        risk=RiskSettings(),
        strategy=touch_maker(lots=1, max_position=1, last_entry_ns=0),
        queue=QUEUE_MODELS["fifo"],
        capital=1.0,
        clock_ns=1,
        ending_ns=stop,
        feed_bound_ns=0,
    )
    return Engine(config)


def _lives(events: EventArray) -> tuple[Int64, Int64, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return first and last row of every order that came and went, and whether by executions alone, or by a cancel alone."""
    named = np.flatnonzero((events["order_id"] != 0) & np.isin(events["action"], (ADD, REDUCE, DELETE, EXECUTE)))
    ids, place = np.unique(events["order_id"][named], return_inverse=True)
    first, last, state = np.full(len(ids), -1), np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
    left, adds = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
    rows = zip(
        named.tolist(),
        place.tolist(),
        events["action"][named].tolist(),
        events["size_lots"][named].tolist(),
        strict=True,
    )
    for row, k, action, lots in rows:
        if action == ADD:
            first[k], left[k] = row, lots
            adds[k] += 1
            continue
        last[k] = row
        left[k] -= lots
        state[k] |= 1 if action == EXECUTE else 2
    complete = (adds == 1) & (left == 0)
    return first, last, complete & (state == 1), complete & (state == 2)


def _continuous(events: EventArray, first: Int64, last: Int64) -> npt.NDArray[np.bool_]:
    """Return for each order whether there was continuous trading from its arrival to its end: no halt, no auction."""
    status = np.flatnonzero(events["action"] == STATUS)
    if len(status) == 0:
        return np.ones(len(first), np.bool_)
    trading = events["size_lots"][status] != 0
    before = np.searchsorted(status, first)
    # Before the first word on it trading was what that word changes.
    is_on = np.where(before > 0, trading[np.maximum(before - 1, 0)], ~trading[0])
    return np.asarray(is_on & (np.searchsorted(status, last) == before))


def _known_lives(events: EventArray, known: npt.NDArray[np.bool_], first: Int64, last: Int64) -> npt.NDArray[np.bool_]:
    """Return for each order whether the queue at its level was known after every row there from its arrival to its end."""
    out = np.zeros(len(first), np.bool_)
    levels: dict[tuple[int, int], list[int]] = {}
    about = np.flatnonzero(~np.isin(events["action"], (HIDDEN, TRADE)) & (events["price_units"] > 0))
    for row, side, price in zip(
        about.tolist(), events["side"][about].tolist(), events["price_units"][about].tolist(), strict=True
    ):
        levels.setdefault((side, price), []).append(row)
    unknown: dict[tuple[int, int], tuple[Int64, Int64]] = {}
    for k in np.flatnonzero(first >= 0):
        level = int(events["side"][first[k]]), int(events["price_units"][first[k]])
        if level not in unknown:
            rows = np.array(levels[level])
            unknown[level] = rows, np.concatenate([[0], np.cumsum(~known[rows])])
        rows, total = unknown[level]
        a, b = np.searchsorted(rows, first[k]), np.searchsorted(rows, last[k], side="right")
        out[k] = total[b] == total[a]
    return out


@njit(cache=True)
def _reset(venue: VenueState, reference: VenueState) -> None:
    """Give the venue the reference's book and nothing of ours."""
    for side in range(2):
        count = reference.counts[0, side]
        venue.counts[0, side] = count
        venue.price[0, side, :count] = reference.price[0, side, :count]
        venue.size[0, side, :count] = reference.size[0, side, :count]
    venue.counters[0] = 0
    if venue.inst[0, J_IDS] > 0:
        venue.ids[0] = 0
        venue.inst[0, J_IDS] = 0
    venue.inst[0, J_TAKEN] = 0
    venue.inst[0, J_TAKEN + 1] = 0
    venue.inst[0, J_LAST_DUE] = 0
    venue.g[N_RSP_TAIL] = 0
    venue.g[N_RSP_HEAD] = 0


@njit(cache=True)
def _shadow(
    venue: VenueState,
    reference: VenueState,
    parameters: EngineParameters,
    queue: Any,
    events: Any,
    first: Int64,
    last: Int64,
    found: Int64,
) -> int:
    """Shadow orders one by one; write rows, rows met, fills too many, fills, and what the tape did of each.

    Orders are given by first row, ascending. Returns the row at which the table of ids was full, else 0.
    """
    slot, row = np.int64(0), 0
    for k in range(len(first)):
        while row < first[k]:
            event = events[row]
            side, action = np.int64(event.side), np.int64(event.action)
            price, lots, flags = event.price_units, event.size_lots, np.int64(event.flags)
            venue_row(reference, parameters, queue, event.ts_event, slot, action, side, price, lots, flags, np.int64(0))
            row += 1
        _reset(venue, reference)
        own = events[first[k]]
        own_side, own_price, own_id, size = np.int64(own.side), own.price_units, own.order_id, own.size_lots
        venue_order(venue, parameters, own.ts_event, np.int64(1), slot, own_side, np.int64(LIMIT), own_price, size)
        saw, matched = 0, 0
        for r in range(first[k] + 1, last[k] + 1):
            event = events[r]
            action, side, price = np.int64(event.action), np.int64(event.side), event.price_units
            lots, flags, named = event.size_lots, np.int64(event.flags), event.order_id
            here = side == own_side and price == own_price
            if venue.inst[0, J_RESTING] > 0 and ids_are_full(venue, slot):
                return r
            if here and action == HIDDEN:
                saw |= SAW_HIDDEN
            if action == EXECUTE:
                if named == own_id:
                    action = np.int64(TRADE)
                elif here and named > own_id:
                    saw |= SAW_BEHIND
                named = np.int64(0)
            if side != own_side and action == ADD and own_side * price <= own_side * own_price:
                saw |= SAW_REACHED
            if named == own_id and named != 0:
                continue
            venue_row(venue, parameters, queue, event.ts_event, slot, action, side, price, lots, flags, named)
        filled, place = 0, 0
        for a in range(venue.g[N_RSP_TAIL]):
            answer = venue.responses[a]
            if answer.answer == FILL_PART or answer.answer == FILL_WHOLE:
                filled += 1
        for r in range(first[k] + 1, last[k] + 1):
            event = events[r]
            if event.order_id != own_id or event.action != EXECUTE:
                continue
            found[k, 0] += 1
            for a in range(place, venue.g[N_RSP_TAIL]):
                answer = venue.responses[a]
                is_fill = answer.answer == FILL_PART or answer.answer == FILL_WHOLE
                if is_fill and answer.venue_ns == event.ts_event and answer.size_lots == event.size_lots:
                    matched += 1
                    place = a + 1
                    break
        found[k, 1], found[k, 2], found[k, 3], found[k, 4] = matched, filled - matched, filled, saw
        cancel_resting(venue, parameters, events[last[k]].ts_event, slot, np.int64(0))
        venue.g[N_HIGH] = 0
    return 0

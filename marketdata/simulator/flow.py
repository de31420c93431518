"""The order flow of one instrument over one session: a state-dependent Hawkes process into the matching engine, in one kernel.

The efficient price receives news on a grid, the surprise of every uninformed market order, and the informed episodes'
repricings. The surprise is the order less its own intensity's compensator, so the efficient price of an uninformed market is
a martingale although signs have memory: liquidity leans against the predictable part of the flow. Quotes follow the efficient
price, because makers place orders at a distance from it, fill gaps and pull what has become stale.

Thinning (Ogata): between events all rates only fall, so the total rate after the last event bounds them until the next one, the
next step of the grid or the next event of a leading instrument.
"""

from math import ceil, exp, floor, log, sqrt
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.events import ADD, ASK, BID, CLEAR, DELETE, EXECUTE, F_LAST, F_SNAPSHOT, REDUCE
from marketdata.matching import (
    FILLS,
    GTC,
    BEST_ASK,
    BEST_BID,
    LIVE,
    LOW_PRICE,
    POST_ONLY,
    RESTED,
    MatchingBook,
    best_ask,
    best_bid,
    cancel_order,
    level_orders,
    order_at,
    order_state,
    reduce_order,
    submit_limit,
    submit_market,
)
from marketdata.simulator.parameters import (
    ADD_RATE,
    ARBITRAGE_RATE,
    ARBITRAGE_UNITS,
    CANCEL_RATE,
    DEEP_ADD_RATE,
    DEEP_CANCEL_RATE,
    DEEP_SHORTAGE_BOOST,
    DEPTH_LEVELS,
    FAR_SHARE,
    FAR_CANCEL_RATE,
    FAST_DECAY,
    HAWKES_TYPES,
    IMPROVE_RATE,
    LAST_ORDERS,
    MARKET_ORDERS_PER_S,
    MIDDLE_DECAY,
    PICKED_RATE,
    RUN_OVER_CANCELS,
    SHORTAGE_BOOST,
    SLOW_DECAY,
    STALE_BAND,
    STALE_RATE,
    STEP_S,
    TARGET_BEHIND,
    TARGET_LOTS,
    THIN_ADD_RATE,
    THIN_BEHIND,
)

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

STALE_BID: Final = 12
STALE_ASK: Final = 13
PICK_BID: Final = 14
PICK_ASK: Final = 15
FAR_BID: Final = 16
FAR_ASK: Final = 17
INFORMED: Final = 18
RUN_OVER: Final = 19
PROCESSES: Final = 20
"""Processes beside the Hawkes types: makers pulling stale quotes, arbitrage against them, far cancels, the informed trader."""

TRUTH_EVERY: Final = 5
"""Grid steps to a row of the recorded truth (one second)."""
TRUTH_COLUMNS: Final = ("efficient_units", "buy_intensity", "sell_intensity", "informed_rate", "activity")

TAPE_FULL: Final = -1
PRICE_LEFT: Final = -2
"""Given instead of a row count when the tape ran out of rows, or the price came near the end of the book's window."""


class Tape(NamedTuple):
    """Rows written by the kernel, one array a column of the event form; and the uninformed market orders, for followers."""

    ts_event: Int64
    price_units: Int64
    size_lots: Int64
    order_id: Int64
    sequence: Int64
    action: npt.NDArray[np.uint8]
    side: npt.NDArray[np.int8]
    flags: npt.NDArray[np.uint8]
    order_s: Float64
    order_side: Int64
    truth: Float64
    tally: Int64


class Flow(NamedTuple):
    """What drives one instrument: grid arrays of shape (G,), tables, and the market orders of its leaders.

    Attributes
    ----------
    activity, half_spread, news, informed, planned_rows : float64 arrays, shape (G,)
        Relative activity, quoted half spread, efficient-price move a step, signed informed orders a second, and the
        rows that the tape should hold by the end of each step.
    lead_s, lead_jump : float64 arrays; lead_side : int64 array
        Leaders' market orders in time order, and what each adds to the fast rate of the same side here.
    excitation : float64 array, shape (12, 12)
        Fast jumps, child by parent.
    base_order_rate, impact_units, open_units, pace : float
        Exogenous market orders a second a side; see ``Character``; activity relative to the default.
    """

    activity: Float64
    half_spread: Float64
    news: Float64
    informed: Float64
    planned_rows: Float64
    lead_s: Float64
    lead_jump: Float64
    lead_side: Int64
    excitation: Float64
    middle_jump: Float64
    slow_jump: Float64
    add_lots: Int64
    add_share: Float64
    market_lots: Int64
    market_share: Float64
    informed_lots: Int64
    informed_share: Float64
    base_order_rate: float
    impact_units: float
    open_units: float
    pace: float
    mean_root_lots: float


@njit(cache=True)
def _uniform(state: npt.NDArray[np.uint64]) -> float:
    """Return the next number in (0, 1) of a splitmix64 stream."""
    z = state[0] + np.uint64(0x9E3779B97F4A7C15)
    state[0] = z
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (float(z >> np.uint64(11)) + 0.5) * 1.1102230246251565e-16


@njit(cache=True)
def _draw(state: npt.NDArray[np.uint64], values: Int64, share: Float64) -> int:
    u = _uniform(state)
    k = 0
    while share[k] < u:
        k += 1
    return values[k]


@njit(cache=True)
def _write(
    tape: Tape, n: int, ts: int, price: int, lots: int, order_id: int, sequence: int, action: int, side: int, flags: int
) -> int:
    tape.ts_event[n] = ts
    tape.price_units[n] = price
    tape.size_lots[n] = lots
    tape.order_id[n] = order_id
    tape.sequence[n] = sequence
    tape.action[n] = action
    tape.side[n] = BID if side == 0 else ASK
    tape.flags[n] = flags
    return n + 1


@njit(cache=True)
def _write_fills(book: MatchingBook, tape: Tape, n: int, ts: int, sequence: int, resting_side: int) -> int:
    fills = book.counters[FILLS]
    for k in range(fills):
        flags = F_LAST if k == fills - 1 else 0
        price = book.fill_price[k]
        n = _write(tape, n, ts, price, book.fill_lots[k], book.fill_order[k], sequence, EXECUTE, resting_side, flags)
    return n


@njit(cache=True)
def _market(book: MatchingBook, tape: Tape, n: int, ts: int, sequence: int, side: int, lots: int) -> int:
    if book.counters[LIVE + 1 - side] <= LAST_ORDERS:
        return n
    submit_market(book, side, lots)
    return _write_fills(book, tape, n, ts, sequence, 1 - side)


@njit(cache=True)
def _marketable_limit(book: MatchingBook, tape: Tape, n: int, ts: int, sequence: int, side: int, lots: int) -> int:
    """Trade at the touch only; what is left rests there."""
    if book.counters[LIVE + 1 - side] <= LAST_ORDERS:
        return n
    price = best_ask(book) if side == 0 else best_bid(book)
    status, order_id, left = submit_limit(book, side, price, lots, GTC)
    n = _write_fills(book, tape, n, ts, sequence, 1 - side)
    if status == RESTED:
        tape.flags[n - 1] = 0
        n = _write(tape, n, ts, price, left, order_id, sequence, ADD, side, F_LAST)
    return n


@njit(cache=True)
def _add(book: MatchingBook, tape: Tape, n: int, ts: int, sequence: int, side: int, price: int, lots: int) -> int:
    status, order_id, left = submit_limit(book, side, price, lots, POST_ONLY)
    if status != RESTED:
        return n
    return _write(tape, n, ts, price, left, order_id, sequence, ADD, side, F_LAST)


@njit(cache=True)
def _cancel(book: MatchingBook, tape: Tape, n: int, ts: int, sequence: int, order_id: int, part: bool) -> int:
    side, price, lots = order_state(book, order_id)
    if lots == 0:
        return n
    if part and lots > 1:
        gone = reduce_order(book, order_id, lots // 2)
        return _write(tape, n, ts, price, gone, order_id, sequence, REDUCE, side, F_LAST)
    gone = cancel_order(book, order_id)
    return _write(tape, n, ts, price, gone, order_id, sequence, DELETE, side, F_LAST)


@njit(cache=True)
def _open_book(book: MatchingBook, tape: Tape, state: npt.NDArray[np.uint64], flow: Flow, ts: int) -> int:
    """Write CLEAR and the opening book: 60 levels a side, thinner behind the first dozen."""
    n = _write(tape, 0, ts, 0, 0, 0, 1, CLEAR, 0, F_SNAPSHOT)
    tape.side[0] = 0
    half = flow.half_spread[0]
    for side in range(2):
        top = int(floor(flow.open_units - half)) if side == 0 else int(ceil(flow.open_units + half))
        for d in range(60):
            price = top - d if side == 0 else top + d
            orders = 3 if d < DEPTH_LEVELS else 2
            for _ in range(orders):
                lots = _draw(state, flow.add_lots, flow.add_share)
                _, order_id, left = submit_limit(book, side, price, lots, POST_ONLY)
                n = _write(tape, n, ts, price, left, order_id, 1, ADD, side, F_SNAPSHOT)
    tape.flags[n - 1] = F_SNAPSHOT | F_LAST
    return n


@njit(cache=True)
def _base_rates(
    book: MatchingBook, flow: Flow, rates: Float64, counts: Int64, step: int, value: float, fit: float
) -> None:
    """Fill the rates that do not decay, and count the orders that cancels can pick.

    ``counts`` holds, bids before asks, the orders at the best price, those behind it within the window, the stale ones
    (nearer to the efficient price than the band allows), and the lots at the best price.
    """
    act = flow.activity[step] * flow.pace * fit
    half = flow.half_spread[step]
    level = book.level
    low = book.counters[LOW_PRICE]
    rates[0] = flow.base_order_rate * act
    rates[1] = rates[0]
    for side in range(2):
        best = book.counters[BEST_BID + side]
        away = -1 if side == 0 else 1
        at_top = level[side, best, 3]
        behind = 0
        for d in range(1, DEPTH_LEVELS):
            behind += level[side, best + away * d, 3]
        # Signed so that on both sides a larger number is nearer to, or beyond, the efficient price.
        index = best
        beyond = -away * (low + best - value)
        stale = 0
        passed = 0
        while beyond > STALE_BAND - half:
            stale += level[side, index, 3]
            if beyond > 0.0:
                passed += level[side, index, 3]
            index += away
            beyond -= 1.0
        shortage = max(0.0, 1.0 - level[side, best, 2] / TARGET_LOTS)
        rates[2 + side] = ADD_RATE * act * (1.0 + SHORTAGE_BOOST * shortage)
        rates[4 + side] = DEEP_ADD_RATE * act * (1.0 + DEEP_SHORTAGE_BOOST * max(0.0, 1.0 - behind / TARGET_BEHIND))
        rates[4 + side] = max(rates[4 + side], THIN_ADD_RATE * (1.0 - behind / THIN_BEHIND))
        rates[6 + side] = CANCEL_RATE * act * at_top if stale == 0 else 0.0
        rates[8 + side] = DEEP_CANCEL_RATE * act * behind
        gap = -away * (value - low - best) - half
        rates[10 + side] = IMPROVE_RATE if gap >= 1.0 else 0.0
        rates[12 + side] = STALE_RATE * stale + PICKED_RATE * passed
        rates[14 + side] = ARBITRAGE_RATE if -away * (low + best - value) > ARBITRAGE_UNITS else 0.0
        rates[16 + side] = FAR_CANCEL_RATE * act * max(0, book.counters[LIVE + side] - at_top - behind)
        if book.counters[LIVE + side] <= LAST_ORDERS:
            for kind in (6, 8, 12, 16):
                rates[kind + side] = 0.0
        counts[side] = at_top
        counts[2 + side] = behind
        counts[4 + side] = stale
        counts[6 + side] = level[side, best, 2]
    rates[18] = abs(flow.informed[step])
    rates[19] = RUN_OVER_CANCELS * rates[18]


@njit(cache=True)
def _pick_behind(book: MatchingBook, side: int, place: int) -> int:
    """Return the id of the order at a place among those behind the best level (counted level by level)."""
    top = best_bid(book) if side == 0 else best_ask(book)
    for d in range(1, DEPTH_LEVELS):
        price = top - d if side == 0 else top + d
        orders = level_orders(book, side, price)
        if place < orders:
            return order_at(book, side, price, place)
        place -= orders
    return 0


@njit(cache=True)
def _pick_stale(book: MatchingBook, side: int, place: int) -> int:
    """Return the id of the order at a place among the stale ones, best price first."""
    price = best_bid(book) if side == 0 else best_ask(book)
    for _ in range(200):
        orders = level_orders(book, side, price)
        if place < orders:
            return order_at(book, side, price, place)
        place -= orders
        price += -1 if side == 0 else 1
    return 0


@njit(cache=True)
def _pick_far(book: MatchingBook, side: int, first: int) -> int:
    """Return the id of an order at ``first`` levels from the best or, if there is none, next further out; 0: none."""
    top = best_bid(book) if side == 0 else best_ask(book)
    for d in range(first, 400):
        found = order_at(book, side, top - d if side == 0 else top + d, 0)
        if found > 0:
            return found
    return 0


@njit(cache=True, nogil=True)
def run_flow(
    book: MatchingBook, tape: Tape, flow: Flow, state: npt.NDArray[np.uint64], open_ns: int, close_ns: int
) -> tuple[int, int]:
    """Simulate one instrument's session onto the tape.

    Parameters
    ----------
    book : MatchingBook
        Empty; holds the closing book afterwards.
    tape : Tape
        Filled from the start.
    flow : Flow
        What drives the instrument.
    state : uint64 array, shape (1,)
        Random stream; changed.
    open_ns, close_ns : int
        The session, half open.

    Returns
    -------
    rows : int
        Rows written, or TAPE_FULL.
    orders : int
        Uninformed market orders written to ``tape.order_s`` and ``tape.order_side``.
    """
    steps = len(flow.activity)
    capacity = len(tape.ts_event) - 512
    order_capacity = len(tape.order_s)
    rates = np.zeros(20)
    counts = np.zeros(8, np.int64)
    fast = np.zeros(HAWKES_TYPES)
    middle = np.zeros(2)
    slow = np.zeros(2)
    excitation = flow.excitation
    value = flow.open_units
    n = _open_book(book, tape, state, flow, open_ns)
    sequence = 1
    last_ts = open_ns
    orders = 0
    lead = 0
    leads = len(flow.lead_s)
    step = 0
    now = 0.0
    fit = 1.0
    patience = flow.planned_rows[steps - 1] / (steps * STEP_S) * 300.0
    tape.truth[0, 0] = value
    while True:
        grid_end = (step + 1) * STEP_S
        _base_rates(book, flow, rates, counts, step, value, fit)
        steady = 0.0
        for k in range(20):
            steady += rates[k]
        excited = 0.0
        for k in range(12):
            excited += fast[k]
        bound = steady + excited + middle[0] + middle[1] + slow[0] + slow[1]
        then = now - log(_uniform(state)) / bound
        stop = grid_end
        is_lead = False
        if lead < leads and flow.lead_s[lead] < stop:
            stop = max(now, flow.lead_s[lead])
            is_lead = True
        is_event = then < stop
        if not is_event:
            then = stop
        wait = then - now
        keep_fast = exp(-FAST_DECAY * wait)
        keep_middle = exp(-MIDDLE_DECAY * wait)
        keep_slow = exp(-SLOW_DECAY * wait)
        expected = (fast[0] - fast[1]) * (1.0 - keep_fast) / FAST_DECAY
        expected += (middle[0] - middle[1]) * (1.0 - keep_middle) / MIDDLE_DECAY
        expected += (slow[0] - slow[1]) * (1.0 - keep_slow) / SLOW_DECAY
        value -= flow.impact_units * expected
        for k in range(12):
            fast[k] *= keep_fast
        for k in range(2):
            middle[k] *= keep_middle
            slow[k] *= keep_slow
        now = then
        if not is_event:
            if is_lead:
                fast[flow.lead_side[lead]] += flow.lead_jump[lead]
                lead += 1
                continue
            value += flow.news[step]
            if step % TRUTH_EVERY == TRUTH_EVERY - 1:
                row = step // TRUTH_EVERY
                tape.truth[row, 0] = value
                tape.truth[row, 1] = rates[0] + fast[0] + middle[0] + slow[0]
                tape.truth[row, 2] = rates[1] + fast[1] + middle[1] + slow[1]
                tape.truth[row, 3] = flow.informed[step]
                tape.truth[row, 4] = flow.activity[step] * flow.pace * fit
            step += 1
            if step == steps:
                return n, orders
            if (
                book.counters[BEST_BID] < 2 * DEPTH_LEVELS
                or book.counters[BEST_ASK] > book.level.shape[1] - 2 * DEPTH_LEVELS
            ):
                return PRICE_LEFT, orders
            fit = min(2.0, max(0.6, 1.0 + (flow.planned_rows[step] - n) / patience))
            continue
        # Thinning: the excited rates have decayed since the bound was taken.
        u = _uniform(state) * bound
        if u >= steady + excited * keep_fast + middle[0] + middle[1] + slow[0] + slow[1]:
            continue
        kind = 0
        while kind < 19:
            rate = rates[kind]
            if kind < 12:
                rate += fast[kind]
                if kind < 2:
                    rate += middle[kind] + slow[kind]
            if u < rate:
                break
            u -= rate
            kind += 1
        ts = max(last_ts + 1, open_ns + int(now * 1e9))
        if ts >= close_ns:
            return n, orders
        side = kind & 1
        half = flow.half_spread[step]
        before = n
        sequence += 1
        if kind < 2:
            lots = _draw(state, flow.market_lots, flow.market_share)
            sign = 1.0 if side == 0 else -1.0
            value += sign * flow.impact_units * sqrt(float(lots)) / flow.mean_root_lots
            there = counts[7 - side]
            u = _uniform(state)
            if u < 0.12:
                n = _marketable_limit(book, tape, n, ts, sequence, side, lots)
            else:
                n = _market(book, tape, n, ts, sequence, side, min(lots, there) if u < 0.9 else min(lots, 2 * there))
            for k in range(12):
                fast[k] += excitation[k, kind]
            middle[side] += flow.middle_jump[0]
            middle[1 - side] += flow.middle_jump[1]
            slow[side] += flow.slow_jump[0]
            slow[1 - side] += flow.slow_jump[1]
            if orders < order_capacity:
                tape.order_s[orders] = now
                tape.order_side[orders] = side
                orders += 1
        elif kind < 6 or kind == 10 or kind == 11:
            lots = _draw(state, flow.add_lots, flow.add_share)
            wanted = int(floor(value - half)) if side == 0 else int(ceil(value + half))
            limit = best_ask(book) - 1 if side == 0 else best_bid(book) + 1
            top = best_bid(book) if side == 0 else best_ask(book)
            if kind < 4 and counts[4 + side] == 0:
                wanted = max(wanted, top) if side == 0 else min(wanted, top)
            price = min(wanted, limit) if side == 0 else max(wanted, limit)
            if kind == 4 or kind == 5:
                away = 1 + min(DEPTH_LEVELS - 2, int(-4.0 * log(_uniform(state))))
                if _uniform(state) < FAR_SHARE:
                    away = DEPTH_LEVELS + int(-15.0 * log(_uniform(state)))
                price += -away if side == 0 else away
            if kind < 10 or (price > top if side == 0 else price < top):
                n = _add(book, tape, n, ts, sequence, side, price, lots)
        elif kind == 6 or kind == 7:
            if counts[side] > 0:
                top = best_bid(book) if side == 0 else best_ask(book)
                found = order_at(book, side, top, int(_uniform(state) * counts[side]))
                n = _cancel(book, tape, n, ts, sequence, found, _uniform(state) < 0.15)
        elif kind == 8 or kind == 9:
            if counts[2 + side] > 0:
                found = _pick_behind(book, side, int(_uniform(state) * counts[2 + side]))
                n = _cancel(book, tape, n, ts, sequence, found, False)
        elif kind == 12 or kind == 13:
            found = _pick_stale(book, side, int(_uniform(state) * counts[4 + side]))
            n = _cancel(book, tape, n, ts, sequence, found, False)
        elif kind == 14 or kind == 15:
            lots = _draw(state, flow.market_lots, flow.market_share)
            n = _market(book, tape, n, ts, sequence, 1 - side, min(lots, counts[6 + side]))
        elif kind == 16 or kind == 17:
            n = _cancel(
                book,
                tape,
                n,
                ts,
                sequence,
                _pick_far(book, side, DEPTH_LEVELS + int(-15.0 * log(_uniform(state)))),
                False,
            )
        elif kind == 18:
            buys = 0 if flow.informed[step] > 0 else 1
            lots = _draw(state, flow.informed_lots, flow.informed_share)
            n = _market(book, tape, n, ts, sequence, buys, lots)
            for k in range(2, 12):
                fast[k] += excitation[k, buys]
        else:
            resting = 1 if flow.informed[step] > 0 else 0
            top = best_bid(book) if resting == 0 else best_ask(book)
            found = order_at(book, resting, top, int(_uniform(state) * level_orders(book, resting, top)))
            n = _cancel(book, tape, n, ts, sequence, found, False)
        if n == before:
            sequence -= 1
            continue
        last_ts = ts
        tape.tally[kind] += n - before
        if kind >= 2 and kind < 12:
            for k in range(12):
                fast[k] += excitation[k, kind]
        if n > capacity:
            return TAPE_FULL, orders

"""The order flow of one instrument over one session: a state-dependent Hawkes process into the matching engine, in one kernel.

The efficient price receives news on a grid, the surprise of every uninformed market order, and the informed episodes'
repricings. The surprise is the order less its own intensity's compensator, so the efficient price of an uninformed market is
a martingale although signs have memory: liquidity leans against the predictable part of the flow. Quotes follow the efficient
price, because makers place orders at a distance from it, fill gaps and pull what has become stale.

Thinning (Ogata): between events all rates only fall, so the total rate after the last event bounds them until the next one, the
next step of the grid or the next event of a leading instrument.

Everything the kernel calls is inlined by force: an event does less work than handing three tuples of arrays to a function.
"""

from math import ceil, exp, floor, log, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.order_book import BEST_PRICE, OrderBookState, lent
from marketdata.simulator.actions import (
    INFORMED,
    PROCESSES,
    RUN_OVER,
    Flow,
    act,
    draw,
    open_book,
    uniform,
)
from marketdata.simulator.parameters import (
    ADD_BID,
    BUY,
    DEPTH_LEVELS,
    FAST_DECAY,
    HAWKES_TYPES,
    MIDDLE_DECAY,
    SELL,
    SLOW_DECAY,
    STEP_S,
    SWEEP_SHARE,
)
from marketdata.simulator.rates import base_rates, count_orders, passed_lots
from marketdata.simulator.tape import (
    TRUTH_EVERY,
    TRUTH_OTHERS,
    Tape,
    take_limit,
    take_market,
)
from marketdata.simulator.visits import (
    Visits,
    find_own,
    next_visit_s,
    note_fills,
    own_passed,
    uncount,
    visit_now,
    watch_touch,
)

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

TAPE_FULL: Final = -1
PRICE_LEFT: Final = -2
"""Given instead of a row count when the tape ran out of rows, or the price came near zero."""


@njit(cache=True, nogil=True)
def run_flow(
    book: OrderBookState,
    tape: Tape,
    flow: Flow,
    visits: Visits,
    state: npt.NDArray[np.uint64],
    open_ns: int,
    close_ns: int,
) -> tuple[int, int]:
    """Simulate one instrument's session onto the tape.

    Parameters
    ----------
    book : OrderBookState
        Empty; holds the closing book afterwards.
    tape : Tape
        Filled from the start.
    flow : Flow
        What drives the instrument.
    visits : Visits
        Orders of our own, of which it also records what became; ``start_visits(None, ...)`` for none.
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
    book = lent(book)
    steps = len(flow.activity)
    capacity = len(tape.ts_event) - 512
    order_capacity = len(tape.order_s)
    rates = np.zeros(PROCESSES)
    counts = np.zeros(14, np.int64)
    own_price = np.full(2, -1, np.int64)
    fast = np.zeros(HAWKES_TYPES)
    middle = np.zeros(2)
    slow = np.zeros(2)
    excitation = flow.excitation
    value = flow.open_units
    n = open_book(book, tape, state, flow, open_ns)
    sequence = 1
    last_ts = open_ns
    orders = 0
    lead = 0
    leads = len(flow.lead_s)
    step = 0
    now = 0.0
    steered = len(flow.fit) == 0
    fit = 1.0 if steered else flow.fit[0]
    tape.fit[0] = fit
    visitor = len(visits.act_s) > 0
    patience = flow.planned_rows[steps - 1] / (steps * STEP_S) * 300.0
    tape.truth[0, 0] = value
    counted = -1
    while True:
        grid_end = (step + 1) * STEP_S
        if counted != n:
            if visitor:
                find_own(visits, own_price)
            count_orders(book, counts, own_price)
            if visitor and not visits.is_counted[0]:
                uncount(book, visits, counts[6:8])
            counted = n
        base_rates(book, flow, rates, counts, step, value, fit, own_price, visits.is_counted[0])
        steady = 0.0
        for k in range(PROCESSES):
            steady += rates[k]
        excited = 0.0
        for k in range(HAWKES_TYPES):
            excited += fast[k]
        bound = steady + excited + middle[0] + middle[1] + slow[0] + slow[1]
        then = now - log(uniform(state)) / bound
        stop = grid_end
        is_lead = False
        if lead < leads and flow.lead_s[lead] < stop:
            stop = max(now, flow.lead_s[lead])
            is_lead = True
        is_visit = False
        if visitor and next_visit_s(visits) < stop:
            stop = max(now, next_visit_s(visits))
            is_lead = False
            is_visit = True
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
        for k in range(HAWKES_TYPES):
            fast[k] *= keep_fast
        for k in range(2):
            middle[k] *= keep_middle
            slow[k] *= keep_slow
        now = then
        if not is_event:
            if is_visit:
                ts = max(last_ts + 1, open_ns + int(now * 1e9))
                before = n
                n, kind = visit_now(book, tape, visits, n, ts, sequence + 1, now)
                if n > before:
                    sequence += 1
                    last_ts = ts
                    for k in range(HAWKES_TYPES if visits.is_counted[0] else 0):
                        fast[k] += excitation[k, kind]
                continue
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
                for k in range(ADD_BID, HAWKES_TYPES):
                    tape.truth[row, TRUTH_OTHERS + k - ADD_BID] = rates[k] + fast[k]
            step += 1
            if step == steps:
                return n, orders
            if book.counters[BEST_PRICE] < 2 * DEPTH_LEVELS:
                return PRICE_LEFT, orders
            if steered:
                behind_plan = flow.planned_rows[step] - (n - visits.cursor[1])
                fit = min(2.0, max(0.6, 1.0 + behind_plan / patience))
            else:
                fit = flow.fit[step]
            tape.fit[step] = fit
            continue
        # Thinning: the excited rates have decayed since the bound was taken.
        u = uniform(state) * bound
        if u >= steady + excited * keep_fast + middle[0] + middle[1] + slow[0] + slow[1]:
            continue
        kind = 0
        while kind < RUN_OVER:
            rate = rates[kind]
            if kind < HAWKES_TYPES:
                rate += fast[kind]
                if kind <= SELL:
                    rate += middle[kind] + slow[kind]
            if u < rate:
                break
            u -= rate
            kind += 1
        ts = max(last_ts + 1, open_ns + int(now * 1e9))
        if ts >= close_ns:
            return n, orders
        side = kind & 1
        before = n
        sequence += 1
        if kind <= SELL:
            lots = draw(state, flow.market_lots, flow.market_share)
            sign = 1.0 if side == 0 else -1.0
            value += sign * flow.impact_units * sqrt(float(lots)) / flow.mean_root_lots
            there = counts[7 - side]
            # What its own move passes goes with it: nobody is left a quote that the order has just proved wrong, and a lot at
            # least shows that it would have taken more. An order that ends just where the touch does would size itself by it.
            passed = passed_lots(book, 1 - side, value)
            if visitor and not visits.is_counted[0]:
                passed -= own_passed(visits, 1 - side, value)
            if passed > 0:
                lots = max(lots, passed + 1)
            if uniform(state) < SWEEP_SHARE:
                n = take_market(book, tape, n, ts, sequence, side, max(min(lots, 2 * there), min(lots, passed + 1)))
            else:
                limit = ceil(value) - 1 if side == 0 else floor(value) + 1
                n = take_limit(book, tape, n, ts, sequence, side, lots, limit)
            for k in range(HAWKES_TYPES):
                fast[k] += excitation[k, kind]
            middle[side] += flow.middle_jump[0]
            middle[1 - side] += flow.middle_jump[1]
            slow[side] += flow.slow_jump[0]
            slow[1 - side] += flow.slow_jump[1]
            if orders < order_capacity:
                tape.order_s[orders] = now
                tape.order_side[orders] = side
                orders += 1
        else:
            n = act(book, tape, flow, state, counts, kind, n, ts, sequence, step, value, own_price, visits.visit_of)
            if kind == INFORMED:
                taken = BUY if flow.informed[step] > 0 else SELL
                for k in range(ADD_BID, HAWKES_TYPES):
                    fast[k] += excitation[k, taken]
        if n == before:
            sequence -= 1
            continue
        last_ts = ts
        if visitor:
            note_fills(visits, tape, before, n)
            watch_touch(book, visits, now)
        tape.tally[kind] += n - before
        if kind > SELL and kind < HAWKES_TYPES:
            for k in range(HAWKES_TYPES):
                fast[k] += excitation[k, kind]
        if n > capacity:
            return TAPE_FULL, orders

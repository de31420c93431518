"""The domain in which we and hftbacktest specify the same venue: its feed, its orders, and what became of them, for both.

One own order a side at a time, of one lot, post-only or limit at the touch, cancelled before the next; now and then an IOC of one
lot at the touch while nothing of ours rests. Commands are planned from the tape alone, so that both engines carry out the same
ones at the same nanosecond. No order joins a level of which we have just taken lots: they do not stand before us, but hftbacktest
does not remember them. Trades and level updates, no order ids; no hidden executions, which hftbacktest does not have.
"""

import json
import subprocess
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.backtest_feeds import FEED_CLEAR, FEED_DTYPE, FEED_LEVEL, FEED_TRADE
from marketdata.book import empty_book, fold_best
from marketdata.clock import NS_PER_MS, NS_PER_S, Session
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    DELETE,
    EXECUTE,
    F_LAST,
    LEVEL,
    REDUCE,
    TRADE,
    EventArray,
)
from marketdata.settings import LatencySettings
from tests.trading.tape import LOOSE, decide_script, engine, instrument
from trading.engine import FOREVER
from trading.journal import CANCELLED_ROW, FILL, R_IOC_REST, REJECTED_ROW, RISK_REJECT
from trading.orders import IOC, LIMIT, POST_ONLY
from trading.strategies import WAKE_TIMER, WAKE_TOP, Strategy

Int64 = npt.NDArray[np.int64]

NEW, EXPIRED, FILLED, CANCELLED = 1, 2, 3, 4
"""What became of an order, as hftbacktest numbers it: resting at the end; refused or nothing to take; filled; cancelled."""
ORDER_NS: Final = 2 * NS_PER_MS + 1_003
ANSWER_NS: Final = 3 * NS_PER_MS + 1_009
"""Latencies; odd, so that nothing of ours falls on a nanosecond of the tape."""
GAP_NS: Final = 12 * NS_PER_MS + 11
"""Between a cancel and the next order: longer than there and back."""
SCRIPT: Final = Path(__file__).parents[2] / "benchmarks" / "peer_hftbacktest.py"


def by_level(events: EventArray, instrument_id: int) -> EventArray:
    """Return an instrument's tape as trades and level updates, from one with orders or levels; prices stay as they are."""
    own = events[events["instrument_id"] == instrument_id]
    levels: dict[tuple[int, int], int] = {}
    rows: list[tuple[int, int, int]] = []
    columns = (own[name].tolist() for name in ("action", "side", "price_units", "size_lots"))
    for k, (action, side, price, lots) in enumerate(zip(*columns, strict=True)):
        if action in (LEVEL, TRADE, CLEAR):
            if action != TRADE or side != 0:
                rows.append((k, action, lots))
            continue
        if action not in (ADD, REDUCE, DELETE, EXECUTE):
            continue
        if action == EXECUTE:
            rows.append((k, TRADE, lots))
        levels[side, price] = levels.get((side, price), 0) + (lots if action == ADD else -lots)
        rows.append((k, LEVEL, levels[side, price]))
    of, actions, sizes = np.array(rows, np.int64).T
    out = own[of]
    out["action"], out["size_lots"], out["order_id"], out["instrument_id"] = actions, sizes, 0, 0
    out["flags"] = 0
    # A message ends where the next one begins, whatever was left out of it.
    out["flags"][:-1] = np.where(np.diff(out["sequence"]) != 0, F_LAST, 0)
    out["flags"][-1] = F_LAST
    return out


def feed_of(events: EventArray, tick: int) -> npt.NDArray[np.void]:
    """Return a tape of :func:`by_level` as feed rows, prices in ticks."""
    feed = np.zeros(len(events), FEED_DTYPE)
    feed["kind"] = np.select(
        [events["action"] == LEVEL, events["action"] == TRADE], [FEED_LEVEL, FEED_TRADE], FEED_CLEAR
    )
    feed["ts_event"], feed["ts_recv"] = events["ts_event"], events["ts_recv"]
    feed["side"], feed["lots"] = events["side"], events["size_lots"]
    feed["price"] = events["price_units"] // tick
    return feed


def plan(events: EventArray, *, every_ns: int, seed: int) -> Int64:
    """Return commands (time, is cancel, side, tif, price units, lots, order id), ordered by time, from the tape alone."""
    best = fold_best(empty_book(4_096), events)
    ends = np.flatnonzero(events["flags"] & F_LAST)
    times = events["ts_recv"][ends]
    rng = np.random.default_rng(seed)
    taken: dict[tuple[int, int], tuple[int, int]] = {}

    def lots_taken(book_side: int, price: int, now: int) -> int:
        """Lots that we took of a level and the tape may still show: until the best of its side has been worse than it."""
        lots, since = taken.get((book_side, price), (0, 0))
        column = best[ends[since : now + 1], 0 if book_side == BID else 2]
        gone = bool((column < price).any()) if book_side == BID else bool(((column > price) | (column == 0)).any())
        return 0 if gone else lots

    rows: list[tuple[int, ...]] = []
    resting: list[int] = []
    number = 0
    start, stop = int(times[0]) + NS_PER_S + 137, int(times[-1]) - NS_PER_S
    for at in range(start, stop, every_ns):
        rows += [(at, 1, 0, 0, 0, 0, one) for one in resting]
        resting = []
        for step, makes in ((1, False), (2, True)):
            when = at + step * GAP_NS
            place = int(np.searchsorted(times, when, side="right")) - 1
            bid, bid_lots, ask, ask_lots = best[ends[place]].tolist()
            if bid_lots == 0 or ask_lots == 0 or bid >= ask:
                continue
            sides = (BID, ASK) if makes else ((BID, ASK)[int(rng.integers(2))],)
            for side in sides:
                touch = bid if (side == BID) == makes else ask
                there = ask_lots if side == BID else bid_lots
                used = lots_taken(side if makes else -side, touch, place)
                if makes and used > 0:
                    continue
                if not makes:
                    if rng.random() > 0.3 or there < 2 * used + 4:
                        continue
                    taken[-side, touch] = used + 1, place
                number += 1
                tif = (LIMIT, POST_ONLY)[number % 2] if makes else IOC
                rows.append((when, 0, side, tif, touch, 1, number))
                if makes:
                    resting.append(number)
    return np.array(rows, np.int64)


def ours(events: EventArray, commands: Int64, tick: int, *, queue: str = "risk_averse") -> Int64:
    """Return what became of every order in our engine: (status, venue time, price in ticks, 1 if a maker)."""
    first, last = int(events["ts_event"][0]), int(events["ts_recv"][-1])
    session = Session(date(2024, 1, 1), first - NS_PER_S, last + 60 * NS_PER_S)
    strategy = Strategy("script", decide_script, WAKE_TOP | WAKE_TIMER, commands.ravel(), ())
    latency = LatencySettings(
        feed_ns=0, feed_jitter_ns=0, inference_ns=0, decision_ns=0, order_ns=ORDER_NS, response_ns=ANSWER_NS
    )
    made = engine(
        strategy,
        instruments=(instrument(0).model_copy(update={"tick_units": tick}),),
        risk=LOOSE.model_copy(update={"max_position_lots": 1_000_000}),
        latency=latency,
        queue=queue,
        session=session,
        feed_bound_ns=0,
        book_levels=4_096,
    )
    state, rows = made.run(made.init(), events, None, None, FOREVER)
    assert state.illegal_answers == 0
    assert not np.any(rows["kind"] == RISK_REJECT)
    out = np.zeros((int(np.sum(commands[:, 1] == 0)), 4), np.int64)
    for row in rows[np.isin(rows["kind"], (FILL, CANCELLED_ROW, REJECTED_ROW))]:
        number = int(row["order_id"])
        if number > len(out):
            continue  # the session's end flattens
        status = {FILL: FILLED, REJECTED_ROW: EXPIRED}.get(int(row["kind"]), CANCELLED)
        if int(row["kind"]) == CANCELLED_ROW and int(row["reason"]) == R_IOC_REST:
            status = EXPIRED
        if int(row["kind"]) == CANCELLED_ROW and int(row["venue_ns"]) >= made.config.ending_ns:
            status = NEW
        filled = status == FILLED
        price = int(row["price_units"]) // tick if filled else 0
        out[number - 1] = (status, int(row["venue_ns"]), price, int(row["flag"]) if filled else 0)
    return out


def theirs(python: Path, folder: Path, feed: npt.NDArray[np.void], commands: Int64, tick: int, **options: int) -> Int64:
    """Return what became of every order in hftbacktest, as :func:`ours`."""
    given, result = folder / "given.npz", folder / "result.npz"
    in_ticks = commands.copy()
    in_ticks[:, 4] //= tick
    latency = np.array([ORDER_NS, ANSWER_NS], np.int64)
    np.savez(given, feed=feed, commands=in_ticks, latency=latency, options=np.array(json.dumps(options)))
    subprocess.run([str(python), str(SCRIPT), "orders", str(given), str(result)], check=True, capture_output=True)
    with np.load(result) as archive:
        return normal(archive["orders"])


def normal(orders: Int64) -> Int64:
    """Leave out what means nothing: a price or a maker's mark without a fill, a time at which nothing ended."""
    out = orders.copy()
    out[out[:, 0] != FILLED, 2:] = 0
    out[out[:, 0] == NEW, 1] = 0
    return out

"""Feeds for the engine's speed table: the peer folder's ticks and order flow, in the form that each engine reads.

A *feed row* is (ts_event, ts_recv, kind, side, price in ticks, lots, order id): what is written down for hftbacktest
(``peer_hftbacktest.py``), which turns it into its own events. Our engine reads ordinary events.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.events import (
    ADD,
    ASK,
    BID,
    DELETE,
    EVENT_DTYPE,
    EXECUTE,
    F_LAST,
    LEVEL,
    QUOTE,
    REDUCE,
    TRADE,
    EventArray,
)

FEED_DTYPE: Final = np.dtype(
    [(name, "i8") for name in ("ts_event", "ts_recv", "kind", "side", "price", "lots", "order_id")]
)
FEED_LEVEL, FEED_TRADE, FEED_CLEAR, FEED_ADD, FEED_MODIFY, FEED_CANCEL, FEED_FILL = range(7)
FEED_NS: Final = 1_000
"""Time that a row takes to reach the agent."""
LOTS_A_UNIT: Final = 1_000
"""Sizes of gen_ticks.py are multiples of a thousandth."""

Feed = npt.NDArray[np.void]


def tick_events(folder: Path) -> tuple[EventArray, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the ticks of gen_ticks.py as best-quote events, one a tick, and their times and signal."""
    ts, bid, ask, bid_qty, ask_qty, signal = (
        np.load(folder / f"{name}.npy") for name in ("ts", "bid_tick", "ask_tick", "bid_qty", "ask_qty", "signal")
    )
    bid_lots, ask_lots = (np.rint(qty * LOTS_A_UNIT).astype(np.int64) for qty in (bid_qty, ask_qty))
    is_ask = np.ones(len(ts), np.bool_)
    is_ask[1:] = (ask[1:] != ask[:-1]) | (ask_lots[1:] != ask_lots[:-1])
    events = np.zeros(len(ts) + 1, EVENT_DTYPE)
    events["ts_event"][1:] = ts
    events["ts_event"][0] = ts[0]
    events["ts_recv"] = events["ts_event"] + FEED_NS
    events["action"] = QUOTE
    events["flags"][1:] = F_LAST
    events["side"][1:] = np.where(is_ask, ASK, BID)
    events["price_units"][1:] = np.where(is_ask, ask, bid)
    events["size_lots"][1:] = np.where(is_ask, ask_lots, bid_lots)
    events["side"][0], events["price_units"][0], events["size_lots"][0] = BID, bid[0], bid_lots[0]
    events["sequence"] = np.arange(len(events))
    return events, ts.astype(np.int64), signal.astype(np.int64)


def level_feed(folder: Path) -> Feed:
    """Return the order flow of gen_l3.py as level updates, and each fill as a trade before the level that it leaves."""
    levels, orders = np.load(folder / "l2.npy"), np.load(folder / "feed.npy")
    fills = orders[orders["act"] == 3]
    feed = np.zeros(len(levels) + len(fills), FEED_DTYPE)
    for kind, rows, part in ((FEED_TRADE, fills, slice(0, len(fills))), (FEED_LEVEL, levels, slice(len(fills), None))):
        feed["kind"][part] = kind
        for ours, theirs in (("ts_event", "ts"), ("side", "side"), ("price", "px"), ("lots", "qty")):
            feed[ours][part] = rows[theirs]
    feed = feed[np.argsort(feed["ts_event"], kind="stable")]
    feed["ts_recv"] = feed["ts_event"] + FEED_NS
    return feed


def order_feed(folder: Path) -> Feed:
    """Return the order flow of gen_l3.py as its order-by-order feed: add, modify, cancel, fill."""
    orders = np.load(folder / "feed.npy")
    feed = np.zeros(len(orders), FEED_DTYPE)
    feed["kind"] = np.array([FEED_ADD, FEED_MODIFY, FEED_CANCEL, FEED_FILL])[orders["act"]]
    for ours, theirs in (("ts_event", "ts"), ("side", "side"), ("price", "px"), ("lots", "qty"), ("order_id", "oid")):
        feed[ours] = orders[theirs]
    feed["ts_recv"] = feed["ts_event"] + FEED_NS
    return feed


FIRST_NS: Final = 1_700_000_000_000_000_000
MIDDLE: Final = 65_000


def still_feed(rows: int = 400_000) -> Feed:
    """Return level updates and trades around a price that stays: nearly every order of ours is traded through at once."""
    rng = np.random.default_rng(7)
    feed = _empty_feed(rng, rows)
    feed["side"] = rng.choice([-1, 1], rows)
    feed["price"] = MIDDLE - feed["side"] * (1 + rng.geometric(0.3, rows))
    feed["lots"] = 1 + rng.geometric(0.05, rows)
    feed["kind"] = np.where(rng.random(rows) < 0.2, FEED_TRADE, FEED_LEVEL)
    return feed


def moving_feed(rows: int = 400_000) -> Feed:
    """Return level updates whose touch moves every few rows, and few trades: nearly every order of ours is cancelled."""
    rng = np.random.default_rng(11)
    feed = _empty_feed(rng, rows)
    _fill_moving(feed, rng.random((rows, 2)), 1 + rng.geometric(0.05, rows))
    return feed


@njit(cache=True)
def _fill_moving(feed: Any, draws: Any, lots: Any) -> None:
    best = np.array([MIDDLE, MIDDLE + 1])
    for i in range(len(feed)):
        row = feed[i]
        what, half = draws[i, 0], 0 if draws[i, 1] < 0.5 else 1
        side = 1 - 2 * half
        wide = best[1] - best[0]
        row.side, row.lots, row.kind, row.price = side, lots[i], FEED_LEVEL, best[half]
        if i < 16:
            row.side, row.price = 1 - 2 * (i % 2), best[i % 2] - (1 - 2 * (i % 2)) * (i // 2)
        elif what < 0.05:
            row.kind = FEED_TRADE
        elif what < 0.25 and wide > 1:
            best[half] += side
            row.price = best[half]
        elif what < 0.45 and wide < 5:
            row.lots = 0
            best[half] -= side
        else:
            row.price = best[half] - side * int(draws[i, 1] * 1e6 % 6)


def queue_feed(rows: int = 400_000) -> Feed:
    """Return a book order by order: each is added, and later cancelled or, at the touch, sometimes filled whole."""
    rng = np.random.default_rng(7)
    count = rows // 2
    feed = _empty_feed(rng, rows)
    side = rng.choice([-1, 1], count)
    price = MIDDLE - side * (1 + rng.geometric(0.3, count))
    filled = (np.abs(price - MIDDLE) == 2) & (rng.random(count) < 0.3)
    first = np.arange(count) * 2.0
    rank = np.argsort(np.concatenate([first, first + rng.exponential(2_000.0, count) + 1.0]), kind="stable")
    number, ends = rank % count, rank >= count
    feed["order_id"], feed["side"], feed["price"] = number + 1, side[number], price[number]
    feed["lots"] = (1 + rng.geometric(0.05, count))[number]
    feed["kind"] = np.where(ends, np.where(filled[number], FEED_FILL, FEED_CANCEL), FEED_ADD)
    return feed


def _empty_feed(rng: np.random.Generator, rows: int) -> Feed:
    feed = np.zeros(rows, FEED_DTYPE)
    feed["ts_event"] = FIRST_NS + np.cumsum(1 + rng.exponential(1e5, rows).astype(np.int64))
    feed["ts_recv"] = feed["ts_event"] + FEED_NS
    return feed


def feed_events(feed: Feed) -> EventArray:
    """Return a feed as events; a message is what has one time.

    An order-by-order feed says after a fill what is left of the order, and that it is gone; an EXECUTE says both.
    """
    events = np.zeros(len(feed), EVENT_DTYPE)
    used = _fill_events(feed, events, int(feed["order_id"].max()) + 1)
    return events[:used].copy()


@njit(cache=True)
def _fill_events(feed: Any, out: Any, orders: int) -> int:
    left = np.zeros(orders, np.int64)
    k = 0
    for i in range(len(feed)):
        row = feed[i]
        kind, lots, number = row.kind, row.lots, row.order_id
        action = 0
        if kind == FEED_LEVEL:
            action = LEVEL
        elif kind == FEED_TRADE:
            action = TRADE
        elif kind == FEED_ADD:
            action = ADD
            left[number] = lots
        elif kind == FEED_FILL:
            action = EXECUTE
            left[number] -= lots
        elif kind == FEED_MODIFY:
            action = REDUCE
            lots = left[number] - lots
            left[number] -= lots
        elif kind == FEED_CANCEL:
            action = DELETE
            lots = left[number]
            left[number] = 0
        if action != 0 and (lots > 0 or action == LEVEL):
            out[k].ts_event, out[k].ts_recv = row.ts_event, row.ts_recv
            out[k].price_units, out[k].size_lots, out[k].order_id = row.price, lots, number
            out[k].action, out[k].side, out[k].sequence = action, row.side, row.ts_event
            k += 1
        if k > 0 and (i + 1 == len(feed) or feed[i + 1].ts_event != row.ts_event):
            out[k - 1].flags = F_LAST
    return k

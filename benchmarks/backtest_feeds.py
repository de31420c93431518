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

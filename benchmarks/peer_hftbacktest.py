"""hftbacktest at work, as a program of its own: ``python peer_hftbacktest.py TASK input output``.

It needs an older numpy than we do, so it has a Python of its own (``benchmarks.peers.peer_python``), and this file imports
nothing of ours. Times of TASK ``taker``, ``l2`` and ``l3`` are the process's own (another program on the machine does not count),
the shortest of a few runs, and exclude imports, compiling and the making of the feed.

======= ============================================ =======================================================
TASK    input                                        output
======= ============================================ =======================================================
orders  npz: feed rows, commands, latencies          npz: one row an order (status, venue time, price, maker)
taker   folder of gen_ticks.py                       JSON: n, seconds, trades, fees
l2      npz: feed rows                               JSON: n, seconds, fills, position
l3      npz: feed rows with order ids                JSON: n, seconds, fills, position
======= ============================================ =======================================================

A feed row is (ts_event, ts_recv, kind, side, price ticks, lots, order id); kinds as below, sides 1 and -1 as in our events.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import hftbacktest as hft
import numpy as np
from hftbacktest.order import GTC, GTX, IOC, LIMIT
from hftbacktest.types import event_dtype
from numba import njit

LEVEL, TRADE, CLEAR, ADD, MODIFY, CANCEL, FILL = range(7)
REPEATS = 5


def events_of(feed: Any) -> Any:
    """Return feed rows as hftbacktest's events: a copy for the venue by ``ts_event``, one for the agent by ``ts_recv``."""
    kinds = np.array(
        [
            hft.DEPTH_EVENT,
            hft.TRADE_EVENT,
            hft.DEPTH_CLEAR_EVENT,
            hft.ADD_ORDER_EVENT,
            hft.MODIFY_ORDER_EVENT,
            hft.CANCEL_ORDER_EVENT,
            hft.FILL_EVENT,
        ],
        np.uint64,
    )
    side = feed["side"].copy()
    # Our TRADE names the resting side, theirs the one that began the trade.
    side[feed["kind"] == TRADE] *= -1
    made = np.zeros(len(feed), event_dtype)
    sides = np.where(side > 0, np.uint64(hft.BUY_EVENT), np.uint64(hft.SELL_EVENT))
    made["ev"] = kinds[feed["kind"]] | np.where(side == 0, np.uint64(0), sides)
    made["exch_ts"], made["local_ts"] = feed["ts_event"], feed["ts_recv"]
    made["px"], made["qty"], made["order_id"] = feed["price"], feed["lots"], feed["order_id"]
    if np.all(np.diff(made["exch_ts"]) >= 0) and np.all(np.diff(made["local_ts"]) >= 0):
        made["ev"] |= np.uint64(hft.EXCH_EVENT | hft.LOCAL_EVENT)
        return made
    venue, agent = made[np.argsort(made["exch_ts"], kind="stable")], made[np.argsort(made["local_ts"], kind="stable")]
    venue["ev"] |= np.uint64(hft.EXCH_EVENT)
    agent["ev"] |= np.uint64(hft.LOCAL_EVENT)
    times = np.concatenate([venue["exch_ts"], agent["local_ts"]])
    return np.ascontiguousarray(np.concatenate([venue, agent])[np.argsort(times, kind="stable")])


def engine(
    events: Any, entry_ns: int, answer_ns: int, *, l3: bool = False, fee: float = 0.0, partial: bool = False
) -> Any:
    """Return a backtest over events with prices in ticks and sizes in lots."""
    asset = hft.BacktestAsset().linear_asset(1.0).constant_order_latency(entry_ns, answer_ns)
    asset = asset.l3_fifo_queue_model() if l3 else asset.risk_adverse_queue_model()
    asset = asset.partial_fill_exchange() if partial else asset.no_partial_fill_exchange()
    asset = asset.trading_value_fee_model(fee, fee).tick_size(1.0).lot_size(1.0)
    prices = events["px"][events["px"] > 0]
    asset = asset.roi_lb(float(prices.min()) - 100).roi_ub(float(prices.max()) + 100).last_trades_capacity(0)
    asset.add_data(events)
    return hft.ROIVectorMarketDepthBacktest([asset])


@njit
def carry_out(hbt: Any, commands: Any, out: Any) -> int:
    """Send every command (time, 0 or 1 for a cancel, side, tif, price, lots, id) at its time; write what became of the orders."""
    if hbt.wait_next_feed(False, 10**15) != 2:
        return -1
    skipped = 0
    for k in range(len(commands)):
        at = commands[k, 0]
        if at > hbt.current_timestamp and hbt.elapse(at - hbt.current_timestamp) != 0:
            break
        number = commands[k, 6]
        if commands[k, 1] != 0:
            order = hbt.orders(0).get(number)
            if order is not None and order.cancellable:
                hbt.cancel(0, number, False)
            else:
                skipped += 1
            continue
        tif = IOC if commands[k, 3] == 2 else (GTX if commands[k, 3] == 3 else GTC)
        if commands[k, 2] > 0:
            hbt.submit_buy_order(0, number, float(commands[k, 4]), float(commands[k, 5]), tif, LIMIT, False)
        else:
            hbt.submit_sell_order(0, number, float(commands[k, 4]), float(commands[k, 5]), tif, LIMIT, False)
    hbt.elapse(10**18)
    for k in range(len(commands)):
        if commands[k, 1] != 0:
            continue
        order = hbt.orders(0).get(commands[k, 6])
        if order is not None:
            row = commands[k, 6] - 1
            out[row, 0] = order.status
            out[row, 1] = order.exch_timestamp
            out[row, 2] = order.exec_price_tick
            out[row, 3] = 1 if order.arr[0].maker else 0
            out[row, 4] = round(order.qty - order.leaves_qty)
    return skipped


@njit
def follow_table(hbt: Any, ts: Any, signal: Any) -> Any:
    """Keep the position that a table asks for by IOC orders, asked at every feed event."""
    i, number, seen = 0, 1, 0
    while hbt.wait_next_feed(False, 10**15) == 2:
        seen += 1
        now = hbt.current_timestamp
        while i + 1 < len(ts) and ts[i + 1] + 1000 <= now:
            i += 1
        held = round(hbt.position(0))
        if signal[i] != held:
            depth = hbt.depth(0)
            if signal[i] > held:
                hbt.submit_buy_order(0, number, depth.best_ask + 50.0, float(signal[i] - held), IOC, LIMIT, True)
            else:
                hbt.submit_sell_order(0, number, depth.best_bid - 50.0, float(held - signal[i]), IOC, LIMIT, True)
            number += 1
            hbt.clear_inactive_orders(0)
    return seen, number


@njit
def quote_touch(hbt: Any, limit: int) -> Any:
    """Rest one lot post-only at the best bid and ask, an order a side, asked at every feed event.

    An order off the touch is cancelled, and a new one sent once the cancel is confirmed.
    """
    number, seen, sent = 1, 0, 0
    own = np.zeros(2, np.int64)
    bid = ask = -1.0
    while hbt.wait_next_feed(True, 10**15) >= 2:
        seen += 1
        depth = hbt.depth(0)
        best_bid, best_ask = depth.best_bid, depth.best_ask
        orders = hbt.orders(0)
        changed = best_bid != bid or best_ask != ask
        bid, ask = best_bid, best_ask
        position = round(hbt.position(0))
        cleared = False
        for s in range(2):
            touch = bid if s == 0 else ask
            if own[s] > 0:
                order = orders.get(own[s])
                if order is None or (order.status > 1 and order.status != 5):
                    own[s] = 0
                    cleared = True
                elif changed and order.price != touch and order.cancellable:
                    hbt.cancel(0, own[s], False)
            if own[s] == 0 and (position < limit if s == 0 else position > -limit) and bid < ask:
                if s == 0:
                    hbt.submit_buy_order(0, number, touch, 1.0, GTX, LIMIT, False)
                else:
                    hbt.submit_sell_order(0, number, touch, 1.0, GTX, LIMIT, False)
                own[s] = number
                number += 1
                sent += 1
        if cleared:
            hbt.clear_inactive_orders(0)
    return seen, sent


def timed(make: Any, work: Any) -> dict[str, Any]:
    """Return the fewest seconds of a few runs, each on an engine of its own, and what the last one ended with."""
    times = []
    for _ in range(REPEATS):
        hbt = make()
        start = time.process_time()
        found = work(hbt)
        times.append(time.process_time() - start)
        state = hbt.state_values(0)
        end = {"trades": int(state.num_trades), "position": float(state.position), "fee": float(state.fee)}
        hbt.close()
    return {"seconds": min(times), "found": [int(x) for x in found], "version": hft.__version__, **end}


def level_events(folder: Path) -> Any:
    """Return the ticks of gen_ticks.py as level updates, and their times and signal; sizes and prices in lots and ticks."""
    ts, bid, ask, bid_qty, ask_qty, signal = (
        np.load(folder / f"{name}.npy") for name in ("ts", "bid_tick", "ask_tick", "bid_qty", "ask_qty", "signal")
    )
    events = np.zeros(int(1.3 * len(ts)) + 16, event_dtype)
    both = hft.DEPTH_EVENT | hft.EXCH_EVENT | hft.LOCAL_EVENT
    used = _levels(ts, bid, ask, bid_qty, ask_qty, events, both | hft.BUY_EVENT, both | hft.SELL_EVENT)
    return np.ascontiguousarray(events[:used]), ts, signal


@njit
def _levels(ts: Any, bid: Any, ask: Any, bid_qty: Any, ask_qty: Any, out: Any, buy: int, sell: int) -> int:
    k = 0
    for i in range(len(ts)):
        for s in range(2):
            price, lots = (bid, bid_qty) if s == 0 else (ask, ask_qty)
            if i > 0 and price[i] == price[i - 1] and lots[i] == lots[i - 1]:
                continue
            worse = i > 0 and (price[i] < price[i - 1] if s == 0 else price[i] > price[i - 1])
            for gone in range(2 if worse else 1):
                deleted = worse and gone == 0
                row = out[k]
                row.ev = buy if s == 0 else sell
                row.exch_ts = ts[i]
                row.local_ts = ts[i] + 1000
                row.px = float(price[i - 1] if deleted else price[i])
                row.qty = 0.0 if deleted else np.round(lots[i] * 1000.0)
                k += 1
    return k


def main(task: str, given: Path, result: Path) -> None:
    """Carry out one task."""
    if task == "taker":
        events, ts, signal = level_events(given)
        small = engine(events[:1000].copy(), 1000, 1000)
        follow_table(small, ts, signal)
        small.close()
        found = timed(lambda: engine(events, 1000, 1000, fee=0.0008), lambda hbt: follow_table(hbt, ts, signal))
        result.write_text(json.dumps({"n": len(ts), "events": len(events), **found}))
        return
    with np.load(given) as archive:
        feed = archive["feed"]
        latency = archive["latency"]
        options = json.loads(str(archive["options"])) if "options" in archive else {}
        commands = archive["commands"] if "commands" in archive else np.zeros((0, 7), np.int64)
    events = events_of(feed)
    if task == "orders":
        out = np.zeros((int(np.sum(commands[:, 1] == 0)), 5), np.int64)
        partial, by_order = (bool(options.get(name, 0)) for name in ("partial", "l3"))
        hbt = engine(events, int(latency[0]), int(latency[1]), l3=by_order, partial=partial)
        skipped = carry_out(hbt, commands, out)
        hbt.close()
        np.savez_compressed(result, orders=out, skipped=np.array(skipped), version=np.array(hft.__version__))
        return
    l3 = task == "l3"
    small = engine(events[:2000].copy(), int(latency[0]), int(latency[1]), l3=l3)
    quote_touch(small, 3)
    small.close()
    found = timed(lambda: engine(events, int(latency[0]), int(latency[1]), l3=l3), lambda hbt: quote_touch(hbt, 3))
    result.write_text(json.dumps({"n": len(feed), **found}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))

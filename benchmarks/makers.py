"""Makers in the engine's speed table: both sides quoted on levels, on orders, and where an order hardly lives, one core.

Each runs the engine as every backtest does, and hftbacktest in the same run, in a process of its own
(``peer_hftbacktest.py``), on the same feed with the same strategy; processor time, the shortest of a few runs on both sides.
Both must have done the same work: the maker's commands are given to the peer too, and every order must end there as it did
here, but for the differences that ``order_outcomes.py`` explains.

The feeds of ``backtest_l2`` and ``backtest_l3`` are those of the peer folder; without it they run on small ones of their own,
without a peer. Those of ``backtest_orders`` and ``backtest_requotes`` are made here.
"""

import json
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.backtest_feeds import Feed, feed_events, level_feed, moving_feed, order_feed, queue_feed, still_feed
from benchmarks.order_outcomes import Outcomes, commands_of, compare
from benchmarks.peers import peer_python, peers_folder, run_generator
from benchmarks.venue import ORDER_NS, ask_peer, bench_config, bench_row, measured, peer_result, session_fills
from trading.journal import CANCELLED_ROW, FILL, ORDER, REJECTED_ROW, Journal
from trading.strategies import touch_maker

MESSAGES: Final = 5_000_000
MOST_HELD: Final = 3


@lru_cache(maxsize=1)
def _flow_folder() -> tuple[Path, tempfile.TemporaryDirectory[str]] | None:
    """Return the peer folder's order flow, generated once a process; None without the folder."""
    peers = peers_folder()
    if peers is None:
        return None
    made = tempfile.TemporaryDirectory()
    run_generator(peers, "gen_l3.py", str(MESSAGES), into=Path(made.name))
    return Path(made.name) / f"l3_{MESSAGES}", made


def maker_row(task: str, feed: Feed, queue: str, *, ask: bool) -> dict[str, Any]:
    """Quote both sides of a feed, and return the benchmark's row.

    Parameters
    ----------
    task : {"l2", "l3"}
        What the peer is asked for, and whether the feed is order by order.
    ask : bool
        Whether the peer is asked at all; if not, or where it is absent, its fields are null.

    Raises
    ------
    AssertionError
        If an order did not end, the maker was hardly filled or held too much, or the peer did other work.
    """
    events = feed_events(feed)
    last_ns = int(events["ts_recv"][-1])
    maker = touch_maker(lots=1, max_position=MOST_HELD, last_entry_ns=last_ns)
    config = bench_config(events, maker, queue=queue, taker_ppm=0, rules={})
    seconds, rows = measured(config, events)
    _sound(rows, int(np.count_nonzero(session_fills(rows, config)["flag"] == 1)))
    peer = None
    if ask and peer_python("hftbacktest") is not None:
        commands = commands_of(rows, last_ns)
        with tempfile.TemporaryDirectory() as made:
            given, result = Path(made) / "feed.npz", Path(made) / "orders.npz"
            options = np.array(json.dumps({"l3": int(task == "l3")}))
            latency = np.array([ORDER_NS, ORDER_NS])
            np.savez(given, feed=feed, latency=latency, commands=commands, options=options)
            peer = peer_result(task, given, Path(made))
            ask_peer("orders", given, result)
            with np.load(result) as archive:
                _same_work(task, compare(events, rows, commands, archive["orders"]))
        sent = int(np.count_nonzero(commands[:, 1] == 0))
        if peer is not None and abs(peer["found"][1] - sent) > 0.02 * sent:
            raise AssertionError(f"hftbacktest sent {peer['found'][1]} orders, we {sent}")
    return bench_row(len(feed), "event", seconds, peer)


def _sound(rows: Journal, maker_fills: int) -> None:
    """Raise unless every order ended once, the maker was filled, and it never held more than it may."""
    sent = np.sort(rows["order_id"][rows["kind"] == ORDER])
    ended = (rows["kind"] == CANCELLED_ROW) | (rows["kind"] == REJECTED_ROW)
    ended |= (rows["kind"] == FILL) & (rows["leaves_lots"] == 0)
    if not np.array_equal(sent, np.sort(rows["order_id"][ended])):
        raise AssertionError(f"{len(sent)} orders were sent, {np.count_nonzero(ended)} ended")
    if maker_fills < 100:
        raise AssertionError(f"the maker was filled {maker_fills} times")
    if np.abs(rows["position_lots"]).max() > MOST_HELD or rows["position_lots"][-1] != 0:
        raise AssertionError("the maker held more than it may, or something at the end")


def _same_work(task: str, outcomes: Outcomes) -> None:
    """Raise unless every order ended in both engines alike, or for a known reason otherwise."""
    rare = outcomes.cancelled_early + outcomes.lots_taken + outcomes.left_open
    if outcomes.unexplained or rare > 0.01 * outcomes.orders or (task == "l2" and outcomes.traded_through):
        raise AssertionError(f"hftbacktest made something else of our {task} orders: {outcomes}")


def backtest_l2() -> dict[str, Any]:
    """Quote both sides of a market of level updates and trades: queue by volume, latency both ways."""
    flow = _flow_folder()
    return maker_row("l2", level_feed(flow[0]) if flow else still_feed(), "risk_averse", ask=flow is not None)


def backtest_l3() -> dict[str, Any]:
    """Quote both sides of a market of orders: exact queues by order id, latency both ways."""
    flow = _flow_folder()
    return maker_row("l3", order_feed(flow[0]) if flow else queue_feed(), "fifo", ask=flow is not None)


def backtest_orders() -> dict[str, Any]:
    """Send an order every seven rows, and see it filled: nearly all of the work is orders, answers and fills."""
    return maker_row("l2", still_feed(), "risk_averse", ask=True)


def backtest_requotes() -> dict[str, Any]:
    """Follow a touch that moves every few rows: nearly all of the work is orders, cancels and their answers."""
    return maker_row("l2", moving_feed(), "risk_averse", ask=True)


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "backtest_l2": backtest_l2,
    "backtest_l3": backtest_l3,
    "backtest_orders": backtest_orders,
    "backtest_requotes": backtest_requotes,
}

"""Benchmarks of the books: price-time matching of 5 million messages, and level deltas with the best quotes read after each.

With the peers' folder (:mod:`benchmarks.peers`) the input comes from its generator, the end state is compared with the one
that it states, and its two C++ engines (``std::map`` with lists and ``unordered_map``; arrays indexed by tick and id) are
compiled with g++ and run in the same minute. Without it the input is made here, the end state is checked by conservation, and
there is no peer.

All figures are processor time of one thread, best of several runs, so that other work on the machine weighs little. Ours includes
finding ids in a hash, writing a response a message and a record a fill, which the references do not write.

*Time of one message*: the cycle counter is read (``rdtscp``) before and after each message in the kernel's own loop, as the C++
references do; reading it costs 10 to 20 ns, which is in the quantiles.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from benchmarks.cycle_counter import IS_AVAILABLE, cycles, cycles_per_ns
from benchmarks.peers import peers_folder, run_generator
from marketdata.book import empty_book, fold_best
from marketdata.books import OrderBook
from marketdata.events import ASK, BID, F_LAST, LEVEL, EventArray, empty_events
from marketdata.matching import RUN_GROW, match_message, run_messages
from marketdata.order_book import (
    FILLS_TO,
    LIVE,
    ORDERS_LEFT,
    SEQUENCE,
    OrderBookState,
    Records,
    empty_order_book,
    grow_order_book,
    lent,
)
from marketdata.order_messages import (
    CANCEL,
    CANCELLED,
    MARKET,
    MESSAGE_DTYPE,
    MODIFY,
    NEW,
    REJECTED_UNKNOWN,
    RESPONSE_DTYPE,
)
from marketdata.order_queries import best_quotes

MESSAGES: Final = 5_000_000
DELTAS: Final = 1_000_000
BLOCK: Final = 65_536
REPEATS: Final = 7
GENERATOR: Final = "gen_l3.py"
CPP: Final = "lob.cpp"
MAP_ENGINE: Final = "A"
LADDER_ENGINE: Final = "B"
ENGINE_NAMES: Final = {
    MAP_ENGINE: "C++ std::map, lists, unordered_map",
    LADDER_ENGINE: "C++ ladder: levels by tick, orders by id",
}
STATED: Final = ("trades", "traded_qty", "notional_ticks", "live_orders", "live_qty", "best_bid", "best_ask", "rejects")
"""The numbers of an end state, in the order of :func:`_match`'s; ``rejects`` are changes of an id that does not live."""


class Flow(NamedTuple):
    """The input of both benchmarks."""

    messages: Records
    deltas: EventArray
    expected: tuple[int, ...] | None
    cpp_s: dict[str, float]
    """Seconds of processor time of each C++ engine for the same messages; empty without peers."""


def _match(messages: Records) -> tuple[float, tuple[int, ...], int]:
    """Match the messages block by block; return (seconds in the engine, end state, orders that the book had to hold)."""
    book = empty_order_book()
    responses = np.zeros(BLOCK, RESPONSE_DTYPE)
    seconds = 0.0
    done = trades = lots = notional = rejects = 0
    while done < len(messages):
        start = time.thread_time()
        status, consumed, first = run_messages(book, messages[done : done + BLOCK], responses)
        seconds += time.thread_time() - start
        done += consumed
        fills = book.fills[first : book.counters[FILLS_TO]]
        trades += len(fills)
        lots += int(fills["size_lots"].sum())
        notional += int((fills["size_lots"] * fills["price_units"]).sum())
        rejects += int((responses["status"][:consumed] == REJECTED_UNKNOWN).sum())
        if status == RUN_GROW:
            book = grow_order_book(book)
    whole = OrderBook.of(book)
    resting = int(whole.levels(BID)[:, 1].sum() + whole.levels(ASK)[:, 1].sum())
    bid, _, ask, _ = best_quotes(book)
    live = int(book.counters[LIVE] + book.counters[LIVE + 1])
    return (
        seconds,
        (trades, lots, notional, live, resting, int(bid), int(ask), rejects),
        live + int(book.counters[ORDERS_LEFT]),
    )


@njit(cache=True)
def _stamp(book: OrderBookState, messages: Records, took: npt.NDArray[np.int64]) -> None:
    """Match the messages one by one, with the cycles that each took."""
    book = lent(book)
    for k in range(len(messages)):
        start = cycles()
        match_message(book, messages, k)
        took[k] = cycles() - start


def _quantiles_us(messages: Records, room: int) -> tuple[float | None, float | None]:
    """Return the median and the 99th percentile of the time of one message in microseconds; the lowest of three runs."""
    if not IS_AVAILABLE:
        return None, None
    took = np.zeros(len(messages), np.int64)
    found = []
    for _ in range(3):
        book = empty_order_book(room)
        _stamp(book, messages, took)
        if book.counters[SEQUENCE] != len(messages):
            raise AssertionError("the timed loop left messages out")
        found.append(np.percentile(took, (50.0, 99.0)))
    p50, p99 = np.min(found, axis=0) / cycles_per_ns() / 1_000.0
    return float(p50), float(p99)


def _peers_flow(folder: Path, into: Path) -> Flow:
    run_generator(folder, GENERATOR, str(MESSAGES), into=into)
    data = into / f"l3_{MESSAGES}"
    messages = np.zeros(MESSAGES, MESSAGE_DTYPE)
    messages["action"] = np.array([NEW, CANCEL, MODIFY, MARKET], np.uint8)[np.load(data / "type.npy")]
    for ours, theirs in (("order_id", "oid"), ("price_units", "px"), ("size_lots", "qty"), ("side", "side")):
        messages[ours] = np.load(data / f"{theirs}.npy")
    l2 = np.load(data / "l2.npy", mmap_mode="r")[:DELTAS]
    stated = json.loads((data / "expect.json").read_text())
    expected = tuple(int(stated[name]) for name in STATED)
    return Flow(messages, _deltas(l2["side"], l2["px"], l2["qty"]), expected, _run_cpp(folder, data / "msgs.bin", into))


def _run_cpp(folder: Path, messages: Path, into: Path) -> dict[str, float]:
    """Compile the C++ engines and return each one's best processor time; none where there is no compiler."""
    program = into / "lob"
    try:
        subprocess.run(
            ["g++", "-O3", "-march=native", "-std=c++20", str(folder / CPP), "-o", str(program)],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        return {}
    seconds = {}
    for engine in (MAP_ENGINE, LADDER_ENGINE):
        said = subprocess.run(
            [str(program), str(messages), str(REPEATS), engine], check=True, capture_output=True
        ).stdout
        seconds[engine] = min(json.loads(said)["cpus"])
    return seconds


def _deltas(side: npt.ArrayLike, price: npt.ArrayLike, lots: npt.ArrayLike) -> EventArray:
    events = empty_events(len(np.asarray(side)))
    events["action"], events["flags"] = LEVEL, F_LAST
    events["side"], events["price_units"], events["size_lots"] = side, price, lots
    return events


def _own_flow() -> Flow:
    """Make messages around a wandering price: new orders, cancels in order of age, modifies and market orders."""
    rng = np.random.default_rng(7)
    messages = np.zeros(MESSAGES, MESSAGE_DTYPE)
    action = rng.choice(np.array([NEW, CANCEL, MODIFY, MARKET], np.uint8), MESSAGES, p=(0.47, 0.44, 0.06, 0.03))
    born, cancelled = np.cumsum(action == NEW), np.cumsum(action == CANCEL)
    recent = born - rng.integers(0, 12_000, MESSAGES)
    messages["action"] = action
    messages["order_id"] = np.select([action == NEW, action == CANCEL, action == MODIFY], [born, cancelled, recent], 0)
    middle = 65_536 + np.cumsum(rng.normal(0.0, 0.02, MESSAGES)).astype(np.int64)
    side = rng.choice([BID, ASK], MESSAGES)
    messages["side"] = side
    messages["price_units"] = middle - side * rng.geometric(0.05, MESSAGES) + side
    messages["size_lots"] = rng.geometric(0.01, MESSAGES)
    n = DELTAS
    lots = messages["size_lots"][:n] * (rng.random(n) < 0.7)
    return Flow(messages, _deltas(side[:n], middle[:n] - side[:n] * rng.geometric(0.05, n), lots), None, {})


@cache
def _flow() -> Flow:
    folder = peers_folder()
    if folder is None:
        return _own_flow()
    with tempfile.TemporaryDirectory() as into:
        return _peers_flow(folder, Path(into))


@cache
def _measured() -> dict[str, Any]:
    flow = _flow()
    times = []
    for _ in range(REPEATS):
        seconds, state, room = _match(flow.messages)
        times.append(seconds)
        if flow.expected is not None and state != flow.expected:
            raise AssertionError(f"the book ended in {dict(zip(STATED, state, strict=True))}, not as stated")
    if flow.expected is None:
        _check_conserved(flow.messages)
    p50, p99 = _quantiles_us(flow.messages, room)
    return {"n": MESSAGES, "unit": "message", "per_s": MESSAGES / min(times), "p50_us": p50, "p99_us": p99}


def _check_conserved(messages: Records) -> None:
    """Raise unless every lot that an order brought in traded, rested or was cancelled."""
    responses, fills = OrderBook().process(messages)
    left, status = responses["lots"], responses["status"]
    traded = np.zeros(len(messages) + 1, np.int64)
    np.add.at(traded, fills["sequence"], fills["size_lots"])
    is_entry = (messages["action"] == NEW) | (messages["action"] == MARKET)
    if (status[is_entry] > CANCELLED).any():
        raise AssertionError("a message of the benchmark was refused")
    if not np.array_equal(messages["size_lots"][is_entry], (traded[1:] + left)[is_entry]):
        raise AssertionError("lots of incoming orders were lost or made")


def _against(engine: str) -> dict[str, Any]:
    row = _measured()
    seconds = _flow().cpp_s.get(engine)
    return row if seconds is None else {**row, "peer": ENGINE_NAMES[engine], "peer_per_s": MESSAGES / seconds}


def l3_matching() -> dict[str, Any]:
    """Match 5 million mixed messages; the peer is the C++ engine on ``std::map``."""
    return _against(MAP_ENGINE)


def l3_matching_ladder() -> dict[str, Any]:
    """Match the same messages, measured once for both rows; the peer is the C++ array ladder."""
    return _against(LADDER_ENGINE)


def l2_best() -> dict[str, Any]:
    """Apply a million level deltas and read the best quotes after each; the peer is order-book's C extension."""
    deltas = _flow().deltas
    times = []
    for _ in range(REPEATS):
        book = empty_book()
        start = time.thread_time()
        best = fold_best(book, deltas)
        times.append(time.thread_time() - start)
    row = {"n": len(deltas), "unit": "delta", "per_s": len(deltas) / min(times)}
    items = list(
        zip(deltas["side"].tolist(), deltas["price_units"].tolist(), deltas["size_lots"].tolist(), strict=True)
    )
    _check_best(items, best)
    peer_s = _peer_best(items)
    return row if peer_s is None else {**row, "peer": "order-book (C extension)", "peer_per_s": len(deltas) / peer_s}


def _check_best(items: list[tuple[int, int, int]], best: npt.NDArray[np.int64]) -> None:
    """Raise unless two dictionaries end in the same best quotes, and every thousandth row of the way shows theirs."""
    sides: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
    for k, (side, price, lots) in enumerate(items):
        if lots:
            sides[side][price] = lots
        else:
            sides[side].pop(price, None)
        if k % 1_000 == 0 or k == len(items) - 1:
            bid, ask = max(sides[BID], default=0), min(sides[ASK], default=0)
            expected = [bid, sides[BID].get(bid, 0), ask, sides[ASK].get(ask, 0)]
            if best[k].tolist() != expected:
                raise AssertionError(f"best quotes after delta {k} are {best[k].tolist()}, not {expected}")


def _peer_best(items: list[tuple[int, int, int]]) -> float | None:
    """Return the seconds that order-book takes for the same, None where it is not installed."""
    try:
        from order_book import OrderBook as PeerBook  # type: ignore[import-not-found]  # a C extension, optional
    except ImportError:
        return None
    times = []
    for _ in range(3):
        book = PeerBook()
        bids, asks = book.bids, book.asks
        start = time.thread_time()
        for side, price, lots in items:
            levels = bids if side > 0 else asks
            if lots:
                levels[price] = lots
            elif price in levels:
                del levels[price]
            if len(levels):
                levels.index(0)
        times.append(time.thread_time() - start)
    return min(times)


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "l3_matching": l3_matching,
    "l3_matching_ladder": l3_matching_ladder,
    "l2_best": l2_best,
}

"""Shadowing: ours in a real order's place is filled as it was, on a tape written by hand and on recorded ones."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from backtests.shadowing import shadow_orders
from marketdata.codecs import lobster, lobster_orders
from marketdata.codecs.formats import FORMATS
from marketdata.codecs.tables import INT, read_table
from marketdata.events import ADD, ASK, BID, DELETE, EXECUTE, EventArray
from tests.codecs.market_files import instrument
from tests.trading.test_fifo_queue import NamedTape


def _tape() -> NamedTape:
    tape = NamedTape()
    tape.row(0, ADD, ASK, 10_005, 9, 1)
    tape.row(1, ADD, BID, 10_000, 4, 2)
    tape.row(2, ADD, BID, 10_000, 3, 3)
    tape.row(3, ADD, BID, 10_000, 5, 4)
    tape.row(4, ADD, BID, 10_000, 2, 5)
    tape.row(5, EXECUTE, BID, 10_000, 4, 2, flags=0)
    tape.row(5, EXECUTE, BID, 10_000, 1, 3)
    tape.row(6, DELETE, BID, 10_000, 2, 5)
    tape.row(7, EXECUTE, BID, 10_000, 2, 3, flags=0)
    tape.row(7, EXECUTE, BID, 10_000, 5, 4)
    return tape


def test_a_queue_that_keeps_its_order_is_met_row_by_row() -> None:
    report = shadow_orders(_tape().events())
    assert (report.executed, report.known_executed, report.cancelled) == (3, 3, 1)
    assert (report.rows, report.equal_rows, report.equal_orders) == (4, 4, 3)
    assert (report.filled_cancelled, report.misses) == (0, {})


def test_an_order_that_was_passed_over_is_a_miss_with_its_reason() -> None:
    tape = _tape()
    del tape.rows[-2:]
    tape.row(7, EXECUTE, BID, 10_000, 5, 4)  # the one behind, by an aggressor of its own
    tape.row(8, EXECUTE, BID, 10_000, 2, 3)
    report = shadow_orders(tape.events())
    assert report.equal_orders == 1
    assert sum(report.misses.values()) >= 2
    assert report.misses["an order behind it traded first"] >= 1


def _apple(market: Path) -> EventArray:
    folder = market / "lobster"
    book = read_table(
        folder / "AAPL_2012-06-21_orderbook_50.head672.csv.gz",
        dict.fromkeys(lobster.book_columns(50), INT),
        header=False,
    ).to_numpy()[0]
    hour = lobster_orders.read_messages(folder / "AAPL_2012-06-21_34200000_37800000_message_50.csv.gz")
    return lobster_orders.parse_orders(hour, date(2012, 6, 21), 0, "AAPL", np.ascontiguousarray(book))


def _moutai(market: Path) -> EventArray:
    path = market / "sse_l2_orders/600519_2023-02-01_entrust.csv.gz"
    return np.concatenate([part.events for part in FORMATS["shanghai"].read(path, {"600519": instrument("600519")})])


@pytest.mark.realdata
@pytest.mark.parametrize(("read", "orders"), [(_apple, 2_900), (_moutai, 15_000)])
def test_real_orders_are_filled_as_they_were(
    shared_data: Path, read: Callable[[Path], EventArray], orders: int
) -> None:
    report = shadow_orders(read(shared_data / "market"))
    assert report.known_executed >= orders
    assert report.share >= 0.99
    assert sum(report.misses.values()) == report.known_executed - report.equal_orders

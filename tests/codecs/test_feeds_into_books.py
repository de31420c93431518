"""What order-level feeds tell builds the same book order by order (L3) as level by level (L2), and no id is ever missing."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from marketdata.books import LevelBook, OrderBook
from marketdata.codecs import lobster, lobster_orders
from marketdata.codecs.fix import FixCodec
from marketdata.codecs.formats import FORMATS
from marketdata.codecs.itch import ItchCodec
from marketdata.codecs.itch_framing import MESSAGE
from marketdata.codecs.tables import INT, read_table
from marketdata.events import EventArray
from marketdata.frames import frame_batch
from tests.codecs.itch_market import random_session
from tests.codecs.market_files import instrument
from tests.codecs.test_fix_laws import WANTED as FIX_WANTED
from tests.codecs.test_fix_laws import session


def both(events: EventArray) -> OrderBook:
    """Fold into both books, require the same best quotes at every row and no row about an unknown id; return the L3 book."""
    orders, levels = OrderBook(), LevelBook()
    np.testing.assert_array_equal(orders.apply(events), levels.apply(events))
    assert orders.counters.missing == levels.counters.missing
    assert orders.counters.duplicate == 0
    return orders


@pytest.mark.parametrize("seed", [1, 2])
def test_itch_orders_build_one_book(seed: int) -> None:
    wanted = {name: instrument(name, 0.0001, number=k) for k, name in enumerate(("AAAA", "BB"))}
    codec = ItchCodec(wanted, MESSAGE, date(2024, 1, 2))
    _, decoded = codec.step(codec.init(), frame_batch([(0, m) for m in random_session(2_000, seed)[0]]))
    for item in wanted.values():
        book = both(decoded.events[decoded.events["instrument_id"] == item.instrument_id])
        assert book.counters.missing == 0


def test_fix_orders_build_one_book() -> None:
    codec = FixCodec(FIX_WANTED, entries="id")
    _, decoded = codec.step(codec.init(), frame_batch([(0, m) for m in session(500, 4, ids=True)]))
    for item in FIX_WANTED.values():
        assert both(decoded.events[decoded.events["instrument_id"] == item.instrument_id]).counters.missing == 0


def _shanghai(market: Path) -> EventArray:
    path = market / "sse_l2_orders/600519_2023-02-01_entrust.csv.gz"
    return np.concatenate([part.events for part in FORMATS["shanghai"].read(path, {"600519": instrument("600519")})])


def _databento(market: Path) -> EventArray:
    pytest.importorskip("databento_dbn")
    path = market / "vendor_samples/databento/esh4-glbx-mdp3-20231225.mbo.dbn.zst"
    return np.concatenate([part.events for part in FORMATS["databento"].read(path, {"ESH4": instrument("ESH4", 0.25)})])


@pytest.mark.realdata
@pytest.mark.parametrize("read", [_shanghai, _databento])
def test_recorded_orders_build_one_book_and_no_id_is_missing(
    shared_data: Path, read: Callable[[Path], EventArray]
) -> None:
    assert both(read(shared_data / "market")).counters.missing == 0


@pytest.mark.realdata
def test_apples_orders_build_the_recorded_best_level_in_the_order_book_too(shared_data: Path) -> None:
    folder = shared_data / "market/lobster"
    schema = dict.fromkeys(lobster.book_columns(50), INT)
    start = read_table(folder / "AAPL_2012-06-21_orderbook_50.head672.csv.gz", schema, header=False).to_numpy()[0]
    hour = lobster_orders.read_messages(folder / "AAPL_2012-06-21_34200000_37800000_message_50.csv.gz")
    events = lobster_orders.parse_orders(hour, date(2012, 6, 21), 0, "AAPL", np.ascontiguousarray(start))
    recorded = read_table(
        folder / "AAPL_2012-06-21_34200000_37800000_orderbook_50_top1.csv.gz",
        dict.fromkeys(lobster.book_columns(1), INT),
        header=False,
    ).to_numpy()
    book = OrderBook()
    best = book.apply(events)[np.flatnonzero(events["flags"] & 1)][:, [2, 3, 0, 1]]
    assert (best[1:] == recorded[1:]).all(axis=1).mean() >= 0.999
    assert book.counters.duplicate == 0

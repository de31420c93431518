"""LOBSTER's messages alone: the recorded book follows from them, and what is not known of a queue is said."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from marketdata.book import empty_book, fold_best
from marketdata.codecs import lobster
from marketdata.codecs.formats import FORMATS
from marketdata.codecs.lobster_orders import parse_orders, queue_known, read_messages
from marketdata.codecs.tables import INT, SourceError, read_table
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    DELETE,
    EXECUTE,
    F_LAST,
    F_SNAPSHOT,
    HIDDEN,
    LEVEL,
    NONE,
    REDUCE,
    STATUS,
    TRADE,
    EventArray,
)  # fmt: skip
from tests.codecs.market_files import instrument
from tests.marketdata.recordings import write_lobster

DAY = date(2012, 6, 21)
NAMES = ("time", "type", "order_id", "size", "price", "direction")


def messages(*rows: tuple[float, int, int, int, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(zip(NAMES, (pl.Float64, *[pl.Int64] * 5), strict=True)), orient="row")


RUN = messages(
    (34_200.1, 1, 9, 5, 100, 1),
    (34_200.2, 1, 10, 7, 100, 1),
    (34_200.3, 2, 3, 4, 100, 1),  # an order from before: off the nameless part
    (34_200.4, 4, 3, 6, 100, 1),
    (34_200.5, 4, 10, 2, 100, 1),
    (34_200.6, 3, 10, 5, 100, 1),
    (34_200.7, 5, 0, 3, 105, -1),
    (34_200.8, 6, 0, 3, 105, -1),
    (34_200.9, 7, 0, 0, -1, -1),
    (34_201.0, 7, 0, 0, 1, -1),
)
BOOK = np.array([110, 8, 100, 15, 9_999_999_999, 0, -9_999_999_999, 0])


def rows(events: EventArray) -> list[tuple[int, ...]]:
    names = ("action", "side", "price_units", "size_lots", "order_id")
    return list(zip(*(events[name].tolist() for name in names), strict=True))


def test_messages_follow_a_first_book_and_the_first_messages_effect_is_in_it() -> None:
    events = parse_orders(RUN, DAY, 0, "made up", BOOK)
    assert rows(events) == [
        (CLEAR, NONE, 0, 0, 0), (LEVEL, ASK, 110, 8, 0), (LEVEL, BID, 100, 15, 0),
        (ADD, BID, 100, 7, 10), (REDUCE, BID, 100, 4, 3), (EXECUTE, BID, 100, 6, 3),
        (EXECUTE, BID, 100, 2, 10), (DELETE, BID, 100, 5, 10),
        (HIDDEN, ASK, 105, 3, 0), (TRADE, ASK, 105, 3, 0), (STATUS, NONE, 0, 0, 0), (STATUS, NONE, 0, 1, 0),
    ]  # fmt: skip
    assert events["flags"][:3].tolist() == [F_SNAPSHOT, F_SNAPSHOT, F_SNAPSHOT | F_LAST]
    assert fold_best(empty_book(), events)[-1].tolist() == [100, 5, 110, 8]
    alone = parse_orders(RUN, DAY, 0, "made up")
    assert rows(alone)[:2] == [(CLEAR, NONE, 0, 0, 0), (ADD, BID, 100, 5, 9)]
    first_is_a_print = parse_orders(RUN[4:], DAY, 0, "made up", BOOK)
    assert rows(first_is_a_print)[3] == (TRADE, BID, 100, 2, 10)
    for case in (events, alone, first_is_a_print):
        ends = np.append(case["sequence"][1:] != case["sequence"][:-1], True)
        np.testing.assert_array_equal((case["flags"] & F_LAST) > 0, ends)


def test_a_queue_is_known_when_every_lot_of_it_was_seen_coming() -> None:
    events = parse_orders(RUN, DAY, 0, "made up", BOOK)
    known = dict(zip(rows(events), queue_known(events).tolist(), strict=True))
    assert known[ADD, BID, 100, 7, 10] is False, "15 nameless lots stand before it"
    assert known[EXECUTE, BID, 100, 6, 3] is False
    assert known[DELETE, BID, 100, 5, 10] is False, "5 of the 15 are left"
    alone = parse_orders(RUN, DAY, 0, "made up")
    assert queue_known(alone)[1:3].all()
    back = np.concatenate([alone[:3], alone[1:2]])
    back["action"][3], back["size_lots"][3] = LEVEL, 30  # the level comes back into the window with another size
    assert queue_known(back).tolist() == [False, True, True, False]


def test_a_message_of_no_kind_is_refused_with_its_row() -> None:
    with pytest.raises(SourceError, match="made up: row 2: type 9, direction 1, size 5"):
        parse_orders(messages((34_200.1, 1, 9, 5, 100, 1), (34_200.1, 9, 9, 5, 100, 1)), DAY, 0, "made up")


def test_the_format_takes_the_book_file_where_there_is_one(tmp_path: Path) -> None:
    folder = write_lobster(tmp_path, rows=60)
    (path,) = folder.glob("*_message_3.csv.gz")
    wanted = {"AMZN": instrument("AMZN", 0.0001)}
    (exact,) = FORMATS["lobster"].read(path, wanted)
    (whole,) = FORMATS["lobster"].read(folder, wanted)
    np.testing.assert_array_equal(exact.events, whole.events)
    next(folder.glob("*_orderbook_3.csv.gz")).unlink()
    (alone,) = FORMATS["lobster"].read(path, wanted)
    assert len(alone.events) == 61


def top(sides: dict[int, dict[int, int]], levels: int) -> list[int]:
    best = {side: sorted(sides[side].items(), reverse=side == BID)[:levels] for side in (BID, ASK)}
    return [
        value
        for k in range(levels)
        for side in (ASK, BID)
        for value in (best[side][k] if k < len(best[side]) else (0, 0))
    ]


@pytest.mark.realdata
def test_apples_ten_best_levels_follow_from_its_messages_on_every_row(shared_data: Path) -> None:
    folder = shared_data / "market/lobster"
    head = read_messages(folder / "AAPL_2012-06-21_message_50.head672.csv.gz")
    schema = dict.fromkeys(lobster.book_columns(50), INT)
    recorded = read_table(folder / "AAPL_2012-06-21_orderbook_50.head672.csv.gz", schema, header=False).to_numpy()
    events = parse_orders(head, DAY, 0, "AAPL", np.ascontiguousarray(recorded[0]))
    sides: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
    ten = fifty = 0
    for _, _, price, lots, _, row, _, action, side, flags, _ in events.tolist():
        if action in (ADD, REDUCE, DELETE, EXECUTE):
            sides[side][price] = sides[side].get(price, 0) + (lots if action == ADD else -lots)
        elif action == LEVEL:
            sides[side][price] = lots
        if action in (ADD, REDUCE, DELETE, EXECUTE, LEVEL) and sides[side][price] <= 0:
            del sides[side][price]
        if flags & F_LAST:
            ten += row > 0 and top(sides, 10) == recorded[row, :40].tolist()
            fifty += row > 0 and top(sides, 50) == recorded[row].tolist()
    assert (len(recorded) - 1, ten) == (671, 671)
    assert fifty >= 550


@pytest.mark.realdata
def test_apples_best_level_follows_from_its_messages_for_the_hour(shared_data: Path) -> None:
    folder = shared_data / "market/lobster"
    schema = dict.fromkeys(lobster.book_columns(50), INT)
    start = read_table(folder / "AAPL_2012-06-21_orderbook_50.head672.csv.gz", schema, header=False).to_numpy()[0]
    hour = read_messages(folder / "AAPL_2012-06-21_34200000_37800000_message_50.csv.gz")
    events = parse_orders(hour, DAY, 0, "AAPL", np.ascontiguousarray(start))
    schema = dict.fromkeys(lobster.book_columns(1), INT)
    recorded = read_table(
        folder / "AAPL_2012-06-21_34200000_37800000_orderbook_50_top1.csv.gz", schema, header=False
    ).to_numpy()
    best = fold_best(empty_book(8_192), events)[np.flatnonzero(events["flags"] & F_LAST)][:, [2, 3, 0, 1]]
    equal = (best[1:] == recorded[1:]).all(axis=1)
    assert len(equal) == 91_996
    assert equal.mean() >= 0.999
    book_rows = np.isin(events["action"], (ADD, REDUCE, DELETE, EXECUTE))
    assert queue_known(events)[book_rows].mean() > 0.99


@pytest.mark.realdata
def test_the_share_of_known_queues_in_windowed_files_is_what_it_is(shared_data: Path) -> None:
    share = {}
    for file in lobster.find_files([shared_data / "market/lobster"]):
        events = lobster.parse(lobster.read_raw(file), DAY, 0, file.symbol)
        share[file.symbol, file.levels] = float(queue_known(events)[events["action"] == EXECUTE].mean())
    assert share == pytest.approx({("AAPL", 1): 0.730, ("AMZN", 5): 0.903}, abs=0.001)

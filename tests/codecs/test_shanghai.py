"""Shanghai's orders and trades make the book that the exchange's own snapshots show."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from marketdata.book import COUNT_MISSING, empty_book, fold_best
from marketdata.codecs.formats import FORMATS
from marketdata.codecs.tables import SourceError
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    DELETE,
    EXECUTE,
    F_LAST,
    LEVEL,
    NONE,
    REDUCE,
    STATUS,
    TRADE,
)  # fmt: skip
from tests.codecs.market_files import instrument, shanghai, sse_order, sse_trade, write_text

WANTED = {"600000": instrument("600000")}
ORDERS = [
    sse_order(1, "09:15:00.020", "A", 11, "10.019999999999999", 300, "B"),
    sse_order(2, "09:15:00.030", "A", 12, "10.01", 200, "S"),
    sse_order(3, "09:16:00.000", "A", 13, "10.05", 400, "S"),
    sse_order(6, "09:30:01.000", "A", 14, "10.03", 100, "S"),
    sse_order(9, "09:30:02.000", "A", 15, "10.04", 50, "B"),
    sse_order(10, "09:30:03.000", "D", 13, "10.05", 250, "S"),
    sse_order(11, "14:57:00.000", "A", 16, "10.07", 10, "B"),
]
TRADES = [
    sse_trade(4, "09:25:00.940", "10.01", 200, 11, 12, "N"),
    sse_trade(7, "09:30:02.000", "10.03", 100, 15, 14, "B"),
    sse_trade(8, "09:30:02.000", "10.05", 150, 15, 13, "B"),
    sse_trade(12, "15:00:00.100", "10.04", 10, 16, 15, "N"),
]


def read(path: Path, wanted: dict = WANTED, name: str = "shanghai") -> np.ndarray:
    return np.concatenate([part.events for part in FORMATS[name].read(path, wanted)])


def rows(events: np.ndarray) -> list[tuple[int, ...]]:
    names = ("action", "side", "price_units", "size_lots", "order_id", "sequence")
    return list(zip(*(events[name].tolist() for name in names), strict=True))


def test_trades_take_the_resting_order_and_an_aggressors_rest_joins_their_group(tmp_path: Path) -> None:
    orders, trades = ORDERS, [*TRADES[:3]]
    events = read(shanghai(tmp_path, orders, trades))
    assert rows(events) == [
        (CLEAR, NONE, 0, 0, 0, 0),
        (ADD, BID, 1_002, 300, 11, 0), (ADD, ASK, 1_001, 200, 12, 0), (ADD, ASK, 1_005, 400, 13, 0),
        (REDUCE, BID, 1_002, 200, 11, 0), (DELETE, ASK, 1_001, 200, 12, 0), (TRADE, NONE, 1_001, 200, 0, 0),
        (STATUS, NONE, 0, 1, 0, 1), (ADD, ASK, 1_003, 100, 14, 1),
        (EXECUTE, ASK, 1_003, 100, 14, 2), (EXECUTE, ASK, 1_005, 150, 13, 2), (ADD, BID, 1_004, 50, 15, 2),
        (DELETE, ASK, 1_005, 250, 13, 3),
        (STATUS, NONE, 0, 0, 0, 4), (ADD, BID, 1_007, 10, 16, 4),
    ]  # fmt: skip
    ends = np.append(events["sequence"][1:] != events["sequence"][:-1], True)
    np.testing.assert_array_equal((events["flags"] & F_LAST) > 0, ends)
    best = fold_best(book := empty_book(), events)
    assert book.counters[COUNT_MISSING] == 0
    crossed = (best[:, 0] >= best[:, 2]) & (best[:, 2] > 0)
    assert crossed.any()
    assert not (crossed & ends).any(), "an auction is one group"


def test_either_file_or_the_folder_names_the_pair_and_a_missing_one_is_named(tmp_path: Path) -> None:
    folder = shanghai(tmp_path / "a", ORDERS, TRADES[:3]).parent
    whole = rows(read(folder))
    for part in ("entrust", "trade"):
        assert rows(read(folder / f"600000_2023-02-01_{part}.csv.gz")) == whole
    (folder / "600000_2023-02-01_trade.csv.gz").unlink()
    with pytest.raises(SourceError, match=r"_trade\.csv\.gz: no such file; orders and trades are read together"):
        read(folder)


def test_later_rows_change_no_earlier_group(tmp_path: Path) -> None:
    whole = read(shanghai(tmp_path / "a", ORDERS, TRADES[:3]))
    early = read(shanghai(tmp_path / "b", ORDERS[:5], TRADES[:3]))
    done = int(np.flatnonzero(early["flags"] & F_LAST)[-2]) + 1
    np.testing.assert_array_equal(early[:done], whole[:done])


@pytest.mark.parametrize(
    ("orders", "trades", "reason"),
    [
        (
            ORDERS,
            [*TRADES[:3], sse_trade(20, "15:00:00.100", "10.05", 1, 16, 99, "N")],
            "number 20: the order that it names does not rest",
        ),
        (
            ORDERS,
            [*TRADES[:2], sse_trade(8, "09:30:02.000", "10.05", 450, 15, 13, "B")],
            "number 8: takes more than the order has left",
        ),
        (
            [*ORDERS, sse_order(30, "14:58:00.000", "A", 16, "10", 1, "B")],
            TRADES[:3],
            "number 30: an order of this number rests",
        ),
        (
            [*ORDERS, sse_order(30, "14:58:00.000", "A", 17, "10.003", 1, "B")],
            TRADES[:3],
            r"field price: 10\.003 is off the price grid",
        ),
        (
            [*ORDERS, sse_order(30, "14:58:00.000", "A", 17, "10", 0, "B")],
            TRADES[:3],
            "field shares: 0 shares are no lots",
        ),
        (
            [*ORDERS, sse_order(30, "14:58:00.000", "Z", 17, "10", 1, "B")],
            TRADES[:3],
            "row 8, field OrderType: 'Z' cannot be read",
        ),
        ([*ORDERS, ORDERS[0]], TRADES[:3], "two rows of 600000 have the number 1"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(
    tmp_path: Path, orders: list[str], trades: list[str], reason: str
) -> None:
    with pytest.raises(SourceError, match=reason):
        read(shanghai(tmp_path, orders, trades))


def snapshot_file(folder: Path) -> Path:
    sides = [f"{side}{what}{k}" for side in ("Ask", "Bid") for k in range(1, 11) for what in ("Price", "Volume")]
    head = ["UpdateTime", "SecurityID", "LastPrice", "InstruStatus", "TradVolume", *sides]

    def line(time: str, status: str, last: str, volume: int, ask: int, bid: int) -> str:
        cells = [
            f"{price},{size}"
            for side, size in ((ask, 7), (bid, 9))
            for price, size in [(side / 100, size)] + [("", "")] * 9
        ]
        return ",".join([time, "600000", last, status, str(volume), *cells])

    lines = [
        ",".join(head),
        line("09:20:00.000", "OCALL", "0", 0, 1_000, 1_000),
        line("09:30:00.000", "TRADE", "10.01", 50, 1_002, 1_001),
    ]
    lines += [
        line("09:30:03.000", "TRADE", "10.02", 80, 1_003, 1_001),
        line("14:57:03.000", "CCALL", "10.02", 80, 1_003, 1_003),
    ]
    return write_text(folder / "600000_2023-02-01_snapshot.csv.gz", lines)


def test_snapshots_give_the_levels_that_differ_and_the_volume_between(tmp_path: Path) -> None:
    events = read(snapshot_file(tmp_path), WANTED, "shanghai_snapshots")
    assert [row[:4] for row in rows(events)] == [
        (CLEAR, NONE, 0, 0), (STATUS, NONE, 0, 1), (TRADE, NONE, 1_001, 50), (LEVEL, BID, 1_001, 9), (LEVEL, ASK, 1_002, 7),
        (TRADE, NONE, 1_002, 30), (LEVEL, ASK, 1_002, 0), (LEVEL, ASK, 1_003, 7), (STATUS, NONE, 0, 0),
    ]  # fmt: skip


def recorded(shared_data: Path) -> tuple[np.ndarray, pl.DataFrame]:
    folder = shared_data / "market/sse_l2_orders"
    events = read(folder / "600519_2023-02-01_entrust.csv.gz", {"600519": instrument("600519")})
    table = pl.read_csv(folder / "600519_2023-02-01_snapshot.csv.gz", infer_schema_length=10_000)
    return events, table.filter(
        (pl.col("InstruStatus") == "TRADE") & (pl.col("BidVolume1") > 0) & (pl.col("AskVolume1") > 0)
    )


@pytest.mark.realdata
def test_the_rebuilt_book_of_600519_equals_every_snapshot_of_the_exchange(shared_data: Path) -> None:
    events, snapshots = recorded(shared_data)
    assert np.bincount(events["action"]).tolist() == [0, 39_067, 541, 16_253, 26_572, 0, 563, 0, 0, 1, 2]
    best = fold_best(book := empty_book(8_192), events)
    assert book.counters[COUNT_MISSING] == 0
    traded = np.where(np.isin(events["action"], (EXECUTE, TRADE)), events["size_lots"], 0).cumsum()
    assert traded[-1] == 3_397_389
    ends = (events["flags"] & F_LAST) > 0
    volume, best = traded[ends], best[ends]
    equal = 0
    for row in snapshots.iter_rows(named=True):
        shown = (round(row["BidPrice1"] * 100), row["BidVolume1"], round(row["AskPrice1"] * 100), row["AskVolume1"])
        first, end = (
            np.searchsorted(volume, row["TradVolume"], "left"),
            np.searchsorted(volume, row["TradVolume"], "right"),
        )
        equal += bool((best[first:end] == shown).all(axis=1).any())
    assert (snapshots.height, equal) == (4_847, 4_847)


@pytest.mark.realdata
def test_no_state_of_continuous_trading_is_crossed_and_no_group_ends_crossed(shared_data: Path) -> None:
    events, _ = recorded(shared_data)
    best = fold_best(empty_book(8_192), events)
    crossed = (best[:, 0] >= best[:, 2]) & (best[:, 0] > 0) & (best[:, 2] > 0)
    assert not (crossed & ((events["flags"] & F_LAST) > 0)).any()
    opened, closing = np.flatnonzero(events["action"] == STATUS)
    assert not crossed[opened:closing].any(), "all crossed states are in the two auctions"
    assert int(crossed[closing:].sum()) > 500


@pytest.mark.realdata
def test_the_other_layouts_three_stocks_are_consistent(shared_data: Path) -> None:
    folder = shared_data / "market/sse_l2_orders/2023-07-11_SHorders.csv.gz"
    wanted = {name: instrument(name, number=k) for k, name in enumerate(("600961", "600761", "605580"))}
    events = read(folder, wanted)
    assert len(events) == 65_250 + 56_427 + 43_742
    for item in wanted.values():
        mine = events[events["instrument_id"] == item.instrument_id]
        best = fold_best(book := empty_book(8_192), mine)
        assert book.counters[COUNT_MISSING] == 0
        ends = (mine["flags"] & F_LAST) > 0
        assert not ((best[:, 0] >= best[:, 2]) & (best[:, 0] > 0) & (best[:, 2] > 0) & ends).any()
    assert date(2023, 7, 11).toordinal() == 719163 + int(events["ts_event"][0] // 86_400_000_000_000)


@pytest.mark.realdata
def test_recorded_snapshots_give_the_days_volume_in_both_layouts(shared_data: Path) -> None:
    market = shared_data / "market"
    events = read(
        market / "sse_l2_orders/600519_2023-02-01_snapshot.csv.gz",
        {"600519": instrument("600519")},
        "shanghai_snapshots",
    )
    assert int(events["size_lots"][events["action"] == TRADE].sum()) == 3_397_389
    wanted = {"600103": instrument("600103")}
    events = read(market / "sse_l2_snapshots/20211201snapshot_30stocks.csv.gz", wanted, "shanghai_snapshots")
    assert len(events) == 11_610
    best = fold_best(empty_book(), events)
    ends = (events["flags"] & F_LAST) > 0
    assert not ((best[:, 0] >= best[:, 2]) & (best[:, 0] > 0) & (best[:, 2] > 0) & ends).any()

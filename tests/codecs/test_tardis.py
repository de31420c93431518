"""Tardis's files: exact decimals, snapshots, groups by receive time, any block size."""

from pathlib import Path

import numpy as np
import pytest

from marketdata.book import empty_book, fold_best
from marketdata.codecs.tables import SourceError
from marketdata.codecs.tardis import read_tardis
from marketdata.events import ASK, BID, CLEAR, F_LAST, F_SNAPSHOT, LEVEL, NONE, QUOTE, TRADE
from tests.codecs.market_files import (
    HEAD,
    instrument,
    tardis_l2,
    tardis_quotes,
    tardis_snapshots,
    tardis_trades,
    write_text,
)  # fmt: skip

PERP = {"BTC-PERP": instrument("BTC-PERP", 0.5, 1e-5), "ETH-PERP": instrument("ETH-PERP", 0.5, 1e-5, 4)}
BTC = {"BTC-PERP": PERP["BTC-PERP"]}


def read(path: Path, wanted: dict = BTC, block: int = 1 << 20) -> tuple[np.ndarray, dict[str, int]]:
    parts = list(read_tardis(path, wanted, block=block))
    ignored: dict[str, int] = {}
    for part in parts:
        for name, count in part.ignored.items():
            ignored[name] = ignored.get(name, 0) + count
    return np.concatenate([part.events for part in parts]), ignored


def rows(events: np.ndarray) -> list[tuple[int, ...]]:
    names = ("action", "side", "price_units", "size_lots", "flags")
    return list(zip(*(events[name].tolist() for name in names), strict=True))


def test_a_snapshot_clears_and_changes_follow_in_groups_of_one_receive_time(tmp_path: Path) -> None:
    lines = [
        f"{HEAD},is_snapshot,side,price,amount",
        "v,BTC-PERP,1000000,1000005,false,bid,100,1",
        "v,BTC-PERP,1000000,1000009,true,bid,100,1.5",
        "v,BTC-PERP,1000000,1000009,true,ask,100.5,2e-05",
        "v,OTHER,1000000,1000009,true,ask,100.7,2e-05",
        "v,BTC-PERP,1000100,1000109,false,bid,100,0",
        "v,BTC-PERP,1000100,1000109,false,bid,99.5,3",
        "v,BTC-PERP,1000100,1000110,false,ask,100.5,1",
        "v,BTC-PERP,1000100,1000120,true,ask,101,1",
    ]
    events, ignored = read(write_text(tmp_path / "incremental_book_L2_x.csv", lines))
    assert rows(events) == [
        (CLEAR, NONE, 0, 0, F_SNAPSHOT), (LEVEL, BID, 200, 150_000, F_SNAPSHOT), (LEVEL, ASK, 201, 2, F_SNAPSHOT | F_LAST),
        (LEVEL, BID, 200, 0, 0), (LEVEL, BID, 199, 300_000, F_LAST), (LEVEL, ASK, 201, 100_000, F_LAST),
        (CLEAR, NONE, 0, 0, F_SNAPSHOT), (LEVEL, ASK, 202, 100_000, F_SNAPSHOT | F_LAST),
    ]  # fmt: skip
    assert ignored == {"other symbol": 1, "row before the first snapshot": 1}
    assert (events["ts_event"][0], events["ts_recv"][0]) == (1_000_000_000, 1_000_009_000)


@pytest.mark.parametrize("block", [80, 700, 5_000])
@pytest.mark.parametrize("make", [tardis_l2, tardis_snapshots, tardis_trades, tardis_quotes])
def test_the_blocks_that_a_file_is_read_in_change_nothing(tmp_path: Path, make: object, block: int) -> None:
    path = make(tmp_path)
    np.testing.assert_array_equal(read(path, PERP, block)[0], read(path, PERP)[0])


def test_two_symbols_of_a_file_are_what_each_is_alone(tmp_path: Path) -> None:
    path = tardis_l2(tmp_path)
    both, _ = read(path, PERP)
    for symbol, item in PERP.items():
        alone, _ = read(path, {symbol: item})
        mine = both[both["instrument_id"] == item.instrument_id]
        assert rows(alone) == rows(mine)
        ends = np.append(mine["sequence"][1:] != mine["sequence"][:-1], True)
        np.testing.assert_array_equal((mine["flags"] & F_LAST) > 0, ends)


def test_rows_of_snapshots_give_what_differs_and_the_book_is_the_row(tmp_path: Path) -> None:
    path = tardis_snapshots(tmp_path)
    events, _ = read(path)
    assert events["action"].tolist().count(CLEAR) == 1
    best = fold_best(empty_book(), events)
    last = path.read_text().splitlines()[-1].split(",")[4:8]
    assert best[-1].tolist() == [
        round(float(last[2]) * 2), round(float(last[3]) * 100_000), round(float(last[0]) * 2), round(float(last[1]) * 100_000),
    ]  # fmt: skip
    assert set(np.unique(events["action"])) == {LEVEL, CLEAR}


def test_a_trades_side_is_the_aggressors_and_an_empty_quote_side_is_empty(tmp_path: Path) -> None:
    events, _ = read(tardis_trades(tmp_path))
    assert [row[:3] for row in rows(events)] == [(TRADE, ASK, 201), (TRADE, BID, 203), (TRADE, NONE, 205)]
    events, _ = read(tardis_quotes(tmp_path))
    assert [row[:4] for row in rows(events)] == [
        (QUOTE, BID, 201, 250_000), (QUOTE, ASK, 203, 100_000), (QUOTE, BID, 200, 250_000), (QUOTE, ASK, 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("v,BTC-PERP,1,2,true,bid,100.3,1", r"row 2, field price: '100\.3' is off the grid"),
        ("v,BTC-PERP,1,2,true,bid,1x,1", "row 2, field price: '1x' is not a number"),
        ("v,BTC-PERP,1,2,true,bid,100,0.000001", r"field amount: '0\.000001' is off the grid"),
        ("v,BTC-PERP,1,two,true,bid,100,1", "row 2, field local_timestamp: 'two' is not an integer"),
        ("v,BTC-PERP,1,2,maybe,bid,100,1", "row 2, field is_snapshot: 'maybe' is none of true, false"),
        ("v,BTC-PERP,1,2,true,up,100,1", "row 2, field side: 'up' is none of bid, ask"),
        ("v,BTC-PERP,1,2,true,bid", "row 2, field price: is empty"),
        ("v,BTC-PERP,1,2,true,bid,100,", "row 2, field amount: is empty"),
        ("v,BTC-PERP,1,2,true,bid,100,1,5", "row 2: has 9 fields, expected 8"),
    ],
)
def test_a_malformed_cell_is_refused_with_file_row_and_field(tmp_path: Path, line: str, reason: str) -> None:
    lines = [f"{HEAD},is_snapshot,side,price,amount", "v,BTC-PERP,1,2,true,bid,100,1", line]
    with pytest.raises(SourceError, match=reason):
        read(write_text(tmp_path / "incremental_book_L2_x.csv", lines))


def test_a_file_of_another_kind_or_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no incremental_book_L2, snapshot, trades or quotes"):
        read(write_text(tmp_path / "x.csv", [f"{HEAD},funding_rate", "v,B,1,2,3"]))
    path = tardis_l2(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SourceError, match="cannot be read"):
        read(path)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "symbol", "step", "lot", "rows_", "first", "last"),
    [
        (
            "binance-futures_book_snapshot_25_BTCUSDT",
            "BTCUSDT",
            0.01,
            0.001,
            10,
            1598918403810979000,
            1598918404009468000,
        ),
        (
            "binance-futures_book_snapshot_5_BTCUSDT",
            "BTCUSDT",
            0.01,
            0.001,
            10,
            1598918403810979000,
            1598918404289427000,
        ),
        ("bitmex_trades_XBTUSD", "XBTUSD", 0.5, 1.0, 10, 1583020803307160000, 1583020803336743000),
        (
            "deribit_incremental_book_L2_BTC-PERPETUAL",
            "BTC-PERPETUAL",
            0.5,
            10.0,
            15,
            1585699200355684000,
            1585699200355684000,
        ),
        ("huobi-dm-swap_quotes_BTC-USD", "BTC-USD", 0.1, 1.0, 10, 1588291201234268000, 1588291201927888000),
    ],
)
def test_the_recorded_samples_are_read_whole(
    shared_data: Path, name: str, symbol: str, step: float, lot: float, rows_: int, first: int, last: int
) -> None:
    path = shared_data / "market/vendor_samples/tardis" / f"{name}.csv"
    events, ignored = read(path, {symbol: instrument(symbol, step, lot)})
    table = [line.split(",") for line in path.read_text().splitlines()]
    assert len(table) - 1 == rows_
    assert ignored == {}
    assert (int(events["ts_recv"][0]), int(events["ts_recv"][-1])) == (first, last)
    assert (first, last) == (int(table[1][3]) * 1_000, int(table[-1][3]) * 1_000)
    if "snapshot" in name:
        best = fold_best(empty_book(), events)[-1]
        shown = [float(cell) for cell in table[-1][4:8]]
        assert best.tolist() == [
            round(shown[2] / step),
            round(shown[3] / lot),
            round(shown[0] / step),
            round(shown[1] / lot),
        ]
    else:
        per_row = 2 if "quotes" in name else 1
        assert len(events) == rows_ * per_row + ("L2" in name)

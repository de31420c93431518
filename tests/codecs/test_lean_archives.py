"""LEAN's archives of currencies, futures, crypto and shares: known at the end of the bar, in each market's own time."""

from pathlib import Path

import numpy as np
import pytest

from marketdata.book import empty_book, fold_best
from marketdata.codecs.formats import FORMATS
from marketdata.codecs.tables import SourceError
from marketdata.events import ASK, BID, CLEAR, F_LAST, NONE, QUOTE, TRADE
from tests.codecs.market_files import instrument, lean_zip

MIDNIGHT = 1_399_507_200_000_000_000  # 2014-05-08 00:00 UTC
MS = 1_000_000


def read(path: Path, *wanted: object) -> np.ndarray:
    parts = FORMATS["lean"].read(path, {item.symbol: item for item in wanted})
    return np.concatenate([part.events for part in parts])


def rows(events: np.ndarray, base: int = MIDNIGHT) -> list[tuple[int, ...]]:
    names = ("action", "side", "price_units", "size_lots")
    times = ((events["ts_event"] - base) / MS).tolist()
    return list(zip(times, *(events[name].tolist() for name in names), strict=True))


@pytest.mark.parametrize(("market", "hours"), [("fxcm", 5), ("oanda", 0)])
def test_quote_ticks_of_currencies_have_one_nominal_lot_and_their_markets_clock(
    tmp_path: Path, market: str, hours: int
) -> None:
    lines = {"20140508_eurusd_tick_quote.csv": ["17007.25,1.39147,1.39148", "17008,1.39147,"]}
    path = lean_zip(tmp_path, f"forex/{market}/tick/eurusd", "20140508_quote.zip", lines)
    events = read(path, instrument("EURUSD", 0.00001))
    late = 17_007.25 + hours * 3_600_000
    assert rows(events)[:3] == [
        (late, CLEAR, NONE, 0, 0),
        (late, QUOTE, BID, 139_147, 1),
        (late, QUOTE, ASK, 139_148, 1),
    ]
    assert rows(events)[4][1:] == (QUOTE, ASK, 0, 0), "a side without a price is empty"


def test_bars_are_known_when_they_end_and_quotes_come_first(tmp_path: Path) -> None:
    folder = "crypto/coinbase/minute/btcusd"
    lean_zip(tmp_path, folder, "20140508_quote.zip", {"a.csv": ["60000,7,9,6,8,1.00000001,9,11,8,10.01,0"]})
    trades = ["60000,8,9,7,8.5,0.3000000000004", "120000,8,9,7,8.5,0"]
    lean_zip(tmp_path, folder, "20140508_trade.zip", {"a.csv": trades})
    events = read(tmp_path, instrument("BTCUSD", 0.01, 1e-8))
    assert rows(events) == [
        (120_000, CLEAR, NONE, 0, 0), (120_000, QUOTE, BID, 800, 100_000_001), (120_000, QUOTE, ASK, 1_001, 1),
        (120_000, TRADE, NONE, 850, 30_000_000),
    ]  # fmt: skip
    ends = np.append(events["sequence"][1:] != events["sequence"][:-1], True)
    np.testing.assert_array_equal((events["flags"] & F_LAST) > 0, ends)


def test_contract_months_are_instruments_of_their_own_and_the_tick_test_signs_their_trades(tmp_path: Path) -> None:
    members = {
        "20140508_gc_tick_trade_201406.csv": [
            "1,1300.1,2,usa,,0", "2,1300.2,1,usa,,0", "3,1300.2,1,usa,,0", "4,1300.1,0,usa,,0",
            "5,1299,1,usa,,1", "6,1300,1,usa,,0",
        ],
        "20140508_gc_tick_trade_201408.csv": ["1,1301.0,1,usa,,0"],
    }  # fmt: skip
    path = lean_zip(tmp_path, "future/comex/tick/gc", "20140508_trade.zip", members)
    parts = list(FORMATS["lean"].read(path, {"GC_201406": instrument("GC_201406", 0.1)}))
    assert rows(parts[0].events)[1:] == [
        (1, TRADE, NONE, 13_001, 2), (2, TRADE, ASK, 13_002, 1), (3, TRADE, ASK, 13_002, 1), (6, TRADE, BID, 13_000, 1),
    ]  # fmt: skip
    assert parts[0].ignored == {"other symbol": 1, "trade without size": 1, "suspicious trade": 1}


def test_shares_have_new_yorks_clock_and_whole_prices(tmp_path: Path) -> None:
    path = lean_zip(
        tmp_path,
        "equity/usa/second/ibm",
        "20140508_trade.zip",
        {"a.csv": ["34200000,1900000,1900100,1899900,1900000,100"]},
    )
    events = read(path, instrument("IBM", 0.01))
    assert rows(events)[1:] == [(34_201_000 + 4 * 3_600_000, TRADE, NONE, 19_000, 100)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("17007,1.391475,1.4", r"row 1, field bid: '1\.391475' is off the grid"),
        ("17007,x,1.4", "row 1, field bid: 'x' is not a number"),
        (",1.3,1.4", "row 1, field ms: is empty"),
        ("1,2,3,4", "row 1: has 4 fields, expected 3"),
    ],
)
def test_a_malformed_row_is_refused_with_archive_row_and_field(tmp_path: Path, line: str, reason: str) -> None:
    path = lean_zip(tmp_path, "forex/oanda/tick/eurusd", "20140508_quote.zip", {"a.csv": [line]})
    with pytest.raises(SourceError, match=rf"20140508_quote\.zip.*{reason}"):
        read(path, instrument("EURUSD", 0.00001))


def test_a_damaged_archive_a_strange_name_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    path = lean_zip(tmp_path, "forex/oanda/tick/eurusd", "20140508_quote.zip", {"a.csv": ["1,1,2"]})
    path.write_bytes(b"PK nothing")
    with pytest.raises(SourceError, match="cannot be read"):
        read(path, instrument("EURUSD"))
    with pytest.raises(SourceError, match="is no LEAN archive"):
        read(tmp_path / "x.zip", instrument("EURUSD"))
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="there is no LEAN archive below"):
        read(tmp_path / "none", instrument("EURUSD"))


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("path", "symbol", "step", "lot", "quotes", "trades", "ignored"),
    [
        ("lean_fx_cfd/forex/fxcm/tick/eurusd/20140508_quote.zip", "EURUSD", 0.00001, 1.0, 167_466, 0, {}),
        ("lean_fx_cfd/forex/oanda/tick/eurusd/20140508_quote.zip", "EURUSD", 0.00001, 1.0, 87_833, 0, {}),
        ("lean_fx_cfd/cfd/oanda/tick/xauusd/20140508_quote.zip", "XAUUSD", 0.001, 1.0, 199_123, 0, {}),
        ("lean_futures/cme/minute/es/20131007_quote.zip", "ES_201312", 0.25, 1.0, 1_410, 1_344, {"other symbol": 4}),
        (
            "lean_futures/comex/tick/gc/20131007_trade.zip",
            "GC_201312",
            0.1,
            1.0,
            0,
            39_610,
            {"other symbol": 9, "trade without size": 92},
        ),
        ("lean_crypto_minute/coinbase/minute/btcusd/20180404_quote.zip", "BTCUSD", 0.01, 1e-8, 1_437, 1_007, {}),
        ("lean_crypto_minute/coinbase/second/btcusd/20161007_trade.zip", "BTCUSD", 0.01, 1e-8, 0, 4_063, {}),
        ("lean_us_equity/second/ibm/20131007_quote.zip", "IBM", 0.0001, 1.0, 11_676, 5_123, {}),
        ("lean_us_equity/minute/spy/20131007_trade.zip", "SPY", 0.0001, 1.0, 908, 828, {}),
    ],
)
def test_recorded_archives_are_read_whole(
    shared_data: Path,
    path: str,
    symbol: str,
    step: float,
    lot: float,
    quotes: int,
    trades: int,
    ignored: dict[str, int],
) -> None:
    (part,) = FORMATS["lean"].read(shared_data / "market" / path, {symbol: instrument(symbol, step, lot)})
    counts = np.bincount(part.events["action"], minlength=10)
    assert (counts[QUOTE] // 2, counts[TRADE]) == (quotes, trades)
    assert part.ignored == ignored
    assert (np.diff(part.events["ts_event"]) >= 0).all()


@pytest.mark.realdata
def test_two_venues_of_one_pair_agree_once_their_clocks_do(shared_data: Path) -> None:
    mids = {}
    grid = np.arange(1_399_539_600, 1_399_568_400, 60) * 10**9  # 09:00 to 17:00 UTC of 2014-05-08
    for market in ("fxcm", "oanda"):
        path = shared_data / f"market/lean_fx_cfd/forex/{market}/tick/eurusd/20140508_quote.zip"
        events = read(path, instrument("EURUSD", 0.00001))
        best = fold_best(empty_book(), events)
        at = np.searchsorted(events["ts_event"], grid, "right") - 1
        mids[market] = (best[at, 0] + best[at, 2]) / 2
        crossed = (best[:, 0] > best[:, 2]) & ((events["flags"] & F_LAST) > 0) & (best[:, 2] > 0)
        assert int(crossed.sum()) == {"fxcm": 18_285, "oanda": 0}[market]
    assert np.abs(mids["fxcm"] - mids["oanda"]).mean() < 1.5, (
        "0.12 pip on average where the README measured it; a unit is 0.1 pip"
    )

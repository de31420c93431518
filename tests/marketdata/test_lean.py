"""One-sided national quotes carried as one pair, trades after quotes, regular hours only."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from marketdata.book import empty_book, fold_best
from marketdata.codecs.tables import SourceError
from marketdata.events import ASK, BID, F_CROSSED, NONE, QUOTE, TRADE
from marketdata.instruments import BookKind
from marketdata.settings import SettingsError
from marketdata.sources import build_source, preset
from tests.marketdata.recordings import write_lean

DAY = date(2013, 10, 7)
OPEN_MS, CLOSE_MS = 34_200_000, 57_600_000
QUOTES = [
    f"{OPEN_MS - 9},1000000,3,0,0,Q,1,0",
    f"{OPEN_MS - 5},0,0,1000200,4,P,1,0",
    f"{OPEN_MS + 10},1000100,5,0,0,Q,1,0",
    f"{OPEN_MS + 20},0,0,1000000,6,P,1,0",
    f"{OPEN_MS + 30},0,0,1000300,7,P,1,0",
    f"{OPEN_MS + 40},900000,8,0,0,P,1,1",
    f"{CLOSE_MS},1000200,9,0,0,P,1,0",
]
TRADES = [
    f"{OPEN_MS - 1},1000100,1,P,1,0",
    f"{OPEN_MS + 10},1000200,10,P,1,0",
    f"{OPEN_MS + 10},1000100,11,Q,1,0",
    f"{OPEN_MS + 11},1000150,12,Q,1,0",
    f"{OPEN_MS + 12},1000100,13,Q,1,1",
    f"{CLOSE_MS},1000100,14,P,1,0",
]
TICKS = [1_000_000, 1_000_100, 1_000_100, 1_000_000]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lean(tmp_path, "ibm", "20131007", QUOTES, TRADES)
    ticks = [f"{OPEN_MS + k},{price},1,P,1,0" for k, price in enumerate(TICKS)]
    return write_lean(tmp_path, "spy", "20131007", None, ticks)


def test_quotes_come_before_trades_of_their_millisecond_and_the_session_starts_with_the_standing_pair(
    folder: Path,
) -> None:
    settings = preset("lean_equity", folder)
    source = build_source(settings)
    raw = source.raw_ticks(DAY, "IBM")
    assert raw.height == len(QUOTES) + len(TRADES)
    events = source.events(raw, DAY, "IBM")
    opened = settings.market_calendar().session(DAY).open_ns
    seen = [(int(e["ts_event"]) - opened, int(e["action"]), int(e["side"]), int(e["size_lots"])) for e in events[3:]]
    assert fold_best(empty_book(), events[:3])[-1].tolist() == [1_000_000, 3, 1_000_200, 4]
    millisecond = 1_000_000
    assert seen == [
        (10 * millisecond, QUOTE, BID, 5),
        (10 * millisecond, TRADE, ASK, 10),  # at the ask: the ask was resting
        (10 * millisecond, TRADE, BID, 11),
        (11 * millisecond, TRADE, NONE, 12),  # at the middle: nobody knows
        (20 * millisecond, QUOTE, ASK, 6),  # crossed until the next quote
        (30 * millisecond, QUOTE, ASK, 7),
    ]
    assert np.flatnonzero(events["flags"] & F_CROSSED).tolist() == [7]
    assert source.traded_lots(raw, DAY, "IBM") == 10 + 11 + 12


def test_a_symbol_without_quotes_is_a_predictor_whose_trades_are_signed_by_the_tick_test(folder: Path) -> None:
    settings = preset("lean_equity", folder)
    assert settings.instrument("SPY").book_kind is BookKind.TRADES_ONLY
    assert settings.instrument("IBM").book_kind is BookKind.NBBO
    source = build_source(settings)
    events = source.events(source.raw_ticks(DAY, "SPY"), DAY, "SPY")
    assert events["side"].tolist() == [NONE, NONE, ASK, ASK, BID]


def test_a_quote_without_a_side_and_a_malformed_cell_are_refused_with_file_row_and_field(folder: Path) -> None:
    source = build_source(preset("lean_equity", folder))
    raw = source.raw_ticks(DAY, "IBM").with_columns(pl.lit(0).cast(pl.Int64).alias("bid_price"))
    with pytest.raises(SourceError, match="lean_equity IBM 2013-10-07: row 1, field bid_price: a quote without bid"):
        source.events(raw, DAY, "IBM")
    write_lean(folder, "ibm", "20131007", [*QUOTES[:2], QUOTES[2].replace("1000100", "1OO0100")], TRADES)
    with pytest.raises(SourceError, match=r"20131007_quote\.zip: row 3, field bid_price: '1OO0100' is not an integer"):
        source.raw_ticks(DAY, "IBM")
    write_lean(folder, "ibm", "20131007", [*QUOTES[:2], "1,2,3"], TRADES)
    with pytest.raises(SourceError, match="row 3: has 3 fields, expected 8"):
        source.raw_ticks(DAY, "IBM")


def test_a_folder_without_ticks_or_a_damaged_archive_is_named(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match=r"empty: no tick/SYMBOL/DATE_trade\.zip"):
        preset("lean_equity", tmp_path / "empty")
    (folder / "tick" / "spy" / "20131007_trade.zip").write_bytes(b"PK no archive")
    with pytest.raises(SettingsError, match=r"20131007_trade\.zip: cannot be read"):
        preset("lean_equity", folder)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("symbol", "crossed", "locked", "inside"),
    [("IBM", 0.0008, 0.006, 0.97), ("BAC", 0.0, 0.018, 0.998), ("AIG", 0.0002, 0.026, 0.96)],
)
def test_crossed_and_locked_shares_are_those_of_the_recording(
    shared_data: Path, symbol: str, crossed: float, locked: float, inside: float
) -> None:
    settings = preset("lean_equity", shared_data / "market" / "lean_us_equity")
    source = build_source(settings)
    events = source.events(source.raw_ticks(DAY, symbol), DAY, symbol)
    best = fold_best(empty_book(), events)
    quotes, trades = events["action"] == QUOTE, events["action"] == TRADE
    assert abs((best[quotes, 0] > best[quotes, 2]).mean() - crossed) < 0.0001
    assert abs((best[quotes, 0] == best[quotes, 2]).mean() - locked) < 0.001
    price = events["price_units"][trades]
    low, high = np.minimum(best[trades, 0], best[trades, 2]), np.maximum(best[trades, 0], best[trades, 2])
    assert abs(((price >= low) & (price <= high)).mean() - inside) < 0.005
    assert len(events) / settings.sampling.every_events < settings.sampling.max_rows

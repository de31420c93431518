"""The rebuilt book equals the recorded one at every row; executions stand where NASDAQ had them."""

import gzip
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from marketdata.book import COUNT_MISSING, empty_book, fold_best
from marketdata.codecs import lobster
from marketdata.codecs.tables import SourceError
from marketdata.events import ASK, BID, EXECUTE, F_LAST, F_SNAPSHOT, HIDDEN, EventArray
from marketdata.sources import build_source, preset
from tests.marketdata.recordings import write_lobster

DAY = date(2012, 6, 21)


def book_after_each_message(events: EventArray, levels: int) -> np.ndarray:
    """The book's top levels at the end of each group in the file's own column order, by dictionaries."""
    sides: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
    out = []
    names = ("action", "side", "price_units", "size_lots", "flags")
    for action, side, price, size, flags in zip(*(events[c].tolist() for c in names), strict=True):
        if action == 9:
            sides = {BID: {}, ASK: {}}
        elif action in (1, 2, 3, 4):
            sides[side][price] = sides[side].get(price, 0) + (size if action == 1 else -size)
        elif action == 7:
            sides[side][price] = size
        if action in (1, 2, 3, 4, 7) and sides[side][price] <= 0:
            del sides[side][price]
        if flags & F_LAST:
            top = {s: sorted(sides[s].items(), reverse=s == BID) for s in (BID, ASK)}
            assert len(top[BID]) <= levels
            assert len(top[ASK]) <= levels
            out.append([v for k in range(levels) for s in (ASK, BID) for v in top[s][k]])
    return np.array(out)


@pytest.mark.parametrize(("levels", "seed"), [(1, 3), (3, 4), (5, 5)])
def test_the_rebuilt_book_equals_the_recorded_one_at_every_row_of_a_random_market(
    tmp_path: Path, levels: int, seed: int
) -> None:
    (file,) = lobster.find_files([write_lobster(tmp_path, levels=levels, seed=seed)])
    raw = lobster.read_raw(file)
    events = lobster.parse(raw, DAY, 0, "made up")
    recorded = raw.select(lobster.book_columns(levels)).to_numpy()
    np.testing.assert_array_equal(book_after_each_message(events, levels), recorded)
    book = empty_book()
    fold_best(book, events)
    assert book.counters[COUNT_MISSING] == 0


def test_the_deepest_and_longest_pair_of_a_symbol_is_taken_and_a_message_file_without_its_book_is_not(
    tmp_path: Path,
) -> None:
    write_lobster(tmp_path, levels=1)
    write_lobster(tmp_path, levels=3)
    (tmp_path / "AMZN_2012-06-21_34200000_57600000_message_50.csv.gz").write_bytes(b"")
    assert [(f.symbol, f.levels) for f in lobster.find_files([tmp_path])] == [("AMZN", 3)]


def test_two_files_of_different_length_are_refused_by_name(tmp_path: Path) -> None:
    (file,) = lobster.find_files([write_lobster(tmp_path)])
    lines = gzip.decompress(file.books.read_bytes()).splitlines(keepends=True)
    file.books.write_bytes(gzip.compress(b"".join(lines[:-5])))
    with pytest.raises(SourceError, match=r"orderbook_3\.csv\.gz: 395 book rows for 400 messages"):
        lobster.read_raw(file)


def test_an_unknown_message_type_is_refused_with_its_row(tmp_path: Path) -> None:
    (file,) = lobster.find_files([write_lobster(tmp_path)])
    raw = lobster.read_raw(file).with_columns(pl.lit(9).cast(pl.Int64).alias("type"))
    with pytest.raises(SourceError, match="row 1, field type: 9 is no message type"):
        lobster.parse(raw, DAY, 0, "made up")


@pytest.mark.realdata
def test_amazon_and_apple_are_rebuilt_exactly_and_trade_where_nasdaq_says(shared_data: Path) -> None:
    settings = preset("lobster", shared_data / "market" / "lobster")
    assert [item.symbol for item in settings.instruments] == ["AMZN", "AAPL"]
    source = build_source(settings)
    depth = {"AMZN": (5, 155_935), "AAPL": (1, 118_497)}
    for symbol, (levels, rows) in depth.items():
        raw = source.raw_ticks(DAY, symbol)
        events = source.events(raw, DAY, symbol)
        assert raw.height == rows
        recorded = raw.select(lobster.book_columns(levels)).to_numpy()
        np.testing.assert_array_equal(book_after_each_message(events, levels), recorded)
        best = fold_best(empty_book(), events)
        ends = np.flatnonzero(events["flags"] & F_LAST)
        group = np.searchsorted(ends, np.arange(len(events)))
        before = best[ends[np.maximum(group - 1, 0)]]
        visible, hidden = events["action"] == EXECUTE, events["action"] == HIDDEN
        own_best = np.where(events["side"] == BID, before[:, 0], before[:, 2])
        assert (events["price_units"][visible] == own_best[visible]).all(), (
            "executions of one aggressor are one row each"
        )
        price = events["price_units"][hidden]
        assert ((price >= before[hidden, 0]) & (price <= before[hidden, 2])).all()
        assert (price % 100 != 0).any(), "some hidden orders trade between ticks"
        assert source.traded_lots(raw, DAY, symbol) == int(events["size_lots"][visible | hidden].sum())
        assert int((events["flags"] & F_SNAPSHOT == 0).sum()) >= rows - 1

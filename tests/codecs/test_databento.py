"""Databento records become events in which volume is counted once and the book is the vendor's."""

from pathlib import Path

import numpy as np
import pytest

from marketdata.book import COUNT_MISSING, empty_book, fold_best
from marketdata.codecs.databento import _DTYPES, read_dbn
from marketdata.codecs.tables import SourceError
from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    DELETE,
    EXECUTE,
    F_LAST,
    F_SNAPSHOT,
    LEVEL,
    NONE,
    REDUCE,
    STATUS,
    TRADE,
)  # fmt: skip
from marketdata.invariants import InvariantState, broken_rows
from tests.codecs.market_files import DBN_SYMBOL, dbn_file, instrument, mbo, mbp

dbn = pytest.importorskip("databento_dbn")
WANTED = {DBN_SYMBOL: instrument(DBN_SYMBOL, 0.25)}
SNAP, LAST = 40, 128

START = [
    mbo(0, "A", "B", 100.0, 5, 1, SNAP), mbo(0, "A", "B", 99.75, 4, 2, SNAP), mbo(0, "A", "A", 100.25, 3, 3, SNAP),
    mbo(0, "A", "A", 100.25, 6, 4, SNAP),
]  # fmt: skip
LIVE = [
    mbo(1, "M", "B", 100.0, 2, 1, LAST),
    # a buyer takes 7: order 3 whole, 4 of order 4; the venue's cancel and modify follow in the same event
    mbo(2, "T", "B", 100.25, 7, 9), mbo(2, "F", "A", 100.25, 3, 3), mbo(2, "F", "A", 100.25, 4, 4),
    mbo(3, "C", "A", 100.25, 3, 3), mbo(3, "M", "A", 100.25, 2, 4, LAST),
    mbo(4, "M", "A", 100.5, 2, 4, LAST),
    mbo(5, "M", "B", 99.75, 9, 2, LAST),
    mbo(6, "C", "B", 99.75, 4, 2, LAST),
    mbo(7, "A", "A", 101.0, 1, 5, 0, number=5), mbo(7, "A", "A", 101.0, 1, 6, LAST),
    # an auction: fills on both sides at a price that is no order's, then the cancels
    mbo(8, "T", "N", 100.75, 2, 0), mbo(8, "F", "N", 100.75, 2, 1), mbo(8, "F", "N", 100.75, 2, 4), mbo(9, "C", "B", 100.0, 2, 1),
    mbo(9, "C", "A", 100.5, 2, 4, LAST),
]  # fmt: skip
EXPECTED = [
    (CLEAR, NONE, 0, 0, 0), (ADD, BID, 400, 5, 1), (ADD, BID, 399, 4, 2), (ADD, ASK, 401, 3, 3), (ADD, ASK, 401, 6, 4),
    (REDUCE, BID, 400, 3, 1),
    (EXECUTE, ASK, 401, 3, 3), (EXECUTE, ASK, 401, 4, 4),
    (DELETE, ASK, 401, 2, 4), (ADD, ASK, 402, 2, 4),
    (DELETE, BID, 399, 4, 2), (ADD, BID, 399, 9, 2),
    (REDUCE, BID, 399, 4, 2),
    (ADD, ASK, 404, 1, 6),
    (TRADE, NONE, 403, 2, 0), (DELETE, BID, 400, 2, 1), (DELETE, ASK, 402, 2, 4),
]  # fmt: skip


def read(path: Path, **more: int) -> tuple[np.ndarray, dict[str, int], list[object]]:
    parts = list(read_dbn(path, WANTED, **more))
    ignored: dict[str, int] = {}
    for part in parts:
        for name, count in part.ignored.items():
            ignored[name] = ignored.get(name, 0) + count
    return np.concatenate([part.events for part in parts]), ignored, [gap for part in parts for gap in part.gaps]


def rows(events: np.ndarray) -> list[tuple[int, ...]]:
    names = ("action", "side", "price_units", "size_lots", "order_id")
    return list(zip(*(events[name].tolist() for name in names), strict=True))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_fill_takes_its_order_at_once_and_the_cancel_after_it_only_what_is_left(tmp_path: Path, zipped: bool) -> None:
    events, ignored, gaps = read(dbn_file(tmp_path / "a.dbn", "mbo", [*START, *LIVE], zipped=zipped))
    assert rows(events) == EXPECTED
    assert ignored == {"record SymbolMappingMsg": 1, "other instrument": 1, "fill of no resting order at its price": 2}
    assert gaps == []
    assert events["flags"][:5].tolist() == [F_SNAPSHOT] * 4 + [F_SNAPSHOT | F_LAST]
    ends = np.append(events["sequence"][1:] != events["sequence"][:-1], True)
    np.testing.assert_array_equal((events["flags"] & F_LAST) > 0, ends)
    assert set(events["instrument_id"].tolist()) == {3}
    assert (events["ts_recv"] - events["ts_event"] == 4).all()


@pytest.mark.parametrize("size", [1, 57, 300])
def test_the_pieces_that_the_file_is_read_in_change_nothing(tmp_path: Path, size: int) -> None:
    path = dbn_file(tmp_path / "a.dbn.zst", "mbo", [*START, *LIVE])
    np.testing.assert_array_equal(read(path, batch_bytes=size)[0], read(path)[0])
    shorter = dbn_file(tmp_path / "b.dbn.zst", "mbo", [*START, *LIVE[:6]])
    early = read(shorter)[0]
    np.testing.assert_array_equal(early, read(path)[0][: len(early)])


@pytest.mark.parametrize("size", [57, 1 << 20])
def test_a_book_that_is_crossed_before_anything_traded_is_in_its_call_and_later_it_is_wrong(
    tmp_path: Path, size: int
) -> None:
    records = [
        mbo(1, "A", "B", 100.0, 5, 1, LAST), mbo(2, "A", "A", 100.25, 5, 2, LAST),
        mbo(3, "A", "B", 100.5, 2, 3, LAST),  # the call begins
        mbo(4, "A", "A", 100.0, 1, 4, LAST),
        mbo(5, "T", "N", 100.25, 2, 0, 0), mbo(6, "F", "B", 100.25, 2, 3, 0), mbo(7, "C", "B", 100.5, 2, 3, LAST),
        mbo(8, "C", "A", 100.0, 1, 4, LAST),  # and here it ends
        mbo(9, "A", "B", 101.0, 1, 5, LAST),
    ]  # fmt: skip
    events, _, _ = read(dbn_file(tmp_path / "a.dbn", "mbo", records), batch_bytes=size)
    told = events["action"] == STATUS
    assert events["size_lots"][told].tolist() == [0, 1]
    assert events["ts_event"][told].tolist() == [events["ts_event"][k - 1] for k in np.flatnonzero(told)]
    ends = np.append(events["sequence"][1:] != events["sequence"][:-1], True)
    np.testing.assert_array_equal((events["flags"] & F_LAST) > 0, ends)
    broken = broken_rows(InvariantState(), events, WANTED[DBN_SYMBOL]).rows["book_is_never_crossed"]
    assert np.flatnonzero(broken).tolist() == [len(events) - 1]


def test_a_channel_that_lost_packets_leaves_the_book_unknown(tmp_path: Path) -> None:
    more = [
        mbo(20, "A", "B", 99.0, 1, 50, LAST | 4),
        mbo(21, "C", "B", 99.75, 5, 2, LAST),
        mbo(22, "M", "B", 98.0, 5, 7, LAST),
    ]
    events, ignored, gaps = read(dbn_file(tmp_path / "a.dbn.zst", "mbo", [*START, *LIVE, *more]))
    assert rows(events)[len(EXPECTED) :] == [(CLEAR, NONE, 0, 0, 0), (ADD, BID, 396, 1, 50), (ADD, BID, 392, 5, 7)]
    assert [(gap.symbol, gap.found) for gap in gaps] == [(DBN_SYMBOL, 1_020)]
    assert ignored["order from before the start or a gap"] == 2


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (mbo(9, "C", "B", 100.0, 1, 999, LAST), "names an order that does not rest"),
        (mbo(9, "A", "B", 100.0, 1, 1, LAST), "adds an order that rests already"),
        (mbo(9, "C", "B", 100.0, 6, 1, LAST), "cancels more than the order has"),
        (mbo(9, "A", "B", 100.1, 1, 8, LAST), "the price is off the instrument's grid"),
        (mbo(9, "A", "N", 100.0, 1, 8, LAST), "an order has no side"),
    ],
)
def test_a_record_that_contradicts_the_book_is_refused(tmp_path: Path, record: object, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        read(dbn_file(tmp_path / "a.dbn.zst", "mbo", [*START, record]))


def test_levels_become_rows_where_they_differ(tmp_path: Path) -> None:
    records = [
        mbp(0, "A", "B", 100.0, 5, [(100.0, 5, 100.25, 3)]),
        mbp(1, "T", "B", 100.25, 2, [(100.0, 5, 100.25, 3)]),
        mbp(2, "C", "A", 100.25, 3, [(100.0, 5, 0.0, 0)]),
    ]
    events, _, _ = read(dbn_file(tmp_path / "a.dbn.zst", "mbp-1", records))
    assert rows(events) == [
        (CLEAR, NONE, 0, 0, 0), (LEVEL, BID, 400, 5, 0), (LEVEL, ASK, 401, 3, 0), (TRADE, ASK, 401, 2, 0),
        (LEVEL, ASK, 401, 0, 0),
    ]  # fmt: skip
    ten = [(100.0 - k / 4, k + 1, 100.25 + k / 4, k + 2) for k in range(10)]
    lower = [(99.75 - k / 4, k + 2, 100.25 + k / 4, k + 2) for k in range(10)]
    events, _, _ = read(
        dbn_file(tmp_path / "b.dbn.zst", "mbp-10", [mbp(0, "A", "B", 0.0, 0, ten), mbp(1, "C", "B", 100.0, 1, lower)])
    )
    book = empty_book()
    assert fold_best(book, events)[-1].tolist() == [399, 2, 401, 2]
    assert book.count.tolist() == [10, 10]
    assert len(events) == 1 + 20 + 2


def test_what_is_no_dbn_file_is_refused_by_name(tmp_path: Path) -> None:
    path = dbn_file(tmp_path / "a.dbn", "mbo", START, zipped=False)
    whole = path.read_bytes()
    for data, reason in (
        (b"no dbn file at all", "cannot be decoded"),
        (whole[:40], "ends before its metadata"),
        (whole[:-9], "is cut off: 47 bytes"),
    ):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=rf"a\.dbn: {reason}"):
            read(path)
    zipped = dbn_file(tmp_path / "b.dbn.zst", "mbo", START)
    whole = zipped.read_bytes()
    for data, reason in (
        (whole[:-5], "is cut off: the last zstd frame"),
        (whole[:20] + b"\xff" * 20, "cannot be read|is cut off"),
    ):
        zipped.write_bytes(data)
        with pytest.raises(SourceError, match=reason):
            read(zipped)


def test_records_have_the_layout_that_the_vendors_library_describes() -> None:
    for schema, record in (
        ("mbo", dbn.MBOMsg),
        ("trades", dbn.TradeMsg),
        ("mbp-1", dbn.MBP1Msg),
        ("mbp-10", dbn.MBP10Msg),
    ):
        theirs = np.dtype(record._dtypes)
        assert _DTYPES[schema].itemsize == theirs.itemsize
        for name in ("ts_event", "price", "size", "flags", "action", "side", "ts_recv", "sequence"):
            assert _DTYPES[schema].fields[name][1] == theirs.fields[name][1], (schema, name)


@pytest.mark.realdata
def test_a_recorded_day_is_the_vendors_book_at_every_event_and_has_its_volume(shared_data: Path) -> None:
    folder = shared_data / "market/vendor_samples/databento"
    wanted = {"ESH4": instrument("ESH4", 0.25)}
    before, day = (folder / f"esh4-glbx-mdp3-{name}.mbo.dbn.zst" for name in ("20231224", "20231225"))
    resting = np.concatenate([part.events for part in read_dbn(before, wanted)])
    assert np.bincount(resting["action"]).tolist() == [0, 8_725, 0, 0, 0, 0, 0, 0, 0, 1]
    events = np.concatenate([part.events for part in read_dbn(day, wanted)])
    assert np.bincount(events["action"]).tolist() == [0, 39_182, 1_367, 22_703, 6_202, 0, 28, 0, 0, 1, 2]
    decoder = dbn.DBNDecoder()
    import zstandard

    decoder.write(zstandard.ZstdDecompressor().stream_reader(day.open("rb")).read())
    records = decoder.decode()[1:]
    assert len(records) == 68_792
    assert (int(events["ts_event"][0]), int(events["ts_event"][-1])) == (records[0].ts_event, records[-1].ts_event)
    traded = sum(record.size for record in records if str(record.action) == "T")
    assert int(events["size_lots"][np.isin(events["action"], (EXECUTE, TRADE))].sum()) == traded == 9_892
    best = fold_best(book := empty_book(8_192), events)
    assert book.counters[COUNT_MISSING] == 0
    ours = best[np.flatnonzero(events["flags"] & F_LAST)]
    orders: dict[int, tuple[str, int, int]] = {}
    levels: dict[str, dict[int, int]] = {"B": {}, "A": {}}
    theirs = []

    def change(order: int, by: int) -> None:
        side, price, _ = orders[order]
        levels[side][price] = levels[side].get(price, 0) + by
        if levels[side][price] == 0:
            del levels[side][price]

    dirty = True
    state = (0, 0, 0, 0)
    for k, record in enumerate(
        records
    ):  # the vendor's rule: adds, cancels and modifies make the book, trades and fills do not
        action, order = str(record.action), record.order_id
        if action in "AM":
            if order in orders:
                change(order, -orders[order][2])
            orders[order] = (str(record.side), record.price, record.size)
            change(order, record.size)
            dirty = True
        elif action == "C":
            side, price, size = orders[order]
            change(order, -record.size)
            orders[order] = (side, price, size - record.size)
            dirty = True
            if size == record.size:
                del orders[order]
        flags = int(record.flags)
        if flags & 128 or (flags & 32 and not int(records[k + 1].flags) & 32):
            if dirty:
                bid, ask = max(levels["B"]), min(levels["A"])
                state = (bid // 250_000_000, levels["B"][bid], ask // 250_000_000, levels["A"][ask])
                dirty = False
            theirs.append(state)
    np.testing.assert_array_equal(_without_repeats(ours), _without_repeats(np.array(theirs)))
    crossed = ours[:, 0] >= ours[:, 2]
    stamps = events["ts_event"][np.flatnonzero(events["flags"] & F_LAST)]
    assert int(crossed.sum()) == 891
    assert (stamps[crossed] < 1_703_545_200_000_000_000).all(), "crossed only before the opening auction of 23:00 UTC"
    assert not broken_rows(InvariantState(), events, wanted["ESH4"]).rows["book_is_never_crossed"].any()
    told = events[events["action"] == STATUS]
    assert told["size_lots"].tolist() == [0, 1] * (len(told) // 2)


def _without_repeats(states: np.ndarray) -> np.ndarray:
    """Groups that change nothing give no row of ours (a modify of nothing): compare the states themselves."""
    return states[np.append(True, (states[1:] != states[:-1]).any(axis=1))]

"""FIX messages are taken whole or refused with the byte and the reason; market data becomes rows."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.book import empty_book, fold_best
from marketdata.codecs.fix import FixCodec
from marketdata.codecs.fix_message import FixError, make_message, parse_message
from marketdata.codecs.fix_splitter import FixSplitter, message_places
from marketdata.events import ADD, ASK, BID, CLEAR, DELETE, F_LAST, F_SNAPSHOT, LEVEL, NONE, REDUCE, TRADE
from marketdata.frames import QUARANTINE, FrameBatch, FrameError, frame_batch
from marketdata.instruments import Instrument

EURUSD = Instrument(
    symbol="EURUSD", instrument_id=4, venue="fix", unit_nanos=1, price_decimals=0.00001, lot_size=1000.0
)
GBPUSD = Instrument(
    symbol="GBPUSD", instrument_id=7, venue="fix", unit_nanos=1, price_decimals=0.00001, lot_size=1000.0
)
PAIRS = {"EUR/USD": EURUSD, "GBP/USD": GBPUSD}
SENT = 1_320_663_178_256_000_000  # 2011-11-07 10:52:58.256 UTC


def message(kind: str, seq: int, *fields: tuple[int, str], sender: str = "XUAT", time: str = "10:52:58.256") -> bytes:
    head = [(35, kind), (49, sender), (56, "MD"), (34, str(seq)), (52, f"20111107-{time}")]
    return make_message([*head, *fields])


def full(seq: int, symbol: str, *entries: tuple[str, str, str], ids: int = 0) -> bytes:
    fields = [(55, symbol), (268, str(len(entries)))]
    for k, (kind, price, size) in enumerate(entries):
        fields += [(269, kind), *([(278, str(ids + k))] if ids else []), (270, price), (271, size)]
    return message("W", seq, *fields)


def change(seq: int, *entries: list[tuple[int, str]]) -> bytes:
    return message("X", seq, (268, str(len(entries))), *(field for entry in entries for field in entry))


def bid(
    action: str, price: str, size: str | None = None, symbol: str = "EUR/USD", **more: str
) -> list[tuple[int, str]]:
    sized = [(271, size)] if size is not None else []
    named = [(278, more["name"])] if "name" in more else []
    return [(279, action), (269, more.get("kind", "0")), *named, (55, symbol), (270, price), *sized]


def decode(frames: list[bytes], **options: object) -> tuple[np.ndarray, object]:
    codec = FixCodec(PAIRS, **options)
    _, decoded = codec.step(codec.init(), frame_batch([(k + 1, frame) for k, frame in enumerate(frames)], "fix"))
    return decoded.events, decoded


def rows(events: np.ndarray) -> list[tuple[int, ...]]:
    names = ("instrument_id", "action", "side", "price_units", "size_lots", "flags")
    return list(zip(*(events[name].tolist() for name in names), strict=True))


START = full(1, "EUR/USD", ("0", "1.37277", "1000000"), ("1", "1.37291", "2000000"), ("0", "1.3727", "500000"))


def test_a_full_refresh_is_a_clear_and_flagged_levels_and_increments_change_them() -> None:
    events, decoded = decode(
        [
            START,
            change(2, bid("0", "1.37278", "3000"), bid("2", "1.37277"), bid("0", "1.3728", "1000", kind="2")),
        ]
    )
    snap = F_SNAPSHOT
    assert rows(events) == [
        (4, CLEAR, NONE, 0, 0, snap),
        (4, LEVEL, BID, 137_277, 1_000, snap),
        (4, LEVEL, ASK, 137_291, 2_000, snap),
        (4, LEVEL, BID, 137_270, 500, snap | F_LAST),
        (4, LEVEL, BID, 137_278, 3, 0),
        (4, LEVEL, BID, 137_277, 0, 0),
        (4, TRADE, NONE, 137_280, 1, F_LAST),
    ]
    assert events["ts_event"].tolist() == [SENT] * 7
    assert events["ts_recv"].tolist() == [1] * 4 + [2] * 3
    assert events["sequence"].tolist() == [1] * 4 + [2] * 3
    assert decoded.wants_snapshot == ()


def test_entries_of_a_snapshot_at_one_price_are_added_up() -> None:
    events, _ = decode([full(1, "EUR/USD", ("0", "1.2", "1000"), ("0", "1.2", "4000"))])
    assert fold_best(empty_book(), events)[-1].tolist() == [120_000, 5, 0, 0]


def test_the_last_row_of_each_instrument_in_a_message_closes_its_group() -> None:
    other = full(2, "GBP/USD", ("1", "1.6", "1000"))
    both = change(3, bid("0", "1.37", "1000"), bid("0", "1.59", "2000", "GBP/USD"), bid("1", "1.371", "1000"))
    events, _ = decode([START, other, both])
    assert rows(events)[-3:] == [
        (4, LEVEL, BID, 137_000, 1, 0),
        (7, LEVEL, BID, 159_000, 2, F_LAST),
        (4, LEVEL, BID, 137_100, 1, F_LAST),
    ]


def test_an_entry_without_a_symbol_belongs_to_the_one_before_and_its_own_time_counts_on_the_nearest_day() -> None:
    late = [(279, "0"), (269, "0"), (55, "EUR/USD"), (270, "1.3"), (271, "1000"), (273, "23:59:59.5")]
    plain = [(279, "0"), (269, "1"), (270, "1.4"), (271, "1000")]
    head = [(35, "X"), (49, "XUAT"), (56, "MD"), (34, "2"), (52, "20111107-00:00:00.100"), (268, "2")]
    events, _ = decode([START, make_message([*head, *late, *plain])])
    midnight = 1_320_624_000_000_000_000
    assert events["ts_event"][-2:].tolist() == [midnight - 500_000_000, midnight + 100_000_000]
    assert events["instrument_id"][-1] == 4


def test_a_venue_that_names_entries_gives_orders_that_keep_or_lose_their_place() -> None:
    events, _ = decode(
        [
            full(1, "EUR/USD", ("0", "1.3", "5000"), ("1", "1.4", "5000"), ids=10),
            change(2, bid("1", "1.3", "2000", name="10")),
            change(3, bid("1", "1.3", "9000", name="10")),
            change(4, [(279, "2"), (269, "0"), (278, "10"), (55, "EUR/USD")]),
            change(5, bid("0", "1.31", "1000", name="order-a")),
            change(6, bid("1", "1.31", "1000", name="order-a")),
        ],
        entries="id",
    )
    assert rows(events)[3:] == [
        (4, REDUCE, BID, 130_000, 3, F_LAST),
        (4, DELETE, BID, 130_000, 2, 0),
        (4, ADD, BID, 130_000, 9, F_LAST),
        (4, DELETE, BID, 130_000, 9, F_LAST),
        (4, ADD, BID, 131_000, 1, F_LAST),
    ]
    assert events["order_id"][:5].tolist() == [0, 10, 11, 10, 10]
    assert events["order_id"][-1] > 2**62, "a name that is no number is hashed above every number of 18 digits"


def test_a_hole_in_the_numbers_clears_the_books_of_its_session_and_asks_for_snapshots() -> None:
    codec = FixCodec(PAIRS)
    frames = [START, change(4, bid("0", "1.3", "1000"), bid("0", "1.5", "1000", kind="2"))]
    state, decoded = codec.step(codec.init(), frame_batch([(9, frame) for frame in frames]))
    assert decoded.gaps == (("EUR/USD", 9, 2, 4),)
    assert decoded.wants_snapshot == ("EUR/USD",)
    assert rows(decoded.events)[4:] == [(4, CLEAR, NONE, 0, 0, F_LAST), (4, TRADE, NONE, 150_000, 1, F_LAST)]
    assert decoded.events["sequence"][4:].tolist() == [2, 4]
    assert decoded.ignored == {"entry before the snapshot": 1}
    again = full(5, "EUR/USD", ("0", "1.31", "1000"))
    _, decoded = codec.step(state, frame_batch([(10, again)]))
    assert decoded.wants_snapshot == ()
    assert fold_best(empty_book(), decoded.events)[-1].tolist() == [131_000, 1, 0, 0]


def test_duplicates_are_passed_over_lower_numbers_refused_and_a_reset_begins_again_without_stepping_back() -> None:
    twice = make_message(
        [(35, "X"), (49, "XUAT"), (56, "MD"), (34, "1"), (43, "Y"), (52, "20111107-10:52:58.256"), (268, "0")]
    )
    _, decoded = decode([START, twice])
    assert decoded.ignored == {"duplicate": 1}
    with pytest.raises(FrameError, match=r"fix: frame 1 of fix, byte 0: MsgSeqNum \(34\) is lower than expected"):
        decode([START, full(1, "EUR/USD")])
    logon = message("A", 1, (98, "0"), (108, "30"), (141, "Y"))
    again = full(2, "EUR/USD", ("0", "1.2", "1000"))
    events, decoded = decode([START, full(2, "GBP/USD", ("0", "1.6", "1000")), logon, again])
    assert decoded.gaps == ()
    assert events["action"].tolist().count(CLEAR) == 5, "three snapshots, and two books that the logon made unknown"
    assert (np.diff(events["sequence"]) >= 0).all()


def test_strict_mode_refuses_a_wrong_length_or_checksum_and_lenient_mode_counts_them() -> None:
    wrong_sum = START[:-4] + b"%03d\x01" % ((int(START[-4:-1]) + 1) % 256)
    at = START.index(b"9=")
    wrong_length = START[:at] + b"9=7\x01" + START[START.index(b"35=") :]
    for frame, reason in ((wrong_sum, r"CheckSum \(10\) is wrong"), (wrong_length, "are wrong")):
        with pytest.raises(FrameError, match=reason):
            decode([frame])
        events, decoded = decode([frame], strict=False)
        assert len(events) == 4
        assert [key for key in decoded.ignored if key.startswith("tolerated")]
    assert parse_message(wrong_sum, strict=False).faults == ("CheckSum (10) is wrong",)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(START) - 1), st.integers(1, 255))
def test_no_byte_can_change_unseen(place: int, by: int) -> None:
    damaged = bytearray(START)
    damaged[place] = (damaged[place] + by) % 256
    with pytest.raises(FrameError) as caught:
        decode([bytes(damaged)])
    assert caught.value.venue == "fix"
    assert 0 <= caught.value.offset <= len(START)
    with pytest.raises(FixError):
        parse_message(bytes(damaged))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (change(2, bid("0", "1.372771", "1000")), r"MDEntryPx \(270\) is off the instrument's price grid"),
        (change(2, bid("0", "1.37", "1500")), r"MDEntrySize \(271\) is off the instrument's lot grid"),
        (change(2, bid("0", "1.3x", "1000")), r"MDEntryPx \(270\) is not a number"),
        (change(2, bid("0", "1.3", "-1000")), r"MDEntrySize \(271\) is not a number of zero or more"),
        (change(2, bid("5", "1.3", "1000")), r"MDUpdateAction \(279\)"),
        (change(2, [(279, "0"), (55, "EUR/USD"), (270, "1.3"), (271, "1000")]), r"no MDEntryType \(269\)"),
        (change(2, [(279, "0"), (269, "0"), (270, "1.3"), (271, "1000")]), "no symbol"),
        (change(2, [(279, "0"), (269, "0"), (55, "EUR/USD"), (271, "1000")]), r"no MDEntryPx \(270\)"),
        (change(2, bid("0", "1.3")), r"no MDEntrySize \(271\)"),
        (message("X", 2, (268, "2"), *bid("0", "1.3", "1000")), r"NoMDEntries \(268\)"),
        (message("X", 2, (268, "0"), time="10:61:00"), "time is not"),
        (make_message([(35, "0"), (49, "a"), (56, "b")]), r"no MsgSeqNum \(34\)"),
        (b"hello", "does not begin with 8=FIX"),
        (b"8=FIX.4.4\x0135=X\x01", "BodyLength"),
        (START[:-1], "CheckSum"),
        (START + b"\n", "CheckSum"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(frame: bytes, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        decode([START, frame])
    _, decoded = decode([START, frame], policy=QUARANTINE)
    assert [item.frame for item in decoded.rejected] == [1]


def test_a_refused_message_counts_as_not_received() -> None:
    frames = [START, change(2, bid("0", "1.372771", "1000")), change(3, bid("0", "1.3", "1000"))]
    events, decoded = decode(frames, policy=QUARANTINE)
    assert decoded.gaps == (("EUR/USD", 3, 2, 3),)
    assert rows(events)[4:] == [(4, CLEAR, NONE, 0, 0, F_LAST)]
    events, decoded = decode(frames, policy=QUARANTINE, numbered=False)
    assert rows(events)[4:] == [(4, CLEAR, NONE, 0, 0, F_LAST)], "without numbers the books go at once"


def test_an_order_named_twice_or_never_leaves_its_book_unknown() -> None:
    start = full(1, "EUR/USD", ("0", "1.3", "5000"), ids=10)
    for entry in (bid("0", "1.3", "1000", name="10"), bid("1", "1.3", "1000", name="99")):
        events, decoded = decode(
            [start, change(2, bid("0", "1.29", "1000", name="12"), entry)], entries="id", policy=QUARANTINE
        )
        assert rows(events)[2:] == [(4, CLEAR, NONE, 0, 0, F_LAST)]
        assert decoded.wants_snapshot == ("EUR/USD",)
        assert len(decoded.rejected) == 1


def test_a_data_field_may_hold_delimiters() -> None:
    text = "8=FIX\x0110=000\x01"
    head = [
        (35, "B"),
        (49, "XUAT"),
        (56, "MD"),
        (34, "1"),
        (52, "20111107-10:52:58.256"),
        (95, str(len(text))),
        (96, text),
    ]
    news = make_message(head)
    assert parse_message(news).get(96) == text.encode()
    _, decoded = decode([news])
    assert decoded.ignored == {"news": 1}
    assert FixSplitter().feed(news + START) == [news, START]


def test_groups_are_read_by_their_count_or_refused() -> None:
    entries = parse_message(START).group(268)
    assert [entry[270] for entry in entries] == [b"1.37277", b"1.37291", b"1.3727"]
    wrong = message("W", 1, (55, "EUR/USD"), (268, "2"), (269, "0"), (270, "1.3"))
    with pytest.raises(FixError, match="group 268 says 2 entries and has 1"):
        parse_message(wrong).group(268)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3_000), max_size=12), st.booleans())
def test_the_splitter_gives_the_same_messages_whatever_pieces_come(cuts: list[int], broken: bool) -> None:
    middle = START.replace(b"9=", b"9=9") if broken else START
    stream = b"\r\n".join([START, middle, b"noise", change(2, bid("0", "1.3", "1000")), START])
    whole = FixSplitter()
    expected = whole.feed(stream) + whole.close()
    assert expected[0] == START
    assert b"noise" in b"".join(expected)
    assert len(expected) == 5
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    splitter, found = FixSplitter(), []
    for k in range(len(places) - 1):
        found += splitter.feed(stream[places[k] : places[k + 1]])
    assert found + splitter.close() == expected


def log_batch(data: bytes) -> FrameBatch:
    return frame_batch([(0, data[a:b]) for a, b in message_places(data)])


@pytest.mark.realdata
def test_recorded_messages_are_refused_exactly_where_length_or_checksum_is_wrong(shared_data: Path) -> None:
    folder = shared_data / "market" / "protocol_samples" / "fix"
    orders = log_batch((folder / "100FIX42.dat").read_bytes())
    assert len(orders) == 100
    strict = FixCodec(PAIRS, policy=QUARANTINE)
    _, decoded = strict.step(strict.init(), orders)
    assert len(decoded.rejected) == 100
    lenient = FixCodec(PAIRS, strict=False, numbered=False)
    _, decoded = lenient.step(lenient.init(), orders)
    assert decoded.ignored["new order single"] == 75
    assert decoded.ignored["execution report"] == 25
    kinds = [parse_message(orders.frame(k), strict=False) for k in range(100)]
    assert [sum(m.msg_type == kind for m in kinds) for kind in ("D", "8")] == [75, 25]
    assert all(m.text(11) and m.text(55) and m.text(54) for m in kinds), "order id, symbol, side"
    single = (folder / "42_order_single.txt").read_bytes()
    crosses = (folder / "44_new_order_cross.txt").read_bytes()
    session = (folder / "fix44_fx_session_example.fix.log").read_bytes()
    good = {}
    for name, data in (("single", single), ("crosses", crosses), ("session", session)):
        frames = [data[a:b] for a, b in message_places(data)]
        wrong = 0
        for frame in frames:
            body = frame[frame.index(b"\x0135=") + 1 : frame.rindex(b"\x0110=") + 1]
            length = int(frame.split(b"\x01")[1][2:])
            total = sum(frame[: frame.rindex(b"\x0110=") + 1]) % 256
            is_wrong = length != len(body) or frame[-4:-1] != b"%03d" % total
            wrong += is_wrong
            try:
                parse_message(frame)
            except FixError:
                assert is_wrong
            else:
                assert not is_wrong
            assert parse_message(frame, strict=False).msg_type
        good[name] = (len(frames), wrong)
    assert good == {"single": (1, 1), "crosses": (3, 3), "session": (9, 9)}, "anonymising broke all of them"


@pytest.mark.realdata
def test_the_recorded_session_gives_its_quotes_and_a_changed_byte_is_refused(shared_data: Path) -> None:
    data = (shared_data / "market/protocol_samples/fix/fix44_fx_session_example.fix.log").read_bytes()
    frames = [data[a:b] for a, b in message_places(data)]
    codec = FixCodec(PAIRS, strict=False)
    _, decoded = codec.step(codec.init(), frame_batch([(1, frame) for frame in frames]))
    expected = []  # the same by plain splitting
    for frame in frames:
        pairs = [field.split(b"=", 1) for field in frame.split(b"\x01")[:-1]]
        if (b"35", b"W") not in [tuple(pair) for pair in pairs]:
            continue
        symbol = next(value for tag, value in pairs if tag == b"55").decode()
        number = PAIRS[symbol].instrument_id
        expected.append((number, CLEAR, NONE, 0, 0))
        kinds = [value for tag, value in pairs if tag == b"269"]
        prices = [value for tag, value in pairs if tag == b"270"]
        sizes = [value for tag, value in pairs if tag == b"271"]
        for kind, price, size in zip(kinds, prices, sizes, strict=True):
            units, lots = round(float(price) * 100_000), round(float(size) / 1000)
            expected.append((number, LEVEL, BID if kind == b"0" else ASK, units, lots))
    assert decoded.rejected == ()
    assert [row[:5] for row in rows(decoded.events)] == expected
    assert len(expected) == 6
    best = fold_best(empty_book(), decoded.events[3:])
    assert best[-1].tolist() == [137_277, 1000, 137_291, 1000]
    for frame in frames:
        healed = make_message([(tag, value.decode()) for tag, value in parse_message(frame, strict=False).fields[2:-1]])
        assert parse_message(healed).faults == ()
        for place in range(0, len(healed), 7):
            damaged = bytearray(healed)
            damaged[place] ^= 1
            with pytest.raises(FixError):
                parse_message(bytes(damaged))

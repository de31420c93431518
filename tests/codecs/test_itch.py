"""ITCH 5.0: every message means what the specification says, in every framing; holes and damage are never silent."""

import gzip
import itertools
import struct
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.book import COUNT_MISSING, empty_book, fold_best
from marketdata.codecs.formats import FORMATS, itch_day
from marketdata.codecs.itch import ItchCodec, ItchState
from marketdata.codecs.itch_framing import MESSAGE, MOLDUDP64, SOUPBINTCP, iter_message_file
from marketdata.codecs.itch_messages import LAYOUTS, read_message
from marketdata.codecs.pcap import read_pcap
from marketdata.codecs.tables import SourceError
from marketdata.events import ADD, CLEAR, DELETE, EXECUTE, F_LAST, HIDDEN, REDUCE, STATUS, TRADE
from marketdata.frames import QUARANTINE, RAISE, Decoded, FrameBatch, FrameError, frame_batch
from marketdata.instruments import Instrument
from tests.codecs.itch_market import (
    add,
    head,
    mold,
    mold_packets,
    pcap,
    random_session,
    soup,
    soup_login,
    system,
)  # fmt: skip

DAY = date(2023, 8, 22)
MIDNIGHT = 1_692_676_800_000_000_000  # 2023-08-22 00:00 in New York
RECV = MIDNIGHT + 36_000_000_000_000
LENGTHS = {
    "S": 12, "R": 39, "H": 25, "Y": 20, "L": 26, "V": 35, "W": 12, "K": 28, "J": 35, "h": 21, "A": 36, "F": 40, "E": 31,
    "C": 36, "X": 23, "D": 19, "U": 35, "P": 44, "Q": 40, "B": 19, "I": 50, "N": 20, "O": 48,
}  # fmt: skip


def instruments(*names: str, step: float = 0.0001) -> dict[str, Instrument]:
    return {
        name: Instrument(symbol=name, instrument_id=k + 5, venue="itch50", unit_nanos=1, price_decimals=step)
        for k, name in enumerate(names)
    }


WANTED = instruments("AAAA", "BB")


def frames(payloads: list[bytes]) -> FrameBatch:
    return frame_batch([(RECV + k, payload) for k, payload in enumerate(payloads)], "feed")


def run(
    payloads: list[bytes], framing: str = MOLDUDP64, policy: str = RAISE, **more: object
) -> tuple[ItchState, Decoded]:
    codec = ItchCodec(WANTED, framing, DAY if framing == MESSAGE else None, policy, **more)
    return codec.step(codec.init(), frames(payloads))


def rows(events: np.ndarray) -> list[tuple[int, ...]]:
    names = {item.instrument_id: name for name, item in WANTED.items()}
    fields = ("ts_event", "action", "side", "price_units", "size_lots", "order_id", "instrument_id")
    found = zip(*(events[field].tolist() for field in fields), strict=True)
    return [(ts - MIDNIGHT, *rest, names[number]) for ts, *rest, number in found]


def test_every_type_of_the_specification_has_its_length() -> None:
    assert {kind: layout.length for kind, layout in LAYOUTS.items()} == LENGTHS


@pytest.mark.parametrize("framing", [MESSAGE, SOUPBINTCP, MOLDUDP64])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_session_means_the_same_in_every_framing(framing: str, seed: int) -> None:
    messages, expected = random_session(1_500, seed)
    payloads = {
        MESSAGE: messages,
        SOUPBINTCP: [soup_login(1), *(soup(b"S", message) for message in messages), soup(b"H"), soup(b"Z")],
        MOLDUDP64: mold_packets(messages, seed),
    }[framing]
    _, decoded = run(payloads, framing)
    assert rows(decoded.events) == expected
    assert decoded.gaps == ()
    ends = np.append(decoded.events["sequence"][1:] != decoded.events["sequence"][:-1], True)
    np.testing.assert_array_equal((decoded.events["flags"] & F_LAST) > 0, ends)
    for item in WANTED.values():
        book = empty_book()
        fold_best(book, decoded.events[decoded.events["instrument_id"] == item.instrument_id])
        assert book.counters[COUNT_MISSING] == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=8), st.integers(0, 3))
def test_cutting_the_stream_anywhere_changes_nothing(cuts: list[int], seed: int) -> None:
    packets = mold_packets(random_session(500, seed)[0], seed)
    del packets[40:42]  # a hole
    whole = frames([*packets, *packets[30:33]])  # and a repetition
    codec = ItchCodec(WANTED, policy=QUARANTINE)
    _, expected = codec.step(codec.init(), whole)
    state, parts, gaps, ignored = codec.init(), [], [], {}
    places = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
    for a, b in itertools.pairwise(places):
        state, decoded = codec.step(state, whole.part(a, b))
        parts.append(decoded.events)
        gaps += decoded.gaps
        for key, count in decoded.ignored.items():
            ignored[key] = ignored.get(key, 0) + count
    np.testing.assert_array_equal(np.concatenate(parts), expected.events)
    assert (tuple(gaps), ignored) == (expected.gaps, expected.ignored)
    first = places[len(places) // 2]
    _, early = codec.step(codec.init(), whole.part(0, first))
    np.testing.assert_array_equal(early.events, expected.events[: len(early.events)])


def test_the_table_of_orders_grows_without_losing_one() -> None:
    messages = [system(1), *(add(2 + k, "AAAA", 17, k + 1, b"B", 100, 10_000 + k) for k in range(9_000))]
    messages += [head("D", 17, 20_000) + struct.pack(">Q", k + 1) for k in range(9_000)]
    state, decoded = run(messages, MESSAGE)
    assert (decoded.events["action"] == DELETE).sum() == 9_000
    assert state.arrays.table.live[0] == 0


def test_a_hole_clears_every_book_and_orders_from_before_are_counted_after_it() -> None:
    messages, _ = random_session(400, 5)
    first, second = messages[:200], messages[210:]
    _, decoded = run([mold(1, first), mold(211, second)])
    assert [(gap.symbol, gap.expected, gap.found) for gap in decoded.gaps] == [("AAAA", 201, 211), ("BB", 201, 211)]
    clears = decoded.events[decoded.events["action"] == CLEAR]
    assert clears["sequence"].tolist()[-2:] == [201, 201]
    assert decoded.ignored["order from before the start or a gap"] > 0
    _, whole = run([mold(1, first), mold(201, messages[200:])])
    assert whole.gaps == ()


def test_a_repeated_line_and_a_heartbeat_change_nothing_but_a_heartbeat_can_show_a_hole() -> None:
    messages, expected = random_session(100, 6)
    packets = mold_packets(messages, 6)
    _, decoded = run([packet for packet in packets for _ in range(2)])  # lines A and B
    assert rows(decoded.events) == expected
    assert decoded.ignored["duplicate"] == len(messages)
    _, decoded = run([*packets, mold(len(messages) + 3, [])])
    assert {gap.found for gap in decoded.gaps} == {103}


def test_another_session_begins_anew_without_stepping_back() -> None:
    messages, _ = random_session(50, 7)
    _, decoded = run([mold(1, messages), mold(1, messages, b"000010059C")])
    half = len(decoded.events) // 2
    assert decoded.events["action"][half] == CLEAR
    assert (np.diff(decoded.events["sequence"]) >= 0).all()
    np.testing.assert_array_equal(decoded.events["price_units"][:half], decoded.events["price_units"][half:])


def test_a_stream_joined_in_the_middle_does_not_call_its_past_an_error() -> None:
    delete = head("D", 17, 5) + struct.pack(">Q", 77)
    _, decoded = run([mold(900, [delete, add(6, "AAAA", 17, 1, b"B", 10, 10_000), delete])])
    assert decoded.ignored == {"unknown locate code": 1, "order from before the start or a gap": 1}
    assert decoded.events["action"].tolist() == [CLEAR, ADD]
    part = [add(6, "AAAA", 17, 1, b"B", 10, 10_000), delete]  # number 1, but no system event: part of a session
    _, decoded = run(part, MESSAGE)
    assert decoded.ignored == {"order from before the start or a gap": 1}


ORDER = add(9, "AAAA", 17, 1, b"B", 100, 10_000)
BROKEN = [
    (b"z" + ORDER[1:], "is no message type of ITCH 5.0"),
    (ORDER[:-1], "the length is not that of the message type"),
    (head("D", 17, 9) + struct.pack(">Q", 99), "the order reference is that of no live order"),
    (ORDER, "an order is added under the reference of a live one"),
    (head("X", 17, 9) + struct.pack(">QI", 1, 101), "takes more shares than the order has"),
    (add(9, "AAAA", 17, 2, b"Q", 100, 10_000), "the side is neither B nor S"),
    (add(9, "AAAA", 17, 2, b"B", 0, 10_000), "the size is not positive"),
    (add(90_000_000_000_000, "AAAA", 17, 2, b"B", 10, 10_000), "the time is beyond the day"),
    (head("H", 17, 9) + b"AAAA    X     ", "the trading state is unknown"),
]


@pytest.mark.parametrize(("message", "reason"), BROKEN)
def test_a_message_that_cannot_be_is_refused_with_venue_frame_byte_and_reason(message: bytes, reason: str) -> None:
    with pytest.raises(FrameError, match=rf"itch50: frame 2 of feed, byte 22: {reason}"):
        run([mold(1, [system(1)]), mold(2, [ORDER]), mold(3, [message])])
    _, decoded = run([mold(1, [system(1)]), mold(2, [ORDER]), mold(3, [message])], policy=QUARANTINE)
    assert [(item.frame, item.offset) for item in decoded.rejected] == [(2, 22)]
    assert decoded.events["action"].tolist() == [CLEAR, ADD, CLEAR], "a refused message leaves the book unknown"


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (mold(2, [ORDER])[:19], "too short"),
        (mold(2, [ORDER])[:-3], "reaches beyond the datagram"),
        (mold(2, [ORDER]) + b"x", "bytes follow the last message block"),
    ],
)
def test_a_damaged_datagram_is_refused_whole_and_shows_as_a_hole(packet: bytes, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        run([mold(1, [system(1)]), packet])
    start = [mold(1, [system(1), add(3, "AAAA", 17, 8, b"S", 10, 10_001)])]
    _, decoded = run(
        [*start, packet.replace(struct.pack(">Q", 2), struct.pack(">Q", 3)), mold(4, [ORDER])], policy=QUARANTINE
    )
    assert len(decoded.rejected) == 1
    assert [(gap.expected, gap.found) for gap in decoded.gaps] == [(3, 4)]


def test_soup_packets_follow_their_login_and_are_refused_when_they_lie_about_their_length() -> None:
    messages, expected = random_session(60, 8)
    packets = [soup_login(1), *(soup(b"S", message) for message in messages[:40])]
    _, decoded = run([*packets, b"", soup_login(41), *(soup(b"S", m) for m in messages[40:])], SOUPBINTCP)
    assert rows(decoded.events) == expected
    assert decoded.ignored["opened"] == 1
    _, decoded = run([*packets, soup_login(45), *(soup(b"S", m) for m in messages[44:])], SOUPBINTCP, QUARANTINE)
    assert [(gap.expected, gap.found) for gap in decoded.gaps] == [(41, 45)] * 2
    with pytest.raises(FrameError, match="the packet length is not that of the frame"):
        run([soup(b"S", system(1))[:-1]], SOUPBINTCP)
    with pytest.raises(FrameError, match="is no packet type of SoupBinTCP"):
        run([soup(b"?", system(1))], SOUPBINTCP)


def test_a_price_off_the_grid_is_refused_and_a_coarser_grid_is_exact() -> None:
    cents = {"AAAA": instruments("AAAA", step=0.01)["AAAA"]}
    codec = ItchCodec(cents)
    _, decoded = codec.step(codec.init(), frames([mold(1, [system(1), ORDER])]))
    assert decoded.events["price_units"].tolist() == [0, 100]
    with pytest.raises(FrameError, match="the price is off the instrument's grid"):
        codec.step(codec.init(), frames([mold(1, [system(1), add(9, "AAAA", 17, 1, b"B", 100, 10_001)])]))


@pytest.mark.parametrize(("nano", "vlan", "big"), [(True, True, False), (False, False, True)])
def test_a_capture_gives_its_datagrams_with_their_times(tmp_path: Path, nano: bool, vlan: bool, big: bool) -> None:
    packets = mold_packets(random_session(80, 9)[0], 9)
    path = tmp_path / "one.pcap"
    path.write_bytes(pcap(packets, RECV, nano=nano, vlan=vlan, big=big))
    capture = read_pcap(path)
    assert [capture.frames.frame(k) for k in range(len(capture.frames))] == packets
    assert capture.frames.ts_recv[:2].tolist() == [RECV, RECV + 1_000]
    assert capture.frames.streams == ("udp://233.54.12.111:26477",)
    events = np.concatenate([part.events for part in FORMATS["itch50_pcap"].read(path, WANTED)])
    expected = run(packets)[1].events
    expected["ts_recv"] = RECV + (expected["ts_recv"] - RECV) * 1_000
    np.testing.assert_array_equal(events, expected)
    for damage, reason in (
        (path.read_bytes()[:-4], "the file ends inside the record"),
        (b"\x0a\x0d\x0d\x0a" + path.read_bytes(), "is a pcapng file"),
        (b"nothing", "is no pcap file"),
    ):
        path.write_bytes(damage)
        with pytest.raises(SourceError, match=reason):
            read_pcap(path)


def test_a_log_of_soup_packets_is_told_from_a_file_of_messages(tmp_path: Path) -> None:
    messages, expected = random_session(100, 11)
    path = tmp_path / "20230822.NASDAQ_ITCH50"
    packets = [soup_login(1), *(soup(b"S", message) for message in messages), soup(b"H"), soup(b"Z")]
    path.write_bytes(b"".join(packets))
    events = np.concatenate([part.events for part in FORMATS["itch50"].read(path, WANTED)])
    assert rows(events) == expected
    assert [batch.frame(k) for batch in iter_message_file(path, 7, packets=True) for k in range(len(batch))] == packets


@pytest.mark.parametrize("tagged", [True, False])
def test_a_file_of_messages_is_cut_by_length_or_by_type_whatever_the_block(tmp_path: Path, tagged: bool) -> None:
    messages, expected = random_session(300, 10)
    path = tmp_path / "20230822.NASDAQ_ITCH50.gz"
    path.write_bytes(gzip.compress(b"".join(struct.pack(">H", len(m) * tagged) + m for m in messages)))
    events = np.concatenate([part.events for part in FORMATS["itch50"].read(path, WANTED)])
    assert rows(events) == expected
    for block in (1, 50, 4_096):
        found = [batch.frame(k) for batch in iter_message_file(path, block) for k in range(len(batch))]
        assert found == messages
    path.write_bytes(gzip.compress(b"\x00\x00?" + messages[0]))
    with pytest.raises(SourceError, match="byte 0: length 0, and '\\?' is no message type"):
        list(iter_message_file(path))
    path.write_bytes(gzip.compress(struct.pack(">H", 12) + messages[0][:-1]))
    with pytest.raises(SourceError, match="byte 0: the file ends inside a message"):
        list(iter_message_file(path))


def test_the_day_is_read_from_the_names_that_files_have() -> None:
    assert itch_day(Path("01302019.NASDAQ_ITCH50.gz")) == date(2019, 1, 30)
    assert itch_day(Path("20190530.BX_ITCH_50.gz")) == date(2019, 5, 30)
    assert itch_day(Path("S081321-v50.txt.gz")) == date(2021, 8, 13)
    assert itch_day(Path("ex20101224.TEST_ITCH_50.gz")) == date(2010, 12, 24)
    with pytest.raises(SourceError, match="says no day"):
        itch_day(Path("today.NASDAQ_ITCH50"))


def test_one_message_reads_as_a_mapping_or_says_what_is_wrong() -> None:
    read = read_message(ORDER)
    assert (read["type"], read["stock"], read["price"], read["order"], read["ts_ns"]) == ("A", "AAAA", 1.0, 1, 9)
    with pytest.raises(ValueError, match="a message of type A has 36 bytes, not 35"):
        read_message(ORDER[:-1])


@pytest.mark.realdata
def test_the_recorded_captures_read_or_say_why_not(shared_data: Path) -> None:
    folder = shared_data / "market/protocol_samples/itch50_pcap"
    wanted = instruments("AMZU", "IVOO", "AMC", "META")
    found = {}
    for path in sorted(folder.glob("*/*.pcap")):
        parts = list(FORMATS["itch50_pcap"].read(path, wanted))
        events = np.concatenate([part.events for part in parts])
        assert all(part.rejected == () for part in parts)
        assert (events["ts_recv"] >= events["ts_event"]).all(), "the capture's clock is behind the venue's by 0.1 ms"
        found[f"{path.parent.name[:2]} {path.stem}"] = ([int(a) for a in events["action"]], parts[-1].ignored)
    assert len(found) == 11
    assert found["Bx AddOrderNoMpidAttributionMessage"] == ([CLEAR, ADD], {})
    assert found["Na AddOrderNoMpidAttributionMessage"] == ([CLEAR, ADD], {})
    assert found["Na StockTradingActionMessage"] == ([CLEAR, STATUS], {})
    actions, ignored = found["Na Multiple.Packets"]
    assert actions == [CLEAR] + [ADD] * 38
    assert ignored == {"unknown locate code": 1, "gap before any book was known": 1}
    for name in ("Bx OrderDeleteMessage", "Bx OrderReplaceMessage", "Na OrderExecutedMessage"):
        assert found[name] == ([], {"unknown locate code": 1})
    for name in ("Na NetOrderImbalanceIndicatorMessage", "Na MarketParticipantPositionMessage"):
        assert found[name] == ([], {"other symbol": 1})


@pytest.mark.realdata
def test_the_generated_sample_file_is_read_and_its_orders_that_nobody_added_are_refused(shared_data: Path) -> None:
    path = shared_data / "market/protocol_samples/itch50_synthetic/ex20101224.TEST_ITCH_50.gz"
    (part,) = FORMATS["itch50"].read(path, instruments("ALC", "BOB", "CHAR"))
    counts = dict(zip(*np.unique(part.events["action"], return_counts=True), strict=True))
    assert counts == {ADD: 5_010, HIDDEN: 5_000, DELETE: 1_661, EXECUTE: 180, REDUCE: 42, CLEAR: 6, STATUS: 3}
    assert TRADE not in counts
    assert [item.frame for item in part.rejected] == [109, 401, 2478], "one a stock, then its past is no error any more"
    assert {item.reason for item in part.rejected} == {"the order reference is that of no live order"}
    assert part.ignored["order from before the start or a gap"] == 114

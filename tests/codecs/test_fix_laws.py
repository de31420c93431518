"""The laws of a codec for FIX sessions of both kinds, against a slow reading of the same messages."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.book import COUNT_MISSING, empty_book, fold_best
from marketdata.codecs.fix import FixCodec
from marketdata.codecs.fix_message import make_message, parse_message
from marketdata.events import ADD, ASK, BID, CLEAR, DELETE, F_LAST, LEVEL, NONE, REDUCE, TRADE
from marketdata.frames import QUARANTINE, FrameBatch, frame_batch
from tests.codecs.market_files import instrument

WANTED = {"AA": instrument("AA", 0.25, 10.0, 3), "BB": instrument("BB", 0.01, 1.0, 4)}
STEP = {"AA": 0.25, "BB": 0.01}
LOT = {"AA": 10, "BB": 1}
SIDES = {"0": BID, "1": ASK}


def session(count: int, seed: int, *, ids: bool) -> list[bytes]:
    """A session's messages: snapshots of both symbols, increments with several entries, trades, heartbeats."""
    rng = np.random.default_rng(seed)
    live: dict[tuple[str, str], tuple[str, int, int]] = {}
    out, name = [], 100

    def body(kind: str, *fields: tuple[int, str]) -> bytes:
        head = [
            (35, kind),
            (49, "V"),
            (56, "U"),
            (34, str(len(out) + 1)),
            (52, f"20240102-10:00:{len(out) % 60:02d}.5"),
        ]
        return make_message([*head, *fields])

    def entry(symbol: str, kind: str, price: int, lots: int, own: str) -> list[tuple[int, str]]:
        named = [(278, own)] if ids else []
        return [(269, kind), *named, (55, symbol), (270, f"{price * STEP[symbol]:.2f}"), (271, str(lots * LOT[symbol]))]

    def fresh(symbol: str) -> tuple[str, str, int, int]:
        nonlocal name
        name += 1
        own = f"n{name}" if name % 3 == 0 else str(name)
        kind = str(rng.choice(["0", "1"]))
        price = int(rng.integers(300, 320)) + (40 if kind == "1" else 0)
        lots = int(rng.integers(1, 9))
        live[symbol, own] = (kind, price, lots)
        return own, kind, price, lots

    for k in range(count):
        symbol = ("AA", "BB")[k % 2]
        if k < 2 or rng.random() < 0.03:
            for key in [key for key in live if key[0] == symbol]:
                del live[key]
            rows = [fresh(symbol) for _ in range(int(rng.integers(0, 5)))]
            fields = [
                field
                for own, kind, price, lots in rows
                for field in entry(symbol, kind, price, lots, own)
                if field[0] != 55
            ]
            out.append(body("W", (55, symbol), (268, str(len(rows))), *fields))
        elif rng.random() < 0.05:
            out.append(body("0"))
        else:
            changes = []
            for _ in range(int(rng.integers(1, 5))):
                symbol = str(rng.choice(["AA", "BB", "CC"]))
                mine = [key for key in live if key[0] == symbol]
                roll = rng.random()
                if symbol == "CC":
                    changes.append([(279, "0"), (269, "0"), (278, "1"), (55, "CC"), (270, "1"), (271, "1")])
                elif roll < 0.1:
                    changes.append([(279, "0"), *entry(symbol, "2", 310, 1, "t"), (5797, str(rng.choice(["1", "2"])))])
                elif roll < 0.5 or not mine:
                    own, kind, price, lots = fresh(symbol)
                    changes.append([(279, "0"), *entry(symbol, kind, price, lots, own)])
                else:
                    own = mine[int(rng.integers(len(mine)))][1]
                    kind, price, lots = live[symbol, own]
                    if roll < 0.75:
                        price, lots = price + int(rng.integers(0, 2)), int(rng.integers(1, 9))
                        live[symbol, own] = (kind, price, lots)
                        changes.append([(279, "1"), *entry(symbol, kind, price, lots, own)])
                    else:
                        del live[symbol, own]
                        changes.append([(279, "2"), *entry(symbol, kind, price, lots, own)])
            out.append(body("X", (268, str(len(changes))), *(field for change in changes for field in change)))
    return out


def meaning(messages: list[bytes], *, ids: bool) -> list[tuple[int, ...]]:
    """(sequence, instrument, action, side, price, lots) of every row, read entry by entry with dictionaries."""
    rows: list[tuple[int, ...]] = []
    orders: dict[tuple[str, bytes], tuple[int, int, int]] = {}
    for raw in messages:
        read = parse_message(raw)
        seq = int(read.text(34) or 0)
        if read.msg_type == "W":
            symbol = read.text(55) or ""
            rows.append((seq, WANTED[symbol].instrument_id, CLEAR, NONE, 0, 0))
            for key in [key for key in orders if key[0] == symbol]:
                del orders[key]
        summed: dict[tuple[int, int], int] = {}
        for item in read.group(268) if read.msg_type in "WX" else []:
            symbol = item.get(55, (read.text(55) or "").encode()).decode()
            if symbol not in WANTED:
                continue
            number = WANTED[symbol].instrument_id
            price, lots = round(float(item[270]) / STEP[symbol]), round(float(item[271]) / LOT[symbol])
            kind, action = item[269].decode(), item.get(279, b"0")
            if kind == "2":
                rows.append((seq, number, TRADE, ASK if item[5797] == b"1" else BID, price, lots))
                continue
            side = SIDES[kind]
            if not ids:
                if read.msg_type == "W":
                    lots = summed[side, price] = summed.get((side, price), 0) + lots
                rows.append((seq, number, LEVEL, side, price, 0 if action == b"2" else lots))
                continue
            key = symbol, item[278]
            if action == b"0":
                orders[key] = (side, price, lots)
                rows.append((seq, number, ADD, side, price, lots))
                continue
            old = orders.pop(key)
            if action == b"1" and old[:2] == (side, price) and lots <= old[2]:
                orders[key] = (side, price, lots)
                rows += [(seq, number, REDUCE, side, price, old[2] - lots)] if lots < old[2] else []
                continue
            rows.append((seq, number, DELETE, *old))
            if action == b"1":
                orders[key] = (side, price, lots)
                rows.append((seq, number, ADD, side, price, lots))
    return rows


def batch(messages: list[bytes]) -> FrameBatch:
    return frame_batch([(10 + k, message) for k, message in enumerate(messages)], "fix")


@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_random_session_means_what_a_slow_reading_says(ids: bool, seed: int) -> None:
    messages = session(400, seed, ids=ids)
    codec = FixCodec(WANTED, entries="id" if ids else "price")
    _, decoded = codec.step(codec.init(), batch(messages))
    names = ("sequence", "instrument_id", "action", "side", "price_units", "size_lots")
    assert list(zip(*(decoded.events[name].tolist() for name in names), strict=True)) == meaning(messages, ids=ids)
    for item in WANTED.values():
        mine = decoded.events[decoded.events["instrument_id"] == item.instrument_id]
        ends = np.append(mine["sequence"][1:] != mine["sequence"][:-1], True)
        np.testing.assert_array_equal((mine["flags"] & F_LAST) > 0, ends)
        book = empty_book()
        fold_best(book, mine)
        assert book.counters[COUNT_MISSING] == 0


@pytest.mark.parametrize("ids", [False, True])
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 200), max_size=6), seed=st.integers(0, 3), hole=st.integers(5, 150))
def test_cutting_anywhere_changes_nothing_and_later_messages_no_earlier_row(
    cuts: list[int], seed: int, hole: int, ids: bool
) -> None:
    messages = session(200, seed, ids=ids)
    damaged = messages[hole + 3][:-2] + b"x\x01"
    messages = [b"", *messages[:hole], *messages[hole + 1 : hole + 3], damaged, *messages[hole + 4 :]]
    whole = batch(messages)
    codec = FixCodec(WANTED, entries="id" if ids else "price", policy=QUARANTINE)
    _, expected = codec.step(codec.init(), whole)
    assert len(expected.rejected) == 1
    assert expected.ignored["opened"] == 1
    places = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
    state, parts, gaps = codec.init(), [], []
    for first, end in itertools.pairwise(places):
        state, decoded = codec.step(state, whole.part(first, end))
        parts.append(decoded.events)
        gaps += decoded.gaps
    np.testing.assert_array_equal(np.concatenate(parts), expected.events)
    assert tuple(gaps) == expected.gaps
    assert decoded.wants_snapshot == expected.wants_snapshot
    _, early = codec.step(codec.init(), whole.part(0, places[len(places) // 2]))
    np.testing.assert_array_equal(early.events, expected.events[: len(early.events)])

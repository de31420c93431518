"""Sequence rules and checksums of the venues other than Binance, one expected session each."""

import json
from zlib import crc32

import numpy as np
import pytest

from marketdata.codecs import kraken, okx
from marketdata.codecs.catalog import build_codec
from marketdata.events import ASK, BID, CLEAR, F_LAST, F_SNAPSHOT, F_TS_CARRIED, LEVEL, TRADE
from marketdata.frames import QUARANTINE, RAISE, Decoded
from tests.codecs.venue_frames import (
    MS,
    START_NS,
    US,
    Frame,
    batch,
    frames_of,
    instruments_of,
    kraken_checksum,
    okx_checksum,
)

C, L, T = CLEAR, LEVEL, TRADE


def told(venue: str, frames: list[Frame] | None = None, policy: str = RAISE) -> Decoded:
    codec = build_codec(venue, instruments_of(venue), policy)
    return codec.step(codec.init(), batch(frames_of(venue) if frames is None else frames))[1]


def rows(decoded: Decoded) -> list[tuple[int, int, int, int]]:
    return [(int(e["action"]), int(e["side"]), int(e["price_units"]), int(e["size_lots"])) for e in decoded.events]


def gaps(decoded: Decoded) -> list[tuple[int, int, int]]:
    return [((gap.ts_recv - START_NS) // 1_000_000, gap.expected, gap.found) for gap in decoded.gaps]


def test_coinbase_starts_anew_with_each_connection() -> None:
    decoded = told("coinbase")
    assert rows(decoded) == [
        (C, 0, 0, 0), (L, BID, 10_000, 100), (L, BID, 9_999, 200), (L, ASK, 10_001, 300),
        (L, BID, 10_000, 400), (L, ASK, 10_001, 0), (L, ASK, 10_002, 100),
        (T, ASK, 10_001, 50),
        (C, 0, 0, 0),
        (C, 0, 0, 0), (L, BID, 10_000, 100), (L, BID, 9_999, 200), (L, ASK, 10_001, 300),
        (L, ASK, 10_003, 125),
    ]  # fmt: skip
    assert decoded.ignored == {"opened": 2, "subscriptions": 1, "before_snapshot": 1, "last_match": 1, "old": 1}
    assert decoded.events["ts_event"][4] == 1_700_000_000_500_000_000


def test_kraken_takes_a_book_with_a_wrong_checksum_for_unknown() -> None:
    decoded = told("kraken")
    computed = kraken_checksum([("100.00", "4.00000000")], [("100.20", "1.00000000")])
    assert gaps(decoded) == [(6, computed, computed + 1)]
    assert rows(decoded)[7:12] == [
        (T, BID, 10_000, 50),
        (L, BID, 9_990, 0),
        (C, 0, 0, 0),
        (C, 0, 0, 0),
        (L, BID, 10_000, 150),
    ]
    assert decoded.wants_snapshot == ()
    cut = told("kraken", frames_of("kraken")[:8])
    assert cut.wants_snapshot == ("XBT/USD",)


def test_kraken_drops_what_falls_below_the_depth_it_keeps() -> None:
    at = "1700000000.000000"
    bids = [[f"{1_100 - k / 100:.2f}", "1.0", at] for k in range(kraken.DEPTH)]
    asks = [["1200.00", "1.0", at]]
    full = json.dumps([1, {"as": asks, "bs": bids}, "book-1000", "XBT/USD"]).encode()
    best = [("1101.00", "2.0"), *((price, size) for price, size, _ in bids[:9])]
    value = kraken_checksum(best, [("1200.00", "1.0")])
    better = json.dumps([1, {"b": [["1101.00", "2.0", at]], "c": str(value)}, "book-1000", "XBT/USD"]).encode()
    decoded = told("kraken", [("wss://k", full), ("wss://k", better)])
    assert rows(decoded)[-2:] == [(L, BID, 110_100, 200), (L, BID, 109_001, 0)]
    assert decoded.events["flags"][-2:].tolist() == [0, F_SNAPSHOT | F_LAST]


def test_checksums_are_of_the_text_as_written() -> None:
    bids, asks = [("3366.1", "7.00000000"), ("3366", "0.06")], [("3366.8", "9")]
    assert kraken.checksum(bids, asks) == crc32(
        b"33668" + b"9" + b"33661" + b"700000000" + b"3366" + b"006".lstrip(b"0")
    )
    assert okx.checksum(bids, asks) % 2**32 == crc32(b"3366.1:7.00000000:3366.8:9:3366:0.06")
    signed = [okx.checksum([(str(k), "1")], []) for k in range(20)]
    assert all(-(2**31) <= value < 2**31 for value in signed)
    assert min(signed) < 0


def test_kraken_futures_count_one_by_one() -> None:
    decoded = told("kraken_futures")
    assert gaps(decoded) == [(9, 12, 13)]
    assert rows(decoded) == [
        (C, 0, 0, 0), (L, BID, 201, 20), (L, ASK, 202, 30), (L, BID, 200, 5), (T, ASK, 202, 3), (L, ASK, 202, 0),
        (C, 0, 0, 0),
        (C, 0, 0, 0), (L, BID, 201, 20), (L, ASK, 202, 30), (L, ASK, 202, 10),
    ]  # fmt: skip
    assert decoded.ignored == {"opened": 1, "info": 1, "before_snapshot": 2, "old": 2}


def test_bybit_counts_updates_and_begins_anew_with_a_snapshot_in_mid_stream() -> None:
    decoded = told("bybit")
    assert gaps(decoded) == [(7, 6, 7)]
    assert rows(decoded)[:8] == [
        (C, 0, 0, 0), (L, BID, 10_000, 1_000), (L, ASK, 10_010, 2_000),
        (L, BID, 10_000, 0), (L, BID, 9_990, 3_000), (L, ASK, 10_010, 2_500),
        (T, ASK, 10_010, 1), (C, 0, 0, 0),
    ]  # fmt: skip
    assert rows(decoded)[-6:] == [
        (C, 0, 0, 0), (L, BID, 10_000, 2_500), (L, ASK, 10_010, 3_000),
        (L, BID, 10_000, 1_000), (L, ASK, 10_010, 0), (T, BID, 10_000, 140),
    ]  # fmt: skip
    assert decoded.events["ts_event"][-2] == US * 1_000


def test_okx_checks_the_chain_and_the_checksum() -> None:
    decoded = told("okx")
    chain, wrong = gaps(decoded)
    assert chain == (7, 12, 14)
    assert wrong[0] == 9
    assert wrong[1] == okx_checksum([("100.0", "1"), ("99.9", "2")], [("100.3", "4")])
    assert decoded.wants_snapshot == ("BTC-USDT",)
    assert decoded.ignored == {"opened": 1, "subscribe": 1, "before_snapshot": 1, "empty_update": 1, "pong": 1}


def test_bitmex_remembers_prices_by_id_and_moves_a_level_that_changes_sides() -> None:
    decoded = told("bitmex")
    assert rows(decoded) == [
        (C, 0, 0, 0), (L, ASK, 201, 30), (L, BID, 200, 20), (L, ASK, 201, 25), (L, BID, 199, 5),
        (T, ASK, 201, 10), (L, ASK, 201, 0), (L, BID, 200, 0), (L, ASK, 200, 7), (C, 0, 0, 0),
    ]  # fmt: skip
    assert (decoded.events["flags"][6:9] & F_TS_CARRIED > 0).all()


def test_bitmex_refuses_a_level_that_was_never_given_a_price() -> None:
    frames = frames_of("bitmex")
    unknown = b'{"table":"orderBookL2","action":"update","data":[{"symbol":"XBTUSD","id":99,"side":"Buy","size":1}]}'
    decoded = told("bitmex", [*frames[:4], (frames[0][0], unknown)], QUARANTINE)
    assert [r.reason for r in decoded.rejected] == ["XBTUSD: level 99 was never given a price"]
    assert len(decoded.events) == 3


def test_deribit_follows_the_chain_of_changes() -> None:
    decoded = told("deribit")
    assert gaps(decoded) == [(8, 15, 20)]
    assert rows(decoded)[:8] == [
        (C, 0, 0, 0), (L, BID, 200, 10), (L, ASK, 201, 20),
        (L, BID, 200, 12), (L, ASK, 201, 0), (L, ASK, 202, 5),
        (T, BID, 201, 10), (T, BID, 201, 10),
    ]  # fmt: skip


def test_gemini_leaves_out_the_trades_of_the_past_and_carries_the_last_exchange_time() -> None:
    decoded = told("gemini")
    assert rows(decoded) == [
        (C, 0, 0, 0), (L, BID, 10_000, 10), (L, ASK, 10_010, 20),
        (L, BID, 10_000, 0), (L, BID, 9_990, 30), (L, ASK, 10_010, 15), (T, ASK, 10_010, 5),
        (C, 0, 0, 0), (C, 0, 0, 0), (L, BID, 10_000, 10), (L, ASK, 10_010, 20),
    ]  # fmt: skip
    assert set(decoded.events["ts_event"][3:6].tolist()) == {(MS + 1) * 1_000_000}
    assert (decoded.events["flags"][3:6] & F_TS_CARRIED > 0).all()
    assert decoded.events["flags"][6] == F_LAST


def test_hyperliquid_tells_the_differences_and_what_came_into_sight() -> None:
    decoded = told("hyperliquid")
    assert rows(decoded)[5:10] == [
        (L, BID, 999, 0), (L, BID, 1_000, 15), (L, BID, 998, 20), (L, ASK, 1_001, 0), (L, ASK, 1_004, 10),
    ]  # fmt: skip
    seen = decoded.events["flags"][5:10] & F_SNAPSHOT > 0
    assert seen.tolist() == [False, False, True, False, True]


def test_reports_of_other_symbols_are_counted() -> None:
    codec = build_codec("coinbase", {}, RAISE)
    _, decoded = codec.step(codec.init(), batch(frames_of("coinbase")))
    assert decoded.ignored["other_symbol"] == 7
    assert len(decoded.events) == 0
    assert np.array_equal(decoded.events, decoded.events[:0])


def test_an_unknown_policy_is_refused() -> None:
    for venue in ("coinbase", "bitstamp_l3"):
        with pytest.raises(ValueError, match="the policy is 'raise' or 'quarantine', not 'ignore'"):
            build_codec(venue, {}, "ignore")

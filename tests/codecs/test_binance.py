"""Binance: what the rules make of small sessions, and that the compiled scanner and the complete parser agree."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from marketdata.codecs.binance import COINM, SPOT, USDM, BinanceCodec, Market
from marketdata.codecs.binance_books import MAX_PENDING
from marketdata.codecs.decimals import inferred_instrument
from marketdata.events import ASK, BID, CLEAR, F_LAST, F_SNAPSHOT, F_TS_CARRIED, LEVEL, QUOTE, TRADE
from marketdata.frames import QUARANTINE, RAISE, Decoded, FrameError, Gap
from tests.codecs.venue_frames import MS, START_NS, Frame, batch, frames_of, instruments_of

WSS = "wss://binance"
REST = "https://spot/depth?symbol=BTCUSDT&limit=1000"
BTC = instruments_of("binance_spot")


def depth(first: int, last: int, bids: object = (), asks: object = (), **more: object) -> dict[str, object]:
    return {"e": "depthUpdate", "E": MS, "s": "BTCUSDT", "U": first, "u": last, "b": bids, "a": asks} | more


def trade(number: int, **more: object) -> dict[str, object]:
    return {"e": "trade", "E": MS, "s": "BTCUSDT", "t": number, "p": "100.10", "q": "0.500", "T": MS, "m": True} | more


def snapshot(last: int) -> Frame:
    return REST, json.dumps(
        {"lastUpdateId": last, "bids": [["100.00", "1.000"]], "asks": [["100.10", "1.000"]]}
    ).encode()


def frame(payload: object, dumps: Callable[..., str] = json.dumps) -> Frame:
    return WSS, dumps(payload, separators=(",", ":")).encode()


def read(frames: list[Frame], market: Market = SPOT, policy: str = RAISE, **more: object) -> Decoded:
    """What the scanner makes of the frames, after it was compared with what the complete parser makes of them."""
    results = []
    for complete_only in (False, True):
        codec = BinanceCodec(market, BTC, policy, complete_only=complete_only, **more)
        results.append(codec.step(codec.init(), batch(frames))[1])
    fast, slow = results
    assert np.array_equal(fast.events, slow.events)
    assert fast[1:] == slow[1:]
    return fast


def rows(decoded: Decoded) -> list[tuple[int, ...]]:
    names = ("action", "side", "price_units", "size_lots", "sequence")
    return [tuple(int(e[name]) for name in names) for e in decoded.events]


def test_updates_before_the_snapshot_are_dropped_up_to_its_id_and_the_rest_follows_it() -> None:
    decoded = read(frames_of("binance_spot")[:5])
    assert rows(decoded) == [
        (CLEAR, 0, 0, 0, 12),
        (LEVEL, BID, 10_000, 1_000, 12),
        (LEVEL, BID, 9_990, 2_000, 12),
        (LEVEL, ASK, 10_010, 3_000, 12),
        (LEVEL, ASK, 10_020, 4_000, 12),
        (LEVEL, BID, 10_000, 1_500, 15),
        (LEVEL, ASK, 10_020, 0, 15),
    ]
    flags = F_SNAPSHOT | F_TS_CARRIED
    assert decoded.events["flags"].tolist() == [flags] * 4 + [flags | F_LAST, 0, F_LAST]
    assert set(decoded.events["ts_recv"].tolist()) == {START_NS + 4_000_000}
    assert decoded.events["ts_event"].tolist() == [(MS + 10) * 1_000_000] * 5 + [(MS + 15) * 1_000_000] * 2


def test_a_gap_is_found_at_the_message_that_does_not_follow() -> None:
    made = [snapshot(10), *(frame(depth(k, k, [["99.00", "1.000"]])) for k in (11, 12, 14, 15))]
    decoded = read(made)
    assert decoded.gaps == (Gap("BTCUSDT", START_NS + 3_000_000, 13, 14),)
    assert rows(decoded)[3:] == [(LEVEL, BID, 9_900, 1_000, 11), (LEVEL, BID, 9_900, 1_000, 12), (CLEAR, 0, 0, 0, 14)]
    assert decoded.wants_snapshot == ("BTCUSDT",)


def test_a_snapshot_after_the_gap_takes_up_the_updates_that_came_meanwhile() -> None:
    made = [snapshot(10), *(frame(depth(k, k, [["99.00", "1.000"]])) for k in (14, 15)), snapshot(14)]
    decoded = read(made)
    assert rows(decoded)[4:] == [
        (CLEAR, 0, 0, 0, 14),
        (LEVEL, BID, 10_000, 1_000, 14),
        (LEVEL, ASK, 10_010, 1_000, 14),
        (LEVEL, BID, 9_900, 1_000, 15),
    ]
    assert decoded.wants_snapshot == ()


def test_a_snapshot_too_old_for_the_updates_kept_is_counted_and_another_one_wanted() -> None:
    decoded = read([frame(depth(20, 21)), snapshot(15)])
    assert decoded.ignored == {"stale_snapshot": 1}
    assert len(decoded.events) == 0
    assert decoded.wants_snapshot == ("BTCUSDT",)


def test_a_snapshot_older_than_a_known_book_changes_nothing() -> None:
    decoded = read([snapshot(10), frame(depth(11, 12, [["99.00", "1.000"]])), snapshot(11)])
    assert decoded.ignored == {"old_snapshot": 1}
    assert len(decoded.events) == 4


def test_futures_follow_by_the_update_before_and_spot_by_number() -> None:
    made = [snapshot(10), frame(depth(40, 45, [["99.00", "1.000"]], pu=10)), frame(depth(60, 65, [], [], pu=50))]
    assert read(made, USDM).gaps == (Gap("BTCUSDT", START_NS + 2_000_000, 45, 50),)
    assert read(made, COINM).gaps == (Gap("BTCUSDT", START_NS + 2_000_000, 45, 50),)
    assert read(made, SPOT).gaps == (Gap("BTCUSDT", START_NS + 1_000_000, 11, 40),)


def test_updates_kept_for_ever_are_bounded_and_the_oldest_are_counted() -> None:
    made = [frame(depth(k, k)) for k in range(MAX_PENDING + 3)]
    codec = BinanceCodec(SPOT, BTC, RAISE)
    state, decoded = codec.step(codec.init(), batch(made))
    assert decoded.ignored == {"pending_overflow": 3}
    assert len(state.pending[0]) == MAX_PENDING


def test_the_resting_side_of_a_trade_is_the_makers() -> None:
    decoded = read([frame(trade(1)), frame(trade(2, m=False))])
    assert rows(decoded) == [(TRADE, BID, 10_010, 500, 1), (TRADE, ASK, 10_010, 500, 2)]


def test_two_streams_of_the_same_trades_are_told_once() -> None:
    aggregate = {
        "e": "aggTrade",
        "E": MS,
        "s": "BTCUSDT",
        "a": 9,
        "p": "100.10",
        "q": "0.5",
        "f": 1,
        "l": 1,
        "T": MS,
        "m": True,
    }
    decoded = read([frame(trade(1)), frame(aggregate), frame(trade(2)), frame(trade(2))])
    assert decoded.ignored == {"other_trade_stream": 1, "old": 1}
    assert [row[-1] for row in rows(decoded)] == [1, 2]


def test_trades_outside_the_book_are_counted() -> None:
    made = [frame(trade(1, X="INSURANCE_FUND")), frame(trade(2, X="NA", p="0", q="0")), frame(trade(3, X="MARKET"))]
    decoded = read(made, USDM)
    assert decoded.ignored == {"off_book_trade": 2}
    assert len(decoded.events) == 1


def test_best_quotes_become_quotes_of_their_own_instrument_when_asked_for() -> None:
    quotes = {"BTCUSDT": BTC["BTCUSDT"].model_copy(update={"instrument_id": 8})}
    best = {"u": 21, "s": "BTCUSDT", "b": "100.00", "B": "5.000", "a": "100.10", "A": "3.000"}
    timed = best | {"e": "bookTicker", "T": MS, "E": MS + 1, "u": 22}
    decoded = read([frame(trade(1)), frame(best), frame(timed)], best_quotes=quotes)
    assert rows(decoded)[1:3] == [(QUOTE, BID, 10_000, 5_000, 21), (QUOTE, ASK, 10_010, 3_000, 21)]
    assert decoded.events["instrument_id"].tolist() == [3, 8, 8, 8, 8]
    assert decoded.events["flags"].tolist() == [F_LAST, F_TS_CARRIED, F_TS_CARRIED | F_LAST, 0, F_LAST]
    with pytest.raises(ValueError, match="another grid"):
        read([], best_quotes={"BTCUSDT": inferred_instrument("BTCUSDT", 8, "x", 0.1, 0.001)})


def test_microseconds_are_told_from_milliseconds() -> None:
    events = read([frame(trade(1, E=MS * 1_000 + 7, T=MS * 1_000 + 5))]).events
    assert events["ts_event"].tolist() == [MS * 1_000_000 + 5_000]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (depth(11, 12, [["100.005", "1"]]), r"BTCUSDT: 100.005 is not a multiple of 0.01"),
        (depth(11, 12, [["100.00", "0.0005"]]), r"BTCUSDT: 0.0005 is not a multiple of 0.001"),
        (depth(11, 12, [["100.00"]]), r"Expected `array` of length 2"),
        (depth(11, 12, [["1e400", "1"]]), r"1e400 is out of range"),
        (depth(11, 12, [["-1", "1"]]), r"'-1' is not a decimal number"),
        (depth(11, 12, [["99999999999999999.99", "1"]]), r"has more than 18 digits"),
        (depth(11, 12, [["9" * 5_000, "1"]]), r"is too long for a number"),
        ({"e": "depthUpdate", "E": MS, "s": "BTCUSDT", "u": 12, "b": [], "a": []}, "missing required field `U`"),
        (trade(1, p="0.00"), "a trade with price 0.00 and size 0.500"),
        (trade(1, T="soon"), "Expected `int`, got `str`"),
        ({"e": "newThing", "s": "BTCUSDT"}, "unknown kind of frame 'newThing'"),
        ({"code": 2, "msg": "Invalid request"}, "the venue answers with an error: .*Invalid request"),
        ({"lastUpdateId": 5, "bids": [], "asks": []}, "a snapshot's stream is its REST address"),
    ],
)
def test_a_frame_that_cannot_be_read_is_refused_with_its_reason(payload: dict[str, object], reason: str) -> None:
    decoded = read([snapshot(10), frame(payload), frame(depth(11, 11, [["99.00", "1.000"]]))], policy=QUARANTINE)
    assert [r.frame for r in decoded.rejected] == [1]
    assert rows(decoded)[3:] == [(LEVEL, BID, 9_900, 1_000, 11)]
    with pytest.raises(FrameError, match=reason):
        read([snapshot(10), frame(payload)])


@pytest.mark.parametrize(
    "spelt",
    [
        lambda p: json.dumps(p),
        lambda p: json.dumps(dict(reversed(p.items())), separators=(",", ":")),
        lambda p: json.dumps({"new_field": [1, {"x": "y"}]} | p, separators=(",", ":")),
        lambda p: json.dumps({"stream": "a", "data": p}, separators=(",", ":"))[:-1] + ',"late":1}',
        lambda p: json.dumps(p, separators=(",", ":")).replace("BTCUSDT", "BTC\\u0055SDT"),
        lambda p: json.dumps(p, separators=(",", ":")).replace("100.00", "100").replace("1.000", "1e0"),
        lambda p: json.dumps(p, separators=(",", ":")).replace("100.00", "0000000000000000000100.00"),
        lambda p: json.dumps(p, separators=(",", ":")) + "\n",
    ],
)
def test_what_the_scanner_leaves_aside_is_read_by_the_complete_parser(
    spelt: Callable[[dict[str, object]], str],
) -> None:
    payload = depth(11, 12, [["100.00", "1.000"]], [["100.10", "0.000"]])
    decoded = read([snapshot(10), (WSS, spelt(payload).encode())])
    assert rows(decoded)[3:] == [(LEVEL, BID, 10_000, 1_000, 12), (LEVEL, ASK, 10_010, 0, 12)]


def test_many_symbols_keep_their_own_sequence() -> None:
    symbols = [f"S{k}USDT" for k in range(300)]
    instruments = {s: inferred_instrument(s, k, "binance_spot", 0.01, 0.001) for k, s in enumerate(symbols)}
    codec = BinanceCodec(SPOT, instruments, RAISE)
    made = [frame(trade(k % 7, s=s)) for k, s in enumerate(symbols)]
    _, decoded = codec.step(codec.init(), batch(made))
    assert decoded.events["instrument_id"].tolist() == list(range(300))
    assert set(decoded.wants_snapshot) == set(symbols)
    assert len(codec.endpoints(symbols)) == 3


def test_a_symbol_that_no_table_can_hold_is_named() -> None:
    with pytest.raises(ValueError, match="39 printable ASCII characters, not 'BTC USDT'"):
        BinanceCodec(SPOT, {"BTC USDT": BTC["BTCUSDT"]})
    with pytest.raises(ValueError, match="the policy is"):
        BinanceCodec(SPOT, BTC, "ignore")

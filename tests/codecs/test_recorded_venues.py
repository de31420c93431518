"""Recorded frames of every venue: all read, in sequence, checksums right, books never crossed, best quotes equal (R5)."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from marketdata.book import empty_book, fold_best
from marketdata.codecs.binance import COINM, SPOT, USDM, BinanceCodec, Market
from marketdata.codecs.catalog import VenueCodec, build_codec, infer_grid
from marketdata.events import ASK, BID, F_LAST, LEVEL, EventArray
from marketdata.frames import QUARANTINE, RAISE, Decoded, FrameBatch, join_batches
from marketdata.recordings import batch_of, read_binance_arrays, read_binance_raw, read_cryptofeed

pytestmark = pytest.mark.realdata

CRYPTOFEED = {
    "binance_spot": ("BINANCE", 270, {"opened": 1, "kline": 2, "old": 1, "best_quote": 84}),
    "binance_usdm": ("BINANCE_FUTURES", 1_540, {"opened": 1, "kline": 67, "old": 11, "best_quote": 613}),
    "coinbase": ("COINBASE", 9_947, {"opened": 1, "subscriptions": 3, "ticker": 107, "last_match": 10}),
    "kraken": (
        "KRAKEN",
        4_433,
        {"opened": 3, "systemStatus": 3, "subscriptionStatus": 30, "ticker": 18, "heartbeat": 92},
    ),
    "kraken_futures": (
        "KRAKEN_FUTURES",
        7_176,
        {"opened": 1, "info": 1, "subscribed": 30, "trade_snapshot": 10, "ticker_lite": 107},
    ),
    "bybit": ("BYBIT", 4_442, {"opened": 2, "answer": 20}),
    "okx": ("OKX", 411, {"opened": 1, "subscribe": 18, "tickers": 28}),
    "bitstamp": ("BITSTAMP", 758, {"opened": 1, "subscription_succeeded": 20, "old": 102}),
    "bitmex": ("BITMEX", 2_121, {"opened": 1, "answer": 31, "quote": 93, "past_trades": 10}),
    "deribit": ("DERIBIT", 137, {"opened": 1, "answer": 1, "ticker": 89}),
    "gemini": ("GEMINI", 679, {"opened": 1, "heartbeat": 7}),
}
"""Files, frames (opened connections counted as one each), and the frames that carry no event."""

RAW = [
    (SPOT, ["spot/btcusdt_20240808", "spot/btcusdt_20240809"], "BTCUSDT", 1_072),
    (SPOT, ["spot/ethusdt_20240808"], "ETHUSDT", 577),
    (USDM, ["usdm/btcusdt_20240808"], "BTCUSDT", 629),
    (USDM, ["usdm/ethusdt_20240808"], "ETHUSDT", 551),
    (COINM, ["cm/btcusd_perp_20240808", "cm/btcusd_perp_20240809"], "BTCUSD_PERP", 1_885),
    (COINM, ["cm/ethusd_perp_20240808"], "ETHUSD_PERP", 1_345),
]
"""Market, files, symbol, and how many best quotes have the update id of a depth update."""


def cryptofeed(folder: Path, venue: str) -> FrameBatch:
    name = CRYPTOFEED[venue][0]
    frames = folder / "market/exchange_ws_frames"
    return read_cryptofeed(sorted(frames.glob(f"{name}.ws.*.gz")), sorted(frames.glob(f"{name}.http.*.gz")))


def raw_2024(folder: Path, market: Market, files: list[str], symbol: str) -> FrameBatch:
    codec = BinanceCodec(market, {})
    recorded = folder / "market/binance_raw_2024"
    parts = [read_binance_raw(recorded / f"{name}.gz", "wss://recorded", codec.snapshot_url(symbol)) for name in files]
    return join_batches(parts)


def read(codec: VenueCodec, recording: FrameBatch) -> Decoded:
    return codec.step(codec.init(), recording)[1]


def crossed_groups(codec: VenueCodec, events: EventArray) -> int:
    """Groups after which a book is crossed, over all instruments."""
    count = 0
    for instrument in codec.instruments.values():
        own = events[events["instrument_id"] == instrument.instrument_id]
        best = fold_best(empty_book(16_384), own)
        ends = (own["flags"] & F_LAST > 0) & (best[:, 1] > 0) & (best[:, 3] > 0)
        count += int((best[ends, 0] > best[ends, 2]).sum())
    return count


@pytest.mark.parametrize("venue", list(CRYPTOFEED))
def test_every_frame_is_read_in_sequence_and_no_book_is_crossed(shared_data: Path, venue: str) -> None:
    recording = cryptofeed(shared_data, venue)
    codec = build_codec(venue, infer_grid(venue, recording), QUARANTINE)
    decoded = read(codec, recording)
    assert len(recording) == CRYPTOFEED[venue][1]
    assert decoded.ignored == CRYPTOFEED[venue][2]
    assert (decoded.rejected, decoded.gaps, decoded.wants_snapshot) == ((), (), ())
    assert crossed_groups(codec, decoded.events) == 0
    state, parts = codec.init(), []
    for first in range(0, len(recording), 7):
        state, part = codec.step(state, recording.part(first, min(first + 7, len(recording))))
        parts.append(part.events)
    assert np.array_equal(np.concatenate(parts), decoded.events)


@pytest.mark.parametrize("venue", ["kraken", "okx"])
def test_checksums_are_verified_on_every_update(shared_data: Path, venue: str) -> None:
    """All are right in the test above; another number in any one of them is a gap at that message."""
    recording = cryptofeed(shared_data, venue)
    instruments = infer_grid(venue, recording)
    reports = 0
    for k in range(len(recording)):
        if b'"c":"' not in recording.frame(k) and b'"checksum":' not in recording.frame(k):
            continue
        reports += 1
        if reports % 97:
            continue
        broken = recording.frame(k)
        name = b'"c":"' if venue == "kraken" else b'"checksum":'
        at = broken.index(name) + len(name) + 1
        broken = broken[:at] + (b"1" if broken[at : at + 1] != b"1" else b"2") + broken[at + 1 :]
        lines = [(int(recording.ts_recv[j]), "wss://one", recording.frame(j)) for j in range(k)]
        spoiled = batch_of([*lines, (int(recording.ts_recv[k]), "wss://one", broken)])
        decoded = read(build_codec(venue, instruments, QUARANTINE), spoiled)
        assert len(decoded.gaps) == 1
        assert decoded.gaps[0].ts_recv == recording.ts_recv[k]
        if reports > 600:
            break
    assert reports >= 290


def test_hyperliquid_reads_whole_books(shared_data: Path) -> None:
    path = shared_data / "market/binance_raw_2024/hyperliquid/btcusd_20250126.gz"
    recording = read_binance_raw(path, "wss://api.hyperliquid.xyz/ws", "")
    codec = build_codec("hyperliquid", infer_grid("hyperliquid", recording), QUARANTINE)
    decoded = read(codec, recording)
    assert len(recording) == 55
    assert (decoded.rejected, decoded.ignored) == ((), {"old": 1})
    assert crossed_groups(codec, decoded.events) == 0
    best = fold_best(empty_book(), decoded.events[decoded.events["action"] != 6])
    last = json.loads([recording.frame(k) for k in range(55) if b"l2Book" in recording.frame(k)][-1])["data"]["levels"]
    assert best[-1, 0] == round(float(last[0][0]["px"]))
    assert best[-1, 2] == round(float(last[1][0]["px"]))


def aligned(events: EventArray, quotes: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], int]:
    """For each best quote whether a depth update has its id, and whether the book then equals it; groups crossed or locked."""
    book, quote = events[events["instrument_id"] != quotes], events[events["instrument_id"] == quotes]
    best = fold_best(empty_book(16_384), book)
    ends = (book["flags"] & F_LAST > 0) & (book["action"] == LEVEL)
    ids, top = book["sequence"][ends], best[ends]
    bid, ask = quote[quote["side"] == BID], quote[quote["side"] == ASK]
    at = np.minimum(np.searchsorted(ids, bid["sequence"]), len(ids) - 1)
    told = np.stack([bid["price_units"], bid["size_lots"], ask["price_units"], ask["size_lots"]], axis=1)
    return ids[at] == bid["sequence"], (told == top[at]).all(axis=1), int((top[:, 0] >= top[:, 2]).sum())


@pytest.mark.parametrize(("market", "files", "symbol", "expected"), RAW)
def test_the_rebuilt_book_equals_the_best_quotes_wherever_ids_align(
    shared_data: Path, market: Market, files: list[str], symbol: str, expected: int
) -> None:
    recording = raw_2024(shared_data, market, files, symbol)
    instruments = infer_grid(market.venue, recording)
    quotes = {symbol: instruments[symbol].model_copy(update={"instrument_id": 1})}
    decoded = read(BinanceCodec(market, instruments, RAISE, best_quotes=quotes), recording)
    assert (decoded.gaps, decoded.wants_snapshot, decoded.ignored) == ((), (), {})
    aligns, equal, crossed = aligned(decoded.events, 1)
    assert int(aligns.sum()) == expected
    assert equal[aligns].all()
    assert crossed == 0


@pytest.mark.parametrize(("market", "files", "symbol", "_"), RAW)
def test_dropped_lines_are_found_at_the_next_update(
    shared_data: Path, market: Market, files: list[str], symbol: str, _: int
) -> None:
    recording = raw_2024(shared_data, market, files[:1], symbol)
    depth = [k for k in range(len(recording)) if b'"e":"depthUpdate"' in recording.frame(k)]
    instruments = infer_grid(market.venue, recording)
    for nth in (len(depth) // 3, len(depth) // 2, len(depth) - 2):
        dropped, following = depth[nth], depth[nth + 1]
        lines = [
            (int(recording.ts_recv[k]), recording.streams[recording.stream[k]], recording.frame(k))
            for k in range(len(recording))
            if k != dropped
        ]
        decoded = read(BinanceCodec(market, instruments, RAISE), batch_of(lines))
        [gap] = decoded.gaps
        payload = json.loads(recording.frame(following))["data"]
        lost = json.loads(recording.frame(dropped))["data"]
        before = json.loads(recording.frame(depth[nth - 1]))["data"]
        assert gap.ts_recv == recording.ts_recv[following]
        if market is SPOT:
            assert (gap.expected, gap.found) == (lost["U"], payload["U"])
        else:
            assert (gap.expected, gap.found) == (before["u"], payload["pu"])
        assert decoded.wants_snapshot == (symbol,)


@pytest.mark.parametrize(("market", "files", "symbol", "_"), RAW)
def test_scanner_and_complete_parser_agree_on_every_frame(
    shared_data: Path, market: Market, files: list[str], symbol: str, _: int
) -> None:
    recording = raw_2024(shared_data, market, files, symbol)
    instruments = infer_grid(market.venue, recording)
    quotes = {symbol: instruments[symbol].model_copy(update={"instrument_id": 1})}
    fast, slow = (
        read(BinanceCodec(market, instruments, QUARANTINE, quotes, complete_only=complete), recording)
        for complete in (False, True)
    )
    assert np.array_equal(fast.events, slow.events)
    assert fast[1:] == slow[1:]


@pytest.mark.parametrize(("market", "venue"), [(SPOT, "binance_spot"), (USDM, "binance_usdm")])
def test_scanner_and_complete_parser_agree_on_the_other_recording(
    shared_data: Path, market: Market, venue: str
) -> None:
    recording = cryptofeed(shared_data, venue)
    instruments = infer_grid(venue, recording)
    fast, slow = (
        read(BinanceCodec(market, instruments, QUARANTINE, complete_only=complete), recording)
        for complete in (False, True)
    )
    assert np.array_equal(fast.events, slow.events)
    assert fast[1:] == slow[1:]


def test_an_hour_of_2020_is_read_without_a_gap(shared_data: Path) -> None:
    folder = shared_data / "market/binance_depth_2020/ETHBTC"
    stem = "2020-11-01T09-00-00"
    url = BinanceCodec(SPOT, {}).snapshot_url("ETHBTC")
    recording = read_binance_arrays(
        folder / f"{stem}_snapshot.json.gz",
        [folder / f"{stem}_update.json.gz", folder / f"{stem}_trades.json.gz"],
        "wss://recorded",
        url,
    )
    codec = build_codec("binance_spot", infer_grid("binance_spot", recording), RAISE)
    decoded = read(codec, recording)
    assert len(recording) == 1 + 3_600 + 1_736
    assert (decoded.gaps, decoded.wants_snapshot) == ((), ())
    assert set(decoded.ignored) <= {"old", "empty_depth"}
    assert int((decoded.events["action"] == 6).sum()) == 1_736
    assert crossed_groups(codec, decoded.events) == 0

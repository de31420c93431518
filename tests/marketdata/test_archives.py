"""Files are known for what they are, what belongs together is read together, and what is nobody's is named."""

import gzip
import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from marketdata.archives import FRAME_LAYOUTS, RecordingInput, UnknownRecording, files_below
from marketdata.book import empty_book, fold_best
from marketdata.clock import NS_PER_MS
from marketdata.codecs.catalog import build_codec
from marketdata.events import ASK, BID, F_LAST, QUOTE, TRADE
from marketdata.ingest import ARCHIVE_LAYOUTS, find_inputs, instruments_of
from marketdata.instruments import BookKind
from marketdata.recorded_settings import calendar_for
from tests.codecs.test_fix_laws import session
from tests.marketdata.recordings import write_lobster
from tests.marketdata.venue_recordings import MIDNIGHT_MS, spot_lines, write_lines

DAY = "2024-08-09"
TRADES = "3735683259,61837.63,0.02,1236.7526,{0},True,True\n3735683260,61837.64,0.5,30918.82,{1},False,True\n"
QUOTES = (
    "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time\n"
    "10,61837.60,1.5,61837.70,2.25,{0},{0}\n11,61837.60,1.25,61837.80,2.0,{1},{1}\n"
)


def archive(folder: Path, kind: str, text: str, *, symbol: str = "BTCUSDT", day: str = DAY, good: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{symbol}-{kind}-{day}.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(path.with_suffix(".csv").name, text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if good else "0" * 64
    path.with_name(path.name + ".CHECKSUM").write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    return path


def bybit_archive(path: Path, frames: int, *, skipped: int | None = None) -> Path:
    """A day of Bybit's order book: a snapshot, then deltas a millisecond apart; one of them may be missing."""
    lines = []
    for k in range(frames):
        kind, bids = ("delta", [["1.9531", str(k)]]) if k else ("snapshot", [["1.9531", "5"], ["1.9530", "7"]])
        asks = [["1.9533", str(k + 1)]]
        data = {"s": "XRPUSDT", "b": bids, "a": asks, "u": 100 + k, "seq": 9 * k}
        frame = {"topic": "orderbook.500.XRPUSDT", "type": kind, "ts": MIDNIGHT_MS + k, "data": data}
        if k != skipped:
            lines.append(json.dumps(frame, separators=(",", ":")))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(path.name.removesuffix(".zip"), "\n".join(lines) + "\n")
    return path


def events_of(path: Path | list[Path]) -> tuple[dict[str, object], np.ndarray]:
    (given,) = find_inputs(path if isinstance(path, list) else [path])
    instruments = instruments_of(given)
    found = [decoded.events for decoded in ARCHIVE_LAYOUTS[given.layout].decoded(given, instruments)]
    return instruments, np.concatenate(found)


def test_spot_trades_come_out_exactly_with_their_resting_side(tmp_path: Path) -> None:
    stamp = MIDNIGHT_MS + 5
    path = archive(tmp_path / "spot" / "daily" / "trades" / "BTCUSDT", "trades", TRADES.format(stamp, stamp + 1))
    instruments, events = events_of(path)
    instrument = instruments["BTCUSDT"]
    assert instrument.symbol == "BTCUSDT.binance_spot"
    assert (instrument.price_decimals, instrument.lot_size, instrument.book_kind) == (0.01, 0.01, BookKind.TRADES_ONLY)
    assert events["price_units"].tolist() == [6_183_763, 6_183_764]
    assert events["size_lots"].tolist() == [2, 50]
    assert events["side"].tolist() == [BID, ASK]  # the buyer was the maker: the bid rested
    assert events["sequence"].tolist() == [3_735_683_259, 3_735_683_260]
    assert events["ts_event"].tolist() == [stamp * NS_PER_MS, (stamp + 1) * NS_PER_MS]


def test_spot_times_are_microseconds_from_2025_on(tmp_path: Path) -> None:
    stamp = 1_735_689_600_000_001
    path = archive(tmp_path / "spot", "trades", TRADES.format(stamp, stamp + 1), day="2025-01-01")
    _, events = events_of(path)
    assert events["ts_event"].tolist() == [stamp * 1_000, (stamp + 1) * 1_000]


def test_futures_trades_and_quotes_of_a_day_are_one_stream_quotes_first(tmp_path: Path) -> None:
    folder, stamp = tmp_path / "futures" / "um" / "daily", MIDNIGHT_MS
    archive(folder / "bookTicker", "bookTicker", QUOTES.format(stamp, stamp + 2))
    trades = "id,price,qty,quote_qty,time,is_buyer_maker\n5,61837.70,0.5,1,{0},false\n6,61837.60,0.25,1,{1},true\n"
    archive(folder / "trades", "trades", trades.format(stamp, stamp + 3))
    summed = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
    summed += "1,61837.70,0.5,5,5,{0},false\n"
    archive(folder / "aggTrades", "aggTrades", summed.format(stamp))
    instruments, events = events_of([tmp_path])
    assert instruments["BTCUSDT"].venue == "binance_usdm"
    assert instruments["BTCUSDT"].book_kind is BookKind.MATCHING
    assert events["action"].tolist() == [QUOTE, QUOTE, TRADE, QUOTE, QUOTE, TRADE]
    assert events["flags"].tolist() == [0, F_LAST, F_LAST, 0, F_LAST, F_LAST]
    assert events["side"][:2].tolist() == [BID, ASK]


def test_a_file_that_is_not_what_its_checksum_says_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "spot", "trades", TRADES.format(MIDNIGHT_MS, MIDNIGHT_MS), good=False)
    with pytest.raises(UnknownRecording, match=rf"{path.name}: sha256 .* is not that of {path.name}\.CHECKSUM"):
        find_inputs([path])


def test_what_cannot_become_events_is_refused_with_the_reason(tmp_path: Path) -> None:
    bands = archive(tmp_path / "futures" / "um", "bookDepth", "timestamp,percentage,depth,notional\n")
    with pytest.raises(UnknownRecording, match="bands of per cent"):
        find_inputs([bands])
    nowhere = archive(tmp_path / "downloads", "trades", TRADES.format(1, 2))
    with pytest.raises(UnknownRecording, match=r"of which market\?.*--venue binance_spot"):
        find_inputs([nowhere])
    assert find_inputs([nowhere], venue="binance_usdm")[0].venue == "binance_usdm"
    broken = archive(tmp_path / "spot", "trades", TRADES.format(MIDNIGHT_MS, "soon"))
    (given,) = find_inputs([broken])
    with pytest.raises(UnknownRecording, match="row 2, time: 'soon' is no such number"):
        instruments_of(given)


@pytest.mark.parametrize(
    "text", ["1,100.123456789012,1,1,1723161600000,true,true\n", "1,abc,1,1,1723161600000,true,true\n"]
)
def test_prices_beyond_the_digits_we_hold_are_refused_and_never_rounded(tmp_path: Path, text: str) -> None:
    (given,) = find_inputs([archive(tmp_path / "spot", "trades", text)])
    with pytest.raises(UnknownRecording, match="row 1, price"):
        instruments_of(given)


def test_a_price_off_the_grid_of_the_root_is_refused_with_its_row(tmp_path: Path) -> None:
    path = archive(tmp_path / "spot", "trades", TRADES.format(MIDNIGHT_MS, MIDNIGHT_MS))
    (given,) = find_inputs([path])
    coarse = {s: item.model_copy(update={"price_decimals": 0.1}) for s, item in instruments_of(given).items()}
    with pytest.raises(UnknownRecording, match=r"row 1, price: 61837\.63 is not a multiple of 0\.1"):
        list(ARCHIVE_LAYOUTS["binance_archive"].decoded(given, coarse))


def test_a_file_that_is_nobodys_is_named_in_one_line(tmp_path: Path) -> None:
    write_lines(tmp_path / "data" / "spot" / "a.gz", spot_lines(MIDNIGHT_MS, 5))
    (tmp_path / "data" / "notes.xyz").write_text("?", encoding="utf-8")
    with pytest.raises(UnknownRecording) as raised:
        find_inputs([tmp_path / "data"])
    assert "notes.xyz: not a recording of a known format" in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(UnknownRecording, match="nothing_there: no such file or folder"):
        find_inputs([tmp_path / "nothing_there"])
    with pytest.raises(UnknownRecording, match="unknown format 'pcapng'"):
        find_inputs([tmp_path], layout="pcapng")


def test_what_lies_beside_recordings_is_no_recording(tmp_path: Path) -> None:
    for name in ("README.md", "LOBSTER_SampleFiles_ReadMe.txt", "LICENSE", "SHA256SUMS", ".hidden", "x.zip.CHECKSUM"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    with pytest.raises(UnknownRecording, match="there is no recording in this folder"):
        files_below([tmp_path])


def test_lines_without_a_market_ask_for_it(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "somewhere" / "a.gz", spot_lines(MIDNIGHT_MS, 5))
    with pytest.raises(UnknownRecording, match="say whose with --venue"):
        find_inputs([path])
    assert find_inputs([path], venue="binance_spot")[0].layout == "binance_raw"


def test_a_format_that_the_user_says_needs_no_name_and_refused_messages_say_why(tmp_path: Path) -> None:
    messages = session(20, 1, ids=False)
    path = tmp_path / "yesterday.txt"
    path.write_bytes(b"\n".join(messages))
    with pytest.raises(UnknownRecording, match=r"yesterday\.txt: not a recording of a known format"):
        find_inputs([path])
    (given,) = find_inputs([path], layout="fix")
    assert set(instruments_of(given)) == {"AA", "BB"}
    path.write_bytes(b"\n".join(message.replace(b"\x0134=", b"\x0134=0") for message in messages))
    with pytest.raises(
        UnknownRecording, match=r"20 refused, the first: .*; --format fix_lenient takes and counts them"
    ):
        instruments_of(find_inputs([path], layout="fix")[0])
    (lenient,) = find_inputs([path], layout="fix_lenient")
    assert set(instruments_of(lenient)) == {"AA", "BB"}
    with pytest.raises(UnknownRecording, match="no lobster recording"):
        find_inputs([path], layout="lobster")


def test_the_deepest_lobster_files_of_a_day_are_read_once(tmp_path: Path) -> None:
    folder = write_lobster(tmp_path / "recorded", rows=50)
    inputs = find_inputs([folder])
    assert {given.layout for given in inputs} == {"lobster"}
    taken = {path for given in inputs for path in (*given.paths, *given.covers)}
    assert taken == {p.resolve() for p in folder.iterdir()}
    assert calendar_for("lobster").name == "XNYS"


def test_tables_of_one_tardis_instrument_are_read_together_the_best_book_first(tmp_path: Path) -> None:
    names = {
        "deribit_incremental_book_L2_2024-01-01_BTC-PERPETUAL.csv": "is_snapshot,side,price,amount\n{h},true,bid,100.5,10\n",
        "deribit_book_snapshot_5_2024-01-01_BTC-PERPETUAL.csv": "x\n",
        "deribit_trades_2024-01-01_BTC-PERPETUAL.csv": "id,side,price,amount\n{h},a,buy,101.0,3\n",
    }
    for name, rest in names.items():
        header, _, row = rest.partition("\n")
        stamp = 1_704_067_200_000_000 + (5 if "trades" in name else 0)
        text = f"exchange,symbol,timestamp,local_timestamp,{header}\n"
        text += row.replace("{h}", f"deribit,BTC-PERPETUAL,{stamp},{stamp + 900}")
        (tmp_path / name).write_text(text, encoding="utf-8")
    (given,) = find_inputs([tmp_path])
    assert [path.name.split("_")[1] for path in given.paths] == ["incremental", "trades"]
    assert len(given.covers) == 1
    instruments, events = events_of([tmp_path])
    assert instruments["BTC-PERPETUAL"].price_decimals == 0.1
    assert events["action"][-1] == TRADE
    assert (np.diff(events["ts_recv"]) >= 0).all()


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("place", "layout", "symbols"),
    [
        ("lobster", "lobster", {"AAPL", "AMZN"}),
        ("lean_us_equity/tick/ibm", "lean_equity", {"IBM"}),
        ("sse_l2_orders/600519_2023-02-01_trade.csv.gz", "shanghai", {"600519"}),
        ("vendor_samples/databento", "databento", {"ESH4"}),
        ("vendor_samples/tardis/bitmex_trades_XBTUSD.csv", "tardis", {"XBTUSD"}),
        ("protocol_samples/itch50_synthetic", "itch50", {"ALC", "BOB", "CHAR"}),
        ("exchange_ws_frames/OKX.ws.1.0.gz", "cryptofeed", {"BTC-USDT", "UNI-USD-SWAP", "BTC-USD-220527"}),
        ("binance_depth_2020/ETHBTC", "binance_arrays", {"ETHBTC"}),
        ("b3_equities_l1/train_data/PETR4_05032025.csv.gz", "b3", {"PETR4"}),
    ],
)
def test_recorded_archives_are_known_with_their_symbols(
    shared_data: Path, place: str, layout: str, symbols: set[str]
) -> None:
    inputs = find_inputs([shared_data / "market" / place])
    assert {given.layout for given in inputs} == {layout}
    assert {symbol for given in inputs for symbol in instruments_of(given)} == symbols


def frames_of(given: RecordingInput) -> tuple[np.ndarray, int]:
    """Return the events of frames, and the gaps in them."""
    instruments = {s: item.model_copy(update={"instrument_id": 1}) for s, item in instruments_of(given).items()}
    codec = build_codec(given.venue, instruments, "raise")
    state, parts, gaps = codec.init(), [], 0
    for batch in FRAME_LAYOUTS[given.layout].batches(given):
        state, found = codec.step(state, batch)
        parts.append(found.events)
        gaps += len(found.gaps)
    return np.concatenate(parts), gaps


def test_days_of_bybits_order_book_are_one_stream_of_its_own_frames(tmp_path: Path) -> None:
    second = bybit_archive(tmp_path / "2024-12-02_XRPUSDT_ob500.data.zip", 30, skipped=20)
    plain = tmp_path / "2024-12-01_XRPUSDT_ob500.data"
    with zipfile.ZipFile(bybit_archive(tmp_path / "first.zip", 30)) as packed:
        plain.write_bytes(packed.read("first"))
    first, other = find_inputs([plain, second])
    assert {first.layout, other.layout} == {"bybit_archive"}
    assert first.series == other.series == "bybit/XRPUSDT"
    assert (first.start_ns, first.has_receive_time) == (MIDNIGHT_MS * NS_PER_MS, False)
    events, gaps = frames_of(first)
    assert gaps == 0
    assert fold_best(empty_book(), events)[-1].tolist() == [19_531, 29, 19_533, 30]
    _, gaps = frames_of(other)
    assert gaps == 1


def test_lines_of_any_venue_are_read_where_the_folder_or_the_user_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "bybit"
    folder.mkdir()
    with zipfile.ZipFile(bybit_archive(tmp_path / "day.zip", 20)) as packed:
        text = packed.read("day").decode().splitlines()
    lines = [f"{(MIDNIGHT_MS + k) * NS_PER_MS + 777} {line}" for k, line in enumerate(text)]
    (folder / "xrpusdt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (given,) = find_inputs([folder])
    assert (given.layout, given.venue, given.start_ns) == ("binance_raw", "bybit", MIDNIGHT_MS * NS_PER_MS + 777)
    events, gaps = frames_of(given)
    assert gaps == 0
    assert events["ts_recv"][-1] - events["ts_event"][-1] == 777
    renamed = folder.rename(tmp_path / "somewhere")
    with pytest.raises(UnknownRecording, match=r"say whose with --venue .*bybit.*hyperliquid"):
        find_inputs([renamed])
    assert find_inputs([renamed], venue="bybit")[0].venue == "bybit"


@pytest.mark.realdata
def test_recorded_days_of_bybit_and_hyperliquid_come_in_without_a_gap(shared_data: Path) -> None:
    for place, frames, rows in (("vendor_samples/bybit", 50, 3_967), ("binance_raw_2024/hyperliquid", 55, 404)):
        (given,) = find_inputs([shared_data / "market" / place])
        assert sum(len(batch) for batch in FRAME_LAYOUTS[given.layout].batches(given)) == frames
        events, gaps = frames_of(given)
        assert (len(events), gaps) == (rows, 0)
        best = fold_best(empty_book(), events)[(events["flags"] & F_LAST) > 0]
        assert (best[:, 0] < best[:, 2]).all()

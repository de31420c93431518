"""Whatever happens to a file on its way, ingest reads it or names it in one line; nothing damaged becomes a number."""

import gzip
import lzma
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from marketdata.archives import FRAME_LAYOUTS, UnknownRecording
from marketdata.capture_format import CaptureError
from marketdata.codecs.formats import FORMATS
from marketdata.codecs.tables import SourceError
from marketdata.ingest import ARCHIVE_LAYOUTS, find_inputs, instruments_of
from marketdata.recordings import RecordingError, read_binance_arrays, read_binance_raw, read_cryptofeed
from tests.codecs.market_files import instrument, lean_zip, write_text
from tests.codecs.test_format_laws import SAMPLES
from tests.marketdata.test_archives import QUOTES, archive, bybit_archive
from tests.marketdata.venue_recordings import MIDNIGHT_MS, spot_lines, write_lines

REFUSALS = (UnknownRecording, SourceError, RecordingError, CaptureError)
"""What the command line shows as one line."""
START = 1_723_161_253


def ingest(path: Path) -> int:
    """Read a folder as ``flowsense ingest`` does, without a data root; return how many events and frames there were."""
    count = 0
    for given in find_inputs([path], venue=None):
        wanted = instruments_of(given, symbols=("AAAA",) if given.layout == "itch50_pcap" else ())
        if given.layout in ARCHIVE_LAYOUTS:
            count += sum(len(part.events) for part in ARCHIVE_LAYOUTS[given.layout].decoded(given, wanted))
        else:
            count += sum(len(batch) for batch in FRAME_LAYOUTS[given.layout].batches(given))
    return count


def refusal(path: Path) -> str:
    """Return the line with which a folder is refused, nothing if it is read; any other error is the test's."""
    try:
        ingest(path)
    except REFUSALS as error:
        return str(error)
    return ""


def raw(folder: Path) -> Path:
    place = folder / "spot"
    place.mkdir()
    return write_lines(place / "btcusdt_20240809.gz", spot_lines(MIDNIGHT_MS, 40))


def cryptofeed(folder: Path) -> Path:
    text = f"wss://x <-> {START}.159679\nwss://x <- {START}.2: {{}}\n" + "".join(
        f'{START + k}.0633569: {{"channelID":{k},"a":"12.5"}}\n' for k in range(60)
    )
    path = folder / "KRAKEN.ws.1.0.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return path


def arrays(folder: Path) -> Path:
    place = folder / "BTCUSDT"
    place.mkdir()
    snapshot = {"lastUpdateId": 5, "bids": [["1.5", "2"]], "asks": []}
    (place / "x_snapshot.json.gz").write_bytes(gzip.compress(str(snapshot).replace("'", '"').encode()))
    updates = ",".join(
        f'{{"e":"depthUpdate","E":{1_000 + k},"s":"BTCUSDT","U":6,"u":7,"b":[],"a":[]}}' for k in range(30)
    )
    path = place / "x_update.json.gz"
    path.write_bytes(gzip.compress(f"[{updates}]".encode()))
    return path


def bybit(folder: Path) -> Path:
    return bybit_archive(folder / "2024-12-01_XRPUSDT_ob500.data.zip", 40)


def bitstamp(folder: Path) -> Path:
    path = folder / "day.log.xz"
    path.write_bytes(
        lzma.compress(b"".join(b'%d order_created {"id": %d}\n' % (START * 1_000 + k, k) for k in range(60)))
    )
    return path


def public_archive(folder: Path) -> Path:
    return archive(folder / "um", "bookTicker", QUOTES.format(MIDNIGHT_MS + 5, MIDNIGHT_MS + 9))


RECORDINGS: dict[str, Callable[[Path], Path]] = {
    "binance_raw": raw,
    "cryptofeed": cryptofeed,
    "binance_arrays": arrays,
    "bybit_archive": bybit,
    "bitstamp_log": bitstamp,
    "binance_archive": public_archive,
    **{name: (lambda folder, name=name: SAMPLES[name](folder)[0]) for name in FORMATS if name != "fix_lenient"},
}


@pytest.mark.parametrize("name", list(RECORDINGS))
def test_a_file_cut_off_or_changed_anywhere_is_read_or_refused_in_one_line_that_names_it(
    tmp_path: Path, name: str
) -> None:
    path = RECORDINGS[name](tmp_path)
    for checksum in tmp_path.rglob("*.CHECKSUM"):
        checksum.unlink()  # it would find every change first
    good = path.read_bytes()
    assert ingest(tmp_path) > 0
    rng = random.Random(name)
    outcomes = set()
    for k in range(40):
        content = bytearray(good)
        at = rng.randrange(1, len(content))
        if k % 4 == 0:
            content = content[:at]
        elif k % 4 == 1:
            content[at] ^= 1 << rng.randrange(8)
        elif k % 4 == 2:
            content[at:at] = b"9" * 25
        else:
            content[at : at + 20] = rng.randbytes(20)
        path.write_bytes(content)
        said = refusal(tmp_path)
        outcomes.add("refused" if said else "read")
        assert "\n" not in said
        assert not said or path.name in said or path.parent.name in said
    assert "refused" in outcomes or name == "fix"  # of plain FIX only messages are refused, one by one


@pytest.mark.parametrize("text", ["nan", "inf", "1e300"])
def test_what_is_no_number_never_becomes_a_price_or_a_size(tmp_path: Path, text: str) -> None:
    """A cast of NaN to an integer gives the smallest of all, and no error."""
    head = "symbol,rpt_seq,network_received_time,event_type,md_entry_px,md_entry_size,aggressor,en_s_px_1,en_b_px_1"
    row = "PETR4,1,2025-03-05 15:30:00.07+00:00,trade,{0},{1},4.0,36.09,35.93"
    for price, size in ((text, "100.0"), ("36.09", text)):
        path = write_text(tmp_path / "PETR4_05032025.csv.gz", [head, row.format(price, size)])
        with pytest.raises(SourceError, match=r"PETR4_05032025\.csv\.gz: row 1, field md_entry_(px|size)"):
            list(FORMATS["b3"].read(path, {"PETR4": instrument("PETR4")}))
    folder = "crypto/coinbase/minute/btcusd"
    path = lean_zip(tmp_path, folder, "20140508_trade.zip", {"a.csv": [f"60000,8,9,7,8.5,{text}"]})
    with pytest.raises(SourceError, match="row 1, field size"):
        list(FORMATS["lean"].read(path, {"BTCUSD": instrument("BTCUSD", 0.01, 1e-8)}))
    path, wanted = SAMPLES["lobster"](tmp_path)
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    lines[4] = re.sub(r"^[^,]*", text, lines[4])
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    if text != "1e300":
        with pytest.raises(SourceError, match=r"row 5, field time: '(nan|inf)' is not a number"):
            list(FORMATS["lobster"].read(path, wanted))


def test_a_size_that_is_no_number_is_not_taken_for_no_size(tmp_path: Path) -> None:
    head = "symbol,rpt_seq,network_received_time,event_type,md_entry_px,md_entry_size,aggressor,en_s_px_1,en_b_px_1"
    row = "PETR4,1,2025-03-05 15:30:00.07+00:00,trade,36.09,1O0,4.0,36.09,35.93"
    path = write_text(tmp_path / "PETR4_05032025.csv.gz", [head, row])
    with pytest.raises(SourceError, match="row 1, field md_entry_size: '1O0' is not a number"):
        list(FORMATS["b3"].read(path, {"PETR4": instrument("PETR4")}))


def test_times_that_no_clock_holds_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b'99999999999999999999 {"x":1}\n'))
    with pytest.raises(RecordingError, match=r"a\.gz, line 1: not '<receive time in ns> <JSON>'"):
        read_binance_raw(path, "wss://s", "")
    path.write_bytes(gzip.compress(b"wss://x <-> 1.2.3\n"))
    with pytest.raises(RecordingError, match="line 1"):
        read_cryptofeed([path])
    path.write_bytes(gzip.compress(b'[{"E":99999999999999999}]'))
    with pytest.raises(RecordingError, match="not a JSON array of payloads with E"):
        read_binance_arrays(path, [path], "", "")


def test_one_number_with_more_digits_than_any_grid_does_not_stop_the_recording(tmp_path: Path) -> None:
    path = raw(tmp_path)
    text = gzip.decompress(path.read_bytes()).replace(b'"b":[["', b'"b":[["0.' + b"1" * 25 + b'","1"],["', 1)
    path.write_bytes(gzip.compress(text))
    (given,) = find_inputs([tmp_path])
    (found,) = instruments_of(given).values()
    assert found.price_decimals >= 1e-8

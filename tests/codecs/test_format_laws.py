"""The laws of a file format, for every one of the catalogue."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from marketdata.codecs.formats import FORMATS, PROTOCOLS, format_of
from marketdata.codecs.tables import SourceError
from marketdata.events import EVENT_DTYPE, F_LAST, EventArray
from marketdata.frames import QUARANTINE, FrameError, frame_batch
from marketdata.instruments import Instrument
from tests.codecs.itch_market import mold_packets, pcap, random_session
from tests.codecs.market_files import (
    DBN_SYMBOL,
    dbn_file,
    instrument,
    lean_zip,
    mbo,
    shanghai,
    sse_order,
    sse_trade,
    tardis_l2,
    write_text,
)  # fmt: skip
from tests.codecs.test_fix_laws import WANTED as FIX_WANTED
from tests.codecs.test_fix_laws import session
from tests.codecs.test_shanghai import snapshot_file
from tests.marketdata.recordings import write_lean, write_lobster

Sample = tuple[Path, dict[str, Instrument]]
RECV = 1_692_712_800_000_000_000


def _wanted(symbol: str, step: float = 0.01, lot: float = 1.0) -> dict[str, Instrument]:
    return {symbol: instrument(symbol, step, lot)}


def _lobster(folder: Path) -> Sample:
    (path,) = write_lobster(folder, rows=80).glob("*_message_3.csv.gz")
    return path, _wanted("AMZN", 0.0001)


def _itch(folder: Path) -> Sample:
    messages, _ = random_session(200, 3)
    path = folder / "20230822.NASDAQ_ITCH50.gz"
    path.write_bytes(gzip.compress(b"".join(struct.pack(">H", len(m)) + m for m in messages)))
    return path, _wanted("AAAA", 0.0001)


def _capture(folder: Path) -> Sample:
    path = folder / "a.pcap"
    path.write_bytes(pcap(mold_packets(random_session(200, 3)[0], 3), RECV))
    return path, _wanted("AAAA", 0.0001)


def _fix(folder: Path) -> Sample:
    path = folder / "a.fix.log"
    path.write_bytes(b"".join(b"20240102-10:00:01.5: " + message + b"\n" for message in session(60, 1, ids=False)))
    return path, FIX_WANTED


def _databento(folder: Path) -> Sample:
    pytest.importorskip("databento_dbn")
    records = [mbo(k, "A", "BA"[k % 2], 100.0 + 50 * (k % 2), 5, k + 1, 128) for k in range(9)]
    return dbn_file(folder / "x-20231225.mbo.dbn.zst", "mbo", records), _wanted(DBN_SYMBOL, 0.25)


def _shanghai(folder: Path) -> Sample:
    orders = [sse_order(k, "09:31:00.000", "A", k, "10.01", 100, "S") for k in range(1, 9)]
    return shanghai(folder, orders, [sse_trade(20, "09:31:01.000", "10.01", 100, 99, 1, "B")]), _wanted("600000")


def _b3(folder: Path) -> Sample:
    head = "symbol,rpt_seq,network_received_time,event_type,md_entry_px,md_entry_size,aggressor,en_s_px_1,en_b_px_1"
    lines = [
        head, "PETR4,1,2025-03-05 15:30:00.072423823+00:00,book,,,,36.09,35.93",
        "PETR4,2,2025-03-05 15:30:01.5+00:00,trade,35.93,100.0,3.0,36.09,35.93",
        "PETR4,3,2025-03-05 15:30:02+00:00,trade,36.09,200.0,4.0,36.1,34.800000000000004",
    ]  # fmt: skip
    return write_text(folder / "PETR4_05032025.csv.gz", lines), _wanted("PETR4")


def _equity(folder: Path) -> Sample:
    place = folder / "equity"
    write_lean(place, "ibm", "20131007", ["34200010,1000100,5,0,0,Q,1,0"], ["34200020,1000100,5,Q,1,0"])
    return place / "tick/ibm/20131007_quote.zip", _wanted("IBM", 0.0001)


def _lean(folder: Path) -> Sample:
    lines = {"a.csv": ["60000,1,1,1,1,5,2,2,2,2,6", "120000,1,1,1,1,5,2,2,2,2,7"]}
    return lean_zip(folder, "crypto/coinbase/minute/btcusd", "20140508_quote.zip", lines), _wanted("BTCUSD")


SAMPLES: dict[str, Callable[[Path], Sample]] = {
    "lobster": _lobster,
    "itch50": _itch,
    "itch50_pcap": _capture,
    "fix": _fix,
    "fix_lenient": _fix,
    "databento": _databento,
    "tardis": lambda folder: (tardis_l2(folder), _wanted("BTC-PERP", 0.5, 1e-5)),
    "shanghai": _shanghai,
    "shanghai_snapshots": lambda folder: (snapshot_file(folder), _wanted("600000")),
    "b3": _b3,
    "lean_equity": _equity,
    "lean": _lean,
}
EVERY_FORMAT = pytest.mark.parametrize("name", list(FORMATS))


def read(name: str, sample: Sample) -> EventArray:
    return np.concatenate([part.events for part in FORMATS[name].read(*sample)])


def test_every_format_has_a_sample() -> None:
    assert set(SAMPLES) == set(FORMATS)


@EVERY_FORMAT
def test_a_format_claims_its_files_and_gives_the_same_closed_groups_twice(tmp_path: Path, name: str) -> None:
    sample = SAMPLES[name](tmp_path)
    assert FORMATS[name].claims(sample[0])
    assert format_of(sample[0]) == {"fix_lenient": "fix"}.get(name, name)
    events = read(name, sample)
    assert events.dtype == EVENT_DTYPE
    assert len(events) >= 3
    np.testing.assert_array_equal(events, read(name, sample))
    assert (events["ts_event"] > 0).all()
    assert (events["ts_recv"] > 0).all() == FORMATS[name].has_receive_time
    for number in np.unique(events["instrument_id"]):
        mine = events[events["instrument_id"] == number]
        ends = np.append(mine["sequence"][1:] != mine["sequence"][:-1], True)
        np.testing.assert_array_equal((mine["flags"] & F_LAST) > 0, ends)
        assert (np.diff(mine["sequence"]) >= 0).all()
    assert set(np.unique(events["instrument_id"])) <= {item.instrument_id for item in sample[1].values()}


@EVERY_FORMAT
def test_a_symbol_that_was_not_asked_for_gives_no_event(tmp_path: Path, name: str) -> None:
    path, _ = SAMPLES[name](tmp_path)
    parts = list(FORMATS[name].read(path, _wanted("NOBODY")))
    assert sum(len(part.events) for part in parts) == 0


@EVERY_FORMAT
def test_a_damaged_file_is_refused_by_name_or_its_frames_with_their_reason(tmp_path: Path, name: str) -> None:
    path, wanted = SAMPLES[name](tmp_path)
    path.write_bytes(b"\x1f\x8b\x08\x00 no file of any kind")
    with pytest.raises(SourceError) as caught:
        list(FORMATS[name].read(path, wanted))
    assert path.name in str(caught.value)


def test_an_unknown_name_is_refused_with_the_formats_there_are(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no format has files of this name; there are lobster, itch50"):
        format_of(tmp_path / "notes.txt")


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_every_protocol_refuses_noise_by_policy_and_passes_over_an_opened_connection(name: str) -> None:
    build = PROTOCOLS[name]
    noise = frame_batch([(RECV, b""), (RECV, b"\x00\x07no such")], "line")
    codec = build(_wanted("AAAA", 0.0001), "raise")
    with pytest.raises(FrameError, match="frame 1 of line, byte 0: "):
        codec.step(codec.init(), noise)
    codec = build(_wanted("AAAA", 0.0001), QUARANTINE)
    _, decoded = codec.step(codec.init(), noise)
    assert [item.frame for item in decoded.rejected] == [1]
    assert decoded.ignored == {"opened": 1}
    assert len(decoded.events) == 0
    assert codec.endpoints(["AAAA"]) == ()
    assert codec.snapshot_url("AAAA") is None
    with pytest.raises(ValueError, match="policy"):
        build({}, "hope")

"""A recording is decoded once and whole: over cuts, over midnight, after an interruption, and twice to the same bytes."""

import gzip
import hashlib
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from marketdata import ingest as ingest_module
from marketdata.book import empty_book, fold_best
from marketdata.capture import CaptureWriter
from marketdata.clock import NS_PER_DAY, NS_PER_MS, NS_PER_S
from marketdata.events import CLEAR, CLOCK_OFFSET_CORRECTED, F_LAST, F_SNAPSHOT, F_TS_CARRIED, LEVEL, TRADE, EventArray
from marketdata.ingest import DecodedInputs, decode_inputs, find_inputs, instruments_of, plan, spanned
from marketdata.instruments import Instrument
from marketdata.paths import DataRoot
from marketdata.recorded import FRAMES_CHECK, RecordedSource, pieces
from marketdata.settings import Settings
from marketdata.validation import audit_events, audit_raw_ticks
from tests.marketdata.venue_recordings import DAYS, MIDNIGHT_MS, STEP_MS, Line, recorded_root, spot_lines, write_lines

NAME = "AAAUSDT.binance_spot"


class Work:
    """A root, and what was decoded into it."""

    def __init__(self, folder: Path, paths: list[Path]) -> None:
        self.paths = paths
        inputs = find_inputs(paths)
        found: dict[str, Instrument] = {}
        for given in inputs:
            found |= instruments_of(given)
        self.root, self.settings = recorded_root(folder, list(found.values()))
        self.symbols = {inputs[0].venue: {s: self.settings.instrument(item.symbol) for s, item in found.items()}}

    def decode(
        self, paths: list[Path] | None = None, *, again: bool = False, base_latency_ns: int = 2_000_000
    ) -> DecodedInputs:
        planned = plan(self.root, find_inputs(paths or self.paths))
        options = {"base_latency_ns": base_latency_ns, "again": again}
        return decode_inputs(self.root, self.settings, planned, self.symbols, **options)  # type: ignore[arg-type]  # by name

    def source(self) -> RecordedSource:
        return RecordedSource(self.settings, self.root)

    def events(self, day: int) -> EventArray:
        source = self.source()
        return source.events(source.raw_ticks(DAYS[day], NAME), DAYS[day], NAME)

    def hashes(self) -> dict[str, str]:
        files = sorted(p for p in self.root.recordings.rglob("*") if p.is_file())
        return {str(p.relative_to(self.root.recordings)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def audits(settings: Settings, root: DataRoot) -> list[str]:
    """Return the checks that fail over all sessions and instruments."""
    source, failed = RecordedSource(settings, root), []
    for session in source.sessions():
        for instrument in settings.instruments:
            if not pieces(source.manifests, session.date, instrument.symbol):
                continue
            raw = source.raw_ticks(session.date, instrument.symbol)
            events = source.events(raw, session.date, instrument.symbol)
            checks, _ = audit_raw_ticks(raw, settings, instrument.symbol)
            traded = source.traded_lots(raw, session.date, instrument.symbol)
            more, _ = audit_events(events, instrument, session, traded_lots=traded)
            failed += [f"{check.name}: {check.detail}" for check in (*checks, *more) if not check.passed]
    return failed


@pytest.fixture
def night(tmp_path: Path) -> list[Line]:
    """A recording that begins 20 s before midnight and ends 20 s after it."""
    return spot_lines(MIDNIGHT_MS - 20_000, 400)


@pytest.fixture
def work(tmp_path: Path, night: list[Line]) -> Work:
    return Work(tmp_path / "root", [write_lines(tmp_path / "spot" / "aaausdt_20240808.gz", night)])


def book_after(parts: list[EventArray]) -> list[int]:
    book = empty_book()
    for events in parts:
        best = fold_best(book, events)
    return [*best[-1].tolist(), *book.count.tolist()]


def test_a_recording_over_midnight_makes_two_sessions_and_the_second_begins_with_the_book_at_midnight(
    work: Work,
) -> None:
    result = work.decode()
    assert spanned(result.manifests) == [(DAYS[0], NAME), (DAYS[1], NAME)]
    assert audits(work.settings, work.root) == []
    first, second = work.events(0), work.events(1)
    assert first["ts_event"].max() < MIDNIGHT_MS * NS_PER_MS <= second["ts_event"].min()
    state = second[: int(np.flatnonzero(second["flags"] & F_LAST)[0]) + 1]
    assert state["action"][0] == CLEAR
    assert (state["flags"] & F_SNAPSHOT > 0).all()
    assert (state["ts_event"] == MIDNIGHT_MS * NS_PER_MS).all()
    assert book_after([state]) == book_after([first])
    assert book_after([second]) == book_after([first, second[len(state) :]])


def test_the_clock_is_corrected_to_the_declared_latency_and_raw_times_are_kept(work: Work, night: list[Line]) -> None:
    (manifest,) = work.decode().manifests
    offset_ms = manifest.clock.offset_ns / NS_PER_MS
    assert -1_271 < offset_ms < -1_269  # 1,270 ms behind, the fastest of frames some 2 ms on the way, 2 ms declared
    assert manifest.clock.is_applied
    for day in (0, 1):
        events, raw = work.events(day), work.source().raw_ticks(DAYS[day], NAME)
        assert (events["ts_recv"] >= events["ts_event"]).all()
        assert (events["clock_quality"] == CLOCK_OFFSET_CORRECTED).all()
        told = (events["flags"] & (F_SNAPSHOT | F_TS_CARRIED)) == 0
        latency = (events["ts_recv"] - events["ts_event"])[told]
        assert 2_000_000 <= latency.min() < 4_000_000
        assert set(raw["ts_recv"].to_list()) <= {recv for recv, _ in night}


def test_a_clock_that_is_right_is_left_alone(tmp_path: Path) -> None:
    lines = spot_lines(MIDNIGHT_MS - 20_000, 100, behind_ms=0)
    work = Work(tmp_path / "root", [write_lines(tmp_path / "spot" / "aaausdt_20240808.gz", lines)])
    (manifest,) = work.decode().manifests
    assert not manifest.clock.is_applied
    assert manifest.clock.raw_least_ns >= 2_000_000
    assert (work.source().raw_ticks(DAYS[0], NAME)["offset_ns"] == 0).all()


@pytest.mark.parametrize("cut", [1, 2, 150, 200, 203, 399])
def test_a_recording_cut_into_files_anywhere_gives_the_same_sessions(
    tmp_path: Path, work: Work, night: list[Line], cut: int
) -> None:
    work.decode()
    folder = tmp_path / "parts" / "spot"
    parts = [
        write_lines(folder / "aaausdt_20240808.gz", night[:cut]),
        write_lines(folder / "aaausdt_20240809.gz", night[cut:]),
    ]
    other = Work(tmp_path / "other", [*work.paths])
    other.decode(parts)
    names = ("ts_event", "price_units", "size_lots", "sequence", "action", "side", "flags")
    for day in (0, 1):
        whole, cut_up = work.events(day), other.events(day)
        assert all((whole[name] == cut_up[name]).all() for name in names)


def test_what_is_decoded_is_passed_over_and_decoding_it_again_gives_the_same_bytes(work: Work) -> None:
    assert len(work.decode().new) == 1
    before = work.hashes()
    assert work.decode().new == []
    assert len(work.decode(again=True).new) == 1
    assert work.hashes() == before


def test_an_interrupted_run_goes_on_where_it_stopped(
    tmp_path: Path, night: list[Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = (0, 120, 230, 310, 401)
    folder = tmp_path / "spot"
    paths = [
        write_lines(folder / f"aaausdt_2024081{k}.gz", night[first:end])
        for k, (first, end) in enumerate(pairwise(cuts))
    ]
    whole = Work(tmp_path / "whole", paths)
    whole.decode()
    torn = Work(tmp_path / "torn", paths)
    original, calls = ingest_module.RecordingWriter.finish, 0

    def dies(self: object, manifest: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        original(self, manifest)  # type: ignore[arg-type]  # the method that it stands for

    monkeypatch.setattr(ingest_module.RecordingWriter, "finish", dies)
    with pytest.raises(KeyboardInterrupt):
        torn.decode()
    assert len(list(torn.root.recordings.iterdir())) == 2  # nothing half-written is left
    monkeypatch.undo()
    assert len(torn.decode().new) == 2
    assert torn.hashes() == whole.hashes()


def test_recordings_with_a_hole_between_them_lose_the_book_there(tmp_path: Path) -> None:
    early = spot_lines(MIDNIGHT_MS + 60_000, 80)
    late = spot_lines(MIDNIGHT_MS + 600_000, 80, seed=2, first_id=90_000)
    paths = [
        write_lines(tmp_path / "spot" / "aaausdt_20240809.gz", early),
        write_lines(tmp_path / "spot" / "aaausdt_20240810.gz", late),
    ]
    work = Work(tmp_path / "root", paths)
    first, second = sorted(work.decode().manifests, key=lambda manifest: manifest.start_ns)
    assert second.continues is None
    assert audits(work.settings, work.root) == []
    events = work.events(1)
    begins = int(np.searchsorted(events["ts_event"], (MIDNIGHT_MS + 599_000) * NS_PER_MS))
    assert CLEAR in events["action"][begins : begins + 3]
    assert work.source().assembled(DAYS[1], NAME).holes == 1
    assert first.clock.is_applied


def test_overlapping_recordings_are_used_one_after_the_other(tmp_path: Path) -> None:
    lines = spot_lines(MIDNIGHT_MS + 60_000, 300)
    one, two = lines[:200], [lines[0], lines[1], *lines[2:]]
    paths = [
        write_lines(tmp_path / "a" / "spot" / "aaausdt.gz", one),
        write_lines(tmp_path / "b" / "spot" / "aaausdt_x.gz", [(recv + 3_000_000, frame) for recv, frame in two]),
    ]
    work = Work(tmp_path / "root", paths)
    work.decode()
    assert audits(work.settings, work.root) == []
    joined = work.source().assembled(DAYS[1], NAME)
    assert joined.overlapping > 100
    alone = Work(tmp_path / "alone", [write_lines(tmp_path / "c" / "spot" / "aaausdt.gz", lines)])
    alone.decode()
    assert book_after([work.events(1)]) == book_after([alone.events(1)])
    trades = [int((w.events(1)["action"] == TRADE).sum()) for w in (work, alone)]
    assert trades[0] == trades[1]


def test_frames_that_cannot_be_read_are_kept_with_their_reason_and_too_many_refuse_the_session(
    tmp_path: Path, night: list[Line]
) -> None:
    path = write_lines(tmp_path / "spot" / "aaausdt_20240808.gz", night)
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    broken = lines[50][:60] + b"\n"
    few, many = tmp_path / "few" / "spot" / "aaausdt.gz", tmp_path / "many" / "spot" / "aaausdt.gz"
    for target, count in ((few, 1), (many, 30)):
        target.parent.mkdir(parents=True)
        target.write_bytes(gzip.compress(b"".join([*lines[:100], *[broken] * count, *lines[100:]])))
    for target, passes, count in ((few, True, 1), (many, False, 30)):
        work = Work(tmp_path / target.parent.parent.name / "root", [target])
        (manifest,) = work.decode().manifests
        assert manifest.rejected == count
        kept = pl.read_parquet(work.root.recordings / manifest.recording / "rejected.parquet")
        assert kept.height == count
        assert kept["payload"][0] == broken.split(b" ", 1)[1].strip()
        assert kept["reason"][0]
        checks, facts = work.source().findings(DAYS[0], NAME)
        assert [(check.name, check.passed, check.bad_rows) for check in checks] == [(FRAMES_CHECK, passes, count)]
        assert facts["recordings"]


def test_a_dropped_update_is_a_gap_in_the_facts_and_a_clear_in_the_events(tmp_path: Path, night: list[Line]) -> None:
    place = next(k for k in range(100, 120) if "depth" in str(night[k][1]["stream"]))
    work = Work(
        tmp_path / "root", [write_lines(tmp_path / "spot" / "aaausdt_20240808.gz", night[:place] + night[place + 1 :])]
    )
    (manifest,) = work.decode().manifests
    assert manifest.parts[NAME]["2024-08-08"].gaps == 1
    events = work.events(0)
    lost = events[(events["action"] == CLEAR) & (events["flags"] & F_SNAPSHOT == 0)]
    assert len(lost) == 1
    assert LEVEL not in events["action"][events["ts_event"] > lost["ts_event"][0]]


def test_rows_of_a_slower_stream_get_the_latest_exchange_time_and_say_so(tmp_path: Path, night: list[Line]) -> None:
    late = list(night)
    place = next(k for k in range(100, 110) if "trade" in str(night[k][1]["stream"]))
    frame = dict(late[place][1])
    frame["data"] = {**frame["data"], "T": frame["data"]["T"] - 250}  # type: ignore[dict-item, index]  # a payload
    late[place] = (late[place][0], frame)
    work = Work(tmp_path / "root", [write_lines(tmp_path / "spot" / "aaausdt_20240808.gz", late)])
    (manifest,) = work.decode().manifests
    assert manifest.parts[NAME]["2024-08-08"].out_of_order == 1
    events = work.events(0)
    carried = (events["flags"] & F_TS_CARRIED > 0) & (events["action"] == TRADE)
    assert carried.sum() == 1
    assert (np.diff(events["ts_event"]) >= 0).all()


def test_our_own_captures_are_ingested_part_after_part(tmp_path: Path) -> None:
    lines = spot_lines(MIDNIGHT_MS - 20_000, 400)
    rest = "https://api.binance.com/api/v3/depth?symbol=AAAUSDT&limit=1000"
    with CaptureWriter(tmp_path / "captures", "binance_spot", ["AAAUSDT"]) as writer:
        for recv, frame in lines:
            stream = rest if "lastUpdateId" in frame else "wss://stream.binance.com:9443/stream"
            writer.write(stream, recv, json.dumps(frame).encode())
    files = sorted((tmp_path / "captures").glob("*.fscap.zst"))
    assert len(files) == 2  # rotated at the full hour of receive time
    captured = Work(tmp_path / "captured", [tmp_path / "captures"])
    manifests = captured.decode().manifests
    assert manifests[1].continues == manifests[0].recording
    raw = Work(tmp_path / "raw", [write_lines(tmp_path / "spot" / "aaausdt_20240808.gz", lines)])
    raw.decode()
    assert audits(captured.settings, captured.root) == []
    for day in (0, 1):
        assert captured.events(day)["price_units"].tolist() == raw.events(day)["price_units"].tolist()


def test_the_grid_of_an_instrument_is_the_finest_that_its_files_show(work: Work) -> None:
    instrument = work.settings.instrument(NAME)
    assert (instrument.price_decimals, instrument.lot_size) == (0.01, 0.001)
    assert instrument.unit_nanos == 10_000


def test_symbols_that_are_not_asked_for_are_counted_and_left_out(tmp_path: Path) -> None:
    both = sorted(
        [*spot_lines(MIDNIGHT_MS + 1_000, 60), *spot_lines(MIDNIGHT_MS + 1_030, 60, seed=5, symbol="BBBUSDT")],
        key=lambda line: line[0],
    )
    both = [line for line in both if "lastUpdateId" not in line[1]]  # a raw file's snapshots are of its one symbol
    work = Work(tmp_path / "root", [write_lines(tmp_path / "spot" / "pair.gz", both)])
    work.symbols = {"binance_spot": {"AAAUSDT": work.settings.instrument(NAME)}}
    (manifest,) = work.decode().manifests
    assert list(manifest.parts) == [NAME]
    assert manifest.ignored["other_symbol"] == 60


def test_sessions_of_the_night_are_days_of_the_market(work: Work) -> None:
    work.decode()
    sessions = work.source().sessions()
    assert [session.date for session in sessions] == list(DAYS)
    assert all(session.close_ns - session.open_ns == NS_PER_DAY for session in sessions)
    events = work.events(0)
    assert events["ts_event"].max() >= sessions[0].close_ns - 2 * STEP_MS * NS_PER_MS - NS_PER_S


@pytest.fixture
def realdata_work(shared_data: Path, tmp_path: Path) -> Callable[[str], tuple[Settings, DataRoot, DecodedInputs]]:
    def made(market: str) -> tuple[Settings, DataRoot, DecodedInputs]:
        work = Work(tmp_path / "root", [shared_data / "market" / "binance_raw_2024" / market])
        return work.settings, work.root, work.decode(base_latency_ns=100_000)

    return made


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("market", "days"), [("spot", {"BTCUSDT": 2, "ETHUSDT": 2}), ("usdm", {"BTCUSDT": 2, "ETHUSDT": 2})]
)
def test_binance_over_midnight_comes_out_whole_with_its_clock_corrected(
    realdata_work: Callable[[str], tuple[Settings, DataRoot, DecodedInputs]], market: str, days: dict[str, int]
) -> None:
    settings, root, result = realdata_work(market)
    assert audits(settings, root) == []
    for manifest in result.manifests:
        # The recorder's clock falls back by 0.3 ms a minute: what was recorded after midnight is further behind.
        assert abs(manifest.clock.offset_ns / NS_PER_MS + 1_270) < (5 if "20240808" in manifest.files[0]["path"] else 6)
        assert manifest.rejected == 0
        assert all(facts.gaps == 0 for parts in manifest.parts.values() for facts in parts.values())
    source = RecordedSource(settings, root)
    for instrument in settings.instruments:
        found = [s for s in source.sessions() if pieces(source.manifests, s.date, instrument.symbol)]
        assert len(found) == days[instrument.symbol.split(".")[0]]
        first, second = (
            source.events(source.raw_ticks(s.date, instrument.symbol), s.date, instrument.symbol) for s in found
        )
        state = second[: int(np.flatnonzero(second["flags"] & F_LAST)[0]) + 1]
        assert book_after([state])[:4] == book_after([first])[:4]


def test_the_day_is_cut_at_midnight_of_the_markets_time_zone(tmp_path: Path, night: list[Line]) -> None:
    path = write_lines(tmp_path / "spot" / "aaausdt_20240808.gz", night)
    work = Work(tmp_path / "root", [path])
    tokyo = work.settings.model_copy(update={"time_zone": "Asia/Tokyo", "start_date": DAYS[1], "sessions": 1})
    decode_inputs(work.root, tokyo, plan(work.root, find_inputs([path])), work.symbols, base_latency_ns=0)
    (session,) = RecordedSource(tokyo, work.root).sessions()
    assert session.date == DAYS[1]  # midnight in London is nine in the morning in Tokyo
    assert session.open_ns == (MIDNIGHT_MS - 9 * 3_600_000) * NS_PER_MS

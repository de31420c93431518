"""``flowsense ingest`` from files to published sessions: once, again, with a bad session among good ones, with a strange file."""

import gzip
import re
from pathlib import Path

import pytest
from filelock import FileLock
from typer.testing import CliRunner, Result

from marketdata.partitions import PartitionMissing, PartitionQuarantined, open_partition, read_manifest
from marketdata.paths import DataRoot, PartitionKey
from marketdata.presets import preset
from marketdata.quality import partition_facts
from marketdata.recorded import RecordedSource
from marketdata.settings import SettingsError, save_settings
from orchestration import recorded_root
from orchestration.cli.main import app, main
from orchestration.recorded_root import IngestOptions
from tests.marketdata.venue_recordings import DAYS, MIDNIGHT_MS, Line, spot_lines, write_lines

GOOD, BAD = "AAAUSDT.binance_spot", "BADUSDT.binance_spot"


def run(root: DataRoot, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--root", str(root.path), "ingest", *arguments])


def crossed(lines: list[Line]) -> list[Line]:
    """Give the lines an update after which the bid stands above the ask."""
    found = list(lines)
    place = next(k for k in range(60, 80) if "depth" in str(lines[k][1].get("stream")))
    recv, frame = lines[place]
    data = {**frame["data"], "b": [["100.90", "1.000"]]}  # type: ignore[dict-item]  # a payload
    found[place] = (recv, {**frame, "data": data})
    return found


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings") / "spot"
    write_lines(folder / "aaausdt_20240808.gz", spot_lines(MIDNIGHT_MS - 20_000, 400))
    bad = spot_lines(MIDNIGHT_MS - 40_000, 200, seed=4, symbol="BADUSDT")
    write_lines(folder / "badusdt_20240808.gz", crossed(bad))
    return folder


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory, recordings: Path) -> tuple[DataRoot, Result]:
    root = DataRoot(tmp_path_factory.mktemp("ingested") / "root")
    return root, run(root, str(recordings))


def test_good_sessions_are_published_and_the_bad_one_is_refused_with_its_reason(
    ingested: tuple[DataRoot, Result],
) -> None:
    root, result = ingested
    assert result.exit_code == 1  # something was refused
    for day in DAYS:
        assert open_partition(root, PartitionKey("events", day, GOOD)).exists()
    with pytest.raises(PartitionQuarantined, match="book_is_never_crossed"):
        open_partition(root, PartitionKey("events", DAYS[0], BAD))
    with pytest.raises(PartitionMissing):
        open_partition(root, PartitionKey("events", DAYS[1], BAD))
    settings = root.settings()
    assert (settings.source, settings.start_date, settings.sessions) == ("recorded", DAYS[0], 2)
    assert [item.instrument_id for item in settings.instruments] == [0, 1]


def test_the_manifest_names_the_recordings_with_their_raw_clock_and_its_correction(
    ingested: tuple[DataRoot, Result],
) -> None:
    root, _ = ingested
    (recording,) = read_manifest(root, PartitionKey("raw_ticks", DAYS[0], GOOD)).extra["recordings"]  # type: ignore[misc]
    assert recording["clock"]["is_applied"]  # type: ignore[index]  # JSON
    assert -1_275_000_000 < recording["clock"]["raw_least_ns"] < -1_260_000_000  # type: ignore[index]
    assert recording["files"][0].endswith("aaausdt_20240808.gz")  # type: ignore[index]


def test_the_table_says_how_good_each_session_is(ingested: tuple[DataRoot, Result]) -> None:
    root, result = ingested
    lines = {
        tuple(line.split()[:2]): line for line in result.stdout.splitlines() if re.match(r" \d{4}-\d\d-\d\d", line)
    }
    assert set(lines) == {("2024-08-08", GOOD), ("2024-08-09", GOOD), ("2024-08-08", BAD)}
    assert lines["2024-08-08", GOOD].rstrip().endswith("published")
    assert lines["2024-08-08", BAD].rstrip().endswith("quarantined")
    assert f"quarantined  2024-08-08 {BAD}: book_is_never_crossed" in result.stdout
    source = RecordedSource(root.settings(), root)
    facts = {
        (session.date, symbol): partition_facts(root, source, session, symbol)
        for session in source.sessions()
        for symbol in (GOOD, BAD)
    }
    first = facts[DAYS[0], GOOD]
    assert (first.gaps, first.duplicates, first.rejected, first.crossed) == (0, 0, 0, 0.0)
    assert -1_272 < first.offset_ms < -1_266
    assert first.coverage == pytest.approx(20 / 86_400, rel=0.02)
    assert first.trades == 50
    assert facts[DAYS[0], BAD].crossed > 0
    assert facts[DAYS[1], BAD].status == "missing"


def test_a_second_run_makes_nothing_anew_and_again_makes_the_same_bytes(
    ingested: tuple[DataRoot, Result], recordings: Path
) -> None:
    root, _ = ingested
    keys = [PartitionKey(asset, day, GOOD) for asset in ("raw_ticks", "events") for day in DAYS]
    before = [open_partition(root, key).read_bytes() for key in keys]
    result = run(root, str(recordings))
    assert "0 recording(s) decoded, 2 known already; 0 of 3 partition(s) made" in result.stdout
    result = run(root, str(recordings / "aaausdt_20240808.gz"), "--again")
    assert "1 recording(s) decoded, 0 known already; 2 of 2 partition(s) made" in result.stdout
    assert result.exit_code == 0
    assert [open_partition(root, key).read_bytes() for key in keys] == before


def test_a_later_recording_grows_the_root(ingested: tuple[DataRoot, Result], tmp_path: Path) -> None:
    root, _ = ingested
    more = spot_lines(MIDNIGHT_MS + 2 * 86_400_000, 60, seed=9, symbol="CCCUSDT")
    path = write_lines(tmp_path / "spot" / "cccusdt_20240811.gz", more)
    result = run(root, str(path))
    assert result.exit_code == 0, result.output
    settings = root.settings()
    assert [item.symbol for item in settings.instruments] == [BAD, GOOD, "CCCUSDT.binance_spot"]
    assert settings.sessions == 4
    assert open_partition(root, PartitionKey("events", DAYS[0], GOOD)).exists()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("notes.txt", b"hello", "notes.txt: not a recording of a known format"),
        ("broken.fscap.zst", b"hello", "broken.fscap.zst: not a capture"),
        ("plain.gz", gzip.compress(b"hello\n"), "plain.gz: not a recording of a known format"),
    ],
)
def test_an_unknown_file_ends_with_one_line_that_names_it_and_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    reason: str,
) -> None:
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr("sys.argv", ["flowsense", "--root", str(tmp_path / "root"), "ingest", str(tmp_path / name)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert reason in line


def test_a_second_ingest_of_a_root_says_whom_it_waits_for_and_gives_up_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits in silence looks as if it hung."""
    root = DataRoot(tmp_path / "root")
    root.path.mkdir()
    folder = tmp_path / "spot"
    folder.mkdir()
    write_lines(folder / "aaausdt.gz", spot_lines(MIDNIGHT_MS, 40))
    said: list[tuple[str, int, int]] = []
    monkeypatch.setattr(recorded_root, "LOCK_TIMEOUT_S", 0.05)
    with FileLock(root.path / ".ingest.lock"), pytest.raises(SettingsError, match="another ingest has held this data"):
        recorded_root.ingest_recordings(root, [folder], IngestOptions(), lambda *step: said.append(step))
    assert said[-1] == ("wait for another ingest of this root", 0, 1)


def test_recordings_do_not_go_into_a_root_of_another_source(
    tmp_path: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = DataRoot(tmp_path / "root")
    root.path.mkdir()
    save_settings(preset("simulated", None), root.settings_file)
    monkeypatch.setattr("sys.argv", ["flowsense", "--root", str(root.path), "ingest", str(recordings)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "this data root is of source simulated" in capsys.readouterr().err

"""A capture gives back every frame as it came; a crash costs its last seconds and nothing else."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata import capture as capture_module
from marketdata.capture import (
    CaptureError,
    CaptureReader,
    CaptureWriter,
    capture_files,
    clock_state,
    iter_frames,
    read_manifest,
    recover,
)
from marketdata.capture_format import OPEN_SUFFIX
from marketdata.clock import NS_PER_HOUR, NS_PER_S

START = 1_723_161_253 * NS_PER_S
Frame = tuple[str, int, bytes]


def some_frames(count: int, seed: int = 1) -> list[Frame]:
    rng = np.random.default_rng(seed)
    names = ["wss://a.example/stream", "https://a.example/depth?symbol=X", "wss://b.example"]
    return [
        (names[int(rng.integers(0, 3))], START + k * 1_000_000, rng.bytes(int(rng.integers(0, 120))))
        for k in range(count)
    ]


def read_all(path: Path, batch_frames: int = 65_536) -> list[Frame]:
    found: list[Frame] = []
    for batch in iter_frames(path, batch_frames):
        found += [(batch.streams[batch.stream[k]], int(batch.ts_recv[k]), batch.frame(k)) for k in range(len(batch))]
    return found


def written(folder: Path, frames: list[Frame], **options: object) -> list[Path]:
    with CaptureWriter(folder, "venue_x", ["X"], **options) as writer:  # type: ignore[arg-type]  # options by name
        for frame in frames:
            writer.write(*frame)
    return capture_files(folder)


def test_frames_come_back_verbatim_whatever_the_size_of_the_batches(tmp_path: Path) -> None:
    frames = some_frames(2_000)
    (path,) = written(tmp_path, frames)
    assert read_all(path) == frames
    assert read_all(path, batch_frames=7) == frames
    header = CaptureReader(path).header
    assert (header.venue, header.symbols, header.part) == ("venue_x", ("X",), 0)
    assert header.streams == (frames[0][0],)  # the others were named on the way
    assert header.clock["realtime_ns"] > START
    assert header.software.startswith("flowsense")


@settings(max_examples=25, deadline=None)
@given(
    frames=st.lists(
        st.tuples(st.sampled_from(["a", "b", "ü"]), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40)),
        max_size=30,
    )
)
def test_any_bytes_and_any_times_round_trip(tmp_path_factory: pytest.TempPathFactory, frames: list[Frame]) -> None:
    folder = tmp_path_factory.mktemp("capture")
    files = written(folder, frames)
    assert [frame for path in files for frame in read_all(path)] == frames


def test_every_cut_of_the_tail_gives_back_a_prefix_and_loses_nothing_that_was_synced(tmp_path: Path) -> None:
    first, second, third = some_frames(40), some_frames(9, 2), some_frames(5, 3)
    writer = CaptureWriter(tmp_path, "venue_x", sync_s=1_000.0)
    synced = []
    for part in (first, second, third):
        for frame in part:
            writer.write(*frame)
        writer.flush()
        synced.append(next(tmp_path.glob(f"*{OPEN_SUFFIX}")).stat().st_size)
    (path,) = tmp_path.glob(f"*{OPEN_SUFFIX}")
    content = path.read_bytes()
    writer.close()
    everything = first + second + third
    torn = tmp_path / f"torn{OPEN_SUFFIX}"
    for length in range(synced[0], len(content) + 1):
        torn.write_bytes(content[:length])
        found = read_all(torn)
        assert found == everything[: len(found)]
        safe = len(first) + (len(second) if length >= synced[1] else 0) + (len(third) if length >= synced[2] else 0)
        assert len(found) >= safe
    assert len(found) == len(everything)


def test_a_file_cut_before_its_first_frame_says_that_nothing_is_in_it(tmp_path: Path) -> None:
    (path,) = written(tmp_path, some_frames(5))
    content = path.read_bytes()
    cut = tmp_path / f"cut{OPEN_SUFFIX}"
    for length in (0, 3, 20, 60):
        cut.write_bytes(content[:length])
        with pytest.raises(
            CaptureError, match=r"cut\.fscap\.zst\.open: (not a capture|the file ends inside its header)"
        ):
            read_all(cut)


def test_a_torn_file_is_recovered_with_its_manifest(tmp_path: Path) -> None:
    frames = some_frames(300)
    with CaptureWriter(tmp_path, "venue_x") as writer:
        for k, frame in enumerate(frames):
            writer.write(*frame)
            if k % 100 == 99:
                writer.flush()
    (path,) = capture_files(tmp_path)
    torn = tmp_path / f"torn_00000{OPEN_SUFFIX}"
    torn.write_bytes(path.read_bytes()[:-40])
    reader = CaptureReader(torn)
    kept = sum(len(batch) for batch in reader)
    assert reader.is_torn
    assert 0 < kept < 300
    closed = recover(torn)
    assert not torn.exists()
    assert read_all(closed) == frames[:kept]
    manifest = read_manifest(closed)
    assert manifest is not None
    assert (manifest.frames, manifest.recovered) == (kept, True)


def test_a_killed_recorder_leaves_what_was_synced(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from marketdata.capture import CaptureWriter\n"
        "writer = CaptureWriter(Path(sys.argv[1]), 'venue_x')\n"
        "for k in range(500): writer.write('s', 10**18 + k, b'frame %d' % k)\n"
        "writer.flush()\n"
        "for k in range(500, 600): writer.write('s', 10**18 + k, b'frame %d' % k)\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    (path,) = tmp_path.glob(f"*{OPEN_SUFFIX}")
    found = read_all(path)
    assert len(found) >= 500
    assert found == [("s", 10**18 + k, b"frame %d" % k) for k in range(len(found))]


def test_files_are_rotated_by_the_hour_and_by_size(tmp_path: Path) -> None:
    edge = (START // NS_PER_HOUR + 1) * NS_PER_HOUR
    by_hour = [("s", edge - 1, b"before"), ("s", edge, b"after"), ("s", edge + 1, b"later")]
    files = written(tmp_path / "hour", by_hour)
    assert [read_all(path) for path in files] == [by_hour[:1], by_hour[1:]]
    frames = some_frames(9_000)
    files = written(tmp_path / "size", frames, rotate_bytes=150_000)
    assert len(files) > 2
    assert [frame for path in files for frame in read_all(path)] == frames
    headers = [CaptureReader(path).header for path in files]
    assert [header.part for header in headers] == list(range(len(files)))
    assert len({header.capture for header in headers}) == 1
    assert set(headers[-1].streams) == {name for name, _, _ in frames}


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    (path,) = written(tmp_path, some_frames(400))
    assert read_manifest(path) is not None
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CaptureError, match="changed after it was written"):
        read_all(path)
    with pytest.raises(CaptureError, match="its bytes are not those of its manifest"):
        read_manifest(path)


def test_the_manifest_counts_frames_by_stream(tmp_path: Path) -> None:
    frames = some_frames(100)
    (path,) = written(tmp_path, frames)
    manifest = read_manifest(path)
    assert manifest is not None
    assert manifest.frames == 100
    assert manifest.frames_by_stream == {
        name: sum(stream == name for stream, _, _ in frames) for name in {stream for stream, _, _ in frames}
    }
    assert (manifest.first_ts_recv, manifest.last_ts_recv) == (frames[0][1], frames[-1][1])


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    plain, squeezed, newer = tmp_path / "plain", tmp_path / "squeezed", tmp_path / "newer"
    plain.write_text("1,2,3\n", encoding="utf-8")
    squeezed.write_bytes(zstandard.compress(b"1,2,3\n"))
    newer.write_bytes(zstandard.compress(b"FLOWSENSE-CAPTURE 9\n" + json.dumps({}).encode() + b"\n"))
    for path, reason in ((plain, "not a capture"), (squeezed, "not a capture"), (newer, "capture version 9")):
        with pytest.raises(CaptureError, match=f"{path.name}: {reason}"):
            read_all(path)


def test_a_full_disk_is_an_error_at_the_next_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    writer = CaptureWriter(tmp_path, "venue_x")
    writer.write("s", 1, b"kept")
    writer.flush()
    monkeypatch.setattr(capture_module.os, "fsync", full)
    writer.write("s", 2, b"lost")
    with pytest.raises(CaptureError, match="No space left"):
        writer.flush()
    with pytest.raises(CaptureError, match="No space left"):
        writer.write("s", 3, b"refused")


def test_the_clock_of_the_host_is_described() -> None:
    state = clock_state()
    assert state["resolution_ns"] >= 1
    assert state["synchronised"] in (True, False, None)

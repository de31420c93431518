"""Closed capture files: their manifests, and the recovery of files whose writer died."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import zstandard

from marketdata.capture_format import (
    OPEN_SUFFIX,
    SUFFIX,
    CaptureError,
    CaptureReader,
    record_bytes,
    stream_record,
)


@dataclass(frozen=True, slots=True)
class CaptureManifest:
    """What a closed capture file holds, kept beside it as ``<name>.json``.

    Attributes
    ----------
    file : str
        Name of the capture file.
    sha256 : str
        Of its bytes.
    bytes, frames : int
    first_ts_recv, last_ts_recv : int
        Receive times of the first and the last frame; 0 without frames.
    frames_by_stream : dict
    venue, capture : str
    part : int
    recovered : bool
        Whether the file was closed after its writer had died; frames after its last whole one are lost.
    """

    file: str
    sha256: str
    bytes: int
    frames: int
    first_ts_recv: int
    last_ts_recv: int
    frames_by_stream: dict[str, int]
    venue: str
    capture: str
    part: int
    recovered: bool = False


def capture_files(folder: Path) -> list[Path]:
    """Return the closed capture files of a folder in the order of their names, which is the order of time within a run."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def read_manifest(path: Path) -> CaptureManifest | None:
    """Return the manifest beside a capture file; None where there is none.

    Raises
    ------
    CaptureError
        If it cannot be read, or does not stand for the file's bytes.
    """
    beside = path.with_name(f"{path.name}.json")
    if not beside.exists():
        return None
    try:
        manifest = CaptureManifest(**json.loads(beside.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CaptureError(f"{beside}: not the manifest of a capture: {error}") from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != manifest.sha256:
        raise CaptureError(
            f"{path}: its bytes are not those of its manifest (sha256 {digest[:12]}… instead of "
            f"{manifest.sha256[:12]}…); fetch the file again, or remove the manifest to read it as it is"
        )
    return manifest


def recover(path: Path) -> Path:
    """Close a file whose writer died: keep its whole records, write its manifest, and return the closed file.

    The torn file is removed once the closed one is on disk.

    Raises
    ------
    CaptureError
        If the file is no capture or its content was changed.
    """
    final = path.with_name(path.name.removesuffix(OPEN_SUFFIX) + SUFFIX)
    reader = CaptureReader(path)
    temporary = path.with_name(f"{final.name}.tmp")
    by_stream: dict[str, int] = {}
    first = last = 0
    with temporary.open("wb") as file:
        with zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(file, closefd=False) as engine:
            engine.write(reader.header.to_bytes())
            named = len(reader.header.streams)
            for batch in reader:
                for k in range(named, len(batch.streams)):
                    engine.write(stream_record(k, batch.streams[k], int(batch.ts_recv[0])))
                named = len(batch.streams)
                for k in range(len(batch)):
                    index = int(batch.stream[k])
                    by_stream[batch.streams[index]] = by_stream.get(batch.streams[index], 0) + 1
                    engine.write(record_bytes(index, int(batch.ts_recv[k]), batch.frame(k)))
                first = first or int(batch.ts_recv[0])
                last = int(batch.ts_recv[-1])
        file.flush()
        os.fsync(file.fileno())
    with temporary.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    header = reader.header
    size, frames = temporary.stat().st_size, reader.frames
    manifest = CaptureManifest(
        final.name, digest, size, frames, first, last, by_stream, header.venue, header.capture, header.part, True
    )
    seal(temporary, final, manifest)
    path.unlink()
    return final


def seal(path: Path, final: Path, manifest: CaptureManifest) -> None:
    """Put the manifest in place, then the file: a closed file always has its manifest."""
    beside = final.with_name(f"{final.name}.json")
    temporary = beside.with_name(f"{beside.name}.tmp")
    temporary.write_text(json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, beside)
    os.replace(path, final)
    descriptor = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

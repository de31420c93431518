"""The file in which a venue's frames are kept: what was received, byte for byte, and when.

A capture file is a plain Zstandard file (``zstd -dc`` shows what is in it). Its content begins with one line
``FLOWSENSE-CAPTURE 1`` and one line of JSON (the header: venue, streams, capture, part, host and state of its clock); then
records follow until the end::

    ts_recv  int64 little-endian   receive time, ns since 1970 UTC by the host's clock, as it was read
    stream   uint16                which of the streams; 65535: the payload names a further stream (JSON, index and name)
    length   uint32                bytes of the payload
    payload                        the frame, verbatim

The writer ends a Zstandard block whenever it syncs and a Zstandard frame with a checksum every few megabytes. What a crash leaves
is therefore a prefix of the records: reading stops after the last whole one and says how many bytes it could not use.
"""

import json
import struct
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import zstandard
from numba import njit

from marketdata.frames import FrameBatch

MAGIC: Final = b"FLOWSENSE-CAPTURE "
VERSION: Final = 1
SUFFIX: Final = ".fscap.zst"
OPEN_SUFFIX: Final = ".fscap.zst.open"
"""Name of a file that is still written, or was when its writer died."""
RECORD: Final = struct.Struct("<qHI")
NEW_STREAM: Final = 0xFFFF
MAX_STREAMS: Final = 32_767
MAX_FRAME_BYTES: Final = 256 << 20
"""A length beyond this is no frame of any venue, but a file that was changed."""
_READ_BYTES: Final = 1 << 20
_MAX_HEADER: Final = 1 << 20


class CaptureError(ValueError):
    """A capture cannot be written or read; the message names the file and says what to do."""


@dataclass(frozen=True, slots=True)
class CaptureHeader:
    """What a capture file says about itself.

    Attributes
    ----------
    venue : str
        Name in the catalogue of codecs.
    capture : str
        Name that all parts of one run share.
    part : int
        Number of this file in the run, from 0.
    streams : tuple of str
        Streams known when the file was begun; further ones are named on the way.
    symbols : tuple of str
        The venue's symbols that were asked for.
    software : str
        Name and version of the writer.
    clock : mapping
        The host's name and what it knows of its own clock; see ``marketdata.capture.clock_state``.
    version : int
        Version of the layout.
    """

    venue: str
    capture: str
    part: int
    streams: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    software: str = ""
    clock: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def to_bytes(self) -> bytes:
        """Return the two lines that a file begins with."""
        return MAGIC + str(self.version).encode() + b"\n" + json.dumps(asdict(self), sort_keys=True).encode() + b"\n"


def record_bytes(stream: int, ts_recv: int, payload: bytes) -> bytes:
    """Return one record."""
    return RECORD.pack(ts_recv, stream, len(payload)) + payload


def stream_record(index: int, name: str, ts_recv: int) -> bytes:
    """Return the record that names stream ``index``."""
    return record_bytes(NEW_STREAM, ts_recv, json.dumps({"index": index, "name": name}).encode())


@dataclass
class CaptureReader:
    """Reads one capture file, closed or torn; an iterator of batches.

    Attributes
    ----------
    path : Path
    batch_frames : int
        Frames a batch at most.
    header : CaptureHeader
        Known once the reader is made.
    frames : int
        Frames given so far.
    lost_bytes : int
        Once all is read: bytes behind the last whole record (uncompressed), 0 for a file that was closed.
    is_torn : bool
        Once all is read: whether the file ends before its writer ended it.
    """

    path: Path
    batch_frames: int = 65_536
    header: CaptureHeader = field(init=False)
    frames: int = 0
    lost_bytes: int = 0
    is_torn: bool = False
    _streams: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        with self._open() as stream:
            head, _ = _read_header(self.path, _inflate(self.path, stream))
        self.header = head

    def __iter__(self) -> Iterator[FrameBatch]:
        """Yield the frames in the order received.

        Raises
        ------
        CaptureError
            If the content is no capture, or was changed: a checksum or a record does not hold.
        """
        self.frames, self.lost_bytes, self.is_torn = 0, 0, False
        with self._open() as file:
            chunks = _inflate(self.path, file)
            header, rest = _read_header(self.path, chunks)
            self._streams = list(header.streams)
            pieces, held, waiting = [rest], len(rest), 0
            for chunk in chunks:
                if chunk is None:
                    self.is_torn = True
                    break
                pieces.append(chunk)
                held += len(chunk)
                if held - waiting >= _READ_BYTES:
                    rest = yield from self._split(b"".join(pieces))
                    pieces, held, waiting = [rest], len(rest), len(rest)
            rest = yield from self._split(b"".join(pieces))
            self.lost_bytes = len(rest)
            if rest and not self.is_torn:
                raise CaptureError(
                    f"{self.path}: the file ends inside a record ({len(rest)} bytes) though it was closed; "
                    "it was changed after it was written"
                )

    def _open(self) -> IO[bytes]:
        try:
            return self.path.open("rb")
        except OSError as error:
            raise CaptureError(f"{self.path}: cannot be read ({error.strerror})") from error

    def _split(self, buffer: bytes) -> Generator[FrameBatch, None, bytes]:
        """Yield the whole frames of a buffer; return what is left of it."""
        data = np.frombuffer(buffer, np.uint8)
        position = 0
        while True:
            count, end, status = _scan(data, position, self.batch_frames, MAX_FRAME_BYTES)
            if status == _BAD_LENGTH:
                raise CaptureError(
                    f"{self.path}: frame {self.frames + count + 1}: a length beyond {MAX_FRAME_BYTES} bytes; "
                    "the file was changed after it was written"
                )
            if count:
                payload = np.empty(end - position - count * RECORD.size, np.uint8)
                starts, ts_recv = np.empty(count + 1, np.int64), np.empty(count, np.int64)
                streams = np.empty(count, np.uint16)
                _split_records(data, position, payload, starts, ts_recv, streams)
                if streams.max() >= len(self._streams):
                    number = self.frames + int(np.argmax(streams >= len(self._streams))) + 1
                    raise CaptureError(f"{self.path}: frame {number}: its stream was never named; the file was changed")
                self.frames += count
                yield FrameBatch(payload, starts, ts_recv, streams.astype(np.int16), tuple(self._streams))
            position = end
            if status == _STREAM_NAME:
                position = self._name_stream(buffer, position)
            elif status != _FULL:
                return buffer[position:]

    def _name_stream(self, buffer: bytes, position: int) -> int:
        _, _, length = RECORD.unpack_from(buffer, position)
        first = position + RECORD.size
        try:
            named = json.loads(buffer[first : first + length])
            index, name = int(named["index"]), str(named["name"])
        except (ValueError, KeyError, TypeError) as error:
            raise CaptureError(
                f"{self.path}: after frame {self.frames}: a stream's name cannot be read: {error}"
            ) from error
        if index != len(self._streams):
            raise CaptureError(f"{self.path}: after frame {self.frames}: stream {index} is named out of order")
        self._streams.append(name)
        return first + length


_WHOLE, _FULL, _STREAM_NAME, _BAD_LENGTH = 0, 1, 2, 3


@njit(cache=True)
def _length_at(data: npt.NDArray[np.uint8], at: int) -> int:
    return int(data[at]) | int(data[at + 1]) << 8 | int(data[at + 2]) << 16 | int(data[at + 3]) << 24


@njit(cache=True)
def _scan(data: npt.NDArray[np.uint8], position: int, most: int, max_bytes: int) -> tuple[int, int, int]:
    """Return how many whole frames begin at ``position``, where they end, and why they end there."""
    count = 0
    while True:
        if position + 14 > len(data):
            return count, position, 0
        length = _length_at(data, position + 10)
        if length > max_bytes:
            return count, position, 3
        if position + 14 + length > len(data):
            return count, position, 0
        if data[position + 8] == 0xFF and data[position + 9] == 0xFF:
            return count, position, 2
        if count == most:
            return count, position, 1
        count += 1
        position += 14 + length


@njit(cache=True)
def _split_records(
    data: npt.NDArray[np.uint8],
    position: int,
    payload: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    ts_recv: npt.NDArray[np.int64],
    streams: npt.NDArray[np.uint16],
) -> None:
    at = 0
    for k in range(len(ts_recv)):
        ts = np.uint64(0)
        for j in range(8):
            ts |= np.uint64(data[position + j]) << np.uint64(8 * j)
        ts_recv[k] = np.int64(ts)
        streams[k] = np.uint16(data[position + 8]) | np.uint16(data[position + 9]) << np.uint16(8)
        length = _length_at(data, position + 10)
        starts[k] = at
        payload[at : at + length] = data[position + 14 : position + 14 + length]
        at += length
        position += 14 + length
    starts[len(ts_recv)] = at


def _inflate(path: Path, file: IO[bytes]) -> Iterator[bytes | None]:
    """Yield the content piece by piece; a last None says that the file ends inside a Zstandard frame."""
    pending = b""
    inside = False
    while True:
        if not pending:
            pending = file.read(_READ_BYTES)
            if not pending:
                break
        if not inside:
            engine = zstandard.ZstdDecompressor().decompressobj()
            inside = True
        try:
            content = engine.decompress(pending)
        except zstandard.ZstdError as error:
            raise CaptureError(
                f"{path}: not a capture, or changed after it was written: before byte {file.tell()}: {error}"
            ) from error
        pending = engine.unused_data if engine.eof else b""
        inside = not engine.eof
        if content:
            yield content
    if inside:
        yield None


def _read_header(path: Path, chunks: Iterator[bytes | None]) -> tuple[CaptureHeader, bytes]:
    """Return the header and what follows it in the pieces read so far."""
    head = b""
    for chunk in chunks:
        if chunk is None:
            break
        head += chunk
        if not head.startswith(MAGIC[: len(head)]) or head.count(b"\n") >= 2 or len(head) > _MAX_HEADER:
            break
    if not head.startswith(MAGIC):
        raise CaptureError(f"{path}: not a capture: it does not begin with {MAGIC.decode().strip()}")
    if head.count(b"\n") < 2:
        raise CaptureError(f"{path}: the file ends inside its header; nothing was recorded in it")
    first, second, rest = head.split(b"\n", 2)
    version = first[len(MAGIC) :].decode("ascii", "replace")
    if version != str(VERSION):
        raise CaptureError(f"{path}: capture version {version}; this program reads version {VERSION}")
    try:
        values = json.loads(second)
        values["streams"], values["symbols"] = tuple(values["streams"]), tuple(values["symbols"])
        return CaptureHeader(**values), rest
    except (ValueError, TypeError, KeyError) as error:
        raise CaptureError(f"{path}: the header cannot be read: {error}") from error


def is_capture(path: Path) -> bool:
    """Whether the file begins as a capture does."""
    try:
        CaptureReader(path)
    except CaptureError:
        return False
    return True


def iter_frames(path: Path, batch_frames: int = 65_536) -> Iterator[FrameBatch]:
    """Yield the frames of a capture file in batches; a torn tail is left out.

    Raises
    ------
    CaptureError
        If the file is no capture, or was changed after it was written.
    """
    yield from CaptureReader(path, batch_frames)

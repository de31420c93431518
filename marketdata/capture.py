"""Record a venue's frames verbatim, so that a crash or a full disk costs seconds and never a file.

Frames are handed over in memory and written by a thread of its own, because a sync of the disk takes milliseconds and receive
times must not wait for it. A file is rotated at each full hour of receive time (UTC) and when it has grown to its size; while it
is written its name ends in ``.open``, and once it is closed a manifest with its hash lies beside it.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import platform
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import zstandard

from marketdata.capture_files import CaptureManifest, capture_files, read_manifest, recover, seal
from marketdata.capture_format import (
    MAX_FRAME_BYTES,
    MAX_STREAMS,
    OPEN_SUFFIX,
    SUFFIX,
    CaptureError,
    CaptureHeader,
    CaptureReader,
    is_capture,
    iter_frames,
    record_bytes,
    stream_record,
)
from marketdata.clock import NS_PER_HOUR, NS_PER_S, from_ns

__all__ = [
    "CaptureError",
    "CaptureHeader",
    "CaptureManifest",
    "CaptureReader",
    "CaptureWriter",
    "capture_files",
    "clock_state",
    "is_capture",
    "iter_frames",
    "read_manifest",
    "recover",
]

FRAME_BYTES: Final = 4 << 20
"""Content of one Zstandard frame: what a checksum covers."""
QUEUE_BYTES: Final = 256 << 20
"""Frames waiting for the disk; beyond it the writer stops with an error and not with lost frames."""


def clock_state() -> dict[str, Any]:
    """Return what the host says about its clock.

    ``synchronised`` is whether the kernel holds the clock for disciplined by a time server, and ``max_error_us`` its
    bound; both None where the system does not say.
    """
    state: dict[str, Any] = {
        "host": platform.node(),
        "realtime_ns": time.time_ns(),
        "monotonic_ns": time.monotonic_ns(),
        "resolution_ns": round(time.get_clock_info("time").resolution * NS_PER_S),
        "synchronised": None,
        "max_error_us": None,
    }
    try:
        library = ctypes.CDLL(None, use_errno=True)
        answer = (ctypes.c_long * 64)()  # struct timex, generously; modes 0 only reads
        code = library.adjtimex(answer)
    except (OSError, AttributeError):
        return state
    if code >= 0:
        state["synchronised"] = code != _TIME_ERROR
        state["max_error_us"] = int(answer[3])
    return state


_TIME_ERROR: Final = 5


def _software() -> str:
    try:
        return f"flowsense {version('flowsense')}"
    except PackageNotFoundError:
        return "flowsense"


class _OpenFile:
    """One file while it is written; used by the writing thread alone."""

    def __init__(self, folder: Path, header: CaptureHeader, first_ns: int, level: int) -> None:
        stem = f"{header.capture}_{header.part:05d}_{from_ns(first_ns):%Y%m%dT%H%M%SZ}"
        self.path = folder / f"{stem}{OPEN_SUFFIX}"
        self.header = header
        self.frames = 0
        self.first_ns = self.last_ns = 0
        self.by_stream: dict[int, int] = {}
        self._level = level
        self._hash = hashlib.sha256()
        self.bytes = 0
        self._file = self.path.open("xb")
        fcntl.flock(self._file, fcntl.LOCK_EX)  # while it is held, nobody takes the writer for dead
        self._engine = self._new_engine()
        self._in_frame = 0
        self._put(self._engine.compress(header.to_bytes()) + self._engine.flush())
        self._engine = self._new_engine()
        self.sync()

    def _new_engine(self) -> Any:
        return zstandard.ZstdCompressor(level=self._level, write_checksum=True).compressobj()

    def _put(self, content: bytes) -> None:
        self._file.write(content)
        self._hash.update(content)
        self.bytes += len(content)

    def add(self, stream: int, ts_recv: int, record: bytes, *, is_frame: bool = True) -> None:
        if is_frame:
            self.frames += 1
            self.first_ns = self.first_ns or ts_recv
            self.last_ns = ts_recv
            self.by_stream[stream] = self.by_stream.get(stream, 0) + 1
        self._put(self._engine.compress(record))
        self._in_frame += len(record)
        if self._in_frame >= FRAME_BYTES:
            self._end_frame()

    def _end_frame(self) -> None:
        if self._in_frame:
            self._put(self._engine.flush())
            self._engine = self._new_engine()
            self._in_frame = 0

    def sync(self) -> None:
        """End the block, so that all that was added can be read, and have it on disk."""
        if self._in_frame:
            self._put(self._engine.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self, streams: Sequence[str]) -> Path:
        self._end_frame()
        self.sync()
        self._file.close()
        counts = {streams[index]: count for index, count in sorted(self.by_stream.items())}
        final = self.path.with_name(self.path.name.removesuffix(OPEN_SUFFIX) + SUFFIX)
        header = self.header
        manifest = CaptureManifest(
            final.name,
            self._hash.hexdigest(),
            self.bytes,
            self.frames,
            self.first_ns,
            self.last_ns,
            counts,
            header.venue,
            header.capture,
            header.part,
        )
        seal(self.path, final, manifest)
        return final


class CaptureWriter:
    """Writes frames into rotated capture files; a context manager.

    ``write`` is what a live feed's tee calls, from one thread; it costs microseconds. What was written is on disk after
    ``sync_s`` seconds at the latest, or when ``flush`` returns.

    Parameters
    ----------
    folder : Path
        Made if it is not there. Files are named ``<venue>_<start>_<part>_<first frame's time>.fscap.zst``.
    venue : str
    symbols : sequence of str
        What was asked for; kept in the header.
    rotate_bytes : int
        Compressed size at which the next file is begun.
    sync_s : float
        Longest time between two syncs.
    level : int
        Zstandard level.
    now_ns : callable
        Wall clock, for the name of the run.
    """

    def __init__(
        self,
        folder: Path,
        venue: str,
        symbols: Sequence[str] = (),
        *,
        rotate_bytes: int = 256 << 20,
        sync_s: float = 2.0,
        level: int = 3,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.venue = venue
        self.symbols = tuple(symbols)
        self.frames = 0
        self.files: list[Path] = []
        self._capture = f"{venue}_{from_ns(now_ns()):%Y%m%dT%H%M%S%f}Z"
        self._rotate_bytes, self._sync_s, self._level = rotate_bytes, sync_s, level
        self._streams: list[str] = []
        self._index: dict[str, int] = {}
        self._open: _OpenFile | None = None
        self._part = self._named = 0
        self._queue: list[tuple[int, int, bytes]] = []
        self._queued = 0
        self._asked = self._answered = 0
        self._error: CaptureError | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="capture", daemon=True)
        self._thread.start()

    def write(self, stream: str, ts_recv: int, payload: bytes) -> None:
        """Take one frame as it was received.

        Raises
        ------
        CaptureError
            If earlier frames could not be written (disk full, folder gone), or the disk is so slow that the queue is full; what
            was written before stays readable.
        """
        if len(payload) > MAX_FRAME_BYTES:
            raise CaptureError(f"{self.folder}: a frame of {len(payload)} bytes; at most {MAX_FRAME_BYTES} are kept")
        with self._changed:
            self._raise_error()
            if self._closing:
                raise CaptureError(f"{self.folder}: the capture is closed")
            if self._queued + len(payload) > QUEUE_BYTES:
                raise CaptureError(
                    f"{self.folder}: {self._queued} bytes wait for the disk, which does not keep up; "
                    "capture to a faster one, or fewer symbols"
                )
            index = self._index.get(stream)
            if index is None:
                if len(self._streams) == MAX_STREAMS:
                    raise CaptureError(f"{self.folder}: more than {MAX_STREAMS} streams")
                index = self._index[stream] = len(self._streams)
                self._streams.append(stream)
            self._queue.append((index, ts_recv, payload))
            self._queued += len(payload)
            self.frames += 1

    def flush(self) -> None:
        """Return once everything taken so far is on disk; raises as :meth:`write`."""
        with self._changed:
            self._asked += 1
            ticket = self._asked
            self._changed.notify_all()
            while self._answered < ticket and self._error is None:
                self._changed.wait()
            self._raise_error()

    def close(self) -> list[Path]:
        """Write what is left, close the last file with its manifest, and return all files; raises as :meth:`write`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._raise_error()
        return list(self.files)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            with contextlib.suppress(CaptureError):  # the error that ended the block says more
                self.close()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._closing and self._asked == self._answered:
                    self._changed.wait(self._sync_s)
                taken, self._queue, self._queued = self._queue, [], 0
                ticket, closing = self._asked, self._closing
            try:
                self._store(taken)
                if self._open is not None:
                    if closing:
                        self._close_file()
                    elif taken or ticket > self._answered:
                        self._open.sync()
            except (OSError, zstandard.ZstdError) as error:
                with self._changed:
                    self._error = CaptureError(f"{self.folder}: frames cannot be written: {error}")
                    self._changed.notify_all()
                return
            with self._changed:
                self._answered = ticket
                self._changed.notify_all()
            if closing and not self._queue:
                return

    def _store(self, taken: Sequence[tuple[int, int, bytes]]) -> None:
        for index, ts_recv, payload in taken:
            file = self._open
            if file is not None and self._is_full(file, ts_recv):
                self._close_file()
                file = None
            if file is None:
                file = self._open = self._new_file(ts_recv, index)
            for k in range(self._named, index + 1):
                file.add(k, ts_recv, stream_record(k, self._streams[k], ts_recv), is_frame=False)
            self._named = max(self._named, index + 1)
            file.add(index, ts_recv, record_bytes(index, ts_recv, payload))

    def _is_full(self, file: _OpenFile, ts_recv: int) -> bool:
        if file.frames == 0:
            return False
        return file.bytes >= self._rotate_bytes or ts_recv // NS_PER_HOUR > file.last_ns // NS_PER_HOUR

    _named = 0

    def _new_file(self, ts_recv: int, index: int) -> _OpenFile:
        known = tuple(self._streams[: max(self._named, index + 1)])
        self._named = len(known)
        header = CaptureHeader(self.venue, self._capture, self._part, known, self.symbols, _software(), clock_state())
        self._part += 1
        return _OpenFile(self.folder, header, ts_recv, self._level)

    def _close_file(self) -> None:
        assert self._open is not None
        self.files.append(self._open.close(self._streams))
        self._open = None

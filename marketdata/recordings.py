"""Readers of other people's recordings: their layouts as frames, for the codecs that read live frames too.

======================= ===================================================================================================
Binance raw             gzip text, a line ``<receive time, ns> <JSON>``; REST snapshots stand among the lines
cryptofeed              gzip text, ``<epoch seconds>: <JSON>`` received, ``<url> <-> <epoch>`` opened, ``<url> <- …`` sent,
                        ``<url> -> <epoch>: <JSON>`` REST answers
Bybit archive           zip or plain text, a line a frame; no receive times
Binance JSON arrays     gzip JSON, an array of payloads, and a snapshot; no receive times
Bitstamp log            xz text, a line ``<receive time, ms> <event> <JSON>``
======================= ===================================================================================================

Lines are handed on byte for byte; only what the recorder wrote in front is taken off.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import IO, Annotated, Final

import msgspec
import numpy as np

from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.codecs.tables import UNREADABLE_ZIP, open_bytes, read_bytes
from marketdata.frames import FrameBatch

_OPENED: Final = re.compile(rb"(?P<url>\S+) <-> (?P<epoch>[1-8]?[0-9]{9}(\.[0-9]+)?)")
_SENT: Final = re.compile(rb"\S+ <- [0-9.]+: ")
_ANSWER: Final = re.compile(rb"(?P<url>\S+) -> (?P<epoch>[1-8]?[0-9]{9}(\.[0-9]+)?): (?P<body>.*)", re.DOTALL)
_RECEIVED: Final = re.compile(rb"(?P<epoch>[1-8]?[0-9]{9}(\.[0-9]+)?): (?P<body>.*)", re.DOTALL)

Line = tuple[int, str, bytes]
"""Receive time in ns, stream, the frame."""


class RecordingError(ValueError):
    """A recording has another layout than its kind should have; the message names file, line and what was expected."""


def batch_of(lines: Iterable[Line]) -> FrameBatch:
    """Return frames given as (receive time in ns, stream, bytes) as one batch."""
    listed = list(lines)
    streams: dict[str, int] = {}
    numbers = [streams.setdefault(stream, len(streams)) for _, stream, _ in listed]
    return FrameBatch(
        np.frombuffer(b"".join(body for _, _, body in listed), np.uint8),
        np.cumsum(np.array([0, *(len(body) for _, _, body in listed)], np.int64)),
        np.array([ts for ts, _, _ in listed], np.int64),
        np.array(numbers, np.int16),
        tuple(streams),
    )


def _lines(path: Path) -> list[bytes]:
    return [line.rstrip(b"\r") for line in read_bytes(path).split(b"\n")]


def _epoch_ns(text: bytes) -> int:
    return int(Decimal(text.decode()) * NS_PER_S)


def _is_time(stamp: bytes, digits: int) -> bool:
    """Whether a text is a time since 1970 of at most so many digits: nothing that an int64 of ns cannot hold."""
    return stamp.isdigit() and len(stamp) <= digits and int(stamp) * 10 ** (19 - digits) < 1 << 63


def read_binance_raw(path: Path, socket: str, snapshot_url: str) -> FrameBatch:
    """Return a file of lines ``<receive time, ns> <JSON>``.

    Parameters
    ----------
    path : Path
    socket : str
        What to call the connection.
    snapshot_url : str
        REST address of the snapshots among the lines: lines that begin with ``{"lastUpdateId"`` came by it.

    Raises
    ------
    RecordingError
        If a line begins otherwise.
    """

    def parsed() -> Iterable[Line]:
        for k, line in enumerate(_lines(path), 1):
            if not line:
                continue
            stamp, space, body = line.partition(b" ")
            if not (space and _is_time(stamp, 19)):
                raise RecordingError(f"{path}, line {k}: not '<receive time in ns> <JSON>': {line[:60]!r}")
            yield int(stamp), snapshot_url if body.startswith(b'{"lastUpdateId"') else socket, body

    return batch_of(parsed())


def read_cryptofeed(sockets: Sequence[Path], answers: Sequence[Path] = ()) -> FrameBatch:
    """Return cryptofeed's raw recordings, in the order received; an opened connection gives an empty frame.

    Parameters
    ----------
    sockets : sequence of Path
        Files ``VENUE.ws.N.0``, one a connection.
    answers : sequence of Path
        Files ``VENUE.http.N.0``.

    Raises
    ------
    RecordingError
        If a line is none of the four kinds.
    """
    found: list[Line] = []
    for path in sockets:
        url = ""
        for k, line in enumerate(_lines(path), 1):
            if not line or _SENT.match(line):
                continue
            opened = _OPENED.fullmatch(line)
            if opened:
                url = opened["url"].decode(errors="replace")
                found.append((_epoch_ns(opened["epoch"]), url, b""))
                continue
            received = _RECEIVED.fullmatch(line)
            if not received or not url:
                raise RecordingError(f"{path}, line {k}: not a received frame of an opened connection: {line[:60]!r}")
            if received["body"]:
                found.append((_epoch_ns(received["epoch"]), url, received["body"]))
    for path in answers:
        for k, line in enumerate(_lines(path), 1):
            if not line:
                continue
            answer = _ANSWER.fullmatch(line)
            if not answer:
                raise RecordingError(f"{path}, line {k}: not '<url> -> <epoch>: <JSON>': {line[:60]!r}")
            found.append((_epoch_ns(answer["epoch"]), answer["url"].decode(errors="replace"), answer["body"]))
    found.sort(key=lambda line: line[0])
    return batch_of(found)


_Millis = Annotated[int, msgspec.Meta(ge=0, lt=(1 << 63) // NS_PER_MS)]


class _Stamped(msgspec.Struct):
    E: _Millis


class _Sent(msgspec.Struct):
    ts: _Millis


_SENT_AT: Final = msgspec.json.Decoder(_Sent)


def read_binance_arrays(snapshot: Path, updates: Sequence[Path], socket: str, snapshot_url: str) -> FrameBatch:
    """Return a REST snapshot and arrays of payloads, which have no receive times of their own.

    A frame's receive time is its own ``E``, which makes no claim about latency: give it one by a declared model. The snapshot
    stands first, with the receive time of the earliest payload.

    Parameters
    ----------
    snapshot : Path
        One REST answer.
    updates : sequence of Path
        JSON arrays of ``depthUpdate`` or trades; merged by ``E``, files in the order given where equal.
    """
    found: list[Line] = []
    for path in updates:
        try:
            payloads = msgspec.json.decode(read_bytes(path), type=list[msgspec.Raw])
            found += [(msgspec.json.decode(raw, type=_Stamped).E * NS_PER_MS, socket, bytes(raw)) for raw in payloads]
        except msgspec.DecodeError as error:
            raise RecordingError(f"{path}: not a JSON array of payloads with E: {error}") from error
    found.sort(key=lambda line: line[0])
    first = found[0][0] if found else 0
    return batch_of([(first, snapshot_url, read_bytes(snapshot).strip()), *found])


def iter_bybit_archive(path: Path, socket: str, batch_frames: int) -> Iterator[FrameBatch]:
    """Yield the frames of an archive of Bybit's order books, a line each, in the order of the file.

    A frame's receive time is its own ``ts``, when the venue sent it; it makes no claim about latency.

    Parameters
    ----------
    path : Path
        Plain text, or a zip archive of one file.
    socket : str
        What to call the connection.
    batch_frames : int
        Frames at a time: a day is several gigabytes.

    Raises
    ------
    RecordingError
        If the file cannot be read to its end, or a line is no JSON object with ``ts``.
    """
    found: list[Line] = []
    try:
        with ExitStack() as opened:
            for k, line in enumerate(_member(path, opened), 1):
                body = line.rstrip(b"\r\n")
                if not body:
                    continue
                try:
                    found.append((_SENT_AT.decode(body).ts * NS_PER_MS, socket, body))
                except msgspec.DecodeError as error:
                    raise RecordingError(f"{path}, line {k}: not a frame with ts: {error}") from error
                if len(found) == batch_frames:
                    yield batch_of(found)
                    found = []
    except UNREADABLE_ZIP as error:
        raise RecordingError(f"{path}: cannot be read: {error}") from error
    if found:
        yield batch_of(found)


def _member(path: Path, opened: ExitStack) -> IO[bytes]:
    """Return a plain file's lines, or those of the only file in a zip archive."""
    if path.suffix != ".zip":
        return opened.enter_context(open_bytes(path))
    archive = opened.enter_context(zipfile.ZipFile(path))
    names = archive.namelist()
    if len(names) != 1:
        raise RecordingError(f"{path}: the archive holds {len(names)} files, expected one")
    return opened.enter_context(archive.open(names[0]))


def read_bitstamp_log(path: Path, channel: str = "btcusd") -> FrameBatch:
    """Return a log of lines ``<receive time, ms> <event> <JSON>`` as frames of Bitstamp's current form.

    The recorder split each frame's event name from its data; they are put together again as ``{"data": …, "channel": …,
    "event": …}``, the data byte for byte.

    Parameters
    ----------
    channel : str
        Pair that the log is of.
    """
    channels = {"order_book": "order_book", "trade": "live_trades"}
    found: list[Line] = []
    for k, line in enumerate(_lines(path), 1):
        if not line:
            continue
        stamp, _, rest = line.partition(b" ")
        event, space, body = rest.partition(b" ")
        if not (space and _is_time(stamp, 13) and event.isascii()):
            raise RecordingError(f"{path}, line {k}: not '<receive time in ms> <event> <JSON>': {line[:60]!r}")
        name = event.decode()
        kind = channels.get(name, "live_orders")
        frame = b'{"data":%b,"channel":"%b_%b","event":"%b"}' % (body, kind.encode(), channel.encode(), event)
        found.append((int(stamp) * NS_PER_MS, "wss://ws.bitstamp.net/", frame))
    return batch_of(found)

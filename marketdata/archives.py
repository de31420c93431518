"""Recordings as they lie in folders: what each file is, whose frames it holds, and how they are read.

A *layout* is a kind of file. Every layout of :data:`LAYOUTS` is asked in turn whether files are its own; a file that none of them
knows is an error that names it, because a recording that is passed over in silence is missed only months later.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from marketdata.capture import CaptureError, CaptureReader, read_manifest
from marketdata.capture_format import OPEN_SUFFIX, SUFFIX
from marketdata.codecs.catalog import VENUES
from marketdata.codecs.tables import UNREADABLE, SourceError, open_bytes
from marketdata.frames import FrameBatch
from marketdata.recordings import (
    RecordingError,
    iter_bybit_archive,
    read_binance_arrays,
    read_binance_raw,
    read_bitstamp_log,
    read_cryptofeed,
)

BATCH_FRAMES: Final = 32_768
HARMLESS: Final = re.compile(
    r"(.*readme.*|licen[cs]e.*|.*\.md|.*\.checksum|checksum|sha256sums|.*\.fscap\.zst\.json|.*\.tmp|\..*)",
    re.IGNORECASE,
)
"""Files of a folder that are no recordings, and that everybody has."""


class UnknownRecording(ValueError):
    """A file cannot be ingested; one line that names it and says why or what to do."""


@dataclass(frozen=True, slots=True)
class RecordingInput:
    """Files that are read together, as one piece of a stream.

    Attributes
    ----------
    layout : str
        Name in :data:`LAYOUTS`.
    venue : str
        Whose instruments they tell of; part of the instruments' names.
    series : str
        Stream that the input is a piece of; pieces follow each other in the order of ``start_ns``.
    paths : tuple of Path
    start_ns : int
        Time of the first frame, as recorded.
    has_receive_time : bool
    covers : tuple of Path
        Files that are not read because these say the same, better.
    """

    layout: str
    venue: str
    series: str
    paths: tuple[Path, ...]
    start_ns: int
    has_receive_time: bool = True
    covers: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """Return the name of the first file."""
        return self.paths[0].name


class FrameLayout(Protocol):
    """A layout whose files hold a venue's frames."""

    def find(self, paths: Sequence[Path], venue: str | None) -> list[RecordingInput]:
        """Return the inputs among these files."""
        ...

    def batches(self, given: RecordingInput) -> Iterator[FrameBatch]:
        """Yield the frames of an input in the order received."""
        ...


def _cut(batch: FrameBatch) -> Iterator[FrameBatch]:
    for first in range(0, len(batch), BATCH_FRAMES):
        yield batch.part(first, min(first + BATCH_FRAMES, len(batch)))


def _known_venue(venue: str, path: Path) -> str:
    if venue not in VENUES:
        raise UnknownRecording(f"{path}: frames of {venue!r}, a venue without a codec; there are {', '.join(VENUES)}")
    return venue


class CaptureLayout:
    """Our own capture files, closed or torn."""

    def find(self, paths: Sequence[Path], venue: str | None) -> list[RecordingInput]:
        """Return an input a file; a manifest beside it has to stand for its bytes."""
        found = []
        for path in paths:
            if not path.name.endswith((SUFFIX, OPEN_SUFFIX)):
                continue
            try:
                read_manifest(path)
                reader = CaptureReader(path, batch_frames=1)
                first = next(iter(reader), None)
            except CaptureError as error:
                raise UnknownRecording(str(error)) from error
            if first is None:
                continue  # opened and closed without a frame
            header = reader.header
            name = _known_venue(venue or header.venue, path)
            found.append(RecordingInput("capture", name, header.capture, (path,), int(first.ts_recv[0])))
        return found

    def batches(self, given: RecordingInput) -> Iterator[FrameBatch]:
        """Yield the frames as the file gives them."""
        for path in given.paths:
            yield from CaptureReader(path, BATCH_FRAMES)


_RAW_LINE: Final = re.compile(rb"(\d{19}) ([{\[].*)")
_MARKET_FOLDERS: Final = {
    "spot": "binance_spot",
    "usdm": "binance_usdm",
    "um": "binance_usdm",
    "cm": "binance_coinm",
    "coinm": "binance_coinm",
}
_BINANCE: Final = {
    "binance_spot": ("wss://stream.binance.com:9443/stream", "https://api.binance.com/api/v3/depth"),
    "binance_usdm": ("wss://fstream.binance.com/stream", "https://fapi.binance.com/fapi/v1/depth"),
    "binance_coinm": ("wss://dstream.binance.com/stream", "https://dapi.binance.com/dapi/v1/depth"),
}
_SYMBOL: Final = re.compile(rb'"s" ?: ?"([A-Z0-9_]+)"')


class BinanceRawLayout:
    """Lines ``<receive time, ns> <frame>`` of one symbol, gzip, as collectors write them: of a Binance market, or any venue."""

    def find(self, paths: Sequence[Path], venue: str | None) -> list[RecordingInput]:
        """Return an input a file; the venue is told, or is the folder's name (spot, usdm, cm: Binance's markets)."""
        found = []
        for path in paths:
            line = _first_line(path) if path.suffix == ".gz" else b""
            match = _RAW_LINE.match(line)
            if match is None:
                continue
            folder = path.parent.name
            name = venue or _MARKET_FOLDERS.get(folder) or (folder if folder in VENUES else None)
            if name is None:
                raise UnknownRecording(
                    f"{path}: lines '<receive time> <frame>'; say whose with --venue {' | '.join(VENUES)}"
                )
            series = f"{name}/{_without_date(path)}"
            found.append(RecordingInput("binance_raw", _known_venue(name, path), series, (path,), int(match[1])))
        return found

    def batches(self, given: RecordingInput) -> Iterator[FrameBatch]:
        """Yield the file's lines; the symbol of REST snapshots is that of the frames around them."""
        (path,) = given.paths
        if given.venue not in _BINANCE:
            yield from _cut(read_binance_raw(path, f"wss://{given.venue}", ""))
            return
        socket, rest = _BINANCE[given.venue]
        symbol = self._symbol(path)
        yield from _cut(read_binance_raw(path, socket, f"{rest}?symbol={symbol}&limit=1000"))

    def _symbol(self, path: Path) -> str:
        try:
            with open_bytes(path) as file:
                for _, line in zip(range(1_000), file, strict=False):
                    match = _SYMBOL.search(line)
                    if match:
                        return match[1].decode()
        except UNREADABLE as error:
            raise SourceError(path, f"cannot be read: {error}") from error
        raise RecordingError(f"{path}: none of the first 1,000 frames names its symbol")


_CRYPTOFEED_NAME: Final = re.compile(r"(?P<venue>[A-Z_]+)\.(?P<kind>ws|http)\.(?P<number>\d+)\.\d+(\.gz)?$")
_CRYPTOFEED_LIST: Final = re.compile(r"(?P<venue>[A-Z_]+)\.0(\.gz)?$")
CRYPTOFEED_VENUES: Final = {
    "BINANCE": "binance_spot",
    "BINANCE_FUTURES": "binance_usdm",
    "BINANCE_DELIVERY": "binance_coinm",
    "KRAKEN_FUTURES": "kraken_futures",
}
"""Names of cryptofeed's that are not ours in capitals."""


class CryptofeedLayout:
    """cryptofeed's raw recordings: ``VENUE.ws.N.0`` a connection and ``VENUE.http.N.0`` REST answers, read together."""

    def find(self, paths: Sequence[Path], venue: str | None) -> list[RecordingInput]:
        """Return an input a venue and folder."""
        groups: dict[tuple[Path, str], list[Path]] = {}
        for path in paths:
            match = _CRYPTOFEED_NAME.match(path.name) or _CRYPTOFEED_LIST.match(path.name)
            if match is not None:
                groups.setdefault((path.parent, match["venue"]), []).append(path)
        found = []
        for (folder, name), members in sorted(groups.items()):
            if not any(".ws." in path.name for path in members):
                continue
            ours = _known_venue(venue or CRYPTOFEED_VENUES.get(name, name.lower()), members[0])
            given = RecordingInput("cryptofeed", ours, f"{folder}/{name}", tuple(sorted(members)), 0)
            batch = self._read(given)
            start = int(batch.ts_recv[0]) if len(batch) else 0
            found.append(RecordingInput("cryptofeed", ours, given.series, given.paths, start))
        return found

    def batches(self, given: RecordingInput) -> Iterator[FrameBatch]:
        """Yield the frames of all connections and answers, merged by receive time."""
        yield from _cut(self._read(given))

    def _read(self, given: RecordingInput) -> FrameBatch:
        sockets = [path for path in given.paths if ".ws." in path.name]
        return read_cryptofeed(sockets, [path for path in given.paths if ".http." in path.name])


_ARRAY_NAME: Final = re.compile(r"(?P<start>.+)_(?P<kind>snapshot|update|trades)\.json\.gz$")


class BinanceArraysLayout:
    """JSON arrays of Binance's payloads beside a REST snapshot, without receive times.

    Files are named ``…_snapshot.json.gz``, ``…_update.json.gz`` and ``…_trades.json.gz`` in a folder of the symbol's name.
    """

    def find(self, paths: Sequence[Path], venue: str | None) -> list[RecordingInput]:
        """Return an input for each snapshot with the arrays of its name; the folder is the symbol."""
        groups: dict[tuple[Path, str], list[Path]] = {}
        for path in paths:
            match = _ARRAY_NAME.match(path.name)
            if match is not None:
                groups.setdefault((path.parent, match["start"]), []).append(path)
        found = []
        for (folder, _), members in sorted(groups.items()):
            if not any(path.name.endswith("_snapshot.json.gz") for path in members):
                raise UnknownRecording(f"{members[0]}: there is no …_snapshot.json.gz beside it")
            name = _known_venue(venue or "binance_spot", members[0])
            given = RecordingInput("binance_arrays", name, f"{name}/{folder.name}", tuple(sorted(members)), 0, False)
            batch = self._read(given)
            found.append(RecordingInput(given.layout, name, given.series, given.paths, int(batch.ts_recv[0]), False))
        return found

    def batches(self, given: RecordingInput) -> Iterator[FrameBatch]:
        """Yield snapshot and payloads in order of their exchange time."""
        yield from _cut(self._read(given))

    def _read(self, given: RecordingInput) -> FrameBatch:
        socket, rest = _BINANCE[given.venue]
        snapshot = next(path for path in given.paths if path.name.endswith("_snapshot.json.gz"))
        updates = [path for path in given.paths if path != snapshot]
        return read_binance_arrays(snapshot, updates, socket, f"{rest}?symbol={snapshot.parent.name}&limit=1000")


_BYBIT_NAME: Final = re.compile(r"(?P<symbol>[A-Za-z0-9]+(-[A-Za-z0-9]+)*)[_-]ob\d+\.data(\.zip)?$")


class BybitArchiveLayout:
    """Days of one symbol's order book as Bybit offers them for download: ``2024-12-01_XRPUSDT_ob500.data.zip``."""

    def find(self, paths: Sequence[Path], venue: str | None) -> list[RecordingInput]:
        """Return an input a file; a symbol's days are one stream."""
        found = []
        for path in paths:
            match = _BYBIT_NAME.search(path.name)
            if match is None:
                continue
            name = _known_venue(venue or "bybit", path)
            series = f"{name}/{match['symbol'].upper()}"
            start = next((int(batch.ts_recv[0]) for batch in self._read(path, 1)), 0)
            found.append(RecordingInput("bybit_archive", name, series, (path,), start, False))
        return found

    def batches(self, given: RecordingInput) -> Iterator[FrameBatch]:
        """Yield the file's frames as they are read."""
        yield from self._read(given.paths[0], BATCH_FRAMES)

    def _read(self, path: Path, batch_frames: int) -> Iterator[FrameBatch]:
        return iter_bybit_archive(path, "wss://stream.bybit.com/v5/public", batch_frames)


_BITSTAMP_LINE: Final = re.compile(rb"\d{13} (order_created|order_changed|order_deleted|order_book|trade) [{]")


class BitstampLogLayout:
    """A log of lines ``<receive time, ms> <event> <JSON>`` of Bitstamp's order stream, xz or gzip."""

    def find(self, paths: Sequence[Path], venue: str | None) -> list[RecordingInput]:
        """Return an input a file."""
        found = []
        for path in paths:
            line = _first_line(path) if path.name.endswith((".log.xz", ".log.gz", ".log")) else b""
            if _BITSTAMP_LINE.match(line):
                name = _known_venue(venue or "bitstamp", path)
                start = int(line[:13]) * 1_000_000
                found.append(RecordingInput("bitstamp_log", name, f"{name}/{path.parent}", (path,), start))
        return found

    def batches(self, given: RecordingInput) -> Iterator[FrameBatch]:
        """Yield the log's lines as frames of the venue's current form."""
        yield from _cut(read_bitstamp_log(given.paths[0]))


def _first_line(path: Path) -> bytes:
    try:
        with open_bytes(path) as file:
            return file.readline(4_096)
    except UNREADABLE:
        return b""


def _without_date(path: Path) -> str:
    return re.sub(r"[_-]?\d{4}-?\d{2}-?\d{2}.*$", "", path.name) or path.stem


FRAME_LAYOUTS: Final[Mapping[str, FrameLayout]] = {
    "capture": CaptureLayout(),
    "binance_raw": BinanceRawLayout(),
    "cryptofeed": CryptofeedLayout(),
    "binance_arrays": BinanceArraysLayout(),
    "bybit_archive": BybitArchiveLayout(),
    "bitstamp_log": BitstampLogLayout(),
}
"""Layouts whose files hold frames, by name; a new one is a class and a line here."""


def files_below(paths: Sequence[Path]) -> list[Path]:
    """Return the files that paths name, those of folders included, harmless ones left out.

    Raises
    ------
    UnknownRecording
        If a path is not there, or a folder holds no file.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not HARMLESS.fullmatch(p.name))
            if not inside:
                raise UnknownRecording(f"{path}: there is no recording in this folder")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UnknownRecording(f"{path}: no such file or folder")
    return list(dict.fromkeys(p.resolve() for p in found))

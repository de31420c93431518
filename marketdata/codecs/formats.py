"""Recordings that lie in files, by name: who reads them, what they are called, and whether they have a receive time.

A file format gives :class:`~marketdata.frames.Decoded` batches, as a venue's codec does, so that ingest takes one like the
other. A new format is a function ``(path, instruments) -> Iterator[Decoded]`` and a line in :data:`FORMATS`. Formats whose files
hold a venue's own frames (FIX logs, ITCH files and captures) go through that venue's codec.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from marketdata.clock import Calendar
from marketdata.codecs import (
    databento,
    itch_framing,
    lean,
    lean_archives,
    lobster,
    lobster_orders,
    session_tables,
    shanghai,
    tardis,
)
from marketdata.codecs.fix import FixCodec
from marketdata.codecs.fix_splitter import message_places
from marketdata.codecs.fix_time import NO_TS, parse_utc
from marketdata.codecs.itch import ItchCodec
from marketdata.codecs.itch_framing import MESSAGE, MOLDUDP64, SOUPBINTCP
from marketdata.codecs.pcap import read_pcap
from marketdata.codecs.tables import SourceError, read_bytes
from marketdata.events import empty_events
from marketdata.frames import QUARANTINE, Decoded, FrameBatch, FrameCodec, Rejected, frame_batch
from marketdata.instruments import Instrument

Instruments = Mapping[str, Instrument]
Reader = Callable[[Path, Instruments], Iterator[Decoded]]

BATCH_FRAMES: Final = 32_768
_LOG_TIME: Final = re.compile(rb"(\d{8}-\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)")
_ITCH_DAYS: Final = (
    (re.compile(r"(?<!\d)(\d{4})(\d{2})(\d{2})(?!\d)"), (0, 1, 2)),
    (re.compile(r"(?<!\d)S?(\d{2})(\d{2})(\d{4})(?!\d)"), (2, 0, 1)),
    (re.compile(r"(?<!\d)S(\d{2})(\d{2})(\d{2})-v50"), (2, 0, 1)),
)
"""How NASDAQ's and others' file names say the day: 20190530, 01302019, S081321-v50."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Attributes
    ----------
    read : callable
        Given a path and the instruments asked for, by the symbol that the files use, yields their events, whole groups at a time,
        each instrument's in order, refused frames with their reasons; raises SourceError for a file that cannot be read.
    names : str
        Pattern of the file names (regular expression); more than one format may claim a name.
    has_receive_time : bool
        Whether ``ts_recv`` was recorded; where not it is 0, and ingest applies a declared latency model.
    """

    read: Reader
    names: str
    has_receive_time: bool

    def claims(self, path: Path) -> bool:
        """Return whether a file's name (with its folder) is one of the format's."""
        return re.search(self.names, path.as_posix()) is not None


def _through(codec: FrameCodec, batches: Iterator[FrameBatch]) -> Iterator[Decoded]:
    """Yield what a codec makes of batches of frames; refused frames keep their number in the whole file."""
    state = codec.init()
    before = 0
    for whole in batches:
        for first in range(0, len(whole), BATCH_FRAMES):
            part = whole.part(first, min(first + BATCH_FRAMES, len(whole)))
            state, decoded = codec.step(state, part)
            rejected = tuple(Rejected(item.frame + before, item.offset, item.reason) for item in decoded.rejected)
            yield decoded._replace(rejected=rejected)
            before += len(part)


def read_fix_log(
    path: Path, instruments: Instruments, *, strict: bool = True, policy: str = QUARANTINE, numbered: bool = True
) -> Iterator[Decoded]:
    """Yield the events of a log of FIX messages; a time in front of a message is its receive time, else SendingTime is.

    Parameters
    ----------
    strict, policy, numbered
        As :class:`~marketdata.codecs.fix.FixCodec` has them; the numbering of logs that mix sessions cannot be followed.
    """
    data = read_bytes(path)
    view = np.frombuffer(data, np.uint8)
    frames = []
    end = 0
    for start, stop in message_places(data):
        stamp = _LOG_TIME.search(data, end, start)
        found = parse_utc(view, *stamp.span()) if stamp else NO_TS
        if found == NO_TS:
            sent = data.find(b"\x0152=", start, stop) + 4
            found = parse_utc(view, sent, data.find(b"\x01", sent, stop)) if sent > 3 else NO_TS
        frames.append((0 if found == NO_TS else found, data[start:stop]))
        end = stop
    if not frames:
        raise SourceError(path, "holds no FIX message")
    codec = FixCodec(instruments, policy=policy, strict=strict, numbered=numbered)
    yield from _through(codec, iter([frame_batch(frames, path.name)]))


def read_itch_file(path: Path, instruments: Instruments, *, policy: str = QUARANTINE) -> Iterator[Decoded]:
    """Yield the events of a length-prefixed ITCH 5.0 file, or of a log of SoupBinTCP packets; the session day is in its name."""
    packets = itch_framing.is_soup(path)
    codec = ItchCodec(instruments, SOUPBINTCP if packets else MESSAGE, itch_day(path), policy)
    yield from _through(codec, itch_framing.iter_message_file(path, packets=packets))


def read_itch_capture(path: Path, instruments: Instruments, *, policy: str = QUARANTINE) -> Iterator[Decoded]:
    """Yield the events of a packet capture of MoldUDP64 datagrams with ITCH 5.0."""
    yield from _through(ItchCodec(instruments, MOLDUDP64, None, policy), iter([read_pcap(path).frames]))


def itch_day(path: Path) -> date:
    """Return the session's day that a file's name says.

    Raises
    ------
    SourceError
        If it says none.
    """
    for pattern, (y, m, d) in _ITCH_DAYS:
        for match in pattern.finditer(path.name):
            parts = [int(part) for part in match.groups()]
            try:
                return date(parts[y] if parts[y] > 99 else 2000 + parts[y], parts[m], parts[d])
            except ValueError:
                continue
    raise SourceError(path, "the name says no day (20190530, 01302019, S013019-v50)")


def read_lobster(path: Path, instruments: Instruments) -> Iterator[Decoded]:
    """Yield the events of LOBSTER files: a folder, or one message file; with the book file beside it the book is exact."""
    if path.is_dir():
        for file in lobster.find_files([path]):
            if file.symbol in instruments:
                raw = lobster.read_raw(file)
                yield Decoded(lobster.parse(raw, file.day, instruments[file.symbol].instrument_id, str(file.messages)))
        return
    match = lobster.NAME.match(path.name)
    if match is None:
        raise SourceError(path, "is no LOBSTER message file (SYMBOL_YYYY-MM-DD_start_end_message_levels.csv)")
    symbol, day = match["symbol"], date.fromisoformat(match["day"])
    if symbol not in instruments:
        yield Decoded(empty_events(0), ignored={"other symbol": 1})
        return
    number = instruments[symbol].instrument_id
    books = path.with_name(path.name.replace("_message_", "_orderbook_"))
    if books.exists():
        file = lobster.LobsterFile(symbol, day, int(match["levels"]), path, books)
        yield Decoded(lobster.parse(lobster.read_raw(file), day, number, str(path)))
    else:
        yield Decoded(lobster_orders.parse_orders(lobster_orders.read_messages(path), day, number, str(path)))


def read_shanghai(path: Path, instruments: Instruments) -> Iterator[Decoded]:
    """Yield the events of Shanghai's order and trade files, stock by stock: a folder, or one file of a pair."""
    for symbol, day, rows, origin in shanghai.iter_days(path, list(instruments)):
        yield Decoded(shanghai.parse(rows, day, instruments[symbol], origin))


def read_lean_equity(path: Path, instruments: Instruments) -> Iterator[Decoded]:
    """Yield the regular hours of US shares' ticks: a folder with ``tick`` below it, or one zip of a day.

    Prices come out in 1/10,000 of a dollar, as the files have them.
    """
    folder = path if path.is_dir() else path.parent.parent.parent
    for (symbol, day), kinds in sorted(lean.find_days([folder]).items()):
        only = path.is_dir() or (path.parent.name, path.name[:8]) == (symbol, f"{day:%Y%m%d}")
        if symbol.upper() not in instruments or "trade" not in kinds or not only:
            continue
        raw = lean.read_raw([folder], symbol, day, quotes="quote" in kinds)
        session = Calendar("XNYS", "America/New_York").session(day)
        number = instruments[symbol.upper()].instrument_id
        yield Decoded(lean.parse(raw, day, session, number, f"{folder} {symbol} {day}"))


_read_lenient: Final = partial(read_fix_log, strict=False, numbered=False)

FORMATS: Final[Mapping[str, Format]] = {
    "lobster": Format(read_lobster, r"_message_\d+\.csv(\.gz)?$", False),
    "itch50": Format(read_itch_file, r"(ITCH_?50|-v50(\.txt)?)(\.gz)?$", False),
    "itch50_pcap": Format(read_itch_capture, r"\.pcap(\.gz)?$", True),
    "fix": Format(read_fix_log, r"\.(fix\.log|fix|dat)(\.gz)?$", True),
    "fix_lenient": Format(_read_lenient, r"\.(fix\.log|fix|dat)(\.gz)?$", True),
    "databento": Format(databento.read_dbn, r"\.dbn(\.zst)?$", True),
    "tardis": Format(
        tardis.read_tardis, r"(incremental_book_L2|book_snapshot_\d+|trades|quotes)_[^/]*\.csv(\.gz)?$", True
    ),
    "shanghai": Format(read_shanghai, r"(_entrust|_trade|_SHorders|_SHtrans)\.csv(\.gz)?$", False),
    "shanghai_snapshots": Format(session_tables.read_sse_snapshots, r"snapshot[^/]*\.csv(\.gz)?$", False),
    "b3": Format(session_tables.read_b3, r"[A-Z0-9]+_\d{8}\.csv(\.gz)?$", True),
    "lean_equity": Format(read_lean_equity, r"equity.*/tick/[a-z.]+/\d{8}_(quote|trade)\.zip$", False),
    "lean": Format(lean_archives.read_lean, r"/(tick|second|minute)/[^/]+/\d{8}_(quote|trade)\.zip$", False),
}
"""File formats by name; where two claim a name the first does."""


PROTOCOLS: Final[Mapping[str, Callable[[Instruments, str], FrameCodec]]] = {
    "fix": lambda instruments, policy: FixCodec(instruments, policy),
    "itch50_moldudp64": lambda instruments, policy: ItchCodec(instruments, MOLDUDP64, None, policy),
    "itch50_soupbintcp": lambda instruments, policy: ItchCodec(instruments, SOUPBINTCP, None, policy),
}
"""Codecs of live streams that are no WebSocket (those are in ``catalog.VENUES``), built from instruments and a policy."""


def format_of(path: Path) -> str:
    """Return the first format that claims a file's name.

    Raises
    ------
    SourceError
        If none does.
    """
    for name, form in FORMATS.items():
        if form.claims(path):
            return name
    raise SourceError(path, f"no format has files of this name; there are {', '.join(FORMATS)}")

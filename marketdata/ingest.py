"""Ingest: recordings of any layout become decoded inputs of a ``recorded`` data root, each once, whatever interrupts the work.

The work is cut at the input (a capture file, an archive's file): one that is decoded lies below ``recordings/`` and is passed
over the next time. Inputs of one stream are decoded in the order of time with the venue's sequence state and the books carried
over, so that a recording that is cut into files, or runs over midnight, has no hole at the cuts. ``raw_ticks`` and ``events``
partitions are then made of them by write, audit, publish, at once by ``flowsense ingest`` or by any night.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np

from marketdata.archive_formats import ARCHIVE_LAYOUTS, ArchiveLayout, FormatLayout
from marketdata.archives import FRAME_LAYOUTS, FrameLayout, RecordingInput, UnknownRecording, files_below
from marketdata.clock import NS_PER_S
from marketdata.codecs.catalog import build_codec, infer_grid
from marketdata.codecs.decimals import inferred_instrument
from marketdata.frames import QUARANTINE, Decoded, FrameBatch, Rejected
from marketdata.instruments import Instrument, instrument_name
from marketdata.paths import DataRoot
from marketdata.recording_manifest import (
    MANIFEST,
    ClockFacts,
    RecordingManifest,
    RejectedFrame,
    clock_facts,
    load_manifest,
)
from marketdata.recording_store import ID_LENGTH, RecordingWriter, read_state
from marketdata.settings import Settings

Progress = Callable[[str, int, int], None]
LAYOUTS: Final[Mapping[str, FrameLayout | ArchiveLayout]] = {**FRAME_LAYOUTS, **ARCHIVE_LAYOUTS}
"""Every layout by name, in the order in which they are asked whether a file is theirs."""

GRID_FRAMES: Final = 200_000
"""Frames that the grid of a new instrument is found from."""
MAX_HOLE_NS: Final = 60 * NS_PER_S
"""Pieces of one stream further apart than this are not taken for one recording."""


@dataclass(frozen=True, slots=True)
class PlannedInput:
    """An input with the hashes of its files.

    Attributes
    ----------
    given : RecordingInput
    recording : str
        Name of its folder, from the hashes.
    files : tuple of dict
        ``path``, ``sha256`` and ``bytes`` of each file.
    is_done : bool
        Whether it was decoded before.
    """

    given: RecordingInput
    recording: str
    files: tuple[dict[str, Any], ...]
    is_done: bool

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return sum(int(file["bytes"]) for file in self.files)


@dataclass
class DecodedInputs:
    """What decoding inputs came to: manifests of all inputs asked for, and of those that are new."""

    manifests: list[RecordingManifest] = field(default_factory=list)
    new: list[RecordingManifest] = field(default_factory=list)


def find_inputs(paths: Sequence[Path], layout: str | None = None, venue: str | None = None) -> list[RecordingInput]:
    """Return the inputs among files and folders, in the order of their first frames.

    Parameters
    ----------
    layout : str, optional
        Name in :data:`LAYOUTS`; default: each file's own.
    venue : str, optional
        Whose frames they are, where a file does not say.

    Raises
    ------
    UnknownRecording
        For the first file that no layout knows, or that is broken.
    """
    if layout is not None and layout not in LAYOUTS:
        raise UnknownRecording(f"unknown format {layout!r}; there are {', '.join(LAYOUTS)}")
    files = files_below(paths)
    asked = {layout: LAYOUTS[layout]} if layout else LAYOUTS
    found: list[RecordingInput] = []
    left = list(files)
    for candidate in asked.values():
        if layout and isinstance(candidate, FormatLayout):
            inputs = candidate.find(left, venue, is_asked_for=True)
        else:
            inputs = candidate.find(left, venue)
        taken = {path for given in inputs for path in (*given.paths, *given.covers)}
        left = [path for path in left if path not in taken]
        found += inputs
    if left:
        known = f"no {layout} recording" if layout else "not a recording of a known format"
        raise UnknownRecording(f"{left[0]}: {known}; formats: {', '.join(LAYOUTS)} (see docs/ingest.md)")
    return sorted(found, key=lambda given: (given.start_ns, given.series, given.paths))


def plan(root: DataRoot, inputs: Sequence[RecordingInput], progress: Progress | None = None) -> list[PlannedInput]:
    """Return the inputs with the hashes of their files, and whether they were decoded before."""
    planned = []
    for k, given in enumerate(inputs):
        if progress is not None:
            progress("hash files", k, len(inputs))
        files = tuple(
            {"path": str(path), "sha256": _digest(path), "bytes": path.stat().st_size} for path in given.paths
        )
        text = "\n".join([given.layout, given.venue, *(str(file["sha256"]) for file in files)])
        name = hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]
        planned.append(PlannedInput(given, name, files, (root.recordings / name / MANIFEST).exists()))
    if progress is not None:
        progress("hash files", len(inputs), len(inputs))
    return planned


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def instruments_of(
    given: RecordingInput, stated: Mapping[str, Instrument] | None = None, symbols: Sequence[str] = ()
) -> dict[str, Instrument]:
    """Return an instrument for each symbol of an input, named as in a data root; ids are not set.

    Parameters
    ----------
    stated : mapping of str to Instrument, optional
        Instruments by the venue's symbol whose grid is known; others are put on the grid that their numbers show.
    symbols : sequence of str
        The only symbols that are wanted; needed where a file does not name its own.
    """
    if given.layout in ARCHIVE_LAYOUTS:
        found = ARCHIVE_LAYOUTS[given.layout].instruments(given, symbols)
    else:
        found = {}
        frames = 0
        for batch in FRAME_LAYOUTS[given.layout].batches(given):
            found = _finest(found, infer_grid(given.venue, batch))
            frames += len(batch)
            if frames >= GRID_FRAMES:
                break
    found = {symbol: (stated or {}).get(symbol, item) for symbol, item in found.items()}
    return {
        symbol: item.model_copy(update={"symbol": instrument_name(symbol, given.venue), "venue": given.venue})
        for symbol, item in found.items()
    }


def _finest(seen: dict[str, Instrument], more: Mapping[str, Instrument]) -> dict[str, Instrument]:
    merged = dict(seen)
    for symbol, item in more.items():
        there = merged.get(symbol)
        if there is None:
            merged[symbol] = item
        else:
            price, lot = min(there.price_decimals, item.price_decimals), min(there.lot_size, item.lot_size)
            merged[symbol] = inferred_instrument(symbol, 0, item.venue, price, lot)
    return merged


def decode_inputs(
    root: DataRoot,
    settings: Settings,
    planned: Sequence[PlannedInput],
    symbols: Mapping[str, Mapping[str, Instrument]],
    *,
    base_latency_ns: int,
    again: bool = False,
    progress: Progress | None = None,
) -> DecodedInputs:
    """Decode the inputs that are not done yet, and return the manifests of all.

    Parameters
    ----------
    symbols : mapping
        Venue → the venue's symbol → instrument of the root; frames of other symbols are counted and left out.
    base_latency_ns : int
        Declared least latency of the recorder (R4).
    again : bool
        Decode what is done, too; the same files give the same bytes.
    progress : callable, optional
        Called with a stage, kilobytes done and kilobytes in all.
    """
    result = DecodedInputs()
    total = sum(item.bytes for item in planned) // 1024 + 1
    done = 0
    by_series: dict[str, list[PlannedInput]] = {}
    for item in sorted(planned, key=lambda item: (item.given.series, item.given.start_ns, item.recording)):
        by_series.setdefault(item.given.series, []).append(item)
    for series in by_series.values():
        chain = _Chain(root, settings, symbols, base_latency_ns)
        for item in series:
            if item.is_done and not again:
                result.manifests.append(load_manifest(root.recordings / item.recording))
                chain.passed_over(item, result.manifests[-1])
            else:
                start = done

                def tell(share: float, start: int = start, size: int = item.bytes) -> None:
                    if progress is not None:
                        progress("decode (KB)", start + int(share * size / 1024), total)

                manifest = chain.decode(item, tell)
                result.manifests.append(manifest)
                result.new.append(manifest)
            done += item.bytes // 1024
            if progress is not None:
                progress("decode (KB)", done, total)
    if progress is not None:
        progress("decode (KB)", total, total)
    return result


class _Chain:
    """Decodes the inputs of one stream one after the other; sequence numbers and books are carried from one to the next."""

    def __init__(
        self,
        root: DataRoot,
        settings: Settings,
        symbols: Mapping[str, Mapping[str, Instrument]],
        base_latency_ns: int,
    ) -> None:
        self._root, self._settings, self._symbols = root, settings, symbols
        self._base_latency_ns = base_latency_ns
        self._codec: Any = None
        self._state: Any = None
        self._previous: RecordingManifest | None = None
        self._end_ns = 0
        self._skipped: list[PlannedInput] = []

    def passed_over(self, item: PlannedInput, manifest: RecordingManifest) -> None:
        """Note an input that was decoded before: a later one may have to go on from it."""
        if manifest.starts_known or not self._follows(item):
            self._skipped = []
        self._skipped.append(item)
        self._previous, self._state = manifest, None
        self._end_ns = _end(manifest)

    def _follows(self, item: PlannedInput) -> bool:
        if self._previous is None or item.given.layout in ARCHIVE_LAYOUTS:
            return False
        return item.given.start_ns - self._end_ns <= MAX_HOLE_NS

    def decode(self, item: PlannedInput, tell: Callable[[float], None]) -> RecordingManifest:
        """Decode one input and make it visible."""
        given = item.given
        by_symbol = self._symbols.get(given.venue, {})
        follows = self._follows(item)
        if follows and self._state is None and self._skipped:
            self._replay()
        before = {}
        if follows and self._previous is not None:
            names = [instrument.symbol for instrument in by_symbol.values()]
            before = {name: read_state(self._root, self._previous.recording, name) for name in names}
        else:
            self._state = None
        writer = RecordingWriter(self._root, item.recording, self._settings.market_calendar(), before)
        try:
            manifest = self._write(item, writer, by_symbol, follows, tell)
        except BaseException:
            writer.discard()
            raise
        self._previous, self._end_ns, self._skipped = manifest, _end(manifest), []
        return manifest

    def _write(
        self,
        item: PlannedInput,
        writer: RecordingWriter,
        by_symbol: Mapping[str, Instrument],
        follows: bool,
        tell: Callable[[float], None],
    ) -> RecordingManifest:
        given = item.given
        frames = 0
        ignored: dict[str, int] = {}
        names = {instrument.instrument_id: instrument.symbol for instrument in by_symbol.values()}
        for batch, decoded in self._decoded(given, by_symbol):
            frames += len(decoded.events) if batch is None else len(batch)
            for kind, count in decoded.ignored.items():
                ignored[kind] = ignored.get(kind, 0) + count
            writer.reject([_rejected(given, batch, rejected) for rejected in decoded.rejected])
            for number in np.unique(decoded.events["instrument_id"]):
                rows = decoded.events[decoded.events["instrument_id"] == number]
                if not given.has_receive_time:
                    rows["ts_recv"] = rows["ts_event"]
                writer.add(names[int(number)], rows)
            tell(min(1.0, _share(given, frames)))
        writer.close_parts()
        if given.has_receive_time:
            clock = clock_facts(*writer.clock_rows(), self._base_latency_ns)
        else:
            clock = ClockFacts(has_receive_time=False)
        parts = writer.parts(clock)
        firsts = [facts.first_ts_recv for sessions in parts.values() for facts in sessions.values()]
        manifest = RecordingManifest(
            recording=item.recording,
            layout=given.layout,
            venue=given.venue,
            series=given.series,
            files=item.files,
            start_ns=given.start_ns or min(firsts, default=0),
            continues=self._previous.recording if follows and self._previous is not None else None,
            starts_known=writer.starts_known and not follows,
            parts=parts,
            frames=frames,
            ignored=dict(sorted(ignored.items())),
            rejected=writer.rejected,
            outside_sessions=writer.outside,
            clock=clock,
        )
        writer.finish(manifest)
        return manifest

    def _decoded(
        self, given: RecordingInput, by_symbol: Mapping[str, Instrument]
    ) -> Iterator[tuple[FrameBatch | None, Decoded]]:
        """Yield what an input means, with the frames that say so where it holds frames."""
        if given.layout in ARCHIVE_LAYOUTS:
            for decoded in ARCHIVE_LAYOUTS[given.layout].decoded(given, by_symbol):
                yield None, decoded
            return
        if self._state is None:
            self._codec = build_codec(given.venue, by_symbol, QUARANTINE)
            self._state = self._codec.init()
        for batch in FRAME_LAYOUTS[given.layout].batches(given):
            self._state, decoded = self._codec.step(self._state, batch)
            yield batch, decoded

    def _replay(self) -> None:
        """Bring the codec's state to the end of the inputs that were decoded before."""
        for item in self._skipped:
            for _ in self._decoded(item.given, self._symbols.get(item.given.venue, {})):
                pass
        self._skipped = []


def _rejected(given: RecordingInput, batch: FrameBatch | None, rejected: Rejected) -> RejectedFrame:
    if batch is None:
        return RejectedFrame(0, given.name, rejected.offset, f"frame {rejected.frame}: {rejected.reason}", b"")
    k = rejected.frame
    stream = batch.streams[int(batch.stream[k])]
    return RejectedFrame(int(batch.ts_recv[k]), stream, rejected.offset, rejected.reason, batch.frame(k))


def _end(manifest: RecordingManifest) -> int:
    ends = [facts.last_ts_recv for sessions in manifest.parts.values() for facts in sessions.values()]
    return max(ends, default=manifest.start_ns)


def _share(given: RecordingInput, frames: int) -> float:
    """Return about how much of an input was read after so many frames: a compressed frame takes some 40 bytes."""
    return frames * 40 / max(sum(os.path.getsize(path) for path in given.paths), 1)


def spanned(manifests: Sequence[RecordingManifest]) -> list[tuple[date, str]]:
    """Return every session and instrument that decoded inputs have rows of, sorted."""
    found = {
        (date.fromisoformat(day), symbol)
        for manifest in manifests
        for symbol, sessions in manifest.parts.items()
        for day in sessions
    }
    return sorted(found)

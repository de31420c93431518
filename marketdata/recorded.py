"""The source of a ``recorded`` data root: the decoded inputs of its ``recordings/``, put together by instrument and session.

``raw_ticks`` of a session are the rows as they were decoded: the venue's own numbers, receive times as the recorder read them,
and beside each the correction of the recorder's clock. ``events`` are made of them by a pure function:

- receive times are corrected (R4), or modelled where there are none; never before the exchange time, never backwards;
- exchange times never run backwards: a row of a slower stream gets the latest one seen, flagged ``F_TS_CARRIED``;
- ``sequence`` numbers the event groups of the session from 0.

Between recordings with a hole the book is unknown (CLEAR); recordings that overlap are used one after the other, and what the
later one says about the time of the earlier one is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

import numpy as np
import polars as pl

from marketdata.book_state import compacted
from marketdata.clock import Session
from marketdata.codecs.tables import SourceError
from marketdata.events import (
    ADD,
    CLEAR,
    CLOCK_MODELLED,
    CLOCK_OFFSET_CORRECTED,
    EXECUTE,
    F_LAST,
    F_TS_CARRIED,
    HIDDEN,
    LEVEL,
    QUOTE,
    TRADE,
    EventArray,
    empty_events,
    events_from_frame,
    events_to_frame,
)
from marketdata.instruments import BookKind, Instrument
from marketdata.partitions import CheckResult
from marketdata.paths import DataRoot
from marketdata.receive_clock import apply_receive_clock
from marketdata.recording_manifest import PartFacts, RecordingManifest, load_manifests
from marketdata.recording_store import read_rows, read_state
from marketdata.settings import LatencySettings, Settings
from marketdata.validation import RECORDED_COLUMNS, flag_crossed

MAX_REJECTED: Final = 0.01
"""Share of a session's frames that may be unreadable before its partition is refused."""
FRAMES_CHECK: Final = "recorded_frames_can_be_read"


@dataclass(frozen=True, slots=True)
class Piece:
    """What one decoded input has of an instrument's session."""

    manifest: RecordingManifest
    facts: PartFacts

    @property
    def start_ns(self) -> int:
        """Corrected receive time of the first row."""
        return self._corrected(self.facts.first_ts_recv)

    @property
    def end_ns(self) -> int:
        """Corrected receive time of the last row."""
        return self._corrected(self.facts.last_ts_recv)

    def _corrected(self, ts_recv: int) -> int:
        times = np.array([ts_recv])
        return int((times - self.manifest.clock.offsets(times))[0])


def pieces(manifests: Sequence[RecordingManifest], day: date, symbol: str) -> list[Piece]:
    """Return the pieces of a session and instrument in order of time."""
    found = [
        Piece(manifest, manifest.parts[symbol][day.isoformat()])
        for manifest in manifests
        if day.isoformat() in manifest.parts.get(symbol, {})
    ]
    return sorted(found, key=lambda piece: (piece.start_ns, piece.manifest.recording))


@dataclass(frozen=True, slots=True)
class Assembled:
    """Raw rows of a session with what happened when they were put together.

    Attributes
    ----------
    frame : pl.DataFrame
        :data:`RECORDED_COLUMNS`.
    overlapping : int
        Rows left out because an earlier recording tells of their time.
    holes : int
        Places where one recording ends and another begins without a link.
    """

    frame: pl.DataFrame
    overlapping: int
    holes: int


def assemble(root: DataRoot, found: Sequence[Piece], day: date, symbol: str) -> Assembled:
    """Return the rows of a session out of its pieces."""
    rows: list[EventArray] = []
    offsets: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    overlapping = holes = 0
    previous: RecordingManifest | None = None
    end_ns = -(2**63)
    for piece in found:
        manifest = piece.manifest
        part = read_rows(root, manifest.recording, symbol, day)
        follows = previous is not None and manifest.continues == previous.recording
        if not manifest.clock.has_receive_time:
            part["clock_quality"] = CLOCK_MODELLED
            part["ts_recv"] = np.maximum.accumulate(part["ts_event"])
        if not follows:
            state = read_state(root, manifest.recording, symbol, day)
            times = part["ts_recv"] - manifest.clock.offsets(part["ts_recv"])
            cut = _group_end(part, int(np.searchsorted(times, end_ns, "right")))
            overlapping += cut
            if cut:
                state, part = compacted(state, part[:cut]), part[cut:]
            if not len(part):
                continue
            if rows:
                holes += 1
                if not len(state) and part["action"][0] != CLEAR:
                    state = empty_events(1)
                    state["action"], state["flags"], state["ts_event"] = CLEAR, F_LAST, part["ts_event"][0]
            if len(state):
                for name in ("ts_recv", "instrument_id", "clock_quality", "sequence"):
                    state[name] = part[name][0]
                part = np.concatenate([state, part])
        rows.append(part)
        offsets.append(manifest.clock.offsets(part["ts_recv"]))
        previous, end_ns = manifest, max(end_ns, piece.end_ns)
    joined = np.concatenate(rows) if rows else empty_events(0)
    offset = np.concatenate(offsets) if offsets else np.zeros(0, np.int64)
    frame = events_to_frame(joined).with_columns(pl.Series("offset_ns", offset, pl.Int64))
    return Assembled(frame, overlapping, holes)


def _group_end(events: EventArray, cut: int) -> int:
    """Return the first row at or after ``cut`` that begins a group."""
    while 0 < cut < len(events) and not events["flags"][cut - 1] & F_LAST:
        cut += 1
    return cut


def recorded_events(raw: pl.DataFrame, session: Session, latency: LatencySettings, origin: str) -> EventArray:
    """Return raw rows of a session as events; see the module.

    Raises
    ------
    SourceError
        If a column is missing or holds a null.
    """
    for name in RECORDED_COLUMNS:
        if name not in raw.columns:
            raise SourceError(origin, "the column is missing", field=name)
    try:
        events = events_from_frame(raw)
    except ValueError as error:
        raise SourceError(origin, str(error)) from error
    if not len(events):
        return events
    events["flags"][-1] |= F_LAST
    ends = np.zeros(len(events), np.int64)
    ends[1:] = (events["flags"][:-1] & F_LAST) > 0
    events["sequence"] = np.cumsum(ends)
    own = events["ts_event"].copy()
    events["ts_event"] = np.maximum.accumulate(np.maximum(own, session.open_ns))
    events["flags"][events["ts_event"] != own] |= F_TS_CARRIED
    modelled = events["clock_quality"] == CLOCK_MODELLED
    offset = raw["offset_ns"].to_numpy()
    received = np.maximum(events["ts_recv"] - offset, events["ts_event"])
    if modelled.any():
        made = apply_receive_clock(events.copy(), latency, session.date)
        received = np.where(modelled, made["ts_recv"], received)
    events["ts_recv"] = np.maximum.accumulate(received)
    events["clock_quality"][(offset != 0) & ~modelled] = CLOCK_OFFSET_CORRECTED
    return events


@lru_cache(maxsize=4)
def _manifests(root: DataRoot, changed_ns: int) -> tuple[RecordingManifest, ...]:
    del changed_ns  # part of the key: the folder's time of change
    return tuple(load_manifests(root))


@dataclass(frozen=True)
class RecordedSource:
    """Decoded recordings of a root; no slow data."""

    settings: Settings
    root: DataRoot
    slow_kinds: tuple[str, ...] = ()

    @property
    def manifests(self) -> tuple[RecordingManifest, ...]:
        """Manifests of all decoded inputs, read again whenever one came or went."""
        folder = self.root.recordings
        return _manifests(self.root, folder.stat().st_mtime_ns) if folder.exists() else ()

    def sessions(self) -> list[Session]:
        """Return the sessions of the root of which any instrument is recorded."""
        days = {day for manifest in self.manifests for parts in manifest.parts.values() for day in parts}
        grid = self.settings.market_calendar().first_sessions(self.settings.start_date, self.settings.sessions)
        return [session for session in grid if session.date.isoformat() in days]

    def raw_ticks(self, day: date, symbol: str) -> pl.DataFrame:
        """Return the rows as decoded, with the correction of the clock."""
        return self.assembled(day, symbol).frame

    def assembled(self, day: date, symbol: str) -> Assembled:
        """Return the rows of a session with what happened when they were put together; SourceError if there are none."""
        self.settings.instrument(symbol)
        found = pieces(self.manifests, day, symbol)
        if not found:
            raise SourceError(f"recorded {symbol} {day}", "no recording has this instrument's session; ingest one")
        return assemble(self.root, found, day, symbol)

    def events(self, raw: pl.DataFrame, day: date, symbol: str) -> EventArray:
        """Return raw rows as events: clocks corrected, groups numbered; pure."""
        session = self.settings.market_calendar().session(day)
        events = recorded_events(raw, session, self.settings.latency, f"recorded {symbol} {day}")
        if self.settings.instrument(symbol).book_kind in (BookKind.NBBO, BookKind.DEALER):
            flag_crossed(events)
        return events

    def traded_lots(self, raw: pl.DataFrame, day: date, symbol: str) -> int:
        """Return the executed lots."""
        return int(raw.filter(pl.col("action").is_in([EXECUTE, HIDDEN, TRADE]))["size_lots"].sum())

    def slow_raw(self, kind: str, day: date) -> pl.DataFrame:
        """Raise: there is none."""
        raise SourceError("source recorded", f"it has no {kind} data")

    def findings(self, day: date, symbol: str) -> tuple[list[CheckResult], dict[str, object]]:
        """Return what the recordings themselves say against a session, and what its manifest should tell of them."""
        found = pieces(self.manifests, day, symbol)
        if not found:
            return [], {}
        rejected = sum(piece.facts.rejected for piece in found)
        rows = sum(piece.facts.rows for piece in found)
        share = rejected / max(rows + rejected, 1)
        detail = f"{rejected} frame(s) of the recordings cannot be read" if rejected else ""
        check = CheckResult(FRAMES_CHECK, share <= MAX_REJECTED, True, detail, rejected)
        facts: dict[str, object] = {
            "recordings": [
                {
                    "recording": piece.manifest.recording,
                    "files": [str(file["path"]) for file in piece.manifest.files],
                    "clock": {
                        "offset_ns": piece.manifest.clock.offset_ns,
                        "drift_ppm": piece.manifest.clock.drift_ppm,
                        "base_latency_ns": piece.manifest.clock.base_latency_ns,
                        "raw_least_ns": piece.manifest.clock.raw_least_ns,
                        "raw_median_ns": piece.manifest.clock.raw_median_ns,
                        "is_applied": piece.manifest.clock.is_applied,
                        "has_receive_time": piece.manifest.clock.has_receive_time,
                    },
                }
                for piece in found
            ]
        }
        return [check], facts


def first_price(root: DataRoot, manifests: Sequence[RecordingManifest], instrument: Instrument) -> float | None:
    """Return about what an instrument costs at its first recording, in its quote currency; None where nothing has a price."""
    for manifest in manifests:
        for day in sorted(manifest.parts.get(instrument.symbol, {})):
            rows = read_rows(root, manifest.recording, instrument.symbol, date.fromisoformat(day))
            has_price = (rows["price_units"] > 0) & np.isin(rows["action"], (EXECUTE, HIDDEN, TRADE, LEVEL, QUOTE, ADD))
            priced = rows["price_units"][has_price]
            if len(priced):
                return float(np.median(priced[:1_001])) * instrument.price_decimals
    return None

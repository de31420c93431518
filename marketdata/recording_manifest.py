"""What is known about a decoded recording: its files, parts, clock, gaps and refused frames, as its manifest keeps it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marketdata.clock import NS_PER_MS
from marketdata.clock_offset import ClockOffset, estimate_offset
from marketdata.paths import DataRoot

MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class RejectedFrame:
    """A frame or row that could not be read: when it came, by which stream, at which byte it is wrong, why, and its bytes."""

    ts_recv: int
    stream: str
    offset: int
    reason: str
    payload: bytes


@dataclass(slots=True)
class PartFacts:
    """What one input has of one instrument's session.

    Attributes
    ----------
    rows, trades : int
    first_ts_recv, last_ts_recv : int
        As recorded; exchange times where there is no receive time.
    out_of_order : int
        Rows whose exchange time lies before an earlier row's.
    duplicates : int
        Trades whose number was seen before.
    gaps : int
        Times that the book was lost.
    rejected : int
        Frames of the input, of any instrument, that could not be read in that session's time.
    """

    rows: int = 0
    trades: int = 0
    first_ts_recv: int = 0
    last_ts_recv: int = 0
    out_of_order: int = 0
    duplicates: int = 0
    gaps: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """How an input's receive times relate to the exchange's, and what is done about it.

    Attributes
    ----------
    offset_ns, drift_ppm, reference_ns, base_latency_ns, rows
        As :class:`~marketdata.clock_offset.ClockOffset`: our clock minus the exchange's.
    raw_least_ns, raw_median_ns : int
        Least and median of receive minus exchange time, as recorded.
    is_applied : bool
        Whether receive times are corrected; a clock whose least latency is believable is left as it was.
    has_receive_time : bool
        Without one, receive times come from the root's latency model.
    """

    offset_ns: int = 0
    drift_ppm: float = 0.0
    reference_ns: int = 0
    base_latency_ns: int = 0
    rows: int = 0
    raw_least_ns: int = 0
    raw_median_ns: int = 0
    is_applied: bool = False
    has_receive_time: bool = True

    def offsets(self, ts_recv: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return what is taken off each receive time, int64 ns."""
        if not self.is_applied:
            return np.zeros(len(ts_recv), np.int64)
        line = ClockOffset(self.offset_ns, self.drift_ppm, self.reference_ns, self.base_latency_ns, self.rows)
        return line.at(ts_recv)


BELIEVABLE_NS: Final = 100 * NS_PER_MS
"""A clock whose fastest message took between nothing and so long is taken for right."""


def clock_facts(ts_event: npt.NDArray[np.int64], ts_recv: npt.NDArray[np.int64], base_latency_ns: int) -> ClockFacts:
    """Return what an input's times say about the recorder's clock (R4)."""
    if not len(ts_event):
        return ClockFacts(base_latency_ns=base_latency_ns)
    delay = ts_recv - ts_event
    least, median = int(delay.min()), int(np.median(delay))
    found = estimate_offset(ts_event, ts_recv, base_latency_ns)
    applied = not 0 <= least <= BELIEVABLE_NS
    return ClockFacts(
        found.offset_ns,
        float(found.drift_ppm),
        found.reference_ns,
        found.base_latency_ns,
        found.rows,
        least,
        median,
        applied,
    )


@dataclass(frozen=True, slots=True)
class RecordingManifest:
    """One decoded input.

    Attributes
    ----------
    recording : str
        Name of its folder: the beginning of the hash over its files' hashes.
    layout, venue, series : str
        What kind of file it is, whose frames, and which stream of inputs it belongs to.
    files : tuple of dict
        ``path``, ``sha256`` and ``bytes`` of each file.
    start_ns : int
        Receive time of its first frame; inputs of a series are in this order.
    continues : str or None
        The recording whose end state (sequence numbers and books) it was decoded from.
    starts_known : bool
        Whether every book that it tells of was rebuilt from a snapshot of its own.
    parts : dict
        Instrument → session (ISO date) → :class:`PartFacts`.
    frames : int
    ignored : dict
        Frames that rightly carry no event, by kind.
    rejected : int
    outside_sessions : int
        Rows when the market was closed: they move the book and are not published.
    clock : ClockFacts
    """

    recording: str
    layout: str
    venue: str
    series: str
    files: tuple[dict[str, Any], ...]
    start_ns: int
    continues: str | None
    starts_known: bool
    parts: dict[str, dict[str, PartFacts]]
    frames: int
    ignored: dict[str, int]
    rejected: int
    outside_sessions: int
    clock: ClockFacts


def load_manifest(folder: Path) -> RecordingManifest:
    """Return the manifest of a decoded input."""
    values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    values["clock"] = ClockFacts(**values["clock"])
    values["files"] = tuple(values["files"])
    values["parts"] = {
        symbol: {day: PartFacts(**facts) for day, facts in sessions.items()}
        for symbol, sessions in values["parts"].items()
    }
    return RecordingManifest(**values)


def load_manifests(root: DataRoot) -> list[RecordingManifest]:
    """Return the manifests of all decoded inputs of a root, in order of their first frame."""
    found = [load_manifest(path.parent) for path in root.recordings.glob(f"[!.]*/{MANIFEST}")]
    return sorted(found, key=lambda manifest: (manifest.start_ns, manifest.recording))

"""What a person wants to know of ingested sessions at a glance: a row of facts a partition, from store and recordings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from marketdata.clock import NS_PER_MS, Session
from marketdata.events import CLEAR, EVENT_SCHEMA, EXECUTE, F_LAST, F_SNAPSHOT, HIDDEN, TRADE, events_from_frame
from marketdata.partitions import DATA_FILE, PartitionMissing, read_manifest, read_quarantined
from marketdata.paths import DataRoot, PartitionKey
from marketdata.recorded import Piece, RecordedSource, pieces
from marketdata.validation import walk_book

PUBLISHED, QUARANTINED, MISSING = "published", "quarantined", "missing"


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """The quality of one session and instrument.

    Attributes
    ----------
    status : str
        Of its events: published, quarantined, or missing.
    reason : str
        Why it was refused; empty where it was not.
    rows, groups, trades : int
        Events, event groups, executions.
    gaps : int
        Times that the book was lost in mid-session: holes in the venue's numbering or between recordings.
    crossed, locked : float
        Share of the recorded time that the book was crossed (bid above ask) or locked (equal) at the end of a group; NaN where no
        time passed.
    out_of_order : int
        Rows whose exchange time lay before an earlier row's; their time was carried.
    duplicates : int
        Trades told twice, and rows of overlapping recordings that were left out.
    rejected : int
        Frames of its recordings that could not be read in that session.
    offset_ms : float
        What was taken off receive times, mean in ms; NaN where they are modelled.
    coverage : float
        Share of the session that was recorded.
    """

    day: date
    symbol: str
    status: str
    reason: str = ""
    rows: int = 0
    groups: int = 0
    trades: int = 0
    gaps: int = 0
    crossed: float = float("nan")
    locked: float = float("nan")
    out_of_order: int = 0
    duplicates: int = 0
    rejected: int = 0
    offset_ms: float = float("nan")
    coverage: float = 0.0


def partition_facts(root: DataRoot, source: RecordedSource, session: Session, symbol: str) -> PartitionFacts:
    """Return the quality of a recorded session and instrument, refused ones included."""
    found = pieces(source.manifests, session.date, symbol)
    status, reason, frame = _events(root, session.date, symbol)
    if frame is None:
        return PartitionFacts(session.date, symbol, status, reason, coverage=coverage(found, session))
    events = events_from_frame(frame)
    crossed, locked = _shares(frame)
    offsets = [p.manifest.clock.offsets(np.array([p.facts.first_ts_recv]))[0] for p in found]
    has_clock = [p.manifest.clock.has_receive_time for p in found]
    return PartitionFacts(
        session.date,
        symbol,
        status,
        reason,
        rows=len(events),
        groups=int(np.count_nonzero(events["flags"] & F_LAST)),
        trades=int(np.isin(events["action"], (EXECUTE, HIDDEN, TRADE)).sum()),
        gaps=int(np.count_nonzero((events["action"] == CLEAR) & (events["flags"] & F_SNAPSHOT == 0))),
        crossed=crossed,
        locked=locked,
        out_of_order=sum(p.facts.out_of_order for p in found),
        duplicates=sum(p.facts.duplicates for p in found) + source.assembled(session.date, symbol).overlapping,
        rejected=sum(p.facts.rejected for p in found),
        offset_ms=float(np.mean(offsets)) / NS_PER_MS if offsets and all(has_clock) else float("nan"),
        coverage=coverage(found, session),
    )


def _events(root: DataRoot, day: date, symbol: str) -> tuple[str, str, pl.DataFrame | None]:
    """Return the status of a session's events, why they or their raw ticks were refused, and their rows if there are any."""
    for asset in ("raw_ticks", "events"):
        key = PartitionKey(asset, day, symbol)
        try:
            manifest = read_quarantined(root, key)
        except PartitionMissing:
            continue
        reason = "; ".join(f"{c.name}: {c.detail}" if c.detail else c.name for c in manifest.failures)
        data = root.quarantine(key) / DATA_FILE
        return QUARANTINED, reason, pl.read_parquet(data, columns=list(EVENT_SCHEMA))
    key = PartitionKey("events", day, symbol)
    try:
        read_manifest(root, key)
    except LookupError:
        return MISSING, "", None
    return PUBLISHED, "", pl.read_parquet(root.published(key) / DATA_FILE)


def _shares(frame: pl.DataFrame) -> tuple[float, float]:
    """Return the shares of the time between the first and the last group that the book is crossed and locked."""
    events = events_from_frame(frame)
    codes, _ = walk_book(events)
    ends = np.flatnonzero(events["flags"] & F_LAST)
    if len(ends) < 2:
        return float("nan"), float("nan")
    lasting = np.diff(events["ts_event"][ends])
    total = lasting.sum()
    if total <= 0:
        return float("nan"), float("nan")
    state = codes[ends][:-1]
    return float(lasting[state == 2].sum() / total), float(lasting[state == 1].sum() / total)


def coverage(found: Sequence[Piece], session: Session) -> float:
    """Return the share of a session between the first and the last row of any of its recordings, overlaps counted once."""
    covered, reached = 0, session.open_ns
    for piece in sorted(found, key=lambda piece: piece.start_ns):
        start, end = max(piece.start_ns, reached), min(piece.end_ns, session.close_ns)
        covered += max(end - start, 0)
        reached = max(reached, end)
    return covered / max(session.close_ns - session.open_ns, 1)

"""Decoded recordings of a ``recorded`` root: for each input, its rows by instrument and session, and what is known about them.

An input (a capture file, an archive's file) becomes one folder below ``recordings/``, named after the hash of its bytes::

    manifest.json                     files, hashes, clock, gaps, counts: see RecordingManifest
    <instrument>/<session>.parquet    events as decoded: the venue's sequence numbers, receive times as recorded
    <instrument>/<session>.state.parquet   the book before the first of these rows, where it was known
    <instrument>/state.parquet        the book behind the last row of all
    rejected.parquet                  frames that could not be read, byte for byte, with reason

The folder is written under a temporary name and renamed when it is whole; that it is there means that the input is done.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from marketdata.book_state import compacted
from marketdata.clock import NS_PER_DAY, Calendar, Session, from_ns
from marketdata.events import (
    CLEAR,
    EVENT_SCHEMA,
    F_LAST,
    F_SNAPSHOT,
    F_TS_CARRIED,
    TRADE,
    EventArray,
    empty_events,
    events_from_frame,
    events_to_frame,
)
from marketdata.parquet import write_options, write_parquet
from marketdata.paths import DataRoot
from marketdata.recording_manifest import MANIFEST, ClockFacts, PartFacts, RecordingManifest, RejectedFrame

REJECTED: Final = "rejected.parquet"
STATE_ROWS: Final = 2_000_000
"""Rows since the last known book from which it is made anew."""
ID_LENGTH: Final = 20


@dataclass(slots=True)
class _Instrument:
    """An instrument while its input is decoded."""

    state: EventArray = field(default_factory=lambda: empty_events(0))
    waiting: list[EventArray] = field(default_factory=list)
    waiting_rows: int = 0
    clock_ns: int = -(2**63)
    last_trade: int = -1
    cleared_first: bool | None = None
    session: date | None = None
    writer: pq.ParquetWriter | None = None
    parts: dict[date, PartFacts] = field(default_factory=dict)

    def now(self) -> EventArray:
        """Return the rows that rebuild the book as it stands."""
        if self.waiting:
            self.state = compacted(self.state, np.concatenate(self.waiting))
            self.waiting, self.waiting_rows = [], 0
        return self.state


class RecordingWriter:
    """Writes one decoded input; :meth:`finish` makes it visible, leaving it otherwise removes what was written.

    Parameters
    ----------
    before : mapping of str to event array
        The books that the input begins with, by instrument: the end state of the one it continues.
    """

    def __init__(
        self, root: DataRoot, recording: str, calendar: Calendar, before: Mapping[str, EventArray] | None = None
    ) -> None:
        self._folder = root.recordings / recording
        self._staging = root.recordings / f".{recording}.{os.getpid()}.tmp"
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir(parents=True)
        self._sessions = _Sessions(calendar)
        self._before = dict(before or {})
        self._instruments: dict[str, _Instrument] = {}
        self._rejected: list[RejectedFrame] = []
        self.outside = 0

    def add(self, symbol: str, events: EventArray) -> None:
        """Take decoded events of one instrument, whole groups, in the order of their coming."""
        if not len(events):
            return
        place = self._instruments.get(symbol)
        if place is None:
            place = self._instruments[symbol] = _Instrument(state=self._before.get(symbol, empty_events(0)))
        if place.cleared_first is None:
            booked = np.flatnonzero(events["action"] != TRADE)
            if len(booked):
                place.cleared_first = bool(events["action"][booked[0]] == CLEAR)
        clock = np.maximum.accumulate(np.maximum(events["ts_event"], place.clock_ns))
        late = events["ts_event"] < np.concatenate([[place.clock_ns], clock[:-1]])
        place.clock_ns = int(clock[-1])
        ends = np.flatnonzero((events["flags"] & F_LAST) > 0)
        group = np.searchsorted(ends, np.arange(len(events)))
        closing = np.append(ends, len(events) - 1)[group]
        number = self._sessions.number(clock[closing])
        cuts = np.flatnonzero(np.diff(number)) + 1
        for first, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
            self._add_part(symbol, place, events[first:end], late[first:end], int(number[first]))

    def _add_part(
        self, symbol: str, place: _Instrument, events: EventArray, late: npt.NDArray[np.bool_], number: int
    ) -> None:
        session = self._sessions.at(number)
        if session is None:
            self.outside += len(events)
        else:
            if session != place.session:
                self._begin_part(symbol, place, session)
            assert place.writer is not None
            place.writer.write_table(events_to_frame(events).to_arrow(compat_level=pl.CompatLevel.oldest()))
            facts = place.parts[session]
            facts.first_ts_recv = facts.first_ts_recv or int(events["ts_recv"][0])
            facts.last_ts_recv = max(facts.last_ts_recv, int(events["ts_recv"][-1]))
            facts.rows += len(events)
            facts.out_of_order += int(np.count_nonzero(late))
            trades = events["sequence"][events["action"] == TRADE]
            facts.trades += len(trades)
            if len(trades):
                seen = np.maximum.accumulate(np.concatenate([[place.last_trade], trades[:-1]]))
                facts.duplicates += int(np.count_nonzero(trades <= seen))
                place.last_trade = max(place.last_trade, int(trades.max()))
            facts.gaps += int(np.count_nonzero((events["action"] == CLEAR) & (events["flags"] & F_SNAPSHOT == 0)))
        place.waiting.append(events)
        place.waiting_rows += len(events)
        if place.waiting_rows >= STATE_ROWS:
            place.now()

    def _begin_part(self, symbol: str, place: _Instrument, session: date) -> None:
        if place.writer is not None:
            place.writer.close()
        folder = self._staging / symbol
        folder.mkdir(exist_ok=True)
        state = place.now()
        if len(state):
            write_parquet(events_to_frame(state), folder / f"{session.isoformat()}.state.parquet")
        schema = events_to_frame(empty_events(0)).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        place.writer = pq.ParquetWriter(
            folder / f"{session.isoformat()}.parquet", schema, **write_options(pl.Schema(EVENT_SCHEMA))
        )
        place.session = session
        place.parts[session] = PartFacts()

    def reject(self, frames: Sequence[RejectedFrame]) -> None:
        """Keep frames that could not be read."""
        self._rejected += frames

    @property
    def starts_known(self) -> bool:
        """Whether every book that was told of began with a snapshot."""
        return all(place.cleared_first is not False for place in self._instruments.values())

    def close_parts(self) -> None:
        """Close the files of rows, so that they can be read; nothing may be added any more."""
        for symbol, place in self._instruments.items():
            if place.writer is not None:
                place.writer.close()
                place.writer = None
            state = place.now()
            if len(state):
                (self._staging / symbol).mkdir(exist_ok=True)
                write_parquet(events_to_frame(state), self._staging / symbol / "state.parquet")
        if self._rejected:
            rows = [(r.ts_recv, r.stream, r.offset, r.reason, r.payload) for r in self._rejected]
            schema = {
                "ts_recv": pl.Int64,
                "stream": pl.String,
                "offset": pl.Int64,
                "reason": pl.String,
                "payload": pl.Binary,
            }
            write_parquet(pl.DataFrame(rows, schema=schema, orient="row"), self._staging / REJECTED)

    def clock_rows(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return exchange and receive times of all rows that have both from the venue, in order of receipt.

        Rows of snapshots and rows with a carried exchange time say nothing about the clock and are left out.
        """
        files = sorted(self._staging.glob("*/????-??-??.parquet"))
        if not files:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        told = (pl.col("flags") & (F_SNAPSHOT | F_TS_CARRIED)) == 0
        frame = pl.scan_parquet(files).filter(told).select("ts_event", "ts_recv").collect().sort("ts_recv")
        return frame["ts_event"].to_numpy(), frame["ts_recv"].to_numpy()

    def parts(self, clock: ClockFacts) -> dict[str, dict[str, PartFacts]]:
        """Return the facts by instrument and session, rejected frames counted by their corrected receive time."""
        by_session: dict[date, int] = {}
        for frame in self._rejected:
            if frame.ts_recv <= 0:
                continue  # a table's row, whose time is not known
            ts_recv = np.array([frame.ts_recv])
            session = self._sessions.at(int(self._sessions.number(ts_recv - clock.offsets(ts_recv))[0]))
            if session is not None:
                by_session[session] = by_session.get(session, 0) + 1
        found: dict[str, dict[str, PartFacts]] = {}
        for symbol, place in sorted(self._instruments.items()):
            for session, facts in sorted(place.parts.items()):
                facts.rejected = by_session.get(session, 0)
                found.setdefault(symbol, {})[session.isoformat()] = facts
        return found

    @property
    def rejected(self) -> int:
        """Frames that could not be read."""
        return len(self._rejected)

    def finish(self, manifest: RecordingManifest) -> None:
        """Write the manifest and put the folder in its place; an older one of the same input is replaced."""
        text = json.dumps(asdict(manifest), indent=1, sort_keys=True)
        (self._staging / MANIFEST).write_text(text + "\n", encoding="utf-8")
        if self._folder.exists():
            shutil.rmtree(self._folder)
        os.replace(self._staging, self._folder)

    def discard(self) -> None:
        """Remove what was written."""
        for place in self._instruments.values():
            if place.writer is not None:
                place.writer.close()
        shutil.rmtree(self._staging, ignore_errors=True)


class _Sessions:
    """Numbers the sessions of a calendar as far as they are asked for; -1: the market is closed."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._known: list[Session] = []
        self._first = self._last = 0
        self._dates: dict[int, date] = {}

    def number(self, times_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return for each time the number of its session: its date's ordinal, or minus the number of the pause it is in."""
        first, last = int(times_ns.min()), int(times_ns.max())
        if not self._known or first < self._first or last > self._last:
            self._first = min(first, self._first) if self._known else first
            self._last = max(last, self._last) if self._known else last
            begin, end = from_ns(self._first - 2 * NS_PER_DAY).date(), from_ns(self._last + 2 * NS_PER_DAY).date()
            self._known = self._calendar.sessions(begin, end)
            self._dates = {session.date.toordinal(): session.date for session in self._known}
        opens = np.array([session.open_ns for session in self._known], np.int64)
        closes = np.array([session.close_ns for session in self._known], np.int64)
        ordinals = np.array([session.date.toordinal() for session in self._known], np.int64)
        if not len(opens):
            return np.full(len(times_ns), -1)
        k = np.searchsorted(opens, times_ns, "right") - 1
        inside = (k >= 0) & (times_ns < closes[np.maximum(k, 0)])
        return np.where(inside, ordinals[np.maximum(k, 0)], -1 - np.maximum(k + 1, 0))

    def at(self, number: int) -> date | None:
        """Return the date of a session's number; None for a pause."""
        return self._dates.get(number)


def read_rows(root: DataRoot, recording: str, symbol: str, day: date) -> EventArray:
    """Return a part's rows as decoded."""
    return events_from_frame(pl.read_parquet(root.recordings / recording / symbol / f"{day.isoformat()}.parquet"))


def read_state(root: DataRoot, recording: str, symbol: str, day: date | None = None) -> EventArray:
    """Return the book before a part's first row, or without a day behind the input's last; empty where it was not known."""
    name = f"{day.isoformat()}.state.parquet" if day else "state.parquet"
    path = root.recordings / recording / symbol / name
    return events_from_frame(pl.read_parquet(path)) if path.exists() else empty_events(0)

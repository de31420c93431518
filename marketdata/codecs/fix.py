"""FIX 4.2 and 4.4 market data: full refresh (35=W) and incremental refresh (35=X) as events.

One frame is one message (``FixSplitter`` cuts a byte stream into them). Two kinds of venue:

* ``entries="price"``: an entry is a price of a side. New and change are LEVEL with the whole size, delete is LEVEL 0.
  Entries of a snapshot at one price are added up (dealers quote several times at a price).
* ``entries="id"``: an entry is an order, named by MDEntryID (278). New is ADD; a change that lowers the size is REDUCE and keeps
  the place in the queue; any other change is DELETE and ADD in one group; delete is DELETE.

A snapshot is CLEAR and its rows, all flagged; a trade (269=2) is TRADE, its side from AggressorSide (5797, 2446) where given; an
empty book (269=J) is CLEAR. The time of an entry is its own (272, 273), else TransactTime (60), else SendingTime (52).

MsgSeqNum (34) is followed for each pair of SenderCompID and TargetCompID: a hole makes every book of that session unknown, lower
numbers are duplicates (43=Y) or refused, a logon with ResetSeqNumFlag or a sequence reset begins again. A message that is refused
counts as not received. Length (9) and checksum (10) are verified; ``strict=False`` tolerates and counts them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from marketdata.codecs import fix_state
from marketdata.codecs.exact import grids_of
from marketdata.codecs.fix_fold import fold_messages
from marketdata.codecs.fix_kernel import COLUMNS, HEADERS, REASONS, Wire
from marketdata.codecs.fix_message import PROBLEMS
from marketdata.codecs.fix_state import (
    COUNTERS,
    DONE,
    KNOWN,
    MAX_SESSIONS,
    NEED_ENTRIES,
    NEED_GROW,
    OUT_FULL,
    WANTED,
    Fold,
)
from marketdata.codecs.order_table import empty_table, grown
from marketdata.codecs.symbol_table import symbol_table
from marketdata.events import EventArray, empty_events
from marketdata.frames import QUARANTINE, RAISE, Decoded, Endpoint, FrameBatch, FrameError, Gap, Rejected
from marketdata.instruments import Instrument

MESSAGES: Final = {
    "0": "heartbeat", "1": "test request", "2": "resend request", "3": "session reject", "4": "sequence reset",
    "5": "logout", "6": "indication of interest", "8": "execution report", "9": "order cancel reject", "A": "logon",
    "B": "news", "D": "new order single", "F": "order cancel request", "G": "order cancel/replace request",
    "R": "quote request", "S": "quote", "V": "market data request", "Y": "market data request reject",
    "c": "security definition request", "d": "security definition", "f": "security status",
    "g": "trading session status request", "h": "trading session status", "j": "business message reject",
    "s": "new order cross", "x": "security list request", "y": "security list",
}  # fmt: skip
"""Message types that carry no event, by what they are called in ``Decoded.ignored``."""

ENTRY_TYPES: Final = {
    "2": "trade of a snapshot, or a trade changed or deleted", "3": "index value", "4": "opening price", "5": "closing price",
    "6": "settlement price", "7": "session high", "8": "session low", "9": "session average price", "A": "imbalance",
    "B": "trade volume", "C": "open interest",
}  # fmt: skip

FIRST_ROWS: Final = 1 << 12
FIRST_ENTRIES: Final = 1 << 8


@dataclass(slots=True)
class FixState:
    """Numbering, books and orders of a codec, and its buffers."""

    fold: Fold
    frames: int = 0
    scratch: np.ndarray[tuple[int, int], np.dtype[np.int64]] = field(
        default_factory=lambda: np.zeros((FIRST_ENTRIES, COLUMNS), np.int64)
    )
    texts: np.ndarray[tuple[int, int], np.dtype[np.int64]] = field(
        default_factory=lambda: np.zeros((FIRST_ENTRIES, 4), np.int64)
    )
    header: np.ndarray[tuple[int], np.dtype[np.int64]] = field(default_factory=lambda: np.zeros(HEADERS, np.int64))


@dataclass(frozen=True)
class FixCodec:
    """Frames of FIX sessions to events.

    Attributes
    ----------
    instruments : mapping of str to Instrument
        By the value of the symbol field; others are counted, not decoded.
    policy : str
        RAISE or QUARANTINE.
    strict : bool
        Whether a wrong BodyLength or CheckSum refuses the message.
    entries : {"price", "id"}
        What an entry stands for at this venue.
    needs_snapshot : bool
        Whether increments mean nothing before a snapshot; False for a venue whose stream begins with an empty book.
    numbered : bool
        Whether MsgSeqNum is followed; False for extracts of several sessions, whose rows are then numbered by message.
    symbol_tag : int
        Field that names the instrument: Symbol (55), or SecurityID (48).
    """

    instruments: Mapping[str, Instrument]
    policy: str = RAISE
    strict: bool = True
    entries: Literal["price", "id"] = "price"
    needs_snapshot: bool = True
    numbered: bool = True
    symbol_tag: int = 55
    venue: str = "fix"

    def __post_init__(self) -> None:
        """Refuse a policy that does not exist, and make the tables."""
        if self.policy not in (RAISE, QUARANTINE):
            raise ValueError(f"policy {self.policy!r} is neither {RAISE!r} nor {QUARANTINE!r}")
        wire = Wire(
            symbol_table(list(self.instruments)),
            grids_of(list(self.instruments.values())),
            self.symbol_tag,
            self.strict,
        )
        object.__setattr__(self, "_wire", wire)

    def init(self) -> FixState:
        """Return the state before the first frame."""
        sessions = np.zeros((MAX_SESSIONS, 3), np.int64)
        books = np.zeros((len(self.instruments), 4), np.int64)
        return FixState(Fold(sessions, books, empty_table(), np.zeros(COUNTERS, np.int64), np.zeros(1, np.int64)))

    def step(self, state: FixState, batch: FrameBatch) -> tuple[FixState, Decoded]:
        """Return the state after the frames and what they meant; see :class:`~marketdata.frames.FrameCodec`."""
        wire: Wire = self._wire  # type: ignore[attr-defined]  # made once, from the fields, after init of a frozen class
        before = state.fold.counts.copy()
        slots = len(self.instruments)
        parts: list[EventArray] = []
        gaps: list[Gap] = []
        rejected: list[Rejected] = []
        symbols = list(self.instruments)
        rows = max(FIRST_ROWS, 4 * slots + 64)
        first = 0
        while True:
            report = fix_state.Report(
                empty_events(min(rows, 8 * (len(batch) - first) + 4 * slots + 64) if first == 0 else rows),
                np.zeros((slots + 64, 4), np.int64),
                np.zeros((256, 3), np.int64),
                np.zeros(3, np.int64),
            )
            status, first = fold_messages(
                batch.data, batch.starts, batch.ts_recv, first, wire, self.entries == "id", self.needs_snapshot,
                self.numbered, self.policy == RAISE, state.fold, state.scratch, state.texts, state.header, report,
            )  # fmt: skip
            parts.append(report.events[: report.used[0]])
            gaps += [Gap(symbols[slot], *rest) for slot, *rest in report.gaps[: report.used[1]].tolist()]
            bad = report.bad[: report.used[2]].tolist()
            rejected += [Rejected(frame, offset, PROBLEMS.get(code) or REASONS[code]) for frame, offset, code in bad]
            if status == DONE:
                break
            if status == OUT_FULL:
                rows = max(2 * rows, len(batch))
            elif status == NEED_GROW:
                state.fold = state.fold._replace(table=grown(state.fold.table))
            elif status == NEED_ENTRIES:
                size = int(batch.starts[first + 1] - batch.starts[first]) // 5 + 8
                state.scratch = np.zeros((size, COLUMNS), np.int64)
                state.texts = np.zeros((size, 4), np.int64)
            else:
                frame, offset, reason = rejected[0]
                stream = batch.streams[batch.stream[frame]]
                raise FrameError(self.venue, stream, state.frames + frame, offset, reason)
        state.frames += len(batch)
        events = np.concatenate(parts)
        events["instrument_id"] = wire.grids.instrument_id[events["instrument_id"]] if slots else 0
        wanted = tuple(symbols[k] for k in np.flatnonzero(state.fold.books[:, WANTED] & ~state.fold.books[:, KNOWN]))
        ignored = _ignored(state.fold.counts - before)
        return state, Decoded(events, tuple(gaps), tuple(rejected), wanted, ignored)

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return nothing: FIX is no WebSocket; ``marketdata.codecs.fix_session`` opens its sessions."""
        return ()

    def snapshot_url(self, symbol: str) -> str | None:
        """Return None: a snapshot comes by a market data request in the session."""
        return None


def _ignored(counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[str, int]:
    """Return the counters as names and counts."""
    found: dict[str, int] = {}
    for k in np.flatnonzero(counts[:256]).tolist():
        name = MESSAGES.get(chr(k), "message type of several characters" if k == 1 else f"message type {chr(k)}")
        found[name] = int(counts[k])
    for k in np.flatnonzero(counts[256:512]).tolist():
        found["entry: " + ENTRY_TYPES.get(chr(k), f"type {chr(k)}")] = int(counts[256 + k])
    for index, name in (
        (fix_state.N_DUPLICATE, "duplicate"),
        (fix_state.N_OTHER, "other symbol"),
        (fix_state.N_BEFORE, "entry before the snapshot"),
        (fix_state.N_FAULT, f"tolerated: {PROBLEMS[1]}"),
        (fix_state.N_FAULT + 1, f"tolerated: {PROBLEMS[2]}"),
        (fix_state.N_FAULT + 2, f"tolerated: {PROBLEMS[3]}"),
        (fix_state.N_NO_BOOK_GAP, "gap before any book was known"),
        (fix_state.N_OPENED, "opened"),
    ):
        if counts[index]:
            found[name] = int(counts[index])
    return found

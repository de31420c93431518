"""NASDAQ TotalView-ITCH 5.0 as events, one group a message, for the symbols asked for.

======================== ===========================================================================================
add (A, F)               ADD
executed (E)             EXECUTE at the order's price
executed with price (C)  EXECUTE where the price is the order's and it printed; else REDUCE or DELETE at the order's price, and
                         TRADE at the execution's price where it printed (the others are in the cross trade's volume)
cancel (X), delete (D)   REDUCE, DELETE
replace (U)              DELETE and ADD in one group: the new order is last in its queue
trade (P)                HIDDEN; the venue writes B whatever the side since 2014-07-14, so B is side NONE, S is ASK
cross (Q)                TRADE, side NONE; a cross without shares gives no row
trading action (H, h)    STATUS
======================== ===========================================================================================

Everything else (directory, Reg SHO, participants, MWCB, IPO, LULD, imbalance, RPII, broken trades) is counted by name.

A symbol is known by its locate code from the first message that carries both. In a session seen from its first message (number
1, a system event) an order that nobody added is an error; after a start in the middle, a hole in the numbering or a refused
message the book is CLEAR and grows again from new orders, and messages about orders from before are counted (there is no
snapshot in this protocol).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from marketdata.clock import NS_PER_S, to_ns
from marketdata.codecs import itch_fold as fold
from marketdata.codecs import itch_framing as framing
from marketdata.codecs import itch_rows
from marketdata.codecs.exact import grids_of
from marketdata.codecs.itch_framing import FRAMINGS, MESSAGE, MOLDUDP64, SOUPBINTCP
from marketdata.codecs.itch_messages import LAYOUTS, LENGTH, STOCK_AT
from marketdata.codecs.itch_problems import PROBLEMS
from marketdata.codecs.order_table import empty_table, grown
from marketdata.codecs.symbol_table import symbol_table
from marketdata.events import EventArray, empty_events
from marketdata.frames import QUARANTINE, RAISE, Decoded, Endpoint, FrameBatch, FrameError, Gap, Rejected
from marketdata.instruments import Instrument

Int64 = npt.NDArray[np.int64]

NEW_YORK: Final = ZoneInfo("America/New_York")
NS_PER_HOUR: Final = 3600 * NS_PER_S
FIRST_ROWS: Final = 1 << 12

SPECIAL: Final = {
    itch_rows.N_DUPLICATE: "duplicate",
    itch_rows.N_OTHER: "other symbol",
    itch_rows.N_BEFORE: "order from before the start or a gap",
    itch_rows.N_LOCATE: "unknown locate code",
    itch_rows.N_SILENT: "execution that did not print",
    itch_rows.N_EMPTY_CROSS: "cross without shares",
    itch_rows.N_HOLE: "gap before any book was known",
}
PACKETS: Final = {
    "H": "packet: heartbeat", "Z": "packet: end of session", "A": "packet: login accepted", "+": "packet: debug",
    "J": "packet: login rejected", "U": "packet: unsequenced data", "R": "packet: client heartbeat", "L": "packet: login request",
    "O": "packet: logout request",
}  # fmt: skip


@dataclass(slots=True)
class ItchState:
    """Orders, books and numbering of a codec."""

    arrays: fold.Fold
    session: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(10, np.uint8))
    expected: Int64 = field(default_factory=lambda: np.zeros(1, np.int64))
    packets: Int64 = field(default_factory=lambda: np.zeros(258, np.int64))
    frames: int = 0


@dataclass(frozen=True)
class ItchCodec:
    """ITCH 5.0 frames to events.

    Attributes
    ----------
    instruments : mapping of str to Instrument
        By stock symbol without padding; others are counted, not decoded.
    framing : str
        What a frame is: ``message``, a packet of ``soupbintcp``, or a datagram of ``moldudp64``.
    day : date, optional
        Session date in New York, to which the messages' times are added; default: the date of the receive time.
    policy : str
        RAISE or QUARANTINE.
    """

    instruments: Mapping[str, Instrument]
    framing: str = MOLDUDP64
    day: date | None = None
    policy: str = RAISE
    venue: str = "itch50"

    def __post_init__(self) -> None:
        """Refuse a framing or policy that does not exist, and make the tables."""
        if self.framing not in FRAMINGS:
            raise ValueError(f"framing {self.framing!r} is none of {', '.join(FRAMINGS)}")
        if self.policy not in (RAISE, QUARANTINE):
            raise ValueError(f"policy {self.policy!r} is neither {RAISE!r} nor {QUARANTINE!r}")
        tables = symbol_table(list(self.instruments)), grids_of(list(self.instruments.values()))
        object.__setattr__(self, "_tables", tables)

    def init(self) -> ItchState:
        """Return the state before the first frame."""
        slots = len(self.instruments)
        return ItchState(
            fold.Fold(
                np.zeros(1 << 16, np.int64),
                np.zeros((slots, 2), np.int64),
                empty_table(),
                np.zeros(itch_rows.COUNTERS, np.int64),
                np.zeros(3, np.int64),
            )
        )

    def step(self, state: ItchState, batch: FrameBatch) -> tuple[ItchState, Decoded]:
        """Return the state after the frames and what they meant; see :class:`~marketdata.frames.FrameCodec`."""
        before, packets = state.arrays.counts.copy(), state.packets.copy()
        stop = self.policy == RAISE
        table, refused = self._unpack(state, batch, stop)
        events, gaps, bad = self._fold(state, batch, table, stop)
        rejected = [Rejected(frame, at, PROBLEMS[code]) for frame, at, code in bad]
        rejected += [Rejected(frame, at, framing.PROBLEMS[code]) for frame, at, code in refused]
        rejected.sort()
        if rejected and stop:
            frame, at, reason = rejected[0]
            raise FrameError(self.venue, batch.streams[batch.stream[frame]], state.frames + frame, at, reason)
        state.frames += len(batch)
        ignored = _ignored(state.arrays.counts - before, state.packets - packets)
        return state, Decoded(events, tuple(gaps), tuple(rejected), (), ignored)

    def _unpack(self, state: ItchState, batch: FrameBatch, stop: bool) -> tuple[Int64, list[list[int]]]:
        """Return the message table of the frames, and (frame, byte, code) of those without one."""
        rows = 2 * len(batch) + (len(batch.data) // 3 if self.framing == MOLDUDP64 else 0) + 1
        out = np.empty((rows, framing.COLUMNS), np.int64)
        bad = np.empty((len(batch), 3), np.int64)
        refused = 0
        if self.framing == MESSAGE:
            count = framing.unpack_messages(batch.starts, state.expected, state.packets, out)
        elif self.framing == SOUPBINTCP:
            count, refused = framing.unpack_soup(
                batch.data, batch.starts, state.expected, stop, state.packets, out, bad
            )
        else:
            count, refused = framing.unpack_mold(
                batch.data, batch.starts, state.session, state.expected, stop, state.packets, out, bad
            )
        return out[:count], bad[:refused].tolist()

    def _fold(
        self, state: ItchState, batch: FrameBatch, table: Int64, stop: bool
    ) -> tuple[EventArray, list[Gap], list[list[int]]]:
        symbols, grids = self._tables  # type: ignore[attr-defined]  # made once, after init of a frozen class
        names, slots = list(self.instruments), len(self.instruments)
        midnight = self._midnights(batch.ts_recv)
        parts: list[EventArray] = []
        gaps: list[Gap] = []
        bad: list[list[int]] = []
        first, rows = 0, max(FIRST_ROWS, 2 * len(table) + 4 * slots + 64)
        while True:
            report = fold.Report(
                empty_events(rows),
                np.zeros((slots + 64, 4), np.int64),
                np.zeros((256, 3), np.int64),
                np.zeros(3, np.int64),
            )
            status, first = fold.fold_messages(
                batch.data, batch.starts, batch.ts_recv, midnight, table, first, symbols, grids, LENGTH, STOCK_AT, stop,
                state.arrays, report,
            )  # fmt: skip
            parts.append(report.events[: report.used[0]])
            gaps += [Gap(names[slot], *rest) for slot, *rest in report.gaps[: report.used[1]].tolist()]
            bad += report.bad[: report.used[2]].tolist()
            if status == fold.NEED_GROW:
                state.arrays = state.arrays._replace(table=grown(state.arrays.table))
            elif status != fold.OUT_FULL:
                break
        events = np.concatenate(parts)
        if slots:
            events["instrument_id"] = grids.instrument_id[events["instrument_id"]]
        return events, gaps, bad

    def _midnights(self, ts_recv: Int64) -> Int64:
        """Return for each frame the start of its session's date in New York, ns UTC."""
        if self.day is not None:
            return np.full(len(ts_recv), _midnight(self.day), np.int64)
        hours, place = np.unique(ts_recv // NS_PER_HOUR, return_inverse=True)
        if len(hours) and hours[0] < 24:
            raise ValueError(f"{self.venue}: frames without a receive time need the session's day")
        days = [datetime.fromtimestamp(int(h) * 3600, UTC).astimezone(NEW_YORK).date() for h in hours]
        return np.array([_midnight(day) for day in days], np.int64)[place]

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return nothing: ITCH comes by multicast or SoupBinTCP, not by WebSocket."""
        return ()

    def snapshot_url(self, symbol: str) -> str | None:
        """Return None: the protocol has no snapshot."""
        return None

    def over_messages(self, day: date) -> "ItchCodec":
        """Return the same codec for bare messages of a session date, as files hold them."""
        return replace(self, framing=MESSAGE, day=day)


def _midnight(day: date) -> int:
    return to_ns(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK))


def _ignored(counts: Int64, packets: Int64) -> dict[str, int]:
    found = {LAYOUTS[chr(k)].name: int(counts[k]) for k in np.flatnonzero(counts[:256]).tolist()}
    found |= {PACKETS[chr(k)]: int(packets[k]) for k in np.flatnonzero(packets[:256]).tolist()}
    counts[itch_rows.N_DUPLICATE] += packets[256]
    found |= {name: int(counts[k]) for k, name in SPECIAL.items() if counts[k]}
    if packets[257]:
        found["opened"] = int(packets[257])
    return found

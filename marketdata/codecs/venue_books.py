"""Books of a venue, message by message: sequence, checksum, depth and replay, for every dialect alike.

A book report applies if it follows: by its chain (``follows`` is the last number), else by its number being beyond the
last one. One that is not beyond was seen before and is counted as ``old``. A chain that does not fit, or a checksum
that differs, is a gap: CLEAR, :class:`~marketdata.frames.Gap`, and the book is unknown until a snapshot comes; updates
that come before it are counted as ``before_snapshot``, or kept and given out behind it, with its receive time, where
the snapshot comes by REST.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from marketdata.codecs.mirror import Level, Mirror
from marketdata.codecs.reports import SNAPSHOT, UPDATE, BookReport, KeyedReport, TradeReport
from marketdata.codecs.wire import PriceSize, Row, clear_row
from marketdata.events import ASK, BID, F_LAST, F_SNAPSHOT, F_TS_CARRIED, LEVEL, TRADE
from marketdata.frames import Gap, Rejected
from marketdata.instruments import Instrument

MAX_PENDING: Final = 10_000
"""Updates kept for one symbol until its REST snapshot comes; beyond, the oldest go, counted as ``pending_overflow``."""


@dataclass(frozen=True, slots=True)
class BookRule:
    """How a venue's books are kept.

    Attributes
    ----------
    checksum : callable, optional
        Gives the checksum of the best bids and the best asks, as written.
    checksum_levels : int
        Levels a side that it covers.
    depth : int, optional
        Levels a side that the venue keeps; what falls out below is gone without a message.
    compares : bool
        Messages tell the whole visible book; events are the differences.
    rest_snapshot : bool
        The snapshot is fetched by REST; otherwise the stream begins with one.
    resumes : bool
        Numbers tell after a reconnection whether something was missed; otherwise the book is unknown then.
    trade_numbers_rise : bool
        A trade whose number is not beyond the last one was seen before.
    """

    checksum: Callable[[list[PriceSize], list[PriceSize]], int] | None = None
    checksum_levels: int = 0
    depth: int | None = None
    compares: bool = False
    rest_snapshot: bool = False
    resumes: bool = False
    trade_numbers_rise: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether the codec needs a copy of the book."""
        return self.checksum is not None or self.depth is not None or self.compares


@dataclass(frozen=True, slots=True)
class Book:
    """A book report on its instrument's grid."""

    report: BookReport
    bids: list[Level]
    asks: list[Level]


@dataclass(frozen=True, slots=True)
class Keyed:
    """A keyed report on its instrument's grid: (id, side, price units, lots)."""

    report: KeyedReport
    levels: list[tuple[int, int, int, int]]


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade on its instrument's grid."""

    report: TradeReport
    price: int
    lots: int


@dataclass(slots=True)
class Memory:
    """What is remembered of one symbol.

    ``lost`` is set from a gap to the next snapshot; ``count`` numbers messages of venues that do not; ``stream`` is the
    connection that the book comes by; ``keyed`` holds side, price units and lots by id.
    """

    known: bool = False
    lost: bool = False
    last: int = -1
    last_trade: int = -1
    count: int = 0
    stream: str = ""
    mirror: Mirror | None = None
    keyed: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    pending: list[Book] = field(default_factory=list)


@dataclass(slots=True)
class VenueState:
    """The fold's state: memory by symbol, and the latest exchange time that any frame carried."""

    memory: dict[str, Memory]
    clock: int = 0


@dataclass(slots=True)
class Found:
    """What one call of ``step`` has found so far, and where the frame in hand came from."""

    rows: list[Row] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    ts_recv: int = 0
    stream: str = ""


class VenueBooks:
    """Applies reports that are on the grid; nothing here refuses anything."""

    def __init__(self, rule: BookRule, instruments: Mapping[str, Instrument]) -> None:
        self._rule = rule
        self._id = {symbol: instrument.instrument_id for symbol, instrument in instruments.items()}

    def opened(self, state: VenueState, found: Found) -> None:
        """Take every book that came by this connection for unknown, unless numbers tell what was missed."""
        found.ignored["opened"] += 1
        if self._rule.resumes:
            return
        for symbol, memory in state.memory.items():
            if memory.known and memory.stream == found.stream:
                self._clear(state, found, symbol, memory.last, 0)
                memory.lost = False  # the new connection brings a snapshot, or one is fetched anyway

    def trade(self, state: VenueState, found: Found, trade: Trade) -> None:
        """Give out a trade, unless its number was seen before."""
        report, memory = trade.report, state.memory[trade.report.symbol]
        if self._rule.trade_numbers_rise and report.sequence is not None:
            if report.sequence <= memory.last_trade:
                found.ignored["old"] += 1
                return
            memory.last_trade = report.sequence
        ts_event, flags = self._when(state, found, report.ts_event)
        number = self._number(memory, report.sequence)
        head = (ts_event, found.ts_recv, trade.price, trade.lots, 0, number, self._id[report.symbol])
        found.rows.append((*head, TRADE, report.side, flags | F_LAST, 0))

    def book(self, state: VenueState, found: Found, book: Book) -> None:
        """Apply levels by the venue's rule."""
        report, memory = book.report, state.memory[book.report.symbol]
        if report.kind == UPDATE:
            memory.stream = found.stream
            if memory.known:
                self._update(state, found, book)
            elif self._rule.rest_snapshot:
                memory.pending.append(book)
                if len(memory.pending) > MAX_PENDING:
                    del memory.pending[0]
                    found.ignored["pending_overflow"] += 1
            else:
                found.ignored["before_snapshot"] += 1
            return
        old = memory.known and report.sequence is not None and report.sequence <= memory.last
        if report.kind == SNAPSHOT:
            if self._rule.rest_snapshot and old and report.sequence != memory.last:
                found.ignored["old_snapshot"] += 1
            else:
                self._start(state, found, book)
        elif old:
            found.ignored["old"] += 1
        elif memory.known:
            self._compare(state, found, book)
        else:
            self._start(state, found, book)

    def keyed(self, state: VenueState, found: Found, keyed: Keyed) -> None:
        """Apply levels that are named by an id: a level that changes sides leaves the one and enters the other."""
        report, memory = keyed.report, state.memory[keyed.report.symbol]
        instrument = self._id[report.symbol]
        number = self._number(memory, None)
        ts_event, flags = self._when(state, found, report.ts_event)
        begin = len(found.rows)
        if report.kind == SNAPSHOT:
            memory.known, memory.lost, memory.keyed = True, False, {}
            flags |= F_SNAPSHOT
            found.rows.append(clear_row(instrument, ts_event, found.ts_recv, number, flags))
        memory.stream = found.stream
        for key, side, units, lots in keyed.levels:
            before = memory.keyed.pop(key, None)
            if before is not None and (before[0], before[1]) != (side, units):
                gone = (ts_event, found.ts_recv, before[1], 0, 0, number, instrument, LEVEL, before[0], flags, 0)
                found.rows.append(gone)
            if lots:
                memory.keyed[key] = (side, units, lots)
            if lots or (before is not None and (before[0], before[1]) == (side, units)):
                found.rows.append((ts_event, found.ts_recv, units, lots, 0, number, instrument, LEVEL, side, flags, 0))
        self._close(found, begin)

    def _when(self, state: VenueState, found: Found, ts_event: int) -> tuple[int, int]:
        """Return the exchange time of a message, and the flag that says whether it is its own."""
        if ts_event:
            state.clock = max(state.clock, ts_event)
            return ts_event, 0
        return state.clock or found.ts_recv, F_TS_CARRIED

    def _number(self, memory: Memory, sequence: int | None) -> int:
        memory.count += 1
        return memory.count if sequence is None else sequence

    def _clear(self, state: VenueState, found: Found, symbol: str, sequence: int, ts_event: int) -> None:
        memory = state.memory[symbol]
        when, flags = self._when(state, found, ts_event)
        found.rows.append(clear_row(self._id[symbol], when, found.ts_recv, max(sequence, 0), flags | F_LAST))
        memory.known, memory.lost, memory.mirror = False, True, None
        memory.keyed, memory.pending = {}, []

    def _gap(self, state: VenueState, found: Found, book: Book, expected: int, came: int) -> None:
        report, memory = book.report, state.memory[book.report.symbol]
        number = report.sequence if report.sequence is not None else memory.count
        self._clear(state, found, report.symbol, number, report.ts_event)
        found.gaps.append(Gap(report.symbol, found.ts_recv, expected, came))
        if self._rule.rest_snapshot and report.kind == UPDATE:
            memory.pending.append(book)

    def _start(self, state: VenueState, found: Found, book: Book) -> None:
        """Begin a book with a snapshot, then give out what was kept for it."""
        report, memory = book.report, state.memory[book.report.symbol]
        kept, memory.pending = memory.pending, []
        memory.known, memory.lost = True, False
        if not self._rule.rest_snapshot:
            memory.stream = found.stream
        number = self._number(memory, report.sequence)
        memory.last = number if report.sequence is not None else -1
        memory.mirror = Mirror() if self._rule.mirrored else None
        ts_event, flags = self._when(state, found, report.ts_event)
        flags |= F_SNAPSHOT
        begin = len(found.rows)
        found.rows.append(clear_row(self._id[report.symbol], ts_event, found.ts_recv, number, flags))
        if self._write(found, memory, book, (ts_event, number, flags)):
            self._close(found, begin)
        else:
            self._wrong(state, found, book, begin)
            return
        for later in kept:
            if later.report.sequence is None or later.report.sequence > memory.last:
                self._update(state, found, later)

    def _update(self, state: VenueState, found: Found, book: Book) -> None:
        report, memory = book.report, state.memory[book.report.symbol]
        follows = report.follows is not None and report.follows == memory.last
        if not follows and report.sequence is not None and report.sequence <= memory.last:
            found.ignored["old"] += 1
            return
        if report.follows is not None and not follows:
            self._gap(state, found, book, memory.last, report.follows)
            return
        number = self._number(memory, report.sequence)
        if report.sequence is not None:
            memory.last = number
        head = (*self._when(state, found, report.ts_event), number)
        begin = len(found.rows)
        if not self._write(found, memory, book, (head[0], number, head[1])):
            self._wrong(state, found, book, begin)
        elif len(found.rows) == begin:
            found.ignored["empty_update"] += 1
        else:
            self._close(found, begin)

    def _write(self, found: Found, memory: Memory, book: Book, head: tuple[int, int, int]) -> bool:
        """Write the levels' rows and what falls below the kept depth; return whether the checksum is right."""
        ts_event, number, flags = head
        instrument, recv, rule = self._id[book.report.symbol], found.ts_recv, self._rule
        for index, (side, levels) in enumerate(((BID, book.bids), (ASK, book.asks))):
            found.rows += [
                (ts_event, recv, units, lots, 0, number, instrument, LEVEL, side, flags, 0) for units, lots, _ in levels
            ]
            if memory.mirror is None:
                continue
            memory.mirror.set(index, levels)
            if rule.depth is not None:
                below = flags | F_SNAPSHOT  # not a change that happened: the venue stops telling
                found.rows += [
                    (ts_event, recv, units, 0, 0, number, instrument, LEVEL, side, below, 0)
                    for units in memory.mirror.beyond(index, rule.depth)
                ]
        return book.report.checksum is None or self._checksum(memory) in (None, book.report.checksum)

    def _checksum(self, memory: Memory) -> int | None:
        if self._rule.checksum is None or memory.mirror is None:
            return None
        return self._rule.checksum(*(memory.mirror.top(side, self._rule.checksum_levels) for side in (0, 1)))

    def _wrong(self, state: VenueState, found: Found, book: Book, begin: int) -> None:
        """Take back the rows of a message whose checksum differs, and take its book for unknown."""
        del found.rows[begin:]
        computed = self._checksum(state.memory[book.report.symbol])
        self._gap(state, found, book, computed or 0, book.report.checksum or 0)

    def _close(self, found: Found, begin: int) -> None:
        if len(found.rows) > begin:
            last = found.rows[-1]
            found.rows[-1] = (*last[:9], last[9] | F_LAST, 0)

    def _compare(self, state: VenueState, found: Found, book: Book) -> None:
        """Give out how the visible book differs from what was visible before.

        A level that comes into sight, or leaves it, at the far end of a full window is flagged ``F_SNAPSHOT``: nothing
        happened there.
        """
        report, memory = book.report, state.memory[book.report.symbol]
        mirror = memory.mirror
        if mirror is None:
            return
        number = self._number(memory, report.sequence)
        if report.sequence is not None:
            memory.last = number
        ts_event, flags = self._when(state, found, report.ts_event)
        begin = len(found.rows)
        for index, (side, levels) in enumerate(((BID, book.bids), (ASK, book.asks))):
            before, now = mirror.sizes(index), {units: lots for units, lots, _ in levels}
            full = len(before) == len(now)
            changed = [(u, 0) for u in before if u not in now] + [(u, n) for u, n in now.items() if before.get(u) != n]
            for units, lots in changed:
                others = now if lots == 0 else before
                far = full and (lots == 0 or units not in before) and all(side * units < side * u for u in others)
                seen = flags | F_SNAPSHOT if far else flags
                found.rows.append(
                    (ts_event, found.ts_recv, units, lots, 0, number, self._id[report.symbol], LEVEL, side, seen, 0)
                )
            mirror.set(index, [(units, 0, ("", "")) for units in before if units not in now])
            mirror.set(index, levels)
        self._close(found, begin)
        if len(found.rows) == begin:
            found.ignored["unchanged_book"] += 1

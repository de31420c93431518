"""One codec for every venue that is read frame by frame: a venue is a *dialect*, the rest is here.

A dialect reads one frame into reports (pure, no state) and says by a :class:`~marketdata.codecs.venue_books.BookRule`
how its books are kept. This module puts numbers on the grid and hands on; a frame is read whole and checked before
anything changes, so that one that is refused changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from marketdata.codecs.decimals import Step, step_of
from marketdata.codecs.reports import SNAPSHOT, UPDATE, BookReport, KeyedReport, Notice, Report, TradeReport
from marketdata.codecs.venue_books import Book, BookRule, Found, Keyed, Memory, Trade, VenueBooks, VenueState
from marketdata.codecs.wire import BadFrame, as_events, price_and_lots
from marketdata.frames import QUARANTINE, RAISE, Decoded, Endpoint, FrameBatch, FrameError, Rejected
from marketdata.instruments import Instrument

Steps = tuple[Step, Step]


class Dialect(Protocol):
    """What a venue's file has to say."""

    @property
    def venue(self) -> str:
        """Name in the catalogue."""
        ...

    @property
    def rule(self) -> BookRule:
        """How its books are kept."""
        ...

    def read(self, frame: bytes, stream: str) -> Sequence[Report]:
        """Return what a frame that came by ``stream`` says.

        Raises
        ------
        BadFrame
            If it cannot be read, or is of no known kind.
        """
        ...

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """See :class:`~marketdata.frames.FrameCodec`."""
        ...

    def snapshot_url(self, symbol: str) -> str | None:
        """See :class:`~marketdata.frames.FrameCodec`."""
        ...


class DialectCodec:
    """The codec of a dialect; see the module.

    Parameters
    ----------
    dialect : Dialect
    instruments : mapping of str to Instrument
        By the venue's symbol. Reports of other symbols are counted as ``other_symbol``.
    policy : str
        ``raise`` or ``quarantine``.
    """

    def __init__(self, dialect: Dialect, instruments: Mapping[str, Instrument], policy: str = RAISE) -> None:
        if policy not in (RAISE, QUARANTINE):
            raise ValueError(f"the policy is {RAISE!r} or {QUARANTINE!r}, not {policy!r}")
        self._dialect = dialect
        self._rest_snapshot = dialect.rule.rest_snapshot
        self._books = VenueBooks(dialect.rule, instruments)
        self._instruments = dict(instruments)
        self._policy = policy
        self._steps: dict[str, Steps] = {
            symbol: (step_of(i.price_decimals), step_of(i.lot_size)) for symbol, i in self._instruments.items()
        }

    @property
    def venue(self) -> str:
        """Return the venue's name in the catalogue."""
        return self._dialect.venue

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Return the instruments by the venue's symbol."""
        return self._instruments

    def init(self) -> VenueState:
        """Return the state before the first frame: no book known."""
        return VenueState({symbol: Memory() for symbol in self._instruments})

    def endpoints(self, symbols: Sequence[str]) -> tuple[Endpoint, ...]:
        """Return the connections that bring depth and trades."""
        return self._dialect.endpoints(symbols)

    def snapshot_url(self, symbol: str) -> str | None:
        """Return the REST address of a book snapshot, where the venue's stream brings none."""
        return self._dialect.snapshot_url(symbol)

    def iter_numbers(self, batch: FrameBatch) -> Iterator[tuple[str, str, str]]:
        """Yield (symbol, price, size) as written; see :class:`~marketdata.codecs.catalog.VenueCodec`."""
        for k in range(len(batch)):
            try:
                raw = batch.frame(k)
                reports = self._dialect.read(raw, batch.streams[batch.stream[k]]) if raw else ()
            except BadFrame:
                continue
            for report in reports:
                if isinstance(report, BookReport):
                    yield report.symbol, "0", "0"  # a book without levels is one too
                    for price, size in (*report.bids, *report.asks):
                        yield report.symbol, price, size
                elif isinstance(report, KeyedReport):
                    for _, _, named, quantity in report.levels:
                        yield report.symbol, named or "0", quantity or "0"
                elif isinstance(report, TradeReport):
                    yield report.symbol, report.price, report.size

    def step(self, state: VenueState, batch: FrameBatch) -> tuple[VenueState, Decoded]:
        """Read a batch; see :class:`~marketdata.frames.FrameCodec`."""
        found = Found()
        books = self._books
        for k in range(len(batch)):
            found.ts_recv, found.stream = int(batch.ts_recv[k]), batch.streams[batch.stream[k]]
            raw = batch.frame(k)
            if not raw:
                books.opened(state, found)
                continue
            try:
                prepared = [self._prepare(state, report) for report in self._dialect.read(raw, found.stream)]
            except BadFrame as error:
                if self._policy == RAISE:
                    raise FrameError(self.venue, found.stream, k, error.offset, error.reason) from error
                found.rejected.append(Rejected(k, error.offset, error.reason))
                continue
            if not prepared:
                found.ignored["empty"] += 1
            for part in prepared:
                if isinstance(part, Notice):
                    found.ignored[part.kind] += 1
                    state.clock = max(state.clock, part.ts_event)
                elif isinstance(part, Trade):
                    books.trade(state, found, part)
                elif isinstance(part, Keyed):
                    books.keyed(state, found, part)
                else:
                    books.book(state, found, part)
        wants = tuple(symbol for symbol, m in state.memory.items() if not m.known and (m.lost or self._rest_snapshot))
        return state, Decoded(
            as_events(found.rows), tuple(found.gaps), tuple(found.rejected), wants, dict(found.ignored)
        )

    def _prepare(self, state: VenueState, report: Report) -> Book | Keyed | Trade | Notice:
        """Return a report on its instrument's grid; nothing changes.

        Raises
        ------
        BadFrame
            If a number is off the grid, or an id is not known.
        """
        if isinstance(report, Notice):
            return report
        symbol = report.symbol
        if symbol not in self._instruments:
            return Notice("other_symbol")
        instrument, steps = self._instruments[symbol], self._steps[symbol]
        if isinstance(report, TradeReport):
            price, lots = price_and_lots(report.price, report.size, instrument, steps)
            if price == 0 or lots == 0:
                raise BadFrame(f"{symbol}: a trade with price {report.price} and size {report.size}")
            return Trade(report, price, lots)
        if isinstance(report, KeyedReport):
            return _prepare_keyed(state.memory[symbol], report, instrument, steps)
        sides = [
            [(*price_and_lots(price, size, instrument, steps), (price, size)) for price, size in levels]
            for levels in (report.bids, report.asks)
        ]
        if report.kind != UPDATE and any(lots == 0 for levels in sides for _, lots, _ in levels):
            raise BadFrame(f"{symbol}: a snapshot with an empty level")
        return Book(report, *sides)


def _prepare_keyed(memory: Memory, report: KeyedReport, instrument: Instrument, steps: Steps) -> Keyed | Notice:
    if report.kind == UPDATE and not memory.known:
        return Notice("before_snapshot")
    levels = []
    for key, side, price, size in report.levels:
        before = memory.keyed.get(key)
        if price is None and (before is None or report.kind == SNAPSHOT):
            raise BadFrame(f"{report.symbol}: level {key} was never given a price")
        units, lots = price_and_lots(price or "0", size or "0", instrument, steps)
        if price is None and before is not None:
            units = before[1]
        levels.append((key, side, units, lots))
    return Keyed(report, levels)

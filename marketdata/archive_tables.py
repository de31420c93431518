"""Archives of tables: files whose rows are events already, or nearly; the layouts of ``archives`` that need no frames.

Prices and sizes are read as the text they are and put on the grid in decimal digits, never through a float.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, Protocol

from marketdata.archives import RecordingInput
from marketdata.binance_archive import BinanceArchiveLayout
from marketdata.clock import Calendar, to_ns
from marketdata.codecs import lean, lobster
from marketdata.events import EventArray
from marketdata.instruments import BookKind, Instrument

CHUNK_ROWS: Final = 2_000_000


class TableLayout(Protocol):
    """A layout whose rows need no codec state: an input can be read on its own."""

    def find(self, paths: Sequence[Path], venue: str | None) -> list[RecordingInput]:
        """Return the inputs among these files."""
        ...

    def instruments(self, given: RecordingInput) -> dict[str, Instrument]:
        """Return an instrument for each symbol of an input, on the grid of its numbers; ids and names are given later."""
        ...

    def events(self, given: RecordingInput, instruments: Mapping[str, Instrument]) -> Iterator[tuple[str, EventArray]]:
        """Yield (symbol, events in order) of the instruments asked for; ``ts_recv`` is ``ts_event`` where there is none."""
        ...


def _modelled(events: EventArray) -> EventArray:
    """Set the receive time to the exchange time: there is none, and the root's latency model will make it."""
    events["ts_recv"] = events["ts_event"]
    return events


US_CALENDAR: Final = Calendar("XNYS", "America/New_York")


class LobsterLayout:
    """LOBSTER's message and orderbook files of one symbol and day."""

    def find(self, paths: Sequence[Path], venue: str | None) -> list[RecordingInput]:
        """Return an input for the deepest pair of each symbol and day."""
        given = set(paths)
        found = []
        for file in lobster.find_files(sorted({path.parent for path in paths})):
            read = (file.messages, file.books)
            name, start = venue or "NASDAQ", to_ns(_midnight(file.day))
            same = re.compile(rf"{re.escape(file.symbol)}_{file.day}_.*(message|orderbook)_\d+.*\.csv(\.gz)?")
            covers = tuple(path for path in paths if same.fullmatch(path.name) and path not in read)
            if given.intersection((*read, *covers)):
                series = f"{name}/{file.symbol}/{file.day}"
                found.append(RecordingInput("lobster", name, series, read, start, False, covers))
        return found

    def _file(self, given: RecordingInput) -> lobster.LobsterFile:
        match = lobster.NAME.match(given.paths[0].name)
        assert match is not None
        return lobster.LobsterFile(
            match["symbol"], date.fromisoformat(match["day"]), int(match["levels"]), *given.paths
        )

    def instruments(self, given: RecordingInput) -> dict[str, Instrument]:
        """Return the share in 1/10,000 dollar with a cent tick."""
        symbol = self._file(given).symbol
        return {symbol: _share(symbol, given.venue, BookKind.MATCHING)}

    def events(self, given: RecordingInput, instruments: Mapping[str, Instrument]) -> Iterator[tuple[str, EventArray]]:
        """Yield the day's events; see ``marketdata.codecs.lobster``."""
        file = self._file(given)
        if file.symbol in instruments:
            number = instruments[file.symbol].instrument_id
            yield file.symbol, _modelled(lobster.parse(lobster.read_raw(file), file.day, number, str(file.messages)))


class LeanLayout:
    """LEAN's tick files of US shares, ``tick/<symbol>/<date>_quote.zip`` and ``_trade.zip``."""

    def find(self, paths: Sequence[Path], venue: str | None) -> list[RecordingInput]:
        """Return an input for each symbol and day; days without quotes are of a trade-only instrument."""
        groups: dict[tuple[Path, date], list[Path]] = {}
        for path in paths:
            match = lean.NAME.match(path.name)
            if match is not None and path.parent.parent.name == "tick":
                day = date(int(match["day"][:4]), int(match["day"][4:6]), int(match["day"][6:]))
                groups.setdefault((path.parent, day), []).append(path)
        found = []
        for (folder, day), members in sorted(groups.items()):
            name = venue or "US"
            series, start = f"{name}/{folder.name}/{day}", to_ns(_midnight(day))
            found.append(RecordingInput("lean", name, series, tuple(sorted(members)), start, False))
        return found

    def _place(self, given: RecordingInput) -> tuple[Path, str, date, bool]:
        path = given.paths[0]
        day = date.fromisoformat(given.series.rsplit("/", 1)[1])
        return path.parent.parent.parent, path.parent.name, day, any("_quote" in p.name for p in given.paths)

    def instruments(self, given: RecordingInput) -> dict[str, Instrument]:
        """Return the share in 1/10,000 dollar with a cent tick."""
        _, symbol, _, quotes = self._place(given)
        kind = BookKind.NBBO if quotes else BookKind.TRADES_ONLY
        return {symbol.upper(): _share(symbol.upper(), given.venue, kind)}

    def events(self, given: RecordingInput, instruments: Mapping[str, Instrument]) -> Iterator[tuple[str, EventArray]]:
        """Yield the regular hours; see ``marketdata.codecs.lean``."""
        folder, symbol, day, quotes = self._place(given)
        instrument = instruments.get(symbol.upper())
        if instrument is None:
            return
        raw = lean.read_raw([folder], symbol, day, quotes=quotes)
        session = US_CALENDAR.session(day)
        yield symbol.upper(), _modelled(lean.parse(raw, day, session, instrument.instrument_id, str(given.paths[0])))


def _share(symbol: str, venue: str, kind: BookKind) -> Instrument:
    return Instrument(
        symbol=symbol,
        instrument_id=0,
        venue=venue,
        unit_nanos=100_000,
        tick_units=100,
        price_decimals=0.0001,
        book_kind=kind,
    )


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


TABLE_LAYOUTS: Final[Mapping[str, TableLayout]] = {
    "lobster": LobsterLayout(),
    "lean": LeanLayout(),
    "binance_archive": BinanceArchiveLayout(),
}
"""Layouts whose rows are events, by name; a new one is a class and a line here."""

"""Where a data root's rows come from: the simulated market, or recordings, behind one protocol.

A relative data folder is taken from the folder of the data root, so that both can be moved together.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import polars as pl

from marketdata.clock import NS_PER_DAY, Session
from marketdata.codecs import bars, deribit, lean, lobster, reddit, whales
from marketdata.codecs.tables import SourceError
from marketdata.events import EVENT_SCHEMA, EventArray, events_from_frame
from marketdata.instruments import BookKind
from marketdata.partitions import CheckResult
from marketdata.paths import DataRoot
from marketdata.presets import SOURCES, preset
from marketdata.receive_clock import apply_receive_clock
from marketdata.recorded import RecordedSource
from marketdata.settings import Settings, SettingsError
from marketdata.slow_data import ONCHAIN, OPTIONS, SLOW_KINDS, SOCIAL, empty_slow, slow_frame
from marketdata.validation import SIMULATED_COLUMNS, flag_crossed

if TYPE_CHECKING:
    from marketdata.simulator.session import SimulatedSession

__all__ = ["SOURCES", "Source", "SourceError", "build_source", "preset", "source_findings"]

NO_RECEIVE_CLOCK: Final = ("ts_recv", "clock_quality")
"""Event columns that a source without receive times leaves to the latency model."""


class Source(Protocol):
    """What the night needs of a source of ticks and slow data."""

    @property
    def settings(self) -> Settings:
        """Settings of the data root."""
        ...

    @property
    def slow_kinds(self) -> tuple[str, ...]:
        """Which of ``options``, ``social`` and ``onchain`` it has."""
        ...

    def sessions(self) -> list[Session]:
        """Return the sessions that exist now, in order."""
        ...

    def raw_ticks(self, day: date, symbol: str) -> pl.DataFrame:
        """Return the rows of a session and instrument in the source's own columns; SourceError if it cannot."""
        ...

    def events(self, raw: pl.DataFrame, day: date, symbol: str) -> EventArray:
        """Return raw rows as events, with receive times and crossed groups flagged; pure; SourceError if malformed."""
        ...

    def traded_lots(self, raw: pl.DataFrame, day: date, symbol: str) -> int:
        """Return the lots that raw rows say were traded in the session; events must say the same."""
        ...

    def slow_raw(self, kind: str, day: date) -> pl.DataFrame:
        """Return the slow rows that became known in a session, with the columns of ``SLOW_SCHEMAS``."""
        ...


def build_source(settings: Settings, root: DataRoot | None = None) -> Source:
    """Return the source that the settings name.

    Parameters
    ----------
    root : DataRoot, optional
        Where a relative ``settings.data`` begins; default: the working folder.

    Raises
    ------
    SettingsError
        If a recorded source has no data folder, or it does not exist.
    """
    if settings.source == "simulated":
        return SimulatedSource(settings)
    if settings.source == "recorded":
        if root is None:
            raise SettingsError("source recorded: its recordings lie in a data root, and none was given")
        return RecordedSource(settings, root)
    if settings.data is None:
        raise SettingsError(f"source {settings.source}: data: the settings name no data folder")
    data = root.path / settings.data if root is not None else settings.data
    if not data.is_dir():
        raise SettingsError(f"{data}: no such folder")
    folders = [data]
    if settings.source == "lobster":
        return LobsterSource(settings, folders)
    if settings.source == "lean_equity":
        return LeanEquitySource(settings, folders)
    return Crypto2026Source(settings, folders)


def source_findings(source: Source, day: date, symbol: str) -> tuple[list[CheckResult], dict[str, object]]:
    """Return what a source itself says against a session's raw ticks, and what their manifest should tell of where they are from.

    Recordings say how many of their frames cannot be read, and how their clock was; other sources say nothing.
    """
    return source.findings(day, symbol) if isinstance(source, RecordedSource) else ([], {})


def _finish(source: Source, events: EventArray, day: date, symbol: str) -> EventArray:
    """Give events their receive times, and flag crossed groups where the kind of book tolerates them."""
    settings = source.settings
    apply_receive_clock(events, settings.latency, day)
    if settings.instrument(symbol).book_kind in (BookKind.NBBO, BookKind.DEALER):
        flag_crossed(events)
    return events


def _grid_sessions(settings: Settings) -> list[Session]:
    return settings.market_calendar().first_sessions(settings.start_date, settings.sessions)


def _no_slow(source: Source, kind: str) -> pl.DataFrame:
    raise SourceError(f"source {source.settings.source}", f"it has no {kind} data")


WORLDS_KEPT: Final = 2


@dataclass
class SimulatedSource:
    """The simulated market: a session is a function of (settings, date), made when asked for.

    The last :data:`WORLDS_KEPT` sessions are kept, so that the instruments and slow data of one cost one simulation.
    """

    settings: Settings
    slow_kinds: tuple[str, ...] = SLOW_KINDS
    _worlds: "OrderedDict[date, SimulatedSession]" = field(default_factory=OrderedDict, repr=False)

    def sessions(self) -> list[Session]:
        """Return every session of the root: each can be simulated."""
        return _grid_sessions(self.settings)

    def world(self, day: date) -> "SimulatedSession":
        """Return a simulated session with its truth."""
        from marketdata.simulator.session import simulate_session

        if day not in self._worlds:
            calendar = self.settings.market_calendar()
            session = calendar.session(day)
            index = len(calendar.sessions(self.settings.start_date, day)) - 1
            self._worlds[day] = simulate_session(self.settings, session, index)
            while len(self._worlds) > WORLDS_KEPT:
                self._worlds.popitem(last=False)
        return self._worlds[day]

    def raw_ticks(self, day: date, symbol: str) -> pl.DataFrame:
        """Return event rows without receive times."""
        self.settings.instrument(symbol)
        return self.world(day).ticks[symbol]

    def events(self, raw: pl.DataFrame, day: date, symbol: str) -> EventArray:
        """Return the raw rows with modelled receive times."""
        for name in SIMULATED_COLUMNS:
            if name not in raw.columns:
                raise SourceError(_origin(self, day, symbol), "the column is missing", field=name)
        blank = [pl.lit(0).cast(EVENT_SCHEMA[name]).alias(name) for name in NO_RECEIVE_CLOCK]
        try:
            events = events_from_frame(raw.select(SIMULATED_COLUMNS).with_columns(blank))
        except ValueError as error:
            raise SourceError(_origin(self, day, symbol), str(error)) from error
        return _finish(self, events, day, symbol)

    def traded_lots(self, raw: pl.DataFrame, day: date, symbol: str) -> int:
        """Return the executed lots."""
        from marketdata.events import EXECUTE, HIDDEN, TRADE

        return int(raw.filter(pl.col("action").is_in([EXECUTE, HIDDEN, TRADE]))["size_lots"].sum())

    def slow_raw(self, kind: str, day: date) -> pl.DataFrame:
        """Return the options, posts or transfers of a session."""
        world = self.world(day)
        frames = {OPTIONS: world.options, SOCIAL: world.posts, ONCHAIN: world.transfers}
        return slow_frame(kind, frames[kind])


@dataclass(frozen=True)
class LobsterSource:
    """NASDAQ order messages with the recorded book; no slow data."""

    settings: Settings
    folders: Sequence[Path]
    slow_kinds: tuple[str, ...] = ()

    def sessions(self) -> list[Session]:
        """Return the sessions of the root of which any instrument is recorded."""
        days = {file.day for file in lobster.find_files(self.folders)}
        return [s for s in _grid_sessions(self.settings) if s.date in days]

    def raw_ticks(self, day: date, symbol: str) -> pl.DataFrame:
        """Return messages beside the recorded book."""
        self.settings.instrument(symbol)
        for file in lobster.find_files(self.folders):
            if (file.symbol, file.day) == (symbol, day):
                return lobster.read_raw(file)
        raise SourceError(self.folders[0] / f"{symbol}_{day}_*_message_L.csv.gz", "no such file")

    def events(self, raw: pl.DataFrame, day: date, symbol: str) -> EventArray:
        """Return one group a message; see ``marketdata.codecs.lobster``."""
        number = self.settings.instrument(symbol).instrument_id
        return _finish(self, lobster.parse(raw, day, number, _origin(self, day, symbol)), day, symbol)

    def traded_lots(self, raw: pl.DataFrame, day: date, symbol: str) -> int:
        """Return the executed shares."""
        return lobster.traded_lots(raw)

    def slow_raw(self, kind: str, day: date) -> pl.DataFrame:
        """Raise: there is none."""
        return _no_slow(self, kind)


@dataclass(frozen=True)
class LeanEquitySource:
    """US shares: national best quotes and trades; no slow data."""

    settings: Settings
    folders: Sequence[Path]
    slow_kinds: tuple[str, ...] = ()

    def sessions(self) -> list[Session]:
        """Return the sessions of the root of which any instrument is recorded."""
        days = {day for _, day in lean.find_days(self.folders)}
        return [s for s in _grid_sessions(self.settings) if s.date in days]

    def raw_ticks(self, day: date, symbol: str) -> pl.DataFrame:
        """Return quote rows and then trade rows of the whole day, hours outside the session included."""
        quotes = self.settings.instrument(symbol).is_traded
        return lean.read_raw(self.folders, symbol.lower(), day, quotes=quotes)

    def events(self, raw: pl.DataFrame, day: date, symbol: str) -> EventArray:
        """Return the regular hours; see ``marketdata.codecs.lean``."""
        number = self.settings.instrument(symbol).instrument_id
        session = self.settings.market_calendar().session(day)
        return _finish(self, lean.parse(raw, day, session, number, _origin(self, day, symbol)), day, symbol)

    def traded_lots(self, raw: pl.DataFrame, day: date, symbol: str) -> int:
        """Return the shares traded in regular hours."""
        return lean.traded_lots(raw, day, self.settings.market_calendar().session(day))

    def slow_raw(self, kind: str, day: date) -> pl.DataFrame:
        """Raise: there is none."""
        return _no_slow(self, kind)


@dataclass(frozen=True)
class Crypto2026Source:
    """Hourly candles of BTC and ETH with option chains, posts and on-chain transfers."""

    settings: Settings
    folders: Sequence[Path]
    slow_kinds: tuple[str, ...] = SLOW_KINDS

    def sessions(self) -> list[Session]:
        """Return the days of the root that the candles of every coin span."""
        ends = min(bars.last_hour_ns(self.folders, item.symbol) for item in self.settings.instruments)
        return [s for s in _grid_sessions(self.settings) if s.open_ns + NS_PER_DAY <= ends]

    def raw_ticks(self, day: date, symbol: str) -> pl.DataFrame:
        """Return the day's candles."""
        self.settings.instrument(symbol)
        return bars.read_raw(self.folders, symbol, day)

    def events(self, raw: pl.DataFrame, day: date, symbol: str) -> EventArray:
        """Return six rows a candle; see ``marketdata.codecs.bars``."""
        events = bars.parse(raw, self.settings.instrument(symbol), _origin(self, day, symbol))
        return _finish(self, events, day, symbol)

    def traded_lots(self, raw: pl.DataFrame, day: date, symbol: str) -> int:
        """Return the lots of the candles' volume."""
        return bars.traded_lots(raw, self.settings.instrument(symbol))

    def slow_raw(self, kind: str, day: date) -> pl.DataFrame:
        """Return the rows that became known on a UTC date; empty where nothing was recorded."""
        if kind == OPTIONS:
            month = f"{day:%Y%m}"
            files = [path for path in deribit.find_files(self.folders) if month in path.name]
            parts = [deribit.read_month(path) for path in files]
        elif kind == SOCIAL:
            parts = [reddit.read_posts(path) for path in reddit.find_files(self.folders)]
        elif kind == ONCHAIN:
            parts = [whales.read_transfers(path) for path in whales.find_files(self.folders)]
        else:
            return _no_slow(self, kind)
        session = self.settings.market_calendar().session(day)
        inside = (pl.col("ts_known") >= session.open_ns) & (pl.col("ts_known") < session.close_ns)
        symbols = [item.symbol for item in self.settings.instruments]
        found = pl.concat([empty_slow(kind), *parts]).filter(inside & pl.col("symbol").is_in(symbols))
        return slow_frame(kind, found)


def _origin(source: Source, day: date, symbol: str) -> str:
    return f"{source.settings.source} {symbol} {day}"

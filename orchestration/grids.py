"""The two partition grids of a data root: sessions, and sessions × instruments.

Both are built from the root's settings alone. Sessions are days of the market's calendar in the market's time zone: the cron
schedule leaves out weekends and ``exclusions`` leave out the holidays, so that a partition key is always a session.
"""

import warnings
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, cast

import dagster as dg

from marketdata.clock import Session
from marketdata.settings import Settings, SettingsError

DATE_FORMAT: Final = "%Y-%m-%d"
DATE: Final = "date"
INSTRUMENT: Final = "instrument"
MAX_KEYS: Final = 10_000
"""Keys of one grid from which the UI becomes slow."""
DEMO_SESSIONS: Final = 9
"""Sessions that exist in every grid whatever the clock says: a simulated market may lie ahead of it."""


@dataclass(frozen=True)
class Grids:
    """The partition definitions of one data root.

    Attributes
    ----------
    sessions : tuple of Session
        All sessions that the root spans, past and future.
    by_date : TimeWindowPartitionsDefinition
        One partition a session.
    by_instrument : MultiPartitionsDefinition
        One partition a session and instrument.
    """

    sessions: tuple[Session, ...]
    symbols: tuple[str, ...]
    by_date: dg.TimeWindowPartitionsDefinition
    by_instrument: dg.MultiPartitionsDefinition

    def session(self, day: date) -> Session:
        """Return the session of a date.

        Raises
        ------
        SettingsError
            If the root does not span it.
        """
        for session in self.sessions:
            if session.date == day:
                return session
        first, last = self.sessions[0].date, self.sessions[-1].date
        raise SettingsError(f"{day} is not a session of this data root ({first} to {last})")

    def number(self, day: date) -> int:
        """Return the session's number in the root, from 1; raises as :meth:`session`."""
        return self.sessions.index(self.session(day)) + 1

    def spans(self, day: date) -> bool:
        """Whether the date is a session of the root."""
        return any(session.date == day for session in self.sessions)


def build_grids(settings: Settings, today: date) -> Grids:
    """Return the partition grids of a data root.

    Parameters
    ----------
    settings : Settings
        Calendar, time zone, first date, number of sessions and instruments.
    today : date
        The clock's date in the market's time zone. Sessions up to it exist, that of the date itself included, because the
        night asks for a session right after its close.

    Raises
    ------
    SettingsError
        If a grid would hold 10,000 keys or more.
    """
    symbols = tuple(item.symbol for item in settings.instruments)
    if settings.sessions * len(symbols) >= MAX_KEYS:
        raise SettingsError(
            f"sessions × instruments = {settings.sessions} × {len(symbols)} is {MAX_KEYS} partitions or more; lower `sessions`"
        )
    calendar = settings.market_calendar()
    sessions = tuple(calendar.first_sessions(settings.start_date, settings.sessions))
    dates = {session.date for session in sessions}
    first, last = sessions[0].date, sessions[-1].date
    round_the_clock = calendar.name == "24/7"
    days = (first + timedelta(days=k) for k in range((last - first).days + 1))
    holidays = [day for day in days if day not in dates and (round_the_clock or day.weekday() < 5)]
    closed = sum(session.date <= today for session in sessions)
    waiting = (today + timedelta(days=k) for k in range(max((first - today).days, 0)))
    ahead = max(min(DEMO_SESSIONS, len(sessions)) - closed, 0)
    ahead += sum(round_the_clock or day.weekday() < 5 for day in waiting)
    by_date = dg.TimeWindowPartitionsDefinition(
        start=_midnight(first),
        end=_midnight(_next_weekday(last, round_the_clock)),
        cron_schedule="0 0 * * *" if round_the_clock else "0 0 * * 1-5",
        timezone=settings.time_zone,
        fmt=DATE_FORMAT,
        end_offset=1 + ahead,
        exclusions=[_midnight(day) for day in holidays] or None,
    )
    by_symbol = dg.StaticPartitionsDefinition(list(symbols))
    return Grids(sessions, symbols, by_date, dg.MultiPartitionsDefinition({DATE: by_date, INSTRUMENT: by_symbol}))


def all_instruments() -> dg.MultiToSingleDimensionPartitionMapping:
    """Return the mapping of a session to all its instruments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # dagster's word for it; it is tested by the graph's snapshot
        return dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name=DATE)


def sessions_from(start_offset: int, end_offset: int = 0) -> dg.TimeWindowPartitionMapping:
    """Return the mapping of a session to those at the offsets from it, as far as the root has them."""
    with warnings.catch_warnings():
        # Sessions before the root's first are not there, and that is how it is; dagster calls saying so "beta".
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.TimeWindowPartitionMapping(start_offset, end_offset, allow_nonexistent_upstream_partitions=True)


def ingest_key(day: date, symbol: str) -> dg.MultiPartitionKey:
    """Return the partition key of a session and instrument."""
    return dg.MultiPartitionKey({DATE: day.isoformat(), INSTRUMENT: symbol})


def key_day(context: dg.AssetExecutionContext) -> date:
    """Return the session date of the partition that is running, in either grid."""
    key = context.partition_key
    if isinstance(key, dg.MultiPartitionKey):
        return date.fromisoformat(key.keys_by_dimension[DATE])
    return date.fromisoformat(key)


def key_symbol(context: dg.AssetExecutionContext) -> str:
    """Return the instrument of the partition that is running."""
    return cast(dg.MultiPartitionKey, context.partition_key).keys_by_dimension[INSTRUMENT]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - dagster puts the grid's own time zone on naive times


def _next_weekday(day: date, round_the_clock: bool) -> date:
    following = day + timedelta(days=1)
    while not round_the_clock and following.weekday() >= 5:
        following += timedelta(days=1)
    return following

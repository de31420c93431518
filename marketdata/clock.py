"""Times and sessions: nanoseconds, trading calendars, the session that has just closed."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
NS_PER_MINUTE: Final = 60 * NS_PER_S
NS_PER_HOUR: Final = 3_600 * NS_PER_S
NS_PER_DAY: Final = 86_400 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Session:
    """One trading session, half open: ``[open_ns, close_ns)`` in nanoseconds UTC."""

    date: date
    open_ns: int
    close_ns: int


def to_ns(moment: datetime) -> int:
    """Return an aware datetime as nanoseconds since 1970 UTC.

    Raises
    ------
    ValueError
        If the datetime has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * NS_PER_S + delta.microseconds * NS_PER_US


def from_ns(ns: int) -> datetime:
    """Return nanoseconds since 1970 as a UTC datetime, cut to microseconds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // NS_PER_US)


@lru_cache(maxsize=8)
def _exchange_calendar(name: str) -> Any:
    import exchange_calendars

    # By default the package ends a calendar a year from today; ours are the same on whatever day they are asked.
    try:
        return exchange_calendars.get_calendar(name, start="2009-01-01", end="2035-12-31")
    except ValueError:  # markets that announce their holidays a year ahead
        return exchange_calendars.get_calendar(name, start="2009-01-01")


@dataclass(frozen=True, slots=True)
class Calendar:
    """The sessions of a market.

    ``name`` is a calendar of the ``exchange_calendars`` package (``XNYS``, ``XSHG``, …) or ``24/7``, whose sessions are the
    days of its time zone, midnight to midnight, open all day.
    """

    name: str
    time_zone: str

    def sessions(self, start: date, end: date) -> list[Session]:
        """Return the sessions whose date lies in ``[start, end]``, in order."""
        if self.name == "24/7":
            days = (end - start).days + 1
            return [self._whole_day(start + timedelta(days=k)) for k in range(max(days, 0))]
        calendar = _exchange_calendar(self.name)
        found = []
        for stamp in calendar.sessions_in_range(start.isoformat(), end.isoformat()):
            opened = calendar.session_open(stamp).to_pydatetime()
            closed = calendar.session_close(stamp).to_pydatetime()
            found.append(Session(stamp.date(), to_ns(opened), to_ns(closed)))
        return found

    def first_sessions(self, start: date, count: int) -> list[Session]:
        """Return the first ``count`` sessions on or after ``start``."""
        span = 3 + count * 2
        while True:
            found = self.sessions(start, start + timedelta(days=span))
            if len(found) >= count:
                return found[:count]
            span *= 2

    def session(self, day: date) -> Session:
        """Return the session of a date.

        Raises
        ------
        ValueError
            If the market is closed on that date.
        """
        found = self.sessions(day, day)
        if not found:
            raise ValueError(f"{day} is not a session of calendar {self.name}")
        return found[0]

    def last_closed(self, now_ns: int) -> Session | None:
        """Return the session that closed last at or before ``now_ns``; None if none did in the past three weeks."""
        today = from_ns(now_ns).astimezone(ZoneInfo(self.time_zone)).date()
        past = [s for s in self.sessions(today - timedelta(days=21), today) if s.close_ns <= now_ns]
        return past[-1] if past else None

    def _whole_day(self, day: date) -> Session:
        zone = ZoneInfo(self.time_zone)
        after = day + timedelta(days=1)
        opened = to_ns(datetime(day.year, day.month, day.day, tzinfo=zone))
        return Session(day, opened, to_ns(datetime(after.year, after.month, after.day, tzinfo=zone)))

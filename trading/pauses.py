"""When nothing is traded: rest by the sun at a place, days off, maintenance; the same windows in every mode (W37).

The engine takes them as controls from its start on, so that a backtest, a paper session and a live one pause at the same
nanosecond. Nightfall, sunset and local times are those of the day they fall on, with the zone's own daylight saving.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from marketdata.clock import NS_PER_S, Session, to_ns
from marketdata.settings import MaintenanceWindow, PauseSettings, Settings, SettingsError, ShabbatSettings
from trading.controls import ControlArray, pause_windows

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FRIDAY: Final = 4
BY: Final = "calendar"

Window = tuple[int, int]


def session_pauses(settings: Settings, session: Session) -> ControlArray:
    """Return the controls of the pauses that meet a session, none of them after its close.

    Raises
    ------
    SettingsError
        If the sun does not set at the place on such a day.
    """
    chosen = settings.pauses
    lead = round(chosen.lead_s * NS_PER_S)
    met = [
        (start - lead, end)
        for start, end in windows(chosen, session.open_ns - lead, session.close_ns + lead, settings.time_zone)
        if start - lead < session.close_ns and end > session.open_ns
    ]
    return pause_windows(met, flatten=chosen.policy == "flatten", by=BY)


def windows(pauses: PauseSettings, start_ns: int, end_ns: int, time_zone: str) -> list[Window]:
    """Return every window ``[start, end)`` that meets ``[start_ns, end_ns)``, in UTC nanoseconds, ordered, not joined.

    Parameters
    ----------
    time_zone : str
        In which the whole days of ``pauses.dates`` are counted.
    """
    first = datetime.fromtimestamp(start_ns / NS_PER_S, UTC).date() - timedelta(days=2)
    last = datetime.fromtimestamp(end_ns / NS_PER_S, UTC).date() + timedelta(days=2)
    days = [first + timedelta(days=k) for k in range((last - first).days + 1)]
    found = [_day(day, time_zone) for day in pauses.dates]
    for each in pauses.maintenance:
        found += [_maintenance(each, day) for day in days if each.weekday in (None, WEEKDAYS[day.weekday()])]
    if pauses.shabbat is not None:
        found += [shabbat(pauses.shabbat, day) for day in days if day.weekday() == FRIDAY]
    return sorted((start, end) for start, end in found if start < end_ns and end > start_ns)


def shabbat(place: ShabbatSettings, friday: date) -> Window:
    """Return candle lighting on a Friday and nightfall on the day after, in UTC nanoseconds.

    Raises
    ------
    SettingsError
        If the sun does not sink so far there on those days.
    """
    from astral import Observer, SunDirection
    from astral.sun import sunset, time_at_elevation

    zone = ZoneInfo(place.time_zone)
    observer = Observer(place.latitude, place.longitude)
    try:
        sets = sunset(observer, friday, tzinfo=zone)
        night = time_at_elevation(
            observer, -place.nightfall_degrees, friday + timedelta(days=1), SunDirection.SETTING, tzinfo=zone
        )
    except ValueError as error:
        raise SettingsError(f"pauses.shabbat: {friday}: {error}") from error
    return to_ns(sets - timedelta(minutes=place.candle_minutes)), to_ns(night)


def _maintenance(window: MaintenanceWindow, day: date) -> Window:
    start = to_ns(datetime.combine(day, window.start, ZoneInfo(window.time_zone)))
    return start, start + round(window.minutes * 60 * NS_PER_S)


def _day(day: date, time_zone: str) -> Window:
    zone = ZoneInfo(time_zone)
    midnight = time(0)
    return to_ns(datetime.combine(day, midnight, zone)), to_ns(
        datetime.combine(day + timedelta(days=1), midnight, zone)
    )

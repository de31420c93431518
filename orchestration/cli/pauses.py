"""The command ``pauses``: when the calendar of the settings lets nothing be traded, and what else is due at its times."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from marketdata.clock import NS_PER_S, Session, to_ns
from marketdata.settings import PauseSettings, Settings
from orchestration.cli.console import out
from orchestration.cli.overrides import With, overridden
from orchestration.cli.roots import chosen


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("pauses")(pauses)


def pauses(
    context: typer.Context,
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="From this day on (default: today).")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=400, help="So many days.")] = 14,
    changes: With = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List when nothing is traded: Shabbat by the sun, days off, maintenance, venues' downtime; and funding times.

    Pauses cancel what rests `lead_s` before they begin and flatten or hold by `policy`; a venue that is down refuses what is
    sent there.
    """
    _, settings = chosen(context).open()
    settings = overridden(settings, changes)
    first = day.date() if day else datetime.now(UTC).astimezone(ZoneInfo(settings.time_zone)).date()
    rows = calendar_rows(settings, first, days)
    if as_json:
        out.print(json.dumps(rows), markup=False)
        return
    if not rows:
        out.print(f"nothing is due from {first} on in {days} days; see the sections pauses and venues of the settings")
        return
    table = Table(title=f"{days} days from {first}, times of {settings.time_zone}")
    for name in ("what", "from", "until", "sessions that it meets"):
        table.add_column(name)
    for row in rows:
        table.add_row(row["what"], row["start_local"], row["end_local"], ", ".join(row["sessions"]) or "none")
    out.print(table)
    chosen_pauses = settings.pauses
    out.print(
        f"orders that rest are cancelled {chosen_pauses.lead_s:g} s before a pause; positions: {chosen_pauses.policy}",
        markup=False,
    )


def calendar_rows(settings: Settings, first: date, days: int) -> list[dict[str, Any]]:
    """Return every window of a number of days as plain data, by its start; funding is a window of no length.

    Raises
    ------
    SettingsError
        If the sun does not set at the place on such a day.
    """
    from trading.configured_venues import funding_controls
    from trading.pauses import windows

    zone = ZoneInfo(settings.time_zone)
    start = to_ns(datetime.combine(first, datetime.min.time(), zone))
    end = to_ns(datetime.combine(first + timedelta(days=days), datetime.min.time(), zone))
    own = settings.pauses
    lead = round(own.lead_s * NS_PER_S)
    kinds = [
        ("Shabbat", PauseSettings(shabbat=own.shabbat), lead),
        ("day off", PauseSettings(dates=own.dates), lead),
        ("maintenance", PauseSettings(maintenance=own.maintenance), lead),
        *((f"{name} is down", PauseSettings(maintenance=venue.downtime), 0) for name, venue in settings.venues.items()),
    ]
    sessions = _sessions(settings, first, days)
    found = [
        (*window, what, early)
        for what, part, early in kinds
        for window in windows(part, start, end, settings.time_zone)
    ]
    for session in sessions:
        found += [(at, at, "funding", 0) for at in set(funding_controls(settings, session)["due_ns"].tolist())]
    return [_row(zone, what, begin, until, sessions, early) for begin, until, what, early in sorted(found)]


def _row(zone: ZoneInfo, what: str, start: int, end: int, sessions: list[Session], lead: int) -> dict[str, Any]:
    met = [
        one.date.isoformat() for one in sessions if start - lead < one.close_ns and max(end, start + 1) > one.open_ns
    ]
    return {
        "what": what,
        "start_ns": start,
        "end_ns": end,
        "start_local": _local(start, zone),
        "end_local": _local(end, zone),
        "sessions": met,
    }


def _local(at_ns: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).astimezone(zone).strftime("%a %Y-%m-%d %H:%M:%S")


def _sessions(settings: Settings, first: date, days: int) -> list[Session]:
    calendar = settings.market_calendar()
    last = first + timedelta(days=days)
    return [one for one in calendar.sessions(first, last) if one.date < last]

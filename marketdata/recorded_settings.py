"""Settings of a ``recorded`` data root: made by the first ingest, grown by each later one."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from marketdata.clock import Calendar, from_ns
from marketdata.codecs.catalog import VENUES
from marketdata.instruments import BookKind, Instrument
from marketdata.presets import CRYPTO_FEES
from marketdata.settings import (
    RiskSettings,
    SamplingSettings,
    Settings,
    SettingsError,
    StrategySettings,
    TrainingSettings,
)

FEATURE_ROWS: Final = 15_000
"""Feature rows that the busiest session of the first ingest gives, about."""
ORDER_VALUE: Final = 1_000.0
"""Quote currency that one order of the default strategy is worth, about."""


CALENDARS: Final = {
    "lobster": Calendar("XNYS", "America/New_York"),
    "lean_equity": Calendar("XNYS", "America/New_York"),
    "itch50": Calendar("XNYS", "America/New_York"),
    "itch50_pcap": Calendar("XNYS", "America/New_York"),
    "shanghai": Calendar("XSHG", "Asia/Shanghai"),
    "shanghai_snapshots": Calendar("XSHG", "Asia/Shanghai"),
    "b3": Calendar("BVMF", "America/Sao_Paulo"),
}
"""Sessions of the layouts whose market has hours; the others run round the clock, in days of UTC."""
ROUND_THE_CLOCK: Final = Calendar("24/7", "UTC")


def calendar_for(layout: str) -> Calendar:
    """Return the calendar of a recording's market."""
    return CALENDARS.get(layout, ROUND_THE_CLOCK)


_ANY_DAY: Final = date(2020, 1, 2)


def new_settings(calendar: Calendar, instruments: Sequence[Instrument], start_ns: int) -> Settings:
    """Return the settings of a new root that spans the session at ``start_ns``, or the first one behind it."""
    # A table says when it begins only once it is read; the root's span is set anew then.
    first = calendar.first_sessions(from_ns(start_ns).date() if start_ns else _ANY_DAY, 1)[0]
    return Settings(
        source="recorded",
        calendar=calendar.name,
        time_zone=calendar.time_zone,
        start_date=first.date,
        sessions=1,
        instruments=numbered((), instruments),
        training=TrainingSettings(min_instruments=1, time_of_day_features=calendar.name != "24/7"),
    )


def numbered(there: Sequence[Instrument], more: Sequence[Instrument]) -> tuple[Instrument, ...]:
    """Return the instruments with those that are new behind them, numbered on; crypto venues get their usual fees."""
    known = {item.symbol for item in there}
    grown = list(there)
    for item in more:
        if item.symbol not in known:
            known.add(item.symbol)
            fees = {"fees": CRYPTO_FEES} if item.venue in VENUES else {}
            grown.append(item.model_copy(update={"instrument_id": len(grown), **fees}))
    return tuple(grown)


def spanning(settings: Settings, days: Sequence[date]) -> Settings:
    """Return settings whose sessions reach from the earliest to the latest of the root's own and these days."""
    calendar = settings.market_calendar()
    own = calendar.first_sessions(settings.start_date, settings.sessions)
    first, last = min([own[0].date, *days]), max([own[-1].date, *days])
    return settings.model_copy(update={"start_date": first, "sessions": len(calendar.sessions(first, last))})


def suited(settings: Settings, rows: int, prices: Mapping[str, float]) -> Settings:
    """Return settings of a new root suited to what its first recordings hold.

    Parameters
    ----------
    rows : int
        Events of the busiest session.
    prices : mapping of str to float
        A price of each instrument in its quote currency; orders are made worth about 1,000 of it, in the smallest lot's terms.
    """
    every = max(SamplingSettings().every_events, -(-rows // FEATURE_ROWS))
    lots = [
        ORDER_VALUE / (prices[item.symbol] * item.lot_size)
        for item in settings.instruments
        if item.symbol in prices and item.book_kind is not BookKind.TRADES_ONLY
    ]
    order = max(1, round(sorted(lots)[len(lots) // 2])) if lots else 1
    return settings.model_copy(
        update={
            "sampling": settings.sampling.model_copy(update={"every_events": every}),
            "strategy": StrategySettings(order_lots=order, max_position_lots=5 * order),
            "risk": RiskSettings(max_order_lots=5 * order, max_position_lots=10 * order),
        }
    )


def require_recorded(settings: Settings, origin: object) -> None:
    """Raise SettingsError unless the root is one of recordings."""
    if settings.source != "recorded":
        raise SettingsError(
            f"{origin}: this data root is of source {settings.source}; recordings go into one of their own: --root FOLDER"
        )


def require_calendar(settings: Settings, calendar: Calendar, origin: object) -> None:
    """Raise SettingsError unless the root has this calendar: sessions of different markets cannot share a grid."""
    if (settings.calendar, settings.time_zone) != (calendar.name, calendar.time_zone):
        raise SettingsError(
            f"{origin}: calendar: this data root has {settings.calendar} ({settings.time_zone}) and the recording is of "
            f"{calendar.name} ({calendar.time_zone}); ingest it into another root (--root FOLDER), or say --calendar"
        )

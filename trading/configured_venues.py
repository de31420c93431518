"""From the settings' ``venues`` to what an engine takes: rules by venue for one session, and funding as controls."""

import csv
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from marketdata.clock import NS_PER_S, Session, to_ns
from marketdata.settings import LatencySettings, PauseSettings, Settings, SettingsError
from marketdata.venue_settings import LegSettings, QuantileLeg, VenueLatencySettings, VenueSettings
from trading.controls import FUNDING, ControlArray, control, no_controls
from trading.latency import ConstantLatency, Latency, LatencyModel, QuantileLatency, RecordedLatency
from trading.pauses import session_pauses, windows
from trading.venue_rules import FeeSchedule, FeeTier, SquareRootImpact, VenueRules

FUNDING_BY: Final = "funding"
Int64 = npt.NDArray[np.int64]

TRIPLE_COLUMNS: Final = ("sent_ns", "venue_ns", "answered_ns")


def venue_rules(
    settings: Settings,
    session: Session,
    *,
    volumes: Mapping[str, float] | None = None,
    latency_scale: float = 1.0,
) -> dict[str, VenueRules]:
    """Return what each venue of the settings has of its own in a session; a venue that is not in ``settings.venues`` has nothing.

    Parameters
    ----------
    volumes : mapping of str to float, optional
        Quote currency that this root traded at each venue in the thirty days before, added to the settings' own ``volume``.
    latency_scale : float
        Factor on the venue's latencies, as on the settings' constants.

    Raises
    ------
    SettingsError
        If a file of recorded latencies cannot be read.
    """
    traded = volumes or {}
    return {
        name: _rules(name, own, settings, session, traded.get(name, 0.0), latency_scale)
        for name, own in settings.venues.items()
    }


def calendar_controls(settings: Settings, session: Session) -> ControlArray:
    """Return what the calendar tells an engine of a session: its pauses, and funding at the venues that have it."""
    parts = [session_pauses(settings, session), funding_controls(settings, session)]
    joined: ControlArray = np.concatenate(parts)
    ordered: ControlArray = joined[np.argsort(joined["due_ns"], kind="stable")]
    return ordered


def funding_controls(settings: Settings, session: Session) -> ControlArray:
    """Return one control a funding time and instrument within ``[open, close)``, ordered."""
    found = []
    for name, own in settings.venues.items():
        if own.funding is None:
            continue
        zone = ZoneInfo(own.funding.time_zone)
        first = datetime.fromtimestamp(session.open_ns / NS_PER_S, UTC).date() - timedelta(days=1)
        last = datetime.fromtimestamp(session.close_ns / NS_PER_S, UTC).date() + timedelta(days=1)
        days = [first + timedelta(days=k) for k in range((last - first).days + 1)]
        moments = {to_ns(datetime.combine(day, at, zone)) for day in days for at in own.funding.times}
        rate = round(own.funding.rate_bps * 1e5)
        numbers = [item.instrument_id for item in settings.instruments if item.venue == name and item.is_traded]
        found += [(at, k, rate) for at in moments if session.open_ns <= at < session.close_ns for k in numbers]
    rows = [
        control(FUNDING, at, by=FUNDING_BY, control_id=place, value=rate, instrument_id=number)
        for place, (at, number, rate) in enumerate(sorted(found), start=1)
    ]
    return np.concatenate(rows) if rows else no_controls()


def _rules(
    name: str, own: VenueSettings, settings: Settings, session: Session, traded: float, latency_scale: float
) -> VenueRules:
    fees, impact = own.fees, own.impact
    return VenueRules(
        latency=None if own.latency is None else _latency(name, own.latency, settings.latency, latency_scale),
        fees=None
        if fees is None
        else FeeSchedule(tuple(FeeTier(t.from_volume, t.maker_ppm, t.taker_ppm) for t in fees.tiers), fees.per_trade),
        volume=0.0 if fees is None else fees.volume + traded,
        impact=None if impact is None else SquareRootImpact(impact.coefficient_bps, impact.daily_lots),
        downtime=_downtime(own, session, settings.time_zone),
        on_downtime=own.on_downtime,
        on_halt=own.on_halt,
    )


def _downtime(own: VenueSettings, session: Session, time_zone: str) -> tuple[tuple[int, int], ...]:
    """Return the windows that meet the session, overlapping ones joined."""
    recurring = PauseSettings(maintenance=own.downtime)
    joined: list[tuple[int, int]] = []
    for start, end in windows(recurring, session.open_ns, session.close_ns, time_zone):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return tuple(joined)


def _latency(name: str, own: VenueLatencySettings, default: LatencySettings, scale: float) -> LatencyModel:
    legs: tuple[Latency, Latency, Latency, Latency]
    if own.triples is not None:
        sent, venue, answered = _triples(own.triples, f"venues.{name}.latency.triples")
        if own.triples_as == "recorded":
            try:
                legs = LatencyModel.from_triples(sent, venue, answered).legs()
            except ValueError as error:
                raise SettingsError(f"venues.{name}.latency.triples: {own.triples}: {error}") from error
        else:
            there, back = QuantileLatency.of(venue - sent), QuantileLatency.of(answered - venue)
            legs = (there, there, there, back)
    else:
        order, answer = ConstantLatency(default.order_ns), ConstantLatency(default.response_ns)
        legs = (_leg(own.new, order), _leg(own.cancel, order), _leg(own.modify, order), _leg(own.answer, answer))
    scaled = [_scaled(leg, scale) for leg in legs]
    return LatencyModel(scaled[0], scaled[1], scaled[2], scaled[3], own.seed)


def _leg(own: LegSettings | None, default: Latency) -> Latency:
    if own is None:
        return default
    return QuantileLatency(own.ns) if isinstance(own, QuantileLeg) else ConstantLatency(own.ns)


def _scaled(leg: Latency, scale: float) -> Latency:
    if scale == 1.0:
        return leg
    if isinstance(leg, ConstantLatency):
        return ConstantLatency(round(leg.ns * scale))
    values = tuple(round(ns * scale) for ns in leg.ns)
    return QuantileLatency(values) if isinstance(leg, QuantileLatency) else RecordedLatency(leg.at_ns, values)


def _triples(path: Path, field: str) -> tuple[Int64, Int64, Int64]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise SettingsError(f"{field}: {path} cannot be read ({error.strerror})") from error
    try:
        table = np.array([[int(row[column]) for column in TRIPLE_COLUMNS] for row in rows], np.int64).reshape(-1, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{field}: {path} is no CSV of whole numbers with {', '.join(TRIPLE_COLUMNS)}") from error
    table = table[np.argsort(table[:, 0], kind="stable")]
    if not len(table) or bool(np.any(np.diff(table, axis=1) < 0)):
        raise SettingsError(f"{field}: {path} needs rows with sent_ns <= venue_ns <= answered_ns")
    return table[:, 0], table[:, 1], table[:, 2]

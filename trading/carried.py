"""What a session leaves for the ones after it: volumes that decide fee tiers, volatilities that decide sizes.

The night writes one small file a session (:data:`CARRIED_FILE`). Whoever trades a later session, the night, a live executor or a
backtest, adds up what the sessions before it left, and nothing of the session itself. Sessions that nobody traded leave no
volume, but a volatility: it is read from their stored feature rows.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marketdata.clock import NS_PER_MINUTE, Session
from marketdata.instruments import Instrument
from marketdata.partitions import PartitionMissing, PartitionQuarantined, load_partition
from marketdata.paths import DataRoot, PartitionKey
from marketdata.settings import Settings, SettingsError
from trading.controls import CONTROL_DTYPE, SIZE_SCALE, ControlArray, no_controls
from trading.journal import FILL, FORECAST, Journal
from trading.ledger import MILLION
from trading.sizing import volatility_scale
from trading.venue_rules import volume_before

CARRIED_FILE: Final = "carried.json"
SIZED_BY: Final = "volatility"
QUOTE_COLUMNS: Final = ("ts_recv", "bid_units", "ask_units")
CLOSED_DAYS: Final = 12
"""Days without a session that may lie between the last ones, beside two in three."""
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SessionTrace:
    """What one session was like.

    Attributes
    ----------
    volumes : mapping of venue to float
        Quote currency bought and sold.
    volatility : mapping of symbol to float
        Root of the sum of squared one-minute log returns of the mid: the relative move of a session. Only instruments that were
        quoted.
    """

    day: date
    volumes: Mapping[str, float]
    volatility: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """What all sessions before one left to it.

    Attributes
    ----------
    volumes : mapping of venue to float
        Quote currency traded in the thirty days before.
    volatility : mapping of symbol to float
        Root of the mean realised variance of the last sessions; an instrument that is missing is not known yet.
    """

    volumes: Mapping[str, float] = field(default_factory=dict)
    volatility: Mapping[str, float] = field(default_factory=dict)


def nothing_carried() -> CarriedOver:
    """Return what a first session starts with."""
    return CarriedOver()


def session_trace(day: date, journal: Journal, instruments: Sequence[Instrument]) -> SessionTrace:
    """Return what a session's journal says of volume and volatility.

    Quotes are those that stood when forecasts arrived; each minute's is the last one in it.
    """
    volumes: dict[str, float] = {}
    volatility = {}
    fills, seen = journal[journal["kind"] == FILL], journal[journal["kind"] == FORECAST]
    for item in instruments:
        own = fills[fills["instrument_id"] == item.instrument_id]
        value = sum(int(row["price_units"]) * int(row["size_lots"]) for row in own) * item.unit_nanos / 1e9
        if value:
            volumes[item.venue] = volumes.get(item.venue, 0.0) + value
        rows = seen[seen["instrument_id"] == item.instrument_id]
        found = quoted_volatility(rows["ts_ns"], rows["bid_units"], rows["ask_units"])
        if found is not None:
            volatility[item.symbol] = found
    return SessionTrace(day, volumes, volatility)


def quoted_volatility(ts_ns: Int64, bid_units: Int64, ask_units: Int64) -> float | None:
    """Return the root of the sum of squared one-minute log returns of the mid, by each minute's last quotes.

    Rows with an empty side (0) are left out; None for fewer than two minutes.
    """
    quoted = (bid_units > 0) & (ask_units > 0)
    ts_ns, bid_units, ask_units = ts_ns[quoted], bid_units[quoted], ask_units[quoted]
    minute = ts_ns // NS_PER_MINUTE
    last = np.flatnonzero(np.diff(minute, append=-1) != 0)
    if len(last) < 2:
        return None
    mid = np.log((bid_units[last] + ask_units[last]) / 2.0)
    return math.sqrt(math.fsum(float(step) ** 2 for step in np.diff(mid)))


def rows_trace(day: date, rows: Mapping[str, tuple[Int64, Int64, Int64]]) -> SessionTrace:
    """Return the trace of a session that nobody traded: no volume, the volatility of its decision rows.

    Parameters
    ----------
    rows : mapping of symbol to (ts_recv, bid_units, ask_units)
    """
    found = {symbol: quoted_volatility(*columns) for symbol, columns in rows.items()}
    return SessionTrace(day, {}, {symbol: value for symbol, value in found.items() if value is not None})


def carry_over(settings: Settings, day: date, traces: Sequence[SessionTrace]) -> CarriedOver:
    """Return what the sessions before ``day`` left; traces of that day or later are not looked at."""
    before = sorted((trace for trace in traces if trace.day < day), key=lambda trace: trace.day)
    venues = sorted({name for trace in before for name in trace.volumes})
    volumes = {
        name: volume_before(day, {trace.day: trace.volumes[name] for trace in before if name in trace.volumes})
        for name in venues
    }
    volatility = {}
    for item in settings.instruments:
        found = [trace.volatility[item.symbol] for trace in before if item.symbol in trace.volatility]
        recent = found[-settings.sizing.volatility_sessions :]
        if recent:
            volatility[item.symbol] = math.sqrt(math.fsum(value**2 for value in recent) / len(recent))
    return CarriedOver(volumes, volatility)


def size_controls(settings: Settings, session: Session, carried: CarriedOver) -> ControlArray:
    """Return one size scale an instrument, due at the session's open; none where the settings name no target.

    An instrument of which no session is known has the least size until one is: a whole order of the strategy becomes one lot.
    """
    target = settings.sizing.volatility_target
    if target is None:
        return no_controls()
    least = 1.0 / max(min(settings.strategy.order_lots, settings.strategy.max_position_lots), 1)
    rows = np.zeros(len(settings.instruments), CONTROL_DTYPE)
    rows["due_ns"], rows["kind"], rows["by"] = session.open_ns, SIZE_SCALE, SIZED_BY.encode()
    rows["control_id"] = np.arange(1, len(rows) + 1)
    for k, item in enumerate(settings.instruments):
        known = carried.volatility.get(item.symbol)
        scale = least if known is None else volatility_scale(target, known)
        rows["instrument_id"][k], rows["value"][k] = item.instrument_id, int(scale * MILLION)
    return rows


def save_trace(root: DataRoot, trace: SessionTrace) -> dict[str, Any]:
    """Write a session's trace beside its night's results, whole or not at all, and return what was written."""
    path = root.night(trace.day) / CARRIED_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {"day": trace.day.isoformat(), "volumes": dict(trace.volumes), "volatility": dict(trace.volatility)}
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return values


def load_carried(root: DataRoot, settings: Settings, day: date) -> CarriedOver:
    """Return what the sessions before ``day`` left in a data root.

    Its nights' traces count, and where sizes follow the volatility also the stored rows of sessions without a trace.

    Raises
    ------
    SettingsError
        If a night's file is damaged; the message names it.
    """
    traces = []
    for path in sorted(root.nights.glob(f"*/{CARRIED_FILE}")):
        if path.parent.name >= day.isoformat():
            continue
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            traces.append(SessionTrace(date.fromisoformat(values["day"]), values["volumes"], values["volatility"]))
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(f"{path}: damaged ({error}); run that night again") from error
    if settings.sizing.volatility_target is not None:
        traces += _stored_traces(root, settings, day, {trace.day for trace in traces})
    return carry_over(settings, day, traces)


def _stored_traces(root: DataRoot, settings: Settings, day: date, traced: set[date]) -> list[SessionTrace]:
    """Return the traces of the last sessions before ``day`` that are published and left none, as many as sizes look back."""
    found: list[SessionTrace] = []
    wanted = settings.sizing.volatility_sessions
    for back in range(1, 3 * wanted + CLOSED_DAYS):
        when = day - timedelta(days=back)
        if when in traced or len(found) == wanted:
            continue
        rows = {}
        for item in settings.instruments:
            try:
                frame = load_partition(root, PartitionKey("feature_rows", when, item.symbol), QUOTE_COLUMNS)
            except (PartitionMissing, PartitionQuarantined):
                continue
            ts_recv, bid, ask = (frame[name].to_numpy() for name in QUOTE_COLUMNS)
            rows[item.symbol] = (ts_recv, bid, ask)
        trace = rows_trace(when, rows)
        if trace.volatility:
            found.append(trace)
    return found

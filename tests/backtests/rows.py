"""Synthetic decision rows for the screen and the controls: random walks with a spread, and forecasts as good as one wants."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from features.dataset import Dataset
from marketdata.clock import NS_PER_DAY, NS_PER_HOUR, NS_PER_S, Session
from marketdata.instruments import Fees, Instrument
from marketdata.settings import Settings
from models.forecast import FORECAST_DTYPE, ForecastArray, quantise

FIRST = date(2024, 3, 4)
OPEN_NS = 1_709_562_600 * NS_PER_S


def instruments(count: int) -> tuple[Instrument, ...]:
    return tuple(
        Instrument(
            symbol=f"I{k}", instrument_id=k, venue="T", unit_nanos=10**7, price_decimals=0.01, fees=Fees(taker_ppm=10)
        )
        for k in range(count)
    )


def make_settings(count: int = 2, **sections: object) -> Settings:
    values: dict[str, object] = {
        "source": "simulated",
        "calendar": "XNYS",
        "time_zone": "America/New_York",
        "start_date": FIRST,
        "sessions": 10,
        "instruments": instruments(count),
    }
    return Settings.model_validate(values | sections)


def make_rows(
    settings: Settings, seed: int, *, days: int = 5, hours: float = 3.0, per_hour: int = 300, joined: bool = False
) -> Dataset:
    """Rows of random walks: a mid in units, a spread of two, a move over the horizon that nothing in the row tells."""
    rng = np.random.default_rng(seed)
    span = int(hours * NS_PER_HOUR)
    step = span if joined else NS_PER_DAY
    sessions = tuple(
        Session(FIRST + timedelta(days=k), OPEN_NS + k * step, OPEN_NS + k * step + span) for k in range(days)
    )
    horizon = settings.label.horizon_ns
    parts = []
    for s, session in enumerate(sessions):
        for item in settings.instruments:
            n = int(per_hour * hours)
            ts = np.sort(rng.integers(session.open_ns + NS_PER_S, session.close_ns - NS_PER_S, n))
            mid = 10_000 + 500 * item.instrument_id + np.cumsum(rng.choice([-6, -3, 0, 3, 6], n))
            arrive = ts + settings.latency.to_venue_ns
            later = np.searchsorted(ts, ts + horizon)
            move = np.where(later < n, mid[np.minimum(later, n - 1)] - mid, np.nan)
            parts.append((np.full(n, s), ts, arrive, mid, move, np.full(n, item.instrument_id)))
    session_of, ts, arrive, mid, move, number = (np.concatenate(c) for c in zip(*parts, strict=True))
    order = np.lexsort((number, ts))
    session_of, ts, arrive, mid, move, number = (c[order] for c in (session_of, ts, arrive, mid, move, number))
    y = np.where(np.isnan(move), -128, np.sign(np.where(np.abs(move) > 1.2, move, 0.0))).astype(np.int8)
    lots = np.full(len(ts), 50)
    return Dataset(
        columns=("noise",),
        sessions=sessions,
        instruments=settings.instruments,
        memory_ns=60 * NS_PER_S,
        horizon_ns=horizon,
        fingerprint="test",
        x=rng.normal(size=(len(ts), 1)).astype(np.float32),
        y=y,
        ts_recv=ts,
        ts_event=ts,
        ts_known=ts + horizon,
        instrument_id=number.astype(np.int16),
        session=session_of.astype(np.int32),
        move_units=move,
        threshold_units=np.full(len(ts), 1.1),
        bid_units=mid - 1,
        ask_units=mid + 1,
        arrive_ns=arrive,
        entry_bid_units=mid - 1,
        entry_ask_units=mid + 1,
        entry_bid_lots=lots,
        entry_ask_lots=lots,
    )


def make_forecasts(
    dataset: Dataset, settings: Settings, seed: int, *, skill: float, size: float = 3.0
) -> ForecastArray:
    """Forecasts that are the true move in a share ``skill`` of the rows, and noise of ``size`` units elsewhere."""
    rng = np.random.default_rng(seed)
    truth = np.nan_to_num(dataset.move_units)
    edge = np.where(rng.random(len(dataset)) < skill, truth, rng.normal(0.0, size, len(dataset)))
    up = np.clip(0.4 + 0.1 * edge, 0.05, 0.85)
    out = np.zeros(len(dataset), FORECAST_DTYPE)
    out["ts_recv"], out["due_ns"] = dataset.ts_recv, dataset.ts_recv + settings.latency.inference_ns
    out["instrument_id"] = dataset.instrument_id
    out["edge_units"], out["p_up"], out["p_down"] = quantise(edge), quantise(up), quantise(0.9 - up)
    out["p_flat"] = quantise(np.full(len(dataset), 0.1))
    return out


def take_sessions(dataset: Dataset, count: int) -> Dataset:
    kept = dataset.take(dataset.session < count)
    return replace(kept, sessions=dataset.sessions[:count])

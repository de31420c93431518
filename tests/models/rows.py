"""A small dataset with the columns that the models look for, made of random numbers with a known effect."""

from datetime import date

import numpy as np

from features.aggressors import KIND_NAMES
from features.dataset import LABEL_MISSING, NEVER_KNOWN, Dataset
from marketdata.clock import NS_PER_S, Calendar
from marketdata.instruments import Instrument
from marketdata.settings import Settings, TrainingSettings
from models.hawkes_likelihood import PointEvents

HORIZON_NS = 10 * NS_PER_S
DECAYS = (10.0, 1.0, 0.1)
COLUMNS = (
    "spread_bps",
    "depth_imbalance_l1",
    "ofi_best_1s",
    "ofi_best_10s",
    "trade_intensity_1s",
    "trade_intensity_10s",
    "realised_vol_bps_1s",
    "realised_vol_bps_10s",
    "last_trade_sign",
    *(f"hawkes_s_{kind}_{k}" for kind in KIND_NAMES for k in range(len(DECAYS))),
    "time_of_day",
    "time_of_day_sin",
    "time_of_day_cos",
)


def small_settings(**training) -> Settings:
    values = {"deep_steps": 30, "deep_batch": 64, "first_train_units": 2, **training}
    return Settings(
        source="simulated",
        calendar="XNYS",
        time_zone="America/New_York",
        start_date=date(2026, 3, 2),
        sessions=5,
        instruments=instruments(3),
        training=TrainingSettings(**values),
    )


def instruments(count: int) -> tuple[Instrument, ...]:
    grid = {"venue": "SIM", "unit_nanos": 1_000, "price_decimals": 0.01}
    return tuple(Instrument(symbol=f"S{k}", instrument_id=k, **grid) for k in range(count))


def small_dataset(*, sessions: int = 4, rows: int = 240, count: int = 3, seed: int = 5, effect: float = 2.0) -> Dataset:
    """Return ``rows`` rows an instrument and session; imbalance and a calm or a busy regime move the label."""
    generator = np.random.default_rng(seed)
    days = Calendar("XNYS", "America/New_York").first_sessions(date(2026, 3, 2), sessions)
    parts = []
    for s, session in enumerate(days):
        length = session.close_ns - session.open_ns
        for k in range(count):
            ts = session.open_ns + np.sort(generator.choice(length // 1_000, rows, replace=False)) * 1_000
            x = generator.normal(size=(rows, len(COLUMNS)))
            busy = (np.cumsum(generator.random(rows) < 0.02) % 2).astype(bool)
            for name in ("realised_vol_bps_1s", "realised_vol_bps_10s", "trade_intensity_1s", "trade_intensity_10s"):
                x[:, COLUMNS.index(name)] = np.abs(x[:, COLUMNS.index(name)]) * 0.3 + np.where(busy, 4.0, 1.0)
            for f, name in enumerate(COLUMNS):
                if name.startswith("hawkes_s_"):
                    x[:, f] = np.abs(x[:, f])
            x[:, COLUMNS.index("last_trade_sign")] = np.sign(x[:, COLUMNS.index("last_trade_sign")])
            share = (ts - session.open_ns) / length
            x[:, COLUMNS.index("time_of_day")] = share
            score = effect * x[:, COLUMNS.index("depth_imbalance_l1")] + generator.logistic(size=rows)
            y = np.where(score > 1.0, 1, np.where(score < -1.0, -1, 0)).astype(np.int8)
            x[generator.random(x.shape) < 0.01] = np.nan
            y[-3:] = LABEL_MISSING
            known = np.where(y == LABEL_MISSING, NEVER_KNOWN, ts + HORIZON_NS + 4_100_000)
            move = np.where(y == LABEL_MISSING, np.nan, y * 3.0 + generator.normal(size=rows) * 0.1)
            parts.append((ts, np.full(rows, k), np.full(rows, s), x, y, known, move))
    ts, instrument, session_index, x, y, known, move = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((instrument, ts))
    ts = ts[order]
    return Dataset(
        columns=COLUMNS,
        sessions=tuple(days),
        instruments=instruments(count),
        memory_ns=60 * NS_PER_S,
        horizon_ns=HORIZON_NS,
        fingerprint="test",
        x=x[order].astype(np.float32),
        y=y[order],
        ts_recv=ts,
        ts_event=ts - 1_000_000,
        ts_known=known[order],
        instrument_id=instrument[order].astype(np.int16),
        session=session_index[order].astype(np.int32),
        move_units=move[order],
        threshold_units=np.ones(len(ts)),
        bid_units=np.full(len(ts), 10_000),
        ask_units=np.full(len(ts), 10_002),
        arrive_ns=ts + 4_100_000,
        entry_bid_units=np.full(len(ts), 10_000),
        entry_ask_units=np.full(len(ts), 10_002),
        entry_bid_lots=np.full(len(ts), 5),
        entry_ask_lots=np.full(len(ts), 5),
    )


def small_points(dataset: Dataset, *, events: int = 600, seed: int = 9) -> dict[tuple[int, int], PointEvents]:
    """Return uniformly random point events of every session and instrument."""
    generator = np.random.default_rng(seed)
    points = {}
    for s, session in enumerate(dataset.sessions):
        for item in dataset.instruments:
            ts = np.sort(generator.integers(session.open_ns, session.close_ns, events))
            points[s, item.instrument_id] = PointEvents(ts, generator.integers(0, 4, events).astype(np.uint8))
    return points

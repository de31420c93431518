"""A simulated session as frames: the tape in the event form, and the truth behind it."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from marketdata.clock import NS_PER_S, Session
from marketdata.settings import Settings
from marketdata.simulator.latent import Episodes, Latent
from marketdata.simulator.parameters import (
    EPISODE_PUSH_S,
    MOOD_UNITS_PER_S,
    REGIMES,
    STEP_S,
    Character,
    Float64,
    Lead,
    branching_table,
)
from marketdata.simulator.tape import TRUTH_COLUMNS, TRUTH_EVERY, Tape
from marketdata.simulator.truth import MarketTruth
from marketdata.simulator.visits import Visits


@dataclass(frozen=True, slots=True)
class Run:
    """One instrument's finished run: rows of the tape and uninformed market orders that are in use, and what became of visits."""

    character: Character
    episodes: Episodes
    tape: Tape
    rows: int
    orders: int
    visits: Visits


def tick_frame(run: Run, instrument_id: int) -> pl.DataFrame:
    """Return the tape's rows in the event form, without a receive clock."""
    tape, n = run.tape, run.rows
    return pl.DataFrame(
        {
            "ts_event": tape.ts_event[:n],
            "price_units": tape.price_units[:n],
            "size_lots": tape.size_lots[:n],
            "order_id": tape.order_id[:n],
            "sequence": tape.sequence[:n],
            "instrument_id": np.full(n, instrument_id, np.int16),
            "action": tape.action[:n],
            "side": tape.side[:n],
            "flags": tape.flags[:n],
        }
    )


def truth_frames(
    settings: Settings, session: Session, latent: Latent, runs: dict[str, Run], leads: list[Lead]
) -> MarketTruth:
    """Return the truth behind a session's runs, by symbol."""
    step_ns = int(STEP_S * NS_PER_S)
    changes = np.flatnonzero(np.diff(latent.regime)) + 1
    starts = np.concatenate([[0], changes])
    ends = np.concatenate([changes, [latent.steps]])
    regimes = pl.DataFrame(
        {
            "start_ns": session.open_ns + starts * step_ns,
            "end_ns": session.open_ns + ends * step_ns,
            "regime": [REGIMES[k] for k in latent.regime[starts]],
        }
    )
    symbols = {item.instrument_id: item.symbol for item in settings.instruments}
    graph = pl.DataFrame(
        {
            "leader": [symbols[lead.leader] for lead in leads],
            "follower": [symbols[lead.follower] for lead in leads],
            "excitation": [lead.excitation for lead in leads],
            "price_share": [lead.price_share for lead in leads],
            "lag_s": [lead.lag_s for lead in leads],
        },
        schema={
            "leader": pl.String,
            "follower": pl.String,
            "excitation": pl.Float64,
            "price_share": pl.Float64,
            "lag_s": pl.Float64,
        },
    )
    drifts = [_drift_frame(s, session, r.episodes.push_s, r.episodes.moves) for s, r in runs.items()]
    for lead in leads:
        led = runs[symbols[lead.leader]].episodes
        moves: Float64 = lead.price_share * led.moves
        drifts.append(_drift_frame(symbols[lead.follower], session, led.push_s + lead.lag_s, moves))
    minutes = np.arange(0, latent.steps, int(60 / STEP_S))
    tilt = np.add.reduceat(latent.mood, minutes) * MOOD_UNITS_PER_S * STEP_S
    if np.any(tilt != 0.0):
        edges = np.minimum(np.append(minutes, latent.steps), latent.steps) * step_ns + session.open_ns
        for symbol in runs:
            drifts.append(
                pl.DataFrame(
                    {"symbol": [symbol] * len(tilt), "start_ns": edges[:-1], "end_ns": edges[1:], "move_units": tilt}
                )
            )
    return MarketTruth(
        regimes=regimes,
        episodes=pl.concat([_episode_frame(symbol, session, run.episodes) for symbol, run in runs.items()]),
        drift=pl.concat(drifts),
        path=pl.concat([_path_frame(symbol, session, run, latent.steps) for symbol, run in runs.items()]),
        graph=graph,
        mood=pl.DataFrame(
            {
                "ts": session.open_ns + minutes * step_ns,
                "mood": latent.mood[minutes],
                "slow_mood": latent.slow_mood[minutes],
            }
        ),
        orders=pl.concat([_orders_frame(symbol, session, run) for symbol, run in runs.items()]),
        kernels=pl.DataFrame(branching_table(), schema=["child", "parent", "decay_per_s", "branching"], orient="row"),
    )


def _ns(session: Session, seconds: Float64) -> np.ndarray:
    return session.open_ns + np.rint(seconds * NS_PER_S).astype(np.int64)


def _drift_frame(symbol: str, session: Session, push_s: Float64, moves: Float64) -> pl.DataFrame:
    columns = {"start_ns": _ns(session, push_s), "end_ns": _ns(session, push_s + EPISODE_PUSH_S), "move_units": moves}
    frame = pl.DataFrame(columns, schema={"start_ns": pl.Int64, "end_ns": pl.Int64, "move_units": pl.Float64})
    return frame.select(pl.lit(symbol).alias("symbol"), pl.all())


def _episode_frame(symbol: str, session: Session, episodes: Episodes) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "start_ns": _ns(session, episodes.start_s),
            "push_ns": _ns(session, episodes.push_s),
            "end_ns": _ns(session, episodes.push_s + EPISODE_PUSH_S),
            "direction": episodes.direction,
            "move_units": np.full(len(episodes), episodes.move_units),
        },
        schema={
            "start_ns": pl.Int64,
            "push_ns": pl.Int64,
            "end_ns": pl.Int64,
            "direction": pl.Int64,
            "move_units": pl.Float64,
        },
    )
    return frame.select(pl.lit(symbol).alias("symbol"), pl.all())


def _orders_frame(symbol: str, session: Session, run: Run) -> pl.DataFrame:
    columns = {
        "ts": _ns(session, run.tape.order_s[: run.orders]),
        "side": 1 - 2 * run.tape.order_side[: run.orders],
    }
    return pl.DataFrame(columns).select(pl.lit(symbol).alias("symbol"), pl.all())


def _path_frame(symbol: str, session: Session, run: Run, steps: int) -> pl.DataFrame:
    rows = steps // TRUTH_EVERY
    times = session.open_ns + (np.arange(rows) + 1) * int(TRUTH_EVERY * STEP_S * NS_PER_S)
    columns = {name: run.tape.truth[:rows, k] for k, name in enumerate(TRUTH_COLUMNS)}
    return pl.DataFrame({"symbol": [symbol] * rows, "ts": times, **columns})

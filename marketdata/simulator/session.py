"""Simulate one session of the whole market: every instrument's tape, the slow data beside it, and the truth behind both."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from marketdata.clock import NS_PER_S, Session
from marketdata.instruments import Instrument
from marketdata.matching import empty_matching_book
from marketdata.settings import Settings
from marketdata.simulator.actions import PROCESSES, Flow
from marketdata.simulator.calibration import informed_move_units
from marketdata.simulator.flow import PRICE_LEFT, TAPE_FULL, run_flow
from marketdata.simulator.latent import (
    Episodes,
    Latent,
    draw_episodes,
    draw_latent,
    generator,
    informed_rate,
    news_on_grid,
    pushes_on_grid,
)
from marketdata.simulator.parameters import (
    ADD_LOTS,
    ADD_WEIGHTS,
    CHARACTERS,
    EPISODE_PUSH_S,
    EVENTS_PER_HOUR,
    FAST_DECAY,
    INFORMED_LOTS,
    INFORMED_WEIGHTS,
    LEAD_DELAY_S,
    LEADS,
    MARKET_LOTS,
    MARKET_ORDERS_PER_S,
    MARKET_WEIGHTS,
    MIDDLE_BRANCHING,
    MIDDLE_DECAY,
    MOOD_UNITS_PER_S,
    REGIME_HALF_SPREAD,
    REGIMES,
    SLOW_BRANCHING,
    SLOW_DECAY,
    STEP_S,
    Character,
    Float64,
    Lead,
    cumulative,
    fast_excitation,
    market_order_branching,
)
from marketdata.simulator.slow import simulate_options, simulate_posts, simulate_transfers
from marketdata.simulator.tape import TRUTH_COLUMNS, TRUTH_EVERY, Tape
from marketdata.simulator.truth import MarketTruth

PRICE_WINDOW_UNITS = 4_000
OPEN_WALK_UNITS = 80.0
PUSH_ROWS_PER_S = 12.0
ROWS_PER_INFORMED_ORDER = 2.8


@dataclass(frozen=True, slots=True)
class SimulatedSession:
    """One simulated session.

    Attributes
    ----------
    ticks : dict of str to pl.DataFrame
        Rows of each instrument in order: ``ts_event, price_units, size_lots, order_id, sequence, instrument_id, action, side,
        flags`` (the event form before a receive clock).
    options, posts, transfers : pl.DataFrame
        Slow raw data of all instruments, ordered by ``ts_known``.
    truth : MarketTruth
        What was behind them.
    """

    ticks: dict[str, pl.DataFrame]
    options: pl.DataFrame
    posts: pl.DataFrame
    transfers: pl.DataFrame
    truth: MarketTruth


@dataclass(frozen=True, slots=True)
class _Run:
    """One instrument's finished run."""

    character: Character
    episodes: Episodes
    tape: Tape
    rows: int
    orders: int


def simulate_session(settings: Settings, session: Session, index: int) -> SimulatedSession:
    """Simulate a session.

    Everything is a function of (settings, session date), but for the opening price, which follows a seeded daily walk.

    Parameters
    ----------
    settings : Settings
        ``simulator`` and ``instruments`` are read.
    session : Session
        Times of the session.
    index : int
        Place of the session in the root's calendar, from 0; read by the daily walk only.

    Returns
    -------
    SimulatedSession
    """
    latent = draw_latent(settings.simulator, session)
    runs: dict[int, _Run] = {}
    for item in sorted(settings.instruments, key=lambda i: i.instrument_id):
        runs[item.instrument_id] = _run_instrument(settings, session, index, item, latent, runs)
    by_symbol = {item.symbol: runs[item.instrument_id] for item in settings.instruments}
    truth = _truth(settings, session, latent, by_symbol)
    return SimulatedSession(
        ticks={item.symbol: _tick_frame(by_symbol[item.symbol], item.instrument_id) for item in settings.instruments},
        options=simulate_options(settings, session, latent, truth),
        posts=simulate_posts(settings, session, latent),
        transfers=simulate_transfers(settings, session, latent),
        truth=truth,
    )


def character_of(instrument: Instrument) -> Character:
    """Return the character of an instrument."""
    return CHARACTERS[instrument.instrument_id % len(CHARACTERS)]


def leads_in_force(settings: Settings) -> list[Lead]:
    """Return the lead-lag edges between the instruments present; none in a market without information."""
    present = {item.instrument_id for item in settings.instruments}
    if settings.simulator.world == "n1":
        return []
    return [lead for lead in LEADS if lead.leader in present and lead.follower in present]


def opening_units(settings: Settings, instrument: Instrument, index: int) -> int:
    """Return the opening price of a session: the instrument's first price plus one seeded step a session before it."""
    walk = generator(settings.simulator.seed, settings.start_date, f"daily walk/{instrument.symbol}")
    steps = walk.standard_normal(max(index, 0))
    return round(character_of(instrument).open_units + OPEN_WALK_UNITS * float(steps.sum()))


def _run_instrument(
    settings: Settings, session: Session, index: int, item: Instrument, latent: Latent, runs: dict[int, _Run]
) -> _Run:
    simulator = settings.simulator
    character = character_of(item)
    duration_s = (session.close_ns - session.open_ns) / NS_PER_S
    pace = simulator.events_per_session / (EVENTS_PER_HOUR * duration_s / 3_600.0)
    episodes = draw_episodes(
        generator(simulator.seed, session.date, f"episodes/{item.symbol}"),
        duration_s if simulator.world != "n1" else 0.0,
        pace,
        informed_move_units(item, simulator.signal),
    )
    leads = [(lead, runs[lead.leader]) for lead in leads_in_force(settings) if lead.follower == item.instrument_id]
    own = generator(simulator.seed, session.date, f"news/{item.symbol}").standard_normal(latent.steps)
    news = news_on_grid(latent, character, own, pace)
    news += pushes_on_grid(episodes.push_s, episodes.moves, latent.steps)
    for lead, run in leads:
        passed = lead.price_share * run.episodes.moves
        news += pushes_on_grid(run.episodes.push_s + lead.lag_s, passed, latent.steps)
    informed = informed_rate(episodes, latent.steps)
    open_units = opening_units(settings, item, index)
    lead_s, lead_side, lead_jump = _leading_orders(leads)
    flow = Flow(
        activity=latent.activity,
        half_spread=character.half_spread_units + np.array(REGIME_HALF_SPREAD)[latent.regime],
        news=news,
        informed=informed,
        planned_rows=_planned_rows(simulator.events_per_session, latent, episodes, informed),
        lead_s=lead_s,
        lead_jump=lead_jump,
        lead_side=lead_side,
        excitation=fast_excitation(),
        middle_jump=np.array(MIDDLE_BRANCHING) * MIDDLE_DECAY,
        slow_jump=np.array(SLOW_BRANCHING) * SLOW_DECAY,
        add_lots=ADD_LOTS,
        add_share=cumulative(ADD_WEIGHTS),
        market_lots=MARKET_LOTS,
        market_share=cumulative(MARKET_WEIGHTS),
        informed_lots=INFORMED_LOTS,
        informed_share=cumulative(INFORMED_WEIGHTS),
        base_order_rate=0.5 * MARKET_ORDERS_PER_S * (1.0 - market_order_branching()),
        impact_units=character.impact_units,
        open_units=float(open_units),
        pace=pace,
        mean_root_lots=float(np.sum(np.sqrt(MARKET_LOTS) * MARKET_WEIGHTS) / MARKET_WEIGHTS.sum()),
    )
    rows = int(simulator.events_per_session * 1.25) + 4_096
    while True:
        stream = generator(simulator.seed, session.date, f"flow/{item.symbol}")
        state = stream.integers(0, 2**63, 1).astype(np.uint64)
        tape = _empty_tape(rows, latent.steps)
        book = empty_matching_book(open_units - PRICE_WINDOW_UNITS, 2 * PRICE_WINDOW_UNITS, max_ids=rows + 1)
        written, orders = run_flow(book, tape, flow, state, session.open_ns, session.close_ns)
        if written == PRICE_LEFT:
            raise ValueError(
                f"simulated {item.symbol} {session.date} moved more than {PRICE_WINDOW_UNITS} units in a session"
            )
        if written != TAPE_FULL:
            return _Run(character, episodes, tape, written, orders)
        rows *= 2


def _leading_orders(leads: list[tuple[Lead, _Run]]) -> tuple[Float64, np.ndarray, Float64]:
    """Return times, sides and jumps of the leaders' market orders, in time order."""
    if not leads:
        return np.zeros(0), np.zeros(0, np.int64), np.zeros(0)
    times = np.concatenate([run.tape.order_s[: run.orders] + LEAD_DELAY_S for _, run in leads])
    sides = np.concatenate([run.tape.order_side[: run.orders] for _, run in leads])
    jumps = np.concatenate([np.full(run.orders, lead.excitation * FAST_DECAY) for lead, run in leads])
    order = np.argsort(times, kind="stable")
    return times[order], sides[order], jumps[order]


def _planned_rows(target: int, latent: Latent, episodes: Episodes, informed: Float64) -> Float64:
    """Return the rows that the tape should hold by the end of each step; activity is steered towards it."""
    extra = np.abs(informed) * ROWS_PER_INFORMED_ORDER * STEP_S
    if len(episodes):
        extra += np.abs(pushes_on_grid(episodes.push_s, np.ones(len(episodes)), latent.steps)) * (
            PUSH_ROWS_PER_S * EPISODE_PUSH_S
        )
    base = latent.activity / latent.activity.sum()
    left = max(target - float(extra.sum()), 0.3 * target)
    planned = np.cumsum(extra + base * left)
    return planned * (target / planned[-1])


def _empty_tape(rows: int, steps: int) -> Tape:
    return Tape(
        ts_event=np.zeros(rows, np.int64),
        price_units=np.zeros(rows, np.int64),
        size_lots=np.zeros(rows, np.int64),
        order_id=np.zeros(rows, np.int64),
        sequence=np.zeros(rows, np.int64),
        action=np.zeros(rows, np.uint8),
        side=np.zeros(rows, np.int8),
        flags=np.zeros(rows, np.uint8),
        order_s=np.zeros(rows),
        order_side=np.zeros(rows, np.int64),
        truth=np.zeros((steps // TRUTH_EVERY + 1, len(TRUTH_COLUMNS))),
        tally=np.zeros(PROCESSES, np.int64),
    )


def _tick_frame(run: _Run, instrument_id: int) -> pl.DataFrame:
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


def _truth(settings: Settings, session: Session, latent: Latent, runs: dict[str, _Run]) -> MarketTruth:
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
    leads = leads_in_force(settings)
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


def _path_frame(symbol: str, session: Session, run: _Run, steps: int) -> pl.DataFrame:
    rows = steps // TRUTH_EVERY
    times = session.open_ns + (np.arange(rows) + 1) * int(TRUTH_EVERY * STEP_S * NS_PER_S)
    columns = {name: run.tape.truth[:rows, k] for k, name in enumerate(TRUTH_COLUMNS)}
    return pl.DataFrame({"symbol": [symbol] * rows, "ts": times, **columns})

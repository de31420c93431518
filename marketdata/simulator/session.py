"""Simulate one session of the whole market: every instrument's tape, the slow data beside it, and the truth behind both."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from marketdata.clock import NS_PER_S, Session
from marketdata.instruments import Instrument
from marketdata.order_book import empty_order_book
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
    MARKET_LOTS,
    MARKET_ORDERS_PER_S,
    MARKET_WEIGHTS,
    MIDDLE_BRANCHING,
    MIDDLE_DECAY,
    REGIME_HALF_SPREAD,
    SLOW_BRANCHING,
    SLOW_DECAY,
    STEP_S,
    Character,
    Float64,
    Lead,
    cumulative,
    fast_excitation,
    lead_graph,
    market_order_branching,
)
from marketdata.simulator.records import Run, tick_frame, truth_frames
from marketdata.simulator.slow import simulate_options, simulate_posts, simulate_transfers
from marketdata.simulator.tape import TRUTH_COLUMNS, TRUTH_EVERY, Tape
from marketdata.simulator.truth import MarketTruth
from marketdata.simulator.visits import VisitPlan, start_visits, visits_frame

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
class VisitedSession:
    """A session twice: as it goes by itself, and with a visitor in it.

    Attributes
    ----------
    recorded : SimulatedSession
        Without the visitor.
    ticks : dict of str to pl.DataFrame
        The tapes with the visitor's orders on them.
    visits : pl.DataFrame
        What became of each visit in each instrument (:func:`marketdata.simulator.visits.visits_frame`).
    """

    recorded: SimulatedSession
    ticks: dict[str, pl.DataFrame]
    visits: pl.DataFrame


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
    return _as_session(settings, session, latent, _run_market(settings, session, index, latent))


def simulate_visited(settings: Settings, session: Session, index: int, plan: VisitPlan) -> VisitedSession:
    """Simulate a session as it goes by itself, then with a visitor in every instrument.

    Seed, hidden state, news and the activity that the session was steered to are the same in both; the order flow is not,
    because it sees the visitor's orders (``marketdata.simulator.visits``).
    """
    latent = draw_latent(settings.simulator, session)
    alone = _run_market(settings, session, index, latent)
    visited = _run_market(settings, session, index, latent, plan, {k: run.tape.fit for k, run in alone.items()})
    by_symbol = {item.symbol: visited[item.instrument_id] for item in settings.instruments}
    return VisitedSession(
        recorded=_as_session(settings, session, latent, alone),
        ticks={item.symbol: tick_frame(by_symbol[item.symbol], item.instrument_id) for item in settings.instruments},
        visits=pl.concat([visits_frame(run.visits, symbol) for symbol, run in by_symbol.items()]),
    )


def _run_market(
    settings: Settings,
    session: Session,
    index: int,
    latent: Latent,
    plan: VisitPlan | None = None,
    fit: Mapping[int, Float64] | None = None,
) -> dict[int, Run]:
    """Run every instrument, leaders before followers, and return the runs by instrument id."""
    runs: dict[int, Run] = {}
    for item in sorted(settings.instruments, key=lambda i: i.instrument_id):
        steering = np.zeros(0) if fit is None else fit[item.instrument_id]
        runs[item.instrument_id] = _run_instrument(settings, session, index, item, latent, runs, plan, steering)
    return runs


def _as_session(settings: Settings, session: Session, latent: Latent, runs: dict[int, Run]) -> SimulatedSession:
    by_symbol = {item.symbol: runs[item.instrument_id] for item in settings.instruments}
    truth = truth_frames(settings, session, latent, by_symbol, leads_in_force(settings))
    return SimulatedSession(
        ticks={item.symbol: tick_frame(by_symbol[item.symbol], item.instrument_id) for item in settings.instruments},
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
    return lead_graph(present)


def opening_units(settings: Settings, instrument: Instrument, index: int) -> int:
    """Return the opening price of a session: the instrument's first price plus one seeded step a session before it."""
    walk = generator(settings.simulator.seed, settings.start_date, f"daily walk/{instrument.symbol}")
    steps = walk.standard_normal(max(index, 0))
    return round(character_of(instrument).open_units + OPEN_WALK_UNITS * float(steps.sum()))


def _run_instrument(
    settings: Settings,
    session: Session,
    index: int,
    item: Instrument,
    latent: Latent,
    runs: dict[int, Run],
    plan: VisitPlan | None,
    fit: Float64,
) -> Run:
    simulator = settings.simulator
    character = character_of(item)
    duration_s = (session.close_ns - session.open_ns) / NS_PER_S
    pace = simulator.events_per_session / (EVENTS_PER_HOUR * duration_s / 3_600.0)
    episodes = draw_episodes(
        generator(simulator.seed, session.date, f"episodes/{item.symbol}"),
        latent.heat,
        duration_s if simulator.world != "n1" else 0.0,
        pace,
        informed_move_units(item, simulator.signal, pace),
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
        fit=fit,
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
        book = empty_order_book()
        visits = start_visits(plan, session.open_ns, rows + 1)
        written, orders = run_flow(book, tape, flow, visits, state, session.open_ns, session.close_ns)
        if written == PRICE_LEFT:
            raise ValueError(f"the price of simulated {item.symbol} fell to nearly zero on {session.date}")
        if written != TAPE_FULL:
            return Run(character, episodes, tape, written, orders, visits)
        rows *= 2


def _leading_orders(leads: list[tuple[Lead, Run]]) -> tuple[Float64, np.ndarray, Float64]:
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
        fit=np.zeros(steps),
    )

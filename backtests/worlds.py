"""Small control worlds: one instrument's market that runs through simulate, featurise, label, fit, forecast, screen and judge.

A world is one instrument over thirteen sessions of an hour: three to train on, ten to test. *n1* has no informed trader and
nothing pays; *n2* has a tape that can be forecast and slow signals that say nothing about it, and its candidates see the slow
signals alone; *planted* has an informed trader of a stated strength. The gate is the night's own but for the number of round
trips, which an instrument that trades for ten hours cannot reach (docs/decisions/0062). ``backtests.world_runs`` runs many.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from backtests.band import run_band
from backtests.certificate import code_text, simulator_sha256
from backtests.evidence import NightModels
from features.dataset import Dataset
from features.dataset_day import build_dataset_day, dataset_from_frames
from features.labels import executable_labels
from features.pipeline import rows_of_session
from features.points import point_events
from features.signals.columns import HISTORY_SESSIONS, SIGNAL_COLUMNS, SLOW_KINDS
from marketdata.clock import NS_PER_HOUR, NS_PER_S, Session, to_ns
from marketdata.events import EventArray
from marketdata.paths import DataRoot
from marketdata.presets import preset
from marketdata.settings import GateSettings, Settings
from marketdata.sources import build_source
from models.forecast import ForecastArray
from models.gate import Verdict, assess

TRAIN_SESSIONS: Final = 3
TEST_SESSIONS: Final = 10
SESSIONS: Final = TRAIN_SESSIONS + TEST_SESSIONS
EVENTS_PER_HOUR: Final = 20_000
EVERY_EVENTS: Final = 20
DEEP_STEPS: Final = 80
DEEP_BATCH: Final = 128
MIN_ROUND_TRIPS: Final = 30
"""In place of the gate's 200: one instrument for ten hours is a sixteenth of what a night tests at the least."""
CLOCK_NS: Final = 60 * NS_PER_S
CANDIDATES: Final = ("linear", "hawkes", "transformer")
SLOW_CANDIDATES: Final = ("linear", "transformer")
"""Of n2: a Hawkes model is one of the tape."""
STRENGTHS: Final = (-0.5, 0.0, 0.25, 0.5, 1.0)
"""Of the power curve."""
N2_SIGNAL: Final = 1.0
"""Strength of the tick signal in the market of n2, which its candidates do not see."""

SmallKind = Literal["n1", "n2", "planted"]


@dataclass(frozen=True, slots=True)
class SmallWorld:
    """One small world's data, and what the gate said about it."""

    settings: Settings
    dataset: Dataset
    verdict: Verdict
    seed: int


def world_settings(kind: SmallKind, strength: float, seed: int, gate: GateSettings | None = None) -> Settings:
    """Return the settings of a small world, judged by the night's gate or the default one.

    Parameters
    ----------
    strength : float
        Of planted worlds: the oracle's net profit per round trip in median spreads; the others have their own.
    """
    strength = {"n1": 0.0, "n2": N2_SIGNAL}.get(kind, strength)
    base = preset("simulated", None, signal=strength, sessions=SESSIONS)
    simulator = base.simulator.model_copy(
        update={
            "seed": seed,
            "world": "market" if kind == "planted" else kind,
            "signal": strength,
            "events_per_session": EVENTS_PER_HOUR,
        }
    )
    training = base.training.model_copy(
        update={
            "models": SLOW_CANDIDATES if kind == "n2" else CANDIDATES,
            "min_instruments": 1,
            "first_train_units": TRAIN_SESSIONS,
            "deep_steps": DEEP_STEPS,
            "deep_batch": DEEP_BATCH,
            "seed": seed,
        }
    )
    return base.model_copy(
        update={
            "instruments": base.instruments[1:2],
            "simulator": simulator,
            "sampling": base.sampling.model_copy(update={"every_events": EVERY_EVENTS}),
            "training": training,
            "gate": small_gate(gate or base.gate),
        }
    )


def small_gate(gate: GateSettings) -> GateSettings:
    """Return the gate as it judges small worlds."""
    update = {"min_round_trips": min(gate.min_round_trips, MIN_ROUND_TRIPS), "clock_ns": CLOCK_NS}
    return gate.model_copy(update=update)


@lru_cache(maxsize=1)
def worlds_sha256() -> str:
    """Return a hash of all that a small world is made of and judged with, beside the gate: runs of other worlds do not add up.

    The market's code, that of features and models, the screen's, and the worlds' own settings; not the seed.
    """
    from models.training import code_sha256

    here = Path(__file__).resolve().parent
    kinds: tuple[SmallKind, ...] = ("n1", "n2", "planted")
    forms = [world_settings(kind, 1.0, 0).model_dump(mode="json", exclude={"gate"}) for kind in kinds]
    names = ("worlds", "evidence", "evidence_clock", "screen", "screen_kernel", "parameters", "band")
    code = [code_text(here / f"{name}.py") for name in names]
    parts = [simulator_sha256(), code_sha256(), forms, code]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def world_sessions(settings: Settings) -> list[Session]:
    """Return the sessions of an hour, one a day."""
    first = settings.start_date
    out = []
    for k in range(SESSIONS):
        day = first + timedelta(days=k)
        opened = to_ns(datetime(day.year, day.month, day.day, 14, tzinfo=UTC))
        out.append(Session(day, opened, opened + NS_PER_HOUR))
    return out


@dataclass(frozen=True, slots=True)
class WorldData:
    """What a small world looks like to models and engine.

    Attributes
    ----------
    dataset : Dataset
    points : dict of (position of the session, instrument id) to PointEvents
    events : list of event array, one a session
    """

    dataset: Dataset
    points: dict[tuple[int, int], Any]
    events: list[EventArray]


def simulate_world(settings: Settings, *, with_signals: bool) -> WorldData:
    """Simulate a small world and make its features, labels and, where they are wanted, slow signals."""
    from marketdata.simulator.session import simulate_session
    from models.hawkes_likelihood import PointEvents

    source = build_source(settings)
    sessions = world_sessions(settings)
    frames, points, tape = [], {}, []
    slow: dict[str, list[pl.DataFrame]] = {kind: [] for kind in SLOW_KINDS[settings.source]}
    signals: dict[str, list[pl.DataFrame]] = {kind: [] for kind in slow}
    for place, session in enumerate(sessions):
        world = simulate_session(settings, session, place)
        rows, labels = {}, {}
        for item in settings.instruments:
            events = source.events(world.ticks[item.symbol], session.date, item.symbol)
            rows[item.symbol] = rows_of_session(settings, item, session, events)
            labels[item.symbol] = executable_labels(
                rows[item.symbol], events, item, settings.label, settings.latency, session
            )
            tape.append(events)
            frame = point_events(events, item)
            points[place, item.instrument_id] = PointEvents(
                frame.get_column("ts_recv").to_numpy(), frame.get_column("kind").to_numpy()
            )
        known = {}
        if with_signals:
            for kind, raw in zip(
                ("options", "social", "onchain"), (world.options, world.posts, world.transfers), strict=True
            ):
                slow[kind].append(raw)
                signals[kind].append(_signals(kind, slow[kind], settings, session))
                known[kind] = pl.concat(signals[kind][-2:]).sort("ts_known", maintain_order=True)
        frames.append(build_dataset_day(session.date, settings, rows, labels, known, {})[0])
    return WorldData(dataset_from_frames(frames, settings, sessions), points, tape)


def _signals(kind: str, history: list[pl.DataFrame], settings: Settings, session: Session) -> pl.DataFrame:
    from features.signals.onchain import onchain_signals
    from features.signals.options import options_signals
    from features.signals.social import social_signals

    known = history[-HISTORY_SESSIONS[kind] :]
    if kind == "options":
        return options_signals(known, settings, session)
    if kind == "social":
        return social_signals(known, settings, session)
    return onchain_signals(known, settings, session)


def slow_columns_only(dataset: Dataset) -> Dataset:
    """Return the dataset with the slow signals as its only features."""
    names = [name for columns in SIGNAL_COLUMNS.values() for name in columns]
    kept = [k for k, name in enumerate(dataset.columns) if name in names]
    digest = hashlib.sha256(f"{dataset.fingerprint}:slow".encode()).hexdigest()
    columns = tuple(dataset.columns[k] for k in kept)
    return replace(dataset, columns=columns, x=np.ascontiguousarray(dataset.x[:, kept]), fingerprint=digest)


def judge_world(
    kind: SmallKind,
    strength: float,
    seed: int,
    *,
    gate: GateSettings | None = None,
    candidates: tuple[str, ...] | None = None,
    progress: Callable[[str], None] | None = None,
) -> SmallWorld:
    """Make a small world and judge the models fitted on it by the whole gate.

    Candidates that the screen would promote go through the engine, as the night's do; the pessimistic end of their band has
    to pay as well. Nothing is kept: fits go to a temporary folder, no trial is counted.

    Parameters
    ----------
    gate : GateSettings, optional
        The night's; the default one otherwise. Round trips and clock are those of a small world.
    candidates : tuple of str, optional
        In place of the kind's own; a run that counts leaves them as they are.
    """
    from models.catalog import BASELINES
    from models.training import walk_forward

    say = progress or (lambda _: None)
    settings = world_settings(kind, strength, seed, gate)
    say("simulate")
    data = simulate_world(settings, with_signals=kind == "n2")
    dataset = data.dataset
    slow = slow_columns_only(dataset) if kind == "n2" else dataset
    forecasts: dict[str, ForecastArray] = {}
    tested = np.zeros(0, np.intp)
    with tempfile.TemporaryDirectory(prefix="flowsense-world-") as folder:
        root = DataRoot(Path(folder))
        for name in (*(candidates or settings.training.models), *BASELINES):
            say(name)
            table = dataset if name in BASELINES else slow
            folds = walk_forward(root, settings, table, name, data.points if name == "hawkes" else {})
            tested = np.concatenate([f.fold.test for f in folds])
            forecasts[name] = np.concatenate([f.forecasts for f in folds])
    say("judge")
    test = dataset.take(tested)
    night = NightModels.build(test, forecasts, BASELINES, settings)
    trials = len(settings.training.models)
    verdict = assess(night.evidence(trials=trials)[0], settings.gate, dataset.horizon_ns, screen_only=True)
    passed = [row.name for row in verdict.table if row.is_candidate and not row.failed]
    say("backtest")
    worst = {name: _pessimistic(settings, data, test, forecasts[name]) for name in passed}
    evidence, _ = night.evidence(trials=trials, pessimistic_pnl=worst)
    return SmallWorld(settings, dataset, assess(evidence, settings.gate, dataset.horizon_ns), seed)


def _pessimistic(settings: Settings, data: WorldData, test: Dataset, forecasts: ForecastArray) -> float:
    """Return the pessimistic end of a candidate's band over the test sessions."""
    days = {}
    for place in np.unique(test.session).tolist():
        own = forecasts[test.session == place]
        days[test.sessions[place]] = (data.events[place], own[np.argsort(own["due_ns"], kind="stable")])
    return run_band(settings, days).pessimistic.net

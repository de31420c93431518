"""Small control worlds that run through everything: simulate, featurise, label, fit, forecast, screen, judge.

A world is one instrument over ten sessions of an hour: three to train on, seven to test. *n1* has no informed trader and
nothing pays; *n2* has a tape that can be forecast and slow signals that say nothing about it, and its candidates see the slow
signals alone; *planted* has an informed trader of a stated strength. The gate is the night's own but for the number of round
trips, which an instrument that trades for seven hours cannot reach.
"""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from backtests.controls import ControlResult, World, accumulate, runs_so_far, world_seed
from backtests.evidence import night_evidence
from features.dataset import Dataset
from features.dataset_day import build_dataset_day, dataset_from_frames
from features.labels import executable_labels
from features.pipeline import rows_of_session
from features.points import point_events
from features.signals.columns import SIGNAL_COLUMNS, SLOW_KINDS
from marketdata.clock import NS_PER_HOUR, Session, to_ns
from marketdata.paths import DataRoot
from marketdata.presets import preset
from marketdata.settings import GateSettings, Settings
from marketdata.sources import build_source
from models.forecast import ForecastArray
from models.gate import Verdict, assess, gate_version

SESSIONS: Final = 10
EVENTS_PER_HOUR: Final = 20_000
EVERY_EVENTS: Final = 20
DEEP_STEPS: Final = 80
MIN_ROUND_TRIPS: Final = 30
"""In place of the gate's 200, for one instrument that trades seven hours in place of five that trade thirty-two."""
CANDIDATES: Final = ("linear", "hawkes", "transformer")
SLOW_CANDIDATES: Final = ("linear", "transformer")
"""Of n2: a Hawkes model is one of the tape."""
STRENGTHS: Final = (-0.5, 0.0, 0.25, 0.5, 1.0)
"""Of the power curve."""


@dataclass(frozen=True, slots=True)
class SmallWorld:
    """One small world's data, and what the gate said about it."""

    settings: Settings
    dataset: Dataset
    verdict: Verdict
    seed: int


def world_settings(kind: Literal["n1", "n2", "planted"], strength: float, seed: int) -> Settings:
    """Return the settings of a small world."""
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
            "deep_steps": DEEP_STEPS,
            "seed": seed,
        }
    )
    return base.model_copy(
        update={
            "instruments": base.instruments[1:2],
            "simulator": simulator,
            "sampling": base.sampling.model_copy(update={"every_events": EVERY_EVENTS}),
            "training": training,
            "gate": small_gate(base.gate),
        }
    )


def small_gate(gate: GateSettings) -> GateSettings:
    """Return the gate as it judges small worlds."""
    return gate.model_copy(update={"min_round_trips": min(gate.min_round_trips, MIN_ROUND_TRIPS)})


def world_sessions(settings: Settings) -> list[Session]:
    """Return the sessions of an hour, one a day."""
    first = settings.start_date
    out = []
    for k in range(SESSIONS):
        day = first + timedelta(days=k)
        opened = to_ns(_utc(day)) + 14 * NS_PER_HOUR
        out.append(Session(day, opened, opened + NS_PER_HOUR))
    return out


def _utc(day: date) -> Any:
    from datetime import UTC, datetime

    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def simulate_world(settings: Settings, *, with_signals: bool) -> tuple[Dataset, dict[tuple[int, int], Any]]:
    """Return the dataset of a small world, and its point events by (position of the session, instrument id)."""
    from marketdata.simulator.session import simulate_session
    from models.hawkes_likelihood import PointEvents

    source = build_source(settings)
    sessions = world_sessions(settings)
    frames, points = [], {}
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
    return dataset_from_frames(frames, settings, sessions), points


def _signals(kind: str, history: list[pl.DataFrame], settings: Settings, session: Session) -> pl.DataFrame:
    from features.signals.onchain import onchain_signals
    from features.signals.options import options_signals
    from features.signals.social import social_signals

    if kind == "options":
        return options_signals(history[-31:], settings, session)
    if kind == "social":
        return social_signals(history[-2:], settings, session)
    return onchain_signals(history[-31:], settings, session)


def slow_columns_only(dataset: Dataset) -> Dataset:
    """Return the dataset with the slow signals as its only features."""
    names = [name for columns in SIGNAL_COLUMNS.values() for name in columns]
    kept = [k for k, name in enumerate(dataset.columns) if name in names]
    digest = hashlib.sha256(f"{dataset.fingerprint}:slow".encode()).hexdigest()
    columns = tuple(dataset.columns[k] for k in kept)
    return replace(dataset, columns=columns, x=np.ascontiguousarray(dataset.x[:, kept]), fingerprint=digest)


def judge_world(
    kind: Literal["n1", "n2", "planted"],
    strength: float,
    seed: int,
    *,
    candidates: tuple[str, ...] | None = None,
    progress: Callable[[str], None] | None = None,
) -> SmallWorld:
    """Make a small world and judge the models fitted on it.

    Nothing is kept: fits go to a temporary folder, no trial is counted.

    Parameters
    ----------
    candidates : tuple of str, optional
        In place of the kind's own; a run that counts leaves them as they are.
    """
    from models.catalog import BASELINES
    from models.training import walk_forward

    say = progress or (lambda _: None)
    settings = world_settings(kind, strength, seed)
    say("simulate")
    dataset, points = simulate_world(settings, with_signals=kind == "n2")
    slow = slow_columns_only(dataset) if kind == "n2" else dataset
    forecasts: dict[str, ForecastArray] = {}
    tested = np.zeros(0, np.intp)
    with tempfile.TemporaryDirectory(prefix="flowsense-world-") as folder:
        root = DataRoot(Path(folder))
        for name in (*(candidates or settings.training.models), *BASELINES):
            say(name)
            table = dataset if name in BASELINES else slow
            folds = walk_forward(root, settings, table, name, points if name == "hawkes" else {})
            tested = np.concatenate([f.fold.test for f in folds])
            forecasts[name] = np.concatenate([f.forecasts for f in folds])
    say("judge")
    test = dataset.take(tested)
    evidence, _ = night_evidence(test, forecasts, BASELINES, settings, trials=len(settings.training.models))
    verdict = assess(evidence, settings.gate, dataset.horizon_ns, screen_only=True)
    return SmallWorld(settings, dataset, verdict, seed)


def run_world(
    kind: Literal["n1", "n2", "planted"],
    strength: float = 0.0,
    *,
    index: int,
    gate: GateSettings,
    progress: Callable[[str], None] | None = None,
) -> ControlResult:
    """Run one small world through everything, and say what the gate did.

    Parameters
    ----------
    strength : float
        Of planted worlds: the oracle's net profit per round trip in median spreads.
    index : int
        Which of the worlds of this kind: seed = hash(gate version, world, index).
    gate : GateSettings
        The night's gate; the version that the result counts under.
    """
    version = gate_version(gate)
    world: World = kind
    stated = strength if kind == "planted" else None
    seed = world_seed(version, world, stated, index)
    small = judge_world(kind, strength if kind == "planted" else 0.0 if kind == "n1" else 1.0, seed, progress=progress)
    verdict = small.verdict
    return ControlResult(world, stated, str(index), version, 1, int(verdict.promoted), {verdict.reason: 1})


def run_small_worlds(
    root: DataRoot,
    gate: GateSettings,
    *,
    pairs: int = 1,
    strength: float = 1.0,
    progress: Callable[[str], None] | None = None,
) -> list[ControlResult]:
    """Run the next null and planted worlds under a gate, write them down, and return them, null and planted side by side.

    Parameters
    ----------
    pairs : int
        How many of each; null worlds take turns between n1 and n2. A world takes about twenty seconds.
    strength : float
        Of the planted worlds, in median spreads.
    """
    version = gate_version(gate)
    results = []
    for _ in range(pairs):
        done = {kind: runs_so_far(root, version, kind, None) for kind in ("n1", "n2")}
        null: Literal["n1", "n2"] = "n1" if done["n1"] <= done["n2"] else "n2"
        planted = runs_so_far(root, version, "planted", strength)
        pair = [
            run_world(null, index=done[null], gate=gate, progress=progress),
            run_world("planted", strength, index=planted, gate=gate, progress=progress),
        ]
        accumulate(root, pair)
        results.extend(pair)
    return results

"""One simulated hour of two instruments, for what has to hold between screen and engine."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pytest

from features.dataset import Dataset
from features.dataset_day import build_dataset_day, dataset_from_frames
from features.labels import executable_labels
from features.pipeline import rows_of_session
from marketdata.clock import NS_PER_HOUR, NS_PER_S, Session
from marketdata.events import EventArray, merge_events
from marketdata.presets import preset
from marketdata.settings import Settings
from marketdata.simulator.session import SimulatedSession, simulate_session
from marketdata.sources import build_source


@dataclass(frozen=True)
class Hour:
    """A simulated hour with everything that is made from it; ``world`` holds the truth."""

    settings: Settings
    session: Session
    events: EventArray
    dataset: Dataset
    world: SimulatedSession


@pytest.fixture(scope="session")
def hour() -> Hour:
    """Forecasts take no time and levels are deep, so that only what screen and engine share is left."""
    return make_hour("inference_ns")


@pytest.fixture(scope="session")
def instant_hour() -> Hour:
    """The same hour for somebody whose orders and answers take no time either."""
    return make_hour("inference_ns", "decision_ns", "order_ns", "response_ns")


def make_hour(*instant: str) -> Hour:
    """Return the hour with some latencies set to zero."""
    base = preset("simulated", None, signal=1.0, sessions=2)
    settings = base.model_copy(
        update={
            "instruments": base.instruments[1:3],
            "latency": base.latency.model_copy(update=dict.fromkeys(instant, 0)),
            "simulator": base.simulator.model_copy(update={"events_per_session": 12_000}),
            "sampling": base.sampling.model_copy(update={"every_events": 15}),
            "strategy": base.strategy.model_copy(update={"capital": 1e6}),
            "risk": base.risk.model_copy(update={"daily_loss": 1e6}),
            "training": base.training.model_copy(update={"min_instruments": 1}),
        }
    )
    opened = 1_767_623_400 * NS_PER_S
    session = Session(date(2026, 1, 5), opened, opened + NS_PER_HOUR)
    world = simulate_session(settings, session, 0)
    source = build_source(settings)
    parts, rows, labels = [], {}, {}
    for item in settings.instruments:
        events = source.events(world.ticks[item.symbol], session.date, item.symbol)
        events["size_lots"] *= np.where(events["action"] == 10, 1, 100)  # a status row's size is no size
        rows[item.symbol] = rows_of_session(settings, item, session, events)
        labels[item.symbol] = executable_labels(
            rows[item.symbol], events, item, settings.label, settings.latency, session
        )
        parts.append(events)
    frame, _ = build_dataset_day(session.date, settings, rows, labels, {}, {})
    return Hour(settings, session, merge_events(parts), dataset_from_frames([frame], settings, [session]), world)

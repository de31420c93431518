"""How fast the live path is: a batch of events in, forecasts out; a row in, probabilities out."""

import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from features.dataset import Dataset
from features.dataset_day import build_dataset_day, dataset_from_frames
from features.labels import executable_labels
from features.pipeline import rows_of_session
from marketdata.clock import Session
from marketdata.events import EventArray, merge_events
from marketdata.paths import DataRoot
from marketdata.settings import Settings
from marketdata.sources import build_source, preset
from models.bundle import Bundle
from models.splits import walk_forward_folds
from models.training import fit_bundle
from serving.executor import PaperExecutor
from serving.prediction import RowForecaster
from serving.session import batches, run_session

BATCH_EVENTS: Final = 16
"""Events of a batch: about what arrives within 50 ms at the simulated market's pace times twenty."""


class Scene(NamedTuple):
    """A simulated session and the linear model that trades it."""

    settings: Settings
    session: Session
    events: EventArray
    dataset: Dataset
    bundle: Bundle


@lru_cache(maxsize=1)
def scene() -> Scene:
    """Return three simulated days of three instruments and a linear model fitted on the first two."""
    base = preset("simulated", None, sessions=3)
    settings = base.model_copy(
        update={
            "instruments": base.instruments[:3],
            "simulator": base.simulator.model_copy(update={"events_per_session": 20_000}),
            "training": base.training.model_copy(update={"first_train_units": 1}),
        }
    )
    source = build_source(settings)
    sessions = source.sessions()
    frames: list[pl.DataFrame] = []
    parts: list[EventArray] = []
    for session in sessions:
        rows, labels, parts = {}, {}, []
        for item in settings.instruments:
            events = source.events(source.raw_ticks(session.date, item.symbol), session.date, item.symbol)
            rows[item.symbol] = rows_of_session(settings, item, session, events)
            labels[item.symbol] = executable_labels(
                rows[item.symbol], events, item, settings.label, settings.latency, session
            )
            parts.append(events)
        frames.append(build_dataset_day(session.date, settings, rows, labels, {}, {})[0])
    dataset = dataset_from_frames(frames, settings, sessions)
    fold = walk_forward_folds(dataset, settings.training, settings.latency)[-1]
    with tempfile.TemporaryDirectory() as folder:
        bundle = fit_bundle(DataRoot(Path(folder)), settings, dataset, fold, "linear", {})
    return Scene(settings, sessions[-1], merge_events(parts), dataset, bundle)


def executor_step() -> dict[str, Any]:
    """Time the executor batch by batch, features to engine; quantiles are of the batches that forecast."""
    settings, session, events, _, bundle = scene()
    warm = PaperExecutor(settings, session, bundle, "paper")
    warm.step(events[:4_000])
    executor = PaperExecutor(settings, session, bundle, "paper")
    taken, forecasts = [], 0
    started = time.perf_counter()
    for batch in batches(events, BATCH_EVENTS):
        before = time.perf_counter()
        step = executor.step(batch)
        if len(step.forecasts):
            taken.append(time.perf_counter() - before)
            forecasts += len(step.forecasts)
    seconds = time.perf_counter() - started
    executor.finish()
    if executor.late_rows or forecasts < 1_000:
        raise AssertionError(f"{executor.late_rows} late rows, {forecasts} forecasts: this is no session")
    p50, p99 = np.quantile(np.array(taken) * 1e6, [0.5, 0.99])
    return {
        "n": len(events),
        "unit": "event",
        "per_s": len(events) / seconds,
        "p50_us": float(p50),
        "p99_us": float(p99),
    }


def paper_session() -> dict[str, Any]:
    """Time a whole session traded on paper, files and ledger included."""
    settings, session, events, _, bundle = scene()
    with tempfile.TemporaryDirectory() as folder:
        root = DataRoot(Path(folder))
        run_session(root, settings, session, events[:4_000], bundle, "paper")
        started = time.perf_counter()
        result = run_session(root, settings, session, events, bundle, "paper")
        seconds = time.perf_counter() - started
    if result.summary["fills"] < 2 or result.late_rows:
        raise AssertionError(f"{result.summary['fills']} fills, {result.late_rows} late rows: this is no session")
    return {"n": len(events), "unit": "event", "per_s": len(events) / seconds}


def predict_row() -> dict[str, Any]:
    """Time single-row predictions as the API makes them: checks, design, model, quantisation."""
    settings, _, _, dataset, bundle = scene()
    forecaster = RowForecaster(settings, bundle)
    symbols = {item.instrument_id: item.symbol for item in settings.instruments}
    count = min(2_000, len(dataset))
    rows = [[None if np.isnan(v) else float(v) for v in x] for x in dataset.x[-count:]]
    keys = list(zip(dataset.instrument_id[-count:].tolist(), dataset.ts_recv[-count:].tolist(), rows, strict=True))
    forecaster.forecast([symbols[keys[0][0]]], [keys[0][1]], [keys[0][2]])
    taken, total = [], 0.0
    for instrument, ts_recv, row in keys:
        before = time.perf_counter()
        made = forecaster.forecast([symbols[instrument]], [ts_recv], [row])
        taken.append(time.perf_counter() - before)
        total += float(made.probabilities.sum())
    if abs(total / count - 1.0) > 1e-4:
        raise AssertionError("probabilities do not sum to one")
    p50, p99 = np.quantile(np.array(taken) * 1e6, [0.5, 0.99])
    return {"n": count, "unit": "forecast", "per_s": count / sum(taken), "p50_us": float(p50), "p99_us": float(p99)}


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "executor_step": executor_step,
    "paper_session": paper_session,
    "predict_row": predict_row,
}

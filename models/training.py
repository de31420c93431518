"""Fit a forecaster inside a fold, keep it by the hash of what went into it, and make the forecasts that are traded.

A fit is named by a key over the rows, the point events, the specification, the seed and the code: the same night fits
nothing twice, and a fold that was fitted last night is opened, not fitted again. Nothing after the fold's training
window reaches any parameter, because the fit is given nothing else.
"""

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import features
from features.dataset import Dataset
from marketdata.paths import DataRoot
from marketdata.settings import Settings
from marketdata.taker_cost import TakerCost, fee_schedule
from models.bundle import Bundle, BundleManifest, BundlePredictor, load_bundle, save_bundle
from models.catalog import forecaster, model_hyperparameters
from models.design import DesignParams, design_arrays
from models.evaluation import score
from models.forecast import FORECAST_DTYPE, ForecastArray, clean_copy
from models.forecaster import EVERY_PART, FittedModel, TrainingBlock
from models.splits import Fold, walk_forward_folds
from models.training_window import (
    Points,
    TrainingWindow,
    edge_scale_units,
    last_known_labels,
    move_scale_units,
    training_block,
    training_window,
)

BeforeFit = Callable[[dict[str, Any]], str]
"""Writes a trial down before its fit and returns its id."""

CODE_MODULES: Final = (
    "baselines",
    "bundle",
    "catalog",
    "design",
    "encoder_kernel",
    "evaluation",
    "fitting",
    "forecast",
    "forecaster",
    "gnn",
    "graph_kernel",
    "hawkes",
    "hawkes_likelihood",
    "hmm",
    "linear",
    "reproducible",
    "selection",
    "splits",
    "training",
    "training_window",
    "transformer",
)
"""Modules of this package that a fit or a forecast runs through; their sources are part of every key."""


@dataclass(frozen=True)
class FoldResult:
    """A fold's bundle, its forecasts of the fold's test rows (in row order) and their scores."""

    fold: Fold
    bundle: Bundle
    forecasts: ForecastArray
    scores: dict[str, Any]


def fit_bundle(
    root: DataRoot,
    settings: Settings,
    dataset: Dataset,
    fold: Fold,
    name: str,
    points: Points,
    *,
    seed: int | None = None,
    before_fit: BeforeFit | None = None,
) -> Bundle:
    """Return the bundle of a forecaster fitted on a fold's training window; what is in the store is not fitted again.

    Parameters
    ----------
    dataset : Dataset
        All rows; the fit sees ``fold.context`` only, and labels of ``fold.train`` only.
    name : str
        A name in ``models.catalog.FORECASTERS``.
    points : mapping
        Point events for the Hawkes fit; models without that part ignore them.
    seed : int, optional
        Defaults to ``settings.training.seed``.
    before_fit : callable, optional
        Called with the trial (``window, features, label, model, hyperparameters, strategy``: the rule, not the dates)
        right before a fit that is not in the store. Control worlds leave it out.

    Returns
    -------
    Bundle
        Stored in ``root.bundles`` under its key. Its bytes do not depend on the number of threads.
    """
    model = forecaster(name)
    seed = settings.training.seed if seed is None else seed
    window = training_window(dataset, fold, points if "hawkes" in model.parts else {})
    rows_hash, points_hash, code = window.rows_sha256(), window.points_sha256(), code_sha256()
    data = _hash(rows_hash, points_hash)
    trial = trial_of(settings, dataset, name)
    key = _hash(data, code, trial, seed, settings.latency.inference_ns, dataset.memory_ns)
    folder = root.bundles / key
    if folder.exists():
        return load_bundle(folder)
    if before_fit is not None:
        before_fit(trial)
    started = time.perf_counter()
    stamps = _stamps(settings, rows_hash, points_hash, code)
    block, design, findings = training_block(root, settings, window, model.parts, seed, stamps)
    fitted = model.fit(block, settings.training, seed)
    design_values, design_config = design_arrays(design)
    arrays = {f"design.{k}": v for k, v in design_values.items()}
    arrays |= {f"model.{k}": v for k, v in fitted.weights.arrays.items()}
    mean_move = move_scale_units(window.dataset.take(window.loss))
    arrays["edge.move_scale_units"] = _edge_scale(window, block, fitted, mean_move)
    span = window.span
    manifest = BundleManifest(
        name=name,
        role=model.role,
        key=key,
        fingerprint=dataset.fingerprint,
        columns=dataset.columns,
        instrument_ids=tuple(item.instrument_id for item in dataset.instruments),
        symbols=tuple(item.symbol for item in dataset.instruments),
        memory_ns=dataset.memory_ns,
        label={
            "form": settings.label.form,
            "horizon_ns": dataset.horizon_ns,
            "to_venue_ns": settings.latency.to_venue_ns,
        },
        inference_ns=settings.latency.inference_ns,
        window={
            "first_ns": span.start_ns,
            "last_ns": span.end_ns,
            "ts_known": span.ts_known,
            "sessions": [item.date.isoformat() for item in window.dataset.sessions],
        },
        rows={"context": len(window.dataset), "loss": len(window.loss)},
        hyperparameters=model_hyperparameters(name, settings),
        trial=trial,
        seed=seed,
        data_sha256=data,
        code_sha256=code,
        design=design_config,
        model=fitted.weights.config,
        diagnostics={**fitted.weights.diagnostics, **findings, "edge": {"mean_move_units": mean_move.tolist()}},
    )
    save_bundle(Bundle(manifest, arrays), folder)
    _write(root.folds / f"{key}.timing.json", json.dumps({"fit_seconds": time.perf_counter() - started}).encode())
    return load_bundle(folder)


def _edge_scale(
    window: TrainingWindow, block: TrainingBlock, fitted: FittedModel, mean_move_units: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the worth of the model's forecasts on the window's held-out rows; the mean move where there are none."""
    if not len(block.valid):
        return mean_move_units
    begin = int(np.searchsorted(block.session, block.session[block.valid[0]]))
    seen = slice(begin, int(block.valid[-1]) + 1)
    probabilities = fitted.forecast(block.rows.take(seen), block.session[seen])
    return edge_scale_units(window.dataset, block.valid, probabilities[block.valid - begin], mean_move_units)


def design_block(
    root: DataRoot, settings: Settings, dataset: Dataset, fold: Fold, points: Points
) -> tuple[TrainingWindow, TrainingBlock, DesignParams]:
    """Return a fold's window, its rows with every fitted feature, and the design; fits in the store are opened."""
    window = training_window(dataset, fold, points)
    stamps = _stamps(settings, window.rows_sha256(), window.points_sha256(), code_sha256())
    block, design, _ = training_block(root, settings, window, EVERY_PART, settings.training.seed, stamps)
    return window, block, design


def _stamps(settings: Settings, rows: str, points: str, code: str) -> tuple[str, str]:
    """Return the names of a window's design fits: of rows and code, and of rows, point events, decays and code."""
    return _hash(rows, code), _hash(rows, points, settings.sampling.decays_per_s, code)


def forecast_rows(
    bundle: Bundle, dataset: Dataset, rows: npt.NDArray[np.intp] | None = None, *, root: DataRoot | None = None
) -> ForecastArray:
    """Return the forecasts of rows through the one inference path, session by session from each open.

    Parameters
    ----------
    rows : intp array, optional
        Ascending rows to forecast, all by default. Earlier rows of their sessions are run through the state as well, as
        they would be live, and later rows are not looked at.
    root : DataRoot, optional
        Keeps the result in ``root.folds`` by the hashes of bundle and rows.

    Returns
    -------
    structured array of ``FORECAST_DTYPE``, shape (len(rows),)

    Raises
    ------
    BundleError
        If the dataset's features or instruments are not the bundle's.
    """
    bundle.require(dataset.fingerprint, dataset.columns)
    rows = np.arange(len(dataset)) if rows is None else rows
    cuts = [_session_span(dataset, int(s), rows) for s in np.unique(dataset.session[rows])]
    cached = None
    if root is not None:
        seen = [dataset.take(np.arange(begin, end)).content_hash() for begin, end in cuts]
        named = hashlib.sha256(np.ascontiguousarray(rows, dtype=np.int64).tobytes()).hexdigest()
        cached = root.folds / f"{_hash(bundle.sha256, code_sha256(), seen, named)}.forecasts.npy"
        if cached.exists():
            stored: ForecastArray = np.load(cached, allow_pickle=False)
            return stored
    out = np.zeros(len(rows), dtype=FORECAST_DTYPE)
    predictor = BundlePredictor(bundle)
    matured = last_known_labels(dataset)
    for begin, end in cuts:
        state = predictor.init(dataset.sessions[int(dataset.session[begin])])
        cut = slice(begin, end)
        _, probabilities, edge = predictor.step_rows(
            state, dataset.instrument_id[cut], dataset.ts_recv[cut], dataset.x[cut], matured[cut]
        )
        here = np.flatnonzero((rows >= begin) & (rows < end))
        picked = rows[here] - begin
        out["p_down"][here], out["p_flat"][here], out["p_up"][here] = probabilities[picked].T
        out["edge_units"][here] = edge[picked]
    out["ts_recv"] = dataset.ts_recv[rows]
    out["due_ns"] = dataset.ts_recv[rows] + bundle.manifest.inference_ns
    out["instrument_id"] = dataset.instrument_id[rows]
    if cached is not None:
        _write_array(cached, out)
    return out


def walk_forward(
    root: DataRoot,
    settings: Settings,
    dataset: Dataset,
    name: str,
    points: Points,
    *,
    seed: int | None = None,
    before_fit: BeforeFit | None = None,
) -> list[FoldResult]:
    """Fit, forecast and score a forecaster on every walk-forward fold of the dataset, in time order."""
    results = []
    for fold in walk_forward_folds(dataset, settings.training, settings.latency):
        bundle = fit_bundle(root, settings, dataset, fold, name, points, seed=seed, before_fit=before_fit)
        forecasts = forecast_rows(bundle, dataset, fold.test, root=root)
        results.append(FoldResult(fold, bundle, forecasts, score(probabilities_of(forecasts), dataset.y[fold.test])))
    return results


def probabilities_of(forecasts: ForecastArray) -> npt.NDArray[np.float32]:
    """Return the probabilities of forecasts, shape (n, 3): down, flat, up."""
    return np.stack([forecasts["p_down"], forecasts["p_flat"], forecasts["p_up"]], axis=1)


def fit_seconds(root: DataRoot, bundle: Bundle) -> float | None:
    """Return how long the bundle's fit took where it was made; None where that is not known."""
    path = root.folds / f"{bundle.manifest.key}.timing.json"
    return float(json.loads(path.read_text())["fit_seconds"]) if path.exists() else None


def trial_of(settings: Settings, dataset: Dataset, name: str) -> dict[str, Any]:
    """Return what the trial ledger counts a fit as: rules and choices, no dates (R15)."""
    training = settings.training
    label = {**settings.label.model_dump(), "to_venue_ns": settings.latency.to_venue_ns}
    costs = {i.symbol: TakerCost.of(settings, i) for i in dataset.instruments if fee_schedule(settings, i) is not None}
    if costs:  # a label's threshold holds what a taker pays, so other fees are another trial
        label["taker_fees"] = {symbol: [cost.taker_ppm, cost.trade_nanos] for symbol, cost in costs.items()}
    return {
        "window": f"{training.fold_unit}s, expanding, {training.first_train_units} first, "
        f"{training.window_sessions} sessions at most, inner share {training.inner_share}",
        "features": _hash(dataset.fingerprint, dataset.columns, forecaster(name).parts),
        "label": json.dumps(label, sort_keys=True),
        "model": name,
        "hyperparameters": model_hyperparameters(name, settings),
        "strategy": strategy_trial(settings),
    }


def strategy_trial(settings: Settings) -> dict[str, Any]:
    """Return what is chosen about trading on a forecast, as the trial ledger counts it."""
    chosen = settings.strategy.model_dump(mode="json")
    shares = settings.sizing.regime_shares
    return chosen if shares is None else {**chosen, "regime_shares": list(shares)}


@cache
def code_sha256() -> str:
    """Return a hash of the sources that fits and forecasts run through, as they were when this process first asked."""
    digest = hashlib.sha256()
    base = Path(__file__).resolve().parent
    package = Path(str(features.__file__)).resolve().parent
    paths = [base / f"{name}.py" for name in CODE_MODULES] + sorted(package.rglob("*.py"))
    for path in paths:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _session_span(dataset: Dataset, session: int, rows: npt.NDArray[np.intp]) -> tuple[int, int]:
    """Return the half-open rows from a session's first row to the last one asked for."""
    begin = int(np.searchsorted(dataset.session, session))
    return begin, int(rows[dataset.session[rows] == session].max()) + 1


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:40]


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _write_array(path: Path, values: ForecastArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp.npy")
    np.save(temporary, clean_copy(values), allow_pickle=False)
    os.replace(temporary, path)

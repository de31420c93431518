"""MLflow, the tracking half: one run per model and night, one nested run per fold, everything below the data root.

Nothing here decides anything. MLflow shows what was tried; the truth of trials and decisions is in the ledgers, and
deleting runs changes neither (docs/decisions/0005). All calls go through a client bound to the root's own SQLite
file: no global run, no server, no ``load_model``.
"""

import contextlib
import io
import json
import logging
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marketdata.paths import DataRoot
from models.append_only import canonical_json, sha256_text
from models.evidence import plain

EXPERIMENT: Final = "flowsense"
EXPERIMENT_TAGS: Final = {"mlflow.experimentKind": "custom_model_development"}
"""What MLflow opens its pages by: runs to compare, not traces of language models."""
TAG_NIGHT: Final = "flowsense.night"
TAG_MODEL: Final = "flowsense.model"
TAG_CONTENT: Final = "flowsense.content_sha256"
TAG_BUNDLE: Final = "flowsense.bundle_sha256"
TAG_LOGGED_MODEL: Final = "flowsense.logged_model_id"
_DIGEST_LENGTH: Final = 32
_GLOBAL_URIS: Final = threading.RLock()


@dataclass(frozen=True, slots=True)
class FoldRun:
    """One fold of one model: what becomes a nested run."""

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ModelRun:
    """One model of a night: what becomes a parent run.

    Attributes
    ----------
    role : str
        ``candidate`` or ``baseline``.
    scores : mapping
        As :func:`models.evaluation.score` returns it: numbers become metrics, ``calibration`` and ``confusion`` plots.
    metrics : mapping
        Further overall metrics (net P&L, round trips, p-value, …); NaN is left out.
    minute_pnl : float64 array, optional
        Net profit on the evidence clock, for the plot.
    bundle, bundle_sha256 : optional
        Folder and content hash of the bundle that would trade.
    signature : mapping
        What the bundle takes and gives (fingerprint, columns, classes), kept as a tag.
    """

    name: str
    role: str
    params: Mapping[str, Any]
    scores: Mapping[str, Any]
    metrics: Mapping[str, float]
    folds: Sequence[FoldRun]
    minute_pnl: npt.NDArray[np.float64] | None = None
    bundle: Path | None = None
    bundle_sha256: str | None = None
    signature: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NightRuns:
    """A night as MLflow is shown it.

    Attributes
    ----------
    dataset_sha256, dataset_rows, dataset_source : str, int, str
        The training table: content hash, size, and where it comes from.
    tags : mapping
        Hash of the code, dirty flag, gate version, source, verdict: shown on each parent run.
    """

    day: date
    dataset_sha256: str
    dataset_rows: int
    dataset_source: str
    models: Sequence[ModelRun]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrackedModel:
    """Where a model of a night is found in MLflow; ``logged_model_id`` is None for a model without a bundle."""

    name: str
    run_id: str
    logged_model_id: str | None


def tracking_uri(root: DataRoot) -> str:
    """Return the URI of the root's tracking store and registry."""
    return f"sqlite:///{root.mlflow_database.resolve()}"


def init_tracking(root: DataRoot) -> str:
    """Create the root's MLflow database and experiment and return the experiment's id; what is there is left as it is.

    The first call migrates a fresh database and must not be made by two processes at once: ``flowsense init`` makes it
    under its file lock. MLflow fixes an experiment's artifact folder for good, as an absolute path; in a root that was
    moved or restored elsewhere the old experiment is renamed, and new runs go to a new one below the root.
    """
    root.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    client = tracking_client(root)
    location = root.mlflow_artifacts.resolve().as_uri()
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None and found.artifact_location != location:
        client.rename_experiment(found.experiment_id, f"{EXPERIMENT} {found.experiment_id} (from another folder)")
        found = None
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(EXPERIMENT, artifact_location=location, tags=EXPERIMENT_TAGS))


def tracking_client(root: DataRoot) -> Any:
    """Return an ``MlflowClient`` of the root, and keep MLflow and Alembic from chattering."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    import mlflow

    # Importing mlflow sets its own log level again.
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return mlflow.MlflowClient(tracking_uri(root), tracking_uri(root))


@contextlib.contextmanager
def bound_to(root: DataRoot) -> Iterator[None]:
    """Point MLflow's global URIs at the root, for the few functions that have no client form; quiet, one at a time."""
    import mlflow

    uri = tracking_uri(root)
    with _GLOBAL_URIS:
        before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                yield
        finally:
            mlflow.set_tracking_uri(before[0])
            mlflow.set_registry_uri(before[1])


def log_night(
    root: DataRoot, night: NightRuns, *, progress: Callable[[str], None] | None = None
) -> dict[str, TrackedModel]:
    """Write the runs of a night and return where each model is found.

    A model that was logged for this night with the same content is left as it is; with other content, or half
    written, its runs are replaced.
    """
    experiment = init_tracking(root)
    client = tracking_client(root)
    standing: dict[str, list[Any]] = {}
    for run in _all_runs(client, experiment, night.day):
        standing.setdefault(run.data.tags.get(TAG_MODEL, ""), []).append(run)
    tracked = {}
    for model in night.models:
        content = _content_hash(night, model)
        runs = standing.get(model.name, [])
        whole = [r for r in runs if r.data.tags.get(TAG_CONTENT) == content and r.info.status == "FINISHED"]
        if whole:
            tags = whole[0].data.tags
            tracked[model.name] = TrackedModel(model.name, whole[0].info.run_id, tags.get(TAG_LOGGED_MODEL))
        else:
            for run in runs:
                client.delete_run(run.info.run_id)
            tracked[model.name] = _log_model(root, client, experiment, night, model, content)
        if progress:
            progress(model.name)
    return tracked


def _all_runs(client: Any, experiment: str, day: date) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment], f"tags.`{TAG_NIGHT}` = '{day.isoformat()}'", max_results=1000, page_token=token
        )
        found += page
        token = page.token
        if not token:
            return found


def _log_model(
    root: DataRoot, client: Any, experiment: str, night: NightRuns, model: ModelRun, content: str
) -> TrackedModel:
    """Write one parent run with its folds; it carries its content hash only once it is whole."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput

    tags = {
        "mlflow.runName": f"{model.name} {night.day.isoformat()}",
        TAG_NIGHT: night.day.isoformat(),
        TAG_MODEL: model.name,
        "flowsense.role": model.role,
        "flowsense.dataset_sha256": night.dataset_sha256,
        **({TAG_BUNDLE: model.bundle_sha256} if model.bundle_sha256 else {}),
        **{f"flowsense.{key}": str(value) for key, value in night.tags.items()},
    }
    parent = client.create_run(experiment, tags=tags).info.run_id
    profile = json.dumps({"num_rows": night.dataset_rows})
    dataset = Dataset(
        f"dataset {night.day.isoformat()}",
        night.dataset_sha256[:_DIGEST_LENGTH],
        "local",
        json.dumps({"uri": night.dataset_source}),
        profile=profile,
    )
    client.log_inputs(parent, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    overall = {**_numbers(model.scores), **model.metrics}
    metrics = [(key, value, 0) for key, value in overall.items()]
    for step, fold in enumerate(model.folds):
        metrics += [(f"fold/{key}", value, step) for key, value in fold.metrics.items()]
    _log_batch(client, parent, metrics, model.params)
    for fold in model.folds:
        child_tags = {
            "mlflow.runName": f"{model.name} {fold.name}",
            "mlflow.parentRunId": parent,
            TAG_NIGHT: night.day.isoformat(),
            TAG_MODEL: model.name,
        }
        child = client.create_run(experiment, tags=child_tags).info.run_id
        _log_batch(client, child, [(key, value, 0) for key, value in fold.metrics.items()], fold.params)
        client.set_terminated(child)
    with tempfile.TemporaryDirectory() as folder:
        _plots(Path(folder), model)
        if any(Path(folder).iterdir()):
            client.log_artifacts(parent, folder, "plots")
    logged = None
    if model.bundle is not None and model.bundle_sha256 is not None:
        logged = log_bundle(root, model.name, model.bundle, model.bundle_sha256, parent, experiment, model.signature)
        client.log_outputs(parent, [LoggedModelOutput(logged, 0)])
        client.set_tag(parent, TAG_LOGGED_MODEL, logged)
    client.set_tag(parent, TAG_CONTENT, content)
    client.set_terminated(parent)
    return TrackedModel(model.name, parent, logged)


def log_bundle(
    root: DataRoot,
    name: str,
    folder: Path,
    bundle_sha256: str,
    run_id: str | None,
    experiment: str,
    signature: Mapping[str, Any] | None = None,
) -> str:
    """Copy a bundle into MLflow as a logged model (plain files, no flavor, no pickle) and return the model's id."""
    import mlflow

    client = tracking_client(root)
    tags = {TAG_BUNDLE: bundle_sha256, TAG_MODEL: name}
    if signature:
        tags["flowsense.signature"] = canonical_json(plain(signature))[:5000]
    with bound_to(root):
        model = mlflow.initialize_logged_model(
            name=name, source_run_id=run_id, tags=tags, model_type=name, experiment_id=experiment
        )
    try:
        client.log_model_artifacts(model.model_id, str(folder))
    except BaseException:
        client.finalize_logged_model(model.model_id, "FAILED")
        raise
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def _content_hash(night: NightRuns, model: ModelRun) -> str:
    pnl = b"" if model.minute_pnl is None else np.ascontiguousarray(model.minute_pnl, dtype=np.float64).tobytes()
    content = {
        "dataset": night.dataset_sha256,
        "rows": night.dataset_rows,
        "tags": dict(night.tags),
        "params": plain(model.params),
        "scores": plain(model.scores),
        "metrics": plain(model.metrics),
        "folds": [[fold.name, plain(fold.params), plain(fold.metrics)] for fold in model.folds],
        "pnl": sha256_text(pnl.hex()),
        "bundle": model.bundle_sha256,
        "signature": plain(model.signature),
    }
    return sha256_text(canonical_json(content))


def _numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    return {k: float(v) for k, v in scores.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _log_batch(client: Any, run_id: str, metrics: Sequence[tuple[str, float, int]], params: Mapping[str, Any]) -> None:
    from mlflow.entities import Metric, Param

    now_ms = time.time_ns() // 1_000_000
    found = [Metric(key, float(value), now_ms, step) for key, value, step in metrics if math.isfinite(value)]
    client.log_batch(run_id, metrics=found, params=[Param(str(k), str(v)[:6000]) for k, v in params.items()])


def _plots(folder: Path, model: ModelRun) -> None:
    """Write calibration, confusion and cumulative P&L as PNG, as far as the model has them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    def draw(name: str, paint: Callable[[Any], None]) -> None:
        # Fixed margins: a layout engine would draw each figure twice.
        figure = Figure(figsize=(4.6, 3.4), dpi=90)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.17, 0.16, 0.79, 0.74))
        paint(axes)
        axes.set_title(f"{model.name}: {name.replace('_', ' ')}", fontsize=10)
        figure.savefig(folder / f"{name}.png")

    curves = model.scores.get("calibration") or {}
    if curves:

        def calibration(axes: Any) -> None:
            axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
            for label, points in curves.items():
                values = np.asarray(points, dtype=np.float64).reshape(-1, 3)
                axes.plot(values[:, 0], values[:, 1], marker="o", markersize=3, linewidth=1, label=label)
            axes.set(xlabel="forecast probability", ylabel="observed frequency", xlim=(0, 1), ylim=(0, 1))
            axes.legend(fontsize=8)

        draw("calibration", calibration)
    table = np.asarray(model.scores.get("confusion") or [])
    if table.size and table.sum():

        def confusion(axes: Any) -> None:
            names = ("down", "flat", "up")
            axes.imshow(table, cmap="Blues")
            axes.set(xticks=range(3), yticks=range(3), xlabel="forecast", ylabel="observed")
            axes.set_xticklabels(names)
            axes.set_yticklabels(names)
            for i, j in np.ndindex(3, 3):
                dark = table[i, j] > table.max() / 2
                axes.text(j, i, f"{table[i, j]:,}", ha="center", va="center", color="w" if dark else "k", fontsize=8)

        draw("confusion", confusion)
    if model.minute_pnl is not None and len(model.minute_pnl):
        total = np.cumsum(model.minute_pnl)

        def cumulative(axes: Any) -> None:
            axes.axhline(0.0, color="0.7", linewidth=1)
            axes.plot(total, linewidth=1)
            axes.set(xlabel="intervals of the evidence clock", ylabel="net P&L")

        draw("cumulative_pnl", cumulative)

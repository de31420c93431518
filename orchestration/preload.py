"""Import the heavy libraries at one place and time, so that their cost is seen once and not inside the first step."""

import importlib
import os
from typing import Final

from marketdata.paths import DataRoot
from marketdata.settings import Settings

FOR_INGEST: Final = ("great_expectations",)
FOR_TRAINING: Final = ("torch", "sklearn.linear_model", "scipy.optimize", "skops.io")
BY_MODEL: Final = {"transformer": ("transformers",), "gnn": ("torch_geometric",)}
FOR_RUNS: Final = (
    "dagster._cli.api",
    "orchestration.location",
    "marketdata.sources",
    "marketdata.simulator.session",
    "marketdata.validation",
    "features.dataset_day",
    "features.labels",
    "features.pipeline",
    "features.points",
    "features.signals.onchain",
    "features.signals.options",
    "features.signals.social",
    "mlflow.tracking",
)
"""What nearly every run of the UI needs. The models' libraries, as large again, are left to the runs that fit."""
THREADS: Final = 2
"""Threads of torch; ``FLOWSENSE_THREADS`` overrides it. Results do not depend on it."""


def preload_runs() -> None:
    """Import what a run of either job needs before it begins; nothing here starts a thread that a fork would lose."""
    import numba

    from marketdata.suites import prepare_suites

    for name in (*FOR_INGEST, *FOR_RUNS):
        importlib.import_module(name)
    numba.njit(lambda number: number)(1)  # the compiler's tables, needed to load any kernel from the cache
    prepare_suites()


def preload(root: DataRoot, settings: Settings, *, training: bool) -> None:
    """Import what ingest needs, and for training the models' libraries, MLflow by way of its client; fix torch's threads."""
    for name in FOR_INGEST:
        importlib.import_module(name)
    if not training:
        return
    from models.hmm import load_pomegranate
    from models.tracking import tracking_client

    load_pomegranate()
    for name in (*FOR_TRAINING, *(name for model in settings.training.models for name in BY_MODEL.get(model, ()))):
        importlib.import_module(name)
    tracking_client(root)
    import torch

    torch.set_num_threads(int(os.environ.get("FLOWSENSE_THREADS", min(THREADS, os.cpu_count() or 1))))

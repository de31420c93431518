"""Import the heavy libraries at one place and time, so that their cost is seen once and not inside the first step."""

import importlib
import os
from typing import Final

from marketdata.paths import DataRoot
from marketdata.settings import Settings

FOR_INGEST: Final = ("great_expectations",)
FOR_TRAINING: Final = ("torch", "sklearn.linear_model", "scipy.optimize", "skops.io")
BY_MODEL: Final = {"transformer": ("transformers",), "gnn": ("torch_geometric",), "hmm": ("pomegranate.hmm",)}
THREADS: Final = 2
"""Threads of torch; ``FLOWSENSE_THREADS`` overrides it. Results do not depend on it."""


def preload(root: DataRoot, settings: Settings, *, training: bool) -> None:
    """Import what ingest needs, and for training the models' libraries, MLflow by way of its client; fix torch's threads."""
    for name in FOR_INGEST:
        importlib.import_module(name)
    if not training:
        return
    from models.tracking import tracking_client

    for name in (*FOR_TRAINING, *(name for model in settings.training.models for name in BY_MODEL.get(model, ()))):
        importlib.import_module(name)
    tracking_client(root)
    import torch

    torch.set_num_threads(int(os.environ.get("FLOWSENSE_THREADS", min(THREADS, os.cpu_count() or 1))))

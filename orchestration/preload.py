"""Import the heavy libraries at one place and time, so that their cost is seen once and not inside the first step."""

import importlib
import os
from typing import Final

from marketdata.settings import Settings

LIBRARIES: Final = (
    "torch",
    "sklearn.linear_model",
    "scipy.optimize",
    "mlflow",
    "great_expectations",
    "duckdb",
    "skops.io",
)
BY_MODEL: Final = {"transformer": ("transformers",), "gnn": ("torch_geometric",), "hmm": ("pomegranate.hmm",)}
THREADS: Final = 2


def preload(settings: Settings) -> None:
    """Import what the night's models and libraries need and hold torch to a fixed number of threads."""
    names = [*LIBRARIES, *(name for model in settings.training.models for name in BY_MODEL.get(model, ()))]
    for name in names:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(min(THREADS, os.cpu_count() or 1))

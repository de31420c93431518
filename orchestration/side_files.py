"""JSON files in a night's folder: results that are the same on every run, and apart from them what a run cost."""

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from marketdata.partitions import PartitionMissing
from marketdata.paths import DataRoot

RECORD: Final = "record.json"
"""The night as its page shows it."""
SUMMARY: Final = "summary.json"
"""The night in short, for programs."""
MLFLOW: Final = "mlflow.json"
"""Where the night's models are found in MLflow: run ids, never the same twice."""
CONTROL_WORLDS: Final = "control_worlds.json"
"""The small worlds that the night ran: which ones depends on how many were run before."""
FEATURES: Final = "features.json"
"""The feature pages of a night, kept so that its page can be written again; measured times of features are among them."""
COSTS: Final = "costs.json"
"""Wall times, memory and run ids: never the same twice, never hashed."""


@dataclass(frozen=True)
class NightCosts:
    """Wall time by part in seconds, all of it, the peak of the process tree's memory, and what companions did meanwhile."""

    seconds: dict[str, float]
    wall_s: float
    peak_memory_bytes: int
    beside: dict[str, float] = field(default_factory=dict)


def write_json(path: Path, values: object) -> None:
    """Write a JSON file whole or not at all; numbers as they are, keys sorted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(values, indent=1, sort_keys=True, default=_plain) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises
    ------
    PartitionMissing
        If there is none: the stage that writes it has not run for this night.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PartitionMissing(f"{path.parent.name}/{path.name} has not been made") from error


def write_costs(root: DataRoot, day: date, costs: NightCosts) -> None:
    """Write what a night cost."""
    write_json(root.night(day) / COSTS, asdict(costs))


def read_costs(root: DataRoot, day: date) -> NightCosts | None:
    """Return what a night cost; None where it was driven by Dagster's daemon, which does not measure it."""
    path = root.night(day) / COSTS
    return NightCosts(**read_json(path)) if path.exists() else None


def _plain(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "item"):
        return value.item()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def write_text(path: Path, text: str) -> Path:
    """Write a text file whole or not at all and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path

"""The executor's sign of life: a small file, replaced as a whole, that health checks and pages read."""

import json
import os
import time
from pathlib import Path
from typing import Any, Final

from marketdata.paths import DataRoot

STALE_AFTER_S: Final = 5.0
"""Older than this, the executor counts as silent."""


def heartbeat_file(root: DataRoot) -> Path:
    """Return where the executor writes its heartbeat."""
    return root.logs / "executor.heartbeat.json"


def write_heartbeat(root: DataRoot, facts: dict[str, Any]) -> None:
    """Write a heartbeat with the wall time of now; ``facts`` are shown as they are."""
    path = heartbeat_file(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps({"wall_ns": time.time_ns(), "pid": os.getpid(), **facts}), encoding="utf-8")
    os.replace(temporary, path)


def read_heartbeat(root: DataRoot) -> dict[str, Any] | None:
    """Return the last heartbeat with its age and whether it is recent; None where there was never one."""
    try:
        facts: dict[str, Any] = json.loads(heartbeat_file(root).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    age = max(0.0, (time.time_ns() - int(facts["wall_ns"])) / 1e9)
    return {**facts, "age_s": round(age, 3), "alive": age <= STALE_AFTER_S}

"""Alerts: one JSON line each in the root's log folder, for people and for whatever forwards them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from marketdata.paths import DataRoot

ALERTS_FILE: Final = "alerts.jsonl"


def raise_alert(root: DataRoot, *, kind: str, message: str, detail: Mapping[str, object] | None = None) -> None:
    """Append one alert; a line is written with one call, so that two processes never mix theirs."""
    root.logs.mkdir(parents=True, exist_ok=True)
    line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "kind": kind, "message": message, **(detail or {})}
    with (root.logs / ALERTS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, default=str) + "\n")


def read_alerts(root: DataRoot) -> list[dict[str, object]]:
    """Return all alerts, oldest first."""
    path = root.logs / ALERTS_FILE
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]

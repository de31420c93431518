"""Partitions in quarantine: list them, look at them, and release one on a person's word.

A release is written to an append-only log before it happens; each line carries the hash of the line before, so that a
changed or missing line shows.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import polars as pl

from marketdata.clock import from_ns
from marketdata.partitions import BAD_ROWS_FILE, MANIFEST_FILE, Manifest, read_quarantined
from marketdata.paths import NO_INSTRUMENT, DataRoot, PartitionKey


class ReleaseRefused(ValueError):
    """A partition cannot be released; the message says why."""


def quarantined_keys(root: DataRoot) -> list[PartitionKey]:
    """Return the keys of all partitions in quarantine, sorted by date, asset and instrument."""
    keys = []
    for path in root.quarantine_folder.glob(f"*/*/*/{MANIFEST_FILE}"):
        day, symbol, asset = path.parent.name, path.parent.parent.name, path.parent.parent.parent.name
        if ".old." not in day:
            keys.append(PartitionKey(asset, date.fromisoformat(day), None if symbol == NO_INSTRUMENT else symbol))
    return sorted(keys, key=lambda key: (key.date, key.asset, key.symbol or ""))


def list_quarantined(root: DataRoot) -> list[Manifest]:
    """Return the manifests of all partitions in quarantine; each names its key and its failures."""
    return [read_quarantined(root, key) for key in quarantined_keys(root)]


def show(root: DataRoot, key: PartitionKey) -> tuple[Manifest, pl.DataFrame | None]:
    """Return a quarantined partition's manifest, and its bad rows with their reasons where there are some.

    Raises
    ------
    PartitionMissing
        If the key is not in quarantine.
    """
    manifest = read_quarantined(root, key)
    bad_rows = root.quarantine(key) / BAD_ROWS_FILE
    return manifest, pl.read_parquet(bad_rows) if bad_rows.exists() else None


def release(
    root: DataRoot, key: PartitionKey, by: str, reason: str, *, now_ns: Callable[[], int] = time.time_ns
) -> Manifest:
    """Publish a quarantined partition as it is, on a person's word, and return its manifest.

    The manifest keeps the failed checks and says under ``extra["released"]`` who released it, when and why. Making the
    partition again keeps the release as long as its rows are the same; other rows are audited as any.

    Raises
    ------
    PartitionMissing
        If the key is not in quarantine.
    ReleaseRefused
        If nobody or no reason is named, or the rows cannot be read at all.
    """
    if not by.strip() or not reason.strip():
        raise ReleaseRefused(f"{key}: a release names who and why")
    manifest = read_quarantined(root, key)
    folder = root.quarantine(key)
    released = {"by": by, "reason": reason, "at": from_ns(now_ns()).isoformat()}
    failures = [f"{check.name}: {check.detail}" for check in manifest.failures]
    _log(root, {"key": str(key), "data_sha256": manifest.data_sha256, "failures": failures, **released})
    manifest = replace(manifest, extra={**manifest.extra, "released": released})
    temporary = folder / f"{MANIFEST_FILE}.tmp"
    temporary.write_text(json.dumps(asdict(manifest), indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")
    os.replace(temporary, folder / MANIFEST_FILE)
    target = root.published(key)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(folder, target)
    return manifest


def release_log(root: DataRoot) -> Path:
    """Return the append-only log of releases."""
    return root.quarantine_folder / "releases.jsonl"


def verify_release_log(root: DataRoot) -> list[dict[str, object]]:
    """Return the log's entries, oldest first.

    Raises
    ------
    ReleaseRefused
        If a line was changed or taken out: its hash does not follow from the line before.
    """
    path = release_log(root)
    entries: list[dict[str, object]] = []
    previous = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else [], start=1):
        entry = json.loads(line)
        if entry.get("previous_sha256") != previous:
            raise ReleaseRefused(f"{path}: row {number} does not follow from the row before: the log was changed")
        previous = hashlib.sha256(line.encode()).hexdigest()
        entries.append(entry)
    return entries


def _log(root: DataRoot, entry: dict[str, object]) -> None:
    verify_release_log(root)
    path = release_log(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    previous = hashlib.sha256(lines[-1].encode()).hexdigest() if lines else ""
    line = json.dumps({**entry, "previous_sha256": previous}, sort_keys=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
        stream.flush()
        os.fsync(stream.fileno())

"""Hashes of everything that must come out the same on a re-run: partitions, bundles, forecasts, decision content."""

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Final

from marketdata.partitions import MANIFEST_FILE
from marketdata.paths import DataRoot
from orchestration.side_files import CONTROL_WORLDS, COSTS, FEATURES, MLFLOW, RECORD, SUMMARY
from orchestration.stages_trading import PAPER_TIMING

NOT_HASHED: Final = (CONTROL_WORLDS, COSTS, FEATURES, RECORD, SUMMARY, MLFLOW, PAPER_TIMING)
"""Files of a night that hold run ids, wall times or registry versions."""


def night_hashes(root: DataRoot) -> dict[str, str]:
    """Return a SHA-256 for every published partition, bundle, night file and decision of a root, by name.

    Two roots made with the same settings have equal entries, whatever machine, time and number of threads they were made with.
    """
    return {
        **_partitions(root),
        **_bundles(root),
        **_night_files(root),
        **_decisions(root),
    }


def _partitions(root: DataRoot) -> dict[str, str]:
    found = {}
    for manifest in sorted(root.published_folder.glob(f"*/*/*/{MANIFEST_FILE}")):
        values = json.loads(manifest.read_text(encoding="utf-8"))
        found[f"partition {values['key']}"] = values["data_sha256"]
    return found


def _bundles(root: DataRoot) -> dict[str, str]:
    return {
        f"bundle {folder.name}": _folder_sha256(folder) for folder in sorted(root.bundles.glob("*")) if folder.is_dir()
    }


def _night_files(root: DataRoot) -> dict[str, str]:
    found = {}
    for night in sorted(root.nights.glob("*-*-*")):
        for path in sorted(night.rglob("*")):
            if path.is_file() and path.suffix in {".json", ".npz", ".npy"} and path.name not in NOT_HASHED:
                found[f"night {path.relative_to(root.nights)}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _decisions(root: DataRoot) -> dict[str, str]:
    from models.decisions import DecisionLedger

    standing: dict[str, str] = {}
    for record in DecisionLedger(root).history():
        standing[f"decision {record.night or record.sequence}"] = record.content_sha256
    return standing


def _folder_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def night_digest(root: DataRoot, day: date | None = None) -> str:
    """Return one hash over all, or over the entries that name a session."""
    digest = hashlib.sha256()
    for name, value in sorted(night_hashes(root).items()):
        if day is None or day.isoformat() in name:
            digest.update(f"{name}={value}\n".encode())
    return digest.hexdigest()

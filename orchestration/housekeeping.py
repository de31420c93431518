"""Keeping a data root small and safe: ``flowsense gc``, ``backup`` and ``restore``."""

import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from marketdata.paths import DataRoot
from marketdata.settings import SettingsError

if TYPE_CHECKING:
    from models.decisions import DecisionLedger

LEFT_OUT = ("staging", "logs", ".init.lock")
"""What a backup leaves out: half-written partitions, process logs, the lock."""


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing that garbage collection removes, and its size."""

    path: Path
    size_bytes: int


def garbage(root: DataRoot, keep_nights: int) -> list[Removal]:
    """Return what may go when the last ``keep_nights`` nights are kept.

    Kept whatever their age: the folders of decided nights (a decision names their evidence), bundles that a decision names or
    that a kept night made, the partitions of the kept nights and of their training windows, ledgers, keys and both UIs' stores.

    Raises
    ------
    SettingsError
        If fewer than one night would be kept.
    """
    from models.decisions import DecisionLedger

    if keep_nights < 1:
        raise SettingsError("--keep-nights must be at least 1")
    settings = root.settings()
    nights = sorted(_dated(root.path / "nights"))
    found: list[Path] = list((root.path / "staging").glob("*/*/*"))
    if len(nights) > keep_nights:
        kept = nights[-keep_nights:]
        sessions = [s.date for s in settings.market_calendar().sessions(settings.start_date, kept[0])]
        oldest = sessions[max(0, len(sessions) - settings.training.window_sessions)]
        for area in ("published", "quarantine"):
            found += [p for p in (root.path / area).glob("*/*/*") if (_as_date(p.name) or kept[0]) < oldest]
        keys = _keys_of_nights(root, kept)
        named = _named_hashes(DecisionLedger(root))
        bundles = [p for p in sorted(root.bundles.glob("*")) if p.is_dir() and p.name not in keys]
        found += [p for p in bundles if _bundle_hash(p) not in named]
        since = min(root.night(day).stat().st_mtime for day in kept)
        found += [p for p in root.folds.glob("*") if p.stat().st_mtime < since]
        found += [p for p in root.reports.glob("*.html") if (_as_date(p.stem) or kept[0]) < kept[0]]
    return [Removal(path, _size(path)) for path in sorted(found)]


def collect(root: DataRoot, keep_nights: int) -> list[Removal]:
    """Remove what :func:`garbage` lists; return it."""
    with FileLock(root.lock_file):
        found = garbage(root, keep_nights)
        for removal in found:
            if removal.path.is_dir():
                shutil.rmtree(removal.path)
            else:
                removal.path.unlink()
    return found


def backup(root: DataRoot, archive: Path) -> int:
    """Write the whole root as a tar.gz, each SQLite file as a consistent copy; return the archive's bytes.

    The archive is written under a temporary name and renamed when complete. It holds the signing key: it is made readable by
    its owner only.

    Raises
    ------
    SettingsError
        If the archive exists already.
    """
    if archive.exists():
        raise SettingsError(f"{archive} exists already")
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_name(archive.name + ".partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with (
            tempfile.TemporaryDirectory() as scratch,
            os.fdopen(descriptor, "wb") as raw,
            tarfile.open(fileobj=raw, mode="w:gz", compresslevel=3) as tar,
        ):
            for path in _files(root.path):
                tar.add(_consistent(path, Path(scratch)), arcname=str(path.relative_to(root.path)), recursive=False)
        os.replace(partial, archive)
    finally:
        partial.unlink(missing_ok=True)
    return archive.stat().st_size


def restore(archive: Path, root: DataRoot) -> None:
    """Unpack a backup into a folder that must not exist, whole or not at all, and check its settings and decision chain.

    Raises
    ------
    SettingsError
        If the folder exists, the archive cannot be read, or what it holds is no sound data root.
    """
    from models.decisions import DecisionLedger

    if root.path.exists():
        raise SettingsError(f"{root.path} exists already; restore into a new folder")
    partial = root.path.with_name(root.path.name + ".restoring")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        try:
            with tarfile.open(archive, mode="r:gz") as tar:
                tar.extractall(partial, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise SettingsError(f"{archive}: cannot be read: {error}") from error
        restored = DataRoot(partial)
        restored.settings()
        if restored.signing_key.exists():
            restored.signing_key.chmod(0o600)
        chain = DecisionLedger(restored).verify()
        if not chain.ok:
            raise SettingsError(f"{archive}: decision {chain.broken} is broken: {chain.problem}")
        os.replace(partial, root.path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _named_hashes(ledger: "DecisionLedger") -> set[str]:
    """Return every bundle hash that a decision record names, as champion or in the shadow."""
    contents = [record.content for record in ledger.history()]
    hashes = {content.get("bundle_sha256") for content in contents}
    hashes |= {(content.get("shadow") or {}).get("bundle_sha256") for content in contents}
    return {found for found in hashes if found}


def _keys_of_nights(root: DataRoot, days: list[date]) -> set[str]:
    """Return the store keys of every bundle that the nights evaluated or made."""
    keys = set()
    for day in days:
        for path in (root.night(day) / "models").glob("*.json"):
            summary = json.loads(path.read_text(encoding="utf-8"))
            keys |= {fold["bundle_key"] for fold in summary["folds"]} | {summary["next"]["bundle_key"]}
    return keys


def _bundle_hash(folder: Path) -> str:
    """Return the content hash of a stored bundle; empty for a damaged one, which nothing can name."""
    from models.bundle import BundleError, load_bundle

    try:
        return load_bundle(folder).sha256
    except BundleError:
        return ""


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        top = path.relative_to(folder).parts[0]
        side_file = path.name.endswith(("-wal", "-shm", ".tmp"))
        if path.is_file() and not path.is_symlink() and top not in LEFT_OUT and not side_file:
            yield path


def _consistent(path: Path, scratch: Path) -> Path:
    if path.suffix not in (".sqlite", ".db"):
        return path
    copy = scratch / path.name
    copy.unlink(missing_ok=True)
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.close()
    return copy


def _dated(folder: Path) -> list[date]:
    return [day for p in folder.glob("*") if (day := _as_date(p.name)) is not None] if folder.exists() else []


def _as_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _size(path: Path) -> int:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size

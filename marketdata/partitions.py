"""Write, audit, publish: how a partition comes to exist, and the only way to open one.

A partition is written whole into ``staging/``, audited there, and then renamed: to ``published/`` with a manifest when every
blocking check passed, or to ``quarantine/`` with its reasons. Blocking checks of an orchestrator do not reach past their own
run; a partition that was never published cannot be opened by any run.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from marketdata.parquet import write_parquet
from marketdata.paths import DataRoot, PartitionKey

DATA_FILE = "data.parquet"
MANIFEST_FILE = "manifest.json"
BAD_ROWS_FILE = "bad_rows.parquet"


class PartitionMissing(LookupError):
    """The partition has not been made."""


class PartitionQuarantined(LookupError):
    """The partition was refused by its audit; the message says why."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check on one partition.

    Attributes
    ----------
    name : str
        A sentence that is true when the check passes, with underscores (``events_are_time_ordered``).
    passed : bool
        Whether it holds.
    blocking : bool
        Whether the partition is refused when it does not hold.
    detail : str
        What was found, for a person.
    bad_rows : int
        Rows that break it.
    """

    name: str
    passed: bool
    blocking: bool = True
    detail: str = ""
    bad_rows: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a partition holds and how its audit went; ``data_sha256`` hashes the Parquet bytes."""

    key: str
    rows: int
    data_sha256: str
    checks: tuple[CheckResult, ...]
    extra: dict[str, object]

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """Blocking checks that failed."""
        return tuple(c for c in self.checks if c.blocking and not c.passed)


def publish(
    root: DataRoot,
    key: PartitionKey,
    frame: pl.DataFrame,
    checks: Sequence[CheckResult],
    *,
    bad_rows: pl.DataFrame | None = None,
    extra: dict[str, object] | None = None,
) -> Manifest:
    """Write a partition and publish it, or quarantine it when a blocking check failed.

    Parameters
    ----------
    frame : pl.DataFrame
        The rows of the partition. Parquet is written with fixed settings, so equal rows give equal bytes.
    checks : sequence of CheckResult
        The audit's results, kept in the manifest.
    bad_rows : pl.DataFrame, optional
        Rows that broke a check, with a ``reason`` column; kept beside the partition in either case.
    extra : dict, optional
        Further JSON-able facts for the manifest (parents, fingerprints).

    Returns
    -------
    Manifest
        Where a person has released exactly these rows before, the released partition stays and its manifest is returned.

    Raises
    ------
    PartitionQuarantined
        After the partition was moved to quarantine; an older published partition of the key is withdrawn, because it
        does not stand for the data that is there now.
    """
    staging = root.stage(key)
    staging = staging.with_name(f"{staging.name}.{uuid.uuid4().hex[:8]}")
    staging.mkdir(parents=True)
    try:
        data = staging / DATA_FILE
        write_parquet(frame, data)
        digest = hashlib.sha256(data.read_bytes()).hexdigest()
        manifest = Manifest(str(key), frame.height, digest, tuple(checks), dict(extra or {}))
        if bad_rows is not None and bad_rows.height:
            write_parquet(bad_rows, staging / BAD_ROWS_FILE)
        _write_json(staging / MANIFEST_FILE, asdict(manifest))
        released = _released(root, key) if manifest.failures else None
        if released is not None and released.data_sha256 == digest:
            shutil.rmtree(staging)
            return released
        target = root.quarantine(key) if manifest.failures else root.published(key)
        other = root.published(key) if manifest.failures else root.quarantine(key)
        _swap_in(staging, target)
        if other.exists():
            shutil.rmtree(other)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    if manifest.failures:
        raise PartitionQuarantined(_reason(key, manifest))
    return manifest


def open_partition(root: DataRoot, key: PartitionKey) -> Path:
    """Return the Parquet file of a published partition.

    Raises
    ------
    PartitionQuarantined
        If it was refused by its audit.
    PartitionMissing
        If it was never made.
    """
    data = root.published(key) / DATA_FILE
    if data.exists():
        return data
    if (root.quarantine(key) / MANIFEST_FILE).exists():
        raise PartitionQuarantined(_reason(key, read_quarantined(root, key)))
    raise PartitionMissing(f"{key} has not been made")


def load_partition(root: DataRoot, key: PartitionKey, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the rows of a published partition.

    Raises
    ------
    PartitionQuarantined, PartitionMissing
        As :func:`open_partition`.
    """
    return pl.read_parquet(open_partition(root, key), columns=list(columns) if columns else None)


def read_manifest(root: DataRoot, key: PartitionKey) -> Manifest:
    """Return the manifest of a published partition; raises as :func:`open_partition`."""
    open_partition(root, key)
    return _read_manifest(root.published(key) / MANIFEST_FILE)


def read_quarantined(root: DataRoot, key: PartitionKey) -> Manifest:
    """Return the manifest of a quarantined partition.

    Raises
    ------
    PartitionMissing
        If the key is not in quarantine.
    """
    path = root.quarantine(key) / MANIFEST_FILE
    if not path.exists():
        raise PartitionMissing(f"{key} is not in quarantine")
    return _read_manifest(path)


def _released(root: DataRoot, key: PartitionKey) -> Manifest | None:
    """Return the published manifest of a partition that a person has released from quarantine, or None."""
    path = root.published(key) / MANIFEST_FILE
    manifest = _read_manifest(path) if path.exists() else None
    return manifest if manifest is not None and "released" in manifest.extra else None


def _read_manifest(path: Path) -> Manifest:
    values = json.loads(path.read_text(encoding="utf-8"))
    checks = tuple(CheckResult(**item) for item in values["checks"])
    return Manifest(values["key"], values["rows"], values["data_sha256"], checks, values["extra"])


def _reason(key: PartitionKey, manifest: Manifest) -> str:
    reasons = "; ".join(f"{c.name}: {c.detail}" if c.detail else c.name for c in manifest.failures)
    return f"{key} is quarantined: {reasons}"


def _write_json(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")


def _swap_in(staging: Path, target: Path) -> None:
    """Put ``staging`` in the place of ``target``; a reader sees the old folder or the new one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    old = None
    if target.exists():
        old = target.with_name(f"{target.name}.old.{uuid.uuid4().hex[:8]}")
        os.replace(target, old)
    os.replace(staging, target)
    if old is not None:
        shutil.rmtree(old)

"""``flowsense doctor``: what this machine and data root lack before the platform can run."""

import os
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from marketdata.environment import TELEMETRY_OFF
from marketdata.paths import DataRoot
from marketdata.settings import SettingsError

NEEDED_DISK_GIB = 6.0
NEEDED_MEMORY_GIB = 6.0
KEY_PACKAGES = (
    "dagster",
    "mlflow",
    "polars",
    "duckdb",
    "torch",
    "torch-geometric",
    "pomegranate",
    "transformers",
    "numba",
    "scikit-learn",
    "great-expectations",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: its name, whether it is as it should be, and what was found."""

    name: str
    good: bool
    found: str


def examine(root: DataRoot, ports: tuple[int, ...]) -> list[Finding]:
    """Return a finding for Python, packages, memory, disk, ports, telemetry and the data root."""
    looks: list[Callable[[], Finding]] = [
        _python,
        _memory,
        lambda: _disk(root),
        _packages,
        _telemetry,
        lambda: _root(root),
    ]
    findings = [look() for look in looks]
    findings.extend(_port(port) for port in ports)
    return findings


def _python() -> Finding:
    return Finding("Python 3.11", sys.version_info[:2] == (3, 11), sys.version.split()[0])


def _memory() -> Finding:
    import psutil

    gib = psutil.virtual_memory().available / 2**30
    return Finding("memory", gib >= NEEDED_MEMORY_GIB, f"{gib:.1f} GiB available, {NEEDED_MEMORY_GIB:.0f} wanted")


def _disk(root: DataRoot) -> Finding:
    folder = root.path
    while not folder.exists():
        folder = folder.parent
    gib = shutil.disk_usage(folder).free / 2**30
    return Finding("disk", gib >= NEEDED_DISK_GIB, f"{gib:.1f} GiB free at {folder}, {NEEDED_DISK_GIB:.0f} wanted")


def _packages() -> Finding:
    lacking, found = [], []
    for name in KEY_PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lacking.append(name)
    if lacking:
        return Finding("packages", False, f"missing: {', '.join(lacking)}; run `make setup`")
    return Finding("packages", True, ", ".join(found))


def _telemetry() -> Finding:
    on = [name for name, value in TELEMETRY_OFF.items() if os.environ.get(name) != value]
    return Finding("telemetry off", not on, "all switched off" if not on else f"still on: {', '.join(on)}")


def _root(root: DataRoot) -> Finding:
    if not root.path.exists():
        return Finding("data root", True, f"{root.path} does not exist yet; `flowsense init` makes it")
    try:
        settings = root.settings()
    except SettingsError as error:
        return Finding("data root", False, str(error))
    missing = [
        p.name
        for p in (root.dagster_home / "dagster.yaml", root.mlflow_database, root.decisions_database)
        if not p.exists()
    ]
    if missing:
        return Finding("data root", False, f"{root.path} lacks {', '.join(missing)}; run `flowsense init`")
    mode = root.signing_key.stat().st_mode & 0o777 if root.signing_key.exists() else None
    if mode != 0o600:
        return Finding("data root", False, f"{root.signing_key} must be readable by its owner only (mode 0600)")
    return Finding("data root", True, f"{root.path} ({settings.source}, {len(settings.instruments)} instruments)")


def _port(port: int) -> Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Finding(f"port {port}", False, "taken")
    return Finding(f"port {port}", True, "free")

"""What made a night: version, commit, hashes of code and settings, library versions."""

import hashlib
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from backtests.report.record import Build
from marketdata.settings import Settings

LIBRARIES: Final = ("dagster", "mlflow", "numba", "numpy", "polars", "scikit-learn", "torch", "great-expectations")
CHECKOUT: Final = Path(__file__).resolve().parent.parent


def build_facts(settings: Settings, *, data_sha256: str = "") -> Build:
    """Return what runs now: the installed version, the checkout's commit where there is one, and hashes."""
    from models.training import code_sha256

    commit, dirty = _commit()
    return Build(
        version=_version("flowsense") or "",
        commit=commit,
        dirty=dirty,
        code_sha256=code_sha256(),
        data_sha256=data_sha256,
        settings_sha256=hashlib.sha256(settings.model_dump_json().encode()).hexdigest(),
        libraries={name: found for name in LIBRARIES if (found := _version(name))},
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@lru_cache(maxsize=1)
def _commit() -> tuple[str, bool]:
    """Return the checkout's commit and whether its tracked files differ from it; empty outside a checkout."""
    try:
        head = _git("rev-parse", "HEAD")
        return head, bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return "", False


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(CHECKOUT), *words], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()

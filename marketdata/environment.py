"""Set the process environment that every other module relies on; it must run before any third-party import.

Three things have to be settled before the libraries that read them are imported: that nothing phones home, where numba
keeps its compiled kernels, and that linear algebra works in the thread that asks for it. Importing any package of ours
imports ``marketdata``, which calls :func:`configure`.
"""

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Final

TELEMETRY_OFF: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Variables that switch off every library's usage reporting. ``DO_NOT_TRACK=1`` is not enough for mlflow."""

ONE_THREAD: Final = ("OPENBLAS_NUM_THREADS", "1")
"""Of numpy's and scipy's linear algebra, unless the user set it: our matrices are small, and a second thread costs far more than
it gives (scipy's L-BFGS-B on twenty parameters: a hundred times, because every product of short vectors wakes it)."""

KERNEL_PACKAGES: Final = ("marketdata", "features", "models", "trading", "backtests", "serving", "benchmarks")


def kernel_sources_hash() -> str:
    """Return a hash of every source file of ours that holds a numba kernel, with the numba and CPU identity.

    numba's on-disk cache looks only at the file of the function itself: a cached kernel that calls an edited function of
    another file would keep returning the old result. A cache folder named by this hash can never do that.
    """
    base = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for package in KERNEL_PACKAGES:
        for path in sorted((base / package).rglob("*.py")):
            text = path.read_bytes()
            if b"numba" in text:
                digest.update(str(path.relative_to(base)).encode())
                digest.update(text)
    digest.update(version("numba").encode())
    digest.update(platform.machine().encode())
    digest.update(platform.processor().encode())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Return the folder for things that can be made again: ``FLOWSENSE_CACHE``, or the user's cache folder."""
    given = os.environ.get("FLOWSENSE_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "flowsense"


def configure() -> None:
    """Switch telemetry off, keep linear algebra in one thread, and point numba at a cache of exactly these sources.

    A telemetry variable that is already set is overwritten: nothing phones home from this product. ``NUMBA_CACHE_DIR`` is
    respected when the user set it, and then staleness across files is theirs to mind.
    """
    os.environ.update(TELEMETRY_OFF)
    os.environ.setdefault(*ONE_THREAD)
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder() / "numba" / kernel_sources_hash()))

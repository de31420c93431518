"""Drift over three million rows of a hundred columns: sketches of training window and today, then the figures."""

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from features.drift import DRIFTED, STABLE, drift
from features.sketch import merge_sketches, sketch_rows

ROWS: Final = 3_000_000
COLUMNS: Final = 100
BLOCK: Final = 100_000
SHIFTED: Final = 7
"""The column whose last tenth of rows is moved by half a standard deviation."""


def measure_drift() -> dict[str, Any]:
    """Sketch nine tenths of the rows as training window and the rest as today, merge by blocks, and compare."""
    rng = np.random.default_rng(1)
    names = tuple(f"column_{k}" for k in range(COLUMNS))
    block = rng.standard_normal((BLOCK, COLUMNS)).astype(np.float32)
    block[rng.random((BLOCK, COLUMNS)) < 0.02] = np.nan
    moved = block.copy()
    moved[:, SHIFTED] += 0.5
    sketch_rows(names, block[:10])
    blocks = ROWS // BLOCK
    start = time.perf_counter()
    parts = [sketch_rows(names, moved if k >= blocks * 9 // 10 else block) for k in range(blocks)]
    found = drift(merge_sketches(parts[: blocks * 9 // 10]), merge_sketches(parts[blocks * 9 // 10 :]))
    seconds = time.perf_counter() - start
    statuses = [row.status for row in found]
    assert sum(row.missing_before > 0 for row in found) == COLUMNS
    assert statuses[SHIFTED] == DRIFTED or found[SHIFTED].psi > 0.1, found[SHIFTED]
    assert all(status == STABLE for k, status in enumerate(statuses) if k != SHIFTED)
    return {"n": ROWS * COLUMNS, "unit": "value", "per_s": ROWS * COLUMNS / seconds}


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {"drift": measure_drift}

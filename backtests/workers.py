"""Processes that work side by side, and end when the process that asked for them is gone."""

import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import Final

WORKER_MEMORY_BYTES: Final = 900 * 2**20
"""What a process with all libraries loaded may need."""


def worker_count(tasks: int, wanted: int = 0) -> int:
    """Return how many processes to work with: as many as are wanted, else as there are cores and free memory for."""
    if wanted:
        return min(wanted, tasks)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # not told on every system
        return min(cores, tasks)
    return max(1, min(cores, tasks, free // WORKER_MEMORY_BYTES))


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of fresh processes; each has one thread for linear algebra and ends with its parent."""
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_prepare)


def _prepare() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

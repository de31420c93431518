"""Peak memory of this process and everything it started, sampled while a block runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SAMPLE_S = 0.25


@dataclass
class MemoryPeak:
    """The largest sum of resident memory over the process tree so far."""

    peak_bytes: int = 0


@contextmanager
def watching_memory(sample_s: float = SAMPLE_S) -> Iterator[MemoryPeak]:
    """Sample the process tree's resident memory in a thread; shared pages count once a process, as `ps` does."""
    import psutil

    peak = MemoryPeak()
    stopped = threading.Event()
    own = psutil.Process()

    def sample() -> None:
        total = 0
        for process in [own, *own.children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.Error:  # a child that ended between listing and reading holds nothing any more
                continue
        peak.peak_bytes = max(peak.peak_bytes, total)

    def watch() -> None:
        while not stopped.wait(sample_s):
            sample()

    thread = threading.Thread(target=watch, name="memory-peak", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stopped.set()
        thread.join()
        sample()

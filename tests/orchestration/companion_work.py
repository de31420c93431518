"""What the tests of companions let them do: at a module's top level, so that another process finds it."""

import os
import time
from pathlib import Path


def own_process() -> int:
    """Return the number of the process this runs in."""
    return os.getpid()


def refuse(reason: str) -> None:
    """Raise what a stage raises on bad input."""
    raise ValueError(reason)


def die_unless(process: int) -> int:
    """End the process this runs in, unless it is the one named; return its number."""
    if os.getpid() != process:
        os._exit(3)
    return process


def wait_for(begun: Path, released: Path) -> int:
    """Say that this began, wait until it is released, and return the number of the process."""
    begun.touch()
    while not released.exists():
        time.sleep(0.01)
    return os.getpid()


def release(released: Path) -> int:
    """Release who waits, and return the number of the process."""
    released.touch()
    return os.getpid()

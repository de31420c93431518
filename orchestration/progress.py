"""Progress of a night, told to whoever listens: a bar on a terminal, lines elsewhere, nobody in a Dagster run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Progress = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all); a stage is named the same from its first call to its last."""


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def _nobody(asset: str) -> None:
    """Ignore a step."""


_listener: ContextVar[Callable[[str], None]] = ContextVar("flowsense_steps", default=_nobody)


@contextmanager
def hearing_steps(listener: Callable[[str], None]) -> Iterator[None]:
    """Call ``listener`` with the asset's name whenever a step inside the block begins."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def step_begins(asset: str) -> None:
    """Tell the listener that an asset's step begins."""
    _listener.get()(asset)

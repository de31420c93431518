"""What the command line writes with: progress bars on a terminal, plain lines elsewhere, errors on stderr."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PLAIN_WIDTH = 120
"""Columns of tables that go to a file or a pipe."""

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class StageProgress:
    """Shows how far each stage of long work is; an instance is the ``progress(stage, done, total)`` callback.

    On a terminal each stage has a bar; elsewhere a plain line is written when a stage starts or ends, and at most one every
    ten seconds in between.
    """

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._last_line = 0.0

    def __enter__(self) -> Self:
        if err.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description:<34}"),
                BarColumn(24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=err,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` steps of ``stage`` are finished."""
        if self._bars is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total)
            self._bars.update(self._tasks[stage], completed=done, total=total)
            return
        now = time.monotonic()
        first = stage not in self._started
        self._started.setdefault(stage, now)
        if first or done >= total or now - self._last_line >= 10:
            self._last_line = now
            print(f"{stage}: {done}/{total} ({now - self._started[stage]:.0f} s)", file=sys.stderr, flush=True)

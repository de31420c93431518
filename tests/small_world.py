"""The small world that tests share: three nights' worth of two instruments, all models at test size, one Dagster instance."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketdata.paths import DataRoot
from marketdata.presets import preset
from marketdata.settings import Settings
from orchestration.initialise import initialise
from orchestration.night import NightsResult, run_demo

SESSIONS = 4
"""Three that are nights, and one that is traded after the last decision."""
EVENTS = 20_000


def small_settings(*, sessions: int = SESSIONS, instruments: int = 2, events: int = EVENTS) -> Settings:
    """Return settings under which everything runs, and each part as briefly as it can."""
    base = preset("simulated", None, sessions=sessions)
    return base.model_copy(
        update={
            "first_night": 2,
            "instruments": base.instruments[:instruments],
            "simulator": base.simulator.model_copy(
                update={"events_per_session": events, "option_snapshots": 4, "posts": 60, "transfers": 40}
            ),
            "training": base.training.model_copy(
                update={"first_train_units": 1, "min_instruments": 1, "deep_steps": 10, "deep_row_cap": 1_000}
            ),
            "gate": base.gate.model_copy(update={"bootstrap_replications": 200, "n0_shifts": 5}),
            "controls": base.controls.model_copy(update={"worlds_per_night": 0, "processes": 1}),
        }
    )


@dataclass(frozen=True)
class SmallWorld:
    """A root after the whole demonstration ran on it; tests read it and change nothing."""

    root: DataRoot
    settings: Settings
    result: NightsResult
    looked_up: tuple[str, ...]
    """Hosts beyond this machine that anything tried to find while it ran; each was refused."""


@contextmanager
def without_names() -> Iterator[list[str]]:
    """Refuse every name look-up but those of this machine, and list what was asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def refuse(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in (None, "", "localhost", "127.0.0.1", "::1", socket.gethostname()):
            return real(host, *args, **kwargs)
        asked.append(str(host))
        raise socket.gaierror(socket.EAI_NONAME, f"look-up of {host} refused by the test")

    socket.getaddrinfo = refuse
    try:
        yield asked
    finally:
        socket.getaddrinfo = real


def make_small_world(folder: Path) -> SmallWorld:
    """Run the demonstration on a new root below the folder."""
    settings = small_settings()
    root = DataRoot(folder / "root")
    with without_names() as asked:
        initialise(root, settings)
        result = run_demo(root)
    return SmallWorld(root, settings, result, tuple(asked))

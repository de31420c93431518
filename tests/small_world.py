"""The small world that tests share: three nights' worth of two instruments, all models at test size, one Dagster instance."""

from dataclasses import dataclass
from pathlib import Path

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
        }
    )


@dataclass(frozen=True)
class SmallWorld:
    """A root after the whole demonstration ran on it; tests read it and change nothing."""

    root: DataRoot
    settings: Settings
    result: NightsResult


def make_small_world(folder: Path) -> SmallWorld:
    """Run the demonstration on a new root below the folder."""
    settings = small_settings()
    root = DataRoot(folder / "root")
    initialise(root, settings)
    return SmallWorld(root, settings, run_demo(root))

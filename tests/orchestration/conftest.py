"""The root that the tests of this folder share; the small world is in the conftest above, for everybody."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from marketdata.paths import DataRoot

PROCESSES = 5
CODE = (
    "import sys; from pathlib import Path; from marketdata.paths import DataRoot; from marketdata.presets import preset; "
    "from orchestration.initialise import initialise; "
    "print(initialise(DataRoot(Path(sys.argv[1])), preset('simulated', None)))"
)


@dataclass(frozen=True)
class Race:
    """What processes that initialised one new root at the same moment said: exit code, answer, last lines of errors."""

    root: DataRoot
    codes: tuple[int, ...]
    answers: tuple[str, ...]
    errors: tuple[str, ...]


@pytest.fixture(scope="session")
def race(tmp_path_factory: pytest.TempPathFactory) -> Race:
    """Five processes that initialise one root of the simulated source's default settings at once."""
    root = Path(tmp_path_factory.mktemp("initialised")) / "root"
    command = [sys.executable, "-c", CODE, str(root)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    said = [process.communicate(timeout=240) for process in running]
    return Race(
        DataRoot(root),
        tuple(process.returncode for process in running),
        tuple(out.strip() for out, _ in said),
        tuple(err[-500:] for _, err in said),
    )


@pytest.fixture(scope="session")
def initialised_root(race: Race) -> DataRoot:
    """An initialised, empty root; nothing may be written to it."""
    return race.root

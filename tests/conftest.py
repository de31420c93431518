"""Fixtures that every test may use."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.small_world import SmallWorld

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The recorded data folder: ``FLOWSENSE_DATA``, else ``../shared/data`` beside the checkout.

    Without it the test is skipped with the reason; in CI (``CI=true``) it fails, so that nobody passes by not looking.
    """
    given = os.environ.get("FLOWSENSE_DATA")
    folder = Path(given) if given else CHECKOUT.parent / "shared" / "data"
    if not (folder / "market").is_dir():
        reason = f"the recorded data folder {folder} is absent (set FLOWSENSE_DATA)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> "SmallWorld":
    """Three sessions of two instruments through all jobs of the night, one more traded on paper; nothing may be changed in it."""
    from tests.small_world import make_small_world

    return make_small_world(tmp_path_factory.mktemp("small_world"))


SHARED_WORLDS = ("serving", "models", "simulator")
"""Folders of tests whose expensive world is made once a process: their tests stay in one process."""

LONGEST = (
    "small_world",
    "models",
    "serving",
    "test_certificate.py",
    "test_worlds.py",
    "test_sentiment_training.py",
    "test_up.py",
)
"""What takes longest begins first, so that no process is left alone with it in the end."""


def process_group(path: Path) -> str:
    """Name what a file's tests share a process with: its folder's world, the small world of the night, or nothing but itself."""
    folder = path.parent.name
    if folder in SHARED_WORLDS:
        return folder
    if folder == "orchestration" and "small_world" in path.read_text(encoding="utf-8"):
        return "small_world"
    return path.relative_to(CHECKOUT).as_posix()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Send whole groups to a process (pytest-xdist's own ``loadgroup`` does nothing under pytest 9.2: it renames ids in vain)."""
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False
    known: dict[str, str] = {}

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file not in known:
                known[file] = process_group(CHECKOUT / file)
            return known[file]

    return ByGroup(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest groups first where several processes share the run; the order within a group stays."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    place = {path: process_group(path).rpartition("/")[2] for path in {item.path for item in items}}
    items.sort(key=lambda item: LONGEST.index(place[item.path]) if place[item.path] in LONGEST else len(LONGEST))

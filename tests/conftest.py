"""Fixtures that every test may use."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

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


SHARED_WORLDS = {"orchestration": "small_world", "report": "small_world", "serving": "serving", "models": "models"}
"""Folders of tests whose expensive world is made once a process: their tests stay in one process."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a file's tests stay in one process, and those of a folder that shares a world (pytest-xdist, ``--dist loadgroup``)."""
    for item in items:
        folder = item.path.parent.name
        group = SHARED_WORLDS.get(folder, item.path.stem + folder)
        if folder == "orchestration" and "small_world" not in getattr(item, "fixturenames", ()):
            group = item.path.stem + folder
        item.add_marker(pytest.mark.xdist_group(group))

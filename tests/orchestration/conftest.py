"""Roots that the tests of this folder share; the small world itself is in the conftest above, for everybody."""

from pathlib import Path

import pytest

from marketdata.paths import DataRoot
from marketdata.presets import preset
from orchestration.initialise import initialise


@pytest.fixture(scope="session")
def initialised_root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """An initialised, empty root of the simulated source's default settings; nothing may be written to it."""
    root = DataRoot(Path(tmp_path_factory.mktemp("initialised")) / "root")
    initialise(root, preset("simulated", None))
    return root

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from marketdata.paths import DataRoot
from orchestration.initialise import initialise
from orchestration.location import build_definitions
from tests.orchestration.snapshot import SNAPSHOT, graph_of, simulated_definitions

LOAD_SECONDS = 3.0


def test_definitions_validate_and_the_asset_graph_equals_its_snapshot(tmp_path):
    defs = simulated_definitions(tmp_path / "root")
    dg.Definitions.validate_loadable(defs)
    assert graph_of(defs) == json.loads(SNAPSHOT.read_text()), "run `make golden`, and read the difference"


def test_a_source_without_slow_signals_has_no_slow_assets_and_no_job_for_them(lobster_like_root):
    graph = graph_of(build_definitions(lobster_like_root))
    assert not [name for name in graph["assets"] if name.endswith("_signals")]
    assert set(graph["jobs"]) == {"ingest_job", "train_job"}
    assert set(graph["schedules"]) == {"nightly_schedule"}
    assert set(graph["assets"]["dataset_day"]["after"]) == {"feature_rows", "labels"}


def test_every_tick_asset_is_in_the_ingest_job_and_every_other_in_one_job(tmp_path):
    graph = graph_of(simulated_definitions(tmp_path / "root"))
    members = [name for assets in graph["jobs"].values() for name in assets]
    assert sorted(members) == sorted(graph["assets"])


def test_the_code_location_loads_in_a_fresh_process_within_three_seconds(initialised_root):
    # The process's own time counts, so that whatever else runs on the machine does not decide.
    code = "import time, orchestration.definitions as d; d.defs.get_repository_def(); print(time.process_time())"
    environment = {**os.environ, "FLOWSENSE_ROOT": str(initialised_root.path)}
    took = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout
    assert float(took) < LOAD_SECONDS


def test_loading_the_location_imports_no_heavy_library(initialised_root):
    code = (
        "import sys, orchestration.definitions; "
        "print([m for m in ('torch', 'mlflow', 'sklearn', 'great_expectations', 'matplotlib', 'numba') if m in sys.modules])"
    )
    environment = {**os.environ, "FLOWSENSE_ROOT": str(initialised_root.path)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout
    assert found.decode().strip() == "[]"


def test_five_processes_that_initialise_one_root_at_once_all_succeed(race):
    assert race.codes == (0,) * 5, race.errors
    assert sorted(race.answers) == ["False"] * 4 + ["True"]


def test_a_root_refuses_settings_other_than_those_it_was_made_with(initialised_root):
    from marketdata.presets import preset
    from marketdata.settings import SettingsError

    assert initialise(initialised_root, preset("simulated", None)) is False
    with pytest.raises(SettingsError, match="simulator"):
        initialise(initialised_root, preset("simulated", None, signal=0.0))


def test_the_signing_key_is_readable_by_its_owner_only(initialised_root):
    assert initialised_root.signing_key.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def lobster_like_root(tmp_path: Path) -> DataRoot:
    """A root of a source without slow signals; settings only."""
    from marketdata.presets import preset
    from marketdata.settings import save_settings

    settings = preset("simulated", None).model_copy(update={"source": "lobster", "data": tmp_path})
    root = DataRoot(tmp_path / "lobster")
    root.path.mkdir()
    save_settings(settings, root.settings_file)
    return root

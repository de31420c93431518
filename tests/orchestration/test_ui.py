"""What a person does in the Dagster UI, through the same mutations: launch, fail, mend, re-execute, backfill, stop."""

import time
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from marketdata.partitions import load_partition, read_manifest
from marketdata.paths import DataRoot, PartitionKey
from marketdata.quarantine import release
from marketdata.sources import build_source
from orchestration.inbox import inbox_path
from orchestration.initialise import initialise
from orchestration.jobs import INGEST_JOB, INGEST_SIGNALS_JOB
from orchestration.run_launcher import SERVED
from tests.orchestration.dagster_ui import AUTOMATION, BACKFILL_STATE, TERMINATE, Ui, dagster_ui
from tests.orchestration.test_quarantine import crossed
from tests.small_world import small_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the first run may have to compile every kernel
DAY = date(2026, 1, 5)
NEXT = date(2026, 1, 6)
TICKS = ("raw_ticks", "events", "point_events", "feature_rows", "labels")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    root = DataRoot(Path(tmp_path_factory.mktemp("ui")) / "root")
    initialise(root, small_settings(sessions=2, events=5_000))
    return root


@pytest.fixture(scope="module")
def ui(root: DataRoot, tmp_path_factory: pytest.TempPathFactory):
    with dagster_ui(root, tmp_path_factory.mktemp("logs")) as running:
        yield running


def test_the_schedules_and_sensors_are_on_from_the_start(ui: Ui):
    (repository,) = ui.ask(AUTOMATION)["repositoriesOrError"]["nodes"]
    assert {job["name"] for job in repository["jobs"]} >= {"ingest_job", "ingest_signals_job", "train_job"}
    assert {s["name"]: s["scheduleState"]["status"] for s in repository["schedules"]} == {
        "nightly_schedule": "RUNNING",
        "nightly_signals_schedule": "RUNNING",
    }
    assert {s["sensorState"]["status"] for s in repository["sensors"]} == {"RUNNING"}


def test_a_partition_is_launched_and_its_page_shows_rows_and_checks(ui: Ui, root: DataRoot):
    runs = [ui.launch(INGEST_JOB, f"{DAY}|ALFA"), ui.launch(INGEST_SIGNALS_JOB, str(DAY))]
    assert [ui.ended(run)["status"] for run in runs] == ["SUCCESS", "SUCCESS"]
    events = ui.events(runs[0])
    rows = {
        event["assetKey"]["path"][0]: {e["label"]: e.get("intValue") for e in event["metadataEntries"]}
        for event in events
        if event["__typename"] == "MaterializationEvent"
    }
    assert set(rows) == set(TICKS)
    assert rows["events"]["dagster/row_count"] == rows["events"]["rows_out"] > 1_000
    checks = {event["evaluation"]["checkName"] for event in events if event.get("evaluation")}
    assert checks >= {"book_is_never_crossed", "raw_suite_holds", "point_suite_holds", "label_suite_holds"}


def test_a_run_is_forked_by_the_run_server(ui: Ui):
    run = ui.ended(ui.launch(INGEST_SIGNALS_JOB, str(NEXT)))
    assert any(tag["key"] == SERVED for tag in run["tags"])


def test_a_crossed_book_turns_red_with_its_reason_and_a_release_turns_the_re_execution_green(ui: Ui, root: DataRoot):
    given = inbox_path(root, DAY, "BRAVO")
    crossed(build_source(root.settings(), root).raw_ticks(DAY, "BRAVO")).write_parquet(given)
    red = ui.launch(INGEST_JOB, f"{DAY}|BRAVO")
    run = ui.ended(red)
    assert run["status"] == "FAILURE"
    assert {s["stepKey"]: s["status"] for s in run["stepStats"]} == {"raw_ticks": "SUCCESS", "events": "FAILURE"}
    (failure,) = [e for e in ui.events(red) if e["__typename"] == "ExecutionStepFailureEvent"]
    assert "book_is_never_crossed" in failure["failureMetadata"]["description"]
    assert f"quarantine show events/BRAVO/{DAY}" in failure["failureMetadata"]["description"]
    key = PartitionKey("events", DAY, "BRAVO")
    assert pl.read_parquet(root.quarantine(key) / "bad_rows.parquet").height > 0

    assert ui.ended(ui.reexecute(red, "FROM_FAILURE"))["status"] == "FAILURE", "nothing was mended yet"

    release(root, key, "ann", "a test wants it")
    green = ui.reexecute(red, "FROM_FAILURE")
    run = ui.ended(green)
    assert run["status"] == "SUCCESS"
    assert set(run["stepKeysToExecute"]) == {"events", "point_events", "feature_rows", "labels"}
    assert read_manifest(root, key).extra["released"]["by"] == "ann"
    failed = [e["evaluation"] for e in ui.events(green) if e.get("evaluation") and not e["evaluation"]["success"]]
    assert {check["severity"] for check in failed} == {"WARN"}
    assert "released by ann: a test wants it" in failed[0]["description"]

    given.unlink()
    assert ui.ended(ui.reexecute(red, "ALL_STEPS"))["status"] == "SUCCESS"
    assert "released" not in read_manifest(root, key).extra


def test_a_run_is_stopped_by_hand(ui: Ui, root: DataRoot):
    run = ui.launch(INGEST_JOB, f"{NEXT}|ALFA")
    deadline = time.monotonic() + 60
    while not any(t["key"] == SERVED for t in ui.run(run)["tags"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    ui.ask(TERMINATE, r=run)
    assert ui.ended(run)["status"] in ("CANCELED", "SUCCESS")


def test_all_partitions_are_backfilled_one_run_each(ui: Ui, root: DataRoot):
    backfill = ui.backfill(list(TICKS))
    deadline = time.monotonic() + 240
    state = {"status": "REQUESTED"}
    while time.monotonic() < deadline and state["status"] == "REQUESTED":
        time.sleep(1.0)
        state = ui.ask(BACKFILL_STATE, b=backfill)["partitionBackfillOrError"]
    assert state["status"] == "COMPLETED_SUCCESS", state
    keys = [tag["value"] for run in state["runs"] for tag in run["tags"] if tag["key"] == "dagster/partition"]
    assert sorted(keys) == sorted(f"{day}|{symbol}" for day in (DAY, NEXT) for symbol in ("ALFA", "BRAVO"))
    assert load_partition(root, PartitionKey("labels", NEXT, "BRAVO")).height > 10

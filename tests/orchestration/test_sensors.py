from datetime import date

import dagster as dg
import polars as pl
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from marketdata.partitions import CheckResult, PartitionQuarantined, publish
from marketdata.paths import DataRoot, PartitionKey
from marketdata.settings import save_settings
from orchestration.alerts import read_alerts
from orchestration.inbox import inbox_path
from orchestration.location import build_definitions
from orchestration.readiness import TICK_CHAIN
from orchestration.resources import RootResource
from tests.small_world import small_settings

FIRST, SECOND, THIRD = date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)
ROWS = pl.DataFrame({"a": [1]})


@pytest.fixture
def root(tmp_path) -> DataRoot:
    """A root with settings and nothing else."""
    root = DataRoot(tmp_path / "root")
    root.path.mkdir()
    root.inbox.mkdir()
    save_settings(small_settings(), root.settings_file)
    return root


def evaluate(root: DataRoot, name: str, cursor: str | None = None, backfill: PartitionBackfill | None = None):
    repository = build_definitions(root).get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:
        if backfill is not None:
            instance.add_backfill(backfill)
        context = dg.build_sensor_context(
            instance=instance,
            cursor=cursor,
            repository_def=repository,
            resources={"root": RootResource(path=str(root.path))},
        )
        return repository.get_sensor_def(name).evaluate_tick(context)


def publish_chain(root: DataRoot, day: date, symbol: str) -> None:
    for asset in TICK_CHAIN:
        publish(root, PartitionKey(asset, day, symbol), ROWS, ())


def publish_signals(root: DataRoot, day: date) -> None:
    for asset in ("options_chains", "social_posts", "onchain_transfers"):
        publish(root, PartitionKey(asset, day), ROWS, ())
    for kind in ("options", "social", "onchain"):
        publish(root, PartitionKey(f"{kind}_signals", day), ROWS, ())


def quarantine(root: DataRoot, key: PartitionKey) -> None:
    with pytest.raises(PartitionQuarantined):
        publish(root, key, ROWS, [CheckResult("book_is_never_crossed", False)])


@pytest.mark.parametrize(("asset", "asked"), [("dataset_day", 0), ("labels", 1)])
def test_a_night_is_left_to_a_backfill_that_makes_it_too(root, asset, asked):
    for symbol in ("ALFA", "BRAVO"):
        publish_chain(root, SECOND, symbol)
    publish_signals(root, SECOND)
    backfill = PartitionBackfill(
        backfill_id="everything",
        status=BulkActionStatus.REQUESTED,
        from_failure=False,
        tags={},
        backfill_timestamp=0.0,
        asset_selection=[dg.AssetKey(asset)],
    )
    result = evaluate(root, "night_is_ready_sensor", backfill=backfill)
    assert len(result.run_requests or []) == asked
    assert asked or "backfill everything is under way" in result.skip_message


def test_a_night_is_asked_for_once_every_instrument_and_signal_is_published_or_quarantined(root):
    publish_chain(root, SECOND, "ALFA")
    tick = evaluate(root, "night_is_ready_sensor")
    assert not tick.run_requests
    assert "2026-01-06 waits for BRAVO, options, social, onchain" in tick.skip_message
    quarantine(root, PartitionKey("events", SECOND, "BRAVO"))
    publish_signals(root, SECOND)
    tick = evaluate(root, "night_is_ready_sensor")
    assert [(request.run_key, request.partition_key) for request in tick.run_requests] == [("2026-01-06", "2026-01-06")]
    assert not evaluate(root, "night_is_ready_sensor", tick.cursor).run_requests


def test_a_session_before_the_root_s_first_night_is_not_trained(root):
    # The small world's first night is its second session.
    for symbol in ("ALFA", "BRAVO"):
        publish_chain(root, FIRST, symbol)
    publish_signals(root, FIRST)
    assert not evaluate(root, "night_is_ready_sensor").run_requests


def test_a_night_that_was_driven_already_is_not_asked_for_again(root):
    for symbol in ("ALFA", "BRAVO"):
        publish_chain(root, SECOND, symbol)
    publish_signals(root, SECOND)
    publish(root, PartitionKey("dataset_day", SECOND), ROWS, ())
    assert not evaluate(root, "night_is_ready_sensor").run_requests


def test_a_file_in_the_inbox_is_ingested_once_and_again_when_it_changes(root):
    path = inbox_path(root, THIRD, "BRAVO")
    ROWS.write_parquet(path)
    (root.inbox / "notes.txt").write_text("not for us")
    ROWS.write_parquet(root.inbox / "2026-01-07_NOBODY.parquet")
    tick = evaluate(root, "new_files_sensor")
    assert [request.partition_key for request in tick.run_requests] == ["2026-01-07|BRAVO"]
    assert not evaluate(root, "new_files_sensor", tick.cursor).run_requests
    pl.concat([ROWS] * 50).write_parquet(path)
    assert len(evaluate(root, "new_files_sensor", tick.cursor).run_requests) == 1


def test_a_failed_run_becomes_one_line_in_the_alert_log(root):
    repository = build_definitions(root).get_repository_def()

    @dg.op
    def break_down() -> None:
        raise dg.Failure("raw_ticks/ALFA/2026-01-05 is quarantined")

    @dg.job
    def some_job() -> None:
        break_down()

    with dg.DagsterInstance.ephemeral() as instance:
        result = some_job.execute_in_process(instance=instance, raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            sensor_name="failure_sensor",
            dagster_event=result.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            resources={"root": RootResource(path=str(root.path))},
            repository_def=repository,
        ).for_run_failure()
        repository.get_sensor_def("failure_sensor")(context)
    (alert,) = read_alerts(root)
    assert alert["kind"] == "run_failed"
    assert alert["message"] == "raw_ticks/ALFA/2026-01-05 is quarantined"
    assert alert["steps"] == ["break_down"]

"""A bad partition stops what depends on it, in its own run and in every later one, and nothing else."""

from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from marketdata.events import ADD, BID
from marketdata.partitions import PartitionQuarantined, load_partition, read_manifest
from marketdata.paths import DataRoot, PartitionKey
from marketdata.quarantine import list_quarantined
from marketdata.sources import build_source
from orchestration.alerts import read_alerts
from orchestration.grids import ingest_key
from orchestration.inbox import inbox_path
from orchestration.initialise import initialise
from orchestration.instance import open_instance
from orchestration.jobs import INGEST_JOB, TRAIN_JOB
from orchestration.night import NightDriver, driving
from tests.small_world import small_settings

DAY = date(2026, 1, 5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A root of three instruments and one session, whose first two instruments deliver bad rows."""
    settings = small_settings(sessions=2, instruments=3, events=5_000)
    training = settings.training.model_copy(update={"min_instruments": 2})
    settings = settings.model_copy(update={"training": training})
    root = DataRoot(Path(tmp_path_factory.mktemp("quarantine")) / "root")
    initialise(root, settings)
    source = build_source(settings, root)
    good = source.raw_ticks(DAY, "ALFA")
    clock = pl.when(pl.int_range(pl.len()) == 500).then(pl.col("ts_event") - 10**12).otherwise(pl.col("ts_event"))
    good.with_columns(clock.alias("ts_event")).write_parquet(inbox_path(root, DAY, "ALFA"))
    crossed(source.raw_ticks(DAY, "BRAVO")).write_parquet(inbox_path(root, DAY, "BRAVO"))
    return root


@pytest.fixture(scope="module")
def driver(root: DataRoot):
    """The root's jobs after its one session was ingested."""
    with driving(root, training=False) as driver:
        driver.ingest([DAY])
        yield driver


def crossed(raw: pl.DataFrame) -> pl.DataFrame:
    """Return the ticks with one resting bid put far above every ask."""
    bids = raw.with_row_index().filter((pl.col("action") == ADD) & (pl.col("side") == BID))
    row = bids.get_column("index")[len(bids) // 2]
    high = int(raw.get_column("price_units").max()) + 50
    price = pl.when(pl.int_range(pl.len()) == row).then(pl.lit(high)).otherwise(pl.col("price_units"))
    return raw.with_columns(price.alias("price_units"))


def states(root: DataRoot, asset: str) -> dict[str, str]:
    found = {}
    for symbol in ("ALFA", "BRAVO", "CHARLIE"):
        try:
            load_partition(root, PartitionKey(asset, DAY, symbol))
            found[symbol] = "published"
        except PartitionQuarantined:
            found[symbol] = "quarantined"
        except LookupError:
            found[symbol] = "missing"
    return found


def test_bad_partitions_are_stopped_where_they_go_wrong_and_the_others_go_on(root, driver):
    assert states(root, "raw_ticks") == {"ALFA": "quarantined", "BRAVO": "published", "CHARLIE": "published"}
    assert states(root, "events") == {"ALFA": "missing", "BRAVO": "quarantined", "CHARLIE": "published"}
    assert states(root, "labels") == {"ALFA": "missing", "BRAVO": "missing", "CHARLIE": "published"}


def test_the_reason_and_the_rows_are_kept(root, driver):
    reasons = {m.key: [check.name for check in m.failures] for m in list_quarantined(root)}
    assert "raw_clock_does_not_go_back" in reasons[f"raw_ticks/ALFA/{DAY}"]
    assert "book_is_never_crossed" in reasons[f"events/BRAVO/{DAY}"]
    kept = pl.read_parquet(root.quarantine(PartitionKey("raw_ticks", DAY, "ALFA")) / "bad_rows.parquet")
    assert kept.height >= 1
    assert "clock" in " ".join(kept.get_column("reason").to_list()) or kept.get_column("reason").len()


def test_the_driver_lists_what_failed_and_why(driver):
    failed = {(failure.step, failure.partition): failure for failure in driver.failures}
    crossed = failed["events", f"{DAY}|BRAVO"]
    assert crossed.kind == "PartitionQuarantined"
    assert "book_is_never_crossed" in crossed.reason
    assert not any("CHARLIE" in partition for _, partition in failed)


def test_the_failed_check_shows_in_the_instance(root, driver):
    key = dg.AssetCheckKey(dg.AssetKey("events"), "book_is_never_crossed")
    with open_instance(root) as instance:
        records = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    assert {record.status.value for record in records} >= {"FAILED", "SUCCEEDED"}


@pytest.mark.parametrize(("asset", "symbol"), [("events", "ALFA"), ("feature_rows", "BRAVO")])
def test_an_asset_launched_downstream_of_it_in_a_later_run_is_refused(driver: NightDriver, asset, symbol):
    result = driver.jobs[INGEST_JOB].execute_in_process(
        partition_key=ingest_key(DAY, symbol),
        instance=driver.instance,
        raise_on_error=False,
        asset_selection=[dg.AssetKey(asset)],
    )
    assert not result.success
    (failure,) = result.filter_events(lambda event: event.is_step_failure)
    assert "is quarantined" in failure.step_failure_data.user_failure_data.description


def test_below_the_least_number_of_instruments_nothing_trains_and_an_alert_is_raised(root, driver):
    driver._run(TRAIN_JOB, DAY.isoformat(), ["dataset_day"])
    assert driver.failures[-1].kind == "TooFewInstruments"
    (alert,) = [alert for alert in read_alerts(root) if alert["kind"] == "no_training"]
    assert alert["missing"].keys() == {"ALFA", "BRAVO"}


def test_a_corrected_file_heals_the_partition_and_training_names_who_is_still_missing(root, driver):
    inbox_path(root, DAY, "BRAVO").unlink()
    driver._run(INGEST_JOB, ingest_key(DAY, "BRAVO"))
    assert states(root, "labels") == {"ALFA": "missing", "BRAVO": "published", "CHARLIE": "published"}
    driver._run(TRAIN_JOB, DAY.isoformat(), ["dataset_day"])
    manifest = read_manifest(root, PartitionKey("dataset_day", DAY))
    assert manifest.extra["rows"].keys() == {"BRAVO", "CHARLIE"}
    assert "raw_clock_does_not_go_back" in manifest.extra["missing"]["ALFA"]


def test_a_missing_column_is_refused_by_name(root, driver):
    raw = load_partition(root, PartitionKey("raw_ticks", DAY, "CHARLIE"))
    raw.drop("size_lots").write_parquet(inbox_path(root, DAY, "CHARLIE"))
    driver._run(INGEST_JOB, ingest_key(DAY, "CHARLIE"), ["raw_ticks"])
    assert "raw_columns_are_present" in driver.failures[-1].reason
    assert "size_lots" in driver.failures[-1].reason
    assert states(root, "raw_ticks")["CHARLIE"] == "quarantined"

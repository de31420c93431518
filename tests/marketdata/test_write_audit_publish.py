"""A bad partition is stopped with its reason and its rows; nobody can open it later; a person can release it."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from marketdata.partitions import (
    PartitionMissing,
    PartitionQuarantined,
    load_partition,
    publish,
    read_manifest,
)
from marketdata.paths import DataRoot, PartitionKey
from marketdata.presets import preset
from marketdata.quarantine import (
    ReleaseRefused,
    list_quarantined,
    release,
    release_log,
    show,
    verify_release_log,
)
from marketdata.settings import Settings
from marketdata.sources import build_source
from marketdata.suite_docs import render_data_docs
from marketdata.suites import run_suite
from marketdata.validation import audit_events, audit_raw_ticks
from tests.marketdata.recordings import write_lobster

DAY = date(2012, 6, 21)
RAW = PartitionKey("raw_ticks", DAY, "AMZN")
EVENTS = PartitionKey("events", DAY, "AMZN")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return preset("lobster", write_lobster(tmp_path / "recorded", rows=300))


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot(tmp_path / "root")


def raw_ticks(settings: Settings) -> pl.DataFrame:
    return build_source(settings).raw_ticks(DAY, "AMZN")


def ingest(root: DataRoot, settings: Settings, raw: pl.DataFrame) -> None:
    """What the night does with one partition: audit, suite, publish; then the events of it."""
    checks, bad = audit_raw_ticks(raw, settings, "AMZN")
    suite, result = run_suite("raw", raw, settings)
    publish(root, RAW, raw, [*checks, *suite], bad_rows=bad, extra={"suite": result})
    source = build_source(settings)
    events = source.events(load_partition(root, RAW), DAY, "AMZN")
    session = settings.market_calendar().session(DAY)
    traded = source.traded_lots(raw, DAY, "AMZN")
    checks, bad = audit_events(events, settings.instrument("AMZN"), session, traded_lots=traded)
    publish(
        root, EVENTS, pl.DataFrame({name: events[name].copy() for name in events.dtype.names}), checks, bad_rows=bad
    )


def test_a_good_partition_is_published_with_its_audit_and_its_suite_as_json(root: DataRoot, settings: Settings) -> None:
    ingest(root, settings, raw_ticks(settings))
    manifest = read_manifest(root, RAW)
    assert manifest.rows == 300
    assert not manifest.failures
    suite = json.loads((root.published(RAW) / "manifest.json").read_text())["extra"]["suite"]
    assert suite["success"] is True
    assert suite["statistics"]["evaluated_expectations"] == 10
    assert load_partition(root, EVENTS, columns=["action"]).height > 300
    assert list_quarantined(root) == []


def test_equal_rows_give_equal_bytes_and_an_equal_manifest(root: DataRoot, settings: Settings) -> None:
    kept = []
    for _ in range(2):
        ingest(root, settings, raw_ticks(settings))
        kept.append(
            [
                (root.published(key) / name).read_bytes()
                for key in (RAW, EVENTS)
                for name in ("data.parquet", "manifest.json")
            ]
        )
    assert kept[0] == kept[1]


FAULTS = {
    "crossed book": (
        pl.when(pl.col("order_id") == 50).then(pl.col("bid_price_1")).otherwise("ask_price_1"),
        "ask_price_1",
    ),
    "clock going back": (pl.when(pl.col("order_id") == 50).then(0.0).otherwise("time"), "time"),
}
REASONS = {"crossed book": "raw_quotes_are_consistent", "clock going back": "raw_clock_does_not_go_back"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_stops_the_partition_with_its_reason_and_keeps_its_row(
    root: DataRoot, settings: Settings, fault: str
) -> None:
    expression, column = FAULTS[fault]
    with pytest.raises(PartitionQuarantined, match=f"raw_ticks/AMZN/2012-06-21 is quarantined: {REASONS[fault]}"):
        ingest(root, settings, raw_ticks(settings).with_columns(expression.alias(column)))
    manifest, bad_rows = show(root, RAW)
    assert [check.name for check in manifest.failures] == [REASONS[fault], "raw_suite_holds"]
    assert bad_rows is not None
    assert bad_rows["order_id"].to_list() in ([50], [51])
    assert bad_rows["reason"].to_list() == [REASONS[fault]]
    with pytest.raises(PartitionMissing):
        load_partition(root, EVENTS)


def test_a_missing_column_stops_the_partition_and_a_later_process_is_refused_as_well(
    root: DataRoot, settings: Settings
) -> None:
    with pytest.raises(PartitionQuarantined, match="raw_columns_are_present: missing: direction"):
        ingest(root, settings, raw_ticks(settings).drop("direction"))
    code = (
        "import sys; from datetime import date; from pathlib import Path\n"
        "from marketdata.partitions import load_partition; from marketdata.paths import DataRoot, PartitionKey\n"
        "load_partition(DataRoot(Path(sys.argv[1])), PartitionKey('raw_ticks', date(2012, 6, 21), 'AMZN'))"
    )
    later = subprocess.run([sys.executable, "-c", code, str(root.path)], capture_output=True, text=True, check=False)
    assert later.returncode != 0
    assert "PartitionQuarantined: raw_ticks/AMZN/2012-06-21 is quarantined: raw_columns_are_present" in later.stderr


def test_a_refused_re_run_withdraws_what_was_published_and_a_good_one_clears_the_quarantine(
    root: DataRoot, settings: Settings
) -> None:
    good = raw_ticks(settings)
    ingest(root, settings, good)
    with pytest.raises(PartitionQuarantined):
        ingest(root, settings, good.drop("direction"))
    with pytest.raises(PartitionQuarantined):
        load_partition(root, RAW)
    ingest(root, settings, good)
    assert load_partition(root, RAW).equals(good)
    assert list_quarantined(root) == []


def test_a_release_needs_a_name_and_a_reason_publishes_the_rows_and_is_logged_in_a_chain(
    root: DataRoot, settings: Settings
) -> None:
    bad = raw_ticks(settings).with_columns(FAULTS["crossed book"][0].alias("ask_price_1"))
    with pytest.raises(PartitionQuarantined):
        ingest(root, settings, bad)
    assert [manifest.key for manifest in list_quarantined(root)] == [str(RAW)]
    with pytest.raises(ReleaseRefused, match="who and why"):
        release(root, RAW, "ann", " ")
    release(root, RAW, "ann", "one locked row, checked by hand", now_ns=lambda: 0)
    assert load_partition(root, RAW).equals(bad)
    released = read_manifest(root, RAW)
    assert released.extra["released"] == {
        "by": "ann",
        "reason": "one locked row, checked by hand",
        "at": "1970-01-01T00:00:00+00:00",
    }
    assert released.failures, "the failed checks stay on record"
    with pytest.raises(PartitionMissing):
        release(root, RAW, "ann", "again")
    worse = bad.with_columns(pl.col("size") + 1)
    with pytest.raises(PartitionQuarantined):
        ingest(root, settings, worse)
    release(root, RAW, "bob", "again")
    assert [entry["by"] for entry in verify_release_log(root)] == ["ann", "bob"]
    log = release_log(root)
    log.write_text(log.read_text().replace("ann", "eve", 1))
    with pytest.raises(ReleaseRefused, match="row 2 does not follow"):
        verify_release_log(root)


def test_a_release_holds_when_the_same_rows_are_made_again(root: DataRoot, settings: Settings) -> None:
    bad = raw_ticks(settings).with_columns(FAULTS["crossed book"][0].alias("ask_price_1"))
    with pytest.raises(PartitionQuarantined):
        ingest(root, settings, bad)
    release(root, RAW, "ann", "checked by hand")
    checks, bad_rows = audit_raw_ticks(bad, settings, "AMZN")
    manifest = publish(root, RAW, bad, checks, bad_rows=bad_rows)
    assert manifest.extra["released"]["by"] == "ann"
    assert list_quarantined(root) == []


def test_data_docs_are_rendered_from_stored_results_with_an_index(tmp_path: Path, settings: Settings) -> None:
    raw = raw_ticks(settings)
    results = {"raw_ticks/AMZN/good": run_suite("raw", raw, settings)[1]}
    check, results["raw_ticks/AMZN/bad"] = run_suite("raw", raw.reverse(), settings)
    assert "expect_column_values_to_be_increasing(column=time" in check[0].detail
    stored = json.loads(json.dumps(results))
    index = render_data_docs(stored, tmp_path / "docs")
    assert "raw_ticks/AMZN/bad</a>: 10 expectations, <b>fails</b>" in index.read_text()
    page = (tmp_path / "docs" / "raw_ticks_AMZN_bad.html").read_text()
    assert "Failed" in page
    assert "unexpected values found" in page

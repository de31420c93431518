import os
import socket
import subprocess
import sys
from datetime import date

import dagster as dg
import pytest

from backtests.evidence import searched_margins
from backtests.report.record import load_record
from marketdata.partitions import read_manifest
from marketdata.paths import DataRoot, PartitionKey
from models.catalog import BASELINES
from models.decisions import DecisionLedger
from models.trials import TrialLedger
from orchestration.hashes import night_hashes
from orchestration.initialise import initialise
from orchestration.instance import open_instance
from orchestration.location import root_grids
from orchestration.night import run_demo, run_night
from orchestration.side_files import COSTS, MLFLOW, RECORD, SUMMARY, read_json
from tests.small_world import without_names

NIGHTS = [date(2026, 1, 6), date(2026, 1, 7)]
TRADED = date(2026, 1, 8)


def test_every_step_of_both_jobs_succeeds_and_shows_in_the_instance(small_world):
    assert [str(failure) for failure in small_world.result.failures] == []
    assert list(small_world.result.nights) == NIGHTS
    with open_instance(small_world.root) as instance:
        made = {key.to_user_string(): instance.get_materialized_partitions(key) for key in instance.all_asset_keys()}
    symbols = [item.symbol for item in small_world.settings.instruments]
    assert made["labels"] == {f"2026-01-0{d}|{s}" for d in (5, 6, 7) for s in symbols}
    assert made["raw_ticks"] == {f"2026-01-0{d}|{s}" for d in (5, 6, 7, 8) for s in symbols}
    assert made["nightly_report"] == {str(day) for day in NIGHTS}
    assert made["paper_session"] == {*(str(day) for day in NIGHTS), str(TRADED)}


def test_row_counts_and_checks_are_on_the_assets(small_world):
    with open_instance(small_world.root) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("events"))
        check = dg.AssetCheckKey(dg.AssetKey("events"), "book_is_never_crossed")
        found = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])[check]
    metadata = event.asset_materialization.metadata
    assert metadata["dagster/row_count"].value == metadata["rows_out"].value > 1_000
    assert found.status.value == "SUCCEEDED"


def test_the_night_is_refused_for_too_few_days_and_says_so_everywhere(small_world):
    decision = DecisionLedger(small_world.root).night(NIGHTS[-1])
    assert decision.kind == "refusal"
    assert decision.content["reason"] == "insufficient_evidence"
    record = load_record(small_world.root.night(NIGHTS[-1]) / RECORD)
    assert record.status.kind == "shadow"
    assert "2 test days, 5 needed" in record.status.reason
    assert {row.name for row in record.league if row.kind == "baseline"} == set(BASELINES)
    assert len(record.league) == 5 + len(BASELINES)
    assert DecisionLedger(small_world.root).verify().ok


def test_the_session_after_the_decision_is_traded_in_the_shadow_and_replays_equally(small_world):
    record = load_record(small_world.root.night(NIGHTS[-1]) / RECORD)
    assert record.paper.day == TRADED
    assert record.paper.mode == "shadow"
    assert record.paper.model == record.status.model
    assert len(record.parity) >= 5
    assert all(check.passed for check in record.parity), [check.name for check in record.parity if not check.passed]


def test_the_first_night_had_nobody_to_trade_it(small_world):
    paper = read_json(small_world.root.night(NIGHTS[0]) / "paper.json")
    assert paper["mode"] is None
    assert "no decision" in paper["reason"]


def test_a_trial_is_written_down_once_for_each_model_and_margin_whatever_the_number_of_folds(small_world):
    margins = len(searched_margins(small_world.settings))
    assert margins == 3
    assert TrialLedger(small_world.root).count() == 5 * (1 + margins) + len(BASELINES)


def test_every_model_has_figures_with_intervals_and_what_was_searched_is_named(small_world):
    record = load_record(small_world.root.night(NIGHTS[-1]) / RECORD)
    assert {item.name for item in record.statistics.models} == {row.name for row in record.league}
    assert all(item.figures["log_loss"].value > 0 for item in record.statistics.models)
    assert record.execution.model == record.status.model
    league = read_json(small_world.root.night(NIGHTS[-1]) / "walk_forward.json")
    assert len(league["configurations"]) == 15
    assert record.decision.pbo is not None or "intervals" in record.decision.pbo_note


def test_the_page_is_one_file_that_needs_nothing_from_elsewhere(small_world):
    page = small_world.root.report(NIGHTS[-1]).read_text()
    assert 'src="http' not in page
    assert 'href="http' not in page
    assert str(TRADED) in page


def test_the_summary_says_rows_in_and_out_decision_paper_and_costs(small_world):
    summary = read_json(small_world.root.night(NIGHTS[-1]) / SUMMARY)
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    assert stages["events"]["rows_in"] == stages["raw_ticks"]["rows_out"] > 100_000
    assert summary["decision"]["verdict"] == "refuse"
    assert summary["paper"]["day"] == str(TRADED)
    assert summary["seconds"].keys() >= {"fits", "dagster", "simulate", "mlflow"}
    assert sum(summary["seconds"].values()) == pytest.approx(summary["wall_s"], rel=0.1)
    assert 0 < summary["peak_memory_bytes"] < 4 * 2**30


def test_the_dataset_names_its_parents_and_misses_nobody(small_world):
    manifest = read_manifest(small_world.root, PartitionKey("dataset_day", NIGHTS[0]))
    assert manifest.extra["missing"] == {}
    assert manifest.extra["signals_absent"] == []
    labels = read_manifest(small_world.root, PartitionKey("labels", NIGHTS[0], "ALFA"))
    assert manifest.extra["parents"]["labels/ALFA"] == labels.data_sha256


def test_mlflow_holds_each_model_of_the_night_and_each_candidate_with_its_bundle(small_world):
    tracked = read_json(small_world.root.night(NIGHTS[-1]) / MLFLOW)
    assert tracked.keys() == {*small_world.settings.training.models, *BASELINES}
    assert all(tracked[name]["logged_model_id"] for name in small_world.settings.training.models)


def differences(first: dict[str, str], again: dict[str, str]) -> list[str]:
    """Return the names whose hashes differ; ``again`` holds fewer nights."""
    assert {name.split()[0] for name in again} == {"partition", "bundle", "night", "decision"}
    assert not any(COSTS in name for name in again)
    return sorted(name for name, value in again.items() if first.get(name) != value)


def test_the_same_settings_give_the_same_bytes_in_another_root_with_one_thread(small_world, tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWSENSE_THREADS", "1")
    root = DataRoot(tmp_path / "again")
    initialise(root, small_world.settings)
    result = run_night(root, [session.date for session in root_grids(root).sessions[:2]])
    assert not result.failures
    assert differences(night_hashes(small_world.root), night_hashes(root)) == []


@pytest.mark.slow
def test_the_same_settings_give_the_same_bytes_in_another_process(small_world, tmp_path):
    code = (
        "import sys; from pathlib import Path; from marketdata.paths import DataRoot; "
        "from orchestration.initialise import initialise; from orchestration.night import run_night; "
        "from orchestration.location import root_grids; from tests.small_world import small_settings; "
        "root = DataRoot(Path(sys.argv[1])); initialise(root, small_settings()); "
        "days = [s.date for s in root_grids(root).sessions[:2]]; result = run_night(root, days); "
        "assert not result.failures, result.failures"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "12345"}
    root = DataRoot(tmp_path / "again")
    subprocess.run([sys.executable, "-c", code, str(root.path)], env=environment, capture_output=True, check=True)
    assert differences(night_hashes(small_world.root), night_hashes(root)) == []


@pytest.mark.slow
def test_a_companion_changes_no_byte(small_world, tmp_path, monkeypatch):
    monkeypatch.setattr("orchestration.night.companion_count", lambda wanted: 1)
    root = DataRoot(tmp_path / "again")
    initialise(root, small_world.settings)
    result = run_demo(root)
    assert not result.failures
    assert result.beside["fits"] > 0
    assert night_hashes(root) == night_hashes(small_world.root)


def test_the_root_s_grids_end_with_its_last_session(small_world):
    grids = root_grids(small_world.root)
    assert [session.date for session in grids.sessions][-1] == TRADED
    assert len(grids.by_instrument.get_partition_keys()) == 4 * 2


def test_a_night_asks_for_no_name_beyond_this_machine(small_world):
    assert small_world.looked_up == ()


def test_a_look_up_of_another_machine_would_be_seen():
    with without_names() as asked, pytest.raises(socket.gaierror):
        socket.create_connection(("telemetry.example.com", 443), timeout=1)
    assert asked == ["telemetry.example.com"]

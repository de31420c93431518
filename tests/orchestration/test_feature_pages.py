"""The night's page and the command say of every feature what it tells, and the training table can be taken away as files."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from backtests.report.record import load_record
from features.dataset_files import open_dataset
from features.fitted.catalog import fitted_catalogue
from marketdata.partitions import PartitionMissing
from marketdata.paths import DataRoot
from orchestration.cli.main import app
from orchestration.feature_pages import last_dataset_day, write_feature_page
from orchestration.side_files import FEATURES, RECORD


@pytest.fixture(scope="module")
def night(small_world):
    return small_world.result.nights[-1]


def test_the_night_shows_every_raw_and_fitted_column_fold_by_fold(small_world, night):
    record = load_record(small_world.root.night(night) / RECORD)
    report = record.information
    raw = [item.name for item in report.features if not item.fitted]
    fitted = {item.name for item in report.features if item.fitted}
    assert raw == [item.name for item in record.features]
    assert fitted <= {entry.name for entry in fitted_catalogue(small_world.settings)}
    assert {"microprice_bps", "anomaly_score", "hawkes_trade_contrast"} <= fitted
    assert report.folds[-1] == "next"
    for item in report.features:
        assert len(item.folds) == len(report.folds)
        assert item.formula
        if item.fitted:
            assert all(fold is None for fold in item.folds[:-1])
    told = [item.folds[-1].coefficient for item in report.features if item.name == "trade_imbalance_1s"]
    assert told[0] is not None
    assert {form.form for form in record.label_forms} >= {"executable", "smoothed"}
    assert [form.form for form in record.label_forms if form.is_used] == ["executable"]
    assert len(record.books) == 1
    assert (small_world.root.night(night) / FEATURES).exists()
    page = small_world.root.report(night).read_text(encoding="utf-8")
    assert "What each feature says" in page
    assert "Book and order flow" in page


def test_the_command_writes_a_page_and_the_numbers(small_world, night, tmp_path):
    symbol = small_world.settings.instruments[-1].symbol
    root = str(small_world.root.path)
    options = ["--instrument", symbol, "--out", str(tmp_path / "f.html"), "--json", str(tmp_path / "f.json")]
    result = CliRunner().invoke(app, ["--root", root, "features", "report", "--night", str(night), *options])
    assert result.exit_code == 0, result.output
    assert "chosen at 0.05 (BY)" in result.output
    assert "label executable" in result.output
    numbers = json.loads((tmp_path / "f.json").read_text())
    assert [book["symbol"] for book in numbers["pictures"]] == [symbol]
    assert f"{symbol}: resting lots" in (tmp_path / "f.html").read_text(encoding="utf-8")


def test_the_training_table_can_be_taken_away_and_says_what_it_is(small_world, tmp_path):
    root = str(small_world.root.path)
    result = CliRunner().invoke(app, ["--root", root, "features", "dataset", "--out", str(tmp_path / "set")])
    assert result.exit_code == 0, result.output
    table = open_dataset(tmp_path / "set")
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert np.isfinite(table.move_units).sum() == manifest["labelled"]
    assert manifest["made_from"]["label"]["form"] == "executable"
    assert set(manifest["made_from"]["shares"]) == {str(session.date) for session in table.sessions}


def test_a_root_without_a_dataset_says_so(tmp_path, small_world):
    with pytest.raises(PartitionMissing, match="no dataset yet"):
        last_dataset_day(DataRoot(tmp_path))
    with pytest.raises(Exception, match="unknown instrument"):
        write_feature_page(small_world.root, small_world.settings, None, ("NOBODY",))

"""A simulated run as a folder: whole or not at all, and never in place of anything else."""

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from marketdata.settings import SettingsError
from marketdata.simulator.files import MANIFEST, simulate_to, with_instruments
from orchestration.cli.main import app
from tests.simulator.worlds import make_settings

SETTINGS = make_settings(2, events_per_session=2_000)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_run_has_a_folder_a_day_with_ticks_slow_data_and_truth(tmp_path: Path) -> None:
    manifest = simulate_to(tmp_path / "out", SETTINGS, 2)
    assert [p.name for p in sorted((tmp_path / "out").iterdir())] == ["2026-01-05", "2026-01-06", MANIFEST]
    day = tmp_path / "out" / "2026-01-05"
    assert {"ticks_ALFA.parquet", "options.parquet", "truth_graph.parquet", "truth_kernels.parquet"} <= set(names(day))
    assert manifest["rows"]["2026-01-05"]["ticks_ALFA"] == pl.read_parquet(day / "ticks_ALFA.parquet").height
    assert json.loads((tmp_path / "out" / MANIFEST).read_text()) == manifest


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        simulate_to(tmp_path / name, SETTINGS, 1)
    assert names(tmp_path / "a") == names(tmp_path / "b")
    for path in (tmp_path / "a").rglob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path.name


def test_a_folder_with_anything_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match="not empty"):
        simulate_to(tmp_path / "mine", SETTINGS, 1)
    with pytest.raises(SettingsError, match="was not simulated here"):
        simulate_to(tmp_path / "mine", SETTINGS, 1, force=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match="is no folder"):
        simulate_to(tmp_path / "file", SETTINGS, 1, force=True)
    assert names(tmp_path) == ["file", "thesis.txt"]


def test_an_earlier_run_is_replaced_only_when_asked(tmp_path: Path) -> None:
    simulate_to(tmp_path / "out", SETTINGS, 2)
    with pytest.raises(SettingsError, match="--force replaces it"):
        simulate_to(tmp_path / "out", SETTINGS, 1)
    simulate_to(tmp_path / "out", SETTINGS, 1, form="csv", force=True)
    assert [p.name for p in sorted((tmp_path / "out").iterdir())] == ["2026-01-05", MANIFEST]
    assert "ticks_ALFA.csv" in names(tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"], "nothing lies about beside it"


def test_a_run_that_breaks_leaves_what_was_there(tmp_path: Path) -> None:
    simulate_to(tmp_path / "out", SETTINGS, 1)
    before = names(tmp_path)

    def broken(made: object, index: int) -> None:
        raise RuntimeError("the disk is on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        simulate_to(tmp_path / "out", SETTINGS, 2, force=True, each=broken)
    assert names(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_unknown_form_and_too_many_instruments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no form"):
        simulate_to(tmp_path / "out", SETTINGS, 1, form="xlsx")
    with pytest.raises(SettingsError, match="names for 1 to"):
        with_instruments(SETTINGS, 99)
    assert not (tmp_path / "out").exists()


def test_the_command_prints_what_came_out(tmp_path: Path) -> None:
    made = CliRunner().invoke(
        app,
        ["simulate", str(tmp_path / "out"), "--instruments", "6", "--events", "2000", "--world", "n2", "--seed", "3"],
    )
    assert made.exit_code == 0, made.output
    assert "world n2, signal +1, seed 3" in made.output
    assert "FOXTROT" in made.output
    assert json.loads((tmp_path / "out" / MANIFEST).read_text())["simulator"]["world"] == "n2"
    again = CliRunner().invoke(app, ["simulate", str(tmp_path / "out")])
    assert isinstance(again.exception, SettingsError)
    unknown = CliRunner().invoke(app, ["simulate", str(tmp_path / "other"), "--world", "n3"])
    assert isinstance(unknown.exception, SettingsError)
    null = CliRunner().invoke(app, ["simulate", str(tmp_path / "null"), "--signal", "0", "--events", "2000"])
    assert "world n1" in null.output

"""The night's share of control worlds: run once, never hashed, null and planted shown together; and the command."""

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import backtests.world_runs
from backtests.controls import ControlResult, accumulate, exact_bounds
from backtests.report.control_words import gate_so_far
from backtests.report.record import ControlRow
from backtests.world_runs import WorldTask
from backtests.worlds import worlds_sha256
from marketdata.paths import DataRoot
from marketdata.settings import GateSettings, save_settings
from models.gate import gate_version
from orchestration.cli.main import app
from orchestration.control_worlds import control_rows, run_share, without_control_worlds
from orchestration.hashes import night_hashes
from orchestration.resources import RootResource
from orchestration.side_files import CONTROL_WORLDS
from orchestration.stage import StageContext
from tests.backtests.rows import make_settings

DAY = date(2024, 3, 4)
FORM = worlds_sha256()[:12]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[WorldTask]:
    """Worlds that are over at once: planted ones from +0.5 on are promoted."""
    made: list[WorldTask] = []

    def run(task: WorldTask, gate: GateSettings, progress: Any = None) -> ControlResult:
        made.append(task)
        promoted = int((task.strength or 0.0) >= 0.5)
        reasons = {"promoted" if promoted else "does_not_pay": 1}
        version = gate_version(gate)
        return ControlResult(task.kind, task.strength, str(task.index), version, 1, promoted, reasons, form=FORM)

    monkeypatch.setattr(backtests.world_runs, "run_world", run)
    return made


def context(folder: Path, worlds: int) -> StageContext:
    settings = make_settings(1, controls={"worlds_per_night": worlds, "processes": 1})
    root = DataRoot(folder)
    root.path.mkdir(parents=True, exist_ok=True)
    save_settings(settings, root.settings_file)
    return StageContext(root, settings, RootResource(path=str(folder)), DAY)


def test_a_night_runs_its_share_once_and_its_hashes_do_not_change(tmp_path: Path, asked: list[WorldTask]) -> None:
    place = context(tmp_path, 4)
    before = night_hashes(place.root)
    first = run_share(place)
    assert [(one["world"], one["strength"]) for one in first] == [
        ("n1", None),
        ("planted", 0.5),
        ("n2", None),
        ("planted", 1.0),
    ]
    assert run_share(place) == first
    assert len(asked) == 4, "a night that runs again runs no other worlds"
    assert (place.root.night(DAY) / CONTROL_WORLDS).exists()
    assert night_hashes(place.root) == before


def test_a_share_can_be_switched_off(tmp_path: Path, asked: list[WorldTask]) -> None:
    assert run_share(context(tmp_path / "none", 0)) == []
    with without_control_worlds():
        assert run_share(context(tmp_path / "later", 4)) == []
    with without_control_worlds(False):
        assert len(run_share(context(tmp_path / "later", 2))) == 2
    assert len(asked) == 2


def test_null_and_planted_worlds_are_shown_together_run_or_not(tmp_path: Path, asked: list[WorldTask]) -> None:
    place = context(tmp_path, 2)
    shifts = ControlResult("n0", None, "x", gate_version(place.settings.gate), 200, 1)
    tonight = {**asdict(shifts), "note": ""}
    empty = control_rows(place.root, place, tonight)
    assert [(row.world, row.strength, row.runs_total) for row in empty] == [
        ("n0", None, 0),
        ("n1", None, 0),
        ("n2", None, 0),
        ("planted", 0.5, 0),
        ("planted", 1.0, 0),
    ]
    assert gate_so_far(empty) == "this gate so far: null not run yet; planted +0.5 not run yet; planted +1 not run yet"
    accumulate(place.root, [shifts, *(_planted(place, k, 0.0) for k in range(3))])
    run_share(place)
    rows = {(row.world, row.strength): row for row in control_rows(place.root, place, tonight)}
    assert (rows["n0", None].runs, rows["n0", None].runs_total, rows["n0", None].promoted_total) == (200, 200, 1)
    assert (rows["n1", None].runs, rows["n1", None].promoted, rows["n1", None].expects) == (1, 0, "refuse")
    assert (rows["planted", 0.5].runs, rows["planted", 0.5].promoted, rows["planted", 0.5].expects) == (1, 1, "promote")
    assert (rows["planted", 0.0].runs, rows["planted", 0.0].runs_total, rows["planted", 0.0].expects) == (
        0,
        3,
        "refuse",
    )
    sentence = gate_so_far(list(rows.values()))
    assert sentence.startswith(
        f"this gate so far: null 0/1 promoted, upper 95 % {exact_bounds(0, 1)[1]:.1%}; planted +0 0/3"
    )
    assert f"planted +0.5 1/1 promoted, lower 95 % {exact_bounds(1, 1)[0]:.1%}" in sentence


def _planted(place: StageContext, index: int, strength: float) -> ControlResult:
    version = gate_version(place.settings.gate)
    return ControlResult("planted", strength, str(index), version, 1, 0, {"does_not_pay": 1}, form=FORM)


def test_the_sentence_pools_the_null_worlds() -> None:
    rows = [
        ControlRow(world="n0", expects="refuse", runs_total=200, promoted_total=9),
        ControlRow(world="n1", expects="refuse", runs_total=7, promoted_total=0),
        ControlRow(world="n2", expects="refuse", runs_total=5, promoted_total=0),
        ControlRow(world="planted", expects="promote", strength=0.5, runs_total=6, promoted_total=5),
    ]
    upper, lower = exact_bounds(0, 12)[1], exact_bounds(5, 6)[0]
    assert gate_so_far(rows) == (
        f"this gate so far: null 0/12 promoted, upper 95 % {upper:.1%}; planted +0.5 5/6 promoted, lower 95 % {lower:.1%}"
    )
    assert gate_so_far(rows[:1]) == ""


def test_the_command_runs_each_kind_and_prints_one_object_a_kind(tmp_path: Path, asked: list[WorldTask]) -> None:
    place = context(tmp_path, 0)
    runner = CliRunner()
    base = ["--root", str(tmp_path), "controls", "--processes", "1"]
    made = runner.invoke(app, [*base, "--n", "2", "--json"])
    assert made.exit_code == 0, made.output
    found = [json.loads(line) for line in made.stdout.splitlines()]
    assert [set(one) for one in found] == [{"kind", "strength", "worlds", "promoted", "upper95", "lower95"}] * 7
    by = {(one["kind"], one["strength"]): one for one in found}
    assert set(by) == {("n1", None), ("n2", None), *(("planted", s) for s in (-0.5, 0.0, 0.25, 0.5, 1.0))}
    assert all(one["worlds"] == 2 for one in found)
    assert (by["planted", 0.5]["promoted"], by["n1", None]["promoted"]) == (2, 0)
    low, high = exact_bounds(2, 2)
    assert by["planted", 1.0]["lower95"] == pytest.approx(low)
    assert by["planted", 1.0]["upper95"] == high
    assert [t.index for t in asked[:7]] == [0] * 7, "one of each before the second of any"
    assert "n0: no night" in made.stderr
    shown = runner.invoke(app, [*base, "--n", "1", "--kind", "planted", "--strength", "0.5"])
    assert shown.exit_code == 0, shown.output
    assert "3 of 3" in shown.stdout
    assert "does_not_pay" not in shown.stdout
    assert len(asked) == 15
    assert gate_version(place.settings.gate) in shown.stdout
    (page,) = (place.root.reports / "studies").glob("controls-*.html")
    assert page.name in shown.stdout.replace("\n", "")
    text = page.read_text(encoding="utf-8")
    assert "3 of 3" in text
    assert "planted" in text
    assert "a market where nothing pays" in text, "null worlds stand beside the planted ones that were asked for"
    bad = runner.invoke(app, [*base, "--strength", "9"])
    assert bad.exit_code != 0

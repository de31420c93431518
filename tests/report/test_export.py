"""Every table of the page as JSON and CSV: the page's numbers, and nothing half written."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from backtests.report.export import csv_text, export_csv, export_json, night_tables
from backtests.report.record import BandRow, load_record
from backtests.report.render import night_page
from backtests.report.study_pages import paths_page, screen_study_page, surfaces_page
from backtests.report.trading_sections import merged_band
from tests.report.sample import BASELINES, CANDIDATES, empty_night, promoted_night


def test_tables_hold_the_pages_numbers() -> None:
    night = promoted_night()
    tables = night_tables(night)
    assert [row["name"] for row in tables["league"]] == [row.name for row in night.league]
    curve = night.evidence.curves[0]
    assert tables["equity"][-1][curve.name] == pytest.approx(sum(curve.net), abs=1e-4)
    assert min(row[curve.name] for row in tables["drawdown"]) <= 0
    shown = next(c for c in night.evidence.curves if c.name == night.evidence.shown)
    hours = sum(v for row in tables["hours"] for k, v in row.items() if k.endswith("h") and v is not None)
    assert hours == pytest.approx(sum(shown.net))
    assert len(tables["confidence_sets"]) == len(CANDIDATES) + len(BASELINES)
    assert {row["figure"] for row in tables["figures"]} >= {"net_pnl", "sharpe", "max_drawdown"}
    assert sum(row["fills"] for row in tables["slippage"]) == night.execution.fills  # type: ignore[union-attr]  # it has one
    assert len(tables["sensitivity"]) == 8
    assert tables["markouts"][0]["value_bps"] == -0.4


def test_an_empty_night_has_no_tables_and_still_exports(tmp_path: Path) -> None:
    assert night_tables(empty_night()) == {}
    assert export_csv(empty_night(), tmp_path) == [tmp_path / "record.json"]


def test_csv_files_read_back_and_the_record_lies_beside_them(tmp_path: Path) -> None:
    night = promoted_night()
    written = export_csv(night, tmp_path / "out")
    assert {path.stem for path in written} == {*night_tables(night), "record"}
    assert not list((tmp_path / "out").glob("*.tmp"))
    with (tmp_path / "out" / "band.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["net_pnl"]) for row in rows] == [row.net_pnl for row in night.band]
    assert load_record(tmp_path / "out" / "record.json") == night


def test_json_holds_record_and_tables(tmp_path: Path) -> None:
    night = promoted_night()
    values = json.loads(export_json(night, tmp_path / "night.json").read_text(encoding="utf-8"))
    assert values["record"]["day"] == night.day.isoformat()
    assert values["tables"]["league"][0]["name"] == night.league[0].name


def test_what_is_not_known_is_an_empty_cell() -> None:
    assert csv_text([{"a": None, "b": (1, None, 2)}, {"c": 3}]) == "a,b,c\n,1  2,\n,,3\n"


def test_queue_models_that_gave_the_same_are_one_row() -> None:
    rows = [
        BandRow(queue_model=queue, latency="×1", net_pnl=5.0, role=role)
        for queue, role in (("risk averse", ""), ("probabilistic", "pessimistic"))
    ]
    other = BandRow(queue_model="risk averse", latency="×3", net_pnl=4.0)
    first, second = merged_band([*rows, other])
    assert (first.queue_model, first.role) == ("every queue model", "pessimistic")
    assert second == other
    assert len(merged_band([rows[0], replace(rows[1], net_pnl=6.0)])) == 2


def test_the_page_shows_intervals_sets_execution_and_surfaces() -> None:
    page = night_page(promoted_night())
    part = page[page.index('id="statistics"') : page.index('id="pnl"')]
    assert "<span>0.600 …</span> <span>0.800</span>" in part
    assert ">yes<" in part
    assert ">no<" in part
    for key in ("execution", "uplift", "surfaces", "roc"):
        assert f'id="{key}"' in page
        assert f'href="#{key}"' in page
    assert "break-even" in page[page.index('id="surfaces"') :]
    assert "the forecasts save that" in page[page.index('id="uplift"') : page.index('id="surfaces"')]


def screened() -> dict[str, object]:
    axes = {"edge_margin": [0.0, 0.5], "horizon_s": [5.0, 20.0]}
    shown = {"net_pnl": 1.5, "round_trips": 3, "held_s": None, "break_even_bps": None, "sharpe": 0.1}
    results = [{"edge_margin": m, "horizon_s": h, **shown} for m in (0.0, 0.5) for h in (5.0, 20.0)]
    numbers = {"sharpe": 0.1, "sharpe_error": 0.02, "sharpe_period_s": 60.0, "dsr": 0.4, "dsr_sampling": 0.9}
    numbers |= {"best_worthless_sharpe": 0.12}
    row = {
        "rank": 1,
        "screen_net": 1.5,
        "engine_net": 1.4,
        "screen_trips": 3,
        "engine_trips": 3,
        "bias_per_trip": 0.03,
        "parameters": {"edge_margin": 0.0},
    }
    bias = {"rows": [row], "mean_per_trip": 0.03, "rank_correlation": None}
    counts = {"rows": 900, "sets": 4, "trials": 24, "trials_added": 4, "best": 0, "own": 1, "row_sets_per_s": 3e7}
    pbo = {"probability": None, "note": "not computed: <4>"}
    parts = {"axes": axes, "results": results, "bias": bias, "pbo": pbo}
    return {"night": "2025-03-12", "model": "lin<ear", **parts, **numbers, **counts}


def test_study_pages_need_no_network_and_escape_what_they_show() -> None:
    night = promoted_night()
    path = {
        "net_pnl": 3.0,
        "sharpe": 0.2,
        "max_drawdown": 1.0,
        "round_trips": 7,
        "mcc": 0.1,
        "log_loss": 1.0,
    }
    spread = {name: {"low": 0.1, "median": 0.2, "high": 0.3} for name in path}
    counts = {"rows": 900, "groups": 6, "test_groups": 2, "splits": 15, "purged_share": 0.01}
    paths = {"night": "2025-03-12", "model": "linear", "paths": [path] * 5, "spread": spread, **counts}
    import msgspec

    surface = {"night": "2025-03-12", **msgspec.to_builtins(night.surfaces)}
    for page in (screen_study_page(screened()), surfaces_page(surface), paths_page(paths)):
        assert page.startswith("<!doctype html>")
        assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in page
    assert "lin&lt;ear" in screen_study_page(screened())
    assert "lin<ear" not in screen_study_page(screened())

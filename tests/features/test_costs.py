"""The catalogue says what every column costs; the list on the command line holds the fitted ones too."""

import json

from typer.testing import CliRunner

from features.catalog import dataset_catalogue
from features.costs import SHARED, stored_costs
from features.families import FAMILIES
from features.fitted.catalog import FITTED, fitted_catalogue
from features.signals.columns import SIGNAL_COLUMNS
from orchestration.cli.main import app
from tests.features.tape import settings

ALL = settings(2, sampling={"families": ("all",)})


def test_the_measurement_that_comes_along_covers_every_column_but_slow_signals() -> None:
    measured = stored_costs()
    assert set(measured.families) == {"core", SHARED, *FAMILIES}
    assert set(measured.fitted) == {"regimes", "hawkes", *FITTED}
    entries = (*dataset_catalogue(ALL), *fitted_catalogue(ALL))
    costs = measured.column_costs(entries)
    slow = {name for names in SIGNAL_COLUMNS.values() for name in names}
    for entry in entries:
        cost = costs[entry.name]
        assert (cost is None) == (entry.name in slow), entry.name
        assert cost is None or 0 < cost < 50_000, entry.name


def test_a_family_costs_what_its_columns_do_together() -> None:
    measured, entries = stored_costs(), dataset_catalogue(ALL)
    costs = measured.column_costs(entries)
    shape = [costs[entry.name] or 0.0 for entry in entries if entry.family == "shape"]
    assert abs(sum(shape) - measured.families["shape"]) < 1e-6


def test_the_list_names_every_column_with_unit_formula_reference_warm_up_and_cost() -> None:
    done = CliRunner().invoke(app, ["--root", "nowhere", "features", "list", "--json"])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.output.splitlines()]
    found = {row["name"]: row for row in rows}
    assert len(found) == len(rows) > 200
    for name in (
        "regime_0",
        "hawkes_log_buy",
        "microprice_bps",
        "ofi_integrated_10s",
        "anomaly_score",
        "leader_lead_10s",
    ):
        row = found[name]
        assert row["cost_ns_per_row"] > 0
        assert row["unit"]
        assert row["formula"]
        assert row["reference"]
        assert row["warmup_ns"] >= 0
    assert found["options_skew"]["cost_ns_per_row"] is None, "slow signals are made once a snapshot"

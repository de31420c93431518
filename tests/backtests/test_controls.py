"""Controls: shifted forecasts are worth nothing, bounds are exact, results add up once."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from backtests.controls import (
    SHIFT_FLOOR_NS,
    ControlResult,
    _Shifter,
    accumulate,
    done_indices,
    exact_bounds,
    run_n0,
    totals,
    world_seed,
)
from backtests.evidence import NightModels, night_evidence
from backtests.screen import screen
from marketdata.paths import DataRoot
from models.gate import assess, gate_version
from tests.backtests.rows import make_forecasts, make_rows, make_settings

SETTINGS = make_settings(2)
ROWS = make_rows(SETTINGS, 1)
FORECASTS = {
    "good": make_forecasts(ROWS, SETTINGS, 1, skill=0.7),
    "noise": make_forecasts(ROWS, SETTINGS, 2, skill=0.0),
    "base": make_forecasts(ROWS, SETTINGS, 3, skill=0.0, size=1.0),
}


def test_the_nights_evidence_is_what_screen_and_losses_say() -> None:
    evidence, results = night_evidence(ROWS, FORECASTS, ["base"], SETTINGS, trials=7, pessimistic_pnl={"good": 1.0})
    evidence.validate()
    assert evidence.candidates == ("good", "noise")
    assert evidence.trials == 7
    alone = screen(ROWS, FORECASTS["noise"], SETTINGS)
    assert np.array_equal(evidence.pnl["noise"], alone.pnl)
    assert results["noise"].round_trips == evidence.round_trips["noise"] == alone.round_trips
    labelled = ROWS.labelled
    p = np.stack([FORECASTS["good"][k] for k in ("p_down", "p_flat", "p_up")], axis=1).astype(np.float64)
    losses = -np.log(p[np.arange(len(p)), np.where(labelled, ROWS.y + 1, 0)])
    clock = results["good"].clock
    for t in (0, 40, len(clock.ts_ns) - 1):
        own = labelled & (clock.row_interval == t)
        wanted = losses[own].mean() if own.any() else np.nan
        assert evidence.loss["good"][t] == pytest.approx(wanted, nan_ok=True)


def test_a_shift_takes_each_forecast_from_elsewhere_in_its_own_session_and_instrument() -> None:
    night = NightModels.build(ROWS, FORECASTS, ["base"], SETTINGS)
    shifter = _Shifter.build(night, SHIFT_FLOOR_NS)
    source = shifter.draw(np.random.default_rng(5))
    assert np.array_equal(ROWS.session[source], ROWS.session)
    assert np.array_equal(ROWS.instrument_id[source], ROWS.instrument_id)
    span = max(shifter.spans.values())
    away = np.abs(ROWS.ts_recv - ROWS.ts_recv[source])
    near = np.minimum(away, span - away)
    assert near.min() > 0.9 * SHIFT_FLOOR_NS
    assert np.bincount(source, minlength=len(ROWS)).max() < 30


def test_the_gate_promotes_skill_and_refuses_the_same_forecasts_shifted() -> None:
    evidence, _ = night_evidence(ROWS, FORECASTS, ["base"], SETTINGS, trials=2)
    assert assess(evidence, SETTINGS.gate, ROWS.horizon_ns, screen_only=True).winner == "good"
    result = run_n0(ROWS, FORECASTS, ["base"], SETTINGS, shifts=20, seed=11)
    assert (result.runs, result.promoted, result.expects) == (20, 0, "refuse")
    assert sum(result.reasons.values()) == 20
    again = run_n0(ROWS, FORECASTS, ["base"], SETTINGS, shifts=20, seed=11)
    assert again == result


def test_sessions_too_short_to_shift_say_so() -> None:
    short = make_rows(SETTINGS, 2, hours=0.9)
    forecasts = {"a": make_forecasts(short, SETTINGS, 1, skill=0.0), "b": make_forecasts(short, SETTINGS, 2, skill=0.0)}
    result = run_n0(short, forecasts, ["b"], SETTINGS, shifts=5, seed=1)
    assert result.runs == 0
    assert "30 minutes" in result.note


@pytest.mark.parametrize(("k", "n"), [(0, 200), (1, 200), (7, 40), (40, 40), (20, 40)])
def test_bounds_are_those_rates_at_which_the_count_is_just_not_surprising(k: int, n: int) -> None:
    low, high = exact_bounds(k, n)
    assert low <= k / n <= high
    if k:
        assert binom.sf(k - 1, n, low) == pytest.approx(0.025)
    if k < n:
        assert binom.cdf(k, n, high) == pytest.approx(0.025)


def test_bounds_of_nothing_are_everything() -> None:
    assert exact_bounds(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="no count"):
        exact_bounds(3, 2)


def test_results_add_up_per_gate_version_and_a_name_counts_once(tmp_path: Path) -> None:
    root, version = DataRoot(tmp_path), gate_version(SETTINGS.gate)
    first = ControlResult("n0", None, "night-1", version, 200, 1, {"promoted": 1, "does_not_pay": 199})
    other = ControlResult("n0", None, "night-2", version, 100, 0, {"does_not_pay": 100})
    planted = ControlResult("planted", 0.5, "0", version, 1, 1, {"promoted": 1})
    empty = ControlResult("n1", None, "0", version, 0, 0)
    assert totals(root, version) == []
    accumulate(root, [first, other, planted, empty])
    accumulate(root, [first, ControlResult("n0", None, "night-1", "another", 5, 5)])
    found = {(t.world, t.strength): t for t in totals(root, version)}
    assert set(found) == {("n0", None), ("planted", 0.5)}
    whole = found["n0", None]
    assert (whole.runs, whole.promoted) == (300, 1)
    assert (whole.bound_low, whole.bound_high) == exact_bounds(1, 300)
    assert whole.reasons == {"does_not_pay": 299, "promoted": 1}
    assert planted.expects == "promote"
    assert done_indices(root, version, "planted", 0.5, "") == set()
    with (
        sqlite3.connect(root.controls_database) as database,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        database.execute("DELETE FROM control_runs")


def test_seeds_are_a_hash_of_the_gates_version_world_and_index() -> None:
    seeds = {world_seed(v, "planted", s, k) for v in "ab" for s in (0.5, 1.0) for k in range(5)}
    assert len(seeds) == 20
    assert world_seed("a", "n1", None, 0) == world_seed("a", "n1", None, 0)

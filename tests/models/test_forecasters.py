"""The laws of the forecaster protocol, applied to every member of the catalogue."""

import json
from dataclasses import replace

import numpy as np
import pytest

from features.dataset import LABEL_MISSING
from marketdata.paths import DataRoot
from models.bundle import ARRAYS_FILE, MANIFEST_FILE, BundleError, BundlePredictor, load_bundle, save_bundle
from models.catalog import BASELINES, CANDIDATES, FORECASTERS, forecaster, model_hyperparameters
from models.design import design_step, init_design
from models.forecaster import DesignRows, copy_state
from models.hawkes_likelihood import PointEvents
from models.splits import walk_forward_folds
from models.training import fit_bundle, forecast_rows, probabilities_of
from models.training_window import instrument_places, last_known_labels

DEEP = ("transformer", "gnn")
ALL = pytest.mark.parametrize("name", list(FORECASTERS))


def rows_of_the_test(world) -> tuple[slice, np.ndarray]:
    first = int(world.fold.test[0])
    return slice(first, first + len(world.fold.test)), world.fold.test


def design_rows(world, bundle) -> DesignRows:
    cut, _ = rows_of_the_test(world)
    data, design = world.dataset, bundle.design
    state = init_design(design, data.sessions[int(data.session[cut.start])])
    matured = last_known_labels(data)[cut]
    return design_step(design, state, instrument_places(data)[cut], data.ts_recv[cut], data.x[cut], matured)[1]


@ALL
def test_one_row_at_a_time_equals_a_session_at_once_to_the_bit(world, name):
    bundle, data = world.bundles[name], world.dataset
    cut, rows = rows_of_the_test(world)
    matured = last_known_labels(data)
    predictor = BundlePredictor(bundle)
    session = data.sessions[int(data.session[cut.start])]
    state, single = predictor.init(session), []
    for k in rows:
        part = slice(k, k + 1)
        state, p, edge = predictor.step_rows(
            state, data.instrument_id[part], data.ts_recv[part], data.x[part], matured[part]
        )
        single.append((*p[0], edge[0]))
    made = forecast_rows(bundle, data, rows)
    assert np.array_equal(np.array(single)[:, :3], probabilities_of(made))
    assert np.array_equal(np.array(single)[:, 3], made["edge_units"])


@ALL
def test_batched_forecasts_equal_the_one_path_within_1e5(world, name):
    bundle = world.bundles[name]
    rows = design_rows(world, bundle)
    batched = bundle.model.forecast(rows, np.zeros(len(rows), dtype=np.int64))
    _, stepped = bundle.model.step(bundle.model.init(), rows)
    assert np.abs(batched - stepped).max() < 1e-5
    assert stepped.sum(axis=1) == pytest.approx(1.0)
    assert (stepped > 0).all()


@ALL
def test_a_saved_bundle_forecasts_the_same_bits(world, name, tmp_path):
    bundle = world.bundles[name]
    sha = save_bundle(bundle, tmp_path / "copy")
    loaded = load_bundle(tmp_path / "copy", expected_sha256=sha)
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == [ARRAYS_FILE, MANIFEST_FILE]
    assert loaded.sha256 == bundle.sha256 == sha
    before, after = (forecast_rows(item, world.dataset, world.fold.test) for item in (bundle, loaded))
    assert before.tobytes() == after.tobytes()


@ALL
def test_rows_after_the_training_window_change_no_parameter(world, name, tmp_path):
    data, fold = world.dataset, world.fold
    later = data.ts_recv >= fold.train_end_ns
    x, y, move = data.x.copy(), data.y.copy(), data.move_units.copy()
    x[later], y[later], move[later] = 1e6, 1, 99.0
    changed = replace(data, x=x, y=y, move_units=move)
    points = {
        key: PointEvents(events.ts_ns, np.where(events.ts_ns >= fold.train_end_ns, 0, events.kind).astype(np.uint8))
        for key, events in world.points.items()
    }
    again = walk_forward_folds(changed, world.settings.training, world.settings.latency)[-1]
    refit = fit_bundle(DataRoot(tmp_path), world.settings, changed, again, name, points)
    assert refit.sha256 == world.bundles[name].sha256


@pytest.mark.parametrize("name", [*DEEP, "hmm", "linear"])
def test_a_second_fit_on_two_threads_gives_the_same_bytes(world, name, tmp_path):
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = fit_bundle(DataRoot(tmp_path), world.settings, world.dataset, world.fold, name, world.points)
    finally:
        torch.set_num_threads(threads)
    key = world.bundles[name].manifest.key
    for file in (ARRAYS_FILE, MANIFEST_FILE):
        assert (world.root.bundles / key / file).read_bytes() == (DataRoot(tmp_path).bundles / key / file).read_bytes()
    assert again.sha256 == world.bundles[name].sha256


@ALL
def test_a_row_changes_no_forecast_before_it(world, name):
    data, rows = world.dataset, world.fold.test
    cut = rows[len(rows) // 2]
    x = data.x.copy()
    x[cut:] = 5.0
    before = forecast_rows(world.bundles[name], data, rows)
    after = forecast_rows(world.bundles[name], replace(data, x=x), rows)
    early = rows < cut
    assert np.array_equal(before[early], after[early])  # bytes would compare padding


@ALL
def test_a_checkpoint_is_a_copy(world, name):
    data, rows = world.dataset, world.fold.test[:40]
    predictor = BundlePredictor(world.bundles[name])

    def run(state, part):
        return predictor.step_rows(state, data.instrument_id[part], data.ts_recv[part], data.x[part])

    state, _, _ = run(predictor.init(), rows[:20])
    kept = copy_state(state)
    _, first, _ = run(state, rows[20:])
    _, second, _ = run(kept, rows[20:])
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", ["queue_imbalance", "linear", "hmm", *DEEP])
def test_models_that_see_the_imbalance_learn_what_it_does(world, name):
    made = forecast_rows(world.bundles[name], world.dataset, world.fold.test)
    y = world.dataset.y[world.fold.test]
    edge = made["edge_units"]
    assert edge[y == 1].mean() > edge[y == 0].mean() > edge[y == -1].mean()


def test_edges_are_the_forecast_times_what_it_is_worth_less_what_the_anomaly_score_takes(world):
    bundle, data = world.bundles["linear"], world.dataset
    made = forecast_rows(bundle, data, world.fold.test)
    scale = bundle.move_scale_units[made["instrument_id"]]
    left = design_rows(world, bundle).share_of_bet
    assert 0 < (left < 1).sum() < 0.02 * len(left)
    assert made["edge_units"] == pytest.approx((made["p_up"] - made["p_down"]) * scale * left, abs=2e-6)
    assert bundle.manifest.diagnostics["edge"]["mean_move_units"] == pytest.approx([3.0, 3.0, 3.0], abs=0.05)
    assert (made["due_ns"] - made["ts_recv"] == world.settings.latency.inference_ns).all()


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_row_unlike_all_of_the_training_window_is_forecast_but_not_bet_on(world, name):
    bundle, data = world.bundles[name], world.dataset
    predictor, row = BundlePredictor(bundle), int(world.fold.test[5])
    x = np.nan_to_num(data.x[row])
    state = predictor.init(data.sessions[3])
    usual = predictor.step(copy_state(state), int(data.instrument_id[row]), int(data.ts_recv[row]), x)
    broken = predictor.step(copy_state(state), int(data.instrument_id[row]), int(data.ts_recv[row]), x * 40.0 - 30.0)
    assert usual[2] != 0
    assert broken[2] == 0
    assert broken[1].sum() == pytest.approx(1.0, abs=1e-5)


def test_other_features_instruments_widths_and_bytes_are_refused(world, tmp_path):
    bundle, data = world.bundles["linear"], world.dataset
    with pytest.raises(BundleError, match="made for features"):
        forecast_rows(bundle, replace(data, fingerprint="other"))
    with pytest.raises(BundleError, match="other columns"):
        forecast_rows(bundle, replace(data, columns=data.columns[::-1]))
    predictor = BundlePredictor(bundle)
    with pytest.raises(BundleError, match="instrument 7 is unknown"):
        predictor.step(predictor.init(), 7, int(data.ts_recv[0]), data.x[0])
    with pytest.raises(BundleError, match="features, not shape"):
        predictor.step(predictor.init(), 0, int(data.ts_recv[0]), data.x[0, :-1])
    save_bundle(bundle, tmp_path / "b")
    with pytest.raises(BundleError, match="decision record names"):
        load_bundle(tmp_path / "b", expected_sha256="0" * 64)
    manifest = json.loads((tmp_path / "b" / MANIFEST_FILE).read_text())
    (tmp_path / "b" / MANIFEST_FILE).write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(BundleError, match="format 99"):
        load_bundle(tmp_path / "b")
    (tmp_path / "b" / ARRAYS_FILE).write_bytes(b"broken")
    with pytest.raises(BundleError, match="no readable bundle"):
        load_bundle(tmp_path / "b")


def test_the_catalogue_names_who_may_win_and_who_has_to_be_beaten(world):
    assert BASELINES == ("majority", "persistence", "last_trade_sign", "queue_imbalance", "time_of_day")
    assert CANDIDATES == ("linear", "hawkes", "hmm", "transformer", "gnn")
    for name, item in FORECASTERS.items():
        assert item.name == name
        json.dumps(model_hyperparameters(name, world.settings))
    with pytest.raises(LookupError, match="unknown forecaster 'lstm'; there are majority"):
        forecaster("lstm")


def test_unlabelled_rows_do_get_forecasts(world):
    made = forecast_rows(world.bundles["transformer"], world.dataset, world.fold.test)
    missing = world.dataset.y[world.fold.test] == LABEL_MISSING
    assert missing.any()
    assert np.isfinite(probabilities_of(made)[missing]).all()

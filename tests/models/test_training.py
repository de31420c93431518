"""A fit is named by what went into it, written down before it is made, and made once."""

from dataclasses import replace

import numpy as np
import pytest

from features.dataset import LABEL_MISSING
from marketdata.paths import DataRoot
from models.bundle import BundlePredictor
from models.forecast import clean_copy
from models.splits import final_fold, walk_forward_folds
from models.training import fit_bundle, fit_seconds, forecast_rows, probabilities_of, trial_of, walk_forward
from models.training_window import last_known_labels, training_window
from models.trials import Trial, TrialLedger


def test_a_trial_is_written_down_before_its_fit_and_only_then(world, tmp_path):
    root, seen = DataRoot(tmp_path), []

    def before_fit(trial):
        assert not root.bundles.exists()
        seen.append(trial)
        return TrialLedger(root).register(Trial(**trial))

    first = fit_bundle(root, world.settings, world.dataset, world.fold, "majority", {}, before_fit=before_fit)
    again = fit_bundle(root, world.settings, world.dataset, world.fold, "majority", {}, before_fit=before_fit)
    assert len(seen) == 1
    assert again.sha256 == first.sha256
    assert fit_seconds(root, first) > 0
    assert first.manifest.trial == seen[0]
    assert TrialLedger(root).count() == 1


def test_every_fold_of_a_model_is_the_same_trial(world, tmp_path):
    root, ids = DataRoot(tmp_path), []

    def before_fit(trial):
        ids.append(TrialLedger(root).register(Trial(**trial)))
        return ids[-1]

    results = walk_forward(root, world.settings, world.dataset, "queue_imbalance", {}, before_fit=before_fit)
    assert len(results) == len(ids) == 2
    assert len(set(ids)) == 1
    assert [r.fold.name for r in results] == [s.date.isoformat() for s in world.dataset.sessions[2:]]
    assert all(r.scores["mcc"] > 0.2 for r in results)
    assert trial_of(world.settings, world.dataset, "linear") != trial_of(world.settings, world.dataset, "hawkes")


def test_tonights_bundle_is_tomorrows_fold(world, tmp_path):
    root, training = DataRoot(tmp_path), world.settings.training
    tonight = world.dataset.take(world.dataset.session < 3)
    tonight = replace(tonight, sessions=tonight.sessions[:3])
    made = fit_bundle(root, world.settings, tonight, final_fold(tonight, training), "hawkes", world.points)
    tomorrow = walk_forward_folds(world.dataset, training, world.settings.latency)[-1]

    def refuse(trial):
        raise AssertionError(f"{trial['model']} was fitted again")

    found = fit_bundle(root, world.settings, world.dataset, tomorrow, "hawkes", world.points, before_fit=refuse)
    assert found.sha256 == made.sha256


def test_seed_data_and_latency_make_other_keys(world, tmp_path):
    root = DataRoot(tmp_path)
    fits = [fit_bundle(root, world.settings, world.dataset, world.fold, "majority", {}, seed=k) for k in (1, 2)]
    y = world.dataset.y.copy()
    y[world.fold.train[0]] = 0 if y[world.fold.train[0]] else 1
    fits.append(fit_bundle(root, world.settings, replace(world.dataset, y=y), world.fold, "majority", {}, seed=1))
    slower = world.settings.model_copy(
        update={"latency": world.settings.latency.model_copy(update={"inference_ns": 5_000_000})}
    )
    fits.append(fit_bundle(root, slower, world.dataset, world.fold, "majority", {}, seed=1))
    assert len({bundle.manifest.key for bundle in fits}) == 4


def test_the_window_holds_no_event_and_no_label_from_later(world):
    window = training_window(world.dataset, world.fold, world.points)
    assert window.dataset.ts_recv.max() < world.fold.train_end_ns
    assert max(int(events.ts_ns.max()) for events in window.points.values()) < world.fold.train_end_ns
    assert len(window.points) == 3 * 3
    with pytest.raises(ValueError, match="no row whose label was known"):
        training_window(world.dataset, replace(world.fold, train=np.empty(0, dtype=np.intp)), {})


def test_a_label_matures_when_it_is_known_and_not_before(world):
    data = world.dataset
    found = last_known_labels(data)
    for n in range(0, len(data), 37):
        same = (data.session == data.session[n]) & (data.instrument_id == data.instrument_id[n])
        known = np.flatnonzero(same & data.labelled & (data.ts_known <= data.ts_recv[n]))
        latest = known[np.argmax(data.ts_known[known])] if len(known) else None
        assert found[n] == (LABEL_MISSING if latest is None else data.y[latest])


def test_forecasts_are_kept_and_do_not_depend_on_where_the_test_begins(world):
    bundle, data = world.bundles["transformer"], world.dataset
    whole = forecast_rows(bundle, data, world.fold.test, root=world.root)
    kept = forecast_rows(bundle, data, world.fold.test, root=world.root)
    assert np.array_equal(whole, kept)
    assert list(world.root.folds.glob("*.forecasts.npy"))
    shuffled = np.concatenate([whole[:7], whole[7:]])[np.arange(len(whole))]
    assert clean_copy(shuffled).tobytes() == clean_copy(whole).tobytes()
    later = world.fold.test[200:]
    assert np.array_equal(forecast_rows(bundle, data, later), whole[200:])


def test_a_bundle_without_fitted_events_still_forecasts(world, tmp_path):
    bundle = fit_bundle(DataRoot(tmp_path), world.settings, world.dataset, world.fold, "hawkes", {})
    assert bundle.design.hawkes is None
    made = probabilities_of(forecast_rows(bundle, world.dataset, world.fold.test))
    assert np.isfinite(made).all()


def test_a_stated_session_and_the_training_hours_give_the_same_bits(world):
    predictor = BundlePredictor(world.bundles["hawkes"])
    data, rows = world.dataset, world.fold.test
    made = [
        predictor.step_rows(state, data.instrument_id[rows], data.ts_recv[rows], data.x[rows])[1]
        for state in (predictor.init(data.sessions[3]), predictor.init())
    ]
    assert np.array_equal(made[0], made[1])


def test_a_missing_instrument_is_masked_and_the_others_go_on(world):
    data = world.dataset
    rows = world.fold.test[data.instrument_id[world.fold.test] != 1]
    without = data.take(np.flatnonzero((data.session < 3) | (data.instrument_id != 1)))
    test = np.flatnonzero(without.session == 3)
    for name in ("gnn", "transformer"):
        made = forecast_rows(world.bundles[name], without, test)
        assert len(made) == len(rows)
        assert np.isfinite(probabilities_of(made)).all()

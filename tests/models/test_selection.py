"""Columns are chosen inside the training window, by what they say about its labels alone."""

from dataclasses import replace

import numpy as np

from marketdata.paths import DataRoot
from models.splits import walk_forward_folds
from models.training import fit_bundle, forecast_rows, trial_of
from tests.models.rows import small_dataset, small_points, small_settings


def test_the_linear_model_keeps_the_column_that_matters_and_drops_those_that_do_not(world):
    root, table, points = world.root, world.dataset, world.points
    chosen = small_settings(feature_selection="by")
    fold = walk_forward_folds(table, chosen.training, chosen.latency)[-1]
    bundle = fit_bundle(root, chosen, table, fold, "linear", points)
    found = bundle.manifest.diagnostics["selection"]
    assert "depth_imbalance_l1" in found["chosen"]
    assert len(found["chosen"]) <= 4 < found["tested"]
    assert found["q"]["depth_imbalance_l1"] < 1e-6
    assert bundle.manifest.diagnostics["inner"]["mcc"] > 0.2
    assert bundle.manifest.model["columns"] == [*found["chosen"], "is_S0", "is_S1", "is_S2"]
    assert bundle.manifest.hyperparameters["selection"] == "by"
    assert trial_of(chosen, table, "linear") != trial_of(small_settings(), table, "linear")
    assert len(forecast_rows(bundle, table, fold.test)) == len(fold.test)

    # Labels and rows after the training window change no choice.
    later = table.ts_recv >= fold.train_end_ns
    y, x = table.y.copy(), table.x.copy()
    y[later] = np.where(y[later] == 1, -1, y[later])
    x[later] = -x[later]
    again = fit_bundle(root, chosen, replace(table, x=x, y=y), fold, "linear", points, seed=chosen.training.seed)
    assert again.manifest.key == bundle.manifest.key


def test_where_nothing_is_related_to_the_label_nothing_is_chosen(tmp_path):
    table = small_dataset(effect=0.0)
    settings = small_settings(feature_selection="bh")
    fold = walk_forward_folds(table, settings.training, settings.latency)[-1]
    bundle = fit_bundle(DataRoot(tmp_path), settings, table, fold, "linear", small_points(table))
    assert len(bundle.manifest.diagnostics["selection"]["chosen"]) <= 2

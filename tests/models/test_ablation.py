"""A family that carries information is missed when it is taken away, one that carries none is not."""

from dataclasses import replace

import numpy as np

from models.ablation import ablate_families
from tests.models.rows import small_dataset, small_settings


def test_the_family_that_knows_is_worth_its_columns_and_noise_is_not() -> None:
    dataset = small_dataset()
    noise = np.random.default_rng(1).normal(size=(len(dataset), 2)).astype(np.float32)
    noise[::3] = np.nan
    dataset = replace(dataset, columns=(*dataset.columns, "n1", "n2"), x=np.hstack([dataset.x, noise]))
    families = {"book": ["depth_imbalance_l1"], "noise": ["n1", "n2"], "absent": ["nowhere"]}
    found = ablate_families(dataset, small_settings(), families)
    by_change = {(item.change, item.family): item for item in found}
    assert list(by_change) == [
        ("none", ""),
        ("added", "book"),
        ("added", "noise"),
        ("removed", "book"),
        ("removed", "noise"),
        ("all", ""),
    ]
    assert by_change["added", "book"].mcc > by_change["none", ""].mcc + 0.3
    assert by_change["all", ""].mcc > by_change["removed", "book"].mcc + 0.3
    assert by_change["all", ""].log_loss < by_change["removed", "book"].log_loss - 0.1
    assert abs(by_change["added", "noise"].mcc - by_change["none", ""].mcc) < 0.1
    assert by_change["added", "noise"].columns == by_change["none", ""].columns + 2
    assert len({item.rows for item in found}) == 1, "every choice is scored on the same rows"


def test_labels_of_the_last_test_unit_reach_no_forecast() -> None:
    dataset = small_dataset(sessions=3)
    last = dataset.session == 2
    wrong = replace(dataset, y=np.where(last & dataset.labelled, -dataset.y, dataset.y).astype(np.int8))
    families = {"book": ["depth_imbalance_l1"]}
    right, turned = (ablate_families(table, small_settings(), families)[-1] for table in (dataset, wrong))
    assert right.mcc > 0.3
    assert turned.mcc < -0.2, "the forecasts are the same, the answers are turned round"


def test_a_table_without_a_fold_or_without_the_families_gives_nothing() -> None:
    dataset = small_dataset(sessions=2)
    assert ablate_families(dataset, small_settings(), {"book": ["depth_imbalance_l1"]}) == ()
    assert ablate_families(small_dataset(sessions=3), small_settings(), {"absent": ["nowhere"]}) == ()

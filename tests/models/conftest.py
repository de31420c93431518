"""One small world for all tests of the models: data, point events, and every forecaster fitted on its last fold."""

from pathlib import Path
from typing import NamedTuple

import pytest

from features.dataset import Dataset
from marketdata.paths import DataRoot
from marketdata.settings import Settings
from models.bundle import Bundle
from models.catalog import FORECASTERS
from models.splits import Fold, walk_forward_folds
from models.training import fit_bundle
from tests.models.rows import small_dataset, small_points, small_settings


class World(NamedTuple):
    root: DataRoot
    settings: Settings
    dataset: Dataset
    points: dict
    fold: Fold
    bundles: dict[str, Bundle]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = DataRoot(Path(tmp_path_factory.mktemp("models")))
    settings, dataset = small_settings(), small_dataset()
    points = small_points(dataset)
    fold = walk_forward_folds(dataset, settings.training, settings.latency)[-1]
    bundles = {name: fit_bundle(root, settings, dataset, fold, name, points) for name in FORECASTERS}
    return World(root, settings, dataset, points, fold, bundles)

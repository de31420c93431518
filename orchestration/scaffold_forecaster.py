"""What ``flowsense new forecaster`` writes."""

from typing import Final

MODULE: Final = '''"""{title}: a logit on the columns whose names begin with one of the prefixes. Make it yours.

Every law of the forecaster protocol is tested over the whole catalogue, this member included
(``tests/models/test_forecasters.py``). Add ``"{name}"`` to ``training.models`` in a root's ``settings.toml`` to
let it run at night.
"""

from dataclasses import dataclass
from typing import Any

from marketdata.settings import TrainingSettings
from models.forecaster import Part, Role, TrainingBlock, Weights
from models.linear import LogitModel, fit_logit_model


@dataclass(frozen=True, slots=True)
class {title}Forecaster:
    """A penalised logit on chosen columns of the design."""

    name: str = "{name}"
    role: Role = "candidate"
    parts: tuple[Part, ...] = ()
    prefixes: tuple[str, ...] = ("ofi_", "depth_imbalance_")
    penalty: float = 1e-3

    def hyperparameters(self, training: TrainingSettings) -> dict[str, Any]:
        """Return everything that was chosen rather than fitted; the trial ledger counts by it."""
        return {{"prefixes": list(self.prefixes), "penalty": self.penalty}}

    def fit(self, block: TrainingBlock, training: TrainingSettings, seed: int) -> LogitModel:
        """Return the fitted model; read labels at the block's loss rows only."""
        columns = [name for name in block.rows.columns if name.startswith(self.prefixes)]
        return fit_logit_model(block, columns, self.penalty)

    def restore(self, weights: Weights) -> LogitModel:
        """Return the model that left these weights behind."""
        return LogitModel.restore(weights)
'''

TEST: Final = '''"""What {name} is meant to do beyond the laws that every forecaster is held to."""

import numpy as np

from models.catalog import CANDIDATES, forecaster
from models.training import forecast_rows, probabilities_of


def test_{name}_is_a_candidate_with_its_choices_written_down(world) -> None:
    assert "{name}" in CANDIDATES
    assert forecaster("{name}").hyperparameters(world.settings.training)["prefixes"]


def test_{name}_gives_probabilities_for_every_test_row(world) -> None:
    probabilities = probabilities_of(forecast_rows(world.bundles["{name}"], world.dataset, world.fold.test))
    assert probabilities.shape == (len(world.fold.test), 3)
    assert np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
'''

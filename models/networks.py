"""What all deep forecasters share: how a network is fitted to a block, and how it forecasts many rows in batches.

A network's own file says what it is made of and what it looks at; it gives a function from rows to logits. Every network here
has a ``head`` and, around everything else, a linear path ``around``: training starts from the classes' frequencies.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from marketdata.settings import TrainingSettings
from models.evaluation import score
from models.forecaster import Float64, TrainingBlock
from models.reproducible import (
    EPOCHS,
    Rows,
    StepBudget,
    class_log_frequencies,
    load_arrays,
    reproducible_torch,
    state_arrays,
    train_by_steps,
)

Logits = Callable[[Any, Rows], Any]
"""A network and rows to a tensor of logits, shape (rows, 3), in the network's present mode."""


def budget_hyperparameters(training: TrainingSettings) -> dict[str, Any]:
    """Return the training budget as a forecaster's hyperparameters name it."""
    return {
        "steps": training.deep_steps,
        "batch": training.deep_batch,
        "row_cap": training.deep_row_cap,
        "epochs": EPOCHS,
    }


def fit_network(
    build: Callable[[], Any],
    logits: Logits,
    block: TrainingBlock,
    training: TrainingSettings,
    seed: int,
    *,
    learning_rate: float,
    weight_decay: float,
    batch: int,
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Train a network on a block's inner training rows, stopping early on its held-out ones.

    Parameters
    ----------
    build : callable
        Returns the untrained torch module, its weights drawn from torch's random stream.
    logits : callable
        See :data:`Logits`.
    batch : int
        Rows at a time when the held-out rows are scored.

    Returns
    -------
    arrays : dict
        The weights by name.
    diagnostics : dict
        ``inner``: the scores of the held-out rows; ``curves``: the losses by step.
    """
    import torch

    budget = StepBudget(training.deep_steps, training.deep_batch, training.deep_row_cap, learning_rate, weight_decay)
    with reproducible_torch(seed):
        net = build()
        with torch.no_grad():
            net["around"].weight.zero_()
            net["head"].bias.copy_(torch.from_numpy(class_log_frequencies(block.y[block.train])))
        curves = train_by_steps(net, lambda rows: logits(net, rows), block.y, block.train, block.valid, budget, seed)
        arrays = state_arrays(net)
    forecasts = forecast_network(build, arrays, logits, block.valid, batch)
    return arrays, {"inner": score(forecasts, block.y[block.valid]), "curves": curves}


def forecast_network(
    build: Callable[[], Any],
    arrays: dict[str, npt.NDArray[Any]],
    logits: Logits,
    rows: npt.NDArray[np.intp],
    batch: int,
) -> Float64:
    """Return a network's probabilities of the rows, float64 (rows, 3), ``batch`` of them at a time."""
    import torch

    net = build()
    load_arrays(net, arrays)
    out = np.empty((len(rows), 3))
    with reproducible_torch(0), torch.inference_mode():
        for begin in range(0, len(rows), batch):
            part = logits(net, rows[begin : begin + batch])
            out[begin : begin + batch] = torch.softmax(part.double(), dim=1).numpy()
    return out

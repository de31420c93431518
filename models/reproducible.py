"""Train small networks so that the same data, seed and code give the same weights on any number of threads (P16)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

EVALUATE_EVERY: Final = 50
"""Steps between two looks at the held-out rows."""
PATIENCE: Final = 3
"""Looks without a better held-out loss after which training stops."""
EPOCHS: Final = 8
"""Times at most that a training row is seen: small windows get fewer steps."""
VALID_ROWS: Final = 4_000
"""Held-out rows at most that a look uses, spread evenly."""

Rows = npt.NDArray[np.intp]


@contextmanager
def reproducible_torch(seed: int) -> Iterator[None]:
    """Run torch on one thread, deterministic, with its own random stream; all of it is put back afterwards."""
    import torch

    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fresh: Any = torch.utils.deterministic
    filling = fresh.fill_uninitialized_memory
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    fresh.fill_uninitialized_memory = False  # a tenth of a step, for memory that nothing reads
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        fresh.fill_uninitialized_memory = filling
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)


@dataclass(frozen=True, slots=True)
class StepBudget:
    """How a network is trained: by steps, not by wall time."""

    steps: int
    batch: int
    row_cap: int
    learning_rate: float
    weight_decay: float


def spread(rows: Rows, most: int) -> Rows:
    """Return at most ``most`` of the rows, evenly spread."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.intp)]


def train_by_steps(
    net: Any,
    logits: Callable[[Rows], Any],
    y: npt.NDArray[np.int8],
    train: Rows,
    valid: Rows,
    budget: StepBudget,
    seed: int,
) -> dict[str, Any]:
    """Train a torch module in place, leave the weights of its best held-out look in it, and return its curves.

    Parameters
    ----------
    logits : callable
        Rows to a tensor of logits, shape (rows, 3), in the module's present mode.
    valid : intp array
        Held-out rows for early stopping; without any the last step's weights stay.

    Returns
    -------
    dict
        ``steps`` looked at, ``train_loss`` (mean since the look before) and ``valid_loss``, nats; ``best_step``.
    """
    import torch
    from torch.nn.functional import cross_entropy

    train, valid = spread(train, budget.row_cap), spread(valid, VALID_ROWS)
    steps = min(budget.steps, max(EPOCHS * len(train) // budget.batch, 1))
    target = torch.from_numpy(y.astype(np.int64) + 1)
    optimiser = torch.optim.AdamW(net.parameters(), lr=budget.learning_rate, weight_decay=budget.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=budget.learning_rate, total_steps=steps)
    generator = np.random.default_rng(seed)
    curves: dict[str, Any] = {"steps": [], "train_loss": [], "valid_loss": [], "best_step": 0}
    best, best_loss, waited, running = None, np.inf, 0, []
    order, taken = generator.permutation(train), 0
    for step in range(1, steps + 1):
        if taken + budget.batch > len(order) and taken:
            order, taken = generator.permutation(train), 0
        rows = order[taken : taken + budget.batch]
        taken += budget.batch
        net.train()
        loss = cross_entropy(logits(rows), target[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running.append(float(loss.detach()))
        if step % EVALUATE_EVERY and step != steps:
            continue
        net.eval()
        held_out = float("nan")
        if len(valid):
            with torch.inference_mode():
                held_out = float(cross_entropy(logits(valid), target[valid]))
        curves["steps"].append(step)
        curves["train_loss"].append(float(np.mean(running)))
        curves["valid_loss"].append(held_out)
        running = []
        if not len(valid) or held_out < best_loss:
            best_loss, waited = held_out, 0
            curves["best_step"] = step
            best = {name: value.detach().clone() for name, value in net.state_dict().items()}
        else:
            waited += 1
            if waited >= PATIENCE:
                break
    if best is not None:
        net.load_state_dict(best)
    net.eval()
    return curves


def class_log_frequencies(y: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    """Return the smoothed log frequencies of the classes, shape (3,): where a head's bias starts."""
    counts = np.bincount(y.astype(np.int64) + 1, minlength=3) + 1.0
    return np.asarray(np.log(counts / counts.sum()), dtype=np.float32)


def state_arrays(net: Any) -> dict[str, npt.NDArray[Any]]:
    """Return a module's weights as numpy arrays by name."""
    return {name: value.detach().cpu().numpy().copy() for name, value in net.state_dict().items()}


def load_arrays(net: Any, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Put weights from :func:`state_arrays` into a module."""
    import torch

    net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})
    net.eval()

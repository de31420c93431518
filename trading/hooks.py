"""Rules that enter the compiled engine as first-class functions: one published signature for each family.

A hook is a numba ``cfunc``: it is an argument of the engine's kernel, typed by its signature, so every hook of a family
shares one compiled kernel, and an edited hook is never masked by an old one. A call costs a few nanoseconds.

``queue(ahead, level, removed, parameters) -> ahead``
    What is left in front of a resting order after ``removed`` lots were cancelled from its level of ``level`` lots, of which
    ``ahead`` stood before it. Executions always come off the front and do not ask.
``fee(notional_nanos, lots, ppm) -> nanos``
    The fee of a fill, negative for a rebate.
``decide(now_ns, wake, ints, floats, view, forecast, memory, out) -> orders``
    A strategy: see ``trading.strategies``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import cfunc, float64, int64, types

from marketdata.settings import SettingsError
from trading.ledger import share_ceil
from trading.own_files import names_of_file

_INTS = types.Array(int64, 1, "C")
_FLOATS = types.Array(float64, 1, "C")
_TABLE = types.Array(int64, 2, "C")

QUEUE_SIGNATURE: Final = float64(float64, float64, float64, _FLOATS)
FEE_SIGNATURE: Final = int64(int64, int64, int64)
DECIDE_SIGNATURE: Final = int64(int64, int64, _INTS, _FLOATS, _INTS, _FLOATS, _INTS, _TABLE)


@cfunc(QUEUE_SIGNATURE, cache=True)
def queue_risk_averse(ahead: float, level: float, removed: float, parameters: npt.NDArray[np.float64]) -> float:
    """Take every cancel to be behind us until nothing else is left: the pessimistic bound."""
    return min(ahead, level - removed)


@cfunc(QUEUE_SIGNATURE, cache=True)
def queue_probabilistic(ahead: float, level: float, removed: float, parameters: npt.NDArray[np.float64]) -> float:
    """Take a cancel to be ahead with probability ahead**n / (ahead**n + behind**n), and shrink the queue by the expected part.

    ``parameters[0]`` is n: 1 spreads cancels evenly over the queue, larger values put them where most of it is.
    """
    n = parameters[0]
    behind = level - ahead
    if ahead <= 0.0:
        return 0.0
    if behind < 0.0:
        behind = 0.0
    front = ahead**n
    part = front / (front + behind**n) * removed
    beyond = (removed - part) - behind
    left = ahead - part - max(beyond, 0.0)
    return max(min(left, level - removed), 0.0)


@cfunc(QUEUE_SIGNATURE, cache=True)
def queue_log(ahead: float, level: float, removed: float, parameters: npt.NDArray[np.float64]) -> float:
    """Take a cancel to be ahead with probability log(1 + ahead) / (log(1 + ahead) + log(1 + behind)), else as the power form."""
    if ahead <= 0.0:
        return 0.0
    behind = max(level - ahead, 0.0)
    front = np.log(1.0 + ahead)
    part = front / (front + np.log(1.0 + behind)) * removed
    beyond = (removed - part) - behind
    left = ahead - part - max(beyond, 0.0)
    return max(min(left, level - removed), 0.0)


@cfunc(DECIDE_SIGNATURE, cache=True)
def decide_nothing(
    now: int, wake: int, ints: Any, floats: Any, view: Any, forecast: Any, memory: Any, out: npt.NDArray[np.int64]
) -> int:
    """Want nothing: stands in the kernel's argument list where a Python strategy decides."""
    return 0


@cfunc(QUEUE_SIGNATURE, cache=True)
def queue_optimistic(ahead: float, level: float, removed: float, parameters: npt.NDArray[np.float64]) -> float:
    """Take every cancel to be ahead of us: the optimistic bound."""
    return max(ahead - removed, 0.0)


@cfunc(FEE_SIGNATURE, cache=True)
def fee_ppm(notional_nanos: int, lots: int, ppm: int) -> int:
    """Return parts per million of the notional, rounded up to the next nano (a rebate is rounded towards zero)."""
    return share_ceil(notional_nanos, ppm)


@dataclass(frozen=True, slots=True)
class QueueModel:
    """A queue hook with its parameters.

    ``by_id``: rows that name an order move the queue exactly (:mod:`trading.queues`), the hook sees the others only.
    """

    name: str
    hook: Any
    parameters: tuple[float, ...] = (1.0,)
    by_id: bool = False


QUEUE_MODELS: Final = {
    model.name: model
    for model in (
        QueueModel("risk_averse", queue_risk_averse),
        QueueModel("probabilistic", queue_probabilistic, (2.0,)),
        QueueModel("log", queue_log),
        QueueModel("optimistic", queue_optimistic),
        QueueModel("fifo", queue_risk_averse, by_id=True),
    )
}
"""Every queue model by name; the first is the pessimistic one, ``fifo`` the exact one where the tape has order ids."""


def find_queue_model(text: str) -> QueueModel:
    """Return the queue model that a text names.

    Parameters
    ----------
    text : str
        A name in :data:`QUEUE_MODELS`; ``power:N``, the probabilistic model with exponent N; or ``path.py:name``, a
        :class:`QueueModel` or a ``cfunc`` of :data:`QUEUE_SIGNATURE` in a file of one's own.

    Raises
    ------
    SettingsError
        If there is none; the message says what was looked for and what there is.
    """
    if text in QUEUE_MODELS:
        return QUEUE_MODELS[text]
    head, _, tail = text.rpartition(":")
    if head == "power":
        try:
            exponent = float(tail)
        except ValueError:
            exponent = -1.0
        if not exponent > 0.0:
            raise SettingsError(f"queue model {text!r}: the exponent is a positive number, as in power:3")
        return QueueModel(text, queue_probabilistic, (exponent,))
    if not head.endswith(".py"):
        known = ", ".join(QUEUE_MODELS)
        raise SettingsError(f"unknown queue model {text!r}; there are {known}, power:N, or give path.py:name")
    found = names_of_file(Path(head)).get(tail)
    if isinstance(found, QueueModel):
        return found
    if not hasattr(found, "native_name") or getattr(found, "_sig", None) != QUEUE_SIGNATURE:
        raise SettingsError(f"{head}: {tail!r} is neither a QueueModel nor a cfunc of trading.hooks.QUEUE_SIGNATURE")
    return QueueModel(text, found)

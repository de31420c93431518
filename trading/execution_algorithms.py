"""The execution algorithms: what schedule and placement each one is (:mod:`trading.execution` says what those mean).

References
----------
Almgren, Chriss (2000). Optimal execution of portfolio transactions. Journal of Risk 3(2). (The front-loaded curve.)
"""

from math import sinh
from typing import Final

import numpy as np
import numpy.typing as npt

from marketdata.clock import NS_PER_S
from trading.execution import (
    BY_CURVE,
    BY_LIVE_CURVE,
    BY_VOLUME,
    HYBRID,
    PLACEMENTS,
    REST,
    WHOLE,
    Ints,
    ParentError,
    ParentOrder,
    decide_execution,
)
from trading.strategies import WAKE_FORECAST, WAKE_RESPONSE, WAKE_TIMER, WAKE_TOP, Strategy

FINISH_NS: Final = 5 * NS_PER_S
"""Before a parent's end, what is left is taken."""
EXIT_TICKS: Final = 20


def _strategy(
    name: str,
    parent: ParentOrder,
    curve: Ints,
    *,
    slices: int,
    placement: int,
    schedule: int = BY_CURVE,
    display: int | None = None,
    finish_ns: int = FINISH_NS,
    participation: float = 0.0,
    margin: float = 0.0,
    expected: int = 0,
) -> Strategy:
    if slices < 1:
        raise ParentError(f"slices {slices} is below 1")
    if display is not None and display < 1:
        raise ParentError(f"display {display} is below 1")
    span = parent.end_ns - parent.start_ns
    if finish_ns >= span:
        raise ParentError(f"the parent lasts {span} ns, no longer than its finish of {finish_ns} ns")
    ints = (
        parent.side,
        parent.lots,
        parent.start_ns,
        parent.end_ns,
        max(span // slices, 1),
        placement,
        schedule,
        display or parent.lots,
        parent.limit_units or 0,
        finish_ns,
        EXIT_TICKS,
        expected,
        *(int(value) for value in curve),
    )
    mask = WAKE_TOP | WAKE_TIMER | WAKE_RESPONSE
    if placement == HYBRID:
        mask |= WAKE_FORECAST
    return Strategy(name, decide_execution, mask, ints, (participation, margin))


def straight_curve(points: int = 2) -> Ints:
    """Return equal shares in equal times."""
    return np.linspace(0, WHOLE, points).astype(np.int64)


def front_loaded_curve(urgency: float, points: int = 65) -> Ints:
    """Return the curve of Almgren and Chriss: the share done at time t of T is ``1 - sinh(u (1 - t/T)) / sinh(u)``.

    ``urgency`` is κT, the square root of risk aversion times variance over temporary impact, times the parent's length; towards
    0 it is a straight line.
    """
    if not urgency > 0:
        raise ParentError(f"urgency {urgency} is not positive")
    left = [sinh(urgency * (1 - k / (points - 1))) / sinh(urgency) for k in range(points)]
    curve = np.rint(WHOLE * (1 - np.array(left))).astype(np.int64)
    curve[-1] = WHOLE
    return curve


def volume_curve(lots: npt.NDArray[np.int64]) -> Ints:
    """Return the curve of volumes traded in equal bins of earlier sessions, shape (bins,): cumulative shares.

    Raises
    ------
    ParentError
        If nothing traded, or a volume is negative.
    """
    if len(lots) == 0 or lots.min() < 0 or lots.sum() == 0:
        raise ParentError("a volume curve needs volumes, none negative and not all zero")
    below = np.concatenate(([0], np.cumsum(lots)))
    return (below * WHOLE // below[-1]).astype(np.int64)


def _placement(name: str) -> int:
    if name not in PLACEMENTS:
        raise ParentError(f"unknown placement {name!r}: {', '.join(PLACEMENTS)}")
    return PLACEMENTS[name]


def twap(parent: ParentOrder, *, slices: int = 10, placement: str = "cross") -> Strategy:
    """Return equal amounts in equal times."""
    return _strategy("twap", parent, straight_curve(), slices=slices, placement=_placement(placement))


def hybrid_twap(parent: ParentOrder, *, slices: int = 10, margin: float = 0.0) -> Strategy:
    """Return TWAP that rests at the best quote and crosses early when the forecast exceeds what crossing costs (W9).

    ``margin`` is the share by which it must exceed it.
    """
    return _strategy("hybrid_twap", parent, straight_curve(), slices=slices, placement=HYBRID, margin=margin)


def vwap(
    parent: ParentOrder, curve: Ints, *, slices: int = 20, placement: str = "rest", expected_lots: int | None = None
) -> Strategy:
    """Return amounts in proportion to the volume that usually trades (:func:`volume_curve` of the parent's own times).

    ``expected_lots`` makes the curve live: volume so far, over itself and what the curve expects to come.
    """
    if len(curve) < 2 or curve[0] != 0 or curve[-1] != WHOLE or (np.diff(curve) < 0).any():
        raise ParentError("a curve rises from 0 to 1,000,000")
    if expected_lots is not None and expected_lots < 1:
        raise ParentError(f"expected_lots {expected_lots} is below 1")
    return _strategy(
        "vwap",
        parent,
        curve,
        slices=slices,
        placement=_placement(placement),
        schedule=BY_CURVE if expected_lots is None else BY_LIVE_CURVE,
        expected=expected_lots or 0,
    )


def participation(parent: ParentOrder, *, rate: float, display: int, placement: str = "rest") -> Strategy:
    """Return a share of what trades, at most ``display`` lots at a time; what the volume does not allow stays undone."""
    if not 0 < rate <= 1:
        raise ParentError(f"rate {rate} is not between 0 and 1")
    return _strategy(
        "pov",
        parent,
        straight_curve(),
        slices=60,
        placement=_placement(placement),
        schedule=BY_VOLUME,
        display=display,
        finish_ns=0,
        participation=rate,
    )


def implementation_shortfall(
    parent: ParentOrder, *, urgency: float = 3.0, slices: int = 20, placement: str = "rest"
) -> Strategy:
    """Return the front-loaded schedule that trades impact against the risk of the price running away."""
    curve = front_loaded_curve(urgency)
    return _strategy("implementation_shortfall", parent, curve, slices=slices, placement=_placement(placement))


def iceberg(parent: ParentOrder, *, display: int, finish: bool = True) -> Strategy:
    """Return an order that shows ``display`` lots at the best quote (or at the parent's limit) and is renewed until done.

    ``finish``: whether what is left in the last seconds is taken.
    """
    curve = np.array([0, 0, WHOLE], np.int64)
    return _strategy(
        "iceberg",
        parent,
        curve,
        slices=1,
        placement=REST,
        display=display,
        finish_ns=FINISH_NS if finish else 0,
    )

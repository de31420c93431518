"""Execution algorithms: work one parent order off over a time, as strategies of the engine.

Every algorithm is a *schedule* (how much should be done by when) with a *placement* (rest or cross). A schedule is a curve of
cumulative shares over the parent's life, or a share of the volume that trades. Placements:

``cross``    at the start of each slice, take what the slice is to bring
``rest``     join the best quote with what the slice is to bring, follow it when it moves, take what is left at the slice's end
``hybrid``   as ``rest``, but cross at once while the forecast says that waiting costs more than crossing does (W9)

A child order never takes beyond the opposite touch as the agent sees it, but for the parent's last seconds, in which what is
left is taken up to ``exit_ticks`` behind it: completion is the rule unless the parent has a limit price, a participation
rate or no finish. One parent is one engine with a flat account: what is done is the position.

References
----------
Almgren, Chriss (2000). Optimal execution of portfolio transactions. Journal of Risk 3(2). (The front-loaded curve.)
Perold (1988). The implementation shortfall: paper versus reality. Journal of Portfolio Management 14(3).
"""

from dataclasses import dataclass
from math import sinh
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import cfunc, njit

from marketdata.clock import NS_PER_S
from marketdata.events import BID
from trading.hooks import DECIDE_SIGNATURE
from trading.orders import IOC, POST_ONLY
from trading.strategies import (
    O_AT_CAP,
    O_CANCEL,
    O_ID,
    O_LOTS,
    O_PRICE,
    O_SIDE,
    O_TIF,
    V_ASK,
    V_ASK_LOTS,
    V_BID,
    V_BID_LOTS,
    V_BUY_WORKING,
    V_MAKER_PPM,
    V_OWN_ASK,
    V_OWN_ASK_ID,
    V_OWN_BID,
    V_OWN_BID_ID,
    V_POSITION,
    V_SELL_WORKING,
    V_TAKER_PPM,
    V_TAPE_LOTS,
    V_TICK,
    V_TIMER_NS,
    V_UNSETTLED,
    WAKE_FORECAST,
    WAKE_RESPONSE,
    WAKE_TIMER,
    WAKE_TOP,
    Strategy,
)

CROSS: Final = 0
REST: Final = 1
HYBRID: Final = 2
PLACEMENTS: Final = {"cross": CROSS, "rest": REST, "hybrid": HYBRID}

BY_CURVE: Final = 0
BY_VOLUME: Final = 1
BY_LIVE_CURVE: Final = 2

WHOLE: Final = 1_000_000
"""A curve's last point: shares are in parts per million."""
FINISH_NS: Final = 5 * NS_PER_S
EXIT_TICKS: Final = 20

X_SIDE: Final = 0
X_LOTS: Final = 1
X_START: Final = 2
X_END: Final = 3
X_SLICE: Final = 4
X_PLACEMENT: Final = 5
X_SCHEDULE: Final = 6
X_DISPLAY: Final = 7
X_LIMIT: Final = 8
X_FINISH: Final = 9
X_EXIT_TICKS: Final = 10
X_EXPECTED: Final = 11
X_CURVE: Final = 12
"""Index into the strategy's ints; the curve's points fill the rest."""

Y_PARTICIPATION: Final = 0
Y_MARGIN: Final = 1

M_TAPE: Final = 0
"""Lots that had traded when the parent began, plus one; 0 before."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class ParentError(ValueError):
    """A parent order or its schedule makes no sense; the message names the field."""


@dataclass(frozen=True, slots=True)
class ParentOrder:
    """What is to be bought or sold, and when.

    Attributes
    ----------
    side : int
        1 buy, -1 sell.
    lots : int
    start_ns, end_ns : int
        Receive times between which it is worked.
    limit_units : int or None
        No child trades at a worse price; what cannot trade stays undone.
    """

    side: int
    lots: int
    start_ns: int
    end_ns: int
    limit_units: int | None = None

    def __post_init__(self) -> None:
        if self.side not in (1, -1):
            raise ParentError(f"side {self.side} is neither 1 (buy) nor -1 (sell)")
        if self.lots < 1:
            raise ParentError(f"lots {self.lots} is below 1")
        if self.end_ns <= self.start_ns:
            raise ParentError("the parent ends before it starts")
        if self.limit_units is not None and self.limit_units < 1:
            raise ParentError(f"limit_units {self.limit_units} is below 1")


@njit(cache=True)
def share_at(curve: Ints, elapsed: int, span: int) -> int:
    """Return the cumulative share, in ppm, ``elapsed`` of ``span`` ns into a curve of equally spaced points."""
    steps = len(curve) - 1
    if elapsed >= span:
        return curve[steps]
    if elapsed <= 0:
        return curve[0]
    place = elapsed * steps
    k = place // span
    return curve[k] + (curve[k + 1] - curve[k]) * (place - k * span) // span


@njit(cache=True)
def _due(ints: Ints, floats: Floats, at: int, traded: int) -> int:
    """Return the lots that should be done at a time, when ``traded`` lots have traded since the parent's start."""
    lots, start, end = ints[X_LOTS], ints[X_START], ints[X_END]
    if ints[X_SCHEDULE] == BY_VOLUME:
        return min(lots, int(floats[Y_PARTICIPATION] * traded))
    share = share_at(ints[X_CURVE:], at - start, end - start)
    if ints[X_SCHEDULE] == BY_LIVE_CURVE:
        # What has traded so far against what the curve still expects: a busy day runs ahead of its history.
        rest = ints[X_EXPECTED] * (WHOLE - share) // WHOLE
        share = WHOLE * traded // max(traded + rest, 1)
    return (lots * share + WHOLE // 2) // WHOLE


@njit(cache=True)
def _crossing_pays(view: Ints, forecast: Floats, side: int, margin: float) -> bool:
    """Return whether the price is expected to run away by more than crossing costs over resting: spread and fee difference."""
    if forecast[4] == 0.0:
        return False
    spread = float(view[V_ASK] - view[V_BID])
    fees = (view[V_TAKER_PPM] - view[V_MAKER_PPM]) * 1e-6 * 0.5 * float(view[V_ASK] + view[V_BID])
    return side * forecast[3] > (spread + fees) * (1.0 + margin)


@cfunc(DECIDE_SIGNATURE, cache=True)
def decide_execution(
    now: int,
    wake: int,
    ints: Ints,
    floats: Floats,
    view: Ints,
    forecast: Floats,
    memory: Ints,
    out: npt.NDArray[np.int64],
) -> int:
    """Keep a parent order on its schedule; see the module's words for schedules and placements.

    Nothing is sent while an order's answer is under way, so that at most one child lives and nothing is bought twice.
    """
    side, start, end = ints[X_SIDE], ints[X_START], ints[X_END]
    if now < start:
        view[V_TIMER_NS] = start
        return 0
    if memory[M_TAPE] == 0:
        memory[M_TAPE] = view[V_TAPE_LOTS] + 1
    done = side * view[V_POSITION]
    left = ints[X_LOTS] - done
    if left <= 0:
        return 0
    finish = end - ints[X_FINISH]
    boundary = start + ((now - start) // ints[X_SLICE] + 1) * ints[X_SLICE]
    begun = boundary - ints[X_SLICE]
    if now < finish:
        view[V_TIMER_NS] = min(boundary, finish)
    elif now < end:
        view[V_TIMER_NS] = min(now + NS_PER_S, end)
    if view[V_UNSETTLED] > 0:
        return 0
    bid, ask = view[V_BID], view[V_ASK]
    own_id = view[V_OWN_BID_ID] if side == BID else view[V_OWN_ASK_ID]
    own = view[V_OWN_BID] if side == BID else view[V_OWN_ASK]
    working = view[V_BUY_WORKING] if side == BID else view[V_SELL_WORKING]
    if now >= end:
        if own_id > 0:
            out[0, O_CANCEL] = 1
            out[0, O_ID] = own_id
            return 1
        return 0
    if view[V_BID_LOTS] <= 0 or view[V_ASK_LOTS] <= 0 or bid >= ask:
        return 0
    touch = bid if side == BID else ask
    far = ask if side == BID else bid
    limit = ints[X_LIMIT]
    traded = view[V_TAPE_LOTS] + 1 - memory[M_TAPE]
    by_end = _due(ints, floats, min(boundary, end), traded)
    must = _due(ints, floats, begun, traded) - done
    if ints[X_SCHEDULE] == BY_VOLUME:
        must = by_end - done - (0 if ints[X_PLACEMENT] == CROSS else ints[X_DISPLAY])
    elif ints[X_PLACEMENT] == CROSS or (
        ints[X_PLACEMENT] == HYBRID and _crossing_pays(view, forecast, side, floats[Y_MARGIN])
    ):
        must = by_end - done
    last = ints[X_FINISH] > 0 and now >= finish
    if last:
        must = left
    if must > 0 and (limit == 0 or side * (far - limit) <= 0):
        if own_id > 0:
            out[0, O_CANCEL] = 1
            out[0, O_ID] = own_id
            return 1
        price = far + side * ints[X_EXIT_TICKS] * view[V_TICK] if last else far
        if limit > 0 and side * (price - limit) > 0:
            price = limit
        out[0, O_CANCEL] = 0
        out[0, O_SIDE] = side
        out[0, O_TIF] = IOC
        out[0, O_PRICE] = max(price, view[V_TICK])
        out[0, O_LOTS] = min(must, left)
        out[0, O_AT_CAP] = 0
        return 1
    if ints[X_PLACEMENT] == CROSS:
        return 0
    want = by_end - done
    if ints[X_SCHEDULE] == BY_VOLUME:
        want = min(by_end + ints[X_DISPLAY], ints[X_LOTS]) - done
    rest_at = touch
    if limit > 0 and side * (touch - limit) > 0:
        rest_at = limit
    if own_id > 0:
        if own != rest_at:
            out[0, O_CANCEL] = 1
            out[0, O_ID] = own_id
            return 1
        return 0
    if working > 0 or want <= 0:
        return 0
    out[0, O_CANCEL] = 0
    out[0, O_SIDE] = side
    out[0, O_TIF] = POST_ONLY
    out[0, O_PRICE] = rest_at
    out[0, O_LOTS] = min(min(want, left), ints[X_DISPLAY])
    out[0, O_AT_CAP] = 0
    return 1


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

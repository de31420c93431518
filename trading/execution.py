"""Execution algorithms: work one parent order off over a time, as strategies of the engine.

Every algorithm is a *schedule* (how much should be done by when) with a *placement* (rest or cross). A schedule is a curve of
cumulative shares over the parent's life, or a share of the volume that trades. Placements:

``cross``    at the start of each slice, take what the slice is to bring
``rest``     join the best quote with what the slice is to bring, follow it when it moves, take what is left at the slice's end
``hybrid``   as ``rest``, but cross at once while the forecast says that waiting costs more than crossing does (W9)

A child order never takes beyond the opposite touch as the agent sees it, but for the parent's last seconds, in which what is
left is taken up to ``exit_ticks`` behind it: completion is the rule unless the parent has a limit price, a participation
rate or no finish. One parent is one engine with a flat account: what is done is the position.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import cfunc, njit

from marketdata.clock import NS_PER_S
from marketdata.events import BID
from trading.hooks import DECIDE_SIGNATURE
from trading.orders import IOC, POST_ONLY
from trading.strategies import (
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
    put_cancel,
    put_order,
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
            return put_cancel(out, 0, own_id)
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
            return put_cancel(out, 0, own_id)
        price = far + side * ints[X_EXIT_TICKS] * view[V_TICK] if last else far
        if limit > 0 and side * (price - limit) > 0:
            price = limit
        return put_order(out, 0, side, IOC, max(price, view[V_TICK]), min(must, left))
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
            return put_cancel(out, 0, own_id)
        return 0
    if working > 0 or want <= 0:
        return 0
    return put_order(out, 0, side, POST_ONLY, rest_at, min(min(want, left), ints[X_DISPLAY]))

"""The touch maker: rest at the best bid and the best ask, as far as an inventory limit allows."""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import cfunc

from trading.hooks import DECIDE_SIGNATURE
from trading.orders import POST_ONLY
from trading.strategies.interface import (
    V_ASK,
    V_ASK_LOTS,
    V_BID,
    V_BID_LOTS,
    V_BUY_WORKING,
    V_OWN_ASK,
    V_OWN_ASK_ID,
    V_OWN_BID,
    V_OWN_BID_ID,
    V_POSITION,
    V_SELL_WORKING,
    V_TICK,
    WAKE_RESPONSE,
    WAKE_TOP,
    Floats,
    Ints,
    Strategy,
    put_cancel,
    put_order,
)

K_LOTS: Final = 0
K_MAX_POSITION: Final = 1
K_LAST_ENTRY: Final = 2
K_MIN_SPREAD_TICKS: Final = 3
K_JOIN: Final = 0
K_STAY: Final = 1


@cfunc(DECIDE_SIGNATURE, cache=True)
def decide_touch_maker(
    now: int,
    wake: int,
    ints: Ints,
    floats: Floats,
    view: Ints,
    forecast: Floats,
    memory: Ints,
    out: npt.NDArray[np.int64],
) -> int:
    """Rest a post-only order at the best bid and the best ask, as far as the inventory limit allows.

    A side is joined when its share of the touch's lots is at least ``floats[K_JOIN]`` and left again below ``floats[K_STAY]``
    (0 and 0: always there); an order whose price is no longer the touch is cancelled and sent anew. The cancel's answer is
    awaited before a new order of the side.
    """
    bid, ask = view[V_BID], view[V_ASK]
    usable = view[V_BID_LOTS] > 0 and view[V_ASK_LOTS] > 0 and bid < ask
    usable = usable and ask - bid >= ints[K_MIN_SPREAD_TICKS] * view[V_TICK]
    usable = usable and now <= ints[K_LAST_ENTRY]
    rows = 0
    for side in (1, -1):
        own_id = view[V_OWN_BID_ID] if side > 0 else view[V_OWN_ASK_ID]
        own = view[V_OWN_BID] if side > 0 else view[V_OWN_ASK]
        working = view[V_BUY_WORKING] if side > 0 else view[V_SELL_WORKING]
        touch = bid if side > 0 else ask
        mine = view[V_BID_LOTS] if side > 0 else view[V_ASK_LOTS]
        share = mine / max(view[V_BID_LOTS] + view[V_ASK_LOTS], 1)
        room = ints[K_MAX_POSITION] - side * view[V_POSITION]
        if own_id > 0:
            if not usable or own != touch or share < floats[K_STAY]:
                rows = put_cancel(out, rows, own_id)
        elif working == 0 and usable and share >= floats[K_JOIN] and room > 0:
            rows = put_order(out, rows, side, POST_ONLY, touch, min(ints[K_LOTS], room))
    return rows


def touch_maker(
    *,
    lots: int,
    max_position: int,
    last_entry_ns: int,
    join_share: float = 0.0,
    stay_share: float = 0.0,
    min_spread_ticks: int = 1,
) -> Strategy:
    """Return the touch maker; shares are of the lots at both touches, 0 to quote regardless of them."""
    ints = (lots, max_position, last_entry_ns, min_spread_ticks)
    return Strategy("touch_maker", decide_touch_maker, WAKE_TOP | WAKE_RESPONSE, ints, (join_share, stay_share))

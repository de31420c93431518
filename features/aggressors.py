"""Who moved first: the sign of an execution, shared by the feature kernel and the point events."""

from typing import Final

from numba import njit

from marketdata.events import ASK, BID, EXECUTE, HIDDEN, TRADE

KIND_BUY: Final = 0
KIND_SELL: Final = 1
KIND_MID_UP: Final = 2
KIND_MID_DOWN: Final = 3
"""Kinds of point events: aggressive buy, aggressive sell, mid up, mid down."""

KIND_NAMES: Final = ("buy", "sell", "mid_up", "mid_down")
"""Names of the kinds, by kind."""


@njit(cache=True)
def is_execution(action: int) -> bool:
    """Return whether an event is an execution, visible or not."""
    return action in (EXECUTE, HIDDEN, TRADE)


@njit(cache=True)
def aggressor_sign(
    side: int, price: int, bid: int, bid_lots: int, ask: int, ask_lots: int, last: int, sign: int
) -> int:
    """Return 1 for a buying aggressor, -1 for a selling one, 0 where nothing tells.

    A stated resting side decides. Without one the quotes do (above the mid: a buyer), at the mid or without quotes
    the last trade price, and at that price the last sign (Lee and Ready 1991).

    Parameters
    ----------
    side : int
        Resting side of the execution (``BID``, ``ASK``, ``NONE``).
    price : int
        Price of the execution, price units.
    bid, bid_lots, ask, ask_lots : int
        Best quotes before the execution; 0 lots: none.
    last, sign : int
        Price and sign of the execution before; 0 and 0 where there was none.
    """
    if side == BID:
        return -1
    if side == ASK:
        return 1
    if bid_lots > 0 and ask_lots > 0:
        if 2 * price > bid + ask:
            return 1
        if 2 * price < bid + ask:
            return -1
    if last > 0:
        if price > last:
            return 1
        if price < last:
            return -1
    return sign

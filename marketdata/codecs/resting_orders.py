"""Orders of one book that are known by id, with the best price of each side at hand; for codecs that are plain Python.

A book for such a codec, not a third of its kind: crossing an order's price asks for the prices of a side, which
:mod:`marketdata.codecs.order_table` does not keep, and a call from Python into a kernel of :mod:`marketdata.order_book` costs
several times what a dictionary and a sorted list do here, one message at a time.
"""

from bisect import bisect_left, insort

from marketdata.events import BID


class RestingOrders:
    """Resting orders by id: side, price units, lots; and how many rest at each price."""

    __slots__ = ("_at", "_prices", "orders")

    def __init__(self) -> None:
        self.orders: dict[int, tuple[int, int, int]] = {}
        self._prices: dict[int, list[int]] = {1: [], -1: []}
        self._at: dict[int, dict[int, int]] = {1: {}, -1: {}}

    def put(self, order_id: int, side: int, units: int, lots: int) -> None:
        """Add an order, or change the lots of one that rests at the same price."""
        if order_id not in self.orders:
            at = self._at[side]
            at[units] = at.get(units, 0) + 1
            if at[units] == 1:
                insort(self._prices[side], units)
        self.orders[order_id] = (side, units, lots)

    def drop(self, order_id: int) -> None:
        """Remove an order that rests."""
        side, units, _ = self.orders.pop(order_id)
        at, prices = self._at[side], self._prices[side]
        at[units] -= 1
        if at[units] == 0:
            del at[units]
            del prices[bisect_left(prices, units)]

    def crosses(self, side: int, units: int) -> bool:
        """Return whether an order of ``side`` at this price would trade with what rests."""
        other = self._prices[-side]
        return bool(other) and (units >= other[0] if side == BID else units <= other[-1])

    def crossed_by(self, side: int, units: int) -> list[int]:
        """Return the ids of resting orders that an order of ``side`` at this price would trade with, by id."""
        return sorted(
            order_id
            for order_id, (other, price, _) in self.orders.items()
            if other == -side and (units >= price if side == BID else units <= price)
        )

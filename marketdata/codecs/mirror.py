"""A codec's own copy of a book, for venues that check it, cut it, or send it whole: prices on the grid, numbers as written."""

from bisect import bisect_left, insort
from collections.abc import Iterable

from marketdata.codecs.wire import PriceSize

Level = tuple[int, int, PriceSize]
"""Price units, lots, and both as the venue wrote them."""


class Mirror:
    """Both sides of one book, best first when asked."""

    __slots__ = ("_prices", "_texts")

    def __init__(self) -> None:
        self._prices: tuple[list[int], list[int]] = ([], [])
        self._texts: tuple[dict[int, tuple[int, PriceSize]], dict[int, tuple[int, PriceSize]]] = ({}, {})

    def set(self, side: int, levels: Iterable[Level]) -> None:
        """Set whole sizes at prices of a side (0 bids, 1 asks); 0 lots remove the level."""
        prices, texts = self._prices[side], self._texts[side]
        for units, lots, text in levels:
            if lots == 0:
                if texts.pop(units, None) is not None:
                    del prices[bisect_left(prices, units)]
                continue
            if units not in texts:
                insort(prices, units)
            texts[units] = (lots, text)

    def beyond(self, side: int, depth: int) -> list[int]:
        """Remove the levels beyond the ``depth`` best of a side, and return their prices."""
        prices, texts = self._prices[side], self._texts[side]
        surplus = len(prices) - depth
        if surplus <= 0:
            return []
        gone = prices[:surplus] if side == 0 else prices[-surplus:]
        if side == 0:
            del prices[:surplus]
        else:
            del prices[-surplus:]
        for units in gone:
            del texts[units]
        return gone

    def top(self, side: int, count: int) -> list[PriceSize]:
        """Return the ``count`` best levels of a side as the venue wrote them, best first."""
        prices, texts = self._prices[side], self._texts[side]
        best = prices[-count:][::-1] if side == 0 else prices[:count]
        return [texts[units][1] for units in best]

    def sizes(self, side: int) -> dict[int, int]:
        """Return lots by price of a side."""
        return {units: lots for units, (lots, _) in self._texts[side].items()}

"""Smart order routing: how much of an order goes to which venue, by what each lot costs all in.

A lot taken at a venue costs its price, the venue's taker fee, and the venue's latency at a rate for waiting; a lot sold brings
its price less them. Along a venue's levels that cost never falls, so taking the cheapest lot that is left anywhere, again and
again, is the cheapest allocation of all: exchanging any lot of it for one that was left out cannot make it cheaper. Costs are
compared as exact integers (price times a million plus fee, in millionths of a price unit); ties go to the venue named first.

A part may rest instead. A resting lot costs its touch with the maker fee (a rebate makes it cheaper), where it fills: with the
queue before it and the volume that is expected to trade there, ``max(volume - queue, 0)`` lots do. Lots rest where that saves
more than a hurdle against taking them now, the dearest first, and no more than are expected to fill.

Not modelled: that quotes seen are gone on arrival (the simulated venue shows it), that one child moves the price at the others.

References
----------
Cont, Kukanov (2017). Optimal order placement in limit order markets. Quantitative Finance 17(1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.clock import NS_PER_S

MILLION: Final = 1_000_000

Int64 = npt.NDArray[np.int64]


class RouteError(ValueError):
    """An order cannot be routed; the message names the field."""


@dataclass(frozen=True, slots=True)
class VenueQuote:
    """One venue's side of the book that an order would take, and what it would meet there.

    Attributes
    ----------
    name : str
    levels : sequence of (int, int)
        Price units and lots, from the best on.
    taker_ppm, maker_ppm : int
        Fees in parts per million; negative: a rebate.
    latency_ns : int
        Until an order is there.
    touch_units : int
        Own side's best price, where an order would rest; 0: none.
    queue_lots : int
        Lots before an order that joins it.
    volume_lots : float
        Lots expected to trade there while the order rests.
    """

    name: str
    levels: Sequence[tuple[int, int]]
    taker_ppm: int = 0
    maker_ppm: int = 0
    latency_ns: int = 0
    touch_units: int = 0
    queue_lots: int = 0
    volume_lots: float = 0.0


@dataclass(frozen=True, slots=True)
class Child:
    """One order to one venue.

    Attributes
    ----------
    venue : int
        Position in the quotes.
    lots : int
    price_units : int
        Limit: the worst price it takes, or where it rests.
    rests : bool
    cost_units : float
        All in, a lot, in price units: a buyer's outlay, minus a seller's proceeds.
    """

    venue: int
    lots: int
    price_units: int
    rests: bool
    cost_units: float


@dataclass(frozen=True, slots=True)
class Route:
    """What goes where.

    Attributes
    ----------
    children : tuple of Child
        At most one that takes and one that rests a venue, in the order of the quotes.
    unrouted_lots : int
        What no venue shows, within the limit.
    cost_units : float
        All in, of all children, in price units times lots.
    """

    children: tuple[Child, ...]
    unrouted_lots: int
    cost_units: float


@njit(cache=True)
def allocate_lots(prices: Int64, sizes: Int64, venues: Int64, costs: Int64, lots: int, out: Int64, worst: Int64) -> int:
    """Take the cheapest lots of levels merged over venues; return how many are left over.

    Parameters
    ----------
    prices, sizes, venues, costs : int64 arrays, shape (levels,)
        Levels of all venues: price units, lots, venue, all-in cost a lot in any one unit.
    out, worst : int64 arrays, shape (venues,)
        Written: lots for each venue, and the last price taken there.
    """
    out[:] = 0
    for k in np.argsort(costs, kind="mergesort"):
        if lots == 0:
            break
        taken = min(sizes[k], lots)
        out[venues[k]] += taken
        worst[venues[k]] = prices[k]
        lots -= taken
    return lots


def all_in_cost(side: int, price_units: int, fee_ppm: int, wait_ppm: int = 0) -> int:
    """Return what a lot costs in millionths of a price unit: of a seller, minus what it brings."""
    return side * price_units * MILLION + price_units * (fee_ppm + wait_ppm)


def route(
    side: int,
    lots: int,
    quotes: Sequence[VenueQuote],
    *,
    limit_units: int | None = None,
    passive: bool = False,
    waiting_ppm_per_s: float = 0.0,
    hurdle_ppm: int = 0,
) -> Route:
    """Return the cheapest way to trade an order over venues.

    Parameters
    ----------
    side : int
        1 buy, -1 sell.
    lots : int
    quotes : sequence of VenueQuote
        All in the same price units and lots.
    limit_units : int, optional
        No worse price.
    passive : bool
        Whether a part may rest.
    waiting_ppm_per_s : float
        What a second of latency costs, in millionths of the price: urgency, or the drift that is feared.
    hurdle_ppm : int
        What resting must save at least, in millionths of the price: the fear of taking later, dearer, what rested in vain.

    Raises
    ------
    RouteError
        If side, lots or a venue's levels make no sense.
    """
    _validate(side, lots, quotes)
    rows = [
        (price, size, k, all_in_cost(side, price, quote.taker_ppm, _waiting(quote, waiting_ppm_per_s)))
        for k, quote in enumerate(quotes)
        for price, size in quote.levels
        if limit_units is None or side * (price - limit_units) <= 0
    ]
    table = np.array(rows, np.int64).reshape(-1, 4)
    resting = _rest(side, lots, quotes, table, limit_units, waiting_ppm_per_s, hurdle_ppm) if passive else {}
    taken, worst = np.zeros(len(quotes), np.int64), np.zeros(len(quotes), np.int64)
    columns = [np.ascontiguousarray(table[:, c]) for c in range(4)]
    left = allocate_lots(*columns, lots - sum(n for n, _ in resting.values()), taken, worst)
    children, total = [], 0.0
    for k, quote in enumerate(quotes):
        if taken[k] > 0:
            paid = _paid(table[table[:, 2] == k], int(taken[k]))
            children.append(Child(k, int(taken[k]), int(worst[k]), False, paid / MILLION / int(taken[k])))
            total += paid / MILLION
        if k in resting:
            rested, cost = resting[k]
            children.append(Child(k, rested, quote.touch_units, True, cost / MILLION))
            total += rested * cost / MILLION
    return Route(tuple(children), int(left), total)


def _validate(side: int, lots: int, quotes: Sequence[VenueQuote]) -> None:
    if side not in (1, -1):
        raise RouteError(f"side {side} is neither 1 (buy) nor -1 (sell)")
    if lots < 1:
        raise RouteError(f"lots {lots} is below 1")
    for quote in quotes:
        if any(price < 1 or size < 1 for price, size in quote.levels):
            raise RouteError(f"{quote.name}: a level's price and lots are at least 1")
        prices = [side * price for price, _ in quote.levels]
        if any(later <= earlier for earlier, later in pairwise(prices)):
            raise RouteError(f"{quote.name}: levels go from the best price on")


def _waiting(quote: VenueQuote, ppm_per_s: float) -> int:
    return round(ppm_per_s * quote.latency_ns / NS_PER_S)


def _paid(levels: Int64, lots: int) -> int:
    paid = 0
    for _, size, _, cost in levels.tolist():
        paid += min(size, lots) * cost
        lots -= min(size, lots)
    return paid


def _rest(
    side: int,
    lots: int,
    quotes: Sequence[VenueQuote],
    table: Int64,
    limit_units: int | None,
    waiting_ppm_per_s: float,
    hurdle_ppm: int,
) -> dict[int, tuple[int, int]]:
    """Return by venue (lots that rest, what each costs), dearest lots to take first.

    Resting is compared lot by lot with the dearest lot that would otherwise be taken: each rested lot takes that one away.
    """
    ordered = table[np.argsort(table[:, 3], kind="stable")]
    marginal: list[int] = []
    for _, size, _, cost in ordered.tolist():
        marginal += [cost] * min(size, lots - len(marginal))
        if len(marginal) == lots:
            break
    places = []
    for k, quote in enumerate(quotes):
        fills = int(max(quote.volume_lots - quote.queue_lots, 0.0))
        at = quote.touch_units
        if fills > 0 and at > 0 and (limit_units is None or side * (at - limit_units) <= 0):
            places.append((all_in_cost(side, at, quote.maker_ppm, _waiting(quote, waiting_ppm_per_s)), k, fills))
    # What no venue shows must rest somewhere, or stay undone: it never competes with taking.
    spare = lots - len(marginal)
    rested: dict[int, tuple[int, int]] = {}
    for cost, k, fills in sorted(places):
        share = min(fills, spare)
        spare -= share
        while share < fills and marginal and cost < marginal[-1] - abs(hurdle_ppm * quotes[k].touch_units):
            marginal.pop()
            share += 1
        if share:
            rested[k] = (share, cost)
    return rested

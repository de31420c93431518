"""Routed orders on a tape of several venues: what the route cost, beside the same order sent to each venue alone.

The venues are instruments of one session that are the same thing: the same grid, lot and value. What was known when the order
was decided makes the plan (:func:`quotes_at`); the engine with its latencies and queues says what came of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from backtests.replay import replay
from marketdata.book import empty_book, fold_best
from marketdata.clock import NS_PER_MINUTE, Session
from marketdata.events import BID, EXECUTE, TRADE, EventArray
from marketdata.instruments import Instrument
from marketdata.settings import Settings
from marketdata.venue_settings import SizingSettings
from trading.config import engine_config
from trading.execution import ParentOrder
from trading.journal import FILL
from trading.routing import Child, Route, RouteError, VenueQuote, route
from trading.strategies.routed import routed

DEPTH: Final = 20
"""Levels of each venue that a plan looks at."""


@dataclass(frozen=True, slots=True)
class RoutedResult:
    """One order, one way to send it.

    Attributes
    ----------
    name : str
        ``routed``, or the symbol of the only venue.
    plan : Route
    filled_lots : dict of str to int
        By venue.
    maker_share : float
        Of the lots filled, those that rested; NaN without a fill.
    cost_bps : float
        Executed prices and fees against the mid of the first venue at the decision, in basis points; NaN without a fill.
    planned_bps : float
        The same for the plan: what it would have cost had every quote still been there.
    unfilled_lots : int
    """

    name: str
    plan: Route
    filled_lots: dict[str, int]
    maker_share: float
    cost_bps: float
    planned_bps: float
    unfilled_lots: int


def quotes_at(
    events: EventArray,
    legs: Sequence[Instrument],
    side: int,
    at_ns: int,
    *,
    latency_ns: Sequence[int] | None = None,
    rest_ns: int = NS_PER_MINUTE,
) -> list[VenueQuote]:
    """Return what a router knows of each venue at a receive time.

    Parameters
    ----------
    latency_ns : sequence of int, optional
        Until an order is at each venue; default: none.
    rest_ns : int
        How long an order would rest: as much volume is expected on its side as traded in as long a time before.
    """
    known = events[: int(np.searchsorted(events["ts_recv"], at_ns))]
    quotes = []
    for k, leg in enumerate(legs):
        own = known[known["instrument_id"] == leg.instrument_id]
        book = empty_book(8_192)
        fold_best(book, own)
        far, near = (1, 0) if side == BID else (0, 1)
        count = int(book.count[far])
        levels = [(int(book.price[far, j]), int(book.size[far, j])) for j in range(count)][::-1][:DEPTH]
        top = int(book.count[near]) - 1
        recent = own[(own["ts_recv"] >= at_ns - rest_ns) & np.isin(own["action"], (EXECUTE, TRADE))]
        quotes.append(
            VenueQuote(
                leg.symbol,
                levels,
                leg.fees.taker_ppm,
                leg.fees.maker_ppm,
                latency_ns[k] if latency_ns is not None else 0,
                int(book.price[near, top]) if top >= 0 else 0,
                int(book.size[near, top]) if top >= 0 else 0,
                float(recent["size_lots"][recent["side"] == side].sum()),
            )
        )
    return quotes


def work_routed(
    settings: Settings,
    session: Session,
    legs: Sequence[Instrument],
    events: EventArray,
    parent: ParentOrder,
    *,
    passive: bool = False,
    hurdle_ppm: int = 0,
    queue_model: str = "risk_averse",
) -> list[RoutedResult]:
    """Work an order routed, and sent to each venue alone, each on the same tape; the routed one first.

    Raises
    ------
    RouteError
        If the legs are not the same thing, or nothing is quoted at the order's start.
    """
    _same_thing(legs)
    own = np.isin(events["instrument_id"], [leg.instrument_id for leg in legs])
    events = events[own]
    quotes = quotes_at(events, legs, parent.side, parent.start_ns)
    if not quotes[0].levels or quotes[0].touch_units == 0:
        raise RouteError(f"{legs[0].symbol} is not quoted at the order's start")
    mid = 0.5 * (quotes[0].levels[0][0] + quotes[0].touch_units)
    ways = [("routed", quotes)]
    for k, leg in enumerate(legs):
        alone = [quote if j == k else replace(quote, levels=(), touch_units=0) for j, quote in enumerate(quotes)]
        ways.append((leg.symbol, alone))
    results = []
    for name, seen in ways:
        plan = route(
            parent.side, parent.lots, seen, limit_units=parent.limit_units, passive=passive, hurdle_ppm=hurdle_ppm
        )
        if name != "routed" and plan.unrouted_lots:
            # What the only venue does not show waits there, not at the first leg.
            only = [leg.symbol for leg in legs].index(name)
            rest = Child(only, plan.unrouted_lots, seen[only].touch_units, True, 0.0)
            plan = Route((*plan.children, rest), 0, plan.cost_units)
        results.append(_worked(settings, session, legs, events, parent, name, plan, mid, queue_model))
    return results


def _worked(
    settings: Settings,
    session: Session,
    legs: Sequence[Instrument],
    events: EventArray,
    parent: ParentOrder,
    name: str,
    plan: Route,
    mid: float,
    queue_model: str,
) -> RoutedResult:
    lots, side = parent.lots, parent.side
    free = {"max_position_lots": lots, "max_order_lots": lots, "daily_loss": 1e9, "price_collar_bps": 10_000}
    worth = 20.0 * mid * lots * legs[0].unit_nanos / 1e9
    rich = settings.strategy.model_copy(update={"capital": max(settings.strategy.capital, worth)})
    free_risk = settings.risk.model_copy(update=free)
    wealth = settings.model_copy(update={"risk": free_risk, "strategy": rich, "sizing": SizingSettings()})
    strategy = routed(plan, side, [leg.instrument_id for leg in legs], start_ns=parent.start_ns, end_ns=parent.end_ns)
    config = engine_config(wealth, session, queue_model=queue_model, strategy=strategy, instruments=tuple(legs))
    part = events[: int(np.searchsorted(events["ts_recv"], parent.end_ns + NS_PER_MINUTE))]
    journal = replay(config, part, None).journal
    fills = journal[(journal["kind"] == FILL) & (journal["side"] == side) & (journal["venue_ns"] < parent.end_ns)]
    done = fills["size_lots"].astype(np.float64)
    filled = int(done.sum())
    unit = legs[0].unit_nanos
    paid = float(np.sum(side * fills["price_units"] * done) + fills["fee_nanos"].sum() / unit)
    taken = sum(child.lots for child in plan.children if not child.rests)
    planned = sum(child.cost_units * child.lots for child in plan.children if not child.rests)
    return RoutedResult(
        name,
        plan,
        {leg.symbol: int(done[fills["instrument_id"] == leg.instrument_id].sum()) for leg in legs},
        float(done[fills["flag"] == 1].sum() / filled) if filled else float("nan"),
        1e4 * (paid / filled - side * mid) / mid if filled else float("nan"),
        1e4 * (planned / taken - side * mid) / mid if taken else float("nan"),
        lots - filled,
    )


def _same_thing(legs: Sequence[Instrument]) -> None:
    if len(legs) < 2:
        raise RouteError("a route needs two venues at least")
    if len({(leg.unit_nanos, leg.price_decimals, leg.lot_size) for leg in legs}) > 1:
        raise RouteError("the legs' price units and lots differ: they are not the same thing")

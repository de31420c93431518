"""Routing is the cheapest of all ways to trade, and rests only what is expected to fill for less."""

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.routing import MILLION, Route, RouteError, VenueQuote, all_in_cost, route


def _cost_of(side: int, quote: VenueQuote, lots: int, limit: int | None) -> int | None:
    """What so many lots cost at one venue, in millionths of a price unit; None where it does not show them."""
    cost = 0
    for price, size in quote.levels:
        if limit is not None and side * (price - limit) > 0:
            break
        taken = min(size, lots)
        cost += taken * all_in_cost(side, price, quote.taker_ppm)
        lots -= taken
    return None if lots else cost


def _brute(side: int, lots: int, quotes: Sequence[VenueQuote], limit: int | None) -> tuple[int, int]:
    """Most lots that can trade, and the least they cost, over every split of the order."""
    best: dict[int, int] = {}
    for split in product(range(lots + 1), repeat=len(quotes)):
        if sum(split) > lots:
            continue
        costs = [_cost_of(side, quote, n, limit) for quote, n in zip(quotes, split, strict=True)]
        if None not in costs:
            total = sum(c for c in costs if c is not None)
            best[sum(split)] = min(best.get(sum(split), total), total)
    most = max(best)
    return most, best[most]


@st.composite
def venues(draw: st.DrawFn, side: int) -> VenueQuote:
    steps = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), max_size=3))
    price, levels = 10_000 + draw(st.integers(-3, 3)), []
    for step, size in steps:
        price += side * step
        levels.append((price, size))
    return VenueQuote("v", levels, taker_ppm=draw(st.sampled_from([-100, 0, 50, 300, 600])))


@settings(deadline=None, max_examples=150)
@given(data=st.data(), side=st.sampled_from([1, -1]), lots=st.integers(1, 9), limit=st.booleans())
def test_no_split_of_an_order_is_cheaper(data: st.DataObject, side: int, lots: int, limit: bool) -> None:
    quotes = [data.draw(venues(side)) for _ in range(3)]
    worst = 10_000 + 4 * side if limit else None
    made = route(side, lots, quotes, limit_units=worst)
    most, least = _brute(side, lots, quotes, worst)
    assert lots - made.unrouted_lots == most
    assert made.cost_units == pytest.approx(least / MILLION, abs=1e-6)
    for child in made.children:
        shown = [price for price, _ in quotes[child.venue].levels]
        assert child.price_units in shown
        assert worst is None or side * (child.price_units - worst) <= 0


def _lots(made: Route) -> dict[tuple[int, bool], int]:
    return {(child.venue, child.rests): child.lots for child in made.children}


def test_a_fee_decides_between_equal_prices_and_may_outweigh_a_better_one() -> None:
    dear, cheap = VenueQuote("dear", [(10_000, 5)], taker_ppm=300), VenueQuote("cheap", [(10_002, 5)], taker_ppm=50)
    # 10,000 at 3 bps is 10,003.0, 10,002 at half a basis point 10,002.5.
    assert _lots(route(1, 5, [dear, cheap])) == {(1, False): 5}
    assert _lots(route(1, 7, [dear, cheap])) == {(0, False): 2, (1, False): 5}
    assert _lots(route(-1, 5, [dear, cheap])) == {(1, False): 5}


def test_latency_counts_at_the_rate_that_is_given() -> None:
    near, far = VenueQuote("near", [(10_001, 5)]), VenueQuote("far", [(10_000, 5)], latency_ns=50_000_000)
    assert _lots(route(1, 5, [near, far])) == {(1, False): 5}
    # 50 ms at 4,000 ppm a second are 200 ppm: two units of ten thousand.
    assert _lots(route(1, 5, [near, far], waiting_ppm_per_s=4_000.0)) == {(0, False): 5}


def test_lots_rest_where_a_rebate_makes_it_cheaper_and_only_as_many_as_will_fill() -> None:
    quote = VenueQuote(
        "v", [(10_005, 4), (10_010, 9)], taker_ppm=300, maker_ppm=-100, touch_units=10_000, queue_lots=10
    )
    busy = VenueQuote(**{name: getattr(quote, name) for name in VenueQuote.__slots__} | {"volume_lots": 13.0})
    assert _lots(route(1, 6, [busy])) == {(0, False): 6}, "nothing rests unless it may"
    assert _lots(route(1, 6, [busy], passive=True)) == {(0, False): 3, (0, True): 3}
    assert _lots(route(1, 6, [quote], passive=True)) == {(0, False): 6}, "no volume is expected beyond the queue"
    made = route(1, 6, [busy], passive=True)
    assert made.cost_units < route(1, 6, [busy]).cost_units
    [resting] = [child for child in made.children if child.rests]
    assert resting.price_units == 10_000
    assert resting.cost_units == pytest.approx(10_000 * (1 - 100e-6))
    # The dearest lots come down to what waiting saves: 5 units and 4 bps against a feared move of 20 bps.
    assert _lots(route(1, 6, [busy], passive=True, hurdle_ppm=2_000)) == {(0, False): 6}


def test_what_no_venue_shows_is_said() -> None:
    made = route(1, 9, [VenueQuote("v", [(10, 2)]), VenueQuote("w", [])])
    assert made.unrouted_lots == 7
    assert _lots(made) == {(0, False): 2}


@pytest.mark.parametrize(
    ("side", "lots", "levels", "said"),
    [
        (0, 1, [(10, 1)], "side"),
        (1, 0, [(10, 1)], "lots"),
        (1, 1, [(10, 0)], "at least 1"),
        (1, 1, [(11, 1), (10, 1)], "best price"),
        (-1, 1, [(10, 1), (11, 1)], "best price"),
    ],
)
def test_what_makes_no_sense_is_refused(side: int, lots: int, levels: list[tuple[int, int]], said: str) -> None:
    with pytest.raises(RouteError, match=said):
        route(side, lots, [VenueQuote("v", levels)])

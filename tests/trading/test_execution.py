"""Execution algorithms keep their schedules, finish what they began, and never buy twice."""

from collections.abc import Callable

import numpy as np
import pytest

from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.events import ASK, BID, EXECUTE, LEVEL, EventArray
from tests.trading.tape import OPEN_NS, Tape, engine, forecast, random_forecasts, random_market, run
from trading.execution import WHOLE, ParentError, ParentOrder, share_at
from trading.execution_algorithms import (
    front_loaded_curve,
    hybrid_twap,
    iceberg,
    implementation_shortfall,
    participation,
    straight_curve,
    twap,
    volume_curve,
    vwap,
)
from trading.journal import FILL, ORDER, Journal
from trading.strategies import Strategy

SPAN = 100 * NS_PER_S
PARENT = ParentOrder(1, 20, OPEN_NS + 10 * NS_PER_S, OPEN_NS + 10 * NS_PER_S + SPAN)
CURVE = volume_curve(np.array([3, 1, 2, 4]))

MAKERS: dict[str, Callable[[ParentOrder], Strategy]] = {
    "twap": twap,
    "twap resting": lambda parent: twap(parent, placement="rest"),
    "hybrid twap": hybrid_twap,
    "vwap": lambda parent: vwap(parent, CURVE),
    "live vwap": lambda parent: vwap(parent, CURVE, expected_lots=500),
    "pov": lambda parent: participation(parent, rate=0.2, display=3),
    "shortfall": implementation_shortfall,
    "iceberg": lambda parent: iceberg(parent, display=2),
}
FINISHING = [name for name in MAKERS if name != "pov"]


def quiet_tape(seconds: int = 130) -> EventArray:
    """A book of 50 lots a side at 1000 and 1010 that is refreshed every second; nothing trades."""
    tape = Tape()
    for k in range(seconds):
        tape(1_000 * k, LEVEL, BID, 1_000, 50 + k % 2, last=False)
        tape(1_000 * k + 0.0001, LEVEL, ASK, 1_010, 50 + k % 2)
    return tape.events()


def trading_tape(lots_a_second: int, seconds: int = 130) -> EventArray:
    """The same book, in which sellers hit the bid every second; the bid is refilled at once."""
    tape = Tape()
    for k in range(seconds):
        tape(1_000 * k, LEVEL, BID, 1_000, 50, last=False)
        tape(1_000 * k + 0.0001, LEVEL, ASK, 1_010, 50 + k % 2)
        tape(1_000 * k + 500, EXECUTE, BID, 1_000, lots_a_second)
    return tape.events()


def bought(journal: Journal, until_ns: int | None = None) -> int:
    fills = journal[journal["kind"] == FILL]
    if until_ns is not None:
        fills = fills[fills["ts_ns"] <= until_ns]
    return int((fills["side"].astype(np.int64) * fills["size_lots"]).sum())


@pytest.mark.parametrize("name", FINISHING)
@pytest.mark.parametrize("side", [1, -1])
def test_every_algorithm_that_finishes_does_so_by_its_end_and_exactly(name: str, side: int) -> None:
    parent = ParentOrder(side, 20, PARENT.start_ns, PARENT.end_ns)
    _, journal = run(engine(MAKERS[name](parent)), quiet_tape())
    inside = journal[journal["ts_ns"] <= parent.end_ns + NS_PER_S]
    assert bought(inside) == side * 20
    fills = inside[inside["kind"] == FILL]
    assert fills["ts_ns"].min() >= parent.start_ns


@pytest.mark.parametrize("name", list(MAKERS))
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_any_tape_no_more_than_the_parent_is_ever_held_or_worked(name: str, seed: int) -> None:
    events = random_market(seed, 3_000, 1)
    parent = ParentOrder(1, 20, OPEN_NS + 5 * NS_PER_S, OPEN_NS + 60 * NS_PER_S)
    _, journal = run(engine(MAKERS[name](parent)), events, random_forecasts(seed, 50, events, 1))
    inside = journal[journal["ts_ns"] <= parent.end_ns + NS_PER_S]
    assert inside["position_lots"].max(initial=0) <= 20
    assert inside["position_lots"].min(initial=0) >= 0
    assert (inside["side"][inside["kind"] == ORDER] == 1).all()


@pytest.mark.parametrize("name", list(MAKERS))
def test_cutting_the_tape_anywhere_changes_nothing(name: str) -> None:
    events = random_market(7, 2_000, 1)
    parent = ParentOrder(-1, 15, OPEN_NS + 5 * NS_PER_S, OPEN_NS + 40 * NS_PER_S)
    said = random_forecasts(7, 60, events, 1)
    whole = run(engine(MAKERS[name](parent)), events, said)[1]
    made = engine(MAKERS[name](parent))
    state, parts = made.init(), []
    for cut in (OPEN_NS + 7 * NS_PER_S, OPEN_NS + 20 * NS_PER_S, None):
        low = parts[-1][0] if parts else 0
        high = np.iinfo(np.int64).max if cut is None else cut
        rows = events[(events["ts_recv"] >= low) & (events["ts_recv"] < high)]
        due = said[(said["due_ns"] >= low) & (said["due_ns"] < high)]
        state, journal = made.run(state, rows, due, None, high)
        parts.append((high, journal))
    assert np.array_equal(np.concatenate([journal for _, journal in parts]), whole)


def test_twap_has_done_a_tenth_more_after_each_tenth_of_its_time() -> None:
    _, journal = run(engine(twap(PARENT)), quiet_tape())
    for k in range(10):
        assert bought(journal, PARENT.start_ns + k * SPAN // 10 + NS_PER_S) == 2 * (k + 1)


def test_a_resting_child_that_nobody_hits_is_taken_at_its_slices_end() -> None:
    _, journal = run(engine(twap(PARENT, placement="rest")), quiet_tape())
    assert bought(journal, PARENT.start_ns + SPAN // 10 - NS_PER_S) == 0
    assert bought(journal, PARENT.start_ns + SPAN // 10 + NS_PER_S) == 2
    fills = journal[(journal["kind"] == FILL) & (journal["ts_ns"] <= PARENT.end_ns)]
    assert (fills["flag"] == 0).all(), "nobody hit the resting children: all of it was taken"


def test_a_resting_child_saves_the_spread_where_sellers_come() -> None:
    # 50 lots stand before us and are refilled behind us: sixty sold lots reach an order of two.
    _, journal = run(engine(twap(PARENT, slices=1, placement="rest")), trading_tape(30))
    fills = journal[(journal["kind"] == FILL) & (journal["ts_ns"] <= PARENT.end_ns)]
    assert fills["size_lots"].sum() == 20
    assert (fills["flag"] == 1).all()
    assert (fills["price_units"] == 1_000).all()


def test_the_hybrid_crosses_early_only_when_the_forecast_exceeds_what_crossing_costs() -> None:
    at = (PARENT.start_ns - OPEN_NS) / NS_PER_MS + 1_000
    # Spread 10 and 50 ppm of 1005 between taker and maker: crossing costs 10.05 units more than a fill at rest.
    early = PARENT.start_ns + 5 * NS_PER_S
    for edge, lots in ((10.0, 0), (10.2, 2), (-50.0, 0)):
        _, journal = run(engine(hybrid_twap(PARENT)), quiet_tape(), forecast(at, edge))
        assert bought(journal, early) == lots, edge
    seller = ParentOrder(-1, 20, PARENT.start_ns, PARENT.end_ns)
    _, journal = run(engine(hybrid_twap(seller)), quiet_tape(), forecast(at, -10.2))
    assert bought(journal, early) == -2


def test_participation_follows_the_volume_and_leaves_undone_what_it_does_not_allow() -> None:
    parent = ParentOrder(1, 100, PARENT.start_ns, PARENT.end_ns)
    strategy = participation(parent, rate=0.1, display=1, placement="cross")
    _, journal = run(engine(strategy), trading_tape(5))
    # 5 lots a second for 100 s: 500 trade, a tenth is 50; the last one may still be on its way.
    assert 48 <= bought(journal, parent.end_ns + NS_PER_S) <= 50
    for seconds in (20, 50, 80):
        assert bought(journal, parent.start_ns + seconds * NS_PER_S) <= 0.1 * 5 * seconds


def test_a_limit_price_is_never_passed_and_what_cannot_trade_stays_undone() -> None:
    parent = ParentOrder(1, 20, PARENT.start_ns, PARENT.end_ns, limit_units=1_005)
    for name in ("twap", "twap resting", "iceberg"):
        _, journal = run(engine(MAKERS[name](parent)), quiet_tape())
        inside = journal[journal["ts_ns"] <= parent.end_ns]
        assert bought(inside) == 0, name
        sent = inside[inside["kind"] == ORDER]
        assert (sent["price_units"] <= 1_005).all()


def test_an_iceberg_shows_no_more_than_it_may() -> None:
    _, journal = run(engine(iceberg(PARENT, display=2)), trading_tape(60))
    sent = journal[(journal["kind"] == ORDER) & (journal["ts_ns"] < PARENT.end_ns - 5 * NS_PER_S)]
    assert sent["size_lots"].max() <= 2
    assert bought(journal, PARENT.end_ns) == 20


def test_the_live_curve_runs_ahead_when_more_trades_than_was_expected() -> None:
    parent = ParentOrder(1, 40, PARENT.start_ns, PARENT.end_ns)
    straight = volume_curve(np.ones(10, np.int64))
    half = PARENT.start_ns + SPAN // 2
    done = {}
    for expected in (250, 2_000):
        strategy = vwap(parent, straight, slices=20, placement="cross", expected_lots=expected)
        done[expected] = bought(run(engine(strategy), trading_tape(5))[1], half)
    # 250 of 500 lots have traded at half time: 250/(250+125) of 40 against 250/(250+1000).
    assert done[250] == pytest.approx(40 * 250 / 375, abs=2.5)
    assert done[2_000] == pytest.approx(40 * 250 / 1_250, abs=2.5)


def test_curves_are_what_their_formulas_say() -> None:
    assert volume_curve(np.array([1, 1, 2])).tolist() == [0, 250_000, 500_000, WHOLE]
    front = front_loaded_curve(3.0)
    # 1 - sinh(1.5)/sinh(3) = 0.78744 at half time (Almgren and Chriss 2000, eq. 17).
    assert front[32] == pytest.approx(787_448, abs=20)
    assert front_loaded_curve(1e-6)[32] == pytest.approx(WHOLE / 2, abs=2)
    assert share_at(straight_curve(), 25, 100) == WHOLE // 4
    assert share_at(CURVE, -1, 100) == 0
    assert share_at(CURVE, 200, 100) == WHOLE


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ParentOrder(0, 1, 0, 1), "side"),
        (lambda: ParentOrder(1, 0, 0, 1), "lots"),
        (lambda: ParentOrder(1, 1, 1, 1), "ends"),
        (lambda: twap(PARENT, slices=0), "slices"),
        (lambda: twap(PARENT, placement="wait"), "placement"),
        (lambda: twap(ParentOrder(1, 1, 0, NS_PER_S)), "finish"),
        (lambda: vwap(PARENT, np.array([0, 5])), "curve"),
        (lambda: volume_curve(np.array([0, 0])), "volumes"),
        (lambda: participation(PARENT, rate=1.5, display=1), "rate"),
        (lambda: implementation_shortfall(PARENT, urgency=0.0), "urgency"),
        (lambda: iceberg(PARENT, display=0), "display"),
    ],
)
def test_a_parent_that_makes_no_sense_is_refused_by_the_field(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ParentError, match=said):
        make()

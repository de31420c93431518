"""A routed order on two venues of the same instrument: sent where the plan says, done by its end, cheaper than either venue."""

from typing import Any

import numpy as np
import pytest

from backtests.routing import quotes_at, work_routed
from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.events import ASK, BID, EXECUTE, LEVEL, EventArray, merge_events
from marketdata.presets import preset
from tests.trading.tape import LATENCY, OPEN_NS, SESSION, Tape, engine, instrument, random_market, run
from trading.engine import FOREVER
from trading.execution import ParentOrder
from trading.journal import FILL, ORDER
from trading.routing import Child, Route, RouteError
from trading.strategies.routed import routed

NEAR = instrument(0, taker_ppm=30)
FAR = instrument(1, taker_ppm=300).model_copy(update={"unit_nanos": NEAR.unit_nanos})
LEGS = (NEAR, FAR)
PARENT = ParentOrder(1, 10, OPEN_NS + 2 * NS_PER_S, OPEN_NS + 60 * NS_PER_S)
SETTINGS = preset("simulated", None).model_copy(update={"instruments": LEGS, "latency": LATENCY})


def _venue(number: int, ask: int, lots: int, *, sold: int = 0) -> EventArray:
    """Quoted at 9,995 and ``ask``, the next ask 20 above; ``sold`` lots a second hit the bid of five lots."""
    tape = Tape(number)
    for price, size in ((ask, lots), (ask + 20, 50)):
        tape(0, LEVEL, ASK, price, size, last=False)
    tape(0, LEVEL, BID, 9_995, 5)
    for k in range(1, 80):
        tape(1_000 * k, LEVEL, BID, 9_995, 5 + k % 2)
        if sold:
            tape(1_000 * k + 500, EXECUTE, BID, 9_995, sold)
    return tape.events()


def _work(events: EventArray, parent: ParentOrder = PARENT, **changes: Any) -> dict[str, Any]:
    return {made.name: made for made in work_routed(SETTINGS, SESSION, LEGS, events, parent, **changes)}


def test_a_route_takes_each_venues_cheapest_lots_and_beats_either_alone() -> None:
    events = merge_events([_venue(0, 10_005, 4), _venue(1, 10_000, 50)])
    made = _work(events)
    # 10,000 with 3 bps is 10,003; 10,005 with 0.3 bps is 10,005.3; the next at the near venue is 10,025.
    assert made["routed"].filled_lots == {"I0": 0, "I1": 10}
    assert made["routed"].cost_bps == pytest.approx(made["I1"].cost_bps)
    short = _work(merge_events([_venue(0, 10_005, 4), _venue(1, 10_000, 6)]))
    assert short["routed"].filled_lots == {"I0": 4, "I1": 6}
    assert short["routed"].cost_bps < min(short["I0"].cost_bps, short["I1"].cost_bps)
    assert short["routed"].cost_bps == pytest.approx(short["routed"].planned_bps, abs=1e-3), "nothing moved on the way"
    assert all(one.unfilled_lots == 0 for one in short.values())


def test_a_sale_is_routed_to_the_best_proceeds() -> None:
    made = _work(
        merge_events([_venue(0, 10_005, 4), _venue(1, 10_000, 6)]), ParentOrder(-1, 5, PARENT.start_ns, PARENT.end_ns)
    )
    assert made["routed"].filled_lots == {"I0": 5, "I1": 0}


def test_what_is_gone_on_arrival_rests_and_is_taken_in_the_end() -> None:
    near, far = _venue(0, 10_005, 4), Tape(1)
    # The far venue's cheap ask is cancelled while the order is on its way.
    for price, lots in ((10_000, 6), (10_030, 50)):
        far(0, LEVEL, ASK, price, lots, last=False)
    far(0, LEVEL, BID, 9_995, 5)
    gone = (PARENT.start_ns - OPEN_NS) / NS_PER_MS + 1.0
    far(gone, LEVEL, ASK, 10_000, 0)
    events = merge_events([near, far.events()])
    made = _work(events)["routed"]
    assert made.filled_lots == {"I0": 4, "I1": 6}
    assert made.unfilled_lots == 0
    assert made.cost_bps > made.planned_bps + 15, "six lots at 10,030 in place of 10,000"


def test_a_passive_leg_rests_where_enough_is_sold_and_earns_the_rebate() -> None:
    events = merge_events([_venue(0, 10_005, 50, sold=9), _venue(1, 10_000, 6)])
    start = OPEN_NS + 30 * NS_PER_S + 100 * NS_PER_MS
    parent = ParentOrder(1, 10, start, start + 40 * NS_PER_S)
    [near, far] = quotes_at(events, LEGS, 1, start)
    assert near.volume_lots == pytest.approx(9 * 30, abs=9)
    assert far.volume_lots == 0
    made = _work(events, parent, passive=True)["routed"]
    assert any(child.rests for child in made.plan.children)
    assert made.maker_share == 1.0
    assert made.unfilled_lots == 0
    assert made.cost_bps < _work(events, parent)["routed"].cost_bps


def test_a_routed_order_is_never_larger_than_asked_wherever_the_stream_is_cut() -> None:
    events = random_market(21, 900)
    legs = (instrument(0), instrument(1))
    start = int(events["ts_recv"][len(events) // 4])
    quotes = quotes_at(events, legs, -1, start)
    # The two random books have nothing to do with each other: a plan over both is written by hand.
    taken = Child(0, 12, quotes[0].levels[-1][0], False, 0.0)
    plan = Route((taken, Child(1, 13, quotes[1].touch_units, True, 0.0)), 0, 0.0)
    strategy = routed(plan, -1, (0, 1), start_ns=start, end_ns=start + 20 * NS_PER_S)
    made = engine(strategy, instruments=legs)
    _, whole = run(made, events)
    inside = whole[(whole["ts_ns"] <= start + 20 * NS_PER_S + 5 * NS_PER_MS) & (whole["kind"] == FILL)]
    assert inside["size_lots"].sum() == 25
    assert set(inside["side"].tolist()) == {-1}
    assert len(set(whole["instrument_id"][whole["kind"] == ORDER].tolist())) == 2
    state, parts, before = made.init(), [], 0
    for cut in (*np.linspace(events["ts_recv"][0], events["ts_recv"][-1], 9).astype(np.int64).tolist(), FOREVER):
        part = events[(events["ts_recv"] >= before) & (events["ts_recv"] < cut)]
        state, rows = made.run(state.copy(), part, None, None, cut)
        parts.append(rows)
        before = cut
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_legs_that_are_not_the_same_thing_are_refused() -> None:
    events = _venue(0, 10_005, 4)
    with pytest.raises(RouteError, match="same thing"):
        work_routed(SETTINGS, SESSION, (instrument(0), instrument(1)), events, PARENT)
    with pytest.raises(RouteError, match="two venues"):
        work_routed(SETTINGS, SESSION, (NEAR,), events, PARENT)
    with pytest.raises(RouteError, match="not quoted"):
        work_routed(SETTINGS, SESSION, LEGS, events[:0], PARENT)

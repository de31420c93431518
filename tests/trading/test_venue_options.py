"""What a venue may have of its own, and orders that can do more: on tapes written by hand, and under the chunk law."""

from typing import Any

import numpy as np
import pytest

from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.events import ASK, BID, LEVEL, STATUS, TRADE
from tests.trading.tape import (
    LATENCY,
    OPEN_NS,
    SESSION,
    Tape,
    decide_chaos,
    engine,
    instrument,
    quoted,
    random_forecasts,
    random_market,
    run,
    script,
    simple_taker,
)
from trading.controls import ANOMALY, FUNDING, POSITION_LIMIT, SIZE_SCALE, control, no_controls
from trading.engine import FOREVER, Engine
from trading.journal import (
    ACKNOWLEDGED,
    CANCEL_REJECTED,
    CANCELLED_ROW,
    CONTROL,
    FILL,
    MARK,
    MODIFIED_ROW,
    MODIFY,
    MODIFY_REJECTED,
    ORDER,
    REASON_NAMES,
    REJECTED_ROW,
    Journal,
    journal_controls,
)
from trading.latency import ConstantLatency, LatencyModel, QuantileLatency, RecordedLatency
from trading.orders import FOK, IOC, LIMIT, MARKET, POST_ONLY, POST_ONLY_SLIDE
from trading.strategies import (
    O_CANCEL,
    O_ID,
    O_LOTS,
    O_PRICE,
    O_SIDE,
    O_TIF,
    V_OWN_BID_ID,
    V_TIMER_NS,
    WAKE_FORECAST,
    WAKE_RESPONSE,
    WAKE_TIMER,
    WAKE_TOP,
    Strategy,
    touch_maker,
)
from trading.venue_rules import FeeSchedule, FeeTier, SquareRootImpact, VenueRules, volume_before

LATE_NS = SESSION.close_ns - 20 * NS_PER_S


def _trade(tape: Tape, *orders: Any, queue: str = "risk_averse", rules: VenueRules | None = None) -> Journal:
    made = engine(script(*orders), queue=queue, rules={"T": rules} if rules else None)
    return run(made, tape.events())[1]


def _fills(rows: Journal) -> list[tuple[int, int, int]]:
    fills = rows[(rows["kind"] == FILL) & (rows["ts_ns"] < LATE_NS)]
    return [(int(f["price_units"]), int(f["size_lots"]), int(f["flag"])) for f in fills]


def _reasons(rows: Journal, kind: int) -> list[str]:
    return [REASON_NAMES[k] for k in rows["reason"][(rows["kind"] == kind) & (rows["ts_ns"] < LATE_NS)]]


# -- orders ---------------------------------------------------------------------------------------------------------------------
def test_fill_or_kill_fills_all_or_nothing() -> None:
    tape = quoted(Tape(), 10_000, 10_005, 3)(1, LEVEL, ASK, 10_010, 4)
    assert _fills(_trade(tape, (10, BID, FOK, 10_010, 7))) == [(10_005, 3, 0), (10_010, 4, 0)]
    rows = _trade(tape, (10, BID, FOK, 10_010, 8), (50, BID, FOK, 10_005, 4))
    assert _fills(rows) == []
    assert _reasons(rows, CANCELLED_ROW) == ["not_all_there", "not_all_there"]


def test_fill_or_kill_counts_what_we_took_as_gone() -> None:
    tape = quoted(Tape(), 10_000, 10_005, 5)
    assert _fills(_trade(tape, (10, BID, IOC, 10_005, 2), (50, BID, FOK, 10_005, 4))) == [(10_005, 2, 0)]


def test_a_sliding_post_only_order_rests_a_tick_before_the_quote_it_would_cross() -> None:
    tape = quoted(Tape(), 10_000, 10_010, 3)(100, TRADE, BID, 10_005, 2)
    rows = _trade(tape, (10, BID, POST_ONLY_SLIDE, 10_015, 1))
    assert rows["price_units"][rows["kind"] == ACKNOWLEDGED].tolist() == [10_005]
    assert _fills(rows) == [(10_005, 1, 1)]
    assert _reasons(_trade(tape, (10, BID, POST_ONLY, 10_015, 1)), REJECTED_ROW) == ["would_cross"]


def test_a_market_order_takes_what_is_there_within_the_collar() -> None:
    tape = quoted(Tape(), 10_000, 10_005, 3)(1, LEVEL, ASK, 10_010, 4)
    rows = _trade(tape, (10, BID, MARKET, 0, 9))
    assert _fills(rows) == [(10_005, 3, 0), (10_010, 4, 0)]
    assert _reasons(rows, CANCELLED_ROW) == ["nothing_left_to_take"]


# -- changes --------------------------------------------------------------------------------------------------------------------
def _change(ms: float, order_id: int, price: int, size: int) -> tuple[Any, ...]:
    return (ms, "change", order_id, price, size)


def _changing(*orders: Any) -> Strategy:
    """A script that knows changes: (ms, "change", id, price, whole size)."""
    made = script(*(order for order in orders if order[1] != "change"))
    ints = list(made.ints)
    for order in orders:
        if order[1] == "change":
            ints += [OPEN_NS + round(order[0] * NS_PER_MS), 2, 0, 0, order[3], order[4], order[2]]
    rows = sorted((ints[k : k + 7] for k in range(0, len(ints), 7)), key=lambda row: row[0])
    return Strategy("script", made.hook, made.wake_mask, tuple(value for row in rows for value in row), ())


def _changed(tape: Tape, *orders: Any) -> Journal:
    state, rows = run(engine(_changing(*orders)), tape.events())
    inst = state.kernel.agent.inst[0]
    from trading.state import I_BUY_WORKING, I_SELL_WORKING, I_UNSETTLED

    assert inst[[I_BUY_WORKING, I_SELL_WORKING, I_UNSETTLED]].tolist() == [0, 0, 0]
    return rows


def test_making_an_order_smaller_keeps_its_place_and_making_it_larger_does_not() -> None:
    tape = quoted(Tape(), 10_000, 10_005, 4)(50, LEVEL, BID, 10_000, 9)(200, TRADE, BID, 10_000, 6)
    order = (10, BID, LIMIT, 10_000, 3)
    assert _fills(_changed(tape, order, _change(100, 1, 10_000, 2))) == [(10_000, 2, 1)]
    # Larger: nine lots stand before it now, six trade.
    assert _fills(_changed(tape, order, _change(100, 1, 10_000, 4))) == []


def test_another_price_joins_the_end_of_its_queue_and_may_take() -> None:
    tape = quoted(Tape(), 10_000, 10_010, 4)(1, LEVEL, BID, 9_995, 5)(200, TRADE, BID, 9_995, 6)
    order = (10, BID, LIMIT, 10_000, 3)
    # At 9,995 behind five; the trade there also says that 10,000 was traded through.
    assert _fills(_changed(tape, order, _change(100, 1, 9_995, 3))) == [(9_995, 1, 1)]
    assert _fills(_changed(tape, order, _change(100, 1, 10_010, 3))) == [(10_010, 3, 0)]


def test_the_size_of_a_change_counts_what_has_filled() -> None:
    tape = quoted(Tape(), 10_000, 10_005, 1)(50, TRADE, BID, 10_000, 3)(200, TRADE, BID, 10_000, 9)
    order = (10, BID, LIMIT, 10_000, 5)
    rows = _changed(tape, order, _change(100, 1, 10_000, 3))
    assert _fills(rows) == [(10_000, 2, 1), (10_000, 1, 1)]
    assert rows["leaves_lots"][rows["kind"] == MODIFIED_ROW].tolist() == [1]
    assert _reasons(_changed(tape, order, _change(100, 1, 10_000, 2)), CANCELLED_ROW) == ["asked"]


def test_a_change_that_is_refused_leaves_the_order_as_it_was() -> None:
    tape = quoted(Tape(), 10_000, 10_010, 1)(200, TRADE, BID, 10_000, 9)
    rows = _changed(tape, (10, BID, POST_ONLY, 10_000, 2), _change(100, 1, 10_010, 2))
    assert _reasons(rows, MODIFY_REJECTED) == ["would_cross"]
    assert _fills(rows) == [(10_000, 2, 1)]
    late = _changed(tape, (10, BID, POST_ONLY, 10_000, 2), _change(199.9, 1, 10_000, 1))
    assert _reasons(late, MODIFY_REJECTED) == ["unknown_order"]
    assert np.sum(late["kind"] == MODIFY) == 1


# -- latency --------------------------------------------------------------------------------------------------------------------
def test_each_kind_of_command_has_its_own_latency_and_a_connection_keeps_its_order() -> None:
    legs = LatencyModel(
        ConstantLatency(50 * NS_PER_MS), ConstantLatency(NS_PER_MS), ConstantLatency(1), ConstantLatency(7)
    )
    rows = _trade(
        quoted(Tape(), 10_000, 10_005, 4),
        (10, BID, LIMIT, 10_000, 1),
        (20, "cancel", 1),
        rules=VenueRules(latency=legs),
    )
    sent, done = rows[rows["kind"] == ORDER][0], rows[rows["kind"] == CANCELLED_ROW][0]
    assert sent["venue_ns"] - sent["ts_ns"] == LATENCY.decision_ns + 50 * NS_PER_MS
    # The cancel would have been faster, but it stays behind the order that it cancels.
    assert done["venue_ns"] == sent["venue_ns"]
    assert done["ts_ns"] == done["venue_ns"] + 7


def test_quantiles_are_drawn_as_they_are_and_recorded_triples_are_interpolated() -> None:
    from trading.latency import LEG_ANSWER, LEG_NEW, latency_ns, latency_tables

    drawn = QuantileLatency.of(np.arange(1_000, 2_001), 11)
    model = LatencyModel(drawn, drawn, drawn, RecordedLatency((100, 200, 400), (10, 20, 0)), seed=3)
    legs, table = latency_tables([model])
    found = np.array([latency_ns(legs, table, 0, LEG_NEW, 0, k) for k in range(20_000)])
    assert (found.min(), found.max()) == pytest.approx((1_000, 2_000), abs=2)
    assert np.quantile(found, [0.25, 0.5, 0.9]) == pytest.approx([1_250, 1_500, 1_900], abs=15)
    at = [latency_ns(legs, table, 0, LEG_ANSWER, t, 0) for t in (0, 100, 150, 200, 300, 400, 900)]
    assert at == [10, 10, 15, 20, 10, 0, 0]
    triples = LatencyModel.from_triples([10, 20], [15, 26], [18, 30])
    assert triples.new == RecordedLatency((10, 20), (5, 6))
    assert triples.answer == RecordedLatency((15, 26), (3, 4))
    with pytest.raises(ValueError, match="latency cancel"):
        LatencyModel(drawn, ConstantLatency(-1), drawn, drawn)


# -- venues ---------------------------------------------------------------------------------------------------------------------
def test_while_a_venue_is_down_it_refuses_everything_and_what_rested_is_cancelled_or_kept() -> None:
    window = ((OPEN_NS + 100 * NS_PER_MS, OPEN_NS + 300 * NS_PER_MS),)
    tape = quoted(Tape(), 10_000, 10_005, 1)(250, TRADE, BID, 10_000, 5)
    orders = ((10, BID, LIMIT, 10_000, 1), (150, BID, IOC, 10_005, 1), (160, "cancel", 1), (350, BID, IOC, 10_005, 1))
    rows = _trade(tape, *orders, rules=VenueRules(downtime=window))
    assert rows["venue_ns"][rows["kind"] == CANCELLED_ROW][0] == window[0][0]
    assert _reasons(rows, CANCELLED_ROW) == ["venue_down"]
    assert _reasons(rows, REJECTED_ROW) == ["venue_down"]
    assert _fills(rows) == [(10_005, 1, 0)]
    kept = _trade(tape, *orders, rules=VenueRules(downtime=window, on_downtime="keep"))
    assert _reasons(kept, CANCEL_REJECTED) == ["venue_down"]
    assert _fills(kept) == [(10_000, 1, 1), (10_005, 1, 0)]


def test_a_halt_cancels_by_policy() -> None:
    tape = quoted(Tape(), 10_000, 10_005, 1)(100, STATUS, 0, 0, 0)(200, STATUS, 0, 0, 1)(250, TRADE, BID, 10_000, 5)
    order = (10, BID, LIMIT, 10_000, 1)
    assert _fills(_trade(tape, order)) == [(10_000, 1, 1)]
    rows = _trade(tape, order, rules=VenueRules(on_halt="cancel"))
    assert _reasons(rows, CANCELLED_ROW) == ["venue_halted"]
    assert _fills(rows) == []


def test_impact_is_paid_by_takers_with_the_square_root_of_their_size() -> None:
    tape = quoted(Tape(), 10_000, 10_005, 100)(200, TRADE, BID, 10_000, 200)
    rules = VenueRules(impact=SquareRootImpact(coefficient_bps=100.0, daily_lots=10_000))
    rows = _trade(tape, (10, BID, IOC, 10_005, 4), (50, BID, LIMIT, 10_000, 1), rules=rules)
    # 10,005 x 1 % x sqrt(4 / 10,000) = 2.001, rounded up.
    assert _fills(rows) == [(10_008, 4, 0), (10_000, 1, 1)]


def test_the_tier_is_that_of_the_thirty_days_before_and_every_fill_pays_its_own_fee() -> None:
    from datetime import date

    schedule = FeeSchedule((FeeTier(0.0, 10, 100), FeeTier(1e6, -5, 40)), per_trade=0.25)
    traded = {date(2024, 1, 1): 7e5, date(2024, 1, 2): 4e5, date(2024, 1, 31): 9e9}
    assert volume_before(date(2024, 1, 31), traded) == 1.1e6
    assert volume_before(date(2024, 2, 1), traded) == 9e9 + 4e5
    assert schedule.fees(volume_before(date(2024, 1, 31), traded)).taker_ppm == 40
    assert schedule.fees(999_999.0).maker_ppm == 10
    tape = quoted(Tape(), 10_000, 10_005, 5)
    rows = _trade(tape, (10, BID, IOC, 10_005, 2), rules=VenueRules(fees=schedule, volume=2e6))
    fill = rows[rows["kind"] == FILL][0]
    notional = 10_005 * 2 * instrument().unit_nanos
    assert fill["fee_nanos"] == notional * 40 // 1_000_000 + 250_000_000
    with pytest.raises(ValueError, match="start at volume 0"):
        FeeSchedule((FeeTier(1.0, 0, 0),))


def test_longs_pay_funding_and_shorts_receive_it() -> None:
    tape = quoted(Tape(), 10_000, 10_010, 5)
    for side, price in ((BID, 10_010), (ASK, 10_000)):
        due = control(FUNDING, OPEN_NS + NS_PER_S, by="venue", control_id=1, value=100_000)
        made = engine(script((10, side, IOC, price, 3)))
        plain = run(made, tape.events())[1]
        rows = run(made, tape.events(), controls=due)[1]
        last = [r[r["kind"] == MARK]["equity_nanos"][-1] for r in (plain, rows)]
        # Three lots at a mid of 10,005, a hundredth of a percent.
        assert last[0] - last[1] == side * 3 * 10_005 * instrument().unit_nanos // 10_000


@pytest.mark.parametrize("kind", [FUNDING, POSITION_LIMIT, SIZE_SCALE, ANOMALY])
def test_a_control_of_an_instrument_that_the_session_does_not_hold_changes_nothing_and_is_no_other_when_replayed(
    kind: int,
) -> None:
    tape = quoted(Tape(), 10_000, 10_010, 5)
    made = engine(script((10, BID, IOC, 10_010, 3)))
    unknown = control(kind, OPEN_NS + 1, by="venue", control_id=1, value=0, instrument_id=7)
    late = control(FUNDING, OPEN_NS + NS_PER_S, by="venue", control_id=2, value=100_000, instrument_id=3)
    given = np.concatenate([unknown, late])
    plain = run(made, tape.events())[1]
    rows = run(made, tape.events(), controls=given)[1]
    told = rows[rows["kind"] == CONTROL]
    assert told["instrument_id"].tolist() == [7, 3]
    assert told["flag"].tolist() == [1, 1]
    without = rows[rows["kind"] != CONTROL].copy()
    without["sequence"] = plain["sequence"]
    assert without.tobytes() == plain.tobytes()
    again = run(made, tape.events(), controls=journal_controls(rows, no_controls()))[1]
    assert again.tobytes() == rows.tobytes()


def test_one_instrument_on_two_venues_has_two_books_two_latencies_and_two_fees() -> None:
    here, there = instrument(0), instrument(1).model_copy(update={"venue": "U"})
    fast = VenueRules(latency=LatencyModel.constant(1_000, 1_000))
    slow = VenueRules(latency=LatencyModel.constant(40 * NS_PER_MS, 1_000))
    made = engine(simple_taker(), instruments=(here, there), rules={"T": slow, "U": fast})
    tapes = [quoted(Tape(k), 10_000 + 100 * k, 10_005 + 100 * k, 5).events() for k in range(2)]
    events = np.concatenate(tapes)[np.argsort(np.concatenate(tapes)["ts_recv"], kind="stable")]
    from tests.trading.tape import forecast

    rows = run(made, events, np.concatenate([forecast(100, 50.0, 0), forecast(100.5, 50.0, 1)]))[1]
    fills = rows[rows["kind"] == FILL][:2]
    # The order to the fast venue overtakes the one sent before it to the slow one.
    assert fills["instrument_id"].tolist() == [1, 0]
    assert fills["price_units"].tolist() == [10_105, 10_005]


# -- strategies in Python, and the laws -----------------------------------------------------------------------------------------
TWO = (instrument(0), instrument(1))
EVENTS = random_market(11, 150)
FORECASTS = random_forecasts(13, 60, EVENTS)
DRAWN = QuantileLatency((100_000, 400_000, 3_000_000, 60_000_000))
MODELS = {
    "quantiles": LatencyModel(DRAWN, DRAWN, DRAWN, DRAWN, seed=5),
    "recorded": LatencyModel.from_triples(
        *(EVENTS["ts_recv"][::50] + k * NS_PER_MS * (1 + np.arange(len(EVENTS[::50])) % 7) for k in range(3))
    ),
}
MASK = WAKE_TOP | WAKE_TIMER | WAKE_RESPONSE | WAKE_FORECAST


class Anything:
    """A plain Python strategy: orders, changes and cancels from a hash of the time, as the compiled one and more."""

    def decide(
        self, now: int, wake: int, ints: Any, floats: Any, view: Any, forecast: Any, memory: Any, out: Any
    ) -> int:
        rows = int(decide_chaos.__wrapped__(now, wake, ints, floats, view, forecast, memory, out))
        memory[0] += 1
        if view[V_OWN_BID_ID] > 0 and memory[0] % 3 == 0 and rows < 8:
            out[rows, O_CANCEL], out[rows, O_ID], out[rows, O_SIDE], out[rows, O_TIF] = 2, view[V_OWN_BID_ID], BID, 0
            out[rows, O_PRICE] = view[0] - (now % 3) * view[12]
            out[rows, O_LOTS] = 1 + now % 9
            rows += 1
        view[V_TIMER_NS] = max(view[V_TIMER_NS], 0)
        return rows


STRATEGIES = {
    "python": Strategy("python", Anything(), MASK, (9,), ()),
    "maker": touch_maker(lots=2, max_position=4, last_entry_ns=SESSION.close_ns - 40 * NS_PER_S),
    "taker": simple_taker(order_lots=3, horizon_ns=3 * NS_PER_S),
}


def _made(strategy: str, latency: str, queue: str) -> Engine:
    window = ((OPEN_NS + 7 * NS_PER_S, OPEN_NS + 9 * NS_PER_S),)
    rules = VenueRules(
        latency=MODELS[latency],
        fees=FeeSchedule((FeeTier(0.0, -10, 30),), 0.01),
        impact=SquareRootImpact(50.0, 5_000),
        downtime=window,
    )
    return engine(STRATEGIES[strategy], instruments=TWO, queue=queue, rules={"T": rules})


def _cut(made: Engine, cuts: list[int]) -> bytes:
    state, parts, before = made.init(), [], 0
    for until in [*sorted(cuts), FOREVER]:
        market, forecasts = (
            rows[(rows[clock] >= before) & (rows[clock] < until)]
            for rows, clock in ((EVENTS, "ts_recv"), (FORECASTS, "due_ns"))
        )
        state, rows = made.run(state.copy(), market, forecasts, None, until)
        parts.append(rows)
        before = until
    assert state.late_rows == 0
    assert state.illegal_answers == 0
    return np.concatenate(parts).tobytes()


QUEUES = ("risk_averse", "power:3", "log", "optimistic", "fifo")
CASES = [(s, m, q) for s in ("maker", "taker") for m in sorted(MODELS) for q in QUEUES] + [
    ("python", "quantiles", "log")
]


@pytest.mark.parametrize(("strategy", "latency", "queue"), CASES)
def test_cutting_anywhere_gives_the_same_journal_with_every_latency_queue_and_strategy(
    strategy: str, latency: str, queue: str
) -> None:
    made = _made(strategy, latency, queue)
    state, whole = made.run(made.init(), EVENTS, FORECASTS, None, FOREVER)
    assert state.illegal_answers == 0
    assert np.sum(whole["kind"] == FILL) > 5
    rng = np.random.default_rng(3)
    for count in (1, 4) if strategy == "python" else (1, 4, 30):
        cuts = rng.integers(OPEN_NS, int(EVENTS["ts_recv"][-1]), count).tolist()
        assert _cut(made, cuts) == whole.tobytes()


def test_a_python_strategy_trades_as_its_compiled_twin() -> None:
    compiled = Strategy("chaos", decide_chaos, MASK, (9,), ())
    python = Strategy("chaos", decide_chaos.__wrapped__, MASK, (9,), ())
    journals = [run(engine(s, instruments=TWO), EVENTS, FORECASTS)[1] for s in (compiled, python)]
    assert journals[0].tobytes() == journals[1].tobytes()
    assert np.sum(journals[0]["kind"] == FILL) > 20


def test_a_python_strategy_that_asks_for_too_much_is_told_so() -> None:
    greedy = Strategy("greedy", lambda *_: 99, MASK, (), ())
    with pytest.raises(ValueError, match="greedy asked for 99 orders at once; at most 8"):
        run(engine(greedy), EVENTS)

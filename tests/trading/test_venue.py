"""What a fill is: the venue's docstring, statement by statement, on tapes written by hand."""

import pytest

from marketdata.clock import NS_PER_MS
from marketdata.events import ADD, ASK, BID, CLEAR, DELETE, EXECUTE, HIDDEN, LEVEL, NONE, QUOTE, REDUCE, STATUS
from marketdata.instruments import BookKind
from tests.trading.tape import LATENCY, OPEN_NS, SESSION, Tape, engine, instrument, quoted, run, script, slower
from trading.journal import (
    ACKNOWLEDGED,
    CANCEL_REJECTED,
    CANCELLED_ROW,
    FILL,
    REASON_NAMES,
    REJECTED_ROW,
    Journal,
)
from trading.orders import IOC, LIMIT, POST_ONLY

TO_VENUE_MS = (LATENCY.decision_ns + LATENCY.order_ns) / NS_PER_MS


def _trade(tape: Tape, *orders: tuple[object, ...], queue: str = "risk_averse", **kinds: BookKind) -> Journal:
    made = engine(script(*orders), instruments=(instrument(**kinds),), queue=queue)
    return run(made, tape.events())[1]


def _fills(rows: Journal) -> list[tuple[int, int, int]]:
    """Return (price, lots, maker) of each fill before the session's end flattens."""
    fills = rows[(rows["kind"] == FILL) & (rows["ts_ns"] < SESSION.close_ns - 20 * 10**9)]
    return [(int(f["price_units"]), int(f["size_lots"]), int(f["flag"])) for f in fills]


def _reasons(rows: Journal, kind: int) -> list[str]:
    return [REASON_NAMES[k] for k in rows["reason"][rows["kind"] == kind]]


def test_a_taker_walks_the_visible_levels_up_to_its_limit_and_the_rest_is_cancelled() -> None:
    tape = quoted(Tape(), 10_000, 10_005, 3)(1, LEVEL, ASK, 10_010, 4)(2, LEVEL, ASK, 10_015, 50)
    rows = _trade(tape, (10, BID, IOC, 10_010, 10))
    assert _fills(rows) == [(10_005, 3, 0), (10_010, 4, 0)]
    assert _reasons(rows, CANCELLED_ROW)[0] == "nothing_left_to_take"


def test_liquidity_is_taken_once_until_new_lots_arrive() -> None:
    tape = quoted(Tape(), 10_000, 10_005, 5)
    tape(100, ADD, ASK, 10_005, 2)(200, LEVEL, ASK, 10_010, 9)
    rows = _trade(
        tape,
        (10, BID, IOC, 10_005, 4),
        (50, BID, IOC, 10_005, 4),
        (120, BID, IOC, 10_005, 4),
        (150, BID, IOC, 10_005, 1),
    )
    assert _fills(rows) == [(10_005, 4, 0), (10_005, 1, 0), (10_005, 2, 0)]


def test_lots_taken_leave_with_the_level_and_a_new_level_is_whole() -> None:
    tape = quoted(Tape(), 10_000, 10_005, 5)
    tape(50, EXECUTE, ASK, 10_005, 5)(60, ADD, ASK, 10_005, 6)
    rows = _trade(tape, (10, BID, IOC, 10_005, 5), (100, BID, IOC, 10_005, 6))
    assert _fills(rows) == [(10_005, 5, 0), (10_005, 6, 0)]


def test_an_order_meets_the_book_of_its_arrival_not_of_its_decision() -> None:
    quick = quoted(Tape())(11, LEVEL, ASK, 10_005, 0, last=False)(11, LEVEL, ASK, 10_010, 8)
    assert _fills(_trade(quick, (10, BID, IOC, 10_005, 1))) == []
    slow = quoted(Tape())(13, LEVEL, ASK, 10_005, 0, last=False)(13, LEVEL, ASK, 10_010, 8)
    assert _fills(_trade(slow, (10, BID, IOC, 10_005, 1))) == [(10_005, 1, 0)]
    better = quoted(Tape(), ask=10_010)(11, ADD, ASK, 10_005, 3)
    assert _fills(_trade(better, (10, BID, IOC, 10_010, 1))) == [(10_005, 1, 0)]


def test_market_rows_come_before_a_command_that_arrives_at_the_same_nanosecond() -> None:
    tape = quoted(Tape())(10 + TO_VENUE_MS, LEVEL, ASK, 10_005, 0, last=False)(10 + TO_VENUE_MS, LEVEL, ASK, 10_010, 8)
    assert _fills(_trade(tape, (10, BID, IOC, 10_005, 1))) == []


def test_without_latency_an_order_still_happens_after_what_caused_it() -> None:
    made = engine(script((10, BID, IOC, 10_005, 1)), latency=slower(LATENCY, decision_ns=0, order_ns=0, response_ns=0))
    rows = run(made, quoted(Tape()).events())[1]
    fill = rows[rows["kind"] == FILL][0]
    assert fill["ts_ns"] == fill["venue_ns"] == OPEN_NS + 10 * NS_PER_MS


def test_a_resting_order_waits_for_the_queue_before_it_and_fills_in_parts() -> None:
    tape = quoted(Tape(), lots=10)(50, ADD, BID, 10_000, 20)
    tape(100, EXECUTE, BID, 10_000, 9)(110, EXECUTE, BID, 10_000, 3)(120, EXECUTE, BID, 10_000, 4)
    rows = _trade(tape, (10, BID, POST_ONLY, 10_000, 5))
    assert _fills(rows) == [(10_000, 2, 1), (10_000, 3, 1)]
    assert (rows["kind"] == ACKNOWLEDGED).sum() == 1


def test_one_execution_is_given_out_once_over_several_own_orders() -> None:
    tape = quoted(Tape(), lots=4)(100, EXECUTE, BID, 10_000, 3)
    tape(110, EXECUTE, BID, 10_000, 1)(120, ADD, BID, 10_000, 30)(130, EXECUTE, BID, 10_000, 3)
    rows = _trade(tape, (10, BID, POST_ONLY, 10_000, 2), (11, BID, POST_ONLY, 10_000, 2))
    assert _fills(rows) == [(10_000, 2, 1), (10_000, 1, 1)]


def test_lots_between_two_own_orders_are_served_between_them() -> None:
    tape = quoted(Tape(), lots=4)(50, ADD, BID, 10_000, 5)(200, EXECUTE, BID, 10_000, 9)(210, ADD, BID, 10_000, 9)
    tape(220, EXECUTE, BID, 10_000, 4)
    rows = _trade(tape, (10, BID, POST_ONLY, 10_000, 3), (100, BID, POST_ONLY, 10_000, 3))
    assert _fills(rows) == [(10_000, 3, 1), (10_000, 1, 1)]


def test_a_trade_through_fills_the_better_price_first_up_to_its_size() -> None:
    tape = quoted(Tape(), lots=10)(100, EXECUTE, BID, 9_995, 4)
    rows = _trade(tape, (10, BID, POST_ONLY, 10_000, 9))
    assert _fills(rows) == [(10_000, 4, 1)]


def test_cancels_move_us_forward_as_the_queue_model_says() -> None:
    def fills(queue: str) -> list[tuple[int, int, int]]:
        tape = quoted(Tape(), lots=10)(50, ADD, BID, 10_000, 10)(100, REDUCE, BID, 10_000, 8)
        tape(150, EXECUTE, BID, 10_000, 8)
        return _fills(_trade(tape, (10, BID, POST_ONLY, 10_000, 5), queue=queue))

    assert fills("risk_averse") == []
    assert fills("probabilistic") == [(10_000, 2, 1)]
    assert fills("optimistic") == [(10_000, 5, 1)]


def test_a_pessimistic_queue_still_shrinks_to_what_is_left_of_the_level() -> None:
    tape = quoted(Tape(), lots=10)(100, REDUCE, BID, 10_000, 7)(150, EXECUTE, BID, 10_000, 3)(160, ADD, BID, 10_000, 9)
    tape(170, EXECUTE, BID, 10_000, 2)
    assert _fills(_trade(tape, (10, BID, POST_ONLY, 10_000, 5))) == [(10_000, 2, 1)]


def test_a_quote_that_reaches_our_price_fills_us_at_our_price_up_to_its_size() -> None:
    tape = quoted(Tape(), ask=10_020)(100, ADD, ASK, 10_005, 3)
    rows = _trade(tape, (10, BID, POST_ONLY, 10_010, 5))
    assert _fills(rows) == [(10_010, 3, 1)]


def test_hidden_executions_fill_only_where_nothing_visible_stands_ahead() -> None:
    tape = quoted(Tape(), ask=10_020)(100, HIDDEN, BID, 10_010, 2)
    assert _fills(_trade(tape, (10, BID, POST_ONLY, 10_010, 5))) == [(10_010, 2, 1)]
    behind = quoted(Tape(), ask=10_020)(100, HIDDEN, BID, 10_000, 20)
    assert _fills(_trade(behind, (10, BID, POST_ONLY, 10_000, 5))) == []


def test_after_a_clear_the_whole_rebuilt_level_stands_ahead() -> None:
    tape = quoted(Tape(), lots=2)(50, CLEAR, NONE, 0, 0, last=False)
    tape(50, LEVEL, BID, 10_000, 6, last=False)(50, LEVEL, ASK, 10_005, 6)
    tape(100, EXECUTE, BID, 10_000, 5)(110, ADD, BID, 10_000, 9)(120, EXECUTE, BID, 10_000, 2)
    assert _fills(_trade(tape, (10, BID, POST_ONLY, 10_000, 5))) == [(10_000, 1, 1)]


def test_a_limit_order_takes_what_crosses_and_rests_with_the_rest() -> None:
    tape = quoted(Tape(), lots=3)(100, EXECUTE, ASK, 10_005, 3)(110, LEVEL, ASK, 10_010, 9)(
        120, EXECUTE, BID, 10_005, 1
    )
    rows = _trade(tape, (10, BID, LIMIT, 10_005, 5))
    assert _fills(rows) == [(10_005, 3, 0), (10_005, 1, 1)]


def test_a_post_only_order_that_would_cross_is_refused() -> None:
    assert _reasons(_trade(quoted(Tape()), (10, BID, POST_ONLY, 10_005, 1)), REJECTED_ROW) == ["would_cross"]


@pytest.mark.parametrize("kind", [BookKind.NBBO, BookKind.DEALER, BookKind.BAR])
def test_where_the_queue_is_not_visible_only_taking_is_simulated(kind: BookKind) -> None:
    tape = Tape()(0, QUOTE, BID, 10_000, 5, last=False)(0, QUOTE, ASK, 10_005, 5)
    made = engine(
        script((10, BID, POST_ONLY, 10_000, 1), (20, BID, IOC, 10_005, 2)), instruments=(instrument(kind=kind),)
    )
    rows = run(made, tape.events())[1]
    assert _reasons(rows, REJECTED_ROW) == ["taker_only_venue"]
    assert _fills(rows) == [(10_005, 2, 0)]


def test_a_repeated_quote_of_the_same_size_brings_nothing_new() -> None:
    tape = Tape()(0, QUOTE, BID, 10_000, 5, last=False)(0, QUOTE, ASK, 10_005, 5)(50, QUOTE, ASK, 10_005, 5)
    made = engine(
        script((10, BID, IOC, 10_005, 5), (60, BID, IOC, 10_005, 5)), instruments=(instrument(kind=BookKind.NBBO),)
    )
    assert _fills(run(made, tape.events())[1]) == [(10_005, 5, 0)]


def test_a_halted_market_refuses_and_fills_nothing() -> None:
    tape = quoted(Tape())(50, STATUS, NONE, 0, 0)(200, STATUS, NONE, 0, 1)
    rows = _trade(tape, (60, BID, IOC, 10_005, 1), (210, BID, IOC, 10_005, 1))
    assert _reasons(rows, REJECTED_ROW) == ["venue_halted"]
    assert _fills(rows) == [(10_005, 1, 0)]


def test_a_cancel_ends_a_resting_order_and_one_that_comes_too_late_is_refused() -> None:
    tape = quoted(Tape(), lots=2)(31, EXECUTE, BID, 10_000, 2, last=True)(32, ADD, BID, 9_995, 3)
    tape(32.05, EXECUTE, BID, 9_995, 3)
    rows = _trade(tape, (10, BID, POST_ONLY, 10_000, 1), (31, "cancel", 1))
    assert _fills(rows) == [(10_000, 1, 1)]
    assert _reasons(rows, CANCEL_REJECTED) == ["unknown_order"]
    rows = _trade(quoted(Tape(), lots=2), (10, BID, POST_ONLY, 10_000, 1), (31, "cancel", 1))
    assert _reasons(rows, CANCELLED_ROW) == ["asked"]


def test_resting_orders_end_before_the_close_and_positions_are_flat() -> None:
    tape = quoted(Tape(), lots=30)
    rows = _trade(tape, (10, BID, POST_ONLY, 10_000, 1), (20, BID, IOC, 10_005, 7))
    fills = rows[rows["kind"] == FILL]
    assert fills["position_lots"][-1] == 0
    assert fills["ts_ns"][-1] < SESSION.close_ns
    assert _reasons(rows, CANCELLED_ROW) == ["asked"]


def test_an_instrument_without_a_book_of_its_own_is_never_traded() -> None:
    predictor = instrument(kind=BookKind.TRADES_ONLY)
    rows = run(engine(script((10, BID, IOC, 10_005, 1)), instruments=(predictor,)), quoted(Tape()).events())[1]
    assert not (rows["kind"] == FILL).any()


def test_deleting_an_order_behind_us_changes_nothing_for_the_pessimist() -> None:
    tape = quoted(Tape(), lots=4)(50, ADD, BID, 10_000, 6)(100, DELETE, BID, 10_000, 6)(150, EXECUTE, BID, 10_000, 4)
    tape(160, ADD, BID, 10_000, 4)(170, EXECUTE, BID, 10_000, 1)
    assert _fills(_trade(tape, (10, BID, POST_ONLY, 10_000, 2))) == [(10_000, 1, 1)]

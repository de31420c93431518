"""Order states are a closed table; the ledger is exact to the last unit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.clock import NS_PER_S
from tests.trading.tape import CAPITAL, chaos, engine, instrument, random_market, run
from trading import orders
from trading.journal import (
    ACKNOWLEDGED,
    CANCEL_REJECTED,
    CANCELLED_ROW,
    FILL,
    MARK,
    MARK_INSTRUMENT,
    ORDER,
    REJECTED_ROW,
    Journal,
    round_trips_frame,
)
from trading.ledger import share_ceil

TWO = (instrument(0, maker_ppm=-21, taker_ppm=33), instrument(1, maker_ppm=7, taker_ppm=31))

ALLOWED = {
    ("pending", "ack"): "open",
    ("pending", "part"): "partially_filled",
    ("pending", "whole"): "filled",
    ("pending", "done"): "cancelled",
    ("pending", "refused"): "rejected",
    ("open", "part"): "partially_filled",
    ("open", "whole"): "filled",
    ("open", "done"): "cancelled",
    ("partially_filled", "ack"): "partially_filled",
    ("partially_filled", "part"): "partially_filled",
    ("partially_filled", "whole"): "filled",
    ("partially_filled", "done"): "cancelled",
}
ANSWERS = {"ack": 1, "part": 2, "whole": 3, "done": 4, "refused": 5, "too_late": 6}


def test_the_table_holds_exactly_the_transitions_that_are_written_down() -> None:
    for state, name in enumerate(orders.STATE_NAMES):
        for answer, code in ANSWERS.items():
            wanted = ALLOWED.get((name, answer))
            if answer == "too_late" and name != "free":
                wanted = name
            found = int(orders.next_state(state, code))
            assert found == (orders.ILLEGAL if wanted is None else orders.STATE_NAMES.index(wanted)), (name, answer)


def _journal(seed: int, queue: str) -> Journal:
    made = engine(chaos(seed), instruments=TWO, queue=queue, clock_ns=NS_PER_S)
    return run(made, random_market(seed, 90))[1]


CASES: Any = given(seed=st.integers(0, 10_000), queue=st.sampled_from(["risk_averse", "probabilistic", "optimistic"]))


@settings(max_examples=10, deadline=None)
@CASES
def test_every_order_walks_the_table_and_never_fills_more_than_it_asked_for(seed: int, queue: str) -> None:
    rows = _journal(seed, queue)
    size: dict[int, int] = {}
    state: dict[int, int] = {}
    filled: dict[int, int] = {}
    for row in rows:
        k, kind = int(row["order_id"]), int(row["kind"])
        if kind == ORDER:
            assert k not in size
            assert row["size_lots"] > 0
            size[k], state[k], filled[k] = int(row["size_lots"]), orders.PENDING, 0
        elif kind == FILL:
            assert row["size_lots"] > 0
            filled[k] += int(row["size_lots"])
            assert filled[k] <= size[k]
            assert row["leaves_lots"] == size[k] - filled[k]
            answer = orders.FILL_WHOLE if filled[k] == size[k] else orders.FILL_PART
        if kind in (FILL, ACKNOWLEDGED, CANCELLED_ROW, REJECTED_ROW):
            if kind != FILL:
                answer = {ACKNOWLEDGED: 1, CANCELLED_ROW: 4, REJECTED_ROW: 5}[kind]
            state[k] = int(orders.next_state(state[k], answer))
            assert state[k] == row["state"] != orders.ILLEGAL
        if kind == CANCEL_REJECTED and row["state"]:
            assert state[k] == row["state"]
    assert all(s in (orders.FILLED, orders.CANCELLED, orders.REJECTED) for s in state.values())


@settings(max_examples=10, deadline=None)
@CASES
def test_cash_and_positions_at_their_marks_are_the_equity_to_the_last_unit(seed: int, queue: str) -> None:
    rows = _journal(seed, queue)
    cash, position, fees = [0, 0], [0, 0], [0, 0]
    seen_marks = 0
    marks = {}
    for row in rows:
        k = int(row["instrument_id"])
        if row["kind"] == FILL:
            item = TWO[k]
            notional = int(row["price_units"]) * int(row["size_lots"]) * item.unit_nanos
            ppm = item.fees.maker_ppm if row["flag"] else item.fees.taker_ppm
            fee = -(-notional * ppm // 1_000_000)
            assert row["fee_nanos"] == fee
            cash[k] -= int(row["side"]) * notional + fee
            position[k] += int(row["side"]) * int(row["size_lots"])
            fees[k] += fee
            assert (row["cash_nanos"], row["position_lots"]) == (cash[k], position[k])
        elif row["kind"] == MARK_INSTRUMENT:
            mark = int(row["bid_units"] if position[k] > 0 else row["ask_units"])
            if position[k] == 0 or mark:
                marks[k] = int(row["equity_nanos"])
                assert marks[k] == cash[k] + position[k] * mark * TWO[k].unit_nanos
            assert row["fee_nanos"] == fees[k]
        elif row["kind"] == MARK:
            assert (row["cash_nanos"], row["fee_nanos"]) == (sum(cash), sum(fees))
            if position == [0, 0]:
                assert row["equity_nanos"] == int(CAPITAL * 1e9) + sum(cash)
                seen_marks += 1
    assert seen_marks


@settings(max_examples=8, deadline=None)
@CASES
def test_round_trips_add_up_to_the_account_when_everything_is_flat(seed: int, queue: str) -> None:
    rows = _journal(seed, queue)
    fills = rows[rows["kind"] == FILL]
    trips = round_trips_frame(rows, {item.instrument_id: item.unit_nanos for item in TWO})
    for k in range(2):
        own = fills[fills["instrument_id"] == k]
        if len(own) and own["position_lots"][-1] == 0:
            net = trips.filter(trips["instrument_id"] == k)["net_nanos"].sum()
            assert net == own["cash_nanos"][-1]
    assert (trips["net_nanos"] == trips["gross_nanos"] - trips["fee_nanos"]).all()


@given(amount=st.integers(0, 2**62), ppm=st.integers(-1_000, 1_000))
def test_a_share_in_parts_per_million_is_rounded_up_and_never_overflows(amount: int, ppm: int) -> None:
    assert int(share_ceil(amount, ppm)) == -(-amount * ppm // 1_000_000)


def test_fees_are_paid_going_in_and_coming_out() -> None:
    from marketdata.events import ASK, BID
    from tests.trading.tape import Tape, quoted, script

    events = quoted(Tape(), 10_000, 10_005, 10).events()
    state, rows = run(
        engine(script((10, BID, orders.IOC, 10_005, 2), (50, ASK, orders.IOC, 10_000, 2)), instruments=(instrument(),)),
        events,
    )
    fills = rows[rows["kind"] == FILL]
    unit = instrument().unit_nanos
    assert fills["fee_nanos"].tolist() == [-(-30 * 2 * price * unit // 10**6) for price in (10_005, 10_000)]
    account = engine(script()).account(state)
    assert account.equity_nanos == int(CAPITAL * 1e9) - 2 * 5 * unit - int(fills["fee_nanos"].sum())


def test_a_journal_of_another_form_is_refused(tmp_path: Any) -> None:
    from trading.journal import load_journal

    np.savez(tmp_path / "x.npz", journal=np.zeros(3))
    with pytest.raises(ValueError, match="not a journal"):
        load_journal(tmp_path / "x.npz")

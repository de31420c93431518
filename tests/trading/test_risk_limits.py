"""Each limit of the risk gate at its threshold and one beyond; stops, throttle, heartbeats, deposits."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.events import ASK, BID, LEVEL, merge_events
from marketdata.settings import RiskSettings
from tests.trading.tape import (
    LOOSE,
    OPEN_NS,
    Tape,
    chaos,
    engine,
    forecast,
    instrument,
    quoted,
    random_market,
    run,
    script,
)
from trading.controls import (
    ANOMALY,
    DEPOSIT,
    HEARTBEAT,
    SIZE_SCALE,
    ControlArray,
    control,
    no_controls,
)
from trading.engine import FOREVER, Account
from trading.journal import (
    CANCEL,
    CANCELLED_ROW,
    FILL,
    MARK,
    ORDER,
    REASON_NAMES,
    REJECTED_ROW,
    RISK,
    RISK_REJECT,
    Journal,
    journal_controls,
)
from trading.ledger import share_ceil
from trading.orders import IOC, POST_ONLY
from trading.risk import _largest_whose_share_fits
from trading.state import G_PEAK, I_ENTRY_COST, I_POSITION

UNIT = 1_000_000 / 1e9
"""Quote currency to a price unit of a lot, as tests/trading/tape.py has it."""


def _risk(**changes: Any) -> RiskSettings:
    return RiskSettings(**(LOOSE.model_dump() | changes))


def _at(ms: float, kind: int, value: int, number: int = -1, k: int = 1) -> ControlArray:
    return control(kind, OPEN_NS + round(ms * NS_PER_MS), by="ann", control_id=k, value=value, instrument_id=number)


def _run(
    risk: RiskSettings,
    *orders: tuple[object, ...],
    tape: Tape | None = None,
    controls: ControlArray | None = None,
    forecasts: Any = None,
    **changes: Any,
) -> Journal:
    events = (tape or quoted(Tape(), lots=50)).events()
    return run(engine(script(*orders), risk=risk, **changes), events, forecasts, controls)[1]


def _sent(rows: Journal) -> list[tuple[int, str]]:
    """Lots of each order that passed, with the rule that made it smaller."""
    sent = rows[(rows["kind"] == ORDER) & (rows["flag"] & 1 == 0)]
    return [(int(row["size_lots"]), REASON_NAMES[row["reason"]]) for row in sent]


def _refused(rows: Journal) -> list[str]:
    return [REASON_NAMES[k] for k in rows["reason"][rows["kind"] == RISK_REJECT]]


TWO = (instrument(0), instrument(1))
BUY_4 = (10, BID, IOC, 10_005, 4)


@pytest.mark.parametrize(
    ("risk", "passes", "rule"),
    [
        # Four lots at the ask of 10,005 units are worth 4 * 10,005 * 0.001 = 40.02.
        ({"max_notional": 40.02}, 4, ""),
        ({"max_notional": 40.019}, 3, "notional_limit"),
        ({"max_notional": 10.004}, 0, "notional_limit"),
        # With a tenth of it as margin, 4.002 of 100 of equity; the reserve leaves 4.002, or a nano less.
        ({"margin_rate": 0.1, "cash_reserve": 0.95998}, 4, ""),
        ({"margin_rate": 0.1, "cash_reserve": 0.959981}, 3, "cash_reserve"),
        ({"margin_rate": 0.1, "cash_reserve": 0.999}, 0, "cash_reserve"),
        ({"max_position_lots": 4}, 4, ""),
        ({"max_position_lots": 3}, 3, "position_limit"),
    ],
)
def test_a_limit_lets_pass_what_is_exactly_at_it(risk: dict[str, Any], passes: int, rule: str) -> None:
    rows = _run(_risk(**risk), BUY_4, capital=100.0)
    if passes:
        assert _sent(rows) == [(passes, rule)]
        assert rows["flag"][rows["kind"] == ORDER][0] & 4 == (4 if rule else 0)
    else:
        assert _sent(rows) == []
        assert _refused(rows) == [rule]


def test_margin_binds_by_itself_when_the_account_is_too_small() -> None:
    assert _sent(_run(_risk(margin_rate=1.0), BUY_4, capital=40.02)) == [(4, "")]
    assert _sent(_run(_risk(margin_rate=1.0), BUY_4, capital=40.019)) == [(3, "margin")]


def test_notional_counts_live_orders_and_other_instruments_at_their_worst() -> None:
    # A bid for three at rest and two offered: the larger side, three, is worth 30.015; two more lots make 50.025.
    resting = ((10, BID, POST_ONLY, 10_000, 3), (12, ASK, POST_ONLY, 10_010, 2))
    assert _sent(_run(_risk(max_notional=50.025), *resting, (14, BID, IOC, 10_005, 4)))[2:] == [(2, "notional_limit")]
    assert _sent(_run(_risk(max_notional=50.024), *resting, (14, BID, IOC, 10_005, 4)))[2:] == [(1, "notional_limit")]
    # The same order by the instrument beside it: 10,005 units of 0.001000007 leave room for one lot of the other.
    tape = quoted(Tape(), lots=50).events()
    other = quoted(Tape(1), lots=50).events()
    both = merge_events([tape, other])
    rows = run(engine(script(BUY_4), risk=_risk(max_notional=50.1), instruments=TWO), both)[1]
    assert sorted(_sent(rows)) == [(1, "notional_limit"), (4, "")]


@given(amount=st.integers(0, 2**62), ppm=st.integers(1, 1_000_000))
@settings(deadline=None)
def test_the_largest_value_whose_share_fits_is_the_largest(amount: int, ppm: int) -> None:
    most = int(_largest_whose_share_fits(amount, ppm))
    if most < 2**63 - 1:
        assert share_ceil(most, ppm) <= amount
        assert share_ceil(most + 1, ppm) > amount


def test_the_largest_order_grows_with_the_confidence_in_its_direction() -> None:
    risk = _risk(max_order_lots=10, confidence_floor=0.5, confidence_full=0.9)
    order = (100, BID, IOC, 10_005, 10)

    def passed(p_up: float) -> Any:
        said = forecast(50, 5.0)
        said["p_up"], said["p_down"] = p_up, 0.05
        rows = _run(risk, order, forecasts=said)
        return (_sent(rows) or _refused(rows))[0]

    assert passed(0.9) == (10, "")
    assert passed(0.7) == (5, "low_confidence")
    assert passed(0.54) == (1, "low_confidence")
    assert passed(0.5) == "low_confidence"
    assert _refused(_run(risk, order)) == ["low_confidence"], "no forecast is no confidence"
    sell = _run(risk, (100, ASK, IOC, 10_000, 10), forecasts=forecast(50, 5.0))
    assert _refused(sell) == ["low_confidence"], "down has a probability of 0.05"


def test_an_anomaly_scales_size_and_rate_from_its_threshold_on() -> None:
    risk = _risk(anomaly_threshold=3.0, anomaly_size_scale=0.5, anomaly_rate_scale=0.2, max_orders_per_s=10)
    calm, odd = _at(5, ANOMALY, 2_999_999, 0), _at(5, ANOMALY, 3_000_000, 0)
    assert _sent(_run(risk, BUY_4, controls=calm)) == [(4, "")]
    assert _sent(_run(risk, BUY_4, controls=odd)) == [(2, "anomaly")]
    orders = [(10 + k, BID, IOC, 10_005, 2) for k in range(4)]
    rows = _run(risk, *orders, controls=odd)
    assert [lots for lots, _ in _sent(rows)] == [1, 1]
    assert _refused(rows) == ["anomaly", "anomaly"], "a fifth of ten orders a second is two"
    over = np.concatenate([odd, _at(9, ANOMALY, 0, 0, 2)])
    assert _sent(_run(risk, BUY_4, controls=over)) == [(4, "")]
    other = _at(5, ANOMALY, 9_000_000, 1)
    assert _sent(_run(risk, BUY_4, controls=other)) == [(4, "")], "of an instrument that is not here: nothing"


def test_a_size_scale_multiplies_with_the_ladder_and_is_rounded_once() -> None:
    scale = _at(5, SIZE_SCALE, 500_000)
    assert _sent(_run(LOOSE, BUY_4, controls=scale)) == [(2, "size_scale")]
    assert _refused(_run(LOOSE, BUY_4, controls=_at(5, SIZE_SCALE, 0))) == ["scaled_to_zero"]
    assert _sent(_run(LOOSE, BUY_4, controls=_at(5, SIZE_SCALE, 9_000_000))) == [(4, "")], "never above the whole"
    made = engine(script((10, BID, IOC, 10_005, 10)))
    account = Account(94 * 10**10, 100 * 10**10, 1)
    rows = made.run(made.init(account), quoted(Tape(), lots=50).events(), None, scale, FOREVER)[1]
    assert _sent(rows) == [(4, "size_scale")], "0.8 times 0.5 of ten"


# -- stops -------------------------------------------------------------------------------------------------------------------


def _moving(*bids: int) -> Tape:
    """Bids 100 ms apart from 100 ms on, the ask a tick above; 50 lots."""
    tape = quoted(Tape(), lots=50)
    before = 10_000
    for k, bid in enumerate(bids):
        ms = 100 * (k + 1)
        tape(ms, LEVEL, BID, before, 0, last=False)(ms, LEVEL, ASK, before + 5, 0, last=False)
        tape(ms, LEVEL, BID, bid, 50, last=False)(ms, LEVEL, ASK, bid + 5, 50)
        before = bid
    return tape


def _stopped(rows: Journal) -> list[tuple[str, float]]:
    found = rows[(rows["kind"] == RISK) & (rows["instrument_id"] == 0)]
    return [(REASON_NAMES[r["reason"]], (r["ts_ns"] - OPEN_NS) / NS_PER_MS) for r in found]


def test_a_stop_loss_closes_exactly_at_its_threshold() -> None:
    # Ten lots at 10,005 cost 100,050; a loss of 10 * 55 = 550 units is 5,497.25 millionths, rounded up 5,497.3.
    for bps, stops in ((54.97, 1), (54.98, 0)):
        rows = _run(_risk(stop_loss_bps=bps), (10, BID, IOC, 10_005, 10), tape=_moving(9_955, 9_950))
        assert len(_stopped(rows)) == (1 if bps == 54.97 else 0) == stops
    fills = rows[rows["kind"] == FILL]
    assert fills["ts_ns"][-1] > OPEN_NS + NS_PER_S, "without a stop it is held to the session's end"
    rows = _run(_risk(stop_loss_bps=54.97), (10, BID, IOC, 10_005, 10), tape=_moving(9_955, 9_950))
    assert _stopped(rows) == [("stop_loss", 201.0)]
    assert rows["position_lots"][rows["kind"] == FILL][-1] == 0
    assert rows["ts_ns"][rows["kind"] == FILL][-1] < OPEN_NS + 210 * NS_PER_MS


def test_a_trailing_stop_counts_from_the_best_mark() -> None:
    # Best bid 10,100; 1 % of it is 101: at 10,000 it is 100 away, at 9,995 it is 105.
    tape = _moving(10_100, 10_000, 9_995)
    rows = _run(_risk(trailing_stop_bps=100.0), (10, BID, IOC, 10_005, 2), tape=tape)
    assert _stopped(rows) == [("trailing_stop", 301.0)]
    short = _run(_risk(trailing_stop_bps=100.0), (10, ASK, IOC, 10_000, 2), tape=_moving(9_900, 9_995, 10_000))
    # Best ask 9,905; 1 % of it, rounded up, is 100: reached at an ask of 10,005.
    assert _stopped(short) == [("trailing_stop", 301.0)]


def test_after_a_stop_nothing_is_opened_until_the_cooldown_is_over() -> None:
    risk = _risk(stop_loss_bps=50.0, stop_cooldown_ns=NS_PER_S)
    orders = [(10, BID, IOC, 10_005, 2), (300, BID, IOC, 9_955, 1), (1_400, BID, IOC, 9_955, 1)]
    rows = _run(risk, *orders, tape=_moving(9_950))
    assert _refused(rows) == ["stopped_out"]
    assert [lots for lots, _ in _sent(rows)] == [2, 1]


def test_a_resting_order_is_cancelled_before_a_stop_closes() -> None:
    orders = [(10, BID, IOC, 10_005, 2), (20, BID, POST_ONLY, 9_000, 1), (30, ASK, POST_ONLY, 11_000, 1)]
    rows = _run(_risk(stop_loss_bps=50.0), *orders, tape=_moving(9_950))
    assert (rows["kind"] == CANCEL).sum() == 2
    assert rows["position_lots"][rows["kind"] == FILL][-1] == 0


def test_the_entry_cost_is_kept_through_adding_reducing_and_turning() -> None:
    buys, sells = (
        ((10, BID, IOC, 10_005, 3), (20, BID, IOC, 10_010, 3)),
        ((30, ASK, IOC, 9_000, 2), (40, ASK, IOC, 9_000, 6)),
    )
    made = engine(script(*buys, *sells))
    tape = quoted(Tape(), lots=3)(15, LEVEL, ASK, 10_005, 0, last=False)(15, LEVEL, ASK, 10_010, 9)
    tape(16, LEVEL, BID, 10_000, 50)
    costs = []
    state, before = made.init(), 0
    events = tape.events()
    for ms in (29, 39, 60):
        until = OPEN_NS + ms * NS_PER_MS
        part = events[(events["ts_recv"] >= before) & (events["ts_recv"] < until)]
        state, _ = made.run(state, part, None, None, until + made.config.feed_bound_ns)
        before = until
        row = state.kernel.agent.inst[0]
        costs.append((int(row[I_POSITION]), int(row[I_ENTRY_COST])))
        events = events[events["ts_recv"] >= until]
    # 3 at 10,005 and 3 at 10,010; two of six leave with a third of the cost; the rest turns into two sold at 10,000.
    assert costs == [(6, 60_045), (4, 40_030), (-2, 20_000)]


# -- heartbeats and deposits -------------------------------------------------------------------------------------------------


def test_silence_cancels_what_rests_and_a_heartbeat_lets_trading_go_on() -> None:
    risk = _risk(dead_man_ns=NS_PER_S)
    beats = [_at(ms, HEARTBEAT, 0, k=k) for k, ms in enumerate((500, 1_400, 3_000))]
    orders = [(10, BID, POST_ONLY, 10_000, 1), (2_600, BID, IOC, 10_005, 1), (3_100, BID, IOC, 10_005, 1)]
    tape = quoted(Tape(), lots=50)(4_000, LEVEL, BID, 10_000, 40)
    rows = _run(risk, *orders, tape=tape, controls=np.concatenate(beats))
    changes = rows[rows["kind"] == RISK]
    times = ((changes["ts_ns"] - OPEN_NS) / NS_PER_MS).tolist()
    assert [REASON_NAMES[r] for r in changes["reason"]][:2] == ["no_heartbeat", "recovered"]
    assert times[:2] == [2_400.0, 3_000.0], "a second after the beat at 1.4 s, exactly"
    assert ((rows["ts_ns"][rows["kind"] == CANCEL] - OPEN_NS) / NS_PER_MS).tolist()[0] == 2_400.0
    assert _refused(rows) == ["no_heartbeat"]
    assert [lots for lots, _ in _sent(rows)] == [1, 1]


def test_money_paid_out_is_no_drawdown() -> None:
    controls = np.concatenate([_at(20, DEPOSIT, -50 * 10**9, k=1), _at(30, DEPOSIT, 10 * 10**9, k=2)])
    made = engine(script((10, BID, IOC, 10_005, 1), (50, BID, IOC, 10_005, 1)), capital=100.0)
    state, rows = made.run(made.init(), quoted(Tape(), lots=50).events(), None, controls, FOREVER)
    assert not (rows["kind"] == RISK).any(), "half of the account left, and the ladder did not move"
    assert int(state.kernel.agent.g[G_PEAK]) == 60 * 10**9
    marks = rows[rows["kind"] == MARK]
    fees = marks["fee_nanos"][-1]
    assert marks["equity_nanos"][-1] == 60 * 10**9 - 2 * 5 * 10**6 - fees
    known = journal_controls(rows, no_controls())
    assert known["value"].tolist() == [-50 * 10**9, 10 * 10**9]
    again = made.run(made.init(), quoted(Tape(), lots=50).events(), None, known, FOREVER)[1]
    assert again.tobytes() == rows.tobytes(), "a journal's own controls replay it"


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence_floor": 0.6, "confidence_full": 0.5},
        {"confidence_floor": 0.1},
        {"cash_reserve": 0.5},
        {"margin_rate": 2.0},
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _risk(**wrong)


# -- no sequence of events exceeds a limit -----------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_no_sequence_of_events_takes_what_may_fill_beyond_its_limits(seed: int, data: st.DataObject) -> None:
    limit, value, rate = data.draw(st.integers(1, 9)), data.draw(st.sampled_from([60.0, 150.0, 400.0])), 5
    risk = _risk(
        max_position_lots=limit,
        max_order_lots=6,
        max_notional=value,
        max_orders_per_s=rate,
        margin_rate=0.5,
        cash_reserve=0.2,
        stop_loss_bps=30.0,
        anomaly_threshold=1.0,
    )
    events = random_market(seed, 250)
    times = data.draw(st.lists(st.integers(int(events["ts_recv"][0]), int(events["ts_recv"][-1])), max_size=8))
    told = st.sampled_from([(ANOMALY, 2_000_000), (ANOMALY, 0), (SIZE_SCALE, 500_000), (SIZE_SCALE, 10**6)])
    kinds = [data.draw(told) for _ in times]
    controls = no_controls()
    if times:
        rows = [control(k, t, by="ann", control_id=1, value=v) for t, (k, v) in zip(sorted(times), kinds, strict=True)]
        controls = np.concatenate(rows)
    made = engine(chaos(seed), instruments=TWO, risk=risk, queue="probabilistic", capital=1_000.0)
    _, journal = run(made, events, None, controls)
    live: dict[int, tuple[int, int, int]] = {}
    held, asks = [0, 0], [0, 0]
    opened: list[int] = []
    for row in journal:
        kind, number, order = int(row["kind"]), int(row["instrument_id"]), int(row["order_id"])
        if number >= 0 and row["ask_units"] > 0:
            asks[number] = int(row["ask_units"])
        if kind == ORDER:
            live[order] = (number, int(row["side"]), int(row["size_lots"]))
        elif kind == FILL:
            held[number] = int(row["position_lots"])
            live[order] = (*live[order][:2], live[order][2] - int(row["size_lots"]))
        elif kind in (CANCELLED_ROW, REJECTED_ROW):
            live.pop(order, None)
        worst = [
            max(side * held[k] + sum(lots for n, s, lots in live.values() if (n, s) == (k, side)) for side in (1, -1))
            for k in (0, 1)
        ]
        assert max(worst) <= limit
        if kind == ORDER and not row["flag"] & 1:
            opened.append(int(row["ts_ns"]))
            # The other instrument's ask is as of its own last journal row: only this one's is known to be the latest.
            own = worst[number] * asks[number] * made.config.instruments[number].unit_nanos / 1e9
            assert own <= value + 1e-9
            assert sum(1 for t in opened if t > row["ts_ns"] - NS_PER_S) <= rate

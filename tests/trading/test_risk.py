"""The risk gate refuses with reasons, the drawdown ladder is exact, and what reduces always passes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.events import ASK, BID, LEVEL
from marketdata.settings import RiskSettings
from tests.trading.tape import LOOSE, OPEN_NS, SESSION, Tape, engine, quoted, run, script, simple_taker
from trading.controls import FLATTEN, KILL, PAUSE, POSITION_LIMIT, REARM, RESUME, control, pause_windows
from trading.engine import FOREVER, Account, Engine
from trading.journal import CANCEL, FILL, ORDER, REASON_NAMES, RISK, RISK_REJECT, Journal, risk_frame
from trading.orders import IOC, POST_ONLY
from trading.risk import HALTED, NORMAL, REDUCED_20, REDUCED_50, ladder_step, rearm, scaled_lots, set_peak
from trading.state import G_COUNT, G_EQUITY, G_LADDER, G_OPEN_EQUITY, G_PEAK


def _risk(**changes: Any) -> RiskSettings:
    return LOOSE.model_copy(update=changes)


def _rejects(rows: Journal) -> list[str]:
    return [REASON_NAMES[k] for k in rows["reason"][rows["kind"] == RISK_REJECT]]


def _run(risk: RiskSettings, *orders: tuple[object, ...], tape: Tape | None = None, controls: Any = None) -> Journal:
    return run(engine(script(*orders), risk=risk), (tape or quoted(Tape(), lots=50)).events(), None, controls)[1]


def test_each_limit_refuses_with_its_own_reason() -> None:
    assert _rejects(_run(_risk(max_order_lots=3), (10, BID, IOC, 10_005, 4))) == ["order_size"]
    assert _rejects(_run(_risk(price_collar_bps=10), (10, BID, IOC, 10_020, 1))) == ["price_collar"]
    assert _rejects(_run(_risk(price_collar_bps=10), (10, BID, IOC, 10_015, 1))) == []
    one_sided = Tape()(0, LEVEL, BID, 10_000, 5)
    assert _rejects(_run(LOOSE, (10, BID, IOC, 10_005, 1), tape=one_sided)) == ["no_quote"]
    assert _rejects(_run(LOOSE, (10, BID, POST_ONLY, 10_000, 1), (20, ASK, IOC, 10_000, 1))) == ["self_cross"]
    late = (SESSION.close_ns - OPEN_NS) / NS_PER_MS - 10_000
    assert _rejects(_run(LOOSE, (late, BID, IOC, 10_005, 1))) == ["session_ending"]


def test_the_order_rate_is_a_sliding_second() -> None:
    orders = [(10 + 300 * k, BID, IOC, 10_005, 1) for k in range(6)]
    rows = _run(_risk(max_orders_per_s=3), *orders)
    sent = rows["ts_ns"][rows["kind"] == ORDER]
    assert _rejects(rows) == ["order_rate"]
    assert all(((sent > t - NS_PER_S) & (sent <= t)).sum() <= 3 for t in sent)


def test_the_position_limit_counts_live_orders_at_their_worst_and_makes_orders_smaller() -> None:
    rows = _run(
        _risk(max_position_lots=5),
        (10, BID, POST_ONLY, 10_000, 3),
        (11, BID, IOC, 10_005, 4),
        (12, BID, IOC, 10_005, 1),
    )
    sent = rows[rows["kind"] == ORDER]
    assert sent["size_lots"][:2].tolist() == [3, 2]
    assert (sent["flag"][:2] & 4).tolist() == [0, 4]
    assert _rejects(rows) == ["position_limit"]


def test_a_limit_given_by_a_control_is_obeyed() -> None:
    limit = control(POSITION_LIMIT, OPEN_NS + 5 * NS_PER_MS, by="ann", control_id=1, value=2)
    rows = _run(LOOSE, (10, BID, IOC, 10_005, 4), controls=limit)
    assert rows["size_lots"][rows["kind"] == ORDER][0] == 2


def test_pauses_and_kills_cancel_what_rests_and_let_only_reducing_orders_pass() -> None:
    orders = (
        (10, BID, IOC, 10_005, 2),
        (20, BID, POST_ONLY, 10_000, 1),
        (60, BID, IOC, 10_005, 1),
        (70, ASK, IOC, 10_000, 3),
        (80, ASK, IOC, 10_000, 1),
    )
    for kind, reason in ((PAUSE, "paused"), (KILL, "killed")):
        rows = _run(LOOSE, *orders, controls=control(kind, OPEN_NS + 50 * NS_PER_MS, by="ann", control_id=7))
        assert (rows["kind"] == CANCEL).sum() == 1
        assert _rejects(rows) == [reason, reason]
        fills = rows[rows["kind"] == FILL]
        assert fills["position_lots"][:2].tolist() == [2, 1]


def test_a_pause_window_flattens_holds_off_and_ends() -> None:
    window = pause_windows(
        [(OPEN_NS + 50 * NS_PER_MS, OPEN_NS + 70 * NS_PER_MS), (OPEN_NS + 60 * NS_PER_MS, OPEN_NS + 100 * NS_PER_MS)],
        flatten=True,
        by="calendar",
    )
    assert len(window) == 2
    rows = _run(
        LOOSE, (10, BID, IOC, 10_005, 2), (80, BID, IOC, 10_005, 1), (110, BID, IOC, 10_005, 1), controls=window
    )
    assert rows["position_lots"][rows["kind"] == FILL][:3].tolist() == [2, 0, 1]
    assert _rejects(rows) == ["paused"]


def test_a_flatten_control_closes_everything_once_and_trading_goes_on() -> None:
    rows = _run(
        LOOSE,
        (10, BID, IOC, 10_005, 2),
        (20, BID, POST_ONLY, 10_000, 1),
        (110, BID, IOC, 10_005, 1),
        controls=control(FLATTEN, OPEN_NS + 50 * NS_PER_MS, by="ann", control_id=1),
    )
    assert rows["position_lots"][rows["kind"] == FILL][:3].tolist() == [2, 0, 1]


def test_rearming_needs_a_name() -> None:
    with pytest.raises(ValueError, match="name of the person"):
        control(REARM, OPEN_NS, by=" ", control_id=1)
    nameless = control(RESUME, OPEN_NS, by="", control_id=1)
    nameless["kind"] = REARM
    made = engine(simple_taker())
    with pytest.raises(ValueError, match="name of the person"):
        made.run(made.init(), None, None, nameless, FOREVER)


def _falling(step: int, lots: int, count: int = 3) -> Tape:
    """The price falls by ``step`` units every 100 ms, starting at 100 ms."""
    tape = quoted(Tape(), lots=50)
    bid = 10_000
    for k in range(count):
        ms = 100 + 100 * k
        tape(ms, LEVEL, BID, bid, 0, last=False)(ms, LEVEL, ASK, bid + 5, 0, last=False)
        bid -= step
        tape(ms, LEVEL, BID, bid, lots, last=False)(ms, LEVEL, ASK, bid + 5, lots)
    return tape


def test_the_daily_loss_halts_cancels_and_flattens() -> None:
    rows = _run(
        _risk(daily_loss=4.0),
        (10, BID, IOC, 10_005, 20),
        (20, BID, POST_ONLY, 9_000, 1),
        (250, BID, IOC, 10_005, 1),
        tape=_falling(200, 50),
    )
    risk = risk_frame(rows)
    assert risk["reason"].to_list() == ["daily_loss", "daily_loss"]
    assert rows["state"][rows["kind"] == RISK].tolist() == [HALTED]
    assert rows["position_lots"][rows["kind"] == FILL][-1] == 0
    assert rows["ts_ns"][rows["kind"] == FILL][-1] < OPEN_NS + 130 * NS_PER_MS


def test_a_halt_may_hold_instead() -> None:
    rows = _run(_risk(daily_loss=4.0, on_halt="hold"), (10, BID, IOC, 10_005, 20), tape=_falling(200, 50))
    assert rows["ts_ns"][rows["kind"] == FILL][-1] > SESSION.close_ns - 20 * NS_PER_S


def test_the_ladder_survives_a_session_and_a_rearm_starts_from_the_equity_then() -> None:
    made: Engine = engine(script((10, BID, IOC, 10_005, 1), (300, BID, IOC, 10_005, 4)), risk=LOOSE)
    account = Account(80 * 10**9, 100 * 10**9, HALTED)
    controls = control(REARM, OPEN_NS + 100 * NS_PER_MS, by="ann", control_id=3)
    state, rows = made.run(made.init(account), quoted(Tape(), lots=50).events(), None, controls, FOREVER)
    assert _rejects(rows) == ["halted"]
    assert rows["size_lots"][rows["kind"] == ORDER][0] == 4
    after = made.account(state)
    assert after.ladder == NORMAL
    assert after.peak_nanos == 80 * 10**9


# -- the ladder by itself ----------------------------------------------------------------------------------------------------

INTS = engine(simple_taker(), risk=RiskSettings(daily_loss=1e9))._parameters.ints
RECOVER = RiskSettings().recover_ns


def _g(peak: int, state: int = NORMAL) -> Any:
    g = np.zeros(G_COUNT, np.int64)
    set_peak(g, INTS, peak)
    g[G_EQUITY], g[G_OPEN_EQUITY], g[G_LADDER] = peak, peak, state
    return g


def _at(g: Any, equity: int, now: int) -> int:
    g[G_EQUITY] = equity
    ladder_step(g, INTS, now)
    return int(g[G_LADDER])


@settings(deadline=None)
@given(peak=st.integers(10**9, 9 * 10**17), step=st.sampled_from([(5, REDUCED_20), (10, REDUCED_50), (15, HALTED)]))
def test_a_step_begins_exactly_at_its_threshold(peak: int, step: tuple[int, int]) -> None:
    percent, state = step
    threshold = -(-peak * percent // 100)
    assert _at(_g(peak), peak - threshold, 1) == state
    assert _at(_g(peak), peak - threshold + 1, 1) == state - 1


def test_a_step_is_left_one_at_a_time_after_half_an_hour_below_its_threshold_less_two_points() -> None:
    peak = 10**12
    g = _g(peak)
    assert _at(g, peak * 90 // 100, 1) == REDUCED_50
    assert _at(g, peak * 92 // 100, 2) == REDUCED_50
    assert _at(g, peak * 92 // 100, 2 + 10 * RECOVER) == REDUCED_50, "8 % is the line itself: not below it"
    assert _at(g, peak * 92 // 100 + 1, 20 * RECOVER) == REDUCED_50
    assert _at(g, peak * 91 // 100, 20 * RECOVER + 5) == REDUCED_50, "a relapse starts the half hour anew"
    assert _at(g, peak * 98 // 100, 21 * RECOVER) == REDUCED_50
    assert _at(g, peak * 98 // 100, 22 * RECOVER - 1) == REDUCED_50
    assert _at(g, peak * 98 // 100, 22 * RECOVER) == REDUCED_20
    assert _at(g, peak * 98 // 100, 22 * RECOVER + 1) == REDUCED_20
    assert _at(g, peak * 98 // 100, 23 * RECOVER + 1) == NORMAL


def test_only_a_person_ends_a_halt() -> None:
    peak = 10**12
    g = _g(peak)
    assert _at(g, peak * 80 // 100, 1) == HALTED
    assert _at(g, 2 * peak, 100 * RECOVER) == HALTED
    rearm(g, INTS)
    assert (g[G_LADDER], g[G_PEAK]) == (NORMAL, 2 * peak)


def test_a_new_peak_moves_the_thresholds() -> None:
    g = _g(10**12)
    assert _at(g, 2 * 10**12, 1) == NORMAL
    assert _at(g, 2 * 10**12 - 10**11 + 1, 2) == NORMAL
    assert _at(g, 2 * 10**12 - 10**11, 3) == REDUCED_20


def test_sizes_are_scaled_to_the_nearest_lot_halves_down() -> None:
    assert [int(scaled_lots(n, 800_000)) for n in (1, 2, 3, 5, 10)] == [1, 2, 2, 4, 8]
    assert [int(scaled_lots(n, 500_000)) for n in (1, 2, 3, 5, 10)] == [0, 1, 1, 2, 5]


def test_a_reduced_state_makes_orders_smaller_and_says_when_nothing_is_left() -> None:
    made = engine(script((10, BID, IOC, 10_005, 10), (20, BID, IOC, 10_005, 1)), risk=LOOSE)
    account = Account(94 * 10**10, 100 * 10**10, REDUCED_50)
    rows = made.run(made.init(account), quoted(Tape(), lots=50).events(), None, None, FOREVER)[1]
    assert rows["size_lots"][rows["kind"] == ORDER][0] == 5
    assert _rejects(rows) == ["scaled_to_zero"]

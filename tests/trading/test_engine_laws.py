"""The engine's laws: cutting its input anywhere changes nothing, a checkpoint is a copy, room runs out without a trace."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trading.engine
from marketdata.clock import NS_PER_MS, NS_PER_S
from tests.trading.tape import (
    LATENCY,
    OPEN_NS,
    SESSION,
    chaos,
    engine,
    instrument,
    random_forecasts,
    random_market,
    run,
    simple_taker,
)
from trading.controls import FLATTEN, KILL, PAUSE, REARM, RESUME, ControlArray, control
from trading.engine import FOREVER, Engine
from trading.journal import (
    FILL,
    FORECAST,
    ORDER,
    Journal,
    journal_forecasts,
    journal_frame,
    load_journal,
    orders_frame,
    save_journal,
)
from trading.strategies import touch_maker

TWO = (instrument(0), instrument(1))
EVENTS = random_market(3, 500)
FORECASTS = random_forecasts(5, 150, EVENTS)
LAST_NS = int(EVENTS["ts_recv"][-1])
SPAN_NS = LAST_NS - OPEN_NS


def _controls() -> ControlArray:
    rows = [
        control(PAUSE, OPEN_NS + SPAN_NS // 5, by="calendar", control_id=1, value=1),
        control(RESUME, OPEN_NS + SPAN_NS // 4, by="calendar", control_id=2),
        control(FLATTEN, OPEN_NS + SPAN_NS // 2, by="ann", control_id=3),
        control(KILL, OPEN_NS + SPAN_NS * 3 // 5, by="ann", control_id=4),
        control(REARM, OPEN_NS + SPAN_NS * 7 // 10, by="ann", control_id=5),
    ]
    return np.concatenate(rows)


CONTROLS = _controls()
STRATEGIES = {
    "taker": simple_taker(order_lots=3, horizon_ns=3 * NS_PER_S),
    "maker": touch_maker(lots=2, max_position=4, last_entry_ns=SESSION.close_ns - 40 * NS_PER_S),
    "chaos": chaos(9),
}
WHOLE: dict[str, Journal] = {}


def _engine(name: str) -> Engine:
    return engine(STRATEGIES[name], instruments=TWO, queue="probabilistic", clock_ns=NS_PER_S)


def _whole(name: str) -> Journal:
    if name not in WHOLE:
        WHOLE[name] = run(_engine(name), EVENTS, FORECASTS, CONTROLS)[1]
    return WHOLE[name]


def _in_pieces(made: Engine, cuts: list[int], *, copies: bool = False) -> Journal:
    state, parts, before = made.init(), [], 0
    for until in [*sorted(cuts), FOREVER]:
        market, forecasts, controls = (
            rows[(rows[clock] >= before) & (rows[clock] < until)]
            for rows, clock in ((EVENTS, "ts_recv"), (FORECASTS, "due_ns"), (CONTROLS, "due_ns"))
        )
        kept = state.copy()
        state, rows = made.run(state, market, forecasts, controls, until)
        if copies:
            state, again = made.run(kept, market, forecasts, controls, until)
            assert again.tobytes() == rows.tobytes()
        parts.append(rows)
        before = until
    assert state.late_rows == 0
    return np.concatenate(parts)


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_the_whole_run_trades(name: str) -> None:
    kinds = journal_frame(_whole(name))["kind"].value_counts()
    counts = dict(zip(kinds["kind"].to_list(), kinds["count"].to_list(), strict=True))
    assert counts["fill"] > 20
    assert counts["control"] == 5
    if name != "taker":
        assert counts["cancelled"] > 5
        assert counts["acknowledged"] > 20


@pytest.mark.parametrize("name", list(STRATEGIES))
@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(OPEN_NS - NS_PER_S, SESSION.close_ns + NS_PER_S), max_size=12))
def test_cutting_the_streams_anywhere_gives_the_same_journal(name: str, cuts: list[int]) -> None:
    assert _in_pieces(_engine(name), cuts).tobytes() == _whole(name).tobytes()


def test_one_market_row_at_a_time_gives_the_same_journal_and_a_checkpoint_is_a_copy() -> None:
    cuts = np.unique(EVENTS["ts_recv"]).tolist()
    assert _in_pieces(_engine("chaos"), cuts, copies=True).tobytes() == _whole("chaos").tobytes()


def test_a_journal_buffer_that_fills_up_and_tables_that_grow_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _whole("chaos")
    small = trading.engine.allocate_state

    def tiny(instruments: int, **given: int):  # type: ignore[no-untyped-def]  # a stand-in with less room
        return small(instruments, **(given | {"orders": 24, "ring": 200}))

    monkeypatch.setattr(trading.engine, "OUT_ROWS", 240)
    monkeypatch.setattr(trading.engine, "allocate_state", tiny)
    state, rows = run(_engine("chaos"), EVENTS, FORECASTS, CONTROLS)
    assert rows.tobytes() == whole.tobytes()
    assert len(state.kernel.agent.orders) > 24


def test_time_never_reaches_the_watermark_less_the_feeds_bound() -> None:
    made = _engine("taker")
    until = OPEN_NS + 5 * NS_PER_S
    state, rows = made.run(made.init(), EVENTS, FORECASTS, None, until)
    bound = until - made.config.feed_bound_ns
    assert state.now_ns < bound
    assert rows["ts_ns"].max() < bound


def test_replaying_the_journals_own_forecasts_gives_the_same_journal(tmp_path: Path) -> None:
    whole = _whole("taker")
    save_journal(tmp_path / "journal.npz", whole)
    stored = load_journal(tmp_path / "journal.npz")
    assert stored.tobytes() == whole.tobytes()
    assert run(_engine("taker"), EVENTS, journal_forecasts(stored), CONTROLS)[1].tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_nothing_fills_on_a_quote_it_had_not_reached(name: str) -> None:
    rows = _whole(name)
    arrives = dict(zip(*(rows[rows["kind"] == ORDER][c].tolist() for c in ("order_id", "venue_ns")), strict=True))
    fills = rows[rows["kind"] == FILL]
    assert all(fill["venue_ns"] >= arrives[int(fill["order_id"])] for fill in fills)
    assert np.all(fills["ts_ns"] - fills["venue_ns"] == LATENCY.response_ns)
    sent = rows[rows["kind"] == ORDER]
    assert np.all(sent["venue_ns"] - sent["ts_ns"] == LATENCY.decision_ns + LATENCY.order_ns)


def test_forecasts_are_written_down_before_they_are_decided_on() -> None:
    rows = _whole("taker")
    assert np.array_equal(rows["sequence"], np.arange(len(rows)))
    assert np.all(np.diff(rows["ts_ns"]) >= 0)
    entered = np.flatnonzero((rows["kind"] == FORECAST) & (rows["reason"] == 2))
    assert len(entered)
    assert np.all(np.isin(rows["kind"][entered + 1], (2, 3)))


def test_disordered_input_is_refused() -> None:
    made = _engine("taker")
    with pytest.raises(ValueError, match="not ordered by ts_recv"):
        made.run(made.init(), EVENTS[::-1].copy(), None, None, FOREVER)
    with pytest.raises(ValueError, match="not ordered by due_ns"):
        made.run(made.init(), None, FORECASTS[::-1].copy(), None, FOREVER)
    state, _ = made.run(made.init(), EVENTS[10:20], None, None, OPEN_NS)
    with pytest.raises(ValueError, match="starts before the end of the last"):
        made.run(state, EVENTS[:5], None, None, FOREVER)


def test_a_row_that_comes_after_its_time_is_counted() -> None:
    made = _engine("taker")
    late = EVENTS[:40].copy()
    late["ts_event"][30] -= 10 * NS_PER_S
    state, _ = made.run(made.init(), late[:30], None, None, int(late["ts_recv"][29]) + 50 * NS_PER_MS)
    state, _ = made.run(state, late[30:], None, None, FOREVER)
    assert state.late_rows == 1


def test_orders_end_as_their_answers_say() -> None:
    orders = orders_frame(_whole("chaos"))
    assert set(orders["state"]) <= {"filled", "cancelled", "rejected", "partially_filled", "open", "pending"}
    assert orders.filter((orders["state"] == "filled") & (orders["filled_lots"] != orders["size_lots"])).height == 0
    assert (orders["filled_lots"] <= orders["size_lots"]).all()

"""The ways in which a backtest flatters itself, one by one: each test fails where the mistake is made."""

import math

import numpy as np
import pytest

from backtests.execution_quality import execution_quality
from backtests.replay import run_backtest, run_days
from backtests.screen import screen
from marketdata.clock import NS_PER_MINUTE, NS_PER_S
from models.forecast import FORECAST_DTYPE, ForecastArray
from models.gate import judged_intervals
from models.statistics import sharpe
from tests.backtests.conftest import Hour
from tests.backtests.test_screen import _noise
from tests.evidence.worlds import GATE, make_evidence
from trading.config import last_entry_ns
from trading.journal import FILL, ORDER
from trading.strategies import touch_maker

NEVER = 1e-3


def constant(hour: Hour, edge: float) -> ForecastArray:
    """The same forecast on every row."""
    out = np.zeros(len(hour.dataset), FORECAST_DTYPE)
    out["ts_recv"] = out["due_ns"] = hour.dataset.ts_recv
    out["instrument_id"] = hour.dataset.instrument_id
    out["edge_units"] = edge
    out["p_up"], out["p_down"] = (0.9, 0.05) if edge > 0 else (0.05, 0.9)
    out["p_flat"] = 0.05
    return out


def test_forecasts_are_joined_by_instrument_and_time_not_by_position(hour: Hour) -> None:
    forecasts = _noise(hour, 1, 8.0)
    first, other = (item.instrument_id for item in hour.settings.instruments)
    changed = forecasts.copy()
    own = changed["instrument_id"] == first
    changed["edge_units"][own] *= -1.0
    changed["p_up"][own], changed["p_down"][own] = forecasts["p_down"][own], forecasts["p_up"][own]
    trips = [
        run_backtest(hour.settings, hour.session, hour.events, rows).round_trips().filter(instrument_id=other)
        for rows in (forecasts, changed)
    ]
    assert trips[0].height > 20
    assert trips[0].equals(trips[1])


def test_nothing_is_filled_before_the_order_can_be_there(hour: Hour) -> None:
    forecasts = _noise(hour, 1, 8.0)
    rows = run_backtest(hour.settings, hour.session, hour.events, forecasts).journal
    latency = hour.settings.latency
    sent = {int(o["order_id"]): int(o["ts_ns"]) for o in rows[rows["kind"] == ORDER]}
    fills = rows[rows["kind"] == FILL]
    assert len(fills) > 50
    known = np.sort(hour.dataset.ts_recv)
    for fill in fills:
        decided = sent[int(fill["order_id"])]
        assert fill["venue_ns"] >= decided + latency.decision_ns + latency.order_ns
        assert decided >= known[0] + latency.inference_ns


def test_a_signal_that_stays_does_not_enter_again_on_every_tick(hour: Hour) -> None:
    result = run_backtest(hour.settings, hour.session, hour.events, constant(hour, 50.0))
    entries = result.journal[(result.journal["kind"] == ORDER) & ((result.journal["flag"] & 1) == 0)]
    assert len(hour.dataset) > 1_000
    assert len(entries) == len(hour.settings.instruments), (
        "one position each, held and extended while the forecast stays"
    )
    assert screen(hour.dataset, constant(hour, 50.0), hour.settings).entries == len(hour.settings.instruments)


@pytest.mark.parametrize("edge", [50.0, -50.0])
def test_longs_and_shorts_earn_with_their_own_sign_and_pay_both_fees(hour: Hour, edge: float) -> None:
    result = run_backtest(hour.settings, hour.session, hour.events, constant(hour, edge))
    side = int(math.copysign(1, edge))
    items = {item.instrument_id: item for item in hour.settings.instruments}
    trips = result.round_trips()
    assert trips.height == len(items)
    for trip in trips.iter_rows(named=True):
        item = items[trip["instrument_id"]]
        assert trip["side"] == side
        lots = trip["size_lots"]
        move = side * (trip["exit_units"] - trip["entry_units"]) * lots * item.unit_nanos
        assert trip["gross_nanos"] == pytest.approx(move, abs=lots * item.unit_nanos)
        both = (trip["entry_units"] + trip["exit_units"]) * lots * item.unit_nanos * item.fees.taker_ppm / 1e6
        assert trip["fee_nanos"] == pytest.approx(both, abs=4)
        assert trip["net_nanos"] == trip["gross_nanos"] - trip["fee_nanos"]
    assert sum(trips["gross_nanos"]) != 0


def test_the_sharpe_ratio_is_of_the_clock_with_its_period_not_of_the_trades(hour: Hour) -> None:
    result = run_backtest(hour.settings, hour.session, hour.events, _noise(hour, 1, 8.0))
    metrics = result.metrics()
    minutes = (hour.session.close_ns - hour.session.open_ns) // NS_PER_MINUTE
    assert (metrics.intervals, metrics.sharpe_period_ns) == (minutes, NS_PER_MINUTE)
    own = sharpe(result.pnl, period_ns=NS_PER_MINUTE, periods_per_year=252.0 * minutes)
    assert metrics.sharpe == own.ratio
    per_trip = result.round_trips()["net_nanos"].to_numpy() / 1e9
    assert metrics.sharpe != pytest.approx(per_trip.mean() / per_trip.std(), rel=0.05)
    quiet = run_backtest(hour.settings, hour.session, hour.events, _noise(hour, 1, NEVER))
    assert len(quiet.pnl) == minutes, "a minute without a trade is a minute"


def test_intervals_are_no_shorter_than_a_holding_and_never_straddle_sessions() -> None:
    evidence = make_evidence(edge=0.1, minutes=1_950)
    evidence.holding_ns["c0"] = 250 * NS_PER_S  # type: ignore[index]  # the mapping is a plain dict
    series, period_ns, per_year = judged_intervals(evidence, GATE, "c0", evidence.pnl["c0"])
    assert period_ns == 5 * NS_PER_MINUTE
    assert len(series) == 5 * math.ceil(390 / 5)
    assert series.sum() == pytest.approx(evidence.pnl["c0"].sum())
    first_day = evidence.pnl["c0"][evidence.day == 0].sum()
    assert series[:78].sum() == pytest.approx(first_day)
    assert per_year == pytest.approx(78 * 252.0)


def test_adverse_selection_falls_out_of_the_queue(hour: Hour) -> None:
    # A maker is filled when the other side is in a hurry: what the touch earns at once is partly taken back.
    maker = touch_maker(lots=100, max_position=300, last_entry_ns=last_entry_ns(hour.settings, hour.session))
    risk = hour.settings.risk.model_copy(update={"max_order_lots": 500, "max_position_lots": 1_000})
    settings = hour.settings.model_copy(update={"risk": risk})
    days = {hour.session: (hour.events, _noise(hour, 1, NEVER)[:0])}
    results = run_days(settings, days, strategy=lambda _settings, _session: maker)
    found = execution_quality(results, days, seed=1)
    assert found.fills - 2 <= found.maker_fills <= found.fills  # the last of it is closed by taking
    assert found.fills > 20
    assert found.slippage_bps.value < 0, "a maker is paid the half spread at the decision's mid"
    curve = {item.after_s: item.bps.value for item in found.markouts}
    assert curve[10.0] < -found.slippage_bps.value


def test_what_comes_later_changes_no_earlier_fill(hour: Hour) -> None:
    forecasts = _noise(hour, 3, 8.0)
    middle = (hour.session.open_ns + hour.session.close_ns) // 2
    changed = forecasts.copy()
    changed["edge_units"][changed["ts_recv"] >= middle] *= -3.0
    whole, other = (
        run_backtest(hour.settings, hour.session, hour.events, rows).journal for rows in (forecasts, changed)
    )
    early = [rows[rows["ts_ns"] < middle] for rows in (whole, other)]
    assert early[0].tobytes() == early[1].tobytes()
    assert (early[0]["kind"] == FILL).sum() > 20
    assert whole.tobytes() != other.tobytes()

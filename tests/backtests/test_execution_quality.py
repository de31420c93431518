"""Slippage, markouts and latencies of a backtest are those of its fills."""

import numpy as np
import pytest

from backtests.execution_quality import MARKOUTS_S, execution_quality
from backtests.replay import run_days
from backtests.tca import market_mids
from marketdata.clock import NS_PER_S
from tests.backtests.conftest import Hour
from tests.backtests.test_screen import _noise
from tests.backtests.test_sensitivity import oracle
from trading.journal import FILL, ORDER


def test_figures_are_those_of_a_plain_loop_over_the_fills(hour: Hour) -> None:
    days = {hour.session: (hour.events, _noise(hour, 2, 8.0))}
    results = run_days(hour.settings, days)
    found = execution_quality(results, days, seed=1)
    rows = results[0].journal
    orders = {int(o["order_id"]): o for o in rows[rows["kind"] == ORDER]}
    fills = rows[rows["kind"] == FILL]
    mids = {item.instrument_id: market_mids(hour.events, item) for item in hour.settings.instruments}
    cost, gain, lots = 0.0, 0.0, 0
    for fill in fills:
        sent = orders[int(fill["order_id"])]
        mid, side, size = 0.5 * (sent["bid_units"] + sent["ask_units"]), int(fill["side"]), int(fill["size_lots"])
        cost += 1e4 * side * (fill["price_units"] - mid) / mid * size
        later = float(mids[int(fill["instrument_id"])].at(int(fill["venue_ns"]) + NS_PER_S))
        gain += 1e4 * side * (later - fill["price_units"]) / fill["price_units"] * size
        lots += size
    assert found.fills == len(fills) > 50
    assert found.slippage_bps.value == pytest.approx(cost / lots)
    assert found.slippage_bps.low < found.slippage_bps.value < found.slippage_bps.high
    assert sum(found.slippage_counts) == len(fills)
    second = found.markouts[MARKOUTS_S.index(1.0)]
    assert second.bps.value == pytest.approx(gain / lots)
    assert second.bps.value < 0, "noise pays half the spread and gets nothing for it"
    assert found.fill_rate.value == pytest.approx(lots / sum(int(o["size_lots"]) for o in orders.values()))
    legs = {leg.leg: leg for leg in found.latencies}
    latency = hour.settings.latency
    assert legs["decision to venue"].p50_us == pytest.approx((latency.decision_ns + latency.order_ns) / 1e3)
    assert legs["fill to our knowing it"].p99_us == pytest.approx(latency.response_ns / 1e3)
    assert "at the venue to maker's fill" not in legs


def test_who_knows_the_future_is_paid_by_it_after_the_fill(hour: Hour) -> None:
    days = {hour.session: (hour.events, oracle(hour))}
    found = execution_quality(run_days(hour.settings, days), days, seed=1)
    curve = [item.bps.value for item in found.markouts]
    assert found.slippage_bps.value > 0
    assert max(curve) > curve[0]


def test_a_session_without_a_fill_has_nothing_to_show(hour: Hour) -> None:
    days = {hour.session: (hour.events, _noise(hour, 2, 1e-3))}
    found = execution_quality(run_days(hour.settings, days), days, seed=1)
    assert (found.fills, found.orders, found.slippage_counts) == (0, 0, ())
    assert np.isnan(found.slippage_bps.value)

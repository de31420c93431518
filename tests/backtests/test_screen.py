"""The screen makes the engine's round trips at the top of the book, and its money adds up."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from backtests.replay import run_backtest, run_days
from backtests.screen import Screen, align_forecasts, evidence_clock, screen
from features.dataset import Dataset
from marketdata.clock import NS_PER_DAY, NS_PER_MINUTE, Session
from marketdata.events import EventArray
from marketdata.venue_settings import Venues, VenueSettings
from models.forecast import FORECAST_DTYPE, ForecastArray, quantise
from tests.backtests.conftest import Hour
from tests.backtests.rows import make_forecasts, make_rows, make_settings
from trading.journal import RISK_REJECT


def _noise(hour: Hour, seed: int, size: float) -> ForecastArray:
    rng = np.random.default_rng(seed)
    rows = hour.dataset
    out = np.zeros(len(rows), FORECAST_DTYPE)
    out["ts_recv"] = out["due_ns"] = rows.ts_recv
    out["instrument_id"] = rows.instrument_id
    out["edge_units"] = quantise(rng.normal(0.0, size, len(rows)))
    up = np.where(out["edge_units"] > 0, 0.7, 0.2)
    out["p_up"], out["p_down"], out["p_flat"] = up, 0.9 - up, 0.1
    return out


@pytest.mark.parametrize(("seed", "size", "lots"), [(1, 3.0, 1), (2, 8.0, 1), (3, 8.0, 4)])
def test_round_trips_are_the_engines(hour: Hour, seed: int, size: float, lots: int) -> None:
    strategy = hour.settings.strategy.model_copy(update={"order_lots": lots})
    settings = hour.settings.model_copy(update={"strategy": strategy})
    forecasts = _noise(hour, seed, size)
    fast = screen(hour.dataset, forecasts, settings)
    slow = run_backtest(settings, hour.session, hour.events, forecasts)
    assert not (slow.journal["kind"] == RISK_REJECT).any()
    names = ("instrument_id", "side", "entry_ns", "gross_nanos", "fee_nanos")
    inside = fast.trips[fast.trips["exit_row"] >= 0]
    ours = {tuple(int(t[name]) for name in (*names, "exit_ns")) for t in inside}
    theirs = {tuple(row[name] for name in (*names, "exit_ns")) for row in slow.round_trips().iter_rows(named=True)}
    assert len(ours) > 20
    assert ours <= theirs
    assert len(theirs) == len(fast.trips), "what the session's end closes is a round trip of both"


def test_money_by_interval_by_day_and_by_trip_is_the_same_money() -> None:
    settings = make_settings(3)
    rows = make_rows(settings, 4, days=3)
    result = screen(rows, make_forecasts(rows, settings, 1, skill=0.2), settings)
    net = (result.trips["gross_nanos"] - result.trips["fee_nanos"]).sum() / 1e9
    assert result.round_trips > 100
    assert result.net == pytest.approx(net, abs=1e-9)
    assert result.day_pnl.sum() == pytest.approx(net, abs=1e-9)
    spans = [(s.open_ns, s.close_ns) for s in rows.sessions]
    for trip in result.trips:
        assert any(a < trip["entry_ns"] <= trip["exit_ns"] < b for a, b in spans)


def test_perfect_forecasts_earn_and_noise_pays_the_spread() -> None:
    settings = make_settings(2)
    rows = make_rows(settings, 5)
    assert screen(rows, make_forecasts(rows, settings, 1, skill=1.0), settings).net > 0
    assert screen(rows, make_forecasts(rows, settings, 1, skill=0.0), settings).net < 0


def test_a_higher_margin_trades_less() -> None:
    settings = make_settings(2)
    rows = make_rows(settings, 5)
    forecasts = make_forecasts(rows, settings, 1, skill=0.5)
    trips = [screen(rows, forecasts, settings, edge_margin=m).round_trips for m in (0.0, 0.5, 2.0)]
    assert trips[0] > trips[1] > trips[2] > 0


def test_a_shift_is_a_reordering_of_the_forecasts() -> None:
    settings = make_settings(2)
    rows = make_rows(settings, 6, days=2)
    forecasts = make_forecasts(rows, settings, 1, skill=0.5)
    source = np.random.default_rng(0).permutation(len(rows))
    moved = forecasts[source].copy()
    for name in ("ts_recv", "due_ns", "instrument_id"):
        moved[name] = forecasts[name]
    prepared = Screen.build(rows, settings)
    assert prepared.run(forecasts, source).trips.tobytes() == prepared.run(moved).trips.tobytes()


def test_forecasts_are_put_into_the_rows_order_or_refused() -> None:
    settings = make_settings(2)
    rows = make_rows(settings, 7, days=1)
    forecasts = make_forecasts(rows, settings, 1, skill=0.5)
    shuffled = forecasts[np.random.default_rng(0).permutation(len(rows))]
    assert align_forecasts(rows, shuffled).tobytes() == forecasts.tobytes()
    with pytest.raises(ValueError, match="do not belong"):
        align_forecasts(rows, forecasts[:-1])
    forecasts["ts_recv"][3] += 1
    with pytest.raises(ValueError, match="do not belong"):
        align_forecasts(rows, forecasts)


def test_a_market_that_never_closes_holds_over_the_sessions_boundary() -> None:
    settings = make_settings(1, label={"horizon_ns": 40 * NS_PER_MINUTE})
    apart = make_rows(settings, 8, days=3, hours=1.0)
    together = make_rows(settings, 8, days=3, hours=1.0, joined=True)
    edges = make_forecasts(together, settings, 1, skill=0.0, size=9.0)
    joined = screen(together, edges, settings)
    assert any(t["entry_ns"] < s.close_ns <= t["exit_ns"] for t in joined.trips for s in together.sessions[:-1])
    closed = screen(apart, make_forecasts(apart, settings, 1, skill=0.0, size=9.0), settings)
    ends = np.array([s.close_ns for s in apart.sessions])
    assert len(closed.trips)
    assert np.all(closed.trips["exit_ns"] < ends[np.searchsorted(ends, closed.trips["entry_ns"])])


def test_the_clock_runs_from_each_sessions_first_row_to_its_close() -> None:
    settings = make_settings(1)
    rows = make_rows(settings, 9, days=2, hours=1.0)
    late = rows.take(rows.ts_recv > rows.sessions[0].open_ns + 20 * NS_PER_MINUTE)
    clock = evidence_clock(late, NS_PER_MINUTE)
    first = clock.ts_ns[0] - NS_PER_MINUTE
    assert first <= late.ts_recv[0] < first + NS_PER_MINUTE
    assert clock.ts_ns[clock.day == 0][-1] == rows.sessions[0].close_ns
    ends = clock.ts_ns[clock.row_interval]
    assert np.all((late.ts_recv < ends) & (late.ts_recv >= ends - NS_PER_MINUTE))
    assert clock.days == tuple(s.date.isoformat() for s in rows.sessions)


def _next_day(hour: Hour, days: int) -> tuple[Session, EventArray, Dataset]:
    """Return the hour again, some days later."""
    late = days * NS_PER_DAY
    session = Session(
        hour.session.date + timedelta(days=days), hour.session.open_ns + late, hour.session.close_ns + late
    )
    events = hour.events.copy()
    events["ts_event"] += late
    events["ts_recv"] += late
    rows = hour.dataset
    moved = {name: getattr(rows, name) + late for name in ("ts_recv", "ts_event", "ts_known", "arrive_ns")}
    return session, events, replace(rows, sessions=(session,), **moved)


def _together(first: Dataset, second: Dataset) -> Dataset:
    names = [name for name in first.__dataclass_fields__ if isinstance(getattr(first, name), np.ndarray)]
    joined = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names}
    joined["session"] = np.repeat(np.array([0, 1], np.int32), [len(first), len(second)])
    return replace(first, sessions=first.sessions + second.sessions, **joined)


@pytest.mark.parametrize(
    ("days", "stated", "per_trade", "ppm"),
    [(1, 0.0, 0.0, [90, 10]), (1, 0.0, 0.75, [90, 10]), (40, 0.0, 0.0, [90, 90]), (1, 1e9, 0.75, [10, 10])],
)
def test_a_venues_tiers_and_its_fee_a_fill_are_paid_as_the_engine_pays_them(
    instant_hour: Hour, days: int, stated: float, per_trade: float, ppm: list[int]
) -> None:
    hour = instant_hour
    tiers = [
        {"from_volume": 0.0, "maker_ppm": 0, "taker_ppm": 90},
        {"from_volume": 20_000.0, "maker_ppm": 0, "taker_ppm": 10},
    ]
    fees = {"tiers": tiers, "per_trade": per_trade, "volume": stated}
    venue = hour.settings.instruments[0].venue
    settings = hour.settings.model_copy(
        update={
            "venues": Venues({venue: VenueSettings.model_validate({"fees": fees})}),
            "strategy": hour.settings.strategy.model_copy(update={"order_lots": 4}),
        }
    )
    session, events, later = _next_day(hour, days)
    both = _together(hour.dataset, later)
    forecasts = _noise(replace(hour, dataset=both), 3, 8.0)
    fast = screen(both, forecasts, settings)
    of_day = {hour.session: (hour.events, forecasts[: len(later)]), session: (events, forecasts[len(later) :])}
    slow = run_days(settings, of_day)
    names = ("instrument_id", "side", "entry_ns", "exit_ns", "gross_nanos", "fee_nanos")
    inside = fast.trips[fast.trips["exit_row"] >= 0]
    ours = {tuple(int(t[name]) for name in names): t for t in inside}
    theirs = {tuple(row[name] for name in names) for one in slow for row in one.round_trips().iter_rows(named=True)}
    assert len(ours) > 20
    assert set(ours) <= theirs
    assert len(theirs) == len(fast.trips)
    both_pnl = sum((key[4] - key[5]) for key in theirs & set(ours))
    assert both_pnl == int((inside["gross_nanos"] - inside["fee_nanos"]).sum()), "net profit, to the nano"
    unit = settings.instruments[0].unit_nanos
    for day, rate in enumerate(ppm):
        trips = inside[(inside["entry_ns"] >= session.open_ns) == bool(day)]
        value = (trips["entry_units"] + trips["exit_units"]) * trips["lots"] * unit
        # Two fills, each rounded up to the nano; a trip that left in two pieces pays a third fee a fill.
        whole = trips["fee_nanos"] == np.ceil(value * rate / 1e6) + 2e9 * per_trade
        near = np.abs(trips["fee_nanos"] - value * rate / 1e6 - 2e9 * per_trade) <= 2
        assert (whole | near).mean() > 0.9


def test_a_fee_a_fill_keeps_out_bets_that_it_eats() -> None:
    settings = make_settings(1)
    rows = make_rows(settings, 5)
    forecasts = make_forecasts(rows, settings, 1, skill=0.5)
    free = screen(rows, forecasts, settings)
    tiers = [{"from_volume": 0.0, "maker_ppm": 0, "taker_ppm": settings.instruments[0].fees.taker_ppm}]
    counts = [free.round_trips]
    for amount in (1e-9, 0.02, 1e3):
        fees = {"fees": {"tiers": tiers, "per_trade": amount}}
        dear = settings.model_copy(
            update={"venues": Venues({settings.instruments[0].venue: VenueSettings.model_validate(fees)})}
        )
        counts.append(screen(rows, forecasts, dear).round_trips)
    assert counts[0] == counts[1] > counts[2] > counts[3] == 0

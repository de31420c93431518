"""The study finds what is there, claims nothing where nothing is, and joins prices and signals as they were known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from features.signals.columns import SIGNAL_COLUMNS
from features.signals.study import (
    FALSE_SHARE,
    SignalSeries,
    as_known_at,
    rank_correlation,
    stationary_rows,
    study,
)
from features.signals.study_sources import hourly_prices, study_series
from marketdata.clock import NS_PER_DAY, NS_PER_HOUR

T0 = 1_767_225_600 * 10**9


def _series(seed: int, effect: float, days: int = 150, kind: str = "onchain") -> SignalSeries:
    rng = np.random.default_rng(seed)
    decisions = T0 + np.arange(days + 1) * NS_PER_DAY
    value = rng.normal(size=days)
    returns = 0.02 * (effect * value + rng.normal(size=days))
    prices = 100.0 * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))
    names = SIGNAL_COLUMNS[kind]
    columns = {name: rng.normal(size=days) for name in names} | {names[0]: value}
    frame = pl.DataFrame({"ts_known": decisions[:-1] - NS_PER_HOUR, **columns})
    return SignalSeries("test", "X", kind, frame, decisions, prices, NS_PER_DAY)


def test_a_signal_that_informs_is_found_and_the_others_are_not() -> None:
    rows = study([_series(3, 0.8)], draws=500)
    assert len(rows) == 2 * len(SIGNAL_COLUMNS["onchain"])
    by = {(row.signal, row.target): row for row in rows}
    told = by["onchain_flow_ratio", "return"]
    assert told.verdict == "informs"
    assert told.n == 150
    assert 0.3 < told.low < told.ic < told.high < 0.9
    assert sum(row.verdict == "informs" for row in rows) == 1


def test_what_the_day_of_the_week_explains_is_called_so() -> None:
    item = _series(4, 0.0, days=210)
    rng = np.random.default_rng(8)
    quiet = np.arange(210) % 7 < 2
    returns = rng.normal(size=210) * np.where(quiet, 0.002, 0.02)
    signals = item.signals.with_columns(pl.Series(SIGNAL_COLUMNS["onchain"][0], quiet + 0.3 * rng.normal(size=210)))
    prices = 100.0 * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))
    rows = study([replace(item, signals=signals, prices=prices)], draws=500)
    row = next(r for r in rows if (r.signal, r.target) == ("onchain_flow_ratio", "size"))
    assert row.ic < -0.4
    assert row.verdict == "weekday only"
    assert row.weekday_low < 0 < row.weekday_high


def test_noise_is_called_informative_no_more_often_than_allowed() -> None:
    rows = study([_series(seed, 0.0, days=80) for seed in range(12)], draws=300)
    assert sum(row.verdict == "informs" for row in rows) <= 2, f"of {len(rows)} with a share of {FALSE_SHARE}"
    assert np.mean([row.low <= 0 <= row.high for row in rows]) > 0.85


def test_too_few_days_are_insufficient_whatever_they_say() -> None:
    row = study([_series(1, 5.0, days=29)], draws=100)[0]
    assert (row.verdict, row.n) == ("insufficient", 29)
    assert np.isnan([row.ic, row.low, row.high, row.q]).all()


def test_a_signal_counts_from_when_it_was_known_until_it_is_too_old() -> None:
    frame = pl.DataFrame({"ts_known": [10, 20, 40], "a": [1.0, 2.0, 4.0]})
    found = as_known_at(frame, "a", np.array([9, 10, 19, 20, 30, 31, 40], np.int64), 10)
    np.testing.assert_array_equal(found, [np.nan, 1.0, 1.0, 2.0, 2.0, np.nan, 4.0])


def test_an_hour_has_a_price_when_it_is_over() -> None:
    hours = pl.DataFrame({"open_time": [0, 3_600_000], "close": [1.0, 2.0]})
    times = np.array([NS_PER_HOUR - 1, NS_PER_HOUR, 2 * NS_PER_HOUR - 1, 2 * NS_PER_HOUR], np.int64)
    np.testing.assert_array_equal(hourly_prices(hours, times), [np.nan, 1.0, 1.0, 2.0])


def test_rank_correlations_are_spearmans_and_blocks_are_as_long_as_asked() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 5, (3, 40)).astype(float), rng.normal(size=(3, 40))
    wanted = [spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(rank_correlation(x, y), wanted)
    rows = stationary_rows(100, 7, 400, rng)
    follows = (np.diff(rows, axis=1) % 100 == 1).mean()
    assert follows == pytest.approx(1 - 1 / 7, abs=0.02)
    assert np.unique(rows).size == 100


@pytest.mark.realdata
def test_whale_flow_is_joined_to_hourly_prices_and_told_with_its_interval_whatever_it_is(shared_data: Path) -> None:
    series = list(study_series(shared_data, ["crypto"]))
    assert {(item.symbol, item.kind) for item in series} == {
        ("BTC", "options"),
        ("BTC", "social"),
        ("BTC", "onchain"),
        ("ETH", "options"),
        ("ETH", "social"),
    }
    btc = next(item for item in series if (item.symbol, item.kind) == ("BTC", "onchain"))
    assert len(btc.prices) == 122
    assert np.isfinite(btc.prices).all()
    row = next(row for row in study([btc]) if (row.signal, row.target) == ("onchain_flow_ratio", "return"))
    assert row.n >= 30
    assert row.low < row.ic < row.high, f"{row.ic:+.3f}, {row.low:+.3f} to {row.high:+.3f} on {row.n} days"


@pytest.mark.realdata
@pytest.mark.parametrize(("market", "days"), [("MSTR", 52), ("SPX 2019", 41), ("SPX 2026", 69)])
def test_option_signals_are_made_of_recorded_equity_chains(shared_data: Path, market: str, days: int) -> None:
    (series,) = study_series(shared_data, [market])
    found = series.signals
    assert found.height == days
    assert np.ptp(np.log(series.prices)) < 1.0
    level = found["options_atm_iv"].fill_nan(None).drop_nulls()
    assert level.is_between(0.05, 2.0).all()
    assert len(level) >= 0.9 * days
    for name in ("options_unusual_score", "options_interest_imbalance", "options_gamma_ratio", "options_skew"):
        known = found[name].fill_nan(None).drop_nulls()
        assert known.is_between(-1.0, 1.0).all()
        assert len(known) >= 0.8 * days, name
    if market.startswith("SPX"):
        assert found["options_skew"].fill_nan(None).mean() < 0, "an index's puts cost more than its calls"

"""Every suite holds on good rows and names the expectation that a fault breaks."""

import polars as pl
import pytest

from marketdata.check_names import CHECK_NAMES
from marketdata.expectations import CHECKS
from marketdata.presets import preset
from marketdata.slow_data import SLOW_KINDS, SLOW_SCHEMAS
from marketdata.suites import run_suite

SETTINGS = preset("simulated", None)
T0 = 1_767_627_000_000_000_000
TIMES = [T0 + k * 1_000_000 for k in range(4)]
SIGNALS = ("social_sentiment", "social_attention", "social_sentiment_change")


def points() -> pl.DataFrame:
    return pl.DataFrame(
        {"ts_recv": TIMES, "ts_event": [t - 10 for t in TIMES], "kind": [0, 1, 2, 3]},
        schema_overrides={"kind": pl.UInt8},
    )


def labels() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "ts_recv": TIMES,
            "y": pl.Series([-1, 0, 1, -128], dtype=pl.Int8),
            "move_units": [-3.0, 0.5, 3.0, float("nan")],
            "threshold_units": [1.0] * 4,
            "ts_known": [*(t + 10**10 for t in TIMES[:3]), 2**63 - 1],
            "arrive_ns": [t + 4_100_000 for t in TIMES],
            "entry_bid_units": [100] * 4,
            "entry_ask_units": [102] * 4,
            "entry_bid_lots": [5, 5, 0, 5],
            "entry_ask_lots": [5] * 4,
        }
    )


def signals() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "ts_known": TIMES,
            "symbol": ["ALFA", "BRAVO", "ALFA", "ECHO"],
            "social_sentiment": [0.5, -1.0, float("nan"), 1.0],
            "social_attention": [3.0, -0.5, 0.0, 12.0],
            "social_sentiment_change": [1.9, -2.0, float("nan"), 0.0],
        }
    )


def dataset() -> pl.DataFrame:
    frame = labels().with_columns(
        pl.col("ts_recv").alias("ts_event"),
        pl.Series("instrument_id", [0, 1, 2, 4], dtype=pl.Int16),
        pl.Series("depth_imbalance_l1", [0.1, -1.0, 1.0, float("nan")], dtype=pl.Float32),
        pl.Series("realised_vol_bps_1s", [0.0, 1.0, 2.0, float("nan")], dtype=pl.Float32),
    )
    return frame.drop("entry_bid_units", "entry_ask_units")


MADE = {"points": points, "labels": labels, "signals": signals, "dataset": dataset}
COLUMNS = {"signals": SIGNALS, "dataset": tuple(dataset().columns)}

FAULTS = {
    "points out of order": ("points", {"ts_recv": TIMES[::-1]}, "increasing(column=ts_recv"),
    "a point before it happened": ("points", {"ts_event": [TIMES[0] + 1, *TIMES[1:]]}, "column_B=ts_event"),
    "an unknown kind of point": ("points", {"kind": [0, 1, 2, 7]}, "in_set(column=kind"),
    "labels out of order": ("labels", {"ts_recv": TIMES[::-1]}, "increasing(column=ts_recv"),
    "an unknown class": ("labels", {"y": [-1, 0, 2, -128]}, "in_set(column=y"),
    "a label known at its row": ("labels", {"ts_known": TIMES}, "column_A=ts_known"),
    "an order that arrives before the row": ("labels", {"arrive_ns": [t - 1 for t in TIMES]}, "column_A=arrive_ns"),
    "a class without a move": ("labels", {"move_units": [float("nan")] * 4}, "column=unexplained_class"),
    "a negative size": ("labels", {"entry_bid_lots": [5, -1, 0, 5]}, "column=entry_bid_lots"),
    "signals out of order": ("signals", {"ts_known": TIMES[::-1]}, "increasing(column=ts_known"),
    "a signal of nobody": ("signals", {"symbol": ["ALFA", "ZULU", "ALFA", "ECHO"]}, "in_set(column=symbol"),
    "a change of sentiment above two": (
        "signals",
        {"social_sentiment_change": [0.5, 2.1, 0.0, 0.0]},
        "column=largest_ratio",
    ),
    "a sentiment above one": ("signals", {"social_sentiment": [0.5, 1.5, 0.0, 0.0]}, "column=largest_ratio"),
    "an infinite signal": ("signals", {"social_attention": [float("inf")] * 4}, "column=infinite_values"),
    "a row of an instrument that is none": ("dataset", {"instrument_id": [0, 1, 2, 9]}, "in_set(column=instrument_id"),
    "a negative volatility": ("dataset", {"realised_vol_bps_1s": [0.0, -1.0, 2.0, 0.0]}, "column=smallest_count"),
    "an imbalance above one": ("dataset", {"depth_imbalance_l1": [0.1, 1.1, 0.0, 0.0]}, "column=largest_ratio"),
}


@pytest.mark.parametrize("kind", MADE)
def test_a_suite_holds_on_good_rows_and_says_how_much_it_looked_at(kind):
    (check,), result = run_suite(kind, MADE[kind](), SETTINGS, COLUMNS.get(kind, ()))
    assert check.passed, check.detail
    assert check.blocking
    assert check.name == CHECKS[kind]
    assert len(result["results"]) >= 6


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_the_suite_by_the_name_of_its_expectation(fault):
    kind, changes, said = FAULTS[fault]
    good = MADE[kind]()
    bad = good.with_columns(
        pl.Series(name, values).cast(good.schema[name], strict=False) for name, values in changes.items()
    )
    (check,), _ = run_suite(kind, bad, SETTINGS, COLUMNS.get(kind, ()))
    assert not check.passed
    assert said in check.detail


@pytest.mark.parametrize("kind", ["points", "labels", "signals"])
def test_a_quiet_day_without_rows_is_no_fault(kind):
    (check,), _ = run_suite(kind, MADE[kind]().clear(), SETTINGS, COLUMNS.get(kind, ()))
    assert check.passed, check.detail


def test_a_dataset_without_rows_or_with_a_column_more_is_a_fault():
    (empty,), _ = run_suite("dataset", dataset().clear(), SETTINGS, COLUMNS["dataset"])
    assert "row_count" in empty.detail
    more = dataset().with_columns(pl.lit(0.0, pl.Float32).alias("leak"))
    (odd,), _ = run_suite("dataset", more, SETTINGS, COLUMNS["dataset"])
    assert "column=odd_columns" in odd.detail


def test_missing_columns_are_a_fault_and_not_a_crash():
    (check,), _ = run_suite("points", points().drop("kind"), SETTINGS)
    assert not check.passed


def test_every_suite_s_check_is_declared_for_an_asset():
    declared = {name for checks in CHECK_NAMES.values() for name in checks}
    assert set(CHECKS.values()) <= declared


def _slow(kind: str) -> pl.DataFrame:
    rows = {
        "options": {
            "ts_known": TIMES,
            "ts_snapshot": [t - 5 for t in TIMES],
            "symbol": ["ALFA"] * 4,
            "contract": ["a", "b", "c", "d"],
            "is_call": [True, False, True, False],
            "strike": [90.0, 90.0, 110.0, 110.0],
            "expiry_ns": [T0 + 10**15] * 4,
            "bid": [1.0, None, 2.0, 3.0],
            "ask": [1.1, 1.0, 2.0, None],
            "mark": [1.05, 0.5, 2.0, 3.0],
            "iv": [0.5, None, 0.6, 0.7],
            "delta": [0.5, -0.5, 0.4, None],
            "open_interest": [10.0, 0.0, 5.0, 1.0],
            "volume": [0.0, 1.0, 2.0, 3.0],
            "volume_usd": [0.0, 100.0, 200.0, 300.0],
            "underlying": [100.0] * 4,
        },
        "social": {
            "ts_known": TIMES,
            "ts_posted": [t - 5 for t in TIMES],
            "symbol": ["ALFA", "BRAVO", None, "ALFA"],
            "post_id": ["a", "b", "c", "d"],
            "text": ["up", "down", "", "flat"],
            "votes": [0, 3, None, 5],
        },
        "onchain": {
            "ts_known": TIMES,
            "ts_block": [t - 5 for t in TIMES],
            "symbol": ["ALFA"] * 4,
            "tx_id": ["a", "b", "c", "d"],
            "amount": [1.0, 2.0, 3.0, 4.0],
            "from_label": ["Castle", "", "", "Castle"],
            "to_label": ["", "Castle", "", "Castle"],
            "label_known_since": [T0, T0, 2**63 - 1, T0],
            "dormant_days": [None, 0.5, 10.0, None],
        },
    }
    return pl.DataFrame(rows[kind], schema=SLOW_SCHEMAS[kind])


SLOW_FAULTS = {
    "a chain of nobody": ("options", {"symbol": ["ZULU"] * 4}, "in_set(column=symbol"),
    "a chain known before it was taken": ("options", {"ts_snapshot": [t + 1 for t in TIMES]}, "column_B=ts_snapshot"),
    "an expired contract": ("options", {"expiry_ns": [T0 - 10**9] * 4}, "column_A=expiry_ns"),
    "a bid above its ask": ("options", {"bid": [2.0, None, 2.0, 3.0]}, "column_B=bid"),
    "a delta above one": ("options", {"delta": [1.5, -0.5, 0.4, 0.1]}, "column=delta"),
    "an absurd volatility": ("options", {"iv": [0.5, 0.5, 0.6, 70.0]}, "column=iv"),
    "a strike of zero": ("options", {"strike": [0.0, 90.0, 110.0, 110.0]}, "column=strike"),
    "open interest that is missing": ("options", {"open_interest": [None, 0.0, 5.0, 1.0]}, "column=open_interest"),
    "a post without a text": ("social", {"text": [None, "a", "b", "c"]}, "column=text"),
    "negative votes": ("social", {"votes": [-1, 0, 0, 0]}, "column=votes"),
    "posts out of order": ("social", {"ts_known": TIMES[::-1]}, "increasing(column=ts_known"),
    "a transfer of nothing": ("onchain", {"amount": [0.0, 2.0, 3.0, 4.0]}, "column=amount"),
    "coins that rest for less than nothing": (
        "onchain",
        {"dormant_days": [-1.0, 1.0, 1.0, 1.0]},
        "column=dormant_days",
    ),
    "a label without a time": ("onchain", {"label_known_since": [None, T0, T0, T0]}, "column=label_known_since"),
}


@pytest.mark.parametrize("kind", SLOW_KINDS)
def test_raw_slow_rows_hold_and_a_day_without_any_as_well(kind):
    for frame in (_slow(kind), _slow(kind).clear()):
        (check,), _ = run_suite(kind, frame, SETTINGS)
        assert check.passed, check.detail
        assert check.name == "slow_suite_holds"
    (odd,), _ = run_suite(kind, _slow(kind).with_columns(pl.lit(1).alias("more")), SETTINGS)
    assert not odd.passed


def test_a_day_on_which_nobodys_dormancy_is_known_holds():
    frame = _slow("onchain").with_columns(pl.lit(None, pl.Float64).alias("dormant_days"))
    (check,), _ = run_suite("onchain", frame, SETTINGS)
    assert check.passed, check.detail


@pytest.mark.parametrize("fault", SLOW_FAULTS)
def test_a_fault_in_raw_slow_rows_is_named(fault):
    kind, changes, said = SLOW_FAULTS[fault]
    good = _slow(kind)
    bad = good.with_columns(pl.Series(name, values, good.schema[name]) for name, values in changes.items())
    (check,), _ = run_suite(kind, bad, SETTINGS)
    assert not check.passed
    assert said in check.detail

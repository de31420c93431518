"""Every suite holds on good rows and names the expectation that a fault breaks."""

import polars as pl
import pytest

from marketdata.check_names import CHECK_NAMES
from marketdata.expectations import CHECKS
from marketdata.presets import preset
from marketdata.suites import run_suite

SETTINGS = preset("simulated", None)
T0 = 1_767_627_000_000_000_000
TIMES = [T0 + k * 1_000_000 for k in range(4)]
SIGNALS = ("social_sentiment", "social_attention")


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

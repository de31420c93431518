"""What has to hold of the rows of each kind of partition, as expectations of Great Expectations.

The library works on pandas: only the columns that a suite names are converted, and what concerns many columns at once
(infinities, ratios within [-1, 1], counts that are not negative, columns that are missing) is first reduced to one number a row.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import polars as pl

from marketdata import check_names as names
from marketdata.codecs import bars, lean, lobster
from marketdata.events import ADD, STATUS
from marketdata.settings import Settings
from marketdata.slow_data import SLOW_KINDS
from marketdata.slow_expectations import slow_rules
from marketdata.validation import KEY_COLUMNS, LABEL_CLASSES, LABEL_COLUMNS, LABEL_MISSING, SIMULATED_COLUMNS

SuiteKind = Literal["raw", "features", "points", "labels", "signals", "dataset", "options", "social", "onchain"]

CHECKS: Final[Mapping[SuiteKind, str]] = {
    "raw": names.RAW_SUITE,
    "features": names.FEATURE_SUITE,
    "points": names.POINT_SUITE,
    "labels": names.LABEL_SUITE,
    "signals": names.SIGNAL_SUITE,
    "dataset": names.DATASET_SUITE,
    "options": names.SLOW_SUITE,
    "social": names.SLOW_SUITE,
    "onchain": names.SLOW_SUITE,
}
"""The check that the outcome of each suite is shown as."""
MS_PER_DAY: Final = 86_400_000
RATIOS: Final = (
    "depth_imbalance",
    "trade_imbalance",
    "arrival_imbalance",
    "cancel_imbalance",
    "toxicity",
    "vpin",
    "book_pressure",
    "touch_share",
    "depth_entropy",
    "imbalance_mean",
    "slope_imbalance",
    "gap_imbalance",
    "wall_imbalance",
    "depletion_imbalance",
    "improvement_imbalance",
    "cancel_share",
    "trade_count_imbalance",
    "hidden_share",
    "largest_trade_share",
    "sweep_share",
    "trade_run",
    "sign_autocorrelation",
    "burstiness",
    "waiting_memory",
    "trade_age",
    "volume_below",
    "impact_fit",
    "range_position",
    "semivariance_imbalance",
    "no_move_share",
    "path_efficiency",
    "mid_move_imbalance",
    "last_mid_move",
    "rsi",
    "last_trade_sign",
    "mid_age",
    "time_of_day",
    "options_unusual_score",
    "options_volume_imbalance",
    "options_unusual_share",
    "options_interest_imbalance",
    "options_gamma_ratio",
    "social_repeats",
    "social_dispersion",
    "social_sentiment",
    "onchain_flow_ratio",
)
"""Families of features and signals whose values lie in [-1, 1]."""
NOT_NEGATIVE: Final = (
    *(
        "hawkes_s_",
        "realised_vol",
        "toxicity",
        "mid_age",
        "options_atm_iv",
        "vpin",
        "touch_share",
        "depth_entropy",
        "book_slope",
    ),
    *(
        "gap_ticks",
        "wall_size",
        "spread_mean",
        "spread_relative",
        "queue_",
        "cancel_share",
        "volume_relative",
        "hidden_share",
    ),
    *("roll_spread", "trade_size_cv", "sweep_share", "trade_age", "amihud", "impact_fit", "parkinson", "garman_klass"),
    *("options_unusual_share", "social_dispersion", "social_repeats", "onchain_dormancy"),
    *("rogers_satchell", "range_bps", "median_variance", "realised_kurtosis", "variance_ratio", "no_move_share"),
)
"""Families of features and signals that are never negative."""
POINT_KINDS: Final = (0, 1, 2, 3)
"""Aggressive buy, aggressive sell, mid up, mid down."""
TOLERANCE: Final = 1e-9


class Rules(NamedTuple):
    """Expectations of a partition, and the few columns that they look at."""

    expectations: list[Any]
    rows: pl.DataFrame


def rules_of(kind: SuiteKind, frame: pl.DataFrame, settings: Settings, columns: Sequence[str]) -> Rules:
    """Return what has to hold of a partition.

    Parameters
    ----------
    columns : sequence of str
        Columns that it must have and no others; without them those that the kind itself knows.
    """
    return _RULES[kind](frame, settings, tuple(columns))


def _raw_rules(frame: pl.DataFrame, settings: Settings, columns: tuple[str, ...]) -> Rules:
    expectations, named = _raw_suite(frame, settings)
    return Rules(expectations, frame.select([name for name in named if name in frame.columns]))


def _raw_suite(frame: pl.DataFrame, settings: Settings) -> tuple[list[Any], list[str]]:
    """Return the expectations of a source's raw rows, and the columns that they look at."""
    import great_expectations.expectations as gxe

    if settings.source == "simulated":
        return [
            gxe.ExpectTableColumnsToMatchSet(column_set=list(SIMULATED_COLUMNS), exact_match=False),
            gxe.ExpectTableRowCountToBeBetween(min_value=1),
            gxe.ExpectColumnValuesToNotBeNull(column="ts_event"),
            gxe.ExpectColumnValuesToBeIncreasing(column="ts_event"),
            gxe.ExpectColumnMinToBeBetween(column="price_units", min_value=0),
            gxe.ExpectColumnMinToBeBetween(column="size_lots", min_value=0),
            gxe.ExpectColumnMinToBeBetween(column="action", min_value=ADD),
            gxe.ExpectColumnMaxToBeBetween(column="action", max_value=STATUS),
            gxe.ExpectColumnMinToBeBetween(column="side", min_value=-1),
            gxe.ExpectColumnMaxToBeBetween(column="side", max_value=1),
            gxe.ExpectColumnUniqueValueCountToBeBetween(column="instrument_id", min_value=1, max_value=1),
        ], list(SIMULATED_COLUMNS)
    if settings.source == "recorded":
        names = ["ts_event", "ts_recv", "price_units", "size_lots", "action", "side", "instrument_id"]
        return [
            gxe.ExpectTableColumnsToMatchSet(column_set=names, exact_match=False),
            gxe.ExpectTableRowCountToBeBetween(min_value=1),
            gxe.ExpectColumnMinToBeBetween(column="ts_event", min_value=1),
            gxe.ExpectColumnValuesToBeIncreasing(column="ts_recv"),
            gxe.ExpectColumnMinToBeBetween(column="price_units", min_value=0),
            gxe.ExpectColumnMinToBeBetween(column="size_lots", min_value=0),
            gxe.ExpectColumnMinToBeBetween(column="action", min_value=ADD),
            gxe.ExpectColumnMaxToBeBetween(column="action", max_value=STATUS),
            gxe.ExpectColumnMinToBeBetween(column="side", min_value=-1),
            gxe.ExpectColumnMaxToBeBetween(column="side", max_value=1),
            gxe.ExpectColumnUniqueValueCountToBeBetween(column="instrument_id", min_value=1, max_value=1),
        ], names
    if settings.source == "lobster":
        names = [*lobster.MESSAGE_COLUMNS, *lobster.book_columns(max(lobster.raw_levels(frame), 1))[:4]]
        return [
            gxe.ExpectTableColumnsToMatchSet(column_set=names, exact_match=False),
            gxe.ExpectTableRowCountToBeBetween(min_value=1),
            gxe.ExpectColumnValuesToNotBeNull(column="time"),
            gxe.ExpectColumnValuesToBeIncreasing(column="time"),
            gxe.ExpectColumnMinToBeBetween(column="time", min_value=0),
            gxe.ExpectColumnMaxToBeBetween(column="time", max_value=86_400),
            gxe.ExpectColumnMinToBeBetween(column="type", min_value=1),
            gxe.ExpectColumnMaxToBeBetween(column="type", max_value=lobster.LAST_TYPE),
            gxe.ExpectColumnMinToBeBetween(column="size", min_value=0),
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="ask_price_1", column_B="bid_price_1"),
        ], names
    if settings.source == "lean_equity":
        names = [name for name in lean.RAW_COLUMNS if name not in ("exchange", "condition")]
        return [
            gxe.ExpectTableColumnsToMatchSet(column_set=names, exact_match=False),
            gxe.ExpectTableRowCountToBeBetween(min_value=1),
            gxe.ExpectColumnMinToBeBetween(column="ms", min_value=0),
            gxe.ExpectColumnMaxToBeBetween(column="ms", max_value=MS_PER_DAY),
            gxe.ExpectColumnDistinctValuesToBeInSet(column="kind", value_set=[0, 1]),
            gxe.ExpectColumnDistinctValuesToBeInSet(column="suspicious", value_set=[0, 1]),
            *(gxe.ExpectColumnMinToBeBetween(column=name, min_value=0) for name in names[2:-1]),
        ], names
    names = [name for name in bars.SCHEMA if name != "ignore"]
    return [
        gxe.ExpectTableColumnsToMatchSet(column_set=names, exact_match=False),
        gxe.ExpectTableRowCountToBeBetween(min_value=1, max_value=24),
        gxe.ExpectColumnValuesToBeIncreasing(column="open_time", strictly=True),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="close_time", column_B="open_time"),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="high", column_B="low", or_equal=True),
        gxe.ExpectColumnMinToBeBetween(column="low", min_value=0, strict_min=True),
        gxe.ExpectColumnMinToBeBetween(column="volume", min_value=0),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="volume", column_B="taker_buy_volume", or_equal=True),
    ], names


RATIO_DIFFERENCES: Final = frozenset({"social_sentiment_change"})
"""Differences of two ratios: they lie within -2 and 2."""

_REDUCED: Final = ("infinite_values", "largest_ratio", "smallest_count")


def _reduced(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return the frame with, row by row, how many of the named values are infinite, the largest |ratio|, the smallest count."""
    ratios = [
        pl.col(name).abs().fill_nan(0.0) / (2.0 if name in RATIO_DIFFERENCES else 1.0)
        for name in names
        if name.startswith(RATIOS)
    ]
    counts = [pl.col(name).fill_nan(0.0) for name in names if name.startswith(NOT_NEGATIVE)]
    infinite = [pl.col(name).is_infinite().cast(pl.Int64) for name in names]
    zero = pl.lit(0.0)
    return frame.with_columns(
        (pl.sum_horizontal(infinite) if infinite else pl.lit(0, pl.Int64)).alias("infinite_values"),
        pl.max_horizontal(zero, *ratios).alias("largest_ratio"),
        pl.min_horizontal(zero, *counts).alias("smallest_count"),
    )


def _reduced_rules() -> list[Any]:
    import great_expectations.expectations as gxe

    return [
        gxe.ExpectColumnMaxToBeBetween(column="infinite_values", max_value=0),
        gxe.ExpectColumnMaxToBeBetween(column="largest_ratio", max_value=1.0 + TOLERANCE),
        gxe.ExpectColumnMinToBeBetween(column="smallest_count", min_value=-TOLERANCE),
    ]


def _in_order(column: str) -> list[Any]:
    import great_expectations.expectations as gxe

    return [
        gxe.ExpectColumnValuesToNotBeNull(column=column),
        gxe.ExpectColumnValuesToBeIncreasing(column=column),
    ]


def _not_before(later: str, earlier: str, *, or_equal: bool = True) -> Any:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A=later, column_B=earlier, or_equal=or_equal)


def _shape(names: Sequence[str], least: int = 0, most: int | None = None) -> list[Any]:
    import great_expectations.expectations as gxe

    return [
        gxe.ExpectTableColumnsToMatchSet(column_set=list(names), exact_match=True),
        gxe.ExpectTableRowCountToBeBetween(min_value=least, max_value=most),
    ]


def _feature_rules(frame: pl.DataFrame, settings: Settings, columns: tuple[str, ...]) -> Rules:
    import great_expectations.expectations as gxe

    names = [*KEY_COLUMNS, *_REDUCED]
    expectations = _shape(names, most=settings.sampling.max_rows)
    if frame.height:
        expectations += [
            *_in_order("ts_recv"),
            _not_before("ts_recv", "ts_event"),
            _not_before("ask_units", "bid_units"),
            gxe.ExpectColumnMinToBeBetween(column="bid_lots", min_value=0),
            gxe.ExpectColumnMinToBeBetween(column="ask_lots", min_value=0),
            *_reduced_rules(),
        ]
    rows = _reduced(frame, [name for name in frame.columns if name not in KEY_COLUMNS])
    return Rules(expectations, rows.select([name for name in names if name in rows.columns]))


def _point_rules(frame: pl.DataFrame, settings: Settings, columns: tuple[str, ...]) -> Rules:
    import great_expectations.expectations as gxe

    expectations = _shape(("ts_recv", "ts_event", "kind"))
    if frame.height:
        expectations += [
            *_in_order("ts_recv"),
            _not_before("ts_recv", "ts_event"),
            gxe.ExpectColumnDistinctValuesToBeInSet(column="kind", value_set=list(POINT_KINDS)),
        ]
    return Rules(expectations, frame)


def _outcome_rules() -> list[Any]:
    """Return what holds of labels, in their own partition and in the dataset."""
    import great_expectations.expectations as gxe

    return [
        gxe.ExpectColumnDistinctValuesToBeInSet(column="y", value_set=[*LABEL_CLASSES, LABEL_MISSING]),
        _not_before("ts_known", "ts_recv", or_equal=False),
        _not_before("arrive_ns", "ts_recv"),
        gxe.ExpectColumnMaxToBeBetween(column="unexplained_class", max_value=0),
        gxe.ExpectColumnMinToBeBetween(column="entry_bid_lots", min_value=0),
        gxe.ExpectColumnMinToBeBetween(column="entry_ask_lots", min_value=0),
    ]


def _explained(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with, row by row, whether its class is known although its move is not."""
    known, move = pl.col("y") != LABEL_MISSING, pl.col("move_units")
    return frame.with_columns((known & (move.is_nan() | move.is_null())).cast(pl.Int64).alias("unexplained_class"))


def _label_rules(frame: pl.DataFrame, settings: Settings, columns: tuple[str, ...]) -> Rules:
    expectations = _shape((*LABEL_COLUMNS, "unexplained_class"))
    if frame.height:
        expectations += [*_in_order("ts_recv"), *_outcome_rules()]
    return Rules(expectations, _explained(frame))


def _signal_rules(frame: pl.DataFrame, settings: Settings, columns: tuple[str, ...]) -> Rules:
    import great_expectations.expectations as gxe

    keys = ("ts_known", "symbol")
    expectations = _shape((*keys, *columns, *_REDUCED))
    if frame.height:
        expectations += [
            *_in_order("ts_known"),
            gxe.ExpectColumnDistinctValuesToBeInSet(
                column="symbol", value_set=[item.symbol for item in settings.instruments]
            ),
            *_reduced_rules(),
        ]
    return Rules(expectations, _reduced(frame, [name for name in frame.columns if name not in keys]))


_DATASET_KEYS: Final = (
    *("ts_recv", "ts_event", "ts_known", "instrument_id", "y", "move_units", "arrive_ns"),
    *("entry_bid_lots", "entry_ask_lots"),
)


def _dataset_rules(frame: pl.DataFrame, settings: Settings, columns: tuple[str, ...]) -> Rules:
    import great_expectations.expectations as gxe

    traded = [item.instrument_id for item in settings.instruments if item.is_traded]
    reduced = (*_REDUCED, "unexplained_class", "odd_columns")
    expectations = [
        *_shape((*_DATASET_KEYS, *reduced), least=1, most=settings.sampling.max_rows * max(len(traded), 1)),
        *_in_order("ts_recv"),
        _not_before("ts_recv", "ts_event"),
        gxe.ExpectColumnDistinctValuesToBeInSet(column="instrument_id", value_set=traded),
        *_outcome_rules(),
        gxe.ExpectColumnMaxToBeBetween(column="odd_columns", max_value=0),
        *_reduced_rules(),
    ]
    odd = len(set(frame.columns) ^ set(columns)) if columns else 0
    features = [name for name, kind in frame.schema.items() if kind == pl.Float32]
    rows = _explained(_reduced(frame, features)).with_columns(pl.lit(odd, pl.Int64).alias("odd_columns"))
    return Rules(expectations, rows.select(*_DATASET_KEYS, *reduced))


def _slow_rules(kind: str) -> Callable[[pl.DataFrame, Settings, tuple[str, ...]], Rules]:
    def rules(frame: pl.DataFrame, settings: Settings, columns: tuple[str, ...]) -> Rules:
        return Rules(*slow_rules(kind, frame, settings))

    return rules


_RULES: Final[Mapping[SuiteKind, Callable[[pl.DataFrame, Settings, tuple[str, ...]], Rules]]] = {
    "raw": _raw_rules,
    "features": _feature_rules,
    "points": _point_rules,
    "labels": _label_rules,
    "signals": _signal_rules,
    "dataset": _dataset_rules,
    **{kind: _slow_rules(kind) for kind in SLOW_KINDS},
}

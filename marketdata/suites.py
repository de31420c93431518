"""Great Expectations suites over raw ticks and feature rows, as code; results are plain JSON beside each partition.

A suite is a real run of Great Expectations over the rows of the partition, in an ephemeral context that is made once
a process. The library works on pandas: only the columns that a suite names are converted, and what concerns many
feature columns at once (infinities, ratios within [-1, 1], counts that are not negative) is first reduced to one
number a row. The library's own pages load style sheets from the network; the night's HTML report is the offline
record, these pages are for browsing.
"""

import html
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from marketdata.check_names import FEATURE_SUITE, RAW_SUITE
from marketdata.codecs import bars, lean, lobster
from marketdata.events import ADD, STATUS
from marketdata.partitions import CheckResult
from marketdata.settings import Settings
from marketdata.validation import KEY_COLUMNS, SIMULATED_COLUMNS

SuiteKind = Literal["raw", "features"]
Result = dict[str, Any]

_CHECKS: Final[Mapping[SuiteKind, str]] = {"raw": RAW_SUITE, "features": FEATURE_SUITE}
MS_PER_DAY: Final = 86_400_000
RATIOS: Final = (
    "depth_imbalance",
    "trade_imbalance",
    "arrival_imbalance",
    "cancel_imbalance",
    "toxicity",
    "last_trade_sign",
    "mid_age",
    "time_of_day",
)
"""Feature families whose values lie in [-1, 1]."""
NOT_NEGATIVE: Final = ("hawkes_s_", "realised_vol", "toxicity", "mid_age")
"""Feature families that are never negative."""


def run_suite(kind: SuiteKind, frame: pl.DataFrame, settings: Settings) -> tuple[list[CheckResult], Result]:
    """Run the suite of a kind over a partition's rows.

    Parameters
    ----------
    kind : {"raw", "features"}
        Raw ticks in their source's own columns, or feature rows.
    settings : Settings
        Say which source's columns to expect, and the most rows a session may have.

    Returns
    -------
    list of CheckResult
        One blocking result for the suite; its detail names the expectations that failed.
    dict
        Every expectation with its outcome, JSON-able, without times or ids: equal rows give an equal result.
    """
    import great_expectations as gx

    expectations, columns = _raw_suite(frame, settings) if kind == "raw" else _feature_suite(frame, settings)
    narrow = _reduce_features(frame) if kind == "features" else frame
    kept = narrow.select([name for name in columns if name in narrow.columns])
    suite = gx.ExpectationSuite(name=f"{settings.source}_{kind}", expectations=expectations)
    batch = _batch_definition().get_batch({"dataframe": kept.to_pandas()})
    result = _plain(batch.validate(suite, result_format="BASIC").to_json_dict())
    failed = [_sentence(item) for item in result["results"] if not item["success"]]
    detail = "; ".join(failed) if failed else f"{len(result['results'])} expectations hold"
    return [CheckResult(_CHECKS[kind], not failed, True, detail, 0)], result


def prepare_suites() -> None:
    """Make what every suite of this process shares: the library's context."""
    _batch_definition()


@lru_cache(maxsize=1)
def _batch_definition() -> Any:
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("partitions").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("whole")


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


_REDUCED: Final = ("infinite_values", "largest_ratio", "smallest_count")


def _reduce_features(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the keys and, row by row, how many features are infinite, the largest |ratio| and the smallest count."""
    features = [name for name in frame.columns if name not in KEY_COLUMNS]
    ratios = [pl.col(name).abs().fill_nan(0.0) for name in features if name.startswith(RATIOS)]
    counts = [pl.col(name).fill_nan(0.0) for name in features if name.startswith(NOT_NEGATIVE)]
    infinite = [pl.col(name).is_infinite().cast(pl.Int64) for name in features]
    zero = pl.lit(0.0)
    return frame.with_columns(
        (pl.sum_horizontal(infinite) if infinite else pl.lit(0, pl.Int64)).alias("infinite_values"),
        pl.max_horizontal(zero, *ratios).alias("largest_ratio"),
        pl.min_horizontal(zero, *counts).alias("smallest_count"),
    )


def _feature_suite(frame: pl.DataFrame, settings: Settings) -> tuple[list[Any], list[str]]:
    import great_expectations.expectations as gxe

    names = [*KEY_COLUMNS, *_REDUCED]
    tolerance = 1e-9
    expectations: list[Any] = [
        gxe.ExpectTableColumnsToMatchSet(column_set=names, exact_match=True),
        gxe.ExpectTableRowCountToBeBetween(min_value=0, max_value=settings.sampling.max_rows),
    ]
    if frame.height:
        expectations += [
            gxe.ExpectColumnValuesToNotBeNull(column="ts_recv"),
            gxe.ExpectColumnValuesToBeIncreasing(column="ts_recv"),
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="ts_recv", column_B="ts_event", or_equal=True),
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="ask_units", column_B="bid_units", or_equal=True),
            gxe.ExpectColumnMinToBeBetween(column="bid_lots", min_value=0),
            gxe.ExpectColumnMinToBeBetween(column="ask_lots", min_value=0),
            gxe.ExpectColumnMaxToBeBetween(column="infinite_values", max_value=0),
            gxe.ExpectColumnMaxToBeBetween(column="largest_ratio", max_value=1.0 + tolerance),
            gxe.ExpectColumnMinToBeBetween(column="smallest_count", min_value=-tolerance),
        ]
    return expectations, names


def _plain(result: Result) -> Result:
    """Return a suite's result without ids, times and stack traces."""
    items = []
    for item in result["results"]:
        config = item["expectation_config"]
        kwargs = {name: value for name, value in config["kwargs"].items() if name != "batch_id"}
        found = {name: _finite(value) for name, value in item["result"].items() if name in _RESULT_FIELDS}
        items.append(
            {
                "type": config["type"],
                "kwargs": kwargs,
                "success": item["success"],
                "result": found,
                "exception": _exception(item.get("exception_info") or {}),
            }
        )
    return {
        "suite": result["suite_name"],
        "success": result["success"],
        "statistics": result["statistics"],
        "great_expectations_version": result["meta"]["great_expectations_version"],
        "results": items,
    }


_RESULT_FIELDS: Final = ("observed_value", "element_count", "unexpected_count", "unexpected_percent", "missing_count")


def _finite(value: Any) -> Any:
    """Return a number as Python's own, and None for what JSON cannot hold."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _exception(info: Mapping[str, Any]) -> str | None:
    """Return the message of the exception that an expectation met, if it met one."""
    if info.get("raised_exception"):
        return str(info.get("exception_message"))
    nested = [part for part in info.values() if isinstance(part, dict) and part.get("raised_exception")]
    return str(nested[0].get("exception_message")) if nested else None


def _sentence(item: Result) -> str:
    """Return one failed expectation in words."""
    arguments = ", ".join(f"{name}={value}" for name, value in item["kwargs"].items() if name != "column_set")
    found = item["exception"] or item["result"].get("observed_value")
    if found is None and "unexpected_count" in item["result"]:
        found = f"{item['result']['unexpected_count']} unexpected"
    return f"{item['type']}({arguments})" + (f": {found}" if found is not None else "")


def render_data_docs(results: Mapping[str, Result], folder: Path) -> Path:
    """Write one Data Docs page a suite result, and an index of them; return the index.

    Parameters
    ----------
    results : mapping of str to dict
        Results of :func:`run_suite` by partition (``raw_ticks/ALFA/2026-01-05``).
    folder : Path
        Made if it is not there; pages of the same names are replaced.
    """
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    folder.mkdir(parents=True, exist_ok=True)
    renderer, view = ValidationResultsPageRenderer(), DefaultJinjaPageView()
    lines = []
    for partition, result in sorted(results.items()):
        name = partition.replace("/", "_") + ".html"
        (folder / name).write_text(view.render(renderer.render(_library_result(partition, result))), encoding="utf-8")
        mark = "holds" if result["success"] else "<b>fails</b>"
        count = result["statistics"]["evaluated_expectations"]
        lines.append(
            f'<li><a href="{html.escape(name)}">{html.escape(partition)}</a>: {count} expectations, {mark}</li>'
        )
    index = folder / "index.html"
    title = "Data quality of the night"
    index.write_text(
        f"<!doctype html><meta charset='utf-8'><title>{title}</title><h1>{title}</h1><ul>{''.join(lines)}</ul>\n",
        encoding="utf-8",
    )
    return index


def _library_result(partition: str, result: Result) -> Any:
    """Return a stored result in the library's own form, which its renderers take."""
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    items = [
        ExpectationValidationResult(
            success=item["success"],
            expectation_config=ExpectationConfiguration(type=item["type"], kwargs=item["kwargs"]),
            result=item["result"],
            exception_info={
                "raised_exception": item["exception"] is not None,
                "exception_message": item["exception"],
                "exception_traceback": "",
            },
        )
        for item in result["results"]
    ]
    return ExpectationSuiteValidationResult(
        success=result["success"],
        results=items,
        suite_name=f"{result['suite']} {partition}",
        statistics=result["statistics"],
        meta={
            "great_expectations_version": result["great_expectations_version"],
            "run_id": RunIdentifier(run_name=partition),
            "active_batch_definition": {},
        },
    )

"""Great Expectations suites over the partitions of the night, as code; results are plain JSON beside each partition.

A suite is a real run of Great Expectations over the rows of the partition, in an ephemeral context that is made once
a process. What has to hold is written in :mod:`marketdata.expectations`; :mod:`marketdata.suite_docs` shows the results.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import polars as pl

from marketdata.expectations import CHECKS, SuiteKind, rules_of
from marketdata.partitions import CheckResult
from marketdata.settings import Settings

Result = dict[str, Any]


def run_suite(
    kind: SuiteKind, frame: pl.DataFrame, settings: Settings, columns: Sequence[str] = ()
) -> tuple[list[CheckResult], Result]:
    """Run the suite of a kind over a partition's rows.

    Parameters
    ----------
    kind : {"raw", "features", "points", "labels", "signals", "dataset", "options", "social", "onchain"}
        Raw ticks in their source's own columns, feature rows, point events, labels, one kind of slow signals, or a session's
        share of the dataset; raw option chains, posts or transfers.
    settings : Settings
        Say which source's columns and which instruments to expect, and the most rows a session may have.
    columns : sequence of str
        Value columns of signals, or all columns of a dataset's share, as the code that makes them names them.

    Returns
    -------
    list of CheckResult
        One blocking result for the suite; its detail names the expectations that failed.
    dict
        Every expectation with its outcome, JSON-able, without times or ids: equal rows give an equal result.
    """
    import great_expectations as gx

    rules = rules_of(kind, frame, settings, columns)
    suite = gx.ExpectationSuite(name=f"{settings.source}_{kind}", expectations=rules.expectations)
    batch = _batch_definition().get_batch({"dataframe": rules.rows.to_pandas()})
    result = _plain(batch.validate(suite, result_format="BASIC").to_json_dict())
    failed = [_sentence(item) for item in result["results"] if not item["success"]]
    detail = "; ".join(failed) if failed else f"{len(result['results'])} expectations hold"
    return [CheckResult(CHECKS[kind], not failed, True, detail, 0)], result


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

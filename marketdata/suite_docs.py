"""Great Expectations' Data Docs of suite results, rendered with the library's own renderers.

Its pages load style sheets from the network: they are for browsing, and the night's HTML report is the offline record.
"""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marketdata.suites import Result


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

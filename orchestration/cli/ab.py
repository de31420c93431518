"""The command ``ab``: two execution algorithms on the same parent orders."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from orchestration.cli.console import StageProgress, err, out
from orchestration.cli.overrides import With, overridden
from orchestration.cli.roots import chosen
from orchestration.side_files import write_text

COLUMNS = {
    "shortfall_bps": "shortfall, bps",
    "decision_bps": "decision, bps",
    "arrival_bps": "arrival, bps",
    "vwap_bps": "VWAP, bps",
    "fill_rate": "filled",
    "maker_share": "maker",
    "children": "children",
    "shortfall": "shortfall",
    "delay": "delay",
    "execution": "execution",
    "opportunity": "opportunity",
    "fees": "fees",
    "markout_0.1s_bps": "markout after 0.1 s, bps",
    "markout_1s_bps": "after 1 s",
    "markout_5s_bps": "after 5 s",
    "markout_10s_bps": "after 10 s",
    "markout_30s_bps": "after 30 s",
    "markout_60s_bps": "after 60 s",
    "decision_us": "latency: decision, µs",
    "wire_us": "wire",
    "acknowledgement_us": "acknowledgement",
    "queue_us": "queue wait",
    "fill_us": "fill",
}


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("ab")(ab)


def ab(
    context: typer.Context,
    a: Annotated[str, typer.Argument(help="The one that is challenged, for example twap.")] = "twap",
    b: Annotated[
        str,
        typer.Argument(help="twap, twap_resting, hybrid_twap, vwap, pov, implementation_shortfall, iceberg."),
    ] = "hybrid_twap",
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Night whose test sessions are used.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Whose forecasts (default: the night's best candidate).")] = None,
    parents: Annotated[int, typer.Option(min=20, help="Parent orders.")] = 100,
    lots: Annotated[int, typer.Option(min=1, help="Lots of each.")] = 20,
    minutes: Annotated[float, typer.Option(min=0.2, help="Length of each.")] = 30.0,
    queue: Annotated[str | None, typer.Option(help="Queue model of the venue (default: that of the settings).")] = None,
    seed: Annotated[int, typer.Option(help="Of times and sides.")] = 1,
    changes: With = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write every parent as CSV to this file.")] = None,
) -> None:
    """Compare two execution algorithms: the same parent orders on the same tape, shortfalls in pairs, a bootstrap interval."""
    from backtests.report.ab_page import ab_page
    from backtests.report.export import csv_text
    from orchestration.comparing import PAGE_ONLY, compare_algorithms

    root, settings = chosen(context).open()
    settings = overridden(settings, changes)
    with StageProgress() as progress:
        made = compare_algorithms(
            root,
            settings,
            (a, b),
            changes=tuple(changes or ()),
            day=day.date() if day else None,
            model=model,
            parents=parents,
            lots=lots,
            minutes=minutes,
            queue_model=queue or settings.queue_model,
            seed=seed,
            progress=progress,
        )
    place = root.reports / "studies" / f"{made['night']}-{made['model']}-ab-{a}-{b}.html"
    page = write_text(place, ab_page(made))
    if csv is not None:
        write_text(csv, csv_text(made["pairs"]))
        err.print(f"wrote {csv}", markup=False)
    if as_json:
        out.print(json.dumps({key: value for key, value in made.items() if key not in PAGE_ONLY}), markup=False)
        return
    table = Table(
        title=f"{made['parents']} parents of {lots} lots over {minutes:g} minutes, queue {made['queue_model']}"
    )
    table.add_column("mean over parents; money: sums")
    for name in (a, b):
        table.add_column(name, justify="right")
    for key, label in COLUMNS.items():
        table.add_row(label, *(_number(made["algorithms"][name][key]) for name in (a, b)))
    out.print(table)
    verdict = "they differ" if made["differs"] else "no difference shown"
    low, high = made["low_bps"], made["high_bps"]
    out.print(
        f"{b} minus {a}: {made['difference_bps']:+.3f} bps, 95 % interval {low:+.3f} to {high:+.3f}: {verdict}",
        markup=False,
    )
    out.print(str(page.resolve()), markup=False)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3f}"

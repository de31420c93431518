"""Commands about how sure a result is: ``screen``, ``sensitivity``, ``paths``."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from marketdata.paths import DataRoot
from marketdata.settings import SettingsError
from orchestration.cli.console import StageProgress, err, out
from orchestration.cli.overrides import With, overridden
from orchestration.cli.roots import chosen
from orchestration.side_files import write_text

Day = Annotated[
    datetime | None,
    typer.Option("--date", formats=["%Y-%m-%d"], help="Night whose forecasts are used (default: the latest)."),
]
Model = Annotated[str | None, typer.Option(help="Whose forecasts (default: the night's best candidate).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[Path | None, typer.Option("--csv", help="Write every line as CSV to this file.")]
Values = Annotated[str, typer.Option(help="Values separated by commas.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("screen")(screen)
    app.command("sensitivity")(sensitivity)
    app.command("paths")(paths)


def screen(
    context: typer.Context,
    day: Day = None,
    model: Model = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(
            "--axis",
            help="NAME=V1,V2,…: edge_margin, horizon_s, extend_share, exit_ticks, order_lots or kelly_fraction. "
            "Default: 960 sets over all but the lots.",
        ),
    ] = None,
    verify: Annotated[int, typer.Option(min=0, help="Sets, of all ranks, that also go through the engine.")] = 5,
    changes: With = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Sets at a time (default: all cores).")] = None,
    as_json: AsJson = False,
    csv: Csv = None,
) -> None:
    """Sweep the taker's parameters over a model's test rows; every set is counted as a trial before it is tried."""
    from orchestration.screening import DEFAULT_AXES, SHOWN, screen_csv, screen_model, screen_page

    root, settings = chosen(context).open()
    settings = overridden(settings, changes)
    axes = dict(_axis(text) for text in axis) if axis else DEFAULT_AXES
    with StageProgress() as progress:
        made = screen_model(
            root,
            settings,
            day.date() if day else None,
            model,
            axes,
            verify=verify,
            threads=threads,
            progress=progress,
        )
    page = screen_page(made, _page(root, "screen", made))
    _write_csv(csv, lambda: screen_csv(made))
    if as_json:
        out.print(json.dumps(made), markup=False)
        return
    names = [*made["axes"], "net_pnl", "round_trips", "held_s", "break_even_bps", "sharpe"]
    shown = min(SHOWN, made["sets"])
    table = Table(
        title=f"{made['model']}: the best {shown} of {made['sets']:,} sets on {made['rows']:,} rows, {made['seconds']:.2f} s"
    )
    for name in names:
        table.add_column(name, justify="right")
    for row in sorted(made["results"], key=lambda r: -r["net_pnl"])[:SHOWN]:
        table.add_row(*(_number(row[name]) for name in names))
    out.print(table)
    pbo, bias = made["pbo"], made["bias"]
    out.print(
        f"{made['trials_added']:,} trials added, N is {made['trials']:,}: the best of that many worthless ones is expected to "
        f"show a Sharpe ratio of {_number(made['best_worthless_sharpe'])}; this one's is {_number(made['sharpe'])}, deflated "
        f"{_number(made['dsr'])} (by sampling error alone {_number(made['dsr_sampling'])})",
        markup=False,
    )
    out.print(f"probability of overfitting {_number(pbo['probability'])} ({pbo['note']})", markup=False)
    for row in bias["rows"]:
        out.print(
            f"rank {row['rank']:>5}: screen {row['screen_net']:+,.2f} in {row['screen_trips']:,} trips, engine "
            f"{row['engine_net']:+,.2f} in {row['engine_trips']:,}",
            markup=False,
        )
    if bias["rows"]:
        out.print(
            f"the screen leads the engine by {_number(bias['mean_per_trip'])} a round trip, ranks agree to "
            f"{_number(bias['rank_correlation'])}",
            markup=False,
        )
    out.print(str(page.resolve()), markup=False)


def sensitivity(
    context: typer.Context,
    day: Day = None,
    model: Model = None,
    sizes: Values = "1,2,5,10",
    latencies: Values = "0.5,1,3,10",
    fees: Values = "0,0.5,1,2",
    queue: Annotated[str | None, typer.Option(help="Queue model of the venue (default: that of the settings).")] = None,
    changes: With = None,
    as_json: AsJson = False,
    csv: Csv = None,
) -> None:
    """Trade a model's forecasts at other sizes, latencies and fees (factors of the settings'): what is left, what breaks even."""
    from backtests.report.export import csv_text
    from backtests.report.study_pages import surfaces_page
    from orchestration.studies import sensitivity_of

    root, settings = chosen(context).open()
    settings = overridden(settings, changes)
    with StageProgress() as progress:
        made = sensitivity_of(
            root,
            settings,
            day.date() if day else None,
            model,
            sizes=_numbers("--sizes", sizes),
            latencies=_numbers("--latencies", latencies),
            fees=_numbers("--fees", fees),
            queue_model=queue,
            progress=progress,
        )
    page = write_text(_page(root, "sensitivity", made), surfaces_page(made))
    _write_csv(csv, lambda: csv_text(made["points"]))
    if as_json:
        out.print(json.dumps(made), markup=False)
        return
    by_place = {(p["size"], p["latency"], p["fees"]): p for p in made["points"]}
    for fee in made["fees"]:
        title = f"{made['model']}, {len(made['sessions'])} sessions, fees x{fee:g} ({made['fee_bps'] * fee:.2f} bps): "
        table = Table(title=title + "net bps of turnover (break-even bps)")
        table.add_column("size \\ latency")
        for latency in made["latencies"]:
            table.add_column(f"x{latency:g}", justify="right")
        for size in made["sizes"]:
            cells = [by_place[size, latency, fee] for latency in made["latencies"]]
            table.add_row(f"x{size:g}", *(f"{_number(p['net_bps'])} ({_number(p['break_even_bps'])})" for p in cells))
        out.print(table)
    out.print(str(page.resolve()), markup=False)


def paths(
    context: typer.Context,
    day: Day = None,
    model: Model = None,
    groups: Annotated[int, typer.Option(min=3, help="Groups of time.")] = 6,
    test_groups: Annotated[int, typer.Option(min=1, help="Groups tested at a time.")] = 2,
    as_json: AsJson = False,
    csv: Csv = None,
) -> None:
    """Cross-validate a model over every choice of test groups, purged on both sides: many paths through one history."""
    from backtests.report.export import csv_text
    from backtests.report.study_pages import paths_page
    from orchestration.studies import cross_validated

    root, settings = chosen(context).open()
    with StageProgress() as progress:
        made = cross_validated(
            root,
            settings,
            day.date() if day else None,
            model,
            groups=groups,
            test_groups=test_groups,
            progress=progress,
        )
    page = write_text(_page(root, "paths", made), paths_page(made))
    _write_csv(csv, lambda: csv_text(made["paths"]))
    if as_json:
        out.print(json.dumps(made), markup=False)
        return
    names = ("net_pnl", "sharpe", "max_drawdown", "round_trips", "mcc", "log_loss")
    table = Table(
        title=f"{made['model']}: {_count(len(made['paths']), 'path')} of {made['splits']} fits over {len(made['days'])} days"
    )
    table.add_column("path")
    for name in names:
        table.add_column(name, justify="right")
    for k, row in enumerate(made["paths"], start=1):
        table.add_row(str(k), *(_number(row[name]) for name in names))
    out.print(table)
    net = made["spread"]["net_pnl"]
    out.print(
        f"net {net['low']:+,.2f} to {net['high']:+,.2f}, median {net['median']:+,.2f}; "
        f"{made['purged_share']:.2%} of training rows purged",
        markup=False,
    )
    out.print(str(page.resolve()), markup=False)


def _axis(text: str) -> tuple[str, tuple[float, ...]]:
    name, _, values = text.partition("=")
    return name.strip(), _numbers(f"--axis {name}", values)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"{option}: {text!r} is no list of numbers separated by commas") from error


def _page(root: DataRoot, kind: str, made: Mapping[str, Any]) -> Path:
    return root.reports / "studies" / f"{made['night']}-{made['model']}-{kind}.html"


def _write_csv(path: Path | None, make: Callable[[], str]) -> None:
    if path is not None:
        write_text(path, make())
        err.print(f"wrote {path}", markup=False)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.4g}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

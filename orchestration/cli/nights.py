"""Commands that run nights: ``run``, ``nightly``, ``train``, ``report``, ``backtest``."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from marketdata.paths import DataRoot
from marketdata.settings import SettingsError
from orchestration.cli.console import StageProgress, err, out
from orchestration.cli.overrides import With, overridden
from orchestration.cli.roots import chosen

Day = Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Session, YYYY-MM-DD.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("run")(run)
    app.command("nightly")(nightly)
    app.command("train")(train)
    app.command("report")(report)
    app.command("backtest")(backtest)


def run(
    context: typer.Context,
    source: Annotated[
        str, typer.Option(help="simulated, lobster, lean_equity, crypto_2026 or recorded.")
    ] = "simulated",
    data: Annotated[Path | None, typer.Option(help="Folder of the recorded data.")] = None,
    signal: Annotated[float, typer.Option(help="Planted edge of the simulated market; 0: nothing pays.")] = 1.0,
) -> None:
    """Run a source from raw data to a traded session: what `make run` does."""
    from marketdata.presets import preset
    from orchestration.initialise import initialise
    from orchestration.night import run_source
    from orchestration.summary import print_summary

    root = chosen(context).data_root(source, signal)
    if source == "recorded":
        _make_recorded(root, data)
    else:
        initialise(root, preset(source, data, signal=signal))
    with StageProgress() as progress:
        result = run_source(root, progress)
    print_summary(root, result, out)
    if result.last is None or not root.report(result.last).exists():
        raise typer.Exit(1)


def _make_recorded(root: DataRoot, data: Path | None) -> None:
    """Ingest recordings into a root of them, or complete one whose recordings were ingested before."""
    from marketdata.recorded_settings import require_recorded
    from orchestration.initialise import initialise
    from orchestration.recorded_root import IngestOptions, ingest_recordings
    from orchestration.recorded_tables import print_recordings

    if data is not None:
        with StageProgress() as progress:
            result = ingest_recordings(root, [data], IngestOptions(), progress)
        print_recordings(root, result, out)
    elif not root.settings_file.exists():
        raise SettingsError(
            f"{root.path}: no recordings yet; name them with --data, or run `flowsense ingest PATH…` first"
        )
    require_recorded(root.settings(), root.settings_file)
    initialise(root)


def nightly(
    context: typer.Context,
    day: Day = None,
    hashes: Annotated[
        bool, typer.Option("--hashes", help="Print a hash of everything that a re-run must repeat.")
    ] = False,
) -> None:
    """Run one night: ingest the session, train, decide, trade on paper, report. Default: the next session not yet decided."""
    from orchestration.hashes import night_hashes
    from orchestration.initialise import initialise
    from orchestration.night import run_night
    from orchestration.summary import print_summary

    root, _ = chosen(context).open()
    if hashes:
        for name, digest in night_hashes(root).items():
            out.print(f"{digest}  {name}", markup=False)
        return
    initialise(root)
    which = day.date() if day else next_night(root)
    with StageProgress() as progress:
        result = run_night(root, [which], progress)
    print_summary(root, result, out)
    fail_with(result.failed(which))


def train(context: typer.Context, day: Day = None) -> None:
    """Train, evaluate and decide a night whose session is already ingested."""
    from orchestration.initialise import initialise
    from orchestration.night import run_night
    from orchestration.summary import print_summary

    root, _ = chosen(context).open()
    initialise(root)
    which = day.date() if day else next_night(root)
    with StageProgress() as progress:
        result = run_night(root, [which], progress, ingest=False)
    print_summary(root, result, out)
    fail_with(result.failed(which))


def report(
    context: typer.Context,
    day: Day = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="Write record and tables as JSON into this folder.")
    ] = None,
    as_csv: Annotated[Path | None, typer.Option("--csv", help="Write every table as CSV into this folder.")] = None,
) -> None:
    """Print the path of a night's page (default: the latest), and write its numbers where they are asked for."""
    root, _ = chosen(context).open()
    pages = sorted(root.reports.glob("*.html")) if root.reports.exists() else []
    wanted = root.report(day.date()) if day else (pages[-1] if pages else None)
    if wanted is None or not wanted.exists():
        raise SettingsError(
            f"{root.reports}: no report{f' of {day.date()}' if day else ''} yet; run `flowsense nightly`"
        )
    if as_json is not None or as_csv is not None:
        from backtests.report.export import export_csv, export_json
        from backtests.report.record import load_record
        from orchestration.side_files import RECORD

        record = load_record(root.night(date.fromisoformat(wanted.stem)) / RECORD)
        written = [export_json(record, as_json / f"{wanted.stem}.json")] if as_json is not None else []
        written += export_csv(record, as_csv) if as_csv is not None else []
        for path in written:
            err.print(f"wrote {path}", markup=False)
    out.print(str(wanted.resolve()), markup=False)


def backtest(
    context: typer.Context,
    day: Day = None,
    model: Annotated[str | None, typer.Option(help="Default: the night's best candidate.")] = None,
    band: Annotated[
        bool, typer.Option("--band", help="Every queue model and latency, not the stated ones alone.")
    ] = False,
    edge_margin: Annotated[float | None, typer.Option(min=0.0, help="In place of the taker's own.")] = None,
    queue: Annotated[
        str | None,
        typer.Option(
            help="Queue model: risk_averse, probabilistic, log, optimistic, fifo, power:N or path.py:name "
            "(default: that of the settings)."
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(help="As `strategies list` has it, or path.py:name (default: that of the settings)."),
    ] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter of the strategy, name=value; may be given often.")
    ] = None,
    changes: With = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write every table as CSV into this folder.")] = None,
) -> None:
    """Trade a model's out-of-sample forecasts of a night's test sessions through the engine, after fees and latencies."""
    from backtests.report.backtest_page import backtest_page, backtest_record
    from backtests.report.export import export_csv
    from orchestration.backtesting import backtest_model
    from orchestration.side_files import write_text

    root, settings = chosen(context).open()
    settings = overridden(settings, changes)

    def say(line: str) -> None:
        err.print(line, markup=False)

    made = backtest_model(
        root,
        settings,
        day.date() if day else None,
        model,
        band=band,
        edge_margin=edge_margin,
        say=say,
        strategy=strategy,
        parameters=tuple(parameters or ()),
        queue_model=queue,
        changes=tuple(changes or ()),
    )
    place = root.reports / "studies" / f"{made['night']}-{made['model']}-{_file_part(made['strategy'])}-backtest.html"
    page = write_text(place, backtest_page(made, settings.time_zone))
    if csv is not None:
        for path in export_csv(backtest_record(made, settings.time_zone), csv):
            err.print(f"wrote {path}", markup=False)
    if as_json:
        out.print(json.dumps(made), markup=False)
        return
    _print_backtest(made)
    out.print(str(page.resolve()), markup=False)


def _print_backtest(made: Mapping[str, Any]) -> None:
    """Print a backtest: one line a session, the points of a band, and the sum."""
    detail = made["detail"]
    how = f"{detail['queue_model']} queue, latency x{detail['latency_scale']:g}"
    title = f"{made['model']} through {made['strategy']}: {how}"
    sessions = Table("session", title=title)
    for name in ("net", "fees", "max drawdown", "orders", "fills", "as maker", "round trips", "refused"):
        sessions.add_column(name, justify="right")
    for row in detail["sessions"]:
        money = (f"{row['net_pnl']:+,.2f}", f"{row['fees']:,.2f}", f"{row['max_drawdown']:,.2f}")
        counts = (row[name] for name in ("orders", "fills", "maker_fills", "round_trips", "refused_by_risk"))
        sessions.add_row(row["date"], *money, *(f"{count:,}" for count in counts))
    out.print(sessions)
    if len(made["points"]) > 1:
        band = Table("queue model", "latency", title="band")
        for name in ("net", "fees", "fills", "round trips", "max drawdown"):
            band.add_column(name, justify="right")
        for point in made["points"]:
            values = (
                f"{point['net']:+,.2f}",
                f"{point['fees']:,.2f}",
                f"{point['fills']:,}",
                f"{point['round_trips']:,}",
            )
            band.add_row(point["queue_model"], f"x{point['latency_scale']:g}", *values, f"{point['max_drawdown']:,.2f}")
        out.print(band)
    for text in detail["warnings"]:
        out.print(f"warning: {text}", markup=False)
    ratio = "-" if detail["sharpe"] is None else f"{detail['sharpe']:+.3f} ± {detail['sharpe_error']:.3f}"
    bps = f"{1e4 * detail['net'] / detail['turnover']:+.3f}" if detail["turnover"] else "-"
    out.print(
        f"net {detail['net']:+,.2f} after fees of {detail['fees']:,.2f}, {bps} bps of {detail['turnover']:,.0f} traded; Sharpe "
        f"ratio {ratio} per {detail['sharpe_period_ns'] / 1e9:g} s; largest drawdown {detail['max_drawdown']:,.2f}",
        markup=False,
    )
    if len(made["points"]) > 1:
        out.print(
            f"band: net {made['pessimistic']:+,.2f} (pessimistic) to {made['optimistic']:+,.2f}, median {made['median']:+,.2f}",
            markup=False,
        )


def _file_part(name: str) -> str:
    """Return a strategy's name as part of a file's: of ``path.py:name`` only the name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name.rpartition(":")[2])


def next_night(root: DataRoot) -> date:
    """Return the first session from the root's first night on that has no decision yet."""
    from models.decisions import DecisionLedger
    from orchestration.location import root_grids

    settings = root.settings()
    ledger = DecisionLedger(root)
    sessions = root_grids(root).sessions
    for session in sessions[settings.first_night - 1 :]:
        if ledger.night(session.date) is None:
            return session.date
    raise SettingsError(
        f"{root.settings_file}: every one of its {len(sessions)} sessions is decided; raise `sessions`, or give --date"
    )


def fail_with(failures: Sequence[object]) -> None:
    """Print what failed, and end with exit code 1 if anything did."""
    for failure in failures:
        err.print(f"flowsense: {failure}", markup=False)
    if failures:
        raise typer.Exit(1)

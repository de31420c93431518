"""Commands that run nights: ``run``, ``nightly``, ``ingest``, ``train``, ``report``."""

import json
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from marketdata.paths import DataRoot
from marketdata.settings import SettingsError
from orchestration.cli.console import StageProgress, err, out
from orchestration.cli.roots import chosen

Day = Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Session, YYYY-MM-DD.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("run")(run)
    app.command("nightly")(nightly)
    app.command("ingest")(ingest)
    app.command("train")(train)
    app.command("report")(report)
    app.command("backtest")(backtest)


def run(
    context: typer.Context,
    source: Annotated[str, typer.Option(help="simulated, lobster, lean_equity or crypto_2026.")] = "simulated",
    data: Annotated[Path | None, typer.Option(help="Folder of the recorded data.")] = None,
    signal: Annotated[float, typer.Option(help="Planted edge of the simulated market; 0: nothing pays.")] = 1.0,
) -> None:
    """Run a source from raw data to a traded session: what `make run` does."""
    from marketdata.presets import preset
    from orchestration.initialise import initialise
    from orchestration.night import run_source
    from orchestration.summary import print_summary

    settings = preset(source, data, signal=signal)
    root = chosen(context).data_root(source, signal)
    initialise(root, settings)
    with StageProgress() as progress:
        result = run_source(root, progress)
    print_summary(root, result, out)
    if result.last is None or not root.report(result.last).exists():
        raise typer.Exit(1)


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
    which = day.date() if day else _next_night(root)
    with StageProgress() as progress:
        result = run_night(root, [which], progress)
    print_summary(root, result, out)
    _fail_with(result.failed(which))


def ingest(
    context: typer.Context,
    day: Day = None,
    all_sessions: Annotated[bool, typer.Option("--all", help="Every session that the source has.")] = False,
) -> None:
    """Ingest a session (or all): raw data to feature rows, audited; prints the data-quality table."""
    from orchestration.initialise import initialise
    from orchestration.location import root_grids
    from orchestration.night import run_night
    from orchestration.summary import print_quality

    root, _ = chosen(context).open()
    initialise(root)
    grids = root_grids(root)
    days = [s.date for s in grids.sessions] if all_sessions else [day.date() if day else _next_night(root)]
    with StageProgress() as progress:
        result = run_night(root, days, progress, train=False)
    print_quality(root, days, out)
    _fail_with(list(result.failures))


def train(context: typer.Context, day: Day = None) -> None:
    """Train, evaluate and decide a night whose session is already ingested."""
    from orchestration.initialise import initialise
    from orchestration.night import run_night
    from orchestration.summary import print_summary

    root, _ = chosen(context).open()
    initialise(root)
    which = day.date() if day else _next_night(root)
    with StageProgress() as progress:
        result = run_night(root, [which], progress, ingest=False)
    print_summary(root, result, out)
    _fail_with(result.failed(which))


def report(context: typer.Context, day: Day = None) -> None:
    """Print the path of a night's page (default: the latest)."""
    root, _ = chosen(context).open()
    pages = sorted(root.reports.glob("*.html")) if root.reports.exists() else []
    wanted = root.report(day.date()) if day else (pages[-1] if pages else None)
    if wanted is None or not wanted.exists():
        raise SettingsError(
            f"{root.reports}: no report{f' of {day.date()}' if day else ''} yet; run `flowsense nightly`"
        )
    out.print(str(wanted.resolve()), markup=False)


def backtest(
    context: typer.Context,
    day: Day = None,
    model: Annotated[str | None, typer.Option(help="Default: the night's best candidate.")] = None,
    band: Annotated[
        bool, typer.Option("--band", help="Every queue model and latency, not the stated ones alone.")
    ] = False,
    edge_margin: Annotated[float | None, typer.Option(min=0.0, help="In place of the strategy's own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Trade a model's out-of-sample forecasts of a night's test sessions through the engine, after fees and latencies."""
    from orchestration.backtesting import backtest_model

    root, settings = chosen(context).open()

    def say(line: str) -> None:
        err.print(line, markup=False)

    made = backtest_model(
        root, settings, day.date() if day else None, model, band=band, edge_margin=edge_margin, say=say
    )
    if as_json:
        out.print(json.dumps(made), markup=False)
        return
    worst, best = f"{made['pessimistic']:+,.2f}", f"{made['optimistic']:+,.2f}"
    sessions = made["sessions"]
    assert isinstance(sessions, list)
    out.print(f"{made['model']}, {len(sessions)} test sessions to {made['night']}: net {worst} to {best}", markup=False)


def _next_night(root: DataRoot) -> date:
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


def _fail_with(failures: Sequence[object]) -> None:
    for failure in failures:
        err.print(f"flowsense: {failure}", markup=False)
    if failures:
        raise typer.Exit(1)

"""``flowsense ingest``: recordings into a data root, or sessions of its source; ends with a table of their quality."""

import tomllib
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from marketdata.clock import NS_PER_MS, Calendar
from marketdata.instruments import Instrument
from marketdata.settings import SettingsError, validate_instrument
from orchestration.cli.console import StageProgress, out
from orchestration.cli.nights import Day, fail_with, next_night
from orchestration.cli.roots import chosen

QUARANTINED: Final = "PartitionQuarantined"
"""Failures of this kind stand under the table, with their reasons."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("ingest")(ingest)


def ingest(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Captures, archives, or folders of them; none: sessions of the root's source."),
    ] = None,
    day: Day = None,
    all_sessions: Annotated[
        bool, typer.Option("--all", help="Without PATHS: every session that the source has.")
    ] = False,
    layout: Annotated[
        str | None, typer.Option("--format", help="What the files are (default: each file's own).")
    ] = None,
    venue: Annotated[str | None, typer.Option(help="Whose frames they are, where the files do not say.")] = None,
    symbols: Annotated[str, typer.Option(help="The venue's symbols to take, comma between (default: all).")] = "",
    calendar: Annotated[
        str | None,
        typer.Option(help="Sessions, NAME@ZONE as in XNYS@America/New_York or 24/7@UTC (default: the format's)."),
    ] = None,
    instruments: Annotated[
        Path | None,
        typer.Option(help="TOML file of instruments by symbol, in place of the grid that the numbers show."),
    ] = None,
    base_latency_ms: Annotated[
        float, typer.Option(min=0, help="Least time from the venue's stamp to the recorder's, as declared.")
    ] = 0.1,
    again: Annotated[bool, typer.Option("--again", help="Decode and publish again what is there already.")] = False,
) -> None:
    """Ingest recordings (PATHS) into a data root of source `recorded`, or a session of the root's own source; audited."""
    if not paths:
        _ingest_sessions(context, day, all_sessions)
        return
    from orchestration.recorded_root import IngestOptions, ingest_recordings
    from orchestration.recorded_tables import print_recordings

    choice = chosen(context)
    root = choice.data_root("recorded" if choice.source == "simulated" else choice.source)
    options = IngestOptions(
        layout,
        venue,
        tuple(part.strip() for part in symbols.split(",") if part.strip()),
        _calendar(calendar),
        _instruments(instruments),
        round(base_latency_ms * NS_PER_MS),
        again,
    )
    with StageProgress() as progress:
        result = ingest_recordings(root, paths, options, progress)
    print_recordings(root, result, out)
    fail_with([failure for failure in result.failures if QUARANTINED not in failure])
    if result.failures:
        raise typer.Exit(1)


def _ingest_sessions(context: typer.Context, day: datetime | None, all_sessions: bool) -> None:
    """Run the ingest job of the root's own source for a session, or for all."""
    from orchestration.initialise import initialise
    from orchestration.location import root_grids
    from orchestration.night import run_night
    from orchestration.summary import print_quality

    root, _ = chosen(context).open()
    initialise(root)
    grids = root_grids(root)
    days = [s.date for s in grids.sessions] if all_sessions else [day.date() if day else next_night(root)]
    with StageProgress() as progress:
        result = run_night(root, days, progress, train=False)
    print_quality(root, days, out)
    fail_with(list(result.failures))


def _calendar(text: str | None) -> Calendar | None:
    if text is None:
        return None
    name, at, zone = text.partition("@")
    if not at:
        raise SettingsError(f"--calendar {text}: say NAME@ZONE, for example XNYS@America/New_York")
    found = Calendar(name, zone)
    try:
        found.sessions(date(2024, 1, 1), date(2024, 1, 10))
    except Exception as error:
        raise SettingsError(f"--calendar {text}: {error}") from error
    return found


def _instruments(path: Path | None) -> dict[str, Instrument]:
    """Return the instruments of a TOML file: a table a symbol, with the fields of Instrument but name and number."""
    if path is None:
        return {}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    return {symbol: validate_instrument(symbol, values, str(path)) for symbol, values in tables.items()}

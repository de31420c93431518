"""Commands about data: ``init``, ``query``, ``bars``, ``trades``, ``export``, ``quarantine``."""

import getpass
import os
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Final

import polars as pl
import typer

from marketdata.clock import NS_PER_S
from marketdata.paths import PartitionKey
from marketdata.settings import SettingsError
from orchestration.cli.console import StageProgress, out
from orchestration.cli.roots import chosen

quarantine_app = typer.Typer(help="Partitions that were refused by their audit.", no_args_is_help=True)
URL: Final = "FLOWSENSE_POSTGRES_URL"
First = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First session.")]
Last = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last session (default: the first).")]
Out = Annotated[Path | None, typer.Option("--out", help="Write .csv, .json or .parquet instead of a table.")]
Key = Annotated[str, typer.Argument(help="asset/instrument/date, as `quarantine list` prints it.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("init")(init)
    app.command("query")(query)
    app.command("bars")(bars)
    app.command("trades")(trades)
    app.command("export")(export)
    app.add_typer(quarantine_app, name="quarantine")


def init(
    context: typer.Context,
    source: Annotated[str, typer.Option(help="simulated, lobster, lean_equity or crypto_2026.")] = "simulated",
    data: Annotated[Path | None, typer.Option(help="Folder of the recorded data.")] = None,
    signal: Annotated[float, typer.Option(help="Planted edge of the simulated market; 0: nothing pays.")] = 1.0,
    sessions: Annotated[int | None, typer.Option(min=1, help="Sessions that the partition grids span.")] = None,
) -> None:
    """Make a data root: settings, Dagster and MLflow stores, ledgers, signing key. Safe to repeat and to run twice at once."""
    from marketdata.presets import preset
    from orchestration.initialise import initialise

    root = chosen(context).data_root(source, signal)
    if root.settings_file.exists():
        initialise(root)
        out.print(f"{root.path} is complete", markup=False)
        return
    initialise(root, preset(source, data, signal=signal, sessions=sessions))
    out.print(f"{root.path} made; settings in {root.settings_file}", markup=False)


def query(
    context: typer.Context,
    sql: Annotated[str, typer.Argument(help='For example "SELECT instrument, count(*) FROM events GROUP BY ALL".')],
    output: Annotated[
        Path | None, typer.Option("--out", help="Write .csv, .json or .parquet instead of a table.")
    ] = None,
) -> None:
    """Ask the published partitions in SQL (DuckDB): one view an asset, with its session and instrument."""
    from marketdata import lake

    root, _ = chosen(context).open()
    _write(lake.query(root, sql), output)


def bars(
    context: typer.Context,
    instrument: Annotated[str, typer.Argument(help="Symbol.")],
    first: First,
    last: Last = None,
    interval_s: Annotated[float, typer.Option(min=1e-3, help="Seconds a bar.")] = 60.0,
    volume_lots: Annotated[int | None, typer.Option(min=1, help="Bars of so many lots, in place of time.")] = None,
    trades_a_bar: Annotated[
        int | None, typer.Option("--trades", min=1, help="Bars of so many trades, in place of time.")
    ] = None,
    output: Out = None,
) -> None:
    """Print trade bars of any interval, volume or number of trades: OHLC, volume, signed volume, trades."""
    from marketdata import lake

    root, settings = chosen(context).open()
    found = settings.instrument(instrument)
    begin, end = first.date(), (last or first).date()
    if volume_lots is not None:
        made = lake.volume_bars(root, found, begin, end, volume_lots)
    elif trades_a_bar is not None:
        made = lake.trade_bars(root, found, begin, end, trades_a_bar)
    else:
        made = lake.bars(root, found, begin, end, round(interval_s * NS_PER_S))
    _write(made, output)


def trades(
    context: typer.Context,
    instrument: Annotated[str, typer.Argument(help="Symbol.")],
    first: First,
    last: Last = None,
    output: Out = None,
) -> None:
    """Print every execution beside the best quotes that stood before it, with the effective spread."""
    from marketdata import lake

    root, settings = chosen(context).open()
    _write(lake.trades_with_quotes(root, settings.instrument(instrument), first.date(), (last or first).date()), output)


def export(
    context: typer.Context,
    to: Annotated[
        str,
        typer.Option(
            help="postgresql://user@host/database, or a .csv, .csv.gz, .json, .jsonl or .parquet file.", envvar=URL
        ),
    ],
    table: Annotated[
        list[str] | None, typer.Option(help="For a database: events, trades, bars; for a file: one view of `query`.")
    ] = None,
    instrument: Annotated[list[str] | None, typer.Option(help="Symbols (default: all).")] = None,
    first: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First session.")] = None,
    last: Last = None,
    interval_s: Annotated[float, typer.Option(min=1e-3, help="Seconds a bar, for a database.")] = 60.0,
) -> None:
    """Write published partitions into PostgreSQL (replaced partition by partition) or into a file."""
    from marketdata.export import ExportError, export_to_file, export_to_postgres
    from marketdata.postgres import has_password, without_password

    root, settings = chosen(context).open()
    for symbol in instrument or ():
        settings.instrument(symbol)
    days = {"first": first.date() if first else None, "last": last.date() if last else None}
    if not to.startswith(("postgresql://", "postgres://")):
        if table is None or len(table) != 1:
            raise ExportError("a file takes one --table, for example trades")
        path = Path(to)
        rows = export_to_file(root, table[0], path, symbols=instrument, **days)
        out.print(f"{path}: {rows:,} rows", markup=False)
        return
    if has_password(to) and os.environ.get(URL) != to:
        raise ExportError(
            f"a password on the command line can be read by all: give it as PGPASSWORD, or the URL as {URL}"
        )
    with StageProgress() as progress:
        written = export_to_postgres(
            root,
            to,
            tables=table or ("trades", "bars"),
            symbols=instrument,
            interval_ns=round(interval_s * NS_PER_S),
            progress=progress,
            **days,
        )
    new = [item for item in written if item.is_new]
    out.print(
        f"{without_password(to)}: {len(new)} partition(s) written, {sum(item.rows for item in new):,} rows; "
        f"{len(written) - len(new)} there already",
        markup=False,
    )


def _write(frame: pl.DataFrame, output: Path | None) -> None:
    if output is None:
        with pl.Config(tbl_rows=50, tbl_cols=20, tbl_hide_dataframe_shape=True):
            out.print(str(frame), markup=False)
        return
    writers: dict[str, Callable[[Path], object]] = {
        ".csv": frame.write_csv,
        ".json": frame.write_json,
        ".parquet": frame.write_parquet,
    }
    if output.suffix not in writers:
        raise SettingsError(f"{output}: write to a .csv, .json or .parquet file")
    writers[output.suffix](output)
    out.print(f"{output}: {frame.height:,} rows", markup=False)


@quarantine_app.command("list")
def quarantine_list(context: typer.Context) -> None:
    """List quarantined partitions with their reasons."""
    from marketdata.quarantine import list_quarantined

    root, _ = chosen(context).open()
    found = list_quarantined(root)
    for manifest in found:
        reasons = "; ".join(f"{c.name}: {c.detail}" if c.detail else c.name for c in manifest.failures)
        out.print(f"{manifest.key}  {manifest.rows:,} rows  {reasons}", markup=False)
    if not found:
        out.print("nothing is in quarantine", markup=False)


@quarantine_app.command("show")
def quarantine_show(
    context: typer.Context, key: Key, rows: Annotated[int, typer.Option(min=1, help="Bad rows to print.")] = 20
) -> None:
    """Show a quarantined partition: every check, and its first bad rows with their reasons."""
    from marketdata.quarantine import show

    root, _ = chosen(context).open()
    manifest, bad_rows = show(root, parse_key(key))
    for check in manifest.checks:
        mark = "ok  " if check.passed else "FAIL"
        out.print(f"{mark} {check.name}  {check.detail}", markup=False)
    if bad_rows is not None:
        out.print(str(bad_rows.head(rows)), markup=False)


@quarantine_app.command("release")
def quarantine_release(
    context: typer.Context,
    key: Key,
    why: Annotated[str, typer.Option(help="Why the data is good after all; kept in the audit log.")],
    by: Annotated[str, typer.Option(help="Who releases it (default: the user name).")] = "",
) -> None:
    """Publish a quarantined partition as it is, on a person's word; audited."""
    from marketdata.quarantine import release

    root, _ = chosen(context).open()
    release(root, parse_key(key), by or getpass.getuser(), why)
    out.print(f"{key} is published", markup=False)


def parse_key(text: str) -> PartitionKey:
    """Return the partition that ``asset/instrument/date`` names.

    Raises
    ------
    SettingsError
        If the text has another form.
    """
    parts = text.split("/")
    if len(parts) != 3:
        raise SettingsError(f"{text!r} is not asset/instrument/date")
    try:
        day = date.fromisoformat(parts[2])
    except ValueError as error:
        raise SettingsError(f"{text!r}: {parts[2]} is no date") from error
    return PartitionKey(parts[0], day, None if parts[1] == "_" else parts[1])

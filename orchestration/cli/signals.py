"""Commands about slow signals: ``signals list``, ``signals study``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from orchestration.cli.console import err, out

if TYPE_CHECKING:
    from features.signals.study import StudyRow

signals_app = typer.Typer(help="Options, social and on-chain signals.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    signals_app.command("list")(list_signals)
    signals_app.command("study")(study)
    app.add_typer(signals_app, name="signals")


def list_signals(as_json: AsJson = False) -> None:
    """Print every slow signal: its kind, name, unit, formula, and how far back it reaches."""
    from features.signals.columns import SIGNALS

    if as_json:
        out.print_json(json.dumps({kind: [entry._asdict() for entry in entries] for kind, entries in SIGNALS.items()}))
        return
    table = Table(title="Slow signals", title_justify="left")
    for name in ("kind", "name", "unit", "formula", "days", "reference"):
        table.add_column(name, overflow="fold")
    for kind, entries in SIGNALS.items():
        for entry in entries:
            table.add_row(kind, entry.name, entry.unit, entry.formula, str(entry.memory_days), entry.reference)
    out.print(table)


def study(
    data: Annotated[Path, typer.Option(help="Folder of recorded data.")],
    market: Annotated[list[str] | None, typer.Option(help="crypto, MSTR, TSLA, 'SPX 2019', …; default: all.")] = None,
    sentiment_model: Annotated[Path | None, typer.Option(help="Folder of a classifier; default: the lexicon.")] = None,
    draws: Annotated[int, typer.Option(min=100, help="Bootstrap draws.")] = 2_000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Print what each slow signal said of the next day on recorded data, with an interval, whatever it is."""
    from features.signals.sentiment import build_sentiment
    from features.signals.study import study as correlations
    from features.signals.study_sources import MARKETS, study_series

    markets = market or list(MARKETS)
    unknown = [name for name in markets if name not in MARKETS]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: not among {', '.join(MARKETS)}")
    model = build_sentiment(sentiment_model)
    series = study_series(data, markets, model=model, progress=lambda name: err.print(f"{name} …", markup=False))
    rows = correlations(series, seed=seed, draws=draws)
    if as_json:
        out.print_json(json.dumps([asdict(row) for row in rows]).replace("NaN", "null"))
        return
    out.print(_table(rows))
    informs = sum(row.verdict == "informs" for row in rows)
    tested = sum(row.verdict != "insufficient" for row in rows)
    out.print(
        f"{informs} of {tested} correlations inform at a false-discovery share of 10 %; "
        f"{len(rows) - tested} have too few days. Posts scored by {model.name}.",
        markup=False,
    )


def _table(rows: "tuple[StudyRow, ...]") -> Table:
    table = Table(title="Signals against the next day", title_justify="left")
    for name in ("market", "symbol", "signal", "target"):
        table.add_column(name, no_wrap=True)
    for name in ("days", "rank correlation", "95 % interval", "without weekdays", "q"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for row in rows:
        known = row.verdict != "insufficient"
        bare = f"{row.weekday_ic:+.3f} ({row.weekday_low:+.3f} to {row.weekday_high:+.3f})"
        cells = (f"{row.ic:+.3f}", f"{row.low:+.3f} to {row.high:+.3f}", bare, f"{row.q:.2f}") if known else ("",) * 4
        table.add_row(row.market, row.symbol, row.signal, row.target, str(row.n), *cells, row.verdict)
    return table

"""The command ``strategies list``: what a backtest or a paper session can trade with."""

import json
from typing import Annotated

import typer
from rich.table import Table

from orchestration.cli.console import out
from orchestration.cli.roots import chosen

strategies = typer.Typer(help="The catalogue of strategies.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.add_typer(strategies, name="strategies")


@strategies.command("list")
def list_strategies(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Print every strategy with its parameters: unit, default and bounds; what wakes it in the engine."""
    from marketdata.presets import preset
    from marketdata.settings import SettingsError
    from trading.strategy_catalog import strategies_table

    choice = chosen(context)
    try:
        _, settings = choice.open()
    except SettingsError:  # the catalogue is the same without a data root
        settings = preset("simulated", None)
    session = settings.market_calendar().first_sessions(settings.start_date, 1)[0]
    rows = strategies_table(settings, session)
    if as_json:
        out.print(json.dumps(rows), markup=False)
        return
    for row in rows:
        out.print(f"{row['name']}: {row['says']}; woken by {', '.join(row['wakes'])}", markup=False)
        if not row["parameters"]:
            continue
        table = Table("parameter", "unit", "default", "from", "to", "what it does")
        for item in row["parameters"]:
            default = "settings" if item["default"] is None else str(item["default"])
            low, high = ("" if item[side] is None else f"{item[side]:g}" for side in ("low", "high"))
            table.add_row(item["name"], item["unit"], default, low, high, item["says"])
        out.print(table)

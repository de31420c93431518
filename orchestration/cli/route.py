"""The command ``route``: one order over several venues of the same thing, beside each venue alone."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

import typer
from rich.table import Table

from marketdata.clock import NS_PER_MINUTE, NS_PER_S
from marketdata.settings import SettingsError
from orchestration.cli.arbitrage import legs_of
from orchestration.cli.console import out
from orchestration.cli.roots import chosen


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("route")(route)


def route(
    context: typer.Context,
    legs: Annotated[list[str], typer.Argument(help="Symbols of the same thing at two or more venues.")],
    day: Annotated[datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="Published session.")],
    lots: Annotated[int, typer.Option(min=1, help="Of the order.")] = 10,
    side: Annotated[Literal["buy", "sell"], typer.Option(help="Of the order.")] = "buy",
    after: Annotated[float, typer.Option(min=0.0, help="Minutes after the session's open at which it starts.")] = 30.0,
    minutes: Annotated[float, typer.Option(min=0.2, help="Until when it must be done.")] = 5.0,
    passive: Annotated[bool, typer.Option("--passive", help="A part may rest.")] = False,
    hurdle_bps: Annotated[float, typer.Option(min=0.0, help="What resting must save at least.")] = 0.0,
    queue: Annotated[str, typer.Option(help="Queue model of the venues.")] = "risk_averse",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Route one order over venues by price, fees and depth, carry it out on the tape, and compare with each venue alone."""
    from backtests.routing import work_routed
    from orchestration.live_stream import published_events
    from trading.execution import ParentError, ParentOrder
    from trading.routing import RouteError

    root, settings = chosen(context).open()
    session = settings.market_calendar().session(day.date())
    start = session.open_ns + round(after * NS_PER_MINUTE)
    end = start + round(minutes * NS_PER_MINUTE)
    if end > session.close_ns - 30 * NS_PER_S:
        raise SettingsError("the order would run into the session's last half minute, in which everything is flattened")
    try:
        made = work_routed(
            settings,
            session,
            list(legs_of(settings, legs)),
            published_events(root, settings, day.date()),
            ParentOrder(1 if side == "buy" else -1, lots, start, end),
            passive=passive,
            hurdle_ppm=round(hurdle_bps * 100),
            queue_model=queue,
        )
    except (RouteError, ParentError) as error:
        raise SettingsError(str(error)) from error
    if as_json:
        out.print(json.dumps([asdict(one) for one in made]), markup=False)
        return
    table = Table(title=f"{side} {lots} lots, {minutes:g} minutes from {after:g} after the open of {day.date()}")
    for label in ("sent to", "planned, bps", "cost, bps", "maker", "unfilled", *legs):
        table.add_column(label, justify="right")
    for one in made:
        filled = (f"{one.filled_lots[symbol]:,d}" for symbol in legs)
        figures = (f"{one.planned_bps:.3f}", f"{one.cost_bps:.3f}", f"{one.maker_share:.0%}", f"{one.unfilled_lots}")
        table.add_row(one.name, *figures, *filled)
    out.print(table)

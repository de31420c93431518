"""``flowsense simulate``: sessions of the simulated market as files."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli.console import StageProgress, out


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("simulate")(simulate)


def simulate(
    destination: Annotated[Path, typer.Argument(help="Folder to write Parquet files into; made if missing.")],
    days: Annotated[int, typer.Option(min=1, help="Sessions.")] = 1,
    instruments: Annotated[int, typer.Option(min=1, max=5, help="Instruments.")] = 5,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 7,
    signal: Annotated[float, typer.Option(help="Planted edge in median spreads a round trip; 0: nothing pays.")] = 1.0,
    events: Annotated[int, typer.Option(min=1_000, help="Events an instrument and session, about.")] = 130_000,
) -> None:
    """Simulate sessions of the market and write ticks, options, posts, transfers and the truth behind them."""
    from marketdata.presets import preset
    from marketdata.simulator.session import simulate_session

    settings = preset("simulated", None, signal=signal, sessions=days)
    world = settings.simulator.model_copy(update={"seed": seed, "events_per_session": events})
    settings = settings.model_copy(update={"simulator": world, "instruments": settings.instruments[:instruments]})
    sessions = settings.market_calendar().first_sessions(settings.start_date, days)
    rows = 0
    with StageProgress() as progress:
        for index, session in enumerate(sessions):
            progress("simulate", index, days)
            made = simulate_session(settings, session, index)
            folder = destination / session.date.isoformat()
            folder.mkdir(parents=True, exist_ok=True)
            for symbol, frame in made.ticks.items():
                frame.write_parquet(folder / f"ticks_{symbol}.parquet")
                rows += frame.height
            for name in ("options", "posts", "transfers"):
                getattr(made, name).write_parquet(folder / f"{name}.parquet")
            for part in fields(made.truth):
                getattr(made.truth, part.name).write_parquet(folder / f"truth_{part.name}.parquet")
        progress("simulate", days, days)
    out.print(f"{rows:,} events of {instruments} instruments in {days} sessions below {destination}", markup=False)

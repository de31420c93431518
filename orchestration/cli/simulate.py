"""``flowsense simulate``: sessions of the simulated market as files, with a table of what they look like."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from orchestration.cli.console import StageProgress, out


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("simulate")(simulate)


def simulate(
    destination: Annotated[Path, typer.Argument(help="Folder to write into; made if missing, must be empty.")],
    days: Annotated[int, typer.Option(min=1, help="Sessions.")] = 1,
    instruments: Annotated[int, typer.Option(min=1, max=26, help="Instruments.")] = 5,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 7,
    signal: Annotated[float, typer.Option(help="Planted edge in median spreads a round trip; 0: nothing pays.")] = 1.0,
    world: Annotated[
        str | None,
        typer.Option(
            help="market, n1 (nothing pays) or n2 (slow data says nothing); default: n1 at signal 0, else market."
        ),
    ] = None,
    events: Annotated[int, typer.Option(min=1_000, help="Events an instrument and session, about.")] = 130_000,
    form: Annotated[str, typer.Option("--format", help="parquet or csv.")] = "parquet",
    force: Annotated[bool, typer.Option("--force", help="Replace what an earlier simulate wrote there.")] = False,
) -> None:
    """Simulate sessions of the market and write ticks, options, posts, transfers and the truth behind them."""
    from marketdata.presets import preset
    from marketdata.settings import validate_settings
    from marketdata.simulator.files import simulate_to, with_instruments
    from marketdata.simulator.oracle import as_events
    from marketdata.simulator.session import SimulatedSession
    from marketdata.stylised_facts import Span, aggressors, autocorrelation, best_quotes, mean_spread_ticks, returns_bps

    base = preset("simulated", None, signal=signal, sessions=days)
    changes = {"seed": seed, "events_per_session": events, "world": world or base.simulator.world, "signal": signal}
    values = {
        **base.model_dump(mode="json", exclude_none=True),
        "simulator": {**base.simulator.model_dump(), **changes},
    }
    settings = with_instruments(validate_settings(values, "simulate"), instruments)
    sessions = settings.market_calendar().first_sessions(settings.start_date, days)
    found: dict[str, list[tuple[float, ...]]] = {item.symbol: [] for item in settings.instruments}

    def look(made: SimulatedSession, index: int) -> None:
        span = Span(sessions[index].open_ns, sessions[index].close_ns)
        for item in settings.instruments:
            tape = as_events(made.ticks[item.symbol])
            quotes, trades = best_quotes(tape, [span]), aggressors(tape, [span])
            found[item.symbol].append(
                (
                    len(tape),
                    len(trades.ts),
                    mean_spread_ticks(quotes, [span], item.tick_units),
                    returns_bps(quotes, [span], 60.0).std(),
                    autocorrelation(trades.sign.astype(np.float64), 1)[0],
                    made.truth.episodes.filter(made.truth.episodes["symbol"] == item.symbol).height,
                )
            )

    with StageProgress() as progress:
        simulate_to(destination, settings, days, form=form, force=force, each=look, progress=progress)
    shown = settings.simulator
    out.print(f"world {shown.world}, signal {shown.signal:+g}, seed {shown.seed}; means a session:", markup=False)
    out.print(
        f"{'':<10}{'events':>10}{'trades':>9}{'spread':>9}{'1-min vol':>11}{'sign':>7}{'informed':>10}", markup=False
    )
    out.print(f"{'':<10}{'':>10}{'':>9}{'ticks':>9}{'bps':>11}{'ρ(1)':>7}{'episodes':>10}", markup=False)
    for symbol, rows in found.items():
        n, traded, spread, move, sign, informed = np.mean(rows, axis=0)
        line = f"{symbol:<10}{n:>10,.0f}{traded:>9,.0f}{spread:>9.2f}{move:>11.2f}{sign:>7.2f}{informed:>10.1f}"
        out.print(line, markup=False)
    total = int(sum(row[0] for rows in found.values() for row in rows))
    out.print(f"{total:,} events of {instruments} instruments in {days} sessions below {destination}", markup=False)

"""The command ``arbitrage``: what pairs of venues offered, or offer now."""

import json
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from marketdata.clock import NS_PER_MS
from marketdata.instruments import Instrument
from marketdata.settings import Settings, SettingsError
from marketdata.taker_cost import at_venue_fees
from orchestration.cli.console import out
from orchestration.cli.live import _opener, _stop_event
from orchestration.cli.roots import chosen

if TYPE_CHECKING:  # the monitor brings numba
    from trading.arbitrage import ArbitrageMonitor

COLUMNS = {
    "opportunities": ("opportunities", "{:,d}"),
    "fresh_s": ("fresh, s", "{:,.1f}"),
    "open_s": ("open, s", "{:,.3f}"),
    "median_ms": ("median, ms", "{:,.1f}"),
    "longest_ms": ("longest, ms", "{:,.1f}"),
    "peak_bps": ("peak, bps", "{:,.2f}"),
    "largest_profit": ("largest profit", "{:,.4f}"),
    "first_profit": ("profit at start", "{:,.4f}"),
    "later_profit": ("after latency", "{:,.4f}"),
    "alive_share": ("alive then", "{:.0%}"),
}


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("arbitrage")(arbitrage)


def arbitrage(
    context: typer.Context,
    legs: Annotated[list[str], typer.Argument(help="Symbols of the same thing at two or more venues.")],
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Published session (default: the latest).")
    ] = None,
    feed: Annotated[str, typer.Option(help="A live feed in place of a session, as `trade --feed` takes it.")] = "",
    seconds: Annotated[float, typer.Option(min=0.1, help="Live: how long to watch.")] = 60.0,
    size: Annotated[float, typer.Option(min=1e-12, help="Base units at which the net spread is judged.")] = 1.0,
    least_bps: Annotated[float, typer.Option(help="Net spread from which on there is an opportunity.")] = 0.0,
    stale_ms: Annotated[float, typer.Option(min=0.001, help="Age at which a book is stale.")] = 1_000.0,
    latency_ms: Annotated[float, typer.Option(min=0.0, help="How long orders take.")] = 50.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what could have been made between venues, at size after fees: how long it was there, and what a latency leaves."""
    from trading.arbitrage import ArbitrageError, ArbitrageMonitor

    root, settings = chosen(context).open()
    try:
        monitor = ArbitrageMonitor(
            legs_of(settings, legs),
            size=size,
            least_bps=least_bps,
            stale_ns=round(stale_ms * NS_PER_MS),
            latency_ns=round(latency_ms * NS_PER_MS),
        )
    except ArbitrageError as error:
        raise SettingsError(str(error)) from error
    if feed:
        _watch_live(monitor, _opener(root, settings, feed)(), seconds, as_json=as_json)
        return
    from orchestration.live_stream import published_events
    from trading.arbitrage_report import watch_recording

    which = day.date() if day else _latest(root, settings, legs)
    made = watch_recording(monitor, published_events(root, settings, which))
    if as_json:
        data = {"date": which.isoformat(), "size": size, "pairs": made.pairs, "staleness": made.staleness}
        out.print(json.dumps(data), markup=False)
        return
    _print(
        f"{which}: {size:g} at {least_bps:g} bps net or more, latency {latency_ms:g} ms", ("buy", "sell"), made.pairs
    )
    _print("the same, by the age at which a book is called stale", ("stale_ms",), made.staleness)


def legs_of(settings: Settings, symbols: list[str]) -> tuple[Instrument, ...]:
    """Return the instruments of some legs, at their venues' fees.

    Raises
    ------
    SettingsError
        If a symbol is unknown, or two legs are of one venue: what differs there is the thing, not the place.
    """
    found = tuple(at_venue_fees(settings, settings.instrument(symbol)) for symbol in symbols)
    at: dict[str, str] = {}
    for item in found:
        other = at.setdefault(item.venue, item.symbol)
        if other != item.symbol or len(found) < 2 or symbols.count(item.symbol) > 1:
            what = (
                f"{other} and {item.symbol} are both of {item.venue}" if len(found) > 1 else f"{item.symbol} is one leg"
            )
            raise SettingsError(f"{what}: name the same thing at two or more venues")
    return found


def _print(title: str, keys: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """Print one column a direction or age: names of legs are long, and there are more figures than directions."""
    table = Table(title=title)
    table.add_column("")
    for row in rows:
        heads = (f"{row[key]:g} ms" if key == "stale_ms" else f"{key} {row[key]}" for key in keys)
        table.add_column("\n".join(heads), justify="right", overflow="fold")
    for name, (label, form) in COLUMNS.items():
        table.add_row(label, *(form.format(row[name]) for row in rows))
    out.print(table)


def _latest(root: Any, settings: Settings, legs: list[str]) -> Any:
    """Return the last session of which every leg is published."""
    from marketdata.partitions import PartitionMissing, load_partition
    from marketdata.paths import PartitionKey

    calendar = settings.market_calendar()
    for session in reversed(calendar.first_sessions(settings.start_date, settings.sessions)):
        try:
            for symbol in legs:
                load_partition(root, PartitionKey("events", session.date, symbol))
        except PartitionMissing:
            continue
        return session.date
    raise SettingsError(f"{root.path}: no session of {', '.join(legs)} is published yet; run `flowsense ingest`")


def _watch_live(monitor: "ArbitrageMonitor", feed: Any, seconds: float, *, as_json: bool) -> None:
    """Print each opportunity when it ends, and at the end what is there then."""
    from marketdata.feeds.protocol import consume
    from marketdata.messages import EventBatch, SessionStart

    state, stop = monitor.init(), _stop_event()

    def end() -> None:
        stop.set()
        feed.close()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()

    def tell(ended: Any) -> None:
        for row in monitor.opportunities([ended]).to_dicts():
            if as_json:
                out.print(json.dumps(row), markup=False)
                continue
            lasted = (row["end_ns"] - row["start_ns"]) / NS_PER_MS
            out.print(
                f"bought at {row['buy']}, sold at {row['sell']}: {row['peak_bps']:.2f} bps, "
                f"{row['peak_profit']:.4f} on {row['peak_size']:g} for {lasted:.0f} ms ({row['reason']}); "
                f"{row['later_profit']:.4f} after the latency",
                markup=False,
            )

    def take(item: Any) -> None:
        nonlocal state
        if isinstance(item, SessionStart):
            state = monitor.init()
        elif isinstance(item, EventBatch) and len(item.events):
            state, ended = monitor.step(state, item.events)
            tell(ended)

    try:
        consume(feed, take, stop=stop)
    finally:
        timer.cancel()
    state, ended = monitor.finish(state, int(state.now_ns[0]))
    tell(ended)
    if not as_json:
        for row in monitor.table(state).to_dicts():
            fresh = "fresh" if row["fresh"] else "stale"
            out.print(f"now {row['buy']} to {row['sell']}: {row['net_bps']:.2f} bps net, {fresh}", markup=False)

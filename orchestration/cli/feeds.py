"""Commands of live market data: ``receive`` a feed into shared memory or onto the bus, ``bus`` makes its topics."""

import signal
import threading
from typing import Annotated, Literal

import typer

from marketdata.settings import SettingsError
from orchestration.cli.console import out
from orchestration.cli.roots import chosen


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("receive")(receive)
    app.command("bus")(bus)


def receive(
    context: typer.Context,
    feed: Annotated[str, typer.Option(help="Address of the feed, such as ws:binance_spot/BTCUSDT,ETHUSDT.")],
    to: Annotated[
        str, typer.Option(help="ring:NAME (shared memory on this machine) or kafka:HOST:PORT.")
    ] = "ring:live",
    full: Annotated[
        Literal["block", "drop", "fail"], typer.Option(help="Ring: what happens when the engine is too slow.")
    ] = "drop",
    rows: Annotated[int, typer.Option(help="Ring: rows that it holds, a power of two.")] = 65_536,
    speed: Annotated[
        float | None,
        typer.Option(min=0.001, help="Recordings: multiple of their own pace (default: as fast as possible)."),
    ] = None,
) -> None:
    """Receive live market data in a process of its own, for `flowsense trade --feed ring:NAME` or for the bus."""
    from marketdata.feeds.catalog import FeedContext, open_feed
    from marketdata.feeds.receiver import ItemSink, run_receiver
    from marketdata.feeds.sessions import SessionFeed

    root, settings = chosen(context).open()
    kind, _, name = to.partition(":")
    if kind not in {"ring", "kafka"} or not name:
        raise SettingsError(f"--to {to}: neither ring:NAME nor kafka:HOST:PORT")
    source = open_feed(feed, FeedContext(settings.instruments, root.feeds, speed))
    symbols = {item.instrument_id: item.symbol for item in settings.instruments}
    stop = threading.Event()

    def end(*_: object) -> None:
        stop.set()
        source.close()  # a feed that waits for the other side wakes up

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    sink: ItemSink
    if kind == "ring":
        from marketdata.feeds.ring import SharedRing
        from marketdata.feeds.ring_feed import RingWriter

        ring = SharedRing.create(name, rows)
        sink = RingWriter(ring, full, metrics=source.metrics)
    else:
        from marketdata.feeds.kafka_bus import KafkaBus

        ring, sink = None, KafkaBus(name, symbols)
    out.print(f"receiving {source.name} into {to}; Ctrl-C ends it", markup=False)
    try:
        run_receiver(
            SessionFeed(source, settings.market_calendar(), list(symbols.values())),
            sink,
            metrics_file=root.feeds / f"{kind}-{name.replace('/', '_')}.json",
            stop=stop,
            say=lambda status: out.print(str(status), markup=False),
        )
    finally:
        if ring is not None:
            ring.close()


def bus(
    context: typer.Context,
    brokers: Annotated[str, typer.Argument(help="HOST:PORT of the brokers, comma-separated.")],
    replication: Annotated[int, typer.Option(help="Copies of each partition.")] = 1,
    partitions: Annotated[int, typer.Option(help="Partitions of each topic.")] = 8,
) -> None:
    """Make the bus's topics where they are missing: ticks, order_flow, predictions, trades."""
    from marketdata.feeds.bus_records import topics
    from marketdata.feeds.kafka_client import create_topics

    _, settings = chosen(context).open()
    wanted = topics(settings.training.window_sessions, partitions)
    made = create_topics(brokers, wanted, replication=replication)
    out.print(f"made {', '.join(made)}" if made else "all topics are there", markup=False)

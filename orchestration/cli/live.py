"""Commands that keep running, or trade: ``up``, ``serve``, ``stream``, ``trade``."""

import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from marketdata.feeds.protocol import Feed
from marketdata.paths import DataRoot
from marketdata.settings import Settings, SettingsError
from orchestration.cli.console import StageProgress, err, out
from orchestration.cli.roots import chosen

if TYPE_CHECKING:
    from serving.publishing import BusPublisher

HOST = "127.0.0.1"
READY_WITHIN_S = 60.0


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("up")(up)
    app.command("serve")(serve)
    app.command("stream")(stream)
    app.command("trade")(trade)


def up(
    context: typer.Context,
    speed: Annotated[
        float, typer.Option(min=0.01, help="Pace of the live stream, a multiple of the market's own.")
    ] = 20.0,
    feed: Annotated[str, typer.Option(help="simulator, or replay:YYYY-MM-DD (default: what the source has).")] = "",
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
    api_port: Annotated[int, typer.Option(help="Port of the prediction API.")] = 8000,
    stream_port: Annotated[int, typer.Option(help="Port of the live stream.")] = 8765,
    code_port: Annotated[int, typer.Option(help="Port of the Dagster code server.")] = 3999,
) -> None:
    """Dagster UI, MLflow UI, prediction API and paper executor in one terminal; Ctrl-C stops all of them."""
    from orchestration.initialise import is_initialised
    from orchestration.up import Ports, Supervisor, platform_services

    root = chosen(context).data_root()
    if not is_initialised(root):
        make_root(root)
    ports = Ports(dagster=dagster_port, mlflow=mlflow_port, api=api_port, stream=stream_port, code=code_port)
    services = platform_services(root, ports, speed=speed, feed=feed)
    supervisor = Supervisor(services, root.logs, lambda line: out.print(line, markup=False))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: supervisor.request_stop())
    began = time.monotonic()
    supervisor.start()
    late = supervisor.wait_ready(READY_WITHIN_S)
    if late and supervisor.dead() is None:
        err.print(f"flowsense: no answer yet from {', '.join(late)}; see {root.logs}", markup=False)
    if supervisor.dead() is None:
        out.print(f"ready after {time.monotonic() - began:.0f} s; data root {root.path}", markup=False)
        for service in services:
            if service.page:
                out.print(f"  {service.url:<24} {service.page}", markup=False)
        out.print(
            "  paper trading on the simulated live stream; no order leaves this machine. Ctrl-C stops all.",
            markup=False,
        )
    raise typer.Exit(supervisor.run())


def make_root(root: DataRoot) -> None:
    """Make a data root in a process of its own: what that takes would stay in the memory of this one, which only waits."""
    import subprocess
    import sys

    command = [
        sys.executable,
        "-c",
        "import sys, pathlib; from orchestration.initialise import ensure_initialised as make; ",
    ]
    command[-1] += "from marketdata.paths import DataRoot; make(DataRoot(pathlib.Path(sys.argv[1])))"
    if subprocess.run([*command, str(root.path)], check=False).returncode:
        raise SettingsError(f"{root.path} could not be made; see above")


def serve(context: typer.Context, port: Annotated[int, typer.Option(help="Port, on 127.0.0.1.")] = 8000) -> None:
    """Run the prediction API alone."""
    from serving.api import serve as run_api

    root, settings = chosen(context).open()
    run_api(root, host=HOST, port=port, settings=settings)


def stream(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port, on 127.0.0.1.")] = 8765,
    speed: Annotated[float, typer.Option(min=0.01, help="Multiple of the market's own pace.")] = 20.0,
    feed: Annotated[str, typer.Option(help="simulator, or replay:YYYY-MM-DD (default: what the source has).")] = "",
) -> None:
    """Serve sessions as a live stream to local clients: length-prefixed MessagePack over TCP."""
    from marketdata.feeds import serve_stream
    from orchestration.live_stream import default_feed, live_items

    root, settings = chosen(context).open()
    which = feed or default_feed(root, settings)
    stop = _stop_event()
    with serve_stream(live_items(root, settings, which, speed), HOST, port) as server:
        out.print(f"streaming {which} at {speed:g} times its pace on {HOST}:{server.address[1]}", markup=False)
        while not stop.wait(0.5) and not server.join(0.0):
            pass


def trade(
    context: typer.Context,
    mode: Annotated[
        Literal["replay", "paper", "live"], typer.Option(help="What is traded, and where orders go.")
    ] = "paper",
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Replay: which session's journal.")
    ] = None,
    port: Annotated[int, typer.Option(help="Paper: port of the stream.")] = 8765,
    feed: Annotated[
        str, typer.Option(help="Paper: address of a feed in place of the stream, such as ring:live or kafka:HOST:PORT.")
    ] = "",
    publish: Annotated[
        str, typer.Option(help="Paper: kafka:HOST:PORT[,...] gets order flow, forecasts and fills (`flowsense bus`).")
    ] = "",
    on_new_champion: Annotated[
        Literal["flatten", "hold"], typer.Option(help="Paper: positions when the champion changes within a session.")
    ] = "flatten",
    shadow: Annotated[
        bool, typer.Option(help="Paper: without a champion the best candidate trades in the shadow.")
    ] = True,
    broker: Annotated[str | None, typer.Option(help="Live: configured broker.")] = None,
    i_accept_real_orders: Annotated[
        bool, typer.Option("--i-accept-real-orders", help="Live: orders cost money.")
    ] = False,
) -> None:
    """Trade: replay a session's journal and compare, paper on the live stream, or live (needs a broker and consent)."""
    root, settings = chosen(context).open()
    if mode == "live":
        lacking = [] if broker else ["no broker is configured"]
        lacking += [] if i_accept_real_orders else ["--i-accept-real-orders was not given"]
        reason = "; ".join(lacking) or f"there is no gateway named {broker!r} in this version"
        raise SettingsError(f"live trading refused: {reason}")
    if mode == "replay":
        from orchestration.replay import replay_session

        with StageProgress() as progress:
            result = replay_session(root, settings, day.date() if day else None, progress)
        out.print(result.sentence, markup=False)
        if not result.equal:
            raise typer.Exit(1)
        return
    from serving.live import run_live

    def say(line: str) -> None:
        out.print(line, markup=False)

    run_live(
        root,
        settings,
        host=HOST,
        port=port,
        open_stream=_opener(root, settings, feed) if feed else None,
        publisher=_publisher(settings, publish, say) if publish else None,
        allow_shadow=shadow,
        on_new_champion=on_new_champion,
        stop=_stop_event(),
        say=say,
    )


def _opener(root: DataRoot, settings: Settings, address: str) -> Callable[[], Feed]:
    """Return what opens a feed of an address, with sessions by the root's calendar where the feed brings none."""
    from marketdata.feeds.catalog import FeedContext, open_feed
    from marketdata.feeds.sessions import SessionFeed

    context = FeedContext(settings.instruments, root.feeds)
    symbols = [item.symbol for item in settings.instruments]
    if address.startswith(("ring:", "stream:")):
        return lambda: open_feed(address, context)
    return lambda: SessionFeed(open_feed(address, context), settings.market_calendar(), symbols)


def _publisher(settings: Settings, address: str, say: Callable[[str], None]) -> "BusPublisher":
    """Return what publishes a session to the brokers of an address."""
    from marketdata.feeds.kafka_bus import KafkaBus
    from serving.publishing import BusPublisher

    kind, _, brokers = address.partition(":")
    if kind != "kafka" or not brokers:
        raise SettingsError(f"--publish {address}: not kafka:HOST:PORT")
    symbols = {item.instrument_id: item.symbol for item in settings.instruments}
    return BusPublisher(KafkaBus(brokers, symbols), say)


def _stop_event() -> threading.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop

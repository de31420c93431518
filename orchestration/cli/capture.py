"""``flowsense capture``: record a venue's frames as they come."""

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from marketdata.settings import SettingsError
from orchestration.cli.console import err, out


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("capture")(capture)


def capture(
    venue: Annotated[str, typer.Option(help="Venue in the catalogue, for example binance_spot.")],
    symbols: Annotated[str, typer.Option(help="The venue's symbols, comma between: BTCUSDT,ETHUSDT.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder of the capture files; made if missing.")] = Path(
        "captures"
    ),
    minutes: Annotated[float | None, typer.Option(min=0.001, help="Stop after so long (default: Ctrl-C).")] = None,
    rotate_mb: Annotated[float, typer.Option(min=0.01, help="Size of a file; also rotated at each full hour.")] = 256.0,
    sync_s: Annotated[float, typer.Option(min=0.05, help="What was received is on disk after so many seconds.")] = 2.0,
    address: Annotated[
        list[str] | None, typer.Option(help="FROM=TO: use another beginning of an address (a mirror, a test net).")
    ] = None,
) -> None:
    """Record verbatim frames with their receive times: compressed, rotated, synced, readable after a crash."""
    from marketdata.capture_run import CaptureState, recover_all
    from marketdata.capture_run import capture as record
    from marketdata.feeds.websocket_settings import WebSocketSettings

    wanted = list(dict.fromkeys(part.strip() for part in symbols.split(",") if part.strip()))
    if not wanted:
        raise SettingsError("--symbols: name at least one")
    addresses = dict(_pair(text) for text in address or ())
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    folder.mkdir(parents=True, exist_ok=True)
    for path in recover_all(folder):
        err.print(f"recovered {path}: its writer had died", markup=False)

    def tell(state: CaptureState) -> None:
        text = (
            f"{state.seconds:,.0f} s  {state.frames:,} frames  {state.gaps} gaps  {state.reconnects} reconnects  "
            f"{state.rejected} not readable  {state.broken.get('book_is_never_crossed', 0)} crossed"
        )
        if err.is_terminal:
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()
        else:
            print(text, file=sys.stderr, flush=True)

    try:
        result = record(
            venue,
            wanted,
            folder,
            seconds=minutes * 60 if minutes else None,
            stop=stop,
            rotate_bytes=round(rotate_mb * 2**20),
            sync_s=sync_s,
            addresses=addresses,
            settings=WebSocketSettings(proxy=None) if _is_local(addresses) else None,
            progress=tell,
            every_s=1.0 if err.is_terminal else 30.0,
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if err.is_terminal:
        sys.stderr.write("\n")
    tell(result.state)
    early = result.state.broken.get("nothing_is_received_before_it_happened", 0)
    if early:
        err.print(
            f"note: {early:,} rows came before they happened: this host's clock is behind; ingest corrects it",
            markup=False,
        )
    for path in result.files:
        out.print(f"{path}  {path.stat().st_size:,} bytes", markup=False)
    if not result.files:
        err.print("flowsense: nothing was received", markup=False)
        raise typer.Exit(1)


def _pair(text: str) -> tuple[str, str]:
    before, equals, after = text.partition("=")
    if not equals or not before or not after:
        raise SettingsError(f"--address {text}: say FROM=TO")
    return before, after


def _is_local(addresses: dict[str, str]) -> bool:
    return bool(addresses) and all("//127.0.0.1" in to or "//localhost" in to for to in addresses.values())

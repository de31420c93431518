"""Record a venue live: connections that come back by themselves, snapshots asked when a book needs one, every frame kept."""

import fcntl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from marketdata.capture import CaptureWriter
from marketdata.capture_files import recover
from marketdata.capture_format import OPEN_SUFFIX, CaptureError
from marketdata.codecs.catalog import build_codec
from marketdata.feeds.websocket import WebSocketFeed
from marketdata.feeds.websocket_settings import WebSocketSettings
from marketdata.frames import QUARANTINE
from marketdata.instruments import Instrument
from marketdata.invariants import InvariantMonitor
from marketdata.messages import EventBatch

PRICE_STEP: Final = 1e-10
SIZE_STEP: Final = 1e-8
"""Grid on which a recorder follows books: finer than any venue's, because it only has to know when a snapshot is due."""


@dataclass(frozen=True, slots=True)
class CaptureState:
    """How a running capture stands.

    Attributes
    ----------
    seconds : float
        Since it began.
    frames : int
    gaps, reconnects, rejected : int
        Holes in the venue's numbering, connections opened again, frames that the codec could not read (kept all the same).
    broken : dict of str to int
        Rows of the decoded events that broke an invariant (``marketdata.invariants``), by its name.
    """

    seconds: float
    frames: int
    gaps: int
    reconnects: int
    rejected: int
    broken: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CaptureResult:
    """What a capture came to: its closed files and its last state."""

    files: tuple[Path, ...]
    state: CaptureState


def recover_all(folder: Path) -> list[Path]:
    """Close the files of writers that died, and return the closed files; files that are being written are left alone."""
    found = []
    for path in sorted(folder.glob(f"*{OPEN_SUFFIX}")):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            try:
                found.append(recover(path))
            except CaptureError as error:
                if "nothing was recorded" not in str(error):
                    raise
                path.unlink()
    return found


def capture(
    venue: str,
    symbols: Sequence[str],
    folder: Path,
    *,
    seconds: float | None = None,
    stop: threading.Event | None = None,
    rotate_bytes: int = 256 << 20,
    sync_s: float = 2.0,
    addresses: Mapping[str, str] | None = None,
    settings: WebSocketSettings | None = None,
    progress: Callable[[CaptureState], None] | None = None,
    every_s: float = 1.0,
) -> CaptureResult:
    """Record symbols of a venue until time is up or ``stop`` is set.

    Parameters
    ----------
    venue : str
        Name in the catalogue of codecs.
    symbols : sequence of str
        The venue's own.
    folder : Path
        Files of writers that died there are closed first.
    addresses, settings
        As :class:`~marketdata.feeds.websocket.WebSocketFeed` takes them.
    progress : callable, optional
        Called about every ``every_s`` seconds.

    Raises
    ------
    UnknownVenue
        If there is no such venue.
    FeedError
        If a connection cannot be had.
    CaptureError
        If frames cannot be written.
    """
    instruments = {
        symbol: Instrument(
            symbol=f"S{k}",
            instrument_id=k,
            venue=venue,
            unit_nanos=1,
            price_decimals=PRICE_STEP,
            lot_size=SIZE_STEP,
        )
        for k, symbol in enumerate(symbols)
    }
    codec = build_codec(venue, instruments, QUARANTINE)
    folder.mkdir(parents=True, exist_ok=True)
    recover_all(folder)
    monitor = InvariantMonitor(instruments.values())
    started = told = time.monotonic()
    with CaptureWriter(folder, venue, symbols, rotate_bytes=rotate_bytes, sync_s=sync_s) as writer:
        feed = WebSocketFeed([codec], settings=settings, addresses=addresses, tee=writer)

        def state() -> CaptureState:
            metrics = feed.metrics
            return CaptureState(
                time.monotonic() - started,
                writer.frames,
                metrics.gaps,
                metrics.reconnects,
                metrics.rejected,
                dict(monitor.counts),
            )

        try:
            for item in feed:
                if isinstance(item, EventBatch) and len(item.events):
                    monitor.take(item.events)
                now = time.monotonic()
                if progress is not None and now - told >= every_s:
                    told = now
                    progress(state())
                if (stop is not None and stop.is_set()) or (seconds is not None and now - started >= seconds):
                    break
        finally:
            feed.close()
        last = state()
        files = writer.close()
    return CaptureResult(tuple(files), last)

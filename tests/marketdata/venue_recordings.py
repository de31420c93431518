"""Small recordings in a venue's own form, written where a test wants them: raw lines as Binance's recorders leave them."""

import gzip
import json
from datetime import date
from pathlib import Path

import numpy as np

from marketdata.clock import NS_PER_MS
from marketdata.instruments import Instrument
from marketdata.paths import DataRoot
from marketdata.recorded_settings import ROUND_THE_CLOCK, new_settings, spanning
from marketdata.settings import Settings, save_settings

MIDNIGHT_MS = 1_723_161_600_000
"""2024-08-09 00:00 UTC."""
DAYS = (date(2024, 8, 8), date(2024, 8, 9))
STEP_MS = 100
Line = tuple[int, dict[str, object]]


def spot_lines(
    start_ms: int, frames: int, seed: int = 1, *, behind_ms: int = 1_270, symbol: str = "AAAUSDT", first_id: int = 1_000
) -> list[Line]:
    """Return frames of one symbol: a depth update, the snapshot, then updates and trades; our clock is ``behind_ms`` late.

    Each frame took between 2 and 40 ms; levels lie within 20 cents of 100.
    """
    rng = np.random.default_rng(seed)
    last = first_id
    bids, asks = (
        {f"{99.99 - k / 100:.2f}": "5.000" for k in range(10)},
        {f"{100.01 + k / 100:.2f}": "5.000" for k in range(10)},
    )
    lines: list[Line] = []
    trades = 0
    for k in range(frames):
        event_ms = start_ms + k * STEP_MS
        recv = (event_ms - behind_ms) * NS_PER_MS + int(rng.integers(2_000_000, 40_000_000))
        if k == 1:
            snapshot = {"lastUpdateId": last, "bids": [*bids.items()], "asks": [*asks.items()]}
            lines.append((recv, snapshot))
        if k % 4 == 3:
            trades += 1
            payload: dict[str, object] = {
                "e": "trade", "E": event_ms, "s": symbol, "t": first_id + trades, "p": "100.00",
                "q": "0.250", "T": event_ms, "m": bool(trades % 2), "M": True,
            }  # fmt: skip
            lines.append((recv, {"stream": f"{symbol.lower()}@trade", "data": payload}))
            continue
        changes = []
        for side, best, step in ((bids, 99.99, -1), (asks, 100.01, 1)):
            price, size = f"{best + step * int(rng.integers(0, 20)) / 100:.2f}", f"{int(rng.integers(0, 4))}.125"
            if size.startswith("0"):
                size = "0.000"
                side.pop(price, None)
            else:
                side[price] = size
            changes.append([[price, size]])
        payload = {
            "e": "depthUpdate", "E": event_ms, "s": symbol, "U": last + 1, "u": last + 2, "b": changes[0], "a": changes[1],
        }  # fmt: skip
        last += 2
        lines.append((recv, {"stream": f"{symbol.lower()}@depth@100ms", "data": payload}))
    return lines


def write_lines(path: Path, lines: list[Line]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{recv} {json.dumps(frame, separators=(',', ':'))}\n" for recv, frame in lines)
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        packed.write(text.encode())
    return path


def recorded_root(folder: Path, instruments: list[Instrument]) -> tuple[DataRoot, Settings]:
    """Return a root whose sessions are the two days around midnight."""
    root = DataRoot(folder)
    root.path.mkdir(parents=True)
    settings = spanning(new_settings(ROUND_THE_CLOCK, instruments, 0).model_copy(update={"start_date": DAYS[0]}), DAYS)
    save_settings(settings, root.settings_file)
    return root, settings

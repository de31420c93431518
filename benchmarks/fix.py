"""Benchmarks of exchange codecs: FIX market data and ITCH, bytes in and event rows out, every number checked and exact."""

import importlib
import importlib.util
import struct
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.peers import peers_folder, run_generator
from marketdata.codecs.fix import FixCodec
from marketdata.codecs.fix_message import make_message
from marketdata.codecs.fix_splitter import message_places
from marketdata.codecs.itch import ItchCodec
from marketdata.codecs.itch_framing import MESSAGE
from marketdata.events import LEVEL, EventArray
from marketdata.frames import FrameBatch
from marketdata.instruments import Instrument

REPEATS: Final = 7
MESSAGES: Final = 50_000
PEER_MESSAGES: Final = 5_000
ENTRIES: Final = 4
START: Final = 1_714_564_800_000_000_000


def _frames() -> list[bytes]:
    """Return 35=X messages of four entries: those of the peers' generator where it is at hand, else ours of the same form."""
    folder = peers_folder()
    if folder is not None:
        with tempfile.TemporaryDirectory(prefix="flowsense-bench-") as made:
            run_generator(folder, "gen_frames.py", str(MESSAGES), into=Path(made))
            data = (Path(made) / "frames" / "fix44.bin").read_bytes()
        return [data[first:end] for first, end in message_places(data)]
    rng = np.random.default_rng(3)
    price = 650_000 + np.cumsum(rng.integers(-3, 4, MESSAGES))
    size = rng.exponential(1.5, (MESSAGES, ENTRIES)) + 0.001
    action = rng.integers(0, 3, (MESSAGES, ENTRIES))
    messages = []
    for k in range(MESSAGES):
        fields = [(35, "X"), (49, "SENDER"), (56, "TARGET"), (34, str(k + 1))]
        stamp = f"{k // 60_000 % 60:02d}:{k // 1_000 % 60:02d}.{k % 1_000:03d}"
        fields += [(52, f"20240501-12:{stamp}"), (262, "REQ1"), (268, str(ENTRIES))]
        for j in range(ENTRIES):
            fields += [(279, str(action[k, j])), (269, str(j & 1)), (278, str(k * ENTRIES + j)), (55, "BTCUSDT")]
            fields += [
                (270, f"{price[k] / 10 + j:.2f}"),
                (271, f"{size[k, j]:.3f}"),
                (273, f"12:00:00.{k % 1_000:03d}"),
            ]
        messages.append(make_message(fields))
    return messages


def _batch(messages: list[bytes]) -> FrameBatch:
    starts = np.concatenate([[0], np.cumsum([len(message) for message in messages])]).astype(np.int64)
    times = START + np.arange(len(messages), dtype=np.int64)
    return FrameBatch(
        np.frombuffer(b"".join(messages), np.uint8), starts, times, np.zeros(len(messages), np.int16), ("fix",)
    )


def _best_of(run: Callable[[], object]) -> float:
    """Return the shortest of a few times of this thread on its processor, after one run that compiles."""
    run()
    times = []
    for _ in range(REPEATS):
        start = time.thread_time()
        run()
        times.append(time.thread_time() - start)
    return min(times)


def _quickfix(messages: list[bytes]) -> tuple[str, Callable[[], object]] | None:
    """Return QuickFIX's parser with length and checksum validated; None where it is not installed."""
    if importlib.util.find_spec("quickfix") is None:
        return None
    quickfix = importlib.import_module("quickfix")
    texts = [message.decode() for message in messages]
    return "quickfix Message(validate=True), groups not read", lambda: [quickfix.Message(text, True) for text in texts]


def _simplefix(messages: list[bytes]) -> tuple[str, Callable[[], object]] | None:
    """Return simplefix's parser with the prices and sizes read; None where it is not installed."""
    if importlib.util.find_spec("simplefix") is None:
        return None
    simplefix = importlib.import_module("simplefix")

    def run() -> float:
        parser, total = simplefix.FixParser(), 0.0
        for message in messages:
            parser.append_buffer(message)
            read = parser.get_message()
            for k in range(1, ENTRIES + 1):
                total += float(read.get(270, k)) * float(read.get(271, k))
        return total

    return "simplefix, 4 prices and sizes read as floats", run


def _check(events: EventArray, messages: list[bytes]) -> None:
    """Check every row of the first and last messages by plain splitting, and the count of all."""
    if len(events) != ENTRIES * len(messages) or not (events["action"] == LEVEL).all():
        raise AssertionError("a message did not give one row an entry")
    for k in (0, 1, len(messages) // 2, len(messages) - 1):
        fields = [field.split(b"=") for field in messages[k].split(b"\x01")[:-1]]
        price, size, action = ([value for tag, value in fields if tag == wanted] for wanted in (b"270", b"271", b"279"))
        for j in range(ENTRIES):
            row = events[ENTRIES * k + j]
            lots = 0 if action[j] == b"2" else round(float(size[j]) * 1_000)
            if (int(row["price_units"]), int(row["size_lots"])) != (round(float(price[j]) * 100), lots):
                raise AssertionError(f"message {k}, entry {j}: {row}")


def _parse_fix(peer: Callable[[list[bytes]], tuple[str, Callable[[], object]] | None]) -> dict[str, Any]:
    messages = _frames()
    item = Instrument(symbol="BTCUSDT", instrument_id=0, venue="fix", unit_nanos=1, price_decimals=0.01, lot_size=0.001)
    codec = FixCodec({"BTCUSDT": item}, needs_snapshot=False)
    batch = _batch(messages)
    _check(codec.step(codec.init(), batch)[1].events, messages)
    seconds = _best_of(lambda: codec.step(codec.init(), batch))
    row: dict[str, Any] = {"n": len(messages), "unit": "message", "per_s": len(messages) / seconds}
    other = peer(messages[:PEER_MESSAGES])
    if other is None:
        return {**row, "peer": None, "peer_per_s": None}
    name, run = other
    run()
    times = []
    for _ in range(3):
        start = time.thread_time()
        run()
        times.append(time.thread_time() - start)
    return {**row, "peer": name, "peer_per_s": min(PEER_MESSAGES, len(messages)) / min(times)}


def parse_fix() -> dict[str, Any]:
    """Parse 35=X with four entries into rows, length and checksum verified, beside QuickFIX (simplefix where it is absent)."""
    return _parse_fix(lambda messages: _quickfix(messages) or _simplefix(messages))


def parse_fix_simplefix() -> dict[str, Any]:
    """Parse the same beside simplefix."""
    return _parse_fix(_simplefix)


def parse_itch() -> dict[str, Any]:
    """Fold a made-up day of adds, executions, cancels, deletes and replaces of 50 stocks into rows."""
    rng = np.random.default_rng(5)
    stocks = [f"S{k:03d}" for k in range(50)]
    out = [struct.pack(">cHH", b"S", 0, 0) + (1).to_bytes(6) + b"O"]
    live: list[tuple[int, int, int]] = []
    rolls, picks, sizes = rng.random(200_000), rng.integers(0, 2**31, 200_000), rng.integers(1, 9, 200_000)
    for k in range(200_000):
        head = struct.pack(">HH", int(picks[k]) % 50 + 1, 0) + (10 * k + 2).to_bytes(6)
        if rolls[k] < 0.5 or not live:
            side = b"B" if picks[k] & 64 else b"S"
            shares = int(sizes[k]) * 100
            stock = stocks[int(picks[k]) % 50].ljust(8).encode()
            out.append(
                b"A" + head + struct.pack(">QcI", k + 1, side, shares) + stock + struct.pack(">I", 10_000 + k % 97)
            )
            live.append((k + 1, int(picks[k]) % 50 + 1, shares))
            continue
        at = int(picks[k]) % len(live)
        order, locate, shares = live[at]
        live[at] = live[-1]
        live.pop()
        head = struct.pack(">HH", locate, 0) + (10 * k + 2).to_bytes(6)
        if rolls[k] < 0.6:
            out.append(b"E" + head + struct.pack(">QIQ", order, shares, k))
        elif rolls[k] < 0.9:
            out.append(b"D" + head + struct.pack(">Q", order))
        else:
            out.append(b"U" + head + struct.pack(">QQII", order, k + 1, shares, 10_000 + k % 97))
            live.append((k + 1, locate, shares))
    wanted = {
        name: Instrument(symbol=name, instrument_id=k, venue="itch50", unit_nanos=1, price_decimals=0.0001)
        for k, name in enumerate(stocks)
    }
    codec = ItchCodec(wanted, MESSAGE, date(2024, 1, 2))
    batch = _batch(out)
    state, decoded = codec.step(codec.init(), batch)
    if int(state.arrays.table.live[0]) != len(live) or decoded.rejected:
        raise AssertionError("the book lost orders")
    seconds = _best_of(lambda: codec.step(codec.init(), batch))
    return {"n": len(out), "unit": "message", "per_s": len(out) / seconds}


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "parse_fix": parse_fix,
    "parse_fix_simplefix": parse_fix_simplefix,
    "parse_itch": parse_itch,
}

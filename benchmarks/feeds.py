"""How fast events get in: across the ring between two processes, over a local socket, from a venue's WebSocket."""

import asyncio
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from marketdata.clock import Session, from_ns
from marketdata.codecs.binance import SPOT, BinanceCodec
from marketdata.events import F_LAST, LEVEL, EventArray, empty_events
from marketdata.feeds import ReplayFeed, SocketFeed, serve_stream, stream_session
from marketdata.feeds.ring import SharedRing
from marketdata.feeds.ring_feed import RingFeed, RingWriter
from marketdata.feeds.websocket import WebSocketFeed
from marketdata.feeds.websocket_settings import WebSocketSettings
from marketdata.frames import RAISE
from marketdata.instruments import Instrument
from marketdata.messages import EventBatch, StatusKind

RING_ROWS: Final = 10_000_000
RING_BATCH: Final = 512
PINGS: Final = 20_000
PING_EVERY_S: Final = 40e-6
SOCKET_ROWS: Final = 2_000_000
FRAMES: Final = 60_000
LEVELS: Final = 20


def _numbered(rows: int) -> EventArray:
    events = empty_events(rows)
    events["sequence"] = events["ts_recv"] = events["ts_event"] = np.arange(rows)
    events["action"], events["side"], events["flags"], events["size_lots"] = LEVEL, 1, F_LAST, 7
    return events


def _fill(name: str, rows: int) -> None:
    """Push numbered batches, in a process of its own."""
    with SharedRing.attach(name, 30.0) as ring:
        writer = RingWriter(ring)
        batch = _numbered(RING_BATCH)
        for first in range(0, rows, RING_BATCH):
            batch["sequence"] = np.arange(first, first + RING_BATCH)
            writer.put(EventBatch(batch[: rows - first], first))
        writer.close()


def _ping(name: str, count: int) -> None:
    """Push single events that carry the time they were pushed at, in a process of its own."""
    with SharedRing.attach(name, 30.0) as ring:
        writer = RingWriter(ring)
        event = _numbered(1)
        for _ in range(count):
            event["ts_event"] = time.monotonic_ns()
            ring.push(event)
            due = time.perf_counter() + PING_EVERY_S
            while time.perf_counter() < due:
                pass
        writer.close()


def ring() -> dict[str, Any]:
    """Time rows from process to process: throughput in batches of 512, and single rows' time from push to read."""
    spawn = multiprocessing.get_context("spawn")
    with SharedRing.create(f"bench-{os.getpid()}") as shared:
        feed = RingFeed(shared, copy=False, wait_for_producer_s=60.0)
        worker = spawn.Process(target=_fill, args=(shared.name, RING_ROWS))
        worker.start()
        rows = total = 0
        started = finished = 0.0
        for item in feed:
            if isinstance(item, EventBatch) and len(item.events):
                started = started or time.perf_counter()
                rows += len(item.events)
                total += int(item.events["sequence"].sum())
                finished = time.perf_counter()
        worker.join()
        if rows != RING_ROWS or total != RING_ROWS * (RING_ROWS - 1) // 2:
            raise AssertionError(f"{rows} rows with sum {total} of {RING_ROWS}: the ring lost or doubled some")
        feed.close()
    with SharedRing.create(f"bench-{os.getpid()}") as shared:
        worker = spawn.Process(target=_ping, args=(shared.name, PINGS))
        worker.start()
        taken: list[int] = []
        while len(taken) < PINGS:
            run = shared.next(1, 100_000)
            if run.rows:
                taken.append(time.monotonic_ns() - int(run.events["ts_event"][0]))
                shared.release(run.rows)
        worker.join()
    p50, p99 = np.quantile(np.array(taken[PINGS // 10 :]) / 1e3, [0.5, 0.99])
    return {
        "n": RING_ROWS,
        "unit": "event",
        "per_s": RING_ROWS / (finished - started),
        "p50_us": float(p50),
        "p99_us": float(p99),
    }


def stream_socket() -> dict[str, Any]:
    """Time rows through the local event stream, server and client in one process."""
    events = _numbered(SOCKET_ROWS)
    session = Session(from_ns(0).date(), 0, SOCKET_ROWS)
    with serve_stream(stream_session(session, ["A"], ReplayFeed(events, batch_rows=4_096))) as server:
        started = time.perf_counter()
        rows = sum(len(item.events) for item in SocketFeed(*server.address) if isinstance(item, EventBatch))
        seconds = time.perf_counter() - started
    if rows != SOCKET_ROWS:
        raise AssertionError(f"{rows} of {SOCKET_ROWS} rows came")
    return {"n": rows, "unit": "event", "per_s": rows / seconds}


def _depth_frames(count: int) -> list[bytes]:
    """Return a snapshot's answer and depth updates of 20 + 20 levels behind it."""
    rng = np.random.default_rng(3)
    frames = []
    for k in range(count):
        sizes = rng.integers(1, 90_000, 2 * LEVELS)
        sides = [
            [
                [f"{60_000 + step * (j + int(rng.integers(0, 5))):.2f}", f"{sizes[at + j] / 1e5:.8f}"]
                for j in range(LEVELS)
            ]
            for step, at in ((-1, 0), (1, LEVELS))
        ]
        data = {"e": "depthUpdate", "E": 1_723_161_255_208 + k, "s": "BTCUSDT", "U": k + 2, "u": k + 2}
        message = {"stream": "btcusdt@depth@100ms", "data": {**data, "b": sides[0], "a": sides[1]}}
        frames.append(json.dumps(message, separators=(",", ":")).encode())
    return frames


def _venue(port: Any, go: Any, frames: list[bytes]) -> None:
    """Answer the snapshot; once the client has it, write the frames, encoded beforehand, as fast as the socket takes them."""
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.datastructures import Headers
    from websockets.http11 import Request, Response

    wire = b"".join(b"\x81\x7e" + len(frame).to_bytes(2, "big") + frame for frame in frames)

    async def answer(connection: ServerConnection, request: Request) -> Response | None:
        if "depth?" not in request.path:
            return None
        body = json.dumps(
            {"lastUpdateId": 1, "bids": [["59999.00", "1.00000000"]], "asks": [["60001.00", "1.00000000"]]}
        )
        return Response(200, "OK", Headers([("Content-Length", str(len(body)))]), body.encode())

    async def play(connection: ServerConnection) -> None:
        while not go.value:
            await asyncio.sleep(0.0005)
        for at in range(0, len(wire), 1 << 18):
            connection.transport.write(wire[at : at + (1 << 18)])
            while connection.transport.get_write_buffer_size() > 1 << 20:
                await asyncio.sleep(0.0005)
        await connection.wait_closed()

    async def run() -> None:
        async with serve(play, "127.0.0.1", 0, process_request=answer, compression=None) as server:
            port.value = server.sockets[0].getsockname()[1]
            await asyncio.sleep(600)

    asyncio.run(run())


def _one_stream(frames: list[bytes]) -> tuple[float, float]:
    """Return (seconds, seconds of this process's processors) from the word to begin to the last frame's events."""
    spawn = multiprocessing.get_context("spawn")
    port, go = spawn.Value("i", 0), spawn.Value("i", 0)
    worker = spawn.Process(target=_venue, args=(port, go, frames), daemon=True)
    worker.start()
    while not port.value:
        time.sleep(0.05)
    item = Instrument(
        symbol="BTCUSDT", instrument_id=0, venue="binance_spot", unit_nanos=1, price_decimals=0.01, lot_size=1e-8
    )
    address = {"wss://stream.binance.com:9443": "ws", "https://api.binance.com": "http"}
    feed = WebSocketFeed(
        [BinanceCodec(SPOT, {"BTCUSDT": item}, RAISE)],
        settings=WebSocketSettings(proxy=None, idle_s=0.01),
        addresses={real: f"{scheme}://127.0.0.1:{port.value}" for real, scheme in address.items()},
    )
    started = worked = 0.0
    last = rows = 0
    for received in feed:
        if isinstance(received, EventBatch) and len(received.events):
            rows += len(received.events)
            last = int(received.events["sequence"][-1])
            if last == FRAMES + 1:
                break
        elif getattr(received, "kind", None) is StatusKind.SYNCED:
            started, worked = time.perf_counter(), time.process_time()
            go.value = 1
    seconds, processor_s = time.perf_counter() - started, time.process_time() - worked
    feed.close()
    worker.terminate()
    worker.join()
    if feed.metrics.gaps or feed.metrics.rejected or feed.metrics.frames != FRAMES + 1:
        raise AssertionError(f"{feed.metrics.frames} frames, {feed.metrics.gaps} gaps: this is no clean stream")
    if rows != 3 + FRAMES * 2 * LEVELS:
        raise AssertionError(f"{rows} rows came of {FRAMES} frames")
    return seconds, processor_s


def websocket_feed() -> dict[str, Any]:
    """Time depth frames of 20 + 20 levels from a local WebSocket to events, venue in a process of its own; the best of three.

    The venue begins when the book is known, and the clock with it. ``p50_us`` is the processor time of a frame in the feed's
    process, network thread and consumer together, which other work on the machine does not change.
    """
    frames = _depth_frames(FRAMES)
    _one_stream(frames)
    runs = [_one_stream(frames) for _ in range(3)]
    return {
        "n": FRAMES,
        "unit": "frame",
        "per_s": FRAMES / min(seconds for seconds, _ in runs),
        "p50_us": min(processor_s for _, processor_s in runs) / FRAMES * 1e6,
    }


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "ring": ring,
    "stream_socket": stream_socket,
    "websocket_feed": websocket_feed,
}

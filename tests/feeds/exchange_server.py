"""A venue on this machine: plays frames over WebSocket, answers snapshots over REST, and misbehaves as it is told.

The venue's books go on with every frame of its script, whether the frame reaches a client or not, as a real venue's do.
"""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

Side = dict[str, str]


@dataclass(frozen=True)
class Frame:
    """A frame of the script: its bytes, and the depth update in it, if it is one."""

    payload: bytes
    depth: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Fault:
    """What happens to one frame.

    Attributes
    ----------
    kind : str
        ``drop``; ``duplicate``; ``late``: sent after the next ``count`` frames; ``delay``: the stream waits ``seconds``;
        ``disconnect``: the connection ends before this frame, without a closing frame, and this and the next
        ``count - 1`` frames go by unheard; ``garbage``: sent with its end torn off, and once more whole.
    """

    kind: str
    count: int = 1
    seconds: float = 0.0


@dataclass
class VenueBook:
    """A symbol's book as the venue has it: price and size as text."""

    bids: Side = field(default_factory=dict)
    asks: Side = field(default_factory=dict)
    last: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    def apply(self, depth: Mapping[str, Any]) -> None:
        for side, changes in ((self.bids, depth["b"]), (self.asks, depth["a"])):
            for price, size in changes:
                if float(size) == 0:
                    side.pop(price, None)
                else:
                    side[price] = size
        self.last = depth["u"]
        self.extra = {key: depth[key] for key in ("E", "T") if key in depth and "pu" in depth}

    def snapshot(self) -> bytes:
        bids = sorted(self.bids.items(), key=lambda level: -float(level[0]))
        asks = sorted(self.asks.items(), key=lambda level: float(level[0]))
        return json.dumps({"lastUpdateId": self.last, **self.extra, "bids": bids, "asks": asks}).encode()


class ExchangeServer:
    """The venue, in a thread of its own.

    Parameters
    ----------
    script : sequence of Frame
    books : mapping of str to VenueBook
        By symbol, as they are before the script's first frame.
    faults : mapping of int to Fault
        By place in the script.
    burst, pause_s : int, float
        Frames sent without a pause, and the pause after them.
    patience_s : float
        Five frames after the first connection and after each fault that costs the client its book, the script waits for
        its snapshot requests, but not longer than this.
    rest_statuses : sequence of int
        Answers to the first snapshot requests in place of a snapshot.
    rest_lag : sequence of int
        How many depth frames the next snapshots are behind the stream.
    hold_at : int, optional
        The script stops before this frame until :meth:`go_on`.
    refuse : int, optional
        HTTP status given to every WebSocket request.
    """

    def __init__(
        self,
        script: Sequence[Frame],
        books: Mapping[str, VenueBook],
        faults: Mapping[int, Fault] | None = None,
        *,
        burst: int = 8,
        pause_s: float = 0.001,
        patience_s: float = 1.0,
        rest_statuses: Sequence[int] = (),
        rest_lag: Sequence[int] = (),
        hold_at: int | None = None,
        refuse: int | None = None,
    ) -> None:
        self.script, self.books, self.faults = script, dict(books), dict(faults or {})
        self.burst, self.pause_s, self.hold_at, self.refuse = burst, pause_s, hold_at, refuse
        self.rest_statuses, self.rest_lag = list(rest_statuses), list(rest_lag)
        self.position = 0
        self.patience_s = patience_s
        self._await = (5, len(books) + len(rest_statuses))
        self.rest_requests = 0
        self.connections = 0
        self.heard: list[str] = []
        self.happened: Counter[str] = Counter()
        self.before_snapshot: Callable[[str, VenueBook], None] | None = None
        self._late: list[tuple[int, Frame]] = []
        self._history: dict[str, list[bytes]] = {symbol: [] for symbol in books}
        self._playing = asyncio.Lock()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._go = asyncio.Event()
        self.port = 0
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._main()), daemon=True)

    @property
    def is_done(self) -> bool:
        return self.position >= len(self.script) and not self._late

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def go_on(self) -> None:
        self._loop.call_soon_threadsafe(self._go.set)

    def pass_by(self, frames: int) -> None:
        """Let the venue go on by so many frames that nobody hears."""

        async def advance() -> None:
            for _ in range(frames):
                self._advance()

        asyncio.run_coroutine_threadsafe(advance(), self._loop).result(5)

    async def _main(self) -> None:
        async with serve(
            self._play, "127.0.0.1", self.port, process_request=self._request, ping_interval=None
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stop.wait()

    async def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        parts = urlsplit(request.path)
        if "depth" not in parts.path:
            if self.refuse is not None:
                return connection.respond(HTTPStatus(self.refuse), "blocked by policy\n")
            return None
        self.rest_requests += 1
        if self.rest_statuses:
            response = connection.respond(HTTPStatus(self.rest_statuses.pop(0)), "slow down\n")
            response.headers["Retry-After"] = "0"
            return response
        symbol = parse_qs(parts.query)["symbol"][0]
        book = self.books[symbol]
        if self.before_snapshot is not None:
            self.before_snapshot(symbol, book)
        lag = self.rest_lag.pop(0) if self.rest_lag else 0
        history = self._history[symbol]
        body = history[-min(lag, len(history))] if lag and history else book.snapshot()
        headers = Headers([("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return Response(200, "OK", headers, body)

    async def _play(self, connection: ServerConnection) -> None:
        self.connections += 1
        listener = asyncio.ensure_future(self._listen(connection))
        try:
            async with self._playing:
                await self._play_on(connection)
            await connection.wait_closed()
        except ConnectionClosed:
            pass
        finally:
            listener.cancel()

    async def _listen(self, connection: ServerConnection) -> None:
        async for text in connection:
            self.heard.append(str(text))

    async def _play_on(self, connection: ServerConnection) -> None:
        while not self.is_done:
            if self.hold_at is not None and self.position >= self.hold_at:
                hold = asyncio.ensure_future(self._go.wait())
                closed = asyncio.ensure_future(connection.wait_closed())
                done, _ = await asyncio.wait({hold, closed}, return_when=asyncio.FIRST_COMPLETED)
                hold.cancel()
                if closed in done:
                    return
                closed.cancel()
                self.hold_at = None
            if not await self._next(connection):
                connection.transport.abort()
                return
            if self.position % self.burst == 0:
                await asyncio.sleep(self.pause_s)
            if self.position >= self._await[0]:
                await self._wait_for_requests()

    async def _wait_for_requests(self) -> None:
        until = self._loop.time() + self.patience_s
        while self.rest_requests < self._await[1] and self._loop.time() < until:
            await asyncio.sleep(0.002)
        self._await = (len(self.script) + 1, 0)

    async def _next(self, connection: ServerConnection) -> bool:
        """Send what is due; return whether the connection still stands."""
        for due in [late for late in self._late if late[0] <= self.position or self.position >= len(self.script)]:
            self._late.remove(due)
            await connection.send(due[1].payload)
        if self.position >= len(self.script):
            return True
        fault = self.faults.pop(self.position, None)
        if fault is None:
            frame = self._advance()
            await connection.send(frame.payload, text=True)
            return True
        self.happened[fault.kind] += 1
        if fault.kind in {"drop", "late", "disconnect"}:
            self._await = (self.position + fault.count + 5, self.rest_requests + 1)
        if fault.kind == "disconnect":
            for _ in range(min(fault.count, len(self.script) - self.position)):
                self._advance()
            return False
        frame = self._advance()
        if fault.kind == "duplicate":
            await connection.send(frame.payload, text=True)
            await connection.send(frame.payload, text=True)
        elif fault.kind == "late":
            self._late.append((self.position + fault.count, frame))
        elif fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            await connection.send(frame.payload, text=True)
        elif fault.kind == "garbage":
            await connection.send(frame.payload[: len(frame.payload) // 2], text=True)
            await connection.send(frame.payload, text=True)
        return True

    def _advance(self) -> Frame:
        frame = self.script[self.position]
        self.position += 1
        if frame.depth is not None:
            book = self.books[frame.depth["s"]]
            if self.rest_lag:
                self._history[frame.depth["s"]].append(book.snapshot())
            book.apply(frame.depth)
        return frame

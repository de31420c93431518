"""A venue on this machine: plays frames over WebSocket, answers snapshots over REST, and misbehaves as it is told.

The venue's books go on with every frame of its script, whether the frame reaches a client or not, as a real venue's do.
"""

import asyncio
import contextlib
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
LIMIT_S = 120.0
"""How long anything is waited for that has to come: a loaded machine is slow, not wrong."""


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
        Five frames after the first connection and after each fault that costs the client a book, as soon as the stream
        shows the hole, the script waits until the client has asked for snapshots, or until it is abreast where
        :attr:`is_abreast` tells; but not longer than this.
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
        patience_s: float = LIMIT_S,
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
        self.sent = 0
        self.connections = 0
        self.heard: list[str] = []
        self.happened: Counter[str] = Counter()
        self.before_snapshot: Callable[[str, VenueBook], None] | None = None
        self.is_abreast: Callable[[], bool] | None = None
        """Whether the client has taken what was played so far; asked in the venue's thread while nothing is played."""
        self.connects: Callable[[], int] = lambda: self.connections
        """How many connections the client knows to be open or to have been."""
        self._holes: set[str] = set()
        self._late: list[tuple[int, Frame]] = []
        self._history: dict[str, list[bytes]] = {symbol: [] for symbol in books}
        self._connected: list[ServerConnection] = []
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
        assert self._ready.wait(LIMIT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(LIMIT_S)
        self._loop.close()

    def go_on(self) -> None:
        self._loop.call_soon_threadsafe(self._go.set)

    def pass_by(self, frames: int) -> None:
        """Let the venue go on by so many frames that nobody hears."""

        async def advance() -> None:
            for _ in range(frames):
                self._advance()

        asyncio.run_coroutine_threadsafe(advance(), self._loop).result(LIMIT_S)

    async def _main(self) -> None:
        async with serve(
            self._join, "127.0.0.1", self.port, process_request=self._request, ping_interval=None
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            player = asyncio.ensure_future(self._play())
            await self._stop.wait()
            player.cancel()

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

    async def _join(self, connection: ServerConnection) -> None:
        self.connections += 1
        self._connected.append(connection)
        try:
            async for text in connection:
                self.heard.append(str(text))
        except ConnectionClosed:
            pass
        finally:
            if connection in self._connected:
                self._connected.remove(connection)

    async def _play(self) -> None:
        """Play the script to whoever is connected; wait where nobody is."""
        while not self.is_done:
            if self.hold_at is not None and self.position >= self.hold_at:
                await self._go.wait()
                self.hold_at = None
            await self._next()
            if self.position % self.burst == 0:
                await asyncio.sleep(self.pause_s)
            if self.position >= self._await[0] and not self._holes:
                await self._until(lambda: self.is_known, self.patience_s)
                self._await = (len(self.script) + 1, 0)

    @property
    def is_known(self) -> bool:
        """Whether the client has the book again, as far as the venue can tell."""
        return self.rest_requests >= self._await[1] if self.is_abreast is None else self.is_abreast()

    @property
    def wanted_requests(self) -> int:
        """How many snapshot requests the script waits for."""
        return self._await[1]

    async def _until(self, is_so: Callable[[], bool], limit_s: float) -> None:
        until = self._loop.time() + limit_s
        while not is_so() and self._loop.time() < until:
            await asyncio.sleep(0.002)

    async def _carrier(self, frame: Frame) -> ServerConnection:
        """Return the connection that carries a frame: by what its address subscribes to, where it does."""
        kind = "depth" if b"depth" in frame.payload[:60] else "rade"
        while True:
            for connection in reversed(self._connected):
                path = connection.request.path if connection.request is not None else ""
                if "streams=" not in path or kind in path:
                    return connection
            await asyncio.sleep(0.002)

    async def _send(self, frame: Frame, payload: bytes | None = None) -> None:
        connection = await self._carrier(frame)
        if frame.depth is not None:
            self._holes.discard(frame.depth["s"])  # from here on the client can see what it lacks
        with contextlib.suppress(ConnectionClosed):  # what is sent into a broken connection is lost
            await connection.send(frame.payload if payload is None else payload, text=True)
            self.sent += 1

    async def _next(self) -> None:
        """Send what is due."""
        for due in [late for late in self._late if late[0] <= self.position or self.position >= len(self.script)]:
            self._late.remove(due)
            await self._send(due[1])
        if self.position >= len(self.script):
            return
        connection = await self._carrier(self.script[self.position])
        fault = self.faults.pop(self.position, None)
        if fault is None:
            await self._send(self._advance())
            return
        self.happened[fault.kind] += 1
        if fault.kind == "disconnect":
            await self._break(connection)
        place, asked = self.position, self.rest_requests
        if fault.kind in {"drop", "late", "disconnect"}:
            gone = self.script[place : place + (fault.count if fault.kind == "disconnect" else 1)]
            self._holes |= {frame.depth["s"] for frame in gone if frame.depth is not None}
            if self._holes:
                self._await = (place + fault.count + 5, asked + 1)
        if fault.kind == "disconnect":
            for _ in range(min(fault.count, len(self.script) - place)):
                self._advance()
            return
        frame = self._advance()
        if fault.kind == "duplicate":
            await self._send(frame)
            await self._send(frame)
        elif fault.kind == "late":
            self._late.append((self.position + fault.count, frame))
        elif fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            await self._send(frame)
        elif fault.kind == "garbage":
            await self._send(frame, frame.payload[: len(frame.payload) // 2])
            await self._send(frame)

    async def _break(self, connection: ServerConnection) -> None:
        """End a connection that the client knows of, and when it has taken what was sent, unless it is behind anyway."""
        is_behind = self._await[0] <= len(self.script)
        await self._until(
            lambda: self.connects() >= self.connections and (is_behind or self.is_abreast is None or self.is_abreast()),
            LIMIT_S,
        )
        await asyncio.sleep(0.02)
        connection.transport.abort()
        if connection in self._connected:
            self._connected.remove(connection)

    def _advance(self) -> Frame:
        frame = self.script[self.position]
        self.position += 1
        if frame.depth is not None:
            book = self.books[frame.depth["s"]]
            if self.rest_lag:
                self._history[frame.depth["s"]].append(book.snapshot())
            book.apply(frame.depth)
        return frame

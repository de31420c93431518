"""One WebSocket connection kept open: hello, pings, silence, reconnection. Runs in the feed's event loop.

Each opening is also told to the codec, by an empty frame (:mod:`marketdata.frames`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

from marketdata.feeds.backoff import Backoff
from marketdata.feeds.inbox import Inbox
from marketdata.feeds.metrics import FeedMetrics
from marketdata.feeds.network_errors import Trouble, explain
from marketdata.feeds.protocol import FeedError
from marketdata.frames import Endpoint
from marketdata.messages import FeedStatus, StatusKind

LOG: Final = logging.getLogger(__name__)
FULL_PAUSE_S: Final = 0.002


@dataclass(frozen=True)
class AsyncClock:
    """The clocks of the network side: wall time for stamps, a monotonic clock for waits, and the waiting itself."""

    wall_ns: Callable[[], int]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Silence(ConnectionError):
    """A connection that should have said something did not."""


class Stopped(ConnectionError):
    """The connection was asked to begin anew."""


@dataclass
class Connection:
    """Keeps one endpoint connected and puts its frames into the inbox.

    Attributes
    ----------
    leg : int
        Which codec the frames are for.
    endpoint : Endpoint
        As the codec names it; its URL is the stream that frames are marked with.
    address : str
        Where to connect really (a mirror, a test server); usually the endpoint's URL.
    retries : int, optional
        Attempts in a row without one frame before the feed fails; None: it never gives up.
    stale_s : float
        Silence after which a status STALE is given; ``endpoint.silence_s`` ends the connection.
    """

    leg: int
    endpoint: Endpoint
    address: str
    inbox: Inbox
    metrics: FeedMetrics
    clock: AsyncClock
    backoff: Backoff
    retries: int | None = 12
    stale_s: float = 5.0
    open_timeout_s: float = 10.0
    max_frame_bytes: int = 64 << 20
    proxy: str | Literal[True] | None = True
    opened: int = field(default=0, init=False)
    _frames: int = field(default=0, init=False)
    _last: float = field(default=0.0, init=False)
    _is_stale: bool = field(default=False, init=False)
    _renew: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _full: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _early: list[bytes] | None = field(default=None, init=False)
    """What came before the opening was told; None once it has been."""

    def renew(self) -> None:
        """Close and connect anew: a venue whose stream opens with a snapshot gives a new one."""
        self._renew.set()

    async def run(self) -> None:
        """Stay connected until cancelled, or until the feed has failed."""
        while True:
            opened = self.opened
            trouble = await self._once()
            LOG.info("%s: %s", self.endpoint.url, trouble.reason)
            if self.opened > opened:
                self.metrics.disconnects += 1
                self._tell(StatusKind.DISCONNECTED, trouble.reason)
            if self._frames:
                self.backoff.worked()
            wait = self.backoff.failed()
            given_up = self.retries is not None and self.backoff.failures > self.retries
            if given_up or (trouble.is_fatal and not self.opened):
                tries = f" after {self.backoff.failures} attempts" if given_up else ""
                self.inbox.fail(FeedError(f"no connection{tries}: {trouble.reason}"))
                return
            await self.clock.sleep(wait)

    async def _once(self) -> Trouble:
        """Connect and receive until something ends it; return what."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        from marketdata.feeds.bulk_connection import BulkConnection

        self._frames, self._early = 0, []
        self._renew.clear()
        self._full.clear()
        try:
            async with connect(
                self.address,
                open_timeout=self.open_timeout_s,
                close_timeout=1.0,
                max_size=self.max_frame_bytes,
                compression=None,
                proxy=self.proxy,
                create_connection=partial(BulkConnection, take=self._take),  # type: ignore[arg-type]  # called, no more
            ) as socket:
                for text in self.endpoint.hello:
                    await socket.send(text)
                self.opened += 1
                self.metrics.connects += 1
                self.metrics.reconnects += self.opened > 1
                self._last, self._is_stale = self.clock.monotonic(), False
                self._tell(StatusKind.CONNECTED, "again" if self.opened > 1 else "")
                early, self._early = self._early, None
                self._take([b"", *early])
                self._frames -= 1
                await self._first_of(
                    self._ended(socket), self._relieve(socket), self._watch(), self._ping(socket), self._renewed()
                )
        except (OSError, WebSocketException, TimeoutError, ValueError) as error:
            if isinstance(error, Silence | Stopped):
                return Trouble(str(error))
            return explain(error, self.address, self.proxy if isinstance(self.proxy, str) else None)
        return Trouble("closed")

    async def _first_of(self, *parts: Any) -> None:
        """Run the parts side by side until the first ends, and raise what it raised."""
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, payloads: Sequence[bytes]) -> None:
        """Put what one read brought into the inbox."""
        if self._early is not None:
            self._early += payloads
            return
        self.inbox.put_frames(self.leg, self.endpoint.url, payloads)
        self._frames += len(payloads)
        self._last = self.clock.monotonic()
        self._is_stale = False
        if self.inbox.is_full:
            self._full.set()

    async def _ended(self, socket: Any) -> None:
        """Wait for the end of the connection; messages do not come this way."""
        await socket.recv(decode=False)

    async def _relieve(self, socket: Any) -> None:
        """Leave the socket unread while the inbox is full."""
        while True:
            await self._full.wait()
            socket.hold()
            while self.inbox.is_full:
                await self.clock.sleep(FULL_PAUSE_S)
            self._full.clear()
            socket.go_on()

    async def _watch(self) -> None:
        """Say when the connection has gone silent, and end it when it is dead."""
        dead_s = self.endpoint.silence_s
        while True:
            quiet = self.clock.monotonic() - self._last
            if quiet >= dead_s:
                raise Silence(f"nothing received for {quiet:.1f} s, taken for dead")
            if quiet >= self.stale_s and not self._is_stale:
                self._is_stale = True
                self.metrics.stale += 1
                self._tell(StatusKind.STALE, f"nothing received for {quiet:.1f} s")
            # A frame may end this silence, and the next one is told as early: so no sleep is longer than stale_s.
            rest = min(self.stale_s, dead_s - quiet) if quiet >= self.stale_s else min(self.stale_s, dead_s) - quiet
            await self.clock.sleep(max(rest, 0.001))

    async def _ping(self, socket: Any) -> None:
        """Send the venue's own ping, where it wants one; protocol pings are the library's."""
        if self.endpoint.ping is None:
            await asyncio.Event().wait()
            return
        while True:
            await self.clock.sleep(self.endpoint.ping_s)
            await socket.send(self.endpoint.ping)

    async def _renewed(self) -> None:
        await self._renew.wait()
        raise Stopped("connecting anew for a new snapshot")

    def _tell(self, kind: StatusKind, detail: str) -> None:
        self.inbox.put_status(lambda ts_recv: FeedStatus(0, kind, ts_recv, self.endpoint.url, detail=detail))

"""The thread that a live feed's connections and requests run in; the consumer's thread never waits for the network."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from marketdata.feeds.backoff import Backoff
from marketdata.feeds.connection import AsyncClock, Connection
from marketdata.feeds.inbox import Inbox
from marketdata.feeds.metrics import FeedMetrics
from marketdata.feeds.snapshots import SnapshotFetcher
from marketdata.feeds.websocket_settings import WebSocketSettings
from marketdata.frames import Endpoint

JOIN_S: Final = 10.0


class Network:
    """Connections and snapshot requests of one feed, in an event loop in a thread of their own.

    Parameters
    ----------
    endpoints : list of (int, Endpoint)
        What to connect to, each with the number of its codec.
    addresses : mapping of str to str
        Beginnings of addresses and what stands in their place: mirrors, test servers.
    """

    def __init__(
        self,
        endpoints: list[tuple[int, Endpoint]],
        addresses: Mapping[str, str],
        inbox: Inbox,
        metrics: FeedMetrics,
        settings: WebSocketSettings,
        clock: AsyncClock,
        seed: int,
    ) -> None:
        self._endpoints = endpoints
        self._addresses = dict(addresses)
        self._inbox = inbox
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._seed = seed
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._connections: list[Connection] = []
        self._fetcher: SnapshotFetcher | None = None
        self._thread = threading.Thread(target=self._run, name="feed-network", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self) -> None:
        """Close everything and wait for it."""
        self._soon(self._stop.set)
        self._thread.join(JOIN_S)

    def ask_snapshot(self, leg: int, symbol: str, url: str, *, again: bool) -> None:
        """Ask for a snapshot from any thread; see :meth:`SnapshotFetcher.ask`."""

        def ask() -> None:
            if self._fetcher is not None:
                self._fetcher.ask(leg, symbol, url, again=again)

        self._soon(ask)

    def renew(self, leg: int) -> None:
        """Connect a codec's endpoints anew, from any thread."""

        def renew() -> None:
            for connection in self._connections:
                if connection.leg == leg:
                    connection.renew()

        self._soon(renew)

    def address(self, url: str) -> str:
        """Return the address that is really used for a codec's."""
        for beginning, real in self._addresses.items():
            if url.startswith(beginning):
                return real + url.removeprefix(beginning)
        return url

    def _soon(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop has ended already
            return

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        except Exception as error:  # whatever it is, the consumer has to know
            self._inbox.fail(error)
        finally:
            self._loop.close()

    async def _main(self) -> None:
        streams = np.random.SeedSequence(self._seed).spawn(len(self._endpoints) + 1)
        rngs = [np.random.default_rng(stream) for stream in streams]
        chosen = self._settings
        self._fetcher = SnapshotFetcher(
            self._inbox,
            self._metrics,
            self._clock,
            rngs[-1],
            self.address,
            chosen.rest_parallel,
            chosen.rest_timeout_s,
            chosen.rest_first_wait_s,
            chosen.rest_longest_wait_s,
        )
        for (leg, endpoint), rng in zip(self._endpoints, rngs[:-1], strict=True):
            if chosen.silence_s is not None:
                endpoint = endpoint._replace(silence_s=chosen.silence_s)
            self._connections.append(
                Connection(
                    leg,
                    endpoint,
                    self.address(endpoint.url),
                    self._inbox,
                    self._metrics,
                    self._clock,
                    Backoff(chosen.first_wait_s, chosen.longest_wait_s, rng=rng),
                    chosen.retries,
                    chosen.stale_s,
                    chosen.open_timeout_s,
                    proxy=chosen.proxy,
                )
            )
        tasks = [asyncio.ensure_future(connection.run()) for connection in self._connections]
        stopped = asyncio.ensure_future(self._stop.wait())
        watched = {stopped, *tasks}
        while stopped not in (await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED))[0]:
            for task in [task for task in watched if task.done()]:
                watched.discard(task)
                task.result()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fetcher.close()

"""Book snapshots by REST: asked once at a time, with limits, timeouts and retries. Runs in the feed's event loop."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from marketdata.feeds.backoff import Backoff
from marketdata.feeds.connection import AsyncClock
from marketdata.feeds.inbox import Inbox
from marketdata.feeds.metrics import FeedMetrics
from marketdata.feeds.network_errors import Trouble, explain, explain_status
from marketdata.messages import FeedStatus, StatusKind

LOG: Final = logging.getLogger(__name__)
LONGEST_RETRY_AFTER_S: Final = 600.0


@dataclass
class SnapshotFetcher:
    """Fetches snapshots until they come; each is put into the inbox as a frame of its REST address.

    A snapshot that came and did not help (it was older than the increments) is asked again, a little later each time.

    Attributes
    ----------
    address_of : callable
        From a codec's address to the one really used (a mirror, a test server).
    parallel : int
        Requests at a time: venues weigh snapshots heavily.
    timeout_s : float
        Of a whole request.
    """

    inbox: Inbox
    metrics: FeedMetrics
    clock: AsyncClock
    rng: np.random.Generator
    address_of: Callable[[str], str]
    parallel: int = 2
    timeout_s: float = 10.0
    first_wait_s: float = 0.25
    longest_wait_s: float = 30.0
    _running: dict[str, "asyncio.Task[None]"] = field(default_factory=dict, init=False)
    _backoff: dict[str, Backoff] = field(default_factory=dict, init=False)
    _client: Any = field(default=None, init=False)
    _limit: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._limit = asyncio.Semaphore(self.parallel)

    def ask(self, leg: int, symbol: str, url: str, *, again: bool) -> None:
        """Ask for a snapshot, unless one of that address is on its way; ``again``: the last one did not help."""
        if url not in self._running:
            backoff = self._backoff.setdefault(url, Backoff(self.first_wait_s, self.longest_wait_s, rng=self.rng))
            if not again:
                backoff.worked()
            wait = backoff.failed() if again else 0.0
            self._running[url] = asyncio.ensure_future(self._fetch(leg, symbol, url, wait, backoff))

    async def close(self) -> None:
        """Cancel what is on its way."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _fetch(self, leg: int, symbol: str, url: str, wait: float, backoff: Backoff) -> None:
        try:
            while True:
                if wait:
                    await self.clock.sleep(wait)
                async with self._limit:
                    payload, trouble, retry_after_s = await self._request(self.address_of(url))
                if payload is not None:
                    self.inbox.put_frame(leg, url, payload)
                    return
                self.metrics.snapshot_failures += 1
                LOG.info("snapshot of %s: %s", symbol, trouble.reason)
                self._tell(url, symbol, trouble.reason)
                wait = max(backoff.failed(), retry_after_s)
        finally:
            del self._running[url]

    async def _request(self, address: str) -> tuple[bytes | None, Trouble, float]:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=httpx.Timeout(self.timeout_s), follow_redirects=True)
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = await self._client.get(address)
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            return None, explain(error, address), 0.0
        if answer.status_code == httpx.codes.OK:
            return answer.content, Trouble(""), 0.0
        asked = answer.headers.get("retry-after", "")
        retry_after_s = min(float(asked), LONGEST_RETRY_AFTER_S) if asked.isdigit() else 0.0
        return None, explain_status(answer.status_code, address, answer.text), retry_after_s

    def _tell(self, url: str, symbol: str, reason: str) -> None:
        self.inbox.put_status(
            lambda ts_recv: FeedStatus(0, StatusKind.SNAPSHOT_FAILED, ts_recv, url, symbol, detail=reason)
        )

"""The paper executor as a service: waits for a champion, trades the live stream, takes a new champion at once.

    stream ──(reader thread)──▶ queue ──▶ LiveTrader ──▶ engine, journal, ledger, heartbeat

A session's batches are kept while it runs, so a model that comes late is brought to the present on the same rows as if
it had stood since the open, but trades nothing of the past.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from marketdata.feeds import OLDEST, SocketFeed, StreamItem
from marketdata.messages import FeedStatus, ProtocolError, SessionEnd, SessionStart
from marketdata.paths import DataRoot
from marketdata.settings import Settings
from serving.champion import ChampionWatch
from serving.executor import BANNERS
from serving.heartbeat import write_heartbeat
from serving.instructions import Instruction, log_file, read_instructions
from serving.ledger_store import LedgerStore
from serving.live_session import LiveSession, OnNewChampion
from serving.publishing import BusPublisher
from serving.resuming import LIVE_PREFIX

LOG: Final = logging.getLogger(__name__)
LOOK_EVERY_S: Final = 1.0
"""How often the decision records are looked at; a new champion trades within five seconds."""
SILENCE_S: Final = 30.0
"""A stream that gives nothing for so long is joined anew: its server may have started again."""
QUEUE_ITEMS: Final = 256


@dataclass
class LiveTrader:
    """Takes stream items one by one and trades them with whoever stands; knows no sockets and no threads.

    Parameters
    ----------
    root, settings
        The data root.
    allow_shadow : bool
        Whether the best candidate trades in the shadow where there is no champion (R17).
    on_new_champion : ``flatten`` or ``hold``
        What happens to positions when the champion changes within a session.
    say : callable
        Gets every line for a person.
    publisher : BusPublisher, optional
        Gets order flow, forecasts and fills for the bus.
    """

    root: DataRoot
    settings: Settings
    allow_shadow: bool = True
    on_new_champion: OnNewChampion = "flatten"
    say: Callable[[str], None] = LOG.info
    publisher: BusPublisher | None = None
    _session: LiveSession | None = None
    _reason: str = ""
    _given: list[Instruction] = field(default_factory=list)
    _heard: int = 0
    _watch: ChampionWatch = field(init=False)

    def __post_init__(self) -> None:
        self._watch = ChampionWatch(self.root, allow_shadow=self.allow_shadow)

    def take(self, item: StreamItem) -> None:
        """Take one item of the stream."""
        if isinstance(item, SessionStart):
            self.close("stopped")
            self._session = LiveSession(self.root, self.settings, item.session, self.say, self.publisher)
            self.say(f"session {item.date} begins")
            self.look()
        elif isinstance(item, SessionEnd):
            self.close("closed")
        elif isinstance(item, FeedStatus):
            self.say(f"stream: {item}")
            if self._session is not None:
                self._session.hear(item)
        elif self._session is not None:
            self._session.take(item)

    def look(self) -> None:
        """Look at the decision records and act on them: who stands trades."""
        standing, bundle = self._watch.bundle()
        if standing.reason != self._reason:
            self._reason = standing.reason
            self.say(BANNERS[standing.mode] if standing.mode else "NOT TRADING")
            self.say(standing.reason)
        self._listen()
        if self._session is not None:
            self._session.obey(self._given)
            self._session.serve(standing.mode, bundle, self.on_new_champion)

    def _listen(self) -> None:
        """Read what people asked for, if there is something new."""
        path = log_file(self.root)
        size = path.stat().st_size if path.exists() else 0
        if size != self._heard:
            self._heard, self._given = size, read_instructions(self.root)

    def close(self, status: Literal["closed", "stopped"]) -> None:
        """End the running session; ``closed`` lets everything up to its close happen, ``stopped`` does not."""
        if self._session is not None:
            self._session.end(status)
            self._session = None

    def beat(self, connected: bool) -> None:
        """Write the heartbeat and keep the account."""
        if self._session is not None:
            self._session.keep_account()
        facts = self._session.facts() if self._session is not None else {"mode": None, "session": None}
        if self.publisher is not None:
            facts |= self.publisher.facts()
        banner = BANNERS.get(str(facts["mode"]), "NOT TRADING")
        write_heartbeat(self.root, {**facts, "banner": banner, "reason": self._reason, "stream_connected": connected})


class _Reader:
    """Reads a stream in a thread of its own and hands items over through a bounded queue."""

    def __init__(self, open_stream: Callable[[], Iterable[StreamItem]], say: Callable[[str], None]) -> None:
        self.items: queue.Queue[StreamItem] = queue.Queue(QUEUE_ITEMS)
        self.ended = threading.Event()
        self._stop = threading.Event()
        self._open = open_stream
        self._say = say
        self._thread = threading.Thread(target=self._run, name="stream-reader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop handing items over; the thread ends with the next item or with the process."""
        self._stop.set()

    def _run(self) -> None:
        try:
            for item in self._open():
                while not self._stop.is_set():
                    try:
                        self.items.put(item, timeout=0.25)
                        break
                    except queue.Full:
                        continue
                if self._stop.is_set():
                    return
        except (ConnectionError, ProtocolError) as error:
            self._say(f"stream: {error}")
        finally:
            self.ended.set()


def run_live(
    root: DataRoot,
    settings: Settings | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    allow_shadow: bool = True,
    on_new_champion: OnNewChampion = "flatten",
    stop: threading.Event | None = None,
    say: Callable[[str], None] = LOG.info,
    open_stream: Callable[[], Iterable[StreamItem]] | None = None,
    publisher: BusPublisher | None = None,
) -> None:
    """Trade the live stream on paper until ``stop`` is set.

    Nothing ends it but ``stop``: without a champion it waits and says why, without a stream it joins again.

    Parameters
    ----------
    root : DataRoot
    settings : Settings, optional
        Read from the root when not given.
    host, port
        Of the stream server.
    allow_shadow, on_new_champion, say
        See :class:`LiveTrader`.
    stop : threading.Event, optional
        Set by the caller's signal handler; when it is set the session's files are closed before this returns.
    open_stream : callable, optional
        Opens the stream in place of the socket.
    publisher : BusPublisher, optional
        Gets order flow, forecasts and fills for the bus; closed when this returns.
    """
    settings = settings or root.settings()
    stop = stop or threading.Event()
    trader = LiveTrader(root, settings, allow_shadow, on_new_champion, say, publisher)
    ledger = LedgerStore(root.ledger_database, {})
    ledger.mark_interrupted(LIVE_PREFIX)
    ledger.close()
    opened = open_stream or (lambda: SocketFeed(host, port, next_index=OLDEST))
    reader = _Reader(opened, say)
    looked, heard = -LOOK_EVERY_S, time.monotonic()
    try:
        while not stop.is_set():
            now = time.monotonic()
            if now - looked >= LOOK_EVERY_S:
                looked = now
                trader.look()
                trader.beat(connected=now - heard < SILENCE_S and not reader.ended.is_set())
            try:
                item = reader.items.get(timeout=0.2)
            except queue.Empty:
                if reader.ended.is_set() or now - heard > SILENCE_S:
                    reader.stop()
                    if stop.wait(1.0):
                        break
                    reader, heard = _Reader(opened, say), time.monotonic()
                continue
            heard = time.monotonic()
            trader.take(item)
    finally:
        reader.stop()
        trader.close("stopped")
        trader.beat(connected=False)
        if publisher is not None:
            publisher.close()

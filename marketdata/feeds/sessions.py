"""Sessions over a feed that knows none: a venue that never closes, cut into the sessions that everything else works in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np

from marketdata.clock import Calendar, Session, from_ns
from marketdata.events import EventArray
from marketdata.feeds.books import BookKeeper
from marketdata.feeds.metrics import FeedMetrics
from marketdata.feeds.protocol import Feed, FeedError
from marketdata.messages import EventBatch, SessionEnd, SessionStart, StreamItem

FAR_DAYS = 21
"""Days ahead that the next session is looked for."""


@dataclass
class SessionFeed:
    """A feed with session starts and ends by a calendar, in receive time.

    A session that begins while books are known begins with them: each is given as a snapshot group received at the session's
    start, so that a consumer that keeps nothing over night is right from its first row. Rows between sessions change books and
    are not given out. Items of a feed that brings its own sessions pass unchanged.

    Attributes
    ----------
    feed : Feed
    calendar : Calendar
    symbols : sequence of str
        As the session start names them.
    """

    feed: Feed
    calendar: Calendar
    symbols: Sequence[str]
    outside_rows: int = field(default=0, init=False)
    _keeper: BookKeeper = field(default_factory=BookKeeper, init=False, repr=False)
    _session: Session | None = field(default=None, init=False)
    _next: Session | None = field(default=None, init=False)
    _rows: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        """Name of the feed below."""
        return self.feed.name

    @property
    def metrics(self) -> FeedMetrics:
        """Counters of the feed below."""
        return self.feed.metrics

    def close(self) -> None:
        """Close the feed below."""
        self.feed.close()

    def __iter__(self) -> Iterator[StreamItem]:
        """Give the feed's items, and the sessions around them.

        Raises
        ------
        FeedError
            If the calendar has no session within three weeks.
        """
        has_sessions = False
        for item in self.feed:
            has_sessions = has_sessions or isinstance(item, SessionStart)
            if isinstance(item, EventBatch) and not has_sessions:
                yield from self._cut(item.events, item.watermark_ns)
            else:
                yield item

    def _cut(self, rows: EventArray, watermark_ns: int) -> Iterator[StreamItem]:
        while True:
            session = self._session
            if session is None:
                start = self._next = self._following(int(rows["ts_recv"][0]) if len(rows) else watermark_ns)
                cut = int(np.searchsorted(rows["ts_recv"], start.open_ns))
                self._keeper.apply(rows[:cut])
                self.outside_rows += cut
                rows = rows[cut:]
                if not len(rows) and watermark_ns < start.open_ns:
                    return
                yield from self._open(start)
                continue
            cut = int(np.searchsorted(rows["ts_recv"], session.close_ns))
            part, rows = rows[:cut], rows[cut:]
            self._keeper.apply(part)
            self._rows += len(part)
            if not len(rows) and watermark_ns < session.close_ns:
                yield EventBatch(part, watermark_ns)
                return
            yield EventBatch(part, session.close_ns)
            self._session = None
            yield SessionEnd(0, session.date, self._rows)

    def _open(self, session: Session) -> Iterator[StreamItem]:
        self._session, self._rows = session, 0
        yield SessionStart(0, session.date, session.open_ns, session.close_ns, tuple(self.symbols))
        known = [k for k, kept in self._keeper.books.items() if kept.is_known and not kept.has_orders]
        if known:
            books = self._keeper.snapshots(known, session.open_ns)
            self._rows += len(books)
            yield EventBatch(books, session.open_ns)

    def _following(self, now_ns: int) -> Session:
        """Return the session that runs at a time, or the next one."""
        if self._next is not None and now_ns < self._next.close_ns and self._next.open_ns <= now_ns:
            return self._next
        day = from_ns(max(now_ns, 0)).date()
        for session in self.calendar.sessions(day - timedelta(days=1), day + timedelta(days=FAR_DAYS)):
            if session.close_ns > now_ns:
                return session
        raise FeedError(f"{self.name}: calendar {self.calendar.name} has no session within {FAR_DAYS} days of {day}")

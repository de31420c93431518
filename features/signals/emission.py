"""Which rows of a signal belong to which session: every moment to exactly one, those between sessions to the next."""

from datetime import timedelta
from typing import Final

from marketdata.clock import Session
from marketdata.settings import Settings

LONGEST_PAUSE: Final = timedelta(days=21)
"""No market calendar pauses for longer."""


def emitted_span(settings: Settings, session: Session) -> tuple[int, int]:
    """Return [start, end) of the times at which something may become known as part of a session.

    It starts where the session before it closed, so that what became known overnight is known at the open, once. Without a
    session before, it starts as early as any calendar would have it.
    """
    calendar = settings.market_calendar()
    before = [s for s in calendar.sessions(session.date - LONGEST_PAUSE, session.date) if s.date < session.date]
    start = before[-1].close_ns if before else session.open_ns - round(LONGEST_PAUSE.total_seconds()) * 10**9
    return start, session.close_ns

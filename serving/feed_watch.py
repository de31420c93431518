"""The feed's word on when nobody can watch: no heartbeats then for the engine's dead man's switch (W36).

Where ``risk.dead_man_ns`` is set, the engine cancels what rests once heartbeats stay away for so long, and only reduces until
they are back (:mod:`trading.heartbeats`). While a connection is down or silent there are none, and none for the rows that a
stream makes good after it: they were not seen at their time.
"""

from dataclasses import dataclass, field

from marketdata.messages import FeedStatus, StatusKind


@dataclass
class FeedWatch:
    """What the statuses of a feed say about whether rows are seen at their time."""

    _down: set[str] = field(default_factory=set)
    _silent: bool = False
    _behind: bool = False

    @property
    def is_blind(self) -> bool:
        """Whether the next rows, if any, are not or were not seen at their time."""
        return bool(self._down) or self._silent or self._behind

    def hear(self, status: FeedStatus) -> None:
        """Take a status of the feed."""
        if status.kind is StatusKind.DISCONNECTED:
            self._down.add(status.feed)
        elif status.kind is StatusKind.CONNECTED and status.feed in self._down:
            self._down.discard(status.feed)
            self._behind = True
        elif status.kind is StatusKind.STALE:
            self._silent = True
        elif status.kind is StatusKind.OVERRUN:
            self._behind = True

    def took(self, rows: int) -> None:
        """Say that a batch of so many rows was taken: a silent connection speaks again, a late one has caught up."""
        if rows:
            self._silent = False
            self._behind = False

"""What the network thread hands to the consumer: frames and statuses in the order received, stamped where they enter."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from marketdata.messages import FeedStatus

FULL_BYTES: Final = 64 << 20
"""Bytes that may wait for the consumer before the network side stops reading, and the venue's own queue fills."""


class Received(NamedTuple):
    """What one read of a socket brought, or an answer: whose codec it is for, its stream, when it came, its frames."""

    leg: int
    stream: str
    ts_recv: int
    payloads: Sequence[bytes]
    size: int
    """Bytes of all of them."""


Entry = Received | FeedStatus


class Inbox:
    """A queue with a clock: stamps never go back, and nothing can enter before a watermark that was taken from it.

    Parameters
    ----------
    wall_ns : callable
        The receive clock; when it is set back, stamps stand still until it has caught up.
    """

    def __init__(self, wall_ns: Callable[[], int], full_bytes: int = FULL_BYTES) -> None:
        self._wall_ns = wall_ns
        self._full_bytes = full_bytes
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._last_ns = 0
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether the network side should stop reading."""
        return self._bytes >= self._full_bytes

    def put_frame(self, leg: int, stream: str, payload: bytes) -> None:
        """Stamp a frame and append it."""
        self.put_frames(leg, stream, (payload,))

    def put_frames(self, leg: int, stream: str, payloads: Sequence[bytes]) -> None:
        """Stamp frames that came in one read of a socket and append them; they came at the same time."""
        size = sum(map(len, payloads))
        with self._changed:
            self._entries.append(Received(leg, stream, self._stamp(), payloads, size))
            self._bytes += size
            self._changed.notify()

    def put_status(self, make: Callable[[int], FeedStatus]) -> None:
        """Append the status that ``make`` gives for its stamp."""
        with self._changed:
            self._entries.append(make(self._stamp()))
            self._changed.notify()

    def fail(self, error: Exception) -> None:
        """Let the consumer raise ``error`` once it has taken everything before it."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify()

    def close(self) -> None:
        """Wake the consumer; it finds nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self, most: int, timeout_s: float) -> tuple[list[Entry], int]:
        """Return entries of ``most`` frames or a few more, and the receive time before which nothing can enter any more.

        Waits up to ``timeout_s`` for a first entry. What one read brought is not divided.

        Raises
        ------
        Exception
            What :meth:`fail` was given, when nothing is left before it.
        """
        with self._changed:
            if not self._entries and self._error is None and not self._closed:
                self._changed.wait(timeout_s)
            entries: list[Entry] = []
            frames = 0
            while self._entries and frames < most:
                entry = self._entries.popleft()
                entries.append(entry)
                if isinstance(entry, Received):
                    frames += len(entry.payloads)
                    self._bytes -= entry.size
            if not entries and self._error is not None:
                raise self._error
            if self._entries:
                return entries, entries[-1].ts_recv
            return entries, self._stamp() if not entries else entries[-1].ts_recv

    def _stamp(self) -> int:
        self._last_ns = max(self._last_ns, self._wall_ns())
        return self._last_ns

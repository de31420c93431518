"""How a live feed behaves where nothing is said by the venue."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketSettings:
    """Waits, limits and sizes of a :class:`marketdata.feeds.websocket.WebSocketFeed`.

    Attributes
    ----------
    retries : int, optional
        Attempts in a row without one frame before the feed fails; None: it tries for ever.
    first_wait_s, longest_wait_s : float
        Backoff between attempts, with jitter of one half.
    open_timeout_s : float
        Of a connection's opening, proxy and TLS included.
    silence_s : float, optional
        In place of what the codec says: a connection without a frame for so long is dead.
    stale_s : float
        A connection without a frame for so long is told as STALE.
    rest_parallel, rest_timeout_s, rest_first_wait_s, rest_longest_wait_s
        Snapshot requests at a time, limit of one, and the backoff between repetitions.
    proxy : str, True or None
        Address of a proxy; True: as the environment says (``HTTPS_PROXY``); None: none. Snapshot requests follow the environment.
    batch_frames : int
        Frames decoded at a time at most.
    idle_s : float
        Without news, a batch without rows carries the watermark on this often.
    checkpoint_s : float
        Between two writes of the checkpoint.
    resume_s : float
        A book from a checkpoint that the stream has not confirmed for so long is asked from the venue.
    renew_s : float
        Least time between two new connections for the sake of a snapshot.
    clock_offset_ns : int
        Added to receive times (R4), from an estimate of how far our clock is behind the venue's.
    """

    retries: int | None = 12
    first_wait_s: float = 0.25
    longest_wait_s: float = 30.0
    open_timeout_s: float = 10.0
    silence_s: float | None = None
    stale_s: float = 5.0
    rest_parallel: int = 2
    rest_timeout_s: float = 10.0
    rest_first_wait_s: float = 0.25
    rest_longest_wait_s: float = 30.0
    proxy: str | Literal[True] | None = True
    batch_frames: int = 512
    idle_s: float = 0.1
    checkpoint_s: float = 1.0
    resume_s: float = 5.0
    renew_s: float = 10.0
    clock_offset_ns: int = 0

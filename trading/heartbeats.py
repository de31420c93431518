"""Heartbeats for the engine's dead man's switch: each says that what the market did up to its time was seen when it happened.

They lie on a fixed grid of market time, so that where batches are cut changes nothing.
"""

from typing import Final

import numpy as np

from marketdata.clock import Session
from trading.controls import CONTROL_DTYPE, HEARTBEAT, ControlArray, no_controls

WATCHER: Final = b"executor"
A_SWITCH: Final = 4
"""Heartbeats within the time after which silence counts."""


def heartbeats(session: Session, dead_man_ns: int, start_ns: int, end_ns: int) -> ControlArray:
    """Return the heartbeats of ``[start_ns, end_ns)`` within a session; none where ``dead_man_ns`` is 0."""
    if dead_man_ns <= 0:
        return no_controls()
    step = max(dead_man_ns // A_SWITCH, 1)
    first, last = max(start_ns, session.open_ns), min(end_ns, session.close_ns)
    if last <= first:
        return no_controls()
    times = np.arange(-(-first // step) * step, last, step, dtype=np.int64)
    rows = np.zeros(len(times), CONTROL_DTYPE)
    rows["due_ns"], rows["kind"], rows["by"], rows["instrument_id"] = times, HEARTBEAT, WATCHER, -1
    return rows


def with_heartbeats(controls: ControlArray | None, session: Session, dead_man_ns: int) -> ControlArray | None:
    """Return the controls of a replay whose market is always watched; those that hold heartbeats already stay as they are."""
    if dead_man_ns <= 0 or (controls is not None and bool(np.any(controls["kind"] == HEARTBEAT))):
        return controls
    beats = heartbeats(session, dead_man_ns, session.open_ns, session.close_ns)
    return beats if controls is None else merged(controls, beats)


def merged(controls: ControlArray, beats: ControlArray) -> ControlArray:
    """Return both in the order of their times, at the same time controls first."""
    both = np.concatenate([controls, beats])
    ordered: ControlArray = both[np.argsort(both["due_ns"], kind="stable")]
    return ordered

"""Controls: what a person or a calendar tells a running engine, as rows that are journaled and replayed like everything else."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

KILL: Final = 1
"""Cancel everything; ``value`` 1 flattens, 0 holds. Only reducing orders pass until a re-arm."""
PAUSE: Final = 2
"""Cancel resting orders and open nothing; ``value`` 1 flattens, 0 holds."""
RESUME: Final = 3
REARM: Final = 4
"""Leave HALTED or a kill; the equity of that moment is the new peak. Needs a name in ``by``."""
POSITION_LIMIT: Final = 5
"""``value`` lots at most in ``instrument_id`` (-1: in each)."""
FLATTEN: Final = 6
"""Close everything that is open now; trading goes on once all is flat."""
SIZE_SCALE: Final = 7
"""``value`` parts per million of an order's size pass in ``instrument_id`` (-1: in each), at most a million."""
ANOMALY: Final = 8
"""Anomaly score of ``instrument_id`` (-1: of each), times a million."""
HEARTBEAT: Final = 9
"""Somebody watches. Where the settings expect heartbeats, silence cancels what rests."""
DEPOSIT: Final = 10
"""``value`` nanos are paid into the account, negative: out of it. Equity, its peak and the base of the daily loss move alike."""
FUNDING: Final = 11
"""A perpetual's funding time: positions in ``instrument_id`` (-1: in each) pay ``value`` parts per billion of their value at
the mid of the last known quotes (longs pay a positive rate, shorts receive it)."""

CONTROL_NAMES: Final = (
    "",
    "kill",
    "pause",
    "resume",
    "rearm",
    "position_limit",
    "flatten",
    "size_scale",
    "anomaly",
    "heartbeat",
    "deposit",
    "funding",
)

CONTROL_DTYPE: Final = np.dtype(
    [("due_ns", "i8"), ("control_id", "i8"), ("value", "i8"), ("instrument_id", "i2"), ("kind", "u1"), ("by", "S33")],
    align=True,
)
"""``by`` names the person or the calendar; the journal row of a control carries ``control_id``."""

ControlArray = npt.NDArray[np.void]


def control(
    kind: int, due_ns: int, *, by: str, control_id: int, value: int = 0, instrument_id: int = -1
) -> ControlArray:
    """Return one control as an array of one row.

    Raises
    ------
    ValueError
        If a re-arm names nobody.
    """
    if kind == REARM and not by.strip():
        raise ValueError("re-arming needs the name of the person who does it")
    row = np.zeros(1, CONTROL_DTYPE)
    row[0] = (due_ns, control_id, value, instrument_id, kind, by.encode()[:33])
    return row


def no_controls() -> ControlArray:
    """Return no controls."""
    return np.zeros(0, CONTROL_DTYPE)


def pause_windows(windows: Iterable[tuple[int, int]], *, flatten: bool, by: str, first_id: int = 1) -> ControlArray:
    """Return the controls that keep an engine out of the market during half-open windows ``[start_ns, end_ns)``.

    Windows may be a weekly day of rest, holidays or maintenance; overlapping ones are joined.
    """
    joined: list[list[int]] = []
    for start, end in sorted(windows):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    rows = []
    for k, (start, end) in enumerate(joined):
        rows.append(control(PAUSE, start, by=by, control_id=first_id + 2 * k, value=int(flatten)))
        rows.append(control(RESUME, end, by=by, control_id=first_id + 2 * k + 1))
    return np.concatenate(rows) if rows else no_controls()

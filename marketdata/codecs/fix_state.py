"""What the fold over FIX messages keeps, and where it writes what it finds."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from marketdata.codecs.order_table import OrderTable
from marketdata.events import (
    EventArray,
)

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

DONE: Final = 0
OUT_FULL: Final = 1
NEED_GROW: Final = 2
NEED_ENTRIES: Final = 3
REFUSED: Final = 4
"""Why the kernel came back; REFUSED only where it was told to stop at the first refused frame."""

MAX_SESSIONS: Final = 64
KEY: Final = 0
EXPECTED: Final = 1
BASE: Final = 2
"""Columns of ``sessions``: key + 1, next number due, what is added to a number so that a reset does not let it step back."""

KNOWN: Final = 0
OWNER: Final = 1
WANTED: Final = 2
STAMP: Final = 3
"""Columns of ``books``, one row a slot: whether the book is known, its session, whether a snapshot is wanted, scratch."""

N_DUPLICATE: Final = 512
N_OTHER: Final = 513
N_BEFORE: Final = 514
N_FAULT: Final = 515  # and 516, 517: length, checksum, both
N_NO_BOOK_GAP: Final = 518
N_PASSED: Final = 519
N_OPENED: Final = 520
COUNTERS: Final = 521
"""``counts``: 0-255 messages by type, 256-511 entries by type, then these."""

SNAPSHOT: Final = 87
INCREMENT: Final = 88


class Fold(NamedTuple):
    """State of the fold; arrays, so that a checkpoint is a copy."""

    sessions: Int64
    books: Int64
    table: OrderTable
    counts: Int64
    passed: Int64


class Report(NamedTuple):
    """Where the kernel writes what it found; ``used`` has the rows used of each."""

    events: EventArray
    gaps: Int64
    bad: Int64
    used: Int64

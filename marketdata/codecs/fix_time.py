"""FIX's dates and times in compiled code: bytes to ns since 1970."""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

Bytes = npt.NDArray[np.uint8]

NO_TS: Final = -(2**63)
"""What stands for a time that is none."""


@njit(cache=True)
def _two(data: Bytes, k: int) -> int:
    return (data[k] - 48) * 10 + (data[k + 1] - 48)


@njit(cache=True)
def days_from_civil(year: int, month: int, day: int) -> int:
    """Return days since 1970-01-01 of a date of the Gregorian calendar (Hinnant's algorithm)."""
    y = year - 1 if month <= 2 else year
    era = y // 400
    yoe = y - era * 400
    doy = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468


@njit(cache=True)
def parse_date(data: Bytes, k: int, end: int) -> int:
    """Return ns at the start of the date ``YYYYMMDD``; NO_TS where it is none."""
    if end - k != 8:
        return NO_TS
    for j in range(k, end):
        if data[j] < 48 or data[j] > 57:
            return NO_TS
    month = _two(data, k + 4)
    day = _two(data, k + 6)
    if month < 1 or month > 12 or day < 1 or day > 31:
        return NO_TS
    return days_from_civil(_two(data, k) * 100 + _two(data, k + 2), month, day) * 86_400_000_000_000


@njit(cache=True)
def parse_time(data: Bytes, k: int, end: int) -> int:
    """Return ns after midnight of ``HH:MM:SS`` with up to nine digits of a fraction; NO_TS where it is none."""
    if end - k < 8 or data[k + 2] != 58 or data[k + 5] != 58:
        return NO_TS
    for j in (k, k + 1, k + 3, k + 4, k + 6, k + 7):
        if data[j] < 48 or data[j] > 57:
            return NO_TS
    hours, minutes, seconds = _two(data, k), _two(data, k + 3), _two(data, k + 6)
    if hours > 23 or minutes > 59 or seconds > 60:
        return NO_TS
    ns = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000
    if end == k + 8:
        return ns
    if data[k + 8] != 46 or end - k < 10 or end - k > 18:
        return NO_TS
    unit = 100_000_000
    for j in range(k + 9, end):
        if data[j] < 48 or data[j] > 57:
            return NO_TS
        ns += (data[j] - 48) * unit
        unit //= 10
    return ns


@njit(cache=True)
def parse_utc(data: Bytes, k: int, end: int) -> int:
    """Return ns since 1970 of ``YYYYMMDD-HH:MM:SS[.fraction]``; NO_TS where it is none."""
    if end - k < 17 or data[k + 8] != 45:
        return NO_TS
    date = parse_date(data, k, k + 8)
    time = parse_time(data, k + 9, end)
    return NO_TS if date == NO_TS or time == NO_TS else date + time

"""FIX messages cut out of a stream of bytes, and the noise between them kept as frames that the codec refuses."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.codecs.fix_message import MAX_LENGTH, SOH

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]


@njit(cache=True)
def _is_begin(data: Bytes, k: int) -> bool:
    return (
        k + 5 <= len(data)
        and data[k] == 56
        and data[k + 1] == 61
        and data[k + 2] == 70
        and data[k + 3] == 73
        and data[k + 4] == 88
    )


@njit(cache=True)
def _end_by_length(data: Bytes, start: int) -> int:
    """Return the end of a message whose BodyLength leads to its checksum; 0 where it does not, -1 where bytes are missing."""
    n = len(data)
    k = start + 5
    while k < n and data[k] != SOH:
        k += 1
    if k + 3 >= n:
        return -1
    k += 1
    if data[k] != 57 or data[k + 1] != 61:
        return 0
    k += 2
    length = 0
    while k < n and 48 <= data[k] <= 57 and length <= MAX_LENGTH:
        length = length * 10 + (data[k] - 48)
        k += 1
    if k >= n:
        return -1
    if data[k] != SOH or length == 0 or length > MAX_LENGTH:
        return 0
    end = k + 1 + length + 7
    if end > n:
        return -1
    t = end - 7
    if data[t - 1] == SOH and data[t] == 49 and data[t + 1] == 48 and data[t + 2] == 61 and data[end - 1] == SOH:
        return end
    return 0


@njit(cache=True)
def _split(data: Bytes, out: Int64, last: bool) -> tuple[int, int]:
    """Write (start, end) of each message; return (count, byte at which it stopped)."""
    n = 0
    k = 0
    size = len(data)
    while k < size:
        if not _is_begin(data, k):
            k += 1
            continue
        end = _end_by_length(data, k)
        if end < 0 and not last:
            return n, k
        if end <= 0:  # the length leads nowhere: look for the trailer itself
            j = k + 5
            found = 0
            while j + 4 < size and found == 0:
                if data[j] == SOH and data[j + 1] == 49 and data[j + 2] == 48 and data[j + 3] == 61:
                    t = j + 4
                    while t < size and data[t] != SOH:
                        t += 1
                    found = t + 1 if t < size else -1
                elif data[j] == SOH and _is_begin(data, j + 1):
                    found = j + 1  # another message begins before this one ended
                j += 1
            if found <= 0:
                return n, k
            end = found
        if n == len(out):
            return n, k
        out[n, 0] = k
        out[n, 1] = end
        n += 1
        k = end
    return n, size


class FixSplitter:
    """Cuts a byte stream into messages, whatever pieces it comes in.

    Bytes between messages that are not line ends come out as frames of their own, so that a codec refuses them by name.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are whole now."""
        return self._take(data, last=False)

    def close(self) -> list[bytes]:
        """Return what was left over, as it is."""
        return self._take(b"", last=True)

    def _take(self, data: bytes, *, last: bool) -> list[bytes]:
        joined = self._rest + data
        frames: list[bytes] = []
        place = 0
        for start, end in message_places(joined, last=last):
            _keep_noise(joined[place:start], frames)
            frames.append(joined[start:end])
            place = end
        self._rest = joined[place:]
        if last or len(self._rest) > 2 * MAX_LENGTH:
            _keep_noise(self._rest, frames)
            self._rest = b""
        return frames


def _keep_noise(noise: bytes, frames: list[bytes]) -> None:
    if noise.strip(b"\r\n\x01"):
        frames.append(noise)


def message_places(data: bytes, *, last: bool = True) -> Iterator[tuple[int, int]]:
    """Yield start and end of each message in ``data``, skipping what lies between; ``last``: nothing more will come."""
    view = np.frombuffer(data, np.uint8)
    out = np.empty((max(4, len(data) // 16), 2), np.int64)
    count, _ = _split(view, out, last)
    for start, end in out[:count].tolist():  # noqa: UP028  pairs, not lists
        yield start, end

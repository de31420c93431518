"""How ITCH messages come: one a frame, in SoupBinTCP packets, or several in a MoldUDP64 datagram; and cut out of files.

Each framing turns frames into rows of a message table: what the row is (a message, a new session, a hole), the message's bytes,
its number, its frame, and for a hole the number that was due.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.codecs.itch_messages import LENGTH
from marketdata.codecs.tables import UNREADABLE, SourceError, open_bytes
from marketdata.frames import FrameBatch

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

MESSAGE: Final = "message"
SOUPBINTCP: Final = "soupbintcp"
MOLDUDP64: Final = "moldudp64"
FRAMINGS: Final = (MESSAGE, SOUPBINTCP, MOLDUDP64)

IS_MESSAGE: Final = 0
IS_SESSION: Final = 1
IS_HOLE: Final = 2
IS_LOSS: Final = 3
"""A frame was refused where no numbering would show the hole."""

WHAT: Final = 0
FIRST: Final = 1
LENGTH_OF: Final = 2
NUMBER: Final = 3
FRAME: Final = 4
DUE: Final = 5
COLUMNS: Final = 6
"""Columns of the message table."""

GOOD: Final = 0
SHORT_PACKET: Final = 1
CUT_BLOCK: Final = 2
BAD_SOUP_LENGTH: Final = 3
BAD_SOUP_TYPE: Final = 4
EXTRA_BYTES: Final = 5
BAD_LOGIN: Final = 6
PROBLEMS: Final = {
    SHORT_PACKET: "is too short for its header",
    CUT_BLOCK: "a message block reaches beyond the datagram",
    BAD_SOUP_LENGTH: "the packet length is not that of the frame",
    BAD_SOUP_TYPE: "is no packet type of SoupBinTCP",
    EXTRA_BYTES: "bytes follow the last message block",
    BAD_LOGIN: "the login's sequence number is no number",
}

MOLD_HEADER: Final = 20
END_OF_SESSION: Final = 0xFFFF
BLOCK: Final = 1 << 24
"""Bytes read from a file at once."""


@njit(cache=True)
def big_endian(data: Bytes, k: int, n: int) -> int:
    """Return the unsigned number in ``n`` bytes at ``k`` (8 bytes wrap to a negative number beyond 2**63)."""
    number = 0
    for j in range(n):
        number = (number << 8) | int(data[k + j])
    return number


@njit(cache=True)
def _row(out: Int64, n: int, what: int, first: int, length: int, number: int, frame: int, due: int) -> int:
    out[n, 0], out[n, 1], out[n, 2], out[n, 3], out[n, 4], out[n, 5] = what, first, length, number, frame, due
    return n + 1


@njit(cache=True)
def unpack_messages(starts: Int64, expected: Int64, counts: Int64, out: Int64) -> int:
    """Write a row for each frame that is a message; the first number is 1."""
    n = 0
    for frame in range(len(starts) - 1):
        if starts[frame] == starts[frame + 1]:  # a connection was opened
            counts[257] += 1
            continue
        if expected[0] == 0:
            n = _row(out, n, IS_SESSION, 0, 0, 1, frame, 1)
            expected[0] = 1
        n = _row(out, n, IS_MESSAGE, starts[frame], starts[frame + 1] - starts[frame], expected[0], frame, 0)
        expected[0] += 1
    return n


@njit(cache=True)
def unpack_soup(
    data: Bytes, starts: Int64, expected: Int64, stop_at_bad: bool, counts: Int64, out: Int64, bad: Int64
) -> tuple[int, int]:
    """Write the rows of SoupBinTCP packets, one a frame; return (rows, refused frames)."""
    n = 0
    refused = 0
    for frame in range(len(starts) - 1):
        k, end = starts[frame], starts[frame + 1]
        if k == end:  # a connection was opened; the login that follows says where it goes on
            counts[257] += 1
            continue
        problem = GOOD
        if end - k < 3:
            problem = SHORT_PACKET
        elif big_endian(data, k, 2) != end - k - 2:
            problem = BAD_SOUP_LENGTH
        kind = data[k + 2] if problem == GOOD else 0
        if kind == 83:  # S, sequenced data
            if expected[0] == 0:
                n = _row(out, n, IS_SESSION, 0, 0, 1, frame, 1)
                expected[0] = 1
            n = _row(out, n, IS_MESSAGE, k + 3, end - k - 3, expected[0], frame, 0)
            expected[0] += 1
        elif kind == 65:  # A, login accepted: session (10), next sequence number (20, text)
            number = 0
            if end - k != 33:
                problem = BAD_SOUP_LENGTH
            for j in range(k + 13, end):
                if 48 <= data[j] <= 57:
                    number = number * 10 + (data[j] - 48)
                elif data[j] != 32:
                    problem = BAD_LOGIN
            if problem == GOOD:
                if expected[0] == 0 or number < expected[0]:
                    n = _row(out, n, IS_SESSION, 0, 0, number, frame, expected[0])
                elif number > expected[0]:
                    n = _row(out, n, IS_HOLE, 0, 0, number, frame, expected[0])
                expected[0] = number
                counts[kind] += 1
        elif (
            kind == 72 or kind == 90 or kind == 43 or kind == 74 or kind == 85 or kind == 82 or kind == 76 or kind == 79
        ):
            counts[kind] += 1
        elif problem == GOOD:
            problem = BAD_SOUP_TYPE
        if problem != GOOD:
            bad[refused, 0], bad[refused, 1], bad[refused, 2] = frame, 0, problem
            refused += 1
            if stop_at_bad:
                return n, refused
            n = _row(out, n, IS_LOSS, 0, 0, expected[0], frame, expected[0])
    return n, refused


@njit(cache=True)
def _blocks(data: Bytes, k: int, end: int, count: int) -> tuple[int, int]:
    """Check the message blocks of a datagram; return (problem, byte)."""
    for _ in range(count):
        if k + 2 > end or k + 2 + big_endian(data, k, 2) > end:
            return CUT_BLOCK, k
        k += 2 + big_endian(data, k, 2)
    return (GOOD if k == end else EXTRA_BYTES), k


@njit(cache=True)
def unpack_mold(
    data: Bytes,
    starts: Int64,
    session: Bytes,
    expected: Int64,
    stop_at_bad: bool,
    counts: Int64,
    out: Int64,
    bad: Int64,
) -> tuple[int, int]:
    """Write the rows of MoldUDP64 datagrams; return (rows, refused frames).

    ``session`` and ``expected`` are those of the last datagram. Numbers that came already (the other line of a pair, a
    retransmission) are passed over; a refused datagram leaves ``expected``, so that the next one shows the hole.
    """
    n = 0
    refused = 0
    for frame in range(len(starts) - 1):
        k, end = starts[frame], starts[frame + 1]
        if k == end:  # a connection was opened; the numbers tell whether anything was missed
            counts[257] += 1
            continue
        problem, at = (GOOD, k) if end - k >= MOLD_HEADER else (SHORT_PACKET, k)
        number = big_endian(data, k + 10, 8) if problem == GOOD else 0
        count = big_endian(data, k + 18, 2) if problem == GOOD else 0
        if problem == GOOD:
            if count == END_OF_SESSION:
                counts[90] += 1
                count = 0
            elif count == 0:
                counts[72] += 1
            problem, at = _blocks(data, k + MOLD_HEADER, end, count)
        if problem != GOOD:
            bad[refused, 0], bad[refused, 1], bad[refused, 2] = frame, at - k, problem
            refused += 1
            if stop_at_bad:
                return n, refused
            continue
        same = expected[0] > 0
        for j in range(10):
            if session[j] != data[k + j]:
                same = False
        if not same:
            for j in range(10):
                session[j] = data[k + j]
            n = _row(out, n, IS_SESSION, 0, 0, number, frame, expected[0])
            expected[0] = number
        elif number > expected[0]:
            n = _row(out, n, IS_HOLE, 0, 0, number, frame, expected[0])
            expected[0] = number
        k += MOLD_HEADER
        for _ in range(count):
            length = big_endian(data, k, 2)
            if number >= expected[0]:
                n = _row(out, n, IS_MESSAGE, k + 2, length, number, frame, 0)
                expected[0] = number + 1
            else:
                counts[256] += 1
            number += 1
            k += 2 + length
    return n, refused


@njit(cache=True)
def _split(data: Bytes, lengths: Int64, packets: bool, out: Int64) -> tuple[int, int, int]:
    """Write (first byte, end) of each length-prefixed message; return (count, bytes used, bad byte or -1).

    Of ``packets`` the length bytes are a part.

    A length of 0 in front of a known type stands for the type's own length: there are files whose length bytes are all 0.
    """
    n = 0
    k = 0
    size = len(data)
    while k + 3 <= size:
        length = big_endian(data, k, 2)
        if length == 0 and not packets:
            length = int(lengths[data[k + 2]])
            if length == 0:
                return n, k, k
        if k + 2 + length > size:
            break
        out[n, 0] = k if packets else k + 2
        out[n, 1] = k + 2 + length
        n += 1
        k += 2 + length
    return n, k, -1


def iter_message_file(path: Path, block: int = BLOCK, *, packets: bool = False) -> Iterator[FrameBatch]:
    """Yield the messages of a length-prefixed ITCH file (plain or gzip), one a frame, without receive times.

    ``packets``: the file is a log of SoupBinTCP packets, and a frame is a packet with its length.

    Raises
    ------
    SourceError
        If the file cannot be read, ends inside a message, or a zero length stands before no known type.
    """
    offset = 0
    rest = b""
    try:
        with open_bytes(path) as stream:
            while chunk := stream.read(block):
                data = np.frombuffer(rest + chunk, np.uint8)
                places = np.empty((len(data) // 3 + 1, 2), np.int64)
                count, used, wrong = _split(data, LENGTH, packets, places)
                if wrong >= 0:
                    kind = bytes(data[wrong + 2 : wrong + 3]).decode("latin-1")
                    raise SourceError(path, f"byte {offset + wrong}: length 0, and {kind!r} is no message type")
                if count:
                    yield _batch(data, places[:count])
                rest = data[used:].tobytes()
                offset += used
    except UNREADABLE as error:
        raise SourceError(path, f"cannot be read: {error}") from error
    if rest.strip(b"\x00") or (packets and rest):
        raise SourceError(path, f"byte {offset}: the file ends inside a message")


def _batch(data: Bytes, places: Int64) -> FrameBatch:
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(places[:, 1] - places[:, 0])])
    joined = np.empty(int(starts[-1]), np.uint8)
    _gather(data, places, starts, joined)
    n = len(places)
    return FrameBatch(joined, starts, np.zeros(n, np.int64), np.zeros(n, np.int16), ("file",))


@njit(cache=True)
def _gather(data: Bytes, places: Int64, starts: Int64, out: Bytes) -> None:
    for k in range(len(places)):
        for j in range(places[k, 1] - places[k, 0]):
            out[starts[k] + j] = data[places[k, 0] + j]


def is_soup(path: Path) -> bool:
    """Return whether a file's first bytes are SoupBinTCP packets rather than bare messages."""
    try:
        with open_bytes(path) as stream:
            for k in range(3):
                length = int.from_bytes(stream.read(2))
                body = stream.read(length)
                if not body and k > 0:
                    return True
                kind = body[:1]
                sized = {b"A": length == 31, b"S": length > 1 and LENGTH[body[1]] == length - 1, b"H": length == 1}
                if len(body) < length or not sized.get(kind, kind in (b"+", b"U")):
                    return False
    except UNREADABLE:
        return False  # reading the file will say why
    return True

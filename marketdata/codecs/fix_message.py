"""FIX 4.2 and 4.4 messages as bytes: where they begin and end, whether length and checksum are right, their fields and groups.

A message is ``8=…␁9=…␁35=…␁ … 10=ddd␁``. BodyLength (9) counts the bytes after its own delimiter up to the checksum field;
CheckSum (10) is the sum of all bytes before that field modulo 256, as three digits. *Strict* reading refuses a message in which
either is wrong; *lenient* reading goes on and says so in :attr:`FixMessage.faults`. Both refuse what is no FIX message at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

SOH: Final = 1
MAX_LENGTH: Final = 1 << 20
"""A longer body is taken for a damaged length."""

GOOD: Final = 0
BAD_LENGTH: Final = 1
BAD_CHECKSUM: Final = 2
"""Faults, as bits, that lenient reading tolerates."""

NO_BEGIN: Final = 4
NO_LENGTH: Final = 5
NO_TYPE: Final = 6
NO_TRAILER: Final = 7
BAD_FIELD: Final = 8
"""What makes bytes no message at all."""

PROBLEMS: Final = {
    BAD_LENGTH: "BodyLength (9) is wrong",
    BAD_CHECKSUM: "CheckSum (10) is wrong",
    BAD_LENGTH | BAD_CHECKSUM: "BodyLength (9) and CheckSum (10) are wrong",
    NO_BEGIN: "does not begin with 8=FIX",
    NO_LENGTH: "has no BodyLength (9) as its second field",
    NO_TYPE: "has no MsgType (35) as its third field",
    NO_TRAILER: "does not end with CheckSum (10) and a delimiter",
    BAD_FIELD: "has a field that is not tag=value",
}

DATA_TAGS: Final = {
    95: 96,
    90: 91,
    93: 89,
    212: 213,
    348: 349,
    350: 351,
    352: 353,
    354: 355,
    356: 357,
    358: 359,
    360: 361,
}
"""Length field to the data field after it, whose value may hold delimiters."""

GROUPS: Final[Mapping[int, int]] = {
    268: 0, 267: 269, 146: 55, 453: 448, 552: 54, 555: 600, 802: 523, 539: 524, 78: 79, 136: 137, 382: 375, 454: 455,
}  # fmt: skip
"""Count field to the first field of each entry; 0: the field that follows the count (268 begins with 279 in X, 269 in W)."""


class FixError(ValueError):
    """Bytes are no FIX message, or strict reading found its length or checksum wrong.

    Attributes
    ----------
    offset : int
        Byte of the message.
    reason : str
    """

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"byte {offset}: {reason}")
        self.offset = offset
        self.reason = reason


@dataclass(frozen=True, slots=True)
class FixMessage:
    """One message, fields in the order sent.

    Attributes
    ----------
    fields : tuple of (int, bytes)
        Tag and value, from 8 to 10.
    faults : tuple of str
        What lenient reading tolerated; empty for a correct message.
    """

    fields: tuple[tuple[int, bytes], ...]
    faults: tuple[str, ...] = ()

    @property
    def msg_type(self) -> str:
        """Value of MsgType (35)."""
        return self.text(35) or ""

    def get(self, tag: int) -> bytes | None:
        """Return the first value of a tag; None where the message has none."""
        return next((value for found, value in self.fields if found == tag), None)

    def text(self, tag: int) -> str | None:
        """Return the first value of a tag as text."""
        value = self.get(tag)
        return None if value is None else value.decode("latin-1")

    def group(self, count_tag: int) -> list[dict[int, bytes]]:
        """Return the entries of a repeating group, tag to value; a nested group's first values stand for it.

        Raises
        ------
        FixError
            If the group has another number of entries than its count says.
        """
        tags = [tag for tag, _ in self.fields]
        if count_tag not in tags:
            return []
        at = tags.index(count_tag)
        count = int(self.fields[at][1] or b"0")
        if count == 0:
            return []
        first = GROUPS.get(count_tag, 0) or tags[at + 1]
        entries: list[dict[int, bytes]] = []
        for tag, value in self.fields[at + 1 : -1]:
            if tag == first:
                entries.append({})
            if not entries:
                raise FixError(0, f"group {count_tag} does not begin with field {first}")
            entries[-1].setdefault(tag, value)
        if len(entries) != count:
            raise FixError(0, f"group {count_tag} says {count} entries and has {len(entries)}")
        return entries


@njit(cache=True)
def check_frame(data: Bytes, start: int, end: int) -> tuple[int, int, int, int]:
    """Look at the frame of the message ``data[start:end]``.

    Returns
    -------
    code : int
        GOOD, bits of BAD_LENGTH and BAD_CHECKSUM, or one of the codes from NO_BEGIN on.
    offset : int
        Byte that the code is about.
    body, trailer : int
        Where MsgType (35) and CheckSum (10) begin.
    """
    if end - start < 5 or data[start] != 56 or data[start + 1] != 61 or data[start + 2] != 70:
        return NO_BEGIN, start, start, start
    if data[start + 3] != 73 or data[start + 4] != 88:
        return NO_BEGIN, start, start, start
    k = start + 5
    while k < end and data[k] != SOH:
        k += 1
    k += 1
    if k + 2 >= end or data[k] != 57 or data[k + 1] != 61:
        return NO_LENGTH, min(k, end), start, start
    at_length = k
    k += 2
    length = 0
    if data[k] == SOH:
        return NO_LENGTH, k, start, start
    while k < end and data[k] != SOH:
        if data[k] < 48 or data[k] > 57 or length > MAX_LENGTH:
            return NO_LENGTH, k, start, start
        length = length * 10 + (data[k] - 48)
        k += 1
    k += 1
    body = k
    if k + 3 >= end or data[k] != 51 or data[k + 1] != 53 or data[k + 2] != 61:
        return NO_TYPE, min(k, end), start, start
    if data[end - 1] != SOH:
        return NO_TRAILER, end - 1, body, body
    t = end - 2
    while t > body and data[t] != SOH:
        t -= 1
    trailer = t + 1
    if data[t] != SOH or end - trailer < 5 or data[trailer] != 49 or data[trailer + 1] != 48 or data[trailer + 2] != 61:
        return NO_TRAILER, trailer, body, body
    code = GOOD
    offset = start
    if trailer - body != length:
        code |= BAD_LENGTH
        offset = at_length
    total = np.uint32(0)
    for j in range(start, trailer):
        total += np.uint32(data[j])
    right = end - trailer == 7
    given = 0
    for j in range(trailer + 3, end - 1):
        if data[j] < 48 or data[j] > 57:
            right = False
        given = given * 10 + (data[j] - 48)
    if not right or given != np.int64(total & np.uint32(255)):
        code |= BAD_CHECKSUM
        if code == BAD_CHECKSUM:
            offset = trailer
    return code, offset, body, trailer


@njit(cache=True)
def next_tag(data: Bytes, k: int, end: int) -> tuple[int, int]:
    """Return (tag, place of its value) of the field at ``k``; tag -1 where there is none."""
    tag = 0
    first = k
    while k < end and 48 <= data[k] <= 57 and k - first < 9:
        tag = tag * 10 + (data[k] - 48)
        k += 1
    if k == first or k >= end or data[k] != 61:
        return -1, k
    return tag, k + 1


@njit(cache=True)
def data_tag(tag: int) -> int:
    """Return the data field that a length field belongs to; 0 for every other field."""
    if tag == 95:
        return 96
    if tag == 90:
        return 91
    if tag == 93:
        return 89
    if tag == 212:
        return 213
    if 348 <= tag <= 360 and tag % 2 == 0:
        return tag + 1
    return 0


@njit(cache=True)
def value_end(data: Bytes, k: int, end: int, length: int) -> int:
    """Return the place of the delimiter after the value at ``k``; ``length`` is that of a data field, else -1; -1 if cut off."""
    if length >= 0:
        return k + length if k + length < end and data[k + length] == SOH else -1
    while k < end and data[k] != SOH:
        k += 1
    return k if k < end else -1


@njit(cache=True)
def _fields(data: Bytes, start: int, end: int, out: Int64) -> tuple[int, int]:
    """Write (tag, value start, value end) of each field; return (count, bad byte or -1)."""
    n = 0
    k = start
    due = 0
    length = -1
    while k < end:
        tag, value = next_tag(data, k, end)
        if tag < 0:
            return n, k
        stop = value_end(data, value, end, length if tag == due else -1)
        if stop < 0 or stop == value:
            return n, k
        out[n, 0] = tag
        out[n, 1] = value
        out[n, 2] = stop
        n += 1
        due = data_tag(tag)
        length = -1
        if due > 0:
            length = 0
            for j in range(value, stop):
                if data[j] < 48 or data[j] > 57 or length > MAX_LENGTH:
                    return n, j
                length = length * 10 + (data[j] - 48)
        k = stop + 1
    return n, -1


def fault_texts(code: int) -> tuple[str, ...]:
    """Return what a code of tolerable faults says, one text a fault."""
    return tuple(PROBLEMS[bit] for bit in (BAD_LENGTH, BAD_CHECKSUM) if code & bit)


def parse_message(message: bytes, *, strict: bool = True) -> FixMessage:
    """Return a message's fields.

    Raises
    ------
    FixError
        If the bytes are not one message, or strict and its length or checksum is wrong.
    """
    data = np.frombuffer(message, np.uint8)
    code, offset, _, _ = check_frame(data, 0, len(data))
    if code >= NO_BEGIN or (strict and code != GOOD):
        raise FixError(offset, PROBLEMS[code])
    places = np.empty((message.count(b"\x01") + 1, 3), np.int64)
    count, bad = _fields(data, 0, len(data), places)
    if bad >= 0:
        raise FixError(bad, PROBLEMS[BAD_FIELD])
    found = tuple((int(tag), message[first:end]) for tag, first, end in places[:count].tolist())
    return FixMessage(found, fault_texts(code))


def make_message(fields: list[tuple[int, str]], begin: str = "FIX.4.4") -> bytes:
    """Return a message of the given fields, from MsgType (35) on, with its length and checksum."""
    body = "".join(f"{tag}={value}\x01" for tag, value in fields).encode("latin-1")
    head = f"8={begin}\x019={len(body)}\x01".encode("latin-1") + body
    return head + b"10=%03d\x01" % (sum(head) % 256)

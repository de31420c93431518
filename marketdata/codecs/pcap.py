"""Packet captures: UDP payloads of a pcap file as frames, with the capture's times and one stream a destination.

Read: classic pcap of either byte order, microseconds or nanoseconds; Ethernet with any number of VLAN tags, raw IP and
Linux cooked captures; IPv4 (IPv6 without extension headers). Frames that are no UDP are passed over and counted; a packet
that was cut short while capturing, a fragment, and a file that ends inside a record are refused with the record and the byte.
"""

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.codecs.tables import SourceError, read_bytes
from marketdata.frames import FrameBatch

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

MAGICS: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""First bytes to byte order and ns in a fraction's unit."""
PCAPNG: Final = b"\x0a\x0d\x0d\x0a"
LINKS: Final = {1: "Ethernet", 12: "raw IP", 101: "raw IP", 113: "Linux cooked"}

GOOD: Final = 0
CUT_FILE: Final = 1
CUT_PACKET: Final = 2
FRAGMENT: Final = 3
BAD_HEADER: Final = 4
PROBLEMS: Final = {
    CUT_FILE: "the file ends inside the record",
    CUT_PACKET: "the packet was cut short while capturing",
    FRAGMENT: "the datagram is a fragment",
    BAD_HEADER: "the headers do not fit the packet",
}


class Capture(NamedTuple):
    """What a capture holds: its datagrams as frames, and how many packets were no UDP."""

    frames: FrameBatch
    other: int


def read_pcap(path: Path) -> Capture:
    """Return the datagrams of a capture (plain or gzip).

    Raises
    ------
    SourceError
        Naming the record (from 1) and the reason.
    """
    raw = read_bytes(path)
    if raw[:4] == PCAPNG:
        raise SourceError(path, "is a pcapng file; convert it first: editcap -F nsecpcap in.pcapng out.pcap")
    if raw[:4] not in MAGICS or len(raw) < 24:
        raise SourceError(path, "is no pcap file: the first four bytes are not its magic number")
    order, unit = MAGICS[raw[:4]]
    link = int.from_bytes(raw[20:24], "little" if order == "<" else "big") & 0xFFFF
    if link not in LINKS:
        raise SourceError(path, f"link type {link} is none of {', '.join(f'{k} ({v})' for k, v in LINKS.items())}")
    data = np.frombuffer(raw, np.uint8)
    found = np.empty((len(raw) // 16 + 1, 4), np.int64)
    count, other, problem, record = _walk(data, order == "<", unit, link, found)
    if problem != GOOD:
        raise SourceError(path, PROBLEMS[problem], row=record)
    return Capture(_frames(data, found[:count]), other)


def _frames(data: Bytes, found: Int64) -> FrameBatch:
    lengths = found[:, 1] - found[:, 0]
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    joined = np.empty(int(starts[-1]), np.uint8)
    _gather(data, found, starts, joined)
    addresses, stream = np.unique(found[:, 3], return_inverse=True)
    names = tuple(_address(int(value)) for value in addresses)
    return FrameBatch(joined, starts, np.ascontiguousarray(found[:, 2]), stream.astype(np.int16), names)


def _address(value: int) -> str:
    host, port = value >> 16, value & 0xFFFF
    return f"udp://{'.'.join(str(host >> shift & 255) for shift in (24, 16, 8, 0))}:{port}"


@njit(cache=True)
def _gather(data: Bytes, found: Int64, starts: Int64, out: Bytes) -> None:
    for k in range(len(found)):
        n = found[k, 1] - found[k, 0]
        out[starts[k] : starts[k] + n] = data[found[k, 0] : found[k, 1]]


@njit(cache=True)
def _u16(data: Bytes, k: int) -> int:
    return (data[k] << 8) | data[k + 1]


@njit(cache=True)
def _u32(data: Bytes, k: int, little: bool) -> int:
    if little:
        return data[k] | (data[k + 1] << 8) | (data[k + 2] << 16) | (data[k + 3] << 24)
    return (data[k] << 24) | (data[k + 1] << 16) | (data[k + 2] << 8) | data[k + 3]


@njit(cache=True)
def _ip_start(data: Bytes, k: int, end: int, link: int) -> int:
    """Return where the IP header of a packet begins; -1 for another protocol."""
    if link == 1:
        k += 12
        while k + 2 <= end:
            kind = _u16(data, k)
            if kind == 0x8100 or kind == 0x88A8 or kind == 0x9100:
                k += 4
                continue
            return k + 2 if kind == 0x0800 or kind == 0x86DD else -1
        return -1
    if link == 113:
        if k + 16 > end:
            return -1
        kind = _u16(data, k + 14)
        return k + 16 if kind == 0x0800 or kind == 0x86DD else -1
    return k


@njit(cache=True)
def _walk(data: Bytes, little: bool, unit: int, link: int, out: Int64) -> tuple[int, int, int, int]:
    """Write (first byte, end, time, address) of each datagram; return (count, others, problem, record)."""
    n = 0
    other = 0
    record = 0
    k = 24
    size = len(data)
    while k < size:
        record += 1
        if k + 16 > size:
            return n, other, CUT_FILE, record
        ts = _u32(data, k, little) * 1_000_000_000 + _u32(data, k + 4, little) * unit
        kept = _u32(data, k + 8, little)
        whole = _u32(data, k + 12, little)
        p = k + 16
        end = p + kept
        if end > size:
            return n, other, CUT_FILE, record
        k = end
        p = _ip_start(data, p, end, link)
        if p < 0 or p + 20 > end:
            other += 1
            continue
        version = data[p] >> 4
        if version == 4:
            if data[p + 9] != 17:
                other += 1
                continue
            if _u16(data, p + 6) & 0x3FFF:
                return n, other, FRAGMENT, record
            address = _u32(data, p + 16, False)
            p += (data[p] & 15) * 4
        elif version == 6:
            if data[p + 6] != 17 or p + 48 > end:
                other += 1
                continue
            address = _u32(data, p + 36, False)  # the last four bytes name the group
            p += 40
        else:
            other += 1
            continue
        if whole > kept:
            return n, other, CUT_PACKET, record
        if p + 8 > end:
            return n, other, BAD_HEADER, record
        length = _u16(data, p + 4)
        if length < 8 or p + length > end:
            return n, other, BAD_HEADER, record
        out[n, 0] = p + 8
        out[n, 1] = p + length
        out[n, 2] = ts
        out[n, 3] = (address << 16) | _u16(data, p + 2)
        n += 1
    return n, other, GOOD, 0

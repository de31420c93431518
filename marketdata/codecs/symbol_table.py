"""Symbols as bytes to slots: a small hash table that kernels can ask without making a string."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]


class SymbolTable(NamedTuple):
    """Symbols in the order of their slots.

    Attributes
    ----------
    text : uint8 array
        The symbols' bytes, one after the other.
    start : int64 array, shape (n + 1,)
        Symbol ``k`` is ``text[start[k] : start[k + 1]]``.
    place : int64 array
        Hash to slot + 1; 0 is free. The length is a power of two.
    """

    text: Bytes
    start: Int64
    place: Int64


def symbol_table(symbols: Sequence[str]) -> SymbolTable:
    """Return the table of distinct symbols; slot ``k`` is ``symbols[k]``."""
    parts = [symbol.encode() for symbol in symbols]
    text = np.frombuffer(b"".join(parts), np.uint8)
    start = np.cumsum([0, *(len(part) for part in parts)]).astype(np.int64)
    place = np.zeros(max(8, 1 << (2 * len(parts)).bit_length()), np.int64)
    _fill(text, start, place)
    return SymbolTable(text, start, place)


@njit(cache=True)
def _hash(data: Bytes, start: int, end: int) -> int:
    h = 2166136261
    for k in range(start, end):
        h = ((h ^ data[k]) * 16777619) & 0xFFFFFFFF
    return h ^ (h >> 15)


@njit(cache=True)
def _fill(text: Bytes, start: Int64, place: Int64) -> None:
    mask = len(place) - 1
    for slot in range(len(start) - 1):
        k = _hash(text, start[slot], start[slot + 1]) & mask
        while place[k] != 0:
            k = (k + 1) & mask
        place[k] = slot + 1


@njit(cache=True)
def is_symbol(text: Bytes, starts: Int64, slot: int, data: Bytes, start: int, end: int) -> bool:
    """Return whether ``data[start:end]`` is the symbol of a slot; ``text`` and ``starts`` are the table's."""
    first = starts[slot]
    if starts[slot + 1] - first != end - start:
        return False
    for j in range(end - start):  # noqa: SIM110  numba has no all()
        if text[first + j] != data[start + j]:
            return False
    return True


@njit(cache=True)
def find_symbol(text: Bytes, starts: Int64, place: Int64, data: Bytes, start: int, end: int) -> int:
    """Return the slot of the symbol ``data[start:end]``; -1 for one that was not asked for.

    The table's arrays are handed over one by one: reaching into a tuple for each field of a message counts references.
    """
    mask = len(place) - 1
    k = _hash(data, start, end) & mask
    while place[k] != 0:
        if is_symbol(text, starts, place[k] - 1, data, start, end):
            return place[k] - 1
        k = (k + 1) & mask
    return -1

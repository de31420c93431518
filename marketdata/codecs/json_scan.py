"""Reading JSON bytes in compiled code: literals, integers, decimal strings on a grid, symbols.

The functions accept only the plainest spelling (no spaces, no escapes, no exponent, ASCII). Whatever else JSON allows makes them
answer :data:`ODD`, and the caller hands the frame to a complete parser: nothing is refused here, and nothing is guessed.

They read without looking where a frame ends: the bytes they are given go on with at least :data:`PADDING` zeros, no zero is
part of any accepted spelling, and the caller checks at last that it stopped where the frame does.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.codecs.decimals import step_of
from marketdata.instruments import Instrument

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

ODD: Final = -1
"""Answer of a scanner that met a spelling it leaves to the complete parser."""

PADDING: Final = 64

QUOTE_MARK: Final = 34
COMMA: Final = 44
POINT: Final = 46
ZERO: Final = 48
NINE: Final = 57
COLON: Final = 58
OPEN_LIST: Final = 91
BACKSLASH: Final = 92
CLOSE_LIST: Final = 93
OPEN_OBJECT: Final = 123
CLOSE_OBJECT: Final = 125

POWERS: Final = np.array([10**k for k in range(19)], np.int64)

MAX_SYMBOL: Final = 40


def padded(data: Bytes) -> Bytes:
    """Return a copy of the bytes with :data:`PADDING` zeros behind them."""
    out = np.empty(len(data) + PADDING, np.uint8)
    out[: len(data)] = data
    out[len(data) :] = 0
    return out


@njit(cache=True)
def scan_literal(data: Bytes, i: int, literal: Bytes) -> int:
    """Return the position behind ``literal`` if it stands at ``i``, else :data:`ODD`."""
    for k in range(len(literal)):
        if data[i + k] != literal[k]:
            return -1
    return i + len(literal)


@njit(cache=True)
def scan_int(data: Bytes, i: int) -> tuple[int, int]:
    """Return (value, position behind) of the digits at ``i``; value :data:`ODD` for none, a leading zero, or over 18 digits."""
    start = i
    value: Any = np.int64(0)
    c: Any = np.int64(data[i]) - 48
    if c == 0:
        following = data[i + 1]
        if following >= 48 and following <= 57:
            return -1, i
        return 0, i + 1
    while c >= 0 and c <= 9:
        value = value * 10 + c
        i += 1
        c = np.int64(data[i]) - 48
    if i == start or i - start > 18:
        return -1, i
    return value, i


@njit(cache=True)
def scan_string(data: Bytes, i: int) -> int:
    """Return the position behind the string that opens at ``i``; :data:`ODD` if it has escapes or other than ASCII."""
    if data[i] != 34:
        return -1
    i += 1
    c = data[i]
    while c != 34:
        if c < 32 or c > 126 or c == 92:
            return -1
        i += 1
        c = data[i]
    return i + 1


@njit(cache=True)
def scan_decimal(data: Bytes, i: int, units: int, places: int) -> tuple[int, int]:
    """Return (steps, position behind) of the decimal string that opens at ``i``, for a step of ``units * 10**-places``.

    :data:`ODD` as steps for any other spelling than digits, or digits, a point and digits; for more than 18 digits; and for a
    number that lies between two steps.
    """
    if data[i] != 34:
        return -1, i
    i += 1
    start = i
    value: Any = np.int64(0)
    c: Any = np.int64(data[i]) - 48
    while c >= 0 and c <= 9:
        value = value * 10 + c
        i += 1
        c = np.int64(data[i]) - 48
    whole = i - start
    if whole == 0:
        return -1, i
    left = places
    if data[i] == 46:
        i += 1
        first = i
        c = np.int64(data[i]) - 48
        while left > 0 and c >= 0 and c <= 9:
            value = value * 10 + c
            left -= 1
            i += 1
            c = np.int64(data[i]) - 48
        while c == 0:
            i += 1
            c = np.int64(data[i]) - 48
        if i == first:
            return -1, i
    if data[i] != 34 or whole + places > 18:
        return -1, i
    if left > 0:
        value *= POWERS[left]
    if units != 1:
        steps = value // units
        if steps * units != value:
            return -1, i
        value = steps
    return value, i + 1


class SymbolTable(NamedTuple):
    """A venue's symbols as compiled code looks them up: an open-addressing hash table, at most half full.

    Attributes
    ----------
    slot : int64 array, shape (a power of two,)
        Number of the symbol in the order given, -1 where empty.
    name : uint8 array, shape (n, MAX_SYMBOL)
        Bytes of each symbol, zeros behind.
    instrument_id, quote_id : int64 arrays, shape (n,)
        Of the book's instrument, and of the one that best quotes go to (-1: they are only counted).
    price_units, price_places, lot_units, lot_places : int64 arrays, shape (n,)
        The grid's steps, as in :class:`~marketdata.codecs.decimals.Step`.
    """

    slot: Ints
    name: Bytes
    instrument_id: Ints
    quote_id: Ints
    price_units: Ints
    price_places: Ints
    lot_units: Ints
    lot_places: Ints


@njit(cache=True)
def _mix(h: int, c: int) -> int:
    return (h ^ np.int64(c)) * np.int64(1099511628211)  # type: ignore[return-value]  # numba's own integer, which wraps


@njit(cache=True)
def scan_symbol(data: Bytes, i: int, slot: Ints, name: Bytes) -> tuple[int, int]:
    """Return (number in the table, position behind) of the symbol string at ``i``; :data:`ODD` where unknown."""
    if data[i] != 34:
        return -1, i
    i += 1
    start = i
    h = np.int64(1469598103934665603)
    c = data[i]
    while c > 34 and c <= 126 and c != 92:
        h = _mix(h, c)
        i += 1
        c = data[i]
    length = i - start
    if c != 34 or length == 0 or length >= name.shape[1]:
        return -1, i
    mask = len(slot) - 1
    at = (h ^ (h >> 29)) & mask
    while slot[at] >= 0:
        k = slot[at]
        same = name[k, length] == 0
        j = 0
        while same and j < length:
            same = name[k, j] == data[start + j]
            j += 1
        if same:
            return k, i + 1
        at = (at + 1) & mask
    return -1, i


@njit(cache=True)
def _insert(slot: Ints, name: Bytes) -> None:
    mask = len(slot) - 1
    for k in range(name.shape[0]):
        h = np.int64(1469598103934665603)
        j = 0
        while name[k, j] != 0:
            h = _mix(h, name[k, j])
            j += 1
        at = (h ^ (h >> 29)) & mask
        while slot[at] >= 0:
            at = (at + 1) & mask
        slot[at] = k


def symbol_table(instruments: Mapping[str, Instrument], quotes: Mapping[str, Instrument]) -> SymbolTable:
    """Return the table of a codec's symbols; best quotes of a symbol in ``quotes`` go to that instrument.

    Raises
    ------
    ValueError
        If a symbol is not 1 to 39 printable ASCII characters, or a quote instrument has another grid than its book's.
    """
    size = 4
    while size < 2 * len(instruments):
        size *= 2
    slot, name = np.full(size, -1, np.int64), np.zeros((len(instruments), MAX_SYMBOL), np.uint8)
    grid = np.zeros((6, len(instruments)), np.int64)
    grid[1] = -1
    for k, (symbol, instrument) in enumerate(instruments.items()):
        text = symbol.encode()
        if not 0 < len(text) < MAX_SYMBOL or any(c <= QUOTE_MARK or c > 126 or c == BACKSLASH for c in text):
            raise ValueError(f"a venue's symbol is 1 to {MAX_SYMBOL - 1} printable ASCII characters, not {symbol!r}")
        name[k, : len(text)] = np.frombuffer(text, np.uint8)
        price, lot = step_of(instrument.price_decimals), step_of(instrument.lot_size)
        grid[:, k] = (instrument.instrument_id, -1, *price, *lot)
        if symbol in quotes:
            quote = quotes[symbol]
            if (quote.price_decimals, quote.lot_size) != (instrument.price_decimals, instrument.lot_size):
                raise ValueError(f"{symbol}: the instrument of its best quotes has another grid than its book's")
            grid[1, k] = quote.instrument_id
    _insert(slot, name)
    return SymbolTable(slot, name, *grid)

"""The two indexes of an order book: a hash from a key to a record, and the prices of each side in order.

*Hash.* Open addressing with linear probing in a power-of-two array of int64 entries, ``tag << 32 | record``, 0 where free.
The tag is the upper half of a multiplicative hash; since the home of an entry follows from its tag, taking an entry out shifts
those behind it back (no tombstones) without reading a record. Tables are kept at most half full.

*Prices.* A tree of 64-bit occupancy words: the lowest word of a price says which of 64 neighbours have a level, the word above
it which of 64 such words are in use, and so on over eleven floors, which span every price. Only words with a bit set exist; they
lie in one hash keyed by (floor, side, place). Setting or clearing a price stops at the first word that was, or stays, in use
(nearly always the lowest), and the next price is found in at most 21 steps whatever the distance.

Codecs whose messages only name an order have a table of their own (:mod:`marketdata.codecs.order_table`): it keeps the order in
the entry, for all instruments together, where a book's entry leads to a record that has a place in a queue.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.bits import highest_bit, inlined, lowest_bit

PRICE_LIMIT: Final = 1 << 61
"""Prices lie strictly between minus this and this."""

_BIAS: Final = 1 << 62

FLOORS: Final = 11
"""Words above one another that hold one price: 6 bits each, 63 bits in all."""

WORD_DTYPE: Final = np.dtype([("key", "i8"), ("bits", "i8")])
"""An occupancy word and its key; free where ``bits`` is 0."""

_MULTIPLIER: Final = -7046029254386353131  # 2**64 / golden ratio, odd, as int64
_LOW32: Final = 0xFFFFFFFF

Int64 = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]
Words = npt.NDArray[np.void]


@inlined
def key_tag(key: int) -> int:
    """Return the 32-bit tag of a key."""
    return (((key ^ (key >> 32)) * _MULTIPLIER) >> 32) & _LOW32


@inlined
def price_tag(side: int, price: int) -> int:
    """Return the 32-bit tag of a price on a side."""
    return key_tag(2 * price + side)


@inlined
def find_id(table: Int64, records: Records, order_id: int) -> int:
    """Return the record of an order id, 0 where it is not in the table."""
    mask = len(table) - 1
    tag = key_tag(order_id)
    at = (tag * len(table)) >> 32
    while True:
        entry = table[at]
        if entry == 0:
            return 0
        if ((entry >> 32) & _LOW32) == tag:
            record = entry & _LOW32
            if records[record].key == order_id:
                return record
        at = (at + 1) & mask


@inlined
def find_level(table: Int64, records: Records, side: int, price: int) -> int:
    """Return the record of the level at a price of a side, 0 where there is none."""
    mask = len(table) - 1
    tag = price_tag(side, price)
    at = (tag * len(table)) >> 32
    while True:
        entry = table[at]
        if entry == 0:
            return 0
        if ((entry >> 32) & _LOW32) == tag:
            record = entry & _LOW32
            if records[record].key == price and records[record].owner == side:
                return record
        at = (at + 1) & mask


@inlined
def insert_entry(table: Int64, tag: int, record: int) -> None:
    """Put a record in; its key must not be there, and the table not be full."""
    mask = len(table) - 1
    at = (tag * len(table)) >> 32
    while table[at] != 0:
        at = (at + 1) & mask
    table[at] = (tag << 32) | record


@inlined
def remove_entry(table: Int64, tag: int, record: int) -> None:
    """Take a record out; it must be there."""
    size = len(table)
    mask = size - 1
    at = (tag * size) >> 32
    while (table[at] & _LOW32) != record:
        at = (at + 1) & mask
    hole = at
    while True:
        at = (at + 1) & mask
        entry = table[at]
        if entry == 0:
            break
        home = (((entry >> 32) & _LOW32) * size) >> 32
        if ((at - home) & mask) >= ((at - hole) & mask):
            table[hole] = entry
            hole = at
    table[hole] = 0


@inlined
def _word_at(words: Words, key: int) -> int:
    """Return the position of a word, or of the free place where it would be put."""
    mask = len(words) - 1
    at = (key_tag(key) * len(words)) >> 32
    while words[at].bits != 0 and words[at].key != key:
        at = (at + 1) & mask
    return at


@inlined
def _word_key(floor: int, side: int, place: int) -> int:
    return place << 5 | floor << 1 | side


@njit(cache=True)
def set_price(words: Words, side: int, price: int) -> int:
    """Mark a price of a side; return how many words were added."""
    place = price + _BIAS
    added = 0
    for floor in range(FLOORS):
        bit = 1 << (place & 63)
        place >>= 6
        key = _word_key(floor, side, place)
        at = _word_at(words, key)
        bits = words[at].bits
        words[at].bits = bits | bit
        if bits != 0:
            return added
        words[at].key = key
        added += 1
    return added


@njit(cache=True)
def clear_price(words: Words, side: int, price: int) -> int:
    """Unmark a price of a side, which must be marked; return how many words went."""
    place = price + _BIAS
    mask = len(words) - 1
    removed = 0
    for floor in range(FLOORS):
        bit = 1 << (place & 63)
        place >>= 6
        at = _word_at(words, _word_key(floor, side, place))
        left = words[at].bits & ~bit
        words[at].bits = left
        if left != 0:
            return removed
        removed += 1
        hole = at
        while True:
            at = (at + 1) & mask
            if words[at].bits == 0:
                break
            home = (key_tag(words[at].key) * len(words)) >> 32
            if ((at - home) & mask) >= ((at - hole) & mask):
                words[hole].key = words[at].key
                words[hole].bits = words[at].bits
                words[at].bits = 0
                hole = at
    return removed


@njit(cache=True)
def next_price(words: Words, side: int, price: int) -> int:
    """Return the next worse price with a level (lower for bids, higher for asks); minus or plus PRICE_LIMIT: none.

    ``price`` itself need not be marked; give the limit of the opposite sign for the best of all.
    """
    place = price + _BIAS
    for floor in range(FLOORS):
        bit = place & 63
        place >>= 6
        bits = words[_word_at(words, _word_key(floor, side, place))].bits
        bits &= (-2 << bit) if side == 1 else ((1 << bit) - 1)
        if bits != 0:
            while True:
                place = place << 6 | (lowest_bit(bits) if side == 1 else highest_bit(bits))
                if floor == 0:
                    return place - _BIAS
                floor -= 1
                bits = words[_word_at(words, _word_key(floor, side, place))].bits
    return PRICE_LIMIT if side == 1 else -PRICE_LIMIT


@njit(cache=True)
def move_entries(old: Int64, new: Int64) -> None:
    """Enter everything that a hash holds into an empty one of another size."""
    for k in range(len(old)):
        if old[k] != 0:
            insert_entry(new, (old[k] >> 32) & _LOW32, old[k] & _LOW32)


@njit(cache=True)
def move_words(old: Words, new: Words) -> None:
    """Enter every occupancy word into an empty array of another size."""
    for k in range(len(old)):
        if old[k].bits != 0:
            at = _word_at(new, old[k].key)
            new[at].key = old[k].key
            new[at].bits = old[k].bits

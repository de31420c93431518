"""Live orders by (id, slot): an open-addressing hash table in plain arrays, for codecs whose messages name an order only.

State is preallocated; a kernel asks :func:`has_room` before each message and gives control back when there is none, and
:func:`grown` returns a table twice as large.

Two others hold resting orders by id, for other jobs. The book's index (:mod:`marketdata.order_index`) finds a record that queues
point at and that therefore never moves, for one instrument: entries of 8 bytes lead to it. Here nothing points at an order, all
instruments of a codec share one table, and what a message needs lies in the entry itself, which moves when an earlier one
goes. :mod:`marketdata.codecs.resting_orders` serves a codec that is plain Python and asks for prices as well as ids.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

PRICE: Final = 0
LOTS: Final = 1
SIDE: Final = 2
VENUE_LOTS: Final = 3
"""Columns of a value: price units, lots that rest by our account, side, lots that rest by the venue's (codecs that need it)."""

FIRST_CAPACITY: Final = 1 << 12

Int64 = npt.NDArray[np.int64]


class OrderTable(NamedTuple):
    """Orders that rest.

    Attributes
    ----------
    key : int64 array, shape (capacity, 2)
        Id and slot + 1; slot 0 marks a free place. The capacity is a power of two.
    value : int64 array, shape (capacity, 4)
        See the column constants.
    live : int64 array, shape (1,)
        Orders in the table.
    """

    key: Int64
    value: Int64
    live: Int64


def empty_table(capacity: int = FIRST_CAPACITY) -> OrderTable:
    """Return a table without orders; the capacity is a power of two."""
    return OrderTable(np.zeros((capacity, 2), np.int64), np.zeros((capacity, 4), np.int64), np.zeros(1, np.int64))


def grown(table: OrderTable) -> OrderTable:
    """Return the same orders in a table of twice the capacity."""
    larger = empty_table(2 * len(table.key))
    _copy(table, larger)
    return larger


@njit(cache=True)
def has_room(table: OrderTable) -> bool:
    """Return whether another message's orders fit: the table is at most half full."""
    return 2 * (table.live[0] + 2) <= len(table.key)


@njit(cache=True)
def _home(order_id: int, slot: int, mask: int) -> int:
    h = np.uint64(order_id) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(slot) * np.uint64(0xC2B2AE3D27D4EB4F)
    h ^= h >> np.uint64(32)
    return np.int64(h & np.uint64(mask))  # type: ignore[return-value]  # an int in numba


@njit(cache=True)
def find_order(table: OrderTable, order_id: int, slot: int) -> int:
    """Return the place of an order, -1 where there is none."""
    key = table.key
    mask = len(key) - 1
    k = _home(order_id, slot, mask)
    while key[k, 1] != 0:
        if key[k, 0] == order_id and key[k, 1] == slot + 1:
            return k
        k = (k + 1) & mask
    return -1


@njit(cache=True)
def put_order(table: OrderTable, order_id: int, slot: int, price: int, lots: int, side: int) -> None:
    """Add an order that is not in the table; the caller has asked for room."""
    key = table.key
    mask = len(key) - 1
    k = _home(order_id, slot, mask)
    while key[k, 1] != 0:
        k = (k + 1) & mask
    key[k, 0] = order_id
    key[k, 1] = slot + 1
    table.value[k, PRICE] = price
    table.value[k, LOTS] = lots
    table.value[k, SIDE] = side
    table.value[k, VENUE_LOTS] = lots
    table.live[0] += 1


@njit(cache=True)
def drop_order(table: OrderTable, place: int) -> None:
    """Take the order at a place out, and close the hole behind it."""
    key = table.key
    mask = len(key) - 1
    table.live[0] -= 1
    hole = place
    k = (hole + 1) & mask
    while key[k, 1] != 0:
        home = _home(key[k, 0], key[k, 1] - 1, mask)
        if ((k - home) & mask) >= ((k - hole) & mask):
            for j in range(2):
                key[hole, j] = key[k, j]
            for j in range(4):
                table.value[hole, j] = table.value[k, j]
            hole = k
        k = (k + 1) & mask
    key[hole, 1] = 0


@njit(cache=True)
def forget_orders(table: OrderTable, slot: int) -> None:
    """Take out every order of a slot, or all of them where ``slot`` is -1."""
    key = table.key
    if slot < 0:
        key[:, 1] = 0
        table.live[0] = 0
        return
    k = 0
    while k < len(key):
        if key[k, 1] == slot + 1:
            drop_order(table, k)  # a later order may move here, so look again; nothing moves past k unseen
        else:
            k += 1


@njit(cache=True)
def _copy(source: OrderTable, target: OrderTable) -> None:
    for k in range(len(source.key)):
        if source.key[k, 1] != 0:
            slot = source.key[k, 1] - 1
            value = source.value[k]
            put_order(target, source.key[k, 0], slot, value[PRICE], value[LOTS], value[SIDE])
            target.value[find_order(target, source.key[k, 0], slot), VENUE_LOTS] = value[VENUE_LOTS]

"""A hash table of order ids in a plain array, so that kernels can hold it and a checkpoint is a copy.

Open addressing with linear probing; rows are (id, values of the caller's), an id of 0 is an empty row, the number of rows is a
power of two, and the caller keeps at least half of them empty.

An *index* is such a table with one value, where an order of that id stands in a table of orders; an id is put in when the order
gets its row and forgotten when it gives it up.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

Int64 = npt.NDArray[np.int64]

_HASH: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.uint64(32)


@njit(cache=True)
def _home(order_id: int, room: int) -> int:
    """Return where an id belongs in a table of ``room`` rows, a power of two."""
    return int((np.uint64(order_id) * _HASH) >> _HALF) & (room - 1)


@njit(cache=True)
def place_of(table: Int64, order_id: int) -> int:
    """Return the row of an id, or the empty row where it would go."""
    room = table.shape[0]
    at = _home(order_id, room)
    while table[at, 0] != 0 and table[at, 0] != order_id:
        at = (at + 1) & (room - 1)
    return at


@njit(cache=True)
def forget_id(table: Int64, at: int) -> None:
    """Empty a row, and move those after it that could not be found any more."""
    room = table.shape[0]
    hole = at
    table[hole, 0] = 0
    step = (hole + 1) & (room - 1)
    while table[step, 0] != 0:
        home = _home(table[step, 0], room)
        if ((step - home) & (room - 1)) >= ((step - hole) & (room - 1)):
            for c in range(table.shape[1]):
                table[hole, c] = table[step, c]
            table[step, 0] = 0
            hole = step
        step = (step + 1) & (room - 1)


@njit(cache=True)
def index_put(index: Int64, order_id: int, row: int) -> None:
    """Write down where an order stands."""
    at = place_of(index, order_id)
    index[at, 0] = order_id
    index[at, 1] = row


@njit(cache=True)
def index_of(index: Int64, order_id: int) -> int:
    """Return where an order stands, -1 where no order of that id does."""
    at = place_of(index, order_id)
    return index[at, 1] if index[at, 0] != 0 else -1


@njit(cache=True)
def index_forget(index: Int64, order_id: int) -> None:
    """Forget an order that is in the index."""
    forget_id(index, place_of(index, order_id))


def empty_index(orders: int) -> Int64:
    """Return an index for a table of so many orders."""
    return np.zeros((1 << (2 * orders - 1).bit_length(), 2), np.int64)


@njit(cache=True)
def copy_ids(old: Int64, new: Int64) -> None:
    """Put the ids of a smaller table into a larger, empty one; shapes (I, room, 3)."""
    for slot in range(old.shape[0]):
        for k in range(old.shape[1]):
            if old[slot, k, 0] != 0:
                new[slot, place_of(new[slot], old[slot, k, 0])] = old[slot, k]

"""The ring's two indices and its rows, at the level of machine words.

The memory model relied on, and on nothing else:

* an aligned 8-byte load or store is one access (true of x86-64 and of AArch64; numpy's memory is aligned, and LLVM is told so);
* a *release* store makes every write before it visible to whoever reads the stored value with an *acquire* load.

Both are asked of LLVM by name (``store atomic … release``, ``load atomic … acquire``), so that neither the compiler nor the
processor may move the copy of the rows past the index that publishes them. On x86-64, whose total store order gives both for
free, they compile to plain ``mov``; on AArch64 to ``stlr`` and ``ldar``.

Each index has one writer: ``head`` the producer's, ``tail`` the consumer's. Each lies on cache lines of its own (128 bytes: two
lines, because the prefetcher takes pairs), with its owner's copy of the other index beside it: the other's line is read
only when the copy says full (or empty).
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

Words = npt.NDArray[np.int64]

LINE: Final = 16
"""Words in 128 bytes."""
MAGIC_AT: Final = 0
VERSION_AT: Final = 1
CAPACITY_AT: Final = 2
ROW_BYTES_AT: Final = 3
LAYOUT_AT: Final = 4
OWNER_PID_AT: Final = 5
OWNER_START_AT: Final = 6
HEAD_AT: Final = 1 * LINE
WATERMARK_AT: Final = 2 * LINE
STATE_AT: Final = 2 * LINE + 1
EPOCH_AT: Final = 2 * LINE + 2
DROPPED_AT: Final = 2 * LINE + 3
OVERRUNS_AT: Final = 2 * LINE + 4
PRODUCER_BEAT_AT: Final = 3 * LINE
PRODUCER_PID_AT: Final = 3 * LINE + 1
PRODUCER_START_AT: Final = 3 * LINE + 2
TAIL_COPY_AT: Final = 4 * LINE
TAIL_AT: Final = 5 * LINE
CONSUMER_BEAT_AT: Final = 6 * LINE
CONSUMER_PID_AT: Final = 6 * LINE + 1
CONSUMER_START_AT: Final = 6 * LINE + 2
HEAD_COPY_AT: Final = 7 * LINE
HEADER_WORDS: Final = 512
"""Header of one page; the constants above are places in it."""

CONTROL: Final = 255
"""``action`` of a row that is no event: ``size_lots`` bytes of MessagePack fill the rows after it."""
ROW_WORDS: Final = 7
SIZE_WORD: Final = 3
ACTION_WORD: Final = 6
ACTION_SHIFT: Final = 16


@intrinsic
def load_acquire(typing_context: Any, words: Any, index: Any) -> Any:
    """Return ``words[index]`` by an atomic load with acquire ordering; ``words`` is a contiguous int64 array."""
    if not isinstance(words, types.Array) or words.dtype != types.int64 or not isinstance(index, types.Integer):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature, arguments)
        return builder.load_atomic(pointer, ordering="acquire", align=8, typ=context.get_value_type(types.int64))

    return types.int64(words, types.intp), generate


@intrinsic
def store_release(typing_context: Any, words: Any, index: Any, value: Any) -> Any:
    """Set ``words[index]`` by an atomic store with release ordering; ``words`` is a contiguous int64 array."""
    if not isinstance(words, types.Array) or words.dtype != types.int64 or not isinstance(index, types.Integer):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store_atomic(
            arguments[2], _pointer(context, builder, signature, arguments), ordering="release", align=8
        )
        return context.get_dummy_value()

    return types.void(words, types.intp, types.int64), generate


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return cgutils.get_item_pointer(context, builder, signature.args[0], array, [arguments[1]], wraparound=False)


@njit(cache=True)
def get_word(words: Words, index: int) -> int:
    """Return a word of the header, with acquire ordering."""
    return load_acquire(words, index)


@njit(cache=True)
def set_word(words: Words, index: int, value: int) -> None:
    """Set a word of the header, with release ordering."""
    store_release(words, index, value)


@njit(cache=True)
def ring_room(words: Words, capacity: int) -> int:
    """Return how many rows the producer may write now."""
    tail = load_acquire(words, TAIL_AT)
    words[TAIL_COPY_AT] = tail
    return capacity - (words[HEAD_AT] - tail)


@njit(cache=True, nogil=True)
def ring_push(words: Words, slots: Words, rows: Words, whole: bool) -> int:
    """Copy rows into the ring, publish them, and return how many there was room for.

    Parameters
    ----------
    words : int64 array, shape (HEADER_WORDS,)
    slots : int64 array, shape (capacity, ROW_WORDS)
        Capacity is a power of two.
    rows : int64 array, shape (n, ROW_WORDS)
    whole : bool
        All rows or none.
    """
    capacity = slots.shape[0]
    head = words[HEAD_AT]
    count = rows.shape[0]
    if count > capacity - (head - words[TAIL_COPY_AT]):
        words[TAIL_COPY_AT] = load_acquire(words, TAIL_AT)
        room = capacity - (head - words[TAIL_COPY_AT])
        if count > room:
            if whole:
                return 0
            count = room
    mask = capacity - 1
    for k in range(count):
        slot = (head + k) & mask
        for j in range(ROW_WORDS):
            slots[slot, j] = rows[k, j]
    if count:
        store_release(words, HEAD_AT, head + count)
    return count


@njit(cache=True, nogil=True)
def ring_next(words: Words, slots: Words, most: int, spins: int) -> tuple[int, int, bool]:
    """Return where the next readable rows begin, how many lie there without a break, and whether they are a control record.

    A run of events ends before a control record, at the ring's last slot, or after ``most`` rows. Nothing is given back to the
    producer before :func:`ring_release`. Where the ring is empty the index is looked at ``spins`` times more.
    """
    capacity = slots.shape[0]
    tail = words[TAIL_AT]
    head = words[HEAD_COPY_AT]
    if head == tail:
        head = load_acquire(words, HEAD_AT)
        while head == tail and spins > 0:
            spins -= 1
            head = load_acquire(words, HEAD_AT)
        words[HEAD_COPY_AT] = head
    start = tail & (capacity - 1)
    count = min(head - tail, most, capacity - start)
    for k in range(count):
        if (slots[start + k, ACTION_WORD] >> ACTION_SHIFT) & 0xFF == CONTROL:
            if k == 0:
                return start, 1 + (slots[start, SIZE_WORD] + 8 * ROW_WORDS - 1) // (8 * ROW_WORDS), True
            return start, k, False
    return start, count, False


@njit(cache=True)
def ring_release(words: Words, count: int) -> None:
    """Give ``count`` rows back to the producer: the consumer is done with them."""
    store_release(words, TAIL_AT, words[TAIL_AT] + count)


@njit(cache=True)
def ring_waiting(words: Words) -> int:
    """Return the rows that are published and not yet given back."""
    return load_acquire(words, HEAD_AT) - load_acquire(words, TAIL_AT)

"""A single-producer single-consumer ring of event rows in shared memory: the receiver's process to the engine's.

Rows are :data:`marketdata.events.EVENT_DTYPE`, in slots of that size. A push copies a batch once, into the slots; a read gives
views of the slots and no copy. :mod:`marketdata.feeds.ring_kernels` says which memory model holds it together,
:mod:`marketdata.feeds.ring_feed` makes a feed of it.
"""

import contextlib
import os
import time
import zlib
from collections.abc import Iterator
from multiprocessing import resource_tracker, shared_memory
from types import TracebackType
from typing import Final, NamedTuple, Self

import numpy as np
import psutil

from marketdata.events import EVENT_DTYPE, EventArray
from marketdata.feeds import ring_kernels as at
from marketdata.feeds.protocol import FeedError
from marketdata.feeds.ring_kernels import Words, get_word, ring_next, ring_push, ring_release, ring_room, set_word
from marketdata.messages import layout

MAGIC: Final = int.from_bytes(b"FLOWRING", "little")
VERSION: Final = 1
PREFIX: Final = "flowsense-"
DEFAULT_CAPACITY: Final = 65_536
"""3.5 MiB; at 100,000 rows a second it holds two thirds of a second."""
HEADER_BYTES: Final = at.HEADER_WORDS * 8

UNUSED: Final = 0
OPEN: Final = 1
CLOSED: Final = 2
"""State of the producing side."""


class RingError(FeedError):
    """A ring cannot be made, joined or used; the message names it and says what to do."""


class RingRun(NamedTuple):
    """What can be read now: a run of events, or one control record.

    Attributes
    ----------
    events : event array, shape (n,)
        A view of the slots, valid until ``rows`` are released.
    control : bytes or None
        The record's MessagePack, where it is one.
    rows : int
        What to release when done.
    """

    events: EventArray
    control: bytes | None
    rows: int


def layout_hash() -> int:
    """Return a number that stands for the layout of an event row."""
    return zlib.crc32(" ".join(layout()).encode())


def process_start_ns(pid: int) -> int:
    """Return when a process was started, ns; 0 where there is none: a number that a reused pid does not share."""
    try:
        process = psutil.Process(pid)
        return 0 if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 1e9)
    except psutil.Error:
        return 0


class SharedRing:
    """The shared memory of one ring, made by one process and joined by one other.

    Use :meth:`create` and :meth:`attach`. The maker removes the memory when it closes; where it is killed, Python's resource
    tracker, a process of its own, removes it, and where that is killed too, the next :meth:`create` of the name does.
    """

    def __init__(self, name: str, memory: shared_memory.SharedMemory, *, is_owner: bool) -> None:
        self.name = name
        self.is_owner = is_owner
        self._memory: shared_memory.SharedMemory | None = memory
        self.words: Words = np.frombuffer(_bytes_of(memory), np.int64, at.HEADER_WORDS)
        capacity = int(self.words[at.CAPACITY_AT])
        self.slots: Words = np.frombuffer(_bytes_of(memory), np.int64, capacity * at.ROW_WORDS, HEADER_BYTES).reshape(
            capacity, at.ROW_WORDS
        )
        self.rows: EventArray = np.frombuffer(_bytes_of(memory), EVENT_DTYPE, capacity, HEADER_BYTES)

    @classmethod
    def create(cls, name: str, capacity: int = DEFAULT_CAPACITY) -> Self:
        """Make a ring; one of that name whose maker is dead is replaced.

        Parameters
        ----------
        name : str
            Any name without a slash.
        capacity : int
            Rows, a power of two, at least 64.

        Raises
        ------
        RingError
            If the capacity is none, or a living process has a ring of that name.
        """
        if capacity < 64 or capacity & (capacity - 1):
            raise RingError(f"ring {name}: capacity {capacity} is no power of two of at least 64")
        size = HEADER_BYTES + capacity * EVENT_DTYPE.itemsize
        try:
            memory = shared_memory.SharedMemory(PREFIX + name, create=True, size=size)
        except FileExistsError:
            _remove_stale(name)
            memory = shared_memory.SharedMemory(PREFIX + name, create=True, size=size)
        words = np.frombuffer(_bytes_of(memory), np.int64, at.HEADER_WORDS)
        words[:] = 0
        words[at.VERSION_AT] = VERSION
        words[at.CAPACITY_AT] = capacity
        words[at.ROW_BYTES_AT] = EVENT_DTYPE.itemsize
        words[at.LAYOUT_AT] = layout_hash()
        words[at.OWNER_PID_AT] = os.getpid()
        words[at.OWNER_START_AT] = process_start_ns(os.getpid())
        words[at.WATERMARK_AT] = -(2**63)
        set_word(words, at.MAGIC_AT, MAGIC)
        del words
        return cls(name, memory, is_owner=True)

    @classmethod
    def attach(cls, name: str, timeout_s: float = 0.0) -> Self:
        """Join a ring that another process made, waiting up to ``timeout_s`` for it.

        Raises
        ------
        RingError
            If there is none, or it was made by another version.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(FileNotFoundError, ValueError):  # ValueError: it is there and still has no size
                with _untracked():
                    memory = shared_memory.SharedMemory(PREFIX + name)
                words = np.frombuffer(_bytes_of(memory), np.int64, at.HEADER_WORDS)
                ready = get_word(words, at.MAGIC_AT) == MAGIC
                known = tuple(int(words[k]) for k in (at.VERSION_AT, at.ROW_BYTES_AT, at.LAYOUT_AT))
                del words
                if ready and known == (VERSION, EVENT_DTYPE.itemsize, layout_hash()):
                    return cls(name, memory, is_owner=False)
                memory.close()
                if ready:
                    raise RingError(f"ring {name} was made by another version of this program; restart both sides")
            if time.monotonic() >= deadline:
                raise RingError(f"there is no ring {name}; start the process that makes it first")
            time.sleep(0.02)

    @property
    def capacity(self) -> int:
        """Rows that it holds."""
        return len(self.rows)

    @property
    def is_closed(self) -> bool:
        """Whether this side has let go of it."""
        return self._memory is None

    def word(self, place: int) -> int:
        """Return a word of the header."""
        return int(get_word(self.words, place))

    def set(self, place: int, value: int) -> None:
        """Set a word of the header."""
        set_word(self.words, place, value)

    def push(self, events: EventArray, *, whole: bool = False) -> int:
        """Copy rows in and publish them; return how many there was room for (``whole``: all or none)."""
        rows = np.ascontiguousarray(events).view(np.int64).reshape(-1, at.ROW_WORDS)
        return int(ring_push(self.words, self.slots, rows, whole))

    def push_control(self, payload: bytes) -> bool:
        """Publish a control record; return whether there was room.

        Raises
        ------
        RingError
            If it could never fit.
        """
        body = -(-len(payload) // EVENT_DTYPE.itemsize)
        if body + 1 > self.capacity:
            raise RingError(f"ring {self.name}: a record of {len(payload)} bytes does not fit; make the ring larger")
        rows = np.zeros(body + 1, EVENT_DTYPE)
        rows[0]["action"], rows[0]["size_lots"] = at.CONTROL, len(payload)
        rows[1:].view(np.uint8)[: len(payload)] = np.frombuffer(payload, np.uint8)
        return self.push(rows, whole=True) > 0

    def room(self) -> int:
        """Return how many rows could be pushed now."""
        return int(ring_room(self.words, self.capacity))

    def next(self, most: int, spins: int = 0) -> RingRun:
        """Return what can be read now; an empty run where there is nothing. Release it when done."""
        start, count, is_control = ring_next(self.words, self.slots, most, spins)
        if not is_control:
            return RingRun(self.rows[start : start + count], None, count)
        size = int(self.slots[start, at.SIZE_WORD])
        places = np.arange(start + 1, start + count) & (self.capacity - 1)
        return RingRun(self.rows[:0], self.slots[places].tobytes()[:size], count)

    def release(self, rows: int) -> None:
        """Give rows that were read back to the producer; views of them are void from now on."""
        ring_release(self.words, rows)

    def close(self) -> None:
        """Let go of the memory; the maker also removes it."""
        memory, self._memory = self._memory, None
        if memory is None:
            return
        self.words, self.slots, self.rows = (
            np.zeros(at.HEADER_WORDS, np.int64),
            self.slots[:0].copy(),
            self.rows[:0].copy(),
        )
        try:
            memory.close()
        except BufferError:  # somebody still holds a view: the mapping goes with the last one
            memory.close = lambda: None  # type: ignore[method-assign]  # else its finaliser fails again, aloud
        if self.is_owner:
            with contextlib.suppress(FileNotFoundError):
                memory.unlink()

    def __enter__(self) -> Self:
        """Return the ring."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def is_alive(ring: SharedRing, pid_at: int, start_at: int) -> bool:
    """Return whether the process that wrote its pid and start time into the header still runs."""
    pid = ring.word(pid_at)
    return pid != 0 and process_start_ns(pid) == ring.word(start_at)


def _bytes_of(memory: shared_memory.SharedMemory) -> memoryview:
    """Return the memory's bytes; they are there until it is closed."""
    if memory.buf is None:
        raise RingError(f"shared memory {memory.name} is closed")
    return memory.buf


def _remove_stale(name: str) -> None:
    with _untracked():
        memory = shared_memory.SharedMemory(PREFIX + name)
    words = np.frombuffer(_bytes_of(memory), np.int64, at.HEADER_WORDS) if memory.size >= HEADER_BYTES else None
    owner = int(words[at.OWNER_PID_AT]) if words is not None else 0
    started = int(words[at.OWNER_START_AT]) if words is not None else 0
    del words
    memory.close()
    if owner and process_start_ns(owner) == started:
        raise RingError(f"ring {name} belongs to process {owner}, which still runs; stop it or choose another name")
    with _untracked(), contextlib.suppress(FileNotFoundError):
        memory.unlink()


@contextlib.contextmanager
def _untracked() -> Iterator[None]:
    """Keep memory that another process made out of this process's resource tracker.

    Python 3.11 registers whatever is opened, and would remove the other's memory when this process ends.
    """
    register, unregister = resource_tracker.register, resource_tracker.unregister
    resource_tracker.register = resource_tracker.unregister = lambda name, rtype: None
    try:
        yield
    finally:
        resource_tracker.register, resource_tracker.unregister = register, unregister

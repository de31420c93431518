"""Processes that work ahead beside the night's own: what is offered to them is there, or on its way, when the night asks for it.

The night runs step by step, so one process of its own keeps one core busy. Work that is known before it is needed and that
writes the same bytes wherever it runs (fits and their forecasts, small control worlds) is offered here, in the order in which a
companion takes it up. Whoever needs a result takes it; what nobody has begun by then is done on the spot, and while somebody
else is still at it, other work of the same kind. So nothing waits while there is something to do, and nothing depends on how
many processes there are: with one core, little memory or a companion that died, the night does everything itself.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any, Final

from orchestration import stopwatch

COMPANION_MEMORY_BYTES: Final = 900 * 2**20
"""What a companion with all libraries loaded may need."""
THREADS_VARIABLE: Final = "OMP_NUM_THREADS"
MOST: Final = 3
"""Companions at most: a night offers fewer things at a time than a large machine has cores."""


@dataclass
class _Task:
    """One piece of work: ``function(*arguments)``, of a kind whose members may be done in each other's place."""

    key: Hashable
    kind: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    is_ended: bool = False
    is_done: bool = False
    value: Any = None


@dataclass
class Companions:
    """Work that was offered, and the processes that take it up; make it with :func:`accompanied`.

    Attributes
    ----------
    seconds : dict of str to float
        Wall time of the companions by part of the night, those of all of them added up.
    """

    count: int
    seconds: dict[str, float] = field(default_factory=dict)
    _tasks: dict[Hashable, _Task] = field(default_factory=dict)
    _waiting: list[_Task] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _processes: list[Any] = field(default_factory=list)
    _closed: bool = False

    def start(self) -> None:
        """Start the processes; each loads libraries only when its first work needs them."""
        context = get_context("spawn")
        for number in range(self.count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), name=f"companion-{number}", daemon=True)
            with _one_thread_inherited():
                process.start()
            theirs.close()
            self._processes.append(process)
            threading.Thread(target=self._feed, args=(ours,), name=f"companion-{number}", daemon=True).start()

    def close(self) -> None:
        """End the processes; what they were at is lost, and whoever wants it does it anew."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def offer(self, key: Hashable, kind: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Let a companion do this when it has nothing earlier to do; a key that was offered before is not offered again.

        Parameters
        ----------
        function : callable
            Of a module's top level; arguments and result can be pickled, and a second run changes nothing.
        """
        with self._changed:
            if self._closed or key in self._tasks:
                return
            task = _Task(key, kind, function, arguments)
            self._tasks[key] = task
            self._waiting.append(task)
            self._changed.notify_all()

    def take(self, key: Hashable) -> _Task | None:
        """Return a key's task once it has ended, doing others of its kind meanwhile; None if it is still to be done."""
        with self._changed:
            task = self._tasks.pop(key, None)
            if task is None:
                return None
            if task in self._waiting:
                self._waiting.remove(task)
                return None
        while True:
            with self._changed:
                if task.is_ended:
                    return task if task.is_done else None
                other = next((one for one in self._waiting if one.kind == task.kind), None)
                if other is None:
                    self._changed.wait()
                    continue
                self._waiting.remove(other)
            try:
                other.value = other.function(*other.arguments)
                other.is_done = True
            except Exception:  # its own step does it again, and there the error belongs
                other.is_done = False
            other.is_ended = True

    def _feed(self, connection: Connection) -> None:
        """Give one companion one task after the other; when it is gone, what it was at is left to be done by the night."""
        task: _Task | None = None
        try:
            while True:
                with self._changed:
                    while not self._waiting and not self._closed:
                        self._changed.wait()
                    if self._closed:
                        return
                    task = self._waiting.pop(0)
                connection.send((task.function, task.arguments))
                done, value, seconds = connection.recv()
                with self._changed:
                    task.is_ended, task.is_done, task.value = True, done, value
                    for name, spent in seconds.items():
                        self.seconds[name] = self.seconds.get(name, 0.0) + spent
                    task = None
                    self._changed.notify_all()
        except (EOFError, OSError):  # the process ended
            pass
        finally:
            connection.close()
            with self._changed:
                if task is not None:
                    task.is_ended = True
                self._changed.notify_all()


_present: ContextVar[Companions | None] = ContextVar("flowsense_companions", default=None)


@contextlib.contextmanager
def accompanied(count: int) -> Iterator[Companions]:
    """Have companions inside the block; ``count`` 0: none, and what is offered is done when it is needed."""
    companions = Companions(count)
    companions.start()
    token = _present.set(companions if count else None)
    try:
        yield companions
    finally:
        _present.reset(token)
        companions.close()


def companion_count(wanted: int = 0) -> int:
    """Return how many companions to have: ``wanted`` processes in all less this one, else one a further core as memory allows."""
    if wanted:
        return min(wanted - 1, MOST)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # not told on every system
        free = COMPANION_MEMORY_BYTES
    return max(0, min(cores - 1, MOST, free // COMPANION_MEMORY_BYTES))


def is_accompanied() -> bool:
    """Whether there is a companion to offer work to."""
    return _present.get() is not None


def offer(key: Hashable, kind: str, function: Callable[..., Any], *arguments: Any) -> None:
    """Offer work to the companions of this night, where it has any."""
    companions = _present.get()
    if companions is not None:
        companions.offer(key, kind, function, *arguments)


def take(key: Hashable, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a companion made of the work offered under a key, or do it now: ``function(*arguments)`` is the same work."""
    companions = _present.get()
    task = companions.take(key) if companions is not None else None
    return function(*arguments) if task is None else task.value


@contextlib.contextmanager
def _one_thread_inherited() -> Iterator[None]:
    """Start processes inside the block with one thread for linear algebra, which is read when the libraries are loaded."""
    before = os.environ.get(THREADS_VARIABLE)
    os.environ[THREADS_VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[THREADS_VARIABLE]
        else:
            os.environ[THREADS_VARIABLE] = before


def wait_for(key: Hashable) -> None:
    """Let a companion that has begun some work end it, where doing it twice at the same time would gain nothing."""
    companions = _present.get()
    if companions is not None:
        companions.take(key)


def _serve(connection: Connection) -> None:
    """Do what comes over the pipe until it ends; an error is the asker's to meet again."""
    import marketdata.environment  # noqa: F401 - settles the process environment before any library is imported

    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            function, arguments = connection.recv()
            seconds: Mapping[str, float] = {}
            try:
                with stopwatch.timing() as watch:
                    value, done = function(*arguments), True
                seconds = dict(watch.seconds)
            except Exception:  # whoever takes the task does it again and raises what there is to raise
                value, done = None, False
            connection.send((done, value, seconds))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""Run many control worlds: which is next, side by side in several processes, each result written down as it comes.

Seeds are hashes of gate version, world, strength and index, so nobody picks them, and the same index is the same world. Runs
add up per version of the gate and form of the worlds (``backtests.worlds.worlds_sha256``): a market, feature, model or
setting that changed makes other worlds, and their runs are counted from zero.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from typing import Final, get_args

from backtests.controls import ControlResult, accumulate, done_indices, world_seed
from backtests.workers import process_pool, worker_count
from backtests.worlds import STRENGTHS, SmallKind, judge_world, worlds_sha256
from marketdata.paths import DataRoot
from marketdata.settings import GateSettings
from models.gate import gate_version

KINDS: Final[tuple[SmallKind, ...]] = get_args(SmallKind)
TURN: Final = (0.5, 1.0, 0.25, 0.0, -0.5)
"""Strengths in the order in which a night's planted worlds take turns; those with the fewest runs come first."""


@dataclass(frozen=True, slots=True)
class WorldTask:
    """One small world to run: ``strength`` is None but for planted worlds."""

    kind: SmallKind
    strength: float | None
    index: int

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.kind} {self.strength:+g}" if self.strength is not None else self.kind


def run_world(task: WorldTask, gate: GateSettings, progress: Callable[[str], None] | None = None) -> ControlResult:
    """Run one small world through everything, and say what the night's gate did."""
    version = gate_version(gate)
    seed = world_seed(version, task.kind, task.strength, task.index)
    verdict = judge_world(task.kind, task.strength or 0.0, seed, gate=gate, progress=progress).verdict
    return ControlResult(
        task.kind,
        task.strength,
        str(task.index),
        version,
        1,
        int(verdict.promoted),
        {verdict.reason: 1},
        form=worlds_sha256()[:12],
    )


def run_worlds(tasks: Sequence[WorldTask], gate: GateSettings, *, processes: int = 0) -> Iterator[ControlResult]:
    """Run worlds and yield each result as it is there.

    Parameters
    ----------
    processes : int
        0: as many as there are cores, worlds and memory for; 1 stays in this process.
    """
    workers = worker_count(len(tasks), processes)
    if workers <= 1:
        for task in tasks:
            yield run_world(task, gate)
        return
    with process_pool(workers) as pool:
        waiting = [pool.submit(run_world, task, gate) for task in tasks]
        try:
            for future in as_completed(waiting):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def next_tasks(
    root: DataRoot, gate: GateSettings, kind: SmallKind, strength: float | None, count: int
) -> list[WorldTask]:
    """Return the next worlds of a kind that this root has not run under this gate."""
    done = done_indices(root, gate_version(gate), kind, strength, worlds_sha256()[:12])
    found: list[WorldTask] = []
    index = 0
    while len(found) < count:
        if index not in done:
            found.append(WorldTask(kind, strength, index))
        index += 1
    return found


def night_tasks(root: DataRoot, gate: GateSettings, worlds: int) -> list[WorldTask]:
    """Return a night's share: null and planted worlds in turn, half of each; the null ones change between n1 and n2.

    Of the planted worlds those strengths come first that have the fewest runs so far.
    """
    version, form = gate_version(gate), worlds_sha256()[:12]
    null: list[tuple[SmallKind, float | None]] = [("n1", None), ("n2", None)]
    planted: list[tuple[SmallKind, float | None]] = [("planted", value) for value in TURN]
    runs = {one: done_indices(root, version, *one, form) for one in (*null, *planted)}
    tasks = []
    for place in range(worlds):
        kinds = null if place % 2 == 0 else planted
        kind, strength = min(kinds, key=lambda one: (len(runs[one]), kinds.index(one)))
        index = next(k for k in range(len(runs[kind, strength]) + 1) if k not in runs[kind, strength])
        runs[kind, strength].add(index)
        tasks.append(WorldTask(kind, strength, index))
    return tasks


def run_and_keep(
    root: DataRoot,
    tasks: Sequence[WorldTask],
    gate: GateSettings,
    *,
    processes: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[ControlResult]:
    """Run worlds, write each result down as soon as it is there, and return them in the order of the tasks."""
    done: list[ControlResult] = []
    if progress is not None:
        progress(0, len(tasks))
    for result in run_worlds(tasks, gate, processes=processes):
        accumulate(root, [result])
        done.append(result)
        if progress is not None:
            progress(len(done), len(tasks))
    order = {(task.kind, task.strength, str(task.index)): place for place, task in enumerate(tasks)}
    return sorted(done, key=lambda one: order[one.world, one.strength, one.key])  # type: ignore[index]  # worlds run here are small ones


__all__ = [
    "KINDS",
    "STRENGTHS",
    "WorldTask",
    "next_tasks",
    "night_tasks",
    "run_and_keep",
    "run_world",
    "run_worlds",
]

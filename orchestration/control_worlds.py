"""The control worlds of a night: its share is run once, written down beside the night, and shown with all runs before it."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from backtests.report.record import ControlRow
from marketdata.paths import DataRoot
from marketdata.settings import GateSettings, Settings
from orchestration import companion, stopwatch
from orchestration.side_files import CONTROL_WORLDS, read_json, write_json
from orchestration.stage import StageContext

if TYPE_CHECKING:  # the gate's kernels are not part of loading the code location
    from backtests.controls import ControlResult, ControlTotal
    from backtests.world_runs import WorldTask

ALWAYS_SHOWN: Final = (("n1", None), ("n2", None), ("planted", 0.5), ("planted", 1.0))
"""Worlds that have a line on every page, run or not: null and planted are read together (R16)."""

_switched_on: ContextVar[bool] = ContextVar("flowsense_control_worlds", default=True)


@contextmanager
def without_control_worlds(off: bool = True) -> Iterator[None]:
    """Leave the small worlds out of the nights that run inside the block: many nights in one go need one share."""
    token = _switched_on.set(not off)
    try:
        yield
    finally:
        _switched_on.reset(token)


def run_share(context: StageContext) -> list[Mapping[str, Any]]:
    """Run the night's null and planted worlds and return what became of them.

    A night that runs again keeps the worlds it had: it would only count other ones. The file is no part of what a re-run has to
    give again, because which worlds come next depends on how many were run before.
    """
    settings = context.settings.controls
    path = context.root.night(context.day) / CONTROL_WORLDS
    known = read_json(path)["worlds"] if path.exists() else []
    if known or settings.worlds_per_night == 0 or not _switched_on.get():
        return list(known)
    from backtests.world_runs import night_tasks

    gate = context.settings.gate
    with stopwatch.part(stopwatch.CONTROLS), _companions(settings.processes):
        offer_worlds(context.root, context.settings, context.day)
        tasks = night_tasks(context.root, gate, settings.worlds_per_night)
        results = [_taken(context.root, task, gate) for task in tasks]
    worlds: list[Mapping[str, Any]] = [
        {
            "world": one.world,
            "strength": one.strength,
            "index": int(one.key),
            "promoted": one.promoted,
            "reason": next(iter(one.reasons)),
        }
        for one in results
    ]
    write_json(path, {"worlds": worlds})
    return worlds


def _companions(processes: int) -> AbstractContextManager[object]:
    """Return the night's companions, or some for these worlds alone where a night runs by itself: this process works too."""
    return nullcontext() if companion.is_accompanied() else companion.accompanied(companion.companion_count(processes))


def offer_worlds(root: DataRoot, settings: Settings, day: date) -> None:
    """Offer the null and planted worlds of a night to its companions, unless it has run them: they need nothing else of it.

    Planted ones first: they get as far as the engine, so that what it is made of is compiled before the night asks for it.
    """
    from backtests.world_runs import night_tasks

    if (root.night(day) / CONTROL_WORLDS).exists():
        return
    tasks = night_tasks(root, settings.gate, settings.controls.worlds_per_night)
    for task in sorted(tasks, key=lambda one: one.kind != "planted"):
        companion.offer(_world_key(root, task, settings.gate), "world", run_counted_world, task, settings.gate)


def run_counted_world(task: "WorldTask", gate: GateSettings) -> "ControlResult":
    """Run one small world; its time counts as that of the control worlds, in whichever process."""
    from backtests.world_runs import run_world

    with stopwatch.part(stopwatch.CONTROLS):
        return run_world(task, gate)


def _world_key(root: DataRoot, task: "WorldTask", gate: GateSettings) -> tuple[Any, ...]:
    return "world", str(root.path), task, gate


def _taken(root: DataRoot, task: "WorldTask", gate: GateSettings) -> "ControlResult":
    """Return what became of a world, and write it down."""
    from backtests.controls import accumulate

    result: ControlResult = companion.take(_world_key(root, task, gate), run_counted_world, task, gate)
    accumulate(root, [result])
    return result


def control_rows(root: DataRoot, context: StageContext, tonight: Mapping[str, Any]) -> tuple[ControlRow, ...]:
    """Return the night's shifts and worlds, and all runs under the same version of the gate.

    Parameters
    ----------
    tonight : mapping
        What the night's shifts of its own tape came to.
    """
    from backtests.controls import expects, totals
    from backtests.worlds import worlds_sha256

    path = context.root.night(context.day) / CONTROL_WORLDS
    runs: dict[tuple[str, float | None], list[int]] = {(tonight["world"], tonight["strength"]): []}
    for one in read_json(path)["worlds"] if path.exists() else ():
        runs.setdefault((one["world"], one["strength"]), []).append(one["promoted"])
    found: dict[tuple[str, float | None], ControlTotal] = {
        (t.world, t.strength): t for t in totals(root, tonight["gate_version"], worlds_sha256()[:12])
    }
    order = {"n0": 0, "n1": 1, "n2": 2, "planted": 3}
    keys = sorted({*runs, *found, *ALWAYS_SHOWN}, key=lambda key: (order[key[0]], key[1] or 0.0))
    rows = []
    for key in keys:
        total, own = found.get(key), runs.get(key, [])
        is_shift = key[0] == "n0"
        rows.append(
            ControlRow(
                world=key[0],  # type: ignore[arg-type]  # the keys above are worlds
                expects=expects(key[0], key[1]),  # type: ignore[arg-type]  # as above
                strength=key[1],
                runs=tonight["runs"] if is_shift else len(own),
                promoted=tonight["promoted"] if is_shift else sum(own),
                runs_total=total.runs if total else 0,
                promoted_total=total.promoted if total else 0,
                bound_low=total.bound_low if total else None,
                bound_high=total.bound_high if total else None,
                note=tonight["note"] if is_shift else "",
            )
        )
    return tuple(rows)

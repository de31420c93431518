"""``flowsense controls``: how often the gate promotes where nothing pays, and where an edge was planted."""

import json
from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from marketdata.paths import DataRoot
from marketdata.settings import Settings, SettingsError
from orchestration.cli.console import StageProgress, err, out
from orchestration.cli.roots import chosen
from orchestration.side_files import write_text

if TYPE_CHECKING:  # the engine's kernels make every other command slow to start
    from backtests.controls import ControlTotal
    from backtests.world_runs import WorldTask
    from orchestration.stage import StageContext


class Kind(StrEnum):
    """A kind of control world."""

    N0 = "n0"
    N1 = "n1"
    N2 = "n2"
    PLANTED = "planted"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("controls")(controls)


def controls(
    context: typer.Context,
    n: Annotated[
        int, typer.Option("--n", min=0, help="New worlds of each kind and strength; 0 only shows what there is.")
    ] = 2,
    kind: Annotated[list[Kind] | None, typer.Option(help="Only this kind; may be given more than once.")] = None,
    strength: Annotated[
        list[float] | None, typer.Option(help="Only planted worlds of this strength; may be given more than once.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=0, help="Worlds at a time; 0: as many as there are cores and memory for.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a kind and strength.")] = False,
) -> None:
    """Run control worlds through the whole gate; print promotion rates with exact 95 % bounds, and the power curve.

    Every world goes from simulation to the gate's verdict and is counted in the data root, under the version of the gate and the
    form of the worlds: running again adds to what is there. N0 shifts the forecasts of the root's last night, once a night. Null
    and planted worlds together make a page below the root's reports.
    """
    from backtests.controls import totals
    from backtests.report.controls_page import controls_page
    from backtests.world_runs import run_and_keep
    from backtests.worlds import worlds_sha256
    from models.gate import gate_version

    root, settings = chosen(context).open()
    kinds = [one.value for one in kind or list(Kind)]
    tasks = _tasks(root, settings, kinds, strength, n)
    with StageProgress() as progress:
        if "n0" in kinds and n > 0:
            _shift_last_night(root, settings, progress)
        if tasks:
            run_and_keep(root, tasks, settings.gate, processes=processes, progress=partial(progress, "control worlds"))
    version, form = gate_version(settings.gate), worlds_sha256()[:12]
    every = totals(root, version, form)
    found = [one for one in every if _is_wanted(one, kinds, strength)]
    page = None
    if every:  # null and planted together (R16), whatever kinds were asked for
        text = controls_page(every, version, form, settings.gate.p_value)
        page = write_text(root.reports / "studies" / f"controls-{version}-{form}.html", text)
    if as_json:
        for total in found:
            out.print(json.dumps(_plain(total)), markup=False)
        return
    _print(found, version, form)
    if page is not None:
        out.print(str(page.resolve()), markup=False)


def _tasks(
    root: DataRoot, settings: Settings, kinds: Sequence[str], strengths: Sequence[float] | None, n: int
) -> "list[WorldTask]":
    """Return the worlds to run, kinds and strengths in turn, so that an interrupted run has some of each."""
    from backtests.world_runs import next_tasks
    from backtests.worlds import STRENGTHS

    for value in strengths or ():
        if not -1.0 <= value <= 4.0:
            raise SettingsError(f"--strength {value:g}: planted worlds have strengths from -1 to 4 median spreads")
    wanted: list[tuple[str, float | None]] = [(one, None) for one in ("n1", "n2") if one in kinds and not strengths]
    if "planted" in kinds:
        wanted += [("planted", value) for value in strengths or STRENGTHS]
    columns = [next_tasks(root, settings.gate, one, value, n) for one, value in wanted]  # type: ignore[arg-type]  # the kinds above
    return [column[place] for place in range(n) for column in columns]


def _is_wanted(total: "ControlTotal", kinds: Sequence[str], strengths: Sequence[float] | None) -> bool:
    return total.world in kinds and (not strengths or total.strength in strengths)


def _shift_last_night(root: DataRoot, settings: Settings, progress: StageProgress) -> None:
    """Count the shifts of the root's last night, unless they are counted; a root without nights has none."""
    from backtests.controls import accumulate, run_n0
    from models.catalog import BASELINES
    from orchestration.stages_evidence import shift_seed
    from orchestration.stages_models import load_model_night
    from orchestration.stages_scores import load_night_models

    place = _last_night(root, settings)
    if place is None:
        err.print("n0: no night of this root has enough test days to shift; the small worlds need none", markup=False)
        return
    night = load_night_models(place)
    forecasts = {name: load_model_night(root, place.day, name).forecasts for name in night.names}
    result = run_n0(
        night.dataset,
        forecasts,
        BASELINES,
        settings,
        seed=shift_seed(settings, place.day),
        progress=lambda done, total: progress(f"n0, night of {place.day}", done, total),
    )
    accumulate(root, [result])


def _last_night(root: DataRoot, settings: Settings) -> "StageContext | None":
    from orchestration.resources import RootResource
    from orchestration.side_files import read_json
    from orchestration.stage import StageContext
    from orchestration.stages_scores import LEAGUE, SERIES

    for folder in sorted(root.nights.glob("*-*-*"), reverse=True):
        if (folder / SERIES).exists() and len(read_json(folder / LEAGUE)["days"]) >= settings.gate.min_test_days:
            return StageContext(root, settings, RootResource(path=str(root.path)), date.fromisoformat(folder.name))
    return None


def _plain(total: "ControlTotal") -> dict[str, str | float | int | None]:
    return {
        "kind": total.world,
        "strength": total.strength,
        "worlds": total.runs,
        "promoted": total.promoted,
        "upper95": total.bound_high,
        "lower95": total.bound_low,
    }


def _print(found: "Sequence[ControlTotal]", version: str, form: str) -> None:
    """Print null worlds, then the power curve, with what was given as the reason."""
    from backtests.report.controls_page import MEANING

    if not found:
        out.print("no control world has been run on this root under this version of the gate", markup=False)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, side in (
        ("world", "left"),
        ("strength", "right"),
        ("the gate should", "left"),
        ("promoted", "right"),
        ("rate", "right"),
        ("95 % bounds", "right"),
        ("reasons", "left"),
    ):
        table.add_column(name, justify=side, no_wrap=name != "reasons")  # type: ignore[arg-type]  # left or right
    for total in found:
        reasons = ", ".join(f"{name} {count}" for name, count in sorted(total.reasons.items(), key=lambda one: -one[1]))
        table.add_row(
            total.world,
            f"{total.strength:+g}" if total.strength is not None else "",
            total.expects,
            f"{total.promoted:,} of {total.runs:,}",
            f"{total.promoted / total.runs:.1%}",
            f"{total.bound_low:.1%} … {total.bound_high:.1%}",
            reasons,
        )
    out.print(table)
    shown = dict.fromkeys(total.world for total in found)
    out.print("; ".join(f"{world}: {MEANING[world]}" for world in shown), markup=False)
    out.print(
        f"gate {version}, worlds {form}; strength: the oracle's net profit a round trip in median spreads", markup=False
    )

"""The parts of a night's record that say how sure: figures with intervals, execution, sensitivity surfaces."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from backtests.report.record import Bounded, Execution, ModelFigures, Roc, Statistics, SurfaceTable, Uplift, UpliftRow
from marketdata.settings import Settings
from orchestration.side_files import read_json
from orchestration.stages_evidence import EXECUTION, SURFACES, UPLIFT
from orchestration.stages_scores import STATISTICS


def statistics(night: Path, settings: Settings) -> Statistics | None:
    """Return every model's figures with their intervals; None for a night that was made without them."""
    if not (night / STATISTICS).exists():
        return None
    found = read_json(night / STATISTICS)
    models = []
    for item in found["models"]:
        name = item["name"]
        models.append(
            ModelFigures(
                name=name,
                kind="candidate" if name in settings.training.models else "baseline",
                figures={key: Bounded(**values) for key, values in item["figures"].items()},
                sharpe_period_ns=item["sharpe_period_ns"],
                net_p=found["net_p"].get(name),
                loss_p=found["loss_p"].get(name),
                roc_up=_roc(item["roc"]["up"]),
                roc_down=_roc(item["roc"]["down"]),
            )
        )
    models.sort(key=lambda m: (m.kind != "candidate", -(m.figures.get("net_pnl", Bounded()).value or 0.0), m.name))
    return Statistics(
        models=tuple(models),
        block_intervals=found["block_intervals"],
        clock_ns=found["clock_ns"],
        replications=found["replications"],
    )


def _roc(values: Mapping[str, Any]) -> Roc:
    return Roc(
        false_positive=tuple(values["false_positive"]),
        true_positive=tuple(values["true_positive"]),
        area=values["area"],
    )


def execution(night: Path, band: Mapping[str, Any]) -> Execution | None:
    """Return how the model that was backtested first was filled; None where nothing was backtested."""
    if not (night / EXECUTION).exists() or not band["models"]:
        return None
    return msgspec.convert(read_json(night / EXECUTION), Execution)


def uplift(night: Path) -> Uplift | None:
    """Return what the forecasts saved in execution; None where that was not compared."""
    path = night / UPLIFT
    if not path.exists():
        return None
    found = read_json(path)
    rows = tuple(
        UpliftRow(
            algorithm=name,
            shortfall_bps=own["shortfall_bps"],
            arrival_bps=own["arrival_bps"],
            vwap_bps=own["vwap_bps"],
            fill_rate=own["fill_rate"],
            maker_share=own["maker_share"],
            children=own["children"],
            shortfall=own["shortfall"],
            fees=own["fees"],
        )
        for name, own in ((name, found["algorithms"][name]) for name in (found["a"], found["b"]))
    )
    return Uplift(
        model=found["model"],
        sessions=tuple(found["sessions"]),
        parents=found["parents"],
        lots=found["lots"],
        minutes=found["minutes"],
        queue_model=found["queue_model"],
        difference_bps=Bounded(value=found["difference_bps"], low=found["low_bps"], high=found["high_bps"]),
        rows=rows,
    )


def surfaces(night: Path) -> SurfaceTable | None:
    """Return the night's sensitivity surfaces; None where they were not run."""
    path = night / SURFACES
    return msgspec.convert(read_json(path), SurfaceTable) if path.exists() else None

"""The stage that makes the league: every model's scores and what each earns after costs, on one clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from features.dataset import Dataset
from marketdata.paths import DataRoot
from orchestration import stopwatch
from orchestration.build_facts import build_facts
from orchestration.side_files import MLFLOW, read_json, write_json
from orchestration.stage import StageContext
from orchestration.stages_dataset import DATASET_FILE, load_dataset
from orchestration.stages_models import ModelNight, all_models, load_model_night

if TYPE_CHECKING:  # the screen's kernels are not part of loading the code location
    from backtests.evidence import NightModels
    from backtests.screen import Clock, ScreenResult
    from models.evidence import Evidence

LEAGUE: Final = "walk_forward.json"
STATISTICS: Final = "statistics.json"
SERIES: Final = "walk_forward.npz"
KINDS: Final = ("pnl", "loss", "trips", "configurations")
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """The night's series on the evidence clock.

    Attributes
    ----------
    ts_ns, day : int arrays, shape (T,)
        End of each interval, and its test day.
    days : tuple of str
    pnl, loss : dict of model to float64 array, shape (T,)
        Net profit, and mean log loss (NaN where there is no row).
    trips : dict of model to float64 array
        Net profit of each round trip.
    configurations : dict of name to float64 array, shape (T,)
        Net profit of the candidates under the other strategy parameters that were searched over.
    """

    ts_ns: npt.NDArray[np.int64]
    day: npt.NDArray[np.int32]
    days: tuple[str, ...]
    pnl: dict[str, Float64]
    loss: dict[str, Float64]
    trips: dict[str, Float64]
    configurations: dict[str, Float64]


def walk_forward_scores(context: StageContext) -> Mapping[str, Any]:
    """Screen every model's forecasts on the test rows, write the league, and show the night in MLflow."""
    settings = context.settings
    table = load_dataset(context)
    nights = {name: load_model_night(context.root, context.day, name) for name in all_models(settings)}
    rows = _common_rows(nights)
    with stopwatch.part(stopwatch.BACKTESTS):
        series, entries, searched = _screen_all(context, table.take(rows), nights)
    league: dict[str, Any] = {
        "folds": _folds(nights),
        "fold_unit": settings.training.fold_unit,
        "days": list(series.days),
        "test_rows": len(rows),
        "models": entries,
        "configurations": searched,
    }
    write_json(context.root.night(context.day) / LEAGUE, league)
    _save_series(context.root, context.day, series)
    with stopwatch.part(stopwatch.MLFLOW):
        _show_in_mlflow(context, nights, entries, series)
    best = max((name for name in settings.training.models), key=lambda name: entries[name]["net_pnl"])
    return {
        "dagster/row_count": len(rows),
        "rows_in": len(rows),
        "folds": len(league["folds"]),
        "test_days": len(series.days),
        "best_candidate": best,
        "best_net_pnl": entries[best]["net_pnl"],
        "league": {name: [entry["mcc"], entry["net_pnl"]] for name, entry in entries.items()},
    }


def _common_rows(nights: Mapping[str, ModelNight]) -> npt.NDArray[np.intp]:
    """Return the test rows, which are the same for every model."""
    first, *others = nights.values()
    for other in others:
        if not np.array_equal(first.rows, other.rows):
            raise ValueError(f"{other.summary['name']} was tested on other rows than {first.summary['name']}")
    return first.rows


def _folds(nights: Mapping[str, ModelNight]) -> list[dict[str, Any]]:
    names = ("name", "train_rows", "test_rows", "test_start_ns")
    return [{name: fold[name] for name in names} for fold in next(iter(nights.values())).summary["folds"]]


def _screen_all(
    context: StageContext, test: Dataset, nights: Mapping[str, ModelNight]
) -> tuple[Series, dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the series of all models, each one's line of the league, and what else was searched over."""
    from backtests.headlines import night_headlines
    from models.evidence import plain

    models = night_models(context, test, nights)
    configurations = _search(context, models, nights)
    evidence, results = models.evidence(trials=1, configurations=configurations)
    with stopwatch.part(stopwatch.EVIDENCE):
        write_json(
            context.root.night(context.day) / STATISTICS, plain(night_headlines(models, evidence, results).to_dict())
        )
    clock = results[models.names[0]].clock
    folds = next(iter(nights.values())).summary["folds"]
    fold_of_interval = _fold_of_interval(clock, folds)
    trips, entries = {}, {}
    for name, night in nights.items():
        result = results[name]
        trips[name] = (result.trips["gross_nanos"] - result.trips["fee_nanos"]) / 1e9
        fold_net = [float(result.pnl[fold_of_interval == k].sum()) for k in range(len(folds))]
        entries[name] = _entry(night, result, test, fold_net)
    searched = {
        name: {"net_pnl": result.net, "round_trips": result.round_trips, "holding_ns": result.holding_ns}
        for name, result in configurations.items()
    }
    series = Series(
        clock.ts_ns,
        clock.day,
        clock.days,
        dict(evidence.pnl),
        dict(evidence.loss),
        trips,
        dict(evidence.configurations),
    )
    return series, entries, searched


def _search(
    context: StageContext, models: "NightModels", nights: Mapping[str, ModelNight]
) -> "dict[str, ScreenResult]":
    """Screen every candidate under the other margins, each written down as a trial before (R15)."""
    from backtests.evidence import searched_margins
    from models.trials import Trial, TrialLedger

    margins = searched_margins(context.settings)
    trials = []
    for name in models.candidates:
        trial = nights[name].summary["trial"]
        trials += [Trial(**{**trial, "strategy": {**trial["strategy"], "edge_margin": m}}) for m in margins]
    TrialLedger(context.root).register_all(trials)
    return models.configurations(margins)


def night_models(context: StageContext, test: Dataset, nights: Mapping[str, ModelNight]) -> "NightModels":
    """Return all models' forecasts of the night's test rows, ready to be turned into evidence."""
    from backtests.evidence import NightModels
    from models.catalog import BASELINES

    forecasts = {name: night.forecasts for name, night in nights.items()}
    return NightModels.build(test, forecasts, BASELINES, context.settings)


def load_night_models(context: StageContext) -> "NightModels":
    """Return :func:`night_models` of a night that was scored."""
    nights = {name: load_model_night(context.root, context.day, name) for name in all_models(context.settings)}
    return night_models(context, load_dataset(context).take(_common_rows(nights)), nights)


def _entry(night: ModelNight, result: "ScreenResult", test: Dataset, fold_net: list[float]) -> dict[str, Any]:
    """Return a model's line of the league."""
    overall = night.summary["overall"] or {}
    unit = {item.instrument_id: item.unit_nanos for item in test.instruments}
    units = np.array([unit[int(k)] for k in result.trips["instrument_id"]], dtype=np.float64)
    notional = float((result.trips["entry_units"] * result.trips["lots"] * units).sum())
    net = float((result.trips["gross_nanos"] - result.trips["fee_nanos"]).sum())
    scores = ("mcc", "balanced_accuracy", "macro_f1", "log_loss", "ece")
    return {
        "role": night.summary["role"],
        **{name: overall.get(name) for name in scores},
        "net_pnl": result.net,
        "net_bps": 1e4 * net / notional if notional else None,
        "round_trips": result.round_trips,
        "entries": result.entries,
        "at_cap": result.at_cap,
        "holding_ns": result.holding_ns,
        "day_pnl": [float(value) for value in result.day_pnl],
        "positive_days": float((result.day_pnl > 0).mean()) if len(result.day_pnl) else None,
        "fold_mcc": [fold["scores"]["mcc"] for fold in night.summary["folds"]],
        "fold_net": fold_net,
        "bundle_key": night.summary["next"]["bundle_key"],
        "bundle_sha256": night.summary["next"]["bundle_sha256"],
        "trial_id": night.summary["trial_id"],
    }


def _fold_of_interval(clock: "Clock", folds: list[dict[str, Any]]) -> npt.NDArray[np.intp]:
    starts = np.array([fold["test_start_ns"] for fold in folds], dtype=np.int64)
    return np.maximum(np.searchsorted(starts, clock.ts_ns - 1, side="right") - 1, 0)


def _save_series(root: DataRoot, day: date, series: Series) -> None:
    folder = root.night(day)
    temporary = folder / f"{SERIES}.tmp.npz"
    arrays: dict[str, Any] = {"ts_ns": series.ts_ns, "day": series.day, "days": np.array(series.days, dtype=str)}
    for kind in KINDS:
        arrays |= {f"{kind}.{name}": values for name, values in getattr(series, kind).items()}
    np.savez(temporary, **arrays)
    temporary.replace(folder / SERIES)


def load_series(root: DataRoot, day: date) -> Series:
    """Return the night's series.

    Raises
    ------
    PartitionMissing
        If the night was not scored.
    """
    read_json(root.night(day) / LEAGUE)
    with np.load(root.night(day) / SERIES, allow_pickle=False) as stored:
        parts = {
            kind: {n.removeprefix(f"{kind}."): stored[n] for n in stored.files if n.startswith(f"{kind}.")}
            for kind in KINDS
        }
        days = tuple(str(value) for value in stored["days"])
        return Series(stored["ts_ns"], stored["day"], days, *(parts[kind] for kind in KINDS))


def build_evidence(context: StageContext, pessimistic: Mapping[str, float]) -> "Evidence":
    """Return what the gate is given: the series of all models, counts, and the pessimistic end of the band."""
    from backtests.replay import sessions_per_year
    from models.catalog import BASELINES
    from models.evidence import Evidence
    from models.trials import TrialLedger

    series = load_series(context.root, context.day)
    stored = read_json(context.root.night(context.day) / LEAGUE)
    league, searched = stored["models"], stored.get("configurations", {})
    return Evidence(
        candidates=context.settings.training.models,
        baselines=BASELINES,
        pnl=series.pnl,
        loss=series.loss,
        day=series.day,
        days=series.days,
        round_trips={name: entry["round_trips"] for name, entry in league.items()},
        pessimistic_pnl=dict(pessimistic),
        holding_ns={name: entry["holding_ns"] for name, entry in {**league, **searched}.items()},
        trials=TrialLedger(context.root).count(),
        sessions_per_year=sessions_per_year(context.settings),
        configurations=series.configurations,
    )


def _show_in_mlflow(
    context: StageContext, nights: Mapping[str, ModelNight], entries: Mapping[str, dict[str, Any]], series: Series
) -> None:
    """Write one run a model with its folds, a candidate's with plots and bundle; where each is found goes into a side file."""
    from models.tracking import FoldRun, ModelRun, NightRuns, log_night

    dataset = read_json(context.root.night(context.day) / DATASET_FILE)
    facts = build_facts(context.settings)
    runs = []
    for name, night in nights.items():
        entry, following = entries[name], night.summary["next"]
        numbers = ("net_pnl", "net_bps", "round_trips", "positive_days", "holding_ns")
        scores = night.summary["overall"] or {}
        is_candidate = night.summary["role"] == "candidate"
        if not is_candidate:  # a baseline is there for its numbers: it can never be promoted
            scores = {key: value for key, value in scores.items() if isinstance(value, int | float)}
        runs.append(
            ModelRun(
                name=name,
                role=night.summary["role"],
                params={**night.summary["hyperparameters"], "trial_id": night.summary["trial_id"]},
                scores=scores,
                metrics={key: float(entry[key]) for key in numbers if entry[key] is not None},
                folds=[
                    FoldRun(
                        fold["name"],
                        {"train_rows": fold["train_rows"], "test_rows": fold["test_rows"]},
                        {
                            **{k: float(v) for k, v in fold["scores"].items() if isinstance(v, int | float)},
                            "net_pnl": entry["fold_net"][place],
                        },
                    )
                    for place, fold in enumerate(night.summary["folds"])
                ],
                minute_pnl=series.pnl[name] if is_candidate else None,
                bundle=context.root.bundles / following["bundle_key"] if is_candidate else None,
                bundle_sha256=following["bundle_sha256"] if is_candidate else None,
                signature={
                    "inputs": dataset["columns"],
                    "fingerprint": dataset["fingerprint"],
                    "outputs": ["p_down", "p_flat", "p_up", "edge_units"],
                },
            )
        )
    tags = {
        "source": context.settings.source,
        "commit": facts.commit,
        "dirty": str(facts.dirty).lower(),
        "code_sha256": facts.code_sha256,
        "settings_sha256": facts.settings_sha256,
    }
    night_runs = NightRuns(
        day=context.day,
        dataset_sha256=dataset["content_sha256"],
        dataset_rows=dataset["rows"],
        dataset_source=f"{context.settings.source}: {len(dataset['days'])} session(s) to {context.day}",
        models=runs,
        tags=tags,
    )
    tracked = log_night(context.root, night_runs)
    found = {name: {"run_id": item.run_id, "logged_model_id": item.logged_model_id} for name, item in tracked.items()}
    write_json(context.root.night(context.day) / MLFLOW, found)

"""Stages that fit, forecast and score: one asset a family of models, then the league of them all."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.dataset import Dataset
from marketdata.partitions import load_partition
from marketdata.paths import DataRoot, PartitionKey
from marketdata.settings import Settings
from models.forecast import FORECAST_DTYPE, ForecastArray
from orchestration import companion, stopwatch
from orchestration.resources import RootResource
from orchestration.side_files import read_json, write_json
from orchestration.stage import NightStage, StageContext
from orchestration.stages_dataset import load_dataset

BASELINE_FAMILY: Final = "baselines"
TICK_INPUTS: Final[Mapping[str, tuple[str, ...]]] = {"hawkes": ("point_events",)}
"""Assets of the instrument grid that a family's fits read beside the dataset."""
_DESCRIPTIONS: Final = {
    BASELINE_FAMILY: "What every candidate has to beat: majority, persistence, last trade's sign, queue imbalance, time of day.",
    "linear": "Multinomial logit on standardised features.",
    "hawkes": "Multivariate exponential Hawkes intensities by maximum likelihood, and a logit of them.",
    "hmm": "Regimes filtered forward, as a forecaster.",
    "transformer": "A small encoder over windows of feature rows.",
    "gnn": "A graph network over the instruments' latest rows.",
}


@dataclass(frozen=True)
class ModelNight:
    """One model's walk-forward results of a night.

    Attributes
    ----------
    summary : dict
        JSON-able: folds with bundle and scores, the bundle for the next session, hyperparameters, trial.
    rows : intp array, shape (n,)
        Test rows of the night's dataset, ascending.
    fold : int16 array, shape (n,)
        Fold of each row.
    forecasts : structured array of ``FORECAST_DTYPE``, shape (n,)
    """

    summary: dict[str, Any]
    rows: npt.NDArray[np.intp]
    fold: npt.NDArray[np.int16]
    forecasts: ForecastArray


def families(settings: Settings) -> tuple[str, ...]:
    """Return the families of models of a root: the baselines, and each candidate by itself."""
    return (BASELINE_FAMILY, *settings.training.models)


def describe(family: str) -> str:
    """Return what a family is, in a sentence."""
    return _DESCRIPTIONS[family]


def model_names(family: str) -> tuple[str, ...]:
    """Return the models of a family."""
    from models.catalog import BASELINES

    return BASELINES if family == BASELINE_FAMILY else (family,)


def all_models(settings: Settings) -> tuple[str, ...]:
    """Return every model of a root, candidates first."""
    from models.catalog import BASELINES

    return (*settings.training.models, *BASELINES)


def family_stage(family: str) -> NightStage:
    """Return the stage that fits and scores a family's models."""

    def stage(context: StageContext) -> Mapping[str, Any]:
        shown: dict[str, Any] = {}
        _offer_walks(context)
        for name in model_names(family):
            with stopwatch.part(stopwatch.FITS):
                companion.take(_walk_key(context, name), walk_model, context.root, context.day, name)
            night = load_model_night(context.root, context.day, name)
            overall = night.summary["overall"]
            prefix = "" if family == name else f"{name}_"
            if overall is not None:
                shown |= {f"{prefix}mcc": overall["mcc"], f"{prefix}log_loss": overall["log_loss"]}
            shown |= {
                f"{prefix}folds": len(night.summary["folds"]),
                f"{prefix}rows_scored": len(night.rows),
                f"{prefix}bundle_sha256": night.summary["next"]["bundle_sha256"],
            }
        return shown

    return stage


def _walk_key(context: StageContext, name: str) -> tuple[str, str, date, str]:
    return "walk", str(context.root.path), context.day, name


def _offer_walks(context: StageContext) -> None:
    """Offer the night's models to its companions, last ones first: the night itself begins with the first."""
    for family in reversed(families(context.settings)):
        for name in reversed(model_names(family)):
            companion.offer(_walk_key(context, name), "walk", walk_model, context.root, context.day, name)


def walk_model(root: DataRoot, day: date, name: str) -> None:
    """Fit a model on every fold and for the next session, forecast the test rows, score, and write it all down.

    The same in any process: bundles and forecasts are named by what went into them, and their bytes depend on nothing else.
    """
    resource = RootResource(path=str(root.path))
    context = StageContext(root, root.settings(), resource, day)
    from models.evaluation import score
    from models.splits import final_fold, walk_forward_folds
    from models.training import fit_bundle, forecast_rows, probabilities_of
    from models.trials import Trial, TrialLedger

    settings = context.settings
    table = load_dataset(context)
    points = load_points(context, table) if needs_points(name) else {}
    ledger = TrialLedger(root)

    def register(trial: dict[str, Any]) -> str:
        return ledger.register(Trial(**trial))

    rows, fold_of_row, forecasts, folds = [], [], [], []
    for fold in walk_forward_folds(table, settings.training, settings.latency):
        with stopwatch.part(stopwatch.FITS):
            bundle = fit_bundle(root, settings, table, fold, name, points, before_fit=register)
        with stopwatch.part(stopwatch.FORECASTS):
            made = forecast_rows(bundle, table, fold.test, root=root)
        folds.append(
            {
                "name": fold.name,
                "bundle_key": bundle.manifest.key,
                "bundle_sha256": bundle.sha256,
                "train_rows": len(fold.train),
                "test_rows": len(fold.test),
                "test_start_ns": fold.test_start_ns,
                "scores": score(probabilities_of(made), table.y[fold.test]),
            }
        )
        rows.append(fold.test)
        fold_of_row.append(np.full(len(fold.test), len(folds) - 1, np.int16))
        forecasts.append(made)
    with stopwatch.part(stopwatch.FITS):
        final = fit_bundle(
            root, settings, table, final_fold(table, settings.training), name, points, before_fit=register
        )
    tested = np.concatenate(rows) if rows else np.empty(0, np.intp)
    made = _joined(forecasts)
    summary = {
        "name": name,
        "role": final.manifest.role,
        "folds": folds,
        "overall": score(probabilities_of(made), table.y[tested]) if len(tested) else None,
        "next": {
            "bundle_key": final.manifest.key,
            "bundle_sha256": final.sha256,
            "rows": final.manifest.rows,
            "window": final.manifest.window,
            "diagnostics": final.manifest.diagnostics,
        },
        "hyperparameters": final.manifest.hyperparameters,
        "trial": final.manifest.trial,
        "trial_id": Trial(**final.manifest.trial).trial_id,
    }
    night = ModelNight(summary, tested, np.concatenate(fold_of_row) if rows else np.empty(0, np.int16), made)
    _save(root, context.day, night)


def needs_points(name: str) -> bool:
    """Whether a model's fit reads point events."""
    from models.catalog import forecaster

    return "hawkes" in forecaster(name).parts


def load_points(context: StageContext, table: Dataset) -> dict[tuple[int, int], Any]:
    """Return the point events of the table's sessions, by position of the session and instrument id."""
    from models.hawkes_likelihood import PointEvents

    found = {}
    for place, session in enumerate(table.sessions):
        present = np.unique(table.instrument_id[table.session == place])
        for item in table.instruments:
            if item.instrument_id not in present:
                continue
            frame = load_partition(context.root, PartitionKey("point_events", session.date, item.symbol))
            times, kinds = frame.get_column("ts_recv").to_numpy(), frame.get_column("kind").to_numpy()
            found[place, item.instrument_id] = PointEvents(times, kinds)
    return found


def _joined(parts: list[ForecastArray]) -> ForecastArray:
    """Return the forecasts one after the other; field by field, so that padding is zero and equal forecasts are equal bytes."""
    joined = np.zeros(sum(len(part) for part in parts), FORECAST_DTYPE)
    for name in FORECAST_DTYPE.names or ():
        if parts:
            joined[name] = np.concatenate([part[name] for part in parts])
    return joined


def _folder(root: DataRoot, day: date) -> Path:
    return root.night(day) / "models"


def _save(root: DataRoot, day: date, night: ModelNight) -> None:
    name = night.summary["name"]
    folder = _folder(root, day)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{name}.tmp.npz"
    np.savez(temporary, rows=night.rows.astype(np.int64), fold=night.fold, forecasts=night.forecasts)
    temporary.replace(folder / f"{name}.npz")
    write_json(folder / f"{name}.json", night.summary)


def load_model_night(root: DataRoot, day: date, name: str) -> ModelNight:
    """Return a model's results of a night.

    Raises
    ------
    PartitionMissing
        If the model's stage has not run.
    """
    summary = read_json(_folder(root, day) / f"{name}.json")
    with np.load(_folder(root, day) / f"{name}.npz", allow_pickle=False) as stored:
        return ModelNight(
            summary, stored["rows"].astype(np.intp), stored["fold"], stored["forecasts"].view(FORECAST_DTYPE)
        )

"""What a night says of each model, every figure with an interval: money, forecasts, ranks, and who cannot be told from the best.

All intervals are 95 %, from one stationary bootstrap of time blocks on the evidence clock, all instruments together. The
drawdown's is that of reordered blocks, the share of positive days' the exact binomial one: a handful of days is not resampled.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from backtests.evidence import NightModels
from backtests.screen import ScreenResult
from models.bootstrap import bootstrap_means
from models.confidence_set import model_confidence_set
from models.evidence import Evidence
from models.gate import gate_version, judged_intervals
from models.intervals import Interval, block_length, drawdown_interval, figure_intervals, sharpe_interval
from models.roc import RocCurve, binned_area, roc_curve

Float64 = npt.NDArray[np.float64]
Sums = Mapping[str, Float64]

SET_LEVEL: Final = 0.9
"""Confidence of the set of models that is shown."""
ROC_BINS: Final = 40
CLASSES: Final = ("down", "flat", "up")


@dataclass(frozen=True, slots=True)
class ModelHeadlines:
    """One model's figures over all test rows.

    Attributes
    ----------
    figures : dict of name to Interval
        ``net_pnl, max_drawdown`` (quote currency), ``sharpe`` (per ``sharpe_period_ns``), ``net_bps`` (a round trip, of its
        entry's value), ``winning_share, positive_days, accuracy, mcc, balanced_accuracy, log_loss, auc_up, auc_down``.
    roc : dict of class to RocCurve
        Of up and down against the rest.
    """

    name: str
    figures: dict[str, Interval]
    sharpe_period_ns: int
    roc: dict[str, RocCurve]


@dataclass(frozen=True, slots=True)
class NightHeadlines:
    """All models' figures, and the confidence sets.

    Attributes
    ----------
    block_intervals : float
        Expected block, in intervals of the clock.
    net_p, loss_p : dict of model to float
        Confidence-set p-values by net profit and by log loss: above 0.1 the model is in the 90 % set.
    """

    models: tuple[ModelHeadlines, ...]
    block_intervals: float
    clock_ns: int
    replications: int
    net_p: dict[str, float]
    loss_p: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def night_headlines(models: NightModels, evidence: Evidence, results: Mapping[str, ScreenResult]) -> NightHeadlines:
    """Return every model's figures of a night with their intervals.

    Parameters
    ----------
    evidence, results
        As :meth:`NightModels.evidence` returns them.
    """
    settings = models.settings
    gate, seed = settings.gate, int(gate_version(settings.gate), 16)
    names = models.names
    losses = {name: np.where(np.isnan(evidence.loss[name]), 0.0, evidence.loss[name]) for name in names}
    least = 2.0 * settings.label.horizon_ns / gate.clock_ns
    known = bool(len(evidence.day))
    series = np.column_stack([evidence.pnl[n] for n in names] + [losses[n] for n in names]) if known else None
    block = block_length(series, at_least=least) if series is not None else max(1.0, least)
    found = []
    for name in names:
        figures = _figures(models, results[name], name, block, seed) if known else {}
        grouped, period_ns, _ = judged_intervals(evidence, gate, name, evidence.pnl[name])
        if known:
            figures |= _money(
                evidence, name, grouped, period_ns / gate.clock_ns, block, gate.bootstrap_replications, seed
            )
        found.append(ModelHeadlines(name, figures, period_ns, _curves(models, name)))
    net_p, loss_p = _sets(evidence, names, block, gate.bootstrap_replications, seed) if known else ({}, {})
    return NightHeadlines(tuple(found), block, gate.clock_ns, gate.bootstrap_replications, net_p, loss_p)


def _figures(models: NightModels, result: ScreenResult, name: str, block: float, seed: int) -> dict[str, Interval]:
    """Return what is a function of sums over the clock."""
    clock, trips = result.clock, result.trips
    length = len(clock.ts_ns)
    unit = {item.instrument_id: item.unit_nanos for item in models.dataset.instruments}
    value = np.array([unit[int(k)] for k in trips["instrument_id"]], np.float64) * trips["entry_units"] * trips["lots"]
    net = (trips["gross_nanos"] - trips["fee_nanos"]).astype(np.float64)
    at = np.minimum(np.searchsorted(clock.ts_ns, trips["exit_ns"]), max(length - 1, 0))
    probabilities, classes = models.probabilities(name), models.classes
    rows = np.flatnonzero(classes >= 0)
    when, came = clock.row_interval[rows], classes[rows].astype(np.int64)
    called = probabilities[rows].argmax(axis=1)

    def per_interval(place: npt.NDArray[np.int64], weights: Float64 | None = None) -> Float64:
        return np.bincount(place, weights=weights, minlength=length).astype(np.float64)

    columns: dict[str, Float64] = {
        "net": per_interval(at, net),
        "value": per_interval(at, value),
        "trips": per_interval(at),
        "paid": per_interval(at, (net > 0).astype(np.float64)),
        "loss": per_interval(when, models.row_losses(name)[rows]),
        "rows": per_interval(when),
        "confusion": np.bincount(when * 9 + came * 3 + called, minlength=9 * length).reshape(length, 9).astype(float),
    }
    for k, side in ((2, "up"), (0, "down")):
        score = probabilities[rows, k]
        edges = np.unique(np.quantile(score, np.linspace(0.0, 1.0, ROC_BINS + 1)[1:-1])) if len(rows) else score
        bins = np.searchsorted(edges, score, side="right")
        for label, chosen in (("hits", came == k), ("rest", came != k)):
            place = when[chosen] * ROC_BINS + bins[chosen]
            counts = np.bincount(place, minlength=ROC_BINS * length).reshape(length, ROC_BINS)
            columns[f"{label}_{side}"] = counts.astype(np.float64)
    figures: dict[str, Callable[[Sums], Float64]] = {
        "net_bps": lambda s: 1e4 * s["net"] / s["value"],
        "winning_share": lambda s: s["paid"] / s["trips"],
        "log_loss": lambda s: s["loss"] / s["rows"],
        "accuracy": lambda s: s["confusion"][:, [0, 4, 8]].sum(axis=1) / s["confusion"].sum(axis=1),
        "balanced_accuracy": _balanced,
        "mcc": _matthews,
        "auc_up": lambda s: binned_area(s["hits_up"], s["rest_up"]),
        "auc_down": lambda s: binned_area(s["hits_down"], s["rest_down"]),
    }
    replications = models.settings.gate.bootstrap_replications
    return figure_intervals(columns, figures, block=block, replications=replications, seed=seed)


def _balanced(sums: Sums) -> Float64:
    """Return the mean recall of the classes that came; NaN where none did."""
    table = sums["confusion"].reshape(-1, 3, 3)
    came = table.sum(axis=2)
    recall = table[:, [0, 1, 2], [0, 1, 2]] / np.maximum(came, 1.0)
    return np.asarray(recall.sum(axis=1) / (came > 0).sum(axis=1))


def _matthews(sums: Sums) -> Float64:
    """Return the multi-class Matthews correlation of each table (Gorodkin 2004); 0 for a constant margin."""
    table = sums["confusion"].reshape(-1, 3, 3)
    total, right = table.sum(axis=(1, 2)), table[:, [0, 1, 2], [0, 1, 2]].sum(axis=1)
    came, called = table.sum(axis=2), table.sum(axis=1)
    spread = (total**2 - (called**2).sum(axis=1)) * (total**2 - (came**2).sum(axis=1))
    held = spread > 0
    return np.where(held, (right * total - (came * called).sum(axis=1)) / np.sqrt(np.where(held, spread, 1.0)), 0.0)


def _money(
    evidence: Evidence, name: str, grouped: Float64, step: float, block: float, replications: int, seed: int
) -> dict[str, Interval]:
    """Return profit, its Sharpe ratio over the judged intervals, drawdown and the share of days that paid."""
    from scipy.stats import binomtest

    pnl = np.asarray(evidence.pnl[name], np.float64)
    total = figure_intervals(
        {"pnl": pnl}, {"net_pnl": lambda s: s["pnl"]}, block=block, replications=replications, seed=seed
    )
    own_block = max(1.0, block / step)
    days = len(evidence.days)
    paid = int((np.bincount(evidence.day, weights=pnl, minlength=days) > 0).sum())
    exact = binomtest(paid, days).proportion_ci(0.95, method="exact")
    return {
        **total,
        "sharpe": sharpe_interval(grouped, block=own_block, replications=replications, seed=seed),
        "max_drawdown": drawdown_interval(pnl, block=block, replications=replications, seed=seed),
        "positive_days": Interval(paid / days, float(exact.low), float(exact.high)),
    }


def _curves(models: NightModels, name: str) -> dict[str, RocCurve]:
    rows = np.flatnonzero(models.classes >= 0)
    probabilities, came = models.probabilities(name)[rows], models.classes[rows]
    return {side: roc_curve(probabilities[:, k], came == k) for k, side in ((2, "up"), (0, "down"))}


def _sets(
    evidence: Evidence, names: tuple[str, ...], block: float, replications: int, seed: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the confidence-set p-values by net profit and by log loss (intervals without rows keep their place at zero)."""
    pnl = np.column_stack([evidence.pnl[name] for name in names])
    loss = np.column_stack([evidence.loss[name] for name in names])
    known = np.all(np.isfinite(loss), axis=1)
    found: list[dict[str, float]] = []
    for series, held in ((-pnl, np.ones(len(pnl), bool)), (np.where(known[:, None], loss, 0.0), known)):
        if not held.any():
            found.append({})
            continue
        mean = series[held].mean(axis=0)
        centred = np.zeros_like(series)
        centred[held] = (series[held] - mean) / held.mean()
        p_values = model_confidence_set(mean, bootstrap_means(centred, block, replications, seed)).p_value
        found.append(dict(zip(names, p_values.tolist(), strict=True)))
    return found[0], found[1]

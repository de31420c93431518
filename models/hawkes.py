"""Fit the Hawkes process of every instrument, and forecast from its four intensities.

The fit is by maximum likelihood with fixed decays and a baseline piecewise linear in time of day (R12). Its goodness is
measured on the *next* block: the model fitted to the earlier part of the training window against the later part, beside
a Poisson process with a baseline of the same form, and beside the same events with their kinds shuffled.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.fitted.catalog import INTENSITY_COLUMNS
from features.fitted.hawkes_intensity import HawkesParams
from features.fitted.params import FitWindow
from marketdata.settings import TrainingSettings
from models.forecaster import Part, Role, TrainingBlock, Weights
from models.hawkes_likelihood import (
    KINDS,
    Features,
    Float64,
    PointEvents,
    Window,
    loglik_and_gradient,
    rescaled_gaps,
    spectral_radius,
    window_features,
)
from models.linear import LogitModel, fit_logit_model

KNOTS: Final = 8
"""Knots of the baseline over a session."""
MIN_EVENTS: Final = 50
"""Events of a kind below which it gets a constant baseline and no excitation."""
MAX_EVENTS: Final = 60_000
"""Events an instrument's fit uses: whole sessions, the newest first, one at least."""
MAX_RADIUS: Final = 0.98
"""A fit with a larger spectral radius is scaled back to this, and its baseline fitted again."""
SMOOTHNESS: Final = 1e-3
"""Weight of the squared steps between neighbouring knots, in units of the mean rate.

It carries the baseline to hours that the window has not seen."""


@dataclass(frozen=True, slots=True)
class KindFit:
    """One instrument: baseline (4, Q), excitation (4, 4, B), and the spectral radius before any scaling back."""

    baseline: Float64
    excitation: Float64
    radius: float


def fit_hawkes(
    windows: list[list[Window]], decays_per_s: tuple[float, ...], window: FitWindow, seed: int
) -> tuple[HawkesParams, dict[str, Any]]:
    """Return the parameters of every instrument and what the fits found out.

    Parameters
    ----------
    windows : list of lists of Window
        Sessions of each instrument in time order; an instrument may have none.

    Returns
    -------
    tuple
        Parameters, and a JSON-able dict: per instrument the spectral radius, events, tie share and goodness of fit.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # the package ships no types

    decays = np.asarray(decays_per_s, dtype=np.float64)
    fits, findings = [], []
    with threadpool_limits(limits=1):  # the optimiser's products of twenty numbers wake every thread there is
        for k, sessions in enumerate(windows):
            used = newest(sessions)
            found = fit_instrument(window_features(used, decays, KNOTS), decays)
            fits.append(found)
            goodness = next_block_fit(used, decays, np.random.default_rng([seed, k]))
            events = sum(len(item.events) for item in used)
            findings.append({"events": events, "spectral_radius": found.radius, **goodness})
    baseline = np.stack([item.baseline for item in fits])
    params = HawkesParams(tuple(decays_per_s), baseline, np.stack([item.excitation for item in fits]), window)
    return params, {"instruments": findings}


def newest(sessions: list[Window], most: int = MAX_EVENTS) -> list[Window]:
    """Return the newest sessions that together hold at most ``most`` events, one at least, in time order."""
    chosen: list[Window] = []
    total = 0
    for item in reversed(sessions):
        total += len(item.events)
        if chosen and total > most:
            break
        chosen.append(item)
    return chosen[::-1]


def fit_instrument(features: Features, decays: Float64, excite: bool = True) -> KindFit:
    """Return the maximum-likelihood fit of the four kinds; without ``excite`` a Poisson process, same baseline form."""
    knots = features.at.shape[1] - KINDS * len(decays)
    theta = np.stack([_fit_kind(features, i, knots, None if excite else 0.0) for i in range(KINDS)])
    alpha = theta[:, knots:].reshape(KINDS, KINDS, len(decays))
    radius = spectral_radius(alpha)
    if radius > MAX_RADIUS:
        shrink = MAX_RADIUS / radius
        alpha = alpha * shrink
        theta = np.stack([_fit_kind(features, i, knots, alpha[i].ravel()) for i in range(KINDS)])
    return KindFit(np.ascontiguousarray(theta[:, :knots]), np.ascontiguousarray(alpha), radius)


def _fit_kind(features: Features, kind: int, knots: int, fixed: Float64 | float | None) -> Float64:
    """Return (baseline, excitation) of one receiving kind; ``fixed`` excitation is kept as it is."""
    from scipy.optimize import minimize

    rows = np.ascontiguousarray(features.at[features.kind == kind])
    count, width = len(rows), features.at.shape[1]
    rate = max(count, 0.5) / max(features.span_s, 1e-9)
    theta = np.zeros(width)
    theta[:knots] = rate
    if fixed is not None:
        theta[knots:] = fixed
    if count < MIN_EVENTS:
        if fixed is None:
            return theta
        theta[:knots] = max(
            rate - float(theta[knots:] @ features.integral[knots:]) / max(features.span_s, 1e-9), 0.01 * rate
        )
        return theta
    scale = np.concatenate([np.full(knots, rate), np.ones(width - knots)])
    gradient = np.empty(width)

    def objective(free: Float64) -> tuple[float, Float64]:
        value = loglik_and_gradient(free * scale, rows, features.integral, gradient)
        steps = np.diff(free[:knots])
        pull = np.zeros(width)
        pull[1:knots] += SMOOTHNESS * steps
        pull[: knots - 1] -= SMOOTHNESS * steps
        return -value / count + 0.5 * SMOOTHNESS * float(steps @ steps), -gradient * scale / count + pull

    start = np.concatenate([np.full(knots, 0.5), np.full(width - knots, 0.4 / (width - knots))])
    bounds: list[tuple[float, float | None]] = [(1e-6, None)] * knots
    if fixed is None:
        bounds += [(0.0, None)] * (width - knots)
    else:
        start[knots:] = theta[knots:]
        bounds += [(float(v), float(v)) for v in theta[knots:]]
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300, "ftol": 1e-10}
    )
    return np.asarray(found.x * scale)


def next_block_fit(sessions: list[Window], decays: Float64, generator: np.random.Generator) -> dict[str, Any]:
    """Return how a fit to the earlier part explains the next block, beside Poisson and shuffled kinds.

    The next block is the last fifth of the sessions, one at least, or the last fifth of the only one.

    Returns
    -------
    dict
        ``tie_share``; ``loglik_per_event`` (nats) and ``ks`` (mean over kinds of the Kolmogorov distance of rescaled
        gaps from the unit exponential, 0 is perfect) for ``hawkes`` and ``poisson``; ``shuffled_loglik_per_event``.
        Empty without enough events.
    """
    earlier, later = _cut(sessions)
    train, test = window_features(earlier, decays, KNOTS), window_features(later, decays, KNOTS)
    if min(len(train.kind), len(test.kind)) < KINDS * MIN_EVENTS:
        return {}
    report: dict[str, Any] = {"tie_share": test.tie_share}
    for name, excite in (("hawkes", True), ("poisson", False)):
        fit = fit_instrument(train, decays, excite)
        theta = np.concatenate([fit.baseline, fit.excitation.reshape(KINDS, -1)], axis=1)
        report[name] = {
            "loglik_per_event": _loglik(theta, test) / len(test.kind),
            "ks": _distance(theta, later, decays),
        }
        if excite:
            shuffled = window_features(
                [_with_kinds(item, generator.permutation(item.events.kind)) for item in later], decays, KNOTS
            )
            report["shuffled_loglik_per_event"] = _loglik(theta, shuffled) / len(shuffled.kind)
    return report


def _cut(sessions: list[Window]) -> tuple[list[Window], list[Window]]:
    if len(sessions) != 1:
        place = len(sessions) - max(len(sessions) // 5, 1)
        return sessions[:place], sessions[place:]
    only = sessions[0]
    at = only.start_ns + (only.end_ns - only.start_ns) * 4 // 5
    cut = int(np.searchsorted(only.events.ts_ns, at))
    early = PointEvents(only.events.ts_ns[:cut], only.events.kind[:cut])
    late = PointEvents(only.events.ts_ns[cut:], only.events.kind[cut:])
    span = only.open_ns, only.close_ns
    return [Window(early, *span, only.start_ns, at)], [Window(late, *span, at, only.end_ns)]


def _with_kinds(window: Window, kind: npt.NDArray[np.uint8]) -> Window:
    return replace(window, events=PointEvents(window.events.ts_ns, kind))


def _loglik(theta: Float64, features: Features) -> float:
    gradient = np.empty(theta.shape[1])
    return sum(
        loglik_and_gradient(
            theta[i], np.ascontiguousarray(features.at[features.kind == i]), features.integral, gradient
        )
        for i in range(KINDS)
    )


def _distance(theta: Float64, windows: list[Window], decays: Float64) -> float:
    """Return the Kolmogorov distance of rescaled gaps from the unit exponential, mean over kinds."""
    distances = []
    for i in range(KINDS):
        gaps = np.concatenate(
            [rescaled_gaps(theta[i], w.events.ts_ns, w.events.kind, decays, w.open_ns, w.close_ns, i) for w in windows]
        )
        if len(gaps) >= MIN_EVENTS:
            distances.append(exponential_distance(gaps))
    return float(np.mean(distances)) if distances else float("nan")


def exponential_distance(gaps: Float64) -> float:
    """Return the Kolmogorov distance between gaps and the unit exponential law."""
    law = 1.0 - np.exp(-np.sort(gaps))
    steps = np.arange(len(gaps) + 1) / len(gaps)
    return float(max(np.abs(law - steps[1:]).max(), np.abs(law - steps[:-1]).max()))


@dataclass(frozen=True, slots=True)
class HawkesForecaster:
    """A logit on the four log intensities and their two contrasts."""

    name: str = "hawkes"
    role: Role = "candidate"
    parts: tuple[Part, ...] = ("hawkes", "anomaly")
    penalty: float = 1e-4

    def hyperparameters(self, training: TrainingSettings) -> dict[str, Any]:
        """Return the knots, the event cap and the penalty; the decays belong to the sampling settings."""
        return {"penalty": self.penalty, "knots": KNOTS, "max_events": MAX_EVENTS, "max_radius": MAX_RADIUS}

    def fit(self, block: TrainingBlock, training: TrainingSettings, seed: int) -> LogitModel:
        """Return the fitted logit; the intensities were fitted with the design."""
        own = {*INTENSITY_COLUMNS, *(name for name in block.rows.columns if name.startswith("is_"))}
        return fit_logit_model(block, [name for name in block.rows.columns if name in own], self.penalty)

    def restore(self, weights: Weights) -> LogitModel:
        """Return the model of these weights."""
        return LogitModel.restore(weights)

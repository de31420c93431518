"""Fit the regimes (pomegranate), and forecast with a logit whose coefficients change with the regime.

pomegranate fits in float64 on sequences of at most 10,000 steps; its exported parameters are served by the forward
filter of :mod:`features.fitted.regimes`. Its own ``predict_proba`` is smoothed, so it is not used for anything.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.dataset import Dataset
from features.fitted.params import FitWindow
from features.fitted.regimes import RegimeParams
from features.fitted.scaler import ScalerParams, standardise
from marketdata.settings import TrainingSettings
from models.evaluation import score
from models.forecaster import DesignRows, Float64, NoState, Part, Role, TrainingBlock, Weights
from models.linear import Logit, fit_logit, logit_probabilities

STATES: Final = 3
OBSERVED: Final = ("realised_vol_bps_", "trade_intensity_", "spread_bps")
"""Beginnings of the names of the features that a regime is seen by: how fast, how busy, how wide."""
FEW: Final = (
    "depth_imbalance_l1",
    "weighted_mid_bps",
    "ofi_best_",
    "trade_imbalance_",
    "mid_return_bps_",
    "last_trade_sign",
)
"""Beginnings of the names of the features whose coefficients change with the regime."""
SEQUENCE: Final = 400
"""Steps of a sequence."""
MAX_SEQUENCES: Final = 48
"""Sequences a fit uses, spread evenly over the window."""
ITERATIONS: Final = 12
STAY: Final = 0.98
"""Probability of staying in a regime that the fit starts from."""
MIN_VARIANCE: Final = 1e-3


def observed_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the features that a regime is seen by: of each kind the first whose window is not the shortest."""
    chosen = []
    for prefix in OBSERVED:
        found = [name for name in columns if name.startswith(prefix)]
        if found:
            chosen.append(found[min(1, len(found) - 1)])
    return tuple(chosen)


def fit_regimes(
    train: Dataset, places: npt.NDArray[np.int64], scaler: ScalerParams, window: FitWindow, seed: int
) -> RegimeParams | None:
    """Return the fitted regimes, calm first; None where there is too little to fit them on.

    Parameters
    ----------
    places : int64 array, shape (n,)
        Position of each row's instrument.
    """
    columns = observed_columns(train.columns)
    at = [train.columns.index(name) for name in columns]
    sequences = _sequences(train, places)
    if not columns or len(sequences) < STATES:
        return None
    z = standardise(scaler, places, train.x)[:, at].astype(np.float64)
    varied = np.flatnonzero(z.std(axis=0) > 1e-6)
    if not len(varied):
        return None
    columns, z = tuple(columns[k] for k in varied), z[:, varied]
    fitted = _baum_welch(np.stack([z[rows] for rows in sequences]), seed)
    if fitted is None:
        return None
    start, transition, mean, variance = fitted
    order = np.argsort(mean[:, 0], kind="stable")
    return RegimeParams(columns, start[order], transition[np.ix_(order, order)], mean[order], variance[order], window)


def _sequences(train: Dataset, places: npt.NDArray[np.int64]) -> list[npt.NDArray[np.intp]]:
    """Return rows of one instrument and session, at most :data:`SEQUENCE` at a time, all of one length."""
    groups = train.session.astype(np.int64) * (int(places.max()) + 1) + places
    members = [np.flatnonzero(groups == value) for value in np.unique(groups)]
    length = min(SEQUENCE, max((len(rows) for rows in members), default=0))
    if length < 20:
        return []
    cut = [rows[k : k + length] for rows in members for k in range(0, len(rows) - length + 1, length)]
    if len(cut) <= MAX_SEQUENCES:
        return cut
    return [cut[int(k)] for k in np.linspace(0, len(cut) - 1, MAX_SEQUENCES)]


def load_pomegranate() -> None:
    """Import pomegranate without compiling what a fit never calls.

    It imports apricot for a way to start mixtures that is not ours, and apricot compiles kernels while it is imported, in every
    process anew: three seconds. Inside of this function numba leaves them as plain Python, which gives the same numbers.
    """
    from numba import config

    compiles_nothing: Any = config.DISABLE_JIT
    config.DISABLE_JIT = 1
    try:
        import pomegranate.hmm  # noqa: F401 - imported for its loading alone
    finally:
        config.DISABLE_JIT = compiles_nothing


def _baum_welch(z: npt.NDArray[np.float64], seed: int) -> tuple[Float64, Float64, Float64, Float64] | None:
    """Return (start, transition, mean, variance) after EM from quantiles of the first column; None if it diverged."""
    import torch

    load_pomegranate()
    from pomegranate.distributions import Normal
    from pomegranate.hmm import DenseHMM

    # Features that repeat a value to the bit (a spread of one tick) would let a state's variance collapse to nothing.
    z = z + np.random.default_rng(seed).normal(scale=MIN_VARIANCE**0.5, size=z.shape)
    flat = z.reshape(-1, z.shape[2])
    level = np.digitize(flat[:, 0], np.quantile(flat[:, 0], np.linspace(0, 1, STATES + 1)[1:-1]))
    parts = [flat[level == k] if (level == k).sum() > 1 else flat for k in range(STATES)]
    stay = np.full((STATES, STATES), (1.0 - STAY) / STATES) + np.eye(STATES) * (STAY - (1.0 - STAY) / STATES)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = DenseHMM(
            [
                Normal(
                    torch.tensor(part.mean(axis=0)),
                    torch.tensor(part.var(axis=0) + MIN_VARIANCE),
                    covariance_type="diag",
                )
                for part in parts
            ],
            edges=torch.tensor(stay * 0.999),
            starts=torch.full((STATES,), 1.0 / STATES, dtype=torch.float64),
            ends=torch.full((STATES,), 1e-3, dtype=torch.float64),
            max_iter=ITERATIONS,
            tol=1e-3,
            random_state=seed,
        )
        model.double()  # its own buffers are float32 otherwise, where long sequences end in NaN
        model.fit(torch.tensor(z))
        mean = np.stack([item.means.numpy() for item in model.distributions])
        variance = np.stack([item.covs.numpy() for item in model.distributions])
        start, transition = np.exp(model.starts.numpy()), np.exp(model.edges.numpy())
    except ValueError:  # pomegranate's answer to a state that has lost all its rows
        return None
    finally:
        torch.set_num_threads(threads)
    variance = np.maximum(variance, MIN_VARIANCE)
    start, transition = start + 1e-6, transition + 1e-9
    found = start / start.sum(), transition / transition.sum(axis=1, keepdims=True), mean, variance
    return found if all(np.isfinite(part).all() for part in found) else None


@dataclass(frozen=True, slots=True)
class RegimeModel:
    """A logit on few features, on the regime probabilities, and on the products of both."""

    weights: Weights

    def init(self) -> NoState:
        """Return the empty state; the filter's state belongs to the design."""
        return NoState()

    def step(self, state: NoState, rows: DesignRows) -> tuple[NoState, Float64]:
        """Return the probabilities row by row."""
        logit = Logit(self.weights.arrays["coefficients"], self.weights.arrays["intercepts"])
        return state, logit_probabilities(logit, interacted(rows))

    def forecast(self, rows: DesignRows, session: npt.NDArray[np.int64]) -> Float64:
        """Return the probabilities of all rows."""
        return self.step(NoState(), rows)[1]


def interacted(rows: DesignRows) -> npt.NDArray[np.float32]:
    """Return few features, regimes, instruments, and features times regimes: products only, so a row's own bits."""
    few = rows.x[:, [k for k, name in enumerate(rows.columns) if name.startswith(FEW)]]
    regimes = rows.x[:, [k for k, name in enumerate(rows.columns) if name.startswith("regime_")]]
    marks = rows.x[:, [k for k, name in enumerate(rows.columns) if name.startswith("is_")]]
    products = [few * regimes[:, k : k + 1] for k in range(regimes.shape[1])]
    return np.concatenate([few, regimes, marks, *products], axis=1)


@dataclass(frozen=True, slots=True)
class RegimeForecaster:
    """State-conditional class probabilities from filtered regimes and few features."""

    name: str = "hmm"
    role: Role = "candidate"
    parts: tuple[Part, ...] = ("regimes", "anomaly")
    penalty: float = 1e-3

    def hyperparameters(self, training: TrainingSettings) -> dict[str, Any]:
        """Return the states, what they are seen by, the EM budget and the penalty."""
        return {
            "penalty": self.penalty,
            "states": STATES,
            "observed": list(OBSERVED),
            "few": list(FEW),
            "iterations": ITERATIONS,
            "sequences": [MAX_SEQUENCES, SEQUENCE],
        }

    def fit(self, block: TrainingBlock, training: TrainingSettings, seed: int) -> RegimeModel:
        """Return the fitted logit; the regimes were fitted with the design."""
        x = interacted(block.rows)
        inner: dict[str, Any] = {}
        if len(block.train) and len(block.valid):
            trial = fit_logit(x[block.train], block.y[block.train], self.penalty, tolerance=1e-3)
            inner = score(logit_probabilities(trial, x[block.valid]), block.y[block.valid])
        logit = fit_logit(x[block.loss], block.y[block.loss], self.penalty)
        arrays = {"coefficients": logit.coefficients, "intercepts": logit.intercepts}
        return RegimeModel(Weights(arrays, {"form": "regime_logit"}, {"inner": inner}))

    def restore(self, weights: Weights) -> RegimeModel:
        """Return the model of these weights."""
        return RegimeModel(weights)

"""From raw feature rows to the matrix that models see: scaler, fitted features of every kind, instruments.

The parameters are fitted inside each fold and travel in the bundle (R8). ``design_step`` is one fold over rows: a row
at a time or a session at once give the same bits.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from features.dataset import Dataset
from features.fitted.anomaly import AnomalyParams, throttle
from features.fitted.catalog import FITTED, INTENSITY_COLUMNS
from features.fitted.family import FittedParams, RowBatch
from features.fitted.hawkes_intensity import HawkesParams, count_columns, intensities
from features.fitted.params import FitWindow, params_hash
from features.fitted.regimes import RegimeParams, RegimeState, filter_regimes, init_regimes
from features.fitted.scaler import ScalerParams, standardise
from marketdata.clock import NS_PER_DAY, Session
from models.forecaster import DesignRows

CLIP: Final = 8.0
"""Standardised values are cut at ± this many deviations."""
MIN_ROWS: Final = 30
"""Known values below which an instrument's own mean and deviation give way to the pooled ones."""


@dataclass(frozen=True, slots=True)
class DesignParams:
    """Fitted parameters of the design.

    Attributes
    ----------
    symbols : tuple of str
        Instruments, in the order of every per-instrument array; one indicator column each.
    regimes, hawkes : params or None
        None where the model does without; their columns are then absent.
    intensity_centre, intensity_scale : float64 arrays, shape (I, 6)
        Training mean and deviation of :data:`INTENSITY_COLUMNS`.
    session_open_ns, session_length_ns : int
        The last training session, for rows whose session is not stated.
    members : tuple of (name, params)
        Members of :data:`features.fitted.catalog.FITTED`, in its order.
    member_centre, member_scale : float64 arrays, shape (I, C)
        Training mean and deviation of their C columns.
    regime_shares : tuple of float
        Share of a bet by regime, calmest first; empty where bets do not depend on it. Where no regimes could be fitted the
        smallest holds.
    """

    symbols: tuple[str, ...]
    scaler: ScalerParams
    regimes: RegimeParams | None
    hawkes: HawkesParams | None
    intensity_centre: npt.NDArray[np.float64]
    intensity_scale: npt.NDArray[np.float64]
    session_open_ns: int
    session_length_ns: int
    members: tuple[tuple[str, FittedParams], ...]
    member_centre: npt.NDArray[np.float64]
    member_scale: npt.NDArray[np.float64]
    regime_shares: tuple[float, ...] = ()

    @property
    def anomaly(self) -> AnomalyParams | None:
        """The anomaly score's parameters, None where the model does without."""
        return next((params for _, params in self.members if isinstance(params, AnomalyParams)), None)

    @property
    def member_columns(self) -> tuple[str, ...]:
        """Names of the members' columns."""
        return tuple(name for _, params in self.members for name in params.columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the design's columns."""
        names = list(self.scaler.columns)
        if self.regimes is not None:
            names += [f"regime_{k}" for k in range(self.regimes.states)]
        if self.hawkes is not None:
            names += INTENSITY_COLUMNS
        return (*names, *self.member_columns, *(f"is_{symbol}" for symbol in self.symbols))

    @property
    def sha256(self) -> str:
        """Hash of everything that decides what a column means and how it is computed."""
        parts = [self.scaler.sha256, *(p.sha256 if p is not None else None for p in (self.regimes, self.hawkes))]
        specification = [list(self.symbols), parts, CLIP, [(name, params.sha256) for name, params in self.members]]
        if self.regime_shares:
            specification.append(list(self.regime_shares))
        arrays = {
            "centre": self.intensity_centre,
            "scale": self.intensity_scale,
            "member_centre": self.member_centre,
            "member_scale": self.member_scale,
        }
        return params_hash("design", specification, arrays)


class DesignState(NamedTuple):
    """Filtered regimes, and the session's open and length in nanoseconds (a length of 0: not stated)."""

    regimes: RegimeState
    session_ns: npt.NDArray[np.int64]


def init_design(params: DesignParams, session: Session | None = None) -> DesignState:
    """Return the state at a session's open.

    Parameters
    ----------
    session : Session, optional
        Places rows in the day. Without it the last training session's hours are taken, on the day of the row in UTC:
        the same to the bit as long as the market keeps its hours.
    """
    count = len(params.symbols)
    if params.regimes is None:
        regimes = RegimeState(np.empty((count, 0)), np.zeros(count, dtype=np.bool_))
    else:
        regimes = init_regimes(params.regimes, count)
    span = (0, 0) if session is None else (session.open_ns, session.close_ns - session.open_ns)
    return DesignState(regimes, np.array(span, dtype=np.int64))


def design_step(
    params: DesignParams,
    state: DesignState,
    instrument: npt.NDArray[np.int64],
    ts_recv: npt.NDArray[np.int64],
    raw: npt.NDArray[np.float32],
    matured: npt.NDArray[np.int8],
) -> tuple[DesignState, DesignRows]:
    """Return the state after the rows and the rows as models see them.

    Parameters
    ----------
    instrument : int64 array, shape (n,)
        Position in ``params.symbols``.
    raw : float32 array, shape (n, F)
        Raw features in the order of the scaler's columns.
    """
    parts = [standardise(params.scaler, instrument, raw)]
    share_of_bet = np.full(len(raw), min(params.regime_shares)) if params.regime_shares else None
    if params.regimes is not None:
        places = [params.scaler.columns.index(name) for name in params.regimes.columns]
        regimes, probability = filter_regimes(params.regimes, state.regimes, instrument, parts[0][:, places])
        state = state._replace(regimes=regimes)
        parts.append((probability - 1.0 / params.regimes.states).astype(np.float32))
        if params.regime_shares:
            share_of_bet = np.zeros(len(raw))
            for k, share in enumerate(
                params.regime_shares
            ):  # a sum in one order: a row's bits do not depend on its neighbours
                share_of_bet += probability[:, k] * share
    if params.hawkes is not None:
        columns = intensity_columns(params, state, instrument, ts_recv, raw)
        scaled = np.empty(columns.shape, dtype=np.float32)
        _scale(columns, instrument, params.intensity_centre, params.intensity_scale, CLIP, scaled)
        parts.append(scaled)
    if params.members:
        columns = member_columns(params, state, instrument, ts_recv, raw)
        scaled = np.empty(columns.shape, dtype=np.float32)
        _scale(columns, instrument, params.member_centre, params.member_scale, CLIP, scaled)
        parts.append(scaled)
        if params.anomaly is not None:
            score = columns[:, params.member_columns.index(params.anomaly.columns[0])]
            throttled = throttle(score, params.anomaly.threshold[instrument])
            share_of_bet = throttled if share_of_bet is None else share_of_bet * throttled
    parts.append(np.eye(len(params.symbols), dtype=np.float32)[instrument])
    x = np.concatenate(parts, axis=1)
    return state, DesignRows(params.scaler.columns, params.columns, ts_recv, instrument, raw, x, matured, share_of_bet)


def member_columns(
    params: DesignParams,
    state: DesignState,
    instrument: npt.NDArray[np.int64],
    ts_recv: npt.NDArray[np.int64],
    raw: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Return the members' columns before scaling, shape (n, C), in their own units; NaN where a row does not say."""
    batch = RowBatch(instrument, _elapsed_share(params, state, ts_recv), raw)
    return np.concatenate([member.step(batch) for _, member in params.members], axis=1)


def intensity_columns(
    params: DesignParams,
    state: DesignState,
    instrument: npt.NDArray[np.int64],
    ts_recv: npt.NDArray[np.int64],
    raw: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Return :data:`INTENSITY_COLUMNS` before scaling: log intensities (events per second) and contrasts in [-1, 1]."""
    hawkes = params.hawkes
    if hawkes is None:
        raise ValueError("the design has no Hawkes parameters")
    names = count_columns(len(hawkes.decays_per_s))
    places = [params.scaler.columns.index(name) for name in names]
    rates = intensities(hawkes, instrument, _elapsed_share(params, state, ts_recv), raw[:, places])
    out = np.empty((len(rates), len(INTENSITY_COLUMNS)))
    _contrasts(rates, out)
    return out


def _elapsed_share(params: DesignParams, state: DesignState, ts_recv: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    opened, length = int(state.session_ns[0]), int(state.session_ns[1])
    if length > 0:
        return np.clip((ts_recv - opened) / length, 0.0, 1.0)
    elapsed = (ts_recv - params.session_open_ns) % NS_PER_DAY
    return np.clip(elapsed / params.session_length_ns, 0.0, 1.0)


@njit(cache=True)
def _contrasts(rates: npt.NDArray[np.float64], out: npt.NDArray[np.float64]) -> None:
    for n in range(rates.shape[0]):
        for i in range(4):
            out[n, i] = np.log(rates[n, i])
        out[n, 4] = (rates[n, 0] - rates[n, 1]) / (rates[n, 0] + rates[n, 1])
        out[n, 5] = (rates[n, 2] - rates[n, 3]) / (rates[n, 2] + rates[n, 3])


@njit(cache=True)
def _scale(
    values: npt.NDArray[np.float64],
    instrument: npt.NDArray[np.int64],
    centre: npt.NDArray[np.float64],
    scale: npt.NDArray[np.float64],
    clip: float,
    out: npt.NDArray[np.float32],
) -> None:
    for n in range(values.shape[0]):
        k = instrument[n]
        for f in range(values.shape[1]):
            z = 0.0
            if scale[k, f] > 0.0 and not np.isnan(values[n, f]):
                z = (values[n, f] - centre[k, f]) / scale[k, f]
            out[n, f] = np.float32(min(max(z, -clip), clip))


def fit_scaler(train: Dataset, instrument: npt.NDArray[np.int64], window: FitWindow) -> ScalerParams:
    """Return the mean and deviation of each instrument's known values over the training rows."""
    centre, scale = centre_and_scale(train.x, instrument, len(train.instruments))
    return ScalerParams(train.columns, centre, scale, CLIP, window)


def centre_and_scale(
    x: npt.NDArray[np.floating[Any]], instrument: npt.NDArray[np.int64], instruments: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return per-instrument means and deviations, shape (I, F), from known values.

    An instrument with fewer than :data:`MIN_ROWS` known values of a column takes the pooled ones; a column that is
    constant or never known gets a scale of 0.
    """
    pooled = _moments(x)
    centre, scale = np.empty((2, instruments, x.shape[1]))
    for k in range(instruments):
        own = _moments(x[instrument == k])
        enough = own[0] >= MIN_ROWS
        centre[k] = np.where(enough, own[1], pooled[1])
        scale[k] = np.where(enough, own[2], pooled[2])
    scale[scale <= 1e-9 * np.maximum(1.0, np.abs(centre))] = 0.0
    return centre, scale


def _moments(x: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return known counts, means and deviations of columns, shape (3, F); 0 where nothing is known."""
    known = np.isfinite(x)
    count = known.sum(axis=0)
    values = np.where(known, x, 0.0).astype(np.float64)
    mean = values.sum(axis=0) / np.maximum(count, 1)
    gap = np.where(known, values - mean, 0.0)
    return np.stack([count, mean, np.sqrt((gap * gap).sum(axis=0) / np.maximum(count, 1))])


def design_arrays(params: DesignParams) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Return the design as named arrays and a JSON-able description, for a bundle."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "scaler.centre": params.scaler.centre,
        "scaler.scale": params.scaler.scale,
        "intensity.centre": params.intensity_centre,
        "intensity.scale": params.intensity_scale,
    }
    window = params.scaler.window
    config: dict[str, Any] = {
        "symbols": list(params.symbols),
        "columns": list(params.scaler.columns),
        "clip": params.scaler.clip,
        "window": [window.start_ns, window.end_ns, window.ts_known],
        "session": [params.session_open_ns, params.session_length_ns],
        "sha256": params.sha256,
    }
    if params.regime_shares:
        config["regime_shares"] = list(params.regime_shares)
    if params.regimes is not None:
        regimes = params.regimes
        for name in ("start", "transition", "mean", "variance"):
            arrays[f"regimes.{name}"] = getattr(regimes, name)
        config["regimes"] = list(regimes.columns)
    if params.hawkes is not None:
        arrays["hawkes.baseline"] = params.hawkes.baseline
        arrays["hawkes.excitation"] = params.hawkes.excitation
        config["hawkes"] = list(params.hawkes.decays_per_s)
    config["members"] = {}
    for name, member in params.members:
        own, description = member.to_arrays()
        arrays |= {f"{name}.{key}": value for key, value in own.items()}
        config["members"][name] = {"sha256": member.sha256, **description}
    if params.members:
        arrays |= {"members.centre": params.member_centre, "members.scale": params.member_scale}
    return arrays, config


def design_from_arrays(arrays: dict[str, npt.NDArray[Any]], config: dict[str, Any]) -> DesignParams:
    """Return the design that :func:`design_arrays` took apart."""
    window = FitWindow(*config["window"])
    regimes = hawkes = None
    if "regimes" in config:
        named = {name: arrays[f"regimes.{name}"] for name in ("start", "transition", "mean", "variance")}
        regimes = RegimeParams(tuple(config["regimes"]), **named, window=window)
    if "hawkes" in config:
        hawkes = HawkesParams(tuple(config["hawkes"]), arrays["hawkes.baseline"], arrays["hawkes.excitation"], window)
    scaler = ScalerParams(
        tuple(config["columns"]), arrays["scaler.centre"], arrays["scaler.scale"], config["clip"], window
    )
    members = []
    for name, member in FITTED.items():
        if name in config["members"]:
            own = {key.removeprefix(f"{name}."): value for key, value in arrays.items() if key.startswith(f"{name}.")}
            members.append((name, member.restore(own, config["members"][name], window)))
    none = np.zeros((len(config["symbols"]), 0))
    return DesignParams(
        tuple(config["symbols"]),
        scaler,
        regimes,
        hawkes,
        arrays["intensity.centre"],
        arrays["intensity.scale"],
        int(config["session"][0]),
        int(config["session"][1]),
        tuple(members),
        arrays.get("members.centre", none),
        arrays.get("members.scale", none),
        tuple(config.get("regime_shares", ())),
    )

"""Fit the design of a fold: scaler, regimes and Hawkes processes, each kept by the hash of what it was fitted on.

Models of one fold share these fits, so each is made once a fold.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.dataset import Dataset
from features.fitted.catalog import FITTED, INTENSITY_COLUMNS
from features.fitted.family import FittedFeature, FittedParams
from features.fitted.hawkes_intensity import HawkesParams, count_columns
from features.fitted.params import FitWindow
from features.fitted.regimes import RegimeParams
from features.fitted.scaler import ScalerParams
from marketdata.paths import DataRoot
from marketdata.settings import Settings
from models.design import (
    CLIP,
    DesignParams,
    centre_and_scale,
    fit_scaler,
    init_design,
    intensity_columns,
    member_columns,
)
from models.forecaster import Part, session_slices
from models.hawkes import fit_hawkes
from models.hawkes_likelihood import PointEvents, Window
from models.hmm import fit_regimes

Found = tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]


def fit_design(
    root: DataRoot,
    settings: Settings,
    train: Dataset,
    places: npt.NDArray[np.int64],
    points: Mapping[tuple[int, int], PointEvents],
    window: FitWindow,
    parts: tuple[Part, ...],
    seed: int,
    rows_stamp: str,
    points_stamp: str,
) -> tuple[DesignParams, dict[str, Any]]:
    """Return the fitted design of a training window and what its fits found out, JSON-able.

    Parameters
    ----------
    train : Dataset
        Rows of the window; no label of theirs is read.
    places : int64 array, shape (n,)
        Position of each row's instrument.
    points : mapping
        Point events by (session, instrument id) of the window.
    parts : tuple
        Fitted features wanted beside the scaler. One that the rows cannot give (no such columns, too little data) is
        left out. Where bets depend on the regime, every model has regimes.
    rows_stamp, points_stamp : str
        Hashes of what the fits read, rows or rows and point events; they name the fits in ``root.folds``.
    """
    findings: dict[str, Any] = {}
    shares = settings.sizing.regime_shares or ()
    if shares and "regimes" not in parts:
        parts = (*parts, "regimes")

    def scaled() -> Found:
        scaler = fit_scaler(train, places, window)
        return {"centre": scaler.centre, "scale": scaler.scale}, {}

    arrays, _ = _once(root, "scaler", rows_stamp, seed, scaled)
    scaler = ScalerParams(train.columns, arrays["centre"], arrays["scale"], CLIP, window)
    regimes = _regimes(root, train, places, scaler, window, seed, rows_stamp) if "regimes" in parts else None
    if regimes is not None:
        findings["regimes"] = {
            "columns": list(regimes.columns),
            "mean": regimes.mean.tolist(),
            "stay": np.diag(regimes.transition).tolist(),
        }
    hawkes = None
    if "hawkes" in parts:
        hawkes, findings["hawkes"] = _hawkes(root, settings, train, points, window, seed, points_stamp)
    last = train.sessions[int(train.session[-1])]
    count = len(train.instruments)
    blank = np.zeros((2, count, len(INTENSITY_COLUMNS)))
    members = []
    for name, member in FITTED.items():
        fitted = _member(root, member, train, places, window, seed, rows_stamp) if name in parts else None
        if fitted is not None:
            members.append((name, fitted))
    params = DesignParams(
        tuple(item.symbol for item in train.instruments),
        scaler,
        regimes,
        hawkes,
        blank[0],
        blank[1],
        last.open_ns,
        last.close_ns - last.open_ns,
        tuple(members),
        np.zeros((count, 0)),
        np.zeros((count, 0)),
        shares,
    )
    if hawkes is not None:
        params = _with_intensity_scale(params, train, places)
    if members:
        params = _with_member_scale(params, train, places)
    return params, findings


def _regimes(
    root: DataRoot,
    train: Dataset,
    places: npt.NDArray[np.int64],
    scaler: ScalerParams,
    window: FitWindow,
    seed: int,
    stamp: str,
) -> RegimeParams | None:
    def fit() -> Found:
        found = fit_regimes(train, places, scaler, window, seed)
        if found is None:
            return {}, {"columns": []}
        names = ("start", "transition", "mean", "variance")
        return {name: getattr(found, name) for name in names}, {"columns": list(found.columns)}

    arrays, config = _once(root, "regimes", stamp, seed, fit)
    return RegimeParams(tuple(config["columns"]), **arrays, window=window) if config["columns"] else None


def _member(
    root: DataRoot,
    member: FittedFeature,
    train: Dataset,
    places: npt.NDArray[np.int64],
    window: FitWindow,
    seed: int,
    stamp: str,
) -> FittedParams | None:
    def fit() -> Found:
        params = member.fit(train, places, window)
        if params is None:
            return {}, {}
        arrays, config = params.to_arrays()
        return arrays, {"params": config}

    arrays, config = _once(root, member.name, stamp, seed, fit)
    return member.restore(arrays, config["params"], window) if config else None


def _hawkes(
    root: DataRoot,
    settings: Settings,
    train: Dataset,
    points: Mapping[tuple[int, int], PointEvents],
    window: FitWindow,
    seed: int,
    stamp: str,
) -> tuple[HawkesParams | None, dict[str, Any]]:
    decays = tuple(settings.sampling.decays_per_s)
    if not points or not set(count_columns(len(decays))) <= set(train.columns):
        return None, {}

    def fit() -> Found:
        watched = hawkes_windows(train, points, window)
        params, found = fit_hawkes(watched, decays, window, seed)
        for item, instrument in zip(found["instruments"], train.instruments, strict=True):
            item["symbol"] = instrument.symbol
        return {"baseline": params.baseline, "excitation": params.excitation}, found

    arrays, found = _once(root, "hawkes", stamp, seed, fit)
    return HawkesParams(decays, arrays["baseline"], arrays["excitation"], window), found


def hawkes_windows(
    train: Dataset, points: Mapping[tuple[int, int], PointEvents], window: FitWindow
) -> list[list[Window]]:
    """Return each instrument's sessions as watched windows; the last session is watched up to the last row or event."""
    watched: list[list[Window]] = []
    for item in train.instruments:
        own = []
        for k, session in enumerate(train.sessions):
            events = points.get((k, item.instrument_id))
            if events is None:
                continue
            inside = (events.ts_ns >= session.open_ns) & (events.ts_ns < session.close_ns)
            events = PointEvents(events.ts_ns[inside], events.kind[inside])
            end = session.close_ns
            if k == len(train.sessions) - 1:
                end = min(end, max(window.end_ns, int(events.ts_ns[-1]) if len(events) else 0))
            if end > session.open_ns:
                own.append(Window(events, session.open_ns, session.close_ns, session.open_ns, end))
        watched.append(own)
    return watched


def _with_intensity_scale(params: DesignParams, train: Dataset, places: npt.NDArray[np.int64]) -> DesignParams:
    """Return the design with the intensity columns' own means and deviations over the training rows."""
    parts = []
    for begin, end in session_slices(train.session.astype(np.int64)):
        state = init_design(params, train.sessions[int(train.session[begin])])
        cut = slice(begin, end)
        parts.append(intensity_columns(params, state, places[cut], train.ts_recv[cut], train.x[cut]))
    centre, scale = centre_and_scale(np.concatenate(parts), places, len(train.instruments))
    return replace(params, intensity_centre=centre, intensity_scale=scale)


def _with_member_scale(params: DesignParams, train: Dataset, places: npt.NDArray[np.int64]) -> DesignParams:
    """Return the design with the members' columns' own means and deviations over the training rows."""
    parts = []
    for begin, end in session_slices(train.session.astype(np.int64)):
        state = init_design(params, train.sessions[int(train.session[begin])])
        cut = slice(begin, end)
        parts.append(member_columns(params, state, places[cut], train.ts_recv[cut], train.x[cut]))
    centre, scale = centre_and_scale(np.concatenate(parts), places, len(train.instruments))
    return replace(params, member_centre=centre, member_scale=scale)


def _once(root: DataRoot, kind: str, stamp: str, seed: int, fit: Callable[[], Found]) -> Found:
    """Return the result of a fit from the store, or make it and keep it."""
    from safetensors.numpy import load, save

    path = root.folds / f"{hashlib.sha256(f'{kind}:{stamp}:{seed}'.encode()).hexdigest()[:40]}.{kind}"
    arrays_file, config_file = path.with_suffix(f".{kind}.safetensors"), path.with_suffix(f".{kind}.json")
    if not config_file.exists():
        arrays, config = fit()
        _replace(arrays_file, save({name: np.ascontiguousarray(value) for name, value in sorted(arrays.items())}))
        _replace(config_file, json.dumps(config, sort_keys=True).encode())
    return load(arrays_file.read_bytes()), json.loads(config_file.read_text())


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)

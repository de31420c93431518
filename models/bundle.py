"""A bundle: everything a forecast needs, in two files without pickle, and the one predictor that runs it (P7).

``manifest.json`` says what the arrays mean: which raw features (fingerprint), which label, which instruments, which
window, which data and code. ``arrays.safetensors`` holds the numbers. ``bundle_sha256`` hashes both.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from features.dataset import LABEL_MISSING
from marketdata.clock import Session
from models.catalog import forecaster
from models.design import DesignParams, DesignState, design_from_arrays, design_step, init_design
from models.forecast import Probabilities, quantise
from models.forecaster import FittedModel, Weights

MANIFEST_FILE: Final = "manifest.json"
ARRAYS_FILE: Final = "arrays.safetensors"
FORMAT: Final = 1


class BundleError(ValueError):
    """The bundle cannot be used: damaged, of another format, or made for other features."""


@dataclass(frozen=True, slots=True)
class BundleManifest:
    """What a bundle is; JSON-able throughout.

    Attributes
    ----------
    name, role : str
        The forecaster.
    key : str
        Hash of everything that went into the fit: data, events, specification, seed, code.
    fingerprint : str
        Of the raw features; rows of another fingerprint are refused.
    columns : tuple of str
        Raw feature names, in order.
    instrument_ids, symbols : tuples
        Instruments it was fitted on; others are refused.
    label : dict
        ``horizon_ns`` and the latencies of the executable label.
    inference_ns : int
        From a row's ``ts_recv`` to the moment its forecast is there.
    window : dict
        ``first_ns, last_ns, ts_known`` and the session dates of the training rows.
    trial : dict
        What the trial ledger counts it as.
    diagnostics : dict
        Inner scores, training curves, goodness of fit.
    """

    name: str
    role: str
    key: str
    fingerprint: str
    columns: tuple[str, ...]
    instrument_ids: tuple[int, ...]
    symbols: tuple[str, ...]
    memory_ns: int
    label: dict[str, Any]
    inference_ns: int
    window: dict[str, Any]
    rows: dict[str, int]
    hyperparameters: dict[str, Any]
    trial: dict[str, Any]
    seed: int
    data_sha256: str
    code_sha256: str
    design: dict[str, Any]
    model: dict[str, Any]
    diagnostics: dict[str, Any]
    format: int = FORMAT


@dataclass(frozen=True)
class Bundle:
    """A manifest and its arrays, named ``design.*``, ``model.*`` and ``edge.move_scale_units``."""

    manifest: BundleManifest
    arrays: dict[str, npt.NDArray[Any]]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over the manifest and the arrays: what decision records and the registry call the bundle by."""
        return bundle_sha256(_manifest_bytes(self.manifest), _array_bytes(self.arrays))

    @cached_property
    def design(self) -> DesignParams:
        """The design's parameters."""
        return design_from_arrays(self._part("design."), self.manifest.design)

    @cached_property
    def model(self) -> FittedModel:
        """The fitted model."""
        weights = Weights(self._part("model."), self.manifest.model, self.manifest.diagnostics)
        return forecaster(self.manifest.name).restore(weights)

    @property
    def move_scale_units(self) -> npt.NDArray[np.float64]:
        """Expected move by P(up) - P(down), price units, by instrument (``training_window.edge_scale_units``)."""
        return self.arrays["edge.move_scale_units"]

    def require(self, fingerprint: str, columns: Sequence[str] | None = None) -> None:
        """Refuse rows of other features.

        Raises
        ------
        BundleError
            If the fingerprint or the columns differ from those of the training rows.
        """
        if fingerprint != self.manifest.fingerprint:
            raise BundleError(
                f"bundle {self.manifest.name} was made for features {self.manifest.fingerprint[:12]}, "
                f"not {fingerprint[:12]}"
            )
        if columns is not None and tuple(columns) != self.manifest.columns:
            raise BundleError(f"bundle {self.manifest.name} expects other columns than the {len(columns)} given")

    def _part(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        return {name.removeprefix(prefix): value for name, value in self.arrays.items() if name.startswith(prefix)}


def bundle_sha256(manifest: bytes, arrays: bytes) -> str:
    """Return the hash of a bundle's two files."""
    return hashlib.sha256(hashlib.sha256(manifest).digest() + hashlib.sha256(arrays).digest()).hexdigest()


def save_bundle(bundle: Bundle, folder: Path) -> str:
    """Write the bundle whole, then rename; an existing folder of the same content is kept. Return its SHA-256."""
    staging = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    staging.mkdir(parents=True)
    try:
        (staging / MANIFEST_FILE).write_bytes(_manifest_bytes(bundle.manifest))
        (staging / ARRAYS_FILE).write_bytes(_array_bytes(bundle.arrays))
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return bundle.sha256


def load_bundle(folder: Path, expected_sha256: str | None = None) -> Bundle:
    """Return the bundle in a folder.

    Parameters
    ----------
    expected_sha256 : str, optional
        Hash that a decision record names.

    Raises
    ------
    BundleError
        If files are missing or damaged, the format is another, or the hash is not the expected one.
    """
    from safetensors.numpy import load

    try:
        manifest_bytes = (folder / MANIFEST_FILE).read_bytes()
        array_bytes = (folder / ARRAYS_FILE).read_bytes()
        values = json.loads(manifest_bytes)
        arrays = load(array_bytes)
    except Exception as error:  # safetensors raises its own exception type, which is not public
        raise BundleError(f"{folder} holds no readable bundle: {error}") from error
    if values.get("format") != FORMAT:
        raise BundleError(f"{folder} has bundle format {values.get('format')}, not {FORMAT}")
    for name in ("columns", "instrument_ids", "symbols"):
        values[name] = tuple(values[name])
    found = bundle_sha256(manifest_bytes, array_bytes)
    if expected_sha256 is not None and found != expected_sha256:
        raise BundleError(f"{folder} has hash {found[:12]}, the decision record names {expected_sha256[:12]}")
    return Bundle(BundleManifest(**values), arrays)


class PredictorState(NamedTuple):
    """State of the design and of the model; a checkpoint is ``models.forecaster.copy_state``."""

    design: DesignState
    model: Any


class BundlePredictor:
    """The one inference path (P7): a fold over rows that gives quantised probabilities and an edge for each.

    On a row unlike those of the training window the edge is made smaller, down to nothing (``features.fitted.anomaly``):
    whoever trades by the edge then bets less or not at all, in backtest, paper and live alike. So it is in a regime of which the
    settings say so (``sizing.regime_shares``). Probabilities stay.
    A row at a time and a session at once give the same bits, so backtest, paper and live see the same forecasts.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.design = bundle.design
        self.model = bundle.model
        self._scale = bundle.move_scale_units
        self._width = len(bundle.manifest.columns)
        ids = bundle.manifest.instrument_ids
        self._place = np.full(max(ids) + 1, -1, dtype=np.int64)
        self._place[list(ids)] = np.arange(len(ids))

    def init(self, session: Session | None = None) -> PredictorState:
        """Return the state at a session's open; the session places rows in the day (see ``init_design``)."""
        return PredictorState(init_design(self.design, session), self.model.init())

    def step(
        self, state: PredictorState, instrument_id: int, ts_recv: int, x: npt.NDArray[np.float32]
    ) -> tuple[PredictorState, Probabilities, np.float32]:
        """Return the state after one row, its probabilities (down, flat, up; float32) and its edge in price units."""
        state, probabilities, edge = self.step_rows(
            state, np.array([instrument_id]), np.array([ts_recv], dtype=np.int64), np.asarray(x, dtype=np.float32)[None]
        )
        return state, probabilities[0], edge[0]

    def step_rows(
        self,
        state: PredictorState,
        instrument_id: npt.NDArray[np.integer[Any]],
        ts_recv: npt.NDArray[np.int64],
        x: npt.NDArray[np.float32],
        matured: npt.NDArray[np.int8] | None = None,
    ) -> tuple[PredictorState, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the state after rows of one session in time order, their probabilities and edges, both quantised.

        Parameters
        ----------
        matured : int8 array, shape (n,), optional
            Last known label of each row's instrument; labels exist offline only.

        Returns
        -------
        tuple
            The state, float32 probabilities (n, 3) of down, flat, up, and float32 edges (n,) in price units.

        Raises
        ------
        BundleError
            If the rows are not F columns wide or an instrument is unknown.
        """
        if x.ndim != 2 or x.shape[1] != self._width:
            raise BundleError(f"rows must have {self._width} features, not shape {x.shape}")
        places = self.instrument_places(instrument_id)
        if matured is None:
            matured = np.full(len(x), LABEL_MISSING, dtype=np.int8)
        design, rows = design_step(self.design, state.design, places, ts_recv, x, matured)
        model, raw = self.model.step(state.model, rows)
        probabilities = quantise(raw)
        up_less_down = probabilities[:, 2].astype(np.float64) - probabilities[:, 0].astype(np.float64)
        edge = up_less_down * self._scale[places]
        if rows.share_of_bet is not None:
            edge *= rows.share_of_bet
        return PredictorState(design, model), probabilities, quantise(edge)

    def instrument_places(self, instrument_id: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
        """Return the positions of instruments in the bundle's arrays.

        Raises
        ------
        BundleError
            If one is unknown to the bundle.
        """
        ids = instrument_id.astype(np.int64)
        inside = (ids >= 0) & (ids < len(self._place))
        places = np.where(inside, self._place[np.where(inside, ids, 0)], -1)
        if places.size and places.min() < 0:
            raise BundleError(f"instrument {int(ids[places < 0][0])} is unknown to bundle {self.bundle.manifest.name}")
        return places


def _manifest_bytes(manifest: BundleManifest) -> bytes:
    return (json.dumps(asdict(manifest), sort_keys=True, indent=1) + "\n").encode()


def _array_bytes(arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(value) for name, value in sorted(arrays.items())})

"""From event batches to forecasts: the night's own pipeline, join and inference, one batch at a time.

Rows are handed to the join in the order of (``ts_recv``, ``instrument_id``), as at night. The rows of the newest
receive time wait until a later event has come, so that where a batch ends changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from features.assembler import AssemblerState, RowAssembler
from features.pipeline import FeaturePipeline, PipelineState, session_pipeline
from features.pipeline import copy_state as copy_features
from features.rows import KEY_COLUMNS
from marketdata.clock import Session
from marketdata.events import EventArray
from marketdata.settings import Settings
from models.bundle import Bundle, BundlePredictor, PredictorState
from models.forecast import FORECAST_DTYPE, ForecastArray
from models.forecaster import copy_state

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

FOREVER: Final = np.iinfo(np.int64).max
"""A watermark that nothing comes after: hands over the rows that still wait."""
_TS_RECV: Final = KEY_COLUMNS.index("ts_recv")


class LiveRows(NamedTuple):
    """Feature rows of several instruments in the order of (``ts_recv``, ``instrument_id``).

    Attributes
    ----------
    position : int64 array, shape (n,)
        Index into ``settings.instruments``.
    keys : int64 array, shape (n, 7)
        Columns of ``features.rows.KEY_COLUMNS``.
    values : float64 array, shape (n, F)
        Raw features.
    """

    position: Int64
    keys: Int64
    values: Float64

    def take(self, rows: slice | npt.NDArray[np.intp]) -> "LiveRows":
        """Return the chosen rows."""
        return LiveRows(self.position[rows], self.keys[rows], self.values[rows])


def join_rows(parts: Sequence[LiveRows]) -> LiveRows:
    """Return the rows of all parts, one part after the other."""
    return LiveRows(
        np.concatenate([part.position for part in parts]),
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


class LiveState(NamedTuple):
    """State of the fold over event batches; :meth:`LivePredictor.copy` makes a checkpoint.

    Attributes
    ----------
    features : tuple of PipelineState
        One an instrument, in the order of ``settings.instruments``.
    waiting : LiveRows
        Rows whose receive time the feed has not left behind yet.
    assembler, predictor
        States of the join and of the model.
    """

    features: tuple[PipelineState, ...]
    waiting: LiveRows
    assembler: AssemblerState
    predictor: PredictorState


class LiveStep(NamedTuple):
    """What one step gave: the rows that left the fold, their x, and a forecast for each row of a traded instrument."""

    rows: LiveRows
    x: npt.NDArray[np.float32]
    forecasts: ForecastArray


@dataclass(frozen=True)
class LivePredictor:
    """The live side of the one inference path (P7): a frozen description with ``init`` and ``step``.

    Parameters
    ----------
    settings : Settings
        Of the data root.
    session : Session
        The session that is traded.
    bundle : Bundle
        The model.

    Raises
    ------
    models.bundle.BundleError
        At ``init``, if the bundle was made for other features than these settings give.
    """

    settings: Settings
    session: Session
    bundle: Bundle

    @cached_property
    def assembler(self) -> RowAssembler:
        """The join of raw rows, peers and slow signals."""
        return RowAssembler(self.settings)

    @cached_property
    def pipelines(self) -> tuple[FeaturePipeline, ...]:
        """The raw feature pipeline of each instrument."""
        return tuple(session_pipeline(self.settings, item, self.session) for item in self.settings.instruments)

    @cached_property
    def predictor(self) -> BundlePredictor:
        """The model's fold over rows."""
        return BundlePredictor(self.bundle)

    @cached_property
    def _ids(self) -> npt.NDArray[np.int16]:
        return np.array([item.instrument_id for item in self.settings.instruments], np.int16)

    @cached_property
    def _is_forecast(self) -> npt.NDArray[np.bool_]:
        known = set(self.bundle.manifest.instrument_ids)
        return np.array([item.is_traded and item.instrument_id in known for item in self.settings.instruments])

    def init(self, signals: Mapping[str, pl.DataFrame] | None = None) -> LiveState:
        """Return the state at the session's open.

        Parameters
        ----------
        signals : mapping of kind to signal frame, optional
            Slow signals; each row takes effect at its ``ts_known``. Kinds that are absent stay NaN.
        """
        self.bundle.require(self.assembler.fingerprint, self.assembler.columns)
        joined = self.assembler.init()
        for kind, frame in (signals or {}).items():
            joined = self.assembler.update_signals(joined, kind, frame)
        return LiveState(
            tuple(pipeline.init() for pipeline in self.pipelines),
            self._no_rows(),
            joined,
            self.predictor.init(self.session),
        )

    def copy(self, state: LiveState) -> LiveState:
        """Return a checkpoint of the state."""
        return LiveState(
            tuple(copy_features(part) for part in state.features),
            join_rows([state.waiting]),
            copy_state(state.assembler),
            copy_state(state.predictor),
        )

    def warm(self, state: LiveState, events: EventArray) -> LiveState:
        """Fold events of earlier sessions into the feature states; they give no rows (R3)."""
        return state._replace(features=self._features(state, events)[0])

    def step(self, state: LiveState, batch: EventArray, watermark_ns: int) -> tuple[LiveState, LiveStep]:
        """Fold a batch of events of all instruments.

        Parameters
        ----------
        state : LiveState
            Changed in place; use the returned one.
        batch : event array, shape (n,)
            In the order of ``ts_recv``; any n, also 0.
        watermark_ns : int
            The feed's promise: no later batch holds an event with ``ts_recv`` below it. Rows below it leave the fold.

        Returns
        -------
        state : LiveState
        step : LiveStep
            In the order of (``ts_recv``, ``instrument_id``); forecasts are due ``inference_ns`` after their row.
        """
        features, fresh = self._features(state, batch)
        if not len(fresh.position) and not len(state.waiting.position):
            return state._replace(features=features), self._nothing
        rows = join_rows([state.waiting, fresh])
        order = np.lexsort((np.arange(len(rows.position)), self._ids[rows.position], rows.keys[:, _TS_RECV]))
        rows = rows.take(order)
        ready = int(np.searchsorted(rows.keys[:, _TS_RECV], watermark_ns, side="left"))
        waiting, rows = rows.take(slice(ready, None)), rows.take(slice(None, ready))
        ts_recv = rows.keys[:, _TS_RECV]
        x = self.assembler.assemble(state.assembler, rows.position, ts_recv, rows.values)
        predicted, forecasts = self._forecast(state.predictor, rows.position, ts_recv, x)
        return LiveState(features, waiting, state.assembler, predicted), LiveStep(rows, x, forecasts)

    def _features(self, state: LiveState, batch: EventArray) -> tuple[tuple[PipelineState, ...], LiveRows]:
        states, found = [], [self._no_rows()]
        for k, pipeline in enumerate(self.pipelines):
            own = batch[batch["instrument_id"] == self._ids[k]]
            if not len(own):
                states.append(state.features[k])
                continue
            fresh, rows = pipeline.step(state.features[k], own)
            states.append(fresh)
            found.append(LiveRows(np.full(len(rows.keys), k, np.int64), rows.keys, rows.values))
        return tuple(states), join_rows(found)

    def _forecast(
        self, state: PredictorState, position: Int64, ts_recv: Int64, x: npt.NDArray[np.float32]
    ) -> tuple[PredictorState, ForecastArray]:
        rows = np.flatnonzero(self._is_forecast[position])
        out = np.zeros(len(rows), FORECAST_DTYPE)
        if not len(rows):
            return state, out
        ids = self._ids[position[rows]]
        state, probabilities, edge = self.predictor.step_rows(state, ids, ts_recv[rows], x[rows])
        out["p_down"], out["p_flat"], out["p_up"] = probabilities.T
        out["edge_units"], out["ts_recv"], out["instrument_id"] = edge, ts_recv[rows], ids
        out["due_ns"] = ts_recv[rows] + self.bundle.manifest.inference_ns
        return state, out

    @cached_property
    def _nothing(self) -> LiveStep:
        return LiveStep(
            self._no_rows(), np.empty((0, len(self.assembler.columns)), np.float32), np.zeros(0, FORECAST_DTYPE)
        )

    def _no_rows(self) -> LiveRows:
        width = len(self.assembler.spec.columns)
        return LiveRows(np.empty(0, np.int64), np.empty((0, len(KEY_COLUMNS)), np.int64), np.empty((0, width)))

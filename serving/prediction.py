"""Forecasts of rows that somebody sends: checked, then through the bundle's one inference path."""

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.assembler import RowAssembler
from features.catalog import catalogue
from marketdata.settings import Settings
from models.bundle import Bundle, BundlePredictor


class InvalidRows(ValueError):
    """The rows cannot be forecast; the message names the first one and why."""


class Predictions(NamedTuple):
    """Quantised probabilities (n, 3: down, flat, up) and edges (n,) in price units."""

    probabilities: npt.NDArray[np.float32]
    edge_units: npt.NDArray[np.float32]


class RowForecaster:
    """Forecasts rows with one bundle; safe to call from several threads.

    Each call starts from the model's state at a session's open and folds its rows in order, so a caller that sends a
    session's latest rows gets what the executor gets once the model's window is filled.

    Parameters
    ----------
    settings : Settings
        Of the data root.
    bundle : Bundle

    Raises
    ------
    models.bundle.BundleError
        If the bundle was made for other features.
    """

    def __init__(self, settings: Settings, bundle: Bundle) -> None:
        assembler = RowAssembler(settings)
        bundle.require(assembler.fingerprint, assembler.columns)
        self._predictor = BundlePredictor(bundle)
        self._columns = assembler.columns
        manifest = bundle.manifest
        ids = dict(zip(manifest.symbols, manifest.instrument_ids, strict=True))
        self._ids = {item.symbol: ids[item.symbol] for item in settings.instruments if item.symbol in ids}
        entries = catalogue(assembler.spec)
        needed = {entry.name for entry in entries if entry.memory_ns == 0 and not entry.may_be_unknown}
        self.may_be_null = tuple(name for name in self._columns if name not in needed)
        self._needed = np.array([name in needed for name in self._columns])
        self._lock = threading.Lock()

    @property
    def symbols(self) -> tuple[str, ...]:
        """Instruments that it forecasts."""
        return tuple(self._ids)

    def forecast(
        self, symbols: Sequence[str], ts_recv: Sequence[int], features: Sequence[Sequence[float | None]]
    ) -> Predictions:
        """Return a forecast for each row.

        Raises
        ------
        InvalidRows
            If an instrument is unknown, a row has another number of features than the model, a value is not finite or
            is unknown where it must be known, or the rows are not in the order of time.
        """
        for n, symbol in enumerate(symbols):
            if symbol not in self._ids:
                raise InvalidRows(f"rows.{n}.instrument: unknown instrument {symbol!r}; known: {', '.join(self._ids)}")
            if len(features[n]) != len(self._columns):
                raise InvalidRows(
                    f"rows.{n}.features: {len(self._columns)} features expected, {len(features[n])} given"
                )
            if n and ts_recv[n] < ts_recv[n - 1]:
                raise InvalidRows(f"rows.{n}.ts_recv: rows must be in the order of time")
        with np.errstate(over="ignore"):
            x = np.array([[np.nan if v is None else v for v in row] for row in features], np.float32)
        for bad, why in ((np.isinf(x), "not a finite 32-bit number"), (np.isnan(x) & self._needed, "must be known")):
            if bad.any():
                n, k = (int(v) for v in np.argwhere(bad)[0])
                raise InvalidRows(f"rows.{n}.features.{k} ({self._columns[k]}): {why}")
        ids = np.array([self._ids[symbol] for symbol in symbols], np.int64)
        with self._lock:
            state = self._predictor.init()
            _, probabilities, edge = self._predictor.step_rows(state, ids, np.array(ts_recv, np.int64), x)
        return Predictions(probabilities, edge)

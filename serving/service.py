"""The prediction service behind the API and the command line: a request in, the champion's predictions out."""

import threading
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from marketdata.paths import DataRoot
from marketdata.settings import Settings
from models.bundle import Bundle
from serving.champion import ChampionWatch, Standing
from serving.prediction import InvalidRows, RowForecaster

MAX_ROWS = 1_000
"""Rows of one request at most."""


class NoChampion(LookupError):
    """Nobody stands, or the champion's bundle cannot be served; the message says why."""


class StrictModel(BaseModel):
    """Unknown fields and other types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Feature = Annotated[float, Field(allow_inf_nan=False)] | None


class Row(StrictModel):
    """One feature row: all features of one instrument at one moment, in the order of ``columns``."""

    instrument: str = Field(min_length=1, max_length=64, description="symbol, for example ALFA")
    ts_recv: int = Field(gt=0, description="receive time, nanoseconds UTC")
    features: list[Feature] = Field(min_length=1, max_length=4_096, description="values; null where not known")


class PredictRequest(StrictModel):
    """Rows of one session in time order; earlier rows are context for models that look back."""

    rows: list[Row] = Field(min_length=1, max_length=MAX_ROWS)
    fingerprint: str | None = Field(default=None, description="of the features; refused when it is not the model's")


class Prediction(StrictModel):
    """Probabilities over the horizon and the expected move of the mid in price units."""

    instrument: str
    ts_recv: int
    p_down: float
    p_flat: float
    p_up: float
    edge_units: float


class PredictResponse(StrictModel):
    """One prediction a row, in the order of the rows, and the model that made them."""

    model: str
    version: str = Field(description="SHA-256 of the bundle")
    fingerprint: str
    horizon_ns: int
    predictions: list[Prediction]


class PredictionService:
    """Predicts with whoever is champion at the moment of the call; safe to call from several threads.

    Parameters
    ----------
    root : DataRoot
    settings : Settings, optional
        Read from the root when not given.
    """

    def __init__(self, root: DataRoot, settings: Settings | None = None) -> None:
        self.settings = settings or root.settings()
        self._watch = ChampionWatch(root)
        self._forecaster: tuple[str, RowForecaster] | None = None
        self._lock = threading.Lock()

    def look(self) -> Standing:
        """Return who stands, loading nothing."""
        with self._lock:
            return self._watch.look()

    def serving(self) -> tuple[Standing, Bundle, RowForecaster]:
        """Return who stands, the checked bundle and its forecaster.

        Raises
        ------
        NoChampion
            If there is none, or its bundle cannot be delivered.
        models.bundle.BundleError
            If the bundle was made for other features than these settings give.
        """
        with self._lock:
            standing, bundle = self._watch.bundle()
            if bundle is None:
                raise NoChampion(standing.reason)
            if self._forecaster is None or self._forecaster[0] != bundle.sha256:
                self._forecaster = (bundle.sha256, RowForecaster(self.settings, bundle))
            return standing, bundle, self._forecaster[1]

    def predict(self, request: PredictRequest) -> PredictResponse:
        """Return one prediction a row.

        Raises
        ------
        NoChampion
            As :meth:`serving`.
        InvalidRows
            If a row cannot be forecast; the message names it and why.
        """
        _, bundle, forecaster = self.serving()
        manifest = bundle.manifest
        if request.fingerprint is not None and request.fingerprint != manifest.fingerprint:
            raise InvalidRows(f"fingerprint: the model was made for features {manifest.fingerprint}")
        rows = request.rows
        made = forecaster.forecast([r.instrument for r in rows], [r.ts_recv for r in rows], [r.features for r in rows])
        return PredictResponse(
            model=manifest.name,
            version=bundle.sha256,
            fingerprint=manifest.fingerprint,
            horizon_ns=int(manifest.label["horizon_ns"]),
            predictions=[
                Prediction(
                    instrument=row.instrument,
                    ts_recv=row.ts_recv,
                    p_down=float(p[0]),
                    p_flat=float(p[1]),
                    p_up=float(p[2]),
                    edge_units=float(edge),
                )
                for row, p, edge in zip(rows, made.probabilities, made.edge_units, strict=True)
            ],
        )

"""The prediction API: health, champion, predictions; strict about what comes in, a reason with every refusal.

Nothing here listens; ``uvicorn`` does, on 127.0.0.1. Features go by position, in the order that ``/v1/champion`` gives.
``null`` means "not known" and is taken only where a value can be unknown once a session runs (slow signals and what
other instruments did); NaN and infinities are refused everywhere.
"""

import time
from typing import Annotated, Any, Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.base import RequestResponseEndpoint
from starlette.middleware.trustedhost import TrustedHostMiddleware

from marketdata.paths import DataRoot
from marketdata.settings import Settings
from models.bundle import Bundle
from serving.champion import ChampionWatch, Standing
from serving.heartbeat import read_heartbeat
from serving.prediction import InvalidRows, PredictionService

MAX_ROWS: Final = 1_000
MAX_BODY_BYTES: Final = 4 * 2**20
LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]", "testserver")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Feature = Annotated[float, Field(allow_inf_nan=False)] | None


class Row(_Strict):
    """One feature row: all features of one instrument at one moment, in the order of ``columns``."""

    instrument: str = Field(min_length=1, max_length=64, description="symbol, for example ALFA")
    ts_recv: int = Field(gt=0, description="receive time, nanoseconds UTC")
    features: list[Feature] = Field(min_length=1, max_length=4_096, description="values; null where not known")


class PredictRequest(_Strict):
    """Rows of one session in time order; earlier rows are context for models that look back."""

    rows: list[Row] = Field(min_length=1, max_length=MAX_ROWS)
    fingerprint: str | None = Field(default=None, description="of the features; refused when it is not the model's")


class Prediction(_Strict):
    """Probabilities over the horizon and the expected move of the mid in price units."""

    instrument: str
    ts_recv: int
    p_down: float
    p_flat: float
    p_up: float
    edge_units: float


class PredictResponse(_Strict):
    """One prediction a row, in the order of the rows, and the model that made them."""

    model: str
    version: str = Field(description="SHA-256 of the bundle")
    fingerprint: str
    horizon_ns: int
    predictions: list[Prediction]


class ChampionResponse(_Strict):
    """The model that is served, and the rows it takes."""

    model: str
    version: str
    decided_by: int = Field(description="number of the decision record")
    since_ns: int | None
    fingerprint: str
    horizon_ns: int
    instruments: list[str]
    columns: list[str]
    may_be_null: list[str]
    trained_on: list[str]


class HealthResponse(_Strict):
    """Whether the service runs, whether a champion stands, and when the executor last spoke."""

    status: str
    source: str
    champion: str | None
    reason: str
    executor: dict[str, Any] | None
    uptime_s: float


class Problem(_Strict):
    """Why a request was refused."""

    detail: str


_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    422: {"model": Problem, "description": "wrong shape, NaN, unknown instrument, rows out of order"},
    503: {"model": Problem, "description": "no champion stands"},
}


def create_app(root: DataRoot, settings: Settings | None = None) -> FastAPI:
    """Return the API of a data root.

    Parameters
    ----------
    root : DataRoot
    settings : Settings, optional
        Read from the root when not given.

    Raises
    ------
    marketdata.settings.SettingsError
        If the root has no valid settings.
    """
    settings = settings or root.settings()
    started = time.monotonic()
    watch = ChampionWatch(root)
    services: dict[str, PredictionService] = {}
    app = FastAPI(
        title="FlowSense", version="1", summary="Predictions of the champion", docs_url="/docs", redoc_url=None
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOCAL_HOSTS))

    @app.middleware("http")
    async def limit_body(request: Request, call_next: RequestResponseEndpoint) -> Response:
        length = request.headers.get("content-length", "0")
        if request.method == "POST" and (not length.isdigit() or not 0 < int(length) <= MAX_BODY_BYTES):
            return _problem(413, f"a request body needs a content-length of 1 to {MAX_BODY_BYTES} bytes")
        return await call_next(request)

    @app.exception_handler(RequestValidationError)
    async def refuse_request(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("body", "float", "constrained-float"))
        return _problem(422, f"{where}: {first['msg']}" if where else str(first["msg"]))

    def serving() -> tuple[Standing, Bundle, PredictionService]:
        standing, bundle = watch.bundle()
        if bundle is None:
            raise HTTPException(503, standing.reason)
        service = services.get(bundle.sha256)
        if service is None:
            services.clear()
            service = services[bundle.sha256] = PredictionService(settings, bundle)
        return standing, bundle, service

    @app.get("/health")
    def health() -> HealthResponse:
        standing = watch.look()
        return HealthResponse(
            status="ok",
            source=settings.source,
            champion=standing.model or None,
            reason=standing.reason,
            executor=read_heartbeat(root),
            uptime_s=round(time.monotonic() - started, 3),
        )

    @app.get("/v1/champion", responses={503: _REFUSALS[503]})
    def champion() -> ChampionResponse:
        standing, bundle, service = serving()
        manifest = bundle.manifest
        return ChampionResponse(
            model=manifest.name,
            version=bundle.sha256,
            decided_by=standing.decided_by,
            since_ns=standing.since_ns,
            fingerprint=manifest.fingerprint,
            horizon_ns=int(manifest.label["horizon_ns"]),
            instruments=list(service.symbols),
            columns=list(manifest.columns),
            may_be_null=list(service.may_be_null),
            trained_on=[str(day) for day in manifest.window.get("sessions", [])],
        )

    @app.post("/v1/predict", responses=_REFUSALS)
    def predict(request: PredictRequest) -> PredictResponse:
        _, bundle, service = serving()
        manifest = bundle.manifest
        if request.fingerprint is not None and request.fingerprint != manifest.fingerprint:
            raise HTTPException(422, f"fingerprint: the model was made for features {manifest.fingerprint}")
        rows = request.rows
        try:
            made = service.predict([r.instrument for r in rows], [r.ts_recv for r in rows], [r.features for r in rows])
        except InvalidRows as error:
            raise HTTPException(422, str(error)) from error
        predictions = [
            Prediction(
                instrument=row.instrument,
                ts_recv=row.ts_recv,
                p_down=float(p[0]),
                p_flat=float(p[1]),
                p_up=float(p[2]),
                edge_units=float(edge),
            )
            for row, p, edge in zip(rows, made.probabilities, made.edge_units, strict=True)
        ]
        return PredictResponse(
            model=manifest.name,
            version=bundle.sha256,
            fingerprint=manifest.fingerprint,
            horizon_ns=int(manifest.label["horizon_ns"]),
            predictions=predictions,
        )

    return app


def _problem(status: int, detail: str) -> Response:
    return JSONResponse({"detail": detail}, status_code=status)

"""The prediction API: health, champion, predictions; strict about what comes in, a reason with every refusal.

Nothing here listens; ``uvicorn`` does, on 127.0.0.1. Features go by position, in the order that ``/v1/champion`` gives.
``null`` means "not known" and is taken where a row of a running session can lack a value (windows, other instruments,
slow signals), not for what the book and the clock say at that moment; NaN and infinities are refused everywhere.
"""

import time
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import Field
from starlette.middleware.base import RequestResponseEndpoint
from starlette.middleware.trustedhost import TrustedHostMiddleware

from marketdata.paths import DataRoot
from marketdata.settings import Settings
from models.bundle import BundleError
from serving.docs_page import DOCS_PAGE
from serving.heartbeat import read_heartbeat
from serving.prediction import InvalidRows
from serving.service import NoChampion, PredictionService, PredictRequest, PredictResponse, StrictModel

__all__ = ["InvalidRows", "NoChampion", "PredictRequest", "PredictResponse", "PredictionService", "create_app", "serve"]

MAX_BODY_BYTES: Final = 4 * 2**20
LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]", "testserver")


class ChampionResponse(StrictModel):
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


class HealthResponse(StrictModel):
    """Whether the service runs, whether a champion stands, and when the executor last spoke."""

    status: str
    source: str
    champion: str | None
    reason: str
    executor: dict[str, Any] | None
    uptime_s: float


class Problem(StrictModel):
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
    service = PredictionService(root, settings)
    started = time.monotonic()
    app = FastAPI(title="FlowSense", version="1", summary="Predictions of the champion", docs_url=None, redoc_url=None)
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

    @app.exception_handler(NoChampion)
    async def refuse_without_champion(request: Request, error: NoChampion) -> Response:
        return _problem(503, str(error))

    @app.exception_handler(BundleError)
    async def refuse_bundle(request: Request, error: BundleError) -> Response:
        return _problem(503, str(error))

    @app.exception_handler(InvalidRows)
    async def refuse_rows(request: Request, error: InvalidRows) -> Response:
        return _problem(422, str(error))

    @app.get("/health")
    def health() -> HealthResponse:
        standing = service.look()
        return HealthResponse(
            status="ok",
            source=service.settings.source,
            champion=standing.model or None,
            reason=standing.reason,
            executor=read_heartbeat(root),
            uptime_s=round(time.monotonic() - started, 3),
        )

    @app.get("/v1/champion", responses={503: _REFUSALS[503]})
    def champion() -> ChampionResponse:
        standing, bundle, forecaster = service.serving()
        manifest = bundle.manifest
        return ChampionResponse(
            model=manifest.name,
            version=bundle.sha256,
            decided_by=standing.decided_by,
            since_ns=standing.since_ns,
            fingerprint=manifest.fingerprint,
            horizon_ns=int(manifest.label["horizon_ns"]),
            instruments=list(forecaster.symbols),
            columns=list(manifest.columns),
            may_be_null=list(forecaster.may_be_null),
            trained_on=[str(day) for day in manifest.window.get("sessions", [])],
        )

    @app.post("/v1/predict", responses=_REFUSALS)
    def predict(request: PredictRequest) -> PredictResponse:
        return service.predict(request)

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(DOCS_PAGE)

    @app.get("/", include_in_schema=False)
    def start() -> RedirectResponse:
        return RedirectResponse("/docs")

    return app


def serve(root: DataRoot, *, host: str = "127.0.0.1", port: int = 8000, settings: Settings | None = None) -> None:
    """Run the API until it is told to stop (SIGINT or SIGTERM)."""
    import uvicorn

    uvicorn.run(create_app(root, settings), host=host, port=port, log_level="warning", access_log=False)


def _problem(status: int, detail: str) -> Response:
    return JSONResponse({"detail": detail}, status_code=status)

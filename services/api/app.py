"""Builds the REST service with the dashboard on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from database.campaigns.repository import CampaignNotFoundError, HiscoreNotFoundError
from database.errors import CampaignError, StoreError, UserFacingError
from services.api import schemas
from services.api.deps import Storage, refuse_unknown_parameters
from services.api.results import PublishedResults
from services.api.routes import campaigns, events, health, hiscores, progress, results, walkers
from services.api.settings import ServiceSettings
from services.api.version import service_version
from services.dashboard import build_dashboard_router

log = logging.getLogger(__name__)

API_PREFIX = "/api/v1"
DESCRIPTION = """\
Campaigns that build the simplest particle spectra explaining the small excesses of published LHC results without
contradicting any null result. Everything here is read-only.

Numbers carry their unit in the name of the field (`mass_gev`, `xsec_fb`, `lumi_ifb`, `sqrts_tev`). JSON has no
infinity and no NaN: such values are `null`, and each field says what `null` means. Lists come in pages: give
`next_after` of one page as `after` of the next. Every answer carries an `ETag`; sent back as `If-None-Match`, an
unchanged answer is `304` without a body. Errors are one sentence: `{"detail": "..."}`.
"""
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class SecurityHeaders:
    """Adds the security headers to every answer; plain ASGI, so that event streams pass through untouched."""

    def __init__(self, app: ASGIApp) -> None:
        """Wraps an application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _sentence(status_code: int, text: str) -> JSONResponse:
    return JSONResponse({"detail": text}, status_code=status_code)


def _status_of(error: UserFacingError) -> int:
    if isinstance(error, CampaignNotFoundError | HiscoreNotFoundError):
        return 404
    if isinstance(error, StoreError | CampaignError):
        return 409  # the request is fine, the state of the storage is not
    return 400


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(UserFacingError)
    def user_facing(request: Request, error: UserFacingError) -> JSONResponse:
        return _sentence(_status_of(error), str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        parts = []
        for problem in error.errors():
            place, *names = problem["loc"]
            name = ".".join(str(part) for part in names) or "request"
            parts.append(f"{place} parameter '{name}': {problem['msg'][:1].lower()}{problem['msg'][1:]}")
        return _sentence(422, "; ".join(parts))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> JSONResponse:
        text = f"there is nothing at {request.url.path}" if error.detail == "Not Found" else str(error.detail)
        return JSONResponse({"detail": text}, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("path=%s unexpected error", request.url.path, exc_info=error)
        return _sentence(500, "something unexpected went wrong in the service; its log has the details")


def create_app(settings: ServiceSettings) -> FastAPI:
    """Builds the service; the campaign storage and the published results are opened on first use.

    Args:
        settings: where the campaigns and results are, and how the service behaves.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.closing = asyncio.Event()
        yield
        app.state.storage.close()

    app = FastAPI(
        title="protomodels",
        version=service_version(),
        description=DESCRIPTION,
        openapi_url=f"{API_PREFIX}/openapi.json",
        docs_url=None,  # the stock pages load scripts from elsewhere; ours works offline
        redoc_url=None,
        lifespan=lifespan,
        responses={
            404: {"model": schemas.ErrorOut, "description": "no such thing"},
            409: {"model": schemas.ErrorOut, "description": "the stored data cannot be used as they are"},
            422: {"model": schemas.ErrorOut, "description": "a parameter is unknown or out of range; the sentence names it"},
        },
    )
    app.state.settings = settings
    app.state.storage = Storage(settings)
    app.state.results = PublishedResults(settings.results)

    api = APIRouter(prefix=API_PREFIX, dependencies=[Depends(refuse_unknown_parameters)])
    for module in (campaigns, walkers, progress, hiscores, results, events):
        api.include_router(module.router)
    app.include_router(api)
    app.include_router(health.router)
    app.include_router(health.router, prefix=API_PREFIX, include_in_schema=False)
    app.include_router(build_dashboard_router())

    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)

    app.add_middleware(SecurityHeaders)
    _add_error_handlers(app)
    return app

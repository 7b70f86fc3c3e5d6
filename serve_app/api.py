"""The HTTP surface as a plain FastAPI application: no Ray, no global state, everything through `Services`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES

from deployments.audio.decode.formats import ACCEPTED
from deployments.telemetry.recorder import Nowhere, Recorder
from serve_app.access import routes as access
from serve_app.access.audit import AuditMiddleware
from serve_app.access.guard import AccessMiddleware
from serve_app.analysis import routes as analysis
from serve_app.chains import edit_routes as editing
from serve_app.chains import node_routes as nodes
from serve_app.chains import routes as chains
from serve_app.chains.schemas import NewChain
from serve_app.events import routes as events
from serve_app.events.frames import TenantSnapshot
from serve_app.exports import routes as exports
from serve_app.exports.schemas import NewExport
from serve_app.http.docs import install_docs
from serve_app.http.errors import install_error_handlers
from serve_app.http.middleware import (
    BodyLimitMiddleware,
    CrossSiteMiddleware,
    HeadMiddleware,
    HostCheckMiddleware,
    RequestContextMiddleware,
    SecurityHeadersMiddleware,
)
from serve_app.http.observed import ObservedMiddleware
from serve_app.jobs import routes as jobs
from serve_app.openapi import install_openapi
from serve_app.playback import routes as playback
from serve_app.processing import routes as processing
from serve_app.processing.schemas import NewProcess
from serve_app.stems import routes as stems
from serve_app.studio.routes import install_studio
from serve_app.system import routes as system
from serve_app.tools import routes as tools
from serve_app.tools.schemas import AnalyzeTool, ComposeTool
from serve_app.wiring import Services

MAX_JSON_BYTES = 256 * 1024
MIN_GZIP_BYTES = 1024
PAGE_TYPES = ("text/html", "text/css", "text/javascript")
"""Of the studio page's files, which are there gzipped already."""
NEVER_GZIPPED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, *PAGE_TYPES, "application/octet-stream")
"""Bare samples, outlines and uploads as they came: their Content-Length and ranges count their own bytes."""
CORS_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "X-API-Key",
    "X-Request-ID",
)
CORS_ANSWER_HEADERS = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Location",
    "Content-Range",
    "ETag",
    "Location",
    "Preference-Applied",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
    "X-Segue-Adherence",
    "X-Segue-Channels",
    "X-Segue-Clipped-Samples",
    "X-Segue-Export-Id",
    "X-Segue-Gain-Db",
    "X-Segue-Loop-Samples",
    "X-Segue-Peak-Dbfs",
    "X-Segue-Prompt",
    "X-Segue-Replica",
    "X-Segue-Seed",
    "X-Segue-Sample-Rate",
    "X-Segue-Samples",
)

DESCRIPTION = """Continue music with MusicGen: upload a clip, branch takes from any point, commit the ones that
work, discard the rest, export the line. Errors are `application/problem+json`."""


def create_api(
    services: Services, *, echo_request_id: bool = True, recorder: Recorder | None = None
) -> FastAPI:
    """The application. Its lifespan starts and ends the listener and closes the store.

    `echo_request_id` is off behind Serve's proxy, which adds the X-Request-ID header to every answer itself.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services.listener.start()
        yield
        await services.listener.stop()
        await services.store.close()

    app = FastAPI(
        title="Segue", version="1", description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.services = services.by_type()
    app.state.progress_of = services.listener.sight
    app.state.access = services.access
    modules = (
        chains,
        nodes,
        editing,
        playback,
        stems,
        analysis,
        events,
        exports,
        jobs,
        processing,
        tools,
        access,
        system,
    )
    for module in modules:
        app.include_router(module.router)
    install_docs(app)
    install_studio(app)
    app.state.routes = [*app.router.routes, *(route for module in modules for route in module.router.routes)]
    install_error_handlers(app)
    http = services.settings.http
    # Middleware added last is outermost: a request meets these from the bottom up.
    app.add_middleware(BodyLimitMiddleware, max_bytes=MAX_JSON_BYTES)
    app.add_middleware(
        GZipMiddleware, minimum_size=MIN_GZIP_BYTES, compresslevel=5, exclude_content_types=NEVER_GZIPPED
    )
    app.add_middleware(
        AccessMiddleware,
        routes=app.state.routes,
        access=services.access,
        rates=services.rates,
        settings=http,
    )
    app.add_middleware(AuditMiddleware, log=services.audit)
    app.add_middleware(HeadMiddleware, routes=app.state.routes)
    app.add_middleware(CrossSiteMiddleware, allowed_origins=http.cors_origins)
    app.add_middleware(HostCheckMiddleware, allowed_hosts=http.allowed_hosts)
    if http.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=http.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_ANSWER_HEADERS,
        )
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(ObservedMiddleware, recorder=recorder or Nowhere())
    app.add_middleware(RequestContextMiddleware, echo=echo_request_id)
    _document_models(app)
    install_openapi(app, keys_are_required=services.access.are_required)
    return app


def _document_models(app: FastAPI) -> None:
    """Put the bodies that routes read by themselves into the OpenAPI document: the JSON of `POST /v1/chains`, the
    forms of `POST /process`, `/analyze` and `/compose`; and what frames of `GET /v1/events` say."""
    generate = app.openapi

    def openapi() -> dict[str, object]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        forms = (NewProcess, AnalyzeTool, ComposeTool)
        for model in (NewChain, NewExport, *forms):
            body = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(body.pop("$defs", {}))
            schemas[model.__name__] = body
        snapshot = TenantSnapshot.model_json_schema(
            mode="serialization", ref_template="#/components/schemas/{model}"
        )
        for name, schema in snapshot.pop("$defs", {}).items():
            schemas.setdefault(name, schema)
        schemas[TenantSnapshot.__name__] = snapshot
        file = {"type": "string", "format": "binary", "description": ACCEPTED}
        for form in forms:
            schemas[form.__name__]["properties"]["file"] = file
            schemas[form.__name__]["required"] = ["file"]
        return document

    app.openapi = openapi  # type: ignore[method-assign]

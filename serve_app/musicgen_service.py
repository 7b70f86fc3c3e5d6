"""`musicgen-service`: one MusicGen model behind `/continue` and `/health`, one process, without a cluster.

For a host that allocates models itself and starts each as `python -m serve_app.musicgen_service --model NAME
--port PORT --gpu-id ID`. Which files `/continue` may read and write is said by `--folder` or
`SEGUE_TOOLS__FOLDER`; without it, it refuses. `CF_MUSICGEN_MOCK=1` serves the mock, whatever `--model` says: what
it answers is a copy of the given file. It listens on loopback unless `--host` says otherwise, and answers to the
names in `http.allowed_hosts` (loopback's by default) and to that of `--host`; keys (`access.keys`) and pages of
other sites (`http.cors_origins`) are treated as by the whole server.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from configs.environment import MOCK_MODEL, load_settings
from configs.settings import Settings
from deployments.engines.common.errors import EngineError
from deployments.engines.families import GENERATOR
from deployments.engines.music.load import load
from deployments.engines.music.protocol import Engine
from deployments.telemetry.logs import configure_logging
from serve_app.access.authentication import Access
from serve_app.access.callers import CallerWithTools
from serve_app.access.exposure import refusal_to_listen
from serve_app.access.tiers import Tiers
from serve_app.http.attendance import attended
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
from serve_app.http.problems import Unavailable, problem_responses, request_id_of
from serve_app.openapi import install_openapi
from serve_app.tools.schemas import ContinuedView, ContinueTool
from serve_app.tools.service import ContinueRequest, ToolService

DEFAULT_MODEL = "facebook/musicgen-melody"
MAX_JSON_BYTES = 64 * 1024
RETRY_WHILE_LOADING_S = 5.0

logger = logging.getLogger("segue.musicgen_service")


class Model:
    """The one engine, which is loaded while the service answers already."""

    def __init__(self, name: str, settings: Settings) -> None:
        self._settings = settings
        self._name = name
        self._engine: Engine | None = None
        self._tools: ToolService | None = None
        self._error: str | None = None

    async def load(self) -> None:
        try:
            self._engine = await asyncio.to_thread(
                load,
                GENERATOR.find(self._name, self._settings),
                cache_dir=Path(self._settings.models.cache_dir),
                options=GENERATOR.options(self._settings, None),
            )
            await self._engine.warm_up()
            self._tools = ToolService(self._engine, None, None, self._settings)
        except EngineError as error:
            self._error = str(error)
            logger.error("%s cannot be loaded: %s", self._name, error)
        except Exception:
            self._error = "the model cannot be loaded; the log says why"
            logger.exception("%s cannot be loaded", self._name)

    async def close(self) -> None:
        if self._engine is not None:
            await self._engine.close()

    async def status(self) -> Literal["ready", "loading", "error"]:
        if self._error is not None:
            return "error"
        if self._engine is None or self._tools is None:
            return "loading"
        try:
            await self._engine.check_health()
        except EngineError:
            return "error"
        return "ready"

    @property
    def tools(self) -> ToolService:
        """Raises Unavailable until the model is there, and where it never will be."""
        if self._error is not None:
            raise Unavailable("the model cannot be loaded: see the server's log", retry_after_s=60)
        if self._tools is None:
            raise Unavailable("the model is being loaded", retry_after_s=RETRY_WHILE_LOADING_S)
        return self._tools


def create_service(model: str, gpu_id: int, settings: Settings) -> FastAPI:
    """The application; its lifespan loads the model."""
    served = Model(model, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(served.load())
        yield
        loading.cancel()
        with suppress(asyncio.CancelledError):
            await loading
        await served.close()

    app = FastAPI(
        title="Segue: musicgen-service", version="1", lifespan=lifespan, docs_url=None, redoc_url=None
    )

    @app.get("/health")
    async def health() -> JSONResponse:
        status = await served.status()
        body: dict[str, Any] = {"status": status, "model": model, "gpu_id": gpu_id, "ok": status == "ready"}
        return JSONResponse(body)

    @app.post(
        "/continue",
        response_model=ContinuedView,
        responses=problem_responses(400, 401, 403, 404, 413, 415, 422, 429, 503, 504),
    )
    async def carry_on(wanted: ContinueTool, request: Request, caller: CallerWithTools) -> ContinuedView:
        """Goes on from a file in the shared folder, and writes what comes next beside it. Where keys are
        configured, each tenant has the folder of its name in the shared one."""
        work = served.tools.carry_on(
            ContinueRequest(**wanted.model_dump()), request_id_of(request.scope), caller.own_folder
        )
        done = await attended(request, work, settings.tools.deadline_s)
        return ContinuedView(audio_path=done.audio_path, duration_s=done.duration_s)

    install_docs(app)
    install_error_handlers(app)
    tiers = Tiers(settings.access.tiers, settings.jobs.max_active_per_tenant)
    app.state.access = Access(settings, tiers)
    app.state.routes = list(app.router.routes)
    install_openapi(app, keys_are_required=app.state.access.are_required)
    app.add_middleware(BodyLimitMiddleware, max_bytes=MAX_JSON_BYTES)
    app.add_middleware(HeadMiddleware, routes=app.state.routes)
    app.add_middleware(CrossSiteMiddleware, allowed_origins=settings.http.cors_origins)
    app.add_middleware(HostCheckMiddleware, allowed_hosts=settings.http.allowed_hosts)
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(RequestContextMiddleware)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until a stop signal. Returns the exit status: 0, or 2 for wrong usage."""
    parser = _parser()
    args = parser.parse_args(argv)
    # Before torch looks: then the one GPU that it sees is this one.
    os.environ["CUDA_VISIBLE_DEVICES"] = str(args.gpu_id) if args.gpu_id >= 0 else ""
    tools = {"folder": str(args.folder)} if args.folder is not None else {}
    try:
        settings = load_settings({"models": {"served": (args.model,)}, "tools": tools})
        settings = answering_to(settings, args.host)
        refusal = refusal_to_listen(args.host, settings)
        if refusal is not None:
            raise ValueError(refusal)
        # The mock of the environment goes before what the command says.
        model = MOCK_MODEL if settings.models.default == MOCK_MODEL else args.model
        GENERATOR.find(model, settings)
    except (ValueError, EngineError) as error:
        parser.error(str(error))
    configure_logging(settings)
    app = create_service(model, args.gpu_id, settings)
    uvicorn.run(app, host=args.host, port=args.port, log_config=None, timeout_graceful_shutdown=10)
    return 0


def answering_to(settings: Settings, host: str) -> Settings:
    """The settings with the address to listen on among the allowed hosts: who names it means to be reached by it.
    An address for all interfaces (0.0.0.0, ::) is no name of one."""
    if host in ("0.0.0.0", "::", *settings.http.allowed_hosts):  # noqa: S104 - it is compared, not bound
        return settings
    http = settings.http.model_copy(update={"allowed_hosts": (*settings.http.allowed_hosts, host)})
    return settings.model_copy(update={"http": http})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="musicgen-service", description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"a model's name or folder ({DEFAULT_MODEL})")
    parser.add_argument("--port", type=int, default=8001, help="(8001)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--gpu-id", type=int, default=0, help="the CUDA device; -1: none (0)")
    parser.add_argument("--folder", type=Path, help="what /continue may read and write")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The state of the application: health, models, capacity, public settings."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from serve_app.access.callers import KnownCaller
from serve_app.http.dependencies import Provided
from serve_app.system.schemas import CapacityView, ModelListView, capacity_view, model_list_view

router = APIRouter(tags=["system"])


@router.get("/livez")
async def livez() -> dict[str, bool]:
    """This process answers."""
    return {"ok": True}


@router.get("/readyz", responses={503: {"description": "Not ready", "content": {"application/json": {}}}})
async def readyz(services: Provided) -> JSONResponse:
    """200 when the default model can take work and the storage takes writes, else 503."""
    health = await services.system.health()
    body = {"ok": health["ok"], "status": health["status"], "storage": health["storage"]}
    return JSONResponse(body, status_code=200 if health["ok"] else 503)


@router.get("/health")
async def health(services: Provided) -> dict[str, Any]:
    return await services.system.health()


@router.get("/v1/models", response_model=ModelListView)
async def models(services: Provided) -> ModelListView:
    """What is served, the default first, with the licence of each model's weights."""
    system = services.system
    return model_list_view(
        services.models,
        await system.model_states(),
        services.separators,
        await system.separator_states(),
        services.analysis.entry,
        await system.analyser_state(),
    )


@router.get("/v1/gpu", response_model=CapacityView)
async def gpu(caller: KnownCaller, services: Provided) -> CapacityView:
    """GPUs in the cluster, the replicas and queues of each deployment, and the jobs; at most a second old. Where
    keys are configured, what waits and is worked on is told only to those that send one; others read null."""
    return capacity_view(await services.system.capacity(), with_work=caller is not None)


@router.get("/v1/config")
async def config(services: Provided) -> dict[str, Any]:
    """The limits and choices of this server that a client may want to know."""
    return services.system.public_settings()

"""The state of the application: health, models, capacity, public settings."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from configs.settings import Capability
from serve_app.access.callers import KnownCaller
from serve_app.http.dependencies import service
from serve_app.system.schemas import CapacityView, ModelListView, capacity_view, model_list_view
from serve_app.system.service import SystemService

System = Annotated[SystemService, service(SystemService)]

router = APIRouter(tags=["system"])


@router.get("/livez")
async def livez() -> dict[str, bool]:
    """This process answers."""
    return {"ok": True}


@router.get("/readyz", responses={503: {"description": "Not ready", "content": {"application/json": {}}}})
async def readyz(system: System) -> JSONResponse:
    """200 when the default model can take work and the storage takes writes, else 503."""
    health = await system.health()
    body = {"ok": health["ok"], "status": health["status"], "storage": health["storage"]}
    return JSONResponse(body, status_code=200 if health["ok"] else 503)


@router.get("/health")
async def health(system: System) -> dict[str, Any]:
    return await system.health()


@router.get("/v1/models", response_model=ModelListView)
async def models(system: System) -> ModelListView:
    """What is served, the default first, with the licence of each model's weights."""
    return model_list_view(system.models, await system.model_states())


@router.get("/v1/gpu", response_model=CapacityView)
async def gpu(caller: KnownCaller, system: System) -> CapacityView:
    """GPUs in the cluster, the replicas and queues of each deployment, and the jobs; at most a second old. What
    waits and is worked on is all tenants' together, so that only an operator's key shows it; others read null."""
    is_operator = caller is not None and caller.may(Capability.ADMIN)
    return capacity_view(await system.capacity(), with_work=is_operator)


@router.get("/v1/config")
async def config(system: System) -> dict[str, Any]:
    """The limits and choices of this server that a client may want to know."""
    return system.public_settings()

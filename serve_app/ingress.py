"""The `Ingress` deployment: the FastAPI application in a Serve replica, with handles to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from ray import serve

from configs.settings import Settings
from deployments.engines.families import ServedModel
from deployments.events.bus import HubBus
from deployments.serve.handles import model_handles
from deployments.serve.loading import HubLoading
from deployments.serve.loopback import listen_where_the_node_is
from deployments.telemetry.load import Load
from deployments.telemetry.logs import configure_logging
from deployments.telemetry.recorder import RayRecorder
from deployments.telemetry.storage import metered, retries
from deployments.telemetry.traces import configure_traces
from deployments.temporary import sweep_temporary_folders
from serve_app.api import create_api
from serve_app.http.flow_control import FlowControlMiddleware
from serve_app.http.proxy_loss import ProxyLossMiddleware
from serve_app.http.replica import OpenRequests, ReplicaMiddleware
from serve_app.jobs.queue import RunnerQueue
from serve_app.system.cluster import ServeCluster
from serve_app.wiring import build_services
from storage.stores.opening import open_store

TOOLS_WAIT_S = 2.0
"""How long a request of the tools waits for a model that loads before it is answered so."""


class Ingress:
    """Keeps no state: any replica answers any request."""

    def __init__(
        self,
        settings: Settings,
        models: Sequence[ServedModel[Any]],
        handles: Mapping[str, Any],
        runner: Any,
        hub: Any,
    ) -> None:
        """`handles` are of the deployments that serve `models`, by name."""
        context = serve.get_replica_context()
        configure_logging(settings)
        configure_traces(settings.telemetry, context.deployment)
        sweep_temporary_folders()
        listen_where_the_node_is()
        itself = serve.get_deployment_handle(context.deployment, context.app_name)
        self._replica = context.replica_tag
        self._open_requests = OpenRequests()
        self._recorder = RayRecorder()
        loading = HubLoading(hub)
        served = model_handles(models, handles, loading, patience_s=TOOLS_WAIT_S)
        self._services = build_services(
            settings=settings,
            store=metered(open_store(settings.storage, retries(self._recorder)), self._recorder),
            bus=HubBus(hub),
            queue=RunnerQueue(runner),
            cluster=ServeCluster(context.app_name, list(handles), [itself, runner], loading),
            models=models,
            generators=served.generators,
            analyser=served.analyser,
            recorder=self._recorder,
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        api = create_api(self._services, echo_request_id=False, recorder=self._recorder)
        api.add_middleware(FlowControlMiddleware)
        api.add_middleware(ProxyLossMiddleware)
        api.add_middleware(ReplicaMiddleware, replica=self._replica, open_requests=self._open_requests)
        return api

    async def load(self) -> dict[str, Load]:
        return {"Ingress": Load(ongoing=self._open_requests.count)}


IngressDeployment = serve.deployment(
    name="Ingress", max_ongoing_requests=1500, ray_actor_options={"num_cpus": 0.1}
)(serve.ingress()(Ingress))

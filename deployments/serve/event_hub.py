"""The `EventHub` deployment: passes notices between processes, and word of models that load. Only for speed and for
what people read; see `deployments.events.bus` and `deployments.serve.loading`."""

from __future__ import annotations

from ray import serve

from deployments.events.bus import Batch, Cursor, LocalBus, Notice
from deployments.serve.loading import Loading, LoadingBoard
from deployments.serve.loopback import listen_where_the_node_is


class EventHub:
    def __init__(self) -> None:
        listen_where_the_node_is()
        self._bus = LocalBus()
        self._board = LoadingBoard()

    async def publish(self, notice: Notice, published_at_s: float | None = None) -> None:
        await self._bus.publish(notice, published_at_s)

    async def after(self, cursor: Cursor | None, timeout_s: float) -> Batch:
        return await self._bus.after(cursor, timeout_s)

    async def report_loading(self, deployment: str, replica: str, state: Loading | None) -> None:
        self._board.report(deployment, replica, state)

    async def loading(self) -> dict[str, Loading]:
        return self._board.read()


EventHubDeployment = serve.deployment(
    name="EventHub",
    max_ongoing_requests=1000,
    graceful_shutdown_timeout_s=1,  # listeners wait here all the time: a stop need not wait for them
    ray_actor_options={"num_cpus": 0.1},
)(EventHub)

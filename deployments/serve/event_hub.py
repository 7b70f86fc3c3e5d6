"""The `EventHub` deployment: passes notices between processes. Only for speed; see `deployments.events.bus`."""

from __future__ import annotations

from ray import serve

from deployments.events.bus import Batch, Cursor, LocalBus, Notice
from deployments.serve.loopback import listen_where_the_node_is


class EventHub:
    def __init__(self) -> None:
        listen_where_the_node_is()
        self._bus = LocalBus()

    async def publish(self, notice: Notice) -> None:
        await self._bus.publish(notice)

    async def after(self, cursor: Cursor | None, timeout_s: float) -> Batch:
        return await self._bus.after(cursor, timeout_s)


EventHubDeployment = serve.deployment(
    name="EventHub",
    max_ongoing_requests=1000,
    graceful_shutdown_timeout_s=1,  # listeners wait here all the time: a stop need not wait for them
    ray_actor_options={"num_cpus": 0.1},
)(EventHub)

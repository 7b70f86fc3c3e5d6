"""The `Separator` deployment: one separation model on its share of a GPU. A segment in, its sources out.

A replica knows no tracks and keeps no state that a request depends on: see `deployments.engines.separation`.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

from ray import serve

from configs.settings import Settings
from deployments.engines.common.device import Device
from deployments.engines.separation import catalog as registry
from deployments.engines.separation.catalog import SeparatorOptions
from deployments.engines.separation.load import load
from deployments.engines.separation.needs import of_separator
from deployments.engines.separation.protocol import Estimates, SegmentRequest, SeparatorEngine
from deployments.serve.gpu import gpu_share
from deployments.serve.loopback import listen_where_the_node_is
from deployments.serve.replica import EngineReplica
from deployments.telemetry.logs import configure_logging

logger = logging.getLogger("segue.separator")


class Separator(EngineReplica[SeparatorEngine]):
    """Loads its model before it is ready, so that no segment waits for weights."""

    async def __init__(self, model: str, settings: Settings, hub: Any) -> None:  # type: ignore[misc]
        configure_logging(settings)
        listen_where_the_node_is()
        separation = settings.separation
        self._engine = await self._loaded(
            lambda: of_separator(registry.find(model)),
            partial(
                load,
                model,
                cache_dir=Path(settings.models.cache_dir),
                options=SeparatorOptions(
                    device=Device(separation.device),
                    dtype=separation.dtype,
                    threads=separation.threads,
                    gpu_memory_fraction=gpu_share(),
                    batch=separation.batch,
                ),
            ),
            hub,
        )
        logger.info("model ready: %s", (await self._engine.info()).describe())

    async def separate(self, segment: SegmentRequest) -> Estimates:
        """As `engines.separation.protocol.Separator.separate`."""
        return await self._engine.separate(segment)


SeparatorDeployment = serve.deployment(
    name="Separator", max_ongoing_requests=16, ray_actor_options={"num_cpus": 0.1}
)(Separator)

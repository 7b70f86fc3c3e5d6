"""The one composition root: `build(args) -> Application`, which `serve run serve_app.app:build` and the deploy
files call. Settings go in, bound deployments come out; nothing else binds deployments.

Without `from __future__ import annotations`: Serve looks at the builder's annotation itself, not at its text,
to validate the arguments.
"""

import logging
from typing import Any

from pydantic import BaseModel, ConfigDict
from ray.serve import Application
from ray.serve.schema import ServeApplicationSchema

from configs.environment import DEFAULT_PROFILE, load_settings, overridden
from deployments.engines.families import served_models
from deployments.serve.event_hub import EventHubDeployment
from deployments.serve.hosts import HOSTS
from deployments.serve.runner import JobRunnerDeployment
from serve_app.ingress import IngressDeployment
from serve_app.system.listening import require_keys
from serve_app.system.placement import require_resources

logger = logging.getLogger("segue.app")


class BuildArgs(BaseModel):
    """The arguments of a deploy file. `settings` is nested as `configs.settings.Settings` is."""

    model_config = ConfigDict(extra="forbid")

    profile: str = DEFAULT_PROFILE
    settings: dict[str, Any] = {}


def build(args: BuildArgs) -> Application:
    """Raises ValueError for settings that do not hold, UnknownModel for a model that is not known,
    InsufficientResources for a cluster that cannot hold it, OpenToStrangers for one that others reach without keys.
    """
    settings = load_settings(args.settings, profile=args.profile)
    for name, below, above in overridden(args.settings):
        logger.warning("%s: the environment's %r overrides the deploy file's %r", name, above, below)
    require_keys(settings)
    models = served_models(settings)
    hosts = {model.deployment: HOSTS[model.family.name].options(name=model.deployment) for model in models}
    require_resources(
        [IngressDeployment, JobRunnerDeployment, EventHubDeployment, *hosts.values()],
        lambda config: _is_of(config, args),
        wait=settings.cluster.wait_for_resources,
    )
    hub = EventHubDeployment.bind()
    handles = {model.deployment: hosts[model.deployment].bind(model, settings, hub) for model in models}
    runner = JobRunnerDeployment.bind(settings, models, handles, hub)
    application: Application = IngressDeployment.bind(settings, models, handles, runner, hub)
    return application


def _is_of(config: ServeApplicationSchema, args: BuildArgs) -> bool:
    """Whether a deploy file's application is what `build(args)` builds."""
    module, _, name = config.import_path.replace(":", ".").rpartition(".")
    return (module, name) == (__name__, build.__name__) and (
        config.args == args.model_dump(exclude_unset=True)
    )

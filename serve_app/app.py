"""The one composition root: `build(args) -> Application`, which `serve run serve_app.app:build` and the deploy
files call. Settings go in, bound deployments come out; nothing else binds deployments.

Without `from __future__ import annotations`: Serve looks at the builder's annotation itself, not at its text,
to validate the arguments.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict
from ray.serve import Application

from configs.environment import DEFAULT_PROFILE, load_settings
from deployments.engines import registry
from deployments.event_hub import EventHubDeployment
from deployments.generator import GeneratorDeployment
from deployments.runner import JobRunnerDeployment
from serve_app.ingress import IngressDeployment


class BuildArgs(BaseModel):
    """The arguments of a deploy file. `settings` is nested as `configs.settings.Settings` is."""

    model_config = ConfigDict(extra="forbid")

    profile: str = DEFAULT_PROFILE
    settings: dict[str, Any] = {}


def build(args: BuildArgs) -> Application:
    """Raises ValueError for settings that do not hold, UnknownModel for a model that is not known."""
    settings = load_settings(args.settings, profile=args.profile)
    entries = [registry.find(name) for name in settings.models.served]
    names = [deployment_name(index, entry.name) for index, entry in enumerate(entries)]
    generators = {
        entry.name: GeneratorDeployment.options(name=name).bind(model, settings)
        for entry, name, model in zip(entries, names, settings.models.served, strict=True)
    }
    hub = EventHubDeployment.bind()
    runner = JobRunnerDeployment.bind(settings, generators, hub)
    deployments = {entry.name: name for entry, name in zip(entries, names, strict=True)}
    application: Application = IngressDeployment.bind(settings, deployments, runner, hub)
    return application


def deployment_name(index: int, model: str) -> str:
    """`Generator` for the default model; another model's deployment is named after it as well."""
    if index == 0:
        return "Generator"
    return "Generator-" + "".join(letter if letter.isalnum() else "-" for letter in model)

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
from deployments.engines.analysis import catalog as analysis
from deployments.engines.music import catalog as registry
from deployments.engines.separation import catalog as separation
from deployments.serve.analyser import AnalyserDeployment
from deployments.serve.event_hub import EventHubDeployment
from deployments.serve.generator import GeneratorDeployment
from deployments.serve.runner import JobRunnerDeployment
from deployments.serve.separator import SeparatorDeployment
from serve_app.fetch import require_distinct
from serve_app.ingress import IngressDeployment
from serve_app.system.placement import require_resources

logger = logging.getLogger("segue.app")


class BuildArgs(BaseModel):
    """The arguments of a deploy file. `settings` is nested as `configs.settings.Settings` is."""

    model_config = ConfigDict(extra="forbid")

    profile: str = DEFAULT_PROFILE
    settings: dict[str, Any] = {}


def build(args: BuildArgs) -> Application:
    """Raises ValueError for settings that do not hold, UnknownModel for a model that is not known,
    InsufficientResources for a cluster that cannot hold it."""
    settings = load_settings(args.settings, profile=args.profile)
    for name, below, above in overridden(args.settings):
        logger.warning("%s: the environment's %r overrides the deploy file's %r", name, above, below)
    entries = [
        registry.find(name, registry.EngineKind(settings.models.engine)) for name in settings.models.served
    ]
    generators = [
        GeneratorDeployment.options(name=deployment_name("Generator", index, entry.name))
        for index, entry in enumerate(entries)
    ]
    separator_entries = [separation.find(name) for name in settings.separation.served]
    separators = [
        SeparatorDeployment.options(name=deployment_name("Separator", index, entry.name))
        for index, entry in enumerate(separator_entries)
    ]
    require_distinct([entry.name for entry in entries])
    require_distinct([entry.name for entry in separator_entries])
    analysed_by = settings.analysis.served
    analyser_entry = analysis.find(analysed_by) if analysed_by is not None else None
    analysers = [AnalyserDeployment] if analyser_entry is not None else []
    require_resources(
        [IngressDeployment, JobRunnerDeployment, EventHubDeployment, *generators, *separators, *analysers],
        lambda config: _is_of(config, args),
        wait=settings.cluster.wait_for_resources,
    )
    hub = EventHubDeployment.bind()
    served = {
        entry.name: generator.bind(model, settings, hub)
        for entry, generator, model in zip(entries, generators, settings.models.served, strict=True)
    }
    separating = {
        entry.name: separator.bind(model, settings, hub)
        for entry, separator, model in zip(
            separator_entries, separators, settings.separation.served, strict=True
        )
    }
    analyser = AnalyserDeployment.bind(analysed_by, settings, hub) if analyser_entry is not None else None
    runner = JobRunnerDeployment.bind(settings, served, separating, analyser, hub)
    application: Application = IngressDeployment.bind(
        settings,
        served,
        {entry.name: separator.name for entry, separator in zip(separator_entries, separators, strict=True)},
        analyser,
        runner,
        hub,
    )
    return application


def _is_of(config: ServeApplicationSchema, args: BuildArgs) -> bool:
    """Whether a deploy file's application is what `build(args)` builds."""
    module, _, name = config.import_path.replace(":", ".").rpartition(".")
    return (module, name) == (__name__, build.__name__) and (
        config.args == args.model_dump(exclude_unset=True)
    )


def deployment_name(kind: str, index: int, model: str) -> str:
    """`Generator` for the default model of a kind; another's deployment is named after its model as well."""
    if index == 0:
        return kind
    return f"{kind}-" + "".join(letter if letter.isalnum() else "-" for letter in model)

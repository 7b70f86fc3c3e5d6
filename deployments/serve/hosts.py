"""Which Serve class hosts the models of each family."""

from __future__ import annotations

from collections.abc import Mapping

from ray.serve import Deployment

from deployments.engines.families import ANALYSER, GENERATOR, SEPARATOR
from deployments.serve.analyser import AnalyserDeployment
from deployments.serve.generator import GeneratorDeployment
from deployments.serve.separator import SeparatorDeployment

HOSTS: Mapping[str, Deployment] = {
    GENERATOR.name: GeneratorDeployment,
    SEPARATOR.name: SeparatorDeployment,
    ANALYSER.name: AnalyserDeployment,
}
"""By the family's name."""

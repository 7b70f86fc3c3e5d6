"""What a separator needs from the hub."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from deployments.engines.common.errors import ModelUnavailable
from deployments.engines.common.hub.needs import Read, Repository, Weights
from deployments.engines.separation.catalog import Origin, SeparatorEntry


def of_separator(entry: SeparatorEntry) -> Weights | None:
    """None where nothing is from the hub."""
    if entry.origin is not Origin.HUB:
        return None
    return Weights(entry.name, lambda read: demucs_repositories(entry.name, read))


def demucs_repositories(name: str, read: Read) -> Iterator[Repository]:
    """Of a published model of Demucs: its list of networks, then they."""
    from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name

    repository, bag = f"{DEFAULT_NAMESPACE}/{hf_repo_name(name)}", f"{name}.yaml"
    yield Repository(repository, ((bag,),))
    path = read(repository, bag, None)
    if path is None:
        return
    try:
        signatures = [str(signature) for signature in yaml.safe_load(path.read_text())["models"]]
    except (yaml.YAMLError, LookupError, TypeError) as error:
        raise ModelUnavailable(f"{bag} of {repository} is no list of networks") from error
    yield Repository(repository, tuple((f"{signature}.safetensors",) for signature in signatures))

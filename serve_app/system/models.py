"""The models that this application serves, and which of them answers a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from deployments.engines.common.catalog import Named
from deployments.engines.families import ServedModel
from deployments.engines.music.catalog import ModelEntry
from deployments.engines.music.protocol import GenerationMode
from deployments.telemetry.load import Load
from serve_app.http.problems import FieldError, Unprocessable

E = TypeVar("E", bound=Named)

Status = Literal["ready", "loading", "error"]


@dataclass(frozen=True, slots=True)
class ModelState:
    """How a served model is now. `replicas` counts those that run; `detail` says what is wrong, or how far loading
    is. Bytes are of the download; 0 where there is none."""

    status: Status
    replicas: int = 1
    detail: str = ""
    done_bytes: int = 0
    total_bytes: int = 0


UNKNOWN = ModelState("loading", 0)
"""Of a model of which the cluster knows nothing yet."""


@dataclass(frozen=True, slots=True)
class Gpus:
    """The cluster's, logical ones and fractions as Ray counts them. `id` is that of this process's own, if any."""

    total: float
    free: float
    id: int | None = None


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """A deployment as Serve sees it.

    `target_replicas` is what the autoscaler wants now, `replicas` counts those that are there by their state,
    `resources` are one replica's by Ray's names. `load` None: no replica has told in time.
    """

    status: str
    target_replicas: int
    replicas: Mapping[str, int]
    resources: Mapping[str, float]
    load: Load | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the cluster has, what runs in it and what waits. `unfinished_jobs` are those of all tenants."""

    gpus: Gpus
    deployments: Mapping[str, DeploymentState]
    unfinished_jobs: int


class Cluster(Protocol):
    """The state of what runs behind the ingress."""

    async def model_states(self) -> Mapping[str, ModelState]:
        """Of the deployments that serve a model, by deployment."""
        ...

    async def gpus(self) -> Gpus: ...

    async def deployments(self) -> Mapping[str, DeploymentState]:
        """By deployment."""
        ...


class ServedEntries(Generic[E]):
    """What is served of one family, the default first."""

    def __init__(self, models: Sequence[ServedModel[E]]) -> None:
        self._entries = {model.entry.name: model.entry for model in models}

    @property
    def entries(self) -> tuple[E, ...]:
        """The default first."""
        return tuple(self._entries.values())

    @property
    def default(self) -> str:
        """Empty where nothing is served."""
        return next(iter(self._entries), "")

    def find(self, name: str | None) -> E:
        """The model of that name, the default for None. Raises Unprocessable for one that is not served."""
        found = self._entries.get(name or self.default)
        if found is None:
            served = ", ".join(self._entries) or "none"
            raise invalid("model", f"model {name!r} is not served here; served are: {served}")
        return found


class ServedGenerators(ServedEntries[ModelEntry]):
    def choose(self, name: str | None, mode: GenerationMode) -> ModelEntry:
        """The model that a request means. Raises Unprocessable for one that is not served or cannot do it."""
        chosen = self.find(name)
        if mode not in chosen.modes:
            able = ", ".join(mode.value for mode in chosen.modes)
            raise invalid("mode", f"model {chosen.name} cannot do mode {mode.value!r}; it can do: {able}")
        return chosen


def invalid(field: str, message: str) -> Unprocessable:
    return Unprocessable(message, errors=[FieldError(field, message)])

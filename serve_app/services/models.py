"""The models that this application serves, and which of them answers a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from deployments.engines.protocols import GenerationMode
from deployments.engines.registry import ModelEntry
from serve_app.problems import FieldError, Unprocessable

Status = Literal["ready", "loading", "error"]


@dataclass(frozen=True, slots=True)
class ModelState:
    """How a served model is now. `replicas` counts those that run; `detail` says what is wrong, if anything."""

    status: Status
    replicas: int = 1
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the cluster has, as Ray sees it: logical GPUs, and replicas and queues by deployment."""

    gpus_total: float
    gpus_free: float
    gpu_id: int | None
    deployments: Mapping[str, Mapping[str, Any]]


class Cluster(Protocol):
    """The state of what runs behind the ingress."""

    async def model_states(self) -> Mapping[str, ModelState]:
        """By model name."""
        ...

    async def capacity(self) -> Capacity: ...


class ServedModels:
    def __init__(self, entries: Sequence[ModelEntry]) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self.default = entries[0].name

    @property
    def entries(self) -> tuple[ModelEntry, ...]:
        """The default first."""
        return tuple(self._entries.values())

    def choose(self, name: str | None, mode: GenerationMode) -> ModelEntry:
        """The model that a request means. Raises Unprocessable for one that is not served or cannot do it."""
        chosen = self._entries.get(name or self.default)
        if chosen is None:
            served = ", ".join(self._entries)
            raise _invalid("model", f"model {name!r} is not served here; served are: {served}")
        if mode not in chosen.modes:
            able = ", ".join(mode.value for mode in chosen.modes)
            raise _invalid("mode", f"model {chosen.name} cannot do mode {mode.value!r}; it can do: {able}")
        return chosen


def _invalid(field: str, message: str) -> Unprocessable:
    return Unprocessable(message, errors=[FieldError(field, message)])

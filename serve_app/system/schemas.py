"""Models, capacity, deployments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field

from deployments.engines.families import ANALYSER, GENERATOR, SEPARATOR, Family, ServedModel, of_family
from serve_app.system.models import UNKNOWN, Capacity, ModelState

V = TypeVar("V", bound="ServedView")


class ServedView(BaseModel):
    """A served model of any family, and how it is now."""

    name: str
    engine: str
    licence: str
    description: str
    status: str
    replicas: int
    detail: str = ""
    done_bytes: int = 0
    total_bytes: int = 0


class ModelView(ServedView):
    sample_rate_hz: int
    channels: int
    modes: list[str]
    default: bool


class SeparatorView(ServedView):
    sample_rate_hz: int
    channels: int
    sources: list[str]
    networks: int
    default: bool


class AnalyserView(ServedView):
    pass


class ModelListView(BaseModel):
    """`models` generate, `separators` make stems, `analyser` analyses."""

    models: list[ModelView]
    separators: list[SeparatorView]
    analyser: AnalyserView | None


class DeploymentView(BaseModel):
    status: Annotated[str, Field(examples=["HEALTHY", "UPSCALING"])]
    target_replicas: Annotated[int, Field(description="how many the autoscaler wants now")]
    replicas: Annotated[dict[str, int], Field(examples=[{"RUNNING": 2, "STARTING": 1}])]
    resources: Annotated[
        dict[str, float], Field(description="of one replica", examples=[{"CPU": 1.0, "GPU": 0.25}])
    ]
    ongoing: Annotated[
        int | None,
        Field(
            description="worked on now: requests (Ingress), jobs (JobRunner), takes that an engine has begun "
            "(Generator); null: not counted, or not known at the moment"
        ),
    ]
    queued: Annotated[
        int | None, Field(description="waits for its turn: jobs in runners, takes for an engine")
    ]


class JobCountView(BaseModel):
    unfinished: Annotated[
        int | None,
        Field(description="all that storage has, those being worked on among them; null: not told"),
    ]
    waiting: Annotated[int | None, Field(description="of these, what no runner works on; null: not known")]


class CapacityView(BaseModel):
    """The whole cluster's, not the caller's share of it."""

    gpus_total: Annotated[float, Field(description="as Ray counts them, logical ones among them")]
    gpus_free: Annotated[float, Field(description="what no replica has taken, in fractions of a GPU")]
    gpu_id: int | None
    deployments: dict[str, DeploymentView]
    jobs: JobCountView


def model_list_view(models: Sequence[ServedModel[Any]], states: Mapping[str, ModelState]) -> ModelListView:
    """`states` are by deployment."""

    def views(kind: type[V], family: Family[Any, Any, Any]) -> list[V]:
        return [
            kind(
                **model.entry.describe(),
                **asdict(states.get(model.deployment, UNKNOWN)),
                default=model.deployment == family.name,
            )
            for model in of_family(family, models)
        ]

    return ModelListView(
        models=views(ModelView, GENERATOR),
        separators=views(SeparatorView, SEPARATOR),
        analyser=next(iter(views(AnalyserView, ANALYSER)), None),
    )


def capacity_view(capacity: Capacity, *, with_work: bool) -> CapacityView:
    """Without `with_work` there is no word of how much is worked on and waits: that is other tenants' business."""
    runners = capacity.deployments.get("JobRunner")
    working = runners.load.ongoing if runners is not None and runners.load is not None else None
    return CapacityView(
        gpus_total=capacity.gpus.total,
        gpus_free=capacity.gpus.free,
        gpu_id=capacity.gpus.id,
        deployments={
            name: DeploymentView(
                status=found.status,
                target_replicas=found.target_replicas,
                replicas=dict(found.replicas),
                resources=dict(found.resources),
                ongoing=found.load.ongoing if with_work and found.load is not None else None,
                queued=found.load.queued if with_work and found.load is not None else None,
            )
            for name, found in capacity.deployments.items()
        },
        jobs=JobCountView(
            unfinished=capacity.unfinished_jobs if with_work else None,
            waiting=None if working is None or not with_work else max(0, capacity.unfinished_jobs - working),
        ),
    )

"""What the whole application has and does, put together for those who watch it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from configs.environment import load_settings
from deployments.engines.families import served_models
from deployments.telemetry.load import Load
from serve_app.system.models import DeploymentState, Gpus, ModelState
from serve_app.system.schemas import capacity_view
from serve_app.system.service import SystemService
from serve_app.system.storage_check import StorageCheck
from storage.domain.jobs import Job, JobKind
from storage.repositories.jobs import Jobs
from storage.stores.memory import MemoryStore

GENERATOR = DeploymentState(
    status="UPSCALING",
    target_replicas=3,
    replicas={"RUNNING": 1, "STARTING": 2},
    resources={"CPU": 1.0, "GPU": 0.25},
    load=Load(ongoing=1, queued=2),
)
RUNNER = DeploymentState("HEALTHY", 1, {"RUNNING": 1}, {"CPU": 2.0}, load=Load(ongoing=3, queued=0))
HUB = DeploymentState("HEALTHY", 1, {"RUNNING": 1}, {"CPU": 0.1})


class StillCluster:
    """It stays as it is. `asked` counts how often the deployments were asked for."""

    def __init__(self, **deployments: DeploymentState) -> None:
        self._deployments = deployments
        self.asked = 0

    async def model_states(self) -> Mapping[str, ModelState]:
        return {"Generator": ModelState("ready")}

    async def gpus(self) -> Gpus:
        return Gpus(total=2.0, free=1.75, id=0)

    async def deployments(self) -> Mapping[str, DeploymentState]:
        self.asked += 1
        return self._deployments


def service(cluster: StillCluster, jobs: Jobs) -> SystemService:
    settings = load_settings({"models": {"served": ["mock"]}}, environ={})
    return SystemService(cluster, served_models(settings), jobs, StorageCheck(MemoryStore()), settings)


async def with_unfinished_jobs(count: int) -> Jobs:
    jobs, now = Jobs(MemoryStore()), datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        await jobs.create(
            Job(
                id=f"job-{number}",
                kind=JobKind.EXPORT,
                tenant=f"tenant-{number % 2}",
                created_at=now,
                updated_at=now,
                request_sha256="",
                params={},
            )
        )
    return jobs


async def test_gpus_replicas_queues_and_jobs_are_shown_together() -> None:
    cluster = StillCluster(Generator=GENERATOR, JobRunner=RUNNER, EventHub=HUB)
    shown = capacity_view(
        await service(cluster, await with_unfinished_jobs(5)).capacity(), with_work=True
    ).model_dump()
    assert (shown["gpus_total"], shown["gpus_free"], shown["gpu_id"]) == (2.0, 1.75, 0)
    assert shown["deployments"]["Generator"] == {
        "status": "UPSCALING",
        "target_replicas": 3,
        "replicas": {"RUNNING": 1, "STARTING": 2},
        "resources": {"CPU": 1.0, "GPU": 0.25},
        "ongoing": 1,
        "queued": 2,
    }
    assert (shown["deployments"]["EventHub"]["ongoing"], shown["deployments"]["EventHub"]["queued"]) == (
        None,
        None,
    )
    assert shown["jobs"] == {"unfinished": 5, "waiting": 2}


async def test_what_no_runner_tells_is_not_guessed() -> None:
    jobs = await with_unfinished_jobs(1)
    assert capacity_view(await service(StillCluster(), jobs).capacity(), with_work=True).jobs.waiting is None
    # A job may end between the two counts.
    busy = StillCluster(JobRunner=RUNNER)
    assert capacity_view(await service(busy, jobs).capacity(), with_work=True).jobs.waiting == 0


async def test_asking_all_the_time_costs_the_cluster_little() -> None:
    cluster = StillCluster(Generator=GENERATOR)
    asked = service(cluster, Jobs(MemoryStore()))
    for _ in range(20):
        await asked.capacity()
    assert cluster.asked < 20
    health = await asked.health()
    assert (health["ok"], health["gpu"], health["gpu_id"]) == (True, True, 0)

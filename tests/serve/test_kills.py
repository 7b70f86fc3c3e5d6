"""Processes die in the middle of a generation; each job ends once, and clients see it."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.serve.chaos.stand import Stand, Victim
from tests.serve.event_source import EventSource
from tests.serve.page_watcher import PageWatcher, watching
from tests.serve.patient import PatientClient
from tests.support.clips import encoded, music

pytestmark = [pytest.mark.serve, pytest.mark.torch]

RATE_HZ = 44_100
TAKE_S = 30.0
FINISH_S = 180.0
LISTENERS = 4

KILLED = (
    Victim.GENERATOR,
    Victim.RUNNER,
    Victim.INGRESS,
    Victim.HUB,
    Victim.PROXY,
    Victim.CONTROLLER,
    Victim.NODE,
)
"""What dies alone; `make chaos` kills the rest too."""

KILLED_AT_WORK = (Victim.GENERATOR, Victim.RUNNER, Victim.NODE)
CUTS_STREAMS = (Victim.INGRESS, Victim.PROXY)
BEFORE_A_PAGE = (Victim.INGRESS, Victim.RUNNER)
"""Those whose death a page in a browser lives through too: of the server before it, and of what works behind."""


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """One cluster for all kills; each test leaves it whole."""
    stand = Stand(tmp_path_factory.mktemp("stand"), at_once=1)
    try:
        stand.start()
        yield stand
    finally:
        stand.stop()


@pytest.fixture
def http(stand: Stand) -> Iterator[PatientClient]:
    with PatientClient(stand.server.url) as client:
        yield client


@dataclass(frozen=True)
class Takes:
    """What was asked for, and by whose word."""

    chain_id: str
    root_id: str
    node_ids: list[str]
    job_ids: list[str]


def upload(http: PatientClient) -> dict[str, Any]:
    clip = encoded(music(), RATE_HZ, "wav")
    answer = http.ask("POST", "/v1/chains", files={"file": ("clip.wav", clip)})
    chain: dict[str, Any] = http.told(answer, 201)
    return chain


def branch(http: PatientClient, chain: dict[str, Any], **wanted: Any) -> Takes:
    answer = http.ask(
        "POST", f"/v1/chains/{chain['id']}/nodes", json={"parent_id": chain["root_id"], **wanted}
    )
    accepted = http.told(answer, 202)
    node_ids = [node["id"] for node in accepted["nodes"]]
    return Takes(chain["id"], chain["root_id"], node_ids, accepted["job_ids"])


def jobs_of(http: PatientClient, takes: Takes) -> list[dict[str, Any]]:
    return [http.get(f"/v1/jobs/{job_id}") for job_id in takes.job_ids]


def begin(http: PatientClient, chain: dict[str, Any]) -> Takes:
    """Two takes that are both being generated: one runner and one generator for each.

    Where one was ready before the other had begun, two others are begun.
    """
    for _ in range(5):
        takes = branch(http, chain, duration_s=TAKE_S, seed=3, takes=2)
        while not any(job["state"] == "succeeded" for job in jobs_of(http, takes)):
            if all(job["state"] == "running" and job["progress"] > 0.02 for job in jobs_of(http, takes)):
                return takes
    raise AssertionError("two takes were never generated at the same time")


def ended(http: PatientClient, takes: Takes) -> list[dict[str, Any]]:
    deadline_s = time.monotonic() + FINISH_S
    while True:
        jobs = jobs_of(http, takes)
        if all(job["state"] not in ("queued", "running") for job in jobs):
            return jobs
        assert time.monotonic() < deadline_s, jobs
        time.sleep(0.2)


def assert_whole(http: PatientClient, chain_id: str, node_id: str) -> str:
    """The node is ready and its audio all there; returns its hash."""
    node = http.get(f"/v1/chains/{chain_id}/nodes/{node_id}")
    assert node["status"] == "ready", node
    assert node["audio"]["samples"] == round(node["duration_s"] * RATE_HZ) == round(TAKE_S * RATE_HZ)
    audio = http.ask("GET", f"/v1/chains/{chain_id}/nodes/{node_id}/audio").content
    sha256: str = node["audio"]["sha256"]
    assert hashlib.sha256(audio).hexdigest() == sha256
    assert soundfile.info(io.BytesIO(audio)).frames == node["audio"]["samples"]
    return sha256


def markers(stand: Stand) -> list[Path]:
    return [path for path in Path(stand.server.data, "tenants/local/active").glob("*") if path.is_file()]


@pytest.mark.parametrize("victim", KILLED)
def test_sigkill_in_mid_generation(stand: Stand, http: PatientClient, victim: Victim) -> None:
    chain = upload(http)
    with ExitStack() as listening:
        pages = [
            listening.enter_context(EventSource(stand.server.url, chain["id"], everything=number % 2 == 1))
            for number in range(LISTENERS)
        ]
        for page in pages:
            page.wait_until(lambda page: chain["root_id"] in page.nodes, 30, "there is a root")
        watcher: PageWatcher | None = None
        if victim in BEFORE_A_PAGE:
            watcher = listening.enter_context(watching(stand.server.url, chain["id"]))
        takes = begin(http, chain)
        if watcher is not None:
            watcher.follow(takes.node_ids[0])

        stand.strike(victim)

        jobs = ended(http, takes)
        assert [job["state"] for job in jobs] == ["succeeded", "succeeded"], jobs
        attempts = sorted(job["attempt"] for job in jobs)
        if victim in KILLED_AT_WORK:
            assert attempts[0] in (1, 2)
            assert attempts[1] == 2
        else:
            assert attempts == [1, 1]
        hashes = [assert_whole(http, takes.chain_id, node_id) for node_id in takes.node_ids]
        for page in pages:
            page.wait_until(
                lambda page: all(page.nodes[node_id]["status"] == "ready" for node_id in takes.node_ids),
                60,
                "both takes are ready",
            )
        if watcher is not None:
            made = http.get(f"/v1/chains/{chain['id']}")["nodes"]
            watcher.require_ready(takes.node_ids, nodes=len(made))
        if victim in CUTS_STREAMS:
            assert max(page.streams for page in pages) > 1, "nobody's stream was cut"

        stand.wait_until_whole()
        stand.server.wait_until(lambda: not markers(stand), 30, "no job is marked as unfinished")
        after = branch(http, chain, duration_s=1.0)
        assert [job["state"] for job in ended(http, after)] == ["succeeded"]
        for page in pages:  # and in all that time there was no second audio
            page.wait_until(
                lambda page: page.nodes.get(after.node_ids[0], {}).get("status") == "ready",
                60,
                "the take after it all is ready",
            )
            assert [page.hashes[node_id] for node_id in takes.node_ids] == [{sha256} for sha256 in hashes]
    nodes = http.get(f"/v1/chains/{chain['id']}")["nodes"]
    assert {node["status"] for node in nodes} == {"ready"}


@pytest.mark.slow
def test_a_power_cut_loses_nothing(stand: Stand, http: PatientClient) -> None:
    chain = upload(http)
    running = begin(http, chain)
    queued = branch(http, chain, duration_s=2.0, takes=6)

    stand.stop()
    stand.start()

    assert [job["state"] for job in ended(http, running)] == ["succeeded"] * 2
    assert [job["state"] for job in ended(http, queued)] == ["succeeded"] * 6
    nodes = http.get(f"/v1/chains/{chain['id']}")["nodes"]
    assert len(nodes) >= 9
    assert {node["status"] for node in nodes} == {"ready"}
    stand.server.wait_until(lambda: not markers(stand), 30, "no job is marked as unfinished")

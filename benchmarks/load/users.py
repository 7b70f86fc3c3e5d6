"""The musicians, as Locust runs them: `locust -f benchmarks/load/users.py` with the variables that `load` sets.

Each uploads a clip, then branches from it, listens to a take while it is made, commits it, and now and then asks
for stems and an export; a stream of events is open all the while. Every request, and what a musician notices
besides, is a line of JSON in the file `LOAD_SAMPLES`: `{at_s, name, seconds, outcome}`.
"""

from __future__ import annotations

import json
import os
import random
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import gevent
from locust import HttpUser, LoadTestShape, constant, events, task

from benchmarks.load.plan import Phase, phases_from
from tests.support.clips import encoded, music

RATE_HZ = 44_100
TAKE_S = float(os.environ.get("LOAD_TAKE_S", "4"))
PHASES = phases_from(os.environ["LOAD_PHASES"])
STEMS_SHARE, EXPORT_SHARE = 0.1, 0.5
LONGEST_S = 120.0
"""A take that is not ready by then is given up."""

CLIP = encoded(music(3.0, RATE_HZ), RATE_HZ, "wav")
_samples = Path(os.environ["LOAD_SAMPLES"]).open("a", buffering=1)  # noqa: SIM115 - for the whole run


def sample(name: str, seconds: float, outcome: str) -> None:
    _samples.write(
        json.dumps({"at_s": time.time(), "name": name, "seconds": round(seconds, 4), "outcome": outcome})
        + "\n"
    )


@events.request.add_listener  # type: ignore[untyped-decorator]
def keep(
    name: str, response_time: float, response: Any = None, exception: Exception | None = None, **_: Any
) -> None:
    status = getattr(response, "status_code", 0)
    outcome = type(exception).__name__ if exception is not None and not status else str(status)
    sample(name, response_time / 1000, outcome)


class Musician(HttpUser):  # type: ignore[misc]
    wait_time = constant(0.5)

    def on_start(self) -> None:
        self._listening: gevent.Greenlet | None = None
        self._chain: dict[str, Any] = {}
        while not self._chain:
            with self.client.post(
                "/v1/chains",
                files={"file": ("clip.wav", CLIP)},
                name="upload",
                catch_response=True,
            ) as answer:
                answer.success()
                if answer.status_code == 201:
                    self._chain = answer.json()
                    self._parent = self._chain["root_id"]
                    self._url = f"/v1/chains/{self._chain['id']}"
            if not self._chain:
                gevent.sleep(1 + random.random())
        self._listening = gevent.spawn(self._follow)

    def on_stop(self) -> None:
        if self._listening is not None:
            self._listening.kill()

    @task  # type: ignore[untyped-decorator]
    def continue_the_line(self) -> None:
        body = {"parent_id": self._parent, "prompt": "steel drums", "duration_s": TAKE_S, "takes": 2}
        asked_s = time.time()
        with self.client.post(f"{self._url}/nodes", json=body, name="branch", catch_response=True) as answer:
            answer.success()
            if answer.status_code == 429:
                gevent.sleep(float(answer.headers.get("Retry-After", 2)) * random.uniform(0.5, 1))
                return
            if answer.status_code != 202:
                gevent.sleep(1)
                return
            made = answer.json()
        self._listen(made["job_ids"][0], asked_s)
        ready = [node_id for node in made["nodes"] if (node_id := self._until_ready(node["id"], asked_s))]
        for job_id in made["job_ids"]:
            self._note_wait(job_id)
        if ready:
            self._decide(ready[0])

    def _listen(self, job_id: str, asked_s: float) -> None:
        """To the take while it is made: the time until it sounds, and until all of it has been heard."""
        with self.client.get(
            f"/v1/jobs/{job_id}/audio", name="listen", stream=True, catch_response=True, timeout=LONGEST_S
        ) as answer:
            answer.success()
            heard = 0
            for block in answer.iter_content(16_384):
                heard += len(block)
                if heard > 44:  # the header says nothing yet
                    sample("first audio", time.time() - asked_s, str(answer.status_code))
                    break
            for _ in answer.iter_content(65_536):
                pass

    def _until_ready(self, node_id: str, asked_s: float) -> str | None:
        while time.time() - asked_s < LONGEST_S:
            with self.client.get(f"{self._url}/nodes/{node_id}", name="node", catch_response=True) as answer:
                answer.success()
                status = answer.json().get("status") if answer.status_code == 200 else None
            if status == "ready":
                sample("take", time.time() - asked_s, "ready")
                return node_id
            if status in ("failed", "cancelled"):
                break
            gevent.sleep(0.5)
        sample("take", time.time() - asked_s, "lost")
        return None

    def _note_wait(self, job_id: str) -> None:
        """From a job's acceptance to its first claim, by its own record."""
        with self.client.get(f"/v1/jobs/{job_id}", name="job", catch_response=True) as answer:
            answer.success()
            job = answer.json() if answer.status_code == 200 else {}
        if job.get("started_at"):
            created, started = (
                datetime.fromisoformat(job[moment]) for moment in ("created_at", "started_at")
            )
            sample("queue wait", (started - created).total_seconds(), "200")

    def _decide(self, node_id: str) -> None:
        self.client.post(f"{self._url}/nodes/{node_id}/commit", name="commit")
        if random.random() < STEMS_SHARE:
            self.client.post(f"{self._url}/nodes/{node_id}/stems", name="stems")
        if random.random() < EXPORT_SHARE:
            self.client.post(f"{self._url}/export", json={"format": "mp3"}, name="export")

    def _follow(self) -> None:
        """A stream of events: how long after a change of the chain its frame arrives."""
        while True:
            try:
                with self.client.get(
                    f"{self._url}/events", name="events", stream=True, catch_response=True, timeout=60
                ) as answer:
                    answer.success()
                    event = ""
                    for line in answer.iter_lines():
                        if line.startswith(b"event: "):
                            event = line[7:].decode()
                        elif line.startswith(b"data: ") and event == "chain":
                            changed_at = datetime.fromisoformat(json.loads(line[6:])["updated_at"])
                            sample("event lag", time.time() - changed_at.timestamp(), "200")
            except (OSError, ValueError):
                gevent.sleep(1)


class Course(LoadTestShape):  # type: ignore[misc]
    """As many musicians as the phase says that it is."""

    def tick(self) -> tuple[int, float] | None:
        phase = Phase.at(PHASES, self.get_run_time())
        return None if phase is None else (phase.musicians, 4.0)

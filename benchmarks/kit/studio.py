"""What the measurements do with the service besides measuring it: chains to measure on."""

from __future__ import annotations

import time
from typing import Any

import httpx

from tests.support.clips import encoded, music

RATE_HZ = 44_100
FINISH_TIMEOUT_S = 180.0

Record = dict[str, Any]


class Studio:
    """`store` says, for people, where its service keeps everything."""

    def __init__(self, port: int, store: str = "local folder") -> None:
        self.port = port
        self.store = store
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False)

    def close(self) -> None:
        self.http.close()

    def upload(self, duration_s: float) -> Record:
        """A chain whose root is a stereo clip."""
        clip = encoded(music(duration_s, RATE_HZ), RATE_HZ, "wav")
        return _body(self.http.post("/v1/chains", files={"file": ("clip.wav", clip)}), 201)

    def branch(self, chain: Record, **wanted: Any) -> Record:
        body = {"parent_id": chain["root_id"], "prompt": "strings", **wanted}
        return _body(self.http.post(f"/v1/chains/{chain['id']}/nodes", json=body), 202)

    def rename(self, chain: Record, title: str) -> Record:
        return _body(self.http.patch(f"/v1/chains/{chain['id']}", json={"title": title}), 200)

    def commit(self, chain: Record, node_id: str) -> Record:
        return _body(self.http.post(f"/v1/chains/{chain['id']}/nodes/{node_id}/commit"), 200)

    def job(self, job_id: str) -> Record:
        return _body(self.http.get(f"/v1/jobs/{job_id}"), 200)

    def capacity(self) -> Record:
        return _body(self.http.get("/v1/gpu"), 200)

    def grow(self, chain: Record, takes: int) -> list[str]:
        """Ready takes of the mock below the root, half a second each; their ids."""
        made: list[str] = []
        while len(made) < takes:
            wanted = min(8, takes - len(made))
            branched = self.branch(chain, duration_s=0.5, takes=wanted, model="mock")
            made += [node["id"] for node in branched["nodes"]]
            self._wait_until_ready(chain, made)
        return made

    def _wait_until_ready(self, chain: Record, node_ids: list[str]) -> None:
        deadline_s = time.monotonic() + FINISH_TIMEOUT_S
        while time.monotonic() < deadline_s:
            nodes = _body(self.http.get(f"/v1/chains/{chain['id']}"), 200)["nodes"]
            if all(node["status"] == "ready" for node in nodes if node["id"] in node_ids):
                return
            time.sleep(0.1)
        raise TimeoutError(f"takes are not ready after {FINISH_TIMEOUT_S:g} s")


def _body(answer: httpx.Response, status: int) -> Record:
    if answer.status_code != status:
        raise RuntimeError(f"{answer.request.method} {answer.request.url.path}: {answer.text[:400]}")
    body: Record = answer.json()
    return body

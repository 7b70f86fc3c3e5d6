"""A model whose weights the hub does not give yet, on a real server: it says so, and serves once they come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hub import published
from tests.hub.server import Fault, Hub
from tests.hub.server import Server as HubServer
from tests.serve.cluster import wait_until
from tests.serve.server import Server

CACHE = Path("~/.cache/segue/models").expanduser()
PATIENCE_S = 120.0

# Without a server: tests/deployments/serve/test_loading.py and tests/serve_app/test_api_loading.py.
pytestmark = [pytest.mark.slow, pytest.mark.serve, pytest.mark.torch]


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub(repositories=published.musicgen(CACHE, "tiny", published.SMALL))
    server = HubServer(made)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_model_says_why_it_does_not_load_and_is_served_once_it_does(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fail(Fault.FORBIDDEN)
    served = Server(
        tmp_path, MODEL=published.SMALL, HF_ENDPOINT=hub.url, HF_HUB_CACHE=str(tmp_path / "cache")
    )
    monkeypatch.setattr(served, "is_ready", lambda: _is_up(served.url))
    try:
        served.start()
        with httpx.Client(base_url=served.url, timeout=60) as client:
            state = wait_until(lambda: _failed(client), PATIENCE_S, "the reason is shown")
            assert "the name is wrong" in state["detail"]
            answer = client.post("/generate", json={"prompt": "calm", "duration": 1})
            assert answer.status_code == 503
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert "is wrong" in answer.json()["detail"] or "is being loaded" in answer.json()["detail"]
            made = client.post("/v1/chains", json={"title": "Dawn", "prompt": "slow", "duration_s": 1}).json()
            job = wait_until(lambda: _ended(client, made["job_id"]), PATIENCE_S, "the take ends")
            assert job["state"] == "failed"
            assert job["error"]["code"] == "model-unavailable"
            assert "the name is wrong" in job["error"]["detail"]
            hub.fail(None)
            wait_until(lambda: client.get("/readyz").status_code == 200, PATIENCE_S, "the model is served")
            (model,) = client.get("/v1/models").json()["models"]
            assert (model["name"], model["status"], model["detail"]) == (published.SMALL, "ready", "")
            assert client.post("/generate", json={"prompt": "calm", "duration": 1}).status_code == 200
        log = served.log.read_text()
        assert log.count("Traceback") == 0
    finally:
        served.stop()


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _failed(client: httpx.Client) -> dict[str, Any] | None:
    (state,) = client.get("/health").json()["models"].values()
    return state if state["status"] == "error" else None


def _ended(client: httpx.Client, job_id: str) -> dict[str, Any] | None:
    job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").json()
    return job if job["state"] in {"succeeded", "failed", "cancelled"} else None

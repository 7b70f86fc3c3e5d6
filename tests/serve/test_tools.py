"""The stateless tools, on a real server with the real models."""

from __future__ import annotations

import io
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from tests.serve.server import Server
from tests.support.clips import encoded, music

pytestmark = [pytest.mark.serve, pytest.mark.torch]

RATE_HZ = 44_100


def clip(duration_s: float = 4.0) -> bytes:
    return encoded(music(duration_s, RATE_HZ), RATE_HZ, "ogg")


def keys(server: Server) -> set[Path]:
    """Everything that is stored, but for the notes that a running server makes of itself."""
    return {path for path in server.data.rglob("*") if path.is_file() and "blobs" in path.parts}


def test_a_header_that_is_no_text_is_a_problem_of_the_client(server: Server) -> None:
    for name in ("X-Request-ID", "X-Session-ID", "serve_multiplexed_model_id", "X-Request-Timeout-Seconds"):
        with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
            head = f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{name}: "
            connection.sendall(head.encode() + b"\xe9\xff\r\n\r\n")
            answer = connection.makefile("rb").read()
        assert int(answer.split()[1]) < 500, answer


def test_analyze_generate_compose_and_nothing_kept(http: httpx.Client, server: Server) -> None:
    before = keys(server)
    said = http.post("/analyze", files={"file": ("clip.ogg", clip())})
    assert said.status_code == 200, said.text
    found = said.json()
    assert found["prompt"]
    assert found["method"] == "adapter"
    assert 0 <= min(found["energy_curve"]) <= max(found["energy_curve"]) <= 1
    assert len(found["melody"]["f0_hz"]) == len(found["melody"]["confidence"])

    made = http.post("/generate", json={"prompt": "a slow waltz", "bpm": 90, "duration": 2, "seed": 5})
    composed = http.post(
        "/compose", files={"file": ("clip.ogg", clip())}, data={"duration": "1", "seed": "5"}
    )
    for answer, duration_s in ((made, 2.3), (composed, 1.3)):
        assert answer.status_code == 200, answer.text
        samples, rate_hz = soundfile.read(io.BytesIO(answer.content), always_2d=True)
        assert (samples.shape, rate_hz) == ((round(duration_s * 32_000), 2), 32_000)
        assert np.abs(samples).max() > 0.001
    again = http.post("/generate", json={"prompt": "a slow waltz", "bpm": 90, "duration": 2, "seed": 5})
    assert again.content == made.content
    assert keys(server) == before


def test_silence_is_told_honestly(http: httpx.Client) -> None:
    silence = encoded(np.zeros((1, 2 * RATE_HZ), np.float32), RATE_HZ, "wav")
    found = http.post("/analyze", files={"file": ("silence.wav", silence)}).json()
    assert (found["bpm"], found["key"], found["style_id"]) == (None, None, None)
    assert found["emotion"]["label"] is None


def test_continue_writes_beside_the_file(http: httpx.Client, server: Server) -> None:
    source = server.shared / "song.wav"
    source.write_bytes(encoded(music(3.0, RATE_HZ), RATE_HZ, "wav"))
    answer = http.post("/continue", json={"audio_path": str(source), "duration_s": 5, "seed": 1})
    assert answer.status_code == 200, answer.text
    made = Path(answer.json()["audio_path"])
    assert made.parent == source.parent
    found = soundfile.info(made)
    assert (found.frames, found.samplerate) == (5 * RATE_HZ, RATE_HZ)
    assert http.post("/continue", json={"audio_path": "/etc/passwd"}).status_code == 403


def test_eight_at_once(http: httpx.Client) -> None:
    def ask(seed: int) -> httpx.Response:
        return http.post("/generate", json={"prompt": "bells", "duration": 1, "seed": seed})

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(ask, range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert len({answer.content for answer in answers}) == 8


def test_who_hangs_up_frees_the_generator(http: httpx.Client, server: Server) -> None:
    """Of eight who ask at the same time seven leave: that is noticed before the one who stays has been served."""

    def ongoing() -> int:
        deployments = http.get("/v1/gpu").json()["deployments"]
        return int(deployments["Ingress"]["ongoing"] or 0) - 1  # not counting who asks here

    wanted = {"prompt": "x", "duration": 30}
    body = json.dumps(wanted).encode()
    head = f"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    with ExitStack() as stack, ThreadPoolExecutor(1) as last:
        for _ in range(7):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        stays = last.submit(httpx.post, f"{server.url}/generate", json=wanted, timeout=60)
        server.wait_until(lambda: ongoing() == 8, 30, "the ingress is at work")
        stack.close()
        server.wait_until(lambda: ongoing() == 1, 30, "nobody works for who is gone")
        assert not stays.done()
    assert stays.result().status_code == 200

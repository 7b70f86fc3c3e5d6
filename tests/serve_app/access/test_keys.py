"""Keys made with the server: shown once, kept as hashes, good at once and ended within seconds on every replica."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from configs.environment import load_settings
from deployments.engines.music.mock import MockEngine
from serve_app import keys as command
from serve_app.access.authentication import StoredKeys
from serve_app.access.exposure import refusal_to_listen
from serve_app.preflight import exposed
from storage.domain.credentials import hash_of
from storage.repositories.credentials import Credentials
from tests.serve_app.access.keys import configured
from tests.support.harness import problem, running

OPERATOR = {"X-API-Key": "op"}


async def test_the_life_of_a_key() -> None:
    access = {"keys": (configured("op", "op", "operator"),), "cache_s": 0}
    async with running({"mock": MockEngine()}, overrides={"access": access}) as app:
        body = {"tenant": "ann", "tier": "free", "label": "laptop"}
        made = (await app.http.post("/v1/keys", json=body, headers=OPERATOR)).json()
        key = {"Authorization": f"Bearer {made['key']}"}
        assert (await app.http.get("/v1/usage", headers=key)).json()["tenant"] == "ann"
        problem(await app.http.post("/v1/keys", json=body, headers=key), 403)
        stored = [(await app.store.get(name)).data for name in await app.keys()]
        assert not any(made["key"].encode() in data for data in stored)
        (shown,) = (await app.http.get("/v1/keys", headers=OPERATOR)).json()["keys"]
        assert "key" not in shown
        assert (shown["id"], shown["label"], shown["state"]) == (made["id"], "laptop", "good")

        rotated = (await app.http.post(f"/v1/keys/{made['id']}/rotate", headers=OPERATOR)).json()
        other = {"X-API-Key": rotated["key"]}
        for good in (key, other):
            assert (await app.http.get("/v1/chains", headers=good)).status_code == 200
        url = f"/v1/keys/{rotated['id']}/rotate"
        last = (await app.http.post(url, json={"grace_s": 0}, headers=OPERATOR)).json()
        problem(await app.http.get("/v1/chains", headers=other), 401)
        problem(await app.http.post(url, headers=OPERATOR), 409)
        revoked = (await app.http.delete(f"/v1/keys/{last['id']}", headers=OPERATOR)).json()
        assert revoked["state"] == "revoked"
        problem(await app.http.get("/v1/chains", headers={"X-API-Key": last["key"]}), 401)
        problem(await app.http.delete("/v1/keys/0123456789abcdef", headers=OPERATOR), 404)
        for wrong in (
            {"tenant": "a/b"},
            {"tenant": "ann", "tier": "gold"},
            {"tenant": "ann", "expires_in_s": -1},
        ):
            problem(await app.http.post("/v1/keys", json=wrong, headers=OPERATOR), 422)


async def test_a_replica_believes_a_key_for_a_moment_and_no_longer() -> None:
    async with running({"mock": MockEngine()}) as app:
        made = await app.services.keys.create("ann", "free", "", None, None)
        now = [0.0]
        stored = StoredKeys(Credentials(app.store), 3.0, monotonic=lambda: now[0])
        sha256 = hash_of(made.key)
        assert await stored.find(sha256) is not None
        await app.services.keys.revoke(made.credential.id)
        assert await stored.find(sha256) is not None
        now[0] = 3.0
        assert await stored.find(sha256) is None


def test_the_first_key_needs_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGUE_STORAGE", f"file:{tmp_path}/data")
    assert command.main(["create", "--tenant", "ops"]) == 0
    key = capsys.readouterr().out.strip()
    assert command.main(["list"]) == 0
    line = capsys.readouterr().out
    assert "good  ops  operator" in line
    assert key not in line
    assert command.main(["revoke", line.split()[0]]) == 0
    assert "ended" in capsys.readouterr().out
    assert command.main(["create", "--tenant", "ops", "--tier", "gold"]) == 1
    assert "must be one of free, paid, operator" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "access", "is_refused"),
    [
        ("127.0.0.1", {}, False),
        ("::1", {}, False),
        ("localhost", {}, False),
        ("0.0.0.0", {}, True),  # noqa: S104 - nothing listens there
        ("::", {}, True),
        ("10.0.0.7", {}, True),
        ("music.example", {}, True),
        ("0.0.0.0", {"required": True}, False),  # noqa: S104
        ("0.0.0.0", {"required": False}, False),  # noqa: S104
        ("0.0.0.0", {"keys": [configured("a", "ann", "free")]}, False),  # noqa: S104
    ],
)
def test_where_it_may_listen(host: str, access: dict[str, object], is_refused: bool, tmp_path: Path) -> None:
    settings = load_settings({"access": access}, environ={})
    assert (refusal_to_listen(host, settings) is not None) is is_refused
    config = tmp_path / "deploy.yaml"
    config.write_text(yaml.safe_dump({"http_options": {"host": host}}))
    assert (exposed(config, settings) is not None) is is_refused

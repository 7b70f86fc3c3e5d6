"""A backup is a copy of all keys: a server on the copy answers as the one on the original did, and works on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from deployments.engines.music.mock import MockEngine
from storage.stores.local_folder import LocalFolderStore
from storage.stores.memory import MemoryStore
from storage.stores.object_store import ObjectStore
from tests.support.harness import Running, running, tone, wav


async def copied(source: ObjectStore, target: ObjectStore) -> int:
    """As `aws s3 sync`, `rclone` and the like do it: object by object, whatever is in them."""
    count = 0
    async for info in source.list(""):
        await target.put(info.key, (await source.get(info.key)).data)
        count += 1
    return count


async def answers(app: Running, chain_id: str, node_id: str, export_id: str) -> dict[str, Any]:
    """What a client may read, bodies of files by their hash."""
    url = f"/v1/chains/{chain_id}"
    files = (
        f"{url}/nodes/{node_id}/audio",
        f"{url}/nodes/{node_id}/audio?format=flac",
        f"/v1/exports/{export_id}/file",
    )
    documents = ("/v1/chains", url, f"{url}/spine", f"{url}/nodes/{node_id}/provenance", "/v1/jobs")
    found: dict[str, Any] = {}
    for path in (*documents, *files):
        answer = await app.http.get(path)
        assert answer.status_code == 200, (path, answer.text)
        found[path] = hashlib.sha256(answer.content).hexdigest() if path in files else answer.json()
    return found


async def test_a_server_on_a_copy_answers_the_same_and_takes_up_what_was_not_finished(tmp_path: Path) -> None:
    original = MemoryStore()
    async with running({"mock": MockEngine()}, store=original) as app:
        chain = await app.upload(wav(tone(1.0)), title="Night drive")
        made = await app.branch(chain["id"], chain["root_id"], duration_s=0.5)
        node_id = made["nodes"][0]["id"]
        await app.finished(chain["id"], node_id)
        await app.http.post(f"/v1/chains/{chain['id']}/nodes/{node_id}/commit")
        exported = await app.http.post(
            f"/v1/chains/{chain['id']}/export", json={"format": "mp3"}, headers={"Prefer": "respond-async"}
        )
        job = await app.ended(exported.json()["id"])
        export_id = job["result"]["export_id"]
        await app.rest()
    async with running({"mock": MockEngine()}, store=original, work=False) as app:
        waiting = await app.branch(chain["id"], node_id, duration_s=0.5)
        before = await answers(app, chain["id"], node_id, export_id)

    backup = LocalFolderStore(tmp_path / "backup")
    assert await copied(original, backup) > 5
    async with running({"mock": MockEngine()}, store=backup, work=False) as app:
        assert await answers(app, chain["id"], node_id, export_id) == before
    restored = MemoryStore()
    await copied(LocalFolderStore(tmp_path / "backup"), restored)
    async with running({"mock": MockEngine()}, store=restored) as app:
        ended = await app.finished(chain["id"], waiting["nodes"][0]["id"])
        assert ended["status"] == "ready"

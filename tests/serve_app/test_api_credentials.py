"""Exports signed with content credentials, over HTTP: read back by the library's own reader."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import soundfile

from deployments.engines.music.mock import MockEngine
from tests.deployments.export.referee import decoded
from tests.support.clips import music
from tests.support.credentials import Judged, Operator, operator
from tests.support.harness import Running, problem, running, wav

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE_HZ = 44_100


class Studio:
    """A line of an upload and a take, in an application that signs, and in one that does not."""

    def __init__(self, app: Running, plain: Running, operator: Operator, chain: dict[str, Any]) -> None:
        self.app = app
        self.plain = plain
        self.operator = operator
        self.url = f"/v1/chains/{chain['id']}/export"
        self.nodes: list[str] = [node["id"] for node in chain["nodes"]]

    async def signed(self, **body: Any) -> tuple[bytes, bytes | None, str]:
        """The file, the manifest beside it, its media type."""
        answer = await self.app.http.post(self.url, json=body)
        assert answer.status_code == 200, answer.text
        beside = f"/v1/exports/{answer.headers['x-segue-export-id']}/c2pa"
        link = answer.headers.get("link")
        manifest = await self.app.http.get(beside)
        if link is None:
            assert "holds them itself" in problem(manifest, 404)["detail"]
            return answer.content, None, answer.headers["content-type"]
        assert link == f'<{beside}>; rel="c2pa-manifest"'
        assert manifest.headers["content-type"] == "application/c2pa"
        assert 'filename="Night.c2pa"' in manifest.headers["content-disposition"]
        return answer.content, manifest.content, answer.headers["content-type"]

    def judged(self, data: bytes, manifest: bytes | None, mime_type: str) -> Judged:
        return self.operator.reader(
            io.BytesIO(data), mime_type if manifest is None else "application/octet-stream", manifest
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    signing = operator(tmp_path_factory.mktemp("operator"))
    engines = {"mock": MockEngine()}
    async with running(engines, overrides={"export": signing.settings}) as app:
        chain = await app.upload(wav(0.5 * music(0.6, RATE_HZ), RATE_HZ), title="Night")
        made = await app.branch(chain["id"], chain["root_id"], duration_s=0.5, prompt="marimba", seed=5)
        await app.finished(chain["id"], made["nodes"][0]["id"])
        await app.http.post(f"/v1/chains/{chain['id']}/nodes/{made['nodes'][0]['id']}/commit")
        async with running(engines, store=app.store, work=True) as plain:
            yield Studio(app, plain, signing, await app.chain(chain["id"]))


@pytest.mark.parametrize("name", ["wav", "flac", "aiff", "mp3", "opus", "m4a", "mp4", "daw"])
async def test_a_signed_file_says_what_made_it_and_a_flipped_bit_is_found(
    studio: Studio, name: str, tmp_path: Path
) -> None:
    data, manifest, mime_type = await studio.signed(format=name)
    assert (manifest is None) == (name in {"wav", "flac", "mp3", "m4a", "mp4"})
    judged = studio.judged(data, manifest, mime_type)
    assert (judged.state, judged.failures) == ("Trusted", [])
    action = judged.assertion(judged.active, "c2pa.actions")["actions"][0]
    assert action["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert [each["relationship"] for each in judged.ingredients] == ["componentOf"] * 2
    assert "active_manifest" not in judged.ingredients[0]  # nobody here vouches for an upload
    take = judged.ingredients[1]["active_manifest"]
    action = judged.assertion(take, "c2pa.actions")["actions"][0]
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    provenance = (await studio.app.http.get(f"{studio.url[:-7]}/nodes/{studio.nodes[1]}/provenance")).json()
    said = judged.assertion(take, "org.segue.take")
    assert said["node_id"] == studio.nodes[1]
    for fact in ("model", "seed", "weights_sha256", "licence", "context_sha256"):
        assert said[fact] == provenance[fact], fact

    plain = await studio.plain.http.post(studio.url, json={"format": name})
    if manifest is not None:
        assert data == plain.content
    else:
        paths = [tmp_path / f"{which}.{name}" for which in ("signed", "plain")]
        for path, content in zip(paths, (data, plain.content), strict=True):
            path.write_bytes(content)
        signed, unsigned = (decoded(path) for path in paths)
        assert (signed == unsigned).all()
    if name in {"wav", "flac", "aiff", "mp3", "opus"}:
        assert soundfile.info(io.BytesIO(data)).channels == 2

    flipped = bytearray(data)
    middle = data.index(b"mdat") + 100 if name in {"m4a", "mp4"} else len(plain.content) // 2
    flipped[middle] ^= 1
    broken = studio.judged(bytes(flipped), manifest, mime_type)
    assert broken.state == "Invalid"
    assert broken.failures[0] in {"assertion.dataHash.mismatch", "assertion.bmffHash.mismatch"}


async def test_a_signed_export_is_signed_once(studio: Studio) -> None:
    body = {"format": "wav", "from": studio.nodes[1]}
    first, again = [await studio.signed(**body) for _ in range(2)]
    assert first == again
    only_generated = studio.judged(*first)
    action = only_generated.assertion(only_generated.active, "c2pa.actions")["actions"][0]
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert [each["instance_id"] for each in only_generated.ingredients] == ["take-1"]


async def test_an_export_that_is_not_signed_has_no_credentials(studio: Studio) -> None:
    answer = await studio.plain.http.post(studio.url, json={"format": "opus"})
    assert "link" not in answer.headers
    missing = await studio.plain.http.get(f"/v1/exports/{answer.headers['x-segue-export-id']}/c2pa")
    problem(missing, 404)

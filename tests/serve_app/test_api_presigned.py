"""With `storage.presign` on, a download's bytes come from the bucket, by a link that Segue hands out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from configs.settings import StorageSettings
from deployments.engines.music.mock import MockEngine
from storage.stores.local_folder import LocalFolderStore
from storage.stores.s3 import S3Store
from tests.support.harness import Running, problem, running, tone, wav

PRESIGN = {"storage": {"presign": True, "presign_expiry_s": 90}}
CLIP = wav(tone(0.3))


@pytest.fixture
async def app(s3_settings: StorageSettings) -> AsyncIterator[Running]:
    store = S3Store(s3_settings)
    async with running({"mock": MockEngine()}, store=store, overrides=PRESIGN) as started:
        yield started


@pytest.fixture
async def chain(app: Running) -> dict[str, Any]:
    return await app.upload(CLIP, title="Nacht „live“")


def node_url(chain: dict[str, Any], file: str) -> str:
    return f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}/{file}"


async def export_url(app: Running, chain: dict[str, Any]) -> str:
    answer = await app.http.post(f"/v1/chains/{chain['id']}/export", json={"format": "mp3"})
    assert answer.status_code == 200
    return answer.headers["content-location"]


async def follow(answer: httpx.Response, **headers: str) -> httpx.Response:
    """What a client without keys gets where it is sent."""
    assert answer.status_code == 307, answer.text
    assert answer.headers["cache-control"] == "no-store"  # the link expires
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(answer.headers["location"], headers=headers)


async def test_a_nodes_audio_is_what_segue_itself_would_send(app: Running, chain: dict[str, Any]) -> None:
    described = await app.http.head(node_url(chain, "audio"))
    sent_on = await app.http.get(node_url(chain, "audio"))
    assert httpx.URL(sent_on.headers["location"]).params["X-Amz-Expires"] == "90"
    got = await follow(sent_on)
    assert got.status_code == 200
    assert len(got.content) == int(described.headers["content-length"])
    assert got.content[:4] == b"RIFF"
    for name in ("content-type", "content-disposition"):
        assert got.headers[name] == described.headers[name]
    assert got.headers["content-disposition"].startswith("inline; ")


async def test_a_range_goes_along_to_the_bucket(app: Running, chain: dict[str, Any]) -> None:
    whole = await follow(await app.http.get(node_url(chain, "audio")))
    asked = {"Range": "bytes=100-299"}
    part = await follow(await app.http.get(node_url(chain, "audio"), headers=asked), **asked)
    assert (part.status_code, part.content) == (206, whole.content[100:300])
    assert part.headers["content-range"] == f"bytes 100-299/{len(whole.content)}"


async def test_the_original_keeps_its_bytes_and_its_name(app: Running, chain: dict[str, Any]) -> None:
    got = await follow(await app.http.get(node_url(chain, "original")))
    assert got.content == CLIP
    assert got.headers["content-disposition"] == 'attachment; filename="clip.wav"'


async def test_an_export_is_saved_under_the_chains_title(app: Running, chain: dict[str, Any]) -> None:
    url = await export_url(app, chain)
    got = await follow(await app.http.get(url))
    described = await app.http.head(url)
    assert got.headers["content-type"] == described.headers["content-type"] == "audio/mpeg"
    assert got.headers["content-disposition"] == described.headers["content-disposition"]
    assert got.headers["content-disposition"].startswith('attachment; filename="Nacht')
    assert len(got.content) == int(described.headers["content-length"])


async def test_what_is_no_plain_download_is_answered_here(app: Running, chain: dict[str, Any]) -> None:
    described = await app.http.head(node_url(chain, "audio"))
    assert described.status_code == 200  # a link's signature is for GET alone
    unchanged = {"If-None-Match": described.headers["etag"]}
    assert (await app.http.get(node_url(chain, "audio"), headers=unchanged)).status_code == 304
    encoded = await app.http.get(node_url(chain, "audio"), params={"format": "flac"})
    assert (encoded.status_code, encoded.content[:4]) == (200, b"fLaC")
    exported = await app.http.post(f"/v1/chains/{chain['id']}/export", json={"format": "flac"})
    assert (exported.status_code, exported.content[:4]) == (200, b"fLaC")


async def test_a_refusal_is_no_redirection(app: Running, chain: dict[str, Any]) -> None:
    problem(await app.http.get(f"/v1/chains/{chain['id']}/nodes/unknown/audio"), 404)
    problem(await app.http.get("/v1/exports/unknown/file"), 404)


@pytest.mark.parametrize("presign", [True, False])
async def test_a_folder_has_no_links(tmp_path: Path, presign: bool) -> None:
    overrides = {"storage": {"presign": presign}}
    async with running({"mock": MockEngine()}, store=LocalFolderStore(tmp_path), overrides=overrides) as app:
        chain = await app.upload(CLIP)
        answer = await app.http.get(node_url(chain, "audio"))
        assert (answer.status_code, answer.content[:4]) == (200, b"RIFF")


async def test_a_bucket_has_links_only_where_they_are_wanted(s3_settings: StorageSettings) -> None:
    async with running({"mock": MockEngine()}, store=S3Store(s3_settings)) as app:
        chain = await app.upload(CLIP)
        answer = await app.http.get(node_url(chain, "audio"), headers={"Range": "bytes=0-3"})
        assert (answer.status_code, answer.content) == (206, b"RIFF")


async def test_a_client_that_wants_no_redirection_gets_the_bytes_here(
    app: Running, chain: dict[str, Any]
) -> None:
    for url in (node_url(chain, "audio"), node_url(chain, "original"), await export_url(app, chain)):
        linked = await follow(await app.http.get(url))
        here = await app.http.get(url, params={"redirect": "false"}, headers={"Range": "bytes=10-19"})
        assert (here.status_code, here.content) == (206, linked.content[10:20])

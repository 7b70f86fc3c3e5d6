"""JSON is compressed for who takes gzip; what has a length and ranges of its own, and what streams, is not."""

from __future__ import annotations

import gzip

from deployments.engines.music.mock import MockEngine
from tests.support.harness import running, tone, wav


async def test_json_is_compressed_and_audio_is_not() -> None:
    brief = {"events": {"poll_s": 0.02, "max_stream_s": 0.01}}
    async with running({"mock": MockEngine()}, overrides=brief) as app:
        chain = await app.upload(wav(tone(1.0, 8000), 8000))
        node = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}"
        plain = await app.http.get("/openapi.json", headers={"Accept-Encoding": "identity"})
        async with app.http.stream("GET", "/openapi.json", headers={"Accept-Encoding": "gzip"}) as packed:
            raw = b"".join([chunk async for chunk in packed.aiter_raw()])
        assert packed.headers["content-encoding"] == "gzip"
        assert "accept-encoding" in packed.headers["vary"].lower()
        assert len(raw) < len(plain.content) / 4
        assert gzip.decompress(raw) == plain.content
        head = await app.http.head("/openapi.json", headers={"Accept-Encoding": "gzip"})
        assert head.headers["content-encoding"] == "gzip"
        for url in (
            f"{node}/audio",
            f"{node}/audio?format=f32",
            f"{node}/line/audio",
            f"{node}/peaks",
            f"{node}/original",
            f"/v1/chains/{chain['id']}/events",
        ):
            answer = await app.http.get(url, headers={"Accept-Encoding": "gzip"})
            assert answer.status_code == 200
            assert "content-encoding" not in answer.headers, url
            if "events" not in url:
                assert int(answer.headers["content-length"]) == len(answer.content)

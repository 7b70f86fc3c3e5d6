"""The journey of a musician through the page, in Chromium."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
import soundfile
from playwright.async_api import Browser, expect

from deployments.audio.samples import Samples
from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.music.mock import MockEngine
from deployments.engines.separation.mock import MockSeparator
from tests.page.studio import Studio, chromium, serve_capture, studio, within
from tests.support.clips import encoded, music
from tests.support.harness import Running, listening, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIP = encoded(music(2.0), 44_100, "wav")


@dataclass
class Served:
    app: Running
    http: httpx.AsyncClient
    browser: Browser

    @property
    def url(self) -> str:
        return str(self.http.base_url).rstrip("/")

    async def samples(self, path: str, **query: str) -> Samples:
        """A 32-bit float WAV of the server, [2, samples]."""
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return np.ascontiguousarray(soundfile.read(io.BytesIO(answer.content), dtype="float32")[0].T)

    async def grown(self, takes: int = 2) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """A chain with ready takes on its root."""
        chain = await self.app.upload(CLIP, title="Tropical breeze")
        made = await self.app.branch(
            chain["id"], chain["root_id"], takes=takes, duration_s=2.0, prompt="marimba"
        )
        nodes = [await self.app.finished(chain["id"], node["id"]) for node in made["nodes"]]
        return chain, nodes


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served() -> AsyncIterator[Served]:
    async with (
        running(
            {"mock": MockEngine(channels=2, step_delay_s=0.1)},
            separators={"mock": MockSeparator()},
            analyser=MockAnalyser(),
        ) as app,
        listening(app.api) as http,
        chromium() as browser,
    ):
        serve_capture(app.api)
        yield Served(app, http, browser)


@pytest_asyncio.fixture(loop_scope="module")
async def page(served: Served) -> AsyncIterator[Studio]:
    async with studio(served.browser, served.url) as shown:
        yield shown


async def test_the_journey_by_mouse(served: Served, page: Studio, tmp_path: Path) -> None:
    clip = tmp_path / "breeze.wav"
    clip.write_bytes(CLIP)
    await page.open()
    async with page.page.expect_file_chooser() as chooser:
        await page.button("Choose a file").click()
    await (await chooser.value).set_files(clip)
    await expect(page.take("Beginning")).to_be_visible()
    chain_id = page.page.url.rpartition("/")[2]

    await page.page.get_by_label("In words").fill("marimba, warm bass")
    await page.page.get_by_label("Seconds", exact=True).fill("2")
    await page.button("Make 2 takes").click()
    await expect(page.take("Take 2")).to_be_visible()
    await page.take("Take 1").click()
    await page.button("Listen while it is made").click()
    await expect(page.take("Take 1, candidate")).to_be_visible()
    await expect(page.take("Take 2, candidate")).to_be_visible()
    await page.until_silent()
    first, second = (await served.app.chain(chain_id))["nodes"][1:]
    node = await served.samples(f"/v1/chains/{chain_id}/nodes/{first['id']}/audio")
    assert within(await page.heard(), node) >= 0, "what was heard while it was made is the take"

    await page.button("To the start").click()
    await page.button("Take 2").click()
    await page.forget_heard()
    await page.button("Play").click()
    await page.until_silent()
    line = await served.samples(f"/v1/chains/{chain_id}/nodes/{second['id']}/line/audio")
    assert within(await page.heard(), line[:, 1000:]) >= 0, "the line is heard with its seam"

    await page.button("Commit").click()
    await expect(page.take("Take 2, committed")).to_be_visible()
    await page.button("Take apart").click()
    await page.button("Hear the stems").click()
    await page.button("Solo Drums").click()
    await page.button("Hear the line").click()

    await page.button("Export").click()
    await page.page.get_by_label("Bits").select_option("32")
    async with page.page.expect_download() as download:
        await page.page.get_by_role("dialog").get_by_role("button", name="Export").click()
    file = await (await download.value).path()
    exported = np.ascontiguousarray(soundfile.read(file, dtype="float32")[0].T)
    assert np.array_equal(exported, line), "what is exported is what was heard"

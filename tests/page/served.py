"""The application that the tests of the page share, and a browser before it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import soundfile
from playwright.async_api import Browser

from deployments.audio.samples import Samples
from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.music.mock import MockEngine
from deployments.engines.music.protocol import GenerationEvent, GenerationRequest, Segment
from deployments.engines.separation.mock import MockSeparator
from tests.page.studio import chromium, serve_capture
from tests.support.clips import encoded, music
from tests.support.credentials import operator
from tests.support.harness import Running, listening, running

CLIP: Final = encoded(music(2.0), 44_100, "wav")


class HeldEngine(MockEngine):
    """Begins a generation when it may, and gives more than its first segment when it may go on."""

    def __init__(self, channels: int = 2) -> None:
        super().__init__(channels=channels, step_delay_s=0.05)
        self.may_begin = asyncio.Event()
        self.may_begin.set()
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent]:
        await self.may_begin.wait()
        async for event in super().generate(request):
            yield event
            if isinstance(event, Segment):
                await self.may_go_on.wait()


@dataclass
class Served:
    engine: HeldEngine
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


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Served]:
    """With stems, analyses and signed exports; the keys to sign with lie in `folder`."""
    engine = HeldEngine()
    async with (
        running(
            {"mock": engine},
            separators={"mock": MockSeparator()},
            analyser=MockAnalyser(),
            overrides={"export": operator(folder).settings},
        ) as app,
        listening(app.api) as http,
        chromium() as browser,
    ):
        serve_capture(app.api)
        yield Served(engine, app, http, browser)

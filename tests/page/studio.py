"""The page in a real browser, before the whole application in the test's own process."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from fastapi import FastAPI
from fastapi.responses import FileResponse
from playwright.async_api import Browser as Chromium
from playwright.async_api import ConsoleMessage, Page, async_playwright, expect

from deployments.audio.samples import Samples
from tests.page.browser import FLAGS, PAGE, find_browser
from tests.support.patience import PATIENCE_S, until

HERE: Final = Path(__file__).parent
AXE: Final = PAGE / "node_modules" / "axe-core" / "axe.min.js"
BLOCK: Final = 128
"""Samples that a worklet makes at a time."""

HEARD: Final = "heard.some(([left]) => left.some(Boolean))"

PATIENCE_MS: Final = 1000 * PATIENCE_S
EXPECTED: Final = ("the server responded with a status of", "net::ERR_")
"""What the browser's console says of answers that a test asks for."""

expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Studio:
    """A page, and what it says that nobody should ever see."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)

    async def open(self, path: str = "") -> None:
        await self.page.goto(f"{self.url}/{path}")

    def take(self, name: str) -> Any:
        """A take of the tree, by how its spoken name begins."""
        return self.page.locator(f'[role=treeitem][aria-label^="{name}"]')

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    async def heard(self) -> Samples:
        """What the mixer has put out, [2, samples], without the blocks of silence while it waited for samples."""
        text: str = await self.page.evaluate("heardBytes()")
        blocks = np.frombuffer(base64.b64decode(text), dtype=np.float32).reshape(2, -1, BLOCK)
        return blocks[:, blocks.any(axis=(0, 2))].reshape(2, -1)

    async def forget_heard(self) -> None:
        await self.page.evaluate("heard.length = 0")

    async def until(self, holds: str) -> None:
        """Until an expression is true in the page, whose policy forbids what `wait_for_function` does."""

        async def look() -> bool:
            return bool(await self.page.evaluate(f"Boolean({holds})"))

        await until(look)

    async def play(self) -> None:
        """From silence until the first sound."""
        await self.forget_heard()
        await self.button("Play").click()
        await self.until(HEARD)

    async def until_silent(self) -> None:
        """Until it has played to the end."""
        await expect(self.button("Play")).to_be_visible()

    async def require_accessible(self) -> None:
        """axe finds nothing."""
        if await self.page.evaluate("typeof axe === 'undefined'"):
            await self.page.evaluate(AXE.read_text())
        found = await self.page.evaluate("axe.run({resultTypes: ['violations']})")
        violations = [
            f"{each['id']}: {node['target']} {node.get('failureSummary', '')}"
            for each in found["violations"]
            for node in each["nodes"]
        ]
        assert not violations, "\n".join(violations)


def serve_capture(api: FastAPI) -> None:
    """Add the worklet that keeps what is heard: a browser loads worklets from the page's own server only."""

    @api.get("/capture.js", include_in_schema=False)
    async def capture() -> FileResponse:
        return FileResponse(HERE / "capture.js", media_type="text/javascript")


@asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    browser = find_browser()
    async with async_playwright() as driver:
        launched = await driver.chromium.launch(
            executable_path=browser.path, args=list(FLAGS), env={**os.environ, **browser.environment}
        )
        yield launched
        await launched.close()


@asynccontextmanager
async def studio(browser: Chromium, url: str, **context: Any) -> AsyncIterator[Studio]:
    """A page of its own. Asserts in the end that nothing went wrong in it."""
    context = {"viewport": {"width": 1360, "height": 860}, "reduced_motion": "reduce", **context}
    made = await browser.new_context(**context)
    made.set_default_timeout(PATIENCE_MS)
    page = await made.new_page()
    shown = Studio(page, url)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in EXPECTED):
            shown.faults.append(message.text)

    page.on("console", on_console)
    page.on("pageerror", lambda error: shown.faults.append(str(error)))
    await page.add_init_script(path=HERE / "capture_install.js")
    try:
        yield shown
    finally:
        await made.close()
    assert not shown.faults, "\n".join(shown.faults)


def within(whole: Samples, part: Samples) -> int:
    """Where `part` begins in `whole`, sample for sample; -1 if nowhere."""
    first = int(np.flatnonzero(part[0])[0])
    for start in np.flatnonzero(whole[0] == part[0, first]) - first:
        if 0 <= start <= whole.shape[1] - part.shape[1] and np.array_equal(
            whole[:, start : start + part.shape[1]], part
        ):
            return int(start)
    return -1

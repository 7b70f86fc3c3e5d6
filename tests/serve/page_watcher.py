"""The studio page on a chain, in a browser that stays open while processes of the server die."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

from playwright.async_api import expect

from tests.page.studio import Studio, chromium, studio

ENDS_MS = 180_000
"""How long a take may need that two runners work on in turn."""


class PageWatcher:
    """Sees what a musician sees who does nothing: no reload, no click."""

    def __init__(self, runner: asyncio.Runner, page: Studio) -> None:
        self._runner = runner
        self._page = page

    def follow(self, node_id: str) -> None:
        """Choose a take: its waveform grows while it is made."""
        self._runner.run(self._page.page.locator(f"#take-{node_id}").click())

    def require_ready(self, node_ids: list[str], nodes: int) -> None:
        """Wait until the takes are ready on the page, which has not been loaded again and shows `nodes` takes."""

        async def look() -> None:
            page = self._page.page
            for node_id in node_ids:
                take = page.locator(f"#take-{node_id}")
                await expect(take).to_have_count(1)
                await expect(take).to_have_class(re.compile(r"\bready\b"), timeout=ENDS_MS)
            await expect(page.get_by_text("Connection lost")).to_have_count(0, timeout=ENDS_MS)
            await expect(page.get_by_role("treeitem")).to_have_count(nodes)
            assert await page.evaluate("globalThis.sameDocument === true")

        self._runner.run(look())


@contextmanager
def watching(url: str, chain_id: str) -> Iterator[PageWatcher]:
    async def begin(stack: AsyncExitStack) -> Studio:
        browser = await stack.enter_async_context(chromium())
        page = await stack.enter_async_context(studio(browser, url))
        await page.open(f"#/chain/{chain_id}")
        await page.page.get_by_role("treeitem").first.wait_for()
        await page.page.evaluate("globalThis.sameDocument = true")
        return page

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        page = runner.run(begin(stack))
        try:
            yield PageWatcher(runner, page)
        finally:
            runner.run(stack.aclose())

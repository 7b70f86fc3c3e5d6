"""What is heard: stems, a take while it is made, a long line; and how much of it the page holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Request, expect

from tests.page.served import CLIP, HeldEngine, Served
from tests.page.studio import BLOCK, HEARD, Studio, chromium, serve_capture, studio, within
from tests.support.clips import encoded, music
from tests.support.harness import Running, listening, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOW_RATE_HZ = 8000
"""Long lines cost little at it."""

ROOT_S, TAKE_S = 90.0, 90.0
FINISH_S = 120.0

HEARD_SAMPLES = round(2 * (30.0 + 3.0) * LOW_RATE_HZ)
"""What a lane that is heard may hold: 30 s on either side of the playhead, and a window of 3 s at each end."""

STANDBY_SAMPLES = round(2 * (9.0 + 3.0) * LOW_RATE_HZ)
"""The same of one that may be switched to."""


async def test_the_mix_of_stems_is_the_sum_of_their_files(served: Served, page: Studio) -> None:
    chain = await served.app.upload(CLIP, title="Stems")
    node = f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}"
    await served.http.post(f"{node}/stems", json={})
    await page.open(f"#/chain/{chain['id']}")
    await page.button("Hear the stems").click()
    await page.button("To the start").click()
    await page.play()
    await page.until_silent()
    heard = await page.heard()
    stems = (await served.http.get(f"{node}/stems")).json()["stems"]
    assert len(stems) > 2
    files = [await served.samples(stem["url"]) for stem in stems]
    mix = np.zeros_like(files[0])
    for file in files:
        mix += file
    assert within(heard, mix[:, 1000:]) >= 0

    await page.button(f"Mute {stems[0]['name'].capitalize()}").click()
    await page.button("To the start").click()
    await page.play()
    await page.until_silent()
    rest = np.zeros_like(files[0])
    for file in files[1:]:
        rest += file
    assert within(await page.heard(), rest[:, 1000:]) >= 0, "a muted stem is not in the mix"


async def test_a_take_is_heard_to_its_end_though_the_server_was_gone_in_the_middle(served: Served) -> None:
    chain = await served.app.upload(CLIP, title="Cut")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(listening(served.app.api))
        async with studio(served.browser, str(first.base_url).rstrip("/")) as page:
            await page.open(f"#/chain/{chain['id']}")
            await page.page.evaluate("globalThis.sameDocument = true")
            served.engine.may_begin.clear()
            made = await served.app.branch(chain["id"], chain["root_id"], takes=1, duration_s=4.0)
            await page.take("Take 1").click()
            await page.button("Listen while it is made").click()
            await expect(page.button("Pause")).to_be_visible()
            served.engine.may_go_on.clear()
            served.engine.may_begin.set()
            await page.until(HEARD)
            await stack.aclose()
            await expect(page.page.get_by_text("Connection lost")).to_be_visible()
            served.engine.may_go_on.set()
            node = await served.app.finished(chain["id"], made["nodes"][0]["id"])
            async with listening(served.app.api, port=first.base_url.port or 0):
                await expect(page.take("Take 1, candidate")).to_have_count(1)
                await page.until_silent()
                audio = f"/v1/chains/{chain['id']}/nodes/{node['id']}/audio"
                assert within(await page.heard(), await served.samples(audio)) >= 0
                assert await page.page.evaluate("sameDocument")


@pytest_asyncio.fixture(loop_scope="module")
async def long_line() -> AsyncIterator[tuple[Running, HeldEngine, Studio, dict[str, str]]]:
    """A page on a chain of two long nodes; a third one may be made beside the second."""
    engine = HeldEngine(channels=1)
    async with (
        running({"mock": engine}, overrides={"jobs": {"deadline_s": 120}}) as app,
        listening(app.api) as http,
        chromium() as browser,
        studio(browser, str(http.base_url).rstrip("/")) as page,
    ):
        serve_capture(app.api)
        clip = np.tile(music(10.0, LOW_RATE_HZ, channels=1), (1, round(ROOT_S / 10)))
        chain = await app.upload(encoded(clip, LOW_RATE_HZ, "wav"), title="Long")
        made = await app.branch(chain["id"], chain["root_id"], takes=1, duration_s=TAKE_S)
        await app.finished(chain["id"], made["nodes"][0]["id"], FINISH_S)
        yield (
            app,
            engine,
            page,
            {"chain": chain["id"], "root": chain["root_id"], "take": made["nodes"][0]["id"]},
        )


async def test_a_long_line_is_held_around_the_playhead_only(
    long_line: tuple[Running, HeldEngine, Studio, dict[str, str]],
) -> None:
    app, engine, page, ids = long_line
    takes = []
    for _ in range(2):
        made = await app.branch(ids["chain"], ids["root"], takes=8, duration_s=0.5)
        takes += [node["id"] for node in made["nodes"]]
    for take in takes:
        await app.finished(ids["chain"], take, FINISH_S)
    outlines: set[str] = set()

    def note(request: Request) -> None:
        if request.url.endswith("/peaks"):
            outlines.add(request.url)

    page.page.on("request", note)
    await page.open(f"#/chain/{ids['chain']}")
    await page.page.locator(f"#take-{ids['take']}").click()
    sheet = await page.page.locator("canvas.sheet").bounding_box()
    assert sheet is not None
    assert sheet["width"] <= 1360
    assert sheet["height"] <= 860, "what is drawn is what is seen"
    await page.button("Listen").click()
    slider = page.page.get_by_role("slider", name="Playhead")
    await slider.focus()
    for key in ("PageUp",) * 4 + ("Home",) + ("PageUp",) * 16 + ("PageDown",) * 6:
        await page.page.keyboard.press(key)
        await page.until("held() > 0")
    lanes, most = await page.page.evaluate("[lanes.size, mostHeld]")
    assert lanes > 1
    assert HEARD_SAMPLES / 10 < most <= HEARD_SAMPLES + (lanes - 1) * STANDBY_SAMPLES
    assert len(outlines) < len(takes), "only takes that are seen have their outlines fetched"

    await page.page.keyboard.press("k")
    engine.may_begin.clear()
    made = await app.branch(ids["chain"], ids["root"], takes=1, duration_s=TAKE_S)
    (take,) = (node["id"] for node in made["nodes"])
    await page.page.locator(f"#take-{take}").click()
    await page.button("Listen while it is made").click()
    await page.page.evaluate("mostHeld = 0")
    engine.may_begin.set()
    await app.finished(ids["chain"], take, FINISH_S)
    await slider.focus()
    for _ in range(6):
        await page.page.keyboard.press("PageUp")
    await page.forget_heard()
    await page.until("heard.filter(([left]) => left.some(Boolean)).length > 100")
    await page.page.keyboard.press("k")
    assert 0 < await page.page.evaluate("mostHeld") <= 2 * HEARD_SAMPLES, "the line before it, and it"
    answer = await app.http.get(f"/v1/chains/{ids['chain']}/nodes/{take}/audio?format=f32")
    audio = np.frombuffer(answer.content, dtype=np.float32)
    assert audio.size == round(TAKE_S * LOW_RATE_HZ)
    # Where the playhead has just come to rest, the rest of what it came from may still be heard.
    heard = await page.heard()
    parts = [heard[:, start * BLOCK : (start + 30) * BLOCK] for start in (5, 35, 65)]
    assert any(within(np.stack([audio, audio]), part) >= 0 for part in parts)

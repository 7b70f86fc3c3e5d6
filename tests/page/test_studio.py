"""The journey of a musician through the page, in Chromium."""

from __future__ import annotations

import hashlib
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.async_api import expect

from deployments.engines.music.mock import MockEngine
from tests.page.served import CLIP, Served
from tests.page.studio import Studio, chromium, studio, within
from tests.support.harness import listening, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
    served.engine.may_begin.clear()
    await page.button("Make 2 takes").click()
    await expect(page.take("Take 2")).to_be_visible()
    await page.take("Take 1").click()
    await page.button("Listen while it is made").click()
    await expect(page.button("Pause")).to_be_visible()
    served.engine.may_begin.set()
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


async def test_the_journey_by_keyboard_alone(served: Served, page: Studio) -> None:
    chain, _ = await served.grown()
    keys = page.page.keyboard
    await page.open(f"#/chain/{chain['id']}")
    await expect(page.take("Take 2")).to_be_visible()
    await keys.press("Tab")  # the way past the frame
    await keys.press("Enter")
    await expect(page.take("Beginning")).to_be_focused()
    await keys.press("ArrowRight")
    await expect(page.take("Take 1")).to_be_focused()
    await keys.press("ArrowDown")
    await expect(page.take("Take 2")).to_be_focused()
    await keys.press("ArrowUp")

    await keys.press("1")
    await keys.press("Space")
    await expect(page.button("Pause")).to_be_visible()
    await keys.press("2")
    await expect(page.button("Take 2")).to_have_attribute("aria-pressed", "true")
    await keys.press("k")
    await expect(page.button("Play")).to_be_visible()

    await page.take("Take 2").focus()
    await keys.press("Enter")
    await expect(page.take("Take 2, committed")).to_be_visible()
    await page.take("Take 1").focus()
    await keys.press("x")
    await expect(page.take("Take 1")).to_have_count(0)
    await expect(page.page.get_by_role("status").first).to_contain_text("Take 1 discarded")

    await keys.press("b")
    await expect(page.page.get_by_label("In words")).to_be_focused()
    await keys.type("more brass")
    cut = page.page.get_by_role("slider", name="From second")
    await expect(cut).to_have_attribute("aria-valuenow", "2")
    for _ in range(4):
        if not await cut.evaluate("element => element === document.activeElement"):
            await keys.press("Shift+Tab")
    await expect(cut).to_be_focused()

    await keys.press("?")
    await expect(page.page.get_by_role("dialog", name="Keys")).to_be_visible()
    await keys.press("Escape")
    await expect(cut).to_be_focused()
    await keys.press("e")
    await expect(page.page.get_by_role("dialog", name="Export")).to_be_visible()
    for _ in range(12):
        if await page.page.evaluate("document.activeElement.type === 'submit'"):
            break
        await keys.press("Tab")
    async with page.page.expect_download() as download:
        await keys.press("Enter")
    assert (await download.value).suggested_filename.endswith(".wav")
    await keys.press("Escape")

    slider = page.page.get_by_role("slider", name="Playhead")
    await slider.focus()
    await keys.press("End")
    await expect(slider).to_have_attribute("aria-valuetext", "0:04 of 0:04")
    await keys.press("Home")
    await keys.press("ArrowRight")
    await expect(slider).to_have_attribute("aria-valuetext", "0:01 of 0:04, bar 1, beat 3")


@pytest.mark.parametrize("colours", ["dark", "light"])
async def test_every_view_is_accessible(served: Served, colours: Any) -> None:
    chain, nodes = await served.grown()
    await served.app.http.post(f"/v1/chains/{chain['id']}/nodes/{nodes[0]['id']}/commit")
    async with studio(served.browser, served.url, color_scheme=colours) as page:
        await page.open()
        await expect(page.button("Choose a file")).to_be_visible()
        await page.require_accessible()
        await page.open(f"#/chain/{chain['id']}")
        await page.take("Take 1").click()
        await page.page.get_by_text("Wishes and sampling").click()
        await page.page.get_by_text("Where it comes from").click()
        await page.require_accessible()
        await page.page.get_by_text("How it is joined").click()
        await page.page.keyboard.press("Escape")
        await page.page.locator(".ruler").click(position={"x": 60, "y": 8})
        await page.button("In").click()
        await page.require_accessible()
        await page.button("Export").click()
        await page.page.get_by_text("What the file says").click()
        await page.require_accessible()
        await page.page.keyboard.press("Escape")
        await page.button("Differences").click()
        await page.button("Hear A at 0:02.0").wait_for()
        await page.require_accessible()
        await page.page.keyboard.press("Escape")
        await page.button("ABX").click()
        await page.require_accessible()
        await page.button("Begin").click()
        await page.require_accessible()
        await page.button("Stop the test").click()
        await page.page.keyboard.press("?")
        await page.require_accessible()
        await page.page.keyboard.press("Escape")
        await page.open("#/pipeline")
        await expect(page.button("Choose a song")).to_be_visible()
        await page.require_accessible()


async def test_a_phone_shows_it_without_scrolling_sideways(served: Served) -> None:
    chain, _ = await served.grown()
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    async with studio(served.browser, served.url, **phone) as page:
        for path in ("", f"#/chain/{chain['id']}", "#/pipeline"):
            await page.open(path)
            await expect(page.page.locator("main h1")).to_be_attached()
            widest = await page.page.evaluate("document.documentElement.scrollWidth")
            assert widest <= 390, path
            await page.require_accessible()
        await page.open(f"#/chain/{chain['id']}")
        await page.take("Take 1").tap()
        for name in ("In", "Differences"):
            await page.button(name).tap()
            assert await page.page.evaluate("document.documentElement.scrollWidth") <= 390, name
        await page.button("Hear B at 0:02.0").wait_for()
        assert await page.page.locator("dialog").evaluate("each => each.scrollWidth <= each.clientWidth")
        await page.require_accessible()
        await page.page.keyboard.press("Escape")
        await page.take("Take 1").tap()
        await page.button("Listen").tap()
        await expect(page.button("Pause")).to_be_visible()


async def test_what_it_says_when_things_go_wrong(served: Served, page: Studio) -> None:
    await page.open()
    choose = page.page.locator("input[type=file]")
    await choose.set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no sound at all" * 99}
    )
    await expect(page.page.locator(".toast.bad")).to_contain_text("not a sound Segue can read")
    await page.open("#/chain/0123456789abcdef01234567")
    await expect(page.button("Choose a file")).to_be_visible()


async def test_a_full_queue_is_said_with_the_time_to_wait() -> None:
    async with (
        running({"mock": MockEngine()}, work=False, overrides={"jobs": {"max_active_per_tenant": 2}}) as app,
        listening(app.api) as http,
        chromium() as browser,
        studio(browser, str(http.base_url).rstrip("/")) as page,
    ):
        chain = await app.upload(CLIP, title="Full")
        await page.open(f"#/chain/{chain['id']}")
        await page.button("Make 2 takes").click()
        await expect(page.take("Take 2, waiting")).to_be_visible()
        await page.take("Beginning").click()
        await page.button("Make 2 takes").click()
        await expect(page.page.locator(".toast.bad")).to_contain_text("The queue is full")


async def test_a_key_is_asked_for_and_a_wrong_one_is_told() -> None:
    keys = ({"sha256": hashlib.sha256(b"sesame").hexdigest(), "tenant": "ada", "tier": "paid"},)
    async with (
        running({"mock": MockEngine()}, work=False, overrides={"access": {"keys": keys}}) as app,
        listening(app.api) as http,
        chromium() as browser,
        studio(browser, str(http.base_url).rstrip("/")) as page,
    ):
        await page.open()
        dialog = page.page.get_by_role("dialog")
        await expect(dialog).to_contain_text("asks for a key")
        await page.require_accessible()
        await dialog.get_by_label("Key").fill("open")
        await page.button("Use it").click()
        await expect(dialog).to_contain_text("not known here")
        await dialog.get_by_label("Key").fill("sesame")
        await page.button("Use it").click()
        await expect(dialog).to_have_count(0)
        await page.page.reload()
        await expect(page.button("Choose a file")).to_be_enabled()
        await expect(dialog).to_have_count(0)
        assert "sesame" not in page.page.url


async def test_takes_from_the_middle_and_a_blind_comparison(served: Served, page: Studio) -> None:
    chain, _ = await served.grown()
    await page.open(f"#/chain/{chain['id']}")
    await page.take("Take 1").click()
    cut = page.page.get_by_role("slider", name="From second")
    await cut.press("PageDown")
    await expect(cut).to_have_attribute("aria-valuenow", "1")
    await page.page.get_by_label("Takes", exact=True).fill("1")
    await page.page.get_by_label("Seconds", exact=True).fill("1")
    await page.button("Make 1 take").click()
    await expect(page.take("Take 1, up to 0:01.0, candidate, from 0:02.0, 1 s long")).to_be_visible()
    await expect(page.take("Take 1, candidate, from 0:03.0, 1 s long")).to_be_visible()

    await page.take("Take 2").click()
    await page.button("4 stars").click()
    await expect(page.take("Take 2")).to_have_attribute("aria-label", re.compile("4 stars"))
    await page.page.get_by_label("Name", exact=True).fill("The one with brass")
    await page.page.keyboard.press("Tab")
    await expect(page.take("The one with brass")).to_be_visible()

    await page.button("Blind").click()
    await expect(page.button("Choice 1")).to_have_attribute("aria-pressed", "true")
    await expect(page.page.locator("[role=treeitem][aria-selected=true]")).to_have_count(0)
    await page.page.keyboard.press("2")
    await expect(page.button("Choice 2")).to_have_attribute("aria-pressed", "true")
    await page.button("Reveal").click()
    await expect(page.page.get_by_role("status").first).to_contain_text("You are hearing")


async def test_a_track_is_taken_apart(served: Served, page: Studio) -> None:
    await page.open("#/pipeline")
    await page.page.locator("input[type=file]").set_input_files(
        {"name": "song.wav", "mimeType": "audio/wav", "buffer": CLIP}
    )
    await expect(page.page.get_by_role("heading", name="song.wav")).to_be_visible()
    await page.button("Download drums").wait_for()
    await page.button("Hear drums").click()
    await page.button("Stop").wait_for()
    async with page.page.expect_download() as download:
        await page.button("All as ZIP").click()
    assert (await download.value).suggested_filename == "song.zip"
    await page.require_accessible()
    heard = await page.heard()
    assert heard.any()


async def test_it_goes_on_by_itself_when_the_server_was_gone(served: Served) -> None:
    chain, _ = await served.grown()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(listening(served.app.api))
        url = str(first.base_url).rstrip("/")
        async with studio(served.browser, url) as page:
            await page.open(f"#/chain/{chain['id']}")
            await expect(page.page.get_by_text("Live", exact=True)).to_be_visible()
            await stack.aclose()
            await expect(page.page.get_by_text("Connection lost")).to_be_visible()
            made = await served.app.branch(chain["id"], chain["root_id"], takes=1)
            await served.app.finished(chain["id"], made["nodes"][0]["id"])
            async with listening(served.app.api, port=first.base_url.port or 0):
                await expect(page.take("Take 3, candidate")).to_be_visible()
                await expect(page.page.get_by_text("Connection lost")).to_have_count(0)


async def test_a_large_chain_appears_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    async with (
        running(
            {"mock": MockEngine()}, work=False, overrides={"jobs": {"max_active_per_tenant": 500}}
        ) as app,
        listening(app.api) as http,
        chromium() as browser,
        studio(browser, str(http.base_url).rstrip("/")) as page,
    ):
        chain = await app.upload(CLIP, title="Two hundred")
        for _ in range(25):
            await app.branch(chain["id"], chain["root_id"], takes=8)
        await page.open()
        await page.page.get_by_role("link", name="Two hundred").wait_for()
        painted_ms = await page.page.evaluate(
            """async id => {
                const began = performance.now();
                const frame = () => new Promise(requestAnimationFrame);
                location.hash = `#/chain/${id}`;
                while (document.querySelectorAll("[role=treeitem]").length < 201) await frame();
                await frame();
                return performance.now() - began;
            }""",
            chain["id"],
        )
        with capsys.disabled():
            print(f"\n201 takes on the timeline in {painted_ms:.0f} ms")
        places = await page.page.evaluate(
            """() => [...document.querySelectorAll("[role=treeitem]")].map(({style}) =>
                [style.top, style.left, style.width].map(parseFloat))"""
        )
        assert len(places) == 201
        ends: dict[float, float] = {}
        for top, left, width in sorted(places):
            assert ends.get(top, -1.0) <= left + 0.01, "no take lies over another"
            ends[top] = left + width

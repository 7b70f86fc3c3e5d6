"""What a musician chooses on the page: a region, one of two takes, what a file is."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from playwright.async_api import Request, expect

from tests.page.served import CLIP, Served
from tests.page.studio import Studio

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE_HZ = 44_100


def png(side: int = 64) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (168, 72, 15)).save(file, "PNG")
    return file.getvalue()


@asynccontextmanager
async def asked(page: Studio, path: str) -> AsyncIterator[dict[str, Any]]:
    """The body of the request that is made meanwhile."""
    body: dict[str, Any] = {}
    async with page.page.expect_request(re.compile(path)) as request:
        yield body
    made: Request = await request.value
    body.update(json.loads(made.post_data or "{}"))


async def test_a_region_is_dragged_typed_cropped_to_and_exported(served: Served, page: Studio) -> None:
    chain, nodes = await served.grown()
    await page.open(f"#/chain/{chain['id']}")
    box = await page.take("Take 1").bounding_box()
    assert box is not None
    mouse, y = page.page.mouse, box["y"] + box["height"] / 2
    await mouse.move(box["x"] + box["width"] * 0.25, y)
    await mouse.down()
    await mouse.move(box["x"] + box["width"] * 0.5, y, steps=4)
    await mouse.move(box["x"] + box["width"] * 0.75, y, steps=4)
    await mouse.up()
    await expect(page.take("Take 1")).to_have_attribute("aria-selected", "true")
    start = page.page.get_by_role("slider", name="Region from, seconds")
    end = page.page.get_by_role("slider", name="Region to, seconds")
    dragged = [float(await each.get_attribute("aria-valuenow") or 0) for each in (start, end)]
    assert dragged == pytest.approx([2.5, 3.5], abs=0.05)

    await page.page.get_by_role("spinbutton", name="Region from, seconds").fill("2.5")
    await page.page.get_by_role("spinbutton", name="Region to, seconds").fill("3.25")
    await page.page.keyboard.press("Tab")
    await expect(end).to_have_attribute("aria-valuenow", "3.25")
    async with asked(page, "/crop$") as body:
        await page.button("Crop Take 1").click()
    assert body == {"from_s": 0.5, "to_s": 1.25}
    cropped = page.take("Take 1, up to 0:01.2, candidate")
    await expect(cropped).to_have_attribute("aria-selected", "true")

    await page.take("Beginning").click()
    await page.button("Export region").click()
    dialog = page.page.get_by_role("dialog")
    await expect(dialog.get_by_label("From second")).to_have_value("2.5")
    await dialog.get_by_label("From second").fill("0.5")
    await dialog.get_by_label("To second").fill("1.75")
    await dialog.get_by_label("Bits").select_option("32")
    async with asked(page, "/export$") as body, page.page.expect_download() as download:
        await dialog.get_by_role("button", name="Export", exact=True).click()
    assert (body["from"], body["to"]) == (0.5, 1.75)
    exported, _ = soundfile.read(await (await download.value).path(), dtype="float32")
    line = await served.samples(f"/v1/chains/{chain['id']}/nodes/{chain['root_id']}/line/audio")
    assert np.array_equal(exported.T, line[:, round(0.5 * RATE_HZ) : round(1.75 * RATE_HZ)])
    assert {node["id"] for node in nodes} <= {
        node["id"] for node in (await served.app.chain(chain["id"]))["nodes"]
    }


async def test_a_region_by_keys_alone(served: Served, page: Studio) -> None:
    chain, _ = await served.grown(takes=1)
    keys = page.page.keyboard
    await page.open(f"#/chain/{chain['id']}")
    await page.take("Beginning").focus()
    await keys.press("l")
    await keys.press("j")
    await keys.press("ArrowLeft")  # to no parent: the playhead moves back, and stays at 0
    slider = page.page.get_by_role("slider", name="Playhead")
    await slider.focus()
    await keys.press("ArrowRight")
    await keys.press("o")
    start = page.page.get_by_role("slider", name="Region from, seconds")
    end = page.page.get_by_role("slider", name="Region to, seconds")
    await expect(end).to_have_attribute("aria-valuetext", "0:01.00, 1 s long")
    await start.focus()
    await keys.press("ArrowRight")
    await keys.press("Shift+ArrowRight")
    await expect(start).to_have_attribute("aria-valuenow", "0.11")
    await keys.press("End")
    await keys.press("Home")
    await expect(start).to_have_attribute("aria-valuenow", "0")
    await keys.press("c")
    await expect(page.take("Beginning, up to 0:01.0")).to_be_visible()
    await expect(page.page.get_by_role("status").first).to_contain_text("a take of its own")
    await keys.press("Escape")
    await expect(start).to_have_count(0)


async def test_differences_between_two_takes(served: Served, page: Studio) -> None:
    chain = await served.app.upload(CLIP, title="Two ways")
    for prompt, seed in (("marimba", 1), ("brass", 2)):
        made = await served.app.branch(
            chain["id"],
            chain["root_id"],
            prompt=prompt,
            seed=seed,
            mode="text",
            duration_s=4.0,
            crossfade_s=0.0,
        )
        await served.app.finished(chain["id"], made["nodes"][0]["id"])
    await page.open(f"#/chain/{chain['id']}")
    await page.take("Take 2").click()
    await page.page.keyboard.press("d")
    dialog = page.page.get_by_role("dialog", name="Differences")
    await expect(dialog).to_contain_text("differ.")
    await expect(dialog).to_contain_text("The first 2 s are one line.")
    settings = dialog.get_by_role("row")
    await expect(settings.filter(has_text="prompt")).to_contain_text("brass")
    await expect(settings.filter(has_text="prompt")).to_contain_text("marimba")
    await expect(settings.filter(has_text="seed")).to_have_count(1)

    await dialog.get_by_role("button", name=re.compile("Hear B at")).last.click()
    await expect(dialog.get_by_role("button", name="Pause")).to_be_visible()
    await expect(dialog.get_by_role("button", name="Play", exact=True)).to_be_visible()  # its end
    assert (await page.heard()).any()
    takes = dialog.get_by_role("combobox")
    await takes.last.select_option(index=0)
    await expect(dialog).to_contain_text("only in A")
    await takes.first.select_option(index=0)
    await expect(dialog).to_contain_text("Choose two different takes")


async def test_an_abx_test_says_how_likely_guessing_is(served: Served, page: Studio) -> None:
    chain, _ = await served.grown()
    await page.open(f"#/chain/{chain['id']}")
    await page.take("Take 1").click()
    await page.button("ABX").click()
    await page.page.get_by_label("Trials").select_option("8")
    await page.button("Begin").click()
    await expect(page.page.get_by_text("Trial 1 of 8")).to_be_visible()
    await expect(page.page.locator("[role=treeitem][aria-selected=true]")).to_have_count(0)
    await page.page.keyboard.press("3")
    await expect(page.button("Hear X")).to_have_attribute("aria-pressed", "true")
    await page.button("Hear B").click()
    await expect(page.button("Hear B")).to_have_attribute("aria-pressed", "true")
    for number in range(1, 9):
        await expect(page.page.locator(".transport")).to_contain_text(f"Trial {number} of 8")
        if number % 2:
            await page.page.keyboard.press("a")
        else:
            await page.button("X is B").click()
    result = page.page.get_by_role("dialog")
    await expect(result).to_contain_text("of 8 right")
    text = await result.inner_text()
    right = int(re.search(r"(\d) of 8 right", text)[1])  # type: ignore[index]
    p = sum(math.comb(8, k) for k in range(right, 9)) / 2**8
    assert f"p = {p:.4f}" in text
    await page.require_accessible()
    await page.page.keyboard.press("Escape")
    await expect(page.button("Take 1")).to_be_visible()


async def test_every_choice_of_an_export(served: Served, page: Studio, tmp_path: Path) -> None:
    chain, _ = await served.grown(takes=1)
    await page.open(f"#/chain/{chain['id']}")
    await page.button("Export").click()
    dialog = page.page.get_by_role("dialog")
    export = dialog.get_by_role("button", name="Export", exact=True)
    await dialog.get_by_text("What the file says").click()
    await expect(dialog.locator("input[type=file]")).to_have_count(0)  # a WAV has no cover
    await dialog.get_by_label("Opus").check()
    for label, value in (("Title", "Breeze"), ("Artist", "Ada"), ("Genre", "Ambient"), ("Tempo", "92.5")):
        await dialog.get_by_label(label, exact=True).fill(value)
    cover = dialog.locator("input[type=file]")
    large = tmp_path / "front.png"
    large.write_bytes(bytes(11_000_000))
    await cover.set_input_files(large)
    await expect(dialog).to_contain_text("too large: up to 10 MB")
    await cover.set_input_files({"name": "front.png", "mimeType": "image/png", "buffer": png()})
    await expect(dialog.get_by_alt_text("Cover picture")).to_be_visible()
    await dialog.get_by_label("Loudness").select_option(label="another")
    await dialog.get_by_label("LUFS", exact=True).fill("-20")
    await dialog.get_by_label("True peak, dBTP").fill("-2")
    await dialog.get_by_label("Fade in").fill("0.1")
    async with asked(page, "/export$") as body, page.page.expect_download() as download:
        await export.click()
    assert (await download.value).suggested_filename.endswith(".opus")
    assert body.pop("cover").startswith("data:image/png;base64,")
    assert body == {
        "format": "opus",
        "title": "Breeze",
        "tags": {"artist": "Ada", "genre": "Ambient", "bpm": 92.5},
        "loudness_lufs": -20,
        "true_peak_dbtp": -2,
        "fade_in_s": 0.1,
    }
    await expect(dialog).to_contain_text("LUFS, true peak")
    async with page.page.expect_download() as credentials:
        await dialog.get_by_role("button", name="Content credentials (C2PA)").click()
    assert (await (await credentials.value).path()).stat().st_size > 1000

    await dialog.get_by_label("FLAC").check()
    await dialog.get_by_label("Fade in").fill("99")
    await export.click()
    await expect(dialog).to_contain_text("The fades are longer than")
    await dialog.get_by_label("Fade in").fill("")
    async with page.page.expect_download():
        await export.click()
    await expect(dialog).to_contain_text("its content credentials are in the file")
    await page.require_accessible()


async def test_how_a_take_is_joined(served: Served, page: Studio) -> None:
    chain, _ = await served.grown(takes=1)
    await page.open(f"#/chain/{chain['id']}")
    await page.take("Beginning").click()
    await page.page.get_by_text("How it is joined").click()
    await page.page.get_by_label("Aligned by").select_option(label="Its beats")
    await page.page.get_by_label("Crossfade, seconds").fill("0.3")
    await page.page.get_by_label("As loud as what it continues").uncheck()
    await page.page.get_by_label("Takes", exact=True).fill("1")
    await page.page.get_by_label("Seconds", exact=True).fill("2")
    async with asked(page, "/nodes$") as body:
        await page.button("Make 1 take").click()
    assert (body["align"], body["crossfade_s"], body["match_loudness"]) == ("beat", 0.3, False)
    await expect(page.take("Take 2, candidate")).to_be_visible()
    await page.page.get_by_label("Aligned by").select_option(label="Nothing")
    await page.button("Use these settings").click()
    await expect(page.page.get_by_label("Aligned by")).to_have_value("beat")
    await expect(page.page.get_by_label("As loud as what it continues")).not_to_be_checked()

"""The studio page on a large chain, in Chromium: `python -m benchmarks.page [--quick] [--json FILE]`."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit import machine
from benchmarks.kit.report import Report, options
from deployments.engines.music.mock import MockEngine
from tests.page.studio import Studio, chromium, serve_capture, studio
from tests.support.clips import encoded, music
from tests.support.harness import Running, listening, running

PACKAGES = ("playwright",)
RATE_HZ = 44_100
ROOT_S, TAKE_S = 300.0, 300.0
FINISH_S = 600.0
MAX_TAKES = 8

PAINT = Head(
    "paint",
    "Until a chain is on the screen",
    "From the choice of the chain in the list, or from the page's own address, to the second frame after all takes "
    "are in the page. Server, browser and whatever else the machine does share its cores.",
)
PLAYING = Head(
    "playing",
    "A line of ten minutes while it plays",
    "Long tasks are those over 50 ms that the browser saw in the page's thread (PerformanceObserver). Memory is "
    "the proportional set size of the browser's process for the page, its audio thread's samples among it.",
)


@dataclass(frozen=True, slots=True)
class Effort:
    nodes: int
    rounds: int
    played_s: float
    jumps: int


FULL = Effort(200, 3, 60.0, 20)
QUICK = Effort(20, 1, 4.0, 2)

PAINTED = """async ([id, count]) => {
    const began = performance.now();
    const frame = () => new Promise(requestAnimationFrame);
    if (id !== null) location.hash = `#/chain/${id}`;
    while (document.querySelectorAll("[role=treeitem]").length < count) await frame();
    await frame();
    await frame();
    return id === null ? performance.now() : performance.now() - began;
}"""
LONG_TASKS = """() => {
    globalThis.longTasks = [];
    new PerformanceObserver(list => {
        for (const { duration } of list.getEntries()) longTasks.push(duration);
    }).observe({ type: "longtask" });
}"""


async def grown(app: Running, nodes: int) -> tuple[str, str]:
    """A chain of ten minutes, the last five of them a committed take, and ready takes beside it."""
    clip = np.tile(music(10.0, RATE_HZ), (1, round(ROOT_S / 10)))
    chain = await app.upload(encoded(clip, RATE_HZ, "flac"), "clip.flac", title="Ten minutes")
    made = await app.branch(chain["id"], chain["root_id"], takes=1, duration_s=TAKE_S)
    last = made["nodes"][0]["id"]
    await app.finished(chain["id"], last, FINISH_S)
    await app.http.post(f"/v1/chains/{chain['id']}/nodes/{last}/commit")
    there = 2
    while there < nodes:
        count = min(MAX_TAKES, nodes - there)
        made = await app.branch(
            chain["id"], chain["root_id"] if there % 3 else last, takes=count, duration_s=2.0
        )
        for node in made["nodes"]:
            await app.finished(chain["id"], node["id"], FINISH_S)
        there += count
    await app.rest()
    return chain["id"], last


async def measure_paint(page: Studio, chain_id: str, effort: Effort, findings: Findings) -> None:
    chosen_ms, loaded_ms = [], []
    for _ in range(effort.rounds):
        await page.open()
        await page.page.get_by_role("link", name="Ten minutes").wait_for()
        chosen_ms.append(await page.page.evaluate(PAINTED, [chain_id, effort.nodes]))
        await page.page.goto("about:blank")
        await page.open(f"#/chain/{chain_id}")
        loaded_ms.append(await page.page.evaluate(PAINTED, [None, effort.nodes]))
    for what, took_ms in (("chosen in the list", chosen_ms), ("the page opened on it", loaded_ms)):
        findings.add(
            PAINT,
            {
                "takes": effort.nodes,
                "from": what,
                "rounds": effort.rounds,
                "median, ms": round(median(took_ms)),
                "at most, ms": round(max(took_ms)),
            },
        )
    findings.targets.append(
        Target.at_most("first paint from the page's address, s", 1.0, median(loaded_ms) / 1000)
    )


async def measure_playing(page: Studio, chain_id: str, last: str, effort: Effort, findings: Findings) -> None:
    await page.open(f"#/chain/{chain_id}")
    await page.page.locator(f"#take-{last}").wait_for()
    await page.page.evaluate("heard.push = () => 0")  # what is heard is not kept here
    await _row(page, "opened", findings)
    await page.page.locator(f"#take-{last}").click()
    await page.button("Listen").click()
    await page.button("Pause").wait_for()
    await page.page.wait_for_timeout(2000)
    await page.page.evaluate(LONG_TASKS)
    await page.page.wait_for_timeout(effort.played_s * 1000)
    longest_ms = await _row(page, f"played for {effort.played_s:g} s", findings)
    findings.targets.append(Target.at_most("longest task while playing, ms", 200.0, longest_ms))
    slider = page.page.get_by_role("slider", name="Playhead")
    await slider.focus()
    await page.page.keyboard.press("Home")
    for _ in range(effort.jumps):
        for _ in range(3):
            await page.page.keyboard.press("PageUp")
        await page.page.wait_for_timeout(500)
    await _row(page, f"played on from {effort.jumps} places of all ten minutes", findings)


async def _row(page: Studio, when: str, findings: Findings) -> float:
    """Returns the longest task since the last row, in ms."""
    tasks: list[float] = await page.page.evaluate("globalThis.longTasks?.splice(0) ?? []")
    session = await page.page.context.new_cdp_session(page.page)
    heap = await session.send("Runtime.getHeapUsage")
    held_s = await page.page.evaluate("mostHeld") / RATE_HZ
    longest_ms = max(tasks, default=0.0)
    row: dict[str, Any] = {
        "when": when,
        "long tasks": len(tasks),
        "longest, ms": round(longest_ms),
        "page's memory, MB": round(await _page_bytes(page) / 1e6),
        "JavaScript's objects, MB": round(heap["usedSize"] / 1e6, 1),
        "most sound held, s of stereo": round(held_s, 1),
    }
    findings.add(PLAYING, row)
    return longest_ms


async def _page_bytes(page: Studio) -> int:
    """Of the browser's process that runs the page: the largest of its kind, since a browser keeps a spare one."""
    browser = page.page.context.browser
    assert browser is not None
    session = await browser.new_browser_cdp_session()
    processes = (await session.send("SystemInfo.getProcessInfo"))["processInfo"]
    return max(_pss_bytes(int(each["id"])) for each in processes if each["type"] == "renderer")


def _pss_bytes(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


async def measure(effort: Effort, findings: Findings) -> None:
    overrides = {"jobs": {"max_active_per_tenant": 500, "deadline_s": 300}}
    async with (
        running({"mock": MockEngine(channels=2)}, overrides=overrides) as app,
        listening(app.api) as http,
        chromium() as browser,
    ):
        serve_capture(app.api)
        print("growing the chain", file=sys.stderr)
        chain_id, last = await grown(app, effort.nodes)
        url = str(http.base_url).rstrip("/")
        print("measuring the first paint", file=sys.stderr)
        async with studio(browser, url) as page:
            await measure_paint(page, chain_id, effort, findings)
        print("measuring while it plays", file=sys.stderr)
        async with studio(browser, url) as page:
            await measure_playing(page, chain_id, last, effort, findings)


def main() -> None:
    parser = options("benchmarks.page", "Measure the studio page on a chain of 200 takes and ten minutes.")
    arguments = parser.parse_args()
    about = machine.describe(PACKAGES)
    effort = QUICK if arguments.quick else FULL
    findings = Findings()
    probes = {"before": machine.spin_ratio()}
    asyncio.run(measure(effort, findings))
    probes["after"] = machine.spin_ratio()
    tables = [*findings.tables(), machine.quietness(probes)]
    Report("The studio page, measured", about, tables, arguments.quick).give(arguments.json)


if __name__ == "__main__":
    main()

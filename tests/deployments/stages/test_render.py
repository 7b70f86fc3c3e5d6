"""Lines: the nodes' audio as one signal, and only what is needed of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.stages.export.order import starts_of
from storage import paths
from storage.domain.model import NodeAudio
from storage.repositories.blobs import BlobCorrupt
from tests.deployments.stages.studio import TENANT, Studio, noise, sampled, tone

RATE_HZ = 8_000


async def _line(studio: Studio, lengths: list[int], lead_ins: list[int]) -> list[NodeAudio]:
    signal = noise()
    return [
        await studio.keep(
            sampled(signal, 0.0, length, RATE_HZ),
            RATE_HZ,
            sampled(signal, 0.0, lead_in, RATE_HZ) if lead_in else None,
        )
        for length, lead_in in zip(lengths, lead_ins, strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), pieces=st.integers(1, 5))
def test_the_tail_is_the_lines_end_bit_for_bit(data: st.DataObject, pieces: int) -> None:
    """For nodes as the API allows them: half a second or more, a lead-in of up to 2 s or none. Most tails begin
    near a seam."""
    lengths = [data.draw(st.integers(4_000, 9_000)) for _ in range(pieces)]
    lead_ins = [data.draw(st.sampled_from([0, 480, 16_000])) for _ in range(pieces)]
    near_seam = sum(lengths[data.draw(st.integers(0, pieces)) :]) + data.draw(st.integers(-100, 600))
    tail_s = max(0, near_seam) / RATE_HZ

    async def check() -> None:
        studio = Studio()
        line = await _line(studio, lengths, lead_ins)
        whole = await studio.lines.render(TENANT, line)
        assert whole.shape == (1, sum(lengths))
        tail = await studio.lines.render_tail(TENANT, line, tail_s)
        expected = whole[:, max(0, whole.shape[1] - round(tail_s * RATE_HZ)) :]
        assert tail.tobytes() == expected.tobytes()

    asyncio.run(check())


async def test_a_tail_fetches_only_what_sounds_in_it() -> None:
    studio = Studio()
    line = await _line(studio, [8_000] * 6, [0, *[480] * 5])
    expected = await studio.lines.render_tail(TENANT, line, 1.5)
    for audio in line[:3]:
        await studio.store.delete(paths.blob(TENANT, audio.blob.name))
    assert np.array_equal(await studio.lines.render_tail(TENANT, line, 1.5), expected)
    with pytest.raises(BlobCorrupt):
        await studio.lines.render(TENANT, line)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), pieces=st.integers(1, 5))
def test_a_region_is_that_part_of_the_whole_bit_for_bit_and_fetches_nothing_else(
    data: st.DataObject, pieces: int
) -> None:
    """In one piece as a player asks for it, and block by block as an export does; nodes at other rates included.
    Most regions begin or end near a seam. What does not sound in them is gone from the store meanwhile."""
    lengths = [data.draw(st.integers(4_000, 9_000)) for _ in range(pieces)]
    lead_ins = [data.draw(st.sampled_from([0, 480, 16_000])) for _ in range(pieces)]
    rates_hz = [RATE_HZ, *(data.draw(st.sampled_from([RATE_HZ, RATE_HZ, 11_025])) for _ in range(pieces - 1))]

    async def check(folder: Path) -> None:
        studio = Studio()
        line = [
            await studio.keep(
                sampled(noise(), 0.0, length, rate_hz),
                rate_hz,
                sampled(noise(), 0.0, lead_in, rate_hz) if lead_in else None,
            )
            for length, lead_in, rate_hz in zip(lengths, lead_ins, rates_hz, strict=True)
        ]
        starts, whole = starts_of(line), await studio.lines.render(TENANT, line)

        def near_a_seam(label: str) -> int:
            seam = starts[data.draw(st.integers(0, pieces), label=label)]
            return min(starts[-1], max(0, seam + data.draw(st.integers(-900, 900), label=label)))

        start, end = sorted((near_a_seam("one end"), near_a_seam("other end")))
        for index, audio in enumerate(line):
            reaches_back = 16_000 * RATE_HZ // rates_hz[index] + 100
            if (starts[index] - reaches_back > end or starts[index + 1] + reaches_back < start) and index:
                await studio.store.delete(paths.blob(TENANT, audio.blob.name))
        expected = whole[:, start:end]
        window = await studio.lines.window(TENANT, line, start, end)
        assert window.tobytes() == expected.tobytes()
        blocks = [block async for block in studio.lines.blocks(TENANT, line, folder, start, end)]
        assert np.concatenate([expected[:, :0], *blocks], axis=1).tobytes() == expected.tobytes()

    with TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder)))
        assert not list(Path(folder).iterdir())


async def test_a_region_of_an_export_does_not_read_the_line_before_it(tmp_path: Path) -> None:
    studio = Studio()
    line = await _line(studio, [8_000] * 6, [0, *[480] * 5])
    expected = (await studio.lines.render(TENANT, line))[:, 25_000:30_000]
    for index in (0, 1, 2, 4, 5):
        await studio.store.delete(paths.blob(TENANT, line[index].blob.name))
    blocks = [block async for block in studio.lines.blocks(TENANT, line, tmp_path, 25_000, 30_000)]
    assert np.concatenate(blocks, axis=1).tobytes() == expected.tobytes()


async def test_nodes_of_another_format_sound_in_the_first_ones() -> None:
    studio = Studio()
    line = [
        await studio.keep(sampled(tone, 0.0, 44_100, 44_100, 2), 44_100),
        await studio.keep(sampled(tone, 1.0, 32_000, 32_000, 1), 32_000),
    ]
    rendered = await studio.lines.render(TENANT, line)
    ideal = sampled(tone, 0.0, 88_200, 44_100, 2)
    assert rendered.shape == (2, 88_200)
    away_from_seam_and_end = np.r_[0:43_000, 45_000:87_000]
    assert np.abs(rendered - ideal)[:, away_from_seam_and_end].max() < 0.002


async def test_damaged_audio_is_never_rendered() -> None:
    studio = Studio()
    line = await _line(studio, [4_000], [0])
    key = paths.blob(TENANT, line[0].blob.name)
    data = bytearray((await studio.store.get(key)).data)
    data[-1] ^= 1
    await studio.store.put(key, bytes(data))
    with pytest.raises(BlobCorrupt):
        await studio.lines.render(TENANT, line)

"""Lines: the nodes' audio as one signal, and only what is needed of it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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

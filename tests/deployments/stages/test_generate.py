"""Generating a node: what the generator hears, and what the chain keeps of what it gives."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.audio.levels import peak_dbfs, rms_dbfs
from deployments.audio.resample import resample, to_channels
from deployments.audio.samples import Samples
from deployments.audio.seam.joining import Joining
from deployments.engines.common.errors import EngineBroken, UnknownModel
from deployments.engines.music.protocol import (
    EngineInfo,
    GenerationEvent,
    GenerationMode,
    GenerationRequest,
    Prefilled,
    Segment,
)
from deployments.stages.take import LEAD_IN_S
from storage.domain import decisions
from tests.deployments.stages.studio import (
    NOW,
    SeededGenerator,
    Signal,
    SignalGenerator,
    Studio,
    chirp,
    engine_info,
    noise,
    sampled,
    tone,
)

RATES_HZ = (8_000, 11_025, 22_050, 44_100, 48_000, 96_000)


@pytest.fixture
def studio() -> Studio:
    return Studio()


async def _line_of_three(studio: Studio, rate_hz: int, channels: int) -> None:
    """root -> first -> second, of which only the root is committed; a discarded sibling beside them."""
    await studio.upload(sampled(noise(), 0.0, rate_hz, rate_hz, channels), rate_hz)
    await studio.branch(SignalGenerator(noise()), 0.5, name="first")
    await studio.branch(SignalGenerator(noise(0.2)), 0.5, name="sibling")
    studio.chain = decisions.discard(studio.chain, "sibling", NOW)
    await studio.branch(SignalGenerator(noise(0.3)), 0.4, name="second", parent_id="first")


@pytest.mark.parametrize(("rate_hz", "channels"), [(44_100, 2), (22_050, 1), (32_000, 1), (48_000, 2)])
@pytest.mark.parametrize("engine_channels", [1, 2])
async def test_the_context_is_the_end_of_the_path_as_an_export_renders_it(
    studio: Studio, rate_hz: int, channels: int, engine_channels: int
) -> None:
    await _line_of_three(studio, rate_hz, channels)
    generator = SignalGenerator(noise(), info_=engine_info(channels=engine_channels))
    made = await studio.branch(generator, parent_id="second", prompt_duration_s=0.7)
    end = (await studio.line("second"))[:, -round(0.7 * rate_hz) :]
    expected = to_channels(resample(end, rate_hz, 32_000), engine_channels)
    assert len(generator.requests) == 1
    context = generator.requests[0].context
    assert context is not None
    assert context.dtype == np.float32
    assert np.array_equal(context, expected)
    assert made.provenance["context_duration_s"] == pytest.approx(0.7, abs=1 / rate_hz)
    assert made.provenance["context_sha256"] == hashlib.sha256(end.tobytes()).hexdigest()


@pytest.mark.parametrize(("asked_s", "max_context_s", "heard_s"), [(10.0, 30.0, 1.9), (10.0, 1.2, 1.2)])
async def test_the_context_is_no_longer_than_the_line_or_the_model_takes(
    studio: Studio, asked_s: float, max_context_s: float, heard_s: float
) -> None:
    await _line_of_three(studio, 44_100, 2)
    generator = SignalGenerator(noise(), info_=engine_info(max_context_s=max_context_s))
    made = await studio.branch(generator, parent_id="second", prompt_duration_s=asked_s)
    context = generator.requests[0].context
    assert context is not None
    assert context.shape == (1, round(heard_s * 32_000))
    assert made.provenance["context_duration_s"] == pytest.approx(heard_s)


async def test_words_alone_hear_nothing_of_the_line(studio: Studio) -> None:
    await studio.upload(sampled(tone, 0.0, 22_050, 22_050), 22_050)
    generator = SignalGenerator(noise(0.05))
    made = await studio.branch(generator, mode="text")
    assert generator.requests[0].mode is GenerationMode.TEXT
    assert generator.requests[0].context is None
    assert made.audio.lead_in is None
    assert made.provenance["context_sha256"] is None
    assert made.provenance["gain_db"] == 0.0
    assert (made.audio.samples, made.audio.sample_rate_hz) == (22_050, 22_050)


@pytest.mark.parametrize("mode", ["text", "melody"])
async def test_a_take_without_a_rendering_fades_in_by_its_own_opening(studio: Studio, mode: str) -> None:
    rate_hz, joining = 22_050, Joining(crossfade_s=0.25)
    await studio.upload(sampled(noise(0.2), 0.0, 4 * rate_hz, rate_hz), rate_hz)
    generator = SignalGenerator(noise(0.08), reconstructs=False)
    made = await studio.branch(generator, 4.0, mode=mode, **joining.to_params())
    assert made.audio.samples == 4 * rate_hz
    assert made.audio.lead_in is not None
    lead_in = await studio.samples(made.audio.lead_in)
    assert lead_in.shape[1] == round(0.25 * rate_hz)
    assert 7.0 < made.provenance["seam"]["gain_db"] < 11.0
    levels = [rms_dbfs(part) for part in np.split(await studio.line(), 16, axis=1)]
    assert max(levels) - min(levels) < 0.5


async def test_a_melody_is_heard_but_not_continued(studio: Studio) -> None:
    await studio.upload(sampled(tone, 0.0, 44_100, 44_100), 44_100)
    generator = SignalGenerator(noise(0.05), reconstructs=False)
    made = await studio.branch(generator, mode="melody")
    assert generator.requests[0].context is not None
    assert made.audio.lead_in is None
    assert made.provenance["gain_db"] == 0.0


@pytest.mark.parametrize("engine_channels", [1, 2])
async def test_a_generated_root_has_the_engines_format(studio: Studio, engine_channels: int) -> None:
    generator = SignalGenerator(tone, info_=engine_info(channels=engine_channels))
    made = await studio.begin(generator, 0.75, mode="text")
    assert (made.audio.samples, made.audio.sample_rate_hz) == (24_000, 32_000)
    assert made.audio.channels == engine_channels
    assert np.array_equal(
        await studio.samples(made.audio.blob), sampled(tone, 0.0, 24_000, 32_000, engine_channels)
    )
    assert (studio.chain.sample_rate_hz, studio.chain.channels) == (32_000, engine_channels)


@settings(max_examples=60, deadline=None)
@given(
    rate_hz=st.sampled_from(RATES_HZ),
    channels=st.sampled_from([1, 2]),
    duration_s=st.floats(0.1, 1.0),
    root_samples=st.integers(800, 9_000),
)
def test_a_node_is_exactly_as_long_as_asked_at_every_rate(
    rate_hz: int, channels: int, duration_s: float, root_samples: int
) -> None:
    async def make() -> None:
        studio = Studio()
        await studio.upload(sampled(noise(), 0.0, root_samples, rate_hz, channels), rate_hz)
        audio = (await studio.branch(SignalGenerator(noise()), duration_s)).audio
        wanted = round(duration_s * rate_hz)
        assert (audio.samples, audio.sample_rate_hz, audio.channels) == (wanted, rate_hz, channels)
        samples = await studio.samples(audio.blob)
        assert samples.shape == (channels, wanted)
        assert (audio.rms_dbfs, audio.peak_dbfs) == (rms_dbfs(samples), peak_dbfs(samples))
        if audio.lead_in is not None:
            lead_in = await studio.samples(audio.lead_in)
            assert lead_in.shape[0] == channels
            assert 0 < lead_in.shape[1] <= round(LEAD_IN_S * rate_hz)

    asyncio.run(make())


@pytest.mark.parametrize("rate_hz", RATES_HZ)
async def test_a_continuation_runs_on_without_a_seam(studio: Studio, rate_hz: int) -> None:
    """A generator that continues a chirp by heart: the line is the chirp, over both seams."""
    root_samples = 2 * rate_hz
    await studio.upload(sampled(chirp, 0.0, root_samples, rate_hz, 2), rate_hz)
    await studio.branch(SignalGenerator(chirp, begins_s=2.0), 1.0, name="first")
    await studio.branch(SignalGenerator(chirp, begins_s=3.0), 1.0, parent_id="first")
    line = await studio.line()
    ideal = sampled(chirp, 0.0, 4 * rate_hz, rate_hz, 2)
    assert line.shape == ideal.shape
    settled = slice(0, round(3.98 * rate_hz))  # a resampler has nothing to lean on at the very end
    assert np.abs(line - ideal)[:, settled].max() < 0.003


async def test_the_lead_in_ends_where_the_new_audio_begins(studio: Studio) -> None:
    rate_hz = 44_100
    await studio.upload(sampled(chirp, 0.0, 2 * rate_hz, rate_hz), rate_hz)
    audio = (await studio.branch(SignalGenerator(chirp, begins_s=2.0))).audio
    assert audio.lead_in is not None
    lead_in, new = await studio.samples(audio.lead_in), await studio.samples(audio.blob)
    length = round(LEAD_IN_S * rate_hz)
    assert lead_in.shape[1] == length
    joined = np.concatenate([lead_in, new], axis=1)
    ideal = sampled(chirp, 2.0 - length / rate_hz, joined.shape[1], rate_hz)
    assert np.abs(joined - ideal)[:, : rate_hz // 2].max() < 0.001


async def test_an_odd_length_of_the_line_moves_the_seam_by_less_than_a_sample(studio: Studio) -> None:
    rate_hz, root_samples = 11_025, 20_003
    begins_s = root_samples / rate_hz
    await studio.upload(sampled(chirp, 0.0, root_samples, rate_hz), rate_hz)
    await studio.branch(SignalGenerator(chirp, begins_s=begins_s))
    line = await studio.line()
    ideal = sampled(chirp, 0.0, line.shape[1], rate_hz)
    one_sample = np.abs(np.diff(ideal)).max()
    assert np.abs(line - ideal)[:, : root_samples + rate_hz // 2].max() < one_sample


@pytest.mark.parametrize("codec_level", [0.2, 0.7, 1.0, 3.0])
@pytest.mark.parametrize("rate_hz", [22_050, 44_100])
async def test_loudness_does_not_jump(studio: Studio, codec_level: float, rate_hz: int) -> None:
    await studio.upload(sampled(noise(), 0.0, 2 * rate_hz, rate_hz), rate_hz)
    generator = SignalGenerator(noise(), level=codec_level, info_=engine_info(rate_hz))
    made = await studio.branch(generator)
    line = await studio.line()
    seam = 2 * rate_hz
    before, after = line[:, seam - rate_hz : seam], line[:, seam : seam + rate_hz]
    assert abs(rms_dbfs(before) - rms_dbfs(after)) < 1.0
    assert made.provenance["gain_db"] == pytest.approx(-20 * math.log10(codec_level), abs=0.5)


async def test_a_crescendo_of_the_model_is_not_levelled(studio: Studio) -> None:
    """The gain is that of the codec's reconstruction, not of the new music."""

    def louder(times_s: np.ndarray) -> np.ndarray:
        return np.asarray(tone(times_s) * np.where(times_s < 2.0, 0.25, 1.0))

    await studio.upload(sampled(louder, 0.0, 88_200, 44_100), 44_100)
    await studio.branch(SignalGenerator(louder, begins_s=2.0, level=0.5))
    line = await studio.line()
    jump_db = rms_dbfs(line[:, 88_200:]) - rms_dbfs(line[:, :84_000])
    assert jump_db == pytest.approx(20 * math.log10(4.0), abs=0.5)


async def test_a_gain_never_drives_samples_over_full_scale(studio: Studio) -> None:
    await studio.upload(sampled(noise(0.3), 0.0, 44_100, 44_100), 44_100)
    made = await studio.branch(SignalGenerator(noise(0.3), level=0.5))
    samples = await studio.samples(made.audio.blob)
    assert 0.9 < np.abs(samples).max() <= 1.0
    assert made.audio.peak_dbfs <= 0.0


@pytest.mark.parametrize("signal", [noise(), tone, chirp])
@pytest.mark.parametrize("late_s", [0.0, 0.0004])
@pytest.mark.parametrize("rate_hz", [22_050, 44_100])
async def test_a_seam_does_not_click(studio: Studio, signal: Signal, late_s: float, rate_hz: int) -> None:
    """Even if the codec is a little off in phase and level."""
    await studio.upload(sampled(signal, 0.0, 2 * rate_hz, rate_hz), rate_hz)
    await studio.branch(SignalGenerator(signal, begins_s=2.0, level=0.8, late_s=late_s))
    line = (await studio.line()).astype(np.float64)
    differences = np.abs(np.diff(line, n=2, axis=1)).max(axis=0)
    seam = 2 * rate_hz
    assert differences[seam - 3 : seam + 2].max() <= np.percentile(differences, 99.9)


@pytest.mark.parametrize("missing", [1000, 64])
async def test_too_few_samples_are_the_engines_fault(studio: Studio, missing: int) -> None:
    await studio.upload(sampled(tone, 0.0, 44_100, 44_100), 44_100)
    with pytest.raises(EngineBroken, match="too few"):
        await studio.branch(SignalGenerator(tone, begins_s=1.0, missing_samples=missing))


@pytest.mark.parametrize(
    ("missing_event", "reason"), [(Prefilled, "before its reconstruction"), (Segment, "without audio")]
)
async def test_a_generator_that_leaves_something_out_is_broken(
    studio: Studio, missing_event: type[GenerationEvent], reason: str
) -> None:
    class EndsEarly(SignalGenerator):
        async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
            async for event in super().generate(request):
                if not isinstance(event, missing_event):
                    yield event

    await studio.upload(sampled(tone, 0.0, 44_100, 44_100), 44_100)
    with pytest.raises(EngineBroken, match=reason):
        await studio.branch(EndsEarly(tone))


async def test_samples_that_are_not_numbers_never_become_a_node(studio: Studio) -> None:
    class GivesNan(SignalGenerator):
        async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
            async for event in super().generate(request):
                yield Segment(event.samples * np.float32("nan")) if isinstance(event, Segment) else event

    await studio.upload(sampled(tone, 0.0, 44_100, 44_100), 44_100)
    with pytest.raises(EngineBroken, match="not numbers"):
        await studio.branch(GivesNan(tone))


async def test_a_model_that_is_not_served_is_named(studio: Studio) -> None:
    await studio.upload(sampled(tone, 0.0, 44_100, 44_100), 44_100)
    with pytest.raises(UnknownModel, match="musicgen-xl is not served: fake"):
        await studio.branch(SignalGenerator(tone), model="musicgen-xl")


async def test_the_generator_gets_what_the_node_says(studio: Studio) -> None:
    await studio.upload(sampled(tone, 0.0, 44_100, 44_100), 44_100)
    generator, progress = SignalGenerator(tone), list[float]()
    await studio.branch(
        generator,
        0.6,
        prompt="slow strings",
        seed=2**32 - 1,
        cfg_coef=1.5,
        temperature=0.7,
        top_k=0,
        top_p=0.9,
        progress=progress,
    )
    request = generator.requests[0]
    assert (request.prompt, request.duration_s, request.mode) == (
        "slow strings",
        0.6,
        GenerationMode.CONTINUE,
    )
    sampling = request.sampling
    assert (sampling.seed, sampling.cfg_coef, sampling.temperature) == (2**32 - 1, 1.5, 0.7)
    assert (sampling.top_k, sampling.top_p) == (0, 0.9)
    assert progress == [0.5, 1.0]


async def test_blobs_are_named_after_their_owner(studio: Studio) -> None:
    await studio.upload(sampled(tone, 0.0, 44_100, 44_100), 44_100)
    audio = (await studio.branch(SignalGenerator(tone, begins_s=1.0))).audio
    assert audio.lead_in is not None
    for ref in (audio.blob, audio.lead_in):
        assert ref.name == f"job-take-1-{ref.sha256}"


async def _remade(studio: Studio, name: str, parent_id: str) -> tuple[Samples, Samples]:
    """A node's audio, and what a new node gets that is asked for from the first one's provenance alone."""
    node = studio.chain.node(name)
    assert node.audio is not None
    assert node.provenance is not None
    provenance = json.loads(json.dumps(node.provenance))
    again = await studio.branch(
        SeededGenerator(),
        provenance["duration_s"],
        parent_id=provenance["parent_id"],
        name=f"{name}-again",
        prompt=provenance["prompt"],
        seed=provenance["seed"],
        **provenance["params"],
    )
    assert provenance["parent_id"] == parent_id
    assert again.audio.blob.sha256 == node.audio.blob.sha256
    assert (again.audio.lead_in and again.audio.lead_in.sha256) == (
        node.audio.lead_in and node.audio.lead_in.sha256
    )
    return await studio.samples(node.audio.blob), await studio.samples(again.audio.blob)


@pytest.mark.parametrize("mode", ["continue", "text"])
async def test_provenance_is_enough_to_make_the_node_again(studio: Studio, mode: str) -> None:
    await studio.upload(sampled(chirp, 0.0, 50_001, 44_100, 2), 44_100)
    await studio.branch(SeededGenerator(), 0.5, name="parent")
    options: dict[str, Any] = {
        "mode": mode,
        "prompt": "drums",
        "seed": 99,
        "prompt_duration_s": 0.8,
        "top_k": 12,
    }
    await studio.branch(SeededGenerator(), 0.7, parent_id="parent", **options)
    before, after = await _remade(studio, "take", "parent")
    assert np.array_equal(before, after)


async def test_provenance_names_model_licence_and_what_was_continued(studio: Studio) -> None:
    await studio.upload(sampled(chirp, 0.0, 44_100, 44_100), 44_100)
    made = await studio.branch(SeededGenerator(), take=2)
    info: EngineInfo = engine_info()
    root = studio.chain.node("root").audio
    assert root is not None
    assert info.describe().items() <= made.provenance.items()
    assert made.provenance["licence"] == "CC-BY-NC-4.0"
    assert "seam" not in made.provenance  # it did not say how it is joined: as before there was a choice
    assert made.provenance["lead_in_s"] == LEAD_IN_S
    assert made.provenance["parent_audio_sha256"] == root.blob.sha256
    assert made.provenance["take"] == 2

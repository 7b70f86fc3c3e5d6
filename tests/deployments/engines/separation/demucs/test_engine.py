"""The stems are Demucs's own, though they are made segment by segment; and they are the same whoever asks."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader, TrackWriter
from deployments.engines.common.errors import BadRequest
from deployments.engines.separation.catalog import SeparatorOptions, find
from deployments.engines.separation.demucs.packages import load_separator
from deployments.engines.separation.demucs.tiny import ensure_tiny_separator
from deployments.engines.separation.load import load
from deployments.engines.separation.mock import SHARES, MockSeparator
from deployments.engines.separation.options import SeparationOptions
from deployments.engines.separation.protocol import SegmentRequest, Separator, SeparatorEngine
from deployments.engines.separation.track import separate_track
from tests.deployments.engines.loaded import model_cache

pytestmark = pytest.mark.torch

RATE_HZ = 44_100
MODELS = ("tiny", "tiny-ft", "tiny-mixed")


@cache
def engine(name: str) -> SeparatorEngine:
    return load(find(name), cache_dir=model_cache(), options=SeparatorOptions(threads=1))


@cache
def reference(name: str) -> Any:
    return load_separator(ensure_tiny_separator(name, model_cache()), name)


def music(samples: int) -> Samples:
    time_s = np.arange(samples) / RATE_HZ
    noise = np.random.default_rng(4).standard_normal((2, samples))
    return (0.2 * np.sin(2 * np.pi * 330 * time_s) + 0.1 * noise + 0.01).astype(np.float32)


def track(samples: Samples, folder: Path) -> TrackReader:
    with TrackWriter(folder / "mix.wav", RATE_HZ, 2) as writer:
        writer.append(samples)
    return TrackReader(folder / "mix.wav")


async def stems_of(
    separator: Separator, source: TrackReader, options: SeparationOptions | None = None, in_flight: int = 2
) -> dict[str, Samples]:
    pieces = [
        stretch async for stretch in separate_track(separator, source, options=options, in_flight=in_flight)
    ]
    return {name: np.concatenate([piece[name] for piece in pieces], axis=1) for name in pieces[0]}


def demucs_own(name: str, mix: Samples, **options: Any) -> dict[str, Samples]:
    """As `demucs.api.Separator.separate_tensor` does it."""
    from demucs.apply import apply_model

    model, wave = reference(name), torch.from_numpy(mix)
    level = wave.mean(0)
    scaled = (wave - level.mean()) / (level.std() + 1e-8)
    estimates = apply_model(model, scaled[None], shifts=0, **options)[0] * (level.std() + 1e-8) + level.mean()
    return {source: estimates[index].numpy() for index, source in enumerate(model.sources)}


# Every model, every length and every overlap; not each with each.
@pytest.mark.parametrize(
    ("name", "samples", "overlap"),
    [
        ("tiny", 30_000, 0.25),
        ("tiny", 310_000, 0.1),
        ("tiny-ft", 310_000, 0.1),
        ("tiny-mixed", 400_000, 0.25),
    ],
)
async def test_the_stems_are_demucss(name: str, samples: int, overlap: float, tmp_path: Path) -> None:
    mix = music(samples)
    ours = await stems_of(engine(name), track(mix, tmp_path), SeparationOptions(overlap=overlap))
    theirs = demucs_own(name, mix, overlap=overlap)
    assert ours.keys() == theirs.keys()
    for source, samples_of_it in theirs.items():
        np.testing.assert_allclose(ours[source], samples_of_it, atol=1e-4)


async def test_a_segment_length_of_ones_own_is_demucss(tmp_path: Path) -> None:
    mix = music(200_000)
    ours = await stems_of(engine("tiny"), track(mix, tmp_path), SeparationOptions(segment_s=1.5))
    theirs = demucs_own("tiny", mix, segment=1.5)
    for source, samples in theirs.items():
        np.testing.assert_allclose(ours[source], samples, atol=1e-4)


async def test_shifts_repeat_with_their_seed(tmp_path: Path) -> None:
    source = track(music(150_000), tmp_path)
    one, same, other = [
        await stems_of(engine("tiny"), source, SeparationOptions(shifts=2, seed=seed)) for seed in (1, 1, 2)
    ]
    assert one["vocals"].tobytes() == same["vocals"].tobytes()
    assert one["vocals"].tobytes() != other["vocals"].tobytes()


async def test_the_bytes_depend_on_nothing_but_the_track(tmp_path: Path) -> None:
    source = track(music(400_000), tmp_path)
    alone = await stems_of(engine("tiny"), source, in_flight=1)
    together = await asyncio.gather(*(stems_of(engine("tiny"), source, in_flight=3) for _ in range(2)))
    for stems in together:
        assert {name: stem.tobytes() for name, stem in stems.items()} == {
            name: stem.tobytes() for name, stem in alone.items()
        }


async def test_one_stem_of_a_bag_asks_its_one_network(tmp_path: Path) -> None:
    counting = Counting(engine("tiny-ft"))
    source = track(music(200_000), tmp_path)
    some = await stems_of(counting, source, SeparationOptions(stems=("vocals",)))
    assert len(counting.parts) == 1
    everything = await stems_of(engine("tiny-ft"), source)
    assert list(some) == ["vocals"]
    assert some["vocals"].tobytes() == everything["vocals"].tobytes()


async def test_two_stems_add_up_to_all(tmp_path: Path) -> None:
    source = track(music(150_000), tmp_path)
    two = await stems_of(engine("tiny"), source, SeparationOptions(two_stems="bass"))
    everything = await stems_of(engine("tiny"), source)
    assert list(two) == ["bass", "no_bass"]
    rest = sum(stem.astype(np.float64) for name, stem in everything.items() if name != "bass")
    np.testing.assert_allclose(two["no_bass"], rest, atol=1e-4)


@pytest.mark.parametrize(
    "mix", [music(1), np.zeros((2, 50_000), np.float32), np.full((2, 9_000), 0.3, np.float32)]
)
async def test_short_silent_and_still_tracks_have_finite_stems(mix: Samples, tmp_path: Path) -> None:
    for stem in (await stems_of(engine("tiny"), track(mix, tmp_path))).values():
        assert stem.shape == mix.shape
        assert np.isfinite(stem).all()


async def test_the_mock_shares_a_track_out(tmp_path: Path) -> None:
    mix = music(500_000)
    stems = await stems_of(MockSeparator(), track(mix, tmp_path))
    centred = mix.astype(np.float64) - mix.mean()
    for name, share in SHARES.items():
        np.testing.assert_allclose(stems[name], share * centred + mix.mean(), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (SeparationOptions(overlap=1.0), "overlap"),
        (SeparationOptions(stems=("flute",)), "stems"),
        (SeparationOptions(two_stems="flute"), "two_stems"),
        (SeparationOptions(segment_s=99.0), "segment_s"),
        (SeparationOptions(shifts=21), "shifts"),
        (SeparationOptions(stems=("bass",), two_stems="bass"), "two_stems"),
    ],
)
async def test_bad_options_are_named(options: SeparationOptions, field: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=field):
        await stems_of(engine("tiny"), track(music(9_000), tmp_path), options)


class Counting:
    """A separator that keeps which parts were asked."""

    def __init__(self, inner: SeparatorEngine) -> None:
        self._inner = inner
        self.parts: set[int] = set()

    async def info(self) -> Any:
        return await self._inner.info()

    async def separate(self, segment: SegmentRequest) -> Any:
        self.parts.add(segment.part)
        return await self._inner.separate(segment)

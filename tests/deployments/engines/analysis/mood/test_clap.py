from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from deployments.engines.analysis import catalog as registry
from deployments.engines.analysis.clip import Clip
from deployments.engines.analysis.energy import energy_curve
from deployments.engines.analysis.mock import mock_analysis
from deployments.engines.analysis.mood.clap import ClapCritic
from deployments.engines.analysis.mood.critic import Evidence
from deployments.engines.analysis.mood.timbre import describe_timbre
from deployments.engines.analysis.mood.tiny_clap import ensure_tiny_clap, write_clap
from deployments.engines.analysis.pitch.chroma import find_peaks
from deployments.engines.analysis.pitch.key import NO_KEY
from deployments.engines.common.device import Device
from tests.deployments.engines.analysis.sounds import cadence, noise
from tests.deployments.engines.loaded import model_cache

pytestmark = pytest.mark.torch


@cache
def critic(fused: bool = False) -> ClapCritic:
    folder = ensure_tiny_clap(model_cache())
    if fused:
        folder = model_cache() / "fused-clap"
        folder.mkdir()
        write_clap(folder, fused=True)
    return ClapCritic(registry.find(str(folder)), cache_dir=model_cache(), device=Device.CPU)


def judge(samples, fused: bool = False):
    evidence = Evidence(
        mock_analysis(1.0).rhythm,
        NO_KEY,
        energy_curve(samples, 22_050),
        describe_timbre(samples),
        find_peaks(samples),
    )
    return critic(fused).judge(Clip(samples[None], 22_050), evidence)


@pytest.mark.parametrize("fused", [False, True])
def test_a_local_model_says_what_it_hears(fused: bool) -> None:
    impression = judge(cadence(0, "major", bars=2), fused)
    assert impression.emotion.method == impression.style.method == "clap"
    assert impression.style.id == max(impression.style.scores, key=lambda each: impression.style.scores[each])
    assert sum(impression.style.scores.values()) == pytest.approx(1.0)
    assert impression == judge(cadence(0, "major", bars=2), fused)


def test_other_music_other_answers() -> None:
    assert judge(cadence(0, "major", bars=2)) != judge(noise(2.0))


def test_long_clips_are_heard_at_several_places() -> None:
    beginning = cadence(0, "major", bars=11)
    assert judge(np.concatenate([beginning, noise(11.0)])) != judge(np.concatenate([beginning, beginning]))


def test_silence_is_nothing_to_hear() -> None:
    impression = judge(np.zeros(22_050, np.float32))
    assert impression.emotion.label is None
    assert impression.style.id is None


def test_a_tiny_model_is_made_once(tmp_path: Path) -> None:
    folder = ensure_tiny_clap(tmp_path)
    made = (folder / "config.json").stat().st_mtime_ns
    assert ensure_tiny_clap(tmp_path) == folder
    assert (folder / "config.json").stat().st_mtime_ns == made
    assert [each.name for each in tmp_path.iterdir()] == [folder.name]

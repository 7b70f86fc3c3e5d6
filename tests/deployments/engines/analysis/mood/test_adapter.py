from __future__ import annotations

import json
import math

import numpy as np
import pytest

from deployments.audio.samples import Samples
from deployments.engines.analysis.clip import Clip
from deployments.engines.analysis.energy import energy_curve
from deployments.engines.analysis.mood.adapter import FILE, AdapterCritic
from deployments.engines.analysis.mood.critic import Evidence, Impression
from deployments.engines.analysis.mood.features import describe
from deployments.engines.analysis.mood.styles import STYLE_IDS
from deployments.engines.analysis.mood.timbre import BANDS, HOP_S, describe_timbre
from deployments.engines.analysis.pitch.chroma import find_peaks
from deployments.engines.analysis.pitch.key import key_of
from deployments.engines.analysis.rhythm.estimate import analyse_rhythm
from tests.deployments.engines.analysis.sounds import babble, cadence, click, drums, noise, time_s


def evidence(samples: Samples) -> Evidence:
    peaks = find_peaks(samples)
    rhythm = analyse_rhythm(samples)
    return Evidence(
        rhythm,
        key_of(peaks, rhythm),
        energy_curve(samples, 22_050),
        describe_timbre(samples),
        peaks,
    )


def features(samples: Samples) -> dict[str, float]:
    known = evidence(samples)
    return describe(known.rhythm, known.key, known.timbre, known.peaks)


def judge(samples: Samples) -> Impression:
    return AdapterCritic().judge(Clip(samples[None], 22_050), evidence(samples))


def test_a_quick_major_tune_with_drums_is_merrier_than_a_slow_minor_one() -> None:
    quick = judge((cadence(0, "major", bars=16, bar_s=0.5) + drums(8.0, 150.0)).astype(np.float32)).emotion
    slow = judge(cadence(0, "minor", bars=3, bar_s=3.0)).emotion
    assert quick.arousal is not None
    assert slow.arousal is not None
    assert quick.arousal > slow.arousal + 0.3
    assert quick.valence is not None
    assert slow.valence is not None
    assert quick.valence > slow.valence


def test_silence_is_nothing_to_hear() -> None:
    impression = judge(np.zeros(22_050, np.float32))
    assert impression.emotion.label is None
    assert impression.emotion.confidence == 0.0
    assert impression.style.id is None
    assert set(impression.style.scores.values()) == {1 / len(STYLE_IDS)}


def test_what_is_no_music_is_judged_with_little_confidence() -> None:
    music = judge((cadence(0, "major", bars=8) + drums(8.0)).astype(np.float32)).emotion.confidence
    assert judge(noise(3.0)).emotion.confidence < max(0.3, music)


def test_how_loud_it_is_played_changes_nothing() -> None:
    clip = (cadence(4, "minor", bars=4) + noise(4.0, 0.003)).astype(np.float32)
    loud, soft = features(clip), features((0.2 * clip).astype(np.float32))
    assert list(loud) == list(soft)
    for name, value in loud.items():
        assert value == pytest.approx(soft[name], abs=0.05), name


@pytest.mark.parametrize(
    "clip",
    [np.zeros(1, np.float32), noise(0.05), click(1.0), babble(2.0), np.full(9_000, 0.5, np.float32)],
    ids=["one sample", "short noise", "click", "speech", "dc"],
)
def test_features_have_the_same_names_and_are_finite_whatever_the_clip_is(clip: Samples) -> None:
    found = features(clip)
    assert list(found) == list(features(cadence(0, "major", bars=2)))
    assert all(math.isfinite(value) for value in found.values())


def test_the_model_that_is_shipped_fits_the_features_and_tells_what_it_is_worth() -> None:
    record = json.loads(FILE.read_text())
    assert record["features"] == list(features(noise(0.5)))
    assert list(record["styles"]) == list(STYLE_IDS)
    figures = record["figures"]
    assert figures["held out: style accuracy"] > 0.5
    assert figures["held out: arousal r2"] > 0.3


def test_timbre_tells_bright_from_dull_and_tones_from_noise() -> None:
    low, high = (
        describe_timbre((0.3 * np.sin(2 * np.pi * hz * time_s(1.0))).astype(np.float32))
        for hz in (200, 4_000)
    )
    hiss = describe_timbre(noise(1.0))
    assert np.median(low.centroid_hz) == pytest.approx(200, rel=0.1)
    assert np.median(high.centroid_hz) == pytest.approx(4_000, rel=0.05)
    assert np.median(hiss.flatness) > 10 * np.median(low.flatness)
    assert low.bands_db.shape == (math.ceil(1.0 / HOP_S), BANDS)
    assert low.bands_db.mean(axis=0).argmax() < high.bands_db.mean(axis=0).argmax()
    assert np.median(low.level_db) == pytest.approx(20 * math.log10(0.3), abs=3.0)

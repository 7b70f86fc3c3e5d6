from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.audio.dither import STRETCH_SAMPLES
from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader, TrackWriter
from deployments.export.media_errors import EmptyAudio, WrongValue
from deployments.export.shaping import Shape
from deployments.export.shaping import shaped as shaped_blocks
from deployments.export.source import SourceWriter
from tests.support.clips import music


def stored(samples: Samples, path: Path, rate_hz: int = 44_100) -> Path:
    with TrackWriter(path, rate_hz, samples.shape[0]) as writer:
        writer.append(samples)
    return path


def shaped(samples: Samples, folder: Path, shape: Shape, rate_hz: int = 44_100) -> Samples:
    track = TrackReader(stored(samples, folder / "source.wav", rate_hz))
    return np.concatenate(list(shaped_blocks(track, shape)), axis=1)


def dithered(samples: Samples, folder: Path) -> tuple[Samples, int]:
    with SourceWriter(folder / "dithered.wav", 44_100, samples.shape[0], 16) as writer:
        for start in range(0, samples.shape[1], 10_007):
            writer.append(samples[:, start : start + 10_007])
        cut = writer.close().clipped_samples
    track = TrackReader(folder / "dithered.wav")
    return track.read(0, track.samples), cut


class TestShape:
    @pytest.mark.parametrize("rate_hz", [32_000, 44_100, 48_000])
    def test_another_rate_is_what_soxr_makes_of_the_whole(self, rate_hz: int, tmp_path: Path) -> None:
        sound = music(7.123)
        made = shaped(sound, tmp_path, Shape(rate_hz))
        assert made.shape[1] == round(sound.shape[1] * rate_hz / 44_100)
        whole = soxr.resample(sound.T, 44_100, rate_hz, quality="VHQ").T
        common = min(made.shape[1], whole.shape[1])
        assert np.abs(made[:, :common] - whole[:, :common]).max() < 1e-5

    def test_the_same_rate_without_fades_is_the_same_bits(self, tmp_path: Path) -> None:
        sound = music(1)
        assert np.array_equal(shaped(sound, tmp_path, Shape(44_100)), sound)

    def test_fades_rise_and_fall_and_leave_the_middle_alone(self, tmp_path: Path) -> None:
        made = shaped(np.ones((2, 44_100), np.float32), tmp_path, Shape(44_100, 0.1, 0.2))
        assert np.all(made[:, 4410:-8820] == 1.0)
        assert np.all(np.diff(made[0, :4410]) > 0)
        assert np.all(np.diff(made[0, -8820:]) < 0)
        assert made[0, 2205] == pytest.approx(0.5, abs=1e-3)
        assert made[0, -4410] == pytest.approx(0.5, abs=1e-3)
        assert max(made[0, 0], made[0, -1]) < 1e-6

    def test_the_tail_is_silence_behind_the_fade(self, tmp_path: Path) -> None:
        made = shaped(np.ones((1, 1000), np.float32), tmp_path, Shape(1000, 0, 0.1, 0.25), rate_hz=1000)
        assert made.shape[1] == 1250
        assert not made[:, 1000:].any()
        assert made[0, 899] == 1.0

    def test_what_cannot_be_is_refused(self, tmp_path: Path) -> None:
        for wrong in ({"rate_hz": 0}, {"fade_in_s": -1.0}, {"fade_out_s": float("nan")}, {"tail_s": 61.0}):
            with pytest.raises(WrongValue):
                Shape(**({"rate_hz": 44_100} | wrong))
        with pytest.raises(WrongValue, match="longer than the audio"):
            shaped(music(0.2), tmp_path, Shape(44_100, 0.15, 0.1))
        with pytest.raises(EmptyAudio):
            shaped(np.zeros((1, 0), np.float32), tmp_path, Shape(44_100))


class TestDither:
    def test_what_is_16_bit_already_keeps_every_bit_beside_what_is_not(self, tmp_path: Path) -> None:
        random = np.random.default_rng(1)
        upload = (random.integers(-32768, 32768, (2, 3 * STRETCH_SAMPLES)) / 32768).astype(np.float32)
        sound = np.concatenate([upload, music(1), upload], axis=1)
        made, cut = dithered(sound[:, : -(sound.shape[1] % 7)], tmp_path)
        assert np.array_equal(made[:, : upload.shape[1]], upload)
        assert np.array_equal(
            made[:, -2 * STRETCH_SAMPLES : -100],
            sound[:, : -(sound.shape[1] % 7)][:, -2 * STRETCH_SAMPLES : -100],
        )
        assert cut == 0

    def test_a_tone_below_the_last_bit_is_still_there_without_distortion(self, tmp_path: Path) -> None:
        time_s = np.arange(4 * 44_100) / 44_100
        tone = (0.4 / 32768 * np.sin(2 * np.pi * 1000 * time_s)).astype(np.float32)[np.newaxis]
        made, _ = dithered(tone, tmp_path)
        spectrum = np.abs(np.fft.rfft(made[0])) / (made.shape[1] / 2) * 32768
        assert spectrum[4000] == pytest.approx(0.4, rel=0.1)
        assert max(spectrum[4000 * harmonic] for harmonic in (2, 3, 5)) < 0.02

    @settings(max_examples=20)
    @given(length=st.integers(1, 20_000), level=st.floats(0, 3), seed=st.integers(0, 5))
    def test_other_programs_convert_it_without_a_change(
        self, length: int, level: float, seed: int, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("dither")
        sound = (np.random.default_rng(seed).normal(0, level, (2, length))).astype(np.float32)
        made, cut = dithered(sound, folder)
        soundfile.write(folder / "int.wav", made.T, 44_100, subtype="PCM_16")
        assert np.array_equal(soundfile.read(folder / "int.wav", dtype="float32")[0].T, made)
        assert cut == int(np.count_nonzero(np.abs(sound) > 1.0))
        assert np.abs(made - np.clip(sound, -1, 1)).max() <= 2.5 / 32768
        assert np.array_equal(dithered(sound, folder)[0], made)

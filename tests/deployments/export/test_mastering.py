from __future__ import annotations

import re
import subprocess
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader, TrackWriter
from deployments.export.limiter import TruePeakLimiter
from deployments.export.mastering import LoudnessReport, master, measure
from deployments.export.media_errors import EmptyAudio, WrongValue
from tests.deployments.export.referee import BUNDLED
from tests.support.clips import music

RATE_HZ = 44_100


def bursts(duration_s: float, over_db: float = 15.0, rate_hz: int = RATE_HZ, seed: int = 1) -> Samples:
    """Music with short stretches of noise far over its level."""
    random = np.random.default_rng(seed)
    sound = music(duration_s, rate_hz, seed=seed)
    peak = np.abs(sound).max() * 10 ** (over_db / 20)
    for start in range(rate_hz // 2, sound.shape[1] - 1000, rate_hz):
        sound[:, start : start + 700] += (random.uniform(-peak, peak, (2, 700))).astype(np.float32)
    return sound


def stored(samples: Samples, path: Path, rate_hz: int = RATE_HZ) -> Path:
    with TrackWriter(path, rate_hz, samples.shape[0]) as writer:
        writer.append(samples)
    return path


def mastered(
    samples: Samples, folder: Path, rate_hz: int = RATE_HZ, **options: float | None
) -> tuple[Samples, LoudnessReport]:
    source = stored(samples, folder / "source.wav", rate_hz)
    report = master(source, folder / "mastered.wav", **({"target_lufs": None} | options))
    track = TrackReader(folder / "mastered.wav")
    return track.read(0, track.samples), report


def judged(path: Path) -> tuple[float, float]:
    """Integrated loudness and true peak, says ffmpeg."""
    said = subprocess.run(
        [BUNDLED, "-hide_banner", "-nostats", "-i", path, "-af", "ebur128=peak=true", "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr.rpartition("Summary:")[2]
    loudness, peak = re.search(r"I:\s+(\S+) LUFS", said), re.search(r"Peak:\s+(\S+) dBFS", said)
    assert loudness is not None
    assert peak is not None
    return float(loudness[1]), float(peak[1])


class TestMaster:
    @pytest.mark.parametrize("target_lufs", [-14.0, -16.0, -23.0])
    @pytest.mark.parametrize("rate_hz", [32_000, 48_000])
    def test_another_meter_finds_the_target_and_the_ceiling(
        self, target_lufs: float, rate_hz: int, tmp_path: Path
    ) -> None:
        _, report = mastered(music(4, rate_hz), tmp_path, rate_hz, target_lufs=target_lufs)
        lufs, peak_dbtp = judged(tmp_path / "mastered.wav")
        assert lufs == pytest.approx(target_lufs, abs=0.2)
        assert peak_dbtp <= -0.9
        assert report.output_lufs == pytest.approx(lufs, abs=0.1)
        assert report.output_true_peak_dbtp <= -1.0

    @settings(max_examples=8)
    @given(over_db=st.floats(0, 30), ceiling_dbtp=st.sampled_from([-1.0, -1.5, -3.0]), seed=st.integers(1, 9))
    def test_no_true_peak_is_over_the_ceiling(
        self, over_db: float, ceiling_dbtp: float, seed: int, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("master")
        sound, report = mastered(
            bursts(2, over_db, seed=seed), folder, target_lufs=-16.0, ceiling_dbtp=ceiling_dbtp
        )
        assert report.output_true_peak_dbtp <= ceiling_dbtp
        assert judged(folder / "mastered.wav")[1] <= ceiling_dbtp + 0.15
        assert sound.shape == (2, 2 * RATE_HZ)
        assert report.output_clipped_samples == 0

    def test_the_gain_is_one_number_where_nothing_has_to_be_limited(self, tmp_path: Path) -> None:
        sound = music(2)
        louder, report = mastered(sound, tmp_path, target_lufs=-23.0)
        ratio = louder[np.abs(sound) > 1e-3] / sound[np.abs(sound) > 1e-3]
        assert ratio == pytest.approx(10 ** (report.gain_db / 20), rel=1e-5)
        assert (report.limited_db, report.passes) == (0.0, 1)

    def test_without_a_target_and_under_the_ceiling_no_bit_changes(self, tmp_path: Path) -> None:
        sound = music(1) * np.float32(0.5)
        assert np.array_equal(mastered(sound, tmp_path)[0], sound)

    def test_away_from_its_peaks_limited_music_is_only_amplified(self, tmp_path: Path) -> None:
        sound = bursts(3)
        made, report = mastered(sound, tmp_path, ceiling_dbtp=-6.0)
        assert report.limited_db > 10
        assert report.gain_db == 0.0
        assert np.array_equal(made[:, : RATE_HZ // 2 - 200], sound[:, : RATE_HZ // 2 - 200])

    def test_silence_and_very_short_audio_get_no_gain(self, tmp_path: Path) -> None:
        for sound in (np.zeros((2, RATE_HZ), np.float32), music(0.2) * np.float32(0.01)):
            made, report = mastered(sound, tmp_path, target_lufs=-14.0)
            assert np.array_equal(made, sound)
            assert (report.input_lufs, report.gain_db) == (None, 0.0)

    def test_what_is_over_full_scale_is_counted(self, tmp_path: Path) -> None:
        sound = music(1) * np.float32(0.1)
        sound[:, 1000:1010] = 1.5
        _, report = mastered(sound, tmp_path)
        assert (report.input_clipped_samples, report.output_clipped_samples) == (20, 0)

    def test_what_cannot_be_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(EmptyAudio):
            mastered(np.zeros((2, 0), np.float32), tmp_path)
        for wrong in (
            {"target_lufs": 0.0},
            {"target_lufs": -80.0},
            {"target_lufs": float("nan")},
            {"ceiling_dbtp": 1.0},
        ):
            with pytest.raises(WrongValue):
                mastered(music(1), tmp_path, **wrong)

    def test_a_long_line_needs_no_more_memory(self, tmp_path: Path) -> None:
        def peak_bytes(name: str, repeats: int) -> int:
            with TrackWriter(tmp_path / name, 8_000, 2) as writer:
                for _ in range(repeats):
                    writer.append(bursts(20, rate_hz=8_000))
            tracemalloc.start()
            master(tmp_path / name, tmp_path / "out.wav", target_lufs=-14.0)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return peak

        peak_bytes("warm.wav", 2)
        assert peak_bytes("long.wav", 12) < 1.5 * peak_bytes("short.wav", 3)


class TestLimiter:
    @settings(max_examples=10)
    @given(st.lists(st.integers(0, 3 * 8_000), max_size=12))
    def test_how_a_signal_is_cut_changes_no_bit(self, cuts: list[int]) -> None:
        sound = bursts(3, rate_hz=8_000)

        def limited(places: list[int]) -> Samples:
            limiter = TruePeakLimiter(8_000, 2, -6.0)
            edges = [0, *sorted(places), sound.shape[1]]
            pieces = [limiter.push(sound[:, a:b]) for a, b in pairwise(edges)]
            return np.concatenate([*pieces, limiter.finish()], axis=1)

        whole = limited([])
        assert whole.shape == sound.shape
        assert np.array_equal(limited(cuts), whole)

    def test_both_channels_get_the_same_gain(self) -> None:
        sound = music(1)
        sound[0, 20_000:20_100] = 3.0
        limiter = TruePeakLimiter(RATE_HZ, 2, -1.0)
        made = np.concatenate([limiter.push(sound), limiter.finish()], axis=1)
        usable = np.abs(sound).min(axis=0) > 1e-2
        left, right = made[:, usable] / sound[:, usable]
        assert left == pytest.approx(right, rel=1e-4)
        assert left.min() < 0.5

    def test_a_short_signal_comes_out_whole(self) -> None:
        for length in (0, 1, 10, 200):
            limiter = TruePeakLimiter(RATE_HZ, 1, -6.0)
            sound = np.full((1, length), 0.9, np.float32)
            assert np.concatenate([limiter.push(sound), limiter.finish()], axis=1).shape == sound.shape


def test_the_measurement_is_ffmpegs(tmp_path: Path) -> None:
    path = stored(bursts(3, 6), tmp_path / "m.wav")
    loudness, _ = measure(path)
    lufs, peak_dbtp = judged(path)
    assert loudness.integrated_lufs == pytest.approx(lufs, abs=0.1)
    assert loudness.true_peak_dbtp == pytest.approx(peak_dbtp, abs=0.4)

"""A clip's tempo, beats and bars are those that were played; where nothing was, nothing is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from deployments.engines.analysis.analysis import Rhythm
from deployments.engines.analysis.rhythm.bars import possible_bars
from deployments.engines.analysis.rhythm.beats import even_tempo, refine_beats, track_beats
from deployments.engines.analysis.rhythm.estimate import NO_RHYTHM, analyse_rhythm
from deployments.engines.analysis.rhythm.hypotheses import Hearing, hypotheses
from deployments.engines.analysis.rhythm.model import load_model
from deployments.engines.analysis.rhythm.onsets import FRAMES_PER_S, find_onsets
from tests.deployments.engines.analysis.rhythm.rhythms import (
    RATE_HZ,
    Signal,
    beats_at,
    clicks,
    rock,
    silence,
    speech_like,
    waltz,
)
from training.corpus.scores import f_measure, tempo_accuracy_2


class TestTempo:
    @pytest.mark.parametrize("bpm", [71.3, 84.0, 97.7, 120.0, 138.2])
    def test_a_band_has_the_tempo_that_it_plays(self, bpm: float) -> None:
        rhythm = analyse_rhythm(rock(bpm, 20.0, first_s=0.2))
        assert rhythm.bpm == pytest.approx(bpm, rel=0.003)
        assert rhythm.is_steady
        assert rhythm.confidence > 0.5

    @pytest.mark.parametrize("bpm", [61.0, 90.0, 150.0, 183.0])
    def test_clicks_have_the_tempo_or_an_octave_of_it(self, bpm: float) -> None:
        rhythm = analyse_rhythm(clicks(beats_at(bpm, 15.0), 15.0))
        assert tempo_accuracy_2(rhythm.bpm, bpm)
        assert rhythm.bpm is not None
        assert 50 <= rhythm.bpm <= 210

    def test_humans_are_steady_too(self) -> None:
        rhythm = analyse_rhythm(rock(104.6, 25.0, jitter_s=0.01))
        assert rhythm.bpm == pytest.approx(104.6, rel=0.005)
        assert rhythm.is_steady

    def test_a_tempo_that_speeds_up_is_not_steady(self) -> None:
        times_s = np.cumsum(0.6 * np.linspace(1.1, 0.9, 40)).tolist()
        rhythm = analyse_rhythm(clicks(times_s, times_s[-1] + 0.5))
        assert not rhythm.is_steady
        assert f_measure(rhythm.beats_s, times_s) > 0.8

    def test_the_alternative_is_another_tempo(self) -> None:
        rhythm = analyse_rhythm(rock(120.0, 15.0))
        assert rhythm.bpm is not None
        assert rhythm.alternative_bpm is not None
        assert abs(math.log(rhythm.alternative_bpm / rhythm.bpm)) > 0.04


class TestBeats:
    @pytest.mark.parametrize("first_s", [0.0, 0.17, 0.41])
    def test_beats_are_where_they_were_played(self, first_s: float) -> None:
        rhythm = analyse_rhythm(rock(112.0, 15.0, first_s))
        truth_s = beats_at(112.0, 15.0, first_s)
        assert f_measure(rhythm.beats_s, truth_s, tolerance_s=0.03) > 0.95

    @pytest.mark.parametrize("play", [rock, waltz])
    def test_bars_begin_on_the_first_beat(self, play: object) -> None:
        meter = 4 if play is rock else 3
        signal = rock(108.0, 24.0, 0.25) if play is rock else waltz(108.0, 24.0, 0.25)
        rhythm = analyse_rhythm(signal)
        assert rhythm.meter == meter
        assert f_measure(rhythm.downbeats_s, beats_at(108.0 / meter, 24.0, 0.25)) > 0.9
        assert set(rhythm.downbeats_s) <= set(rhythm.beats_s)


def noise(duration_s: float) -> Signal:
    return (0.3 * np.random.default_rng(2).standard_normal(round(duration_s * RATE_HZ))).astype(np.float32)


def hum(duration_s: float) -> Signal:
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return (0.5 * np.sin(2 * np.pi * 220 * time_s)).astype(np.float32)


class TestNothingIsInvented:
    @pytest.mark.parametrize(
        "signal",
        [
            silence(0.0),
            silence(5.0),
            np.full(5 * RATE_HZ, 0.4, np.float32),
            noise(0.2),
            rock(120.0, 0.2),
            clicks([2.0], 5.0),
            clicks([1.0, 3.5], 6.0),
            hum(10.0),
            np.full(5 * RATE_HZ, np.nan, np.float32),
        ],
        ids=["nothing", "silence", "dc", "0.2 s", "0.2 s of music", "a click", "two clicks", "a hum", "nan"],
    )
    def test_no_tempo_where_there_is_none(self, signal: Signal) -> None:
        assert analyse_rhythm(signal) == NO_RHYTHM

    @pytest.mark.parametrize("signal", [noise(20.0), speech_like(20.0)], ids=["noise", "speech"])
    def test_little_confidence_where_nothing_repeats(self, signal: Signal) -> None:
        assert analyse_rhythm(signal).confidence < 0.25

    def test_other_rates_are_refused(self) -> None:
        with pytest.raises(ValueError, match="22050"):
            analyse_rhythm(silence(1.0), 44_100)

    @settings(max_examples=30, deadline=None)
    @given(
        arrays.arrays(np.float32, st.integers(0, 3000), elements=st.floats(-1, 1, width=32)),
        st.sampled_from((1, 7, 40)),
    )
    def test_whatever_comes_the_record_is_sound(self, signal: Signal, repeats: int) -> None:
        check(analyse_rhythm(np.tile(signal, repeats)), len(signal) * repeats / RATE_HZ)


@pytest.mark.parametrize("gain", [1e-3, 1.0, 1e3])
def test_loudness_makes_no_difference(gain: float) -> None:
    signal = rock(95.0, 12.0)
    loud, usual = analyse_rhythm(signal * np.float32(gain)), analyse_rhythm(signal)
    assert loud.bpm == pytest.approx(usual.bpm, rel=1e-3)
    assert loud.meter == usual.meter


def test_the_same_samples_give_the_same_answer() -> None:
    signal = rock(128.0, 10.0)
    before = signal.copy()
    assert analyse_rhythm(signal) == analyse_rhythm(signal)
    assert np.array_equal(signal, before)


def check(rhythm: Rhythm, duration_s: float) -> None:
    assert 0 <= rhythm.confidence <= 1
    if rhythm.bpm is None:
        assert rhythm == NO_RHYTHM
        return
    assert 45 <= rhythm.bpm <= 230
    assert rhythm.alternative_bpm is None or math.isfinite(rhythm.alternative_bpm)
    beats_s = np.array(rhythm.beats_s)
    assert (np.diff(beats_s) > 0).all()
    assert 0 <= beats_s.min(initial=0) <= beats_s.max(initial=0) <= duration_s
    assert set(rhythm.downbeats_s) <= set(rhythm.beats_s)
    assert (rhythm.meter is None) == (not rhythm.downbeats_s)


class TestHypotheses:
    @pytest.mark.parametrize("bpm", [64.0, 91.7, 133.0, 178.0])
    def test_the_truth_is_among_them(self, bpm: float) -> None:
        onsets = find_onsets(rock(bpm, 12.0, 0.2))
        assert onsets is not None
        possible = hypotheses(Hearing.of(onsets))
        truth_s = beats_at(bpm, 12.0, 0.2)
        scores = [f_measure((each.beats / FRAMES_PER_S).tolist(), truth_s) for each in possible]
        assert max(scores) > 0.9

    def test_the_shipped_judges_know_their_features(self) -> None:
        onsets = find_onsets(rock(100.0, 12.0))
        assert onsets is not None
        hearing = Hearing.of(onsets)
        possible = hypotheses(hearing)
        model = load_model()
        assert model.beat.center.shape == possible[0].features.shape
        assert model.beat.chances([each.features for each in possible]).sum() == pytest.approx(1)
        bars = possible_bars(hearing, possible[0].beats)
        assert [(each.meter, each.first) for each in bars] == [(m, k) for m in (4, 3) for k in range(m)]
        assert model.bar.center.shape == bars[0].features.shape

    def test_all_features_are_numbers(self) -> None:
        for signal in (rock(100.0, 5.0), noise(5.0), clicks(beats_at(70.0, 6.0), 6.0), speech_like(6.0)):
            onsets = find_onsets(signal)
            assert onsets is not None
            assert all(np.isfinite(each.features).all() for each in hypotheses(Hearing.of(onsets)))


class TestTracker:
    @settings(max_examples=30, deadline=None)
    @given(st.floats(28, 120), st.integers(0, 27), st.integers(0, 1000))
    def test_beats_go_from_end_to_end_about_a_period_apart(
        self, period: float, first: int, seed: int
    ) -> None:
        strength = np.random.default_rng(seed).random(1500).astype(np.float32) * 0.3
        truth = np.arange(first, 1500, period)
        strength[np.rint(truth).astype(int).clip(0, 1499)] += 3
        beats = track_beats(strength, period)
        assert (np.abs(np.diff(beats) / period - 1) < 0.21).all()
        assert beats[0] < 1.2 * period
        assert beats[-1] > 1499 - 2 * period
        near = np.abs(beats[:, None] - truth).min(axis=1)
        assert np.mean(near <= 1) > 0.8

    def test_peaks_are_found_between_frames(self) -> None:
        at = np.arange(200)
        strength = np.exp(-((at - 100.3) ** 2) / 4).astype(np.float32)
        assert refine_beats(strength, np.array([98.0]))[0] == pytest.approx(100.3, abs=0.1)
        assert refine_beats(strength, np.array([30.0]))[0] == 30.0

    @given(st.floats(20, 120), st.floats(0, 100), st.integers(4, 60))
    def test_an_even_grid_is_found(self, period: float, start: float, count: int) -> None:
        found_period, found_start, off = even_tempo(start + period * np.arange(count))
        assert found_period == pytest.approx(period)
        assert found_start == pytest.approx(start, abs=1e-6)
        assert off < 1e-6

    def test_single_beats_that_are_off_do_not_bend_the_grid(self) -> None:
        beats = 50.0 * np.arange(40)
        beats[[7, 20, 33]] += 15
        assert even_tempo(beats)[0] == pytest.approx(50.0, abs=0.01)

"""The corpus's music is what its truth says, and the scores are those of the papers."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import fftconvolve

from deployments.engines.analysis.rhythm.onsets import RATE_HZ
from training.corpus import midi, render
from training.corpus.clips import DETUNED_CENTS, DEV_SEEDS, TEST_SEEDS, make_clip
from training.corpus.disguises import DISGUISED_SEEDS
from training.corpus.harmony import SCALES, TONICS, Key, nearest, voiced
from training.corpus.music import MELODY_HOP_S, STRATA, Piece, compose, compose_plan, draw_plan
from training.corpus.scores import (
    bootstrap,
    bootstrap_difference,
    f_measure,
    mirex_key,
    raw_pitch_accuracy,
    tempo_accuracy_1,
    tempo_accuracy_2,
)


def events(song: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(track, tick, event) of a file without running status."""
    assert song[:4] == b"MThd"
    at, track = 14, -1
    while at < len(song):
        assert song[at : at + 4] == b"MTrk"
        end = at + 8 + struct.unpack(">I", song[at + 4 : at + 8])[0]
        at, tick, track = at + 8, 0, track + 1
        while at < end:
            length = 0
            while True:
                length, more = length << 7 | song[at] & 0x7F, song[at] & 0x80
                at += 1
                if not more:
                    break
            tick += length
            status = song[at]
            size = 3 + song[at + 2] if status == 0xFF else 2 if status & 0xF0 == 0xC0 else 3
            yield track, tick, song[at : at + size]
            at += size
        assert at == end


class TestMidi:
    def test_notes_are_where_they_were_put(self) -> None:
        notes = (midi.Note(0.0, 0.5, 60, 100), midi.Note(0.5, 70.0, 60, 90), midi.Note(80.0, 81.0, 62, 90))
        song = midi.encode([midi.Voice("melody", 2, 73, notes)], end_s=75.0, tuning_cents=-20.0)
        found = [(tick / 1920, event) for track, tick, event in events(song) if track == 1]
        played = [(time_s, event) for time_s, event in found if event[0] & 0xE0 == 0x80]
        assert played == [
            (0.0, b"\x92\x3c\x64"),
            (0.5, b"\x82\x3c\x00"),
            (0.5, b"\x92\x3c\x5a"),
            (70.0, b"\x82\x3c\x00"),
        ]
        assert found[-1] == (75.0, b"\xff\x2f\x00")

    @pytest.mark.parametrize("cents", [-100.0, -20.0, 0.0, 20.0])
    def test_tuning_goes_to_all_but_drums(self, cents: float) -> None:
        voices = [midi.Voice("drums", midi.DRUM_CHANNEL, 0, ()), midi.Voice("bass", 0, 33, ())]
        controls = [
            e for _, _, e in events(midi.encode(voices, end_s=1.0, tuning_cents=cents)) if e[0] >> 4 == 0xB
        ]
        fine = {event[0] & 0xF: {} for event in controls}  # type: dict[int, dict[int, int]]
        for event in controls:
            fine[event[0] & 0xF][event[1]] = event[2]
        assert 101 not in fine[midi.DRUM_CHANNEL]
        assert fine[0][101] == 0
        assert fine[0][100] == 1
        assert ((fine[0][6] << 7 | fine[0][38]) / 8192 - 1) * 100 == pytest.approx(cents, abs=0.02)


class TestMusic:
    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 50_000), st.sampled_from(STRATA))
    def test_a_seed_is_a_piece_and_its_truth_holds(self, seed: int, stratum: str) -> None:
        piece = compose(seed, stratum)
        assert piece == compose(seed, stratum)
        plan, truth = piece.plan, piece.truth
        beats_s = np.array(truth.beats_s)
        assert (np.diff(beats_s) > 0).all()
        assert 0 <= beats_s[0] < beats_s[-1] < plan.duration_s
        assert set(truth.downbeats_s) <= set(truth.beats_s)
        apart = np.diff(np.flatnonzero(np.isin(beats_s, truth.downbeats_s)))
        assert (apart == truth.meter).all()
        assert truth.meter == (3 if stratum == "waltz" else 4)
        assert len(truth.melody_f0_hz) == round(plan.duration_s / MELODY_HOP_S + 0.4999)
        if truth.is_steady:
            assert np.allclose(60 / np.diff(beats_s), plan.bpm)
            assert truth.bpm == pytest.approx(plan.bpm)
        else:
            assert np.abs(60 / np.diff(beats_s) / plan.bpm - 1).max() < 0.065
        channels = [voice.channel for voice in piece.voices]
        assert len(channels) == len(set(channels))
        assert (midi.DRUM_CHANNEL in channels) == (plan.groove is not None)

    @pytest.mark.parametrize("stratum", STRATA)
    def test_most_notes_are_of_the_key(self, stratum: str) -> None:
        piece = compose(7, stratum)
        scale = {piece.plan.key.pitch_class(degree) for degree in range(7)}
        pitches = [
            n.pitch % 12 for v in piece.voices if v.name in ("chords", "melody", "pad") for n in v.notes
        ]
        assert set(pitches) <= scale

    def test_tempos_and_keys_are_all_there(self) -> None:
        plans = [draw_plan(seed, "drums") for seed in range(500)]
        bpms = np.array([plan.bpm for plan in plans])
        assert bpms.min() < 63
        assert bpms.max() > 180
        assert float(np.median(bpms)) == pytest.approx(np.sqrt(60 * 190), rel=0.1)
        assert {plan.key.name for plan in plans} == {f"{t} {m}" for t in TONICS for m in ("major", "minor")}

    def test_the_seeds_for_choosing_are_not_those_for_telling(self) -> None:
        assert not (set(DEV_SEEDS) | set(DISGUISED_SEEDS)) & set(TEST_SEEDS)

    def test_a_machine_strikes_on_time_and_always_alike(self) -> None:
        drawn = draw_plan(6, "drums")
        assert drawn.groove is not None
        groove = replace(drawn.groove, feel="rock", fill_every=0)
        plan = replace(drawn, jitter_s=0.0, groove=groove)
        piece = compose_plan(plan)
        (drums,) = (voice for voice in piece.voices if voice.name == "drums")
        part_s = 60 / plan.bpm / 4
        apart = np.array([note.start_s for note in drums.notes]) / part_s
        assert np.abs(apart - np.rint(apart)).max() < 1e-6
        backbeats = [note.velocity for note in drums.notes if note.pitch == groove.backbeat]
        assert len(set(backbeats)) == 1

    def test_an_unknown_stratum_is_refused(self) -> None:
        with pytest.raises(ValueError, match="stratum"):
            draw_plan(0, "polka")

    def test_the_melody_is_in_tune_with_the_clip(self) -> None:
        piece = next(p for p in (compose(seed, "drums") for seed in range(99)) if _has_melody(p))
        notes = next(voice.notes for voice in piece.voices if voice.name == "melody")
        note = next(n for n in notes if n.start_s > piece.lead_s)
        middle = round(
            ((note.start_s + min(note.end_s, note.start_s + 0.06)) / 2 - piece.lead_s) / MELODY_HOP_S
        )
        assert piece.truth.melody_f0_hz[middle] == pytest.approx(440 * 2 ** ((note.pitch - 69) / 12))


def _has_melody(piece: Piece) -> bool:
    return piece.plan.melody_program is not None


class TestHarmony:
    @given(st.integers(0, 11), st.sampled_from(sorted(SCALES)), st.integers(0, 6), st.floats(40, 80))
    def test_chords_are_near_where_they_are_wanted(
        self, tonic: int, scale: str, degree: int, around: float
    ) -> None:
        chord = Key(tonic, scale).chord(degree, seventh=True)
        pitches = voiced(chord, around)
        assert {pitch % 12 for pitch in pitches} == set(chord)
        assert abs(np.mean(pitches) - around) <= 6
        assert nearest(chord[0], around) % 12 == chord[0]
        assert abs(nearest(chord[0], around) - around) <= 6


def _can_render() -> bool:
    try:
        render.find_sound_font()
    except render.RendererMissing:
        return False
    return shutil.which("fluidsynth") is not None


class TestRender:
    @pytest.mark.slow
    @pytest.mark.skipif(not _can_render(), reason="needs fluidsynth and a sound font")
    def test_clips_are_as_long_and_as_late_as_their_truth_says(self, tmp_path: Path) -> None:
        plain = make_clip(3, "drums", "none", tmp_path)
        assert make_clip(3, "drums", "none", tmp_path).path == plain.path
        samples = plain.samples(RATE_HZ)
        assert len(samples) == round(draw_plan(3, "drums").duration_s * RATE_HZ)
        assert 0.5 < np.abs(samples).max() < 1
        for degradation in ("mp3", "reverb"):
            other = make_clip(3, "drums", degradation, tmp_path)
            assert other.truth == plain.truth
            spoiled = other.samples(RATE_HZ)
            assert len(spoiled) == len(samples)
            likeness = fftconvolve(spoiled, samples[::-1], mode="same")
            assert abs(int(likeness.argmax()) - len(samples) // 2) < 0.002 * RATE_HZ
        assert abs(make_clip(3, "drums", "detuned", tmp_path).truth.tuning_cents) == DETUNED_CENTS

    def test_a_missing_sound_font_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(render.SOUND_FONT_VARIABLE, "/nowhere/none.sf2")
        with pytest.raises(render.RendererMissing, match=r"SEGUE_SOUND_FONT"):
            render.find_sound_font()


class TestScores:
    def test_tempo(self) -> None:
        assert tempo_accuracy_1(124.7, 120)
        assert not tempo_accuracy_1(125, 120)
        assert not tempo_accuracy_1(None, 120)
        assert not tempo_accuracy_2(None, 120)
        assert all(tempo_accuracy_2(bpm, 120) for bpm in (60, 40, 240, 360, 119))
        assert not tempo_accuracy_2(180, 120)

    def test_beats(self) -> None:
        truth_s = [0.5, 1.0, 1.5, 2.0]
        assert f_measure(truth_s, truth_s) == 1
        assert f_measure([0.56, 1.08, 1.5], truth_s) == pytest.approx(2 * 2 / 7)
        assert f_measure([0.25, 0.75, 1.25], truth_s) == 0
        assert f_measure([0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0], truth_s) == pytest.approx(8 / 11)
        assert f_measure([], truth_s) == 0
        assert f_measure([], []) == 1

    @given(st.lists(st.floats(0, 30), max_size=20), st.lists(st.floats(0, 30), max_size=20))
    def test_beats_are_matched_once_and_either_way(self, ours: list[float], theirs: list[float]) -> None:
        ours, theirs = sorted(ours), sorted(theirs)
        assert f_measure(ours, theirs) == f_measure(theirs, ours)
        assert 0 <= f_measure(ours, theirs) <= 1

    def test_keys(self) -> None:
        assert mirex_key("C major", "C major") == 1
        assert mirex_key("Db minor", "C# minor") == 1
        assert mirex_key("G major", "C major") == mirex_key("F major", "C major") == 0.5
        assert mirex_key("A minor", "C major") == mirex_key("C major", "A minor") == 0.3
        assert mirex_key("C minor", "C major") == 0.2
        assert (
            mirex_key("D major", "C major")
            == mirex_key("E minor", "C major")
            == mirex_key(None, "C major")
            == 0
        )
        with pytest.raises(ValueError, match="no key"):
            mirex_key("H major", "C major")

    def test_pitches(self) -> None:
        truth = [440.0, None, 440.0, 220.0, 220.0]
        assert raw_pitch_accuracy([452.0, 100.0, 460.0, None], truth) == 0.25
        assert np.isnan(raw_pitch_accuracy([440.0], [None]))

    def test_intervals(self) -> None:
        interval = bootstrap([1.0] * 50 + [0.0] * 50)
        assert interval.mean == 0.5
        assert 0.35 < interval.low < 0.45 < 0.55 < interval.high < 0.65
        better = bootstrap_difference([1.0, 1.0, 0.5] * 30, [0.5, 0.9, 0.5] * 30)
        assert better.low > 0
        assert np.isnan(bootstrap([]).mean)

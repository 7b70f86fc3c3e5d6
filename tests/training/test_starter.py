"""The starter's composer, its captions, and the whole way from songs to a checkpoint that the server loads."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.audio.resample import resample
from deployments.audio.samples import Samples
from training.corpus.render import RendererMissing
from training.starter.captions import caption, vocabulary
from training.starter.composer.phrases import PHRASE_BARS
from training.starter.composer.render import TEST_FONT, Synthesiser, find_font, render_song
from training.starter.composer.song import STEMS, Song, compose_song, draw_song, section_of, time_s
from training.starter.composer.styles import INSTRUMENTS, STYLES, VOICES
from training.starter.own import take_folder
from training.starter.songs import TEST_SEEDS, as_codec_hears, finished, transposed, truth_of

SEEDS = st.integers(0, 120_000)
SONG_S = 24.0


def song(seed: int) -> Song:
    return compose_song(draw_song(seed), SONG_S)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_a_song_is_what_its_truth_says(seed: int) -> None:
    made = song(seed)
    plan, truth = made.plan, made.truth
    style = plan.style
    assert style.bpm[0] - 0.5 <= truth.bpm <= style.bpm[1] + 0.5
    assert 60 <= truth.bpm <= 180
    assert truth.meter in style.meters
    beats = np.array(truth.beats_s)
    assert np.allclose(np.diff(beats), 60 / truth.bpm, atol=2e-6)
    assert 0 <= beats[0] < 60 / truth.bpm
    assert np.allclose(np.diff(truth.downbeats_s), truth.meter * 60 / truth.bpm, atol=1e-5)
    assert set(truth.downbeats_s) <= set(truth.beats_s)
    assert truth.has_voice == any(voice.name == "vocals" for voice in made.voices) or not any(
        voice.name in ("lead", "vocals") for voice in made.voices
    )
    assert set(truth.instruments.values()) <= set(INSTRUMENTS.values())


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_what_is_sung_and_played_is_in_the_key(seed: int) -> None:
    made = song(seed)
    scale = {made.plan.key.pitch_class(degree) for degree in range(7)}
    for voice in made.voices:
        if voice.name in ("lead", "vocals", "chords", "pad") and made.plan.comping != "power":
            assert {note.pitch % 12 for note in voice.notes} <= scale, voice.name
        for note in voice.notes:
            assert 0 <= note.start_s < note.end_s
            assert 1 <= note.velocity <= 127


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_equal_seeds_are_equal_songs(seed: int) -> None:
    assert song(seed) == song(seed)


def test_the_kick_of_a_machine_is_on_its_beats() -> None:
    seed = next(seed for seed in range(2, 1000, len(STYLES)) if draw_song(seed).meter == 4)
    made = song(seed)
    assert made.plan.style.id == "house"
    assert made.plan.jitter_s == 0
    (drums,) = [voice for voice in made.voices if voice.name == "drums"]
    kicks = [note.start_s for note in drums.notes if note.pitch == 36 and 0 < note.start_s < SONG_S - 1]
    beats = np.array(made.truth.beats_s)
    assert len(kicks) > 8
    assert max(float(np.abs(beats - kick).min()) for kick in kicks) < 1e-6


def test_phrases_return() -> None:
    """The rhythm of a section's lead comes again four bars later, but for what is varied."""
    returned = []
    for seed in range(64):
        made = compose_song(draw_song(seed), 60.0)
        plan = made.plan
        lead = [voice for voice in made.voices if voice.name in ("lead", "vocals")]
        if not lead or plan.section_bars != 2 * PHRASE_BARS:
            continue
        starts = np.array([note.start_s for note in lead[0].notes])
        phrase_s = PHRASE_BARS * plan.meter * 60 / plan.bpm
        for number, name in enumerate(plan.sections):
            first_s = time_s(plan, number * plan.section_bars * plan.meter - plan.lead_in_beats)
            within = starts[(starts >= first_s) & (starts < first_s + phrase_s * 0.9)]
            if name in ("verse", "full") and first_s >= 0 and first_s + 2 * phrase_s < 60 and len(within):
                returned += [float(np.abs(starts - start - phrase_s).min()) < 0.08 for start in within]
    assert len(returned) > 50
    assert np.mean(returned) > 0.85


def test_sections_take_turns() -> None:
    plan = draw_song(3)
    names = [section_of(plan, bar * plan.section_bars) for bar in range(len(plan.sections) + 1)]
    assert tuple(names) == (*plan.sections, plan.sections[0])


def test_every_style_is_one_of_the_analysers() -> None:
    from deployments.engines.analysis.mood.styles import STYLE_IDS

    assert {style.family for style in STYLES} == set(STYLE_IDS)


@given(SEEDS, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_captions_say_what_is_true_in_words_that_are_known(seed: int, draw: int) -> None:
    truth = song(seed).truth.record()
    line = caption(truth, np.random.default_rng(draw))
    known = {word.lower() for word in vocabulary()}
    words = line.replace(",", " ").split()
    assert words
    assert {word.lower() for word in words} <= known
    numbers = [int(word) for word in words if word.isdigit()]
    assert numbers in ([], [round(truth["bpm"])])
    if "major" in words or "minor" in words:
        assert truth["key"].split()[1] in words


@pytest.mark.torch
@pytest.mark.parametrize("semitones", [-2, 3])
def test_a_faster_tape_is_another_key_and_tempo(semitones: int) -> None:
    """Judged by the analyser: a scale of half notes at 120 bpm, and the same from a tape."""
    from deployments.engines.analysis.pitch.key import analyse_key
    from training.starter import chroma, tokens

    seconds = np.arange(16_000) / 16_000
    notes_hz = [261.63 * 2 ** (step / 12) for step in (0, 4, 7, 5, 9, 0, 7, 11, 2, 7, 0, 4, 7, 0)]
    tune = np.concatenate([np.sin(2 * np.pi * hz * seconds) * np.exp(-2 * seconds) for hz in notes_hz])
    played = (tune * 20_000).astype(np.int16)
    taped = tokens.at_speed(played, semitones)
    assert len(taped) == pytest.approx(len(played) / 2 ** (semitones / 12), rel=1e-4)
    truth = {"bpm": 120.0, "key": str(analyse_key(resample_to_listening(played)).name)}
    moved = transposed(truth, semitones)
    assert moved["key"] == analyse_key(resample_to_listening(taped)).name
    assert moved["bpm"] == pytest.approx(120 * len(played) / len(taped), rel=1e-3)
    classes = chroma.pitch_classes((played / 32768).astype(np.float32)[None], 16_000)
    heard = chroma.pitch_classes((taped / 32768).astype(np.float32)[None], 16_000)
    wanted = chroma.at_speed(classes, semitones)
    frames = min(len(heard), len(wanted))
    assert np.mean(heard[:frames] == wanted[:frames]) > 0.8


def resample_to_listening(played: np.ndarray[tuple[int], np.dtype[np.int16]]) -> Samples:
    """What the analyser listens to."""
    return resample((played / 32768).astype(np.float32)[None], 16_000, 22_050)[0]


@pytest.fixture(scope="module")
def synthesiser() -> Synthesiser:
    try:
        return Synthesiser(find_font(TEST_FONT))
    except RendererMissing as error:
        pytest.skip(str(error))


def test_stems_are_of_their_own_voices_and_do_not_ring_into_the_next_song(synthesiser: Synthesiser) -> None:
    short = [compose_song(draw_song(seed), 8.0) for seed in range(200)]
    short = [made for made in short if made.plan.beat is not None and _starts(made, "drums")]
    sung = next(made for made in short if _starts(made, "vocals"))
    played = next(made for made in short if not made.truth.has_voice)
    for made in (sung, played):
        stems = render_song(made, synthesiser)
        assert stems.shape == (len(STEMS), 2, 8 * 44_100)
        loud = {name: float(np.abs(stems[index]).max()) for index, name in enumerate(STEMS)}
        assert (loud["vocals"] > 0) == (made is sung)
        assert loud["drums"] > 0
        assert 0.4 < float(np.abs(stems.sum(0)).max()) < 1.0
    again = render_song(played, synthesiser)
    assert not again[STEMS.index("vocals")].any()
    # The synthesiser's own oscillators run on from song to song.
    assert np.corrcoef(again.ravel(), stems.ravel())[0, 1] > 0.98


def _starts(made: Song, name: str) -> bool:
    """Whether this voice begins well before the end."""
    return any(note.start_s < 6 for voice in made.voices if voice.name == name for note in voice.notes)


def test_own_audio_becomes_songs_with_their_captions(tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    noise = 0.1 * np.random.default_rng(3).standard_normal((95 * 22_050, 2)).astype(np.float32)
    soundfile.write(audio / "long.flac", noise, 22_050)
    soundfile.write(audio / "short.wav", noise[: 5 * 22_050], 22_050)
    (audio / "long.txt").write_text("noise, 60 bpm\n")
    (audio / "broken.mp3").write_bytes(b"no music")
    assert take_folder(audio, tmp_path) == 2
    first, second = finished(tmp_path / "songs")
    assert len(np.load(first)) == 60 * 16_000
    assert len(np.load(second)) == 35 * 16_000
    assert caption(truth_of(first), np.random.default_rng(1)) == "noise, 60 bpm"


def test_the_voices_of_the_test_seeds_are_none_of_training() -> None:
    assert min(TEST_SEEDS) > 50_000
    assert not set(VOICES) - set(INSTRUMENTS)


@pytest.mark.torch
def test_songs_become_a_checkpoint_that_the_engine_loads(tmp_path: Path) -> None:
    """Every trainer for an instant, in two sittings, then the export and the server's own loaders."""
    import torch

    from deployments.engines.music.audiocraft.checkpoint import load_checkpoint
    from deployments.engines.music.audiocraft.starter import write_starter
    from deployments.engines.music.catalog import find
    from deployments.engines.separation.catalog import find as find_separator
    from deployments.engines.separation.demucs.bag import load_bag
    from deployments.engines.separation.demucs.starter import write_starter_separator
    from training.starter import codec, export, lm, separator, tokens

    threads = torch.get_num_threads()
    _write_songs(tmp_path)
    common = {"runs": tmp_path, "minutes": 1e-4, "resume": True, "threads": threads, "device": "cpu"}
    codec.train(argparse.Namespace(**common, batch=2, autoencoder_steps=1))
    sitting = codec.train(argparse.Namespace(**common, batch=2, autoencoder_steps=1))
    assert sitting.step == 2
    tokens.make_tokens(tmp_path, semitones=(0, 12))
    made = np.load(tmp_path / "tokens" / "000001.npz")
    assert made["codes"].shape == (4, 16 * 50)
    assert np.load(tmp_path / "tokens" / "000001+12.npz")["codes"].shape == (4, 8 * 50)
    given_lm = argparse.Namespace(**common, batch_frames=500, short_share=1.0)
    lm.train(given_lm)
    assert lm.train(given_lm).step == 2
    separator.train(argparse.Namespace(**common, batch=1, bfloat16=False))
    curve = [json.loads(line) for line in (tmp_path / "lm" / "curve.jsonl").read_text().splitlines()]
    assert 0 < curve[0]["bits"] < 14  # a guess among 1024 costs 10

    packed = tmp_path / "packed"
    assert export.export_packed(tmp_path, packed) < export.LARGEST_BYTES
    folder = tmp_path / "out"
    folder.mkdir()
    write_starter(folder, packed)
    checkpoint = load_checkpoint(find(str(folder)), torch.device("cpu"), tmp_path)
    assert checkpoint.follows_melody
    assert checkpoint.window_s == 30
    assert checkpoint.codec.sample_rate == 16_000
    assert checkpoint.codec.frame_rate == 50
    learnt = lm.load_lm(tmp_path).lm.state_dict()["emb.0.weight"]
    assert torch.equal(checkpoint.lm.state_dict()["emb.0.weight"], learnt.half().float())
    stems = tmp_path / "stems"
    stems.mkdir()
    write_starter_separator(stems, "starter", packed)
    assert load_bag(find_separator(str(stems)), tmp_path).sources == STEMS


def _write_songs(runs: Path) -> None:
    rng = np.random.default_rng(1)
    (runs / "songs").mkdir()
    for seed in range(2):
        stems = 0.1 * rng.standard_normal((8, 16 * 44_100)).astype(np.float32)
        path = runs / "songs" / f"{seed:06}.flac"
        soundfile.write(path, stems.T, 44_100, subtype="PCM_16")
        path.with_suffix(".json").write_text(json.dumps(song(seed).truth.record()))
        np.save(path.with_suffix(".npy"), as_codec_hears(stems.reshape(4, 2, -1).sum(0), 44_100))

"""The starter's corpus on disk: songs as stems, and as the codec hears them. Made once, in any number of
sittings.

    python -m training.starter.songs --runs RUNS --songs 1200
    python -m training.starter.songs --runs RUNS --songs 64 --test

A folder `songs` (or `test-songs`) has, for each seed, `000123.flac` (four stereo stems at 44.1 kHz, drums,
bass, other, vocals: eight channels that add up to the mix), `000123.json` (what is true of it), `000123.chroma`
(of what is no drum and no bass) and `000123.npy` (the mix, mono int16 at the codec's rate). A song is there when
its `.npy` is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from deployments.audio.resample import resample
from deployments.audio.samples import Samples
from training.corpus.harmony import TONICS
from training.starter.chroma import PitchClasses, pitch_classes, speed_of
from training.starter.composer.render import (
    RATE_HZ,
    TEST_FONT,
    TRAINING_FONTS,
    Synthesiser,
    find_font,
    render_song,
)
from training.starter.composer.song import SONG_S, STEMS, compose_song, draw_song

CODEC_RATE_HZ = 16_000
TEST_SEEDS = range(100_000, 110_000)
"""Nothing is trained or chosen on these, nor on the sound font that plays them."""


def make_songs(runs: Path, seeds: Iterable[int], *, test: bool = False, song_s: float = SONG_S) -> Path:
    """The folder with a song for each seed; those that are there stay. Raises RendererMissing."""
    folder = songs_folder(runs, test=test)
    folder.mkdir(parents=True, exist_ok=True)
    fonts = (TEST_FONT,) if test else TRAINING_FONTS
    synthesisers: dict[str, Synthesiser] = {}
    for seed in seeds:
        if (folder / f"{seed:06}.npy").exists():
            continue
        # One in three songs is played by the second font.
        font = fonts[(seed // 16 % 3 == 2) % len(fonts)]
        if font not in synthesisers:
            synthesisers[font] = Synthesiser(find_font(font))
        _make_song(folder, seed, synthesisers[font], font, song_s)
    for synthesiser in synthesisers.values():
        synthesiser.close()
    return folder


def songs_folder(runs: Path, *, test: bool = False) -> Path:
    return runs / ("test-songs" if test else "songs")


def finished(folder: Path) -> list[Path]:
    """The songs' `.npy`, in the order of their seeds."""
    return sorted(folder.glob("[0-9]*.npy"))


def truth_of(song: Path) -> dict[str, Any]:
    """The fields of `SongTruth`, for any of a song's files; none for audio that somebody else made."""
    path = song.with_suffix(".json")
    truth: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return truth


def transposed(truth: Mapping[str, Any], semitones: int) -> dict[str, Any]:
    """What of `truth` a caption says, of the song as a tape that is played so many semitones faster or slower."""
    if semitones == 0 or "bpm" not in truth:
        return dict(truth)
    tonic, mode = truth["key"].split()
    moved = TONICS[(TONICS.index(tonic) + semitones) % 12]
    return {**truth, "bpm": truth["bpm"] * speed_of(semitones), "key": f"{moved} {mode}"}


def stems_of(song: Path, start_s: float = 0.0, duration_s: float | None = None) -> Samples:
    """float32 [4, 2, samples] at 44.1 kHz."""
    with soundfile.SoundFile(song.with_suffix(".flac")) as file:
        file.seek(round(start_s * RATE_HZ))
        frames = -1 if duration_s is None else round(duration_s * RATE_HZ)
        samples: Samples = file.read(frames, dtype="float32", always_2d=True)
    return np.ascontiguousarray(samples.T).reshape(len(STEMS), 2, -1)


def chroma_of(song: Path) -> PitchClasses:
    """Of the stems `other` and `vocals`; of the mix where there are no stems."""
    path = song.with_suffix(".chroma")
    if path.exists():
        with path.open("rb") as kept:
            classes: PitchClasses = np.load(kept)
        return classes
    if song.with_suffix(".flac").exists():
        return _keep_chroma(song, stems_of(song))
    mix = np.load(song.with_suffix(".npy")).astype(np.float32)[None] / 32768
    return pitch_classes(mix, CODEC_RATE_HZ)


def _keep_chroma(song: Path, stems: Samples) -> PitchClasses:
    tune = resample(stems[2:].sum(0).mean(0, keepdims=True), RATE_HZ, CODEC_RATE_HZ)
    classes = pitch_classes(tune, CODEC_RATE_HZ)
    with song.with_suffix(".chroma").open("wb") as file:
        np.save(file, classes)
    return classes


def as_codec_hears(mix: Samples, rate_hz: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """float32 [channels, samples] -> int16 [samples] at the codec's rate, mono."""
    mono = resample(mix.mean(0, keepdims=True), rate_hz, CODEC_RATE_HZ)[0]
    whole: np.ndarray[Any, np.dtype[np.int16]] = np.clip(np.round(mono * 32767), -32768, 32767).astype(
        np.int16
    )
    return whole


def _make_song(folder: Path, seed: int, synthesiser: Synthesiser, font: str, song_s: float) -> None:
    song = compose_song(draw_song(seed), song_s)
    stems = render_song(song, synthesiser)
    name = f"{seed:06}"
    soundfile.write(folder / f"{name}.flac", stems.reshape(-1, stems.shape[2]).T, RATE_HZ, subtype="PCM_16")
    record = song.truth.record() | {"font": font, "duration_s": song_s}
    (folder / f"{name}.json").write_text(json.dumps(record))
    _keep_chroma(folder / f"{name}.npy", stems)
    draft = folder / f".{name}.npy"
    np.save(draft, as_codec_hears(stems.sum(0), RATE_HZ))
    draft.replace(folder / f"{name}.npy")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compose and render the starter's corpus.")
    parser.add_argument("--runs", type=Path, required=True, help="folder for all that training writes")
    parser.add_argument("--songs", type=int, required=True)
    parser.add_argument("--test", action="store_true", help="the test seeds, on the held-out sound font")
    arguments = parser.parse_args()
    first = TEST_SEEDS.start if arguments.test else 0
    folder = make_songs(arguments.runs, range(first, first + arguments.songs), test=arguments.test)
    print(f"{len(finished(folder)) * SONG_S / 3600:.2f} h in {folder}")


if __name__ == "__main__":
    main()

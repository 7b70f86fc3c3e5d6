"""A folder of one's own audio as songs to train on, in place of the composer's.

    python -m training.starter.own --audio FOLDER --runs RUNS

Every file that the server would take (WAV, MP3, FLAC, OGG, M4A, AIFF) becomes one song or several, of 60 s at
most, in `RUNS/songs`. A file `name.txt` beside `name.mp3` is its caption. There are no stems: the chroma is that of
the mix, and the separator stays the package's. Then `codec`, `tokens`, `lm` and `export` as for the starter.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from deployments.audio.decode.errors import AudioError
from deployments.audio.decode.isolated import decode_file
from deployments.audio.decode.limits import DecodeLimits
from training.starter.songs import as_codec_hears, songs_folder

_LIMITS = DecodeLimits(
    timeout_s=300.0,
    memory_bytes=4 * 2**30,
    max_duration_s=3600.0,
    min_duration_s=1.0,
    max_channels=2,
    min_rate_hz=8_000,
    max_rate_hz=192_000,
    max_output_bytes=2**31,
)
SONG_S = 60
LEAST_S = 31
"""A window of the language model is 30 s long."""


def take_folder(audio: Path, runs: Path) -> int:
    """Returns how many songs there are now. A file that cannot be decoded, or is shorter than `LEAST_S`, is named
    and left out."""
    folder = songs_folder(runs)
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for source in sorted(path for path in audio.rglob("*") if path.is_file() and path.suffix != ".txt"):
        try:
            parts = list(_parts(source))
        except AudioError as error:
            print(f"{source.name} is left out: {error}")
            continue
        if not parts:
            print(f"{source.name} is left out: it is shorter than {LEAST_S} s")
        words = source.with_suffix(".txt")
        for part in parts:
            path = folder / f"{number:06}.npy"
            np.save(path, part)
            if words.exists():
                path.with_suffix(".json").write_text(json.dumps({"caption": words.read_text().strip()}))
            number += 1
    return number


def _parts(source: Path) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.int16]]]:
    with tempfile.TemporaryDirectory() as draft:
        target = Path(draft, "decoded.wav")
        asyncio.run(decode_file(source, target, _LIMITS))
        with soundfile.SoundFile(target) as file:
            rate_hz = file.samplerate
            while len(samples := file.read(SONG_S * rate_hz, dtype="float32", always_2d=True)):
                if len(samples) >= LEAST_S * rate_hz:
                    yield as_codec_hears(samples.T, rate_hz)


def main() -> None:
    parser = argparse.ArgumentParser(description="Take a folder of audio as the music to train on.")
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="a new folder for all that training writes")
    given = parser.parse_args()
    print(f"{take_folder(given.audio, given.runs)} songs in {songs_folder(given.runs)}")


if __name__ == "__main__":
    main()

"""Songs as the language model sees them: the codec's tokens, and the chroma of what is no drum and no bass.

    python -m training.starter.tokens --runs RUNS [--semitones 0 2 -2]

A folder `tokens` has for each song `000123.npz`: `codes` uint16 [4, frames], `chroma` uint8 [chroma frames] (the
loudest pitch class of each 128 ms), `mix_chroma` (that of everything), `semitones`. Songs are encoded as they are
and, as `000123+2.npz`, as a tape that is played so many semitones faster or slower: another key and tempo at the
cost of encoding alone. Tokens of another codec are made anew.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.starter import chroma
from training.starter.codec import load_codec
from training.starter.songs import CODEC_RATE_HZ, as_codec_hears, chroma_of, finished, songs_folder

BATCH = 8


def make_tokens(
    runs: Path, *, test: bool = False, semitones: Sequence[int] = (0,), limit: int | None = None
) -> Path:
    """The folder with the tokens of all songs there are (the first `limit` of them), at each of `semitones`."""
    codec = load_codec(runs)
    folder = runs / ("test-tokens" if test else "tokens")
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "codec.sha256"
    made_by = codec_sha256(codec)
    if not mark.exists() or mark.read_text() != made_by:
        for stale in folder.glob("*.npz"):
            stale.unlink()
        mark.write_text(made_by)
    songs = finished(songs_folder(runs, test=test))[:limit]
    for shift in semitones:
        for batch in _batches(folder, songs, shift):
            mixes = [at_speed(np.load(song), shift) for song, _ in batch]
            for (song, path), mix, codes in zip(batch, mixes, encode(codec, mixes), strict=True):
                tune = chroma.at_speed(chroma_of(song), shift)
                everything = chroma.pitch_classes((mix[None] / 32768).astype(np.float32), CODEC_RATE_HZ)
                _write(path, codes=codes, chroma=tune, mix_chroma=everything, semitones=np.int8(shift))
    return folder


def _batches(folder: Path, songs: Sequence[Path], shift: int) -> Iterator[list[tuple[Path, Path]]]:
    """Songs of one length that have no tokens yet, each with the file that is to have them."""
    missing: dict[int, list[tuple[Path, Path]]] = {}
    for song in songs:
        path = folder / f"{song.stem}{shift:+d}.npz" if shift else folder / f"{song.stem}.npz"
        if path.exists():
            continue
        batch = missing.setdefault(len(np.load(song, mmap_mode="r")), [])
        batch.append((song, path))
        if len(batch) == BATCH:
            yield list(batch)
            batch.clear()
    yield from (batch for batch in missing.values() if batch)


def _write(path: Path, **arrays: Any) -> None:
    with path.with_suffix(".draft").open("wb") as draft:
        np.savez(draft, **arrays)
    path.with_suffix(".draft").replace(path)


def at_speed(mix: np.ndarray[Any, np.dtype[np.int16]], semitones: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A song as a tape that is played faster or slower, int16 [samples]."""
    if semitones == 0:
        return mix
    rate_hz = round(CODEC_RATE_HZ * chroma.speed_of(semitones))
    return as_codec_hears((mix[None] / 32768).astype(np.float32), rate_hz)


@torch.inference_mode()
def encode(
    codec: Any, mixes: Sequence[np.ndarray[Any, np.dtype[np.int16]]]
) -> list[np.ndarray[Any, np.dtype[np.uint16]]]:
    """[codebooks, frames] of each of some songs of one length, as the engine encodes a context: all at once."""
    audio = torch.from_numpy(np.stack(mixes).astype(np.float32) / 32768)[:, None]
    codes, _ = codec.encode(audio)
    return [each.numpy().astype(np.uint16) for each in codes]


def codec_sha256(codec: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(codec.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description="Encode the starter's corpus with its codec.")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--semitones", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    folder = make_tokens(given.runs, test=given.test, semitones=given.semitones)
    print(f"{len(list(folder.glob('*.npz')))} files in {folder}")


if __name__ == "__main__":
    main()

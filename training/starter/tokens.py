"""Songs as the language model sees them: the codec's tokens, and the chroma of what is no drum and no bass.

    python -m training.starter.tokens --runs RUNS

A folder `tokens` has for each song `000123.npz`: `codes` uint16 [4, frames], `chroma` uint8 [chroma frames] (the
loudest pitch class of each 128 ms). Those of another codec are made anew.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deployments.audio.resample import resample
from training.starter.codec import load_codec
from training.starter.composer.render import RATE_HZ
from training.starter.songs import CODEC_RATE_HZ, finished, songs_folder, stems_of

CHROMA_EXPONENT = 13


def make_tokens(runs: Path, *, test: bool = False, limit: int | None = None) -> Path:
    """The folder with the tokens of all songs that there are (the first `limit` of them)."""
    codec = load_codec(runs)
    folder = runs / ("test-tokens" if test else "tokens")
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "codec.sha256"
    made_by = codec_sha256(codec)
    if not mark.exists() or mark.read_text() != made_by:
        for stale in folder.glob("*.npz"):
            stale.unlink()
        mark.write_text(made_by)
    extract = chroma_extractor()
    for song in finished(songs_folder(runs, test=test))[:limit]:
        path = folder / f"{song.stem}.npz"
        if path.exists():
            continue
        mix = np.load(song)
        with path.with_suffix(".draft").open("wb") as draft:
            np.savez(draft, codes=encode(codec, mix), chroma=chroma(extract, song, mix))
        path.with_suffix(".draft").replace(path)
    return folder


@torch.inference_mode()
def encode(codec: Any, mix: np.ndarray[Any, np.dtype[np.int16]]) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """[codebooks, frames], as the engine encodes a context: all at once."""
    audio = torch.from_numpy(mix.astype(np.float32) / 32768)[None, None]
    codes, _ = codec.encode(audio)
    made: np.ndarray[Any, np.dtype[np.uint16]] = codes[0].numpy().astype(np.uint16)
    return made


def chroma_extractor() -> Any:
    from audiocraft.modules.chroma import ChromaExtractor

    return ChromaExtractor(sample_rate=CODEC_RATE_HZ, n_chroma=12, radix2_exp=CHROMA_EXPONENT, argmax=True)


@torch.inference_mode()
def chroma(
    extract: Any, song: Path, mix: np.ndarray[Any, np.dtype[np.int16]]
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Of the stems `other` and `vocals`; of the mix where there are no stems."""
    if song.with_suffix(".flac").exists():
        tune = resample(stems_of(song)[2:].sum(0).mean(0, keepdims=True), RATE_HZ, CODEC_RATE_HZ)
    else:
        tune = (mix.astype(np.float32)[None] / 32768).astype(np.float32)
    classes: np.ndarray[Any, np.dtype[np.uint8]] = (
        extract(torch.from_numpy(tune)[None])[0].argmax(-1).numpy().astype(np.uint8)
    )
    return classes


def codec_sha256(codec: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(codec.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description="Encode the starter's corpus with its codec.")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    folder = make_tokens(given.runs, test=given.test)
    print(f"{len(list(folder.glob('*.npz')))} songs in {folder}")


if __name__ == "__main__":
    main()

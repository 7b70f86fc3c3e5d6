"""How many bits the language model needs for a token, beside what counting needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.starter.songs import Song

LANGUAGE = Head(
    "language",
    "Bits for a token",
    "The codec's tokens of {seconds:g} s of each test song, without text and with a caption. Unigram and "
    "bigram (the token before, of the same codebook, mixed with the unigram in the ratio that is best) are "
    "counted in the other test songs. 10 bits are a blind guess. `total` is the sum over the codebooks: bits "
    "for a frame of 20 ms.",
)
_MIXES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)

Codes = np.ndarray[Any, np.dtype[np.int64]]


def measure(findings: Findings, songs: Sequence[Song], codec: Any, lm: Any, *, seconds: float) -> None:
    codes = [_encode(codec, song, seconds) for song in songs]
    ways = {
        "unigram": _counted(codes, int(codec.cardinality), bigram=False),
        "bigram": _counted(codes, int(codec.cardinality), bigram=True),
        "starter, no text": _bits(lm, codes, [""] * len(songs)),
        "starter, caption": _bits(lm, codes, [_caption(song) for song in songs]),
    }
    head = Head(LANGUAGE.name, LANGUAGE.title, LANGUAGE.note.format(seconds=seconds))
    for name, bits in ways.items():
        columns = {f"codebook {number + 1}": float(each) for number, each in enumerate(bits)}
        findings.add(head, {"model": name, **columns, "mean": float(bits.mean()), "total": float(bits.sum())})
    findings.targets.append(
        Target.at_most(
            "language model: bits for a token, times bigram's",
            0.95,
            ways["starter, no text"].mean() / ways["bigram"].mean(),
        )
    )


def _caption(song: Song) -> str:
    return f"{song.truth['style']}, {round(song.bpm)} bpm, {song.key}"


@torch.inference_mode()
def _encode(codec: Any, song: Song, seconds: float) -> Codes:
    codes, _ = codec.encode(torch.from_numpy(song.mix(15.0, seconds))[None])
    encoded: Codes = codes[0].numpy()
    return encoded


@torch.inference_mode()
def _bits(lm: Any, codes: Sequence[Codes], texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of each codebook, the mean over all songs."""
    from audiocraft.modules.conditioners import ConditioningAttributes, WavCondition

    losses = []
    for song, text in zip(codes, texts, strict=True):
        silence = WavCondition(torch.zeros(1, 1, 1), torch.tensor([0]), [16_000], [None])
        about = ConditioningAttributes(text={"description": text}, wav={"self_wav": silence})
        output = lm.compute_predictions(torch.from_numpy(song)[None], [about])
        each = functional.cross_entropy(
            output.logits[0].flatten(0, 1).float(), torch.from_numpy(song).flatten(), reduction="none"
        ).view(song.shape)
        known = output.mask[0]  # the logits of the others are not numbers
        losses.append((each.masked_fill(~known, 0.0).sum(1) / known.sum(1)).numpy())
    bits: np.ndarray[Any, np.dtype[np.float64]] = np.mean(losses, axis=0) / np.log(2)
    return bits


def _counted(codes: Sequence[Codes], entries: int, *, bigram: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of each codebook: a song's tokens by what was counted in the others."""
    books = len(codes[0])
    bits = np.zeros(books)
    for book in range(books):
        songs = [song[book] for song in codes]
        total = _unigrams(np.concatenate(songs), entries)
        pairs = sum((_pairs(song, entries) for song in songs), np.zeros((entries, entries), np.float32))
        found: dict[float, list[float]] = {}
        for song in songs:
            single = total - _unigrams(song, entries) + 0.5
            alone = (single / single.sum())[song[1:]]
            if not bigram:
                found.setdefault(0.0, []).append(float(-np.log2(alone).mean()))
                continue
            own = pairs - _pairs(song, entries)
            rows = own[song[:-1]]
            seen = rows.sum(1)
            after = np.where(seen > 0, rows[np.arange(len(rows)), song[1:]] / np.maximum(seen, 1), alone)
            for mix in _MIXES:
                found.setdefault(mix, []).append(float(-np.log2(mix * after + (1 - mix) * alone).mean()))
        bits[book] = min(float(np.mean(each)) for each in found.values())
    return bits


def _unigrams(song: Codes, entries: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.bincount(song, minlength=entries).astype(np.float64)


def _pairs(song: Codes, entries: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    counts = np.zeros((entries, entries), np.float32)
    np.add.at(counts, (song[:-1], song[1:]), 1)
    return counts

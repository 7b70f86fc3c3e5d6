"""What is left of held-out music after the codec, beside Opus at its lowest rate and the codec of `tiny`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
import torch

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.starter.judges import Judges
from benchmarks.starter.songs import CODEC_RATE_HZ, Song
from deployments.audio.resample import resample
from deployments.audio.samples import Samples
from deployments.export.ffmpeg import find_ffmpeg, run_ffmpeg
from training.corpus.scores import mirex_key, tempo_accuracy_2

CODEC = Head(
    "codec",
    "Through the codec and back",
    "{seconds:g} s of each test song. Tempo and key: what the analyser finds in the copy, beside what it "
    "finds in the original: the same tempo (4 %, octave allowed), the same key. `log-mel`: mean difference "
    "of 64 mel bands, dB. `STFT`: linear and logarithmic difference of spectra of 2048, 512 and 128 samples, "
    "as in training. `opus` is ffmpeg's libopus at 6 kbit/s mono (its lowest), three times the codec's rate.",
)
OPUS_BPS = 6000
_MELS, _FLOOR = 64, 1e-5

Copy = Callable[[Samples], Samples]


def measure(
    findings: Findings, songs: Sequence[Song], judges: Judges, codecs: dict[str, Any], *, seconds: float
) -> None:
    """`codecs` are audiocraft's compression models, by name; the first one has the targets."""
    copies: dict[str, Copy] = {name: _by_model(codec) for name, codec in codecs.items()}
    copies["opus, 6 kbit/s"] = _by_opus
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in copies}
    for song in songs:
        original = song.mix(10.0, seconds)
        heard = judges.analysis(original, CODEC_RATE_HZ)
        for name, copy in copies.items():
            copied = copy(original)[:, : original.shape[1]]
            again = judges.analysis(copied, CODEC_RATE_HZ)
            rows[name].append(
                {
                    "tempo kept": _tempo_kept(heard.rhythm.bpm, again.rhythm.bpm),
                    "key kept": float(heard.key.name == again.key.name),
                    "true tempo": float(tempo_accuracy_2(again.rhythm.bpm, song.bpm)),
                    "true key, MIREX": mirex_key(again.key.name, song.key),
                    "log-mel, dB": _log_mel_db(original, copied),
                    "STFT": _stft(original, copied),
                }
            )
    head = Head(CODEC.name, CODEC.title, CODEC.note.format(seconds=seconds))
    for name, measured in rows.items():
        means = {column: float(np.mean([row[column] for row in measured])) for column in measured[0]}
        findings.add(head, {"codec": name, "songs": len(measured), **means})
    own = rows[next(iter(codecs))]
    for column, wanted in (("tempo kept", 0.9), ("key kept", 0.8)):
        share = float(np.mean([row[column] for row in own]))
        findings.targets.append(Target.at_least(f"codec: {column}", wanted, share))


def _tempo_kept(before: float | None, after: float | None) -> float:
    if before is None or after is None:
        return float(before is after)
    return float(tempo_accuracy_2(after, before))


def _by_model(codec: Any) -> Copy:
    rate_hz = int(codec.sample_rate)

    @torch.inference_mode()
    def copy(samples: Samples) -> Samples:
        audio = torch.from_numpy(resample(samples, CODEC_RATE_HZ, rate_hz))[None]
        codes, scale = codec.encode(audio)
        decoded: Samples = codec.decode(codes, scale)[0].numpy()
        return resample(decoded, rate_hz, CODEC_RATE_HZ)

    return copy


def _by_opus(samples: Samples) -> Samples:
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as name:
        source, packed, back = (Path(name, each) for each in ("in.wav", "packed.opus", "out.wav"))
        soundfile.write(source, samples.T, CODEC_RATE_HZ, subtype="FLOAT")
        ffmpeg = find_ffmpeg()
        for arguments in (
            ["-i", str(source), "-c:a", "libopus", "-b:a", str(OPUS_BPS), "-vbr", "off", str(packed)],
            ["-i", str(packed), "-ar", str(CODEC_RATE_HZ), "-c:a", "pcm_f32le", str(back)],
        ):
            asyncio.run(run_ffmpeg(["-v", "error", *arguments], ffmpeg=ffmpeg, timeout_s=60.0))
        decoded: Samples = soundfile.read(back, dtype="float32", always_2d=True)[0].T
    return decoded


def _log_mel_db(one: Samples, other: Samples) -> float:
    return float(np.abs(_mels_db(one) - _mels_db(other)).mean())


def _mels_db(samples: Samples) -> Any:
    power = librosa.feature.melspectrogram(
        y=samples[0], sr=CODEC_RATE_HZ, n_fft=1024, hop_length=256, n_mels=_MELS
    )
    return librosa.power_to_db(power, ref=1.0, amin=_FLOOR, top_db=None)


def _stft(one: Samples, other: Samples) -> float:
    from training.starter.codec import codec_loss

    made, wanted = (torch.from_numpy(np.ascontiguousarray(each))[None] for each in (other, one))
    return float(codec_loss(made, wanted)[1])

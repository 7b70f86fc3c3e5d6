"""Audio files as clients send them, made on the spot."""

from __future__ import annotations

import io
import subprocess
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import soundfile

from deployments.audio.samples import Samples

SIX_FORMATS = ("wav", "mp3", "flac", "ogg", "m4a", "aiff")


def tones(samples: int, rate_hz: int = 44100, channels: int = 2) -> Samples:
    """Another tone in each channel, at half of full scale, and some noise, without which coders have too easy a
    time."""
    t = np.arange(samples) / rate_hz
    clean = np.stack([0.5 * np.sin(2 * np.pi * 220 * (1 + n) * t) for n in range(channels)])
    noise = np.random.default_rng(0).uniform(-0.05, 0.05, clean.shape)
    return (clean + noise).astype(np.float32)


def encoded(samples: Samples, rate_hz: int, extension: str, subtype: str | None = None) -> bytes:
    """A file of one of the six formats; `subtype` is libsndfile's."""
    if extension == "m4a":
        return _aac(samples, rate_hz)
    file = io.BytesIO()
    soundfile.write(file, samples.T, rate_hz, format=extension.upper(), subtype=subtype)
    return file.getvalue()


def muxed(samples: Samples, rate_hz: int, container: str, codec: str, options: dict[str, str]) -> bytes:
    """A file made by libav, which writes what libsndfile does not: streams, and MP3 without a Xing header."""
    layout = "mono" if samples.shape[0] == 1 else "stereo"
    with (
        tempfile.NamedTemporaryFile() as file,
        av.open(file.name, "w", format=container, options=options) as output,
    ):
        stream = output.add_stream(codec, rate=rate_hz, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        resampler = av.AudioResampler(stream.format, layout, rate_hz, frame_size=stream.frame_size or None)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
        output.close()
        return file.read()


def _aac(samples: Samples, rate_hz: int) -> bytes:
    return muxed(samples, rate_hz, "ipod", "aac", {})


LENGTH, RATE_HZ = 3 * 48_000 + 123, 48_000
"""Of every recording below: per channel, in two channels."""


@dataclass(frozen=True, slots=True)
class Recording:
    """How ffmpeg makes a file. `front`, `more`: samples that the format cannot say are no audio, before it and in
    all. `is_lossless`: bit for bit 16-bit PCM. `is_checked`: the format has checksums of all of its audio."""

    arguments: str
    front: int = 0
    more: int = 0
    is_lossless: bool = False
    is_checked: bool = False
    to_pipe: bool = False


RECORDINGS = {
    "wav": Recording("-f wav", is_lossless=True),
    "wav to a pipe": Recording("-f wav", is_lossless=True, to_pipe=True),
    "wav rf64": Recording("-f wav -rf64 always", is_lossless=True),
    "wav adpcm ima": Recording("-f wav -c:a adpcm_ima_wav"),
    "wav adpcm ms": Recording("-f wav -c:a adpcm_ms"),
    "wav mulaw": Recording("-f wav -c:a pcm_mulaw"),
    "aiff": Recording("-f aiff", is_lossless=True),
    "caf pcm": Recording("-f caf -c:a pcm_s16be", is_lossless=True),
    "caf alac": Recording("-f caf -c:a alac", is_lossless=True),
    "flac": Recording("-f flac", is_lossless=True, is_checked=True),
    "flac to a pipe": Recording("-f flac", is_lossless=True, is_checked=True, to_pipe=True),
    "ogg vorbis": Recording("-f ogg -c:a libvorbis", is_checked=True),
    "ogg opus": Recording("-f ogg -c:a libopus", is_checked=True),
    "ogg flac": Recording("-f ogg -c:a flac", is_lossless=True, is_checked=True),
    "ogg with video": Recording("-f lavfi -i color=s=64x64:d=1 -f ogg -c:v libtheora -c:a libvorbis"),
    "m4a": Recording("-f ipod -c:a aac"),
    "m4a alac": Recording("-f ipod -c:a alac", is_lossless=True),
    "mp4 fragments": Recording(
        "-f mp4 -c:a aac -movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 500000",
        front=1024,
        more=1024,
    ),
    "mp4 fragments opus": Recording("-f mp4 -c:a libopus -movflags empty_moov -frag_duration 500000"),
    "mp4 with video": Recording("-f lavfi -i color=s=64x64:d=1 -f mp4 -c:v mpeg4 -c:a aac"),
    "mov": Recording("-f mov -c:a aac"),
    "mov pcm": Recording("-f mov -c:a pcm_s16le", is_lossless=True),
    "3gp": Recording("-f 3gp -c:a aac"),
    "webm": Recording("-f webm -c:a libopus"),
    "webm while recording": Recording("-f webm -c:a libopus -live 1", to_pipe=True),
    "mka flac": Recording("-f matroska -c:a flac", is_lossless=True),
    "aac": Recording("-f adts -c:a aac", front=1024, more=1285),
    "mp3": Recording("-f mp3"),
    "mp3 without a header": Recording("-f mp3 -write_xing 0 -id3v2_version 0", front=1105, more=2181),
}


@cache
def original() -> Samples:
    """What is in every recording."""
    return np.round(tones(LENGTH, RATE_HZ) * 2**15).astype(np.float32) / np.float32(2**15)


@cache
def recorded(name: str) -> bytes:
    recording = RECORDINGS[name]
    return ffmpeg(
        encoded(original(), RATE_HZ, "wav", "PCM_16"), recording.arguments, to_pipe=recording.to_pipe
    )


def ffmpeg(data: bytes, arguments: str, *, to_pipe: bool = False) -> bytes:
    """What ffmpeg makes of a file with these arguments. Into a pipe it cannot mend its headers."""
    program = (imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y")
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "given"), Path(folder, "made")
        given.write_bytes(data)
        output = "pipe:1" if to_pipe else str(made)
        done = subprocess.run(
            (*program, "-i", str(given), *arguments.split(), "-bitexact", output),
            capture_output=True,
            check=True,
        )
        return done.stdout if to_pipe else made.read_bytes()

"""Audio files as clients send them, made on the spot."""

from __future__ import annotations

import io
import tempfile
from fractions import Fraction

import av
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

"""Clips in the six formats that an upload may have, made on the spot."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import soundfile

from deployments.audio.samples import Samples

SOUNDFILE_FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
}
FORMATS = (*SOUNDFILE_FORMATS, "m4a")


def music(duration_s: float = 3.0, rate_hz: int = 44_100, channels: int = 2, seed: int = 1) -> Samples:
    """A few decaying notes over soft noise, float32 [channels, samples]: something with a level and a spectrum."""
    random = np.random.default_rng(seed)
    samples = round(duration_s * rate_hz)
    time_s = np.arange(samples) / rate_hz
    sound = 0.01 * random.standard_normal((channels, samples))
    for onset_s in np.arange(0.0, duration_s, 0.25):
        frequency_hz = 220.0 * 2 ** (random.integers(0, 24) / 12)
        since_s = np.clip(time_s - onset_s, 0.0, None)
        note = np.where(
            time_s >= onset_s, np.exp(-4 * since_s) * np.sin(2 * np.pi * frequency_hz * since_s), 0.0
        )
        sound += 0.2 * note * random.uniform(0.5, 1.0, (channels, 1))
    return sound.astype(np.float32)


def encoded(samples: Samples, rate_hz: int, audio_format: str) -> bytes:
    """A whole file of one of FORMATS."""
    if audio_format == "m4a":
        return _m4a(samples, rate_hz)
    container, subtype = SOUNDFILE_FORMATS[audio_format]
    file = io.BytesIO()
    soundfile.write(file, samples.T, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def _m4a(samples: Samples, rate_hz: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="ipod") as container:
        layout = "mono" if samples.shape[0] == 1 else "stereo"
        stream = container.add_stream("aac", rate=rate_hz, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return file.getvalue()

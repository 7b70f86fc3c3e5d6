"""Independent judges of media files: ffprobe's facts by PyAV, and the bundled ffmpeg as a decoder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from deployments.audio.samples import Samples

BUNDLED = Path(imageio_ffmpeg.get_ffmpeg_exe())
ON_PATH = shutil.which("ffmpeg")
EVERY_FFMPEG = sorted({BUNDLED, *([Path(ON_PATH)] if ON_PATH else [])})
"""What a user may have: the bundled one, and an older one of the system where there is one."""


def decoded(path: Path, channels: int = 2) -> Samples:
    """float32 [channels, samples] at the file's own rate, with all that the container says about padding."""
    done = subprocess.run(
        [BUNDLED, "-v", "error", "-i", path, "-map", "0:a:0", "-f", "f32le", "-"],
        capture_output=True,
        check=True,
    )
    assert not done.stderr, done.stderr
    return np.frombuffer(done.stdout, "<f4").reshape(-1, channels).T


def described(path: Path) -> str:
    """What `ffmpeg -i` says about a file."""
    return subprocess.run(
        [BUNDLED, "-hide_banner", "-i", path], capture_output=True, text=True, check=False
    ).stderr

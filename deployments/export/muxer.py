"""Frames, and audio, to MP4: H.264 high (yuv420p, BT.709, limited range) and AAC-LC.

Frames go to ffmpeg one by one as planar YUV, so memory does not grow with the video and no raw video lies on disk.
Equal input gives equal bytes with the same ffmpeg. A target is there whole or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deployments.audio.samples import Samples
from deployments.audio.track import BLOCK_SAMPLES, TrackReader, TrackWriter
from deployments.export.ffmpeg import find_ffmpeg
from deployments.export.ffmpeg_pipe import DEFAULT_TIMEOUT_S, Chunk, feed_ffmpeg
from deployments.export.formats import ffmetadata_input, taken_over
from deployments.export.media_errors import EmptyAudio, EmptyFrames, WrongDtype, WrongShape, WrongValue
from deployments.export.planar import FrameSize, Picture, PlanarFrame, check_picture, padded_size
from deployments.stopping import Stop
from deployments.temporary import temporary_folder

Fps = int | Fraction

MAX_FPS = 120
MAX_GOP_S = 2
AAC_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_OTHER_RATES_HZ = 48_000
_AAC_BITRATE = "256k"
_LEAST_TIMESCALE = 1_000
_MAX_TIMESCALE = 100_000_000

Frames = npt.NDArray[np.uint8] | Iterable[Picture]
"""uint8 RGB [frames, height, width, 3], or the pictures one by one, all of one size."""


def frames_to_mp4_loop(frames: Frames, fps: Fps, *, ffmpeg: Path | None = None) -> bytes:
    """A silent MP4 that loops without a gap: frames / fps seconds, the last frame as long as any other.

    Raises as `write_mp4`.
    """
    with temporary_folder("mp4") as folder:
        target = Path(folder, "loop.mp4")
        write_mp4(target, frames, fps, ffmpeg=ffmpeg)
        return target.read_bytes()


def frames_and_audio_to_mp4(
    frames: Frames, audio: Samples, sample_rate_hz: int, fps: Fps, *, ffmpeg: Path | None = None
) -> bytes:
    """An MP4 with sound, float [samples] or [channels, samples]: mono stays mono, stereo stays stereo.

    Nothing of either is cut: where the audio is longer, the last frame stays until its end. Raises as `write_mp4`.
    """
    sound = _checked_audio(audio, sample_rate_hz)
    with temporary_folder("mp4") as folder:
        track, target = Path(folder, "audio.wav"), Path(folder, "clip.mp4")
        with TrackWriter(track, sample_rate_hz, sound.shape[0]) as writer:
            for start in range(0, sound.shape[1], BLOCK_SAMPLES):
                writer.append(sound[:, start : start + BLOCK_SAMPLES])
        write_mp4(target, frames, fps, audio=track, ffmpeg=ffmpeg)
        return target.read_bytes()


def write_mp4(
    target: Path,
    frames: Frames,
    fps: Fps,
    *,
    audio: Path | None = None,
    tags: Iterable[str] = (),
    ffmpeg: Path | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> None:
    """Encode RGB frames, and the float32 WAV at `audio`, as `target`, which is replaced if it is there.

    An odd side is padded to even by its last row or column. `tags` are ffmpeg's `-metadata` arguments.

    Raises EmptyFrames, EmptyAudio, WrongShape, WrongDtype, WrongValue (see `MediaError`), NotOurWav for other audio
    files, and ExportError (FfmpegMissing, FfmpegFailed, FfmpegTimedOut). An error out of `frames` ends ffmpeg
    and is raised again, so that a caller cancels by it.
    """
    size, pictures = _checked_frames(frames)
    write_planar_mp4(
        target,
        _planar(size, pictures),
        size,
        fps,
        audio=audio,
        tags=tags,
        ffmpeg=ffmpeg,
        timeout_s=timeout_s,
    )


def write_planar_mp4(
    target: Path,
    frames: Iterable[Chunk],
    size: FrameSize,
    fps: Fps,
    *,
    audio: Path | None = None,
    tags: Iterable[str] = (),
    chapters: Path | None = None,
    ffmpeg: Path | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    stop: Stop | None = None,
) -> None:
    """As `write_mp4`, of frames that are planar already (`PlanarFrame.data`); each may be changed for the next.
    `chapters` is the list that `write_chapters` wrote. `stop`, from another thread, ends it: Stopped."""
    if not 0 < fps <= MAX_FPS:
        raise WrongValue(
            f"A video has more than 0 and at most {MAX_FPS} frames a second, not {float(fps):g}."
        )
    least_frames = 1
    if audio is not None:
        track = TrackReader(audio)
        if not track.samples:
            raise EmptyAudio("The audio has no samples.")
        least_frames = math.ceil(Fraction(track.samples, track.rate_hz) * fps)
    program = ffmpeg if ffmpeg is not None else find_ffmpeg()
    partial = target.with_name(f".{target.name}.partial")
    arguments = [
        *_input_arguments(size, fps, audio, chapters),
        *_video_arguments(fps),
        *(_audio_arguments(TrackReader(audio).rate_hz) if audio is not None else ("-an",)),
        *tags,
        *("-movie_timescale", str(_movie_timescale(fps, audio))),
        *("-movflags", "+faststart", "-f", "mp4", f"file:{partial}"),
    ]
    try:
        feed_ffmpeg(
            arguments,
            _with_last_held(frames, size, least_frames),
            ffmpeg=program,
            timeout_s=timeout_s,
            stop=stop,
        )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _with_last_held(frames: Iterable[Chunk], size: FrameSize, least_frames: int) -> Iterator[Chunk]:
    """The frames, and the last of them again until there are `least_frames`."""
    last: Chunk | None = None
    count = 0
    for frame in frames:
        if len(frame) != size.frame_bytes:
            raise WrongShape(f"A planar frame has {size.frame_bytes} bytes, not {len(frame)}.")
        last = frame
        count += 1
        yield frame
    if last is None:
        raise EmptyFrames("The video has no frames.")
    yield from repeat(last, max(0, least_frames - count))


def _input_arguments(size: FrameSize, fps: Fps, audio: Path | None, chapters: Path | None) -> list[str]:
    exact_fps = Fraction(fps)
    rate = f"{exact_fps.numerator}/{exact_fps.denominator}"
    video = [
        *("-protocol_whitelist", "pipe", "-f", "rawvideo", "-pixel_format", "yuv420p"),
        *("-video_size", f"{size.width}x{size.height}", "-framerate", rate, "-i", "pipe:0"),
    ]
    sound = [] if audio is None else ["-protocol_whitelist", "file", "-f", "wav", "-i", f"file:{audio}"]
    listed = None if chapters is None else 1 if audio is None else 2
    return [
        *("-hide_banner", "-nostdin", "-loglevel", "error", "-y"),
        *video,
        *sound,
        *(() if chapters is None else ffmetadata_input(chapters)),
        *("-map", "0:v:0", *(() if audio is None else ("-map", "1:a:0"))),
        *taken_over((), listed),
        # No version strings, no threads whose number depends on the machine: equal input, equal bytes.
        *("-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-threads", "1"),
    ]


def _video_arguments(fps: Fps) -> tuple[str, ...]:
    return (
        # Said of what comes in too: from an unnamed matrix ffmpeg 7 and later would convert.
        *("-vf", "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"),
        *("-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", "-pix_fmt", "yuv420p"),
        *("-g", str(max(1, math.floor(fps * MAX_GOP_S)))),
        *("-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv"),
        *("-chroma_sample_location", "center"),
    )


def _audio_arguments(rate_hz: int) -> tuple[str, ...]:
    return ("-c:a", "aac", "-b:a", _AAC_BITRATE, "-ar", str(_encoded_rate_hz(rate_hz)))


def _movie_timescale(fps: Fps, audio: Path | None) -> int:
    """Units of a second in which the durations of frames and samples are whole, so that none is cut."""
    frames = Fraction(fps).numerator
    if audio is None:
        return frames * -(-_LEAST_TIMESCALE // frames)
    rate_hz = _encoded_rate_hz(TrackReader(audio).rate_hz)
    exact = math.lcm(frames, rate_hz)
    return exact if exact <= _MAX_TIMESCALE else rate_hz


def _encoded_rate_hz(rate_hz: int) -> int:
    return rate_hz if rate_hz in AAC_RATES_HZ else _OTHER_RATES_HZ


def _checked_frames(frames: Frames) -> tuple[FrameSize, Iterator[Picture]]:
    if isinstance(frames, np.ndarray):
        if frames.dtype != np.uint8:
            raise WrongDtype(f"Frames must hold 8-bit colours (uint8), not {frames.dtype}.")
        if frames.ndim != 4 or frames.shape[3] != 3:
            raise WrongShape(f"Frames must be [frames, height, width, 3], not {list(frames.shape)}.")
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None or not first.size:
        raise EmptyFrames("The video has no frames.")
    return padded_size(first), chain([first], pictures)


def _planar(size: FrameSize, pictures: Iterator[Picture]) -> Iterator[Chunk]:
    frame = PlanarFrame(size)
    unpadded: tuple[int, ...] | None = None
    for picture in pictures:
        check_picture(picture)
        if unpadded is not None and picture.shape != unpadded:
            raise WrongShape(
                f"Every frame must be {list(unpadded)} as the first one, not {list(picture.shape)}."
            )
        unpadded = picture.shape
        frame.fill(picture)
        yield frame.data


def _checked_audio(audio: Samples, rate_hz: int) -> Samples:
    if audio.dtype not in (np.float32, np.float64):
        raise WrongDtype(f"Audio must hold float samples within ±1, not {audio.dtype}.")
    if not audio.size:
        raise EmptyAudio("The audio has no samples.")
    sound = audio[np.newaxis] if audio.ndim == 1 else audio
    if sound.ndim != 2 or sound.shape[0] not in (1, 2):
        raise WrongShape(f"Audio must be [samples] or [1 or 2 channels, samples], not {list(audio.shape)}.")
    if not np.isfinite(sound).all():
        raise WrongValue("The audio has samples that are no numbers.")
    if not 1 <= rate_hz <= 192_000:
        raise WrongValue(f"The audio's rate must be 1 to 192000 Hz, not {rate_hz}.")
    return np.clip(sound, -1.0, 1.0).astype(np.float32)

"""An order as a video: the track as a waveform or a spectrogram, played through."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from deployments.audio.track import TrackReader
from deployments.export.formats import FORMATS, AudioEncoding, encode_arguments
from deployments.export.muxer import write_planar_mp4
from deployments.export.picture import read_picture
from deployments.export.plan import VideoOptions
from deployments.export.source import SourceLevels
from deployments.export.tags import tag_arguments
from deployments.export.waveform_frames import PRESETS, Scene, View, waveform_frames
from deployments.stages.export.audio_file import (
    Encoder,
    MadeFile,
    Tools,
    chapters_of,
    markers_of,
    write_mastered,
)
from deployments.stages.export.order import ExportOrder
from deployments.stages.export.sound import Progress, Sounds
from deployments.stopping import Stop, in_thread

_SOUND_DONE = 0.3
_TIMED_S = 60.0
"""So much video may take as long as any other file; a longer one longer, in proportion."""


async def write_video_file(
    sounds: Sounds, order: ExportOrder, tools: Tools, cover: bytes | None, folder: Path, on_progress: Progress
) -> MadeFile:
    """Raises ExportError, MediaError, BlobCorrupt, StoreError, OSError. Cancelling ends ffmpeg."""
    options = order.options
    look = options.video or VideoOptions()
    source, target = folder / "source.wav", folder / f"file{options.form.suffix}"
    levels, report = await _write_sound(
        sounds, order, source, tools, folder, lambda done: on_progress(done * _SOUND_DONE)
    )
    track = await asyncio.to_thread(TrackReader, source)
    frames_in_all = math.ceil(Fraction(track.samples, track.rate_hz) * look.fps)
    loop = asyncio.get_running_loop()

    def show(count: int) -> None:
        done = _SOUND_DONE + (1.0 - _SOUND_DONE) * count / frames_in_all
        loop.call_soon_threadsafe(on_progress, done)

    def work(stop: Stop) -> None:
        scene = Scene(
            PRESETS[look.size],
            look.fps,
            View(look.picture),
            look.title,
            tuple(marker.at / options.rate_hz for marker in markers_of(order)[1:]),
            None if cover is None else read_picture(cover),
        )

        def frames() -> Iterator[memoryview]:
            for count, frame in enumerate(waveform_frames(track, scene), start=1):
                stop.check()
                yield frame
                if count % look.fps == 0:
                    show(count)

        chapters = None if look.loop else chapters_of(order, source, folder)
        write_planar_mp4(
            target,
            frames(),
            scene.size,
            look.fps,
            audio=None if look.loop else source,
            tags=() if options.tags is None else tag_arguments(options.tags, options.form.tag_style),
            chapters=chapters,
            ffmpeg=tools.ffmpeg,
            timeout_s=tools.timeout_s * max(1.0, track.duration_s / _TIMED_S),
            stop=stop,
        )
        source.unlink()

    await in_thread(work)
    return MadeFile(target, track.samples, track.rate_hz, levels, report)


async def _write_sound(
    sounds: Sounds, order: ExportOrder, source: Path, tools: Tools, folder: Path, on_progress: Progress
) -> tuple[SourceLevels, dict[str, Any] | None]:
    """The source of the video's sound. Where its peaks have a ceiling, the sound alone is encoded first, to find
    out what the encoder adds to them: that costs little beside the pictures."""
    options = order.options
    if not options.is_mastered:
        return await sounds.write_source(source, on_progress), None
    sound = FORMATS["m4a"]
    encoding = AudioEncoding(sound, options.rate_hz, options.channels)
    probe = folder / f"probe{sound.suffix}"

    async def encode(path: Path) -> None:
        await tools.run(encode_arguments(encoding, path, probe))

    encoder = Encoder(encoding, probe, encode)
    return await write_mastered(sounds, order, encoder, source, tools, folder, on_progress)

"""Deliver tracks in another format than the one in which they are worked on.

Integers and MP3 end at full scale. A track that is louder gets less gain, which its facts tell (`gain_db`):
nothing is clipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deployments.audio.levels import peak_dbfs
from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader
from deployments.export.ffmpeg import run_ffmpeg
from deployments.export.formats import FLOAT_BITS, AudioEncoding, encode_arguments, format_named
from deployments.export.gain import fitting_gain_db
from deployments.export.mp3_length import correct_mp3_length
from deployments.export.shaping import Shape, Shaper
from deployments.export.source import SourceWriter
from deployments.export.tags import Tags
from deployments.stages.pipeline.blocks import Progress, blocks_of
from deployments.stages.pipeline.workspace import MIX, Workspace
from storage.domain.model import Track

VERSION = 3
FLOAT_WAV = "wav"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The format that tracks are given out in, an audio format's name. `bit_depth` None: 32-bit float for WAV,
    else the format's own default. Raises WrongValue for another format, and for a depth that it does not have."""

    format: str = FLOAT_WAV
    bit_depth: int | None = None

    def __post_init__(self) -> None:
        if self.format == FLOAT_WAV and self.bit_depth is None:
            object.__setattr__(self, "bit_depth", FLOAT_BITS)
        form = format_named(self.format)
        AudioEncoding(form, form.rate_for(44_100), 2, self.bit_depth)

    @property
    def is_as_worked_on(self) -> bool:
        return self.format == FLOAT_WAV and self.bit_depth == FLOAT_BITS


AS_WORKED_ON = Delivery()


class EncodeStage:
    """Satisfies `PipelineStage`: every track but the mix as a file of its own, under its own name."""

    name = "encode"
    share = 0.5

    def __init__(self, delivery: Delivery, ffmpeg: Path, timeout_s: float) -> None:
        self._delivery = delivery
        self._ffmpeg = ffmpeg
        self._timeout_s = timeout_s

    @property
    def params(self) -> Mapping[str, Any]:
        return {
            "format": self._delivery.format,
            "bit_depth": self._delivery.bit_depth,
            "version": VERSION,
        }

    def missing(self, names: Sequence[str]) -> str | None:
        return None if any(name != MIX for name in names) else "there is no track to encode"

    async def run(self, workspace: Workspace, on_progress: Progress) -> Sequence[Track]:
        """Raises ExportError. Cancelling kills ffmpeg."""
        names = [name for name in workspace.names if name != MIX]
        made = []
        for count, name in enumerate(names, 1):
            made.append(await self._encode(workspace, name))
            workspace.drop(name)
            on_progress(count / len(names))
        return made

    async def _encode(self, workspace: Workspace, name: str) -> Track:
        reader = await workspace.read(name)
        form = format_named(self._delivery.format)
        rate_hz = form.rate_for(reader.rate_hz)
        encoding = AudioEncoding(form, rate_hz, reader.channels, self._delivery.bit_depth)
        gain_db = 0.0
        if encoding.bit_depth != FLOAT_BITS:
            gain_db = fitting_gain_db(await asyncio.to_thread(_peak_dbfs, reader))
        source = workspace.folder / f"{name}.source.wav"
        shaper = Shaper(Shape(rate_hz), reader.rate_hz, reader.channels, reader.samples)
        with SourceWriter(source, rate_hz, reader.channels, encoding.bit_depth, gain_db) as writer:

            def push(samples: Samples) -> None:
                writer.append(shaper.push(samples))

            async for block in blocks_of(reader):
                await asyncio.to_thread(push, block)
            for block in shaper.finish():
                await asyncio.to_thread(writer.append, block)
            await asyncio.to_thread(writer.close)
        target = workspace.folder / f"{name}.encoded{form.suffix}"
        await run_ffmpeg(
            encode_arguments(encoding, source, target, tags=Tags(title=name)),
            ffmpeg=self._ffmpeg,
            timeout_s=self._timeout_s,
        )
        if form.name == "mp3":
            await asyncio.to_thread(correct_mp3_length, target, TrackReader(source).samples)
        source.unlink()
        facts = {"bit_depth": encoding.bit_depth, "bitrate_kbps": encoding.bitrate_kbps, "gain_db": gain_db}
        said = {key: value for key, value in facts.items() if value is not None}
        track = await workspace.store_file(name, target, form.name, said)
        target.unlink()
        return replace(track, sample_rate_hz=rate_hz)


def _peak_dbfs(reader: TrackReader) -> float:
    return max((peak_dbfs(block) for block in reader.blocks()), default=0.0)

"""An order as one audio file: rendered, mastered, encoded, and measured again as a listener decodes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deployments.audio.track import TrackReader
from deployments.export.chapters import write_chapters
from deployments.export.ffmpeg import run_ffmpeg
from deployments.export.formats import AudioEncoding, CoverPlace, decode_arguments, encode_arguments
from deployments.export.mastering import CEILINGS_DBTP, LoudnessReport, master, measure_blocks
from deployments.export.mp3_length import correct_mp3_length
from deployments.export.picture import jpeg_size
from deployments.export.source import SourceLevels, SourceWriter
from deployments.export.tags import Tags, write_cover
from deployments.export.wav_chunks import (
    Broadcast,
    Marker,
    acid_chunk,
    append_chunks,
    bext_chunk,
    ixml_chunk,
    marker_chunks,
)
from deployments.stages.export.order import ExportOrder
from deployments.stages.export.sound import Progress, Sounds, raw_blocks
from deployments.stages.watch import watch
from deployments.stopping import Stop, in_thread

MAX_LOSSY_TRIES = 3
_MARGIN_DB = 0.05
_RENDERED, _MASTERED = 0.5, 0.8


@dataclass(frozen=True, slots=True)
class Tools:
    """The ffmpeg to use, and how long one run of it may take."""

    ffmpeg: Path
    timeout_s: float

    async def run(self, arguments: list[str]) -> None:
        """Raises ExportError. Cancelling kills it."""
        with watch().stage("encode"):
            await run_ffmpeg(arguments, ffmpeg=self.ffmpeg, timeout_s=self.timeout_s)


@dataclass(frozen=True, slots=True)
class Encoder:
    """Makes `target` of a source; encodings that are lossy are decoded again to be measured."""

    encoding: AudioEncoding
    target: Path
    encode: Callable[[Path], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file of `samples` per channel at `rate_hz`. `report` is what a musician wants to know of its sound."""

    path: Path
    samples: int
    rate_hz: int
    levels: SourceLevels
    report: dict[str, Any] | None = None


async def write_audio_file(
    sounds: Sounds, order: ExportOrder, tools: Tools, cover: bytes | None, folder: Path, on_progress: Progress
) -> MadeFile:
    """Raises ExportError, MediaError, BlobCorrupt, StoreError, OSError."""
    options = order.options
    encoding = AudioEncoding(
        options.form, options.rate_hz, options.channels, options.bit_depth, options.bitrate
    )
    target = folder / f"file{options.form.suffix}"
    picture = await asyncio.to_thread(_write_cover, options.form.cover, cover, folder)

    async def encode(source: Path) -> None:
        chapters = await asyncio.to_thread(chapters_of, order, source, folder)
        await tools.run(
            encode_arguments(encoding, source, target, tags=options.tags, cover=picture, chapters=chapters)
        )

    source = folder / "source.wav"
    report: dict[str, Any] | None = None
    if options.is_mastered:
        levels, report = await write_mastered(
            sounds, order, Encoder(encoding, target, encode), source, tools, folder, on_progress
        )
    else:
        levels = await sounds.write_source(source, lambda done: on_progress(done * _MASTERED))
        await encode(source)
    samples = (await asyncio.to_thread(TrackReader, source)).samples
    await asyncio.to_thread(source.unlink)
    await asyncio.to_thread(_finish, target, order, samples, report)
    on_progress(1.0)
    return MadeFile(target, samples, options.rate_hz, levels, report)


async def write_mastered(
    sounds: Sounds,
    order: ExportOrder,
    encoder: Encoder,
    source: Path,
    tools: Tools,
    folder: Path,
    on_progress: Progress,
) -> tuple[SourceLevels, dict[str, Any]]:
    """Write the mastered `source` and encode it, until what a decoder makes of it keeps the ceiling too.
    A lossy encoder adds to peaks: they are limited to a lower ceiling by what it added, a few times at most."""
    options = order.options
    shaped, mastered = folder / "shaped.wav", folder / "mastered.wav"
    await sounds.write_shaped(shaped, lambda done: on_progress(done * _RENDERED))
    aim_dbtp = options.ceiling_dbtp
    for tries in range(1, MAX_LOSSY_TRIES + 1):

        def work(stop: Stop, ceiling_dbtp: float = aim_dbtp) -> tuple[LoudnessReport, SourceLevels]:
            report = master(
                shaped,
                mastered,
                target_lufs=options.loudness_lufs,
                ceiling_dbtp=ceiling_dbtp,
                on_block=stop.check,
            )
            return report, _last_steps(mastered, source, options.bit_depth, stop)

        report, levels = await in_thread(work)
        on_progress(_MASTERED)
        await encoder.encode(source)
        said = {**_rounded(asdict(report)), "ceiling_dbtp": options.ceiling_dbtp, "decoded": None}
        if options.form.lossless:
            break
        decoded = await measure_file(encoder.target, encoder.encoding, tools, folder)
        said["decoded"] = decoded
        over_db = decoded["true_peak_dbtp"] - options.ceiling_dbtp
        if over_db <= 0.0 or tries == MAX_LOSSY_TRIES:
            break
        aim_dbtp = max(CEILINGS_DBTP[0], aim_dbtp - over_db - _MARGIN_DB)
    for path in (shaped, mastered):
        await asyncio.to_thread(path.unlink)
    return levels, said


async def measure_file(path: Path, encoding: AudioEncoding, tools: Tools, folder: Path) -> dict[str, Any]:
    """What a listener's decoder makes of a file: its loudness, its true peak, and what it would cut."""
    raw = folder / "decoded.raw"
    await tools.run(decode_arguments(path, raw))

    def work(stop: Stop) -> dict[str, Any]:
        blocks = raw_blocks(raw, encoding.channels)
        loudness, clipped = measure_blocks(blocks, encoding.rate_hz, encoding.channels, stop.check)
        raw.unlink()
        return _rounded(
            {
                "lufs": loudness.integrated_lufs,
                "true_peak_dbtp": loudness.true_peak_dbtp,
                "clipped_samples": clipped,
            }
        )

    return await in_thread(work)


def markers_of(order: ExportOrder) -> list[Marker]:
    """Where the nodes begin in the file; the first one that sounds in it begins with it."""
    start, _ = order.region
    rate_hz = order.options.rate_hz
    return [
        Marker(round((max(at, start) - start) * rate_hz / order.rate_hz), node.name or f"Node {number}")
        for number, (node, at, sounds) in enumerate(
            zip(order.nodes, order.starts[:-1], order.sounding, strict=True), start=1
        )
        if sounds
    ]


def chapters_of(order: ExportOrder, source: Path, folder: Path) -> Path | None:
    """The chapters of the file that is made of `source`, for ffmpeg; None where it has none."""
    if order.options.tags is None:
        return None
    track, place = TrackReader(source), order.options.form.chapters
    return write_chapters(place, markers_of(order), track.samples, track.rate_hz, folder)


def _last_steps(mastered: Path, source: Path, bit_depth: int | None, stop: Stop) -> SourceLevels:
    track = TrackReader(mastered)
    with SourceWriter(source, track.rate_hz, track.channels, bit_depth) as writer:
        for block in track.blocks():
            stop.check()
            writer.append(block)
        return writer.close()


def _write_cover(place: CoverPlace, jpeg: bytes | None, folder: Path) -> Path | None:
    if jpeg is None or place is CoverPlace.NONE:
        return None
    return write_cover(jpeg, *jpeg_size(jpeg), folder, as_comment=place is CoverPlace.COMMENT)


def _finish(path: Path, order: ExportOrder, samples: int, report: dict[str, Any] | None) -> None:
    """What ffmpeg does not write: an MP3's exact length, a WAV's chunks."""
    if order.options.format == "mp3":
        correct_mp3_length(path, samples)
    elif order.options.form.wav_chunks and order.options.tags is not None:
        append_chunks(path, _wav_chunks(order, samples, order.options.tags, report))


def _wav_chunks(
    order: ExportOrder, samples: int, tags: Tags, report: dict[str, Any] | None
) -> list[tuple[bytes, bytes]]:
    options = order.options
    start, _ = order.region
    said = Broadcast(
        tags.title,
        time_reference_samples=round(start * options.rate_hz / order.rate_hz),
        loudness_lufs=None if report is None else report["output_lufs"],
        true_peak_dbtp=None if report is None else report["output_true_peak_dbtp"],
    )
    chunks = [bext_chunk(said), *marker_chunks(markers_of(order))]
    if tags.bpm is not None:
        chunks.append(acid_chunk(tags.bpm, max(1, round(samples / options.rate_hz * tags.bpm / 60.0))))
    chunks.append(ixml_chunk({"PROJECT": tags.title, "NOTE": tags.as_json()}))
    return chunks


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}

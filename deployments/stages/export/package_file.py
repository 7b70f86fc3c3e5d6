"""An order as a package for a digital audio workstation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployments.audio.levels import decibels_of_power, peak_dbfs
from deployments.audio.track import TrackReader
from deployments.export.daw.grid import NodeBeats, line_beats
from deployments.export.daw.package import Contents, LineClip, RawTake, write_package
from deployments.export.daw.tempo import TempoMap, constant_tempo, tempo_map
from deployments.export.gain import fitting_gain_db, gain_factor
from deployments.export.media_errors import WrongValue
from deployments.export.source import SourceLevels
from deployments.stages.export.audio_file import MadeFile, markers_of
from deployments.stages.export.order import ExportOrder
from deployments.stages.export.sound import Progress, Sounds, convert, write_take
from deployments.stages.render import Lines
from deployments.stopping import Stop, in_thread
from storage.repositories.blobs import Blobs

MIN_CONFIDENCE = 0.5
"""Of a grid that a tempo map is made of."""

_RENDERED = 0.7


async def write_package_file(
    sounds: Sounds, order: ExportOrder, blobs: Blobs, tenant: str, folder: Path, on_progress: Progress
) -> MadeFile:
    """Raises MediaError, BlobCorrupt, StoreError, OSError."""
    options = order.options
    target, lines = folder / f"file{options.form.suffix}", Lines(blobs)
    names = [stem.name for stem in order.nodes[0].stems]
    parts = 1 + len(names) + len(order.takes)

    def part(index: int) -> Progress:
        return lambda done: on_progress(_RENDERED * (index + done) / parts)

    mix = folder / "mix.wav"
    await sounds.write_line(folder / "raw.wav", part(0))
    await convert(folder / "raw.wav", mix, options.rate_hz)
    stems: dict[str, Path] = {}
    for count, name in enumerate(names, start=1):
        stems[name] = folder / f"stem-{count}.wav"
        await sounds.write_stem(name, folder / "raw.wav", part(count))
        await convert(folder / "raw.wav", stems[name], options.rate_hz)
    takes = []
    start, end = order.region
    for count, take in enumerate(order.takes, start=1):
        path = folder / f"take-{count}.wav"
        await write_take(lines, tenant, take.audio, order, max(0, start - take.at), path, folder)
        at = round(max(0, take.at - start) * options.rate_hz / order.rate_hz)
        takes.append(RawTake(take.name, path, at))
        part(len(names) + count)(1.0)
    documents: Mapping[str, Any] = {}
    if order.documents is not None:
        documents = json.loads(await blobs.get(tenant, order.documents))
    tempo = await _tempo(order, blobs, tenant, (end - start) / order.rate_hz)

    def work(stop: Stop) -> MadeFile:
        track = TrackReader(mix)
        peak = max(_peak(path, stop) for path in (mix, *stems.values(), *(take.track for take in takes)))
        gain_db = fitting_gain_db(peak)
        marks = markers_of(order)
        edges = [*(marker.at for marker in marks), track.samples]
        clips = [
            LineClip(marker.name, at, until)
            for marker, at, until in zip(marks, edges[:-1], edges[1:], strict=True)
        ]
        tags = options.tags
        write_package(
            target,
            Contents(
                title="" if tags is None else tags.title,
                mix=mix,
                clips=clips,
                tempo=tempo,
                stems=stems,
                takes=takes,
                key="" if tags is None else tags.key,
                licence=order.licence,
                provenance=documents.get("provenance", {}),
                chain=documents.get("chain", {}),
                gain=gain_factor(gain_db),
                notes=_notes(order, gain_db, tempo),
            ),
            folder,
            on_block=stop.check,
        )
        levels = SourceLevels(_peak(mix, stop) + gain_db, 0)
        return MadeFile(target, track.samples, track.rate_hz, levels, None)

    made = await in_thread(work)
    on_progress(1.0)
    return made


async def _tempo(order: ExportOrder, blobs: Blobs, tenant: str, duration_s: float) -> TempoMap:
    """Through the beats that were found; at a constant tempo where none are sure."""
    start, _ = order.region
    starts = order.starts
    nodes, meters = [], []
    for node, at, until in zip(order.nodes, starts[:-1], starts[1:], strict=True):
        at_s, until_s = ((sample - start) / order.rate_hz for sample in (at, until))
        beats: tuple[float, ...] = ()
        if node.analysis is not None:
            rhythm = json.loads(await blobs.get(tenant, node.analysis))["rhythm"]
            if rhythm["confidence"] >= MIN_CONFIDENCE:
                beats = tuple(at_s + beat_s for beat_s in rhythm["beats_s"])
                meters.append(rhythm["meter"])
        nodes.append(NodeBeats(max(0.0, at_s), until_s, beats))
    beats_per_bar = next((int(meter) for meter in meters if meter), 4)
    try:
        return tempo_map(line_beats(nodes), duration_s, beats_per_bar)
    except WrongValue:  # no tempo has such steps
        return constant_tempo(duration_s, beats_per_bar=beats_per_bar)


def _notes(order: ExportOrder, gain_db: float, tempo: TempoMap) -> list[str]:
    notes = []
    if gain_db < 0.0:
        notes.append(f"All audio is {-gain_db:.2f} dB softer than in the chain, so that nothing is clipped.")
    if not order.nodes[0].stems:
        notes.append("There are no stems: take every node of the line apart first, all with the same stems.")
    if all(node.analysis is None for node in order.nodes):
        notes.append(f"No tempo was found: the map holds {tempo.bpm_of(0):g} bpm throughout.")
    return notes


def _peak(path: Path, stop: Stop) -> float:
    loudest = decibels_of_power(0.0)
    for block in TrackReader(path).blocks():
        stop.check()
        loudest = max(loudest, peak_dbfs(block))
    return loudest

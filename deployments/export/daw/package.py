"""The package itself: clips cut from the rendered line, raw takes, stems, mix and project files in one ZIP.

All audio is 24-bit BWF. Clips butt-joined are the mix, and the stems added up are the mix, to the last bit.
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from deployments.audio.track import BLOCK_SAMPLES, TrackReader
from deployments.export.daw.bwf import FULL_SCALE, BwfWriter, Integers, to_24_bit
from deployments.export.daw.dawproject import metadata_xml, project_xml
from deployments.export.daw.midi import write_midi
from deployments.export.daw.readme import readme_text
from deployments.export.daw.reaper import reaper_project
from deployments.export.daw.session import Session, SessionClip, SessionTrack
from deployments.export.daw.tempo import TempoMap
from deployments.export.media_errors import EmptyAudio, WrongValue
from deployments.export.wav_chunks import MAX_MARKERS, Broadcast, Marker, ascii_text

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9 ._#+-]+")
_MAX_NAME_CHARS = 60
_RESIDUAL = "residual"


@dataclass(frozen=True, slots=True)
class LineClip:
    """A node's stretch of the line, from sample `start` up to `end`."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RawTake:
    """A take as it was made: a float32 WAV of the line's rate and channels, from sample `at` on."""

    name: str
    track: Path
    at: int


@dataclass(frozen=True, slots=True)
class Contents:
    """`mix` is the rendered line and each stem as long as it: float32 WAVs. `clips` follow each other from the
    first sample of the line to its last. `provenance` and `chain` become JSON files. `gain` is of all audio alike;
    `notes` are sentences for the README.
    """

    title: str
    mix: Path
    clips: Sequence[LineClip]
    tempo: TempoMap
    stems: Mapping[str, Path] = field(default_factory=dict)
    takes: Sequence[RawTake] = ()
    key: str = ""
    licence: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    chain: Mapping[str, Any] = field(default_factory=dict)
    gain: float = 1.0
    notes: Sequence[str] = ()


def _nothing() -> None:
    return None


def write_package(
    target: Path,
    contents: Contents,
    folder: Path | None = None,
    *,
    on_block: Callable[[], None] = _nothing,
) -> None:
    """Write the ZIP `target`; `folder` is where its files lie meanwhile. Equal contents give equal bytes.
    `on_block` is called before each block: an error out of it ends the work.

    Raises EmptyAudio; WrongValue for clips that do not make up the line, stems or takes of another format or
    length, too many clips, and stems whose difference from the mix is over full scale; NotOurWav, OSError. A
    target is there whole or not at all.
    """
    with tempfile.TemporaryDirectory(prefix="segue-daw-", dir=folder) as name:
        root = Path(name)
        session = _write_files(root, contents, _Source(contents.gain, on_block))
        _write_projects(root, contents, session)
        partial = target.with_name(f".{target.name}.partial")
        try:
            _zip(root, partial, on_block)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Source:
    """How tracks are read: with a gain, and looked in on before each block."""

    gain: float
    on_block: Callable[[], None]

    def read(self, track: TrackReader, at: int, count: int) -> Integers:
        self.on_block()
        samples = track.read(at, count)
        return to_24_bit(samples if self.gain == 1.0 else samples * np.float32(self.gain))


def _write_files(root: Path, contents: Contents, source: _Source) -> Session:
    mix = TrackReader(contents.mix)
    _check(contents, mix)
    for part in ("clips", "takes", "stems"):
        (root / part).mkdir()
    markers = [Marker(clip.start, clip.name) for clip in contents.clips]
    _write_stretch(source, root / "mix.wav", mix, 0, mix.samples, 0, contents.title, markers)
    clip_names = _file_names([clip.name for clip in contents.clips])
    clips = []
    for clip, name in zip(contents.clips, clip_names, strict=True):
        path = f"clips/{name}"
        _write_stretch(source, root / path, mix, clip.start, clip.end, clip.start, clip.name)
        clips.append(SessionClip(clip.name, path, clip.start, clip.end - clip.start))
    tracks = [SessionTrack("Committed line", clips)]
    take_names = _file_names([take.name for take in contents.takes])
    for take, name in zip(contents.takes, take_names, strict=True):
        track, path = TrackReader(take.track), f"takes/{name}"
        _write_stretch(source, root / path, track, 0, track.samples, take.at, take.name)
        tracks.append(
            SessionTrack(take.name, [SessionClip(take.name, path, take.at, track.samples)], muted=True)
        )
    for name, path in _write_stems(root, contents, mix, source):
        tracks.append(
            SessionTrack(name, [SessionClip(name, path, 0, mix.samples)], muted=True, group="Stems")
        )
    return Session(
        title=contents.title,
        rate_hz=mix.rate_hz,
        channels=mix.channels,
        samples=mix.samples,
        tempo=contents.tempo,
        tracks=tracks,
        markers=[(clip.start, clip.name) for clip in contents.clips],
    )


def _check(contents: Contents, mix: TrackReader) -> None:
    if not mix.samples:
        raise EmptyAudio("The line has no samples.")
    if len(contents.clips) > MAX_MARKERS:
        raise WrongValue(f"A package holds at most {MAX_MARKERS} clips, not {len(contents.clips)}.")
    edges = [0, *(clip.end for clip in contents.clips)]
    starts = [clip.start for clip in contents.clips]
    rising = all(before < after for before, after in pairwise(edges))
    if not starts or starts != edges[:-1] or edges[-1] != mix.samples or not rising:
        raise WrongValue("The clips do not make up the line.")
    for name, path in contents.stems.items():
        stem = TrackReader(path)
        if (stem.rate_hz, stem.channels, stem.samples) != (mix.rate_hz, mix.channels, mix.samples):
            raise WrongValue(
                f"The stem {name[:40]!r} has another rate, length or number of channels than the mix."
            )
    for take in contents.takes:
        track = TrackReader(take.track)
        if (track.rate_hz, track.channels) != (mix.rate_hz, mix.channels) or not track.samples or take.at < 0:
            raise WrongValue(f"The take {take.name[:40]!r} does not fit the line.")


def _write_stretch(
    source: _Source,
    path: Path,
    track: TrackReader,
    start: int,
    end: int,
    time_reference: int,
    description: str,
    markers: Sequence[Marker] = (),
) -> None:
    said = Broadcast(description, time_reference_samples=time_reference)
    with BwfWriter(path, track.rate_hz, track.channels, said, markers) as writer:
        for at in range(start, end, BLOCK_SAMPLES):
            writer.append(source.read(track, at, min(BLOCK_SAMPLES, end - at)))


def _write_stems(root: Path, contents: Contents, mix: TrackReader, source: _Source) -> list[tuple[str, str]]:
    """The stems, and their names and paths. What rounding leaves goes into the last one; where they miss more of
    the mix than that, the stem `residual` holds all of it, which is made if there is none."""
    if not contents.stems:
        return []
    stems = {name: TrackReader(path) for name, path in contents.stems.items()}
    # Each stem is rounded by half a step at most, and the mix too.
    rounding = len(stems) / 2 + 0.5
    greatest = max(
        int(np.abs(_missing(source, mix, stems, at)).max()) for at in range(0, mix.samples, BLOCK_SAMPLES)
    )
    if greatest >= 2 * FULL_SCALE:
        raise WrongValue("The stems are too loud to make up the mix in 24 bits.")
    apart = greatest > rounding
    names = [*stems, *([_RESIDUAL] if apart and _RESIDUAL not in stems else [])]
    corrected = _RESIDUAL if apart else names[-1]
    listed = []
    for name, file_name in zip(names, _file_names(names), strict=True):
        path = f"stems/{file_name}"
        with BwfWriter(root / path, mix.rate_hz, mix.channels, Broadcast(name)) as writer:
            for at in range(0, mix.samples, BLOCK_SAMPLES):
                count = min(BLOCK_SAMPLES, mix.samples - at)
                wanted = np.zeros((mix.channels, count), np.int32)
                if name in stems:
                    wanted = source.read(stems[name], at, count)
                if name == corrected:
                    wanted = wanted + _missing(source, mix, stems, at)
                    if wanted.min() < -FULL_SCALE or wanted.max() >= FULL_SCALE:
                        raise WrongValue("The stems are too loud to make up the mix in 24 bits.")
                writer.append(wanted)
        listed.append((name, path))
    return listed


def _missing(source: _Source, mix: TrackReader, stems: Mapping[str, TrackReader], at: int) -> Integers:
    count = min(BLOCK_SAMPLES, mix.samples - at)
    missing = source.read(mix, at, count)
    for stem in stems.values():
        missing = missing - source.read(stem, at, count)
    return missing


def _write_projects(root: Path, contents: Contents, session: Session) -> None:
    markers = [(session.seconds(at), name) for at, name in session.markers]
    project = root / "line.dawproject"
    with zipfile.ZipFile(project, "w") as archive:
        _add(archive, "project.xml", project_xml(session))
        _add(archive, "metadata.xml", metadata_xml(contents.title, contents.licence))
        for clip in [clip for track in session.tracks for clip in track.clips]:
            _add(archive, clip.path, root / clip.path)
    (root / "line.rpp").write_text(reaper_project(session), encoding="utf-8")
    (root / "tempo.mid").write_bytes(
        write_midi(contents.tempo, markers, title=contents.title, key=contents.key)
    )
    (root / "README.txt").write_text(readme_text(session, contents.licence, contents.notes), encoding="utf-8")
    for name, values in (("provenance.json", contents.provenance), ("chain.json", contents.chain)):
        (root / name).write_text(json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _zip(root: Path, target: Path, on_block: Callable[[], None]) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            on_block()
            _add(archive, path.relative_to(root).as_posix(), path)


def _add(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> None:
    """Stored, without the time of day: equal files are equal bytes."""
    info = zipfile.ZipInfo(name, _ZIP_DATE)
    with archive.open(info, "w", force_zip64=isinstance(content, Path)) as member:
        if isinstance(content, bytes):
            member.write(content)
            return
        with content.open("rb") as file:
            while block := file.read(2**20):
                member.write(block)


def _file_names(names: Sequence[str]) -> list[str]:
    """File names that every system takes, numbered in order: slashes and emoji go, none is twice."""
    digits = len(str(len(names)))
    plain = (
        _NOT_IN_NAMES.sub("_", ascii_text(name)).strip(" ._")[:_MAX_NAME_CHARS].rstrip(" .") for name in names
    )
    return [f"{number:0{digits}d} {name or 'untitled'}.wav" for number, name in enumerate(plain, start=1)]

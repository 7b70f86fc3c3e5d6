"""The frames of a video that shows a track being played: waveform or spectrogram, playhead, seams, title, cover.

Three pictures are painted once and converted once: nothing played yet, all played, and the playhead everywhere. A
frame is the one before with a few columns copied from one of them, so a video costs little more than its encoding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from deployments.audio.track import TrackReader
from deployments.export.lettering import letter
from deployments.export.media_errors import EmptyAudio, WrongValue
from deployments.export.muxer import MAX_FPS, Fps
from deployments.export.picture import fill_frame
from deployments.export.planar import FrameSize, Picture, PlanarFrame, to_planar
from deployments.export.spectrum import envelope, spectrogram

PRESETS = {
    "1920x1080": FrameSize(1920, 1080),
    "1280x720": FrameSize(1280, 720),
    "1080x1920": FrameSize(1080, 1920),
    "1080x1080": FrameSize(1080, 1080),
    "1080x1350": FrameSize(1080, 1350),
}
"""YouTube, a small one, Shorts and Reels, a square, a portrait post."""

DEFAULT_FPS = 30
MAX_SEAMS = 9_999

Colour = tuple[int, int, int]


class View(StrEnum):
    WAVEFORM = "waveform"
    SPECTROGRAM = "spectrogram"


@dataclass(frozen=True, slots=True)
class Palette:
    background: Colour = (16, 18, 24)
    unplayed: Colour = (92, 98, 112)
    played: Colour = (255, 140, 66)
    seam: Colour = (120, 200, 255)
    playhead: Colour = (255, 255, 255)
    text: Colour = (240, 240, 244)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a video shows. `seams_s` are times in the track; `cover` is RGB [height, width, 3].

    Raises WrongValue for a rate that no video has, too many seams and seams that are no times.
    """

    size: FrameSize
    fps: Fps = DEFAULT_FPS
    view: View = View.WAVEFORM
    title: str = ""
    seams_s: Sequence[float] = ()
    cover: Picture | None = None
    palette: Palette = field(default_factory=Palette)

    def __post_init__(self) -> None:
        if not 0 < self.fps <= MAX_FPS:
            raise WrongValue(f"A video has more than 0 and at most {MAX_FPS} frames a second.")
        if len(self.seams_s) > MAX_SEAMS:
            raise WrongValue(f"At most {MAX_SEAMS} seams can be marked in a video, not {len(self.seams_s)}.")
        if not all(math.isfinite(seam_s) and seam_s >= 0 for seam_s in self.seams_s):
            raise WrongValue("A seam's time must be 0 seconds or more.")


def waveform_frames(track: TrackReader, scene: Scene) -> Iterator[memoryview]:
    """Planar frames of `scene.size` for as long as the track lasts, each one changed for the next.

    Frame i shows the moment i / fps. Equal tracks and scenes give equal frames. Raises EmptyAudio.
    """
    if not track.samples:
        raise EmptyAudio("The audio has no samples.")
    pictures = _paint(track, scene)
    return _played(pictures, track, scene)


@dataclass(frozen=True, slots=True)
class _Band:
    """Where the track is shown. Sides are even, so that columns of chroma are whole."""

    left: int
    top: int
    width: int
    height: int

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.width)


@dataclass(frozen=True, slots=True)
class _Pictures:
    unplayed: PlanarFrame
    played: PlanarFrame
    playhead: PlanarFrame
    band: _Band


def _played(pictures: _Pictures, track: TrackReader, scene: Scene) -> Iterator[memoryview]:
    band, width = pictures.band, _line_px(scene.size)
    steps = (band.width - width) // 2
    frame = PlanarFrame(scene.size)
    frame.copy_columns(pictures.unplayed, 0, scene.size.width)
    duration_s = Fraction(track.samples, track.rate_hz)
    before = band.left
    for index in range(math.ceil(duration_s * scene.fps)):
        at = band.left + 2 * int(steps * index / (scene.fps * duration_s))
        frame.copy_columns(pictures.played, before, at)
        frame.copy_columns(pictures.playhead, at, at + width)
        before = at
        yield frame.data


def _paint(track: TrackReader, scene: Scene) -> _Pictures:
    size, palette = scene.size, scene.palette
    band = _band(size, with_cover=scene.cover is not None)
    ground = _ground(scene)
    unplayed, played, playhead = ground, ground.copy(), ground.copy()
    where = (band.rows, band.columns)
    if scene.view is View.WAVEFORM:
        ink = _waveform_ink(track, band)
        unplayed[where] = _inked(unplayed[where], palette.unplayed, ink)
        played[where] = _inked(played[where], palette.played, ink)
    else:
        levels = spectrogram(track, band.width, band.height)
        unplayed[where] = _levels(levels, (palette.background, palette.unplayed))
        played[where] = _levels(levels, (palette.background, (96, 32, 110), palette.played, (255, 244, 214)))
    for column in _seam_columns(track, scene, band):
        for picture in (unplayed, played):
            picture[band.rows, column : column + _line_px(size)] = palette.seam
    playhead[where] = palette.playhead
    return _Pictures(to_planar(unplayed), to_planar(played), to_planar(playhead), band)


def _band(size: FrameSize, *, with_cover: bool) -> _Band:
    margin = _even(size.width * 0.04)
    share, centre = (0.25, 0.80) if with_cover else (0.50, 0.55)
    height = max(2, _even(size.height * share))
    return _Band(margin, _even(size.height * centre - height / 2), size.width - 2 * margin, height)


def _ground(scene: Scene) -> Picture:
    """All that does not move: the background or the cover, which is darkened under the band, and the title."""
    size, palette = scene.size, scene.palette
    ground = np.empty((size.height, size.width, 3), np.uint8)
    ground[:] = palette.background
    if scene.cover is not None:
        ground[:] = fill_frame(scene.cover, size)
        band = _band(size, with_cover=True)
        lower = slice(max(0, band.top - band.height // 8), size.height)
        ground[lower] = _inked(ground[lower], palette.background, np.float32(0.75))
    if scene.title:
        text = letter(scene.title, size.height // 14, round(size.width * 0.92))
        top, left = size.height // 16, (size.width - text.shape[1]) // 2
        where = (slice(top, top + text.shape[0]), slice(left, left + text.shape[1]))
        shade = (slice(top - size.height // 64, top + text.shape[0] + size.height // 64), slice(None))
        if scene.cover is not None and text.size:
            ground[shade] = _inked(ground[shade], palette.background, np.float32(0.6))
        ground[where] = _inked(ground[where], palette.text, text)
    return ground


def _waveform_ink(track: TrackReader, band: _Band) -> npt.NDArray[np.float32]:
    """[rows, columns], 0..1: the peaks paler than the RMS; a line of one pixel where it is silent."""
    shape = envelope(track, band.width)
    loudest = max(float(np.abs(shape.low).max()), float(np.abs(shape.high).max()), 1e-3)
    half = (band.height - 1) / 2
    height = np.linspace(1.0, -1.0, band.height, dtype=np.float32)[:, np.newaxis] * np.float32(loudest)
    pixel = np.float32(0.5 * loudest / max(half, 0.5))
    peaks = (height >= np.minimum(shape.low, 0) - pixel) & (height <= np.maximum(shape.high, 0) + pixel)
    body = np.abs(height) <= shape.rms + pixel
    ink: npt.NDArray[np.float32] = np.where(peaks, np.where(body, 1.0, 0.6), 0.0).astype(np.float32)
    return ink


def _inked(ground: Picture, colour: Colour, ink: npt.NDArray[np.float32] | np.float32) -> Picture:
    share = np.asarray(ink, np.float32)[..., np.newaxis]
    mixed = ground * (1 - share) + np.array(colour, np.float32) * share
    return np.rint(mixed).astype(np.uint8)


def _levels(levels: npt.NDArray[np.float32], colours: Sequence[Colour]) -> Picture:
    table = np.linspace(0.0, 1.0, len(colours))
    channels = [
        np.interp(np.arange(256) / 255, table, [colour[channel] for colour in colours])
        for channel in range(3)
    ]
    painted: Picture = np.rint(np.stack(channels, axis=1)).astype(np.uint8)[
        np.rint(levels * 255).astype(np.uint8)
    ]
    return painted


def _seam_columns(track: TrackReader, scene: Scene, band: _Band) -> list[int]:
    duration_s = track.samples / track.rate_hz
    last = band.width - _line_px(scene.size)
    return [
        band.left + 2 * int(last / 2 * seam_s / duration_s) for seam_s in scene.seams_s if seam_s < duration_s
    ]


def _line_px(size: FrameSize) -> int:
    return max(2, _even(size.width / 480))


def _even(pixels: float) -> int:
    return int(pixels) // 2 * 2

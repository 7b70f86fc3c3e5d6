from __future__ import annotations

import math
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from deployments.audio.samples import Samples
from deployments.audio.track import TrackReader, TrackWriter
from deployments.export.media_errors import EmptyAudio, WrongValue
from deployments.export.muxer import write_planar_mp4
from deployments.export.planar import FrameSize
from deployments.export.spectrum import LOWEST_HZ, envelope, spectrogram
from deployments.export.waveform_frames import MAX_SEAMS, PRESETS, Palette, Scene, View, waveform_frames
from tests.deployments.export.referee import BUNDLED
from tests.support.clips import music

RATE_HZ = 8_000
SMALL = FrameSize(320, 180)


def track_of(samples: Samples, folder: Path, rate_hz: int = RATE_HZ) -> TrackReader:
    with TrackWriter(folder / "track.wav", rate_hz, samples.shape[0]) as writer:
        writer.append(samples)
    return TrackReader(folder / "track.wav")


def tone(hz: float, duration_s: float, rate_hz: int) -> Samples:
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return np.sin(2 * np.pi * hz * time_s, dtype=np.float64).astype(np.float32)[np.newaxis]


def video_of(track: TrackReader, scene: Scene, folder: Path) -> list[npt.NDArray[np.int64]]:
    """Every frame as RGB, decoded from the MP4 by another program."""
    path = folder / "video.mp4"
    write_planar_mp4(
        path, waveform_frames(track, scene), scene.size, scene.fps, audio=track.path, ffmpeg=BUNDLED
    )
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


def near(
    pixels: npt.NDArray[np.int64], colour: tuple[int, int, int], within: int = 40
) -> npt.NDArray[np.bool_]:
    return np.abs(pixels - colour).max(axis=-1) <= within


def playhead_column(picture: npt.NDArray[np.int64]) -> int:
    """The one column that is the playhead's colour from the top of the band to its bottom."""
    height = picture.shape[0]
    band = picture[round(height * 0.35) : round(height * 0.75)]
    columns = np.flatnonzero(near(band, Palette().playhead, 60).mean(axis=0) > 0.9)
    assert columns.size
    return int(columns.mean())


@pytest.mark.parametrize("view", View)
def test_the_playhead_crosses_the_band_in_the_time_of_the_track(view: View, tmp_path: Path) -> None:
    track = track_of(music(4.03, RATE_HZ), tmp_path)
    shown = video_of(track, Scene(SMALL, 10, view), tmp_path)
    assert len(shown) == 41
    columns = [playhead_column(picture) for picture in shown]
    left, right = columns[0], 320 - columns[0]
    assert left == pytest.approx(320 * 0.04, abs=3)
    for index, column in enumerate(columns):
        assert column == pytest.approx(left + (right - left) * index / 40.3, abs=4)


def test_what_is_played_is_in_the_played_colour(tmp_path: Path) -> None:
    track = track_of(tone(200, 2.0, RATE_HZ), tmp_path)
    shown = video_of(track, Scene(SMALL, 10), tmp_path)
    middle, palette = shown[10], Palette()
    row = middle[round(180 * 0.55)]
    assert near(row[30:150], palette.played).mean() > 0.9
    assert near(row[170:300], palette.unplayed).mean() > 0.9


def test_a_silent_half_is_thin_and_a_loud_one_thick(tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros((1, RATE_HZ), np.float32), tone(300, 1.0, RATE_HZ)], axis=1)
    shown = video_of(track_of(sound, tmp_path), Scene(SMALL, 5), tmp_path)
    ink = ~near(shown[0], Palette().background, 20)
    assert ink[:, 40:150].sum(axis=0).max() <= 4
    assert ink[:, 180:290].sum(axis=0).min() >= 60


def test_seams_stand_at_their_time_and_those_outside_nowhere(tmp_path: Path) -> None:
    track = track_of(np.zeros((2, 4 * RATE_HZ), np.float32), tmp_path)
    plain = video_of(track, Scene(SMALL, 2), tmp_path)[0]
    marked = video_of(track, Scene(SMALL, 2, seams_s=(1.0, 3.0, 4.0, 99.0)), tmp_path)[0]
    different = np.flatnonzero(np.abs(plain - marked).max(axis=(0, 2)) > 60)
    inside = 320 - 2 * round(320 * 0.04)
    expected = [320 * 0.04 + inside * share for share in (0.25, 0.75)]
    assert different.min() == pytest.approx(expected[0], abs=4)
    assert different.max() == pytest.approx(expected[1], abs=4)
    assert different.size <= 8


def test_title_and_cover_are_shown(tmp_path: Path) -> None:
    track = track_of(np.zeros((1, RATE_HZ), np.float32), tmp_path)
    cover = np.zeros((50, 80, 3), np.uint8)
    cover[..., 1] = 180
    plain, titled, covered = (
        video_of(track, scene, tmp_path)[0]
        for scene in (Scene(SMALL, 2), Scene(SMALL, 2, title="Dämmerung"), Scene(SMALL, 2, cover=cover))
    )
    assert near(titled[5:30], Palette().text, 60).sum() > 50
    assert not near(plain[5:30], Palette().text, 60).any()
    assert near(covered[2:60], (0, 180, 0)).all()


def test_a_spectrogram_shows_a_tone_at_its_pitch(tmp_path: Path) -> None:
    rate_hz, rows = 32_000, 200
    picture = spectrogram(track_of(tone(1000, 1.0, rate_hz), tmp_path, rate_hz), 20, rows)
    wanted = rows * (1 - math.log(1000 / LOWEST_HZ) / math.log(16_000 / LOWEST_HZ))
    assert np.abs(picture[:, 10].argmax() - wanted) <= 3
    assert picture[:, 10].max() == pytest.approx(1.0, abs=0.02)
    assert np.median(picture[:, 10]) == 0.0


@pytest.mark.parametrize("columns", [1, 7, 300])
def test_the_envelope_of_each_column_is_that_of_its_samples(columns: int, tmp_path: Path) -> None:
    sound = music(0.5, RATE_HZ)
    shape = envelope(track_of(sound, tmp_path), columns)
    mono = sound.mean(axis=0)
    for column in range(columns):
        # Sample i lies in column i * columns // samples.
        mine = mono[-(-column * mono.size // columns) : -(-(column + 1) * mono.size // columns)]
        assert (shape.low[column], shape.high[column]) == (mine.min(), mine.max())
        assert shape.rms[column] == pytest.approx(np.sqrt(np.square(mine.astype(float)).mean()), rel=1e-5)


def test_a_few_samples_make_an_envelope_without_holes(tmp_path: Path) -> None:
    shape = envelope(track_of(np.array([[0.5, -0.25]], np.float32), tmp_path), 6)
    assert shape.high.tolist() == [0.5, 0.5, 0.5, -0.25, -0.25, -0.25]


@pytest.mark.parametrize("size", PRESETS.values(), ids=PRESETS)
def test_every_preset_has_frames_of_its_size(size: FrameSize, tmp_path: Path) -> None:
    track = track_of(music(0.2, RATE_HZ), tmp_path)
    frames = list(map(bytes, waveform_frames(track, Scene(size, 30, title="x", seams_s=[0.1]))))
    assert {len(frame) for frame in frames} == {size.frame_bytes}
    assert len(frames) == 6
    assert len(set(frames)) == 6
    assert list(map(bytes, waveform_frames(track, Scene(size, 30, title="x", seams_s=[0.1])))) == frames


def test_what_no_video_can_show_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmptyAudio):
        waveform_frames(track_of(np.zeros((1, 0), np.float32), tmp_path), Scene(SMALL))
    for wrong in ({"fps": 0}, {"fps": 1000}, {"seams_s": [math.nan]}, {"seams_s": [-1.0]}):
        with pytest.raises(WrongValue):
            Scene(SMALL, **wrong)
    with pytest.raises(WrongValue, match="9999 seams"):
        Scene(SMALL, seams_s=[0.0] * (MAX_SEAMS + 1))
    with pytest.raises(WrongValue):
        FrameSize(321, 180)
